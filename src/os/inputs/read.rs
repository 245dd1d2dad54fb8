//! Files that a compile reads, and which of them lead to which by their `#include`s.
//!
//! By names alone: which of several files of one name was meant is not asked.

use std::sync::Arc;

use crate::model::job::Bytes;
use crate::os::inputs::cache::{Identity, Known};

/// A file that the compiler reads, as it spells it.
#[derive(Clone, Debug)]
pub(super) struct ReadFile {
    pub(super) spelled: Bytes,
    pub(super) physical: Bytes,
    pub(super) identity: Identity,
    pub(super) known: Arc<Known>,
}

impl ReadFile {
    /// Whether the header `name` could have led here.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        match self.spelled.strip_suffix(name) {
            Some(directory) => directory.is_empty() || directory.ends_with(b"/"),
            None => false,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        self.known.scan.included.iter().any(|header| other.is_named(&header.name))
    }
}

/// The files of `read` that `is_first` picks, and all that those lead to.
pub(super) fn with_included(read: &[ReadFile], is_first: impl Fn(&ReadFile) -> bool) -> Vec<&ReadFile> {
    let (mut ahead, mut others): (Vec<_>, Vec<_>) = read.iter().partition(|file| is_first(file));
    let mut found = Vec::new();
    while let Some(file) = ahead.pop() {
        let (included, left): (Vec<_>, Vec<_>) = others.into_iter().partition(|other| file.includes(other));
        ahead.extend(included);
        others = left;
        found.push(file);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::compiler::tokens;
    use crate::model::digest::Digest;

    fn read(spelled: &str, text: &str) -> ReadFile {
        let known = Known { digest: Digest::of(text.as_bytes()), scan: tokens::scan(text.as_bytes()) };
        let spelled = Bytes::from(spelled.as_bytes());
        ReadFile { physical: spelled.clone(), spelled, identity: Identity::NONE, known: Arc::new(known) }
    }

    #[test]
    fn inclusion_goes_on_through_what_is_included_and_may_go_round() {
        let files = [
            read("a.c", "#include \"x.h\"\n#include <own.h>\n"),
            read("sys/x.h", "#include <sub/y.h>\n"),
            read("sys/sub/y.h", "#include \"x.h\"\n#include \"z.h\"\n"),
            read("z.h", ""),
            read("own.h", ""),
            read("not-z.h", ""),
        ];
        let mut found: Vec<_> = with_included(&files, |file| file.is_named(b"x.h"))
            .into_iter()
            .map(|file| String::from_utf8_lossy(&file.spelled).into_owned())
            .collect();
        found.sort();
        assert_eq!(found, ["sys/sub/y.h", "sys/x.h", "z.h"]);
        assert!(with_included(&files, |_| false).is_empty());
    }
}

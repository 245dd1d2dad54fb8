//! What may enter a toolchain's tree: entries in canonical order, below directories that came before, within the limits.
//!
//! With the order comes safety: a parent that is a directory of this very tree cannot be a symlink to somewhere else.

use std::collections::BTreeSet;

use crate::model::limits::{PATH_BYTES_MAX, TOOLCHAIN_BYTES_MAX, TOOLCHAIN_ENTRIES_MAX};
use crate::model::path::{PathError, SandboxPath};
use crate::model::toolchain::{ToolchainEntry, ToolchainManifest, ToolchainNode};

/// Collects a manifest entry by entry. The root itself is no entry: it always is a directory.
#[derive(Debug)]
pub struct Admission {
    manifest: ToolchainManifest,
    directories: BTreeSet<SandboxPath>,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("a name in it is refused")]
    Path(#[from] PathError),
    #[error("{0} is out of order or there twice")]
    Order(SandboxPath),
    #[error("{0} lies in no directory of it")]
    Orphan(SandboxPath),
    #[error("{0} is a symlink without a usable target")]
    Target(SandboxPath),
    #[error("it has more than {TOOLCHAIN_ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("its files have more than {max} bytes")]
    TooLarge { max: u64 },
}

impl Admission {
    /// `bytes_max` bounds the sum of the files, within the limit that holds for all.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            manifest: ToolchainManifest::default(),
            directories: BTreeSet::from([SandboxPath::root()]),
            bytes: 0,
            bytes_max: bytes_max.min(TOOLCHAIN_BYTES_MAX),
        }
    }

    /// The path of an entry that comes next, checked before anything is made for it. `name` is relative to the root, as
    /// archives have it, a trailing slash allowed.
    pub fn path(&self, name: &[u8]) -> Result<SandboxPath, AdmissionError> {
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let path = SandboxPath::new([b"/", name].concat())?;
        if self.manifest.entries.len() >= TOOLCHAIN_ENTRIES_MAX {
            return Err(AdmissionError::TooManyEntries);
        }
        let after_last = self.manifest.entries.last().is_none_or(|last| last.path < path);
        let Some(parent) = path.parent().filter(|_| after_last) else { return Err(AdmissionError::Order(path)) };
        if !self.directories.contains(&parent) {
            return Err(AdmissionError::Orphan(path));
        }
        Ok(path)
    }

    /// Room for a file of `size`, before its bytes are taken.
    pub fn has_room(&self, size: u64) -> Result<(), AdmissionError> {
        match self.bytes.checked_add(size) {
            Some(total) if total <= self.bytes_max => Ok(()),
            _ => Err(AdmissionError::TooLarge { max: self.bytes_max }),
        }
    }

    /// Takes the entry that [`Admission::path`] has let pass.
    pub fn push(&mut self, path: SandboxPath, node: ToolchainNode) -> Result<(), AdmissionError> {
        match &node {
            ToolchainNode::Directory => {
                self.directories.insert(path.clone());
            }
            ToolchainNode::Symlink { target } => {
                if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) {
                    return Err(AdmissionError::Target(path));
                }
            }
            ToolchainNode::File { size, .. } => {
                self.has_room(*size)?;
                self.bytes += size;
            }
        }
        self.manifest.entries.push(ToolchainEntry { path, node });
        Ok(())
    }

    pub fn finish(self) -> ToolchainManifest {
        self.manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn admit(names: &[&str]) -> Result<ToolchainManifest, AdmissionError> {
        let mut admission = Admission::new(100);
        for name in names {
            let path = admission.path(name.as_bytes())?;
            let node = match name.as_bytes() {
                [.., b'/'] => ToolchainNode::Directory,
                [.., b'@'] => ToolchainNode::Symlink { target: b"/etc".to_vec().into() },
                _ => ToolchainNode::File { digest: Digest::of(b""), size: 40, executable: false },
            };
            admission.push(path, node)?;
        }
        Ok(admission.finish())
    }

    #[test]
    fn canonical_trees_pass() {
        let manifest = admit(&["a/", "a-b", "a/b", "l@"]).unwrap();
        assert_eq!((manifest.entries.len(), manifest.bytes()), (4, 80));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        assert_eq!(admit(&["b", "a"]), Err(AdmissionError::Order(path("/a"))));
        assert_eq!(admit(&["a/", "a/"]), Err(AdmissionError::Order(path("/a"))));
        assert_eq!(admit(&[""]), Err(AdmissionError::Order(path("/"))));
        assert_eq!(admit(&["a/b"]), Err(AdmissionError::Orphan(path("/a/b"))));
        assert_eq!(admit(&["l@", "l@/x"]), Err(AdmissionError::Orphan(path("/l@/x"))), "through a symlink");
        assert_eq!(admit(&["f", "f/x"]), Err(AdmissionError::Orphan(path("/f/x"))), "through a file");
        assert_eq!(admit(&["a", "b", "c"]), Err(AdmissionError::TooLarge { max: 100 }));
        for name in ["../x", "a/../../x", "./x", "/etc/x", "a//b"] {
            assert_eq!(admit(&[name]), Err(AdmissionError::Path(PathError::NotNormal)), "{name}");
        }
    }

    #[test]
    fn symlinks_need_a_target() {
        for target in [Vec::new(), b"a\0b".to_vec(), vec![b'a'; PATH_BYTES_MAX + 1]] {
            let mut admission = Admission::new(0);
            let path = admission.path(b"l").unwrap();
            let pushed = admission.push(path.clone(), ToolchainNode::Symlink { target: target.into() });
            assert_eq!(pushed, Err(AdmissionError::Target(path)));
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut admission = Admission::new(0);
        for n in 0..TOOLCHAIN_ENTRIES_MAX {
            let path = admission.path(format!("{n:08}").as_bytes()).unwrap();
            admission.push(path, ToolchainNode::Directory).unwrap();
        }
        assert_eq!(admission.path(b"x"), Err(AdmissionError::TooManyEntries));
    }
}

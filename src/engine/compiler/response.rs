//! Response files: `@FILE` on a command line stands for the words in FILE.
//!
//! Quoting is that of GCC's drivers, which clang follows on Linux. A file that cannot be read leaves its word as it is.

use std::collections::BTreeMap;

use crate::model::job::Bytes;
use crate::model::limits::{ARGUMENT_BYTES_MAX, RESPONSE_FILE_DEPTH_MAX};
use crate::model::reason::{Reason, Why};

/// Response files by the name the command gives them; none for one that cannot be read.
pub type Files = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expansion {
    /// Every response file is replaced by its words.
    Done(Vec<Bytes>),
    /// Read this file (relative to the working directory), add it to the files, and ask again.
    Needs(Bytes),
}

/// Replaces each `@FILE` of `argv` by the words of FILE, nested ones too.
///
/// # Errors
/// [`Reason::TooLarge`] where files nest deeper, or hold more, than a command may.
pub fn expand(argv: &[Bytes], files: &Files) -> Result<Expansion, Why> {
    let mut expander = Expander { files, words: Vec::with_capacity(argv.len()), bytes: 0 };
    Ok(match expander.take(argv, 0)? {
        Some(missing) => Expansion::Needs(missing),
        None => Expansion::Done(expander.words),
    })
}

struct Expander<'a> {
    files: &'a Files,
    words: Vec<Bytes>,
    bytes: usize,
}

impl Expander<'_> {
    /// Returns the name of a file that is not there yet.
    fn take(&mut self, words: &[Bytes], depth: usize) -> Result<Option<Bytes>, Why> {
        if depth > RESPONSE_FILE_DEPTH_MAX {
            return Err(Why::new(Reason::TooLarge, "response files nest too deeply"));
        }
        for word in words {
            let Some(name) = word.strip_prefix(b"@") else {
                self.push(word)?;
                continue;
            };
            match self.files.get(serde_bytes::Bytes::new(name)) {
                None => return Ok(Some(Bytes::from(name))),
                Some(None) => self.push(word)?,
                Some(Some(text)) => {
                    if let Some(missing) = self.take(&split(text), depth + 1)? {
                        return Ok(Some(missing));
                    }
                }
            }
        }
        Ok(None)
    }

    fn push(&mut self, word: &Bytes) -> Result<(), Why> {
        self.bytes += word.len() + 1;
        if self.bytes > ARGUMENT_BYTES_MAX {
            return Err(Why::new(Reason::TooLarge, "the command is too long"));
        }
        self.words.push(word.clone());
        Ok(())
    }
}

/// Words of a response file: blanks separate, quotes of either kind group, a backslash takes the next byte literally, within
/// quotes too.
pub(super) fn split(text: &[u8]) -> Vec<Bytes> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => {
                if let Some(next) = bytes.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if byte == open => quote = None,
            (b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c', None) => {
                words.extend(word.take().map(Bytes::from));
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word.map(Bytes::from));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::from(word.as_bytes())).collect()
    }

    fn file(name: &str, text: &str) -> (Bytes, Option<Bytes>) {
        (Bytes::from(name.as_bytes()), Some(Bytes::from(text.as_bytes())))
    }

    #[test]
    fn asks_for_files_one_by_one_and_nests() {
        let mut files = Files::new();
        assert_eq!(expand(&words("gcc @a -c"), &files), Ok(Expansion::Needs(Bytes::from(*b"a"))));
        files.extend([file("a", "-DX @b")]);
        assert_eq!(expand(&words("gcc @a -c"), &files), Ok(Expansion::Needs(Bytes::from(*b"b"))));
        files.extend([file("b", " -O2\n")]);
        assert_eq!(expand(&words("gcc @a -c"), &files), Ok(Expansion::Done(words("gcc -DX -O2 -c"))));
    }

    #[test]
    fn an_unreadable_file_stays_a_word() {
        let files = Files::from([(Bytes::from(*b"none"), None)]);
        assert_eq!(expand(&words("gcc @none"), &files), Ok(Expansion::Done(words("gcc @none"))));
    }

    #[test]
    fn quoting_is_gccs() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<Bytes> = expected.iter().map(|word| Bytes::from(word.as_bytes())).collect();
            assert_eq!(split(text.as_bytes()), expected, "{text}");
        };
        check(r#"-DS="a b" 'c d'e "" f\ g"#, &["-DS=a b", "c de", "", "f g"]);
        check(r#"'a\'b' "x\"y" \\"#, &["a'b", "x\"y", "\\"]);
        check("a\r\n\tb\x0cc", &["a", "b", "c"]);
        check("trailing\\", &["trailing"]);
        check("", &[]);
    }

    #[test]
    fn a_file_that_names_itself_ends() {
        let files = Files::from([file("a", "@a")]);
        assert_eq!(expand(&words("gcc @a"), &files).map_err(|why| why.reason), Err(Reason::TooLarge));
    }

    #[test]
    fn a_file_that_doubles_itself_ends() {
        let long = "x".repeat(ARGUMENT_BYTES_MAX / 4);
        let files = Files::from([file("a", &format!("@b @b @b @b @b {long}")), file("b", &long)]);
        assert_eq!(expand(&words("gcc @a"), &files).map_err(|why| why.reason), Err(Reason::TooLarge));
    }
}

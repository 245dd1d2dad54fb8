//! Reads the search path out of what a compiler prints with `-v` (in the C locale: the text is matched).

use crate::model::job::Bytes;

/// Where headers are searched, in order, as the compiler spells it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPath {
    /// For `"…"` only, after the includer's own directory.
    pub quote: Vec<Bytes>,
    /// For `"…"` and `<…>`.
    pub bracket: Vec<Bytes>,
    /// Named again, so left out by the compiler. They exist, and must exist wherever the same chain is to come out.
    pub duplicates: Vec<Bytes>,
    /// Those of them that are still searched, as system directories.
    pub system_duplicates: Vec<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchPathError {
    #[error("the compiler did not print its search path")]
    Absent,
    #[error("the search path has a header map or a framework directory")]
    Unsupported,
}

impl SearchPath {
    /// # Errors
    /// Where `text` has no complete search path, or one with members that are no plain directories.
    pub fn parse(text: &[u8]) -> Result<Self, SearchPathError> {
        let mut found = Self::default();
        let mut section = Section::Before;
        for line in text.split(|&byte| byte == b'\n') {
            section = match line {
                b"#include \"...\" search starts here:" => Section::Quote,
                b"#include <...> search starts here:" => Section::Bracket,
                b"End of search list." => Section::After,
                _ => {
                    found.take(&section, line)?;
                    section
                }
            };
        }
        match section {
            Section::After => Ok(found),
            _ => Err(SearchPathError::Absent),
        }
    }

    fn take(&mut self, section: &Section, line: &[u8]) -> Result<(), SearchPathError> {
        let chain = match section {
            Section::Before => {
                if line == b"  as it is a non-system directory that duplicates a system directory" {
                    self.system_duplicates.extend(self.duplicates.last().cloned());
                }
                let duplicate = line.strip_prefix(b"ignoring duplicate directory \"");
                self.duplicates.extend(duplicate.and_then(|rest| rest.strip_suffix(b"\"")).map(Bytes::from));
                return Ok(());
            }
            Section::Quote => &mut self.quote,
            Section::Bracket => &mut self.bracket,
            Section::After => return Ok(()),
        };
        let Some(directory) = line.strip_prefix(b" ") else { return Ok(()) };
        if directory.ends_with(b" (framework directory)") || directory.ends_with(b" (headermap)") {
            return Err(SearchPathError::Unsupported);
        }
        chain.push(Bytes::from(directory));
        Ok(())
    }

    /// Every directory once named.
    pub fn directories(&self) -> impl Iterator<Item = &Bytes> {
        self.quote.iter().chain(&self.bracket).chain(&self.duplicates)
    }
}

enum Section {
    Before,
    Quote,
    Bracket,
    After,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Bytes> {
        names.iter().map(|name| Bytes::from(name.as_bytes())).collect()
    }

    #[test]
    fn both_chains_and_what_is_ignored() {
        let text = b"Target: x\nignoring nonexistent directory \"/none\"\nignoring duplicate directory \"a\"\n  as it is a \
            non-system directory that duplicates a system directory\nignoring duplicate directory \"b\"\n#include \"...\" search starts here:\n q\n#include \
            <...> search starts here:\n with blank\n /usr/include\nEnd of search list.\nx.c:1: warning\n";
        let found = SearchPath::parse(text).unwrap();
        assert_eq!(found.quote, list(&["q"]));
        assert_eq!(found.bracket, list(&["with blank", "/usr/include"]));
        assert_eq!(found.duplicates, list(&["a", "b"]));
        assert_eq!(found.system_duplicates, list(&["a"]));
    }

    #[test]
    fn incomplete_or_strange_lists() {
        assert_eq!(SearchPath::parse(b""), Err(SearchPathError::Absent));
        assert_eq!(SearchPath::parse(b"#include <...> search starts here:\n /a\n"), Err(SearchPathError::Absent));
        let framework = b"#include <...> search starts here:\n /F (framework directory)\nEnd of search list.\n";
        assert_eq!(SearchPath::parse(framework), Err(SearchPathError::Unsupported));
    }
}

//! Reads the make rules that compilers write with `-MD`.
//!
//! Only prerequisites matter here; targets are whatever the build asked for. Understands the quoting of gcc and clang, not make
//! in general: no variables, no recipes.

use crate::model::job::Bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DepfileError {
    #[error("the dependency file has no rule")]
    NoRule,
    #[error("a line of the dependency file is no rule")]
    NotARule,
}

/// The prerequisites of all rules, in order, as spelled by the compiler. Rules without any (`-MP`) add nothing.
///
/// # Errors
/// Where the text is empty or has a line without a colon.
pub fn prerequisites(text: &[u8]) -> Result<Vec<Bytes>, DepfileError> {
    let mut reader = Reader { text, at: 0 };
    let mut found = Vec::new();
    let mut n_rules = 0;
    while let Some(rule) = reader.rule()? {
        n_rules += 1;
        found.extend(rule);
    }
    if n_rules == 0 { Err(DepfileError::NoRule) } else { Ok(found) }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

enum Token {
    Word(Vec<u8>),
    Colon,
    EndOfLine,
}

impl Reader<'_> {
    /// Prerequisites of the next rule; none at the end.
    fn rule(&mut self) -> Result<Option<Vec<Bytes>>, DepfileError> {
        let mut has_target = false;
        let mut words: Option<Vec<Bytes>> = None;
        loop {
            match (self.token(words.is_none()), &mut words) {
                (None, None) if !has_target => return Ok(None),
                (Some(Token::EndOfLine), None) if !has_target => {}
                (None | Some(Token::EndOfLine), None) => return Err(DepfileError::NotARule),
                (None | Some(Token::EndOfLine), Some(_)) => return Ok(words),
                (Some(Token::Colon), _) => words = Some(Vec::new()),
                (Some(Token::Word(_)), None) => has_target = true,
                (Some(Token::Word(word)), Some(words)) => words.push(Bytes::from(word)),
            }
        }
    }

    /// The next token; a colon counts as one only among targets, and only before a blank.
    fn token(&mut self, in_targets: bool) -> Option<Token> {
        self.skip_blanks();
        let mut word = Vec::new();
        loop {
            let byte = self.peek(0);
            match byte {
                None if word.is_empty() => return None,
                Some(b'\n') if word.is_empty() => {
                    self.at += 1;
                    return Some(Token::EndOfLine);
                }
                Some(b':') if in_targets && word.is_empty() && self.ends_word(1) => {
                    self.at += 1;
                    return Some(Token::Colon);
                }
                Some(b':') if in_targets && self.ends_word(1) => return Some(Token::Word(word)),
                None | Some(b'\n' | b' ' | b'\t' | b'\r') => return Some(Token::Word(word)),
                Some(b'\\') => {
                    if !self.backslashes(&mut word) {
                        return Some(Token::Word(word));
                    }
                }
                Some(b'$') if self.peek(1) == Some(b'$') => {
                    word.push(b'$');
                    self.at += 2;
                }
                Some(byte) => {
                    word.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads a run of backslashes and what it quotes. False where the word ends here.
    fn backslashes(&mut self, word: &mut Vec<u8>) -> bool {
        let run = self.text[self.at..].iter().take_while(|&&byte| byte == b'\\').count();
        // A line continued: the word is over.
        let continues_line =
            matches!((self.peek(run), self.peek(run + 1)), (Some(b'\n'), _) | (Some(b'\r'), Some(b'\n')));
        let (literal, quoted) = match self.peek(run) {
            _ if continues_line => (run - 1, None),
            // Before a blank, backslashes are doubled and one more quotes it.
            Some(byte @ (b' ' | b'\t')) => (run / 2, (run % 2 == 1).then_some(byte)),
            Some(b'#') => (run - 1, Some(b'#')),
            _ => (run, None),
        };
        word.extend(std::iter::repeat_n(b'\\', literal));
        self.at += if continues_line { run - 1 } else { run };
        if let Some(byte) = quoted {
            word.push(byte);
            self.at += 1;
        }
        !continues_line
    }

    fn skip_blanks(&mut self) {
        loop {
            match (self.peek(0), self.peek(1), self.peek(2)) {
                (Some(b' ' | b'\t' | b'\r'), ..) => self.at += 1,
                (Some(b'\\'), Some(b'\n'), _) => self.at += 2,
                (Some(b'\\'), Some(b'\r'), Some(b'\n')) => self.at += 3,
                _ => return,
            }
        }
    }

    fn ends_word(&self, ahead: usize) -> bool {
        matches!(
            (self.peek(ahead), self.peek(ahead + 1)),
            (None | Some(b' ' | b'\t' | b'\n' | b'\r'), _) | (Some(b'\\'), Some(b'\n'))
        )
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let expected: Vec<Bytes> = expected.iter().map(|word| Bytes::from(word.as_bytes())).collect();
        assert_eq!(prerequisites(text.as_bytes()), Ok(expected), "{text}");
    }

    #[test]
    fn rules_of_both_compilers() {
        check("x: a.c b.h\n", &["a.c", "b.h"]);
        check("x: a.c \\\n  b.h \\\n c.h\n\nb.h:\n\nc.h:\n", &["a.c", "b.h", "c.h"]);
        check("a.o b.o: a.c\n", &["a.c"]);
        check("x:\n", &[]);
        check("x: a.c", &["a.c"]);
        check("x: a.c\\\n b.c\n", &["a.c", "b.c"]);
        check("x: a.c \\\r\n b.c\r\n", &["a.c", "b.c"]);
        check("c:/x.o: a:b.c c:\n", &["a:b.c", "c:"]);
        check("x: \\\n a.c\n", &["a.c"]);
        check("x:\\\n a.c\n", &["a.c"]);
        check("x: a\\\r b\n", &["a\\", "b"]);
    }

    #[test]
    fn quoting() {
        check("x: with\\ blank.c d$$x.h \\#h.h\n", &["with blank.c", "d$x.h", "#h.h"]);
        check("x: back\\slash.h two\\\\.h\n", &["back\\slash.h", "two\\\\.h"]);
        check("x: ends\\\\ next.h\n", &["ends\\", "next.h"]);
        check("x: both\\\\\\ x.h\n", &["both\\ x.h"]);
    }

    #[test]
    fn what_is_no_rule() {
        assert_eq!(prerequisites(b""), Err(DepfileError::NoRule));
        assert_eq!(prerequisites(b"\n\n"), Err(DepfileError::NoRule));
        assert_eq!(prerequisites(b"a b\n"), Err(DepfileError::NotARule));
    }
}

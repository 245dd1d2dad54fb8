//! Files that the assembler reads: operands of `.incbin` and `.include`, in assembler sources and in strings of inline assembler.
//! No dependency list names them.
//!
//! [`tokens`](super::tokens) finds directives in raw text, where a macro may still stand for a name; what those come to, [`reads`]
//! tells from the preprocessed text. Directives that assembler macros put together are not seen: the assembler of a job then
//! misses a file, and says so.

use std::collections::BTreeSet;

use crate::engine::compiler::Language;
use crate::model::job::Bytes;

/// Names of files, as the assembler is given them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reads {
    /// By `.incbin`.
    pub embedded: BTreeSet<Bytes>,
    /// By `.include`: more assembler.
    pub included: BTreeSet<Bytes>,
    /// Of something in plain quotes. In C those may be the quotes of the string that the directive stands in.
    pub has_plain: bool,
    /// Of something that is no literal.
    pub has_computed: bool,
}

impl Reads {
    /// False where preprocessing a source of this language could still change what is read.
    pub fn is_settled(&self, language: Language) -> bool {
        !self.has_computed && (language.is_assembler() || !self.has_plain)
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn merge(&mut self, other: &Self) {
        self.embedded.extend(other.embedded.iter().cloned());
        self.included.extend(other.included.iter().cloned());
        self.has_plain |= other.has_plain;
        self.has_computed |= other.has_computed;
    }

    /// Takes note of the directive that `text` begins with, if it does.
    pub(super) fn note(&mut self, text: &[u8]) {
        let Some((directive, operand)) = directive(text) else { return };
        let literal = match operand {
            [b'\\', b'"', inner @ ..] => until(inner, b'\\'),
            [b'"', inner @ ..] => {
                self.has_plain = true;
                until(inner, b'"')
            }
            _ => None,
        };
        match literal.filter(|name| is_name(name)) {
            Some(name) if directive == b".incbin" => self.embedded.insert(Bytes::from(name)),
            Some(name) => self.included.insert(Bytes::from(name)),
            None => {
                self.has_computed = true;
                false
            }
        };
    }
}

/// What preprocessed `text` makes the assembler read.
pub fn reads(text: &[u8], language: Language) -> Reads {
    let mut found = Reads::default();
    if language.is_assembler() {
        note_all(text, &mut found);
    } else {
        for text in strings(text) {
            note_all(&text, &mut found);
        }
        // These are the assembler's own quotes now.
        found.has_plain = false;
    }
    found
}

pub(super) fn is_directive(text: &[u8]) -> bool {
    directive(text).is_some()
}

/// The directive that `text` begins with, and what stands behind it.
fn directive(text: &[u8]) -> Option<(&'static [u8], &[u8])> {
    [&b".incbin"[..], b".include"].into_iter().find_map(|word| Some((word, operand_of(text, word)?)))
}

fn note_all(text: &[u8], found: &mut Reads) {
    let mut at = 0;
    while let Some(ahead) = text[at..].iter().position(|&byte| byte == b'.') {
        at += ahead;
        found.note(&text[at..]);
        at += 1;
    }
}

/// What stands behind the directive `word`, if `text` begins with that in any case.
fn operand_of<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let rest = text.get(word.len()..).filter(|_| text[..word.len()].eq_ignore_ascii_case(word))?;
    let is_longer = rest.first().is_some_and(|&byte| byte.is_ascii_alphanumeric() || b"_$.".contains(&byte));
    let blanks = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
    (!is_longer).then(|| &rest[blanks..])
}

/// What stands before `close` on this line.
fn until(text: &[u8], close: u8) -> Option<&[u8]> {
    let end = text.iter().position(|&byte| byte == close || byte == b'\n')?;
    (text[end] == close).then(|| &text[..end])
}

/// A name that nothing is going to change: no escape of the assembler, no operand of inline assembler, no other string's quote.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| b"\\%\"\0".contains(byte))
}

/// The values of all string literals in preprocessed C, adjacent ones joined.
fn strings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut is_adjacent = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let (value, end) = match is_raw(&text[..at]) {
                    true => raw_string(text, at),
                    false => quoted(text, at),
                };
                match found.last_mut().filter(|_| is_adjacent) {
                    Some(last) => last.extend(value),
                    None => found.push(value),
                }
                is_adjacent = true;
                at = end;
                continue;
            }
            b'\'' if !is_separator(&text[..at]) => {
                at = quoted(text, at).1;
                is_adjacent = false;
                continue;
            }
            // What could be a string's prefix tells nothing yet.
            _ if byte.is_ascii_whitespace() || b"LRuU8".contains(&byte) => {}
            _ => is_adjacent = false,
        }
        at += 1;
    }
    found
}

/// The value of the literal whose opening quote is at `at`, and where it ends.
fn quoted(text: &[u8], at: usize) -> (Vec<u8>, usize) {
    let quote = text[at];
    let mut value = Vec::new();
    let mut end = at + 1;
    while let Some(&byte) = text.get(end) {
        end += 1;
        match byte {
            b'\n' => break,
            byte if byte == quote => break,
            b'\\' => {
                let escaped = text.get(end).copied().unwrap_or(b'\\');
                end += 1;
                value.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    other => other,
                });
            }
            byte => value.push(byte),
        }
    }
    (value, end.min(text.len()))
}

/// Likewise of a raw string: `"DELIMITER(…)DELIMITER"`.
fn raw_string(text: &[u8], at: usize) -> (Vec<u8>, usize) {
    let rest = &text[at + 1..];
    let Some(open) = rest.iter().position(|&byte| byte == b'(') else { return (Vec::new(), text.len()) };
    let close = [b")", &rest[..open], b"\""].concat();
    let body = &rest[open + 1..];
    match body.windows(close.len()).position(|window| window == close) {
        Some(end) => (body[..end].to_vec(), at + 1 + open + 1 + end + close.len()),
        None => (body.to_vec(), text.len()),
    }
}

fn is_raw(before: &[u8]) -> bool {
    let word = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    matches!(&before[before.len() - word..], b"R" | b"LR" | b"uR" | b"UR" | b"u8R")
}

/// A quote in the midst of a number.
fn is_separator(before: &[u8]) -> bool {
    let word = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'\'').count();
    before[before.len() - word..].first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(language: Language, text: &str, embedded: &[&str], included: &[&str], has_computed: bool) {
        let set = |names: &[&str]| names.iter().map(|name| Bytes::from(name.as_bytes())).collect::<BTreeSet<_>>();
        let found = reads(text.as_bytes(), language);
        assert_eq!(
            (&found.embedded, &found.included, found.has_computed),
            (&set(embedded), &set(included), has_computed),
            "{text}"
        );
        assert!(has_computed || found.is_settled(language));
    }

    #[test]
    fn assembler() {
        let asm = Language::AssemblerWithCpp;
        check(asm, "\t.incbin \"a b.bin\", 4\n.INCLUDE\t\"x.inc\"\n", &["a b.bin"], &["x.inc"], false);
        check(asm, ".incbin FILE\n", &[], &[], true);
        check(asm, ".incbin \"\\name\"\n", &[], &[], true);
        check(asm, ".incbin \"open\n", &[], &[], true);
        check(asm, ".incbinary \"x\"\n.includes \"y\"\nfoo.included\n", &[], &[], false);
    }

    #[test]
    fn inline_assembler() {
        let c = Language::C;
        check(c, "asm(\".incbin \\\"x\\\"\\n\" \"\\t.include \\\"y\\\"\");", &["x"], &["y"], false);
        check(c, "asm(\".incbin \"\n  \"\\\"\" \"dir/\" u8\"f\" \"\\\"\");", &["dir/f"], &[], false);
        check(c, "asm(R\"a(.incbin \"x)\" )a\"); s = \"no\" ; t = \".incbin\";", &["x)"], &[], true);
        check(c, "x.include = '\"'; y = 1'000; z = \".include \" \"q\";", &[], &[], true);
        check(c, "p->x.include = 7; a.incbin = 8;", &[], &[], false);
        check(c, "asm(\".incbin \\\"%0\\\"\");", &[], &[], true);
    }
}

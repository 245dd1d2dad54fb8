//! Looks through one file for what a dependency list does not tell: names that headers could have, and files that the
//! assembler or `#embed` would read.
//!
//! Sees too much rather than too little. There is no notion of being inside a comment, a string or a skipped group: whatever
//! looks like a directive anywhere counts, in all lexing modes at once. A name too many costs a look at a directory; a name too
//! few could let a job read another header. Which headers a unit really includes is not decided here: the compiler said so.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::engine::compiler::assembled::{self, Reads};
use crate::engine::compiler::comments::Comments;
use crate::model::job::Bytes;

/// The name of a header as a directive writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HeaderName {
    /// `"…"`: searched beside the includer first.
    pub quoted: bool,
    pub name: Box<[u8]>,
}

/// What one file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// Names in `#include` and the like, and literals in macros that could become one.
    pub included: Vec<HeaderName>,
    /// Names that are looked at without being included, and so without being listed: operands of `__has_include`, files of
    /// `#pragma GCC dependency`.
    pub probed: Vec<HeaderName>,
    /// Literal operands of `__has_include` in macros: looked for beside whichever file uses the macro.
    pub probed_by_macros: Vec<HeaderName>,
    /// Macros that hand something that is no literal to `__has_include`; what that is, [`uses`] tells.
    pub has_include_macros: Vec<Box<[u8]>>,
    /// Files that `#line` names. Messages quote their lines.
    pub quoted_sources: Vec<Bytes>,
    /// A condition with `__has_include` of something that is no literal.
    pub has_computed_has_include: bool,
    /// `.incbin` and `.include`, in assembler or in a string of inline assembler.
    pub assembled: Reads,
    /// Names in `#embed` and `__has_embed`.
    pub embedded: Vec<HeaderName>,
    /// One of those of something that is no literal.
    pub has_computed_embed: bool,
    /// `__DATE__`, which is today's.
    pub has_date: bool,
    /// `__TIME__`
    pub has_time: bool,
}

/// Scans one file.
pub fn scan(bytes: &[u8]) -> Scan {
    let text = without_splices(bytes);
    let mut scanner =
        Scanner { text: &text, scan: Scan::default(), included: BTreeSet::new(), probed: BTreeSet::new() };
    scanner.run();
    let Scanner { mut scan, included, probed, .. } = scanner;
    scan.included = included.into_iter().collect();
    scan.probed = probed.into_iter().collect();
    scan
}

struct Scanner<'a> {
    text: &'a [u8],
    scan: Scan,
    included: BTreeSet<HeaderName>,
    probed: BTreeSet<HeaderName>,
}

/// Bytes that something of interest can begin with.
const STARTS: [bool; 256] = {
    let mut table = [false; 256];
    let starts = b"#%?_.d";
    let mut at = 0;
    while at < starts.len() {
        table[starts[at] as usize] = true;
        at += 1;
    }
    table
};

impl Scanner<'_> {
    fn run(&mut self) {
        let mut comments = Comments::of(self.text);
        let mut at = 0;
        while let Some(ahead) = self.text[at..].iter().position(|&byte| STARTS[usize::from(byte)]) {
            at += ahead;
            let rest = &self.text[at..];
            match rest[0] {
                b'#' => self.directive(at + 1),
                b'%' if rest.starts_with(b"%:") => self.directive(at + 2),
                b'?' if rest.starts_with(b"??=") => self.directive(at + 3),
                b'_' if rest.starts_with(b"__has_") => self.has_file(at),
                b'_' if rest.starts_with(b"__DATE__") => self.scan.has_date |= self.is_whole_word(at, 8),
                b'_' if rest.starts_with(b"__TIME__") => self.scan.has_time |= self.is_whole_word(at, 8),
                b'.' if assembled::is_directive(rest) && !comments.cover(at) => {
                    self.scan.assembled.note(rest);
                }
                b'd' if rest.starts_with(b"dependency") => self.pragma_dependency(at),
                _ => {}
            }
            at += 1;
        }
    }

    /// `at`: behind the `#`.
    fn directive(&mut self, at: usize) {
        let at = self.skip_blanks(at);
        let end = self.skip_identifier(at);
        match &self.text[at..end] {
            b"include" | b"include_next" | b"import" | b"__include_macros" => {
                let operand = self.skip_blanks(end);
                self.included.extend(header_name(&self.text[operand..]));
            }
            b"define" => self.definition(end),
            b"if" | b"elif" => self.condition(end),
            b"embed" => self.embedded(self.skip_blanks(end)),
            b"line" => self.line_number(end),
            number if number.first().is_some_and(u8::is_ascii_digit) => self.line_number(at),
            _ => {}
        }
    }

    /// `#line NUMBER "FILE"` and `# NUMBER "FILE"`.
    fn line_number(&mut self, at: usize) {
        let at = self.skip_blanks(at);
        let digits = self.text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let at = self.skip_blanks(at + digits);
        if digits > 0 && self.text.get(at) == Some(&b'"') {
            self.scan.quoted_sources.extend(string_literal(&self.text[at..]));
        }
    }

    /// `__has_include(…)`, `__has_include_next(…)`, `__has_embed(…)`: a literal operand, wherever it stands.
    fn has_file(&mut self, at: usize) {
        let end = self.skip_identifier(at);
        let name = &self.text[at..end];
        let open = self.skip_blanks(end);
        let operand = match self.text.get(open) {
            Some(b'(') => self.skip_blanks(open + 1),
            _ => open,
        };
        if name.starts_with(b"__has_include") {
            self.probed.extend(header_name(&self.text[operand..]));
        } else if name.starts_with(b"__has_embed") && operand != open {
            self.embedded(operand);
        }
    }

    fn embedded(&mut self, operand: usize) {
        match header_name(&self.text[operand..]) {
            Some(name) => self.scan.embedded.push(name),
            None => self.scan.has_computed_embed |= !self.is_end_of_line(operand),
        }
    }

    /// `GCC dependency "…"` (also of clang), as a directive or in a `_Pragma`, whose string quotes the quotes.
    fn pragma_dependency(&mut self, at: usize) {
        let before = self.text[..at].trim_ascii_end();
        if before.len() == at || !(before.ends_with(b"GCC") || before.ends_with(b"clang")) {
            return;
        }
        let operand = self.skip_blanks(at + b"dependency".len());
        let text = &self.text[operand..];
        let name = match text.strip_prefix(b"\\\"") {
            Some(inner) => until(inner, b'\\').map(|name| HeaderName { quoted: true, name: name.into() }),
            None => header_name(text),
        };
        self.probed.extend(name);
    }

    /// Literals in a macro's body could be expanded into an `#include`.
    fn definition(&mut self, at: usize) {
        if !self.may_matter(at) {
            return;
        }
        let line = self.line_without_comments(at);
        let start = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
        let name = line[start..].iter().take_while(|&&byte| is_identifier(byte)).count();
        let body = &line[start + name..];
        self.included.extend(literals(body));
        let operands = operands(body, looks_for_files);
        self.scan.probed_by_macros.extend(operands.literals);
        if operands.has_computed {
            self.scan.has_include_macros.push(line[start..start + name].into());
        }
    }

    fn condition(&mut self, at: usize) {
        if self.may_matter(at) {
            let line = self.line_without_comments(at);
            let operands = operands(&line, looks_for_files);
            self.scan.has_computed_has_include |= operands.has_computed;
        }
    }

    /// `at`: behind the `#`.
    fn add_uses(&self, at: usize, macros: &BTreeSet<Box<[u8]>>, uses: &mut Uses) {
        let at = self.skip_blanks(at);
        let end = self.skip_identifier(at);
        let is_definition = match &self.text[at..end] {
            b"define" => true,
            b"if" | b"elif" => false,
            _ => return,
        };
        let line = self.line_without_comments(end);
        let line = line.trim_ascii_start();
        let name = line.iter().take_while(|&&byte| is_identifier(byte)).count();
        let operands = operands(if is_definition { &line[name..] } else { line }, |name| macros.contains(name));
        if is_definition {
            uses.probed_by_macros.extend(operands.literals);
            if operands.has_computed {
                uses.has_include_macros.push(line[..name].into());
            }
        } else {
            uses.probed.extend(operands.literals);
            uses.is_computed |= operands.has_computed;
        }
    }

    /// A quick look at the line: most definitions and conditions have nothing to find in them.
    fn may_matter(&self, at: usize) -> bool {
        let rest = &self.text[at..];
        let line = &rest[..rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())];
        line.iter().any(|byte| b"\"<".contains(byte))
            || line.windows(2).any(|pair| pair == b"/*")
            || line.windows(6).any(|six| six == b"__has_")
    }

    /// The rest of the line with each comment a blank. A block comment may take it over several lines.
    fn line_without_comments(&self, mut at: usize) -> Vec<u8> {
        let mut line = Vec::new();
        let mut in_string = false;
        while let Some(&byte) = self.text.get(at) {
            let rest = &self.text[at..];
            match byte {
                b'\n' => break,
                b'\\' if in_string && rest.len() > 1 && rest[1] != b'\n' => {
                    line.extend_from_slice(&rest[..2]);
                    at += 2;
                    continue;
                }
                b'\'' if !in_string && rest.starts_with(b"'\"'") => {
                    at += 3;
                    continue;
                }
                b'"' => in_string = !in_string,
                b'/' if !in_string && rest.starts_with(b"//") => break,
                b'/' if !in_string && rest.starts_with(b"/*") => {
                    at = self.skip_comment(at);
                    line.push(b' ');
                    continue;
                }
                _ => {}
            }
            line.push(byte);
            at += 1;
        }
        line
    }

    /// Behind blanks and comments on this line; a block comment may end on a later one.
    fn skip_blanks(&self, mut at: usize) -> usize {
        loop {
            match self.text.get(at) {
                Some(b' ' | b'\t' | b'\x0b' | b'\x0c') => at += 1,
                Some(b'/') if self.text[at..].starts_with(b"/*") => at = self.skip_comment(at),
                _ => return at,
            }
        }
    }

    /// Behind the block comment at `at`, or the end of the text where it is open.
    fn skip_comment(&self, at: usize) -> usize {
        let inner = at + 2;
        self.text[inner..].windows(2).position(|pair| pair == b"*/").map_or(self.text.len(), |end| inner + end + 2)
    }

    fn skip_identifier(&self, at: usize) -> usize {
        at + self.text[at..].iter().take_while(|&&byte| is_identifier(byte)).count()
    }

    fn is_whole_word(&self, at: usize, length: usize) -> bool {
        let neighbours = [at.checked_sub(1), Some(at + length)];
        !neighbours.into_iter().flatten().any(|at| self.text.get(at).is_some_and(|&byte| is_identifier(byte)))
    }

    fn is_end_of_line(&self, at: usize) -> bool {
        matches!(self.text.get(at), None | Some(b'\n' | b'\r'))
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The header name that `text` begins with.
fn header_name(text: &[u8]) -> Option<HeaderName> {
    let (quoted, close) = match text.first()? {
        b'"' => (true, b'"'),
        b'<' => (false, b'>'),
        _ => return None,
    };
    until(&text[1..], close).map(|name| HeaderName { quoted, name: name.into() })
}

/// What stands before `close` on this line; none if that is nothing.
fn until(text: &[u8], close: u8) -> Option<&[u8]> {
    let end = text.iter().position(|&byte| byte == close || byte == b'\n' || byte == b'\r' || byte == 0)?;
    (text[end] == close && end > 0).then(|| &text[..end])
}

/// The string that `text` begins with, without its quotes and the backslashes before them.
fn string_literal(text: &[u8]) -> Option<Bytes> {
    let mut value = Vec::new();
    let mut bytes = text.get(1..)?.iter();
    loop {
        match bytes.next()? {
            b'"' => return (!value.is_empty()).then(|| Bytes::from(value)),
            b'\n' => return None,
            b'\\' => value.push(*bytes.next()?),
            &byte => value.push(byte),
        }
    }
}

/// Literals in a macro's body that look like the name of a header: not messages, which have blanks or formats in them, and not
/// absolute paths, which nothing can shadow.
fn literals(body: &[u8]) -> impl Iterator<Item = HeaderName> {
    let starts = body.iter().enumerate().filter(|(_, byte)| b"\"<".contains(byte)).map(|(at, _)| at);
    starts
        .filter_map(|at| header_name(&body[at..]))
        .filter(|literal| !literal.name.iter().any(|byte| byte.is_ascii_whitespace() || b"%\\\"(){};,=".contains(byte)))
}

/// What names of interest are applied to in one line.
#[derive(Default)]
struct Operands {
    literals: Vec<HeaderName>,
    /// One is applied to something else, or to nothing.
    has_computed: bool,
}

/// `__has_include` and its kin, or a beginning of it that `##` could complete. That has no literal operand, so it counts as
/// computed.
fn looks_for_files(name: &[u8]) -> bool {
    let is_beginning = name.starts_with(b"__has_") && b"__has_include".starts_with(name);
    is_beginning || name.starts_with(b"__has_include")
}

/// Operands of the identifiers that `is_wanted` picks, those apart that are only tested for being defined.
fn operands(line: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Operands {
    let mut found = Operands::default();
    let mut at = 0;
    while let Some(ahead) = line[at..].iter().position(|&byte| is_identifier(byte)) {
        let start = at + ahead;
        let end = start + line[start..].iter().take_while(|&&byte| is_identifier(byte)).count();
        at = end;
        if !is_wanted(&line[start..end]) {
            continue;
        }
        let operand = line[end..].trim_ascii_start();
        let operand = operand.strip_prefix(b"(").unwrap_or(operand).trim_ascii_start();
        match header_name(operand) {
            Some(literal) => found.literals.push(literal),
            None => found.has_computed |= !is_tested_for_definition(&line[..start]),
        }
    }
    found
}

/// How one file uses macros that stand for `__has_include`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    pub probed: Vec<HeaderName>,
    /// In macros, as [`Scan::probed_by_macros`].
    pub probed_by_macros: Vec<HeaderName>,
    /// More macros of that kind.
    pub has_include_macros: Vec<Box<[u8]>>,
    /// A condition applies one to something that is no literal.
    pub is_computed: bool,
}

/// Scans one file for uses of `macros` in conditions and other macros. Sees too much rather than too little, as [`scan`] does.
pub fn uses(bytes: &[u8], macros: &BTreeSet<Box<[u8]>>) -> Uses {
    let text = without_splices(bytes);
    let scanner = Scanner { text: &text, scan: Scan::default(), included: BTreeSet::new(), probed: BTreeSet::new() };
    let mut uses = Uses::default();
    let marks: [&[u8]; 3] = [b"#", b"%:", b"??="];
    let mut at = 0;
    while let Some(ahead) = text[at..].iter().position(|byte| b"#%?".contains(byte)) {
        at += ahead;
        if let Some(mark) = marks.iter().find(|mark| text[at..].starts_with(mark)) {
            scanner.add_uses(at + mark.len(), macros, &mut uses);
        }
        at += 1;
    }
    uses
}

/// `before` ends in `defined` or `defined (`.
fn is_tested_for_definition(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    before.strip_suffix(b"(").unwrap_or(before).trim_ascii_end().ends_with(b"defined")
}

/// `bytes` with continued lines joined. Trigraphs count in all modes: what they would hide otherwise is seen anyway.
fn without_splices(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut joined: Vec<u8> = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(ahead) = bytes[at..].iter().position(|&byte| byte == b'\\' || byte == b'?') {
        at += ahead;
        let lead = match &bytes[at..] {
            [b'\\', ..] => 1,
            [b'?', b'?', b'/', ..] => 3,
            _ => 0,
        };
        match (lead > 0).then(|| splice_length(&bytes[at + lead..])).flatten() {
            Some(length) => {
                joined.extend_from_slice(&bytes[kept..at]);
                at += lead + length;
                kept = at;
            }
            None => at += 1,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(bytes);
    }
    joined.extend_from_slice(&bytes[kept..]);
    Cow::Owned(joined)
}

/// Length of blanks and the line end after them, if that is what `rest` begins with.
fn splice_length(rest: &[u8]) -> Option<usize> {
    let blanks = rest.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t' | b'\x0b' | b'\x0c')).count();
    match &rest[blanks..] {
        [b'\r', b'\n', ..] => Some(blanks + 2),
        [b'\n' | b'\r', ..] => Some(blanks + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[HeaderName]) -> String {
        let render = |name: &HeaderName| {
            let text = String::from_utf8_lossy(&name.name).into_owned();
            if name.quoted { format!("\"{text}\"") } else { format!("<{text}>") }
        };
        names.iter().map(render).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn included(text: &str, expected: &str) {
        assert_eq!(names(&scan(text.as_bytes()).included), expected, "{text}");
    }

    #[track_caller]
    fn probed(text: &str, expected: &str, computed: bool) {
        let scan = scan(text.as_bytes());
        assert_eq!((names(&scan.probed).as_str(), scan.has_computed_has_include), (expected, computed), "{text}");
    }

    #[test]
    fn directives_in_every_dress() {
        included("#include \"a.h\"\n#include <b.h>\n", "<b.h> \"a.h\"");
        included("/* a\n b */ # /* c */ include /* d\n */ \"yes.h\"\n", "\"yes.h\"");
        included("#inc\\\nlude \"ye\\ \t\r\ns.h\"\n", "\"yes.h\"");
        included("%:include <a.h>\n??=include <b.h>\n#import <c.h>\n#include_next <d.h>", "<a.h> <b.h> <c.h> <d.h>");
        included("// a ??/\n#include \"yes.h\"\n", "\"yes.h\"");
        included("\u{feff}#include <a//x.h>\n#include \"b\\x.h\"\n", "<a//x.h> \"b\\x.h\"");
        included("// c\r#include \"yes.h\"\r", "\"yes.h\"");
        included("const char *s = R\"(\n#include \"no.h\"\n)\";\n", "\"no.h\"");
        included("#include MACRO\n#include \"open\n#include <>\n#includes \"x\"\n", "");
    }

    #[test]
    fn macros_that_could_become_header_names() {
        included("#define H <yes.h>\n#define Q \"q.h\" // \"c.h\"\n", "<yes.h> \"q.h\"");
        included("#define LOG(x) printf(\"%d items\\n\", x < 3, y > 4)\n", "");
        included("#define C /* \"a.h\"\n */ \"b.h\"\n", "\"b.h\"");
    }

    #[test]
    fn has_include() {
        probed("#if __has_include(\"a.h\") && __has_include_next ( <b.h> )\n", "<b.h> \"a.h\"", false);
        probed("#if defined(__has_include) && defined __has_include\n#ifdef __has_include\n", "", false);
        probed("#define __has_include(x) 0\n", "", false);
        probed("#define HAS(x) __has_include(x)\n", "", false);
        probed("#if __has_include(NAME)\n", "", true);
        probed("#if 0 // __has_include is a macro\n#endif // __has_include\n", "", false);
        probed("#if /* \n */ __has_include(X)\n", "", true);
        probed("#if '\"' && __has_include(X)\n", "", true);
        probed("#if CAT(__has_, include)(<x.h>) || CAT(__has_inc, lude)(<x.h>)\n", "", true);
        probed("#if __has_builtin(X) || __has_attribute(Y)\n", "", false);
        probed("#if __has_\\\ninclude(<x>)\n", "<x>", false);
        probed(
            "#pragma GCC dependency \"p.h\" text\n_Pragma(\"GCC dependency \\\"q.h\\\"\")",
            "\"p.h\" \"q.h\"",
            false,
        );
        probed("/* a dependency \"x.h\" */", "", false);
    }

    #[test]
    fn macros_that_stand_for_has_include() {
        let macros =
            |text: &str| -> BTreeSet<Box<[u8]>> { scan(text.as_bytes()).has_include_macros.into_iter().collect() };
        let one = |name: &str| BTreeSet::from([Box::from(name.as_bytes())]);
        assert_eq!(macros("#define HAS(x) __has_include(x)\n"), one("HAS"));
        assert_eq!(macros("# define HAS /* x */ __has_include\n"), one("HAS"));
        assert_eq!(macros("#define HAS(k, n) __has_##k(n)\n"), one("HAS"));
        assert_eq!(macros("#define A(x) __has_attribute(x)\n#define B(x) __##x\n"), BTreeSet::new());
        assert_eq!(
            macros("#define NO(x) 0\n#define __has_include(x) 0\n#define L __has_include(<l.h>)\n"),
            BTreeSet::new()
        );

        let found = |text: &str| {
            let uses = uses(text.as_bytes(), &one("HAS"));
            (names(&uses.probed), names(&uses.probed_by_macros), uses.has_include_macros.len(), uses.is_computed)
        };
        assert_eq!(found("#if defined(X) && HAS(<a.h>)\n"), ("<a.h>".into(), String::new(), 0, false));
        assert_eq!(found("#define M HAS(\"m.h\")\n"), (String::new(), "\"m.h\"".into(), 0, false));
        assert_eq!(found("#define MORE(x) HAS(x)\n"), (String::new(), String::new(), 1, false));
        assert_eq!(found("#elif HAS(NAME)\n"), (String::new(), String::new(), 0, true));
        assert_eq!(
            found("#ifdef HAS\n#if defined HAS // HAS\n#define HAS(x) 0\n"),
            (String::new(), String::new(), 0, false)
        );
        assert_eq!(found("#if HAS_NOT(X) || MYHAS(Y)\n"), (String::new(), String::new(), 0, false));
    }

    #[test]
    fn what_the_assembler_reads() {
        let found = |text: &str| {
            let reads = scan(text.as_bytes()).assembled;
            let list = |names: &BTreeSet<Bytes>| {
                names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(" ")
            };
            (list(&reads.embedded), list(&reads.included), reads.has_plain, reads.has_computed)
        };
        let check = |text: &str, embedded: &str, included: &str, has_plain, has_computed| {
            assert_eq!(found(text), (embedded.to_owned(), included.to_owned(), has_plain, has_computed), "{text}");
        };
        check("asm(\".incbin \\\"x\\\"\");", "x", "", false, false);
        check("\t.INCBIN \"x\"\n", "x", "", true, false);
        check("asm(\".include \\\"x\\\"\");", "", "x", false, false);
        check("asm(\".incbin \" FILE);", "", "", true, true);
        check("asm(\".incbin \\\"\" FILE \"\\\"\");", "", "", false, true);
        check(".include FILE\n", "", "", false, true);
        check("/* asm(\".include <x.h>\")\n * .incbin */\n// .include <y>\n", "", "", false, false);
        check("char s[] = \"/*\"; asm(\".incbin x\");", "", "", false, true);
        check("/* a */ asm(\".incbin \\\"x\\\"\"); /* b */", "x", "", false, false);
        check("char u[] = \"http://\"; asm(\".incbin x\");", "", "", false, true);
        check("x.include = 1; y.includes; z.incbinary", "", "", false, true);
        check(&"/* .incbin */\n".repeat(100_000), "", "", false, false);
    }

    #[test]
    fn the_time_of_the_compile() {
        let clock = |text: &str| {
            let scan = scan(text.as_bytes());
            (scan.has_date, scan.has_time)
        };
        assert_eq!(clock("char s[] = __DATE__ \" \"__TIME__;\n"), (true, true));
        assert_eq!(clock("__TI\\\nME__"), (false, true));
        assert_eq!(clock("__TIMESTAMP__ MY__TIME__ __DATE__X __BUILD_DATE__"), (false, false));
    }

    #[test]
    fn embed_and_line() {
        let found = scan(b"#embed <x> limit(4)\n#if __has_embed(\"y\" prefix(1))\n");
        assert_eq!((names(&found.embedded).as_str(), found.has_computed_embed), ("<x> \"y\"", false));
        assert!(scan(b"#embed NAME\n").has_computed_embed && scan(b"#if __has_embed(NAME)\n").has_computed_embed);
        assert_eq!(scan(b"#if defined(__has_embed)\n#ifdef __has_embed\n#embed\n"), Scan::default());
        let scan = scan(b"#line 7 \"a.y\"\n# 1 \"b\\\\c.l\" 2\n# 3\n#line X \"no\"\n");
        assert_eq!(scan.quoted_sources, [Bytes::from(*b"a.y"), Bytes::from(*b"b\\c.l")]);
    }
}

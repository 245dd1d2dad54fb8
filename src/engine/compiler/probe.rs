//! Compares two answers to `-###`: does a driver run the same programs with the same words in both places?

use std::iter::repeat;

/// True where both texts show the same commands, at least one, up to the names of temporary files.
///
/// Only command lines count, which begin with a blank in both compilers: the rest lists directories that exist, which a
/// packaged toolchain need not have where only linking would look.
pub fn same_commands(a: &[u8], b: &[u8]) -> bool {
    let a: Vec<_> = commands(a).collect();
    !a.is_empty() && a.into_iter().eq(commands(b))
}

/// What keeps two answers from being the same, for people: the first commands that differ, or what the driver
/// complains of.
pub fn commands_difference(here: &[u8], there: &[u8]) -> String {
    let listing = |text: &[u8]| commands(text).collect::<Vec<_>>().join(&b'\n');
    match [here, there].map(listing) {
        [ours, theirs] if ours != theirs => first_difference(&ours, &theirs),
        // The driver ends with an error.
        _ => format!("packaged `{}`", shortened(complaint(there))),
    }
}

/// The first lines in which two texts differ, shortened, for people.
pub fn first_difference(here: &[u8], there: &[u8]) -> String {
    let mut pairs = lines(here).map(Some).chain(repeat(None)).zip(lines(there).map(Some).chain(repeat(None)));
    let (ours, theirs) = pairs.find(|(ours, theirs)| ours != theirs || ours.is_none()).unwrap_or_default();
    let show = |line: Option<&[u8]>| line.map_or("nothing".to_owned(), |line| format!("`{}`", shortened(line)));
    format!("here {}, packaged {}", show(ours), show(theirs))
}

/// The line that says what is wrong, as far as that can be known.
fn complaint(text: &[u8]) -> &[u8] {
    let says_error = |line: &&[u8]| line.windows(5).any(|word| word == b"error");
    lines(text).find(says_error).or_else(|| lines(text).last()).unwrap_or_default()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

fn shortened(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(LINE_CHARS_MAX).collect()
}

/// As much of a line as tells what it is about.
const LINE_CHARS_MAX: usize = 300;

/// The line of `-fverbose-asm` in which gcc says what it made of the machine's memory.
pub fn memory_line(assembly: &[u8]) -> Option<&[u8]> {
    /// It stands among the first few.
    const HEAD_LINES: usize = 32;
    let mut head = assembly.split(|&byte| byte == b'\n').take(HEAD_LINES);
    head.find(|line| line.windows(15).any(|words| words == b"GGC heuristics:"))
}

fn commands(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b" ")).map(without_temporary_names)
}

/// `line` with each word that names a temporary file replaced by one and the same name.
fn without_temporary_names(line: &[u8]) -> Vec<u8> {
    line.split_inclusive(|&byte| byte == b' ')
        .flat_map(|piece| {
            let (word, blank) = match piece {
                [word @ .., b' '] => (word, &b" "[..]),
                word => (word, &b""[..]),
            };
            let word = match is_temporary(unquoted(word)) {
                true => b"TEMPORARY",
                false => word,
            };
            [word, blank].concat()
        })
        .collect()
}

fn unquoted(word: &[u8]) -> &[u8] {
    match word {
        [b'"', inner @ .., b'"'] => inner,
        word => word,
    }
}

/// `/tmp/ccXXXXXX.s` of gcc, `/tmp/name-1a2b3c.s` of clang, whatever the directory.
fn is_temporary(word: &[u8]) -> bool {
    let Some(slash) = word.iter().rposition(|&byte| byte == b'/') else { return false };
    let name = &word[slash + 1..];
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return false };
    let stem = &name[..dot];
    let is_gccs = stem.len() == 8 && stem.starts_with(b"cc") && stem.iter().all(u8::is_ascii_alphanumeric);
    let is_clangs = stem.len() > 7
        && stem[stem.len() - 7] == b'-'
        && stem[stem.len() - 6..].iter().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    is_gccs || is_clangs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_about_memory() {
        let text = b"\t.file \"a.c\"\n# GGC heuristics: --param ggc-min-expand=100\n# options\n";
        assert_eq!(memory_line(text), Some(&b"# GGC heuristics: --param ggc-min-expand=100"[..]));
        assert_eq!(memory_line(b"\t.file \"a.c\"\n"), None);
    }

    #[test]
    fn temporary_names_do_not_matter() {
        let a = b"Target: x\n cc1 -quiet x.c -o /tmp/ccAb12Cd.s\n as -o x.o /tmp/ccAb12Cd.s\nLIBRARY_PATH=/a\n";
        let b = b" cc1 -quiet x.c -o /var/t/ccZZZZZZ.s\n as -o x.o /var/t/ccZZZZZZ.s\nLIBRARY_PATH=/b\n";
        assert!(same_commands(a, b));
        assert!(same_commands(
            b" \"clang\" \"-o\" \"/tmp/null-0a1b2c.s\"\n",
            b" \"clang\" \"-o\" \"/tmp/null-ffffff.s\"\n"
        ));
    }

    #[test]
    fn people_read_what_differs() {
        let here = b"gcc version 12\n cc1 x.c -o /tmp/ccAb12Cd.s\n as\n";
        assert_eq!(
            commands_difference(here, b"gcc version 13\n cc1 x.c -o /tmp/ccZZZZZZ.s\n as -k\n"),
            "here ` as`, packaged ` as -k`"
        );
        assert_eq!(commands_difference(here, b"gcc: error\n"), "here ` cc1 x.c -o TEMPORARY`, packaged nothing");
        let refused = b"Using built-in specs.\ngcc: error: no\nTarget: x\n";
        assert_eq!(commands_difference(refused, refused), "packaged `gcc: error: no`");
        assert_eq!(commands_difference(b"", b""), "packaged ``");
        assert_eq!(first_difference(b"a\n", b""), "here `a`, packaged nothing");
    }

    #[test]
    fn everything_else_does() {
        assert!(!same_commands(b" cc1 -O2 x.c\n", b" cc1 -O1 x.c\n"));
        assert!(!same_commands(b" cc1 x.c\n as\n", b" cc1 x.c\n"));
        assert!(!same_commands(b"gcc: error\n", b"gcc: error\n"));
        assert!(!same_commands(b"", b""));
    }
}

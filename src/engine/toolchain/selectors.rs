//! Options that decide which programs and files a driver finds: they belong to a toolchain as the compiler itself does.
//!
//! Left out: options that only change what those programs do, and directories of headers, which travel with each unit.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What follows an option's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    /// The rest of the word.
    Joined,
    /// The next word.
    Separate,
    /// The rest of the word, or else the next one.
    Either,
}

/// One option that selects.
struct Selector {
    spelling: &'static str,
    value: Value,
    is_path: bool,
    /// How drivers are asked: one spelling for all, so that builds that differ in it alone share a package.
    canonical: &'static str,
}

const fn word(spelling: &'static str, value: Value, canonical: &'static str) -> Selector {
    Selector { spelling, value, is_path: false, canonical }
}

const fn path(spelling: &'static str, value: Value, canonical: &'static str) -> Selector {
    Selector { spelling, value, is_path: true, canonical }
}

const SELECTORS: &[Selector] = &[
    path("--sysroot=", Value::Joined, "--sysroot="),
    path("--sysroot", Value::Separate, "--sysroot="),
    path("--gcc-toolchain=", Value::Joined, "--gcc-toolchain="),
    path("--gcc-install-dir=", Value::Joined, "--gcc-install-dir="),
    word("--gcc-triple=", Value::Joined, "--gcc-triple="),
    path("-B", Value::Either, PREFIX),
    path("--prefix=", Value::Joined, PREFIX),
    path("--prefix", Value::Separate, PREFIX),
    word("--target=", Value::Joined, "--target="),
    word("--target", Value::Separate, "--target="),
    word("-target", Value::Separate, "--target="),
    word("-m32", Value::None, "-m32"),
    word("-m64", Value::None, "-m64"),
    word("-mx32", Value::None, "-mx32"),
    word("-mabi=", Value::Joined, "-mabi="),
    word("-stdlib=", Value::Joined, "-stdlib="),
    word("--stdlib=", Value::Joined, "-stdlib="),
];

/// Says where programs are looked for before anywhere else.
const PREFIX: &str = "-B";

/// The prefixes among options as [`selectors`] makes them.
pub fn prefixes(selected: &[OsString]) -> impl Iterator<Item = &OsStr> {
    selected.iter().filter_map(|option| option.as_bytes().strip_prefix(PREFIX.as_bytes())).map(OsStr::from_bytes)
}

/// The selecting options among `words`, in their order, paths made absolute from `cwd`. A word that wants a value and is the last
/// one selects nothing.
pub fn selectors<W: AsRef<[u8]>>(words: &[W], cwd: &Path) -> Vec<OsString> {
    let mut selected = Vec::new();
    let mut words = words.iter().map(|word| -> &[u8] { word.as_ref() });
    while let Some(word) = words.next() {
        let Some((selector, rest)) = find(word) else { continue };
        let value = match selector.value {
            Value::Separate => words.next(),
            Value::Either if rest.is_empty() => words.next(),
            Value::None | Value::Joined | Value::Either => Some(rest),
        };
        selected.extend(value.map(|value| canonical(selector, value, cwd)));
    }
    selected
}

/// The option that `word` is, with the rest of the word behind its name.
fn find(word: &[u8]) -> Option<(&'static Selector, &[u8])> {
    SELECTORS.iter().find_map(|selector| {
        let rest = word.strip_prefix(selector.spelling.as_bytes())?;
        let fits = match selector.value {
            Value::None | Value::Separate => rest.is_empty(),
            Value::Joined => !rest.is_empty(),
            Value::Either => true,
        };
        fits.then_some((selector, rest))
    })
}

fn canonical(selector: &Selector, value: &[u8], cwd: &Path) -> OsString {
    let value = OsStr::from_bytes(value);
    let mut word = OsString::from(selector.canonical);
    match selector.is_path {
        true => word.push(cwd.join(value)),
        false => word.push(value),
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, expected: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let selected = selectors(&words, Path::new("/w"));
        assert_eq!(selected.join(OsStr::new(" ")).to_string_lossy(), expected, "{command}");
    }

    #[test]
    fn every_spelling_selects() {
        check("gcc -O2 -m32 -c a.c", "-m32");
        check("clang --target=aarch64-linux-gnu -c", "--target=aarch64-linux-gnu");
        check("clang -target aarch64-linux-gnu -c", "--target=aarch64-linux-gnu");
        check("clang --target aarch64-linux-gnu -c", "--target=aarch64-linux-gnu");
        check("gcc --sysroot=/s --sysroot t", "--sysroot=/s --sysroot=/w/t");
        check("gcc -Btools/ -B /abs --prefix=x --prefix y", "-B/w/tools/ -B/abs -B/w/x -B/w/y");
        check(
            "clang --gcc-toolchain=../g -stdlib=libc++ -mabi=lp64",
            "--gcc-toolchain=/w/../g -stdlib=libc++ -mabi=lp64",
        );
    }

    #[test]
    fn prefixes_are_told_from_other_options() {
        let selected = ["-m32", "-B/w/tools/", "--sysroot=/-B", "-B/x"].map(OsString::from);
        assert_eq!(prefixes(&selected).collect::<Vec<_>>(), ["/w/tools/", "/x"]);
    }

    #[test]
    fn nothing_else_does() {
        check("gcc -m32x -O2 --sysrootx -targets -mtune=generic -Wall", "");
        check("clang -c a.c --target", "");
        check("gcc --target-help", "");
    }
}

//! Adds what makes a compiler speak and count as it does for its caller: locale, translations, character sets, time zone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::locale::{LocaleVariables, variants};
use crate::os::toolchain::tree::{Tree, TreeError, list};

/// Nothing is added for the C locale, which is built in.
pub(super) fn add(variables: &LocaleVariables, prefix: &Path, tree: &mut Tree) -> Result<(), TreeError> {
    for locale in variables.locales() {
        add_locale(locale, tree)?;
    }
    for language in variables.languages() {
        for variant in variants(language) {
            for share in [prefix.join("share"), PathBuf::from("/usr/share")] {
                for catalogs in ["locale", "locale-langpack"] {
                    add_catalogs(&share.join(catalogs).join(&variant).join("LC_MESSAGES"), tree)?;
                }
            }
        }
    }
    Ok(())
}

fn add_locale(locale: &str, tree: &mut Tree) -> Result<(), TreeError> {
    let base = Path::new("/usr/lib/locale");
    let mut has_directory = false;
    for variant in variants(locale) {
        let directory = base.join(variant);
        has_directory |= tree.add_directory(&directory)?.is_some();
        tree.add_whole(&directory)?;
    }
    // The archive holds every locale of the machine. glibc looks there first, but never finds the C locales that have a
    // directory in it.
    if !(has_directory && is_c(locale)) {
        tree.add_file(&base.join("locale-archive"))?;
    }
    tree.add_file(Path::new("/usr/share/locale/locale.alias"))?;
    Ok(())
}

fn is_c(locale: &str) -> bool {
    locale.split('.').next() == Some("C")
}

fn add_catalogs(directory: &Path, tree: &mut Tree) -> Result<(), TreeError> {
    for name in list(directory)?.iter().filter(|name| is_compilers_catalog(name)) {
        tree.add_file(&directory.join(name))?;
    }
    Ok(())
}

/// `gcc.mo`, and `gcc-12.mo` where a distribution has several.
fn is_compilers_catalog(name: &OsStr) -> bool {
    let Some(domain) = name.as_bytes().strip_suffix(b".mo") else { return false };
    let versioned =
        |rest: &[u8]| rest.strip_prefix(b"-").is_some_and(|version| version.first().is_some_and(u8::is_ascii_digit));
    DOMAINS
        .iter()
        .any(|known| domain.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.is_empty() || versioned(rest)))
}

/// Whose messages a compile can print: the compiler's, the preprocessor's, the assembler's and, in `strerror`, libc's.
const DOMAINS: &[&str] = &["gcc", "cpplib", "gas", "bfd", "opcodes", "binutils", "libc"];

/// Character sets of `-finput-charset=` and of locales other than UTF-8: modules that libc loads from beside itself.
pub(super) fn add_character_sets(tree: &mut Tree, libc_directory: &Path) -> Result<(), TreeError> {
    tree.add_whole(&libc_directory.join("gconv"))
}

/// `__TIMESTAMP__` is local time.
pub(super) fn add_time_zone(zone: &OsStr, tree: &mut Tree) -> Result<(), TreeError> {
    tree.add_file(Path::new("/etc/localtime"))?;
    let zone = zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes());
    if !zone.is_empty() {
        tree.add_file(&Path::new("/usr/share/zoneinfo").join(OsStr::from_bytes(zone)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_catalogs_of_compilers() {
        let is = |name: &str| is_compilers_catalog(OsStr::new(name));
        assert!(is("gcc.mo") && is("gcc-12.mo") && is("cpplib-12.mo") && is("libc.mo"));
        assert!(!is("gcc") && !is("gcc-doc.mo") && !is("libcap.mo") && !is("git.mo"));
    }
}

//! Files whose names a compiler makes up, where options ask for such: told by their names.
//!
//! A builder says which files a job has made, and they are written next to the build's own. So only what compilers really write
//! is let through, and nothing that a build could take for a source, a script or a program.

use crate::engine::compiler::names::stem;

/// What such names end in, gcc's dumps aside. Where an option makes something else, the job's result is not taken and the unit is
/// compiled here.
const EXTENSIONS: &[&str] = &[
    // -save-temps
    "i",
    "ii",
    "s",
    "bc",
    // -ftest-coverage
    "gcno",
    // -fstack-usage, -fcallgraph-info
    "su",
    "ci",
    // -save-stats
    "stats",
    // -ftime-trace, -fdiagnostics-format=json-file
    "json",
    // -fsave-optimization-record, of clang and of gcc; the latter's is that of -fdump-analyzer-json, too
    "yaml",
    "bitstream",
    "json.gz",
    // -fdump-final-insns
    "gkd",
    // -fdump-analyzer-…, and graphs of other dumps
    "txt",
    "dot",
];

/// Whether a compiler could have made `name` of the name of an output or a source, `path`.
pub(super) fn may_be_made_of(path: &[u8], name: &[u8]) -> bool {
    let rest = name.strip_prefix(stem(path)).unwrap_or_default();
    matches!(rest.first(), Some(b'.' | b'-')) && (has_extension(rest) || is_dump(rest))
}

fn has_extension(name: &[u8]) -> bool {
    let ends_in = |extension: &&str| name.strip_suffix(extension.as_bytes()).is_some_and(|name| name.ends_with(b"."));
    EXTENSIONS.iter().any(ends_in)
}

/// gcc's `….081i.cp`: the number and kind of a pass, and its name.
fn is_dump(name: &[u8]) -> bool {
    let mut parts = name.rsplit(|&byte| byte == b'.');
    let is_pass = parts.next().is_some_and(|pass| !pass.is_empty());
    let is_number = match parts.next() {
        Some([number @ .., b't' | b'i' | b'r' | b'l']) => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_pass && is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be(name: &str) -> bool {
        may_be_made_of(b"o/t.x.o", name.as_bytes())
    }

    #[test]
    fn what_compilers_write() {
        // As gcc 12 and clang 14 do.
        for name in [
            "t.x.i",
            "t.x-s.ii",
            "t.x.s",
            "t.x.bc",
            "t.x.gcno",
            "t.x.su",
            "t.x.ci",
            "t.x.stats",
            "t.x.json",
            "t.x.c.gcc.json",
            "t.x.opt.yaml",
            "t.x.opt.bitstream",
            "t.x.c.opt-record.json.gz",
            "t.x.c.gkd",
            "t.x.c.005t.original",
            "t.x.cc.081i.cp",
            "t.x.c.253r.expand",
            "t.x.cc.001l.class",
            "t.x.c.354t.earlydebug",
            "t.x.c.000i.type-inheritance",
            "t.x.c.252t.optimized.dot",
            "t.x.c.analyzer.txt",
            "t.x.c.malloc_leak.2.to-en29.fg.dot",
            "t.x.c.analyzer.json.gz",
        ] {
            assert!(may_be(name), "{name}");
        }
    }

    #[test]
    fn what_they_do_not() {
        for name in [
            "t.x.py",
            "t.x.sh",
            "t.x.pl",
            "t.x.mk",
            "t.x.c",
            "t.x.h",
            "t.x.hpp",
            "t.x.S",
            "t.x.o",
            "t.x.so",
            "t.x.tar.gz",
            "t.x.opt-record.gz",
            "t.x",
            "t.x.",
            "t.x-",
            "t.xi",
            "t.x.005t",
            "t.x.005t.",
            "t.x.t.original",
            "t.x.05at.original",
            "t.x.005x.original",
            "t.x.005t.a.py",
            "t.i",
            "other.su",
            ".su",
            "su",
            "",
        ] {
            assert!(!may_be(name), "{name}");
        }
    }
}

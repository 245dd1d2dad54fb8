//! Words that the driver hands on to the preprocessor, the assembler, clang's front end or LLVM.
//!
//! None of those has a table here: the few words that builds really pass are known, all others keep the unit local.

use crate::engine::compiler::switches;
use crate::model::job::Bytes;

/// What `-Wp,` words come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct PreprocessorWords {
    /// Words without the ones about dependencies.
    pub(super) kept: Vec<Bytes>,
    /// File, and whether it lists system headers: `-Wp,-MD,FILE` as the kernel has it.
    pub(super) dependencies: Option<(Bytes, bool)>,
}

/// Reads the words of one `-Wp,` option. None: there is one that is not known to be safe.
pub(super) fn preprocessor_words(text: &[u8]) -> Option<PreprocessorWords> {
    let mut found = PreprocessorWords::default();
    let mut words = text.split(|&byte| byte == b',');
    while let Some(word) = words.next() {
        match word {
            b"-MD" | b"-MMD" if found.dependencies.is_none() => {
                let file = words.next().filter(|file| !file.is_empty())?;
                found.dependencies = Some((Bytes::from(file), word == b"-MD"));
            }
            b"-MT" | b"-MQ" => {
                words.next()?;
            }
            b"-MP" => {}
            _ if is_joined_define(word) => found.kept.push(Bytes::from(word)),
            _ => return None,
        }
    }
    Some(found)
}

fn is_joined_define(word: &[u8]) -> bool {
    word.len() > 2 && (word.starts_with(b"-D") || word.starts_with(b"-U"))
}

/// True where every word of a `-Wa,` option is known to neither read nor write a file.
pub(super) fn are_safe_assembler_words(text: &[u8]) -> bool {
    let mut words = text.split(|&byte| byte == b',');
    while let Some(word) = words.next() {
        let safe = match word {
            b"--defsym" | b"-defsym" => words.next().is_some(),
            // Only `.include` and `.incbin` look there, and units with those are local.
            b"-I" => words.next().is_some(),
            _ => is_safe_assembler_word(word),
        };
        if !safe {
            return false;
        }
    }
    true
}

fn is_safe_assembler_word(word: &[u8]) -> bool {
    const EXACT: &[&[u8]] = &[
        b"--32",
        b"--64",
        b"--x32",
        b"--divide",
        b"--noexecstack",
        b"-noexecstack",
        b"--execstack",
        b"--fatal-warnings",
        b"--no-warn",
        b"--warn",
        b"--no-pad-sections",
        b"--strip-local-absolute",
        b"--keep-locals",
        b"--reduce-memory-overheads",
        b"--compress-debug-sections",
        b"--nocompress-debug-sections",
        b"--gen-debug",
        b"--EB",
        b"--EL",
        b"--trap",
        b"--no-trap",
        b"--break",
        b"--no-break",
        b"-g",
        b"-L",
        b"-W",
        b"-R",
        b"-K",
        b"-k",
        b"-n",
        b"-EB",
        b"-EL",
        b"-KPIC",
    ];
    const JOINED: &[&[u8]] =
        &[b"-m", b"-I", b"--gdwarf", b"-gdwarf", b"--gstabs", b"--generate-missing-build-notes=", b"--elf-stt-common="];
    const COMPRESS: &[u8] = b"--compress-debug-sections=";
    EXACT.contains(&word)
        || JOINED.iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
        || word.starts_with(COMPRESS)
}

/// True for a word after `-Xclang` that changes code or messages only.
pub(super) fn is_safe_front_end_word(word: &[u8]) -> bool {
    const EXACT: &[&[u8]] = &[
        b"-disable-O0-optnone",
        b"-disable-llvm-passes",
        b"-disable-llvm-verifier",
        b"-no-opaque-pointers",
        b"-opaque-pointers",
        b"-target-feature",
        b"-fno-pch-timestamp",
        // The directory follows in a word of its own.
        b"-fdebug-compilation-dir",
        b".",
    ];
    match word.strip_prefix(b"-f") {
        Some(switch) if switches::is_known(switch) => true,
        _ => EXACT.contains(&word) || word.starts_with(b"-W") || (word.starts_with(b"+") && word.len() > 1),
    }
}

/// True for a word after `-mllvm` that changes code only. LLVM has options that write files, hence a list.
pub(super) fn is_safe_backend_word(word: &[u8]) -> bool {
    const PREFIXES: &[&[u8]] = &[
        b"-align-",
        b"-asan-",
        b"-disable-llvm-optzns",
        b"-enable-",
        b"-hwasan-",
        b"-import-instr-limit=",
        b"-inline-threshold=",
        b"-inlinehint-threshold=",
        b"-instcombine-",
        b"-msan-",
        b"-sanitizer-coverage-",
        b"-slp-",
        b"-stack-alignment=",
        b"-treat-scalable-fixed-error-as-warning",
        b"-tsan-",
        b"-unroll-",
        b"-vectorize-",
        b"-warn-stack-size=",
    ];
    PREFIXES.iter().any(|prefix| word.starts_with(prefix)) && !word.contains(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_dependency_words() {
        let words = preprocessor_words(b"-MMD,scripts/.x.o.d").unwrap();
        assert_eq!(words.dependencies, Some((Bytes::from(*b"scripts/.x.o.d"), false)));
        assert!(words.kept.is_empty());
        let words = preprocessor_words(b"-D_FORTIFY_SOURCE=2,-MD,a.d,-MT,x").unwrap();
        assert_eq!(words.dependencies, Some((Bytes::from(*b"a.d"), true)));
        assert_eq!(words.kept, [Bytes::from(*b"-D_FORTIFY_SOURCE=2")]);
        for unsafe_words in ["-MD", "-MD,", "-include,x.h", "-MD,a,-MD,b", "-dD", "-MT"] {
            assert_eq!(preprocessor_words(unsafe_words.as_bytes()), None, "{unsafe_words}");
        }
    }

    #[test]
    fn assembler_listings_are_not_safe() {
        for safe in [
            "--noexecstack",
            "-mrelax-relocations=no",
            "--defsym,X=1,-g",
            "-I,dir",
            "-W",
            "--gdwarf-5",
            "-march=armv8-a",
        ] {
            assert!(are_safe_assembler_words(safe.as_bytes()), "{safe}");
        }
        for unsafe_words in
            ["-a", "-ahls=x.lst", "-adhlns=x.lst", "--MD,x.d", "-MD", "-o,x", "--noexecstack,-al", "@file", "x.s", ""]
        {
            assert!(!are_safe_assembler_words(unsafe_words.as_bytes()), "{unsafe_words}");
        }
    }

    #[test]
    fn front_end_and_backend_words() {
        assert!(is_safe_front_end_word(b"-fno-strict-aliasing") && is_safe_front_end_word(b"+sse2"));
        assert!(!is_safe_front_end_word(b"-load") && !is_safe_front_end_word(b"x.so") && !is_safe_front_end_word(b"+"));
        assert!(is_safe_backend_word(b"-inline-threshold=100"));
        assert!(!is_safe_backend_word(b"-pass-remarks-output=/x") && !is_safe_backend_word(b"-asan-x=/y"));
    }
}

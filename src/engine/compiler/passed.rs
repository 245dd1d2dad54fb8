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

/// What `-Wa,` words come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct AssemblerWords<'a> {
    /// The file that a listing goes to.
    pub(super) listing: Option<&'a [u8]>,
}

/// Reads the words of one `-Wa,` option. None: there is one that is not known.
pub(super) fn assembler_words(text: &[u8]) -> Option<AssemblerWords<'_>> {
    let mut found = AssemblerWords::default();
    let mut words = text.split(|&byte| byte == b',');
    while let Some(word) = words.next() {
        match word {
            b"--defsym" | b"-defsym" | b"-I" => {
                words.next()?;
            }
            [b'-', b'a', rest @ ..] => {
                let letters = rest.iter().take_while(|byte| b"cdghilmns".contains(byte)).count();
                match &rest[letters..] {
                    // To standard output.
                    [] => {}
                    [b'=', file @ ..] if !file.is_empty() && found.listing.is_none() => found.listing = Some(file),
                    _ => return None,
                }
            }
            _ if is_safe_assembler_word(word) => {}
            _ => return None,
        }
    }
    Some(found)
}

/// Directories that a `-Wa,` option names for `.include` and `.incbin`.
pub(super) fn assembler_directories(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut words = text.split(|&byte| byte == b',');
    std::iter::from_fn(move || {
        let directory = words.find_map(|word| word.strip_prefix(b"-I"))?;
        if directory.is_empty() { words.next() } else { Some(directory) }
    })
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
    fn words_for_the_assembler() {
        for safe in [
            "--noexecstack",
            "-mrelax-relocations=no",
            "--defsym,X=1,-g",
            "-I,dir",
            "-W",
            "--gdwarf-5",
            "-march=armv8-a",
            "-a",
            "-alh,-L",
        ] {
            assert_eq!(assembler_words(safe.as_bytes()), Some(AssemblerWords::default()), "{safe}");
        }
        let listing = assembler_words(b"--noexecstack,-adhlns=x.lst").and_then(|words| words.listing);
        assert_eq!(listing, Some(&b"x.lst"[..]));
        for unknown in ["-a=", "-ahls=x,-al=y", "-ax", "--MD,x.d", "-MD", "-o,x", "@file", "x.s", ""] {
            assert_eq!(assembler_words(unknown.as_bytes()), None, "{unknown}");
        }
        assert_eq!(assembler_directories(b"-Ia,-g,-I,b").collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn front_end_and_backend_words() {
        assert!(is_safe_front_end_word(b"-fno-strict-aliasing") && is_safe_front_end_word(b"+sse2"));
        assert!(!is_safe_front_end_word(b"-load") && !is_safe_front_end_word(b"x.so") && !is_safe_front_end_word(b"+"));
        assert!(is_safe_backend_word(b"-inline-threshold=100"));
        assert!(!is_safe_backend_word(b"-pass-remarks-output=/x") && !is_safe_backend_word(b"-asan-x=/y"));
    }
}

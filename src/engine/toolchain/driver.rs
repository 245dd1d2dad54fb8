//! What compiler drivers answer when they are asked about themselves.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use crate::engine::compiler::CompilerFamily as Family;

/// A compiler's own word on what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub family: Family,
    pub major: u32,
    /// `major.minor.patch`.
    pub version: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Gcc => "gcc",
            Family::Clang => "clang",
        };
        write!(f, "{family} {}", self.version)
    }
}

/// Compilers that define `__GNUC__` or `__clang__` and take other options, or other meanings of the same.
const FOREIGN: &[&str] =
    &["__INTEL_COMPILER", "__INTEL_LLVM_COMPILER", "__NVCOMPILER", "__PGI", "__TINYC__", "__EDG__", "__CUDACC__"];

/// Who defines these macros (the output of `-E -dM`); none where nobody farcc knows does.
pub fn identity(macros: &str) -> Option<Identity> {
    let value = |wanted: &str| {
        macros.lines().find_map(|line| {
            let definition = line.strip_prefix("#define ")?;
            let (name, value) = definition.split_once(' ').unwrap_or((definition, ""));
            (name == wanted).then_some(value.trim())
        })
    };
    if FOREIGN.iter().any(|name| value(name).is_some()) {
        return None;
    }
    let (family, names) = match value("__clang__") {
        Some(_) => (Family::Clang, ["__clang_major__", "__clang_minor__", "__clang_patchlevel__"]),
        None => (Family::Gcc, ["__GNUC__", "__GNUC_MINOR__", "__GNUC_PATCHLEVEL__"]),
    };
    let [major, minor, patch] = names.map(value);
    Some(Identity { family, major: major?.parse().ok()?, version: format!("{}.{}.{}", major?, minor?, patch?) })
}

/// The directories in `gcc -print-search-dirs`: where the driver looks for programs, libraries and spec files.
pub fn search_directories(answer: &[u8]) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in answer.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let list = line[colon + 1..].trim_ascii();
        let list = list.strip_prefix(b"=").unwrap_or(list);
        directories.extend(list.split(|&byte| byte == b':').filter(|path| path.starts_with(b"/")).map(as_path));
    }
    directories
}

/// The options that select each variant in `gcc -print-multi-lib`, whose lines are like `32;@m32@mabi=x`.
pub fn multilib_options(answer: &str) -> Vec<Vec<String>> {
    let options = |line: &str| {
        let (_, options) = line.split_once(';')?;
        Some(options.split('@').filter(|option| !option.is_empty()).map(|option| format!("-{option}")).collect())
    };
    answer.lines().filter_map(options).collect()
}

/// The directories in the search list of `-v -E`: those where headers are looked for and that exist.
pub fn include_directories(answer: &[u8]) -> Vec<PathBuf> {
    let lines = answer.split(|&byte| byte == b'\n');
    let list = lines.skip_while(|line| !line.starts_with(b"#include ")).take_while(|line| !line.starts_with(b"End of"));
    list.filter_map(|line| line.strip_prefix(b" ")).filter(|path| path.starts_with(b"/")).map(as_path).collect()
}

/// What `clang -v -###` says about the files it has looked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClangReport {
    /// Every gcc installation found, whether or not it was taken: another `--target=` takes another.
    pub gcc_installations: Vec<PathBuf>,
    pub configuration_files: Vec<PathBuf>,
    pub installed_dir: Option<PathBuf>,
    pub resource_dir: Option<PathBuf>,
    /// Absolute paths among the arguments of the compile command: search directories, most of them.
    pub arguments: Vec<PathBuf>,
}

/// Reads the standard error of `clang -v -###`.
pub fn clang_report(answer: &[u8]) -> ClangReport {
    let mut report = ClangReport::default();
    for line in answer.split(|&byte| byte == b'\n') {
        let after = |prefix: &str| line.strip_prefix(prefix.as_bytes()).map(|rest| as_path(rest.trim_ascii()));
        if let Some(path) = after("Found candidate GCC installation:") {
            report.gcc_installations.push(path);
        } else if let Some(path) = after("Configuration file:") {
            report.configuration_files.push(path);
        } else if let Some(path) = after("InstalledDir:") {
            report.installed_dir = Some(path);
        } else if line.starts_with(b" \"") {
            let words = quoted_words(line);
            let resource_dir = words.iter().position(|word| word == b"-resource-dir").and_then(|at| words.get(at + 1));
            report.resource_dir = resource_dir.map(|word| as_path(word)).or(report.resource_dir);
            report.arguments.extend(words.iter().filter(|word| word.starts_with(b"/")).map(|word| as_path(word)));
        }
    }
    report
}

/// The words of a line that quotes each as `"word"` with backslashes before `"`, `\` and `$`.
fn quoted_words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, &mut word) {
            (b'"', None) => word = Some(Vec::new()),
            (b'"', Some(_)) => words.extend(word.take()),
            (b'\\', Some(word)) => word.extend(bytes.next()),
            (byte, Some(word)) => word.push(byte),
            (_, None) => {}
        }
    }
    words
}

/// Other configuration files that a clang configuration file names: `@FILE`, relative to its own directory.
pub fn included_configurations(text: &[u8], directory: &Path) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let words = lines.flat_map(|line| line.split(u8::is_ascii_whitespace));
    words.filter_map(|word| word.strip_prefix(b"@")).map(|file| directory.join(as_path(file))).collect()
}

/// The names under which one gcc installation's C and C++ drivers go. Packaged together, so that a project in both languages
/// has one toolchain.
pub fn gcc_names(machine: &str, major: u32) -> Vec<String> {
    let mut names = vec!["cc".to_owned(), "c++".to_owned()];
    for plain in ["gcc", "g++"] {
        for stem in [plain.to_owned(), format!("{machine}-{plain}")] {
            names.extend([format!("{stem}-{major}"), stem]);
        }
    }
    names
}

/// The same for clang, whose drivers are one program.
pub fn clang_names(major: u32) -> Vec<String> {
    let mut names = vec!["cc".to_owned(), "c++".to_owned()];
    for plain in ["clang", "clang++"] {
        names.extend([plain.to_owned(), format!("{plain}-{major}")]);
    }
    names
}

fn as_path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GCC: &str = "#define __GNUC__ 12\n#define __GNUC_MINOR__ 2\n#define __GNUC_PATCHLEVEL__ 0\n";

    #[test]
    fn macros_tell_the_family() {
        let gcc = identity(GCC).unwrap();
        assert_eq!((gcc.family, gcc.major, gcc.version.as_str()), (Family::Gcc, 12, "12.2.0"));

        let clang = "#define __clang__ 1\n#define __clang_major__ 14\n#define __clang_minor__ 0\n\
                     #define __clang_patchlevel__ 6\n#define __GNUC__ 4\n";
        assert_eq!(identity(clang).unwrap().version, "14.0.6");

        assert_eq!(identity(&format!("{GCC}#define __INTEL_COMPILER 1900\n")), None);
        assert_eq!(identity(&format!("{GCC}#define __TINYC__ 927\n")), None);
        assert_eq!(identity("#define __GNUC__ twelve\n"), None);
        assert_eq!(identity("hello\n"), None);
    }

    #[test]
    fn search_directories_of_all_kinds() {
        let answer = b"install: /usr/lib/gcc/x/12/\nprograms: =/a/:/b/../c/\nlibraries: =/d/:relative\n";
        assert_eq!(search_directories(answer), ["/usr/lib/gcc/x/12/", "/a/", "/b/../c/", "/d/"].map(PathBuf::from));
    }

    #[test]
    fn multilibs() {
        let expected: Vec<Vec<String>> = vec![vec![], vec!["-m32".into()], vec!["-march=x".into(), "-mabi=y".into()]];
        assert_eq!(multilib_options(".;\n32;@m32\nx/y;@march=x@mabi=y\n"), expected);
    }

    #[test]
    fn include_directories_are_a_list_between_two_lines() {
        let answer = b"ignoring nonexistent directory \"/no\"\n#include \"...\" search starts here:\n /quoted\n\
            #include <...> search starts here:\n /a\n relative\n /b c\nEnd of search list.\n /no\n";
        assert_eq!(include_directories(answer), ["/quoted", "/a", "/b c"].map(PathBuf::from));
    }

    #[test]
    fn clang_tells_what_it_found() {
        let answer = b"clang version 19\nInstalledDir: /usr/bin\nConfiguration file: /etc/clang/clang.cfg\n\
            Found candidate GCC installation: /usr/bin/../lib/gcc/x/12\n (in-process)\n \
            \"/usr/bin/clang\" \"-cc1\" \"-resource-dir\" \"/r\" \"-D\" \"X=\\\"/no\\\"\" \"/with \\\"quote\"\n";
        let report = clang_report(answer);
        assert_eq!(report.gcc_installations, [PathBuf::from("/usr/bin/../lib/gcc/x/12")]);
        assert_eq!(report.configuration_files, [PathBuf::from("/etc/clang/clang.cfg")]);
        assert_eq!(report.installed_dir, Some(PathBuf::from("/usr/bin")));
        assert_eq!(report.resource_dir, Some(PathBuf::from("/r")));
        assert_eq!(report.arguments, ["/usr/bin/clang", "/r", "/with \"quote"].map(PathBuf::from));
    }

    #[test]
    fn configurations_include_others() {
        let text = b"# @no\n-Wall @other.cfg\n@/abs.cfg\n";
        assert_eq!(
            included_configurations(text, Path::new("/etc/clang")),
            ["/etc/clang/other.cfg", "/abs.cfg"].map(PathBuf::from)
        );
    }
}

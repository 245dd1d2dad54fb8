//! Where a dynamic loader looks for libraries: the defaults compiled into it, its configuration, the tokens of a search path.
//!
//! Hardware-capability subdirectories are left out on purpose: a builder's processor is another one, and every library in
//! them has its plain counterpart, which the loader takes where they are missing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::model::limits::PATH_BYTES_MAX;

/// One line of `ld.so.conf` that means something.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfLine<'a> {
    Directory(&'a Path),
    /// A pattern, relative to the directory of the file that has it.
    Include(&'a Path),
}

/// The lines of an `ld.so.conf` in their order. Unknown lines (the old `hwcap`) mean nothing to loaders of today.
pub fn parse_conf(text: &[u8]) -> Vec<ConfLine<'_>> {
    let mut lines = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            Some(b"include") => lines.extend(words.map(|word| ConfLine::Include(as_path(word)))),
            Some(word) if word.starts_with(b"/") => {
                // `DIRECTORY=TYPE` is how libc5 and libc6 were once told apart.
                let directory = line.split(|&byte| byte == b'=').next().unwrap_or_default();
                lines.push(ConfLine::Directory(as_path(directory.trim_ascii())));
            }
            _ => {}
        }
    }
    lines
}

/// Shell wildcards `*` and `?`; bracket expressions occur in no configuration we know and match themselves.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        (Some((b'?', pattern)), Some((_, name))) => matches(pattern, name),
        (Some((expected, pattern)), Some((byte, name))) => expected == byte && matches(pattern, name),
        _ => false,
    }
}

/// What was compiled into a loader.
///
/// glibc keeps its default directories as strings one after the other, each with a slash at its end, and the name of its cache;
/// tools that relocate a toolchain write new ones over them (Yocto's uninative). So the strings say where this very file will
/// look, wherever it lies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BuiltIn {
    /// In the order of the search. None where the loader keeps them in some other way.
    pub directories: Vec<PathBuf>,
    pub cache: Option<PathBuf>,
}

impl BuiltIn {
    /// Reads them out of a loader's file.
    pub fn read(file: &[u8]) -> Self {
        let mut built_in = Self::default();
        let mut run: Vec<PathBuf> = Vec::new();
        for text in file.split(|&byte| byte == 0) {
            if is_directory(text) {
                run.push(as_path(text).components().collect());
                continue;
            }
            // The longest run: other strings that end in a slash stand alone.
            if run.len() > built_in.directories.len() {
                built_in.directories = std::mem::take(&mut run);
            }
            run.clear();
            if text.starts_with(b"/") && text.ends_with(b"/ld.so.cache") && text.len() <= PATH_BYTES_MAX {
                built_in.cache.get_or_insert_with(|| as_path(text).components().collect());
            }
        }
        built_in
    }
}

fn is_directory(text: &[u8]) -> bool {
    let is_printable = |byte: &u8| !byte.is_ascii_control();
    (2..=PATH_BYTES_MAX).contains(&text.len())
        && text.starts_with(b"/")
        && text.ends_with(b"/")
        && text.iter().all(is_printable)
}

/// A loader: where it looks beside the directories that a program or library names itself.
#[derive(Debug)]
pub struct Loader {
    directories: Vec<PathBuf>,
    configuration: Option<Configuration>,
    lib: PathBuf,
}

/// A file that names more directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Configuration {
    /// glibc's, by way of a cache beside it; searched before the defaults.
    Conf(PathBuf),
    /// musl's: directories that stand for the defaults, if the file is there.
    Path(PathBuf),
}

impl Loader {
    /// `real` is the interpreter's path with all symlinks resolved, `named` the one that programs have, `file` its content.
    pub fn new(named: &Path, real: &Path, file: &[u8]) -> Self {
        let directory = real.parent().unwrap_or(Path::new("/"));
        if let Some(machine) = musl_machine(named) {
            return Self::musl(named, machine);
        }
        let built_in = BuiltIn::read(file);
        let lib = system_lib(directory);
        let directories = match built_in.directories.is_empty() {
            true => around(directory, lib),
            false => built_in.directories,
        };
        let cache = built_in.cache.or_else(|| lib.map(|_| PathBuf::from("/etc/ld.so.cache")));
        Self {
            lib: lib
                .or_else(|| directories.iter().find_map(|directory| system_lib(directory)))
                .map_or_else(|| PathBuf::from("lib"), Path::to_owned),
            configuration: cache.map(|cache| Configuration::Conf(cache.with_extension("conf"))),
            directories,
        }
    }

    /// musl looks for its file by the name it was started under: `/x/lib/ld-musl-M.so.1` means `/x/etc/ld-musl-M.path`.
    fn musl(named: &Path, machine: &str) -> Self {
        let prefix = named.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        Self {
            directories: ["/lib", "/usr/local/lib", "/usr/lib"].map(PathBuf::from).into(),
            configuration: Some(Configuration::Path(prefix.join(format!("etc/ld-musl-{machine}.path")))),
            lib: PathBuf::from("lib"),
        }
    }

    /// Where more directories are named.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// Searched last, in this order.
    pub fn default_directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The directories of a RPATH or RUNPATH. Relative ones are dropped: they would depend on the working directory.
    pub fn expand(&self, search_path: &[u8], origin: &Path) -> Vec<PathBuf> {
        let entries = search_path.split(|&byte| byte == b':');
        entries
            .map(|entry| {
                let mut entry = entry.to_vec();
                let lib = self.lib.as_os_str().as_bytes();
                for (token, value) in [("ORIGIN", origin.as_os_str().as_bytes()), ("LIB", lib)] {
                    entry = replace(&entry, format!("${{{token}}}").as_bytes(), value);
                    entry = replace(&entry, format!("${token}").as_bytes(), value);
                }
                as_path(&entry).to_owned()
            })
            .filter(|directory| directory.is_absolute())
            .collect()
    }
}

/// The directories in a musl path file, separated by colons or line ends.
pub fn parse_musl_path(text: &[u8]) -> Vec<PathBuf> {
    let words = text.split(|&byte| byte == b':' || byte == b'\n');
    words.filter(|word| word.starts_with(b"/")).map(|word| as_path(word).to_owned()).collect()
}

/// `x86_64` of `/lib/ld-musl-x86_64.so.1`.
fn musl_machine(loader: &Path) -> Option<&str> {
    loader.file_name()?.to_str()?.strip_prefix("ld-musl-")?.split('.').next()
}

/// What `$LIB` stands for in a loader of this directory, which is also how its default directories are called: `lib64`,
/// `lib/x86_64-linux-gnu`. None where it is no directory of the system: not below `/lib*` or `/usr/lib*`.
fn system_lib(directory: &Path) -> Option<&Path> {
    let below_root = directory.strip_prefix("/usr").or_else(|_| directory.strip_prefix("/")).ok()?;
    let first = below_root.components().next()?.as_os_str().as_bytes();
    first.starts_with(b"lib").then_some(below_root)
}

/// The defaults of a loader that does not tell, by where it lies: the system's own as distributions build them, one elsewhere
/// with its libraries beside it.
fn around(directory: &Path, lib: Option<&Path>) -> Vec<PathBuf> {
    let Some(lib) = lib else {
        let name = directory.file_name().unwrap_or(OsStr::new("lib"));
        let prefix = directory.parent().unwrap_or(Path::new("/"));
        return vec![directory.to_owned(), prefix.join("usr").join(name)];
    };
    let mut directories = vec![Path::new("/").join(lib), Path::new("/usr").join(lib)];
    for plain in ["/lib", "/usr/lib"].map(PathBuf::from) {
        if !directories.contains(&plain) {
            directories.push(plain);
        }
    }
    directories
}

fn replace(text: &[u8], token: &[u8], value: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(token) {
            replaced.extend_from_slice(value);
            rest = tail;
        } else {
            replaced.push(*first);
            rest = tail;
        }
    }
    replaced
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_lines() {
        let text = b"# comment\ninclude ld.so.conf.d/*.conf\n /opt/a b/lib # why\n/old/lib=libc5\nhwcap 1 x\n\n/z";
        assert_eq!(
            parse_conf(text),
            [
                ConfLine::Include(Path::new("ld.so.conf.d/*.conf")),
                ConfLine::Directory(Path::new("/opt/a b/lib")),
                ConfLine::Directory(Path::new("/old/lib")),
                ConfLine::Directory(Path::new("/z")),
            ]
        );
    }

    #[test]
    fn wildcards() {
        let yes = |pattern: &str, name: &str| assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        let no = |pattern: &str, name: &str| assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        yes("*.conf", "libc.conf");
        yes("?ibc.*", "libc.conf");
        yes("*", "");
        no("*.conf", "libc.conf~");
        no("?", "");
        no("a", "ab");
    }

    #[track_caller]
    fn defaults(loader: &str, file: &[u8], expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(Loader::new(Path::new(loader), Path::new(loader), file).default_directories(), expected);
    }

    #[test]
    fn defaults_are_compiled_in() {
        let file = b"\x7fELF\x02/one/\0\x01\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0\
            /usr/lib/\0/lib/\0/etc/ld.so.cache\0/proc/self/exe\0";
        let debian = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        assert_eq!(BuiltIn::read(file).directories, debian.map(PathBuf::from));
        assert_eq!(BuiltIn::read(file).cache, Some("/etc/ld.so.cache".into()));
        // A copy of the system's loader looks where the system's does.
        defaults("/opt/copied/ld.so", file, &debian);

        let uninative = b"/oe/x86_64-linux/lib/\0/oe/x86_64-linux///usr/lib/\0\0/oe/x86_64-linux/etc/ld.so.cache\0";
        defaults("/oe/x86_64-linux/lib/ld.so", uninative, &["/oe/x86_64-linux/lib", "/oe/x86_64-linux/usr/lib"]);
        let loader = Loader::new(Path::new("/a/ld.so"), Path::new("/oe/x86_64-linux/lib/ld.so"), uninative);
        let configuration = Configuration::Conf("/oe/x86_64-linux/etc/ld.so.conf".into());
        assert_eq!(loader.configuration(), Some(&configuration));
        assert_eq!(BuiltIn::read(b"/\0//\0a/\0/b\0/c\x07d/\0"), BuiltIn { directories: vec!["/".into()], cache: None });
    }

    #[test]
    fn a_loader_that_does_not_tell_is_taken_by_its_place() {
        let debian = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        defaults("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", b"", &debian);
        defaults("/lib/x86_64-linux-gnu/ld-2.31.so", b"", &debian);
        defaults("/usr/lib64/ld-linux-x86-64.so.2", b"", &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]);
        defaults("/usr/lib/ld-linux.so.2", b"", &["/lib", "/usr/lib"]);
        defaults(
            "/opt/uninative/x86_64-linux/lib/ld-linux-x86-64.so.2",
            b"",
            &["/opt/uninative/x86_64-linux/lib", "/opt/uninative/x86_64-linux/usr/lib"],
        );
        let elsewhere = Path::new("/opt/uninative/x86_64-linux/lib/ld.so");
        assert_eq!(Loader::new(elsewhere, elsewhere, b"").configuration(), None);
    }

    #[test]
    fn musl_has_a_file_of_its_own() {
        let named = Path::new("/lib/ld-musl-x86_64.so.1");
        let loader = Loader::new(named, Path::new("/usr/lib/x86_64-linux-musl/libc.so"), b"/a/\0/b/\0");
        assert_eq!(loader.default_directories(), ["/lib", "/usr/local/lib", "/usr/lib"].map(PathBuf::from));
        assert_eq!(loader.configuration(), Some(&Configuration::Path("/etc/ld-musl-x86_64.path".into())));
        assert_eq!(parse_musl_path(b"/a:/b\n/c\nrelative:\n"), ["/a", "/b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn tokens_of_a_search_path() {
        let path = Path::new("/usr/lib64/ld-linux-x86-64.so.2");
        let loader = Loader::new(path, path, b"");
        assert_eq!(
            loader.expand(b"$ORIGIN/../lib:${ORIGIN}/../$LIB:relative::/abs", Path::new("/opt/bin")),
            ["/opt/bin/../lib", "/opt/bin/../lib64", "/abs"].map(PathBuf::from)
        );
    }
}

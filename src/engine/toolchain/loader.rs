//! Where the dynamic loader looks for libraries: `ld.so.conf`, the defaults built into a loader, the tokens of a search path.
//!
//! Hardware-capability subdirectories are left out on purpose: a builder's processor is another one, and every library in
//! them has its plain counterpart, which the loader takes where they are missing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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

/// A loader, by the directory its program interpreter really lies in.
#[derive(Debug)]
pub struct Loader {
    directory: PathBuf,
}

impl Loader {
    /// `real` is the interpreter's path with all symlinks resolved.
    pub fn at(real: &Path) -> Self {
        Self { directory: real.parent().unwrap_or(Path::new("/")).to_owned() }
    }

    /// Below `/lib*` or `/usr/lib*`: the system's loader, which knows `ld.so.conf`. Others are relocated ones, as Yocto's
    /// cross compilers have, which know nothing but the directories beside them.
    pub fn is_system(&self) -> bool {
        self.lib().is_some()
    }

    /// What `$LIB` stands for, which is also how the default directories are called: `lib64`, `lib/x86_64-linux-gnu`.
    fn lib(&self) -> Option<&Path> {
        let below_root = self.directory.strip_prefix("/usr").or_else(|_| self.directory.strip_prefix("/")).ok()?;
        let first = below_root.components().next()?.as_os_str().as_bytes();
        first.starts_with(b"lib").then_some(below_root)
    }

    /// Searched last, in this order.
    pub fn default_directories(&self) -> Vec<PathBuf> {
        let Some(lib) = self.lib() else {
            let name = self.directory.file_name().unwrap_or(OsStr::new("lib"));
            let prefix = self.directory.parent().unwrap_or(Path::new("/"));
            return vec![self.directory.clone(), prefix.join("usr").join(name)];
        };
        let mut directories = vec![Path::new("/").join(lib), Path::new("/usr").join(lib)];
        for plain in ["/lib", "/usr/lib"].map(PathBuf::from) {
            if !directories.contains(&plain) {
                directories.push(plain);
            }
        }
        directories
    }

    /// The directories of a RPATH or RUNPATH. Relative ones are dropped: they would depend on the working directory.
    pub fn expand(&self, search_path: &[u8], origin: &Path) -> Vec<PathBuf> {
        let lib = self.lib().unwrap_or(Path::new("lib")).as_os_str().as_bytes();
        let entries = search_path.split(|&byte| byte == b':');
        entries
            .map(|entry| {
                let mut entry = entry.to_vec();
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
    fn defaults(loader: &str, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(Loader::at(Path::new(loader)).default_directories(), expected);
    }

    #[test]
    fn defaults_follow_the_loader() {
        let debian = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        defaults("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &debian);
        defaults("/lib/x86_64-linux-gnu/ld-2.31.so", &debian);
        defaults("/usr/lib64/ld-linux-x86-64.so.2", &["/lib64", "/usr/lib64", "/lib", "/usr/lib"]);
        defaults("/usr/lib/ld-linux.so.2", &["/lib", "/usr/lib"]);
        defaults(
            "/opt/uninative/x86_64-linux/lib/ld-linux-x86-64.so.2",
            &["/opt/uninative/x86_64-linux/lib", "/opt/uninative/x86_64-linux/usr/lib"],
        );
        assert!(!Loader::at(Path::new("/opt/uninative/x86_64-linux/lib/ld.so")).is_system());
    }

    #[test]
    fn tokens_of_a_search_path() {
        let loader = Loader::at(Path::new("/usr/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(
            loader.expand(b"$ORIGIN/../lib:${ORIGIN}/../$LIB:relative::/abs", Path::new("/opt/bin")),
            ["/opt/bin/../lib", "/opt/bin/../lib64", "/abs"].map(PathBuf::from)
        );
    }
}

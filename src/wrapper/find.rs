//! Finds the program that farcc stands for, and never farcc itself.
//!
//! Three things are "itself": this very file, under whatever name; another farcc (a second installation earlier in PATH
//! would otherwise call this one, and this one that); a script that calls farcc under the compiler's name.
//!
//! Other launchers (ccache, distcc, icecc) stand under compilers' names too and look for the next one in PATH: should that be
//! farcc, each would start the other for ever. So farcc called by a link looks behind that link's directory only, as they do,
//! and a launcher is passed over unless the build names it or PATH has nothing else. Launchers nobody knows are left: for
//! those there is a bound ([`super::unit`]).

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::model::toolchain::LAUNCHERS;
use crate::os::sys::wrapper::NOTE_NAME;
use crate::wrapper::invocation::Command;

/// A compiler that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Where, as PATH or the build has it.
    pub(crate) path: PathBuf,
    /// The name it is to be started under: as the build wrote it, except where that leads to farcc. gcc finds its own parts
    /// from its name, in PATH or beside it, and they are not beside farcc.
    pub(crate) argv0: OsString,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    #[error("command not found")]
    NotFound,
    #[error("No such file or directory")]
    NoSuchFile,
    #[error("Permission denied")]
    NotExecutable,
    #[error("it and farcc start each other without end")]
    Endless,
}

impl FindError {
    /// What a shell would exit with.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound | Self::NoSuchFile => 127,
            Self::NotExecutable | Self::Endless => 126,
        }
    }
}

/// The program that `command` names; `path` is `PATH`.
pub(crate) fn find(command: &Command, path: Option<&OsStr>) -> Result<Compiler, FindError> {
    let own = Path::new(OWN_PROGRAM).metadata().ok();
    let named = Path::new(&command.name);
    let search =
        Search { name: command.base_name(), path: path.unwrap_or(OsStr::new(DEFAULT_PATH)), own: own.as_ref() };
    if !command.name.as_bytes().contains(&b'/') {
        let start = if command.is_link { search.behind_first_farcc() } else { 0 };
        let Found { path, is_hidden } = search.from(start)?;
        // gcc looks itself up in PATH, and would find farcc before itself.
        let argv0 = if is_hidden { path.clone().into_os_string() } else { command.name.clone() };
        return Ok(Compiler { path, argv0 });
    }
    match candidate(named, own.as_ref()) {
        Candidate::Program => Ok(Compiler { path: named.to_owned(), argv0: command.name.clone() }),
        Candidate::Farcc => {
            let Found { path, .. } = search.from(search.behind_directory_of(named))?;
            Ok(Compiler { argv0: path.clone().into_os_string(), path })
        }
        Candidate::NotExecutable => Err(FindError::NotExecutable),
        Candidate::Absent => Err(FindError::NoSuchFile),
    }
}

/// Looks for one name in `PATH`.
struct Search<'a> {
    name: &'a OsStr,
    path: &'a OsStr,
    own: Option<&'a Metadata>,
}

struct Found {
    path: PathBuf,
    /// Whoever else looks for the name in PATH finds farcc, or another launcher.
    is_hidden: bool,
}

impl Search<'_> {
    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.path.as_bytes().split(|&byte| byte == b':').map(|dir| match dir {
            // An empty entry is the working directory.
            b"" => Path::new("."),
            dir => Path::new(OsStr::from_bytes(dir)),
        })
    }

    /// The entry after the one by which a shell has found farcc under this name; the first if there is none.
    fn behind_first_farcc(&self) -> usize {
        let is_farcc = |dir: &Path| matches!(candidate(&dir.join(self.name), self.own), Candidate::Farcc);
        self.directories().position(is_farcc).map_or(0, |at| at + 1)
    }

    /// The entry after the directory in which `link` is; the first if it is in none.
    fn behind_directory_of(&self, link: &Path) -> usize {
        let identity = |dir: &Path| dir.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
        let wanted = link.parent().and_then(identity);
        let is_wanted = |dir: &Path| wanted.is_some() && identity(dir) == wanted;
        self.directories().position(is_wanted).map_or(0, |at| at + 1)
    }

    /// The first program of the name, from the entry `start` on, that is not farcc; a launcher only for want of another.
    fn from(&self, start: usize) -> Result<Found, FindError> {
        let mut error = FindError::NotFound;
        let mut is_hidden = start > 0;
        let mut launcher = None;
        if self.name.is_empty() {
            return Err(error);
        }
        for found in self.directories().skip(start).map(|dir| dir.join(self.name)) {
            match candidate(&found, self.own) {
                Candidate::Program if calls_farcc(&found) => is_hidden = true,
                Candidate::Program if self.is_masking_launcher(&found) => {
                    is_hidden = true;
                    launcher.get_or_insert(found);
                }
                Candidate::Program => return Ok(Found { path: found, is_hidden }),
                Candidate::NotExecutable => error = FindError::NotExecutable,
                Candidate::Farcc => is_hidden = true,
                Candidate::Absent => {}
            }
        }
        launcher.map(|path| Found { path, is_hidden: true }).ok_or(error)
    }

    /// Under a compiler's name; `farcc ccache gcc` means ccache.
    fn is_masking_launcher(&self, path: &Path) -> bool {
        let is_launcher = |name: &OsStr| LAUNCHERS.iter().any(|launcher| name == *launcher);
        !is_launcher(self.name) && path.canonicalize().is_ok_and(|real| real.file_name().is_some_and(is_launcher))
    }
}

enum Candidate {
    Program,
    Farcc,
    NotExecutable,
    Absent,
}

fn candidate(path: &Path, own: Option<&Metadata>) -> Candidate {
    let Ok(meta) = path.metadata() else { return Candidate::Absent };
    if own.is_some_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino())) {
        return Candidate::Farcc;
    }
    if !meta.is_file() {
        // execve says so of directories.
        return Candidate::NotExecutable;
    }
    if access(path, Access::EXEC_OK).is_err() {
        return Candidate::NotExecutable;
    }
    // A program that may be run but not read is no farcc that anyone installed.
    let is_farcc = first_page(path).is_ok_and(|page| contains(&page, &NOTE_NAME));
    if is_farcc { Candidate::Farcc } else { Candidate::Program }
}

/// A script under a compiler's name that calls farcc with that name would come back here for ever.
fn calls_farcc(path: &Path) -> bool {
    first_page(path).is_ok_and(|page| {
        page.starts_with(b"#!") && [&b"farcc "[..], b"farcc\"", b"farcc'"].iter().any(|word| contains(&page, word))
    })
}

fn first_page(path: &Path) -> io::Result<Vec<u8>> {
    let mut page = Vec::with_capacity(FIRST_PAGE_BYTES);
    File::open(path)?.take(FIRST_PAGE_BYTES as u64).read_to_end(&mut page)?;
    Ok(page)
}

fn contains(page: &[u8], word: &[u8]) -> bool {
    page.windows(word.len()).any(|window| window == word)
}

/// One of our other programs: beside this one, or where packages have them.
pub(crate) fn beside(names: &[&str]) -> Option<PathBuf> {
    let own = std::fs::read_link(OWN_PROGRAM).ok()?;
    let dir = own.parent()?;
    let places = [dir.to_owned(), dir.join("../libexec/farcc"), PathBuf::from("/usr/libexec/farcc")];
    places
        .iter()
        .flat_map(|place| names.iter().map(|name| place.join(name)))
        .find(|program| program.is_file() && access(program, Access::EXEC_OK).is_ok())
}

const OWN_PROGRAM: &str = "/proc/self/exe";
/// What execvp takes where PATH is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The linker puts notes right behind the headers.
const FIRST_PAGE_BYTES: usize = 4096;

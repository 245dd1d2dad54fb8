//! Finds the program that farcc stands for, and never farcc itself.
//!
//! Three things are "itself": this very file, under whatever name; another farcc (a second installation earlier in PATH
//! would otherwise call this one, and this one that); a script that calls farcc under the compiler's name. Other wrappers
//! (ccache, distcc, icecc) are ordinary programs.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

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
}

impl FindError {
    /// What a shell would exit with.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound | Self::NoSuchFile => 127,
            Self::NotExecutable => 126,
        }
    }
}

/// The program that `command` names; `path` is `PATH`.
pub(crate) fn find(command: &Command, path: Option<&OsStr>) -> Result<Compiler, FindError> {
    let own = Path::new(OWN_PROGRAM).metadata().ok();
    let named = Path::new(&command.name);
    if !command.name.as_bytes().contains(&b'/') {
        let Found { path, behind_farcc } = search(command.base_name(), path, own.as_ref())?;
        // gcc looks itself up in PATH, and would find farcc before itself.
        let argv0 = if behind_farcc { path.clone().into_os_string() } else { command.name.clone() };
        return Ok(Compiler { path, argv0 });
    }
    match candidate(named, own.as_ref()) {
        Candidate::Program => Ok(Compiler { path: named.to_owned(), argv0: command.name.clone() }),
        Candidate::Farcc => {
            let Found { path, .. } = search(command.base_name(), path, own.as_ref())?;
            Ok(Compiler { argv0: path.clone().into_os_string(), path })
        }
        Candidate::NotExecutable => Err(FindError::NotExecutable),
        Candidate::Absent => Err(FindError::NoSuchFile),
    }
}

struct Found {
    path: PathBuf,
    /// Whoever else looks for the name in PATH finds farcc.
    behind_farcc: bool,
}

/// The first program called `name` in `path` that is not farcc.
fn search(name: &OsStr, path: Option<&OsStr>, own: Option<&Metadata>) -> Result<Found, FindError> {
    let mut error = FindError::NotFound;
    let mut behind_farcc = false;
    if name.is_empty() {
        return Err(error);
    }
    for dir in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|&byte| byte == b':') {
        // An empty entry is the working directory.
        let dir = if dir.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(dir)) };
        let found = dir.join(name);
        match candidate(&found, own) {
            Candidate::Program if calls_farcc(&found) => behind_farcc = true,
            Candidate::Program => return Ok(Found { path: found, behind_farcc }),
            Candidate::NotExecutable => error = FindError::NotExecutable,
            Candidate::Farcc => behind_farcc = true,
            Candidate::Absent => {}
        }
    }
    Err(error)
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

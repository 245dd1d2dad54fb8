//! The client daemon, the compilers' names, disks, limits and the clock.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use crate::cli::ask::{self, Answer};
use crate::cli::doctor::facts::{CompilerFacts, DaemonFacts, DirectoryFacts, WrapperFacts};
use crate::cli::trial::COMPILERS;
use crate::engine::wire::local::Question;
use crate::os::local::LinkError;
use crate::os::process::privileges::User;
use crate::os::sys::wrapper::NOTE_NAME;

/// What the client daemon says of itself.
pub(crate) fn client_daemon() -> DaemonFacts {
    let is_named = std::env::var_os("FARCC_SOCKET").is_some_and(|value| !value.is_empty());
    let is_forbidden = std::env::var_os("FARCC_AUTOSTART").is_some_and(|value| value == "0");
    match ask::try_ask(Question::Status) {
        Ok(Answer::Document(json)) => match serde_json::from_str(&json) {
            Ok(status) => DaemonFacts::Answers(Box::new(status)),
            Err(_) => DaemonFacts::NotUnderstood,
        },
        Ok(Answer::NotUnderstood) => DaemonFacts::NotUnderstood,
        Err(LinkError::NoDaemon) => DaemonFacts::Absent { starts_by_itself: !is_named && !is_forbidden },
        Err(error) => DaemonFacts::Broken(error),
    }
}

/// Where `PATH` leads for farcc and for the compilers' names.
pub(crate) fn wrapper() -> WrapperFacts {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = |name: &'static str| -> Vec<PathBuf> {
        std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| is_program(file)).collect()
    };
    let compiler = |name: &'static str| {
        let found = programs(name);
        let mask = found.iter().position(|file| is_farcc(file));
        let real = found.iter().position(|file| !is_farcc(file));
        let at = |position: Option<usize>| position.and_then(|position| found.get(position).cloned());
        let is_mask_first = mask.is_some_and(|mask| real.is_none_or(|real| mask < real));
        CompilerFacts { name, mask: at(mask), real: at(real), is_mask_first }
    };
    WrapperFacts {
        farcc: programs("farcc").into_iter().find(|file| is_farcc(file)),
        is_installed: std::env::current_exe().is_ok_and(|own| own.with_file_name("farcc").exists()),
        compilers: COMPILERS.iter().map(|name| compiler(name)).collect(),
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The wrapper, under whatever name: it carries a note right behind the program's headers.
fn is_farcc(path: &Path) -> bool {
    let mut page = Vec::with_capacity(FIRST_PAGE_BYTES);
    let read = File::open(path).and_then(|file| file.take(FIRST_PAGE_BYTES as u64).read_to_end(&mut page));
    read.is_ok() && page.windows(NOTE_NAME.len()).any(|window| window == NOTE_NAME)
}

const FIRST_PAGE_BYTES: usize = 4096;

/// The file system under `wanted`, which may grow to `bound_bytes`; `user` is whom the directory has to belong to.
pub(crate) fn directory(wanted: &Path, bound_bytes: u64, user: Option<&User>) -> Option<DirectoryFacts> {
    let path = wanted.ancestors().find(|path| path.is_dir())?;
    let space = statvfs(path).ok()?;
    let owner = (path == wanted).then(|| fs::metadata(path).ok().map(|meta| meta.uid())).flatten();
    let is_foreign = |user: &&User| owner.is_some_and(|owner| owner != user.uid);
    Some(DirectoryFacts {
        path: path.to_owned(),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        free_inodes: (space.f_files > 0).then_some(space.f_favail),
        bound_bytes,
        should_belong_to: user.filter(is_foreign).map(|user| user.name.clone()),
    })
}

/// How many descriptors a daemon that this user starts may have: daemons take as many as they may.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// How far the clock is behind the day on which this program was installed.
pub(crate) fn clock_behind() -> Option<Duration> {
    let installed = fs::metadata(OWN_PROGRAM).and_then(|meta| meta.modified()).ok()?;
    installed.duration_since(SystemTime::now()).ok().filter(|behind| *behind > Duration::from_secs(CLOCK_SLACK_SECONDS))
}

const OWN_PROGRAM: &str = "/proc/self/exe";
/// Packages may be unpacked before a new machine has heard of the time for the first time.
const CLOCK_SLACK_SECONDS: u64 = 3600;

/// Whether AppArmor's profile for the builder is on this machine.
pub(crate) fn has_builder_profile() -> bool {
    Path::new("/etc/apparmor.d/farcc-builder").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let facts = directory(&dir.path().join("not/there"), 7, None).unwrap();
        assert_eq!((facts.path.as_path(), facts.bound_bytes), (dir.path(), 7));
        let stranger = User { name: "x".into(), uid: u32::MAX - 1, gid: 0 };
        assert_eq!(directory(&dir.path().join("not"), 0, Some(&stranger)).unwrap().should_belong_to, None);
        assert_eq!(directory(dir.path(), 0, Some(&stranger)).unwrap().should_belong_to.as_deref(), Some("x"));
    }

    #[test]
    fn a_shell_is_no_farcc() {
        assert!(is_program(Path::new("/bin/sh")) && !is_farcc(Path::new("/bin/sh")));
    }
}

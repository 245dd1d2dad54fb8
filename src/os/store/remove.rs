//! Removes what jobs leave behind: directories without permissions, names of any bytes, any depth. Never follows a symlink.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Deeper directories are first moved up, so that neither the stack nor the descriptors run out.
const DEPTH_MAX: usize = 64;

/// Removes `path` and everything below it; a path that is not there is no error. Nothing may be adding to it meanwhile,
/// except processes that are about to die: for these it tries a few times.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 100;
    for _ in 1..ATTEMPTS {
        match try_remove_tree(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => std::thread::yield_now(),
            other => return other,
        }
    }
    try_remove_tree(path)
}

fn try_remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_directory(CWD, path) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlinkat(CWD, path, AtFlags::empty())?),
        Err(errno) => return Err(errno.into()),
    };
    let mut n_moved = 0;
    empty(&top, &top, 0, &mut n_moved)?;
    // What was moved up came from below `DEPTH_MAX` and may be as deep again.
    for n in 0.. {
        if n == n_moved {
            break;
        }
        let name = moved_name(n);
        let directory = open_directory(&top, name.as_str())?;
        empty(&directory, &top, 1, &mut n_moved)?;
        unlinkat(&top, name.as_str(), AtFlags::REMOVEDIR)?;
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// No job can have made a file of that name directly in a job's directory.
fn moved_name(n: u64) -> String {
    format!(".removing-{n}")
}

/// Removes everything in `directory`, which lies `depth` below `top`.
fn empty(directory: &OwnedFd, top: &OwnedFd, depth: usize, n_moved: &mut u64) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || (depth == 0 && name.to_bytes().starts_with(b".removing-")) {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) => continue,
                // The file system does not tell types in its listings.
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        remove_directory(directory, name, top, depth, n_moved)?;
    }
    Ok(())
}

fn remove_directory(parent: &OwnedFd, name: &CStr, top: &OwnedFd, depth: usize, n_moved: &mut u64) -> io::Result<()> {
    let directory = open_directory(parent, name)?;
    if depth >= DEPTH_MAX {
        renameat(parent, name, top, moved_name(*n_moved))?;
        *n_moved += 1;
        return Ok(());
    }
    empty(&directory, top, depth + 1, n_moved)?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Opens a directory of ours for listing and changing, whatever permissions it was left with. Nothing may be changing
/// what holds it meanwhile.
pub(crate) fn open_directory(parent: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |access| openat(&parent, name, flags | access, Mode::empty());
    let permit = || chmodat(&parent, name, Mode::RWXU, AtFlags::empty());
    match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            // Fails for anything but a directory, so that no symlink's target is meant. Not by way of /proc/self/fd, which
            // a process that was root cannot use.
            open(OFlags::PATH)?;
            permit()?;
            open(OFlags::RDONLY)
        }
        Ok(directory) if !Mode::from_raw_mode(fstat(&directory)?.st_mode).contains(Mode::RWXU) => {
            permit()?;
            Ok(directory)
        }
        other => other,
    }
}

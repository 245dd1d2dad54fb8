//! Finds what a job made: every file in its writable layer.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, chmodat, openat2, statat};
use rustix::io::Errno;

use crate::model::digest::{Digest, DigestBuilder};
use crate::model::job::OutputFile;
use crate::model::limits::{OUTPUT_DEPTH_MAX, OUTPUT_FILES_MAX};
use crate::model::path::SandboxPath;
use crate::os::store::remove::open_directory;

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Symlinks, devices, FIFOs and sockets do not travel.
    #[error("the job made {path}, which is no regular file")]
    Special { path: String },
    #[error("the job made more than {OUTPUT_FILES_MAX} files")]
    TooMany,
    #[error("the job made directories too deep or paths too long")]
    TooDeep,
    #[error("the job wrote more than {max} bytes")]
    TooLarge { max: u64 },
    #[error("cannot read what the job made")]
    Io(#[from] io::Error),
}

/// Of what a job made, so much stays at hand from reading it for its digest: most objects are smaller.
const AT_HAND_BYTES: u64 = 256 << 10;

/// A file that a job made.
#[derive(Debug)]
pub(crate) struct Made {
    pub file: OutputFile,
    /// What is in it, where that is little.
    pub content: Option<Vec<u8>>,
}

/// Every regular file below `upper`, sorted by path; their sizes may sum up to `bytes_max`.
pub(crate) fn collect(upper: &OwnedFd, bytes_max: u64) -> Result<Vec<Made>, CollectError> {
    let mut walk = Walk { path: Vec::new(), found: Vec::new() };
    walk.directory(upper, 0)?;
    let total = walk.found.iter().try_fold(0_u64, |sum, (_, stat)| sum.checked_add(stat.st_size.unsigned_abs()));
    if total.is_none_or(|total| total > bytes_max) {
        return Err(CollectError::TooLarge { max: bytes_max });
    }
    walk.found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut room = AT_HAND_BYTES;
    walk.found.into_iter().map(|(path, stat)| Ok(describe(upper, path, &stat, &mut room)?)).collect()
}

/// Opens a file of a job's, whatever permissions the job gave it.
pub(crate) fn open_file(upper: impl AsFd, path: &SandboxPath) -> io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &Path, flags| openat2(&upper, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    let fd = match (open(path.below_root(), OFlags::RDONLY), path.parent(), path.components().next_back()) {
        (Err(Errno::ACCESS), Some(parent), Some(name)) => {
            let parent = open(parent.below_root(), OFlags::PATH | OFlags::DIRECTORY)?;
            chmodat(parent, OsStr::from_bytes(name), Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
            open(path.below_root(), OFlags::RDONLY)
        }
        (other, ..) => other,
    };
    Ok(File::from(fd?))
}

/// The content of `file`, which has `size` bytes.
pub(crate) fn read(file: File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file once; keeps its content where there is `room`.
fn describe(upper: &OwnedFd, path: SandboxPath, stat: &Stat, room: &mut u64) -> io::Result<Made> {
    let mut file = open_file(upper, &path)?;
    let (size, digest, content) = match room.checked_sub(stat.st_size.unsigned_abs()) {
        Some(left) => {
            *room = left;
            let content = read(file, stat.st_size.unsigned_abs())?;
            (content.len() as u64, Digest::of(&content), Some(content))
        }
        None => {
            let mut digest = DigestBuilder::new();
            (io::copy(&mut file, &mut digest)?, digest.finish(), None)
        }
    };
    let file = OutputFile { path, digest, size, executable: stat.st_mode & 0o111 != 0 };
    Ok(Made { file, content })
}

struct Walk {
    /// Of the directory that is being read; empty for the root.
    path: Vec<u8>,
    found: Vec<(SandboxPath, Stat)>,
}

impl Walk {
    fn directory(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), CollectError> {
        for entry in Dir::read_from(directory).map_err(io::Error::from)? {
            let entry = entry.map_err(io::Error::from)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let len = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            self.entry(directory, name, depth)?;
            self.path.truncate(len);
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &CStr, depth: usize) -> Result<(), CollectError> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
        let path = || SandboxPath::new(self.path.clone()).map_err(|_| CollectError::TooDeep);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth >= OUTPUT_DEPTH_MAX => Err(CollectError::TooDeep),
            FileType::Directory => self.directory(&open_directory(parent, name).map_err(io::Error::from)?, depth + 1),
            FileType::RegularFile if self.found.len() >= OUTPUT_FILES_MAX => Err(CollectError::TooMany),
            FileType::RegularFile => {
                let path = path()?;
                self.found.push((path, stat));
                Ok(())
            }
            // The overlay's note that a file of a lower layer was removed.
            FileType::CharacterDevice if stat.st_rdev == 0 => Ok(()),
            _ => Err(CollectError::Special { path: String::from_utf8_lossy(&self.path).into_owned() }),
        }
    }
}

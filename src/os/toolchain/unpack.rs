//! Unpacks an archive from a peer into an empty directory, and says what arrived.
//!
//! Nothing of it is trusted: [`Admission`] lets in normal names in canonical order below directories of this very archive, each
//! parent is opened without following any symlink, and only directories, symlinks and regular files are made. Sizes are
//! bounded before bytes are taken, so a small archive cannot become a large tree.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use tar::EntryType;

use crate::engine::toolchain::admission::{Admission, AdmissionError};
use crate::model::digest::DigestBuilder;
use crate::model::limits::{COPY_BYTES, PATH_BYTES_MAX, ZSTD_WINDOW_LOG_MAX};
use crate::model::path::SandboxPath;
use crate::model::toolchain::{ToolchainId, ToolchainManifest, ToolchainNode};
use crate::os::toolchain::archive::{DIRECTORY_MODE, FILE_MODE, PROGRAM_MODE};

/// Why an archive was refused. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the archive is damaged or incomplete: {0}")]
    Damaged(#[source] io::Error),
    #[error("the archive is refused: {0}")]
    Refused(#[from] AdmissionError),
    #[error("the archive has an entry of kind {0:#04x}, which is no directory, symlink or file")]
    Kind(u8),
    #[error("the archive goes on after its end")]
    Trailing,
    #[error("the archive holds {found} and not {claimed}")]
    WrongId { claimed: ToolchainId, found: ToolchainId },
    #[error("the toolchains in use leave no room for {bytes} more bytes")]
    NoRoom { bytes: u64 },
    #[error("the toolchain cannot be stored: {0}")]
    Store(#[source] io::Error),
}

/// Unpacks `archive` below `root`, an empty directory, and tells what is there now.
pub(super) fn unpack(
    archive: impl Read,
    root: BorrowedFd<'_>,
    bytes_max: u64,
) -> Result<ToolchainManifest, UnpackError> {
    let mut decoder = zstd::Decoder::new(archive).map_err(UnpackError::Damaged)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(UnpackError::Damaged)?;
    let mut archive = tar::Archive::new(decoder);
    let mut unpacker =
        Unpacker { admission: Admission::new(bytes_max), root, parent: None, buffer: vec![0; COPY_BYTES] };
    let mut long = LongNames::default();
    for entry in archive.entries().map_err(UnpackError::Damaged)?.raw(true) {
        let mut entry = entry.map_err(UnpackError::Damaged)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long.take(&mut entry, |long| &mut long.name)?,
            EntryType::GNULongLink => long.take(&mut entry, |long| &mut long.target)?,
            kind => unpacker.make(kind, std::mem::take(&mut long), &mut entry)?,
        }
    }
    expect_end(archive.into_inner())?;
    Ok(unpacker.admission.finish())
}

/// Names that travel before the entry they belong to.
#[derive(Default)]
struct LongNames {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl LongNames {
    fn take(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        field: impl Fn(&mut Self) -> &mut Option<Vec<u8>>,
    ) -> Result<(), UnpackError> {
        let mut name = Vec::new();
        entry.take(PATH_BYTES_MAX as u64 + 2).read_to_end(&mut name).map_err(UnpackError::Damaged)?;
        let is_text = name.pop() == Some(0) && name.len() <= PATH_BYTES_MAX;
        if !is_text || field(self).replace(name).is_some() {
            return Err(UnpackError::Damaged(io::Error::other("a long name is none")));
        }
        Ok(())
    }
}

struct Unpacker<'a> {
    admission: Admission,
    root: BorrowedFd<'a>,
    /// The directory of the last entry: most entries follow one of the same directory.
    parent: Option<(SandboxPath, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn make(
        &mut self,
        kind: EntryType,
        long: LongNames,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<(), UnpackError> {
        let name = long.name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let size = entry.header().entry_size().map_err(UnpackError::Damaged)?;
        let path = self.admission.path(&name)?;
        let node = match kind {
            EntryType::Directory if size == 0 => self.make_directory(&path).map_err(UnpackError::Store)?,
            EntryType::Symlink if size == 0 => {
                let target = long.target.or_else(|| entry.header().link_name_bytes().map(|name| name.into_owned()));
                self.make_symlink(&path, target.unwrap_or_default())?
            }
            EntryType::Regular => {
                let executable = entry.header().mode().map_err(UnpackError::Damaged)? & 0o111 != 0;
                self.make_file(&path, size, executable, entry)?
            }
            other => return Err(UnpackError::Kind(other.as_byte())),
        };
        Ok(self.admission.push(path, node)?)
    }

    fn make_directory(&mut self, path: &SandboxPath) -> io::Result<ToolchainNode> {
        let (parent, name) = self.place(path)?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        // A second call, since the daemon's umask takes from what the first one asks for.
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(DIRECTORY_MODE), rustix::fs::AtFlags::empty())?;
        Ok(ToolchainNode::Directory)
    }

    fn make_symlink(&mut self, path: &SandboxPath, target: Vec<u8>) -> Result<ToolchainNode, UnpackError> {
        let node = ToolchainNode::Symlink { target: target.clone().into() };
        if target.is_empty() || target.contains(&0) {
            return Err(AdmissionError::Target(path.clone()).into());
        }
        let (parent, name) = self.place(path).map_err(UnpackError::Store)?;
        rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name)
            .map_err(|errno| UnpackError::Store(errno.into()))?;
        Ok(node)
    }

    fn make_file(
        &mut self,
        path: &SandboxPath,
        size: u64,
        executable: bool,
        content: impl Read,
    ) -> Result<ToolchainNode, UnpackError> {
        self.admission.has_room(size)?;
        let mut file = self.create(path).map_err(UnpackError::Store)?;
        let mut content = content.take(size);
        let mut digest = DigestBuilder::new();
        let mut left = size;
        while left > 0 {
            let length = content.read(&mut self.buffer).map_err(UnpackError::Damaged)?;
            if length == 0 {
                return Err(UnpackError::Damaged(io::ErrorKind::UnexpectedEof.into()));
            }
            digest.update(&self.buffer[..length]);
            file.write_all(&self.buffer[..length]).map_err(UnpackError::Store)?;
            left -= length as u64;
        }
        seal(&file, executable).map_err(UnpackError::Store)?;
        Ok(ToolchainNode::File { digest: digest.finish(), size, executable })
    }

    fn create(&mut self, path: &SandboxPath) -> io::Result<File> {
        let (parent, name) = self.place(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Where an entry goes: its open parent directory and its name in it.
    fn place<'p>(&mut self, path: &'p SandboxPath) -> io::Result<(BorrowedFd<'_>, &'p OsStr)> {
        let parent = path.parent().unwrap_or_else(SandboxPath::root);
        let name = OsStr::from_bytes(path.components().next_back().unwrap_or_default());
        if self.parent.as_ref().is_none_or(|(open, _)| *open != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let directory = rustix::fs::openat2(self.root, parent.below_root(), flags, Mode::empty(), resolve)?;
            self.parent = Some((parent, directory));
        }
        let (_, directory) = self.parent.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok((directory.as_fd(), name))
    }
}

/// Read-only, and with the same time in every tree.
fn seal(file: &File, executable: bool) -> io::Result<()> {
    let mode = if executable { PROGRAM_MODE } else { FILE_MODE };
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::fs::futimens(file, &Timestamps { last_access: epoch, last_modification: epoch })?;
    Ok(())
}

/// What follows the end mark: zeros that fill a block, at most.
fn expect_end(mut rest: impl Read) -> Result<(), UnpackError> {
    let mut padding = Vec::new();
    rest.by_ref().take(PADDING_BYTES_MAX + 1).read_to_end(&mut padding).map_err(UnpackError::Damaged)?;
    match padding.len() as u64 <= PADDING_BYTES_MAX && padding.iter().all(|&byte| byte == 0) {
        true => Ok(()),
        false => Err(UnpackError::Trailing),
    }
}

/// tar's blocking factor of 20 records.
const PADDING_BYTES_MAX: u64 = 20 * 512;

//! Puts a unit's results where the compiler would have put them, in the way it would have done it.
//!
//! A file that is not there yet appears whole under its name. What is there is treated as the part of the compiler would that
//! writes the file: the daemon says which. What cannot be written is left to the local
//! compiler, which then says what is wrong in its own words.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, copy_file_range, sendfile};
use rustix::io::Errno;

use crate::engine::wire::local::{FinishedOutput, Placing};
use crate::os::sys::wrapper::{SignalSet, is_ignored, wait_writable};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{outputs} outputs came with {descriptors} descriptors")]
    Mismatch { outputs: usize, descriptors: usize },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Writes every output from its descriptor.
///
/// # Errors
/// Where one could not be written; others may be in place by then, and the local compile writes them once more.
pub(crate) fn write(outputs: &[FinishedOutput], descriptors: Vec<OwnedFd>) -> Result<(), WriteError> {
    if outputs.len() != descriptors.len() {
        return Err(WriteError::Mismatch { outputs: outputs.len(), descriptors: descriptors.len() });
    }
    for (output, descriptor) in outputs.iter().zip(descriptors) {
        let path = Path::new(OsStr::from_bytes(&output.path));
        let blob = Blob { file: File::from(descriptor), size: output.size };
        let mode = if output.executable { 0o777 } else { 0o666 };
        place(path, output.placing, &blob, mode)
            .map_err(|source| WriteError::File { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn place(path: &Path, placing: Placing, blob: &Blob, mode: u32) -> io::Result<()> {
    if !is_replaced(path, placing)? {
        return write_through(path, blob, mode);
    }
    match replace(path, placing, blob, mode) {
        // A directory that takes no new files; the file itself may be writable all the same. clang gives up there.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && placing != Placing::Renamed => {
            write_through(path, blob, mode)
        }
        result => result,
    }
}

/// Whether a new file takes the place of what is at `path`.
///
/// Where nothing is there, that is the way in which no half-written file can be seen. Where something is, assemblers unlink an
/// ordinary file or link, unless it leads to an empty file; clang replaces whatever leads to an ordinary file that it may write,
/// or to nothing.
fn is_replaced(path: &Path, placing: Placing) -> io::Result<bool> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        found => found?.file_type(),
    };
    let target = path.metadata();
    match placing {
        Placing::InPlace => Ok(false),
        Placing::Removed => {
            let is_filled = target.is_ok_and(|target| target.is_file() && target.len() > 0);
            Ok((found.is_file() || found.is_symlink()) && is_filled)
        }
        Placing::Renamed => match target {
            Ok(target) if target.is_file() => access(path, Access::WRITE_OK).map(|()| true).map_err(io::Error::from),
            Ok(_) => Ok(false),
            Err(_) => Ok(found.is_symlink()),
        },
    }
}

/// A temporary file beside it, then a rename.
fn replace(path: &Path, placing: Placing, blob: &Blob, mode: u32) -> io::Result<()> {
    // An interrupted copy must not leave its temporary file behind: the signals wait for the end of a chunk.
    let signals = HeldSignals::new();
    let (mut file, temporary) = create_beside(path, mode)?;
    let result = blob.copy_to(&mut file, || signals.is_pending()).and_then(|()| {
        if placing == Placing::Removed {
            // As the assembler does. A rename onto a file makes ext4 write the new one to the disk at once.
            std::fs::remove_file(path).ok();
        }
        std::fs::rename(&temporary, path)
    });
    if result.is_err() {
        std::fs::remove_file(&temporary).ok();
    }
    result
}

/// The kernel applies umask and default ACL, as it does for a compiler.
fn create_beside(path: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let mut attempt = 0;
    loop {
        let mut hidden = OsString::from(".");
        // A name that is long already would not fit with an addition.
        hidden.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(NAME_KEPT_BYTES)]));
        hidden.push(format!(".farcc-{}-{attempt}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            // Left by a process of the same number that was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < TEMPORARY_ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// As `fopen(path, "w")` does: through links, into devices, keeping the mode of what exists.
fn write_through(path: &Path, blob: &Blob, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    blob.copy_to(&mut file, || false)
}

/// Bytes that the daemon has handed over. Offsets are explicit: the daemon shares the descriptor's own.
struct Blob {
    file: File,
    size: u64,
}

impl Blob {
    /// The cheapest way that works: a clone or a copy inside the kernel, else by hand. `is_over` is asked after each chunk.
    fn copy_to(&self, to: &mut File, is_over: impl Fn() -> bool) -> io::Result<()> {
        let mut done = 0;
        let mut way = Way::CopyRange;
        while done < self.size {
            let chunk = (self.size - done).min(COPY_CHUNK_BYTES) as usize;
            match way.copy(&self.file, done, to, chunk) {
                // Some file systems say so where they mean that they cannot; the last way is to be believed.
                Ok(0) if matches!(way, Way::ReadWrite) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => way = way.next(Errno::NODATA)?,
                Ok(count) => done += count as u64,
                Err(Errno::INTR) => {}
                Err(errno) => way = way.next(errno)?,
            }
            if is_over() {
                return Err(ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }
}

/// How bytes get from a blob to a file; each works where the one before does not.
#[derive(Clone, Copy)]
enum Way {
    CopyRange,
    SendFile,
    ReadWrite,
}

impl Way {
    fn copy(self, from: &File, offset: u64, to: &mut File, bytes: usize) -> Result<usize, Errno> {
        let mut at = offset;
        match self {
            Self::CopyRange => copy_file_range(from, Some(&mut at), to, None, bytes),
            Self::SendFile => sendfile(to, from, Some(&mut at), bytes),
            Self::ReadWrite => {
                let mut buffer = [0; READ_WRITE_BYTES];
                let wanted = bytes.min(buffer.len());
                let count = rustix::io::pread(from, &mut buffer[..wanted], offset)?;
                to.write_all(&buffer[..count]).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                Ok(count)
            }
        }
    }

    /// What to try after `errno`; the errno itself where no other way could do better.
    fn next(self, errno: Errno) -> io::Result<Self> {
        match (self, errno) {
            (_, Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO) => Err(errno.into()),
            (Self::CopyRange, _) => Ok(Self::SendFile),
            (Self::SendFile, _) => Ok(Self::ReadWrite),
            (Self::ReadWrite, _) => Err(errno.into()),
        }
    }
}

/// Signals that would end this process wait while this lives.
struct HeldSignals {
    held: SignalSet,
    mask: SignalSet,
}

impl HeldSignals {
    /// What the caller has given as ignored or blocked does not end us, now or later.
    fn new() -> Self {
        let given = SignalSet::blocked();
        let fatal = FATAL.iter().copied().filter(|&signal| !is_ignored(signal) && !given.contains(signal));
        let held = SignalSet::new(fatal);
        Self { held, mask: held.block() }
    }

    /// Whether one has come.
    fn is_pending(&self) -> bool {
        let pending = SignalSet::pending();
        FATAL.iter().any(|&signal| self.held.contains(signal) && pending.contains(signal))
    }
}

impl Drop for HeldSignals {
    /// Dies here if one has come.
    fn drop(&mut self) {
        self.mask.make_mask();
    }
}

/// Prints what the compiler printed, last of all.
pub(crate) fn print(stdout: &[u8], stderr: &[u8]) {
    print_to(std::io::stdout().as_fd(), stdout);
    print_to(std::io::stderr().as_fd(), stderr);
}

/// A reader that has gone away or a full disk under a log is no failure of the compile: the outputs are in place.
fn print_to(stream: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Someone else made the pipe non-blocking (node does): wait until it takes more.
            Err(Errno::AGAIN) => wait_writable(stream),
            Err(_) => return,
        }
    }
}

/// Signals by which builds are ended.
const FATAL: &[i32] = &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// Between two looks at pending signals: milliseconds on a slow disk.
const COPY_CHUNK_BYTES: u64 = 8 << 20;
const READ_WRITE_BYTES: usize = 64 << 10;
/// Of a file's name in that of its temporary file; with the rest it stays below the kernel's 255.
const NAME_KEPT_BYTES: usize = 200;
/// Names to try; each that is taken was left by a killed wrapper.
const TEMPORARY_ATTEMPTS_MAX: u32 = 100;

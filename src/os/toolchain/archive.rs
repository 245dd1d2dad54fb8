//! Toolchain archives: tar in zstd, made from a manifest and nothing else.
//!
//! Entries come in the manifest's order, without owners, times or write bits. Long names go into GNU extension entries,
//! written and read here and not by the tar library, which would normalise the one and read the other without a bound.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{EntryType, Header};

use crate::model::digest::{Digest, DigestBuilder};
use crate::model::path::SandboxPath;
use crate::model::toolchain::{ToolchainManifest, ToolchainNode};

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{0} has changed since it was packaged")]
    Changed(SandboxPath),
    #[error("{path} cannot be read")]
    Read { path: SandboxPath, source: io::Error },
    /// Whoever was to take the archive did not.
    #[error("the archive cannot be written")]
    Write(#[source] io::Error),
}

/// Writes the files that `manifest` names and `open` finds, hashing each once more.
pub(super) fn write<'a>(
    manifest: &ToolchainManifest,
    open: impl Fn(&SandboxPath) -> io::Result<Box<dyn Read + 'a>>,
    out: impl Write,
) -> Result<(), ArchiveError> {
    let compressed = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(ArchiveError::Write)?;
    let mut archive = tar::Builder::new(compressed);
    for entry in &manifest.entries {
        let name = entry.path.below_root();
        match &entry.node {
            ToolchainNode::Directory => {
                append(&mut archive, EntryType::Directory, DIRECTORY_MODE, name, b"", 0, io::empty())
            }
            ToolchainNode::Symlink { target } => {
                append(&mut archive, EntryType::Symlink, SYMLINK_MODE, name, target, 0, io::empty())
            }
            ToolchainNode::File { digest, size, executable } => {
                let content = open(&entry.path);
                let content = content.map_err(|source| ArchiveError::Read { path: entry.path.clone(), source })?;
                append_file(&mut archive, content, &entry.path, digest, *size, *executable)?;
                Ok(())
            }
        }
        .map_err(ArchiveError::Write)?;
    }
    let compressed = archive.into_inner().map_err(ArchiveError::Write)?;
    let mut out = compressed.finish().map_err(ArchiveError::Write)?;
    out.flush().map_err(ArchiveError::Write)
}

fn append_file(
    archive: &mut tar::Builder<impl Write>,
    content: impl Read,
    path: &SandboxPath,
    expected: &Digest,
    size: u64,
    executable: bool,
) -> Result<(), ArchiveError> {
    let mut content = Content { file: content.take(size), digest: DigestBuilder::new(), failure: None, left: size };
    let mode = if executable { PROGRAM_MODE } else { FILE_MODE };
    let written = append(archive, EntryType::Regular, mode, path.below_root(), b"", size, &mut content);
    if let Some(source) = content.failure {
        return Err(ArchiveError::Read { path: path.clone(), source });
    }
    written.map_err(ArchiveError::Write)?;
    let mut beyond = [0];
    let longer = content.file.into_inner().read(&mut beyond).is_ok_and(|length| length > 0);
    if content.left > 0 || longer || content.digest.finish() != *expected {
        return Err(ArchiveError::Changed(path.clone()));
    }
    Ok(())
}

/// A file's bytes on their way into the archive, hashed. A failure to read is kept apart from one to write.
struct Content<R> {
    file: io::Take<R>,
    digest: DigestBuilder,
    failure: Option<io::Error>,
    left: u64,
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(length) => {
                self.digest.update(&buffer[..length]);
                self.left -= length as u64;
                Ok(length)
            }
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    kind: EntryType,
    mode: u32,
    name: &Path,
    target: &[u8],
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let name = name.as_os_str().as_bytes();
    append_long(archive, EntryType::GNULongName, name)?;
    append_long(archive, EntryType::GNULongLink, target)?;
    let mut header = plain_header(kind, mode, size);
    copy_name(&mut header.as_old_mut().name, name);
    copy_name(&mut header.as_old_mut().linkname, target);
    header.set_cksum();
    archive.append(&header, content)
}

/// A name that fits into no header travels before it, as the content of an entry of its own.
fn append_long(archive: &mut tar::Builder<impl Write>, kind: EntryType, name: &[u8]) -> io::Result<()> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let mut header = plain_header(kind, FILE_MODE, name.len() as u64 + 1);
    copy_name(&mut header.as_old_mut().name, LONG_NAME);
    header.set_cksum();
    archive.append(&header, name.chain(&[0][..]))
}

fn plain_header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn copy_name(field: &mut [u8], name: &[u8]) {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
}

/// What GNU tar calls the entries that carry long names.
const LONG_NAME: &[u8] = b"././@LongLink";
/// Width of the name fields of a header.
const NAME_BYTES_MAX: usize = 100;

pub(super) const DIRECTORY_MODE: u32 = 0o755;
pub(super) const FILE_MODE: u32 = 0o444;
pub(super) const PROGRAM_MODE: u32 = 0o555;
const SYMLINK_MODE: u32 = 0o777;
/// On a gigabit link, at 200 MB/s of input, the compressor waits for the link; the next levels save an eighth of the bytes
/// and take more than twice the time.
const ZSTD_LEVEL: i32 = 1;

//! Toolchain archives that other tools made: a tar, packed or not, of a file system in which a compiler runs.
//!
//! `icecc-create-env` makes them, and people's build environments. They are as trusted as the configuration that names them, so the
//! bounds here are against mistakes. What is in one is kept in a file without a name: nothing is left of it when the daemon ends,
//! however it does. Left out is what no job may take from here: headers, which travel with each unit at the client's own paths,
//! and files where a sandbox has the kernel's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::model::digest::DigestBuilder;
use crate::model::limits::{COPY_BYTES, TOOLCHAIN_BYTES_MAX, TOOLCHAIN_ENTRIES_MAX};
use crate::model::path::{PathError, SandboxPath};
use crate::model::toolchain::ToolchainNode;
use crate::os::random;
use crate::os::toolchain::route::Route;

/// Why such an archive is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error("cannot be opened")]
    Open(#[source] io::Error),
    #[error("is damaged, or no tar archive")]
    Damaged(#[source] io::Error),
    #[error("has a name that cannot be used: {name}")]
    Name { name: String, source: PathError },
    #[error("has {path} of kind {kind:#04x}, which is no directory, link or file")]
    Kind { path: SandboxPath, kind: u8 },
    #[error("has a hard link {0} to a file that does not come before it")]
    Link(SandboxPath),
    #[error("has more than {TOOLCHAIN_BYTES_MAX} bytes")]
    TooLarge,
    #[error("has more than {TOOLCHAIN_ENTRIES_MAX} files")]
    TooManyEntries,
    #[error("has no program {}", .0.display())]
    NoProgram(PathBuf),
    #[error("has {0} where this machine has something that it cannot be joined with")]
    Conflict(SandboxPath),
    #[error("cannot be kept in a temporary file")]
    Spool(#[source] io::Error),
}

/// What is in an archive.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) nodes: BTreeMap<SandboxPath, ToolchainNode>,
    pub(super) spool: Spool,
}

/// Contents of files, one behind the other.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    bytes: u64,
    places: BTreeMap<SandboxPath, Range<u64>>,
}

impl Foreign {
    pub(super) fn read(archive: &Path) -> Result<Self, ForeignError> {
        let file = File::open(archive).map_err(ForeignError::Open)?;
        let mut archive = tar::Archive::new(unpacked(file)?);
        let mut foreign = Self { nodes: BTreeMap::new(), spool: Spool::new().map_err(ForeignError::Spool)? };
        for entry in archive.entries().map_err(ForeignError::Damaged)? {
            foreign.take(entry.map_err(ForeignError::Damaged)?)?;
        }
        Ok(foreign)
    }

    fn take(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), ForeignError> {
        let path = path_of(&entry.path_bytes())?;
        if path == SandboxPath::root() || is_left_out(&path) {
            return Ok(());
        }
        if self.nodes.len() >= TOOLCHAIN_ENTRIES_MAX {
            return Err(ForeignError::TooManyEntries);
        }
        let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
        let node = match entry.header().entry_type() {
            EntryType::Directory => ToolchainNode::Directory,
            EntryType::Symlink if !target.is_empty() && !target.contains(&0) => {
                ToolchainNode::Symlink { target: target.into() }
            }
            EntryType::Link => self.linked(&path, &path_of(&target)?)?,
            // Says something about all others, and nothing that is asked here.
            EntryType::XGlobalHeader => return Ok(()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.store(&path, &mut entry)?,
            kind => return Err(ForeignError::Kind { path, kind: kind.as_byte() }),
        };
        self.nodes.insert(path, node);
        Ok(())
    }

    fn store(
        &mut self,
        path: &SandboxPath,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<ToolchainNode, ForeignError> {
        let mode = entry.header().mode().map_err(ForeignError::Damaged)?;
        let begin = self.spool.bytes;
        let mut digest = DigestBuilder::new();
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let length = entry.read(&mut buffer).map_err(ForeignError::Damaged)?;
            if length == 0 {
                break;
            }
            if self.spool.bytes.saturating_add(length as u64) > TOOLCHAIN_BYTES_MAX {
                return Err(ForeignError::TooLarge);
            }
            digest.update(&buffer[..length]);
            self.spool.file.write_all(&buffer[..length]).map_err(ForeignError::Spool)?;
            self.spool.bytes += length as u64;
        }
        let place = begin..self.spool.bytes;
        let size = place.end - place.start;
        self.spool.places.insert(path.clone(), place);
        Ok(ToolchainNode::File { digest: digest.finish(), size, executable: mode & 0o111 != 0 })
    }

    fn linked(&mut self, path: &SandboxPath, to: &SandboxPath) -> Result<ToolchainNode, ForeignError> {
        let node = self.nodes.get(to).cloned().ok_or_else(|| ForeignError::Link(path.clone()))?;
        self.spool.share(to, path);
        Ok(node)
    }

    /// The file that `path` leads to inside the archive.
    pub(super) fn resolve(&self, path: &Path) -> Option<SandboxPath> {
        let mut route = Route::new(path);
        while let Some(next) = route.next() {
            match self.nodes.get(&SandboxPath::from_path(&next).ok()?) {
                Some(ToolchainNode::Symlink { target }) => {
                    if !route.follow(Path::new(OsStr::from_bytes(target))) {
                        return None;
                    }
                }
                // Tools that list files alone leave their directories out.
                Some(ToolchainNode::Directory | ToolchainNode::File { .. }) | None => route.enter(next),
            }
        }
        let found = SandboxPath::from_path(&route.end()).ok()?;
        matches!(self.nodes.get(&found), Some(ToolchainNode::File { .. })).then_some(found)
    }
}

impl Spool {
    fn new() -> io::Result<Self> {
        // Large, and not to be kept in memory where /tmp is.
        let directory = std::env::var_os("TMPDIR").filter(|value| !value.is_empty());
        let directory = directory.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let path = directory.join(format!("farcc-{:016x}", u64::from_ne_bytes(random::bytes())));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, bytes: 0, places: BTreeMap::new() })
    }

    /// Gives `path` the content of `of`.
    pub(super) fn share(&mut self, of: &SandboxPath, path: &SandboxPath) {
        if let Some(place) = self.places.get(of).cloned() {
            self.places.insert(path.clone(), place);
        }
    }

    /// The content of a file of this archive.
    pub(super) fn open<'a>(&'a self, path: &SandboxPath) -> Option<impl Read + use<'a>> {
        let place = self.places.get(path)?;
        Some(Content { file: &self.file, at: place.start }.take(place.end - place.start))
    }
}

/// Reads a spool from some place on.
struct Content<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// The tar in `file`, by its first bytes and not by its name.
fn unpacked(mut file: File) -> Result<Box<dyn Read>, ForeignError> {
    let mut start = Vec::new();
    (&file).take(6).read_to_end(&mut start).map_err(ForeignError::Open)?;
    file.rewind().map_err(ForeignError::Open)?;
    let file = BufReader::with_capacity(COPY_BYTES, file);
    Ok(match start.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file).map_err(ForeignError::Damaged)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(file, true)),
        _ => Box::new(file),
    })
}

/// `./usr/bin/gcc`, `usr/bin/gcc` and `/usr/bin/gcc` are one.
fn path_of(name: &[u8]) -> Result<SandboxPath, ForeignError> {
    let components = name.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
    let mut path = Vec::with_capacity(name.len() + 1);
    for component in components {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    let unusable = |source| ForeignError::Name { name: String::from_utf8_lossy(name).into_owned(), source };
    SandboxPath::new(path).map_err(unusable)
}

fn is_left_out(path: &SandboxPath) -> bool {
    let is_kernels = |first: &[u8]| matches!(first, b"proc" | b"sys" | b"dev");
    path.components().next().is_some_and(is_kernels)
        || path.components().any(|name| matches!(name, b"include" | b"include-fixed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        let path =
            |name: &str| path_of(name.as_bytes()).map(|path| path.to_string()).map_err(|error| error.to_string());
        for name in ["usr/bin/gcc", "./usr/bin/gcc", "/usr//bin/./gcc", "usr/bin/gcc/"] {
            assert_eq!(path(name), Ok("/usr/bin/gcc".into()));
        }
        assert_eq!(path("./"), Ok("/".into()));
        assert_eq!(path("../etc"), Err("has a name that cannot be used: ../etc".into()));
    }

    #[test]
    fn headers_and_the_kernels_files_stay_out() {
        let is_out = |path: &str| is_left_out(&SandboxPath::new(path.as_bytes()).unwrap());
        for path in ["/usr/lib/clang/19/include/stddef.h", "/usr/lib/gcc/x/12/include-fixed/limits.h", "/proc/cpuinfo"]
        {
            assert!(is_out(path), "{path}");
        }
        assert!(!is_out("/usr/lib/includes") && !is_out("/usr/dev/x") && !is_out("/usr/bin/gcc"));
    }
}

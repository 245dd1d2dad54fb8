//! The builder's store of input files, addressed by content, ready to be linked into jobs.
//!
//! A hard link takes some microseconds, a copy some ten, and a job has hundreds of files. But a link shares its inode, with
//! time and mode, and compilers take the inode for the identity of a header. So a blob has one inode for each (time, mode) that was
//! asked for, and one more for each file that a job has twice.
//!
//! Blobs appear by rename, once size and digest have been found right. They are not flushed to the disk, and what a crash may have
//! left of them could be anything: a store begins empty. Clients learn that from the builder's new instance number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, futimens, ioctl_ficlone, openat, renameat,
    unlinkat,
};

use crate::model::digest::{Digest, DigestBuilder};
use crate::model::job::FileTime;
use crate::model::limits::LINKS_MAX;
use crate::os::store::remove::remove_tree;

/// Blobs below one directory, bounded by their bytes.
#[derive(Clone, Debug)]
pub struct InputStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: OwnedFd,
    bytes_max: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    blobs: HashMap<Digest, Blob>,
    /// Least recently used first.
    by_use: BTreeMap<u64, Digest>,
    /// Jobs that use a blob, there or not.
    pins: HashMap<Digest, usize>,
    bytes: u64,
    n_uses: u64,
    n_names: u64,
}

#[derive(Debug)]
struct Blob {
    size: u64,
    last_use: u64,
    inodes: Vec<Inode>,
}

/// One file of the store.
#[derive(Debug)]
struct Inode {
    name: String,
    /// None until a job wants it.
    look: Option<Look>,
    /// At most as many: links that are gone are noticed only when it seems that there are too many.
    n_links: u64,
}

/// What a job sees of a file beside its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Look {
    pub mtime: FileTime,
    /// Permission bits.
    pub mode: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error("blob {digest} does not match its digest or size")]
    Corrupt { digest: Digest },
    #[error("cannot store a blob")]
    Io(#[from] io::Error),
}

impl InputStore {
    /// An empty store in `directory`; what was there goes.
    pub fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        remove_tree(directory)?;
        DirBuilder::new().mode(0o700).create(directory)?;
        let directory = OwnedFd::from(File::open(directory)?);
        Ok(Self(Arc::new(Shared { directory, bytes_max, index: Mutex::default() })))
    }

    /// Keeps `digests` from being evicted, those included that will be received.
    pub fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pins {
        let mut index = self.0.index();
        let pinned: HashSet<_> = digests.into_iter().collect();
        for digest in &pinned {
            *index.pins.entry(*digest).or_default() += 1;
            index.touch(digest);
        }
        drop(index);
        Pins { store: self.clone(), pinned }
    }

    /// Takes a blob from a peer.
    pub fn receive(&self, digest: Digest, size: u64) -> Result<BlobWriter, ReceiveError> {
        let name = self.0.index().fresh_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let temporary = format!("{name}.partial");
        let file = openat(&self.0.directory, &temporary, flags, Mode::from_raw_mode(0o600)).map_err(io::Error::from)?;
        let file = Some(File::from(file));
        Ok(BlobWriter {
            store: self.clone(),
            digest,
            size,
            name,
            temporary,
            file,
            n_written: 0,
            hash: DigestBuilder::new(),
        })
    }

    /// Bytes in the store, as blobs count; copies of a blob count each.
    pub fn bytes(&self) -> u64 {
        self.0.index().bytes
    }

    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.0.directory
    }

    /// The name in the store of the file that looks like `look`; the `copy`th of them, since a job may need several
    /// that are not the same. Made where there is none yet. The blob must be pinned.
    pub(crate) fn file(&self, digest: Digest, look: Look, copy: usize) -> io::Result<String> {
        let mut index = self.0.index();
        let index = &mut *index;
        let blob = index.blobs.get_mut(&digest).ok_or(io::ErrorKind::NotFound)?;
        for inode in blob.inodes.iter_mut().filter(|inode| inode.n_links >= LINKS_MAX) {
            inode.n_links = self.0.count_links(&inode.name)?;
        }
        let is_alike = |inode: &Inode| inode.look == Some(look) && inode.n_links < LINKS_MAX;
        let mut alike = (0..).zip(&blob.inodes).filter(|(_, inode)| is_alike(inode)).map(|(i, _)| i);
        let found = alike.nth(copy).or_else(|| blob.inodes.iter().position(|inode| inode.look.is_none()));
        let i = match found {
            Some(i) => i,
            None => {
                index.n_names += 1;
                let name = format!("{:x}", index.n_names);
                self.0.copy(&blob.inodes[0].name, &name)?;
                index.bytes += blob.size;
                blob.inodes.push(Inode { name, look: None, n_links: 0 });
                blob.inodes.len() - 1
            }
        };
        let inode = &mut blob.inodes[i];
        if inode.look.is_none() {
            self.0.dress(&inode.name, look)?;
            inode.look = Some(look);
        }
        inode.n_links += 1;
        Ok(inode.name.clone())
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        // Each change leaves the index whole before anything can panic.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a file the time and the mode that jobs will see.
    fn dress(&self, name: &str, look: Look) -> io::Result<()> {
        let file = openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mtime = Timespec { tv_sec: look.mtime.seconds, tv_nsec: i64::from(look.mtime.nanoseconds) as _ };
        futimens(
            &file,
            &Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: mtime },
        )?;
        Ok(fchmod(&file, Mode::from_raw_mode(look.mode & 0o777 | 0o400))?)
    }

    fn count_links(&self, name: &str) -> io::Result<u64> {
        let file = openat(&self.directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(fstat(&file)?.st_nlink)
    }

    fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        let mut from = File::from(openat(&self.directory, from, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut to_file = File::from(openat(&self.directory, to, flags, Mode::from_raw_mode(0o600))?);
        // Shares the blocks where the file system can.
        if ioctl_ficlone(&to_file, &from).is_ok() {
            return Ok(());
        }
        io::copy(&mut from, &mut to_file).map(drop).inspect_err(|_| self.unlink(to))
    }

    fn unlink(&self, name: &str) {
        // What cannot be removed now goes when the store is opened next.
        unlinkat(&self.directory, name, AtFlags::empty()).ok();
    }

    /// Evicts until the store is within its bound, or everything in it is in use.
    fn shrink(&self, index: &mut Index) {
        while index.bytes > self.bytes_max {
            let unused = index.by_use.iter().find(|(_, digest)| !index.pins.contains_key(digest));
            let Some((&last_use, &digest)) = unused else { return };
            index.by_use.remove(&last_use);
            if let Some(blob) = index.blobs.remove(&digest) {
                index.bytes -= blob.size * blob.inodes.len() as u64;
                blob.inodes.iter().for_each(|inode| self.unlink(&inode.name));
            }
        }
    }
}

impl Index {
    fn fresh_name(&mut self) -> String {
        self.n_names += 1;
        format!("{:x}", self.n_names)
    }

    fn touch(&mut self, digest: &Digest) {
        if let Some(blob) = self.blobs.get_mut(digest) {
            self.n_uses += 1;
            self.by_use.remove(&blob.last_use);
            blob.last_use = self.n_uses;
            self.by_use.insert(self.n_uses, *digest);
        }
    }
}

/// Blobs that a job uses; they stay until this value goes.
#[derive(Debug)]
#[must_use = "dropping pins lets the blobs be evicted"]
pub struct Pins {
    store: InputStore,
    pinned: HashSet<Digest>,
}

impl Pins {
    /// Which of them are not there, in order of digest.
    pub fn missing(&self) -> Vec<Digest> {
        let index = self.store.0.index();
        let mut missing: Vec<_> =
            self.pinned.iter().filter(|digest| !index.blobs.contains_key(digest)).copied().collect();
        missing.sort_unstable();
        missing
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut index = self.store.0.index();
        for digest in &self.pinned {
            match index.pins.get_mut(digest) {
                Some(n) if *n > 1 => *n -= 1,
                _ => drop(index.pins.remove(digest)),
            }
        }
        self.store.0.shrink(&mut index);
    }
}

/// A blob on its way in. Dropped before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: InputStore,
    digest: Digest,
    size: u64,
    name: String,
    temporary: String,
    file: Option<File>,
    n_written: u64,
    hash: DigestBuilder,
}

impl BlobWriter {
    /// Checks size and digest, and only then shows the blob to jobs.
    pub fn finish(mut self) -> Result<(), ReceiveError> {
        if self.n_written != self.size || self.hash.finish() != self.digest {
            return Err(ReceiveError::Corrupt { digest: self.digest });
        }
        let shared = &self.store.0;
        let mut index = shared.index();
        // Two jobs may have missed it at the same time.
        if index.blobs.contains_key(&self.digest) {
            return Ok(());
        }
        renameat(&shared.directory, &self.temporary, &shared.directory, &self.name).map_err(io::Error::from)?;
        self.file = None;
        let inode = Inode { name: self.name.clone(), look: None, n_links: 0 };
        index.blobs.insert(self.digest, Blob { size: self.size, last_use: 0, inodes: vec![inode] });
        index.touch(&self.digest);
        index.bytes += self.size;
        shared.shrink(&mut index);
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if self.n_written + bytes.len() as u64 > self.size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "blob is longer than announced"));
        }
        let n = file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.n_written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            self.store.0.unlink(&self.temporary);
        }
    }
}

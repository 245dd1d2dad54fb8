//! What is known about files and directories of this machine, by their stat identity.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::compiler::tokens::{self, Scan, Uses};
use crate::model::digest::Digest;
use crate::model::generations::Generations;
use crate::model::job::FileTime;
use crate::model::limits::{
    INPUT_BYTES_MAX, LISTING_NAMES_MAX, RACY_WINDOW, SCAN_CACHE_DIRECTORIES_MAX, SCAN_CACHE_FILES_MAX,
};
use crate::model::reason::{Reason, Why};
use crate::os::clock;
use crate::os::inputs::tree::{display, os_path};

/// While these are equal, the content is: nobody can set a change time back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime: FileTime,
    ctime: FileTime,
}

impl Identity {
    /// Of nothing that exists.
    pub(super) const NONE: Self = {
        let never = FileTime { seconds: 0, nanoseconds: 0 };
        Self { device: 0, inode: 0, size: 0, mtime: never, ctime: never }
    };

    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = |seconds, nanoseconds| FileTime { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: time(metadata.mtime(), metadata.mtime_nsec()),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether this file was touched in any way after the content of `other` was written.
    pub(super) fn changed_after(&self, other: &Self) -> bool {
        self.ctime > other.mtime
    }

    /// Changed so recently that it could change again without looking different.
    fn is_racy(&self, now: FileTime) -> bool {
        let window = i64::try_from(RACY_WINDOW.as_secs()).unwrap_or(i64::MAX);
        let trusted = FileTime { seconds: now.seconds.saturating_sub(window), ..now };
        self.ctime >= trusted
    }
}

/// What a file's bytes come to.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) scan: Scan,
}

/// Names in a directory; none where it cannot be listed, or has too many to.
pub(super) type Listing = Option<HashSet<Box<[u8]>>>;

/// Digests and token scans of files, names of directories: shared by all units of a daemon, so that a header is read once.
#[derive(Debug)]
pub struct ScanCache {
    files: Mutex<Generations<Identity, Arc<Known>>>,
    listings: Mutex<Generations<Identity, Arc<Listing>>>,
    /// By file and by the digest of the macros looked for.
    uses: Mutex<Generations<(Identity, Digest), Arc<Uses>>>,
}

/// Macros to look for, with a digest that stands for them.
pub(super) struct Macros {
    pub(super) names: BTreeSet<Box<[u8]>>,
    digest: Digest,
}

impl Macros {
    pub(super) fn new(names: BTreeSet<Box<[u8]>>) -> Self {
        // Identifiers have no NUL in them.
        let text: Vec<u8> = names.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
        Self { names, digest: Digest::of(&text) }
    }
}

impl Default for ScanCache {
    fn default() -> Self {
        Self {
            files: Mutex::new(Generations::new(SCAN_CACHE_FILES_MAX)),
            listings: Mutex::new(Generations::new(SCAN_CACHE_DIRECTORIES_MAX)),
            uses: Mutex::new(Generations::new(SCAN_CACHE_FILES_MAX)),
        }
    }
}

impl ScanCache {
    pub fn new() -> Self {
        Self::default()
    }

    /// What the file at the physical `path` holds, which looked like `identity` a moment ago.
    pub(super) fn file(&self, path: &[u8], identity: Identity) -> Result<Arc<Known>, Why> {
        if let Some(known) = lock(&self.files).find(&identity) {
            return Ok(known);
        }
        let bytes = read_unchanged(path, identity)?;
        let known = Arc::new(Known { digest: Digest::of(&bytes), scan: tokens::scan(&bytes) });
        if !identity.is_racy(clock::file_time_now()) {
            lock(&self.files).remember(identity, Arc::clone(&known));
        }
        Ok(known)
    }

    /// How the file uses `macros`.
    pub(super) fn uses(&self, path: &[u8], identity: Identity, macros: &Macros) -> Result<Arc<Uses>, Why> {
        let key = (identity, macros.digest);
        if let Some(uses) = lock(&self.uses).find(&key) {
            return Ok(uses);
        }
        let bytes = read_unchanged(path, identity)?;
        let uses = Arc::new(tokens::uses(&bytes, &macros.names));
        if !identity.is_racy(clock::file_time_now()) {
            lock(&self.uses).remember(key, Arc::clone(&uses));
        }
        Ok(uses)
    }

    /// Names in the physical directory `path`, which looked like `identity` a moment ago.
    pub(super) fn listing(&self, path: &[u8], identity: Identity) -> Arc<Listing> {
        if let Some(listing) = lock(&self.listings).find(&identity) {
            return listing;
        }
        let now = clock::file_time_now();
        let listing = Arc::new(list(path));
        if !identity.is_racy(now) {
            lock(&self.listings).remember(identity, Arc::clone(&listing));
        }
        listing
    }
}

/// A cache is right even after a panic elsewhere: entries are inserted whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_unchanged(path: &[u8], identity: Identity) -> Result<Vec<u8>, Why> {
    let unusable = |error: std::io::Error| Why::new(Reason::UnusableInput, format!("{}: {error}", display(path)));
    let changed = || Why::new(Reason::InputChanged, display(path));
    if identity.size > INPUT_BYTES_MAX {
        return Err(Why::new(Reason::TooLarge, display(path)));
    }
    let mut file = File::open(os_path(path)).map_err(unusable)?;
    let mut bytes = Vec::with_capacity(usize::try_from(identity.size).map_or(0, |size| size + 1));
    file.by_ref().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unusable)?;
    let after = Identity::of(&file.metadata().map_err(unusable)?);
    if after != identity || bytes.len() as u64 != identity.size {
        return Err(changed());
    }
    Ok(bytes)
}

fn list(path: &[u8]) -> Listing {
    let mut names = HashSet::new();
    for entry in fs::read_dir(os_path(path)).ok()? {
        if names.len() >= LISTING_NAMES_MAX {
            return None;
        }
        names.insert(entry.ok()?.file_name().into_vec().into_boxed_slice());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_just_written_is_not_remembered() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = ScanCache::new();
        let path = file.path().as_os_str().as_encoded_bytes();
        let identity = Identity::of(&fs::metadata(file.path()).unwrap());
        cache.file(path, identity).unwrap();
        assert!(lock(&cache.files).find(&identity).is_none());
        let long_ago = Identity { ctime: FileTime { seconds: 1, nanoseconds: 0 }, ..identity };
        assert!(identity.is_racy(clock::file_time_now()) && !long_ago.is_racy(clock::file_time_now()));
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().as_os_str().as_encoded_bytes();
        let before = Identity::of(&fs::metadata(file.path()).unwrap());
        fs::write(file.path(), "more").unwrap();
        let why = ScanCache::new().file(path, before).map(|_| ()).unwrap_err();
        assert_eq!(why.reason, Reason::InputChanged);
    }
}

//! The unpacked toolchains of a builder: verified before they are visible, held while jobs run, evicted when room is short.
//!
//! A toolchain is the directory `ID/` with `tree/` and, beside it, its `manifest`. It appears by one rename. Nothing is
//! fsynced: after a restart each tree is hashed again before its first use, and a damaged one is removed. The order of last
//! use is in the manifests' times.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};

use crate::engine::toolchain::eviction::{Resident, make_room};
use crate::model::digest::{Digest, DigestBuilder};
use crate::model::limits::{COPY_BYTES, TOOLCHAIN_ENTRIES_MAX, TOOLCHAIN_MANIFEST_BYTES_MAX};
use crate::model::path::SandboxPath;
use crate::model::toolchain::{ToolchainEntry, ToolchainId, ToolchainManifest, ToolchainNode};
use crate::os::toolchain::unpack::{UnpackError, unpack};

/// Cheap to clone: clones share one store. Its calls block on the disk.
#[derive(Clone, Debug)]
pub struct ToolchainStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    max_bytes: AtomicU64,
    state: Mutex<State>,
    _lock: Lock,
}

#[derive(Debug, Default)]
struct State {
    trees: BTreeMap<ToolchainId, Resting>,
    n_uses: u64,
    n_temporaries: u64,
}

#[derive(Debug)]
struct Resting {
    tree: Arc<Tree>,
    used: u64,
}

#[derive(Debug)]
struct Tree {
    id: ToolchainId,
    root: PathBuf,
    bytes: u64,
    /// Locked while someone verifies: whoever else wants the tree waits for the outcome.
    trust: Mutex<Trust>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    /// Found at start.
    Unverified,
    Verified,
    Damaged,
}

/// A toolchain in use. Its tree stays as it is until the last holder lets go.
#[must_use = "dropping it lets the store evict the toolchain"]
#[derive(Clone, Debug)]
pub struct Held(Arc<Tree>);

impl Held {
    pub fn id(&self) -> ToolchainId {
        self.0.id
    }

    /// The root of the unpacked tree: usable as a lower layer of an overlay, never written to.
    pub fn path(&self) -> &Path {
        &self.0.root
    }
}

/// One line of a status report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    pub id: ToolchainId,
    pub bytes: u64,
    pub held: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another process keeps toolchains in {}", directory.display())]
    InUse { directory: PathBuf },
    #[error("toolchains cannot be kept in {}: {source}", directory.display())]
    Io { directory: PathBuf, source: io::Error },
}

impl ToolchainStore {
    /// Opens, or makes, the store in `directory`. What an earlier process left half done is removed.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { directory: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let directory = fs::canonicalize(directory).map_err(failed)?;
        let lock = Lock::take(&directory).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::InUse { directory: directory.clone() },
            _ => failed(error),
        })?;
        let trees = found(&directory).map_err(failed)?;
        let n_uses = trees.len() as u64;
        let state = Mutex::new(State { trees, n_uses, n_temporaries: 0 });
        let store =
            Self { shared: Arc::new(Shared { directory, max_bytes: AtomicU64::new(max_bytes), state, _lock: lock }) };
        // The bound may be lower than last time. What cannot be moved away stays and is tried again with the next upload.
        let evicted = store.make_room(&mut store.state(), 0).unwrap_or_default();
        drop(evicted);
        Ok(store)
    }

    /// The toolchain, if it is here and whole. The first use after a start reads all of it.
    pub fn get(&self, id: &ToolchainId) -> Option<Held> {
        let tree = {
            let mut state = self.state();
            state.n_uses += 1;
            let used = state.n_uses;
            let resting = state.trees.get_mut(id)?;
            resting.used = used;
            Arc::clone(&resting.tree)
        };
        if !tree.is_whole() {
            self.discard(&tree);
            return None;
        }
        tree.touch();
        Some(Held(tree))
    }

    /// Takes an archive that is said to hold `id`, and makes it visible if it does.
    pub fn unpack(&self, id: &ToolchainId, archive: impl Read) -> Result<Held, UnpackError> {
        let temporary = self.temporary().map_err(UnpackError::Store)?;
        let manifest = temporary.unpack(archive, self.max_bytes())?;
        let found = manifest.id();
        if found != *id {
            return Err(UnpackError::WrongId { claimed: *id, found });
        }
        temporary.write_manifest(&manifest).map_err(UnpackError::Store)?;
        match self.get(id) {
            Some(held) => Ok(held),
            None => self.publish(*id, manifest.bytes(), &temporary),
        }
    }

    /// Removes every toolchain that nobody holds; how many bytes that were.
    pub fn purge(&self) -> u64 {
        let mut state = self.state();
        let idle: Vec<_> = state.residents().into_iter().filter(|resident| !resident.held).collect();
        let hidden: Vec<_> = idle.iter().filter_map(|it| Some((it.bytes, self.hide(&mut state, it.id)?))).collect();
        // Deleting takes its time and needs no lock.
        drop(state);
        hidden.iter().map(|(bytes, _)| bytes).sum()
    }

    /// Keeps at most so many bytes from now on, as far as they are not in use.
    pub fn set_bound(&self, max_bytes: u64) {
        self.shared.max_bytes.store(max_bytes, Ordering::Relaxed);
        let evicted = self.make_room(&mut self.state(), 0);
        drop(evicted);
    }

    /// Everything that is here, the least recently used first.
    pub fn list(&self) -> Vec<Stored> {
        let mut residents = self.state().residents();
        residents.sort_by_key(|resident| resident.used);
        residents.iter().map(|&Resident { id, bytes, held, .. }| Stored { id, bytes, held }).collect()
    }

    fn publish(&self, id: ToolchainId, bytes: u64, temporary: &Temporary) -> Result<Held, UnpackError> {
        let mut state = self.state();
        if let Some(resting) = state.trees.get(&id) {
            return Ok(Held(Arc::clone(&resting.tree)));
        }
        let evicted = self.make_room(&mut state, bytes).ok_or(UnpackError::NoRoom { bytes })?;
        let place = self.shared.directory.join(id.to_string());
        rename(&temporary.path, &place).map_err(UnpackError::Store)?;
        state.n_uses += 1;
        let tree = Arc::new(Tree { id, root: place.join(TREE), bytes, trust: Mutex::new(Trust::Verified) });
        let used = state.n_uses;
        state.trees.insert(id, Resting { tree: Arc::clone(&tree), used });
        drop(state);
        // Deleting takes its time and needs no lock: these trees are out of sight already.
        drop(evicted);
        Ok(Held(tree))
    }

    /// Moves enough trees out of sight; they are deleted when the result is dropped.
    fn make_room(&self, state: &mut State, wanted: u64) -> Option<Vec<Temporary>> {
        let evicted = make_room(&state.residents(), wanted, self.max_bytes())?;
        Some(evicted.into_iter().filter_map(|id| self.hide(state, id)).collect())
    }

    fn discard(&self, damaged: &Arc<Tree>) {
        let mut state = self.state();
        // Someone else may have discarded it, and a new one may be in its place.
        if state.trees.get(&damaged.id).is_some_and(|resting| Arc::ptr_eq(&resting.tree, damaged)) {
            let hidden = self.hide(&mut state, damaged.id);
            drop(state);
            drop(hidden);
        }
    }

    fn hide(&self, state: &mut State, id: ToolchainId) -> Option<Temporary> {
        let resting = state.trees.remove(&id)?;
        let temporary = Temporary { path: self.temporary_path(state) };
        match rename(&self.shared.directory.join(id.to_string()), &temporary.path) {
            Ok(()) => Some(temporary),
            Err(error) => {
                tracing::warn!(toolchain = %id, %error, "toolchain cannot be moved away");
                state.trees.insert(id, resting);
                None
            }
        }
    }

    fn max_bytes(&self) -> u64 {
        self.shared.max_bytes.load(Ordering::Relaxed)
    }

    fn temporary(&self) -> io::Result<Temporary> {
        let path = self.temporary_path(&mut self.state());
        fs::create_dir(&path)?;
        Ok(Temporary { path })
    }

    fn temporary_path(&self, state: &mut State) -> PathBuf {
        state.n_temporaries += 1;
        self.shared.directory.join(format!("{TEMPORARY}{}", state.n_temporaries))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn residents(&self) -> Vec<Resident> {
        let resident = |(id, resting): (&ToolchainId, &Resting)| Resident {
            id: *id,
            bytes: resting.tree.bytes,
            used: resting.used,
            // Holders clone under the state's lock, or from another holder: a count of one stays one while it is locked.
            held: Arc::strong_count(&resting.tree) > 1,
        };
        self.trees.iter().map(resident).collect()
    }
}

impl Tree {
    fn is_whole(&self) -> bool {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if *trust == Trust::Unverified {
            let is_whole = read_tree(&self.root).is_ok_and(|manifest| manifest.id() == self.id);
            *trust = if is_whole { Trust::Verified } else { Trust::Damaged };
            if !is_whole {
                tracing::warn!(toolchain = %self.id, "toolchain is damaged and will be removed");
            }
        }
        *trust == Trust::Verified
    }

    /// Remembers the use for the next process. Only the order of eviction depends on it.
    fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(rustix::fs::CWD, self.root.with_file_name(MANIFEST), &times, AtFlags::empty()).ok();
    }
}

/// Two stores in one directory would remove each other's work.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn take(directory: &Path) -> io::Result<Self> {
        let file = File::create(directory.join(LOCK))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started has a copy of the descriptor.
        rustix::fs::flock(&self.0, FlockOperation::Unlock).ok();
    }
}

/// A directory that is removed when dropped, unless it has been renamed away.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn unpack(&self, archive: impl Read, bytes_max: u64) -> Result<ToolchainManifest, UnpackError> {
        let root = self.path.join(TREE);
        let open = || {
            fs::create_dir(&root)?;
            fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
            File::open(&root)
        };
        unpack(archive, open().map_err(UnpackError::Store)?.as_fd(), bytes_max)
    }

    fn write_manifest(&self, manifest: &ToolchainManifest) -> io::Result<()> {
        let bytes = rmp_serde::to_vec_named(manifest).map_err(io::Error::other)?;
        fs::write(self.path.join(MANIFEST), bytes)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match remove_tree(&self.path) {
            Ok(()) => {}
            // Published: the directory has its final name now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "directory cannot be removed"),
        }
    }
}

/// The toolchains in `directory`, in the order of their last use. Temporaries and damaged ones are removed, other files left
/// alone.
fn found(directory: &Path) -> io::Result<BTreeMap<ToolchainId, Resting>> {
    let mut trees = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(digest) = name.parse::<Digest>() {
            match load(&entry.path(), ToolchainId(digest)) {
                Some((tree, used)) => trees.push((used, tree)),
                None => remove_tree(&entry.path())?,
            }
        } else if name.starts_with(TEMPORARY) {
            remove_tree(&entry.path())?;
        }
    }
    trees.sort_by_key(|(used, tree)| (*used, tree.id));
    let resting =
        |(used, (_, tree)): (usize, (SystemTime, Tree))| (tree.id, Resting { tree: Arc::new(tree), used: used as u64 });
    Ok(trees.into_iter().enumerate().map(resting).collect())
}

/// None where the manifest is not the one of `id`: then nothing tells how large the tree is.
fn load(place: &Path, id: ToolchainId) -> Option<(Tree, SystemTime)> {
    let file = File::open(place.join(MANIFEST)).ok()?;
    let used = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let mut bytes = Vec::new();
    file.take(TOOLCHAIN_MANIFEST_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let manifest: ToolchainManifest =
        rmp_serde::from_slice(&bytes).ok().filter(|found: &ToolchainManifest| found.id() == id)?;
    let tree = Tree { id, root: place.join(TREE), bytes: manifest.bytes(), trust: Mutex::new(Trust::Unverified) };
    Some((tree, used))
}

/// The manifest of what is on the disk below `root`.
fn read_tree(root: &Path) -> io::Result<ToolchainManifest> {
    let mut nodes = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let node = read_node(&path)?;
            let below = Path::new("/").join(path.strip_prefix(root).map_err(io::Error::other)?);
            if node == ToolchainNode::Directory {
                pending.push(path);
            }
            nodes.insert(SandboxPath::from_path(&below).map_err(io::Error::other)?, node);
            if nodes.len() > TOOLCHAIN_ENTRIES_MAX {
                return Err(io::Error::other("too many files"));
            }
        }
    }
    let entries = nodes.into_iter().map(|(path, node)| ToolchainEntry { path, node }).collect();
    Ok(ToolchainManifest { entries })
}

fn read_node(path: &Path) -> io::Result<ToolchainNode> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        return Ok(ToolchainNode::Directory);
    }
    if metadata.is_symlink() {
        use std::os::unix::ffi::OsStringExt;
        let target = fs::read_link(path)?.into_os_string().into_vec();
        return Ok(ToolchainNode::Symlink { target: target.into() });
    }
    if !metadata.is_file() {
        return Err(io::Error::other("neither file, symlink nor directory"));
    }
    let mut file = fs::OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
    let mut digest = DigestBuilder::new();
    let size = copy(&mut file, &mut digest)?;
    Ok(ToolchainNode::File { digest: digest.finish(), size, executable: metadata.permissions().mode() & 0o111 != 0 })
}

fn copy(from: &mut impl Read, to: &mut DigestBuilder) -> io::Result<u64> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut size = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(size),
            length => {
                to.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::NOREPLACE)?;
    Ok(())
}

/// Removes a tree whose directories may be read-only.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn make_writable(directory: &Path) -> io::Result<()> {
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(Mode::RWXU.bits()))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            // The type of a symlink is that of the symlink: none is followed.
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

const TREE: &str = "tree";
const MANIFEST: &str = "manifest";
const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp-";

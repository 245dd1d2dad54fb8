//! The inputs of a job as a directory tree, the middle layer of its root.
//!
//! Files are links into the input store. Jobs only read a tree, and one unit of a project has nearly the headers of the next, so a tree
//! is kept and changed into the next one: a few names instead of some hundred, and no new directories, which are what file systems
//! take longest for. A client's tree serves that client only.
//!
//! Paths come from another machine: each is resolved below the tree by the kernel, without symlinks, so that nothing outside
//! can be meant.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, linkat, mkdirat, open, openat2, symlinkat, unlinkat};

use crate::model::digest::Digest;
use crate::model::id::Instance;
use crate::model::job::{Bytes, Entry, Manifest, Node};
use crate::model::limits::TREES_MAX;
use crate::model::path::SandboxPath;
use crate::os::sandbox::stage::StageError;
use crate::os::store::inputs::{InputStore, Look};
use crate::os::store::remove::remove_tree;

/// In every job: what the sandbox mounts on, and where compilers put their temporary files.
const OWN_DIRECTORIES: &[&str] = &["/proc", "/dev", "/tmp"];

/// Trees that wait for the next job of their client, those used last at the end.
#[derive(Debug)]
pub(crate) struct Trees {
    directory: PathBuf,
    n_made: AtomicU64,
    idle: Mutex<Vec<Tree>>,
}

impl Trees {
    /// Keeps trees in `directory`, which is empty.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, n_made: AtomicU64::new(0), idle: Mutex::default() }
    }

    /// Where trees are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A tree that is laid out as `manifest` says, which has passed [`super::stage::check`] and whose blobs are there and pinned.
    pub(crate) fn lay_out(
        &self,
        client: Instance,
        manifest: &Manifest,
        store: &InputStore,
    ) -> Result<Tree, StageError> {
        let mut tree = match self.of(client) {
            Some(tree) => tree,
            None => self.make(client).map_err(|source| StageError::Io { path: SandboxPath::root(), source })?,
        };
        tree.become_like(manifest, store)?;
        Ok(tree)
    }

    /// Takes a tree back after its job.
    pub(crate) fn keep(&self, tree: Tree) {
        let mut idle = self.idle();
        idle.push(tree);
        let too_many = idle.len().saturating_sub(TREES_MAX);
        let old: Vec<Tree> = idle.drain(..too_many).collect();
        drop(idle);
        drop(old);
    }

    fn of(&self, client: Instance) -> Option<Tree> {
        let mut idle = self.idle();
        let i = idle.iter().rposition(|tree| tree.client == client)?;
        Some(idle.remove(i))
    }

    fn make(&self, client: Instance) -> io::Result<Tree> {
        let number = self.n_made.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(number.to_string());
        // The root of a job.
        DirBuilder::new().mode(0o755).create(&path)?;
        let tree = Tree { client, path, placed: BTreeMap::new() };
        Ok(tree)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Tree>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One tree. Goes from the disk with this value.
#[derive(Debug)]
pub(crate) struct Tree {
    client: Instance,
    path: PathBuf,
    /// What is in it, its root aside.
    placed: BTreeMap<SandboxPath, Placed>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Placed {
    Directory,
    Symlink(Bytes),
    /// A link to the file of that name in the store.
    File(String),
}

impl Tree {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes what differs. After an error the tree is of no use any more.
    fn become_like(&mut self, manifest: &Manifest, store: &InputStore) -> Result<(), StageError> {
        let fault = |path: &SandboxPath| {
            let path = path.clone();
            move |source| StageError::Io { path, source }
        };
        let wanted = wanted(manifest, store)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(&self.path, flags, Mode::empty()).map_err(|errno| fault(&SandboxPath::root())(errno.into()))?;
        let mut changes = Changes { root, store, open: None };
        // Backwards: what is in a directory before the directory.
        for (path, placed) in self.placed.iter().rev().filter(|(path, placed)| wanted.get(*path) != Some(*placed)) {
            changes.remove(path, placed).map_err(fault(path))?;
        }
        for (path, placed) in wanted.iter().filter(|(path, placed)| self.placed.get(*path) != Some(*placed)) {
            changes.place(path, placed).map_err(fault(path))?;
        }
        self.placed = wanted;
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            // It will be tried again when the workshop is opened next.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the inputs of a job");
        }
    }
}

/// What a manifest comes to in this store: one file for each link group, another for each two.
fn wanted(manifest: &Manifest, store: &InputStore) -> Result<BTreeMap<SandboxPath, Placed>, StageError> {
    let mut files: HashMap<u32, String> = HashMap::new();
    // Link groups so far that look alike and have the same content.
    let mut n_alike: HashMap<(Digest, Look), usize> = HashMap::new();
    let mut file = |digest, look, group| -> io::Result<String> {
        if let Some(name) = files.get(&group) {
            return Ok(name.clone());
        }
        let n_alike = n_alike.entry((digest, look)).or_default();
        let name = store.file(digest, look, *n_alike)?;
        *n_alike += 1;
        files.insert(group, name.clone());
        Ok(name)
    };
    let mut wanted = BTreeMap::new();
    for Entry { path, node } in manifest.entries.iter().filter(|entry| entry.path != SandboxPath::root()) {
        let placed = match node {
            Node::Directory => Placed::Directory,
            Node::Symlink { target } => Placed::Symlink(target.clone()),
            Node::Tombstone => {
                let itself = path.components().next_back().unwrap_or_default();
                Placed::Symlink(Bytes::from(itself.to_vec()))
            }
            Node::File { digest, mode, mtime, link_group, .. } => {
                let name = file(*digest, Look { mtime: *mtime, mode: *mode }, *link_group);
                Placed::File(name.map_err(|source| StageError::Io { path: path.clone(), source })?)
            }
        };
        wanted.insert(path.clone(), placed);
    }
    for name in OWN_DIRECTORIES {
        let path = SandboxPath::new(name.as_bytes()).expect("a normal path");
        wanted.entry(path).or_insert(Placed::Directory);
    }
    Ok(wanted)
}

struct Changes<'a> {
    root: OwnedFd,
    store: &'a InputStore,
    /// The directory used last: neighbours mostly share it.
    open: Option<(SandboxPath, OwnedFd)>,
}

impl Changes<'_> {
    fn remove(&mut self, path: &SandboxPath, placed: &Placed) -> io::Result<()> {
        let flags = if *placed == Placed::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        Ok(unlinkat(self.directory(path)?, name_of(path), flags)?)
    }

    fn place(&mut self, path: &SandboxPath, placed: &Placed) -> io::Result<()> {
        let store = self.store.directory();
        let directory = self.directory(path)?;
        let name = name_of(path);
        match placed {
            Placed::Directory => mkdirat(directory, name, Mode::from_raw_mode(0o755))?,
            Placed::Symlink(target) => symlinkat(OsStr::from_bytes(target), directory, name)?,
            Placed::File(file) => linkat(store, file.as_str(), directory, name, AtFlags::empty())?,
        }
        Ok(())
    }

    /// The directory that holds `path`.
    fn directory(&mut self, path: &SandboxPath) -> io::Result<&OwnedFd> {
        let parent = path.parent().unwrap_or_else(SandboxPath::root);
        let open = match self.open.take() {
            Some((path, fd)) if path == parent => (path, fd),
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                let fd = openat2(&self.root, parent.below_root(), flags, Mode::empty(), resolve)?;
                (parent, fd)
            }
        };
        Ok(&self.open.insert(open).1)
    }
}

fn name_of(path: &SandboxPath) -> &OsStr {
    OsStr::from_bytes(path.components().next_back().unwrap_or_default())
}

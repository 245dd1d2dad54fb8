//! Lays out a job's inputs below a directory.
//!
//! Paths come from another machine: each is resolved below the directory by the kernel, without symlinks, so that nothing outside
//! can be meant. Files are links into the input store.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, linkat, mkdirat, openat2, symlinkat};
use rustix::io::Errno;

use crate::model::digest::Digest;
use crate::model::job::{Entry, Manifest, Node};
use crate::model::limits::{INPUT_BYTES_MAX, INPUTS_BYTES_MAX, MANIFEST_ENTRIES_MAX};
use crate::model::path::SandboxPath;
use crate::os::store::inputs::{InputStore, Look};

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{path}: {fault}")]
    Manifest { path: SandboxPath, fault: ManifestFault },
    #[error("cannot lay out {path}")]
    Io { path: SandboxPath, source: io::Error },
}

/// What can be wrong with a manifest, beside the paths in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestFault {
    #[error("more than {MANIFEST_ENTRIES_MAX} entries")]
    TooMany,
    #[error("larger than {INPUT_BYTES_MAX} bytes, or than {INPUTS_BYTES_MAX} with all before it")]
    TooLarge,
    #[error("below a directory that the sandbox makes itself")]
    Special,
    #[error("its directory is no entry before it, or it is there twice")]
    Order,
    #[error("files of one link group differ, or of one digest in size")]
    Contradiction,
    #[error("no such time")]
    Time,
}

/// Made for every job: what the sandbox mounts on, and where compilers put their temporary files.
const OWN_DIRECTORIES: &[&str] = &["proc", "dev", "tmp"];
/// Nothing of a client can be there.
const SPECIAL: &[&[u8]] = &[b"proc", b"dev"];

/// Checks all that can be checked without a file.
pub(crate) fn check(manifest: &Manifest) -> Result<(), StageError> {
    let root = SandboxPath::root();
    let mut directories = HashSet::from([&root]);
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut groups: HashMap<u32, &Node> = HashMap::new();
    let mut left = INPUTS_BYTES_MAX;
    let mut previous: Option<&SandboxPath> = None;
    for (i, Entry { path, node }) in manifest.entries.iter().enumerate() {
        let fault = |fault| Err(StageError::Manifest { path: path.clone(), fault });
        if i >= MANIFEST_ENTRIES_MAX {
            return fault(ManifestFault::TooMany);
        }
        let in_order = previous.is_none_or(|previous| previous < path);
        if !in_order || path.parent().is_some_and(|parent| !directories.contains(&parent)) {
            return fault(ManifestFault::Order);
        }
        previous = Some(path);
        let special = path.components().next().is_some_and(|first| SPECIAL.contains(&first));
        if special && (path.components().count() > 1 || *node != Node::Directory) {
            return fault(ManifestFault::Special);
        }
        match node {
            Node::Directory => drop(directories.insert(path)),
            Node::Symlink { .. } | Node::Tombstone => {}
            Node::File { digest, size, mtime, link_group, .. } => {
                left = match left.checked_sub(*size) {
                    Some(left) if *size <= INPUT_BYTES_MAX => left,
                    _ => return fault(ManifestFault::TooLarge),
                };
                if *sizes.entry(*digest).or_insert(*size) != *size || *groups.entry(*link_group).or_insert(node) != node
                {
                    return fault(ManifestFault::Contradiction);
                }
                if mtime.nanoseconds >= 1_000_000_000 {
                    return fault(ManifestFault::Time);
                }
            }
        }
    }
    Ok(())
}

/// The digests of all files.
pub(crate) fn digests(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    manifest.entries.iter().filter_map(|entry| match &entry.node {
        Node::File { digest, .. } => Some(*digest),
        _ => None,
    })
}

/// Where `path` leads, as far as the manifest knows.
pub(crate) fn resolve(manifest: &Manifest, path: &SandboxPath) -> Option<SandboxPath> {
    /// As the kernel does.
    const SYMLINKS_MAX: usize = 40;
    let mut left: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut at = SandboxPath::root();
    let mut n_symlinks = 0;
    while let Some(name) = left.pop() {
        let next = match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at = at.parent().unwrap_or(at);
                continue;
            }
            name => join(&at, name)?,
        };
        let i = manifest.entries.binary_search_by(|entry| entry.path.cmp(&next)).ok()?;
        match &manifest.entries[i].node {
            Node::Symlink { target } if n_symlinks < SYMLINKS_MAX => {
                n_symlinks += 1;
                if target.starts_with(b"/") {
                    at = SandboxPath::root();
                }
                left.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
            }
            Node::Directory | Node::File { .. } => at = next,
            Node::Symlink { .. } | Node::Tombstone => return None,
        }
    }
    Some(at)
}

fn join(directory: &SandboxPath, name: &[u8]) -> Option<SandboxPath> {
    let directory = directory.as_bytes().strip_suffix(b"/").unwrap_or(directory.as_bytes());
    SandboxPath::new([directory, b"/", name].concat()).ok()
}

/// Lays `manifest` out below `root`, an empty directory. The manifest has passed [`check`], its blobs are there and pinned.
pub(crate) fn stage(manifest: &Manifest, store: &InputStore, root: &OwnedFd) -> Result<(), StageError> {
    let mut stage = Stage { store, root, open: None, files: HashMap::new(), n_alike: HashMap::new() };
    for entry in &manifest.entries {
        stage.place(entry).map_err(|source| StageError::Io { path: entry.path.clone(), source })?;
    }
    for name in OWN_DIRECTORIES {
        match mkdirat(root, *name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(StageError::Io { path: SandboxPath::root(), source: errno.into() }),
        }
    }
    Ok(())
}

struct Stage<'a> {
    store: &'a InputStore,
    root: &'a OwnedFd,
    /// The directory used last: neighbours in a manifest mostly share it.
    open: Option<(SandboxPath, OwnedFd)>,
    /// Files in the store by link group.
    files: HashMap<u32, String>,
    /// Link groups so far that look alike and have the same content.
    n_alike: HashMap<(Digest, Look), usize>,
}

impl Stage<'_> {
    fn place(&mut self, Entry { path, node }: &Entry) -> io::Result<()> {
        let Some(name) = path.components().next_back().map(OsStr::from_bytes) else { return Ok(()) };
        let file = match node {
            Node::File { digest, mode, mtime, link_group, .. } => {
                Some(self.file(*digest, Look { mtime: *mtime, mode: *mode }, *link_group)?)
            }
            _ => None,
        };
        let store = self.store.directory();
        let directory = self.directory(path)?;
        match (node, file) {
            (Node::Directory, _) => mkdirat(directory, name, Mode::from_raw_mode(0o755))?,
            (Node::Symlink { target }, _) => symlinkat(OsStr::from_bytes(target), directory, name)?,
            (Node::Tombstone, _) => symlinkat(name, directory, name)?,
            (Node::File { .. }, file) => {
                linkat(store, file.unwrap_or_default(), directory, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// One file for each link group, another for each two.
    fn file(&mut self, digest: Digest, look: Look, group: u32) -> io::Result<String> {
        if let Some(name) = self.files.get(&group) {
            return Ok(name.clone());
        }
        let n_alike = self.n_alike.entry((digest, look)).or_default();
        let name = self.store.file(digest, look, *n_alike)?;
        *n_alike += 1;
        self.files.insert(group, name.clone());
        Ok(name)
    }

    /// The directory that holds `path`.
    fn directory(&mut self, path: &SandboxPath) -> io::Result<&OwnedFd> {
        let parent = path.parent().unwrap_or_else(SandboxPath::root);
        let open = match self.open.take() {
            Some((path, fd)) if path == parent => (path, fd),
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                let fd = openat2(self.root, parent.below_root(), flags, Mode::empty(), resolve)?;
                (parent, fd)
            }
        };
        Ok(&self.open.insert(open).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Bytes;

    #[test]
    fn names_lead_where_the_manifest_says() {
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        let link = |target: &str| Node::Symlink { target: Bytes::from(target.as_bytes()) };
        let nodes = [
            ("/", Node::Directory),
            ("/gone", Node::Tombstone),
            ("/home", Node::Directory),
            ("/home/me", link("../srv/./me/")),
            ("/loop", link("loop")),
            ("/srv", link("/data")),
            ("/data", Node::Directory),
            ("/data/me", Node::Directory),
        ];
        let mut entries: Vec<_> = nodes.map(|(name, node)| Entry { path: path(name), node }).into();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest { entries };
        let check =
            |name, expected: Option<&str>| assert_eq!(resolve(&manifest, &path(name)), expected.map(path), "{name}");
        check("/", Some("/"));
        check("/home/me", Some("/data/me"));
        check("/data/me", Some("/data/me"));
        for lost in ["/loop", "/gone", "/home/you"] {
            check(lost, None);
        }
    }
}

//! The tree of a toolchain while it is being found: walks paths as the kernel does and keeps everything on the way.
//!
//! Every entry stands at its physical path (no symlink above it), and every symlink passed is an entry of its own, so the
//! tree resolves each path as this machine does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::limits::TOOLCHAIN_ENTRIES_MAX;
use crate::model::path::{PathError, SandboxPath};
use crate::model::toolchain::ToolchainNode;
use crate::os::toolchain::route::Route;

#[derive(Debug, Default)]
pub(super) struct Tree {
    sources: Sources,
}

/// What was found, and what the finding depended on.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) nodes: BTreeMap<SandboxPath, Node>,
    /// Directories whose content decides what is found: a name that appears there may change the toolchain.
    watched: BTreeMap<PathBuf, Stamp>,
    /// Paths that would have been taken before others.
    absent: BTreeSet<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Directory,
    Symlink {
        target: OsString,
    },
    File(Stamp),
    /// Not on this machine: something the job's root needs all the same.
    Made(ToolchainNode),
}

/// Why nothing can be below a node as it is.
enum Leads {
    Elsewhere(OsString),
    Nowhere,
}

impl Node {
    /// None for a directory.
    fn leads_to(&self) -> Option<Leads> {
        match self {
            Self::Directory | Self::Made(ToolchainNode::Directory) => None,
            Self::Symlink { target } => Some(Leads::Elsewhere(target.clone())),
            Self::Made(ToolchainNode::Symlink { target }) => {
                Some(Leads::Elsewhere(OsStr::from_bytes(target).to_owned()))
            }
            Self::File(_) | Self::Made(ToolchainNode::File { .. }) => Some(Leads::Nowhere),
        }
    }
}

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The physical path that an added one leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Directory(PathBuf),
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{} cannot be looked at", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("{} has a name that cannot travel", path.display())]
    Name { path: PathBuf, source: PathError },
    #[error("the toolchain has more than {TOOLCHAIN_ENTRIES_MAX} files")]
    TooManyEntries,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

impl Tree {
    /// Adds what `path` leads to, with every directory and symlink on the way. None where it leads nowhere, or to something
    /// that is neither file nor directory; what there is of the way is added all the same.
    pub(super) fn add(&mut self, path: &Path) -> Result<Option<Found>, TreeError> {
        let mut route = Route::new(path);
        while let Some(next) = route.next() {
            let Some(metadata) = look(&next)? else { return Ok(None) };
            if metadata.is_dir() {
                self.insert(&next, Node::Directory)?;
                route.enter(next);
            } else if metadata.is_symlink() {
                let target = fs::read_link(&next).map_err(|source| TreeError::Look { path: next.clone(), source })?;
                let goes_on = route.follow(&target);
                self.insert(&next, Node::Symlink { target: target.into() })?;
                if !goes_on {
                    return Ok(None);
                }
            } else if metadata.is_file() && route.is_at_last() {
                self.insert(&next, Node::File(Stamp::of(&metadata)))?;
                return Ok(Some(Found::File(next)));
            } else {
                return Ok(None);
            }
        }
        Ok(Some(Found::Directory(route.end())))
    }

    /// Adds `path` where it leads to a file, and tells where that lies.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<Option<PathBuf>, TreeError> {
        Ok(match self.add(path)? {
            Some(Found::File(file)) => Some(file),
            _ => None,
        })
    }

    /// Adds a directory, without what is in it, and tells where it lies.
    pub(super) fn add_directory(&mut self, path: &Path) -> Result<Option<PathBuf>, TreeError> {
        // The metadata follows symlinks: a file of that name stays out.
        if !path.is_dir() {
            return Ok(None);
        }
        Ok(match self.add(path)? {
            Some(Found::Directory(directory)) => Some(directory),
            _ => None,
        })
    }

    /// Adds a directory with everything below it.
    pub(super) fn add_whole(&mut self, path: &Path) -> Result<(), TreeError> {
        let Some(directory) = self.add_directory(path)? else { return Ok(()) };
        let mut pending = vec![directory];
        while let Some(directory) = pending.pop() {
            for name in list(&directory)? {
                let child = directory.join(name);
                let is_real_directory = look(&child)?.is_some_and(|metadata| metadata.is_dir());
                self.add(&child)?;
                if is_real_directory {
                    pending.push(child);
                }
            }
        }
        Ok(())
    }

    /// Makes a directory that the job's root needs, whether or not this machine has it.
    pub(super) fn make_directory(&mut self, path: &Path) -> Result<(), TreeError> {
        match self.add_directory(path)? {
            Some(_) => Ok(()),
            None => self.insert(path, Node::Made(ToolchainNode::Directory)),
        }
    }

    /// Makes a symlink that this machine does not have. False where something else is there.
    pub(super) fn make_symlink(&mut self, path: &Path, target: &Path) -> Result<bool, TreeError> {
        let target = target.as_os_str().as_bytes().to_vec().into();
        let node = Node::Made(ToolchainNode::Symlink { target });
        if let Some(there) = self.sources.nodes.get(&sandbox_path(path)?) {
            return Ok(*there == node);
        }
        self.insert(path, node)?;
        Ok(true)
    }

    /// Puts `node` at a physical path, below directories, in place of what may be there.
    pub(super) fn put(&mut self, path: &Path, node: Node) -> Result<(), TreeError> {
        let mut above: Vec<_> = path.ancestors().skip(1).filter(|above| *above != Path::new("/")).collect();
        while let Some(directory) = above.pop() {
            if !self.has(directory)? {
                self.insert(directory, Node::Made(ToolchainNode::Directory))?;
            }
        }
        self.insert(path, node)
    }

    /// Takes away what is at a physical path.
    pub(super) fn remove(&mut self, path: &Path) -> Result<(), TreeError> {
        self.sources.nodes.remove(&sandbox_path(path)?);
        Ok(())
    }

    pub(super) fn has(&self, path: &Path) -> Result<bool, TreeError> {
        Ok(self.sources.nodes.contains_key(&sandbox_path(path)?))
    }

    /// Where something named `path` goes, by the symlinks above it that are in this tree; what is not in it counts as a directory.
    /// None below a file, or where symlinks go round in circles.
    pub(super) fn place(&self, path: &Path) -> Result<Option<PathBuf>, TreeError> {
        let mut route = Route::new(path);
        while let Some(next) = route.next() {
            if route.is_at_last() {
                return Ok(Some(next));
            }
            match self.sources.nodes.get(&sandbox_path(&next)?).and_then(Node::leads_to) {
                Some(Leads::Elsewhere(target)) => {
                    if !route.follow(Path::new(&target)) {
                        return Ok(None);
                    }
                }
                Some(Leads::Nowhere) => return Ok(None),
                None => route.enter(next),
            }
        }
        Ok(Some(route.end()))
    }

    /// The directories in which something of this name stands.
    pub(super) fn directories_with(&self, name: &str) -> Vec<PathBuf> {
        let paths = self
            .sources
            .nodes
            .keys()
            .map(SandboxPath::as_path)
            .filter(|path| path.file_name() == Some(OsStr::new(name)));
        paths.filter_map(Path::parent).map(Path::to_owned).collect()
    }

    /// Counts the toolchain as changed as soon as a name appears in, or vanishes from, this directory, or the file changes, or
    /// appears.
    pub(super) fn watch(&mut self, path: &Path) -> Result<(), TreeError> {
        match fs::metadata(path) {
            Ok(metadata) => {
                self.sources.watched.insert(path.to_owned(), Stamp::of(&metadata));
            }
            Err(error) if is_absence(&error) => {
                self.sources.absent.insert(path.to_owned());
            }
            Err(source) => return Err(TreeError::Look { path: path.to_owned(), source }),
        }
        Ok(())
    }

    pub(super) fn into_sources(self) -> Sources {
        self.sources
    }

    fn insert(&mut self, path: &Path, node: Node) -> Result<(), TreeError> {
        let path = sandbox_path(path)?;
        if self.sources.nodes.len() >= TOOLCHAIN_ENTRIES_MAX && !self.sources.nodes.contains_key(&path) {
            return Err(TreeError::TooManyEntries);
        }
        self.sources.nodes.insert(path, node);
        Ok(())
    }
}

impl Sources {
    /// True while everything is as it was found: some hundred calls of `stat`.
    pub(super) fn are_current(&self) -> bool {
        let is_same = |path: &Path, node: &Node| match (node, fs::symlink_metadata(path)) {
            (Node::Made(_), _) => true,
            (Node::File(stamp), Ok(now)) => Stamp::of(&now) == *stamp,
            (Node::Directory, Ok(now)) => now.is_dir(),
            (Node::Symlink { target }, Ok(_)) => fs::read_link(path).is_ok_and(|now| now == *target),
            (_, Err(_)) => false,
        };
        self.nodes.iter().all(|(path, node)| is_same(path.as_path(), node))
            && self.watched.iter().all(|(path, stamp)| fs::metadata(path).is_ok_and(|now| Stamp::of(&now) == *stamp))
            && !self.absent.iter().any(|path| path.exists())
    }
}

/// Names in a directory, sorted; none where it cannot be read, as then no compiler finds anything there either.
pub(super) fn list(directory: &Path) -> Result<Vec<OsString>, TreeError> {
    let look = |source| TreeError::Look { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(look(error)),
    };
    let mut names: Vec<_> =
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().map_err(look)?;
    names.sort_unstable();
    Ok(names)
}

fn look(path: &Path) -> Result<Option<fs::Metadata>, TreeError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(source) => Err(TreeError::Look { path: path.to_owned(), source }),
    }
}

/// What the caller's compiler cannot reach either does not exist for it.
pub(super) fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

fn sandbox_path(path: &Path) -> Result<SandboxPath, TreeError> {
    SandboxPath::from_path(path).map_err(|source| TreeError::Name { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn entries(tree: Tree, below: &Path) -> Vec<String> {
        let nodes = tree.into_sources().nodes;
        let shown = nodes.iter().filter_map(|(path, node)| {
            let path = path.as_path().strip_prefix(below).ok()?.display().to_string();
            Some(match node {
                Node::Directory => format!("{path}/"),
                Node::Symlink { target } => format!("{path} -> {}", target.display()),
                Node::File(_) => path,
                Node::Made(_) => format!("{path} (made)"),
            })
        });
        shown.collect()
    }

    #[test]
    fn every_link_and_directory_on_the_way_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("usr/lib/gcc")).unwrap();
        fs::write(root.join("usr/lib/gcc/cc1"), "x").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink(root.join("lib/gcc/cc1"), root.join("cc")).unwrap();

        let mut tree = Tree::default();
        let found = tree.add(&root.join("usr/../cc")).unwrap();
        assert_eq!(found, Some(Found::File(root.join("usr/lib/gcc/cc1"))));
        let link = format!("cc -> {}", root.join("lib/gcc/cc1").display());
        assert_eq!(
            entries(tree, &root),
            ["/", &link, "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/gcc/", "usr/lib/gcc/cc1"]
        );
    }

    #[test]
    fn ways_that_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        symlink("missing", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let mut tree = Tree::default();
        for name in ["none", "none/x", "dangling", "loop", "file/x"] {
            assert_eq!(tree.add(&root.join(name)).unwrap(), None, "{name}");
        }
        assert_eq!(tree.add(Path::new("/dev/null")).unwrap(), None);
        assert_eq!(entries(tree, &root), ["/", "dangling -> missing", "loop -> loop"]);
    }
}

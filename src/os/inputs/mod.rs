//! Finds everything a compile could read on this machine, and describes it for a builder.
//!
//! The compiler itself says which files it opens (a dependency run). What it does not say is completed here: files that
//! `__has_include` looks at, every directory and symlink on the way, and a tombstone for each header that some literal in those files
//! could name, that exists, and that is not shipped. A job that would see another header then fails instead of compiling it.
//!
//! Left out: modules, and files of the assembler (`.incbin`, `.include`) and of `#embed` whose names are
//! no literals. Units with those are told apart and stay local.

mod cache;
mod candidates;
mod collect;
mod dependency_run;
mod read;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::PathBuf;

use crate::engine::compiler::{CompileCommand, depfile};
use crate::model::digest::Digest;
use crate::model::job::{Bytes, Manifest};
use crate::model::reason::{Reason, Why};

use cache::Identity;
pub use cache::ScanCache;
pub use collect::{ask, collect, complete};
pub use dependency_run::Dependencies;
use read::{ReadFile, with_included};
use tree::{End, Tree, display, os_path};

/// A compile whose inputs are wanted.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The compiler that the command would run, an absolute path.
    pub compiler: PathBuf,
    pub command: CompileCommand,
    /// Absolute, without symlinks.
    pub cwd: Bytes,
    pub env: Vec<(Bytes, Bytes)>,
    /// Files that the command names with `@`, as it names them, nested ones included.
    pub response_files: Vec<Bytes>,
    /// Files that only a job has, by absolute path.
    pub provided: BTreeMap<Bytes, Bytes>,
}

/// Everything a job of the unit may see, and what it is expected to open.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub manifest: Manifest,
    cwd: Bytes,
    /// The compiler's own list, as it spells it, and where that leads.
    predicted: Predicted,
    /// Physical directories whose headers `-MMD` leaves out.
    system_directories: Vec<Bytes>,
    /// What every file looked like, tombstones included, by physical path.
    stamps: BTreeMap<Bytes, Identity>,
    links: BTreeMap<Bytes, Bytes>,
    by_digest: BTreeMap<Digest, Bytes>,
    /// Contents that are in no file here.
    provided: BTreeMap<Digest, Bytes>,
}

#[derive(Clone, Debug, Default)]
struct Predicted {
    spelled: HashSet<Bytes>,
    physical: BTreeSet<Bytes>,
    /// Those of them that a precompiled header stands for.
    precompiled: BTreeSet<Bytes>,
    read: Vec<ReadFile>,
}

impl Inputs {
    /// Physical paths of the files that the compiler will open and list.
    pub fn predicted(&self) -> &BTreeSet<Bytes> {
        &self.predicted.physical
    }

    /// True while every file and symlink is what it was when it was read.
    pub fn unchanged(&self) -> bool {
        let same = |(path, stamp): (&Bytes, &Identity)| {
            fs::symlink_metadata(os_path(path)).is_ok_and(|metadata| Identity::of(&metadata) == *stamp)
        };
        let leads = |(path, target): (&Bytes, &Bytes)| {
            use std::os::unix::ffi::OsStrExt;
            fs::read_link(os_path(path)).is_ok_and(|now| now.as_os_str().as_bytes() == target.as_slice())
        };
        self.stamps.iter().all(same) && self.links.iter().all(leads)
    }

    /// The content of an input.
    ///
    /// # Errors
    /// [`Reason::InputChanged`] where the file no longer has that content.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Why> {
        if let Some(content) = self.provided.get(digest) {
            return Ok(content.to_vec());
        }
        let changed = |path: &Bytes| Why::new(Reason::InputChanged, display(path));
        let path = self.by_digest.get(digest).ok_or_else(|| Why::new(Reason::InputChanged, digest.to_string()))?;
        let bytes = fs::read(os_path(path)).map_err(|_| changed(path))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(changed(path)) }
    }

    /// Compares what a job says it opened with the prediction, by real path.
    ///
    /// `lists_system_headers` is false for a list that `-MMD` made: then nothing else than the prediction may be listed, and all
    /// that is not listed must be a system header.
    ///
    /// # Errors
    /// [`Reason::DependenciesDiffer`] with a file that makes the difference.
    pub fn check_dependencies(&self, list: &[u8], lists_system_headers: bool) -> Result<(), Why> {
        let listed =
            depfile::prerequisites(list).map_err(|error| Why::new(Reason::DependenciesDiffer, error.to_string()))?;
        let listed = self.physical(listed)?;
        let unexpected = listed.difference(&self.predicted.physical).next();
        let mut missing = self.predicted.physical.difference(&listed).peekable();
        let excused = match missing.peek() {
            Some(_) if !lists_system_headers => self.system_headers()?,
            _ => BTreeSet::new(),
        };
        let missing = missing.find(|path| !excused.contains(path) && !self.predicted.precompiled.contains(*path));
        match unexpected.or(missing) {
            Some(path) => Err(Why::new(Reason::DependenciesDiffer, display(path))),
            None => Ok(()),
        }
    }

    /// Headers that `-MMD` may leave out: those in system directories, and those that they include wherever they are found, since
    /// compilers take such for system headers too.
    fn system_headers(&self) -> Result<BTreeSet<&Bytes>, Why> {
        let places = self.system_places()?;
        let is_system = |file: &ReadFile| places.iter().any(|place| is_below(&file.physical, place));
        Ok(with_included(&self.predicted.read, is_system).into_iter().map(|file| &file.physical).collect())
    }

    /// Where headers are that `-MMD` leaves out: system directories, and what symlinks in them lead to. gcc lists a system header by
    /// the shorter of its two names, so that the list does not say by which it was found.
    fn system_places(&self) -> Result<Vec<Bytes>, Why> {
        let mut tree = Tree::default();
        let mut places = self.system_directories.clone();
        let in_system = |path: &Bytes| self.system_directories.iter().any(|directory| is_below(path, directory));
        for link in self.links.keys().filter(|path| in_system(path)) {
            places.push(Bytes::from(tree.walk(&self.cwd, link)?.physical));
        }
        Ok(places)
    }

    fn physical(&self, spelled: Vec<Bytes>) -> Result<BTreeSet<Bytes>, Why> {
        // As a rule the job spells everything as the dependency run did.
        if spelled.len() == self.predicted.spelled.len()
            && spelled.iter().all(|path| self.predicted.spelled.contains(path))
            && spelled.iter().collect::<HashSet<_>>().len() == spelled.len()
        {
            return Ok(self.predicted.physical.clone());
        }
        let mut tree = Tree::default();
        let walk = |path: Bytes| {
            let walked = tree.walk(&self.cwd, &path)?;
            match walked.end {
                End::File(_) => Ok(Bytes::from(walked.physical)),
                _ => Err(Why::new(Reason::DependenciesDiffer, display(&path))),
            }
        };
        spelled.into_iter().map(walk).collect()
    }
}

/// True for `directory` itself and all below it; both physical.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory == b"/" || (path.starts_with(directory) && matches!(path.get(directory.len()), None | Some(b'/')))
}

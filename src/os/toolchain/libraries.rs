//! Adds the shared libraries of programs to a tree, found as the dynamic loader finds them.
//!
//! Never by `ldd`, which runs what it inspects. Left out: `LD_LIBRARY_PATH` and `LD_PRELOAD` (a job's environment has neither),
//! libraries for special hardware, and `ld.so.cache`: it lists every library of this machine, so that it would make a new
//! toolchain of each unrelated package; a library that only the cache leads to gets a symlink in a default directory.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::loader::{self, ConfLine, Loader};
use crate::os::toolchain::elf::{self, ElfError, Needs};
use crate::os::toolchain::pack::PackError;
use crate::os::toolchain::tree::{Tree, is_absence, list};

/// The directories that `ld.so.conf` names, in their order.
#[derive(Debug)]
pub(super) struct Libraries {
    configured: Vec<PathBuf>,
}

/// A program or library whose needs are being resolved.
struct Object {
    path: PathBuf,
    needs: Needs,
    /// RPATH directories of this object and of those that brought it in: an old-style search path is inherited.
    inherited: Vec<PathBuf>,
}

impl Libraries {
    /// Reads the machine's configuration.
    pub(super) fn configured(tree: &mut Tree) -> Result<Self, PackError> {
        let mut configured = Vec::new();
        read_conf(Path::new("/etc/ld.so.conf"), CONF_DEPTH_MAX, &mut configured, tree)?;
        tree.watch(Path::new("/etc/ld.so.cache"))?;
        Ok(Self { configured })
    }

    /// Adds the loader of `program` and everything it loads. `program` is a physical path.
    pub(super) fn add_needs(&self, program: &Path, tree: &mut Tree) -> Result<(), PackError> {
        let needs = read(program)?;
        let Some(interpreter) = needs.interpreter.clone() else { return Ok(()) };
        let missing = || PackError::MissingLibrary { name: interpreter.clone().into(), needed_by: program.to_owned() };
        let real = tree.add_file(&interpreter)?.ok_or_else(missing)?;
        let loader = Loader::at(&real);
        // libc needs the loader by its name, and that is loaded already.
        let mut loaded: BTreeSet<OsString> = read(&real)?.soname.into_iter().collect();
        loaded.extend(interpreter.file_name().map(OsStr::to_owned));

        let inherited = loader.expand(&needs.rpath, parent(program));
        let mut queue = VecDeque::from([Object { path: program.to_owned(), needs, inherited }]);
        while let Some(object) = queue.pop_front() {
            for name in object.needs.libraries.clone() {
                if !loaded.insert(name.clone()) {
                    continue;
                }
                let library = self.load(&name, &object, &loader, tree)?;
                loaded.extend(library.needs.soname.clone());
                queue.push_back(library);
            }
        }
        Ok(())
    }

    fn load(&self, name: &OsStr, by: &Object, loader: &Loader, tree: &mut Tree) -> Result<Object, PackError> {
        let Some((path, needs)) = self.candidates(name, by, loader).find_map(|path| fitting(path, by)) else {
            // Whatever comes to one of these places may mend it.
            self.candidates(name, by, loader).try_for_each(|path| tree.watch(&path))?;
            return Err(PackError::MissingLibrary { name: name.to_owned(), needed_by: by.path.clone() });
        };
        tree.add(&path)?;
        self.make_findable(&path, by, loader, tree)?;
        let mut inherited = match needs.runpath.is_empty() {
            true => loader.expand(&needs.rpath, parent(&path)),
            false => Vec::new(),
        };
        inherited.extend_from_slice(&by.inherited);
        Ok(Object { path, needs, inherited })
    }

    /// Where the library could be, in the order in which the loader looks.
    fn candidates(&self, name: &OsStr, by: &Object, loader: &Loader) -> impl Iterator<Item = PathBuf> {
        let (given, directories) = match name.as_bytes().contains(&b'/') {
            true => (Some(PathBuf::from(name)).filter(|path| path.is_absolute()), Vec::new()),
            false => (None, self.directories(by, loader)),
        };
        let name = name.to_owned();
        given.into_iter().chain(directories.into_iter().map(move |directory| directory.join(&name)))
    }

    fn directories(&self, by: &Object, loader: &Loader) -> Vec<PathBuf> {
        let configured = if loader.is_system() { self.configured.as_slice() } else { &[] };
        [own_directories(by, loader).as_slice(), configured, &loader.default_directories()].concat()
    }

    /// Where only the cache leads to a library, the tree gets a symlink to it in the loader's first default directory.
    fn make_findable(&self, path: &Path, by: &Object, loader: &Loader, tree: &mut Tree) -> Result<(), PackError> {
        let (directory, Some(name)) = (parent(path), path.file_name()) else { return Ok(()) };
        let defaults = loader.default_directories();
        let found_without_cache = path.starts_with("/")
            && (own_directories(by, loader).iter().chain(&defaults)).any(|known| known == directory);
        if found_without_cache || !self.configured.iter().any(|known| known == directory) {
            return Ok(());
        }
        let Some(first) = defaults.iter().find_map(|default| tree.add_directory(default).transpose()).transpose()?
        else {
            return Ok(());
        };
        match tree.make_symlink(&first.join(name), path)? {
            true => Ok(()),
            false => Err(PackError::AmbiguousLibrary { name: name.to_owned() }),
        }
    }
}

/// The directories that an object itself says its libraries are in: RPATH counts only where there is no RUNPATH.
fn own_directories(object: &Object, loader: &Loader) -> Vec<PathBuf> {
    match object.needs.runpath.is_empty() {
        true => object.inherited.clone(),
        false => loader.expand(&object.needs.runpath, parent(&object.path)),
    }
}

/// A library is passed over where it is made for another machine.
fn fitting(path: PathBuf, by: &Object) -> Option<(PathBuf, Needs)> {
    let needs = elf::read(&path).ok()?;
    (needs.kind == by.needs.kind).then_some((path, needs))
}

fn read(program: &Path) -> Result<Needs, PackError> {
    elf::read(program).map_err(|source| match source {
        ElfError::NotElf => PackError::Script { path: program.to_owned() },
        source => PackError::Program { path: program.to_owned(), source },
    })
}

fn read_conf(path: &Path, depth: usize, directories: &mut Vec<PathBuf>, tree: &mut Tree) -> Result<(), PackError> {
    tree.watch(path)?;
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if is_absence(&error) => return Ok(()),
        Err(source) => return Err(PackError::Read { path: path.to_owned(), source }),
    };
    for line in loader::parse_conf(&text) {
        match line {
            ConfLine::Directory(directory) => directories.push(directory.to_owned()),
            ConfLine::Include(_) if depth == 0 => {}
            ConfLine::Include(pattern) => {
                let pattern = parent(path).join(pattern);
                tree.watch(parent(&pattern))?;
                let wanted = pattern.file_name().unwrap_or_default().as_bytes();
                for name in list(parent(&pattern))?.iter().filter(|name| loader::matches(wanted, name.as_bytes())) {
                    read_conf(&parent(&pattern).join(name), depth - 1, directories, tree)?;
                }
            }
        }
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Distributions nest includes once.
const CONF_DEPTH_MAX: usize = 8;

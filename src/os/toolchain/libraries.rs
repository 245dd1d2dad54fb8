//! Adds the shared libraries of programs to a tree, found as the dynamic loader finds them.
//!
//! Never by `ldd`, which runs what it inspects. Left out: `LD_LIBRARY_PATH` and `LD_PRELOAD` (a job's environment has neither),
//! libraries for special hardware, and `ld.so.cache`: it lists every library of this machine, so that it would make a new
//! toolchain of each unrelated package; a library that only the cache leads to gets a symlink in a default directory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::loader::{self, ConfLine, Configuration, Loader};
use crate::model::limits::LOADER_BYTES_MAX;
use crate::model::toolchain::IsaLevel;
use crate::os::toolchain::elf::{self, ElfError, Needs};
use crate::os::toolchain::pack::PackError;
use crate::os::toolchain::tree::{Tree, is_absence, list};

/// The directories that loaders' configurations name, each read once.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    configured: BTreeMap<Configuration, Vec<PathBuf>>,
    level: IsaLevel,
}

/// A loader with the directories that it is configured to search.
struct Search {
    loader: Loader,
    /// Before the defaults, by way of a cache.
    configured: Vec<PathBuf>,
    /// Last.
    defaults: Vec<PathBuf>,
}

/// A program or library whose needs are being resolved.
struct Object {
    path: PathBuf,
    needs: Needs,
    /// RPATH directories of this object and of those that brought it in: an old-style search path is inherited.
    inherited: Vec<PathBuf>,
}

impl Libraries {
    /// Adds the loader of `program` and everything it loads. `program` is a physical path.
    pub(super) fn add_needs(&mut self, program: &Path, tree: &mut Tree) -> Result<(), PackError> {
        let needs = read(program)?;
        if !needs.kind.is_native() {
            return Err(PackError::OtherMachine { path: program.to_owned(), kind: needs.kind });
        }
        self.level = self.level.max(needs.level);
        let Some(interpreter) = needs.interpreter.clone() else { return Ok(()) };
        let missing = || PackError::MissingLibrary { name: interpreter.clone().into(), needed_by: program.to_owned() };
        let real = match tree.add_file(&interpreter)? {
            Some(real) => real,
            None => {
                tree.watch(&interpreter)?;
                return Err(missing());
            }
        };
        let search = self.search(&interpreter, &real, tree)?;
        // libc needs the loader by its name, and that is loaded already.
        let mut loaded: BTreeSet<OsString> = read(&real)?.soname.into_iter().collect();
        loaded.extend(interpreter.file_name().map(OsStr::to_owned));

        let inherited = search.loader.expand(&needs.rpath, parent(program));
        let mut queue = VecDeque::from([Object { path: program.to_owned(), needs, inherited }]);
        while let Some(object) = queue.pop_front() {
            for name in object.needs.libraries.clone() {
                if !loaded.insert(name.clone()) {
                    continue;
                }
                let library = search.load(&name, &object, tree)?;
                self.level = self.level.max(library.needs.level);
                loaded.extend(library.needs.soname.clone());
                queue.push_back(library);
            }
        }
        Ok(())
    }

    /// What all programs and libraries so far need of a processor.
    pub(super) fn level(&self) -> IsaLevel {
        self.level
    }

    fn search(&mut self, named: &Path, real: &Path, tree: &mut Tree) -> Result<Search, PackError> {
        let mut file = Vec::new();
        let read = File::open(real).and_then(|content| content.take(LOADER_BYTES_MAX).read_to_end(&mut file));
        read.map_err(|source| PackError::Read { path: real.to_owned(), source })?;
        let loader = Loader::new(named, real, &file);
        let defaults = loader.default_directories().to_vec();
        let Some(configuration) = loader.configuration().cloned() else {
            return Ok(Search { loader, configured: Vec::new(), defaults });
        };
        let directories = self.configured(&configuration, tree)?;
        Ok(match configuration {
            Configuration::Conf(_) => Search { loader, configured: directories, defaults },
            Configuration::Path(_) if directories.is_empty() => Search { loader, configured: Vec::new(), defaults },
            Configuration::Path(_) => Search { loader, configured: Vec::new(), defaults: directories },
        })
    }

    fn configured(&mut self, configuration: &Configuration, tree: &mut Tree) -> Result<Vec<PathBuf>, PackError> {
        if let Some(known) = self.configured.get(configuration) {
            return Ok(known.clone());
        }
        let mut directories = Vec::new();
        match configuration {
            Configuration::Conf(file) => {
                read_conf(file, CONF_DEPTH_MAX, &mut directories, tree)?;
                tree.watch(&file.with_extension("cache"))?;
            }
            // It belongs into the tree: this loader has no cache that a symlink could stand for.
            Configuration::Path(file) => {
                tree.add_file(file)?;
                tree.watch(file)?;
                directories = loader::parse_musl_path(&read_if_there(file)?.unwrap_or_default());
            }
        }
        self.configured.insert(configuration.clone(), directories.clone());
        Ok(directories)
    }
}

impl Search {
    fn load(&self, name: &OsStr, by: &Object, tree: &mut Tree) -> Result<Object, PackError> {
        let Some((path, needs)) = self.candidates(name, by).find_map(|path| fitting(path, by)) else {
            // Whatever comes to one of these places may mend it.
            self.candidates(name, by).try_for_each(|path| tree.watch(&path))?;
            return Err(PackError::MissingLibrary { name: name.to_owned(), needed_by: by.path.clone() });
        };
        tree.add(&path)?;
        self.make_findable(&path, by, tree)?;
        let mut inherited = match needs.runpath.is_empty() {
            true => self.loader.expand(&needs.rpath, parent(&path)),
            false => Vec::new(),
        };
        inherited.extend_from_slice(&by.inherited);
        Ok(Object { path, needs, inherited })
    }

    /// Where the library could be, in the order in which the loader looks.
    fn candidates(&self, name: &OsStr, by: &Object) -> impl Iterator<Item = PathBuf> {
        let (given, directories) = match name.as_bytes().contains(&b'/') {
            true => (Some(PathBuf::from(name)).filter(|path| path.is_absolute()), Vec::new()),
            false => (None, self.directories(by)),
        };
        let name = name.to_owned();
        given.into_iter().chain(directories.into_iter().map(move |directory| directory.join(&name)))
    }

    fn directories(&self, by: &Object) -> Vec<PathBuf> {
        [self.own_directories(by).as_slice(), &self.configured, &self.defaults].concat()
    }

    /// The directories that an object itself says its libraries are in: RPATH counts only where there is no RUNPATH.
    fn own_directories(&self, object: &Object) -> Vec<PathBuf> {
        match object.needs.runpath.is_empty() {
            true => object.inherited.clone(),
            false => self.loader.expand(&object.needs.runpath, parent(&object.path)),
        }
    }

    /// Where only the cache leads to a library, the tree gets a symlink to it in the loader's first default directory.
    fn make_findable(&self, path: &Path, by: &Object, tree: &mut Tree) -> Result<(), PackError> {
        let (directory, Some(name)) = (parent(path), path.file_name()) else { return Ok(()) };
        let found_without_cache = self.own_directories(by).iter().chain(&self.defaults).any(|known| known == directory);
        if found_without_cache || !self.configured.iter().any(|known| known == directory) {
            return Ok(());
        }
        let mut defaults = self.defaults.iter();
        let Some(first) = defaults.find_map(|default| tree.add_directory(default).transpose()).transpose()? else {
            return Ok(());
        };
        match tree.make_symlink(&first.join(name), path)? {
            true => Ok(()),
            false => Err(PackError::AmbiguousLibrary { name: name.to_owned() }),
        }
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
    let Some(text) = read_if_there(path)? else { return Ok(()) };
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

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, PackError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(source) => Err(PackError::Read { path: path.to_owned(), source }),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Distributions nest includes once.
const CONF_DEPTH_MAX: usize = 8;

//! Packages a compiler: finds every file it needs to run on a machine that has none, and writes them as one archive.
//!
//! What it needs is what its driver says when asked and what the loader will load; headers are left out, they travel as
//! inputs of each unit. The same compiler makes the same package, byte for byte, wherever it is installed in the same way.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::driver::{self, Family, Identity};
use crate::engine::toolchain::locale::LocaleVariables;
use crate::model::digest::DigestBuilder;
use crate::model::limits::{COPY_BYTES, TOOLCHAIN_BYTES_MAX};
use crate::model::path::SandboxPath;
use crate::model::report::PackageSummary;
use crate::model::toolchain::{IsaLevel, ToolchainEntry, ToolchainId, ToolchainManifest, ToolchainNode};
use crate::os::process::SpawnError;
use crate::os::toolchain::archive::{self, ArchiveError};
use crate::os::toolchain::ask::{AskError, Driver};
use crate::os::toolchain::elf::{ElfError, Kind};
use crate::os::toolchain::foreign::{ForeignError, Spool};
use crate::os::toolchain::libraries::Libraries;
use crate::os::toolchain::probe::{self, ProbeError};
use crate::os::toolchain::program::is_launcher;
use crate::os::toolchain::substitute::{self, Replacement};
use crate::os::toolchain::tree::{Node, Sources, Stamp, Tree, TreeError};
use crate::os::toolchain::{clang, gcc, locale};

/// A compiler as one caller sees it; equal subjects make equal packages as long as no file changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject {
    /// Absolute, as the build calls it: `/usr/bin/cc`, symlink or not.
    pub compiler: PathBuf,
    /// Options of the command that select what a driver finds: `--sysroot=`, `--target=`, `--gcc-toolchain=`, `-B`, `-m32`.
    /// Paths in them are absolute.
    pub selectors: Vec<OsString>,
    pub variables: Variables,
}

/// The variables of an environment that a toolchain depends on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Keeps what matters of an environment.
    pub fn of<N: Into<OsString>, V: Into<OsString>>(environment: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(name, _)| RELEVANT.iter().any(|relevant| name == relevant)).collect())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    pub(super) fn search_path(&self) -> &OsStr {
        self.value("PATH")
    }

    fn value(&self, name: &str) -> &OsStr {
        self.0.get(OsStr::new(name)).map_or(OsStr::new(""), OsString::as_os_str)
    }

    fn locale(&self) -> LocaleVariables {
        let text = |name| self.value(name).to_string_lossy().into_owned();
        LocaleVariables {
            lc_all: text("LC_ALL"),
            lc_ctype: text("LC_CTYPE"),
            lc_messages: text("LC_MESSAGES"),
            lang: text("LANG"),
            language: text("LANGUAGE"),
        }
    }
}

/// `PATH` leads drivers to the assembler.
const RELEVANT: &[&str] = &["LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "PATH", "TZ"];

/// Why a compiler cannot be packaged. The text is for people: it becomes the detail of the reason `toolchain-unpackable`.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("the path of the compiler is not absolute")]
    Relative,
    #[error("the compiler is not there")]
    Missing,
    #[error("{} is a script, not a compiler that could run elsewhere", path.display())]
    Script { path: PathBuf },
    #[error("{} starts other compilers and is none", path.display())]
    Launcher { path: PathBuf },
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{} {source}", path.display())]
    Program { path: PathBuf, source: ElfError },
    #[error("{} is a program for {kind}, which builders do not run", path.display())]
    OtherMachine { path: PathBuf, kind: Kind },
    #[error("the compiler has no {name}")]
    MissingProgram { name: &'static str },
    #[error("{} needs {}, which is nowhere to be found", needed_by.display(), name.display())]
    MissingLibrary { name: OsString, needed_by: PathBuf },
    #[error("there are two libraries {}, and both are needed", name.display())]
    AmbiguousLibrary { name: OsString },
    #[error("{} {source}", path.display())]
    Archive { path: PathBuf, source: ForeignError },
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("it has more than {TOOLCHAIN_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<SpawnError> for PackError {
    fn from(error: SpawnError) -> Self {
        Self::Ask(error.into())
    }
}

impl PackError {
    /// True where asking again would end alike as long as no file changes. False where it may have been the moment's trouble: a
    /// program that did not run, a file that could not be read.
    fn is_settled(&self) -> bool {
        match self {
            Self::Probe(_) | Self::Ask(_) | Self::Read { .. } | Self::Tree(TreeError::Look { .. }) => false,
            Self::Program { source, .. } => !matches!(source, ElfError::Read(_)),
            Self::Archive { source, .. } => !matches!(source, ForeignError::Spool(_)),
            Self::Relative
            | Self::Missing
            | Self::Script { .. }
            | Self::Launcher { .. }
            | Self::OtherMachine { .. }
            | Self::MissingProgram { .. }
            | Self::MissingLibrary { .. }
            | Self::AmbiguousLibrary { .. }
            | Self::Tree(TreeError::Name { .. } | TreeError::TooManyEntries)
            | Self::TooLarge => true,
        }
    }
}

/// A compiler that cannot be packaged, with what that was found by.
pub struct Unpackable {
    pub why: PackError,
    sources: Box<Sources>,
}

impl Unpackable {
    /// True where only a change of files can make a difference.
    pub fn is_settled(&self) -> bool {
        self.why.is_settled()
    }

    /// True while nothing has changed that was looked at on the way to the failure.
    pub fn is_current(&self) -> bool {
        self.sources.are_current()
    }
}

/// Without the hundreds of paths.
impl fmt::Debug for Unpackable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpackable").field("why", &self.why).finish_non_exhaustive()
    }
}

impl fmt::Display for Unpackable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for Unpackable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.why.source()
    }
}

/// A compiler ready to travel. Its files stay where they are until [`Package::write_archive`] reads them.
#[derive(Debug)]
pub struct Package {
    pub id: ToolchainId,
    pub manifest: ToolchainManifest,
    pub identity: Identity,
    /// What its programs need of a processor.
    pub level: IsaLevel,
    /// Where its files are, and what else has to stay as it is.
    sources: Sources,
    /// Where those are that this machine does not have.
    archived: Option<Archived>,
}

/// An archive that stands for the compiler.
#[derive(Debug)]
struct Archived {
    archive: PathBuf,
    spool: Spool,
}

/// Finds and hashes what `subject` needs. Takes a fraction of a second; callers keep the outcome while it is current.
///
/// # Errors
/// Why there is none, with what that depends on.
pub fn package(subject: &Subject) -> Result<Package, Unpackable> {
    let mut tree = Tree::default();
    let found = find(subject, &mut tree);
    Package::new(found, tree)
}

/// The same with the programs of an archive in place of this machine's. Takes as long as unpacking it.
///
/// # Errors
/// Why there is none, with what that depends on.
pub fn package_from(replacement: &Replacement, subject: &Subject) -> Result<Package, Unpackable> {
    let mut tree = Tree::default();
    let found = substitute::find(subject, replacement, &mut tree);
    let archived = |spool| Some(Archived { archive: replacement.archive.clone(), spool });
    // What an archive's programs need is not looked into: where it is too much, a job says so.
    let found =
        found.map(|(identity, spool)| Found { identity, level: IsaLevel::default(), archived: archived(spool) });
    Package::new(found, tree)
}

/// What is known of a compiler when its files are found.
struct Found {
    identity: Identity,
    level: IsaLevel,
    archived: Option<Archived>,
}

fn find(subject: &Subject, tree: &mut Tree) -> Result<Found, PackError> {
    let search_path = subject.variables.search_path();
    let driver = Driver { path: &subject.compiler, selectors: &subject.selectors, search_path };
    if !subject.compiler.is_absolute() {
        return Err(PackError::Relative);
    }
    let Some(program) = tree.add_file(&subject.compiler)? else {
        tree.watch(&subject.compiler)?;
        return Err(PackError::Missing);
    };
    check_program(&program)?;
    let identity = probe::identify_by(&driver)?;

    let mut programs = match identity.family {
        Family::Gcc => gcc::add(&driver, tree)?,
        Family::Clang => clang::add(&driver, tree)?,
    };
    programs.extend(add_siblings(&driver, &identity, &program, tree)?);
    programs.push(program);
    let mut libraries = Libraries::default();
    for program in &programs {
        libraries.add_needs(program, tree)?;
    }
    add_surroundings(subject, &identity, tree)?;
    Ok(Found { identity, level: libraries.level(), archived: None })
}

/// Adds a program that a driver names by its path, or by its bare name when `PATH` shall decide, and tells where it lies.
pub(super) fn add_named_program(
    answer: &Path,
    search_path: &OsStr,
    tree: &mut Tree,
) -> Result<Option<PathBuf>, PackError> {
    if answer.is_absolute() {
        return Ok(tree.add_file(answer)?);
    }
    for directory in std::env::split_paths(search_path).filter(|directory| directory.is_absolute()) {
        let candidate = directory.join(answer);
        let found = fs::metadata(&candidate);
        if found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
            return Ok(tree.add_file(&candidate)?);
        }
        // One that appears there later is the one that drivers take then.
        tree.watch(&candidate)?;
    }
    Ok(None)
}

/// Says no early, before anything is run, to what would only fail elsewhere.
fn check_program(program: &Path) -> Result<(), PackError> {
    if is_launcher(program) {
        return Err(PackError::Launcher { path: program.to_owned() });
    }
    match crate::os::toolchain::elf::read(program) {
        Ok(_) => Ok(()),
        Err(ElfError::NotElf) => Err(PackError::Script { path: program.to_owned() }),
        Err(source) => Err(PackError::Program { path: program.to_owned(), source }),
    }
}

/// The other names of this compiler, C and C++: one toolchain serves both.
pub(super) fn add_siblings(
    driver: &Driver<'_>,
    identity: &Identity,
    program: &Path,
    tree: &mut Tree,
) -> Result<Vec<PathBuf>, PackError> {
    let names = match identity.family {
        Family::Clang => driver::clang_names(identity.major),
        Family::Gcc => {
            let machine = OsString::from_vec(driver.ask(&["-dumpmachine"])?.trim_ascii().to_vec());
            driver::gcc_names(&machine.to_string_lossy(), identity.major)
        }
    };
    // gcc's two drivers are two files that differ in one part of their names.
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let twins = [name.to_string(), name.replace("gcc", "g++"), name.replace("g++", "gcc")];
    let twins = twins.map(|name| program.with_file_name(name));
    let mut programs = Vec::new();
    for name in names {
        let sibling = driver.path.with_file_name(name);
        if fs::canonicalize(&sibling).is_ok_and(|real| twins.contains(&real)) {
            programs.extend(tree.add_file(&sibling)?);
        }
    }
    programs.sort();
    programs.dedup();
    Ok(programs)
}

pub(super) fn add_surroundings(subject: &Subject, identity: &Identity, tree: &mut Tree) -> Result<(), PackError> {
    // Both ways to write a system path lead to the same place, where the machine has it so.
    for path in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
        tree.add_directory(Path::new(path))?;
    }
    // Mount points of a sandbox, and where compilers keep temporary files.
    for path in ["/dev", "/proc", "/tmp"] {
        tree.make_directory(Path::new(path))?;
    }
    let variables = &subject.variables;
    let prefix = subject.compiler.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    locale::add(&variables.locale(), prefix, tree)?;
    locale::add_time_zone(variables.value("TZ"), tree)?;
    if identity.family == Family::Gcc {
        for directory in tree.directories_with("libc.so.6") {
            locale::add_character_sets(tree, &directory)?;
        }
    }
    Ok(())
}

fn hashed(sources: &Sources) -> Result<ToolchainManifest, PackError> {
    let mut manifest = ToolchainManifest::default();
    for (path, node) in &sources.nodes {
        let node = match node {
            Node::Directory => ToolchainNode::Directory,
            Node::Symlink { target } => ToolchainNode::Symlink { target: target.clone().into_vec().into() },
            Node::File(stamp) => hash(path.as_path(), stamp)?,
            Node::Made(node) => node.clone(),
        };
        manifest.entries.push(ToolchainEntry { path: path.clone(), node });
    }
    if manifest.bytes() > TOOLCHAIN_BYTES_MAX {
        return Err(PackError::TooLarge);
    }
    Ok(manifest)
}

impl Package {
    fn new(found: Result<Found, PackError>, tree: Tree) -> Result<Self, Unpackable> {
        let sources = tree.into_sources();
        match found.and_then(|found| Ok((found, hashed(&sources)?))) {
            Ok((Found { identity, level, archived }, manifest)) => {
                Ok(Self { id: manifest.id(), manifest, identity, level, sources, archived })
            }
            Err(why) => Err(Unpackable { why, sources: Box::new(sources) }),
        }
    }

    /// True while nothing has changed that the package was made from: some hundred calls of `stat`.
    pub fn is_current(&self) -> bool {
        self.sources.are_current()
    }

    /// What there is to say about it.
    pub fn summary(&self) -> PackageSummary {
        let is_file = |entry: &&ToolchainEntry| matches!(entry.node, ToolchainNode::File { .. });
        PackageSummary {
            id: self.id.to_string(),
            compiler: self.identity.to_string(),
            files: self.manifest.entries.iter().filter(is_file).count() as u64,
            bytes: self.manifest.bytes(),
            archive: self.archived.as_ref().map(|archived| archived.archive.display().to_string()),
        }
    }

    /// Writes the package as a compressed tar that depends on nothing but its manifest.
    pub fn write_archive(&self, out: impl Write) -> Result<(), ArchiveError> {
        archive::write(&self.manifest, |path| self.open(path), out)
    }

    fn open(&self, path: &SandboxPath) -> io::Result<Box<dyn Read + '_>> {
        match self.archived.as_ref().and_then(|archived| archived.spool.open(path)) {
            Some(content) => Ok(Box::new(content)),
            None => Ok(Box::new(File::open(path.as_path())?)),
        }
    }
}

fn hash(path: &Path, stamp: &Stamp) -> Result<ToolchainNode, PackError> {
    let read = |source| PackError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    let mut digest = DigestBuilder::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut size = 0;
    loop {
        match file.read(&mut buffer).map_err(read)? {
            0 => break,
            length => {
                digest.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
    Ok(ToolchainNode::File { digest: digest.finish(), size, executable: stamp.is_executable() })
}

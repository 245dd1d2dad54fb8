//! A toolchain whose programs come from an archive that the configuration names, in place of the compiler here.
//!
//! The job calls the compiler by the path it has here, and the driver's choices must be those of the one here. So what this machine's
//! driver looks for, its directories, start files and locales, is taken from here as for any package; its programs and all
//! libraries are the archive's, each program at the path where the one here lies. No header is taken from either.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::driver::{Family, Identity};
use crate::engine::toolchain::programs::plain_names;
use crate::model::path::SandboxPath;
use crate::model::toolchain::ToolchainNode;
use crate::os::toolchain::ask::Driver;
use crate::os::toolchain::foreign::{Foreign, ForeignError, Spool};
use crate::os::toolchain::pack::{PackError, Subject, add_siblings, add_surroundings};
use crate::os::toolchain::tree::{Node, Tree};
use crate::os::toolchain::{clang, gcc, probe};

/// What the configuration has for one compiler (`path_override`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Replacement {
    pub archive: PathBuf,
    /// The compiler in it, an absolute path there.
    pub program: PathBuf,
}

/// Fills the tree; tells where the contents of the archive's files are.
pub(super) fn find(
    subject: &Subject,
    replacement: &Replacement,
    tree: &mut Tree,
) -> Result<(Identity, Spool), PackError> {
    if !subject.compiler.is_absolute() {
        return Err(PackError::Relative);
    }
    tree.watch(&replacement.archive)?;
    tree.watch(&subject.compiler)?;
    let refused = |source| PackError::Archive { path: replacement.archive.clone(), source };
    let compiler = tree.add_file(&subject.compiler)?.ok_or(PackError::Missing)?;
    let search_path = subject.variables.search_path();
    let driver = Driver { path: &subject.compiler, selectors: &subject.selectors, search_path };
    let identity = probe::identify_by(&driver)?;
    let mut programs = match identity.family {
        Family::Gcc => gcc::add(&driver, tree)?,
        Family::Clang => clang::add(&driver, tree)?,
    };
    programs.extend(add_siblings(&driver, &identity, &compiler, tree)?);
    add_surroundings(subject, &identity, tree)?;

    let mut archive = Foreign::read(&replacement.archive).map_err(refused)?;
    let own = archive.resolve(&replacement.program);
    let own = own.ok_or_else(|| refused(ForeignError::NoProgram(replacement.program.clone())))?;
    let prefixes = [&compiler, &replacement.program].map(|program| prefix(program).to_owned());
    for program in programs.iter().filter(|program| **program != compiler) {
        let found = counterpart(program, &prefixes, &archive);
        put_program(program, found.as_ref(), &mut archive, tree)?;
    }
    put_program(&compiler, Some(&own), &mut archive, tree)?;
    join(&mut archive, &prefixes, tree, refused)?;
    Ok((identity, archive.spool))
}

/// `/opt/llvm` of `/opt/llvm/bin/clang`: what a driver finds its parts by.
fn prefix(program: &Path) -> &Path {
    program.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
}

/// The archive's file for a program that lies at `program` here: at the same path, at the same place below the other prefix, or
/// among its commands under its plain name, where `icecc-create-env` puts all of them.
fn counterpart(program: &Path, prefixes: &[PathBuf; 2], archive: &Foreign) -> Option<SandboxPath> {
    let [here, there] = prefixes;
    let moved = program.strip_prefix(here).ok().map(|rest| there.join(rest));
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let commands = plain_names(&name).into_iter().map(|name| there.join("bin").join(name));
    [program.to_owned()].into_iter().chain(moved).chain(commands).find_map(|path| archive.resolve(&path))
}

/// Puts the archive's file where the program lies here. One that the archive lacks is lacking in the job too: the driver says
/// so where it is needed.
fn put_program(
    program: &Path,
    found: Option<&SandboxPath>,
    archive: &mut Foreign,
    tree: &mut Tree,
) -> Result<(), PackError> {
    // What the driver here finds decides what is put where.
    tree.watch(program)?;
    let Some((found, node)) = found.and_then(|found| Some((found, archive.nodes.get(found)?.clone()))) else {
        tree.remove(program)?;
        return Ok(());
    };
    if let Ok(path) = SandboxPath::from_path(program) {
        archive.spool.share(found, &path);
    }
    Ok(tree.put(program, Node::Made(node))?)
}

/// Adds all of the archive that the tree does not have yet. Below the compiler's own prefix, symlinks lead to what the archive has
/// below its compiler's: libraries that programs look for beside themselves.
fn join(
    archive: &mut Foreign,
    prefixes: &[PathBuf; 2],
    tree: &mut Tree,
    refused: impl Fn(ForeignError) -> PackError,
) -> Result<(), PackError> {
    let [here, there] = prefixes;
    let nodes: Vec<_> = archive.nodes.iter().map(|(path, node)| (path.clone(), node.clone())).collect();
    for (path, node) in nodes {
        let is_directory = node == ToolchainNode::Directory;
        let conflict = || refused(ForeignError::Conflict(path.clone()));
        let place = tree.place(path.as_path())?.ok_or_else(conflict)?;
        if !tree.has(&place)? {
            if let Ok(place) = SandboxPath::from_path(&place) {
                archive.spool.share(&path, &place);
            }
            tree.put(&place, Node::Made(node))?;
        }
        let Ok(rest) = path.as_path().strip_prefix(there) else { continue };
        let moved = tree.place(&here.join(rest))?;
        if let Some(moved) = moved.filter(|_| !is_directory)
            && !tree.has(&moved)?
        {
            let target = place.as_os_str().as_bytes().to_vec().into();
            tree.put(&moved, Node::Made(ToolchainNode::Symlink { target }))?;
        }
    }
    Ok(())
}

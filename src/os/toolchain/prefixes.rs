//! Directories that a build puts before a compiler's own (`-B`). What appears there later is what the driver takes then.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::selectors;
use crate::os::toolchain::tree::{Tree, TreeError};

/// Watches `names` at every prefix among `options`, and in those of the `searched` directories that the driver makes of one.
pub(super) fn watch(
    options: &[OsString],
    searched: &[PathBuf],
    names: &[&str],
    tree: &mut Tree,
) -> Result<(), TreeError> {
    let prefixes: Vec<&Path> = selectors::prefixes(options).map(Path::new).collect();
    let is_of_prefix = |directory: &OsStr| {
        prefixes.iter().any(|prefix| directory.as_bytes().starts_with(prefix.as_os_str().as_bytes()))
    };
    for prefix in prefixes.iter().filter(|prefix| !prefix.exists()) {
        tree.watch(prefix)?;
    }
    let searched = searched.iter().map(|directory| directory.as_os_str()).filter(|directory| is_of_prefix(directory));
    for directory in searched.chain(prefixes.iter().map(|prefix| prefix.as_os_str())) {
        for name in names {
            tree.watch(&Path::new(directory).join(name))?;
            // What is no directory is the beginning of a name.
            tree.watch(Path::new(&[directory, OsStr::new(name)].join(OsStr::new(""))))?;
        }
    }
    Ok(())
}

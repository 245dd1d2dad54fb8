//! The directory that a throwaway farm lives in.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::os::process::privileges::find_user;
use crate::os::random;

/// Gone when dropped, unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    pub(crate) fn create(keep: bool) -> io::Result<Self> {
        let name: String = random::bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() <= BASE_BYTES_MAX);
        let path = temporary.unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("farcc-try-{name}"));
        // Daemons that root has started go on as other users: these must get through to what is theirs.
        let mode = if is_root() { 0o711 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&path)?;
        let directory = Self { path, keep };
        fs::set_permissions(&directory.path, Permissions::from_mode(mode))?;
        Ok(directory)
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A directory for one daemon alone: for `user`, or `nobody`, where root starts it.
    pub(crate) fn private(&self, name: &str, user: Option<&str>) -> io::Result<PathBuf> {
        let path = self.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        hand_over(&path, user)?;
        Ok(path)
    }

    /// A file that one daemon alone reads: it has secrets in it.
    pub(crate) fn write(&self, name: &str, user: Option<&str>, text: &str) -> io::Result<PathBuf> {
        let path = self.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        hand_over(&path, user)?;
        Ok(path)
    }

    /// `bin` with a link to `farcc` for each of `names` that is a program in `path`, and to our own commands.
    pub(crate) fn link_compilers(&self, names: &[&str], path: &OsString, programs: &[PathBuf]) -> io::Result<PathBuf> {
        let bin = self.join("bin");
        DirBuilder::new().mode(0o755).create(&bin)?;
        let is_installed = |name: &&&str| std::env::split_paths(path).any(|dir| dir.join(name).is_file());
        if let Some(farcc) = programs.first() {
            for name in names.iter().filter(is_installed) {
                std::os::unix::fs::symlink(farcc, bin.join(name))?;
            }
        }
        for program in programs {
            if let Some(name) = program.file_name() {
                std::os::unix::fs::symlink(program, bin.join(name))?;
            }
        }
        Ok(bin)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.keep {
            crate::cli::say(&format!("kept: {}", self.path.display()));
        } else if let Err(error) = remove(&self.path) {
            crate::cli::say(&format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}

/// Gives `path` to whom a daemon becomes that root has started, chosen as the daemon chooses.
fn hand_over(path: &Path, user: Option<&str>) -> io::Result<()> {
    let Some(user) = user.filter(|_| is_root()) else { return Ok(()) };
    match find_user(user).or_else(|| find_user("nobody")) {
        Some(account) => chown(path, Some(account.uid), Some(account.gid)),
        // The daemon finds nobody to become either, and says so.
        None => Ok(()),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Removes a tree that has directories without write permission in it, as packaged toolchains do.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the owner every right to every directory; links are not followed.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// A Unix socket's path has 107 bytes; the rest is for names below.
const BASE_BYTES_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let directory = Directory::create(false).unwrap();
        let path = directory.path.clone();
        let deep = directory.private("cache", None).unwrap().join("tree");
        fs::create_dir(&deep).unwrap();
        fs::write(deep.join("cc1"), "").unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o555)).unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn only_compilers_that_exist_are_linked() {
        let directory = Directory::create(false).unwrap();
        let names = ["sh", "no-such-compiler"];
        let programs = [PathBuf::from("/x/farcc"), PathBuf::from("/x/farccctl")];
        let bin = directory.link_compilers(&names, &"/nonexistent:/bin:/usr/bin".into(), &programs).unwrap();
        let mut linked: Vec<_> = fs::read_dir(bin).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        linked.sort();
        assert_eq!(linked, ["farcc", "farccctl", "sh"]);
    }
}

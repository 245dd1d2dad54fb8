//! Configuration files that the control command writes: where they belong, who may read them, and that nothing is lost.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::cli::credstore::{CREDSTORE, service_drop_in};
use crate::engine::config::Part;
use crate::model::exit;
use crate::os::process::privileges::find_user;

/// A configuration file to be written, and who may read it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    mode: u32,
    group: Option<u32>,
    /// Of its directory, where that has to be made.
    directory_mode: u32,
}

impl Place {
    fn readable(path: PathBuf) -> Self {
        Self { path, mode: 0o644, group: None, directory_mode: 0o755 }
    }

    /// Of this machine's service: its user has to read the file, and nobody else.
    pub(crate) fn service(part: Part) -> Self {
        let account = find_user(&format!("farcc-{}", part.name()));
        let mode = if account.is_some() { 0o640 } else { 0o600 };
        Self { mode, group: account.map(|account| account.gid), ..Self::readable_service(part) }
    }

    /// As [`Place::service`], for what is no secret.
    pub(crate) fn readable_service(part: Part) -> Self {
        Self::readable(PathBuf::from(format!("/etc/farcc/{}.toml.d/farm.toml", part.name())))
    }

    /// Of every client of this machine: all users' daemons read it as themselves.
    pub(crate) fn every_client() -> Self {
        Self::readable(PathBuf::from("/etc/farcc/client.toml.d/farm.toml"))
    }

    /// Of the service manager alone, which hands it to the services that ask for it by `name`.
    pub(crate) fn credential(name: &str) -> Self {
        Self { path: Path::new(CREDSTORE).join(name), mode: 0o600, group: None, directory_mode: 0o700 }
    }

    /// What a service of the system's is told beside its own file; it holds no secret.
    pub(crate) fn system_service(part: Part) -> Self {
        Self::readable(service_drop_in(part))
    }

    /// Of this user alone: the client's file, or that of a daemon which the user's own service manager runs.
    pub(crate) fn own(part: Part) -> Result<Self, Failure> {
        let name = match part {
            Part::Client => "config.toml",
            Part::Scheduler => "scheduler.toml",
            Part::Builder => "builder.toml",
        };
        let path = own_directory()?.join("farcc").join(name);
        Ok(Self { path, mode: 0o600, group: None, directory_mode: 0o755 })
    }

    /// What a socket unit of the system's is told beside its own file; it holds no secret.
    pub(crate) fn system_socket(part: Part) -> Self {
        Self::readable(socket_drop_in(Path::new("/etc/systemd/system"), part))
    }

    /// As [`Place::system_socket`], of this user's service manager.
    pub(crate) fn own_socket(part: Part) -> Result<Self, Failure> {
        Ok(Self::readable(socket_drop_in(&own_directory()?.join("systemd/user"), part)))
    }

    /// Refuses where something else is there that nobody wants replaced.
    pub(crate) fn check(&self, text: &str, replace: bool) -> Result<(), Failure> {
        if replace {
            return Ok(());
        }
        match fs::read(&self.path) {
            Ok(present) if present == text.as_bytes() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => Err(Failure::new(
                exit::NEGATIVE,
                format_args!("{}: is there and says something else; --force replaces it", self.path.display()),
            )),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Writes the file, which appears whole or not at all. What is there stays, unless it says the same or `replace` is meant.
    pub(crate) fn put(&self, text: &str, replace: bool) -> Result<(), Failure> {
        self.check(text, replace)?;
        self.appear(text).map_err(|error| self.failure(&error))
    }

    /// Has the file say this, whatever it said; false where it did already.
    pub(crate) fn update(&self, text: &str) -> Result<bool, Failure> {
        if self.says(text) {
            return Ok(false);
        }
        self.put(text, true).map(|()| true)
    }

    /// Removes the file if it says just this; whether it did.
    pub(crate) fn take_back(&self, text: &str) -> Result<bool, Failure> {
        if !self.says(text) {
            return Ok(false);
        }
        fs::remove_file(&self.path).map(|()| true).map_err(|error| self.failure(&error))
    }

    fn says(&self, text: &str) -> bool {
        fs::read(&self.path).is_ok_and(|present| present == text.as_bytes())
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(exit::DIRECTORY, format_args!("{}: {error}", self.path.display()))
    }

    fn appear(&self, text: &str) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(self.directory_mode).create(dir)?;
        let aside = dir.join(format!(".farm-{}.new", std::process::id()));
        let written = self.write(&aside, text).and_then(|()| fs::rename(&aside, &self.path));
        if written.is_err() {
            fs::remove_file(&aside).ok();
        }
        written
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        if self.group.is_some_and(|group| file.metadata().is_ok_and(|meta| meta.gid() != group)) {
            chown(path, None, self.group)?;
        }
        file.set_permissions(PermissionsExt::from_mode(self.mode))?;
        file.sync_all()
    }
}

/// `$XDG_CONFIG_HOME`, or `.config` at home.
fn own_directory() -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    config.ok_or_else(|| Failure::new(exit::CONFIGURATION, "neither XDG_CONFIG_HOME nor HOME is set"))
}

fn socket_drop_in(units: &Path, part: Part) -> PathBuf {
    units.join(format!("farcc-{}.socket.d/farcc.conf", part.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        Place { path: dir.join("farcc/config.toml"), mode: 0o600, group: None, directory_mode: 0o755 }
    }

    #[test]
    fn what_is_there_stays_unless_it_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        place.put("a", false).unwrap();
        place.put("a", false).unwrap();
        assert_eq!(place.put("b", false).unwrap_err().status, exit::NEGATIVE);
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "a");
        place.put("b", true).unwrap();
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "b");
    }

    #[test]
    fn nothing_is_left_beside_it_and_others_do_not_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        place.put("a secret", false).unwrap();
        let names: Vec<_> =
            fs::read_dir(dir.path().join("farcc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["config.toml"]);
        assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

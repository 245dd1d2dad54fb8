//! `farccctl farm` and `auth`: what it takes to bring machines together, as one line to carry from one to the other.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use crate::cli::arguments::{InviteOptions, JoinOptions};
use crate::cli::{Failure, print, say};
use crate::engine::config::{HostPort, Invite, SCHEDULER_PORT, SchedulerConfig};
use crate::model::exit;
use crate::os::config::{Sources, load_scheduler, scheduler_tokens};
use crate::os::net::Identity;
use crate::os::process::privileges::find_user;

pub(crate) fn invite(options: &InviteOptions) -> Result<u8, Failure> {
    let configuration = Failure::with(exit::CONFIGURATION);
    let config = load_scheduler(&Sources::here(options.config.clone())).map_err(configuration)?.config;
    let dir = &config.state_dir;
    // What the scheduler makes at its first start must be made by the scheduler: else it would be another user's.
    fs::metadata(dir.join(CERTIFICATE)).map_err(|error| no_scheduler(dir, &error))?;
    let identity = Identity::load_or_create(dir).map_err(Failure::with(exit::DIRECTORY))?;
    let tokens = scheduler_tokens(&config).map_err(Failure::with(exit::DIRECTORY))?;
    let invite = Invite {
        address: address(options, &config)?,
        fingerprint: identity.fingerprint(),
        client_token: (!options.builder).then_some(tokens.client),
        builder_token: (!options.client).then_some(tokens.builder),
    };
    print(&format!("{invite}\n"))
}

fn no_scheduler(dir: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as root",
        _ => "run this on the scheduler's machine, after `systemctl enable --now farcc-scheduler.service`",
    };
    Failure::new(
        exit::NEGATIVE,
        format_args!("{}: there is no scheduler's certificate ({error}); {advice}", dir.display()),
    )
}

/// Where others find the scheduler. An address that means every address of this machine is not one for others.
fn address(options: &InviteOptions, config: &SchedulerConfig) -> Result<HostPort, Failure> {
    if let Some(text) = &options.address {
        let wrong = |error| Failure::new(exit::USAGE, format_args!("--address: {error}"));
        return HostPort::parse(text, SCHEDULER_PORT).map_err(wrong);
    }
    if !config.public_addr.is_wildcard() {
        return Ok(config.public_addr.clone());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(HostPort::new(host, config.public_addr.port))
}

pub(crate) fn join(options: &JoinOptions) -> Result<u8, Failure> {
    let invite: Invite = options.line.parse().map_err(Failure::with(exit::USAGE))?;
    let is_root = rustix::process::geteuid().is_root();
    let is_builder = options.builder || (!options.client && is_root);
    let (text, place, then) = if is_builder && is_root {
        (invite.builder_file(), Place::builder(), "now `systemctl enable --now builder.socket`")
    } else if is_builder {
        (invite.builder_file(), Place::own("builder.toml")?, "now `systemctl --user enable --now builder.socket`")
    } else {
        (invite.client_file(), Place::client(options.system)?, "`farccctl stop` lets a running client daemon notice")
    };
    let text = text.ok_or_else(|| {
        let role = if is_builder { "builders" } else { "clients" };
        Failure::new(exit::NEGATIVE, format_args!("the invitation is not for {role}: it was made without their token"))
    })?;
    match place.put(&text, options.force) {
        Ok(()) => {
            say(&format!("joined: {}; {then}", place.path.display()));
            Ok(exit::OK)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(
            exit::NEGATIVE,
            format_args!("{}: is there and says something else; --force replaces it", place.path.display()),
        )),
        Err(error) => Err(Failure::new(exit::DIRECTORY, format_args!("{}: {error}", place.path.display()))),
    }
}

/// A configuration file to be written, and who may read it.
struct Place {
    path: PathBuf,
    mode: u32,
    group: Option<u32>,
}

impl Place {
    /// The service's user has to read it; nobody else.
    fn builder() -> Self {
        let account = find_user("farcc-builder");
        Self {
            path: PathBuf::from("/etc/farcc/builder.toml.d/farm.toml"),
            mode: if account.is_some() { 0o640 } else { 0o600 },
            group: account.map(|account| account.gid),
        }
    }

    /// For one user; or for all, whose daemons read it as themselves.
    fn client(for_all: bool) -> Result<Self, Failure> {
        if for_all {
            return Ok(Self { path: PathBuf::from("/etc/farcc/client.toml.d/farm.toml"), mode: 0o644, group: None });
        }
        Self::own("config.toml")
    }

    /// Of this user alone: the client's file, or that of a builder which the user's own service manager runs.
    fn own(name: &str) -> Result<Self, Failure> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let config =
            config.ok_or_else(|| Failure::new(exit::CONFIGURATION, "neither XDG_CONFIG_HOME nor HOME is set"))?;
        Ok(Self { path: config.join("farcc").join(name), mode: 0o600, group: None })
    }

    /// Appears whole or not at all. What is there stays, unless it says the same or `replace` is meant.
    fn put(&self, text: &str, replace: bool) -> io::Result<()> {
        if !replace {
            match fs::read_to_string(&self.path) {
                Ok(present) if present == text => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) => return Err(error),
            }
        }
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
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
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(self.mode))?;
        file.sync_all()
    }
}

pub(crate) fn generate_token() -> Result<u8, Failure> {
    let token = crate::os::config::generate_token().map_err(Failure::with(exit::INTERNAL))?;
    print(&format!("{}\n", token.expose()))
}

/// In the scheduler's state directory, as `os::net::identity` keeps it.
const CERTIFICATE: &str = "identity.crt";

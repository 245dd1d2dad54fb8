//! The configuration of each role as its daemon would read it, and who else can.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::credstore;
use crate::cli::doctor::facts::{ConfigurationFacts, Reader, SecretFile};
use crate::engine::config::{BuilderConfig, Checked, ClientConfig, Part, SchedulerConfig, Warning};
use crate::os::config::{
    BUILDER_TOKEN_FILE, CLIENT_TOKEN_FILE, LoadError, Sources, files, load_builder, load_client, load_scheduler,
    secret_files,
};
use crate::os::process::privileges::{User, find_user};

/// What a role is configured to be, where it can be read.
#[derive(Debug)]
pub(crate) enum Loaded {
    Client(ClientConfig),
    Scheduler(SchedulerConfig),
    Builder(BuilderConfig),
}

impl Loaded {
    /// Whom a daemon of the farm becomes.
    fn user(&self) -> Option<&str> {
        match self {
            Self::Client(_) => None,
            Self::Scheduler(config) => Some(&config.user),
            Self::Builder(config) => Some(&config.user),
        }
    }
}

/// Where to look for one role's configuration.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) part: Part,
    pub(crate) sources: Sources,
    /// Of a daemon that this user's own service manager runs, or that is started by hand with `--config`.
    pub(crate) is_own: bool,
    has_hidden_credentials: bool,
}

impl Subject {
    /// `file` replaces what would be looked for.
    pub(crate) fn new(part: Part, file: Option<PathBuf>) -> Self {
        let mut sources = Sources::here(file);
        let is_service = part != Part::Client && sources.file.is_none();
        let own = own_file(part).filter(|_| is_service && !is_root());
        if let Some(own) =
            own.filter(|own| own.exists() && files(&sources, part.name()).is_ok_and(|files| files.is_empty()))
        {
            sources.file = Some(own);
        }
        let is_own = part == Part::Client || sources.file.is_some();
        let has_hidden_credentials = is_service && !is_own && !credstore::show(&mut sources);
        Self { part, sources, is_own, has_hidden_credentials }
    }

    /// Whether anybody has set this role up here.
    pub(crate) fn is_configured(&self) -> bool {
        self.sources.file.is_some() || files(&self.sources, self.part.name()).is_ok_and(|files| !files.is_empty())
    }

    pub(crate) fn load(&self) -> (ConfigurationFacts, Option<Loaded>) {
        let files = files(&self.sources, self.part.name()).unwrap_or_default();
        let loaded = match self.part {
            Part::Client => load_client(&self.sources).map(|checked| parts(checked, Loaded::Client)),
            Part::Scheduler => load_scheduler(&self.sources).map(|checked| parts(checked, Loaded::Scheduler)),
            Part::Builder => load_builder(&self.sources).map(|checked| parts(checked, Loaded::Builder)),
        };
        let (config, loaded): (_, Result<_, LoadError>) = match loaded {
            Ok((config, warnings)) => (Some(config), Ok(warnings)),
            Err(error) => (None, Err(error)),
        };
        let facts = ConfigurationFacts {
            role: self.part.name(),
            files: files.iter().map(|file| file.display().to_string()).collect(),
            loaded,
            has_hidden_credentials: self.has_hidden_credentials,
        };
        (facts, config)
    }

    /// The files with this role's tokens, as far as they are there and can be looked at.
    pub(crate) fn secrets(&self, config: Option<&Loaded>) -> Vec<SecretFile> {
        let mut paths = secret_files(&self.sources, self.part.name()).unwrap_or_default();
        if let Some(Loaded::Scheduler(config)) = config {
            paths.extend([CLIENT_TOKEN_FILE, BUILDER_TOKEN_FILE].map(|name| config.state_dir.join(name)));
        }
        let reader = self.daemons_user(config.and_then(Loaded::user));
        paths.iter().filter_map(|path| self.secret(path, reader.as_ref())).collect()
    }

    /// Whom the service's daemon runs as, where the configuration says `user`. None where that is whoever starts it.
    pub(crate) fn daemons_user(&self, user: Option<&str>) -> Option<User> {
        let usual = format!("farcc-{}", self.part.name());
        if self.is_own { None } else { find_user(user.unwrap_or(&usual)) }
    }

    fn secret(&self, path: &Path, reader: Option<&User>) -> Option<SecretFile> {
        let meta = fs::metadata(path).ok()?;
        let mode = meta.mode();
        let may_read = |user: &User| {
            let bit = if meta.uid() == user.uid {
                0o400
            } else if meta.gid() == user.gid {
                0o040
            } else {
                0o004
            };
            mode & bit != 0
        };
        // Whoever builds on this machine has a daemon that reads the system's client files.
        let is_for_all = self.part == Part::Client && path.starts_with(self.sources.root.join("etc/farcc"));
        let reader = reader.map(|user| Reader { name: user.name.clone(), may_read: may_read(user) });
        Some(SecretFile { path: path.to_owned(), mode, reader, is_for_all })
    }
}

fn parts<T>(checked: Checked<T>, wrap: impl FnOnce(T) -> Loaded) -> (Loaded, Vec<Warning>) {
    (wrap(checked.config), checked.warnings)
}

/// What `farccctl farm join --builder` writes for an ordinary user, whose unit names it.
fn own_file(part: Part) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("farcc").join(format!("{}.toml", part.name())))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

//! Finds and reads configuration files, and collects what they leave to this machine. What they mean is decided in
//! [`crate::engine::config`].
//!
//! Order, later wins: `/usr/lib/farcc`, `/run/farcc`, `/etc/farcc`, each `ROLE.toml`; then `ROLE.toml.d/*.toml` of the three by file
//! name, where a file replaces those of the same name in earlier directories; for the client also
//! `~/.config/farcc/config.toml` and `FARCC_*` variables. A file given by `--config` replaces all of these, `FARCC_LOG` aside, which every daemon takes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::engine::config::{
    BuilderConfig, Checked, ClientConfig, ConfigError, Document, Facts, Import, Origins, Part, SchedulerConfig, Scope,
    Secret, convert, from_variables, merge, parse, recognise,
};
use crate::model::limits::{CONFIG_BYTES_MAX, CONFIG_FILES_MAX, TOKEN_BYTES_GENERATED};
use crate::os::systemd::credentials;

/// Where to look: a root other than `/` and a made-up environment make this testable.
#[derive(Clone)]
pub struct Sources {
    pub root: PathBuf,
    /// `--config FILE`: the only file that is read.
    pub file: Option<PathBuf>,
    pub variables: BTreeMap<String, String>,
    /// Processors this process may use.
    pub cpus: u32,
    pub host_name: String,
}

/// Without the variables' values: one may be a token.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.keys().collect();
        let Self { root, file, cpus, host_name, .. } = self;
        f.debug_struct("Sources")
            .field("root", root)
            .field("file", file)
            .field("variables", &variables)
            .field("cpus", cpus)
            .field("host_name", host_name)
            .finish()
    }
}

impl Sources {
    /// This machine and this process's environment; variables that are not UTF-8 do not count.
    pub fn here(file: Option<PathBuf>) -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            root: PathBuf::from("/"),
            file,
            variables: std::env::vars_os().filter_map(utf8).collect(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A directory from a variable; systemd separates several by colons, and the first is ours.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        let first = self.variable(name)?.split(':').next()?;
        first.starts_with('/').then(|| PathBuf::from(first))
    }
}

/// The configuration cannot be had. One line, with the file; exit status [`crate::model::exit::CONFIGURATION`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: cannot be read: {cause}; check that it exists and that this user may read it", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}:{line}: this line is not UTF-8; save the file as UTF-8", path.display())]
    NotUtf8 { path: PathBuf, line: usize },
    #[error("{}: has more than {CONFIG_BYTES_MAX} bytes, so it is no configuration file; remove it", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: has more than {CONFIG_FILES_MAX} files; remove some", path.display())]
    TooMany { path: PathBuf },
}

/// The client's configuration.
///
/// # Errors
/// The first file that cannot be read or value that makes no sense.
pub fn load_client(sources: &Sources) -> Result<Checked<ClientConfig>, LoadError> {
    let (document, facts) = collect(sources, "client")?;
    Ok(ClientConfig::check(document, &facts)?)
}

/// The scheduler's configuration.
///
/// # Errors
/// The first file that cannot be read or value that makes no sense.
pub fn load_scheduler(sources: &Sources) -> Result<Checked<SchedulerConfig>, LoadError> {
    let (document, facts) = collect(sources, "scheduler")?;
    Ok(SchedulerConfig::check(document, &facts)?)
}

/// A builder's configuration.
///
/// # Errors
/// The first file that cannot be read or value that makes no sense.
pub fn load_builder(sources: &Sources) -> Result<Checked<BuilderConfig>, LoadError> {
    let (document, facts) = collect(sources, "builder")?;
    Ok(BuilderConfig::check(document, &facts)?)
}

/// The files that would be read for `role`, lowest precedence first.
///
/// # Errors
/// A directory that is there and cannot be listed.
pub fn files(sources: &Sources, role: &str) -> Result<Vec<PathBuf>, LoadError> {
    if let Some(file) = &sources.file {
        return Ok(vec![file.clone()]);
    }
    let directories = ["usr/lib/farcc", "run/farcc", "etc/farcc"].map(|directory| sources.root.join(directory));
    let mut files: Vec<_> = directories.iter().map(|directory| directory.join(format!("{role}.toml"))).collect();
    let mut drop_ins = BTreeMap::new();
    for directory in &directories {
        drop_ins.extend(list(&directory.join(format!("{role}.toml.d")))?);
    }
    files.extend(drop_ins.into_values());
    if role == "client" {
        let home = home(sources).map(|home| home.join(".config"));
        let user = sources.directory("XDG_CONFIG_HOME").or(home);
        files.extend(user.map(|directory| directory.join("farcc/config.toml")));
    }
    files.retain(|file| {
        file.exists() || file.symlink_metadata().is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
    });
    Ok(files)
}

/// Which file and line said what of `role`'s configuration.
///
/// # Errors
/// The first file that cannot be read.
pub fn origins(sources: &Sources, role: &str) -> Result<Origins, LoadError> {
    let (document, _) = collect(sources, role)?;
    Ok(Origins::of(&document))
}

/// The files that tokens of `role` are kept in: configuration that has one written out, and files that it names.
///
/// # Errors
/// The first configuration file that cannot be read.
pub fn secret_files(sources: &Sources, role: &str) -> Result<Vec<PathBuf>, LoadError> {
    let (document, facts) = collect(sources, role)?;
    let mut files: Vec<_> = Origins::of(&document).files_with_tokens().map(PathBuf::from).collect();
    files.extend(facts.token_files(&document));
    files.dedup();
    Ok(files)
}

/// Why a file of sccache's does not become one of ours.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: this could be a client's file, a scheduler's or a builder's; --role says whose it is", .0.display())]
    Unrecognised(PathBuf),
}

impl From<ConfigError> for ImportError {
    fn from(error: ConfigError) -> Self {
        Self::Load(error.into())
    }
}

/// Makes of `file` one of ours; whose it is, it mostly says itself.
///
/// # Errors
/// A file that cannot be read, that says nothing which we could act on, or that could be anybody's.
pub fn import(sources: &Sources, file: &Path, part: Option<Part>) -> Result<(Part, Import), ImportError> {
    let document = parse(&file.display().to_string(), &read(file)?)?;
    let part = part.or_else(|| recognise(&document)).ok_or_else(|| ImportError::Unrecognised(file.to_owned()))?;
    let facts = facts(&Sources { file: Some(file.to_owned()), ..sources.clone() }, part.name(), &document)?;
    Ok((part, convert(part, document, &facts)?))
}

fn collect(sources: &Sources, role: &str) -> Result<(Document, Facts), LoadError> {
    let mut layers = Vec::new();
    for file in files(sources, role)? {
        let text = read(&file)?;
        layers.push(parse(&file.display().to_string(), &text)?);
    }
    let scope = if role == "client" && sources.file.is_none() { Scope::Client } else { Scope::LogOnly };
    layers.push(from_variables(scope, &sources.variables));
    let document = merge(layers);
    let facts = facts(sources, role, &document)?;
    Ok((document, facts))
}

/// What `document` leaves to this machine.
fn facts(sources: &Sources, role: &str, document: &Document) -> Result<Facts, LoadError> {
    let main_file = match &sources.file {
        Some(file) => file.clone(),
        None => sources.root.join("etc/farcc").join(format!("{role}.toml")),
    };
    let xdg = |name| if role == "client" { sources.directory(name).map(|path| path.join("farcc")) } else { None };
    let mut facts = Facts {
        main_file: main_file.display().to_string(),
        cpus: sources.cpus,
        host_name: sources.host_name.clone(),
        home: home(sources),
        state_dir: sources.directory("STATE_DIRECTORY").or_else(|| xdg("XDG_STATE_HOME")),
        cache_dir: sources.directory("CACHE_DIRECTORY").or_else(|| xdg("XDG_CACHE_HOME")),
        credentials: match sources.directory("CREDENTIALS_DIRECTORY") {
            Some(directory) => credentials::read_all(&directory)
                .map_err(|error| LoadError::Unreadable { path: error.path, cause: error.cause })?,
            None => BTreeMap::new(),
        },
        tokens: BTreeMap::new(),
    };
    for path in facts.token_files(document) {
        let secret = read_token(&path);
        facts.tokens.insert(path, secret);
    }
    Ok(facts)
}

fn home(sources: &Sources) -> Option<PathBuf> {
    sources.directory("HOME")
}

/// The `*.toml` files of a directory, by name. One that does not exist has none.
fn list(directory: &Path) -> Result<BTreeMap<std::ffi::OsString, PathBuf>, LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: directory.to_owned(), cause };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if let (Some(name), Some("toml")) =
            (path.file_name(), path.extension().and_then(|extension| extension.to_str()))
        {
            files.insert(name.to_owned(), path);
        }
        if files.len() > CONFIG_FILES_MAX {
            return Err(LoadError::TooMany { path: directory.to_owned() });
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, LoadError> {
    let bytes = read_bounded(path).map_err(|cause| LoadError::Unreadable { path: path.to_owned(), cause })?;
    let bytes = bytes.ok_or_else(|| LoadError::TooLarge { path: path.to_owned() })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        LoadError::NotUtf8 { path: path.to_owned(), line }
    })
}

/// None where the file is larger than any configuration. Never waits for a writer of a FIFO.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= CONFIG_BYTES_MAX).then_some(bytes))
}

fn read_token(path: &Path) -> Result<Secret, String> {
    let bytes = read_bounded(path).map_err(|error| error.to_string())?.ok_or("it is too large")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8")?;
    Secret::new(text).map_err(|error| error.to_string())
}

/// The two tokens a scheduler asks for.
#[derive(Clone, Debug)]
pub struct SchedulerTokens {
    pub client: Secret,
    pub builder: Secret,
}

/// Names of generated tokens below the state directory.
pub const CLIENT_TOKEN_FILE: &str = "farcc.client-token";
pub const BUILDER_TOKEN_FILE: &str = "farcc.builder-token";

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{}: cannot keep the generated token here: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{}: cannot use this token: {cause}; remove the file to get a new one", path.display())]
    Read { path: PathBuf, cause: String },
}

/// The configured tokens, or generated ones, which are kept in the state directory from the first start on.
///
/// # Errors
/// A state directory that cannot be written, or a kept token that cannot be read.
pub fn scheduler_tokens(config: &SchedulerConfig) -> Result<SchedulerTokens, TokenError> {
    let token = |configured: &Option<Secret>, name| match configured {
        Some(secret) => Ok(secret.clone()),
        None => kept_token(&config.state_dir.join(name)),
    };
    Ok(SchedulerTokens {
        client: token(&config.client_token, CLIENT_TOKEN_FILE)?,
        builder: token(&config.builder_token, BUILDER_TOKEN_FILE)?,
    })
}

/// A token nobody can guess, of letters and digits only.
pub fn generate_token() -> io::Result<Secret> {
    generate_token_of(TOKEN_BYTES_GENERATED)
}

/// As [`generate_token`], of so many random bytes, at least one.
pub fn generate_token_of(n_bytes: usize) -> io::Result<Secret> {
    let mut bytes = vec![0; n_bytes];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(&text).map_err(io::Error::other)
}

fn kept_token(path: &Path) -> Result<Secret, TokenError> {
    if !path.exists() {
        keep_token(path).map_err(|cause| TokenError::Write { path: path.to_owned(), cause })?;
    }
    read_token(path).map_err(|cause| TokenError::Read { path: path.to_owned(), cause })
}

/// Appears whole or not at all, and the first of two starters wins: written aside, synced, then linked.
fn keep_token(path: &Path) -> io::Result<()> {
    let secret = generate_token()?;
    let aside = PathBuf::from(format!("{}.new-{}", path.display(), std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&aside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    fs::remove_file(&aside)?;
    linked?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)?.sync_all()
}

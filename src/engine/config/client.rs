//! The client's configuration, in sccache's words where sccache has them.

use std::path::PathBuf;

use crate::engine::config::auth::{self, Section};
use crate::engine::config::document::{Document, Entry, Place, Value};
use crate::engine::config::error::{Advice, ConfigError, Problem, Warning};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Checked, LogLevel, NoMeaning, Reader, Setting};
use crate::engine::config::upstream::{self, Upstream};
use crate::model::limits::{SLOTS_MAX, TOOLCHAIN_CACHE_BYTES};

#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Absent: everything is compiled on this machine.
    pub scheduler: Option<Upstream>,
    /// For people: the host's name unless given.
    pub name: String,
    /// Units that could run elsewhere and are compiled here at a time.
    pub local_slots: u32,
    /// What the user decided for single compilers.
    pub toolchains: Vec<ToolchainRule>,
    pub toolchain_cache_bytes: u64,
    pub cache_dir: PathBuf,
    pub state_dir: PathBuf,
    pub log: LogLevel,
}

/// One `[[dist.toolchains]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToolchainRule {
    /// Units of this compiler stay here.
    NoDist { compiler: PathBuf },
    /// Builders use this archive and the compiler inside it.
    PathOverride { compiler: PathBuf, archive: PathBuf, archive_compiler: PathBuf },
}

const DIST_AUTH: Section = Section {
    name: "dist.auth",
    kind: "dist.auth.type",
    token: "dist.auth.token",
    token_file: "dist.auth.token_file",
    credentials: &["farcc.client-token", "farcc.token"],
};

const NO_MEANING: &[NoMeaning] = &[
    (
        "dist.rewrite_includes_only",
        "sources are never preprocessed on the way, so warnings are those of a local compile",
    ),
    ("dist.cache_dir", "packaged toolchains are kept below `cache.disk.dir`"),
    ("dist.net.", "connections are kept open, and dead peers are noticed within seconds"),
    ("cache.disk.size", "results are not cached yet; `dist.toolchain_cache_size` bounds what is kept"),
    ("cache.disk.preprocessor_cache_mode.", "results are not cached yet"),
    ("cache.disk.rw_mode", "results are not cached yet"),
    ("cache.azure.", "results are not cached yet"),
    ("cache.gcs.", "results are not cached yet"),
    ("cache.gha.", "results are not cached yet"),
    ("cache.memcached.", "results are not cached yet"),
    ("cache.oss.", "results are not cached yet"),
    ("cache.redis.", "results are not cached yet"),
    ("cache.s3.", "results are not cached yet"),
    ("cache.webdav.", "results are not cached yet"),
    ("server_startup_timeout_ms", "a daemon that does not start in time is done without"),
];

impl ClientConfig {
    /// Makes of what was typed what it means.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn check(document: Document, facts: &Facts) -> Result<Checked<Self>, ConfigError> {
        let mut reader = Reader::new(document);
        let scheduler = scheduler(&mut reader, facts)?;
        let toolchains = toolchain_rules(&mut reader, facts)?;
        let config = Self {
            scheduler,
            name: reader.text("name")?.map_or_else(|| facts.host_name.clone(), |found| found.value),
            local_slots: reader.number("local_slots", 0, SLOTS_MAX)?.map_or(facts.cpus, |found| found.value),
            toolchains,
            toolchain_cache_bytes: reader
                .size("dist.toolchain_cache_size")?
                .map_or(TOOLCHAIN_CACHE_BYTES, |found| found.value),
            cache_dir: directory(&mut reader, "cache.disk.dir", &facts.cache_dir, ".cache/farcc", facts)?,
            state_dir: directory(&mut reader, "state_dir", &facts.state_dir, ".local/state/farcc", facts)?,
            log: reader.log_level()?,
        };
        Ok(Checked { config, warnings: reader.finish(NO_MEANING)? })
    }

    /// Everything as it is in effect, for people.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = match &self.scheduler {
            None => vec![("scheduler_url", "(none: everything is compiled here)".to_owned())],
            Some(scheduler) => vec![
                ("scheduler_url", format!("https://{}", scheduler.address)),
                ("fingerprint", scheduler.describe_fingerprint()),
                ("dist.auth.token", scheduler.token.to_string()),
            ],
        };
        settings.extend([
            ("name", self.name.clone()),
            ("local_slots", self.local_slots.to_string()),
            ("dist.toolchain_cache_size", self.toolchain_cache_bytes.to_string()),
            ("cache.disk.dir", self.cache_dir.display().to_string()),
            ("state_dir", self.state_dir.display().to_string()),
            ("log", self.log.to_string()),
        ]);
        settings.extend(self.toolchains.iter().map(|rule| ("dist.toolchains", rule.to_string())));
        settings
    }
}

impl std::fmt::Display for ToolchainRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDist { compiler } => write!(f, "{}: no_dist", compiler.display()),
            Self::PathOverride { compiler, archive, archive_compiler } => {
                write!(f, "{}: {} of {}", compiler.display(), archive_compiler.display(), archive.display())
            }
        }
    }
}

/// `scheduler_url` and `dist.scheduler_url` are the same; the later layer wins.
fn scheduler(reader: &mut Reader, facts: &Facts) -> Result<Option<Upstream>, ConfigError> {
    let short = upstream::address(reader, "scheduler_url")?;
    let long = upstream::address(reader, "dist.scheduler_url")?;
    let address = match (short, long) {
        (Some(short), Some(long)) => Some(if long.layer > short.layer { long } else { short }),
        (short, long) => short.or(long),
    };
    let fingerprint = upstream::fingerprint(reader)?;
    let token = auth::token(reader, DIST_AUTH, facts)?;
    Ok(match (address, token) {
        (Some(address), Some(token)) => Some(Upstream { address: address.value, fingerprint, token }),
        (Some(address), None) => {
            reader.warn(&address.at, Advice::NoToken);
            None
        }
        (None, _) => None,
    })
}

/// What is configured, else what the service manager or the XDG variables say, else a place in the home directory.
fn directory(
    reader: &mut Reader,
    key: &'static str,
    given: &Option<PathBuf>,
    below_home: &str,
    facts: &Facts,
) -> Result<PathBuf, ConfigError> {
    let configured = reader.path(key, facts.home.as_deref())?.map(|found| found.value);
    let default = || facts.home.as_ref().map(|home| home.join(below_home));
    let no_home = || ConfigError { at: Place::whole(&facts.main_file), problem: Problem::NoHomeFor { key } };
    configured.or_else(|| given.clone()).or_else(default).ok_or_else(no_home)
}

fn toolchain_rules(reader: &mut Reader, facts: &Facts) -> Result<Vec<ToolchainRule>, ConfigError> {
    let mut rules = Vec::new();
    for entry in reader.list("dist.toolchains")? {
        let (rule, warnings) = toolchain_rule(entry, facts)?;
        rules.push(rule);
        reader.warn_all(warnings);
    }
    Ok(rules)
}

fn toolchain_rule(entry: Entry, facts: &Facts) -> Result<(ToolchainRule, Vec<Warning>), ConfigError> {
    let Entry { value, at, .. } = entry;
    let document = match value {
        Value::Table(document) => document,
        Value::EmptyTable => Document::default(),
        other => {
            let problem =
                Problem::Type { key: "dist.toolchains".into(), expected: "a list of tables", found: other.kind() };
            return Err(ConfigError { at, problem });
        }
    };
    let mut reader = Reader::new(document);
    let kind = reader.required("type", &at)?;
    let mut path = |key| -> Result<PathBuf, ConfigError> {
        let missing = || ConfigError { at: at.clone(), problem: Problem::Missing { key } };
        Ok(reader.path(key, facts.home.as_deref())?.ok_or_else(missing)?.value)
    };
    let compiler = path("compiler_executable")?;
    let rule = match kind.value.as_str() {
        "no_dist" => ToolchainRule::NoDist { compiler },
        "path_override" => ToolchainRule::PathOverride {
            compiler,
            archive: path("archive")?,
            archive_compiler: path("archive_compiler_executable")?,
        },
        other => return Err(kind.fail(Problem::ToolchainType(other.to_owned()))),
    };
    Ok((rule, reader.finish(&[])?))
}

//! The client's configuration, in sccache's words where sccache has them.

use std::path::PathBuf;

use crate::engine::config::address::HostPort;
use crate::engine::config::auth::{self, Section};
use crate::engine::config::builder::{fingerprint, scheduler};
use crate::engine::config::document::{Document, Entry, Value};
use crate::engine::config::error::{ConfigError, Problem, Warning};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Checked, LogLevel, NoMeaning, Reader, Setting};
use crate::engine::config::secret::Secret;
use crate::model::digest::Digest;
use crate::model::limits::{SLOTS_MAX, TOOLCHAIN_CACHE_BYTES};

#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Absent: everything is compiled on this machine.
    pub scheduler: Option<HostPort>,
    /// The scheduler's certificate; checked where given.
    pub fingerprint: Option<Digest>,
    /// Present wherever a scheduler is.
    pub token: Option<Secret>,
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
        let home = facts.home.as_deref();
        let token = auth::token(&mut reader, DIST_AUTH, facts)?;
        let scheduler = one_scheduler(&mut reader)?;
        let toolchains = toolchain_rules(&mut reader, facts)?;
        let below_home = |path: &str| home.map_or_else(|| PathBuf::from("/nonexistent"), |home| home.join(path));
        let config = Self {
            scheduler,
            token,
            fingerprint: fingerprint(&mut reader)?,
            name: reader.text("name")?.map_or_else(|| facts.host_name.clone(), |found| found.value),
            local_slots: reader.number("local_slots", 0, SLOTS_MAX)?.map_or(facts.cpus, |found| found.value),
            toolchains,
            toolchain_cache_bytes: reader
                .size("dist.toolchain_cache_size")?
                .map_or(TOOLCHAIN_CACHE_BYTES, |found| found.value),
            cache_dir: reader
                .path("cache.disk.dir", home)?
                .map(|found| found.value)
                .or_else(|| facts.cache_dir.clone())
                .unwrap_or_else(|| below_home(".cache/farcc")),
            state_dir: reader
                .path("state_dir", home)?
                .map(|found| found.value)
                .or_else(|| facts.state_dir.clone())
                .unwrap_or_else(|| below_home(".local/state/farcc")),
            log: reader.log_level()?,
        };
        Ok(Checked { config, warnings: reader.finish(NO_MEANING)? })
    }

    /// Everything as it is in effect, for people.
    pub fn settings(&self) -> Vec<Setting> {
        let scheduler = self.scheduler.as_ref().map(|address| format!("https://{address}"));
        let mut settings = vec![
            ("scheduler_url", scheduler.unwrap_or_else(|| "(none: everything is compiled here)".to_owned())),
            (
                "fingerprint",
                self.fingerprint.map_or("(any that knows the token)".to_owned(), |digest| digest.to_string()),
            ),
            ("dist.auth.token", self.token.as_ref().map_or("(none)".to_owned(), ToString::to_string)),
            ("name", self.name.clone()),
            ("local_slots", self.local_slots.to_string()),
            ("dist.toolchain_cache_size", self.toolchain_cache_bytes.to_string()),
            ("cache.disk.dir", self.cache_dir.display().to_string()),
            ("state_dir", self.state_dir.display().to_string()),
            ("log", self.log.to_string()),
        ];
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
fn one_scheduler(reader: &mut Reader) -> Result<Option<HostPort>, ConfigError> {
    let short = scheduler(reader, "scheduler_url")?;
    let long = scheduler(reader, "dist.scheduler_url")?;
    Ok(match (short, long) {
        (Some((short, short_layer)), Some((long, long_layer))) => {
            Some(if long_layer > short_layer { long } else { short })
        }
        (short, long) => short.or(long).map(|(address, _)| address),
    })
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

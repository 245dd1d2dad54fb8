//! The client's configuration, in sccache's words where sccache has them.

use std::path::PathBuf;

use crate::engine::config::auth::{self, Section};
use crate::engine::config::document::{Document, Entry, Value};
use crate::engine::config::error::{Advice, ConfigError, Problem, Warning};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Checked, LogLevel, NoMeaning, Reader, Setting};
use crate::engine::config::upstream::{self, Upstream};
use crate::model::limits::SLOTS_MAX;

#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Absent: everything is compiled on this machine.
    pub scheduler: Option<Upstream>,
    /// For people: the host's name unless given.
    pub name: String,
    /// Units that could run elsewhere and are compiled here at a time.
    pub local_slots: u32,
    /// Compilers whose units stay here, by the path that they are called by.
    pub no_dist: Vec<PathBuf>,
    /// Compilers for which an archive travels in place of a package.
    pub path_override: Vec<PathOverride>,
    /// Where counters are kept; nowhere without a home directory.
    pub state_dir: Option<PathBuf>,
    pub log: LogLevel,
}

/// A compiler, by the path that it is called by, and what builders get for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathOverride {
    pub compiler: PathBuf,
    pub archive: PathBuf,
    /// The compiler in the archive.
    pub archive_compiler: PathBuf,
}

pub(super) const DIST_AUTH: Section = Section {
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
    ("dist.cache_dir", "packages of toolchains are not kept yet"),
    ("dist.toolchain_cache_size", "packages of toolchains are not kept yet"),
    ("dist.net.", "connections are kept open, and dead peers are noticed within seconds"),
    ("cache.disk.dir", "nothing is kept there yet"),
    ("cache.disk.size", "results are not cached yet"),
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
        let Rules { no_dist, path_override } = toolchain_rules(&mut reader, facts)?;
        let config = Self {
            scheduler,
            name: reader.text("name")?.map_or_else(|| facts.host_name.clone(), |found| found.value),
            local_slots: reader.number("local_slots", 0, SLOTS_MAX)?.map_or(facts.cpus, |found| found.value),
            no_dist,
            path_override,
            state_dir: state_dir(&mut reader, facts)?,
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
            ("state_dir", self.state_dir.as_ref().map_or("(none)".to_owned(), |path| path.display().to_string())),
            ("log", self.log.to_string()),
        ]);
        let no_dist = |compiler: &PathBuf| ("dist.toolchains", format!("{}: no_dist", compiler.display()));
        settings.extend(self.no_dist.iter().map(no_dist));
        let path_override = |PathOverride { compiler, archive, archive_compiler }: &PathOverride| {
            let [compiler, archive, program] = [compiler, archive, archive_compiler].map(|path| path.display());
            ("dist.toolchains", format!("{compiler}: path_override by {program} in {archive}"))
        };
        settings.extend(self.path_override.iter().map(path_override));
        settings
    }
}

fn state_dir(reader: &mut Reader, facts: &Facts) -> Result<Option<PathBuf>, ConfigError> {
    let home = facts.home.as_deref();
    let given = reader.path("state_dir", home)?.map(|found| found.value);
    let usual = || home.map(|home| home.join(".local/state/farcc"));
    Ok(given.or_else(|| facts.state_dir.clone()).or_else(usual))
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

/// What all of `[[dist.toolchains]]` come to.
#[derive(Default)]
struct Rules {
    no_dist: Vec<PathBuf>,
    path_override: Vec<PathOverride>,
}

enum Rule {
    NoDist(PathBuf),
    PathOverride(PathOverride),
}

fn toolchain_rules(reader: &mut Reader, facts: &Facts) -> Result<Rules, ConfigError> {
    let mut rules = Rules::default();
    for entry in reader.list("dist.toolchains")? {
        let (rule, warnings) = toolchain_rule(entry, facts)?;
        match rule {
            Rule::NoDist(compiler) => rules.no_dist.push(compiler),
            Rule::PathOverride(rule) => rules.path_override.push(rule),
        }
        reader.warn_all(warnings);
    }
    Ok(rules)
}

fn toolchain_rule(entry: Entry, facts: &Facts) -> Result<(Rule, Vec<Warning>), ConfigError> {
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
        "no_dist" => Rule::NoDist(compiler),
        "path_override" => Rule::PathOverride(PathOverride {
            compiler,
            archive: path("archive")?,
            archive_compiler: path("archive_compiler_executable")?,
        }),
        other => return Err(kind.fail(Problem::ToolchainType(other.to_owned()))),
    };
    Ok((rule, reader.finish(&[])?))
}

//! What the client daemon tells people: the JSON documents behind `farccctl stats --json`, `why`, `status` and `try`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::reason::Why;

/// What `farccctl stats` shows: counters since they were reset, kept over restarts of the daemon.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StatsReport {
    /// Since when they count, in microseconds since 1970; zero where nobody knows.
    #[serde(default)]
    pub since_usec: u64,
    #[serde(flatten)]
    pub total: Stats,
    /// The same by project, a directory or a name: see `Recorder::began`. At most [`PROJECTS_MAX`](crate::model::limits::PROJECTS_MAX).
    #[serde(default)]
    pub projects: BTreeMap<String, Stats>,
}

/// Counters of one kind of unit, or of all.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Everything that wrappers asked, pass-through commands included.
    pub requests: u64,
    /// Results that came from a cache. Always zero while there is none.
    pub hits: u64,
    /// Units compiled by a builder.
    pub remote: u64,
    /// Units compiled on this machine, by nature or by choice.
    pub local: u64,
    /// Commands that are no compile of one unit.
    pub bypassed: u64,
    /// Units whose wrapper went away first, as in a build that is interrupted.
    #[serde(default)]
    pub abandoned: u64,
    /// Units that were meant to be remote and were compiled here because something failed; also counted in `local`.
    pub fallbacks: u64,
    /// Attempts that failed, whether or not another builder then did it.
    pub failed_attempts: u64,
    /// Why not remote: reason to count.
    pub reasons: BTreeMap<String, u64>,
    /// Builder name to units it compiled.
    pub builders: BTreeMap<String, u64>,
}

/// One unit, as `farccctl why` and `try` show it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnitRecord {
    pub request: u64,
    /// As the build named it, made absolute; lossy where it is not UTF-8.
    pub source: String,
    pub output: String,
    /// Set once the unit has ended.
    pub outcome: Outcome,
    /// What went wrong on the way there, oldest first: failed attempts and their builders.
    pub attempts: Vec<Attempt>,
    pub times: Times,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Running,
    Remote {
        builder: String,
        job: String,
    },
    Local {
        why: Why,
    },
    StepAside {
        why: Why,
    },
    /// The wrapper went away first.
    Abandoned,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub builder: String,
    pub job: String,
    pub why: Why,
}

/// A unit that has not ended, as `farccctl jobs` shows it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct UnitAtWork {
    /// Empty while the command has not been looked at.
    pub source: String,
    /// `inputs`, `waiting`, `remote` or `local`.
    pub state: String,
    pub builder: Option<String>,
    pub job: Option<String>,
    /// How long it has been in that state.
    pub since: Duration,
}

/// Where the time went.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// From the wrapper's request to the answer.
    pub total: Duration,
    /// Finding and hashing inputs.
    pub inputs: Duration,
    /// Waiting for a slot.
    pub queued: Duration,
    /// At the builder, transfer included.
    pub remote: Duration,
}

/// The client daemon and the farm as it sees it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ClientStatus {
    pub version: String,
    pub pid: u32,
    /// `host:port`; empty where none is configured.
    pub scheduler: String,
    /// `connected`, `connecting`, `refused: …`, `not configured`.
    pub connection: String,
    pub local_slots: u32,
    /// By order, everything is compiled on this machine.
    #[serde(default)]
    pub paused: bool,
    pub waiting: u32,
    pub running_remote: u32,
    pub running_local: u32,
    pub leases: u32,
    /// User plus system time of the daemon and of the compilers' dependency runs it started.
    pub cpu: Duration,
    /// From the scheduler; absent while it does not answer.
    pub farm: Option<FarmReport>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FarmReport {
    pub builders: Vec<BuilderReport>,
    pub clients: u32,
    pub queued: u32,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BuilderReport {
    pub name: String,
    pub id: String,
    pub address: String,
    pub architecture: String,
    pub slots: u32,
    pub leased: u32,
    pub state: String,
    pub finished: u64,
    pub failed: u64,
}

/// A compiler that units have come from, as `farccctl toolchain list` shows it. The same compiler under another `PATH` or locale
/// is another one: it may find another assembler, and needs other files to speak.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ToolchainReport {
    /// As builds call it, made absolute; lossy where it is not UTF-8.
    pub compiler: String,
    /// Options of the builds that select what it finds: `--sysroot=…`, `--target=…`, `-m32`.
    pub options: Vec<String>,
    /// Variables that do.
    pub variables: BTreeMap<String, String>,
    pub package: PackageReport,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageReport {
    /// Being made at this moment.
    Running,
    Packaged(PackageSummary),
    /// Not tried again before something changes that `why` is about.
    Failed {
        why: String,
    },
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PackageSummary {
    pub id: String,
    /// Family and version, by the compiler's own word.
    pub compiler: String,
    pub files: u64,
    pub bytes: u64,
    /// The archive that stands for the compiler, where the configuration names one.
    pub archive: Option<String>,
}

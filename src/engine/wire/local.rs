//! Wrapper (or control command) ↔ client daemon, over a Unix socket of the same user.
//!
//! The wrapper opens with [`GREETING`] and one frame of [`ToDaemon`], sent together with two descriptors: its root directory
//! and its working directory. Then frames of [`FromDaemon`] come back, [`FromDaemon::Finished`] with one descriptor for each
//! output file, in order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::job::{Bytes, Ending};
use crate::model::reason::Why;

/// Version of this link. Wrapper and daemon are one package: no compatibility beyond noticing that they differ.
pub const LOCAL_VERSION: u8 = 1;

/// The first bytes on a connection: a name and the version.
pub const GREETING: [u8; 8] = [b'f', b'a', b'r', b'c', b'c', 0, 0, LOCAL_VERSION];

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToDaemon {
    Compile(CompileRequest),
    /// Answer to [`FromDaemon::RunLocal`] when the compiler has ended.
    LocalEnded {
        ending: Ending,
        cpu: Duration,
    },
    /// Answer to [`FromDaemon::Finished`] when every output is in place.
    Written,
    /// Answer to [`FromDaemon::Finished`]: an output could not be written, the wrapper compiles locally now.
    WriteFailed {
        detail: String,
    },
    /// The control command asks.
    Ask(Question),
}

/// What the wrapper was called with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompileRequest {
    /// The real compiler, an absolute path as found in PATH (symlinks not resolved).
    pub compiler: Bytes,
    /// The command as the build wrote it, beginning with the compiler's name.
    pub argv: Vec<Bytes>,
    /// What `getcwd` says: absolute, without symlinks.
    pub cwd: Bytes,
    /// The whole environment. It does not leave this machine but for the allow-list in `engine::compiler::environment`.
    pub env: Vec<(Bytes, Bytes)>,
    /// Inode number of the wrapper's mount namespace.
    pub mount_namespace: u64,
    /// Width of the terminal that standard error is; zero where it is none. Messages are made for it.
    pub stderr_columns: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Question {
    /// Counters since the daemon started (`farccctl stats`).
    Stats,
    /// Set them to zero.
    ResetStats,
    /// The last compile of this source or object, an absolute path (`farccctl why`).
    Why { path: Bytes },
    /// The daemon's view of itself and of the farm (`farccctl status`, `builders`).
    Status,
    /// From now on everything stays on this machine, or no more (`farccctl pause`, `resume`). Answered like [`Question::Status`], without the farm.
    Pause { paused: bool },
    /// The units that have not ended (`farccctl jobs`).
    Jobs,
    /// Every unit since the daemon started, as far as it remembers, oldest first (`farccctl try` prints them).
    History,
    /// The compilers that units have come from, and their packages (`farccctl toolchain list`, `show`).
    Toolchains,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromDaemon {
    /// The daemon speaks another version; the wrapper compiles locally.
    Upgrade { speaks: u8 },
    /// Still waiting its turn.
    SignOfLife,
    /// Not ours: become the compiler, nothing more to report.
    StepAside { why: Why },
    /// Compile here; the daemon keeps a slot until [`ToDaemon::LocalEnded`] or the end of the connection.
    RunLocal { why: Why },
    /// Write these.
    Finished(Finished),
    /// A JSON document.
    Answer { json: String },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// Who compiled it.
    pub builder: String,
    pub stdout: Bytes,
    pub stderr: Bytes,
    /// One for each descriptor that comes with the message.
    pub outputs: Vec<FinishedOutput>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FinishedOutput {
    /// Where the compiler would have written it: absolute.
    pub path: Bytes,
    /// Bytes behind the descriptor, from offset 0.
    pub size: u64,
    pub executable: bool,
    pub placing: Placing,
}

/// What the part of the compiler that writes a file does with one that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Placing {
    /// Opens and truncates it: links are followed, its mode stays.
    InPlace,
    /// Removes it, unless it is empty, as assemblers do.
    Removed,
    /// Renames a file of its own over it, as clang does.
    Renamed,
}

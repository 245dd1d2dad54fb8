//! A job: what a builder needs to compile one translation unit, and what comes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::id::JobId;
use crate::model::path::SandboxPath;
use crate::model::toolchain::ToolchainId;

/// A byte string as the operating system has it: an argument, a value of the environment, a symlink's target.
pub type Bytes = serde_bytes::ByteBuf;

/// Modification time of a file, as `stat` tells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FileTime {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Everything of the client's file system that a job may see, beside the toolchain.
///
/// Sorted by path, no path twice, every parent directory of an entry is an entry of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Manifest {
    pub entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub path: SandboxPath,
    pub node: Node,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Node {
    /// Traversed by a path, or searched by the compiler; exists even where nothing below it is shipped.
    Directory,
    /// `target` exactly as the client's link has it.
    Symlink { target: Bytes },
    File {
        digest: Digest,
        /// Bytes.
        size: u64,
        /// Permission bits, `0o7777` at most.
        mode: u32,
        mtime: FileTime,
        /// Files of one group are one inode on the client and must be one in the job; any two others must differ
        /// (compilers take the inode for the identity of a header).
        link_group: u32,
    },
    /// Exists on the client, is not shipped, and must not look absent: becomes a symlink to itself, which no compiler opens.
    Tombstone,
}

/// What to run, where, and on what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    pub job: JobId,
    pub toolchain: ToolchainId,
    /// The program inside the job's root.
    pub program: SandboxPath,
    /// Complete, `argv[0]` as the build wrote it.
    pub argv: Vec<Bytes>,
    /// Complete: a job sees nothing else. Pairs of name and value.
    pub env: Vec<(Bytes, Bytes)>,
    pub cwd: SandboxPath,
    /// Directories that outputs go to exist as entries of the manifest.
    pub manifest: Manifest,
    /// A name inside the job's root for a file whose content comes back as [`Compilation::report`] and not as an output:
    /// the dependency list that the client adds in order to compare it with what it predicted.
    pub report: Option<SandboxPath>,
    pub limits: JobLimits,
}

/// Bounds of one job; a builder lowers each to its own maximum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobLimits {
    pub wall: Duration,
    /// Sum of all output files, standard output and standard error included.
    pub output_bytes: u64,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ending {
    Exited(u8),
    Signalled(u8),
}

impl Ending {
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// What a compiler run left behind: its verdict is `Finished`, whatever its status.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compilation {
    pub ending: Ending,
    pub stdout: Bytes,
    pub stderr: Bytes,
    /// Every regular file that the job made or changed, wherever, sorted by path.
    pub outputs: Vec<OutputFile>,
    /// Content of [`JobSpec::report`], where it was asked for and written.
    pub report: Option<Bytes>,
    pub usage: Usage,
}

/// A file that a job made. Its bytes travel as a blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutputFile {
    pub path: SandboxPath,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// True where the job set an execute bit.
    pub executable: bool,
}

/// What a job cost on the builder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub wall: Duration,
    /// User plus system time of the job's processes.
    pub cpu: Duration,
    /// Largest resident set of one process.
    pub peak_bytes: u64,
}

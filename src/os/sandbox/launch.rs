//! What the network half asks of the helper, and what it hears back.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::job::Bytes;
use crate::model::path::SandboxPath;

/// One program to run in a sandbox. The helper decides how: nothing in here names a mount, an option of bwrap or a limit of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The lowest layer.
    pub toolchain: PathBuf,
    /// The layer above it.
    pub inputs: PathBuf,
    pub program: SandboxPath,
    pub argv: Vec<Bytes>,
    pub env: Vec<(Bytes, Bytes)>,
    /// Working directory, by the name that `PWD` will have.
    pub cwd: SandboxPath,
    /// No file may grow beyond.
    pub file_bytes: u64,
    /// No process may compute longer.
    pub cpu: Duration,
}

/// Comes with the descriptors of [`Attached`], in that order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Request {}

/// What comes with a [`Request`].
#[derive(Debug)]
pub(crate) struct Attached {
    /// Takes [`Reply`] messages.
    pub reply: OwnedFd,
    /// A [`Launch`].
    pub launch: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Takes what bwrap says about the program's end.
    pub status: OwnedFd,
}

impl Attached {
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [reply, launch, stdout, stderr, status] = <[OwnedFd; 5]>::try_from(descriptors).ok()?;
        Some(Self { reply, launch, stdout, stderr, status })
    }
}

/// What became of a launch: `Started`, `Upper`, perhaps `Failed` or `Refused`, `Ended`. `Failed` alone where it never started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Comes with a descriptor of the process that everything in the sandbox dies with.
    Started,
    /// Comes with a descriptor of the directory in which everything is that the job makes; it lives in memory, and as long as
    /// somebody holds it.
    Upper,
    /// The sandbox could not be made; a line of text.
    Failed(String),
    /// No sandbox could run this command; a line of text.
    Refused(String),
    /// Nothing of the job runs any more.
    Ended { cpu: Duration, peak_bytes: u64 },
}

//! Runs jobs: other people's compilers on other people's files, without root.
//!
//! ```text
//! Workshop        inputs and directories of jobs, what a job made (network half of the builder)
//!    │ launch
//! Helper ─ ─ ─ ─  a socket; behind it a process forked before the first connection
//!    │ clone3
//! Chamber         its own user, mount, PID, network, IPC, UTS and cgroup namespaces, made ahead of need;
//!    │ mount,     stacks toolchain, inputs and a writable layer
//!    │ execve
//! bwrap           a second user, mount and PID namespace with nothing in it but that stack, /proc and /dev;
//!    │            no capability, no new privileges, no further namespace, a system call filter
//! compiler
//! ```
//!
//! Why two layers of namespaces: bwrap before 0.11 cannot stack directories, so somebody has to do it for it, and namespaces made
//! ahead of need do not delay a job. The outer PID namespace gives one more thing: whoever waited for its process 1 knows that nothing
//! of the job is left.
//!
//! What a job writes is in memory, in a file system of its own that is bounded and gone with the last descriptor of it. Disks take
//! their time over each new file (ext4 some 0.3 ms where many were deleted lately), and leave something behind when a machine fails.

pub mod bwrap;
pub(crate) mod chamber;
pub mod check;
pub(crate) mod collect;
pub mod filter;
pub mod helper;
pub(crate) mod launch;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod stage;
pub(crate) mod tree;
pub mod workshop;

pub use bwrap::{BwrapVersion, Stacking};
pub use check::{SandboxError, SandboxFacts, forbidden_by_kernel};
pub use collect::CollectError;
pub use helper::{Cancel, Helper, HelperSettings};
pub use stage::StageError;
pub use workshop::{OpenError, Ran, Reservation, RunFault, Workshop, WorkshopSettings};

//! The vocabulary of farcc: ids, digests, paths, jobs, limits. Plain data without I/O, clock or policy.

pub mod causes;
pub mod digest;
pub mod exit;
pub mod generations;
pub mod id;
pub mod job;
pub mod limits;
pub mod moment;
pub mod path;
pub mod reason;
pub mod report;
pub mod toolchain;

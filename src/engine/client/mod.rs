//! Decides where each unit of a client's builds runs: on which leased slot, on a local slot, or nowhere any more.
//!
//! Performs no I/O and reads no clock. A unit reaches this machine when it is known to be distributable; what keeps a unit
//! local by its nature is decided before, in `engine::compiler`.

mod event;
mod leases;
mod machine;
mod stats;
mod unit;

pub use event::{Failure, Input, Output, Settings, Snapshot};
pub use machine::Client;
pub use stats::{Phase, Recorder};

#[cfg(test)]
mod tests;

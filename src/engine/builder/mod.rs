//! Decides whether a builder takes a job: lease, slot, drain. Performs no I/O and reads no clock.

mod admission;
mod event;

pub use admission::{Builder, Snapshot};
pub use event::{Admission, JobEnd, Settings};

//! Decides whether a builder takes a job: lease, slot, drain. Performs no I/O and reads no clock.

mod event;

pub use event::{Admission, Settings};

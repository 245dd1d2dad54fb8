//! Decides where each unit of a client's builds runs: on which leased slot, on a local slot, or nowhere any more.
//!
//! Performs no I/O and reads no clock. A unit reaches this machine when it is known to be distributable; what keeps a unit
//! local by its nature is decided before, in `engine::compiler`.

mod event;

pub use event::{Input, Output, Settings};

//! Decides which client may use which builder's slots, and for how long.
//!
//! Performs no I/O and reads no clock: time arrives with every call and effects leave as [`Output`] values, so a whole farm
//! can be simulated in one thread. Never sees units, only how many slots a client wants for a class.

mod builders;
mod check;
mod event;
mod hope;
mod leases;
mod machine;
mod orders;
mod share;

pub use event::{Blame, Input, Output, Settings, Snapshot};
pub use machine::Scheduler;
pub use orders::Order;

#[cfg(test)]
mod tests;

//! The scheduler's shell: links of clients and builders around one [`Scheduler`](crate::engine::scheduler::Scheduler).

mod drained;
mod driver;
mod session;

pub use drained::Drained;
pub use driver::{Setup, run};

//! The scheduler's shell: links of clients and builders around one [`Scheduler`](crate::engine::scheduler::Scheduler).

mod driver;
mod session;

pub use driver::{Setup, run};

//! The builder's shell: jobs of clients around one [`Builder`](crate::engine::builder::Builder), a workshop and a store of toolchains.

mod claims;
mod driver;
mod job;
mod scheduler;
mod session;
mod slot;
mod toolchain;

pub use driver::{Patience, RunError, Setup, run};

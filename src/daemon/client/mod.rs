//! The client daemon's shell: wrappers on one side, scheduler and builders on the other, one
//! [`Client`](crate::engine::client::Client) between.

mod classes;
mod driver;
mod forecast;
mod ledger;
mod native;
mod pool;
mod prepare;
mod project;
mod remote;
mod scheduler;
mod session;
mod toolchains;

pub use driver::{Setup, run};

//! The shells of the three daemons: each owns its sockets and tasks, feeds its engine and performs what the engine decides.

pub mod builder;
pub mod client;
pub mod link;
pub mod pulse;
pub mod reload;
pub mod scheduler;
pub mod start;

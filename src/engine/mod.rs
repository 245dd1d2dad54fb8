//! Decides, never acts: state machines and pure functions.
//!
//! No file, socket, process, environment or clock below here (`tests/tidy.rs` holds it): time, bytes and answers arrive
//! as arguments, effects leave as values.

pub mod builder;
pub mod client;
pub mod compiler;
pub mod config;
pub mod scheduler;
pub mod toolchain;
pub mod wire;

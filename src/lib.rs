//! farcc: a distributed compiler suite for Linux, native to systemd.
//!
//! Layers, and the only direction in which they may import (`tests/tidy.rs` holds it):
//!
//! ```text
//! bin → daemon, wrapper, cli → os → engine → model
//! ```
//!
//! * [`model`]: the vocabulary, plain data.
//! * [`engine`]: decides, never acts. No files, sockets, processes, environment or clock.
//! * [`os`]: acts, never decides. One external system a directory.
//! * [`daemon`], [`wrapper`], [`cli`]: thin shells that join the two.

pub mod cli;
pub mod daemon;
pub mod engine;
pub mod model;
pub mod os;
pub mod wrapper;

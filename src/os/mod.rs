//! Acts, never decides: one external system a directory.

pub mod bus;
pub mod clock;
pub mod config;
pub mod inputs;
pub mod local;
pub mod net;
pub mod process;
pub mod processor;
pub mod random;
pub mod sandbox;
pub mod state;
pub mod store;
pub mod sys;
pub mod systemd;
pub mod toolchain;

//! Other programs, and what this process itself may do.

pub mod foreground;
pub mod privileges;
pub mod spawn;
pub mod wait;

pub use spawn::{Command, Output, SpawnError};

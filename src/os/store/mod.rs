//! Files that belong to the daemons: content-addressed inputs, and directories that come and go.

pub mod inputs;
pub mod remove;

pub use inputs::{BlobWriter, InputStore, ReceiveError};

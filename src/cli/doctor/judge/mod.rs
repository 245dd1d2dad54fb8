//! What facts mean: pure, one function for each thing that is looked at.

mod configuration;
mod host;
mod network;
mod sandbox;

pub(crate) use configuration::{configuration, secrets};
pub(crate) use host::{client_daemon, clock, descriptors, disk, systemd_version, wrapper};
pub(crate) use network::{port, reached, service};
pub(crate) use sandbox::sandbox;

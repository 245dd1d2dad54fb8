//! Looks at this machine: each file here fetches the facts of one kind, and none of them judges.

pub(crate) mod configuration;
pub(crate) mod host;
pub(crate) mod listeners;
pub(crate) mod sandbox;
pub(crate) mod units;

//! What people write down for the daemons, read and checked.
//!
//! [`parse`] makes a [`Document`] of a file's text, [`merge`] lays documents over each other, and
//! [`client`], [`scheduler`] and [`builder`] make of the result what it means: typed, validated once, immutable afterwards. Every
//! error and warning names its file, line and column, and says what to do.
//!
//! Pure: `os::config` finds and reads files and collects the [`Facts`].

mod address;
mod auth;
pub mod builder;
pub mod client;
mod document;
mod error;
mod facts;
mod import;
mod invite;
mod origins;
mod part;
mod reader;
pub mod scheduler;
mod secret;
mod upstream;
mod variables;

pub use address::{AddressError, BUILDER_PORT, HostPort, SCHEDULER_PORT};
pub use builder::BuilderConfig;
pub use client::{ClientConfig, PathOverride};
pub use document::{Document, Place, merge, parse};
pub use error::{Advice, ConfigError, Problem, Warning};
pub use facts::Facts;
pub use import::{Import, convert, recognise, socket_drop_in};
pub use invite::{Invite, InviteError};
pub use origins::Origins;
pub use part::Part;
pub use reader::{Checked, LogLevel, Setting};
pub use scheduler::SchedulerConfig;
pub use secret::{Secret, SecretError};
pub use upstream::Upstream;
pub use variables::{Scope, from_variables};

//! D-Bus: the public face of each daemon, for `busctl`, monitors and scripts.
//!
//! | daemon | bus | name, interface | object |
//! |---|---|---|---|
//! | scheduler | system | `org.farcc.Scheduler1` | `/org/farcc/Scheduler1` |
//! | builder | system | `org.farcc.Builder1` | `/org/farcc/Builder1` |
//! | client | session | `org.farcc.Client1` | `/org/farcc/Client1` |
//!
//! All three also serve `org.freedesktop.LogControl1`, which is what `systemctl service-log-level` speaks.
//!
//! An object holds a snapshot that its daemon publishes over a watch channel, and, where it takes commands, a channel to the
//! daemon's loop; nothing else. The bus is optional: without one, or when it goes away, the daemon works on, and the objects
//! come back with the bus.

mod authority;
mod builder;
mod client;
mod log_control;
mod names;
mod scheduler;
mod serve;

pub use builder::{BuilderObject, BuilderSnapshot, BusCommand, commands, serve_builder};
pub use client::{ClientObject, ClientSnapshot, serve_client};
pub use log_control::LogControl;
pub use names::{BUILDER, CLIENT, LOG_CONTROL_PATH, Names, SCHEDULER};
pub use scheduler::{SchedulerObject, SchedulerSnapshot, serve_scheduler};
pub use serve::{Bus, publish, serve};

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
//! Below it are objects for parts that come and go: the scheduler's builders, a builder's jobs. `ObjectManager` tells of them.
//!
//! An object holds a snapshot that its daemon publishes over a watch channel, and a queue of orders to the daemon's loop;
//! nothing else. The bus is optional: without one, or when it goes away, the daemon works on, and the objects
//! come back with the bus.

mod authority;
mod builder;
mod call;
mod client;
mod error;
mod log_control;
mod names;
mod orders;
mod scheduler;
mod serve;

pub use authority::Action;
pub use builder::{BuilderObject, BuilderSnapshot, JobObject, JobReport, serve_builder};
pub use call::{CallError, call};
pub use client::{ClientObject, ClientSnapshot, serve_client};
pub use error::Error;
pub use log_control::LogControl;
pub use names::{BUILDER, CLIENT, LOG_CONTROL_PATH, Names, SCHEDULER};
pub use orders::{BuilderOrder, ClientOrder, Order, OrderError, Orders, SchedulerOrder, orders};
pub use scheduler::{FarmBuilderObject, SchedulerObject, SchedulerSnapshot, serve_scheduler};
pub use serve::{Bus, Face, publish, serve};

//! `org.farcc.Builder1`: one builder, and the two things an administrator can ask of it.

use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use zbus::message::Header;
use zbus::{Connection, fdo};

use crate::model::limits::BUS_COMMANDS_MAX;
use crate::os::bus::authority::require_owner;
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::BUILDER;
use crate::os::bus::serve::{Bus, describe, serve};
use crate::os::systemd::journal::LogHandle;

/// What a builder publishes; the daemon sends a new one whenever something changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct BuilderSnapshot {
    pub version: String,
    pub name: String,
    /// `ready` or `draining`.
    pub state: String,
    pub draining: bool,
    /// `host:port`.
    pub scheduler: String,
    /// `connected`, `connecting`, `refused: …`.
    pub connection: String,
    pub slots_total: u32,
    pub slots_used: u32,
    pub jobs_completed: u64,
    pub jobs_failed: u64,
    /// Ids of the toolchains that are unpacked here.
    pub toolchains: Vec<String>,
    pub toolchain_cache_bytes: u64,
    pub input_cache_bytes: u64,
}

/// What the bus asks of the daemon's loop. The answer shows in the properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BusCommand {
    /// Take no new jobs; running ones end as usual.
    Drain,
    Resume,
}

/// The channel for them, from the object to the daemon's loop.
pub fn commands() -> (mpsc::Sender<BusCommand>, mpsc::Receiver<BusCommand>) {
    mpsc::channel(BUS_COMMANDS_MAX)
}

/// Keeps a builder on `bus` for as long as the future is polled: see [`serve`].
pub async fn serve_builder(
    bus: Bus,
    snapshot: watch::Receiver<BuilderSnapshot>,
    commands: mpsc::Sender<BusCommand>,
    log: LogHandle,
) -> Infallible {
    let object = BuilderObject::new(snapshot.clone(), commands);
    serve(bus, BUILDER, object, LogControl::new(log), snapshot).await
}

#[derive(Clone, Debug)]
pub struct BuilderObject {
    snapshot: watch::Receiver<BuilderSnapshot>,
    commands: mpsc::Sender<BusCommand>,
}

impl BuilderObject {
    pub fn new(snapshot: watch::Receiver<BuilderSnapshot>, commands: mpsc::Sender<BusCommand>) -> Self {
        Self { snapshot, commands }
    }

    fn command(&self, command: BusCommand) -> fdo::Result<()> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => fdo::Error::LimitsExceeded("too many commands wait".to_owned()),
            mpsc::error::TrySendError::Closed(_) => fdo::Error::Failed("the daemon is stopping".to_owned()),
        })
    }
}

#[zbus::interface(name = "org.farcc.Builder1")]
impl BuilderObject {
    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.snapshot.borrow().version.clone()
    }

    /// What the farm calls this builder.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.snapshot.borrow().name.clone()
    }

    /// ready or draining.
    #[zbus(property)]
    fn state(&self) -> String {
        self.snapshot.borrow().state.clone()
    }

    /// Whether new jobs are turned away.
    #[zbus(property)]
    fn draining(&self) -> bool {
        self.snapshot.borrow().draining
    }

    /// Host and port of the scheduler.
    #[zbus(property)]
    fn scheduler(&self) -> String {
        self.snapshot.borrow().scheduler.clone()
    }

    /// connected, connecting, or refused with the reason.
    #[zbus(property)]
    fn scheduler_connection(&self) -> String {
        self.snapshot.borrow().connection.clone()
    }

    /// Jobs at a time.
    #[zbus(property)]
    fn slots_total(&self) -> u32 {
        self.snapshot.borrow().slots_total
    }

    /// Jobs that run now.
    #[zbus(property)]
    fn slots_used(&self) -> u32 {
        self.snapshot.borrow().slots_used
    }

    /// Jobs whose compiler ran to its end, whatever it said.
    #[zbus(property)]
    fn jobs_completed(&self) -> u64 {
        self.snapshot.borrow().jobs_completed
    }

    /// Jobs that could not be run to their end.
    #[zbus(property)]
    fn jobs_failed(&self) -> u64 {
        self.snapshot.borrow().jobs_failed
    }

    /// Ids of the toolchains that are unpacked here.
    #[zbus(property)]
    fn toolchains(&self) -> Vec<String> {
        self.snapshot.borrow().toolchains.clone()
    }

    /// Bytes of unpacked toolchains.
    #[zbus(property)]
    fn toolchain_cache_bytes(&self) -> u64 {
        self.snapshot.borrow().toolchain_cache_bytes
    }

    /// Bytes of kept input files.
    #[zbus(property)]
    fn input_cache_bytes(&self) -> u64 {
        self.snapshot.borrow().input_cache_bytes
    }

    /// Everything, as JSON.
    fn describe(&self) -> fdo::Result<String> {
        describe(&*self.snapshot.borrow())
    }

    /// Takes no new jobs until Resume or a restart; running ones end as usual. For root and the daemon's own user.
    async fn drain(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        require_owner(connection, &header).await?;
        self.command(BusCommand::Drain)
    }

    /// Takes jobs again after Drain. For root and the daemon's own user.
    async fn resume(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        require_owner(connection, &header).await?;
        self.command(BusCommand::Resume)
    }
}

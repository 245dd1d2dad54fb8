//! `org.farcc.Scheduler1`: the farm as its scheduler sees it.

use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::watch;
use zbus::fdo;

use crate::model::report::BuilderReport;
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::SCHEDULER;
use crate::os::bus::serve::{Bus, describe, serve};
use crate::os::systemd::journal::LogHandle;

/// What the scheduler publishes; the daemon sends a new one whenever something changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct SchedulerSnapshot {
    pub version: String,
    /// `ready`, or `recovering` while it waits to hear of leases granted before it started.
    pub state: String,
    pub builders: Vec<BuilderReport>,
    pub clients: u32,
    /// Slots asked for and not granted.
    pub queued: u32,
    pub slots_total: u32,
    pub slots_used: u32,
    pub jobs_completed: u64,
    pub jobs_failed: u64,
}

/// Keeps the scheduler on `bus` for as long as the future is polled: see [`serve`].
pub async fn serve_scheduler(bus: Bus, snapshot: watch::Receiver<SchedulerSnapshot>, log: LogHandle) -> Infallible {
    let object = SchedulerObject::new(snapshot.clone());
    serve(bus, SCHEDULER, object, LogControl::new(log), snapshot).await
}

#[derive(Clone, Debug)]
pub struct SchedulerObject {
    snapshot: watch::Receiver<SchedulerSnapshot>,
}

impl SchedulerObject {
    pub fn new(snapshot: watch::Receiver<SchedulerSnapshot>) -> Self {
        Self { snapshot }
    }
}

#[zbus::interface(name = "org.farcc.Scheduler1")]
impl SchedulerObject {
    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.snapshot.borrow().version.clone()
    }

    /// ready or recovering.
    #[zbus(property)]
    fn state(&self) -> String {
        self.snapshot.borrow().state.clone()
    }

    /// Each builder: id, name, address, slots, slots in use, state.
    #[zbus(property)]
    fn builders(&self) -> Vec<(String, String, String, u32, u32, String)> {
        let snapshot = self.snapshot.borrow();
        let row = |builder: &BuilderReport| {
            let BuilderReport { id, name, address, slots, leased, state, .. } = builder.clone();
            (id, name, address, slots, leased, state)
        };
        snapshot.builders.iter().map(row).collect()
    }

    /// Builders that are connected.
    #[zbus(property)]
    fn builder_count(&self) -> u32 {
        u32::try_from(self.snapshot.borrow().builders.len()).unwrap_or(u32::MAX)
    }

    /// Clients that are connected.
    #[zbus(property)]
    fn client_count(&self) -> u32 {
        self.snapshot.borrow().clients
    }

    /// Slots that clients want and do not have.
    #[zbus(property)]
    fn slots_queued(&self) -> u32 {
        self.snapshot.borrow().queued
    }

    /// Slots of all builders.
    #[zbus(property)]
    fn slots_total(&self) -> u32 {
        self.snapshot.borrow().slots_total
    }

    /// Slots that clients hold.
    #[zbus(property)]
    fn slots_used(&self) -> u32 {
        self.snapshot.borrow().slots_used
    }

    /// Jobs that builders ran to their end.
    #[zbus(property)]
    fn jobs_completed(&self) -> u64 {
        self.snapshot.borrow().jobs_completed
    }

    /// Jobs that builders could not run to their end.
    #[zbus(property)]
    fn jobs_failed(&self) -> u64 {
        self.snapshot.borrow().jobs_failed
    }

    /// Everything, as JSON.
    fn describe(&self) -> fdo::Result<String> {
        describe(&*self.snapshot.borrow())
    }
}

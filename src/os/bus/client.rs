//! `org.farcc.Client1`: one user's client daemon, on that user's session bus.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::watch;
use zbus::fdo;

use crate::model::report::{ClientStatus, Stats};
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::CLIENT;
use crate::os::bus::serve::{Bus, describe, serve};
use crate::os::systemd::journal::LogHandle;

/// What a client daemon publishes; the daemon sends a new one whenever something changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ClientSnapshot {
    pub status: ClientStatus,
    pub stats: Stats,
}

/// Keeps a client daemon on `bus` for as long as the future is polled: see [`serve`].
pub async fn serve_client(bus: Bus, snapshot: watch::Receiver<ClientSnapshot>, log: LogHandle) -> Infallible {
    let object = ClientObject::new(snapshot.clone());
    serve(bus, CLIENT, object, LogControl::new(log), snapshot).await
}

#[derive(Clone, Debug)]
pub struct ClientObject {
    snapshot: watch::Receiver<ClientSnapshot>,
}

impl ClientObject {
    pub fn new(snapshot: watch::Receiver<ClientSnapshot>) -> Self {
        Self { snapshot }
    }
}

#[zbus::interface(name = "org.farcc.Client1")]
impl ClientObject {
    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.snapshot.borrow().status.version.clone()
    }

    /// Host and port of the scheduler; empty where none is configured.
    #[zbus(property)]
    fn scheduler(&self) -> String {
        self.snapshot.borrow().status.scheduler.clone()
    }

    /// connected, connecting, not configured, or refused with the reason.
    #[zbus(property)]
    fn scheduler_connection(&self) -> String {
        self.snapshot.borrow().status.connection.clone()
    }

    /// Units compiled on this machine at a time although they could run elsewhere.
    #[zbus(property)]
    fn local_slots(&self) -> u32 {
        self.snapshot.borrow().status.local_slots
    }

    /// Units that wait for a slot.
    #[zbus(property)]
    fn units_waiting(&self) -> u32 {
        self.snapshot.borrow().status.waiting
    }

    /// Units that builders compile now.
    #[zbus(property)]
    fn units_remote(&self) -> u32 {
        self.snapshot.borrow().status.running_remote
    }

    /// Units that this machine compiles now.
    #[zbus(property)]
    fn units_local(&self) -> u32 {
        self.snapshot.borrow().status.running_local
    }

    /// Leases on builders' slots held now.
    #[zbus(property)]
    fn leases(&self) -> u32 {
        self.snapshot.borrow().status.leases
    }

    /// Commands that came so far.
    #[zbus(property)]
    fn requests(&self) -> u64 {
        self.snapshot.borrow().stats.requests
    }

    /// Results that came from a cache.
    #[zbus(property)]
    fn hits(&self) -> u64 {
        self.snapshot.borrow().stats.hits
    }

    /// Units that builders compiled.
    #[zbus(property)]
    fn remote(&self) -> u64 {
        self.snapshot.borrow().stats.remote
    }

    /// Units that this machine compiled.
    #[zbus(property)]
    fn local(&self) -> u64 {
        self.snapshot.borrow().stats.local
    }

    /// Commands that were no compile of one unit.
    #[zbus(property)]
    fn bypassed(&self) -> u64 {
        self.snapshot.borrow().stats.bypassed
    }

    /// Units compiled here because something failed.
    #[zbus(property)]
    fn fallbacks(&self) -> u64 {
        self.snapshot.borrow().stats.fallbacks
    }

    /// Attempts that failed, whether or not another builder then did it.
    #[zbus(property)]
    fn failed_attempts(&self) -> u64 {
        self.snapshot.borrow().stats.failed_attempts
    }

    /// Why units were not remote: reason to count.
    #[zbus(property)]
    fn reasons(&self) -> BTreeMap<String, u64> {
        self.snapshot.borrow().stats.reasons.clone()
    }

    /// Builder to units it compiled.
    #[zbus(property)]
    fn builders(&self) -> BTreeMap<String, u64> {
        self.snapshot.borrow().stats.builders.clone()
    }

    /// Processor time of the daemon and of the dependency runs it started, in microseconds.
    #[zbus(property, name = "CPUUSec")]
    fn cpu_usec(&self) -> u64 {
        u64::try_from(self.snapshot.borrow().status.cpu.as_micros()).unwrap_or(u64::MAX)
    }

    /// Everything, as JSON.
    fn describe(&self) -> fdo::Result<String> {
        describe(&*self.snapshot.borrow())
    }
}

//! `org.farcc.Client1`: one user's client daemon, on that user's session bus.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, fdo};

use crate::model::report::{ClientStatus, Stats};
use crate::os::bus::authority::require;
use crate::os::bus::error::Error;
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::CLIENT;
use crate::os::bus::orders::{ClientOrder, Orders};
use crate::os::bus::serve::{Bus, Face, describe, serve};
use crate::os::systemd::journal::LogHandle;

/// What a client daemon publishes; the daemon sends a new one whenever something changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ClientSnapshot {
    pub status: ClientStatus,
    pub stats: Stats,
}

/// Keeps a client daemon on `bus` for as long as the future is polled: see [`serve`].
pub async fn serve_client(
    bus: Bus,
    snapshot: watch::Receiver<ClientSnapshot>,
    orders: Orders<ClientOrder>,
    log: LogHandle,
) -> Infallible {
    let object = ClientObject::new(snapshot.clone(), orders);
    serve(bus, CLIENT, object, LogControl::new(log, None), snapshot).await
}

#[derive(Clone, Debug)]
pub struct ClientObject {
    snapshot: watch::Receiver<ClientSnapshot>,
    orders: Orders<ClientOrder>,
}

impl ClientObject {
    pub fn new(snapshot: watch::Receiver<ClientSnapshot>, orders: Orders<ClientOrder>) -> Self {
        Self { snapshot, orders }
    }

    /// A user's own daemon: nobody else is asked about.
    async fn order(&self, order: ClientOrder, connection: &Connection, header: &Header<'_>) -> Result<(), Error> {
        require(None, connection, header).await?;
        self.orders.give(order).await.map(drop)
    }
}

impl Face for ClientObject {
    type Snapshot = ClientSnapshot;
    /// It has no parts: units come and go by the hundred in a second.
    type Part = Self;

    fn parts(&self, _snapshot: &ClientSnapshot) -> BTreeMap<String, Self> {
        BTreeMap::new()
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

    /// Units whose wrapper went away first.
    #[zbus(property)]
    fn abandoned(&self) -> u64 {
        self.snapshot.borrow().stats.abandoned
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

    /// Whether everything is compiled on this machine until Resume.
    #[zbus(property)]
    fn paused(&self) -> bool {
        self.snapshot.borrow().status.paused
    }

    /// Compiles everything on this machine from now on, until Resume or the daemon's end. For root and the daemon's own user.
    async fn pause(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(ClientOrder::Pause, connection, &header).await
    }

    /// Ends Pause. For root and the daemon's own user.
    async fn resume(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(ClientOrder::Resume, connection, &header).await
    }

    /// Reads the configuration again and applies what can be applied; the journal says what needs a restart. For root and the daemon's
    /// own user.
    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(ClientOrder::Reload, connection, &header).await
    }
}

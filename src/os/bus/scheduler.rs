//! `org.farcc.Scheduler1`: the farm as its scheduler sees it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, fdo};

use crate::engine::scheduler;
use crate::model::report::BuilderReport;
use crate::os::bus::authority::{Action, require};
use crate::os::bus::error::Error;
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::SCHEDULER;
use crate::os::bus::orders::{Orders, SchedulerOrder};
use crate::os::bus::serve::{Bus, Face, describe, path_element, serve};
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
pub async fn serve_scheduler(
    bus: Bus,
    snapshot: watch::Receiver<SchedulerSnapshot>,
    orders: Orders<SchedulerOrder>,
    log: LogHandle,
) -> Infallible {
    let object = SchedulerObject::new(snapshot.clone(), orders);
    serve(bus, SCHEDULER, object, LogControl::new(log, Some(Action::ConfigureScheduler)), snapshot).await
}

#[derive(Clone, Debug)]
pub struct SchedulerObject {
    snapshot: watch::Receiver<SchedulerSnapshot>,
    orders: Orders<SchedulerOrder>,
}

impl SchedulerObject {
    pub fn new(snapshot: watch::Receiver<SchedulerSnapshot>, orders: Orders<SchedulerOrder>) -> Self {
        Self { snapshot, orders }
    }
}

impl Face for SchedulerObject {
    type Snapshot = SchedulerSnapshot;
    type Part = FarmBuilderObject;

    fn parts(&self, snapshot: &SchedulerSnapshot) -> BTreeMap<String, FarmBuilderObject> {
        let object = |id: &str| FarmBuilderObject {
            id: id.to_owned(),
            snapshot: self.snapshot.clone(),
            orders: self.orders.clone(),
        };
        let mut parts = BTreeMap::new();
        for BuilderReport { name, id, .. } in &snapshot.builders {
            let has_namesake = snapshot.builders.iter().any(|other| other.name == *name && other.id != *id);
            let suffix = if has_namesake { format!("_{}", id.get(..ID_DIGITS).unwrap_or(id)) } else { String::new() };
            parts.insert(format!("builders/{}{suffix}", path_element(name)), object(id));
        }
        parts
    }
}

/// Digits of an id that tell builders of one name apart.
const ID_DIGITS: usize = 8;

async fn order(
    orders: &Orders<SchedulerOrder>,
    builder: &str,
    order: scheduler::Order,
    connection: &Connection,
    header: &Header<'_>,
) -> Result<(), Error> {
    require(Some(Action::ManageBuilders), connection, header).await?;
    orders.give(SchedulerOrder::Builder(builder.to_owned(), order)).await.map(drop)
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

    /// Gives the builder of this name or id no new leases before Resume, even if it or the scheduler starts anew. polkit: org.farcc.scheduler.manage-builders.
    async fn drain(
        &self,
        builder: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &builder, scheduler::Order::Drain, connection, &header).await
    }

    /// Ends Drain and any quarantine of the builder of this name or id. polkit: org.farcc.scheduler.manage-builders.
    async fn resume(
        &self,
        builder: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &builder, scheduler::Order::Resume, connection, &header).await
    }

    /// Gives the builder of this name or id no new leases for so many microseconds, at most a week. polkit: org.farcc.scheduler.manage-builders.
    async fn quarantine(
        &self,
        builder: String,
        usec: u64,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &builder, scheduler::Order::Quarantine(Duration::from_micros(usec)), connection, &header)
            .await
    }

    /// Forgets failures, quarantine and orders about the builder of this name or id. polkit: org.farcc.scheduler.manage-builders.
    async fn forget(
        &self,
        builder: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &builder, scheduler::Order::Forget, connection, &header).await
    }

    /// Reads the configuration again and applies what can be applied; the journal says what needs a restart. polkit:
    /// org.farcc.scheduler.configure.
    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        require(Some(Action::ConfigureScheduler), connection, &header).await?;
        self.orders.give(SchedulerOrder::Reload).await.map(drop)
    }
}

/// One builder of the farm, for as long as it is connected.
#[derive(Clone, Debug)]
pub struct FarmBuilderObject {
    id: String,
    snapshot: watch::Receiver<SchedulerSnapshot>,
    orders: Orders<SchedulerOrder>,
}

impl FarmBuilderObject {
    pub fn new(id: String, snapshot: watch::Receiver<SchedulerSnapshot>, orders: Orders<SchedulerOrder>) -> Self {
        Self { id, snapshot, orders }
    }

    /// All empty once it is gone: the object follows within a second.
    fn report(&self) -> BuilderReport {
        let snapshot = self.snapshot.borrow();
        snapshot.builders.iter().find(|builder| builder.id == self.id).cloned().unwrap_or_default()
    }
}

#[zbus::interface(name = "org.farcc.Scheduler1.Builder")]
impl FarmBuilderObject {
    /// The first digits of the digest of its certificate.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.id.clone()
    }

    /// What it calls itself.
    #[zbus(property)]
    fn name(&self) -> String {
        self.report().name
    }

    /// Where clients reach it: host and port.
    #[zbus(property)]
    fn address(&self) -> String {
        self.report().address
    }

    /// As uname -m has it.
    #[zbus(property)]
    fn architecture(&self) -> String {
        self.report().architecture
    }

    /// ready, draining, quarantined or recovering.
    #[zbus(property)]
    fn state(&self) -> String {
        self.report().state
    }

    /// Jobs at a time.
    #[zbus(property)]
    fn slots_total(&self) -> u32 {
        self.report().slots
    }

    /// Slots that clients hold.
    #[zbus(property)]
    fn slots_used(&self) -> u32 {
        self.report().leased
    }

    /// Jobs that it ran to their end.
    #[zbus(property)]
    fn jobs_completed(&self) -> u64 {
        self.report().finished
    }

    /// Jobs that it could not run to their end.
    #[zbus(property)]
    fn jobs_failed(&self) -> u64 {
        self.report().failed
    }

    /// Gives it no new leases before Resume, even if it or the scheduler starts anew. polkit: org.farcc.scheduler.manage-builders.
    async fn drain(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &self.id, scheduler::Order::Drain, connection, &header).await
    }

    /// Ends Drain and any quarantine of it. polkit: org.farcc.scheduler.manage-builders.
    async fn resume(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &self.id, scheduler::Order::Resume, connection, &header).await
    }

    /// Gives it no new leases for so many microseconds, at most a week. polkit: org.farcc.scheduler.manage-builders.
    async fn quarantine(
        &self,
        usec: u64,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &self.id, scheduler::Order::Quarantine(Duration::from_micros(usec)), connection, &header)
            .await
    }

    /// Forgets failures, quarantine and orders about it. polkit: org.farcc.scheduler.manage-builders.
    async fn forget(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        order(&self.orders, &self.id, scheduler::Order::Forget, connection, &header).await
    }
}

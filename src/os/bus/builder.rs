//! `org.farcc.Builder1`: one builder, what an administrator can order of it, and the jobs that take their time.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Serialize;
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, fdo};

use crate::os::bus::authority::{Action, require};
use crate::os::bus::error::Error;
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::BUILDER;
use crate::os::bus::orders::{BuilderOrder, Orders};
use crate::os::bus::serve::{Bus, Face, describe, path_element, serve};
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
    /// The most that it can be set to.
    pub slots_max: u32,
    pub slots_used: u32,
    pub jobs_completed: u64,
    pub jobs_failed: u64,
    /// Ids of the toolchains that are unpacked here.
    pub toolchains: Vec<String>,
    pub toolchain_cache_bytes: u64,
    pub input_cache_bytes: u64,
    /// Those that have run for a while, see [`JOB_SHOWN_AFTER`](crate::model::limits::JOB_SHOWN_AFTER).
    pub jobs: Vec<JobReport>,
}

/// A job that runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct JobReport {
    pub job: String,
    pub lease: String,
    /// The client's certificate.
    pub client: String,
    /// By the time of day, in microseconds since 1970.
    pub started_usec: u64,
}

/// Keeps a builder on `bus` for as long as the future is polled: see [`serve`].
pub async fn serve_builder(
    bus: Bus,
    snapshot: watch::Receiver<BuilderSnapshot>,
    orders: Orders<BuilderOrder>,
    log: LogHandle,
) -> Infallible {
    let object = BuilderObject::new(snapshot.clone(), orders);
    serve(bus, BUILDER, object, LogControl::new(log, Some(Action::ConfigureBuilder)), snapshot).await
}

#[derive(Clone, Debug)]
pub struct BuilderObject {
    snapshot: watch::Receiver<BuilderSnapshot>,
    orders: Orders<BuilderOrder>,
}

impl BuilderObject {
    pub fn new(snapshot: watch::Receiver<BuilderSnapshot>, orders: Orders<BuilderOrder>) -> Self {
        Self { snapshot, orders }
    }

    async fn order(
        &self,
        action: Action,
        order: BuilderOrder,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<u64, Error> {
        require(Some(action), connection, header).await?;
        self.orders.give(order).await
    }
}

impl Face for BuilderObject {
    type Snapshot = BuilderSnapshot;
    type Part = JobObject;

    fn parts(&self, snapshot: &BuilderSnapshot) -> BTreeMap<String, JobObject> {
        let object = |job: &JobReport| JobObject { job: job.clone(), orders: self.orders.clone() };
        snapshot.jobs.iter().map(|job| (format!("jobs/{}", path_element(&job.job)), object(job))).collect()
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

    /// Jobs at a time, at most: what it was started for.
    #[zbus(property(emits_changed_signal = "const"))]
    fn slots_max(&self) -> u32 {
        self.snapshot.borrow().slots_max
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

    /// Takes no new jobs until Resume or a restart; running ones end as usual. polkit: org.farcc.builder.drain.
    async fn drain(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(Action::DrainBuilder, BuilderOrder::Drain, connection, &header).await.map(drop)
    }

    /// Takes jobs again after Drain. polkit: org.farcc.builder.drain.
    async fn resume(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(Action::DrainBuilder, BuilderOrder::Resume, connection, &header).await.map(drop)
    }

    /// Runs so many jobs at a time until the next start, from 1 to SlotsMax. polkit: org.farcc.builder.configure.
    async fn set_slots(
        &self,
        slots: u32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(Action::ConfigureBuilder, BuilderOrder::SetSlots(slots), connection, &header).await.map(drop)
    }

    /// Removes every toolchain that no job uses, and tells how many bytes that were. polkit: org.farcc.builder.purge-toolchains.
    async fn purge_toolchains(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, Error> {
        self.order(Action::PurgeToolchains, BuilderOrder::PurgeToolchains, connection, &header).await
    }

    /// Ends the job of this id; its client has it compiled elsewhere. polkit: org.farcc.builder.cancel-jobs.
    async fn cancel(
        &self,
        job: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(Action::CancelJobs, BuilderOrder::Cancel(job), connection, &header).await.map(drop)
    }

    /// Reads the configuration again and applies what can be applied; the journal says what needs a restart. polkit:
    /// org.farcc.builder.configure.
    async fn reload(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.order(Action::ConfigureBuilder, BuilderOrder::Reload, connection, &header).await.map(drop)
    }
}

/// One job, for as long as it runs. None of what it shows changes.
#[derive(Clone, Debug)]
pub struct JobObject {
    job: JobReport,
    orders: Orders<BuilderOrder>,
}

impl JobObject {
    pub fn new(job: JobReport, orders: Orders<BuilderOrder>) -> Self {
        Self { job, orders }
    }
}

#[zbus::interface(name = "org.farcc.Builder1.Job")]
impl JobObject {
    /// Its id, as in journal records: FARCC_JOB=.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.job.job.clone()
    }

    /// The lease on whose slot it runs, as in journal records: FARCC_LEASE=.
    #[zbus(property(emits_changed_signal = "const"))]
    fn lease(&self) -> String {
        self.job.lease.clone()
    }

    /// The client that it is from: the digest of its certificate.
    #[zbus(property(emits_changed_signal = "const"))]
    fn client(&self) -> String {
        self.job.client.clone()
    }

    /// When it was taken, in microseconds since 1970.
    #[zbus(property(emits_changed_signal = "const"), name = "StartedUSec")]
    fn started_usec(&self) -> u64 {
        self.job.started_usec
    }

    /// Ends it; its client has it compiled elsewhere. polkit: org.farcc.builder.cancel-jobs.
    async fn cancel(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        require(Some(Action::CancelJobs), connection, &header).await?;
        self.orders.give(BuilderOrder::Cancel(self.job.job.clone())).await.map(drop)
    }
}

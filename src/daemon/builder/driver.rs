//! The loop: admissions, ends of jobs, the scheduler's clock.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::claims::Claims;
use super::scheduler;
use super::session::Counter;
use super::slot::Slot;
use crate::daemon::link::Uplink;
use crate::daemon::pulse::Pulse;
use crate::daemon::reload::Reload;
use crate::engine::builder::{Admission, Builder, JobEnd, Settings};
use crate::engine::config::BuilderConfig;
use crate::engine::wire::farm::{Lease, Refusal};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, JobId, LeaseId};
use crate::model::limits::{
    DRAIN_LINGER, DRAIN_MAX, JOB_SHOWN_AFTER, REQUEST_BYTES_PER_SECOND_MIN, REQUEST_IDLE_MAX, UPLOAD_HEAD_START,
};
use crate::model::moment::Moment;
use crate::os::bus::{BuilderOrder, BuilderSnapshot, JobReport, Order, OrderError};
use crate::os::clock::{self, Clock};
use crate::os::net::{self, Identity, Pace};
use crate::os::processor;
use crate::os::sandbox::{Cancel, Workshop};
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// All that a builder is made of; the same from systemd, a terminal or a test.
#[derive(Debug)]
pub struct Setup {
    pub listeners: Vec<TcpListener>,
    pub identity: Identity,
    pub name: String,
    pub slots: u32,
    /// As many as it may ever be ordered to have.
    pub slots_max: u32,
    /// What clients are told to connect to, `host:port`; `:port` stands for the address that the scheduler sees.
    pub addresses: Vec<String>,
    pub architecture: String,
    pub scheduler: Uplink,
    pub workshop: Arc<Workshop>,
    pub toolchains: Arc<ToolchainStore>,
    /// For the bus.
    pub snapshot: watch::Sender<BuilderSnapshot>,
    /// From the bus.
    pub orders: mpsc::Receiver<Order<BuilderOrder>>,
    /// None where there is no configuration to read again.
    pub reload: Option<Reload>,
    pub patience: Patience,
    pub pulse: Pulse,
}

/// How long clients and jobs may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For what a client sends.
    pub pace: Pace,
    /// How long the first client that offers a toolchain uploads it alone.
    pub head_start: Duration,
    /// How long jobs have to end when the builder does.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let pace = Pace { idle: REQUEST_IDLE_MAX, bytes_per_second: REQUEST_BYTES_PER_SECOND_MIN };
        Self { pace, head_start: UPLOAD_HEAD_START, drain: DRAIN_MAX }
    }
}

/// What the link reports with each heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Report {
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) draining: bool,
    pub(super) slots: u32,
    pub(super) outstanding: Vec<LeaseId>,
}

/// What jobs and links tell the loop.
pub(super) enum Event {
    /// Is this lease good here? Asked before anything large is read.
    Check {
        client: ClientId,
        lease: Lease,
        reply: oneshot::Sender<Result<(), (Refusal, String)>>,
    },
    Admit {
        client: ClientId,
        lease: Lease,
        job: JobId,
        /// Ends it.
        cancel: Cancel,
        reply: oneshot::Sender<Result<Slot, (Refusal, String)>>,
    },
    Ended {
        job: JobId,
        how: JobEnd,
    },
    Welcomed {
        lease_key: Digest,
        scheduler: Moment,
        epoch: u64,
    },
    Clock {
        scheduler: Moment,
        epoch: u64,
    },
    Connection(String),
}

/// Events that may wait for the loop.
const INBOX: usize = 4096;
/// Status and watchdog are served this often at least.
const TICK: Duration = Duration::from_secs(1);

/// Why a builder ends without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("cannot watch the sandbox helper: {0}")]
    Watch(#[source] io::Error),
    #[error("the sandbox helper has ended: no job can be run without it")]
    HelperEnded,
}

/// Runs until something comes from `shutdown` and the jobs at work have ended, or something comes once more.
///
/// # Errors
/// Where the builder cannot go on.
pub async fn run(mut setup: Setup, mut shutdown: mpsc::Receiver<()>) -> Result<(), RunError> {
    let mut helper_ended = setup.workshop.helper().ended().map_err(RunError::Watch)?;
    // Each job that runs has its place in the queue, for its end.
    let (inbox, mut events) = mpsc::channel(INBOX + setup.slots_max as usize);
    let identity = Arc::new(setup.identity);
    let id = BuilderId(identity.fingerprint());
    let counter = Arc::new(Counter {
        inbox: inbox.clone(),
        workshop: setup.workshop.clone(),
        toolchains: setup.toolchains.clone(),
        claims: Claims::new(setup.patience.head_start),
        name: setup.name.clone(),
        patience: setup.patience,
        deliveries: Arc::default(),
    });
    let deliveries = counter.deliveries.clone();
    let name = setup.name.clone();
    let mut tasks = JoinSet::new();
    for listener in setup.listeners {
        let (counter, identity) = (counter.clone(), identity.clone());
        tasks.spawn(async move { net::serve(listener, &identity, counter).await });
    }
    let offer = scheduler::Offer {
        name: setup.name,
        addresses: setup.addresses,
        architecture: setup.architecture,
        level: processor::level(),
    };
    let (report, reported) = watch::channel(Report { slots: setup.slots, ..Report::default() });
    let (uplink, to_loop) = (setup.scheduler.clone(), inbox.clone());
    tasks.spawn(async move {
        scheduler::keep_linked(uplink, offer, identity, reported, to_loop).await;
        Ok(())
    });
    let mut driver = Driver {
        clock: Clock::new(),
        engine: Builder::new(Settings { slots: setup.slots }, id),
        report,
        connection: "connecting".to_owned(),
        inbox,
        running: BTreeMap::new(),
        started_usec: clock::usec_since_1970(),
        slots_max: setup.slots_max,
        toolchains: setup.toolchains.clone(),
        reload: setup.reload,
        deliveries,
        busy: None,
        stopping: None,
    };
    let mut tick = tokio::time::interval(TICK);
    loop {
        driver.publish();
        if driver.is_over() {
            return Ok(());
        }
        tokio::select! {
            Some(event) = events.recv() => driver.handle(event),
            Some(order) = setup.orders.recv() => {
                let is_reload = order.what == BuilderOrder::Reload;
                driver.obey(order);
                // What it asked for is seen at once.
                let snapshot = driver.snapshot(&name, &setup.scheduler.address, &setup.workshop);
                if is_reload {
                    setup.pulse.reloaded(driver.clock.now(), &describe(&snapshot));
                }
                setup.snapshot.send_replace(snapshot);
            }
            _ = tick.tick() => {
                let snapshot = driver.snapshot(&name, &setup.scheduler.address, &setup.workshop);
                setup.pulse.beat(driver.clock.now(), true, &describe(&snapshot));
                setup.snapshot.send_replace(snapshot);
            }
            Some(ended) = tasks.join_next() => {
                if let Ok(Err(error)) = ended {
                    return Err(error.into());
                }
            }
            _ = &mut helper_ended => return Err(RunError::HelperEnded),
            Some(()) = shutdown.recv() => {
                if driver.stopping.is_some() {
                    return Ok(());
                }
                setup.pulse.stopping();
                driver.stop(setup.patience.drain);
            }
        }
    }
}

/// A job at work, for people.
struct Running {
    client: ClientId,
    lease: LeaseId,
    since: Moment,
    cancel: Cancel,
}

struct Driver {
    clock: Clock,
    engine: Builder,
    report: watch::Sender<Report>,
    connection: String,
    /// For the ends of jobs.
    inbox: mpsc::Sender<Event>,
    running: BTreeMap<JobId, Running>,
    /// The time of day when this clock began.
    started_usec: u64,
    slots_max: u32,
    toolchains: Arc<ToolchainStore>,
    reload: Option<Reload>,
    /// Results under way have a share in it.
    deliveries: Arc<()>,
    /// When a job or its results were last seen.
    busy: Option<Instant>,
    /// Asked to end; by then it does, whatever still runs.
    stopping: Option<Instant>,
}

impl Driver {
    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Check { client, lease, reply } => drop(reply.send(self.engine.check(now, client, &lease))),
            // Where nobody takes the answer any more, the slot in it frees itself.
            Event::Admit { client, lease, job, cancel, reply } => {
                let admission = self.admit(now, client, &lease, job);
                if admission.is_ok() {
                    self.running.insert(job, Running { client, lease: lease.id, since: now, cancel });
                }
                drop(reply.send(admission));
            }
            Event::Ended { job, how } => {
                self.running.remove(&job);
                self.engine.ended(job, how);
            }
            Event::Welcomed { lease_key, scheduler, epoch } => self.engine.welcomed(now, lease_key, scheduler, epoch),
            Event::Clock { scheduler, epoch } => self.engine.clock(now, scheduler, epoch),
            Event::Connection(text) => self.connection = text,
        }
    }

    fn admit(&mut self, now: Moment, client: ClientId, lease: &Lease, job: JobId) -> Result<Slot, (Refusal, String)> {
        let busy = |_| (Refusal::Busy, "too many requests at once".to_owned());
        let line = self.inbox.clone().try_reserve_owned().map_err(busy)?;
        match self.engine.admit(now, client, lease, job) {
            Admission::Admitted => Ok(Slot::new(job, line)),
            Admission::Refused { why, message } => Err((why, message)),
        }
    }

    /// Takes nothing new from here on; the scheduler hears of it with the next report.
    fn stop(&mut self, drain: Duration) {
        self.stopping = Some(Instant::now() + drain);
        self.engine.drain(true);
    }

    /// Whether it was asked to end and nothing is left to wait for. Looked at with each turn of the loop, of which there is one with
    /// each tick.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        // One share is ours, one is the counter's.
        if self.engine.snapshot().running > 0 || Arc::strong_count(&self.deliveries) > 2 {
            self.busy = Some(now);
        }
        let is_quiet = self.busy.is_none_or(|busy| now > busy + DRAIN_LINGER);
        self.stopping.is_some_and(|end| is_quiet || now > end)
    }

    fn obey(&mut self, order: Order<BuilderOrder>) {
        let answer = match order.what {
            BuilderOrder::Drain => self.set_draining(true),
            BuilderOrder::Resume => self.set_draining(false),
            BuilderOrder::SetSlots(slots) => self.set_slots(slots),
            BuilderOrder::PurgeToolchains => {
                // The loop does not wait for the disk.
                let toolchains = self.toolchains.clone();
                tokio::task::spawn_blocking(move || drop(order.reply.send(Ok(toolchains.purge()))));
                return;
            }
            BuilderOrder::Cancel(job) => self.cancel(&job),
            BuilderOrder::Reload => self.reload(),
        };
        drop(order.reply.send(answer.map(|()| 0)));
    }

    fn set_draining(&mut self, draining: bool) -> Result<(), OrderError> {
        if self.stopping.is_some() {
            return Err(OrderError::Failed("the builder is stopping".to_owned()));
        }
        match draining {
            same if same == self.engine.is_draining() => {}
            true => tracing::info!(message_id = messages::DRAINING, "takes no new jobs"),
            false => tracing::info!(message_id = messages::RESUMED, "takes jobs again"),
        }
        self.engine.drain(draining);
        Ok(())
    }

    fn set_slots(&mut self, slots: u32) -> Result<(), OrderError> {
        if !(1..=self.slots_max).contains(&slots) {
            return Err(OrderError::Invalid(format!(
                "{slots} slots are not possible: 1 to {}, or more with `slots` in builder.toml and a restart; Drain takes no jobs at all",
                self.slots_max
            )));
        }
        self.engine.set_slots(slots);
        Ok(())
    }

    fn cancel(&mut self, job: &str) -> Result<(), OrderError> {
        let running = self.running.iter().find(|(id, _)| id.to_string() == job);
        let (id, running) = running.ok_or_else(|| OrderError::NotFound(format!("no job {job} runs here")))?;
        tracing::info!(farcc_job = %id, farcc_lease = %running.lease, "job cancelled by order");
        running.cancel.cancel();
        Ok(())
    }

    fn reload(&mut self) -> Result<(), OrderError> {
        let Some(mut reload) = self.reload.take() else { return Ok(()) };
        let applied = reload.reread::<BuilderConfig>().map(|reread| {
            let mut applied = vec!["toolchain_cache_size"];
            if reread.has_changed("slots") && self.set_slots(reread.config.slots).is_ok() {
                applied.push("slots");
            }
            let (toolchains, bound) = (self.toolchains.clone(), reread.config.toolchain_cache_bytes);
            tokio::task::spawn_blocking(move || toolchains.set_bound(bound));
            reload.report(&reread, &applied);
        });
        self.reload = Some(reload);
        applied.map_err(OrderError::Failed)
    }

    fn publish(&mut self) {
        let counts = self.engine.snapshot();
        let report = Report {
            finished: counts.finished,
            failed: counts.failed,
            draining: counts.draining,
            slots: counts.slots,
            outstanding: self.engine.outstanding(),
        };
        self.report.send_if_modified(|known| {
            let changed = *known != report;
            *known = report;
            changed
        });
    }

    fn snapshot(&self, name: &str, scheduler: &str, workshop: &Workshop) -> BuilderSnapshot {
        let counts = self.engine.snapshot();
        let held = self.toolchains.list();
        BuilderSnapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            state: if counts.draining { "draining" } else { "ready" }.to_owned(),
            draining: counts.draining,
            scheduler: scheduler.to_owned(),
            connection: self.connection.clone(),
            slots_total: counts.slots,
            slots_max: self.slots_max,
            slots_used: counts.running,
            jobs_completed: counts.finished,
            jobs_failed: counts.failed,
            toolchains: held.iter().map(|toolchain| toolchain.id.to_string()).collect(),
            toolchain_cache_bytes: held.iter().map(|toolchain| toolchain.bytes).sum(),
            input_cache_bytes: workshop.input_bytes(),
            jobs: self.long_jobs(),
        }
    }

    fn long_jobs(&self) -> Vec<JobReport> {
        let now = self.clock.now();
        let is_long = |running: &Running| now - running.since >= JOB_SHOWN_AFTER;
        let usec = |moment: Moment| u64::try_from(moment.since_start().as_micros()).unwrap_or(u64::MAX);
        let report = |(job, running): (&JobId, &Running)| JobReport {
            job: job.to_string(),
            lease: running.lease.to_string(),
            client: running.client.to_string(),
            started_usec: self.started_usec.saturating_add(usec(running.since)),
        };
        self.running.iter().filter(|(_, running)| is_long(running)).map(report).collect()
    }
}

/// One line for `systemctl status`.
fn describe(snapshot: &BuilderSnapshot) -> String {
    format!(
        "{} of {} slots busy, {} jobs done, scheduler {}: {}",
        snapshot.slots_used, snapshot.slots_total, snapshot.jobs_completed, snapshot.scheduler, snapshot.connection
    )
}

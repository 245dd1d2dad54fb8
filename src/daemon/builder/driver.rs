//! The loop: admissions, ends of jobs, the scheduler's clock.

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
use crate::engine::builder::{Admission, Builder, JobEnd, Settings};
use crate::engine::wire::farm::{Lease, Refusal};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, JobId, LeaseId};
use crate::model::limits::{
    DRAIN_LINGER, DRAIN_MAX, REQUEST_BYTES_PER_SECOND_MIN, REQUEST_IDLE_MAX, UPLOAD_HEAD_START,
};
use crate::model::moment::Moment;
use crate::os::bus::{BuilderSnapshot, BusCommand};
use crate::os::clock::Clock;
use crate::os::net::{self, Identity, Pace};
use crate::os::sandbox::Workshop;
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// All that a builder is made of; the same from systemd, a terminal or a test.
#[derive(Debug)]
pub struct Setup {
    pub listeners: Vec<TcpListener>,
    pub identity: Identity,
    pub name: String,
    pub slots: u32,
    /// What clients are told to connect to, `host:port`; `:port` stands for the address that the scheduler sees.
    pub addresses: Vec<String>,
    pub architecture: String,
    pub scheduler: Uplink,
    pub workshop: Arc<Workshop>,
    pub toolchains: Arc<ToolchainStore>,
    /// For the bus.
    pub snapshot: watch::Sender<BuilderSnapshot>,
    /// From the bus.
    pub orders: mpsc::Receiver<BusCommand>,
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
    let (inbox, mut events) = mpsc::channel(INBOX + setup.slots as usize);
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
        slots: setup.slots,
        addresses: setup.addresses,
        architecture: setup.architecture,
    };
    let (report, reported) = watch::channel(Report::default());
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
            Some(order) = setup.orders.recv() => driver.obey(order),
            _ = tick.tick() => {
                let snapshot = driver.snapshot(&name, &setup.scheduler.address, &setup.workshop, &setup.toolchains);
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

struct Driver {
    clock: Clock,
    engine: Builder,
    report: watch::Sender<Report>,
    connection: String,
    /// For the ends of jobs.
    inbox: mpsc::Sender<Event>,
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
            Event::Admit { client, lease, job, reply } => drop(reply.send(self.admit(now, client, &lease, job))),
            Event::Ended { job, how } => self.engine.ended(job, how),
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

    fn obey(&mut self, order: BusCommand) {
        if self.stopping.is_some() {
            return;
        }
        let drain = order == BusCommand::Drain;
        if drain != self.engine.is_draining() {
            if drain {
                tracing::info!(message_id = messages::DRAINING, "takes no new jobs");
            } else {
                tracing::info!(message_id = messages::RESUMED, "takes jobs again");
            }
        }
        self.engine.drain(drain);
    }

    fn publish(&mut self) {
        let counts = self.engine.snapshot();
        let report = Report {
            finished: counts.finished,
            failed: counts.failed,
            draining: counts.draining,
            outstanding: self.engine.outstanding(),
        };
        self.report.send_if_modified(|known| {
            let changed = *known != report;
            *known = report;
            changed
        });
    }

    fn snapshot(
        &self,
        name: &str,
        scheduler: &str,
        workshop: &Workshop,
        toolchains: &ToolchainStore,
    ) -> BuilderSnapshot {
        let counts = self.engine.snapshot();
        let held = toolchains.list();
        BuilderSnapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            state: if counts.draining { "draining" } else { "ready" }.to_owned(),
            draining: counts.draining,
            scheduler: scheduler.to_owned(),
            connection: self.connection.clone(),
            slots_total: counts.slots,
            slots_used: counts.running,
            jobs_completed: counts.finished,
            jobs_failed: counts.failed,
            toolchains: held.iter().map(|toolchain| toolchain.id.to_string()).collect(),
            toolchain_cache_bytes: held.iter().map(|toolchain| toolchain.bytes).sum(),
            input_cache_bytes: workshop.input_bytes(),
        }
    }
}

/// One line for `systemctl status`.
fn describe(snapshot: &BuilderSnapshot) -> String {
    format!(
        "{} of {} slots busy, {} jobs done, scheduler {}: {}",
        snapshot.slots_used, snapshot.slots_total, snapshot.jobs_completed, snapshot.scheduler, snapshot.connection
    )
}

//! The loop: wrappers' units in, engine's placements out.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::forecast::Forecasts;
use super::ledger::Ledger;
use super::pool::Pool;
use super::prepare::{Unit, View, Workbench};
use super::remote::{Attempt, Remote};
use super::scheduler::{self, LinkState};
use super::session::{Arrival, Directive, Hall, Placement};
use super::toolchains::Toolchains;
use crate::daemon::link::Uplink;
use crate::daemon::pulse::Pulse;
use crate::daemon::reload::Reload;
use crate::engine::client::{Client, Failure, Input, Output, Phase, Recorder, Settings};
use crate::engine::config::{ClientConfig, PathOverride};
use crate::engine::wire::farm::{ClientToScheduler, FarmStatus, Lease};
use crate::engine::wire::local::Question;
use crate::model::id::{Instance, JobId, RequestId};
use crate::model::limits::{REQUESTS_MAX, STATS_SAVED_EVERY};
use crate::model::moment::Moment;
use crate::model::reason::Why;
use crate::model::report::{self, BuilderReport, ClientStatus, FarmReport, UnitAtWork};
use crate::os::bus::{ClientOrder, ClientSnapshot, Order, OrderError};
use crate::os::clock::{self, Clock};
use crate::os::inputs::ScanCache;
use crate::os::net::Identity;
use crate::os::systemd::messages;

/// All that a client daemon is made of; the same from systemd, a wrapper's autostart or a test.
#[derive(Debug)]
pub struct Setup {
    pub listeners: Vec<UnixListener>,
    pub identity: Identity,
    pub instance: Instance,
    /// Host name, for people.
    pub name: String,
    pub architecture: String,
    pub scheduler: Option<Uplink>,
    pub local_slots: u32,
    /// Compilers whose units stay here, by the path that they are called by.
    pub no_dist: Vec<PathBuf>,
    /// Archives that stand for compilers.
    pub path_override: Vec<PathOverride>,
    /// Processors of this machine: bounds forced local units and dependency runs.
    pub processors: u32,
    /// Ends the daemon after this long without a wrapper; whoever needs it starts it again.
    pub idle_exit: Option<Duration>,
    /// Where counters are kept over restarts; nowhere if there is none.
    pub state_dir: Option<PathBuf>,
    /// For the bus.
    pub snapshot: watch::Sender<ClientSnapshot>,
    /// From the bus.
    pub orders: mpsc::Receiver<Order<ClientOrder>>,
    /// None where there is no configuration to read again.
    pub reload: Option<Reload>,
    pub pulse: Pulse,
}

/// What sessions, attempts and the link tell the loop.
pub(super) enum Event {
    Began {
        request: RequestId,
        project: String,
        directives: mpsc::Sender<Directive>,
    },
    Arrived {
        request: RequestId,
        arrival: Arrival,
    },
    /// The unit's fate is sealed.
    Ended {
        request: RequestId,
        outcome: Outcome,
    },
    /// The wrapper's connection is over.
    Closed {
        request: RequestId,
    },
    Asked {
        question: Question,
        reply: oneshot::Sender<String>,
    },
    Attempted {
        request: RequestId,
        lease: Lease,
        job: JobId,
        outcome: Result<Remote, Failure>,
    },
    Engine(Input),
    Linked(mpsc::Sender<ClientToScheduler>),
    Unlinked,
    Farm(FarmStatus),
}

#[derive(Debug)]
pub(super) enum Outcome {
    SteppedAside(Why),
    Local(Why),
    Remote,
}

/// Events that may wait for the loop.
const INBOX: usize = 4096;
/// Status, watchdog and idle time are looked at this often at least.
const TICK: Duration = Duration::from_secs(1);
/// Where no further descriptor is to be had, some unit has to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A scheduler that does not answer within this is left out of the status.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// Runs until `shutdown` is ready, or nobody has needed it for a while.
///
/// # Errors
/// Where the daemon cannot see its own file system.
pub async fn run(mut setup: Setup, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    let (inbox, mut events) = mpsc::channel(INBOX);
    let identity = Arc::new(setup.identity);
    let bench = Arc::new(Workbench {
        pool: Pool::new(identity.clone()),
        toolchains: Toolchains::new(setup.path_override),
        scans: Arc::new(ScanCache::new()),
        forecasts: Forecasts::default(),
        proofs: Default::default(),
        natives: Default::default(),
        runs: Semaphore::new(setup.processors.max(1) as usize),
        architecture: setup.architecture,
        view: View::ours()?,
        no_dist: setup.no_dist,
    });
    let has_scheduler = setup.scheduler.is_some();
    let initial = if has_scheduler { LinkState::Connecting } else { LinkState::NotConfigured };
    let (link_state, link) = watch::channel(initial);
    let mut tasks = JoinSet::new();
    let scheduler_address = setup.scheduler.as_ref().map(|uplink| uplink.address.clone()).unwrap_or_default();
    if let Some(uplink) = setup.scheduler {
        let (identity, inbox) = (identity.clone(), inbox.clone());
        tasks.spawn(scheduler::keep_linked(uplink, setup.name, identity, link_state, inbox));
    }
    let paused = Arc::new(AtomicBool::new(false));
    let hall = Hall {
        bench: bench.clone(),
        inbox: inbox.clone(),
        link: link.clone(),
        paused: paused.clone(),
        projects: Arc::default(),
    };
    let (mut ledger, kept) = Ledger::open(setup.state_dir.as_deref());
    let mut driver = Driver {
        clock: Clock::new(),
        engine: Client::new(Settings::new(setup.local_slots, setup.processors, has_scheduler)),
        recorder: Recorder::new(kept),
        units: BTreeMap::new(),
        attempts: JoinSet::new(),
        bench,
        inbox,
        link,
        queue: None,
        instance: setup.instance,
        next_job: 0,
        scheduler_address,
        local_slots: setup.local_slots,
        asked_farm: Vec::new(),
        paused,
        reload: setup.reload,
    };
    let requests = AtomicU64::new(1);
    let mut saved = driver.clock.now();
    let mut sessions = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    let mut idle_since = driver.clock.now();
    tokio::pin!(shutdown);
    loop {
        driver.perform();
        let timer = driver.engine.poll_timeout().map(|at| driver.clock.instant(at));
        tokio::select! {
            Some(event) = events.recv() => driver.handle(event),
            () = until(timer) => driver.engine.handle_timeout(driver.clock.now()),
            accepted = accept(&setup.listeners), if sessions.len() < REQUESTS_MAX => {
                if let Some(stream) = accepted && is_ours(&stream) {
                    let request = RequestId(requests.fetch_add(1, Ordering::Relaxed));
                    sessions.spawn(hall.clone().serve(request, stream));
                }
            }
            Some(_) = sessions.join_next() => idle_since = driver.clock.now(),
            Some(_) = driver.attempts.join_next() => {}
            Some(order) = setup.orders.recv() => {
                let is_reload = order.what == ClientOrder::Reload;
                driver.obey(order);
                let snapshot = driver.snapshot();
                if is_reload {
                    setup.pulse.reloaded(driver.clock.now(), &describe(&snapshot));
                }
                // What it asked for is seen at once.
                setup.snapshot.send_replace(snapshot);
            }
            _ = tick.tick() => {
                let snapshot = driver.snapshot();
                setup.pulse.beat(driver.clock.now(), true, &describe(&snapshot));
                setup.snapshot.send_replace(snapshot);
                let now = driver.clock.now();
                if now - saved >= STATS_SAVED_EVERY {
                    saved = now;
                    ledger.keep(driver.recorder.report());
                }
                if sessions.is_empty() && setup.idle_exit.is_some_and(|limit| now - idle_since >= limit) {
                    tracing::debug!("nobody has asked for a while");
                    ledger.close(driver.recorder.report()).await;
                    return Ok(());
                }
            }
            () = &mut shutdown => {
                setup.pulse.stopping();
                ledger.close(driver.recorder.report()).await;
                return Ok(());
            }
        }
    }
}

/// Waits for a deadline, or for ever where there is none.
async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The next wrapper at any of the sockets.
async fn accept(listeners: &[UnixListener]) -> Option<tokio::net::UnixStream> {
    let accepted = std::future::poll_fn(|context| {
        for listener in listeners {
            if let std::task::Poll::Ready(accepted) = listener.poll_accept(context) {
                return std::task::Poll::Ready(accepted);
            }
        }
        std::task::Poll::Pending
    });
    match accepted.await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a wrapper; it compiles by itself");
            // It would be the same at once.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One line for `systemctl status`.
fn describe(snapshot: &ClientSnapshot) -> String {
    let ClientSnapshot { status, stats } = snapshot;
    let paused = if status.paused { "paused; " } else { "" };
    format!(
        "{paused}{} remote, {} local, {} waiting; {} units remote, {} local, {} fallbacks; scheduler {}",
        status.running_remote,
        status.running_local,
        status.waiting,
        stats.remote,
        stats.local,
        stats.fallbacks,
        status.connection
    )
}

/// Only the daemon's own user is served: it reads files and runs compilers with that user's rights.
fn is_ours(stream: &tokio::net::UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == ours => true,
        Ok(peer) => {
            tracing::warn!(
                farcc_client_uid = peer.uid(),
                "refused another user; each user has a client daemon of their own"
            );
            false
        }
        Err(error) => {
            tracing::debug!(%error, "a peer without credentials");
            false
        }
    }
}

/// What the loop knows of one request.
struct Known {
    directives: mpsc::Sender<Directive>,
    /// From its arrival at the engine.
    unit: Option<Arc<Unit>>,
    in_engine: bool,
    attempt: Option<(JobId, String, AbortHandle)>,
    /// Its wrapper was told to compile it.
    is_here: bool,
    /// When its present phase began.
    since: Moment,
}

struct Driver {
    clock: Clock,
    engine: Client,
    recorder: Recorder,
    units: BTreeMap<RequestId, Known>,
    attempts: JoinSet<()>,
    bench: Arc<Workbench>,
    inbox: mpsc::Sender<Event>,
    link: watch::Receiver<LinkState>,
    queue: Option<mpsc::Sender<ClientToScheduler>>,
    instance: Instance,
    next_job: u64,
    scheduler_address: String,
    local_slots: u32,
    asked_farm: Vec<oneshot::Sender<FarmStatus>>,
    /// Sessions look at it too.
    paused: Arc<AtomicBool>,
    reload: Option<Reload>,
}

impl Driver {
    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Began { request, project, directives } => {
                self.recorder.arrived(now, request, &project);
                self.units.insert(
                    request,
                    Known { directives, unit: None, in_engine: false, attempt: None, is_here: false, since: now },
                );
            }
            Event::Arrived { request, arrival } => self.arrived(request, arrival),
            Event::Ended { request, outcome } => self.ended(request, outcome),
            Event::Closed { request } => self.closed(request),
            Event::Asked { question, reply } => self.asked(question, reply),
            Event::Attempted { request, lease, job, outcome } => self.attempted(request, lease, job, outcome),
            Event::Engine(input) => self.engine.handle(now, input),
            Event::Linked(queue) => {
                self.queue = Some(queue);
                self.engine.handle(now, Input::SchedulerUp);
            }
            Event::Unlinked => {
                self.queue = None;
                self.engine.handle(now, Input::SchedulerDown);
            }
            Event::Farm(status) => {
                for reply in self.asked_farm.drain(..) {
                    drop(reply.send(status.clone()));
                }
            }
        }
    }

    fn arrived(&mut self, request: RequestId, arrival: Arrival) {
        let now = self.clock.now();
        let Some(known) = self.units.get_mut(&request) else { return };
        self.recorder.named(request, &arrival.source, &arrival.output);
        self.recorder.spent(request, Phase::Inputs, now - known.since);
        known.since = now;
        known.in_engine = true;
        let input = match arrival.placement {
            Placement::Local(why) => Input::ArrivedLocal { request, why },
            Placement::Anywhere(unit) => {
                let class = unit.class.clone();
                known.unit = Some(unit);
                Input::Arrived { request, class }
            }
        };
        self.engine.handle(now, input);
    }

    fn ended(&mut self, request: RequestId, outcome: Outcome) {
        let now = self.clock.now();
        match outcome {
            Outcome::SteppedAside(why) => {
                tracing::debug!(request = request.0, farcc_reason = why.reason.name(), "stepped aside");
                self.recorder.ended(now, request, report::Outcome::StepAside { why });
            }
            Outcome::Local(why) => {
                log_local(request, &why);
                self.recorder.ended(now, request, report::Outcome::Local { why });
            }
            Outcome::Remote => {
                let attempt = self.units.get(&request).and_then(|known| known.attempt.as_ref());
                if let Some((job, builder, _)) = attempt {
                    let (builder, job) = (builder.clone(), job.to_string());
                    self.recorder.ended(now, request, report::Outcome::Remote { builder, job });
                }
            }
        }
    }

    fn closed(&mut self, request: RequestId) {
        let now = self.clock.now();
        let Some(known) = self.units.remove(&request) else { return };
        if let Some((_, _, task)) = known.attempt {
            task.abort();
        }
        self.recorder.ended(now, request, report::Outcome::Abandoned);
        if known.in_engine {
            // Harmless for a request that has ended: the engine has forgotten it.
            self.engine.handle(now, Input::Abandoned { request });
        }
    }

    fn attempted(&mut self, request: RequestId, lease: Lease, job: JobId, outcome: Result<Remote, Failure>) {
        let now = self.clock.now();
        let Some(known) = self.units.get_mut(&request) else { return };
        // An attempt that was cancelled meanwhile has nothing to say.
        if known.attempt.as_ref().is_none_or(|(current, _, _)| *current != job) {
            return;
        }
        self.recorder.spent(request, Phase::Remote, now - known.since);
        known.since = now;
        match outcome {
            Ok(remote) => {
                tracing::debug!(farcc_job = %job, farcc_lease = %lease.id, farcc_builder = lease.builder_name, "compiled");
                drop(known.directives.try_send(Directive::Finished(Box::new(remote))));
                self.engine.handle(now, Input::RemoteFinished { request });
            }
            Err(failure) => {
                let why = match &failure {
                    Failure::Builder(why) | Failure::Unfit(why) | Failure::Lease(why) | Failure::Unit(why) => why,
                };
                tracing::debug!(
                    farcc_job = %job,
                    farcc_lease = %lease.id,
                    farcc_builder = lease.builder_name,
                    farcc_reason = why.reason.name(),
                    cause = why.detail,
                    "attempt failed"
                );
                if !matches!(failure, Failure::Lease(_)) {
                    let (builder, job) = (lease.builder_name.clone(), job.to_string());
                    self.recorder.attempt_failed(request, report::Attempt { builder, job, why: why.clone() });
                }
                known.attempt = None;
                self.engine.handle(now, Input::RemoteFailed { request, failure });
            }
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::RunRemote { request, lease } => self.run_remote(request, lease),
                Output::RunLocal { request, why } => {
                    let now = self.clock.now();
                    if let Some(known) = self.units.get_mut(&request) {
                        known.attempt = None;
                        known.is_here = true;
                        known.since = now;
                        drop(known.directives.try_send(Directive::RunLocal(why)));
                    }
                }
                Output::Cancel { request, reason } => {
                    tracing::debug!(request = request.0, farcc_reason = reason.name(), "attempt cancelled");
                    if let Some((_, _, task)) = self.units.get_mut(&request).and_then(|known| known.attempt.take()) {
                        task.abort();
                    }
                }
                Output::Demand { class, slots } => self.tell(ClientToScheduler::Demand { class, slots }),
                Output::Return { lease } => self.tell(ClientToScheduler::Return { lease }),
                Output::Complain { builder, lease, detail, about } => {
                    self.tell(ClientToScheduler::Complain { builder, lease, detail, about });
                }
            }
        }
    }

    fn run_remote(&mut self, request: RequestId, lease: Lease) {
        let Some(known) = self.units.get_mut(&request) else { return };
        let Some(unit) = known.unit.clone() else { return };
        let job = JobId { instance: self.instance, number: self.next_job };
        self.next_job += 1;
        let now = self.clock.now();
        self.recorder.spent(request, Phase::Queued, now - known.since);
        known.since = now;
        tracing::debug!(
            farcc_job = %job,
            farcc_lease = %lease.id,
            farcc_builder = lease.builder_name,
            farcc_toolchain = %unit.package.id,
            request = request.0,
            "job sent"
        );
        let builder = lease.builder_name.clone();
        let (bench, inbox) = (self.bench.clone(), self.inbox.clone());
        let task = self.attempts.spawn(async move {
            let attempt = Attempt { bench, unit, lease, job };
            let outcome = attempt.run().await;
            drop(inbox.send(Event::Attempted { request, lease: attempt.lease, job, outcome }).await);
        });
        known.attempt = Some((job, builder, task));
    }

    fn tell(&mut self, message: ClientToScheduler) {
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_err()) {
            // The link is over, or its peer does not read: what it missed is said again on the next one.
            self.queue = None;
        }
    }

    fn asked(&mut self, question: Question, reply: oneshot::Sender<String>) {
        let json = match question {
            Question::Stats => serde_json::to_string(self.recorder.report()),
            Question::ResetStats => {
                self.recorder.reset(clock::usec_since_1970());
                serde_json::to_string(self.recorder.report())
            }
            Question::Why { path } => serde_json::to_string(&self.recorder.why(&String::from_utf8_lossy(&path))),
            Question::History => serde_json::to_string(&self.recorder.history().collect::<Vec<_>>()),
            Question::Toolchains => serde_json::to_string(&self.bench.toolchains.report()),
            Question::Jobs => serde_json::to_string(&self.at_work()),
            Question::Pause { paused } => {
                self.pause(paused);
                serde_json::to_string(&self.status())
            }
            Question::Status => return self.asked_status(reply),
        };
        drop(reply.send(json.expect("plain data with text keys has a JSON form")));
    }

    fn obey(&mut self, order: Order<ClientOrder>) {
        let mut answer = Ok(());
        match order.what {
            ClientOrder::Pause => self.pause(true),
            ClientOrder::Resume => self.pause(false),
            ClientOrder::Reload => answer = self.reload(),
        }
        drop(order.reply.send(answer.map(|()| 0)));
    }

    /// Nothing new leaves this machine; what is under way goes on.
    fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    fn reload(&mut self) -> Result<(), OrderError> {
        let Some(reload) = &mut self.reload else { return Ok(()) };
        let reread = reload.reread::<ClientConfig>().map_err(OrderError::Failed)?;
        reload.report(&reread, &[]);
        Ok(())
    }

    fn at_work(&self) -> Vec<UnitAtWork> {
        let now = self.clock.now();
        let unit = |(request, known): (&RequestId, &Known)| {
            let record = self.recorder.record(*request);
            let state = match known {
                Known { attempt: Some(_), .. } => "remote",
                Known { is_here: true, .. } => "local",
                Known { in_engine: true, .. } => "waiting",
                _ => "inputs",
            };
            UnitAtWork {
                source: record.map(|record| record.source.clone()).unwrap_or_default(),
                state: state.to_owned(),
                builder: known.attempt.as_ref().map(|(_, builder, _)| builder.clone()),
                job: known.attempt.as_ref().map(|(job, _, _)| job.to_string()),
                since: now - known.since,
            }
        };
        // The one that asks is a request too.
        let is_unit = |(request, known): &(&RequestId, &Known)| {
            known.in_engine || self.recorder.record(**request).is_some_and(|record| !record.source.is_empty())
        };
        self.units.iter().filter(is_unit).map(unit).collect()
    }

    fn snapshot(&self) -> ClientSnapshot {
        ClientSnapshot { status: self.status(), stats: self.recorder.stats().clone() }
    }

    /// Asks the scheduler first, without waiting for it here.
    fn asked_status(&mut self, reply: oneshot::Sender<String>) {
        let mut status = self.status();
        let (farm, answered) = oneshot::channel();
        if self.queue.is_some() {
            self.asked_farm.push(farm);
            self.tell(ClientToScheduler::Status);
        }
        self.attempts.spawn(async move {
            if let Ok(Ok(farm)) = timeout(STATUS_MAX, answered).await {
                status.farm = Some(farm_report(farm));
            }
            drop(reply.send(serde_json::to_string(&status).expect("plain data with text keys has a JSON form")));
        });
    }

    fn status(&self) -> ClientStatus {
        let counts = self.engine.snapshot();
        ClientStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            scheduler: self.scheduler_address.clone(),
            connection: self.link.borrow().to_string(),
            local_slots: self.local_slots,
            paused: self.paused.load(Ordering::Relaxed),
            waiting: counts.waiting,
            running_remote: counts.running_remote,
            running_local: counts.running_local,
            leases: counts.leases,
            cpu: crate::os::clock::cpu_time(),
            farm: None,
        }
    }
}

/// A fallback is worth a look; a unit that is local by nature or choice is not.
fn log_local(request: RequestId, why: &Why) {
    if why.reason.is_fallback() {
        tracing::warn!(
            message_id = messages::UNIT_FELL_BACK,
            request = request.0,
            farcc_reason = why.reason.name(),
            cause = why.detail,
            "a unit that was meant for a builder was compiled on this machine"
        );
    } else {
        tracing::debug!(request = request.0, farcc_reason = why.reason.name(), cause = why.detail, "compiled locally");
    }
}

fn farm_report(farm: FarmStatus) -> FarmReport {
    let builders = farm.builders.into_iter().map(BuilderReport::from);
    FarmReport { builders: builders.collect(), clients: farm.clients, queued: farm.queued }
}

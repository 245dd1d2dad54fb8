//! A farm in one thread: the three machines, their shells in miniature, and a network that can fail in every way we know.
//!
//! Each node lives on a clock of its own that starts with its process, as daemons do. What the shells do here (connect
//! again, authenticate, tell attempts apart) is what the real ones do, in as few lines as show it.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use farcc::engine::builder::{self, Admission, Builder, JobEnd};
use farcc::engine::client::{self, Client, Failure};
use farcc::engine::scheduler::{self, Order, Scheduler};
use farcc::engine::wire::farm::{Class, FarmStatus, Lease, Refusal};
use farcc::model::digest::Digest;
use farcc::model::id::{BuilderId, ClientId, Instance, JobId, LeaseId, RequestId};
use farcc::model::limits::HEARTBEAT_EVERY;
use farcc::model::moment::Moment;
use farcc::model::reason::{Reason, Why};
use farcc::model::toolchain::{IsaLevel, ToolchainId};

use crate::chance::Chance;

/// A dead peer is noticed by keepalive within this.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// A killed compiler and its sandbox are gone after this.
const KILL: Duration = Duration::from_millis(30);
/// Events printed when a property fails.
const TAIL: usize = 60;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Node {
    Scheduler,
    Builder(usize),
    Client(usize),
}

type LinkId = u64;
type AttemptId = u64;

/// Who notices, or receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Scheduler,
    Peer,
}

#[derive(Clone, Debug)]
enum Message {
    HelloBuilder { outstanding: Vec<LeaseId> },
    HelloClient,
    ToScheduler(scheduler::Input),
    WelcomeBuilder { key: Digest, now: Moment, epoch: u64 },
    WelcomeClient,
    Clock { now: Moment, epoch: u64 },
    ToClient(client::Input),
}

#[derive(Clone, Debug)]
enum Event {
    Deliver {
        link: LinkId,
        to: Side,
        message: Message,
    },
    Closed {
        link: LinkId,
        side: Side,
    },
    Connect {
        node: Node,
        life: u64,
    },
    Heartbeat {
        node: Node,
        life: u64,
    },
    Wake {
        node: Node,
        life: u64,
    },
    JobArrives(AttemptId),
    JobDone(AttemptId),
    /// The client's stream has ended: the builder kills the job.
    JobCancelled(AttemptId),
    JobGone(AttemptId),
    Report {
        attempt: AttemptId,
        report: Report,
    },
    LocalDone {
        client: usize,
        life: u64,
        request: RequestId,
    },
    Abandon {
        request: RequestId,
    },
    Start {
        node: Node,
    },
    Plug {
        node: Node,
    },
}

#[derive(Clone, Debug)]
enum Report {
    Finished,
    Failed(Failure),
}

struct Link {
    peer: Node,
    lives: (u64, u64),
    open: (bool, bool),
    /// Messages vanish from now on.
    mute: bool,
    last: (Moment, Moment),
}

/// What every process has.
#[derive(Debug, Default)]
struct Process {
    life: u64,
    started: Moment,
    up: bool,
    unplugged: bool,
    wake: Option<Moment>,
    link: Option<LinkId>,
}

struct SchedulerNode {
    process: Process,
    machine: Scheduler,
    links: BTreeMap<Node, LinkId>,
    keys: BTreeMap<BuilderId, Digest>,
}

struct BuilderNode {
    process: Process,
    machine: Builder,
    id: BuilderId,
    slots: u32,
    architecture: String,
    jobs: BTreeMap<JobId, AttemptId>,
    draining: bool,
}

struct ClientNode {
    process: Process,
    machine: Client,
    id: ClientId,
    settings: client::Settings,
    /// The attempt that the shell waits for; reports of any other are dropped.
    attempts: BTreeMap<RequestId, AttemptId>,
    build: Build,
    /// The scheduler has welcomed it.
    linked: bool,
}

/// `make -j`.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) todo: u32,
    pub(crate) parallel: usize,
    /// Toolchains in turn.
    pub(crate) toolchains: u8,
    pub(crate) job: (u64, u64),
    running: BTreeSet<RequestId>,
}

impl Build {
    pub(crate) fn new(todo: u32, parallel: usize) -> Self {
        Self { todo, parallel, toolchains: 1, job: (20, 800), running: BTreeSet::new() }
    }

    pub(crate) fn jobs_take(mut self, from: u64, to: u64) -> Self {
        self.job = (from, to);
        self
    }

    pub(crate) fn with_toolchains(mut self, toolchains: u8) -> Self {
        self.toolchains = toolchains;
        self
    }
}

struct Attempt {
    request: RequestId,
    client: (usize, u64),
    builder: (usize, u64),
    lease: Lease,
    job: JobId,
    takes: Duration,
}

/// How a unit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Remote(usize),
    Local(Why),
    Abandoned,
    /// Its daemon died: the wrapper compiled by itself.
    Orphaned,
}

/// Chances of the small things that go wrong, per mille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A builder breaks a job.
    pub(crate) job: u32,
    /// A job takes much longer than others.
    pub(crate) slow: u32,
    /// The user interrupts a compile.
    pub(crate) abandon: u32,
    /// The client for which every job breaks, while builders see nothing wrong.
    pub(crate) sick: Option<usize>,
}

pub(crate) struct World {
    seed: u64,
    pub(crate) now: Moment,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    events: BinaryHeap<std::cmp::Reverse<(Moment, u64)>>,
    pending: BTreeMap<u64, Event>,
    n_events: u64,
    scheduler: SchedulerNode,
    builders: Vec<BuilderNode>,
    clients: Vec<ClientNode>,
    links: BTreeMap<LinkId, Link>,
    attempts: BTreeMap<AttemptId, Attempt>,
    n_ids: u64,
    pub(crate) verdicts: BTreeMap<RequestId, (usize, Verdict)>,
    /// What a local compile was started for.
    local: BTreeMap<RequestId, Why>,
    tail: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let scheduler = SchedulerNode {
            process: Process::default(),
            machine: Scheduler::new(scheduler::Settings::new(Instance(0))),
            links: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        let mut world = Self {
            seed,
            now: Moment::START,
            chance: Chance::new(seed),
            faults: Faults::default(),
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            n_events: 0,
            scheduler,
            builders: Vec::new(),
            clients: Vec::new(),
            links: BTreeMap::new(),
            attempts: BTreeMap::new(),
            n_ids: 0,
            verdicts: BTreeMap::new(),
            local: BTreeMap::new(),
            tail: VecDeque::new(),
        };
        world.start(Node::Scheduler);
        world
    }

    pub(crate) fn builder(&mut self, slots: u32, architecture: &str) -> Node {
        let number = self.builders.len();
        let id = BuilderId(Digest::of(format!("builder {number}").as_bytes()));
        self.builders.push(BuilderNode {
            process: Process::default(),
            machine: Builder::new(builder::Settings { slots }, id),
            id,
            slots,
            architecture: architecture.to_owned(),
            jobs: BTreeMap::new(),
            draining: false,
        });
        self.start(Node::Builder(number));
        Node::Builder(number)
    }

    pub(crate) fn client(&mut self, local_slots: u32, build: Build) -> usize {
        let number = self.clients.len();
        let settings = client::Settings::new(local_slots, 2, true);
        self.clients.push(ClientNode {
            process: Process::default(),
            machine: Client::new(settings.clone()),
            id: ClientId(Digest::of(format!("client {number}").as_bytes())),
            settings,
            attempts: BTreeMap::new(),
            build,
            linked: false,
        });
        self.start(Node::Client(number));
        number
    }

    /// Gives a client more to do.
    pub(crate) fn build(&mut self, client: usize, build: Build) {
        let running = std::mem::take(&mut self.clients[client].build.running);
        self.clients[client].build = Build { running, ..build };
        self.submit(client);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.events.peek().is_some_and(|next| next.0.0 <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done`, at most for `time`; whether it came to that.
    pub(crate) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        while !done(self) {
            if self.events.peek().is_none_or(|next| next.0.0 > end) {
                return false;
            }
            self.step();
        }
        true
    }

    fn step(&mut self) {
        let Some(std::cmp::Reverse((at, number))) = self.events.pop() else { return };
        self.now = at;
        let event = self.pending.remove(&number).expect("every moment in the heap has its event");
        if !matches!(event, Event::Heartbeat { .. } | Event::Wake { .. }) {
            self.note(|| format!("{event:?}"));
        }
        self.perform(event);
        self.check_builders();
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Deliver { link, to, message } => self.deliver(link, to, message),
            Event::Closed { link, side } => self.closed(link, side),
            Event::Connect { node, life } => self.connect(node, life),
            Event::Heartbeat { node, life } => self.heartbeat(node, life),
            Event::Wake { node, life } => self.wake(node, life),
            Event::JobArrives(attempt) => self.job_arrives(attempt),
            Event::JobDone(attempt) => self.job_done(attempt),
            Event::JobCancelled(attempt) => self.after(KILL, Event::JobGone(attempt)),
            Event::JobGone(attempt) => self.end_job(attempt, JobEnd::NothingRan),
            Event::Report { attempt, report } => self.report(attempt, report),
            Event::LocalDone { client, life, request } => self.local_done(client, life, request),
            Event::Abandon { request } => self.abandon(request),
            Event::Start { node } => self.start(node),
            Event::Plug { node } => self.process(node).unplugged = false,
        }
    }

    fn at(&mut self, moment: Moment, event: Event) {
        self.n_events += 1;
        self.events.push(std::cmp::Reverse((moment, self.n_events)));
        self.pending.insert(self.n_events, event);
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + time, event);
    }

    fn hop(&mut self) -> Duration {
        self.chance.millis(0, 4)
    }

    fn id(&mut self) -> u64 {
        self.n_ids += 1;
        self.n_ids
    }

    fn process(&mut self, node: Node) -> &mut Process {
        match node {
            Node::Scheduler => &mut self.scheduler.process,
            Node::Builder(number) => &mut self.builders[number].process,
            Node::Client(number) => &mut self.clients[number].process,
        }
    }

    fn is_alive(&mut self, node: Node, life: u64) -> bool {
        let process = self.process(node);
        process.up && process.life == life
    }

    /// The node's own clock.
    fn clock(&mut self, node: Node) -> Moment {
        let started = self.process(node).started;
        Moment::after_start(self.now.since(started))
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        let line = format!("{:>10.4}s {}", self.now.since_start().as_secs_f64(), text());
        self.tail.push_back(line);
    }
}

/// Processes live and die.
impl World {
    fn start(&mut self, node: Node) {
        if self.process(node).up {
            return;
        }
        let instance = Instance(self.chance.number());
        let now = self.now;
        let process = self.process(node);
        let unplugged = process.unplugged;
        let life = process.life + 1;
        *process = Process { life, started: now, up: true, unplugged, wake: None, link: None };
        match node {
            Node::Scheduler => {
                // The shell keeps orders on disk.
                let drained = self.scheduler.machine.drained().clone();
                let settings = scheduler::Settings { drained, ..scheduler::Settings::new(instance) };
                self.scheduler.machine = Scheduler::new(settings);
                self.scheduler.links.clear();
                self.scheduler.keys.clear();
            }
            Node::Builder(number) => {
                let builder = &mut self.builders[number];
                builder.machine = Builder::new(builder::Settings { slots: builder.slots }, builder.id);
                builder.jobs.clear();
            }
            Node::Client(number) => {
                let client = &mut self.clients[number];
                client.machine = Client::new(client.settings.clone());
                client.attempts.clear();
                client.linked = false;
            }
        }
        if node != Node::Scheduler {
            self.after(Duration::ZERO, Event::Connect { node, life });
            self.after(HEARTBEAT_EVERY, Event::Heartbeat { node, life });
        }
        if let Node::Client(number) = node {
            self.submit(number);
        }
    }

    /// Dies at once and comes back later.
    pub(crate) fn kill(&mut self, node: Node, back: Duration) {
        if !self.process(node).up {
            return;
        }
        self.note(|| format!("KILL {node:?}"));
        self.process(node).up = false;
        for link in self.links_of(node) {
            self.break_link(link);
        }
        for attempt in self.attempts_of(node) {
            self.break_attempt(attempt);
        }
        if let Node::Client(number) = node {
            for request in std::mem::take(&mut self.clients[number].build.running) {
                self.local.remove(&request);
                self.verdict(number, request, Verdict::Orphaned);
            }
        }
        self.after(back, Event::Start { node });
    }

    /// Its packets vanish in both directions until it is plugged in again.
    pub(crate) fn unplug(&mut self, node: Node, back: Duration) {
        self.note(|| format!("UNPLUG {node:?}"));
        self.process(node).unplugged = true;
        for link in self.links_of(node) {
            self.break_link(link);
        }
        for attempt in self.attempts_of(node) {
            self.break_attempt(attempt);
        }
        self.after(back, Event::Plug { node });
    }

    /// A connection to the scheduler is reset.
    pub(crate) fn cut(&mut self, node: Node) {
        self.note(|| format!("CUT {node:?}"));
        for link in self.links_of(node) {
            self.break_link(link);
        }
    }

    /// A connection to the scheduler stays up, but nothing goes through: only heartbeats can tell.
    pub(crate) fn mute(&mut self, node: Node) {
        self.note(|| format!("MUTE {node:?}"));
        for link in self.links_of(node) {
            self.links.get_mut(&link).expect("listed just now").mute = true;
        }
    }

    pub(crate) fn drain(&mut self, node: Node, draining: bool) {
        let Node::Builder(number) = node else { return };
        let builder = &mut self.builders[number];
        builder.draining = draining;
        builder.machine.drain(draining);
        let id = builder.id;
        self.tell_scheduler(node, scheduler::Input::BuilderDraining { builder: id, draining });
    }

    /// The administrator orders something about a builder.
    pub(crate) fn order(&mut self, node: Node, order: Order) {
        let Node::Builder(number) = node else { return };
        self.note(|| format!("ORDER {order:?} {node:?}"));
        let builder = self.builders[number].id;
        if self.process(Node::Scheduler).up {
            self.feed_scheduler(scheduler::Input::Ordered { builder, order });
        }
    }

    /// A builder has fewer slots for a while; those that run go on.
    pub(crate) fn resize(&mut self, node: Node, slots: u32) {
        let Node::Builder(number) = node else { return };
        self.note(|| format!("RESIZE {node:?} to {slots}"));
        let builder = &mut self.builders[number];
        builder.machine.set_slots(slots.min(builder.slots));
    }

    /// Everything runs, everything is plugged in, nothing breaks any more.
    pub(crate) fn heal(&mut self) {
        self.note(|| "HEAL".to_owned());
        self.faults = Faults::default();
        for node in self.nodes() {
            self.process(node).unplugged = false;
            self.start(node);
            if matches!(node, Node::Builder(_)) {
                self.drain(node, false);
                self.order(node, Order::Resume);
                self.resize(node, u32::MAX);
            }
        }
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let builders = (0..self.builders.len()).map(Node::Builder);
        let clients = (0..self.clients.len()).map(Node::Client);
        [Node::Scheduler].into_iter().chain(builders).chain(clients).collect()
    }

    fn links_of(&self, node: Node) -> Vec<LinkId> {
        let is_of = |link: &Link| node == Node::Scheduler || link.peer == node;
        self.links.iter().filter(|(_, link)| is_of(link)).map(|(id, _)| *id).collect()
    }

    fn attempts_of(&self, node: Node) -> Vec<AttemptId> {
        let is_of =
            |attempt: &Attempt| node == Node::Builder(attempt.builder.0) || node == Node::Client(attempt.client.0);
        self.attempts.iter().filter(|(_, attempt)| is_of(attempt)).map(|(id, _)| *id).collect()
    }

    /// How long it takes until somebody notices that the other side is gone.
    fn notice(&mut self, a: Node, b: Node) -> Duration {
        if self.process(a).unplugged || self.process(b).unplugged { KEEPALIVE } else { self.hop() }
    }

    fn break_link(&mut self, id: LinkId) {
        let link = self.links.get_mut(&id).expect("only known links break");
        link.mute = true;
        let peer = link.peer;
        let time = self.notice(Node::Scheduler, peer);
        self.after(time, Event::Closed { link: id, side: Side::Scheduler });
        self.after(time, Event::Closed { link: id, side: Side::Peer });
    }

    fn break_attempt(&mut self, id: AttemptId) {
        let attempt = &self.attempts[&id];
        let (client, builder) = (Node::Client(attempt.client.0), Node::Builder(attempt.builder.0));
        let time = self.notice(client, builder);
        let lost = Failure::Builder(Reason::BuilderLost.into());
        self.after(time, Event::Report { attempt: id, report: Report::Failed(lost) });
        self.after(time, Event::JobCancelled(id));
    }
}

/// Links to the scheduler.
impl World {
    fn connect(&mut self, node: Node, life: u64) {
        if !self.is_alive(node, life) || self.process(node).link.is_some() {
            return;
        }
        let can = self.scheduler.process.up && !self.scheduler.process.unplugged && !self.process(node).unplugged;
        if !can {
            let pause = self.chance.millis(50, 250);
            return self.after(pause, Event::Connect { node, life });
        }
        let id = self.id();
        let lives = (self.scheduler.process.life, life);
        let last = (self.now, self.now);
        self.links.insert(id, Link { peer: node, lives, open: (true, true), mute: false, last });
        self.process(node).link = Some(id);
        let hello = match node {
            Node::Builder(number) => Message::HelloBuilder { outstanding: self.builders[number].machine.outstanding() },
            Node::Client(_) | Node::Scheduler => Message::HelloClient,
        };
        self.send(id, Side::Scheduler, hello);
    }

    /// In order, each way by itself.
    fn send(&mut self, id: LinkId, to: Side, message: Message) {
        let delay = self.hop();
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.mute) else { return };
        let last = match to {
            Side::Scheduler => &mut link.last.0,
            Side::Peer => &mut link.last.1,
        };
        *last = (*last).max(now + delay);
        let at = *last;
        self.at(at, Event::Deliver { link: id, to, message });
    }

    fn deliver(&mut self, id: LinkId, to: Side, message: Message) {
        let Some(link) = self.links.get(&id) else { return };
        let open = match to {
            Side::Scheduler => link.open.0,
            Side::Peer => link.open.1,
        };
        if link.mute || !open {
            return;
        }
        match (to, link.peer) {
            (Side::Scheduler, peer) => self.scheduler_receives(id, peer, message),
            (Side::Peer, Node::Builder(number)) => self.builder_receives(number, message),
            (Side::Peer, Node::Client(number)) => self.client_receives(number, message),
            (Side::Peer, Node::Scheduler) => unreachable!("the scheduler is nobody's peer"),
        }
    }

    fn closed(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let was_open = match side {
            Side::Scheduler => std::mem::replace(&mut link.open.0, false),
            Side::Peer => std::mem::replace(&mut link.open.1, false),
        };
        let (peer, lives) = (link.peer, link.lives);
        if link.open == (false, false) {
            self.links.remove(&id);
        }
        match side {
            Side::Scheduler if was_open && self.is_alive(Node::Scheduler, lives.0) => self.lose_peer(peer, id),
            Side::Peer if was_open && self.is_alive(peer, lives.1) => {
                self.process(peer).link = None;
                if let Node::Client(number) = peer {
                    self.clients[number].linked = false;
                    self.feed_client(number, client::Input::SchedulerDown);
                }
                let pause = self.chance.millis(10, 200);
                self.after(pause, Event::Connect { node: peer, life: lives.1 });
            }
            _ => {}
        }
    }

    /// The scheduler's end of a link is closed; no matter where the peer has another by now.
    fn lose_peer(&mut self, peer: Node, link: LinkId) {
        if self.scheduler.links.get(&peer) != Some(&link) {
            return;
        }
        self.scheduler.links.remove(&peer);
        self.feed_scheduler(match peer {
            Node::Builder(number) => scheduler::Input::BuilderLost { builder: self.builders[number].id },
            _ => scheduler::Input::ClientLost { client: self.client_id(peer) },
        });
    }

    /// One side hangs up; the other hears of it.
    fn hang_up(&mut self, id: LinkId) {
        self.closed(id, Side::Scheduler);
        let time = self.hop();
        self.after(time, Event::Closed { link: id, side: Side::Peer });
    }

    fn client_id(&self, node: Node) -> ClientId {
        let Node::Client(number) = node else { panic!("{node:?} is no client") };
        self.clients[number].id
    }

    fn heartbeat(&mut self, node: Node, life: u64) {
        if !self.is_alive(node, life) {
            return;
        }
        let input = match node {
            Node::Builder(number) => {
                let builder = &self.builders[number];
                let builder::Snapshot { finished, failed, .. } = builder.machine.snapshot();
                let outstanding = builder.machine.outstanding();
                let slots = Some(builder.machine.snapshot().slots);
                scheduler::Input::BuilderHeartbeat { builder: builder.id, outstanding, finished, failed, slots }
            }
            _ => scheduler::Input::ClientHeartbeat { client: self.client_id(node) },
        };
        self.tell_scheduler(node, input);
        self.after(HEARTBEAT_EVERY, Event::Heartbeat { node, life });
    }

    fn tell_scheduler(&mut self, node: Node, input: scheduler::Input) {
        if let Some(link) = self.process(node).link {
            self.send(link, Side::Scheduler, Message::ToScheduler(input));
        }
    }

    fn wake(&mut self, node: Node, life: u64) {
        if !self.is_alive(node, life) {
            return;
        }
        self.process(node).wake = None;
        let now = self.clock(node);
        match node {
            Node::Scheduler => {
                self.scheduler.machine.handle_timeout(now);
                self.drain_scheduler();
            }
            Node::Client(number) => {
                self.clients[number].machine.handle_timeout(now);
                self.drain_client(number);
            }
            Node::Builder(_) => {}
        }
    }

    fn set_alarm(&mut self, node: Node, at: Option<Moment>) {
        let process = self.process(node);
        let Some(at) = at else { return };
        let at = process.started + at.since_start();
        if process.wake.is_none_or(|wake| at < wake) {
            process.wake = Some(at);
            let life = process.life;
            let at = at.max(self.now);
            self.at(at, Event::Wake { node, life });
        }
    }
}

/// The scheduler's shell.
impl World {
    fn scheduler_receives(&mut self, link: LinkId, peer: Node, message: Message) {
        let is_hello = matches!(message, Message::HelloBuilder { .. } | Message::HelloClient);
        if is_hello && let Some(old) = self.scheduler.links.insert(peer, link).filter(|&old| old != link) {
            self.hang_up(old);
        }
        if self.scheduler.links.get(&peer) != Some(&link) {
            return;
        }
        match (message, peer) {
            (Message::HelloBuilder { outstanding }, Node::Builder(number)) => {
                self.welcome_builder(link, number, outstanding);
            }
            (Message::HelloClient, Node::Client(_)) => {
                self.send(link, Side::Peer, Message::WelcomeClient);
                let client = self.client_id(peer);
                self.feed_scheduler(scheduler::Input::ClientJoined { client, name: format!("{peer:?}") });
            }
            (Message::ToScheduler(input), _) => {
                let is_heartbeat = matches!(input, scheduler::Input::BuilderHeartbeat { .. });
                self.feed_scheduler(input);
                if is_heartbeat && let Node::Builder(number) = peer {
                    self.send_clock(number);
                }
            }
            (message, peer) => panic!("{peer:?} said {message:?}"),
        }
    }

    fn welcome_builder(&mut self, link: LinkId, number: usize, outstanding: Vec<LeaseId>) {
        let key = Digest::of(&self.chance.number().to_le_bytes());
        let builder = &self.builders[number];
        let id = builder.id;
        let input = scheduler::Input::BuilderJoined {
            builder: id,
            name: format!("builder {number}"),
            addresses: Vec::new(),
            slots: builder.slots,
            architecture: builder.architecture.clone(),
            level: IsaLevel::default(),
            outstanding,
        };
        let draining = builder.draining;
        self.scheduler.keys.insert(id, key);
        let now = self.clock(Node::Scheduler);
        self.scheduler.machine.handle(now, input);
        let epoch = self.scheduler.machine.epoch(id).expect("it has just joined");
        self.send(link, Side::Peer, Message::WelcomeBuilder { key, now, epoch });
        self.drain_scheduler();
        if draining {
            self.drain(Node::Builder(number), true);
        }
    }

    fn send_clock(&mut self, number: usize) {
        let Some(&link) = self.scheduler.links.get(&Node::Builder(number)) else { return };
        let now = self.clock(Node::Scheduler);
        if let Some(epoch) = self.scheduler.machine.epoch(self.builders[number].id) {
            self.send(link, Side::Peer, Message::Clock { now, epoch });
        }
    }

    fn feed_scheduler(&mut self, input: scheduler::Input) {
        let now = self.clock(Node::Scheduler);
        self.scheduler.machine.handle(now, input);
        self.drain_scheduler();
    }

    fn drain_scheduler(&mut self) {
        while let Some(output) = self.scheduler.machine.poll_output() {
            self.note(|| format!("  scheduler: {output:?}"));
            self.perform_for_scheduler(output);
        }
        let alarm = self.scheduler.machine.poll_timeout();
        self.set_alarm(Node::Scheduler, alarm);
    }

    fn perform_for_scheduler(&mut self, output: scheduler::Output) {
        use scheduler::Output;
        match output {
            Output::Granted { client, class, lease, builder, slots, expires, epoch } => {
                let mut lease = Lease {
                    id: lease,
                    builder,
                    builder_name: builder.to_string(),
                    addresses: Vec::new(),
                    slots,
                    expires,
                    epoch,
                    mac: Digest::of(b""),
                };
                lease.mac = lease.code(&self.scheduler.keys[&builder], client);
                self.tell_client(client, client::Input::Granted { lease, class });
            }
            Output::Revoked { client, lease } => self.tell_client(client, client::Input::Revoked { lease }),
            Output::Recalled { client, lease } => self.tell_client(client, client::Input::Recalled { lease }),
            Output::Hopeless { client, class, hopeless } => {
                self.tell_client(client, client::Input::Hopeless { class, hopeless });
            }
            Output::Epoch { builder, .. } => {
                let number = self.builders.iter().position(|known| known.id == builder).expect("a known builder");
                self.send_clock(number);
            }
            Output::Quarantined { .. } => {}
            Output::CloseBuilder { builder } => {
                let number = self.builders.iter().position(|known| known.id == builder).expect("a known builder");
                self.close(Node::Builder(number));
            }
            Output::CloseClient { client } => {
                let number = self.clients.iter().position(|known| known.id == client).expect("a known client");
                self.close(Node::Client(number));
            }
        }
    }

    fn tell_client(&mut self, client: ClientId, input: client::Input) {
        let number = self.clients.iter().position(|known| known.id == client).expect("a known client");
        if let Some(&link) = self.scheduler.links.get(&Node::Client(number)) {
            self.send(link, Side::Peer, Message::ToClient(input));
        }
    }

    fn close(&mut self, node: Node) {
        if let Some(link) = self.scheduler.links.remove(&node) {
            self.hang_up(link);
        }
    }
}

/// The builder's shell.
impl World {
    fn builder_receives(&mut self, number: usize, message: Message) {
        let here = self.clock(Node::Builder(number));
        let machine = &mut self.builders[number].machine;
        match message {
            Message::WelcomeBuilder { key, now, epoch } => machine.welcomed(here, key, now, epoch),
            Message::Clock { now, epoch } => machine.clock(here, now, epoch),
            message => panic!("builder {number} was told {message:?}"),
        }
    }

    fn job_arrives(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (number, life) = attempt.builder;
        let (client, job, lease) = (attempt.client.0, attempt.job, attempt.lease.clone());
        if !self.is_alive(Node::Builder(number), life) || self.process(Node::Builder(number)).unplugged {
            return self.break_attempt(id);
        }
        let now = self.clock(Node::Builder(number));
        let client = self.clients[client].id;
        match self.builders[number].machine.admit(now, client, &lease, job) {
            Admission::Admitted => {
                self.builders[number].jobs.insert(job, id);
                let takes = self.attempts[&id].takes;
                self.after(takes, Event::JobDone(id));
            }
            Admission::Refused { why, message } => {
                assert!(why != Refusal::Request, "{message}");
                let failure = Failure::Lease(Why::new(Reason::BuilderRefused, message));
                self.reply(id, Report::Failed(failure));
            }
        }
    }

    fn job_done(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (number, life) = attempt.builder;
        let job = attempt.job;
        if !self.is_alive(Node::Builder(number), life) || !self.builders[number].jobs.contains_key(&job) {
            return;
        }
        let breaks = self.chance.happens(self.faults.job);
        let is_sick = self.faults.sick == Some(self.attempts[&id].client.0);
        self.end_job(id, if breaks { JobEnd::Failed } else { JobEnd::Finished });
        let fault = || Report::Failed(Failure::Builder(Reason::BuilderFault.into()));
        self.reply(id, if breaks || is_sick { fault() } else { Report::Finished });
    }

    fn end_job(&mut self, id: AttemptId, how: JobEnd) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (number, life) = attempt.builder;
        let job = attempt.job;
        if self.is_alive(Node::Builder(number), life) && self.builders[number].jobs.remove(&job).is_some() {
            self.builders[number].machine.ended(job, how);
        }
    }

    fn reply(&mut self, id: AttemptId, report: Report) {
        let attempt = &self.attempts[&id];
        let (client, builder) = (Node::Client(attempt.client.0), Node::Builder(attempt.builder.0));
        if self.process(client).unplugged || self.process(builder).unplugged {
            return;
        }
        let time = self.hop();
        self.after(time, Event::Report { attempt: id, report });
    }

    fn check_builders(&self) {
        for builder in &self.builders {
            assert!(builder.jobs.len() <= builder.slots as usize, "{} runs too many jobs", builder.id);
            assert_eq!(builder.jobs.len(), builder.machine.snapshot().running as usize, "{} leaks", builder.id);
        }
    }
}

/// The client's shell, and the build before it.
impl World {
    fn client_receives(&mut self, number: usize, message: Message) {
        match message {
            Message::WelcomeClient => {
                self.clients[number].linked = true;
                self.feed_client(number, client::Input::SchedulerUp);
            }
            Message::ToClient(input) => self.feed_client(number, input),
            message => panic!("client {number} was told {message:?}"),
        }
    }

    /// Keeps `parallel` units under way while there are any.
    fn submit(&mut self, number: usize) {
        while self.clients[number].build.todo > 0
            && self.clients[number].build.running.len() < self.clients[number].build.parallel
            && self.clients[number].process.up
        {
            let request = RequestId(self.id());
            let build = &mut self.clients[number].build;
            build.todo -= 1;
            build.running.insert(request);
            let toolchain = (request.0 % u64::from(build.toolchains)) as u8;
            let class = Class {
                toolchain: ToolchainId(Digest::of(&[toolchain])),
                architecture: "x86_64".to_owned(),
                level: IsaLevel::default(),
            };
            if self.chance.happens(self.faults.abandon) {
                let time = self.chance.millis(0, 2000);
                self.after(time, Event::Abandon { request });
            }
            self.feed_client(number, client::Input::Arrived { request, class });
        }
    }

    fn feed_client(&mut self, number: usize, input: client::Input) {
        let now = self.clock(Node::Client(number));
        self.clients[number].machine.handle(now, input);
        self.drain_client(number);
    }

    fn drain_client(&mut self, number: usize) {
        while let Some(output) = self.clients[number].machine.poll_output() {
            self.note(|| format!("  client {number}: {output:?}"));
            self.perform_for_client(number, output);
        }
        let alarm = self.clients[number].machine.poll_timeout();
        self.set_alarm(Node::Client(number), alarm);
    }

    fn perform_for_client(&mut self, number: usize, output: client::Output) {
        use client::Output;
        let client = self.clients[number].id;
        let node = Node::Client(number);
        match output {
            Output::RunRemote { request, lease } => self.run_remote(number, request, lease),
            Output::RunLocal { request, why } => {
                assert!(self.clients[number].build.running.contains(&request), "{request} runs after its end");
                assert_eq!(self.local.insert(request, why), None, "{request} runs here twice");
                let life = self.clients[number].process.life;
                let time = self.chance.millis(100, 1000);
                self.after(time, Event::LocalDone { client: number, life, request });
            }
            Output::Cancel { request, .. } => {
                let attempt = self.clients[number].attempts.remove(&request).expect("only what runs is cancelled");
                let time = self.hop();
                self.after(time, Event::JobCancelled(attempt));
            }
            Output::Demand { class, slots } => {
                self.tell_scheduler(node, scheduler::Input::Demand { client, class, slots });
            }
            Output::Return { lease } => self.tell_scheduler(node, scheduler::Input::Returned { client, lease }),
            Output::Complain { builder, lease, about, .. } => {
                self.tell_scheduler(node, scheduler::Input::Complaint { client, builder, lease, about });
            }
        }
    }

    fn run_remote(&mut self, number: usize, request: RequestId, lease: Lease) {
        assert!(self.clients[number].build.running.contains(&request), "{request} runs after its end");
        let at = self.builders.iter().position(|known| known.id == lease.builder).expect("a known builder");
        let id = self.id();
        let (from, to) = self.clients[number].build.job;
        let slow = if self.chance.happens(self.faults.slow) { 30 } else { 1 };
        let attempt = Attempt {
            request,
            client: (number, self.clients[number].process.life),
            builder: (at, self.builders[at].process.life),
            lease,
            job: JobId { instance: Instance(number as u64), number: id },
            takes: self.chance.millis(from, to) * slow,
        };
        self.attempts.insert(id, attempt);
        assert_eq!(self.clients[number].attempts.insert(request, id), None, "{request} has two attempts");
        let is_cut = self.process(Node::Client(number)).unplugged;
        let time = self.hop();
        if is_cut { self.break_attempt(id) } else { self.after(time, Event::JobArrives(id)) }
    }

    fn report(&mut self, id: AttemptId, report: Report) {
        let attempt = &self.attempts[&id];
        let (request, (number, life), builder) = (attempt.request, attempt.client, attempt.builder.0);
        let is_current = self.clients[number].attempts.get(&request) == Some(&id);
        if !self.is_alive(Node::Client(number), life) || !is_current {
            return;
        }
        self.clients[number].attempts.remove(&request);
        match report {
            Report::Finished => {
                self.verdict(number, request, Verdict::Remote(builder));
                self.clients[number].build.running.remove(&request);
                self.feed_client(number, client::Input::RemoteFinished { request });
                self.submit(number);
            }
            Report::Failed(failure) => {
                self.feed_client(number, client::Input::RemoteFailed { request, failure });
            }
        }
    }

    fn local_done(&mut self, number: usize, life: u64, request: RequestId) {
        if !self.is_alive(Node::Client(number), life) {
            return;
        }
        let Some(why) = self.local.remove(&request) else { return };
        self.verdict(number, request, Verdict::Local(why));
        self.clients[number].build.running.remove(&request);
        self.feed_client(number, client::Input::LocalEnded { request });
        self.submit(number);
    }

    fn abandon(&mut self, request: RequestId) {
        let Some(number) = self.clients.iter().position(|client| client.build.running.contains(&request)) else {
            return;
        };
        self.local.remove(&request);
        self.verdict(number, request, Verdict::Abandoned);
        self.clients[number].build.running.remove(&request);
        self.feed_client(number, client::Input::Abandoned { request });
        assert!(!self.clients[number].attempts.contains_key(&request), "an abandoned unit runs on");
        self.submit(number);
    }

    fn verdict(&mut self, number: usize, request: RequestId, verdict: Verdict) {
        self.note(|| format!("  unit {request} of client {number}: {verdict:?}"));
        let first = self.verdicts.insert(request, (number, verdict));
        assert_eq!(first, None, "unit {request} has two verdicts");
    }
}

/// What tests look at.
impl World {
    pub(crate) fn is_done(&self) -> bool {
        self.clients.iter().all(|client| client.build.todo == 0 && client.build.running.is_empty())
    }

    pub(crate) fn is_done_for(&self, client: usize) -> bool {
        self.clients[client].build.todo == 0 && self.clients[client].build.running.is_empty()
    }

    pub(crate) fn farm(&self) -> FarmStatus {
        let started = self.scheduler.process.started;
        self.scheduler.machine.snapshot(Moment::after_start(self.now.since(started)))
    }

    /// Every builder there and ready, every slot free, nobody waits, nobody holds anything.
    pub(crate) fn is_whole(&self) -> bool {
        let farm = self.farm();
        let is_free = farm.builders.iter().all(|builder| builder.state == "ready" && builder.leased == 0);
        let is_idle = |client: &ClientNode| client.linked && client.machine.snapshot() == client::Snapshot::default();
        let runs_nothing = self.builders.iter().all(|builder| builder.jobs.is_empty());
        farm.builders.len() == self.builders.len()
            && farm.clients as usize == self.clients.len()
            && farm.queued == 0
            && is_free
            && self.clients.iter().all(is_idle)
            && runs_nothing
    }

    pub(crate) fn count(&self, is: impl Fn(usize, &Verdict) -> bool) -> usize {
        self.verdicts.values().filter(|(client, verdict)| is(*client, verdict)).count()
    }

    /// Units sent to builders, each time that one was.
    pub(crate) fn n_attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(crate) fn remote(&self, client: usize) -> usize {
        self.count(|of, verdict| of == client && matches!(verdict, Verdict::Remote(_)))
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a failing test")]
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.tail {
                eprintln!("{line}");
            }
            eprintln!("{:?}", self.farm());
            eprintln!("replay with SIM_SEED={}", self.seed);
        }
    }
}

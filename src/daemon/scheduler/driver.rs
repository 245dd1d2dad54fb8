//! The loop: events of links in, engine's outputs out.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::drained::Drained;
use super::session::{Door, Secrets, located};
use crate::daemon::link::{LINK_QUEUE, drain_queue, next_message, printable};
use crate::daemon::pulse::Pulse;
use crate::daemon::reload::Reload;
use crate::engine::config::SchedulerConfig;
use crate::engine::scheduler::{self, Blame, Input, Output, Scheduler, Settings};
use crate::engine::wire::farm::{
    BuilderOffer, BuilderStatus, BuilderToScheduler, ClientToScheduler, FarmStatus, Grievance, Lease, Refusal,
    SchedulerToBuilder, SchedulerToClient,
};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, Instance};
use crate::model::limits::{ARCHITECTURE_BYTES_MAX, DETAIL_CHARS_MAX};
use crate::model::moment::Moment;
use crate::model::report::BuilderReport;
use crate::os::bus::{Order, OrderError, SchedulerOrder, SchedulerSnapshot};
use crate::os::clock::Clock;
use crate::os::net::{self, FrameReader, FrameWriter, Identity};
use crate::os::systemd::messages;

/// All that a scheduler is made of; the same from systemd, a terminal or a test.
#[derive(Debug)]
pub struct Setup {
    pub listeners: Vec<TcpListener>,
    pub identity: Identity,
    pub client_secret: String,
    pub builder_secret: String,
    pub instance: Instance,
    /// For the bus.
    pub snapshot: watch::Sender<SchedulerSnapshot>,
    /// From the bus.
    pub orders: mpsc::Receiver<Order<SchedulerOrder>>,
    /// None where there is no configuration to read again.
    pub reload: Option<Reload>,
    /// What was ordered before, and where that is kept.
    pub drained: Drained,
    pub pulse: Pulse,
}

/// As few digits of an id may stand for it.
const ID_DIGITS_MIN: usize = 6;
/// Events that may wait for the loop.
const INBOX: usize = 4096;
/// Status, watchdog and timers are looked at this often at least.
const TICK: Duration = Duration::from_secs(1);

/// Runs until `shutdown` is ready.
///
/// # Errors
/// Where TLS cannot be set up.
pub async fn run(mut setup: Setup, shutdown: impl Future<Output = ()>) -> Result<(), rustls::Error> {
    let (inbox, mut events) = mpsc::channel(INBOX);
    let secrets = Secrets { client: setup.client_secret, builder: setup.builder_secret };
    let door = Arc::new(Door { secrets, inbox: inbox.clone() });
    let identity = Arc::new(setup.identity);
    let mut listening = JoinSet::new();
    for listener in setup.listeners {
        let (door, identity) = (door.clone(), identity.clone());
        listening.spawn(async move { net::serve(listener, &identity, door).await });
    }
    let mut driver = Driver {
        clock: Clock::new(),
        instance: setup.instance,
        engine: Scheduler::new(Settings { drained: setup.drained.ids(), ..Settings::new(setup.instance) }),
        drained: setup.drained,
        reload: setup.reload,
        clients: BTreeMap::new(),
        builders: BTreeMap::new(),
        next_link: 0,
        links: JoinSet::new(),
        inbox,
    };
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(shutdown);
    loop {
        driver.perform();
        let timer = driver.engine.poll_timeout().map(|at| driver.clock.instant(at));
        tokio::select! {
            Some(event) = events.recv() => driver.handle(event),
            () = until(timer) => driver.engine.handle_timeout(driver.clock.now()),
            Some(order) = setup.orders.recv() => {
                let is_reload = order.what == SchedulerOrder::Reload;
                driver.obey(order);
                let now = driver.clock.now();
                let status = driver.engine.snapshot(now);
                if is_reload {
                    setup.pulse.reloaded(now, &describe(&status));
                }
                // What it asked for is seen at once.
                setup.snapshot.send_replace(snapshot(status));
            }
            _ = tick.tick() => {
                let now = driver.clock.now();
                let status = driver.engine.snapshot(now);
                setup.pulse.beat(now, true, &describe(&status));
                setup.snapshot.send_replace(snapshot(status));
            }
            Some(ended) = listening.join_next() => {
                if let Ok(Err(error)) = ended {
                    return Err(error);
                }
            }
            Some(_) = driver.links.join_next() => {}
            () = &mut shutdown => {
                setup.pulse.stopping();
                return Ok(());
            }
        }
    }
}

fn snapshot(farm: FarmStatus) -> SchedulerSnapshot {
    let recovering = farm.builders.iter().any(|builder| builder.state == "recovering");
    let sum = |count: fn(&BuilderStatus) -> u64| farm.builders.iter().map(count).sum::<u64>();
    let slots = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    SchedulerSnapshot {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: if recovering { "recovering" } else { "ready" }.to_owned(),
        clients: farm.clients,
        queued: farm.queued,
        slots_total: slots(sum(|builder| builder.slots.into())),
        slots_used: slots(sum(|builder| builder.leased.into())),
        jobs_completed: sum(|builder| builder.finished),
        jobs_failed: sum(|builder| builder.failed),
        builders: farm.builders.into_iter().map(BuilderReport::from).collect(),
    }
}

/// One line for `systemctl status`.
fn describe(status: &FarmStatus) -> String {
    let slots: u32 = status.builders.iter().map(|builder| builder.slots).sum();
    let leased: u32 = status.builders.iter().map(|builder| builder.leased).sum();
    format!(
        "{} builders, {leased} of {slots} slots leased, {} clients, {} slots wanted",
        status.builders.len(),
        status.clients,
        status.queued
    )
}

/// Waits for a deadline, or for ever where there is none.
async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What links tell the loop.
pub(super) enum Event {
    ClientJoined { client: ClientId, joined: Joined },
    BuilderJoined { builder: BuilderId, offer: BuilderOffer, joined: Joined },
    FromClient { client: ClientId, link: u64, message: ClientToScheduler },
    FromBuilder { builder: BuilderId, link: u64, message: BuilderToScheduler },
    ClientEnded { client: ClientId, link: u64 },
    BuilderEnded { builder: BuilderId, link: u64 },
}

/// A proven peer that wants in.
pub(super) struct Joined {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Where it found this scheduler.
    pub(super) local: SocketAddr,
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    pub(super) reply: oneshot::Sender<Result<Grant, Refusal>>,
}

/// What the peer is welcomed with. The greeting goes out before anything queued: the queue starts when the writer comes back.
pub(super) struct Grant {
    pub(super) instance: Instance,
    pub(super) lease_key: Option<Digest>,
    pub(super) now: Moment,
    pub(super) epoch: u64,
    pub(super) writer: FrameWriter,
    pub(super) start: oneshot::Sender<FrameWriter>,
}

struct ClientLink {
    link: u64,
    /// Where it finds this machine, and so a builder on it.
    here: IpAddr,
    queue: mpsc::Sender<SchedulerToClient>,
}

struct BuilderLink {
    link: u64,
    name: String,
    /// Without a host where the builder is on this machine.
    addresses: Vec<String>,
    lease_key: Digest,
    epoch: u64,
    queue: mpsc::Sender<SchedulerToBuilder>,
}

struct Driver {
    clock: Clock,
    instance: Instance,
    engine: Scheduler,
    drained: Drained,
    reload: Option<Reload>,
    clients: BTreeMap<ClientId, ClientLink>,
    builders: BTreeMap<BuilderId, BuilderLink>,
    next_link: u64,
    links: JoinSet<()>,
    inbox: mpsc::Sender<Event>,
}

impl Driver {
    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientJoined { client, joined } => self.client_joined(client, joined),
            Event::BuilderJoined { builder, offer, joined } => self.builder_joined(builder, offer, joined),
            Event::FromClient { client, link, message } => {
                if self.clients.get(&client).is_some_and(|known| known.link == link) {
                    self.client_says(client, message);
                }
            }
            Event::FromBuilder { builder, link, message } => {
                if self.builders.get(&builder).is_some_and(|known| known.link == link) {
                    self.builder_says(builder, message);
                }
            }
            Event::ClientEnded { client, link } => {
                if self.clients.get(&client).is_some_and(|known| known.link == link) {
                    self.clients.remove(&client);
                    tracing::debug!(farcc_client = %client, "client gone");
                    self.feed(Input::ClientLost { client });
                }
            }
            Event::BuilderEnded { builder, link } => {
                if self.builders.get(&builder).is_some_and(|known| known.link == link) {
                    self.lose_builder(builder);
                }
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
        self.perform();
    }

    fn client_joined(&mut self, client: ClientId, joined: Joined) {
        if !self.engine.has_room_for_client(client) {
            drop(joined.reply.send(Err(Refusal::Full)));
            return;
        }
        let (link, queue) = self.start(
            joined.reader,
            move |link, message| Event::FromClient { client, link, message },
            move |link| Event::ClientEnded { client, link },
        );
        let (queue, start) = queue;
        let grant = self.grant(None, 0, joined.writer, start);
        self.clients.insert(client, ClientLink { link, here: joined.local.ip(), queue });
        tracing::debug!(farcc_client = %client, name = joined.name, farcc_peer = %joined.address, "client joined");
        self.feed(Input::ClientJoined { client, name: joined.name });
        drop(joined.reply.send(Ok(grant)));
    }

    fn builder_joined(&mut self, builder: BuilderId, offer: BuilderOffer, joined: Joined) {
        if !self.engine.has_room_for_builder(builder) {
            drop(joined.reply.send(Err(Refusal::Full)));
            return;
        }
        let (link, (queue, start)) = self.start(
            joined.reader,
            move |link, message| Event::FromBuilder { builder, link, message },
            move |link| Event::BuilderEnded { builder, link },
        );
        let lease_key = random_key();
        let name = joined.name.clone();
        tracing::info!(
            message_id = messages::BUILDER_JOINED,
            farcc_builder = name,
            farcc_peer = %joined.address,
            slots = offer.slots,
            "builder joined"
        );
        let addresses = offer.addresses.clone();
        self.builders.insert(builder, BuilderLink { link, name, addresses, lease_key, epoch: 0, queue });
        self.feed(Input::BuilderJoined {
            builder,
            name: joined.name,
            addresses: located(&offer.addresses, joined.address.ip()),
            slots: offer.slots,
            architecture: offer.architecture,
            level: offer.level,
            outstanding: offer.outstanding,
        });
        let epoch = self.builders.get(&builder).map_or(0, |known| known.epoch);
        let grant = self.grant(Some(lease_key), epoch, joined.writer, start);
        drop(joined.reply.send(Ok(grant)));
    }

    fn lose_builder(&mut self, builder: BuilderId) {
        if let Some(known) = self.builders.remove(&builder) {
            tracing::warn!(
                message_id = messages::BUILDER_LOST,
                farcc_builder = known.name,
                "builder lost; its leases are revoked until it comes back"
            );
        }
        self.feed(Input::BuilderLost { builder });
    }

    fn grant(
        &self,
        lease_key: Option<Digest>,
        epoch: u64,
        writer: FrameWriter,
        start: oneshot::Sender<FrameWriter>,
    ) -> Grant {
        Grant { instance: self.instance, lease_key, now: self.clock.now(), epoch, writer, start }
    }

    /// Starts the two tasks of a link: one reads into the inbox, one writes what is queued, once it gets its writer.
    fn start<In: DeserializeOwned + Send + 'static, Out: Serialize + Send + Sync + 'static>(
        &mut self,
        mut reader: FrameReader,
        message_event: impl Fn(u64, In) -> Event + Send + Sync + 'static,
        end_event: impl FnOnce(u64) -> Event + Send + 'static,
    ) -> (u64, (mpsc::Sender<Out>, oneshot::Sender<FrameWriter>)) {
        let link = self.next_link;
        self.next_link += 1;
        let (queue, queued) = mpsc::channel(LINK_QUEUE);
        let (start, started) = oneshot::channel();
        let inbox = self.inbox.clone();
        self.links.spawn(async move {
            let writing = async {
                if let Ok(writer) = started.await {
                    drain_queue(queued, writer).await;
                }
            };
            let reading = async {
                while let Some(message) = next_message(&mut reader).await {
                    if inbox.send(message_event(link, message)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { () = writing => {} () = reading => {} }
            drop(inbox.send(end_event(link)).await);
        });
        (link, (queue, start))
    }

    fn client_says(&mut self, client: ClientId, message: ClientToScheduler) {
        match message {
            ClientToScheduler::Demand { class, .. } if class.architecture.len() > ARCHITECTURE_BYTES_MAX => {
                tracing::warn!(
                    message_id = messages::PEER_REFUSED,
                    farcc_peer = %client,
                    farcc_reason = "no architecture has such a long name",
                    "ended a client's link"
                );
                self.end_client(client);
            }
            ClientToScheduler::Demand { class, slots } => self.feed(Input::Demand { client, class, slots }),
            ClientToScheduler::Return { lease } => self.feed(Input::Returned { client, lease }),
            ClientToScheduler::Complain { builder, lease, detail, about } => {
                let name = self.builders.get(&builder).map_or("unknown", |known| known.name.as_str());
                let consequence = match about {
                    Grievance::Work => "for a while",
                    Grievance::Toolchain => "for this toolchain",
                };
                tracing::warn!(
                    farcc_builder = name,
                    farcc_lease = %lease,
                    farcc_client = %client,
                    farcc_reason = printable(&detail, DETAIL_CHARS_MAX),
                    "a client complains of a builder, and gets no slots there {consequence}"
                );
                self.feed(Input::Complaint { client, builder, lease, about });
            }
            ClientToScheduler::Heartbeat => {
                self.feed(Input::ClientHeartbeat { client });
                self.tell_client(client, SchedulerToClient::Heartbeat);
            }
            ClientToScheduler::Status => {
                let status = self.engine.snapshot(self.clock.now());
                self.tell_client(client, SchedulerToClient::Status(status));
            }
        }
    }

    fn builder_says(&mut self, builder: BuilderId, message: BuilderToScheduler) {
        match message {
            BuilderToScheduler::Heartbeat { outstanding, finished, failed, slots } => {
                self.feed(Input::BuilderHeartbeat { builder, outstanding, finished, failed, slots });
                self.tell_clock(builder);
            }
            BuilderToScheduler::Draining { draining } => self.feed(Input::BuilderDraining { builder, draining }),
        }
    }

    fn obey(&mut self, order: Order<SchedulerOrder>) {
        let answer = match order.what {
            SchedulerOrder::Builder(builder, what) => self.order_builder(&builder, what),
            SchedulerOrder::Reload => self.reload(),
        };
        drop(order.reply.send(answer.map(|()| 0)));
    }

    fn order_builder(&mut self, wanted: &str, order: scheduler::Order) -> Result<(), OrderError> {
        let (builder, name) = self.find_builder(wanted)?;
        let before = self.drained.clone();
        self.drained.note(builder, &name, order);
        // First what has to last: an order that the next start forgets is none.
        if let Err(error) = self.drained.save_if_new(&before) {
            self.drained = before;
            return Err(OrderError::Failed(format!("cannot keep the order: {error}")));
        }
        let words = match order {
            scheduler::Order::Drain => "drained".to_owned(),
            scheduler::Order::Resume => "resumed".to_owned(),
            scheduler::Order::Quarantine(time) => format!("quarantined for {} s", time.as_secs()),
            scheduler::Order::Forget => "forgotten".to_owned(),
        };
        tracing::info!(
            message_id = messages::BUILDER_ORDERED,
            farcc_builder = name,
            farcc_reason = words,
            "an administrator's order about a builder"
        );
        self.feed(Input::Ordered { builder, order });
        Ok(())
    }

    /// The builder of this name or id, or whose id begins so: one that is connected, or drained and away.
    fn find_builder(&self, wanted: &str) -> Result<(BuilderId, String), OrderError> {
        let connected = self.builders.iter().map(|(id, known)| (*id, known.name.clone()));
        let all: BTreeMap<BuilderId, String> = self.drained.named().chain(connected).collect();
        let is_meant = |id: &BuilderId, name: &str| {
            name == wanted || (wanted.len() >= ID_DIGITS_MIN && id.to_string().starts_with(wanted))
        };
        let mut meant = all.into_iter().filter(|(id, name)| is_meant(id, name));
        match (meant.next(), meant.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => {
                Err(OrderError::Invalid(format!("several builders are called {wanted}; name one by its id")))
            }
            (None, _) => Err(OrderError::NotFound(format!("no builder {wanted} is connected, or drained"))),
        }
    }

    fn reload(&mut self) -> Result<(), OrderError> {
        let Some(reload) = &mut self.reload else { return Ok(()) };
        let reread = reload.reread::<SchedulerConfig>().map_err(OrderError::Failed)?;
        reload.report(&reread, &[]);
        Ok(())
    }

    fn tell_clock(&mut self, builder: BuilderId) {
        if let Some(known) = self.builders.get(&builder) {
            let clock = SchedulerToBuilder::Clock { now: self.clock.now(), epoch: known.epoch };
            // A full queue is a builder that does not read; silence will end its link.
            drop(known.queue.try_send(clock));
        }
    }

    fn tell_client(&mut self, client: ClientId, message: SchedulerToClient) {
        if self.clients.get(&client).is_some_and(|known| known.queue.try_send(message).is_err()) {
            // It has stopped reading.
            self.end_client(client);
        }
    }

    /// Dropping its queue ends the link.
    fn end_client(&mut self, client: ClientId) {
        self.clients.remove(&client);
        self.engine.handle(self.clock.now(), Input::ClientLost { client });
    }

    fn perform(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Granted { client, lease, class, builder, slots, expires, epoch } => {
                    let (Some(known), Some(asking)) = (self.builders.get(&builder), self.clients.get(&client)) else {
                        continue;
                    };
                    let mut lease = Lease {
                        id: lease,
                        builder,
                        builder_name: known.name.clone(),
                        addresses: located(&known.addresses, asking.here),
                        slots,
                        expires,
                        epoch,
                        mac: Digest::from_bytes([0; Digest::BYTES]),
                    };
                    lease.mac = lease.code(&known.lease_key, client);
                    tracing::debug!(farcc_lease = %lease.id, farcc_builder = lease.builder_name, farcc_client = %client, "lease granted");
                    self.tell_client(client, SchedulerToClient::Granted { lease, class });
                }
                Output::Revoked { client, lease } => {
                    tracing::debug!(farcc_lease = %lease, farcc_client = %client, "lease revoked");
                    self.tell_client(client, SchedulerToClient::Revoked { lease });
                }
                Output::Recalled { client, lease } => self.tell_client(client, SchedulerToClient::Recalled { lease }),
                Output::Hopeless { client, class, hopeless } => {
                    self.tell_client(client, SchedulerToClient::Hopeless { class, hopeless });
                }
                Output::Epoch { builder, epoch } => {
                    if let Some(known) = self.builders.get_mut(&builder) {
                        known.epoch = epoch;
                    }
                    self.tell_clock(builder);
                }
                Output::Quarantined { builder, why } => {
                    let name = self.builders.get(&builder).map_or("unknown", |known| known.name.as_str());
                    let reason = match why {
                        Blame::Clients => "two clients complain of it, and it finished nothing in between",
                        Blame::Itself => "it reports a job that it could not run",
                    };
                    tracing::warn!(
                        message_id = messages::BUILDER_QUARANTINED,
                        farcc_builder = name,
                        farcc_reason = reason,
                        "a builder gets no work for a while"
                    );
                }
                Output::CloseBuilder { builder } => {
                    if let Some(known) = self.builders.remove(&builder) {
                        tracing::warn!(
                            message_id = messages::BUILDER_LOST,
                            farcc_builder = known.name,
                            "builder silent; its leases are revoked until it comes back"
                        );
                    }
                }
                Output::CloseClient { client } => {
                    self.clients.remove(&client);
                }
            }
        }
    }
}

/// A key that nobody can guess.
fn random_key() -> Digest {
    Digest::from_bytes(crate::os::random::bytes())
}

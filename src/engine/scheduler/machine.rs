//! The machine: peers come and go, demand rises and falls, and after each event free slots find claimants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::engine::scheduler::builders::{Builder, Counts, Health, Offer, Room, Whom, roomiest};
use crate::engine::scheduler::leases::{Granted, LeaseTable};
use crate::engine::scheduler::share::{self, Claim, Recall};
use crate::engine::scheduler::{Blame, Input, Output, Settings, Snapshot};
use crate::engine::wire::farm::{BuilderStatus, Class, Grievance};
use crate::model::id::{BuilderId, ClientId, LeaseId};
use crate::model::limits::{BUILDERS_MAX, CLASSES_MAX, CLIENTS_MAX, MISFITS_MAX, REQUESTS_MAX, SLOTS_MAX};
use crate::model::moment::{Moment, Timers};
use crate::model::toolchain::ToolchainId;

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) claims: BTreeMap<Class, Demand>,
    /// Builders that cannot run a toolchain of its, by its own account: nobody else has to believe it.
    pub(super) misfits: BTreeSet<(ToolchainId, BuilderId)>,
}

/// What a client said about one class, and was told.
#[derive(Debug, Default)]
pub(super) struct Demand {
    pub(super) wanted: u32,
    /// Number of the last lease given.
    served: u64,
    /// The client believes that no builder will come. Kept while it is connected, so that it hears when one does.
    pub(super) told_hopeless: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    BuilderSilence(BuilderId),
    ClientSilence(ClientId),
    Renewal(LeaseId),
    PauseEnd(BuilderId, Whom),
    Forgetting(BuilderId, Whom),
    /// Somebody's turn on this architecture may be over.
    Turn(String),
    /// A builder of this architecture has been given long enough to come (back).
    Missing(String),
}

#[derive(Debug)]
pub struct Scheduler {
    pub(super) settings: Settings,
    pub(super) builders: BTreeMap<BuilderId, Builder>,
    /// Builders with failures, by whom they failed.
    pub(super) health: BTreeMap<(BuilderId, Whom), Health>,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) leases: LeaseTable,
    /// Those that get no leases by order of the administrator.
    pub(super) drained: BTreeSet<BuilderId>,
    /// Architectures whose last builder went away, and until when it may come back before anybody is told.
    pub(super) missing: BTreeMap<String, Moment>,
    n_leases: u64,
    /// Counts for all builders together, so that one that was forgotten cannot come back to an epoch it had before.
    n_epochs: u64,
    pub(super) timers: Timers<Timer>,
    pub(super) outputs: VecDeque<Output>,
}

impl Scheduler {
    pub fn new(settings: Settings) -> Self {
        Self {
            drained: settings.drained.clone(),
            settings,
            builders: BTreeMap::new(),
            health: BTreeMap::new(),
            clients: BTreeMap::new(),
            leases: LeaseTable::default(),
            missing: BTreeMap::new(),
            n_leases: 0,
            n_epochs: 0,
            timers: Timers::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Peers that are not known (any more) are passed over: their link has ended, or is about to.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::BuilderJoined { builder, name, addresses, slots, architecture, level, outstanding } => {
                self.lose_builder(now, builder);
                let is_void = |lease: &LeaseId| self.is_void(*lease);
                let orphans = outstanding.into_iter().filter(is_void).take(SLOTS_MAX as usize).collect();
                let slots = slots.min(SLOTS_MAX);
                self.builder_joined(now, builder, Offer { name, addresses, slots, architecture, level, orphans });
            }
            Input::BuilderHeartbeat { builder, outstanding, finished, failed, slots } => {
                let is_news = self.builder_heard(now, builder, outstanding, Counts { finished, failed });
                let is_resized = slots.is_some_and(|slots| self.resize(builder, slots));
                if !is_news && !is_resized {
                    return;
                }
            }
            Input::BuilderDraining { builder, draining } => self.builder_draining(now, builder, draining),
            Input::BuilderLost { builder } => self.lose_builder(now, builder),
            Input::ClientJoined { client, name: _ } => {
                self.lose_client(now, client);
                self.client_joined(now, client);
            }
            Input::ClientHeartbeat { client } => {
                self.client_heard(now, client);
                return;
            }
            Input::Demand { client, class, slots } => self.demand(now, client, class, slots),
            Input::Returned { client, lease } => self.returned(now, client, lease),
            Input::Complaint { client, builder, lease, about } => self.complaint(now, client, builder, lease, about),
            Input::ClientLost { client } => self.lose_client(now, client),
            Input::Ordered { builder, order } => self.ordered(now, builder, order),
        }
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::BuilderSilence(builder) => {
                    self.outputs.push_back(Output::CloseBuilder { builder });
                    self.lose_builder(now, builder);
                }
                Timer::ClientSilence(client) => {
                    self.outputs.push_back(Output::CloseClient { client });
                    self.lose_client(now, client);
                }
                Timer::Renewal(lease) => self.grant(now, lease),
                Timer::Forgetting(builder, whom) => {
                    self.health.remove(&(builder, whom));
                }
                Timer::Missing(architecture) => {
                    self.missing.remove(&architecture);
                }
                // What they stand for is looked at by `settle`.
                Timer::PauseEnd(..) | Timer::Turn(_) => {}
            }
        }
        self.settle(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// What a builder is told with each answer; `None` for one that is not registered.
    pub fn epoch(&self, builder: BuilderId) -> Option<u64> {
        self.builders.get(&builder).map(|known| known.epoch)
    }

    pub fn has_room_for_builder(&self, builder: BuilderId) -> bool {
        self.builders.len() < BUILDERS_MAX || self.builders.contains_key(&builder)
    }

    pub fn has_room_for_client(&self, client: ClientId) -> bool {
        self.clients.len() < CLIENTS_MAX || self.clients.contains_key(&client)
    }

    /// The farm as it is at `now`, for people.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let builder = |(&id, builder): (&BuilderId, &Builder)| BuilderStatus {
            builder: id,
            name: builder.name.clone(),
            addresses: builder.addresses.clone(),
            architecture: builder.architecture.clone(),
            slots: builder.slots,
            leased: self.leases.count_of_builder(id),
            state: self.state(now, id, builder).to_owned(),
            finished: builder.counts.unwrap_or_default().finished,
            failed: builder.counts.unwrap_or_default().failed,
        };
        Snapshot {
            builders: self.builders.iter().map(builder).collect(),
            clients: u32::try_from(self.clients.len()).unwrap_or(u32::MAX),
            queued: self.claims(now, None).iter().map(Claim::unmet).sum(),
        }
    }

    /// Given out once, and good no more. A builder that names another lease as its own makes things up.
    fn is_void(&self, lease: LeaseId) -> bool {
        let is_future = lease.instance == self.settings.instance && lease.number > self.n_leases;
        !is_future && self.leases.find(lease).is_none()
    }

    fn state(&self, now: Moment, id: BuilderId, builder: &Builder) -> &'static str {
        if self.is_draining(id, builder) {
            "draining"
        } else if self.is_paused(now, id, Whom::Everybody) {
            "quarantined"
        } else if !builder.orphans.is_empty() {
            "recovering"
        } else {
            "ready"
        }
    }

    pub(super) fn is_paused(&self, now: Moment, builder: BuilderId, whom: Whom) -> bool {
        self.health.get(&(builder, whom)).is_some_and(|health| health.is_paused(now))
    }

    /// By its own word, or by the administrator's.
    pub(super) fn is_draining(&self, id: BuilderId, builder: &Builder) -> bool {
        builder.draining || self.drained.contains(&id)
    }

    /// Whether new leases go there.
    fn is_open(&self, now: Moment, builder: BuilderId) -> bool {
        self.builders.get(&builder).is_some_and(|known| !self.is_draining(builder, known))
            && !self.is_paused(now, builder, Whom::Everybody)
    }

    /// Whether new leases of this client for this class go there.
    fn is_open_to(&self, now: Moment, client: ClientId, class: &Class, builder: BuilderId) -> bool {
        self.is_open(now, builder)
            && !self.is_paused(now, builder, Whom::One(client))
            && self.is_fit(client, class, builder)
    }

    /// Whether the builder's machine can run the toolchain, by what it has said and by what the client has seen.
    pub(super) fn is_fit(&self, client: ClientId, class: &Class, builder: BuilderId) -> bool {
        self.builders.get(&builder).is_some_and(|known| known.level.runs(class.level))
            && !self.clients.get(&client).is_some_and(|client| client.misfits.contains(&(class.toolchain, builder)))
    }
}

/// Builders.
impl Scheduler {
    fn builder_joined(&mut self, now: Moment, id: BuilderId, offer: Offer) {
        if !self.has_room_for_builder(id) {
            self.outputs.push_back(Output::CloseBuilder { builder: id });
            return;
        }
        self.missing.remove(&offer.architecture);
        let epoch = self.next_epoch();
        self.builders.insert(id, Builder::new(offer, epoch));
        // Its machine may be another one by now.
        for client in self.clients.values_mut() {
            client.misfits.retain(|(_, misfit)| *misfit != id);
        }
        self.outputs.push_back(Output::Epoch { builder: id, epoch });
        self.timers.set(Timer::BuilderSilence(id), now + self.settings.silence);
    }

    /// True where something came of it that changes who can have which slot.
    fn builder_heard(&mut self, now: Moment, id: BuilderId, outstanding: Vec<LeaseId>, counts: Counts) -> bool {
        let Some(builder) = self.builders.get_mut(&id) else { return false };
        let news = builder.heard(outstanding, counts);
        self.timers.set(Timer::BuilderSilence(id), now + self.settings.silence);
        self.praise(now, id, Whom::Everybody, news.jobs.finished);
        for (client, n_jobs) in self.at_work(id) {
            self.praise(now, id, Whom::One(client), n_jobs);
        }
        if news.jobs.failed > 0 {
            self.quarantine(now, id, Blame::Itself);
        }
        news.freed > 0 || news.jobs.failed > 0
    }

    /// Whose jobs run there, of those that it failed. That is what the scheduler sees of good work for one client.
    fn at_work(&self, id: BuilderId) -> BTreeMap<ClientId, u64> {
        let mut n_jobs = BTreeMap::new();
        let Some(builder) = self.builders.get(&id) else { return n_jobs };
        for granted in builder.running.iter().filter_map(|lease| self.leases.find(*lease)) {
            if self.health.contains_key(&(id, Whom::One(granted.client))) {
                *n_jobs.entry(granted.client).or_default() += 1;
            }
        }
        n_jobs
    }

    fn praise(&mut self, now: Moment, id: BuilderId, whom: Whom, n_jobs: u64) {
        let Some(health) = self.health.get_mut(&(id, whom)) else { return };
        health.praise(n_jobs);
        if health.is_forgiven(now) {
            self.health.remove(&(id, whom));
            self.timers.stop(&Timer::Forgetting(id, whom));
        }
    }

    /// Keeps a builder from whom it failed, for a while. False where it already is.
    fn strike(&mut self, now: Moment, id: BuilderId, whom: Whom) -> bool {
        let health = self.health.entry((id, whom)).or_default();
        let is_new = health.strike(now);
        self.set_health_timers(id, whom);
        for lease in self.leases.of_builder(id) {
            if self.leases.find(lease).is_some_and(|granted| whom.includes(granted.client)) {
                self.recall(lease);
            }
        }
        is_new
    }

    pub(super) fn set_health_timers(&mut self, id: BuilderId, whom: Whom) {
        let Some(health) = self.health.get(&(id, whom)) else { return };
        self.timers.set(Timer::PauseEnd(id, whom), health.paused_until);
        self.timers.set(Timer::Forgetting(id, whom), health.forgotten_at());
    }

    fn builder_draining(&mut self, now: Moment, id: BuilderId, draining: bool) {
        let Some(builder) = self.builders.get_mut(&id) else { return };
        builder.draining = draining;
        self.timers.set(Timer::BuilderSilence(id), now + self.settings.silence);
        if draining {
            self.recall_all(id);
        }
    }

    /// Revokes what was given on it and forgets it. Its failures are remembered.
    fn lose_builder(&mut self, now: Moment, id: BuilderId) {
        let Some(builder) = self.builders.remove(&id) else { return };
        for lease in self.leases.of_builder(id) {
            if let Some(granted) = self.drop_lease(lease) {
                self.outputs.push_back(Output::Revoked { client: granted.client, lease });
            }
        }
        self.timers.stop(&Timer::BuilderSilence(id));
        let architecture = builder.architecture;
        if !self.has_builder_for(&architecture) {
            let until = now + self.settings.silence;
            self.missing.insert(architecture.clone(), until);
            self.timers.set(Timer::Missing(architecture), until);
        }
    }

    /// A failure that a client reports. One about a lease that is void by now is old news. One client may have its own troubles, so
    /// only a second one that agrees with it, or the builder's own count of failures, keeps the builder from others too.
    fn complaint(&mut self, now: Moment, client: ClientId, id: BuilderId, lease: LeaseId, about: Grievance) {
        self.client_heard(now, client);
        let Some(granted) = self.leases.of(client, lease).filter(|granted| granted.builder == id) else { return };
        let toolchain = granted.class.toolchain;
        self.orphan(lease);
        if about == Grievance::Toolchain {
            return self.note_misfit(client, toolchain, id);
        }
        self.strike(now, id, Whom::One(client));
        if self.builders.get_mut(&id).is_some_and(|builder| builder.is_blamed_by_two(client)) {
            self.quarantine(now, id, Blame::Clients);
        }
    }

    /// Keeps a builder from one toolchain of one client, until it joins again.
    fn note_misfit(&mut self, client: ClientId, toolchain: ToolchainId, id: BuilderId) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        if known.misfits.len() >= MISFITS_MAX {
            known.misfits.pop_first();
        }
        known.misfits.insert((toolchain, id));
        for lease in self.leases.of_builder(id) {
            let is_concerned = |granted: &Granted| granted.client == client && granted.class.toolchain == toolchain;
            if self.leases.find(lease).is_some_and(is_concerned) {
                self.recall(lease);
            }
        }
    }

    fn quarantine(&mut self, now: Moment, id: BuilderId, why: Blame) {
        if self.strike(now, id, Whom::Everybody) {
            self.outputs.push_back(Output::Quarantined { builder: id, why });
        }
    }

    /// Asks for every lease there, each when its job is done.
    pub(super) fn recall_all(&mut self, builder: BuilderId) {
        for lease in self.leases.of_builder(builder) {
            self.recall(lease);
        }
    }

    fn next_epoch(&mut self) -> u64 {
        self.n_epochs += 1;
        self.n_epochs
    }

    fn has_builder_for(&self, architecture: &str) -> bool {
        self.builders.values().any(|builder| builder.architecture == architecture)
    }
}

/// Clients.
impl Scheduler {
    fn client_joined(&mut self, now: Moment, id: ClientId) {
        if !self.has_room_for_client(id) {
            self.outputs.push_back(Output::CloseClient { client: id });
            return;
        }
        self.clients.insert(id, Client::default());
        self.client_heard(now, id);
    }

    fn client_heard(&mut self, now: Moment, id: ClientId) {
        if self.clients.contains_key(&id) {
            self.timers.set(Timer::ClientSilence(id), now + self.settings.silence);
        }
    }

    fn demand(&mut self, now: Moment, id: ClientId, class: Class, slots: u32) {
        self.client_heard(now, id);
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !client.claims.contains_key(&class) {
            Self::forget_idle_claims(client, &self.leases, id);
            if client.claims.len() >= CLASSES_MAX {
                self.outputs.push_back(Output::CloseClient { client: id });
                self.lose_client(now, id);
                return;
            }
        }
        client.claims.entry(class).or_default().wanted = slots.min(REQUESTS_MAX as u32);
    }

    /// Makes room when it might run out: classes of long ago go.
    fn forget_idle_claims(client: &mut Client, leases: &LeaseTable, id: ClientId) {
        if client.claims.len() >= CLASSES_MAX {
            client.claims.retain(|class, demand| demand.wanted > 0 || leases.of_claim(id, class).next().is_some());
        }
    }

    fn returned(&mut self, now: Moment, client: ClientId, lease: LeaseId) {
        self.client_heard(now, client);
        if self.leases.of(client, lease).is_some() {
            self.drop_lease(lease);
        }
    }

    /// Voids what it holds. A builder knows leases by epoch only, so those of other clients there come again under a new one.
    fn lose_client(&mut self, now: Moment, id: ClientId) {
        if self.clients.remove(&id).is_none() {
            return;
        }
        self.timers.stop(&Timer::ClientSilence(id));
        let mut builders = BTreeSet::new();
        for lease in self.leases.of_client(id) {
            builders.extend(self.orphan(lease));
        }
        for builder in builders {
            self.advance_epoch(now, builder);
        }
    }

    /// The clients hear first: a lease of an epoch that its builder has not heard of is good, one of the past is not.
    fn advance_epoch(&mut self, now: Moment, id: BuilderId) {
        let epoch = self.next_epoch();
        let Some(builder) = self.builders.get_mut(&id) else { return };
        builder.epoch = epoch;
        for lease in self.leases.of_builder(id) {
            self.grant(now, lease);
        }
        self.outputs.push_back(Output::Epoch { builder: id, epoch });
    }
}

/// Leases.
impl Scheduler {
    /// Tells the client of a lease, new or renewed.
    fn grant(&mut self, now: Moment, lease: LeaseId) {
        let Some(granted) = self.leases.find(lease) else { return };
        let Some(builder) = self.builders.get(&granted.builder) else { return };
        self.outputs.push_back(Output::Granted {
            client: granted.client,
            class: granted.class.clone(),
            lease,
            builder: granted.builder,
            slots: 1,
            expires: now + self.settings.lease,
            epoch: builder.epoch,
        });
        self.timers.set(Timer::Renewal(lease), now + self.settings.lease / 3);
    }

    pub(super) fn recall(&mut self, lease: LeaseId) {
        if let Some(client) = self.leases.recall(lease) {
            self.outputs.push_back(Output::Recalled { client, lease });
        }
    }

    fn drop_lease(&mut self, lease: LeaseId) -> Option<Granted> {
        self.timers.stop(&Timer::Renewal(lease));
        self.leases.remove(lease)
    }

    /// Voids a lease whose job may run still: the slot stays taken until its builder says otherwise.
    fn orphan(&mut self, lease: LeaseId) -> Option<BuilderId> {
        let granted = self.drop_lease(lease)?;
        if let Some(builder) = self.builders.get_mut(&granted.builder) {
            builder.orphans.insert(lease);
        }
        Some(granted.builder)
    }
}

/// Placement.
impl Scheduler {
    /// Brings slots and claims together after whatever happened.
    fn settle(&mut self, now: Moment) {
        for architecture in self.wanted_architectures() {
            let mut claims = self.claims(now, Some(&architecture));
            let mut rooms = self.rooms(now, &architecture);
            self.place(now, &mut rooms, &mut claims);
            self.balance(now, &architecture, &rooms, claims);
        }
        self.tell_hopeless(now);
        #[cfg(debug_assertions)]
        self.check();
    }

    fn wanted_architectures(&self) -> BTreeSet<String> {
        let claims = self.clients.values().flat_map(|client| &client.claims);
        claims.filter(|(_, demand)| demand.wanted > 0).map(|(class, _)| class.architecture.clone()).collect()
    }

    /// Gives out free slots while anybody wants one.
    fn place(&mut self, now: Moment, rooms: &mut [Room], claims: &mut [Claim]) {
        let mut barred = BTreeSet::new();
        while rooms.iter().any(|room| room.free > 0) {
            let Some(claim) = share::next_of(claims, |index| !barred.contains(&index)) else { return };
            let Claim { client, class, .. } = &claims[claim];
            let is_open = |room: &Room| self.is_open_to(now, *client, class, room.builder);
            let Some(room) = roomiest(rooms, is_open) else {
                barred.insert(claim);
                continue;
            };
            rooms[room].free -= 1;
            self.n_leases += 1;
            claims[claim].gains(now, self.n_leases);
            self.open_lease(now, rooms[room].builder, &claims[claim]);
        }
    }

    fn open_lease(&mut self, now: Moment, builder: BuilderId, claim: &Claim) {
        let lease = LeaseId { instance: self.settings.instance, number: claim.served };
        let Claim { client, class, .. } = claim.clone();
        if let Some(demand) = self.clients.get_mut(&client).and_then(|client| client.claims.get_mut(&class)) {
            demand.served = claim.served;
        }
        self.leases.insert(lease, Granted { client, class, builder, since: now, recalled: false });
        self.grant(now, lease);
    }

    /// Asks for slots back where somebody has too few while others have more.
    fn balance(&mut self, now: Moment, architecture: &str, rooms: &[Room], mut claims: Vec<Claim>) {
        let turn = Timer::Turn(architecture.to_owned());
        self.timers.stop(&turn);
        for claim in &mut claims {
            if !rooms.iter().any(|room| self.is_open_to(now, claim.client, &claim.class, room.builder)) {
                claim.forgo();
            }
        }
        if !claims.iter().any(Claim::is_hungry) {
            return;
        }
        let mut coming = rooms.iter().map(|room| room.coming).sum();
        loop {
            match share::recall(now, &claims, coming) {
                Recall::Now { from, to } => {
                    let Some(lease) = self.lease_to_recall(now, &claims[from], &claims[to]) else {
                        // What there is to have is at builders that are kept from that claim.
                        claims[to].forgo();
                        continue;
                    };
                    self.recall(lease);
                    claims[from].kept -= 1;
                    claims[from].oldest = self.oldest_kept(now, &claims[from]);
                    coming += 1;
                }
                Recall::At(moment) => return self.timers.set(turn, moment),
                Recall::None => return,
            }
        }
    }

    /// One that is of use to `other`, and without a job where there is one, as far as heartbeats tell; of those the oldest.
    fn lease_to_recall(&self, now: Moment, claim: &Claim, other: &Claim) -> Option<LeaseId> {
        let is_running = |lease: LeaseId, granted: &Granted| {
            self.builders.get(&granted.builder).is_some_and(|builder| builder.running.contains(&lease))
        };
        self.kept(now, claim.client, &claim.class)
            .filter(|(_, granted)| self.is_open_to(now, other.client, &other.class, granted.builder))
            .min_by_key(|(lease, granted)| (is_running(*lease, granted), *lease))
            .map(|(lease, _)| lease)
    }

    fn oldest_kept(&self, now: Moment, claim: &Claim) -> Option<Moment> {
        self.kept(now, claim.client, &claim.class).map(|(_, granted)| granted.since).min()
    }

    /// Leases that a claim can go on with: not recalled, and at a builder that takes new jobs.
    fn kept(&self, now: Moment, client: ClientId, class: &Class) -> impl Iterator<Item = (LeaseId, &Granted)> {
        self.leases.of_claim(client, class).filter(move |(_, granted)| {
            !granted.recalled && self.is_open_to(now, client, &granted.class, granted.builder)
        })
    }

    fn rooms(&self, now: Moment, architecture: &str) -> Vec<Room> {
        let is_candidate =
            |(id, builder): &(&BuilderId, &Builder)| builder.architecture == architecture && self.is_open(now, **id);
        self.builders.iter().filter(is_candidate).map(|(&id, builder)| self.room(id, builder)).collect()
    }

    fn room(&self, id: BuilderId, builder: &Builder) -> Room {
        let count = |leases: usize| u32::try_from(leases).unwrap_or(u32::MAX).saturating_add(builder.orphaned());
        let free = builder.slots.saturating_sub(count(self.leases.of_builder(id).len()));
        let coming = builder.slots.saturating_sub(count(self.kept_on(id).len())) - free;
        Room { builder: id, slots: builder.slots, free, coming }
    }

    /// Every claim on one architecture, or on all.
    fn claims(&self, now: Moment, architecture: Option<&str>) -> Vec<Claim> {
        let all = self.clients.iter().flat_map(|(&id, client)| client.claims.iter().map(move |claim| (id, claim)));
        all.filter(|(_, (class, _))| architecture.is_none_or(|wanted| class.architecture == wanted))
            .map(|(client, (class, demand))| self.claim(now, client, class, demand))
            .collect()
    }

    fn claim(&self, now: Moment, client: ClientId, class: &Class, demand: &Demand) -> Claim {
        let count = |leases: usize| u32::try_from(leases).unwrap_or(u32::MAX);
        Claim {
            client,
            class: class.clone(),
            wanted: demand.wanted,
            held: count(self.leases.of_claim(client, class).count()),
            kept: count(self.kept(now, client, class).count()),
            oldest: self.kept(now, client, class).map(|(_, granted)| granted.since).min(),
            served: demand.served,
        }
    }
}

//! The machine: units in, places out.
//!
//! After each event every queue is looked at once: free leases first, then free local slots, then whoever must run here or
//! has waited for the farm in vain. The shell reports each `RunRemote` back exactly once, and
//! nothing after a `Cancel`.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::client::leases::{Fate, Held, Leases, Use};
use crate::engine::client::unit::{State, Unit};
use crate::engine::client::{Failure, Input, Output, Settings, Snapshot};
use crate::engine::wire::farm::{Class, Grievance, Lease};
use crate::model::id::{BuilderId, LeaseId, RequestId};
use crate::model::limits::{HOPELESS_GRACE, LEASE_MAX, SCHEDULER_GRACE};
use crate::model::moment::{Moment, Timers};
use crate::model::reason::{Reason, Why};

/// What there is of one class.
#[derive(Debug, Default)]
struct Work {
    queue: VecDeque<RequestId>,
    /// Compiling here by choice. They would be remote if they could, so they count as demand.
    n_chosen: u32,
    /// What the scheduler was told last.
    announced: u32,
    /// Since when the scheduler has seen no builder for it.
    hopeless: Option<Moment>,
}

/// Slots of one class.
struct Demand {
    /// For units that wait, run remotely, or run here because nothing remote was free.
    wanted: u32,
    /// Leased, by the scheduler's count.
    held: u32,
}

/// A fall of demand by less than this part is not told.
const DEMAND_QUIET_PART: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Up,
    Down { since: Moment },
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// A lease was not renewed.
    Expiry(LeaseId),
    /// A lease has been idle.
    Linger(LeaseId),
    /// A unit may go where it could not.
    Unit(RequestId),
    /// The scheduler has had its time to come back.
    Scheduler,
    /// Builders of a class have had their time to come.
    Hopeless(Class),
}

#[derive(Debug)]
pub struct Client {
    settings: Settings,
    units: BTreeMap<RequestId, Unit>,
    work: BTreeMap<Class, Work>,
    leases: Leases,
    /// Units that must run here and wait for a slot.
    due: VecDeque<RequestId>,
    n_forced: u32,
    link: Link,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        let mut timers = Timers::default();
        if settings.has_scheduler {
            timers.set(Timer::Scheduler, Moment::START + SCHEDULER_GRACE);
        }
        Self {
            settings,
            units: BTreeMap::new(),
            work: BTreeMap::new(),
            leases: Leases::default(),
            due: VecDeque::new(),
            n_forced: 0,
            link: Link::Down { since: Moment::START },
            timers,
            outputs: VecDeque::new(),
        }
    }

    /// What names a unit or a lease that is not known (any more) is passed over: it has crossed an output.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Arrived { request, class } => self.arrived(request, class),
            Input::ArrivedLocal { request, why } => {
                self.forget(now, request);
                self.force(request, Unit::new(State::Forced), why);
            }
            Input::Abandoned { request } | Input::LocalEnded { request } => self.forget(now, request),
            Input::RemoteFinished { request } => self.remote_finished(now, request),
            Input::RemoteFailed { request, failure } => self.remote_failed(now, request, failure),
            Input::SchedulerUp => self.scheduler_up(),
            Input::SchedulerDown => self.scheduler_down(now),
            Input::Granted { lease, class } => self.granted(now, lease, class),
            // What runs there goes on: a scheduler that has lost a builder says nothing about our own connection to it, whose
            // keepalive tells within seconds.
            Input::Revoked { lease } => self.retire(lease, Fate::Drop),
            Input::Recalled { lease } => self.retire(lease, Fate::Return),
            Input::Hopeless { class, hopeless } => self.hopeless(now, class, hopeless),
        }
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Expiry(lease) => self.expired(lease),
                Timer::Linger(lease) => self.lingered(lease),
                Timer::Unit(request) => self.wake(now, request),
                // What they stand for is looked at by `settle`.
                Timer::Scheduler | Timer::Hopeless(_) => {}
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

    /// Numbers of the moment, for people.
    pub fn snapshot(&self) -> Snapshot {
        let count = |is: fn(&State) -> bool| {
            u32::try_from(self.units.values().filter(|unit| is(&unit.state)).count()).unwrap_or(u32::MAX)
        };
        Snapshot {
            waiting: count(|state| matches!(state, State::Queued { .. } | State::Due { .. })),
            running_remote: count(|state| matches!(state, State::Remote { .. })),
            running_local: count(|state| matches!(state, State::Chosen { .. } | State::Forced)),
            leases: u32::try_from(self.leases.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Units.
impl Client {
    fn arrived(&mut self, request: RequestId, class: Class) {
        if self.units.contains_key(&request) {
            return;
        }
        if !self.settings.has_scheduler {
            return self.force(request, Unit::new(State::Forced), Reason::NotConfigured.into());
        }
        self.work.entry(class.clone()).or_default().queue.push_back(request);
        self.units.insert(request, Unit::new(State::Queued { class }));
    }

    /// Nobody waits for the unit any more: whatever it holds is free.
    fn forget(&mut self, now: Moment, request: RequestId) {
        self.timers.stop(&Timer::Unit(request));
        let Some(unit) = self.units.remove(&request) else { return };
        match unit.state {
            State::Queued { class } => self.unqueue(&class, request),
            State::Remote { lease, .. } => {
                // Nobody is left to write a result.
                self.outputs.push_back(Output::Cancel { request, reason: Reason::WriteFailed });
                self.free(now, lease);
            }
            State::Due { .. } => self.due.retain(|due| *due != request),
            State::Chosen { class } => self.chosen_ended(&class),
            State::Forced => self.n_forced -= 1,
        }
    }

    fn remote_finished(&mut self, now: Moment, request: RequestId) {
        match self.units.get(&request).map(|unit| unit.state.clone()) {
            Some(State::Remote { lease, .. }) => self.free(now, lease),
            Some(State::Queued { class }) => self.unqueue(&class, request),
            Some(State::Due { .. } | State::Chosen { .. } | State::Forced) | None => return,
        }
        self.units.remove(&request);
        self.timers.stop(&Timer::Unit(request));
    }

    fn remote_failed(&mut self, now: Moment, request: RequestId, failure: Failure) {
        let Some(Unit { state: State::Remote { class, lease }, .. }) = self.units.get(&request) else { return };
        let (class, lease) = (class.clone(), *lease);
        match failure {
            Failure::Builder(why) => self.builder_failed(now, request, class, lease, why, Grievance::Work),
            Failure::Unfit(why) => self.builder_failed(now, request, class, lease, why, Grievance::Toolchain),
            Failure::Lease(why) => {
                self.retry_later(now, request, class, why);
                self.refused(now, lease);
            }
            Failure::Unit(why) => {
                self.free(now, lease);
                self.fall_back(request, why);
            }
        }
    }

    fn builder_failed(
        &mut self,
        now: Moment,
        request: RequestId,
        class: Class,
        lease: LeaseId,
        why: Why,
        about: Grievance,
    ) {
        let Some(builder) = self.leases.find(lease).map(|held| held.lease.builder) else { return };
        self.retry_elsewhere(now, request, class, builder, why.clone());
        self.complain(lease, &why, about);
    }

    /// Reports the builder and keeps away from it: what else is held there goes back when its job is done.
    fn complain(&mut self, lease: LeaseId, why: &Why, about: Grievance) {
        let Some(held) = self.drop_lease(lease) else { return };
        let builder = held.lease.builder;
        // One that the scheduler has voided itself is no news.
        if held.fate != Fate::Drop {
            self.tell(Output::Complain { builder, lease, detail: why.to_string(), about });
        }
        for other in self.leases.of_builder(builder) {
            let is_concerned = |other: &Held| about == Grievance::Work || other.class.toolchain == held.class.toolchain;
            if self.leases.find(other).is_some_and(is_concerned) {
                self.retire(other, Fate::Return);
            }
        }
    }

    fn retry_elsewhere(&mut self, now: Moment, request: RequestId, class: Class, builder: BuilderId, why: Why) {
        let Some(unit) = self.units.get_mut(&request) else { return };
        match unit.trouble.builder_failed(now, builder, why.clone(), self.settings.attempts) {
            Some(_) => self.requeue(now, request, class),
            None => self.fall_back(request, why),
        }
    }

    fn retry_later(&mut self, now: Moment, request: RequestId, class: Class, why: Why) {
        let Some(unit) = self.units.get_mut(&request) else { return };
        match unit.trouble.lease_refused(now) {
            Some(_) => self.requeue(now, request, class),
            None => self.fall_back(request, why),
        }
    }

    /// Back to the head of the queue: it was there before.
    fn requeue(&mut self, now: Moment, request: RequestId, class: Class) {
        let Some(unit) = self.units.get_mut(&request) else { return };
        unit.state = State::Queued { class: class.clone() };
        self.work.entry(class).or_default().queue.push_front(request);
        self.wake(now, request);
    }

    /// Sets the clock for the next change in what a queued unit may do.
    fn wake(&mut self, now: Moment, request: RequestId) {
        let change = self.units.get(&request).and_then(|unit| unit.trouble.next_change(now));
        match change {
            Some(moment) => self.timers.set(Timer::Unit(request), moment),
            None => self.timers.stop(&Timer::Unit(request)),
        }
    }

    /// Tried remotely; runs here now.
    fn fall_back(&mut self, request: RequestId, why: Why) {
        if let Some(unit) = self.units.remove(&request) {
            self.force(request, unit, why);
        }
    }

    /// Puts a unit that is in no queue among those that must run here.
    fn force(&mut self, request: RequestId, unit: Unit, why: Why) {
        self.timers.stop(&Timer::Unit(request));
        self.units.insert(request, Unit { state: State::Due { why }, ..unit });
        self.due.push_back(request);
    }

    fn unqueue(&mut self, class: &Class, request: RequestId) {
        if let Some(work) = self.work.get_mut(class) {
            work.queue.retain(|queued| *queued != request);
        }
    }

    fn chosen_ended(&mut self, class: &Class) {
        if let Some(work) = self.work.get_mut(class) {
            work.n_chosen -= 1;
        }
    }
}

/// The scheduler.
impl Client {
    /// It begins with nothing: what was held before is void for new jobs (a new key or a new epoch), and so is what was said.
    fn scheduler_up(&mut self) {
        self.link = Link::Up;
        self.timers.stop(&Timer::Scheduler);
        for lease in self.leases.ids() {
            self.retire(lease, Fate::Drop);
        }
        for (class, work) in &mut self.work {
            work.announced = 0;
            work.hopeless = None;
            self.timers.stop(&Timer::Hopeless(class.clone()));
        }
    }

    fn scheduler_down(&mut self, now: Moment) {
        if self.link == Link::Up {
            self.link = Link::Down { since: now };
            self.timers.set(Timer::Scheduler, now + SCHEDULER_GRACE);
        }
    }

    fn hopeless(&mut self, now: Moment, class: Class, hopeless: bool) {
        let timer = Timer::Hopeless(class.clone());
        let work = self.work.entry(class).or_default();
        if hopeless {
            work.hopeless.get_or_insert(now);
            self.timers.set(timer, now + HOPELESS_GRACE);
        } else {
            work.hopeless = None;
            self.timers.stop(&timer);
        }
    }

    fn granted(&mut self, now: Moment, lease: Lease, class: Class) {
        let id = lease.id;
        if let Some(held) = self.leases.find_mut(id) {
            held.lease = lease;
            if held.fate == Fate::Drop {
                held.fate = Fate::Keep;
            }
        } else if self.link == Link::Up && self.leases.insert(lease, class.clone(), now) {
            self.work.entry(class).or_default().hopeless = None;
            self.timers.set(Timer::Linger(id), now + self.settings.linger);
        } else {
            return;
        }
        self.timers.set(Timer::Expiry(id), now + LEASE_MAX);
    }

    /// What is for the scheduler is lost while it is away: it starts afresh anyway.
    fn tell(&mut self, output: Output) {
        if self.link == Link::Up {
            self.outputs.push_back(output);
        }
    }
}

/// Leases.
impl Client {
    /// The job on it is over.
    fn free(&mut self, now: Moment, lease: LeaseId) {
        let Some(held) = self.leases.find_mut(lease) else { return };
        held.usage = Use::Idle { since: now };
        match held.fate {
            Fate::Keep => self.timers.set(Timer::Linger(lease), now + self.settings.linger),
            fate => self.part_with(lease, fate),
        }
    }

    /// The lease takes no further unit: it goes at once, or when its job is over.
    fn retire(&mut self, lease: LeaseId, fate: Fate) {
        let Some(held) = self.leases.find_mut(lease) else { return };
        if held.fate == Fate::Keep || fate == Fate::Drop {
            held.fate = fate;
        }
        if held.is_idle() {
            self.part_with(lease, fate);
        }
    }

    /// Demand goes first: the scheduler would give a returned lease again.
    fn part_with(&mut self, lease: LeaseId, fate: Fate) {
        let Some(held) = self.drop_lease(lease) else { return };
        if fate == Fate::Return {
            self.announce_exactly(&held.class);
            self.tell(Output::Return { lease });
        }
    }

    /// Its builder would not take it. Where it was renewed while it was on its way, the renewal is good.
    fn refused(&mut self, now: Moment, lease: LeaseId) {
        let Some(held) = self.leases.find(lease) else { return };
        match held.usage {
            Use::Running { epoch, .. } if epoch != held.lease.epoch => self.free(now, lease),
            _ if held.fate == Fate::Drop => self.part_with(lease, Fate::Drop),
            _ => self.part_with(lease, Fate::Return),
        }
    }

    /// Not renewed in time: no builder takes it any more. One that is to go back does so when its job is over.
    fn expired(&mut self, lease: LeaseId) {
        if self.leases.find(lease).is_some_and(|held| held.fate == Fate::Keep) {
            self.retire(lease, Fate::Drop);
        }
    }

    /// Idle for long enough. Not while the scheduler is away: there would be no way to get another.
    fn lingered(&mut self, lease: LeaseId) {
        if self.link == Link::Up && self.leases.find(lease).is_some_and(|held| held.is_idle()) {
            self.part_with(lease, Fate::Return);
        }
    }

    fn drop_lease(&mut self, lease: LeaseId) -> Option<Held> {
        self.timers.stop(&Timer::Expiry(lease));
        self.timers.stop(&Timer::Linger(lease));
        self.leases.remove(lease)
    }
}

/// Placement.
impl Client {
    fn settle(&mut self, now: Moment) {
        let classes: Vec<Class> = self.work.keys().cloned().collect();
        for class in &classes {
            self.place_remote(now, class);
        }
        self.place_chosen();
        self.place_forced(now);
        for class in &classes {
            self.announce(class);
        }
        self.forget_old_work();
        #[cfg(debug_assertions)]
        self.check();
    }

    fn place_remote(&mut self, now: Moment, class: &Class) {
        while let Some((request, lease)) = self.match_up(now, class) {
            self.unqueue(class, request);
            let (Some(unit), Some(held)) = (self.units.get_mut(&request), self.leases.find_mut(lease)) else { return };
            unit.state = State::Remote { class: class.clone(), lease };
            held.usage = Use::Running { request, epoch: held.lease.epoch };
            let lease = held.lease.clone();
            self.timers.stop(&Timer::Linger(lease.id));
            self.timers.stop(&Timer::Unit(request));
            self.outputs.push_back(Output::RunRemote { request, lease });
        }
    }

    /// The first unit in the queue that can use a free lease, and that lease.
    fn match_up(&self, now: Moment, class: &Class) -> Option<(RequestId, LeaseId)> {
        let work = self.work.get(class).filter(|work| !work.queue.is_empty())?;
        let idle = self.leases.idle(class);
        if idle.is_empty() {
            return None;
        }
        let is_ready = |unit: &Unit| !unit.trouble.is_paused(now);
        let units = work.queue.iter().filter_map(|request| self.units.get(request).map(|unit| (*request, unit)));
        units.filter(|(_, unit)| is_ready(unit)).find_map(|(request, unit)| {
            let lease = idle.iter().find(|held| !unit.trouble.avoids(now, held.lease.builder))?;
            Some((request, lease.lease.id))
        })
    }

    /// Free local slots go to whoever has waited longest, of any class.
    fn place_chosen(&mut self) {
        // Units that had to run here take their share: both compile on the same processors.
        let taken = self.work.values().map(|work| work.n_chosen).sum::<u32>() + self.n_forced;
        let mut free = self.settings.local_slots.saturating_sub(taken);
        while free > 0 {
            let heads = self.work.iter().filter_map(|(class, work)| Some((*work.queue.front()?, class.clone())));
            let Some((request, class)) = heads.min() else { return };
            let Some(work) = self.work.get_mut(&class) else { return };
            work.queue.pop_front();
            work.n_chosen += 1;
            free -= 1;
            let Some(unit) = self.units.get_mut(&request) else { return };
            unit.state = State::Chosen { class };
            let why = unit.trouble.why_local(Reason::LocalSlot);
            self.timers.stop(&Timer::Unit(request));
            self.outputs.push_back(Output::RunLocal { request, why });
        }
    }

    /// Why no further lease of this class will come, if so.
    fn despair(&self, now: Moment, class: &Class) -> Option<Reason> {
        match self.link {
            Link::Down { since } => (now >= since + SCHEDULER_GRACE).then_some(Reason::NoScheduler),
            Link::Up => {
                let hopeless = self.work.get(class)?.hopeless?;
                (now >= hopeless + HOPELESS_GRACE).then_some(Reason::NoBuilder)
            }
        }
    }

    /// Slots for those that must run here: first the units that cannot go elsewhere, then those for which nothing will come.
    fn place_forced(&mut self, now: Moment) {
        while self.n_forced < self.settings.forced_slots {
            let Some((request, why)) = self.next_due().or_else(|| self.next_hopeless(now)) else { return };
            let Some(unit) = self.units.get_mut(&request) else { return };
            unit.state = State::Forced;
            self.n_forced += 1;
            self.timers.stop(&Timer::Unit(request));
            self.outputs.push_back(Output::RunLocal { request, why });
        }
    }

    fn next_due(&mut self) -> Option<(RequestId, Why)> {
        let request = self.due.pop_front()?;
        match &self.units.get(&request)?.state {
            State::Due { why } => Some((request, why.clone())),
            _ => None,
        }
    }

    /// Takes the oldest unit for which no lease is there and none will come out of its queue. Those that find no slot here stay
    /// in theirs: the farm may be back first.
    fn next_hopeless(&mut self, now: Moment) -> Option<(RequestId, Why)> {
        let first = |(class, work): (&Class, &Work)| {
            let reason = self.despair(now, class)?;
            let request = work.queue.iter().find(|request| !self.has_lease_to_come(now, class, **request))?;
            Some((*request, class.clone(), reason))
        };
        let (request, class, reason) = self.work.iter().filter_map(first).min_by_key(|(request, ..)| *request)?;
        self.unqueue(&class, request);
        let why = self.units.get(&request)?.trouble.why_local(reason);
        Some((request, why))
    }

    /// Whether a lease is held that the unit could use now or later.
    fn has_lease_to_come(&self, now: Moment, class: &Class, request: RequestId) -> bool {
        let Some(unit) = self.units.get(&request) else { return false };
        self.leases.kept(class).any(|held| !unit.trouble.avoids(now, held.lease.builder))
    }

    /// Tells the scheduler what is wanted, if that is news worth telling. Rises at once; small falls are kept quiet, so that the
    /// gap between two units of a build makes no noise.
    fn announce(&mut self, class: &Class) {
        let Some(work) = self.work.get(class) else { return };
        let Demand { wanted, held } = self.demand(class, work);
        let (floor, told) = (wanted.max(held), work.announced);
        let is_worth_telling = floor == 0 || told.saturating_sub(floor) > told / DEMAND_QUIET_PART + 1;
        if wanted > told {
            self.announce_slots(class, wanted);
        } else if floor < told && is_worth_telling {
            self.announce_slots(class, floor);
        }
    }

    /// As [`Self::announce`], small falls too.
    fn announce_exactly(&mut self, class: &Class) {
        let Some(work) = self.work.get(class) else { return };
        let Demand { wanted, held } = self.demand(class, work);
        self.announce_slots(class, wanted.max(held));
    }

    fn announce_slots(&mut self, class: &Class, slots: u32) {
        if self.link != Link::Up {
            return;
        }
        let Some(work) = self.work.get_mut(class).filter(|work| work.announced != slots) else { return };
        work.announced = slots;
        self.outputs.push_back(Output::Demand { class: class.clone(), slots });
    }

    fn demand(&self, class: &Class, work: &Work) -> Demand {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let running = count(self.leases.counted(class).filter(|held| !held.is_idle()).count());
        let held = count(self.leases.counted(class).count());
        Demand { wanted: count(work.queue.len()).saturating_add(work.n_chosen).saturating_add(running), held }
    }

    fn forget_old_work(&mut self) {
        let leases = &self.leases;
        self.work.retain(|class, work| {
            let is_over = work.queue.is_empty() && work.n_chosen == 0 && work.announced == 0 && work.hopeless.is_none();
            !is_over || leases.iter().any(|held| held.class == *class)
        });
    }

    /// # Panics
    /// Where an invariant is broken: a defect of this machine, never of a peer.
    pub fn check(&self) {
        for held in self.leases.iter() {
            let Some(request) = held.request() else { continue };
            let state = self.units.get(&request).map(|unit| &unit.state);
            assert!(
                matches!(state, Some(State::Remote { lease, .. }) if *lease == held.lease.id),
                "{}: runs unit {request}, which is {state:?}",
                held.lease.id
            );
        }
        for (request, unit) in &self.units {
            let is_in_place = match &unit.state {
                State::Queued { class } => self.work.get(class).is_some_and(|work| work.queue.contains(request)),
                State::Remote { lease, .. } => {
                    self.leases.find(*lease).is_some_and(|held| held.request() == Some(*request))
                }
                State::Due { .. } => self.due.contains(request),
                State::Chosen { .. } | State::Forced => true,
            };
            assert!(is_in_place, "unit {request} is lost: {unit:?}");
        }
        let count = |is: fn(&State) -> bool| self.units.values().filter(|unit| is(&unit.state)).count();
        let n_chosen: u32 = self.work.values().map(|work| work.n_chosen).sum();
        assert_eq!(count(|state| matches!(state, State::Chosen { .. })), n_chosen as usize);
        assert_eq!(count(|state| matches!(state, State::Forced)), self.n_forced as usize);
        assert!(n_chosen <= self.settings.local_slots && self.n_forced <= self.settings.forced_slots);
        assert!(self.due.is_empty() || self.n_forced == self.settings.forced_slots, "a unit waits for a free slot");
    }
}

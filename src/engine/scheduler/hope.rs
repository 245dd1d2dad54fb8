//! Who has nothing to hope for: clients are told when no builder can ever take what they have, and when one can again.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::scheduler::Output;
use crate::engine::scheduler::builders::{Builder, Whom};
use crate::engine::scheduler::machine::{Client, Scheduler, Timer};
use crate::engine::wire::farm::Class;
use crate::model::id::{BuilderId, ClientId};
use crate::model::limits::HOPELESS_GRACE;
use crate::model::moment::Moment;
use crate::model::toolchain::IsaLevel;

impl Scheduler {
    /// Tells clients whose units no builder here can take, and those for whom one has come.
    pub(super) fn tell_hopeless(&mut self, now: Moment) {
        let prospects = self.prospects(now, Whom::Everybody);
        let own = |client| (client, self.prospects(now, Whom::One(client)));
        let own: BTreeMap<_, _> = self.failed_clients().into_iter().map(own).collect();
        let special = self.special_prospects(now);
        for (&id, client) in &mut self.clients {
            let prospects = own.get(&id).unwrap_or(&prospects);
            for (class, demand) in &mut client.claims {
                let prospect = match special.get(&(id, class.clone())) {
                    Some(prospect) => *prospect,
                    None => prospects.get(class.architecture.as_str()).copied().unwrap_or(Prospect::None),
                };
                // Who was told goes on without until there is a builder, and not only one to come.
                let is_news = match demand.told_hopeless {
                    true => prospect == Prospect::Open,
                    false => prospect == Prospect::None && demand.wanted > 0,
                };
                if !is_news {
                    continue;
                }
                let hopeless = !demand.told_hopeless;
                // After a start, and after a loss, builders get the time to come (back).
                let grace = self.missing.get(&class.architecture).copied().unwrap_or_default();
                let patience = grace.max(Moment::START + self.settings.silence);
                if hopeless && now < patience {
                    self.timers.set(Timer::Missing(class.architecture.clone()), patience);
                    continue;
                }
                demand.told_hopeless = hopeless;
                self.outputs.push_back(Output::Hopeless { client: id, class: class.clone(), hopeless });
            }
        }
    }

    /// Those for whom the farm may look worse than for others.
    fn failed_clients(&self) -> BTreeSet<ClientId> {
        let one = |whom: &Whom| match whom {
            Whom::One(client) => Some(*client),
            Whom::Everybody => None,
        };
        self.health.keys().filter_map(|(_, whom)| one(whom)).collect()
    }

    /// The best that there is for each claim to whose toolchain some builder may be of no use.
    fn special_prospects(&self, now: Moment) -> BTreeMap<(ClientId, Class), Prospect> {
        let is_concerned = |client: &Client, class: &Class| {
            class.level > IsaLevel(1) || client.misfits.iter().any(|(toolchain, _)| *toolchain == class.toolchain)
        };
        let mut best = BTreeMap::new();
        for (&id, client) in &self.clients {
            for class in client.claims.keys().filter(|class| is_concerned(client, class)) {
                best.insert((id, class.clone()), self.best_fit(now, id, class));
            }
        }
        best
    }

    fn best_fit(&self, now: Moment, client: ClientId, class: &Class) -> Prospect {
        let fitting = self.builders.iter().filter(|&(&builder, known)| {
            known.architecture == class.architecture && self.is_fit(client, class, builder)
        });
        let prospects = fitting.map(|(&builder, known)| self.prospect(now, builder, known, Whom::One(client)));
        prospects.max().unwrap_or(Prospect::None)
    }

    /// The best that each architecture has to offer.
    fn prospects(&self, now: Moment, whom: Whom) -> BTreeMap<String, Prospect> {
        let mut best = BTreeMap::new();
        for (&id, builder) in &self.builders {
            let known = best.entry(builder.architecture.clone()).or_insert(Prospect::None);
            *known = (*known).max(self.prospect(now, id, builder, whom));
        }
        best
    }

    fn prospect(&self, now: Moment, id: BuilderId, builder: &Builder, whom: Whom) -> Prospect {
        let is_paused = |at| self.is_paused(at, id, Whom::Everybody) || self.is_paused(at, id, whom);
        match self.is_draining(id, builder) {
            true => Prospect::None,
            false if !is_paused(now) => Prospect::Open,
            // Sooner over than clients would give up hope.
            false if !is_paused(now + HOPELESS_GRACE) => Prospect::Soon,
            false => Prospect::None,
        }
    }
}

/// What a builder means to somebody who waits for a slot: a full one is open too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Prospect {
    /// Drained, or left alone for long.
    None,
    /// Left alone for a moment.
    Soon,
    Open,
}

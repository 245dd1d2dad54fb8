//! What the farm's administrator orders about a builder, against which nothing that the builder does itself counts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::scheduler::builders::Whom;
use crate::engine::scheduler::machine::{Scheduler, Timer};
use crate::model::id::{BuilderId, LeaseId};
use crate::model::limits::{DRAINED_MAX, QUARANTINE_ORDERED_MAX, SLOTS_MAX};
use crate::model::moment::Moment;

/// An order about one builder, whether or not it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// No new leases there before [`Order::Resume`], even if builder or scheduler start anew.
    Drain,
    /// Ends `Drain` and any quarantine.
    Resume,
    /// No new leases there for so long, at most [`QUARANTINE_ORDERED_MAX`].
    Quarantine(Duration),
    /// As if it had never been here: no order, failure or misfit is remembered.
    Forget,
}

impl Scheduler {
    pub(super) fn ordered(&mut self, now: Moment, id: BuilderId, order: Order) {
        match order {
            Order::Drain => {
                if self.drained.len() < DRAINED_MAX {
                    self.drained.insert(id);
                    self.recall_all(id);
                }
            }
            Order::Resume => {
                self.drained.remove(&id);
                if let Some(health) = self.health.get_mut(&(id, Whom::Everybody)) {
                    health.end_pause(now);
                }
            }
            Order::Quarantine(time) => {
                let until = now + time.min(QUARANTINE_ORDERED_MAX);
                self.health.entry((id, Whom::Everybody)).or_default().pause_until(until);
                self.set_health_timers(id, Whom::Everybody);
                self.recall_all(id);
            }
            Order::Forget => self.forget(id),
        }
    }

    /// Builders under [`Order::Drain`]: what has to outlive this scheduler, see [`Settings::drained`](super::Settings::drained).
    pub fn drained(&self) -> &BTreeSet<BuilderId> {
        &self.drained
    }

    fn forget(&mut self, id: BuilderId) {
        self.drained.remove(&id);
        let known: Vec<_> = self.health.keys().filter(|(builder, _)| *builder == id).copied().collect();
        for (builder, whom) in known {
            self.health.remove(&(builder, whom));
            self.timers.stop(&Timer::PauseEnd(builder, whom));
            self.timers.stop(&Timer::Forgetting(builder, whom));
        }
        for client in self.clients.values_mut() {
            client.misfits.retain(|(_, misfit)| *misfit != id);
        }
    }

    /// A builder has another number of slots from now on. Leases above it are asked for, those without a job first. False where
    /// nothing changes.
    pub(super) fn resize(&mut self, id: BuilderId, slots: u32) -> bool {
        let Some(builder) = self.builders.get_mut(&id) else { return false };
        let slots = slots.min(SLOTS_MAX);
        if builder.slots == slots {
            return false;
        }
        builder.slots = slots;
        let is_running = |lease: &LeaseId| self.builders.get(&id).is_some_and(|known| known.running.contains(lease));
        let mut kept = self.kept_on(id);
        kept.sort_by_key(|lease| (is_running(lease), *lease));
        let surplus = kept.len().saturating_sub(slots as usize);
        for lease in kept.into_iter().take(surplus) {
            self.recall(lease);
        }
        true
    }

    /// Leases there that were not asked for.
    pub(super) fn kept_on(&self, id: BuilderId) -> Vec<LeaseId> {
        let is_kept = |lease: &LeaseId| self.leases.find(*lease).is_some_and(|granted| !granted.recalled);
        self.leases.of_builder(id).into_iter().filter(is_kept).collect()
    }
}

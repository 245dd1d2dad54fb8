//! The leases that a client holds, and what each is doing.

use std::collections::BTreeMap;

use crate::engine::wire::farm::{Class, Lease};
use crate::model::id::{BuilderId, LeaseId, RequestId};
use crate::model::moment::Moment;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Idle {
        since: Moment,
    },
    Running {
        request: RequestId,
        /// Of the lease as it went to the builder: a refusal of that one says nothing about its renewal.
        epoch: u64,
    },
}

/// What becomes of a lease when its job is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Takes the next unit.
    Keep,
    /// Goes back to the scheduler.
    Return,
    /// Nobody knows it any more but the builder, on which its job still runs.
    Drop,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) lease: Lease,
    pub(super) class: Class,
    pub(super) usage: Use,
    pub(super) fate: Fate,
}

impl Held {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.usage, Use::Idle { .. })
    }

    pub(super) fn request(&self) -> Option<RequestId> {
        match self.usage {
            Use::Idle { .. } => None,
            Use::Running { request, .. } => Some(request),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<LeaseId, Held>,
    newest: Option<LeaseId>,
}

impl Leases {
    /// Takes a lease in. False for one that was given before and is not held any more: the renewal of a lease that has
    /// crossed its own return. A scheduler's numbers rise, so anything not above the newest is old.
    pub(super) fn insert(&mut self, lease: Lease, class: Class, now: Moment) -> bool {
        let is_old =
            self.newest.is_some_and(|newest| newest.instance == lease.id.instance && lease.id.number <= newest.number);
        if is_old {
            return false;
        }
        self.newest = Some(lease.id);
        let held = Held { class, usage: Use::Idle { since: now }, fate: Fate::Keep, lease };
        self.held.insert(held.lease.id, held);
        true
    }

    pub(super) fn find(&self, id: LeaseId) -> Option<&Held> {
        self.held.get(&id)
    }

    pub(super) fn find_mut(&mut self, id: LeaseId) -> Option<&mut Held> {
        self.held.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Held> {
        self.held.remove(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Free leases of a class, the one used last first: the others then linger to their end.
    pub(super) fn idle(&self, class: &Class) -> Vec<&Held> {
        let is_free = |held: &&Held| held.class == *class && held.fate == Fate::Keep && held.is_idle();
        let mut idle: Vec<&Held> = self.iter().filter(is_free).collect();
        idle.sort_by_key(|held| match held.usage {
            Use::Idle { since } => std::cmp::Reverse(since),
            Use::Running { .. } => std::cmp::Reverse(Moment::START),
        });
        idle
    }

    /// Leases of a class that take units now or when their job is done.
    pub(super) fn kept(&self, class: &Class) -> impl Iterator<Item = &Held> {
        self.iter().filter(move |held| held.class == *class && held.fate == Fate::Keep)
    }

    /// Leases of a class that the scheduler counts.
    pub(super) fn counted(&self, class: &Class) -> impl Iterator<Item = &Held> {
        self.iter().filter(move |held| held.class == *class && held.fate != Fate::Drop)
    }

    pub(super) fn of_builder(&self, builder: BuilderId) -> Vec<LeaseId> {
        self.iter().filter(|held| held.lease.builder == builder).map(|held| held.lease.id).collect()
    }

    pub(super) fn ids(&self) -> Vec<LeaseId> {
        self.held.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

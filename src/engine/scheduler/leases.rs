//! The table of leases, by id, by builder and by claim.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::wire::farm::Class;
use crate::model::id::{BuilderId, ClientId, LeaseId};
use crate::model::moment::Moment;

#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) client: ClientId,
    pub(super) class: Class,
    pub(super) builder: BuilderId,
    /// First given; renewals do not change it.
    pub(super) since: Moment,
    /// The client was asked to give it back. Asked once: it will, when its job is done.
    pub(super) recalled: bool,
}

#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    by_id: BTreeMap<LeaseId, Granted>,
    by_builder: BTreeMap<BuilderId, BTreeSet<LeaseId>>,
    by_claim: BTreeMap<(ClientId, Class), BTreeSet<LeaseId>>,
}

impl LeaseTable {
    pub(super) fn insert(&mut self, id: LeaseId, granted: Granted) {
        self.by_builder.entry(granted.builder).or_default().insert(id);
        self.by_claim.entry((granted.client, granted.class.clone())).or_default().insert(id);
        self.by_id.insert(id, granted);
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Granted> {
        let granted = self.by_id.remove(&id)?;
        take(&mut self.by_builder, &granted.builder, id);
        take(&mut self.by_claim, &(granted.client, granted.class.clone()), id);
        Some(granted)
    }

    pub(super) fn find(&self, id: LeaseId) -> Option<&Granted> {
        self.by_id.get(&id)
    }

    /// The lease, if `client` is the one who holds it.
    pub(super) fn of(&self, client: ClientId, id: LeaseId) -> Option<&Granted> {
        self.find(id).filter(|granted| granted.client == client)
    }

    /// Marks the lease as asked back; `None` where it was already.
    pub(super) fn recall(&mut self, id: LeaseId) -> Option<ClientId> {
        let granted = self.by_id.get_mut(&id).filter(|granted| !granted.recalled)?;
        granted.recalled = true;
        Some(granted.client)
    }

    pub(super) fn of_builder(&self, builder: BuilderId) -> Vec<LeaseId> {
        self.by_builder.get(&builder).into_iter().flatten().copied().collect()
    }

    pub(super) fn count_of_builder(&self, builder: BuilderId) -> u32 {
        self.by_builder.get(&builder).map_or(0, |leases| u32::try_from(leases.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn of_client(&self, client: ClientId) -> Vec<LeaseId> {
        self.by_id.iter().filter(|(_, granted)| granted.client == client).map(|(id, _)| *id).collect()
    }

    pub(super) fn of_claim(&self, client: ClientId, class: &Class) -> impl Iterator<Item = (LeaseId, &Granted)> {
        let leases = self.by_claim.get(&(client, class.clone()));
        leases.into_iter().flatten().filter_map(|id| self.by_id.get(id).map(|granted| (*id, granted)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Granted)> {
        self.by_id.iter().map(|(id, granted)| (*id, granted))
    }
}

/// Removes `id` from the set under `key`, and the set with its last member.
fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<LeaseId>>, key: &K, id: LeaseId) {
    if let Some(leases) = index.get_mut(key) {
        leases.remove(&id);
        if leases.is_empty() {
            index.remove(key);
        }
    }
}

//! What always holds between two calls. Looked at in debug builds and by the simulation.

use crate::engine::scheduler::machine::Scheduler;

impl Scheduler {
    /// # Panics
    /// Where an invariant is broken: a defect of this machine, never of a peer.
    pub fn check(&self) {
        for (&id, builder) in &self.builders {
            // Fewer slots than before have been asked for, and come when their jobs are done.
            let kept = self.kept_on(id).len();
            assert!(kept <= builder.slots as usize, "{id}: {kept} leases on {} slots", builder.slots);
            assert!(
                builder.orphans.iter().all(|lease| self.leases.find(*lease).is_none()),
                "{id}: a lease is granted and void at once"
            );
        }
        for (id, granted) in self.leases.iter() {
            let client = self.clients.get(&granted.client);
            assert!(client.is_some(), "{id}: held by a client that is not here");
            assert!(
                client.is_some_and(|client| client.claims.contains_key(&granted.class)),
                "{id}: of a class that its client never named"
            );
            let builder = self.builders.get(&granted.builder);
            assert!(
                builder.is_some_and(|builder| builder.architecture == granted.class.architecture),
                "{id}: on a builder that is not here, or of another architecture"
            );
        }
    }
}

//! The machine: sessions with schedulers, leases that knock, jobs that run.
//!
//! A lease is checked when its job arrives and never again: a job that was admitted runs to its end, whatever becomes of
//! lease, scheduler or epoch meanwhile. Its slot is reported as outstanding until then.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::builder::{Admission, JobEnd, Settings};
use crate::engine::wire::farm::{Lease, Refusal};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, JobId, LeaseId};
use crate::model::moment::Moment;

/// What a scheduler told when it welcomed this builder. Outlives the connection: leases are good while nobody says otherwise.
#[derive(Debug)]
struct Session {
    lease_key: Digest,
    epoch: u64,
    /// The scheduler's clock…
    scheduler: Moment,
    /// …at this moment here.
    heard: Moment,
}

impl Session {
    /// The scheduler's clock now. Late by the time that its message took, in favour of the lease.
    fn scheduler_time(&self, now: Moment) -> Moment {
        self.scheduler + now.since(self.heard)
    }
}

/// Counters and state, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub slots: u32,
    pub running: u32,
    pub draining: bool,
    /// Jobs whose compiler ran, whatever its exit status.
    pub finished: u64,
    /// Jobs that this builder could not run properly.
    pub failed: u64,
    /// Jobs turned away.
    pub refused: u64,
}

#[derive(Debug)]
pub struct Builder {
    settings: Settings,
    id: BuilderId,
    session: Option<Session>,
    jobs: BTreeMap<JobId, LeaseId>,
    draining: bool,
    finished: u64,
    failed: u64,
    refused: u64,
}

impl Builder {
    pub fn new(settings: Settings, id: BuilderId) -> Self {
        Self { settings, id, session: None, jobs: BTreeMap::new(), draining: false, finished: 0, failed: 0, refused: 0 }
    }

    /// A scheduler took this builder in: only leases under its key are good from now on.
    pub fn welcomed(&mut self, now: Moment, lease_key: Digest, scheduler: Moment, epoch: u64) {
        self.session = Some(Session { lease_key, epoch, scheduler, heard: now });
    }

    /// The scheduler's answer to a heartbeat, or a new epoch.
    pub fn clock(&mut self, now: Moment, scheduler: Moment, epoch: u64) {
        if let Some(session) = &mut self.session {
            session.scheduler = scheduler;
            session.heard = now;
            session.epoch = session.epoch.max(epoch);
        }
    }

    /// Takes the job in, or says why not. An admitted job holds its slot until [`Builder::ended`].
    pub fn admit(&mut self, now: Moment, client: ClientId, lease: &Lease, job: JobId) -> Admission {
        match self.check(now, client, lease).and_then(|()| self.check_room(lease, job)) {
            Ok(()) => {
                self.jobs.insert(job, lease.id);
                Admission::Admitted
            }
            Err((why, message)) => {
                self.refused += 1;
                Admission::Refused { why, message }
            }
        }
    }

    /// Whether `lease` is good here and now for `client`, without taking a slot: what a toolchain's upload needs.
    ///
    /// # Errors
    /// Refusal and text, for the peer.
    pub fn check(&self, now: Moment, client: ClientId, lease: &Lease) -> Result<(), (Refusal, String)> {
        let refused = |message: &str| Err((Refusal::Lease, message.to_owned()));
        let Some(session) = &self.session else { return refused("this builder has not found its scheduler yet") };
        if lease.builder != self.id {
            return refused("the lease is for another builder");
        }
        if !lease.mac.verifies(&lease.code(&session.lease_key, client)) {
            return refused("the lease was not given to this client by this builder's scheduler");
        }
        // A later epoch than ours is good: the lease has overtaken the scheduler's message to us.
        if lease.epoch < session.epoch {
            return refused("the lease was revoked");
        }
        if lease.expires < session.scheduler_time(now) {
            return refused("the lease has expired");
        }
        Ok(())
    }

    fn check_room(&self, lease: &Lease, job: JobId) -> Result<(), (Refusal, String)> {
        if self.draining {
            return Err((Refusal::Draining, "this builder takes no new jobs".to_owned()));
        }
        if self.jobs.contains_key(&job) {
            return Err((Refusal::Busy, "this job is running already".to_owned()));
        }
        let on_lease = self.jobs.values().filter(|&&id| id == lease.id).count();
        if on_lease >= lease.slots as usize {
            return Err((Refusal::Busy, "this lease has its job already".to_owned()));
        }
        if self.jobs.len() >= self.settings.slots as usize {
            return Err((Refusal::Busy, format!("all {} slots are taken", self.settings.slots)));
        }
        Ok(())
    }

    /// The job is over and nothing of it is left; its slot is free. Unknown jobs are passed over.
    pub fn ended(&mut self, job: JobId, how: JobEnd) {
        if self.jobs.remove(&job).is_none() {
            return;
        }
        match how {
            JobEnd::Finished => self.finished += 1,
            JobEnd::Failed => self.failed += 1,
            JobEnd::NothingRan => {}
        }
    }

    pub fn drain(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Has so many slots from now on. Jobs above them run to their end.
    pub fn set_slots(&mut self, slots: u32) {
        self.settings.slots = slots;
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Leases with a job running, for heartbeats and for a new scheduler.
    pub fn outstanding(&self) -> Vec<LeaseId> {
        self.jobs.values().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            slots: self.settings.slots,
            running: u32::try_from(self.jobs.len()).unwrap_or(u32::MAX),
            draining: self.draining,
            finished: self.finished,
            failed: self.failed,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::id::Instance;

    fn key() -> Digest {
        Digest::from_bytes([7; 32])
    }

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn id(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn client() -> ClientId {
        ClientId(id("client"))
    }

    fn job(number: u64) -> JobId {
        JobId { instance: Instance(1), number }
    }

    fn lease(number: u64) -> Lease {
        let mut lease = Lease {
            id: LeaseId { instance: Instance(9), number },
            builder: BuilderId(id("builder")),
            builder_name: "b".to_owned(),
            addresses: Vec::new(),
            slots: 1,
            expires: at(130),
            epoch: 3,
            mac: key(),
        };
        lease.mac = lease.code(&key(), client());
        lease
    }

    fn builder() -> Builder {
        let mut builder = Builder::new(Settings { slots: 2 }, BuilderId(id("builder")));
        builder.welcomed(at(0), key(), at(100), 3);
        builder
    }

    #[track_caller]
    fn check_refused(admission: Admission, expected: Refusal) {
        assert!(matches!(admission, Admission::Refused { why, .. } if why == expected), "{admission:?}");
    }

    #[test]
    fn a_good_lease_runs_one_job_at_a_time() {
        let mut builder = builder();
        assert_eq!(builder.admit(at(1), client(), &lease(1), job(1)), Admission::Admitted);
        check_refused(builder.admit(at(1), client(), &lease(1), job(2)), Refusal::Busy);
        check_refused(builder.admit(at(1), client(), &lease(2), job(1)), Refusal::Busy);
        assert_eq!(builder.admit(at(1), client(), &lease(2), job(2)), Admission::Admitted);
        check_refused(builder.admit(at(1), client(), &lease(3), job(3)), Refusal::Busy);
        assert_eq!(builder.outstanding(), [lease(1).id, lease(2).id]);
        builder.ended(job(1), JobEnd::Finished);
        assert_eq!(builder.admit(at(1), client(), &lease(1), job(3)), Admission::Admitted);
        assert_eq!(
            builder.snapshot(),
            Snapshot { slots: 2, running: 2, finished: 1, refused: 3, ..Snapshot::default() }
        );
    }

    #[test]
    fn any_change_to_a_lease_is_found_out() {
        let mut builder = builder();
        let forge = |change: fn(&mut Lease)| {
            let mut forged = lease(1);
            change(&mut forged);
            forged
        };
        for forged in [
            forge(|lease| lease.slots = 2),
            forge(|lease| lease.epoch = 4),
            forge(|lease| lease.expires = at(1000)),
            forge(|lease| lease.id.number = 2),
            forge(|lease| lease.builder = BuilderId(id("other"))),
            forge(|lease| lease.mac = Digest::from_bytes([0; 32])),
        ] {
            check_refused(builder.admit(at(1), client(), &forged, job(1)), Refusal::Lease);
        }
        check_refused(builder.admit(at(1), ClientId(id("other")), &lease(1), job(1)), Refusal::Lease);
    }

    #[test]
    fn leases_expire_by_the_schedulers_clock() {
        let mut builder = builder();
        assert!(builder.check(at(30), client(), &lease(1)).is_ok());
        assert!(builder.check(at(31), client(), &lease(1)).is_err());
        builder.clock(at(31), at(120), 3);
        assert!(builder.check(at(31), client(), &lease(1)).is_ok());
    }

    #[test]
    fn a_new_epoch_or_key_voids_leases_and_spares_jobs() {
        let mut builder = builder();
        assert_eq!(builder.admit(at(1), client(), &lease(1), job(1)), Admission::Admitted);
        builder.clock(at(1), at(101), 4);
        check_refused(builder.admit(at(1), client(), &lease(2), job(2)), Refusal::Lease);
        builder.welcomed(at(2), Digest::from_bytes([8; 32]), at(0), 0);
        check_refused(builder.admit(at(2), client(), &lease(2), job(2)), Refusal::Lease);
        assert_eq!(builder.outstanding(), [lease(1).id]);
    }

    #[test]
    fn a_draining_builder_and_one_without_a_scheduler_refuse() {
        let mut lonely = Builder::new(Settings { slots: 2 }, BuilderId(id("builder")));
        check_refused(lonely.admit(at(1), client(), &lease(1), job(1)), Refusal::Lease);
        let mut builder = builder();
        builder.drain(true);
        check_refused(builder.admit(at(1), client(), &lease(1), job(1)), Refusal::Draining);
        builder.drain(false);
        assert_eq!(builder.admit(at(1), client(), &lease(1), job(1)), Admission::Admitted);
    }
}

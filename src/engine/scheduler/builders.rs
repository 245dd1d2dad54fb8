//! What the scheduler knows of a builder, and how long a bad one is left alone.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::id::{BuilderId, ClientId, LeaseId};
use crate::model::limits::{QUARANTINE_FIRST, QUARANTINE_FORGIVEN_JOBS, QUARANTINE_MAX, SLOTS_MAX};
use crate::model::moment::Moment;
use crate::model::toolchain::IsaLevel;

#[derive(Debug)]
pub(super) struct Builder {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) slots: u32,
    pub(super) architecture: String,
    pub(super) level: IsaLevel,
    /// Leases of earlier epochs are void there.
    pub(super) epoch: u64,
    pub(super) draining: bool,
    /// Leases with a job running, by the last heartbeat.
    pub(super) running: BTreeSet<LeaseId>,
    /// Void leases whose jobs may run still: their slots are taken until a heartbeat does not name them.
    pub(super) orphans: BTreeSet<LeaseId>,
    /// By the last heartbeat; none has come yet where this is empty.
    pub(super) counts: Option<Counts>,
    /// Who complained last, and what had been finished then.
    complaint: Option<(ClientId, u64)>,
}

/// What a builder brings along.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) slots: u32,
    pub(super) architecture: String,
    pub(super) level: IsaLevel,
    pub(super) orphans: BTreeSet<LeaseId>,
}

/// Jobs since the builder's process has started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) finished: u64,
    pub(super) failed: u64,
}

impl Counts {
    fn since(self, before: Self) -> Self {
        Self {
            finished: self.finished.saturating_sub(before.finished),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// What a heartbeat says beyond the one before.
#[derive(Debug)]
pub(super) struct News {
    /// Void leases whose jobs have ended.
    pub(super) freed: usize,
    pub(super) jobs: Counts,
}

impl Builder {
    pub(super) fn new(offer: Offer, epoch: u64) -> Self {
        let Offer { name, addresses, slots, architecture, level, orphans } = offer;
        Self {
            name,
            addresses,
            slots,
            architecture,
            level,
            epoch,
            draining: false,
            running: orphans.clone(),
            orphans,
            counts: None,
            complaint: None,
        }
    }

    pub(super) fn orphaned(&self) -> u32 {
        u32::try_from(self.orphans.len()).unwrap_or(u32::MAX)
    }

    /// Takes a heartbeat in. The first one of a registration tells of the time before it, which is no news.
    pub(super) fn heard(&mut self, outstanding: Vec<LeaseId>, counts: Counts) -> News {
        let before = self.orphans.len();
        // Not bounded by its slots: those may have been more when these jobs began.
        self.running = outstanding.into_iter().take(SLOTS_MAX as usize).collect();
        self.orphans.retain(|lease| self.running.contains(lease));
        let jobs = counts.since(self.counts.unwrap_or(counts));
        self.counts = Some(counts);
        News { freed: before - self.orphans.len(), jobs }
    }

    /// Notes who complains. True where another client did so last, and nothing has been finished since: then it is not the one
    /// client's network, or its sources.
    pub(super) fn is_blamed_by_two(&mut self, client: ClientId) -> bool {
        let finished = self.counts.unwrap_or_default().finished;
        let before = self.complaint.replace((client, finished));
        before.is_some_and(|(other, then)| other != client && then == finished)
    }
}

/// Whom a builder is kept from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Whom {
    Everybody,
    One(ClientId),
}

impl Whom {
    pub(super) fn includes(self, client: ClientId) -> bool {
        match self {
            Self::Everybody => true,
            Self::One(one) => one == client,
        }
    }
}

/// Failures of a builder that are not forgotten yet, for one client or for all. Outlives its registration: a builder that crashes
/// with each job and comes back at once is a bad one too.
#[derive(Debug, Default)]
pub(super) struct Health {
    strikes: u32,
    /// No new leases before.
    pub(super) paused_until: Moment,
    /// Good work since the last failure.
    good: u64,
}

impl Health {
    /// Counts a failure and sets the pause; false for those that come during a pause, which are echoes of the one that began it.
    pub(super) fn strike(&mut self, now: Moment) -> bool {
        if self.is_paused(now) {
            return false;
        }
        self.paused_until = now + pause(self.strikes);
        self.strikes = self.strikes.saturating_add(1);
        self.good = 0;
        true
    }

    pub(super) fn is_paused(&self, now: Moment) -> bool {
        self.strikes > 0 && now < self.paused_until
    }

    /// An administrator's word, whatever it did.
    pub(super) fn pause_until(&mut self, moment: Moment) {
        self.paused_until = moment;
        self.strikes = self.strikes.max(1);
        self.good = 0;
    }

    /// Failures still count when the next one comes.
    pub(super) fn end_pause(&mut self, now: Moment) {
        self.paused_until = self.paused_until.min(now);
    }

    pub(super) fn praise(&mut self, n_jobs: u64) {
        self.good = self.good.saturating_add(n_jobs);
    }

    /// True where good work has outweighed the failures.
    pub(super) fn is_forgiven(&self, now: Moment) -> bool {
        !self.is_paused(now) && self.good >= QUARANTINE_FORGIVEN_JOBS
    }

    /// When even a builder without work has been quiet long enough.
    pub(super) fn forgotten_at(&self) -> Moment {
        self.paused_until + QUARANTINE_MAX
    }
}

fn pause(strikes: u32) -> Duration {
    QUARANTINE_FIRST.saturating_mul(1u32.checked_shl(strikes).unwrap_or(u32::MAX)).min(QUARANTINE_MAX)
}

/// A builder that has room, as placement sees it.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) builder: BuilderId,
    pub(super) slots: u32,
    pub(super) free: u32,
    /// Slots that recalled leases will free. Less than their number where there are more leases than slots, see
    /// [`resize`](super::Scheduler::resize).
    pub(super) coming: u32,
}

/// Spreads load: the builder with the largest share of its slots free, then the one with most free, then the first.
pub(super) fn roomiest(rooms: &[Room], is_open: impl Fn(&Room) -> bool) -> Option<usize> {
    let share = |room: &Room, of: &Room| u64::from(room.free) * u64::from(of.slots);
    (0..rooms.len()).filter(|&index| rooms[index].free > 0 && is_open(&rooms[index])).reduce(|best, index| {
        let (a, b) = (&rooms[best], &rooms[index]);
        if (share(b, a), b.free) > (share(a, b), a.free) { index } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn room(number: u8, slots: u32, free: u32) -> Room {
        Room { builder: BuilderId(Digest::from_bytes([number; 32])), slots, free, coming: 0 }
    }

    #[test]
    fn load_spreads_by_share() {
        assert_eq!(roomiest(&[room(1, 16, 8), room(2, 4, 3)], |_| true), Some(1));
        assert_eq!(roomiest(&[room(1, 4, 4), room(2, 16, 16)], |_| true), Some(1));
        assert_eq!(roomiest(&[room(1, 4, 2), room(2, 4, 2)], |_| true), Some(0));
        assert_eq!(roomiest(&[room(1, 4, 0), room(2, 0, 0)], |_| true), None);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!(pause(0), QUARANTINE_FIRST);
        assert_eq!(pause(3), QUARANTINE_FIRST * 8);
        assert_eq!(pause(31), QUARANTINE_MAX);
        assert_eq!(pause(32), QUARANTINE_MAX);
    }

    #[test]
    fn echoes_of_one_failure_count_once() {
        let mut health = Health::default();
        assert!(health.strike(Moment::START));
        assert!(!health.strike(Moment::START));
        assert_eq!(health.paused_until, Moment::START + QUARANTINE_FIRST);
        let later = health.paused_until;
        assert!(!health.is_forgiven(later));
        health.praise(QUARANTINE_FORGIVEN_JOBS);
        assert!(!health.is_forgiven(Moment::START));
        assert!(health.is_forgiven(later));
    }
}

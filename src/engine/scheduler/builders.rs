//! What the scheduler knows of a builder, and how long a bad one is left alone.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::id::{BuilderId, LeaseId};
use crate::model::limits::{QUARANTINE_FIRST, QUARANTINE_FORGIVEN_JOBS, QUARANTINE_MAX};
use crate::model::moment::Moment;

#[derive(Debug)]
pub(super) struct Builder {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) slots: u32,
    pub(super) architecture: String,
    /// Leases of earlier epochs are void there.
    pub(super) epoch: u64,
    pub(super) draining: bool,
    /// Leases with a job running, by the last heartbeat.
    pub(super) running: BTreeSet<LeaseId>,
    /// Void leases whose jobs may run still: their slots are taken until a heartbeat does not name them.
    pub(super) orphans: BTreeSet<LeaseId>,
    pub(super) finished: u64,
    pub(super) failed: u64,
}

impl Builder {
    pub(super) fn orphaned(&self) -> u32 {
        u32::try_from(self.orphans.len()).unwrap_or(u32::MAX)
    }

    /// Takes a heartbeat in; how many orphans have ended.
    pub(super) fn heard(&mut self, outstanding: Vec<LeaseId>, finished: u64, failed: u64) -> usize {
        let before = self.orphans.len();
        self.running = outstanding.into_iter().take(self.slots as usize).collect();
        self.orphans.retain(|lease| self.running.contains(lease));
        self.finished = finished;
        self.failed = failed;
        before - self.orphans.len()
    }
}

/// Failures of a builder that are not forgotten yet. Outlives its registration: a builder that crashes with each job and
/// comes back at once is a bad one too.
#[derive(Debug, Default)]
pub(super) struct Health {
    strikes: u32,
    /// No new leases before.
    pub(super) paused_until: Moment,
    /// Its count of finished jobs at the last failure.
    finished: u64,
}

impl Health {
    /// Counts a failure and sets the pause. Those that come during a pause are echoes of the one that began it.
    pub(super) fn strike(&mut self, now: Moment, finished: u64) {
        if self.is_paused(now) {
            return;
        }
        self.paused_until = now + pause(self.strikes);
        self.strikes = self.strikes.saturating_add(1);
        self.finished = finished;
    }

    pub(super) fn is_paused(&self, now: Moment) -> bool {
        self.strikes > 0 && now < self.paused_until
    }

    /// True where good work has outweighed the failures.
    pub(super) fn is_forgiven(&self, now: Moment, finished: u64) -> bool {
        !self.is_paused(now) && finished >= self.finished.saturating_add(QUARANTINE_FORGIVEN_JOBS)
    }

    /// When even a builder without work has been quiet long enough.
    pub(super) fn forgotten_at(&self) -> Moment {
        self.paused_until + QUARANTINE_MAX
    }

    /// A new process counts its jobs from zero.
    pub(super) fn restarted(&mut self) {
        self.finished = 0;
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
}

/// Spreads load: the builder with the largest share of its slots free, then the one with most free, then the first.
pub(super) fn roomiest(rooms: &[Room]) -> Option<usize> {
    let share = |room: &Room, of: &Room| u64::from(room.free) * u64::from(of.slots);
    (0..rooms.len()).filter(|&index| rooms[index].free > 0).reduce(|best, index| {
        let (a, b) = (&rooms[best], &rooms[index]);
        if (share(b, a), b.free) > (share(a, b), a.free) { index } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn room(number: u8, slots: u32, free: u32) -> Room {
        Room { builder: BuilderId(Digest::from_bytes([number; 32])), slots, free }
    }

    #[test]
    fn load_spreads_by_share() {
        assert_eq!(roomiest(&[room(1, 16, 8), room(2, 4, 3)]), Some(1));
        assert_eq!(roomiest(&[room(1, 4, 4), room(2, 16, 16)]), Some(1));
        assert_eq!(roomiest(&[room(1, 4, 2), room(2, 4, 2)]), Some(0));
        assert_eq!(roomiest(&[room(1, 4, 0), room(2, 0, 0)]), None);
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
        health.strike(Moment::START, 5);
        health.strike(Moment::START, 5);
        assert_eq!(health.paused_until, Moment::START + QUARANTINE_FIRST);
        assert!(!health.is_forgiven(Moment::START, 5 + QUARANTINE_FORGIVEN_JOBS));
        let later = health.paused_until;
        assert!(!health.is_forgiven(later, 5));
        assert!(health.is_forgiven(later, 5 + QUARANTINE_FORGIVEN_JOBS));
    }
}

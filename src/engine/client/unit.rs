//! One unit on its way: where it is, and what has gone wrong so far.

use crate::engine::wire::farm::Class;
use crate::model::id::{BuilderId, LeaseId};
use crate::model::limits::{BUILDER_AVOIDED, LEASE_REFUSALS_MAX, LEASE_REFUSED_PAUSE};
use crate::model::moment::Moment;
use crate::model::reason::{Reason, Why};

#[derive(Clone, Debug)]
pub(super) enum State {
    /// Waits for a slot, remote or local.
    Queued { class: Class },
    /// At a builder.
    Remote { class: Class, lease: LeaseId },
    /// Waits for a local slot, and cannot go elsewhere.
    Due { why: Why },
    /// Compiles here although it need not.
    Chosen { class: Class },
    /// Compiles here because it must.
    Forced,
}

#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) state: State,
    pub(super) trouble: Trouble,
}

impl Unit {
    pub(super) fn new(state: State) -> Self {
        Self { state, trouble: Trouble::default() }
    }
}

/// What a unit has been through.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// Builders that failed it.
    failures: u32,
    /// Leases that were not accepted since the last builder failed it.
    refusals: u32,
    /// Not to be sent before.
    resumes: Moment,
    /// The builder that failed it last, kept away from until then.
    avoided: Option<(BuilderId, Moment)>,
    last: Option<Why>,
}

impl Trouble {
    /// A builder failed the unit; `None` where it has had its attempts.
    pub(super) fn builder_failed(
        &mut self,
        now: Moment,
        builder: BuilderId,
        why: Why,
        attempts: u32,
    ) -> Option<Moment> {
        self.failures += 1;
        self.refusals = 0;
        self.last = Some(why);
        let until = now + BUILDER_AVOIDED;
        self.avoided = Some((builder, until));
        (self.failures < attempts).then_some(until)
    }

    /// A lease was not accepted: the unit pauses, twice as long each time. `None` where it has had enough of that.
    pub(super) fn lease_refused(&mut self, now: Moment) -> Option<Moment> {
        let pause = LEASE_REFUSED_PAUSE.saturating_mul(1 << self.refusals.min(LEASE_REFUSALS_MAX));
        self.refusals += 1;
        self.resumes = now + pause;
        (self.refusals <= LEASE_REFUSALS_MAX).then_some(self.resumes)
    }

    pub(super) fn is_paused(&self, now: Moment) -> bool {
        now < self.resumes
    }

    pub(super) fn avoids(&self, now: Moment, builder: BuilderId) -> bool {
        self.avoided.is_some_and(|(avoided, until)| avoided == builder && now < until)
    }

    /// When the unit may do next what it may not do now.
    pub(super) fn next_change(&self, now: Moment) -> Option<Moment> {
        let avoided = self.avoided.map(|(_, until)| until);
        [Some(self.resumes), avoided].into_iter().flatten().filter(|&moment| moment > now).min()
    }

    /// The reason to give when the unit goes local now: a builder's failure outweighs what holds at the moment.
    pub(super) fn why_local(&self, otherwise: Reason) -> Why {
        self.last.clone().unwrap_or_else(|| otherwise.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_to_an_end() {
        let mut trouble = Trouble::default();
        let mut now = Moment::START;
        let mut pauses = 0;
        while let Some(resumes) = trouble.lease_refused(now) {
            assert!(trouble.is_paused(now) && !trouble.is_paused(resumes));
            assert_eq!(trouble.next_change(now), Some(resumes));
            now = resumes;
            pauses += 1;
        }
        assert_eq!(pauses, LEASE_REFUSALS_MAX);
        assert_eq!(now.since_start(), LEASE_REFUSED_PAUSE * ((1 << LEASE_REFUSALS_MAX) - 1));
    }
}

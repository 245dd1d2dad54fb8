//! Who is next for a free slot, and who has one too many. Pure arithmetic over one architecture's claims.
//!
//! Max-min fair: the next slot goes to whoever has fewest, and a slot is recalled only where moving it makes the smaller
//! side larger than it leaves the larger one. Where there are more claimants than slots, they take turns.

use crate::engine::wire::farm::Class;
use crate::model::id::ClientId;
use crate::model::limits::LEASE_TURN;
use crate::model::moment::Moment;

/// What one client wants and has of one class.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) client: ClientId,
    pub(super) class: Class,
    pub(super) wanted: u32,
    /// Leases in all.
    pub(super) held: u32,
    /// Those of them that are neither recalled nor on a builder that takes no new jobs.
    pub(super) kept: u32,
    /// When the oldest of these was given.
    pub(super) oldest: Option<Moment>,
    /// Number of the last lease given: who was served longest ago goes first among equals.
    pub(super) served: u64,
}

impl Claim {
    pub(super) fn is_hungry(&self) -> bool {
        self.wanted > self.held
    }

    /// One more lease, with this number.
    pub(super) fn gains(&mut self, now: Moment, number: u64) {
        self.held += 1;
        self.kept += 1;
        self.oldest.get_or_insert(now);
        self.served = number;
    }

    /// Asks for no more than it has.
    pub(super) fn forgo(&mut self) {
        self.wanted = self.wanted.min(self.held);
    }

    pub(super) fn unmet(&self) -> u32 {
        self.wanted.saturating_sub(self.held)
    }
}

/// The claim that the next free slot belongs to.
pub(super) fn next(claims: &[Claim]) -> Option<usize> {
    next_of(claims, |_| true)
}

/// As [`next`], among those that `may` have one.
pub(super) fn next_of(claims: &[Claim], may: impl Fn(usize) -> bool) -> Option<usize> {
    let rank = |claim: &Claim| (total(claims, claim.client, |claim| claim.held), claim.held, claim.served);
    (0..claims.len()).filter(|&index| claims[index].is_hungry() && may(index)).min_by_key(|&index| rank(&claims[index]))
}

/// Whose turn is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// Take one lease from one claim now, for the sake of another.
    Now {
        from: usize,
        to: usize,
    },
    /// Somebody has nothing, and can have a turn then.
    At(Moment),
    None,
}

/// Decides one recall, with `coming` slots under way to become free already. The caller carries it out and asks again.
pub(super) fn recall(now: Moment, claims: &[Claim], coming: u32) -> Recall {
    let mut claims = claims.to_vec();
    for _ in 0..coming {
        let Some(index) = next(&claims) else { break };
        claims[index].held += 1;
        claims[index].kept += 1;
        // Not there yet, so not to be taken either: `oldest` stays.
    }
    let Some(poor) = next(&claims) else { return Recall::None };
    match richest(&claims, poor) {
        Some(rich) => Recall::Now { from: rich, to: poor },
        None => turn(now, &claims, poor),
    }
}

/// The claim that should give way to `poor`, by counts alone.
fn richest(claims: &[Claim], poor: usize) -> Option<usize> {
    let level = |index: usize| Level::of(claims, index, poor);
    (0..claims.len())
        .filter(|&index| index != poor && claims[index].oldest.is_some() && level(index).gives_way())
        .max_by_key(|&index| (level(index).theirs, claims[index].kept, claims[index].served))
}

/// More claimants than slots: the oldest lease makes room for one who has none, when it has had its turn.
fn turn(now: Moment, claims: &[Claim], poor: usize) -> Recall {
    let has_none = |index: usize| Level::of(claims, index, poor).ours == 0;
    let oldest = (0..claims.len())
        .filter(|&index| index != poor && has_none(index))
        .filter_map(|index| claims[index].oldest.map(|oldest| (oldest, index)))
        .min();
    match oldest {
        Some((oldest, index)) if oldest + LEASE_TURN <= now => Recall::Now { from: index, to: poor },
        Some((oldest, _)) => Recall::At(oldest + LEASE_TURN),
        None => Recall::None,
    }
}

/// Two claims seen side by side: by class where they are one client's, by client where not.
struct Level {
    theirs: u32,
    ours: u32,
}

impl Level {
    fn of(claims: &[Claim], rich: usize, poor: usize) -> Self {
        let (rich, poor) = (&claims[rich], &claims[poor]);
        if rich.client == poor.client {
            return Self { theirs: rich.kept, ours: poor.held };
        }
        let kept = total(claims, rich.client, |claim| claim.kept);
        Self { theirs: kept, ours: total(claims, poor.client, |claim| claim.held) }
    }

    fn gives_way(&self) -> bool {
        self.theirs >= self.ours + 2
    }
}

fn total(claims: &[Claim], client: ClientId, count: fn(&Claim) -> u32) -> u32 {
    claims.iter().filter(|claim| claim.client == client).map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;
    use crate::model::toolchain::{IsaLevel, ToolchainId};

    fn at(seconds: u64) -> Moment {
        Moment::START + std::time::Duration::from_secs(seconds)
    }

    fn claim(client: u8, class: u8, wanted: u32, held: u32) -> Claim {
        Claim {
            client: ClientId(Digest::from_bytes([client; 32])),
            class: Class {
                toolchain: ToolchainId(Digest::from_bytes([class; 32])),
                architecture: "x86_64".to_owned(),
                level: IsaLevel::default(),
            },
            wanted,
            held,
            kept: held,
            oldest: (held > 0).then_some(at(0)),
            served: 0,
        }
    }

    /// Gives out `slots` one by one; what each claim has in the end.
    fn fill(mut claims: Vec<Claim>, slots: u32) -> Vec<u32> {
        for served in 0..u64::from(slots) {
            let Some(index) = next(&claims) else { break };
            claims[index].held += 1;
            claims[index].served = served + 1;
        }
        claims.iter().map(|claim| claim.held).collect()
    }

    #[test]
    fn slots_are_shared_max_min() {
        assert_eq!(fill(vec![claim(1, 0, 100, 0), claim(2, 0, 2, 0), claim(3, 0, 100, 0)], 10), [4, 2, 4]);
        assert_eq!(fill(vec![claim(1, 0, 3, 0), claim(2, 0, 1, 0)], 10), [3, 1]);
    }

    #[test]
    fn two_classes_do_not_make_two_clients() {
        assert_eq!(fill(vec![claim(1, 0, 9, 0), claim(1, 1, 9, 0), claim(2, 0, 9, 0)], 8), [2, 2, 4]);
    }

    #[test]
    fn recalls_stop_where_a_move_helps_nobody() {
        let mut claims = vec![claim(1, 0, 9, 8), claim(2, 0, 9, 0)];
        let mut recalled = 0;
        while let Recall::Now { from: 0, to: 1 } = recall(at(1), &claims, recalled) {
            claims[0].kept -= 1;
            recalled += 1;
        }
        assert_eq!(recalled, 4);
        assert_eq!(recall(at(1), &[claim(1, 0, 9, 5), claim(2, 0, 9, 4)], 0), Recall::None);
    }

    #[test]
    fn more_clients_than_slots_take_turns() {
        let claims = [claim(1, 0, 9, 1), claim(2, 0, 9, 1), claim(3, 0, 9, 0)];
        assert_eq!(recall(at(0), &claims, 0), Recall::At(at(0) + LEASE_TURN));
        assert_eq!(recall(at(0) + LEASE_TURN, &claims, 0), Recall::Now { from: 0, to: 2 });
        assert_eq!(recall(at(0) + LEASE_TURN, &claims, 1), Recall::None);
    }

    #[test]
    fn nobody_is_recalled_for_nothing() {
        assert_eq!(recall(at(9), &[claim(1, 0, 9, 9), claim(2, 0, 0, 0)], 0), Recall::None);
        assert_eq!(recall(at(9), &[claim(2, 0, 5, 0)], 0), Recall::None);
    }
}

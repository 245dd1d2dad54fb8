//! Which trees make room for another: the least recently used that no job holds.

use crate::model::toolchain::ToolchainId;

/// A tree in the store.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub id: ToolchainId,
    pub bytes: u64,
    /// Grows with each use.
    pub used: u64,
    pub held: bool,
}

/// What has to go so that `wanted` more bytes stay within `max`; none where what is held leaves too little.
pub fn make_room(residents: &[Resident], wanted: u64, max: u64) -> Option<Vec<ToolchainId>> {
    let mut total = residents.iter().map(|resident| resident.bytes).fold(wanted, u64::saturating_add);
    let mut free: Vec<_> = residents.iter().filter(|resident| !resident.held).collect();
    free.sort_by_key(|resident| resident.used);
    let mut evicted = Vec::new();
    for resident in free {
        if total <= max {
            break;
        }
        total -= resident.bytes;
        evicted.push(resident.id);
    }
    (total <= max).then_some(evicted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn resident(name: u8, bytes: u64, used: u64, held: bool) -> Resident {
        Resident { id: ToolchainId(Digest::of(&[name])), bytes, used, held }
    }

    #[test]
    fn the_oldest_unheld_go_first_and_no_more_than_needed() {
        let residents =
            [resident(1, 10, 3, false), resident(2, 10, 1, true), resident(3, 10, 2, false), resident(4, 10, 4, false)];
        assert_eq!(make_room(&residents, 10, 50), Some(vec![]));
        assert_eq!(make_room(&residents, 10, 40), Some(vec![residents[2].id]));
        assert_eq!(make_room(&residents, 25, 40), Some(vec![residents[2].id, residents[0].id, residents[3].id]));
        assert_eq!(make_room(&residents, 31, 40), None);
        assert_eq!(make_room(&[], 41, 40), None);
    }
}

//! Time as engines see it: it arrives with every call, and only `os::clock` can read it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the daemon started. Has no `now()` on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    pub const START: Self = Self(0);

    /// Saturates after 584 years.
    pub fn after_start(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` to `self`; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::after_start(Duration::from_nanos(self.0).saturating_add(duration))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Deadlines by key, at most one a key.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Moment>,
    by_moment: BTreeSet<(Moment, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_moment: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Moment) {
        self.stop(&key);
        self.by_moment.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    pub fn stop(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_moment.remove(&(at, key.clone()));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Takes out one key whose deadline has come, earliest first.
    pub fn expired(&mut self, now: Moment) -> Option<K> {
        let (at, key) = self.by_moment.first()?.clone();
        if at > now {
            return None;
        }
        self.stop(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_in_order_and_once() {
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set('a', at(3));
        timers.set('b', at(1));
        timers.set('a', at(2));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.expired(at(0)), None);
        assert_eq!(timers.expired(at(5)), Some('b'));
        assert_eq!(timers.expired(at(5)), Some('a'));
        assert_eq!(timers.expired(at(5)), None);
        assert_eq!(timers.next(), None);
    }
}

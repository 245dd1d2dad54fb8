//! A bounded map that forgets what was not asked for lately.

use std::collections::BTreeMap;

/// When the young generation is full, it becomes the old one, and the old one is forgotten; whatever is asked for is young again.
#[derive(Debug)]
pub struct Generations<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    max: usize,
}

impl<K: Ord, V: Clone> Generations<K, V> {
    /// Holds `max` values at most, and surely the half of them that was asked for last.
    pub fn new(max: usize) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), max }
    }

    pub fn find(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.remember(key, value.clone());
        Some(value)
    }

    pub fn remember(&mut self, key: K, value: V) {
        if self.young.len() >= self.max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// What is known, or else something new that is known from now on.
    pub fn find_or_default(&mut self, key: K) -> V
    where
        V: Default,
    {
        self.find(&key).unwrap_or_else(|| {
            let value = V::default();
            self.remember(key, value.clone());
            value
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_stays_bounded_and_what_is_used_stays_known() {
        let mut map = Generations::new(8);
        for key in 0..100 {
            map.remember(key, key);
            assert_eq!(map.find(&0), Some(0), "after {key}");
            assert!(map.young.len() + map.old.len() <= 8);
        }
        assert_eq!(map.find(&50), None);
    }

    #[test]
    fn a_default_is_made_once() {
        let mut map: Generations<u8, std::sync::Arc<()>> = Generations::new(8);
        let first = map.find_or_default(1);
        assert!(std::sync::Arc::ptr_eq(&first, &map.find_or_default(1)));
        assert!(!std::sync::Arc::ptr_eq(&first, &map.find_or_default(2)));
    }
}

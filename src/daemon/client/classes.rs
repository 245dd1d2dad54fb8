//! What is found out once for each class of commands: those of one toolchain that are the same in all words that matter to what
//! the driver does.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::model::generations::Generations;
use crate::model::job::Bytes;
use crate::model::limits::COMMAND_CLASSES_KNOWN_MAX;
use crate::model::toolchain::ToolchainId;

/// Forgets classes that were not asked for lately; whoever needs one finds it out again.
#[derive(Debug)]
pub(super) struct ByClass<T>(Mutex<Generations<Class, Arc<OnceCell<T>>>>);

/// A toolchain, and the words that matter.
type Class = (ToolchainId, Vec<Bytes>);

impl<T> Default for ByClass<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations::new(COMMAND_CLASSES_KNOWN_MAX)))
    }
}

impl<T> ByClass<T> {
    /// Empty until somebody has found out; those who come meanwhile wait for that.
    pub(super) fn of(&self, toolchain: ToolchainId, words: Vec<Bytes>) -> Arc<OnceCell<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).find_or_default((toolchain, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    #[test]
    fn classes_are_told_apart_and_forgotten_when_there_are_too_many() {
        let toolchain = |n: usize| ToolchainId(Digest::of(&n.to_le_bytes()));
        let class = |n: usize| vec![Bytes::from(n.to_string())];
        let known = ByClass::<usize>::default();
        let (first, used) = (known.of(toolchain(1), class(1)), known.of(toolchain(1), class(2)));
        first.set(1).unwrap();
        assert_eq!(known.of(toolchain(1), class(1)).get(), Some(&1));
        assert_eq!(known.of(toolchain(2), class(1)).get(), None);
        for n in 3..3 + COMMAND_CLASSES_KNOWN_MAX {
            known.of(toolchain(1), class(n));
            assert!(Arc::ptr_eq(&used, &known.of(toolchain(1), class(2))), "after {n}");
        }
        assert_eq!(known.of(toolchain(1), class(1)).get(), None);
    }
}

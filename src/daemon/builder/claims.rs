//! One upload of a toolchain at a time, however many clients offer it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::toolchain::ToolchainId;

/// Toolchains under way, each with a channel that closes when its upload is over, well or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeMap<ToolchainId, watch::Receiver<()>>>>);

pub(super) enum Claim {
    /// Yours. Dropping it wakes everybody who waits.
    Granted(Granted),
    /// Somebody else's; ready when that one is over.
    Taken(watch::Receiver<()>),
}

pub(super) struct Granted {
    claims: Claims,
    toolchain: ToolchainId,
    _waiters: watch::Sender<()>,
}

impl Claims {
    pub(super) fn claim(&self, toolchain: ToolchainId) -> Claim {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = under_way.get(&toolchain) {
            return Claim::Taken(over.clone());
        }
        let (waiters, over) = watch::channel(());
        under_way.insert(toolchain, over);
        Claim::Granted(Granted { claims: self.clone(), toolchain, _waiters: waiters })
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let mut under_way = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.toolchain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_then_claims_itself() {
        let claims = Claims::default();
        let toolchain = ToolchainId(Digest::of(b"gcc"));
        let Claim::Granted(first) = claims.claim(toolchain) else { panic!("nobody has it") };
        let Claim::Taken(mut over) = claims.claim(toolchain) else { panic!("the first has it") };
        assert!(matches!(claims.claim(ToolchainId(Digest::of(b"clang"))), Claim::Granted(_)));
        drop(first);
        assert!(over.changed().await.is_err());
        assert!(matches!(claims.claim(toolchain), Claim::Granted(_)));
    }
}

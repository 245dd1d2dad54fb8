//! Who uploads which toolchain. One client at a time as a rule; another may as well where the first takes long, so that a slow
//! line delays nobody but its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::id::ClientId;
use crate::model::limits::UPLOADS_MAX;
use crate::model::toolchain::ToolchainId;

/// Uploads under way and clients that have offered something. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    shared: Arc<Shared>,
    /// How long the first of several offerers has the upload for itself.
    head_start: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Changes whenever an upload is over, well or not.
    over: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// When each upload of a toolchain has begun.
    uploads: BTreeMap<ToolchainId, Vec<Instant>>,
    offerers: BTreeSet<ClientId>,
}

/// A client's offer, its only one here. Goes with its request.
#[derive(Debug)]
pub(super) struct Offer {
    claims: Claims,
    client: ClientId,
}

/// The right to upload; given back by its drop.
#[derive(Debug)]
pub(super) struct Upload {
    claims: Claims,
    toolchain: ToolchainId,
    since: Instant,
}

/// Not yours yet.
#[derive(Debug)]
pub(super) struct Taken {
    /// When to ask again at the latest; none where all places are taken.
    again: Option<Instant>,
}

impl Claims {
    pub(super) fn new(head_start: Duration) -> Self {
        Self { shared: Arc::default(), head_start }
    }

    /// One offer a client: it has no use for more, and could otherwise fill every place alone.
    pub(super) fn offer(&self, client: ClientId) -> Option<Offer> {
        self.state().offerers.insert(client).then(|| Offer { claims: self.clone(), client })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offer {
    /// Watches for ends of uploads from now on.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.claims.shared.over.subscribe()
    }

    pub(super) fn claim(&self, now: Instant, toolchain: ToolchainId) -> Result<Upload, Taken> {
        let mut state = self.claims.state();
        if state.uploads.values().map(Vec::len).sum::<usize>() >= UPLOADS_MAX {
            return Err(Taken { again: None });
        }
        let begun = state.uploads.entry(toolchain).or_default();
        match begun.iter().max().map(|&last| last + self.claims.head_start) {
            Some(again) if now < again => Err(Taken { again: Some(again) }),
            _ => {
                begun.push(now);
                drop(state);
                Ok(Upload { claims: self.claims.clone(), toolchain, since: now })
            }
        }
    }
}

impl Taken {
    /// Until it makes sense to ask again.
    pub(super) async fn wait(self, mut over: watch::Receiver<()>) {
        let again = async {
            match self.again {
                Some(again) => tokio::time::sleep_until(again.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { _ = over.changed() => {} () = again => {} }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.claims.state().offerers.remove(&self.client);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut state = self.claims.state();
        if let Some(begun) = state.uploads.get_mut(&self.toolchain) {
            if let Some(index) = begun.iter().position(|since| *since == self.since) {
                begun.swap_remove(index);
            }
            if begun.is_empty() {
                state.uploads.remove(&self.toolchain);
            }
        }
        drop(state);
        self.claims.shared.over.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    const HEAD_START: Duration = Duration::from_secs(5);

    fn offer(claims: &Claims, name: &str) -> Option<Offer> {
        claims.offer(ClientId(Digest::of(name.as_bytes())))
    }

    fn toolchain(name: &str) -> ToolchainId {
        ToolchainId(Digest::of(name.as_bytes()))
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_then_claims_itself() {
        let (claims, now) = (Claims::new(HEAD_START), Instant::now());
        let (first, second) = (offer(&claims, "first").unwrap(), offer(&claims, "second").unwrap());
        let upload = first.claim(now, toolchain("gcc")).unwrap();
        let over = second.watch();
        let taken = second.claim(now, toolchain("gcc")).unwrap_err();
        assert!(offer(&claims, "third").unwrap().claim(now, toolchain("clang")).is_ok());
        drop(upload);
        taken.wait(over).await;
        assert!(second.claim(now, toolchain("gcc")).is_ok());
    }

    #[tokio::test]
    async fn a_slow_first_one_is_not_waited_for() {
        let (claims, now) = (Claims::new(HEAD_START), Instant::now());
        let offers = ["first", "second", "third"].map(|name| offer(&claims, name).unwrap());
        let _slow = offers[0].claim(now, toolchain("gcc")).unwrap();
        assert!(offers[1].claim(now + HEAD_START - Duration::from_millis(1), toolchain("gcc")).is_err());
        let _second = offers[1].claim(now + HEAD_START, toolchain("gcc")).unwrap();
        // It has its own head start.
        let again = offers[2].claim(now + HEAD_START, toolchain("gcc")).unwrap_err().again;
        assert_eq!(again, Some(now + 2 * HEAD_START));
    }

    #[test]
    fn a_client_has_one_offer_and_all_have_a_few_uploads() {
        let (claims, now) = (Claims::new(HEAD_START), Instant::now());
        let first = offer(&claims, "first");
        assert!(first.is_some() && offer(&claims, "first").is_none());
        drop(first);
        let names: Vec<String> = (0..=UPLOADS_MAX).map(|number| number.to_string()).collect();
        let offers: Vec<Offer> = names.iter().map(|name| offer(&claims, name).unwrap()).collect();
        let uploads: Vec<_> =
            names.iter().zip(&offers).map(|(name, offer)| offer.claim(now, toolchain(name))).collect();
        assert_eq!(uploads.iter().filter(|claimed| claimed.is_ok()).count(), UPLOADS_MAX);
        assert!(matches!(uploads[UPLOADS_MAX], Err(Taken { again: None })));
        drop(uploads);
        assert!(offers[0].claim(now, toolchain("0")).is_ok());
    }
}

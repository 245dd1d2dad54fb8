//! Warm connections to builders, and what each builder is known to hold.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync;

use crate::engine::wire::farm::Lease;
use crate::model::digest::Digest;
use crate::model::id::BuilderId;
use crate::model::limits::KNOWN_BLOBS_MAX;
use crate::model::toolchain::ToolchainId;
use crate::os::net::{self, ConnectError, Connection, Identity};

#[derive(Debug)]
pub(super) struct Pool {
    identity: Arc<Identity>,
    builders: Mutex<BTreeMap<BuilderId, Arc<Builder>>>,
}

/// One builder: its connection, if there is one, and locks that keep many units from doing the same thing at once.
#[derive(Debug, Default)]
struct Builder {
    connection: sync::Mutex<Option<Arc<Warm>>>,
}

/// A connection with everything that holds for exactly as long as it does: a builder that restarts has lost its inputs, and
/// its connection with them.
#[derive(Debug)]
pub(super) struct Warm {
    pub(super) connection: Connection,
    blobs: Mutex<HashSet<Digest>>,
    toolchains: Mutex<BTreeSet<ToolchainId>>,
    /// Held while a toolchain is offered: the other units of this client wait here instead of offering it as well.
    pub(super) offering: sync::Mutex<()>,
}

impl Pool {
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self { identity, builders: Mutex::default() }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The connection to the builder of `lease`, made where there is none or the last one broke.
    pub(super) async fn connection(&self, lease: &Lease) -> Result<Arc<Warm>, ConnectError> {
        let builder = lock(&self.builders).entry(lease.builder).or_default().clone();
        let mut known = builder.connection.lock().await;
        if let Some(warm) = known.as_ref().filter(|warm| !warm.connection.is_closed()) {
            return Ok(warm.clone());
        }
        let connection = net::connect(&lease.addresses, &self.identity, Some(lease.builder.0)).await?;
        let warm = Arc::new(Warm {
            connection,
            blobs: Mutex::default(),
            toolchains: Mutex::default(),
            offering: sync::Mutex::default(),
        });
        *known = Some(warm.clone());
        Ok(warm)
    }
}

impl Warm {
    /// Those of `digests` that the builder is not known to have.
    pub(super) fn unknown_blobs(&self, digests: impl Iterator<Item = Digest>) -> BTreeSet<Digest> {
        let known = lock(&self.blobs);
        digests.filter(|digest| !known.contains(digest)).collect()
    }

    pub(super) fn note_blobs(&self, digests: impl Iterator<Item = Digest>) {
        let mut known = lock(&self.blobs);
        if known.len() > KNOWN_BLOBS_MAX {
            // The builder has evicted most of the old ones by now; what it still has costs one transfer each.
            known.clear();
        }
        known.extend(digests);
    }

    pub(super) fn forget_blobs(&self, digests: &[Digest]) {
        let mut known = lock(&self.blobs);
        for digest in digests {
            known.remove(digest);
        }
    }

    pub(super) fn has_toolchain(&self, toolchain: ToolchainId) -> bool {
        lock(&self.toolchains).contains(&toolchain)
    }

    pub(super) fn note_toolchain(&self, toolchain: ToolchainId, is_there: bool) {
        let mut known = lock(&self.toolchains);
        if is_there {
            known.insert(toolchain);
        } else {
            known.remove(&toolchain);
        }
    }
}

/// Leaf data that every writer leaves whole: a panic elsewhere is no reason to give it up.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

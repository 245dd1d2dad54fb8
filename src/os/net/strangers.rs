//! Peers that have shown a certificate and nothing else, which anybody can make: few of them, and not for long.
//!
//! Who a peer is was proved by TLS; what it may do is proved by its first good request. That counts for every connection with the
//! same certificate: a client that waits for a slow upload on one has nothing to say on the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::digest::Digest;
use crate::model::limits::{PROOF_MAX, UNPROVEN_MAX, UNPROVEN_PER_ADDRESS_MAX};

/// What strangers are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) time: Duration,
    pub(super) connections: usize,
    pub(super) connections_per_address: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { time: PROOF_MAX, connections: UNPROVEN_MAX, connections_per_address: UNPROVEN_PER_ADDRESS_MAX }
    }
}

/// Whether a certificate's owner has proved that it belongs here. Shared by its connections, and forgotten with the last.
#[derive(Debug)]
pub(super) struct Standing(watch::Sender<bool>);

impl Standing {
    pub(super) fn prove(&self) {
        self.0.send_if_modified(|proven| !std::mem::replace(proven, true));
    }

    /// False where `time` passes before.
    pub(super) async fn is_proven_within(&self, time: Duration) -> bool {
        timeout(time, self.0.subscribe().wait_for(|proven| *proven)).await.is_ok_and(|proven| proven.is_ok())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Strangers {
    pub(super) allowance: Allowance,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    n_connections: BTreeMap<IpAddr, usize>,
    standings: BTreeMap<Digest, Weak<Standing>>,
}

/// A connection that counts as a stranger's until this is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Strangers,
    network: IpAddr,
}

impl Strangers {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, known: Arc::default() }
    }

    /// Takes one more in, if there is room.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Stranger> {
        let network = network(address);
        let mut known = self.known();
        let n_all: usize = known.n_connections.values().sum();
        let n_here = known.n_connections.get(&network).copied().unwrap_or(0);
        if n_all >= self.allowance.connections || n_here >= self.allowance.connections_per_address {
            return None;
        }
        known.n_connections.insert(network, n_here + 1);
        Some(Stranger { strangers: self.clone(), network })
    }

    pub(super) fn standing(&self, fingerprint: Digest) -> Arc<Standing> {
        let mut known = self.known();
        if let Some(standing) = known.standings.get(&fingerprint).and_then(Weak::upgrade) {
            return standing;
        }
        known.standings.retain(|_, standing| standing.strong_count() > 0);
        let standing = Arc::new(Standing(watch::Sender::new(false)));
        known.standings.insert(fingerprint, Arc::downgrade(&standing));
        standing
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut known = self.strangers.known();
        if let Some(n) = known.n_connections.get_mut(&self.network) {
            *n -= 1;
            if *n == 0 {
                known.n_connections.remove(&self.network);
            }
        }
    }
}

/// What one machine can choose its address from: in IPv6 that is 64 bits.
fn network(address: IpAddr) -> IpAddr {
    const HOST_BITS: u32 = 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_does_not_take_all_the_room() {
        let allowance = Allowance { time: Duration::ZERO, connections: 3, connections_per_address: 2 };
        let strangers = Strangers::new(allowance);
        let admit = |address: &str| strangers.admit(address.parse().unwrap());
        let first = [admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(first.iter().all(Option::is_some));
        assert!(admit("2001:db8::3").is_none());
        let other = admit("192.0.2.1");
        assert!(other.is_some() && admit("192.0.2.2").is_none());
        drop(first);
        assert!(admit("2001:db8::3").is_some());
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_standing_is_shared_and_forgotten() {
        let strangers = Strangers::new(Allowance::default());
        let fingerprint = Digest::of(b"peer");
        let standing = strangers.standing(fingerprint);
        standing.prove();
        assert!(*strangers.standing(fingerprint).0.borrow());
        drop(standing);
        assert!(!*strangers.standing(fingerprint).0.borrow());
    }
}

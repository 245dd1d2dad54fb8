//! First contact: both sides show that they know the shared secret, without sending it.
//!
//! The proof is a keyed hash over the TLS exporter of this very connection (RFC 9266 names the idea `tls-exporter`): a peer in
//! the middle has two connections with two exporters, and can forward neither proof. Each side's label differs, so a
//! proof cannot be reflected. Versions are compared before secrets, so that a peer learns why it is refused.

use crate::engine::wire::farm::{FARM_MAJOR, FARM_MINOR, Version};
use crate::model::digest::Digest;

/// Label of the TLS exporter (RFC 5705) that proofs are made over.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-farcc-first-contact";

/// Context string of the key derivation: names the one purpose of the derived key.
const KEY_CONTEXT: &str = "farcc 2026-11 first contact proof";

/// Who makes a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prover {
    Client,
    Builder,
    /// To a client.
    SchedulerToClient,
    /// To a builder.
    SchedulerToBuilder,
}

/// The proof that `prover` knows `secret`, good for the connection with this exporter only.
pub fn proof(secret: &str, prover: Prover, exporter: &[u8; 32]) -> Digest {
    let label: &[u8] = match prover {
        Prover::Client => b"client",
        Prover::Builder => b"builder",
        Prover::SchedulerToClient => b"scheduler to client",
        Prover::SchedulerToBuilder => b"scheduler to builder",
    };
    let key = Digest::derive_key(KEY_CONTEXT, secret.as_bytes());
    Digest::keyed(&key, &[label, exporter].concat())
}

/// What this build speaks.
pub const OURS: Version = Version { major: FARM_MAJOR, minor: FARM_MINOR };

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the peer speaks protocol {}.{}, this side {}.{}; they work together when at most one minor version apart: upgrade the older one",
    theirs.major, theirs.minor, ours.major, ours.minor
)]
pub struct VersionError {
    pub theirs: Version,
    pub ours: Version,
}

/// Whether two versions work together.
///
/// # Errors
/// Both versions, where they do not.
pub fn agree(ours: Version, theirs: Version) -> Result<(), VersionError> {
    if ours.major == theirs.major && ours.minor.abs_diff(theirs.minor) <= 1 {
        Ok(())
    } else {
        Err(VersionError { theirs, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_fits_one_secret_one_prover_one_connection() {
        let proofs = [
            proof("secret", Prover::Client, &[1; 32]),
            proof("Secret", Prover::Client, &[1; 32]),
            proof("secret", Prover::Builder, &[1; 32]),
            proof("secret", Prover::SchedulerToClient, &[1; 32]),
            proof("secret", Prover::Client, &[2; 32]),
        ];
        for (i, a) in proofs.iter().enumerate() {
            assert!(proofs[i + 1..].iter().all(|b| !a.verifies(b)));
        }
        assert!(proofs[0].verifies(&proof("secret", Prover::Client, &[1; 32])));
    }

    #[test]
    fn one_minor_version_apart_works_together() {
        let version = |major, minor| Version { major, minor };
        assert!(agree(version(1, 4), version(1, 5)).is_ok());
        assert!(agree(version(1, 4), version(1, 6)).is_err());
        assert!(agree(version(2, 0), version(1, 0)).unwrap_err().to_string().contains("1.0"));
    }
}

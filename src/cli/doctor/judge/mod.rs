//! What facts mean: pure, one function for each thing that is looked at.

mod configuration;
mod host;
mod network;
mod sandbox;

pub(crate) use configuration::{configuration, secrets};
pub(crate) use host::{client_daemon, clock, descriptors, disk, systemd_version, wrapper};
pub(crate) use network::{port, reached, service};
pub(crate) use sandbox::sandbox;

/// What tests say of a finding: its verdict, and words that people read.
#[cfg(test)]
#[track_caller]
fn check(
    finding: &crate::cli::doctor::finding::Finding,
    verdict: crate::cli::doctor::finding::Verdict,
    words: &[&str],
) {
    assert_eq!(finding.verdict, verdict, "{finding:?}");
    let text = format!("{} {}", finding.found, finding.mend.as_deref().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {finding:?}");
    }
}

//! Keeps a user's counters from one client daemon to the next.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::model::report::StatsReport;
use crate::os::{clock, state};

/// Where they are kept. Whatever is wrong there costs counters, never a build.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    file: Option<PathBuf>,
    kept: StatsReport,
    /// The loop does not wait for the disk.
    writing: Option<JoinHandle<()>>,
    /// One daemon at a time: two would write over each other's.
    _lock: Option<File>,
}

impl Ledger {
    /// Opens the one in this directory, and tells what is in it.
    pub(super) fn open(directory: Option<&Path>) -> (Self, StatsReport) {
        let fresh = StatsReport { since_usec: clock::usec_since_1970(), ..StatsReport::default() };
        let Some(directory) = directory else { return (Self::default(), fresh) };
        let lock = match lock(directory) {
            Ok(lock) => lock,
            Err(error) => {
                tracing::debug!(%error, directory = %directory.display(), "counters are not kept");
                return (Self::default(), fresh);
            }
        };
        let file = directory.join("stats.json");
        let kept = match state::read(&file).map(|bytes| bytes.map(|bytes| serde_json::from_slice(&bytes))) {
            Ok(Some(Ok(kept))) => kept,
            Ok(None) => fresh,
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, file = %file.display(), "counters cannot be read; they begin anew");
                fresh
            }
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "counters cannot be read; they begin anew");
                fresh
            }
        };
        (Self { file: Some(file), kept: kept.clone(), writing: None, _lock: Some(lock) }, kept)
    }

    /// Has what is new written, unless that of before still is.
    pub(super) fn keep(&mut self, report: &StatsReport) {
        let is_busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        let Some(file) = self.file.clone().filter(|_| !is_busy && *report != self.kept) else { return };
        self.kept = report.clone();
        let report = report.clone();
        self.writing = Some(spawn_blocking(move || write(&file, &report)));
    }

    /// The last ones: returns when they are written.
    pub(super) async fn close(mut self, report: &StatsReport) {
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
        self.keep(report);
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
    }
}

fn write(file: &Path, report: &StatsReport) {
    let bytes = serde_json::to_vec(report).expect("plain data with text keys has a JSON form");
    if let Err(error) = state::write(file, &bytes) {
        tracing::debug!(%error, file = %file.display(), "counters are not kept");
    }
}

fn lock(directory: &Path) -> std::io::Result<File> {
    state::make_directory(directory)?;
    let file = File::create(directory.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counters_outlive_the_daemon_and_have_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, mut report) = Ledger::open(Some(directory.path()));
        assert!(report.since_usec > 0);
        report.total.requests = 3;
        ledger.keep(&report);
        // Meanwhile another one keeps nothing.
        let (other, fresh) = Ledger::open(Some(directory.path()));
        assert_eq!(fresh.total.requests, 0);
        other.close(&fresh).await;
        report.total.requests = 4;
        ledger.close(&report).await;
        assert_eq!(Ledger::open(Some(directory.path())).1, report);
    }

    #[test]
    fn a_damaged_file_costs_no_more_than_itself() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("stats.json"), "{").unwrap();
        assert_eq!(Ledger::open(Some(directory.path())).1.total.requests, 0);
    }
}

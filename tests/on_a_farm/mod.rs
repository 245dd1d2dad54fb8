//! Tests that compile plainly and on a throwaway farm, in the same directory, and compare all that comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use farcc::model::report::Stats;

/// Runs the test `name` once more, as the command of a farm with one builder and no local slots.
pub(crate) fn test_on_a_farm(name: &str, inside: impl Fn()) {
    const INSIDE: &str = "FARCC_TEST_ON_A_FARM";
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let status = Command::new(env!("CARGO_BIN_EXE_farccctl"))
        .args(["try", "--slots", "1", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Counts of the farm's client. A wrapper's last word may still be on its way when the wrapper has ended, so a sum that does not
/// add up is asked for again.
pub(crate) fn stats() -> Stats {
    let ask = || -> Stats {
        let output = Command::new(env!("CARGO_BIN_EXE_farccctl")).args(["stats", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let is_settled = |stats: &Stats| {
        let Stats { hits, remote, local, bypassed, abandoned, .. } = stats;
        stats.requests == hits + remote + local + bypassed + abandoned
    };
    std::iter::repeat_with(ask).take(1000).find(is_settled).unwrap_or_else(|| panic!("does not add up: {:?}", ask()))
}

/// `PATH` without farcc's names, and with them.
pub(crate) fn paths() -> [String; 2] {
    let farm = std::env::var("PATH").unwrap();
    [farm.split_once(':').unwrap().1.to_owned(), farm]
}

/// What a command has done.
#[derive(PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Done {
    /// The first thing in which two runs differ. Of some files only the presence may matter.
    pub(crate) fn differs(&self, other: &Self, may_differ: impl Fn(&Path) -> bool) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if (self.status, &self.stdout, &self.stderr) != (other.status, &other.stdout, &other.stderr) {
            return Some(format!(
                "plain {:?} {}{}, ours {:?} {}{}",
                self.status,
                text(&self.stdout),
                text(&self.stderr),
                other.status,
                text(&other.stdout),
                text(&other.stderr)
            ));
        }
        let names = self.files.keys().chain(other.files.keys());
        let differs = |path: &&PathBuf| match (self.files.get(*path), other.files.get(*path)) {
            (Some(plain), Some(ours)) => !may_differ(path) && plain != ours,
            _ => true,
        };
        names.into_iter().find(differs).map(|path| {
            let show = |done: &Self| match done.files.get(path) {
                Some((mode, content)) => format!("{} bytes, mode {mode:o}", content.len()),
                None => "none".to_owned(),
            };
            format!("{}: plain {}, ours {}", path.display(), show(self), show(other))
        })
    }
}

/// Mode and content of every file below.
pub(crate) fn files_below(directory: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                ahead.push(path);
            } else if metadata.is_file() {
                let content = fs::read(&path).unwrap();
                let name = path.strip_prefix(directory).unwrap().to_owned();
                found.insert(name, (metadata.permissions().mode(), content));
            }
        }
    }
    found
}

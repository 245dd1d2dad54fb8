//! Which builders are drained by order, kept over restarts, with their names: one that is away can be resumed too.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::scheduler::Order;
use crate::model::digest::Digest;
use crate::model::id::BuilderId;
use crate::os::state;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// None keeps nothing.
    file: Option<PathBuf>,
    names: BTreeMap<BuilderId, String>,
}

impl Drained {
    /// As kept in this directory.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no such file.
    pub fn load(directory: &Path) -> io::Result<Self> {
        let file = directory.join(FILE);
        let names = match state::read(&file)? {
            Some(bytes) => parse(&bytes).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}; remove it", file.display()))
            })?,
            None => BTreeMap::new(),
        };
        Ok(Self { file: Some(file), names })
    }

    pub(super) fn ids(&self) -> BTreeSet<BuilderId> {
        self.names.keys().copied().collect()
    }

    pub(super) fn named(&self) -> impl Iterator<Item = (BuilderId, String)> {
        self.names.iter().map(|(id, name)| (*id, name.clone()))
    }

    /// Takes an order in as the engine will.
    pub(super) fn note(&mut self, builder: BuilderId, name: &str, order: Order) {
        match order {
            Order::Drain => drop(self.names.insert(builder, name.to_owned())),
            Order::Resume | Order::Forget => drop(self.names.remove(&builder)),
            Order::Quarantine(_) => {}
        }
    }

    pub(super) fn save_if_new(&self, before: &Self) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self != before) else { return Ok(()) };
        let rows: BTreeMap<String, &String> = self.names.iter().map(|(id, name)| (id.0.to_string(), name)).collect();
        state::write(file, &serde_json::to_vec_pretty(&rows)?)
    }
}

/// In the scheduler's state directory: ids of certificates to names.
const FILE: &str = "drained.json";

fn parse(bytes: &[u8]) -> Result<BTreeMap<BuilderId, String>, String> {
    let rows: BTreeMap<String, String> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let row = |(id, name): (String, String)| match id.parse::<Digest>() {
        Ok(digest) => Ok((BuilderId(digest), name)),
        Err(_) => Err(format!("`{id}` is no builder's id")),
    };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_outlive_the_scheduler() {
        let directory = tempfile::tempdir().unwrap();
        let (oak, elm) = (BuilderId(Digest::of(b"oak")), BuilderId(Digest::of(b"elm")));
        let mut drained = Drained::load(directory.path()).unwrap();
        let before = drained.clone();
        drained.note(oak, "oak", Order::Drain);
        drained.note(elm, "elm", Order::Drain);
        drained.note(elm, "elm", Order::Resume);
        drained.save_if_new(&before).unwrap();
        let again = Drained::load(directory.path()).unwrap();
        assert_eq!(again, drained);
        assert_eq!(again.named().collect::<Vec<_>>(), [(oak, "oak".to_owned())]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{", "{\"oak\": \"oak\"}"] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let error = Drained::load(directory.path()).unwrap_err().to_string();
            assert!(error.contains("drained.json"), "{error}");
        }
    }
}

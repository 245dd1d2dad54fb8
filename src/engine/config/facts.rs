//! What a configuration leaves to the machine it is read on. `os::config` collects these.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::engine::config::document::{Document, Value};
use crate::engine::config::reader;
use crate::engine::config::secret::Secret;

/// Values that stand in where the files are silent.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The file in which to write what is missing.
    pub main_file: String,
    /// Processors this process may use.
    pub cpus: u32,
    pub host_name: String,
    pub home: Option<PathBuf>,
    /// From the service manager or the XDG variables.
    pub state_dir: Option<PathBuf>,
    pub cache_dir: Option<PathBuf>,
    /// Credentials of the service, by name.
    pub credentials: BTreeMap<String, Secret>,
    /// Contents of the files that [`Facts::token_files`] asked for, or why they cannot be had.
    pub tokens: BTreeMap<PathBuf, Result<Secret, String>>,
}

impl Facts {
    /// The files `document` wants tokens from: to be read into [`Facts::tokens`] before it is checked.
    pub fn token_files(&self, document: &Document) -> Vec<PathBuf> {
        let wanted = document.entries.iter().filter(|(key, _)| key.ends_with("token_file"));
        wanted
            .filter_map(|(_, entry)| match &entry.value {
                Value::Text(text) => reader::expand(text, self.home.as_deref()).ok(),
                _ => None,
            })
            .collect()
    }
}

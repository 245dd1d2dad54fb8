//! `FARCC_*` variables as one more layer, above every file.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::config::document::{Document, Entry, Place, Value};

/// Variable, and the key it stands for.
const VARIABLES: &[(&str, &str)] = &[
    ("FARCC_SCHEDULER_URL", "scheduler_url"),
    ("FARCC_FINGERPRINT", "fingerprint"),
    ("FARCC_TOKEN", "dist.auth.token"),
    ("FARCC_TOKEN_FILE", "dist.auth.token_file"),
    ("FARCC_LOCAL_SLOTS", "local_slots"),
    ("FARCC_CACHE_DIR", "cache.disk.dir"),
    ("FARCC_STATE_DIR", "state_dir"),
    ("FARCC_LOG", "log"),
];

/// Which variables count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// A client that reads its usual files.
    Client,
    /// Daemons of a farm, and whoever was told by `--config` what to do: only how much to say.
    LogOnly,
}

/// What the environment says. Variables of other parts of farcc, and unset ones, say nothing.
pub fn from_variables(scope: Scope, variables: &BTreeMap<String, String>) -> Document {
    let mut document = Document::default();
    for (variable, key) in VARIABLES.iter().filter(|(_, key)| scope == Scope::Client || *key == "log") {
        if let Some(text) = variables.get(*variable) {
            // Only numbers need a type here: whatever else a key takes can be written as a string.
            let value = text.parse().map_or_else(|_| Value::Text(text.clone()), Value::Number);
            let value = if *key == "local_slots" { value } else { Value::Text(text.clone()) };
            let at = Place { source: Arc::from(*variable), position: None };
            document.entries.insert((*key).to_owned(), Entry { value, at, layer: 0 });
        }
    }
    document
}

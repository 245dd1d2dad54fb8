//! Which line said what, for people who wonder where a setting comes from.
//!
//! Settings are named as [`Setting`](super::Setting) names them; a key of sccache's that says the same counts as well.

use std::collections::BTreeMap;

use crate::engine::config::document::{Document, Place};

/// Where each key was said. Holds no value, so no secret either.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    said: BTreeMap<String, Said>,
}

#[derive(Clone, Debug)]
struct Said {
    at: Place,
    layer: usize,
}

/// Keys that say what a setting of another name says.
const ALSO: &[(&str, &str)] = &[
    ("scheduler_url", "dist.scheduler_url"),
    ("dist.auth.token", "dist.auth.token_file"),
    ("client_auth.token", "client_auth.token_file"),
    ("server_auth.token", "server_auth.token_file"),
    ("scheduler_auth.token", "scheduler_auth.token_file"),
];

impl Origins {
    /// Of documents that were laid over each other.
    pub fn of(merged: &Document) -> Self {
        let said = |(key, entry): (&String, &super::document::Entry)| {
            (key.clone(), Said { at: entry.at.clone(), layer: entry.layer })
        };
        Self { said: merged.entries.iter().map(said).collect() }
    }

    /// The place that decided a setting. None where nobody said anything, and the setting is as it comes.
    pub fn of_setting(&self, name: &str) -> Option<&Place> {
        let also = ALSO.iter().filter(|(setting, _)| *setting == name).map(|(_, key)| *key);
        // Of two in one layer the last one counts: the setting's own name.
        let said = also.chain([name]).filter_map(|key| self.said.get(key)).max_by_key(|said| said.layer);
        said.map(|said| &said.at)
    }

    /// The files in which a token is written out.
    pub fn files_with_tokens(&self) -> impl Iterator<Item = &str> {
        let is_token = |key: &str| key.ends_with(".token");
        let in_file = self.said.iter().filter(move |(key, said)| is_token(key) && said.at.position.is_some());
        in_file.map(|(_, said)| &*said.at.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::{merge, parse};

    fn origins(layers: &[(&str, &str)]) -> Origins {
        Origins::of(&merge(layers.iter().map(|(source, text)| parse(source, text).unwrap()).collect()))
    }

    #[track_caller]
    fn check(origins: &Origins, setting: &str, expected: Option<&str>) {
        assert_eq!(origins.of_setting(setting).map(ToString::to_string).as_deref(), expected, "{setting}");
    }

    #[test]
    fn the_layer_that_wins_is_named() {
        let origins = origins(&[
            ("usr", "log = \"debug\"\ndist.scheduler_url = \"a\"\nname = \"x\""),
            ("etc", "\nlog = \"info\"\n[dist.auth]\ntoken_file = \"/t\""),
        ]);
        check(&origins, "log", Some("etc:2:1"));
        check(&origins, "name", Some("usr:3:1"));
        check(&origins, "scheduler_url", Some("usr:2:6"));
        check(&origins, "dist.auth.token", Some("etc:4:1"));
        check(&origins, "local_slots", None);
    }

    #[test]
    fn a_later_layer_wins_by_whichever_name() {
        let short_first = origins(&[("a", "scheduler_url = \"x\""), ("b", "dist.scheduler_url = \"y\"")]);
        check(&short_first, "scheduler_url", Some("b:1:6"));
        let both = origins(&[("a", "scheduler_url = \"x\"\ndist.scheduler_url = \"y\"")]);
        check(&both, "scheduler_url", Some("a:1:1"));
    }

    #[test]
    fn files_that_hold_a_token_are_known() {
        let origins =
            origins(&[("a", "slots = 1\n[client_auth]\ntype = \"token\"\ntoken = \"x\""), ("b", "log = \"info\"")]);
        assert_eq!(origins.files_with_tokens().collect::<Vec<_>>(), ["a"]);
    }
}

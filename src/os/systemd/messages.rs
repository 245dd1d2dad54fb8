//! Ids of the journal records that an administrator may act on: `info!(message_id = messages::BUILDER_JOINED, …)`.
//!
//! Each has a paragraph in `units/farcc.catalog`, which `journalctl -x` shows, and which names the fields it uses; a test
//! compares the two. An id is an interface: never changed, never reused. A daemon that cannot start has no record of ours, since it has
//! no log yet: one line on standard error, and its exit status.
//!
//! Fields of records, as `tracing` has them; the journal has them in capitals, so that `journalctl FARCC_JOB=…` follows one job
//! over all hosts: `farcc_job`, `farcc_lease`, `farcc_builder`, `farcc_client`, `farcc_toolchain`, `farcc_reason`, `farcc_peer`,
//! `farcc_address`, `farcc_duration_usec`.

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        $($(#[$doc])* pub const $name: &str = $id;)*

        /// All of them, by name.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

messages! {
    /// A daemon has started and serves.
    STARTED = "24a52dea131045fba456119d4b9a0956",
    /// A daemon ends because it was asked to.
    STOPPING = "75a044e2ae3942289342284fcc37a309",
    /// The configuration has something in it that its author should know.
    CONFIGURATION_WARNING = "b2efee78d5814a2c906aff0ebf30fc78",
    /// Client or builder: the scheduler accepted this peer.
    SCHEDULER_JOINED = "4e9ccc696b1e487198b5f3f025290a47",
    /// Client or builder: the scheduler no longer answers.
    SCHEDULER_LOST = "561163fbf4934db6a01308511fcc2d79",
    /// Client or builder: the scheduler refused this peer.
    SCHEDULER_REFUSED = "5a68edce2a1b42f7898758d513908931",
    /// Scheduler: a builder joined.
    BUILDER_JOINED = "8997e88ca1d945cc848bd78b167b91df",
    /// Scheduler: a builder is gone.
    BUILDER_LOST = "64776927e84340ccace539253eb2fcde",
    /// Scheduler: a builder failed and gets no work for a while.
    BUILDER_QUARANTINED = "78636e09bba641fe9b751c152039723f",
    /// Any daemon: a peer was turned away.
    PEER_REFUSED = "dd910afcda234397bd548fbe116c13d4",
    /// Client: a unit meant for a builder was compiled here.
    UNIT_FELL_BACK = "a20f1a7d96354f46876e08fe5d9e7b3e",
    /// Client or builder: one job could not be run to its end.
    JOB_FAILED = "ebdc2645f652477fafe33e183688d642",
    /// Builder: a toolchain's content is not what its name says.
    TOOLCHAIN_REJECTED = "7a429fce5d1e49028fabb413803742d2",
    /// Builder: takes no new jobs.
    DRAINING = "9f0bbb286afb4ee081e07991fb8e5643",
    /// Builder: takes jobs again.
    RESUMED = "fa8dce4e18584c50bd45563f45f860cb",
    /// Any daemon: the configuration could not be read again.
    NOT_RELOADED = "a1badafcd9834a739a17121538f493f2",
    /// Any daemon: something in the configuration changed that takes a restart.
    RESTART_NEEDED = "99e53664c7844b0fa64b511797df72e8",
    /// Scheduler: an administrator's order about a builder.
    BUILDER_ORDERED = "752f737b078741a5b033f70c88a02f42",
    /// Client: a compiler cannot be used on builders.
    TOOLCHAIN_LOCAL_ONLY = "408147c20c114ca980970b13fba4da9e",
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = include_str!("../../../units/farcc.catalog");

    #[test]
    fn every_message_has_one_paragraph_and_every_paragraph_a_message() {
        let mut ids: Vec<_> = ALL.iter().map(|(_, id)| *id).collect();
        let mut entries: Vec<_> = CATALOG.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        ids.sort_unstable();
        entries.sort_unstable();
        assert_eq!(ids, entries);
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn every_paragraph_says_what_and_what_to_do() {
        for entry in CATALOG.split("\n-- ").skip(1) {
            let (head, body) = entry.split_once("\n\n").expect("header and text");
            assert!(head.contains("\nSubject: ") && head.contains("\nDefined-By: farcc"), "{head}");
            assert!(body.trim().len() > 80, "{head}");
        }
    }
}

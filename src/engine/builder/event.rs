//! Vocabulary of a builder's admission.

use crate::engine::wire::farm::Refusal;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs at a time.
    pub slots: u32,
}

/// Answer to a job that knocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Run it; its slot is taken until it is reported ended.
    Admitted,
    Refused {
        why: Refusal,
        message: String,
    },
}

/// How an admitted job ended, as far as the builder's counters care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// The compiler ran, whatever its exit status.
    Finished,
    /// The builder could not run it properly.
    Failed,
    /// It never came to that: blobs or toolchain were missing, or the client went away.
    NothingRan,
}

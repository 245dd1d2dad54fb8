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

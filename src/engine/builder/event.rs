//! Vocabulary of a builder's admission.

use crate::engine::wire::farm::{JobFault, Refusal};

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
    /// It never came to that: blobs or toolchain were missing, the client went away, or asked for what nobody could run.
    NothingRan,
}

impl JobEnd {
    /// Whose fault it was. The scheduler keeps a builder that counts failures from everybody, so what a client can bring about at
    /// will must not count.
    pub fn of(fault: JobFault) -> Self {
        match fault {
            JobFault::Sandbox | JobFault::Resources | JobFault::NoEnding => Self::Failed,
            JobFault::Timeout | JobFault::Output => Self::Finished,
            JobFault::Corrupt | JobFault::Job => Self::NothingRan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_can_bring_about_is_no_failure_of_the_builder() {
        for fault in [JobFault::Timeout, JobFault::Output, JobFault::Corrupt, JobFault::Job] {
            assert_ne!(JobEnd::of(fault), JobEnd::Failed, "{fault:?}");
        }
        assert_eq!(JobEnd::of(JobFault::Resources), JobEnd::Failed);
    }
}

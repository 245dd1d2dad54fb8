//! The three daemons, as their configuration sees them.

use crate::engine::config::auth::Section;
use crate::engine::config::{builder, client, scheduler};

/// Whose configuration a file is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    Client,
    Scheduler,
    Builder,
}

impl Part {
    /// As in the names of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Scheduler => "scheduler",
            Self::Builder => "builder",
        }
    }

    /// Names of the credentials of systemd that stand in for the tokens of its configuration.
    pub fn credentials(self) -> Vec<&'static str> {
        let sections: &[Section] = match self {
            Self::Client => &[client::DIST_AUTH],
            Self::Scheduler => &[scheduler::CLIENT_AUTH, scheduler::SERVER_AUTH],
            Self::Builder => &[builder::SCHEDULER_AUTH],
        };
        sections.iter().flat_map(|section| section.credentials).copied().collect()
    }
}

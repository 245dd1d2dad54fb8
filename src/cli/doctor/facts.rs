//! What the doctor has found out before it judges: plain data, so that every broken set-up can be written down in a test.

use std::path::PathBuf;

use crate::engine::config::{HostPort, Warning};
use crate::model::report::ClientStatus;
use crate::os::config::LoadError;
use crate::os::local::LinkError;

/// One role's configuration, as its daemon would read it.
#[derive(Debug)]
pub(crate) struct ConfigurationFacts {
    pub(crate) role: &'static str,
    pub(crate) files: Vec<String>,
    pub(crate) loaded: Result<Vec<Warning>, LoadError>,
    /// The service may have a token that only it sees.
    pub(crate) has_hidden_credentials: bool,
}

/// A file with a token in it.
#[derive(Clone, Debug)]
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    /// Whose daemon reads it, and whether it can. None where that is this user's.
    pub(crate) reader: Option<Reader>,
    /// Every user's daemon is meant to read it.
    pub(crate) is_for_all: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) may_read: bool,
}

/// A unit as the service manager knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct UnitFacts {
    pub(crate) name: String,
    /// Whether there is a file of that name.
    pub(crate) is_installed: bool,
    /// `active`, `inactive`, `failed`, `activating`.
    pub(crate) active: String,
    /// `enabled`, `disabled`, `static`.
    pub(crate) enabled: String,
    /// Where a socket listens.
    pub(crate) listens: Vec<String>,
    /// How the service's last process ended; zero while it runs.
    pub(crate) exit_status: u8,
    /// Descriptors that the service may have open.
    pub(crate) descriptors: Option<u64>,
}

/// The two units of one daemon. None where no systemd runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Units {
    pub(crate) socket: UnitFacts,
    pub(crate) service: UnitFacts,
    /// Of the user's service manager, not of the system's.
    pub(crate) are_own: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PortFacts {
    /// Where the configuration has the daemon listen.
    pub(crate) address: HostPort,
    /// What clients are told, where that says a port.
    pub(crate) told: Option<HostPort>,
    pub(crate) trial: Trial,
}

impl PortFacts {
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.trial, Trial::Taken(_))
    }
}

/// What came of listening there for a moment.
#[derive(Clone, Debug)]
pub(crate) enum Trial {
    Free,
    /// Somebody does already.
    Taken(Vec<Holder>),
    NotOurs,
    Forbidden,
    Other(String),
}

/// Who has the port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    /// Known to root and to its owner.
    pub(crate) program: Option<(u32, String)>,
    pub(crate) uid: u32,
    /// It belongs to the user that the daemon runs as.
    pub(crate) is_daemons_user: bool,
}

/// A directory that a daemon keeps things in, or the deepest one above it that is there.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryFacts {
    pub(crate) path: PathBuf,
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
    /// None where the file system does not count them.
    pub(crate) free_inodes: Option<u64>,
    /// What the configuration lets it grow to.
    pub(crate) bound_bytes: u64,
    /// The service's user, where the directory is there and belongs to somebody else.
    pub(crate) should_belong_to: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct WrapperFacts {
    /// `farcc` itself, by `PATH`.
    pub(crate) farcc: Option<PathBuf>,
    /// It is on this machine, wherever `PATH` leads.
    pub(crate) is_installed: bool,
    pub(crate) compilers: Vec<CompilerFacts>,
}

/// Where `PATH` leads for one name.
#[derive(Clone, Debug, Default)]
pub(crate) struct CompilerFacts {
    pub(crate) name: &'static str,
    /// The first farcc of that name.
    pub(crate) mask: Option<PathBuf>,
    /// The first program of that name that is not farcc.
    pub(crate) real: Option<PathBuf>,
    pub(crate) is_mask_first: bool,
}

/// What the client daemon said.
#[derive(Debug)]
pub(crate) enum DaemonFacts {
    Answers(Box<ClientStatus>),
    /// It speaks another version of the link, or nonsense.
    NotUnderstood,
    /// The next compile starts one, or not.
    Absent {
        starts_by_itself: bool,
    },
    Broken(LinkError),
}

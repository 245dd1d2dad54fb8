//! The service managers of this machine: the system's, and this user's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::Failure;
use crate::model::exit;

/// Whose units something is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manager {
    System,
    User,
}

impl Manager {
    /// Starts a unit now, and with each start of the machine or session.
    pub(crate) fn switch_on(self, unit: &str) -> Result<(), Failure> {
        self.tell(&["--quiet", "enable", "--now", unit])
            .map_err(|why| Failure::new(exit::NEGATIVE, format_args!("--now: {unit} could not be switched on{why}")))
    }

    /// For a service that has read its configuration.
    pub(crate) fn restart_if_running(self, service: &str) -> Result<(), Failure> {
        self.tell(&["try-restart", service])
            .map_err(|why| Failure::new(exit::NEGATIVE, format_args!("--now: {service} could not be restarted{why}")))
    }

    /// Has it read what was written for its units.
    pub(crate) fn reload(self) -> Result<(), Failure> {
        self.tell(&["daemon-reload"])
            .map_err(|why| Failure::new(exit::NEGATIVE, format_args!("systemctl daemon-reload failed{why}")))
    }

    /// What is left to say where it went wrong: systemctl itself says why, if there is one.
    fn tell(self, words: &[&str]) -> Result<(), String> {
        let mut systemctl = Command::new("systemctl");
        if self == Self::User {
            systemctl.arg("--user");
        }
        match systemctl.args(words).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(String::new()),
            Err(error) => Err(format!(": systemctl: {error}")),
        }
    }
}

/// The number in `systemd 257 (257.4-1)`. None where it does not run.
pub(crate) fn systemd_version() -> Option<u32> {
    let said = crate::os::process::Command::new(systemctl()?).args(["--version"]).run().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.split_whitespace().nth(1)?.parse().ok()
}

/// None where systemd does not run, whether it is installed or not.
pub(crate) fn systemctl() -> Option<PathBuf> {
    let programs = ["/usr/bin/systemctl", "/bin/systemctl"].map(PathBuf::from);
    let runs = Path::new("/run/systemd/system").exists();
    programs.into_iter().find(|program| runs && program.exists())
}

/// `ImportCredential=` is there from this version on.
pub(crate) const SYSTEMD_IMPORTS: u32 = 254;

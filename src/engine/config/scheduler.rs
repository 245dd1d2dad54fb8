//! The scheduler's configuration, in sccache's words where sccache has them.

use std::path::PathBuf;

use crate::engine::config::address::{HostPort, SCHEDULER_PORT};
use crate::engine::config::auth::{self, Section};
use crate::engine::config::document::Document;
use crate::engine::config::error::{ConfigError, Problem};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Checked, LogLevel, Reader, Setting};
use crate::engine::config::secret::Secret;

#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Where to listen when systemd hands no socket over, and what invitations name unless it is a wildcard.
    pub public_addr: HostPort,
    /// What clients prove to know. Absent: generated in the state directory at first start.
    pub client_token: Option<Secret>,
    /// What builders prove to know. Absent: generated likewise.
    pub builder_token: Option<Secret>,
    pub state_dir: PathBuf,
    /// Whom to become where root starts the daemon.
    pub user: String,
    pub log: LogLevel,
}

const STATE_DIR: &str = "/var/lib/farcc-scheduler";
const USER: &str = "farcc-scheduler";

pub(super) const CLIENT_AUTH: Section = Section {
    name: "client_auth",
    kind: "client_auth.type",
    token: "client_auth.token",
    token_file: "client_auth.token_file",
    credentials: &["farcc.client-token"],
};
pub(super) const SERVER_AUTH: Section = Section {
    name: "server_auth",
    kind: "server_auth.type",
    token: "server_auth.token",
    token_file: "server_auth.token_file",
    credentials: &["farcc.builder-token"],
};

impl SchedulerConfig {
    /// Makes of what was typed what it means.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn check(document: Document, facts: &Facts) -> Result<Checked<Self>, ConfigError> {
        let mut reader = Reader::new(document);
        let config = Self {
            client_token: auth::token(&mut reader, CLIENT_AUTH, facts)?,
            builder_token: auth::token(&mut reader, SERVER_AUTH, facts)?,
            public_addr: public_addr(&mut reader)?,
            state_dir: reader
                .path("state_dir", facts.home.as_deref())?
                .map(|found| found.value)
                .or_else(|| facts.state_dir.clone())
                .unwrap_or_else(|| STATE_DIR.into()),
            user: reader.text("user")?.map_or_else(|| USER.to_owned(), |found| found.value),
            log: reader.log_level()?,
        };
        Ok(Checked { config, warnings: reader.finish(&[])? })
    }

    /// Where invitations send others: the configured address, or this host's name where that is every address.
    pub fn invite_address(&self, host_name: &str) -> HostPort {
        match self.public_addr.is_wildcard() {
            true => HostPort::new(host_name, self.public_addr.port),
            false => self.public_addr.clone(),
        }
    }

    /// Everything as it is in effect, for people.
    pub fn settings(&self) -> Vec<Setting> {
        let token = |token: &Option<Secret>| token.as_ref().map_or("(generated)".to_owned(), ToString::to_string);
        vec![
            ("public_addr", self.public_addr.to_string()),
            ("client_auth.token", token(&self.client_token)),
            ("server_auth.token", token(&self.builder_token)),
            ("state_dir", self.state_dir.display().to_string()),
            ("user", self.user.clone()),
            ("log", self.log.to_string()),
        ]
    }
}

fn public_addr(reader: &mut Reader) -> Result<HostPort, ConfigError> {
    let Some(text) = reader.text("public_addr")? else { return Ok(HostPort::new("::", SCHEDULER_PORT)) };
    let parse = |text: String| {
        HostPort::parse(&text, SCHEDULER_PORT).map_err(|cause| Problem::Address { key: "public_addr".into(), cause })
    };
    Ok(text.map(parse)?.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::document::parse;

    #[test]
    fn nobody_is_invited_to_a_wildcard() {
        let address = |text: &str| {
            let document = parse("f", text).unwrap();
            SchedulerConfig::check(document, &Facts::default()).unwrap().config.invite_address("oak").to_string()
        };
        assert_eq!(address(""), "oak:10600");
        assert_eq!(address("public_addr = \"0.0.0.0:7\""), "oak:7");
        assert_eq!(address("public_addr = \"farm.example.org\""), "farm.example.org:10600");
    }
}

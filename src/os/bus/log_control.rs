//! `org.freedesktop.LogControl1`: `systemctl service-log-level farcc-builder debug` while it runs.

use zbus::fdo;
use zbus::message::Header;

use crate::engine::config::LogLevel;
use crate::os::bus::authority::{Action, require};
use crate::os::systemd::journal::{LogHandle, Sink};

#[derive(Clone, Debug)]
pub struct LogControl {
    log: LogHandle,
    /// For whoever is neither root nor the daemon's own user.
    action: Option<Action>,
}

impl LogControl {
    pub fn new(log: LogHandle, action: Option<Action>) -> Self {
        Self { log, action }
    }

    fn target(&self) -> &'static str {
        match self.log.sink() {
            Sink::Journal => "journal",
            Sink::StandardError => "console",
        }
    }
}

#[zbus::interface(name = "org.freedesktop.LogControl1", introspection_docs = false)]
impl LogControl {
    /// In syslog's words.
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> &'static str {
        match self.log.level() {
            LogLevel::Error => "err",
            LogLevel::Warning => "warning",
            LogLevel::Info => "info",
            LogLevel::Debug | LogLevel::Trace => "debug",
        }
    }

    #[zbus(property)]
    async fn set_log_level(
        &self,
        level: &str,
        #[zbus(connection)] connection: &zbus::Connection,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> fdo::Result<()> {
        if let Some(header) = header {
            require(self.action, connection, &header).await?;
        }
        let level = from_syslog(level).ok_or_else(|| fdo::Error::InvalidArgs(format!("`{level}` is no log level")))?;
        self.log.set_level(level).map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn log_target(&self) -> &'static str {
        self.target()
    }

    #[zbus(property)]
    fn set_log_target(&self, target: &str) -> fdo::Result<()> {
        match target {
            "auto" => Ok(()),
            same if same == self.target() => Ok(()),
            other => Err(fdo::Error::NotSupported(format!("records go to {}, and not to {other}", self.target()))),
        }
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn syslog_identifier(&self) -> &'static str {
        self.log.identifier()
    }
}

fn from_syslog(level: &str) -> Option<LogLevel> {
    match level {
        "emerg" | "alert" | "crit" | "err" => Some(LogLevel::Error),
        "warning" => Some(LogLevel::Warning),
        "notice" | "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        _ => None,
    }
}

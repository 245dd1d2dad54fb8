//! Reads a daemon's configuration again while it runs: SIGHUP, `systemctl reload`, or `Reload` on the bus.
//!
//! A daemon applies what it can, and the journal names what needs a restart. A configuration that cannot be read changes nothing.

use std::fmt;

use crate::engine::config::{BuilderConfig, Checked, ClientConfig, LogLevel, SchedulerConfig, Setting};
use crate::model::causes::with_causes;
use crate::os::config::{LoadError, Sources, load_builder, load_client, load_scheduler};
use crate::os::systemd::journal::LogHandle;
use crate::os::systemd::messages;

/// What a daemon does with its configuration besides living by it.
pub trait Configured: Sized {
    /// # Errors
    /// Where files cannot be read, or say what makes no sense.
    fn load(sources: &Sources) -> Result<Checked<Self>, LoadError>;
    fn settings(&self) -> Vec<Setting>;
    fn log(&self) -> LogLevel;
}

macro_rules! configured {
    ($($config:ident by $load:ident,)*) => {
        $(impl Configured for $config {
            fn load(sources: &Sources) -> Result<Checked<Self>, LoadError> {
                $load(sources)
            }

            fn settings(&self) -> Vec<Setting> {
                self.settings()
            }

            fn log(&self) -> LogLevel {
                self.log
            }
        })*
    };
}

configured! {
    ClientConfig by load_client,
    SchedulerConfig by load_scheduler,
    BuilderConfig by load_builder,
}

/// Knows where the configuration is from, and what it said last.
#[derive(Debug)]
pub struct Reload {
    sources: Sources,
    log: LogHandle,
    known: Vec<Setting>,
}

/// What is new.
pub struct Reread<C> {
    pub config: C,
    /// Settings that differ from those read before; `log` is in effect already.
    pub changed: Vec<&'static str>,
}

impl<C: fmt::Debug> fmt::Debug for Reread<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl Reload {
    pub fn new<C: Configured>(sources: Sources, log: LogHandle, config: &C) -> Self {
        Self { sources, log, known: config.settings() }
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// One line for people, in the journal too; everything stays as it was.
    pub fn reread<C: Configured>(&mut self) -> Result<Reread<C>, String> {
        let loaded = C::load(&self.sources).map_err(|error| {
            let line = with_causes(&error);
            tracing::error!(
                message_id = messages::NOT_RELOADED,
                farcc_reason = line,
                "configuration not reloaded; the daemon goes on with the one before"
            );
            line
        })?;
        for warning in &loaded.warnings {
            tracing::warn!(message_id = messages::CONFIGURATION_WARNING, "{warning}");
        }
        let config = loaded.config;
        let settings = config.settings();
        let changed = differing(&self.known, &settings);
        if changed.contains(&LOG)
            && let Err(error) = self.log.set_level(config.log())
        {
            tracing::warn!(%error, "the log level stays");
        }
        self.known = settings;
        Ok(Reread { config, changed })
    }
}

/// Says what came of it: settings in `applied`, and the log level, are in effect.
pub fn report(changed: &[&'static str], applied: &[&'static str]) {
    let (done, open): (Vec<_>, Vec<_>) =
        changed.iter().copied().partition(|name| *name == LOG || applied.contains(name));
    if open.is_empty() {
        tracing::info!(changed = done.join(", "), "configuration reloaded");
    } else {
        tracing::warn!(
            message_id = messages::RESTART_NEEDED,
            changed = done.join(", "),
            farcc_reason = open.join(", "),
            "configuration reloaded; some of it takes a restart"
        );
    }
}

const LOG: &str = "log";

/// Names of settings whose values differ. Both lists are of one kind of daemon, so they have the same names.
fn differing(before: &[Setting], now: &[Setting]) -> Vec<&'static str> {
    now.iter().filter(|setting| !before.contains(setting)).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named() {
        let before = [("slots", "4".to_owned()), ("log", "info".to_owned())];
        let now = [("slots", "8".to_owned()), ("log", "info".to_owned())];
        assert_eq!(differing(&before, &now), ["slots"]);
        assert!(differing(&now, &now).is_empty());
    }
}

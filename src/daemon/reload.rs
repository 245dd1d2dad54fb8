//! Reads a daemon's configuration again while it runs: SIGHUP, `systemctl reload`, or `Reload` on the bus.
//!
//! A daemon applies what it can, and the journal names what needs a restart. A configuration that cannot be read changes nothing.

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

/// Knows where the configuration is from, and which settings are in effect.
#[derive(Debug)]
pub struct Reload {
    sources: Sources,
    log: LogHandle,
    in_effect: Vec<Setting>,
}

/// What the configuration says by now.
#[derive(Debug)]
pub struct Reread<C> {
    pub config: C,
    settings: Vec<Setting>,
    changed: Vec<&'static str>,
}

impl<C> Reread<C> {
    /// Whether the setting differs from the one in effect.
    pub fn has_changed(&self, name: &str) -> bool {
        self.changed.contains(&name)
    }
}

impl Reload {
    pub fn new<C: Configured>(sources: Sources, log: LogHandle, config: &C) -> Self {
        Self { sources, log, in_effect: config.settings() }
    }

    /// Reads everything again. [`Reload::report`] follows, once the daemon has applied what it can.
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
        let settings = loaded.config.settings();
        let changed = differing(&self.in_effect, &settings);
        Ok(Reread { config: loaded.config, settings, changed })
    }

    /// Applies the log level, and says what came of it: settings in `applied` are in effect now. The others go on to be
    /// different, so that the next reload names them again.
    pub fn report<C: Configured>(&mut self, reread: &Reread<C>, applied: &[&'static str]) {
        let mut applied = applied.to_vec();
        if reread.has_changed(LOG) {
            match self.log.set_level(reread.config.log()) {
                Ok(()) => applied.push(LOG),
                Err(error) => tracing::warn!(%error, "the log level stays"),
            }
        }
        take_over(&mut self.in_effect, &reread.settings, &applied);
        let (done, open): (Vec<_>, Vec<_>) = reread.changed.iter().copied().partition(|name| applied.contains(name));
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
}

/// The settings of these names, as they are said now.
fn take_over(in_effect: &mut [Setting], now: &[Setting], names: &[&str]) {
    for setting in in_effect.iter_mut().filter(|(name, _)| names.contains(name)) {
        if let Some(new) = now.iter().find(|(name, _)| *name == setting.0) {
            setting.1.clone_from(&new.1);
        }
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

    #[test]
    fn what_is_not_applied_is_named_again() {
        let settings = |slots: &str, name: &str| vec![("slots", slots.to_owned()), ("name", name.to_owned())];
        let mut in_effect = settings("4", "oak");
        let now = settings("8", "elm");
        take_over(&mut in_effect, &now, &["slots"]);
        assert_eq!(differing(&in_effect, &now), ["name"]);
        // Put back, it needs no restart.
        assert!(differing(&in_effect, &settings("8", "oak")).is_empty());
    }
}

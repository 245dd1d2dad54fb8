//! Where records go: to the journal as fields where this process's standard error is one, else to standard error as lines.
//!
//! The default level shows what an administrator may act on and nothing else; `systemctl service-log-level` changes it while the
//! daemon runs (see `os::bus`). Only farcc's own records follow the level, since a library's debug output helps nobody who
//! looks at a farm. Spans are not used: a record carries its own fields.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::engine::config::LogLevel;

/// Records started by [`start`]; changes their level later.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    level: Arc<Mutex<LogLevel>>,
    sink: Sink,
    identifier: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sink {
    Journal,
    StandardError,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("records go somewhere else already")]
    Started(#[from] tracing_subscriber::util::TryInitError),
    #[error("the level can no longer be changed")]
    Level(#[from] reload::Error),
}

/// Sends this process's records on their way. `identifier` is what `journalctl -t` takes.
///
/// # Errors
/// Where that was done before.
pub fn start(identifier: &'static str, level: LogLevel) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(targets(level));
    let registry = tracing_subscriber::registry().with(filter);
    let sink = match journal(identifier) {
        Some(journal) => {
            registry.with(journal).try_init()?;
            Sink::Journal
        }
        None => {
            registry.with(Lines { identifier }).try_init()?;
            Sink::StandardError
        }
    };
    Ok(LogHandle { filter: handle, level: Arc::new(Mutex::new(level)), sink, identifier })
}

impl LogHandle {
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// Where the records were stopped.
    pub fn set_level(&self, level: LogLevel) -> Result<(), LogError> {
        let mut current = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        self.filter.reload(targets(level))?;
        *current = level;
        Ok(())
    }

    pub fn sink(&self) -> Sink {
        self.sink
    }

    pub fn identifier(&self) -> &'static str {
        self.identifier
    }
}

/// farcc's own records by `level`, those of libraries from a warning on. Binaries are named `farcc…` too.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("farcc", level)
}

/// The journal, where standard error is connected to it: `$JOURNAL_STREAM` names device and inode.
fn journal(identifier: &str) -> Option<tracing_journald::Layer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stat = rustix::fs::fstat(io::stderr().as_fd()).ok()?;
    if stream != format!("{}:{}", stat.st_dev, stat.st_ino) {
        return None;
    }
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::Layer::new().ok()?;
    Some(layer.with_field_prefix(None).with_priority_mappings(priorities).with_syslog_identifier(identifier.to_owned()))
}

/// One line a record: `farcc-builderd: warning: job failed (job=…, reason=…)`.
struct Lines {
    identifier: &'static str,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.render(self.identifier, *event.metadata().level());
        // Nobody is left to be told that standard error is gone.
        drop(io::stderr().write_all(text.as_bytes()));
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn render(&self, identifier: &str, level: Level) -> String {
        let level = match level {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        // One record is one line, whatever a peer put into it.
        let escape = |text: &str| text.replace(|c: char| c.is_control(), " ");
        match self.fields.as_str() {
            "" => format!("{identifier}: {level}{}\n", escape(&self.message)),
            fields => format!("{identifier}: {level}{} ({})\n", escape(&self.message), escape(fields)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // For the catalog only.
            "message_id" => Ok(()),
            name => {
                let separator = if self.fields.is_empty() { "" } else { ", " };
                write!(self.fields, "{separator}{}={value:?}", name.trim_start_matches("farcc_"))
            }
        };
        // Writing to a string fails only where a value's own Debug does; what came before it stands.
        written.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Captured {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push(line.render("farcc-test", *event.metadata().level()));
        }
    }

    fn capture(level: LogLevel, records: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let subscriber = tracing_subscriber::registry().with(targets(level)).with(captured.clone());
        tracing::subscriber::with_default(subscriber, records);
        std::mem::take(&mut captured.0.lock().unwrap())
    }

    #[test]
    fn a_record_is_one_line_without_the_catalog_id() {
        let lines = capture(LogLevel::Info, || {
            tracing::warn!(message_id = super::super::messages::JOB_FAILED, farcc_job = %7, peer = "a\nb", "job\nfailed");
        });
        assert_eq!(lines, ["farcc-test: warning: job failed (job=7, peer=a b)\n"]);
    }

    #[test]
    fn the_level_is_for_our_own_records() {
        let records = || {
            tracing::debug!("ours");
            tracing::debug!(target: "h2::codec", "theirs");
            tracing::warn!(target: "h2::codec", "serious");
        };
        assert_eq!(capture(LogLevel::Debug, records).len(), 2);
        assert_eq!(capture(LogLevel::Info, records).len(), 1);
        assert_eq!(capture(LogLevel::Error, records).len(), 0);
    }
}

//! The wrapper's own words. A build's standard error belongs to the compiler (libtool probes take any other text for a
//! failure), so nothing is said unless `FARCC_LOG` asks, or there is no compiler to speak instead.

use std::ffi::OsString;
use std::fmt::Arguments;
use std::io::Write;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    Silent,
    /// What went wrong.
    Error,
    /// Where each unit went, and why.
    Info,
    /// What was looked at on the way.
    Debug,
}

impl Level {
    /// Words that are no level are taken as `info`: whoever sets the variable wants to see something.
    pub(crate) fn from_word(word: Option<OsString>) -> Self {
        match word.as_deref().and_then(|word| word.to_str()) {
            None if word.is_none() => Self::Silent,
            Some("off" | "none") => Self::Silent,
            Some("error" | "warn") => Self::Error,
            Some("debug" | "trace") => Self::Debug,
            _ => Self::Info,
        }
    }
}

/// One line on standard error, written at once so that lines of parallel wrappers do not mix.
pub(crate) fn say(words: Arguments<'_>) {
    let line = format!("farcc: {words}\n");
    // A closed standard error is no reason to fail: the line is lost, the compile goes on.
    std::io::stderr().write_all(line.as_bytes()).ok();
}

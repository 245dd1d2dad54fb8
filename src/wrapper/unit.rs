//! One command from the question to its end: elsewhere, here, or not farcc's business at all.

use std::fmt::Arguments;

use crate::engine::wire::local::{Finished, FromDaemon, ToDaemon};
use crate::model::reason::{Reason, Why};
use crate::os::local::{Link, LinkError};
use crate::os::sys::wrapper::GivenSignals;
use crate::wrapper::find::{Compiler, find};
use crate::wrapper::invocation::Command;
use crate::wrapper::log::{Level, say};
use crate::wrapper::settings::Settings;
use crate::wrapper::{autostart, local, outputs, request};

/// Does what `command` says, by whatever way; the exit status is the compiler's.
pub(crate) fn compile(command: &Command, settings: &Settings, signals: GivenSignals) -> u8 {
    let compiler = match find(command, settings.path.as_deref()) {
        Ok(compiler) => compiler,
        Err(error) => {
            // What a shell would say in our place.
            say(format_args!("{}: {error}", command.name.display()));
            return error.exit_status();
        }
    };
    let unit = Unit { command, compiler, settings, signals };
    unit.log(Level::Debug, format_args!("compiler {}", unit.compiler.path.display()));
    if let Some(why) = unit.passes_by() {
        return unit.step_aside(&why);
    }
    match unit.ask() {
        Ok((link, answer)) => unit.follow(link, answer),
        Err(error) => unit.give_up(&error),
    }
}

/// A command, and what is needed to run it.
struct Unit<'a> {
    command: &'a Command,
    compiler: Compiler,
    settings: &'a Settings,
    signals: GivenSignals,
}

impl Unit<'_> {
    /// What needs no daemon to be decided. Everything else is asked, so that statistics know of it.
    fn passes_by(&self) -> Option<Why> {
        if self.settings.disabled {
            return Some(Why::new(Reason::LocalOption, "FARCC_DISABLE"));
        }
        let is_rust = self.command.base_name().to_str().is_some_and(|name| RUST.contains(&name));
        is_rust.then(|| Reason::Rustc.into())
    }

    /// Asks, and waits for an answer that says something.
    fn ask(&self) -> Result<(Link, FromDaemon), LinkError> {
        let mut link = autostart::connect(self.settings)?;
        request::ask(&link, self.command, &self.compiler)?;
        loop {
            match link.receive()? {
                // As long as they come, the daemon is alive and the unit has its place in the queue.
                FromDaemon::SignOfLife => {}
                answer => return Ok((link, answer)),
            }
        }
    }

    fn follow(&self, link: Link, answer: FromDaemon) -> u8 {
        match answer {
            FromDaemon::RunLocal { why } => self.run_local(&link, &why),
            FromDaemon::Finished(finished) => self.finish(link, &finished),
            FromDaemon::StepAside { why } => self.step_aside(&why),
            FromDaemon::Upgrade { speaks } => {
                self.log(Level::Error, format_args!("local: the daemon speaks version {speaks}; restart it"));
                self.become_compiler()
            }
            FromDaemon::SignOfLife | FromDaemon::Answer { .. } => {
                self.log(Level::Error, format_args!("local: the daemon answers what was not asked"));
                self.become_compiler()
            }
        }
    }

    fn step_aside(&self, why: &Why) -> u8 {
        self.log(Level::Info, format_args!("stepping aside: {why}"));
        self.become_compiler()
    }

    fn run_local(&self, link: &Link, why: &Why) -> u8 {
        self.log(Level::Info, format_args!("local: {why}"));
        local::run_compiler(&self.compiler, &self.command.arguments, self.signals, link)
    }

    fn finish(&self, mut link: Link, finished: &Finished) -> u8 {
        let descriptors = link.take_descriptors();
        if let Err(error) = outputs::write(&finished.outputs, descriptors) {
            self.log(Level::Error, format_args!("local: {}: {error}", Reason::WriteFailed));
            // Should the daemon be gone, nobody needs to know.
            link.send(&ToDaemon::WriteFailed { detail: error.to_string() }).ok();
            return self.become_compiler();
        }
        self.log(Level::Info, format_args!("remote on {}", finished.builder));
        outputs::print(&finished.stdout, &finished.stderr);
        link.send(&ToDaemon::Written).ok();
        0
    }

    fn give_up(&self, error: &LinkError) -> u8 {
        let level = if matches!(error, LinkError::NoDaemon) { Level::Info } else { Level::Error };
        self.log(level, format_args!("local: {error}"));
        self.become_compiler()
    }

    fn become_compiler(&self) -> u8 {
        local::become_program(&self.compiler.path, &self.compiler.argv0, &self.command.arguments, self.signals)
    }

    fn log(&self, level: Level, words: Arguments<'_>) {
        if level <= self.settings.log {
            say(format_args!("{}: {words}", self.command.unit().display()));
        }
    }
}

/// Programs that are certainly no compilers of C: cargo asks for them hundreds of times, and starting a daemon for that
/// would be of no use.
const RUST: &[&str] = &["rustc", "rustdoc", "clippy-driver"];

//! One command from the question to its end: elsewhere, here, or not farcc's business at all.
//!
//! A compiler may come back to farcc: a script by a compiler's name that calls it, a launcher that finds it in PATH. The inner
//! farcc must not ask the daemon then, since the outer one may hold the last local slot until the inner one has ended. So a
//! compiler that farcc runs, or becomes, has `FARCC_LEVEL` in its environment, and a farcc that sees it is the plain compiler
//! at once; one that sees it too often is part of a circle and ends it.
//!
//! Only a compiler has it: by the daemon's word, or by its name where no daemon has said anything. Anything else that farcc is
//! put in front of (make, cargo, rustc with the build scripts around it) may start a build whose units are to be distributed.

use std::ffi::OsStr;
use std::fmt::Arguments;
use std::os::unix::ffi::OsStrExt;

use crate::engine::wire::local::{Finished, FromDaemon, ToDaemon};
use crate::model::reason::{Reason, Why};
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::local::{Link, LinkError};
use crate::os::sys::wrapper::GivenSignals;
use crate::wrapper::find::{Compiler, FindError, find};
use crate::wrapper::invocation::Command;
use crate::wrapper::log::{Level, say};
use crate::wrapper::settings::Settings;
use crate::wrapper::{autostart, local, outputs, request};

/// Does what `command` says, by whatever way; the exit status is the compiler's.
pub(crate) fn compile(command: &Command, settings: &Settings, signals: GivenSignals) -> u8 {
    let is_endless = settings.level >= LEVELS_MAX;
    let found = if is_endless { Err(FindError::Endless) } else { find(command, settings.path.as_deref()) };
    let compiler = match found {
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
        if self.settings.level > 0 {
            return Some(Why::new(Reason::LocalOption, LEVEL_VARIABLE));
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
                self.become_unknown()
            }
            FromDaemon::SignOfLife | FromDaemon::Answer { .. } => {
                self.log(Level::Error, format_args!("local: the daemon answers what was not asked"));
                self.become_unknown()
            }
        }
    }

    fn step_aside(&self, why: &Why) -> u8 {
        self.log(Level::Info, format_args!("stepping aside: {why}"));
        match why.reason {
            Reason::Rustc | Reason::UnknownCompiler => self.become_program(),
            _ if self.settings.disabled => self.become_program(),
            _ => self.become_compiler(),
        }
    }

    fn run_local(&self, link: &Link, why: &Why) -> u8 {
        self.log(Level::Info, format_args!("local: {why}"));
        local::run_compiler(&self.compiler, &self.command.arguments, self.inner_level(), self.signals, link)
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
        self.become_unknown()
    }

    /// Nobody has said what the program is.
    fn become_unknown(&self) -> u8 {
        match is_compilers_name(self.command.base_name()) {
            true => self.become_compiler(),
            false => self.become_program(),
        }
    }

    fn become_compiler(&self) -> u8 {
        local::become_compiler(&self.compiler, &self.command.arguments, Some(self.inner_level()), self.signals)
    }

    fn become_program(&self) -> u8 {
        local::become_compiler(&self.compiler, &self.command.arguments, None, self.signals)
    }

    fn inner_level(&self) -> u32 {
        self.settings.level + 1
    }

    fn log(&self, level: Level, words: Arguments<'_>) {
        if level <= self.settings.log {
            say(format_args!("{}: {words}", self.command.unit().display()));
        }
    }
}

fn is_compilers_name(name: &OsStr) -> bool {
    let is_in = |word: &&str| name.as_bytes().windows(word.len()).any(|window| window == word.as_bytes());
    ["cc", "++", "clang"].iter().any(is_in)
}

/// Compilers around one another, each started by the one before through farcc: scripts upon scripts have two or three.
const LEVELS_MAX: u32 = 16;

/// Programs that are certainly no compilers of C: cargo asks for them hundreds of times, and starting a daemon for that
/// would be of no use.
const RUST: &[&str] = &["rustc", "rustdoc", "clippy-driver"];

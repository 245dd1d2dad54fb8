//! `farccctl config check`: reads what the daemons would read.

use std::io::ErrorKind;

use crate::cli::arguments::{CheckOptions, Role};
use crate::cli::render::table;
use crate::cli::{Failure, print, say};
use crate::engine::config::{Checked, Setting, Warning};
use crate::model::exit;
use crate::os::config::{LoadError, Sources, files, load_builder, load_client, load_scheduler};

pub(crate) fn check(options: &CheckOptions) -> Result<u8, Failure> {
    let sources = Sources::here(options.config.clone());
    if let Some(role) = options.role {
        let found = examine(role, &sources).map_err(Failure::with(exit::CONFIGURATION))?;
        print(&found.settings)?;
        return Ok(found.judge());
    }
    let mut text = String::new();
    let mut status = exit::OK;
    for role in [Role::Client, Role::Scheduler, Role::Builder] {
        match look_for(role, &sources) {
            Ok(found) => {
                text.push_str(&found.settings);
                status = status.max(found.judge());
            }
            Err(error) => {
                say(&error.to_string());
                status = exit::CONFIGURATION;
            }
        }
    }
    print(&text)?;
    Ok(status)
}

/// What one daemon would run with.
#[derive(Default)]
struct Found {
    /// Files and settings, for people.
    settings: String,
    warnings: Vec<Warning>,
}

impl Found {
    /// Says what is odd. The daemon would run all the same; whoever checks a configuration wants to know of a misspelt key.
    fn judge(&self) -> u8 {
        for warning in &self.warnings {
            say(&format!("warning: {warning}"));
        }
        if self.warnings.is_empty() { exit::OK } else { exit::NEGATIVE }
    }
}

/// As [`examine`]; a daemon that nobody has configured here has nothing to be said about, and files for a service are not
/// for everybody's eyes.
fn look_for(role: Role, sources: &Sources) -> Result<Found, LoadError> {
    if role != Role::Client && files(sources, role.name())?.is_empty() {
        return Ok(Found::default());
    }
    match examine(role, sources) {
        Err(LoadError::Unreadable { path, cause })
            if role != Role::Client && cause.kind() == ErrorKind::PermissionDenied =>
        {
            let settings = format!("{}: not looked at, since this user may not read {}\n", role.name(), path.display());
            Ok(Found { settings, warnings: Vec::new() })
        }
        result => result,
    }
}

/// Files, settings and warnings of one daemon.
fn examine(role: Role, sources: &Sources) -> Result<Found, LoadError> {
    let (settings, warnings) = match role {
        Role::Client => load_client(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Scheduler => load_scheduler(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Builder => load_builder(sources).map(|checked| parts(checked, |config| config.settings()))?,
    };
    let files: Vec<_> = files(sources, role.name())?.iter().map(|file| file.display().to_string()).collect();
    let origin = if files.is_empty() { "no file, so everything is as it comes".to_owned() } else { files.join(", ") };
    let rows: Vec<_> = settings.into_iter().map(|(name, value)| [format!("  {name}"), value]).collect();
    Ok(Found { settings: format!("{}: {origin}\n{}", role.name(), table(&rows)), warnings })
}

fn parts<T>(checked: Checked<T>, settings: impl Fn(&T) -> Vec<Setting>) -> (Vec<Setting>, Vec<Warning>) {
    (settings(&checked.config), checked.warnings)
}

//! `farccctl config`: reads what the daemons would read, shows which line says what, and brings files along from sccache.

use std::io::ErrorKind;

use serde_json::json;

use crate::cli::arguments::{CheckOptions, ImportOptions, Role, ShowConfigOptions};
use crate::cli::place::Place;
use crate::cli::render::{columns, plain, table};
use crate::cli::{Failure, print, say};
use crate::engine::config::{Checked, Import, Origins, Part, Setting, Warning, socket_drop_in};
use crate::model::exit;
use crate::os::config::{
    self, ImportError, LoadError, Sources, files, load_builder, load_client, load_scheduler, origins,
};

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
    let (settings, warnings) = load(role, sources)?;
    let rows: Vec<_> = settings.into_iter().map(|(name, value)| [format!("  {name}"), value]).collect();
    Ok(Found { settings: format!("{}\n{}", heading(role, sources)?, table(&rows)), warnings })
}

/// What would be in effect, and what is odd about it.
fn load(role: Role, sources: &Sources) -> Result<(Vec<Setting>, Vec<Warning>), LoadError> {
    Ok(match role {
        Role::Client => load_client(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Scheduler => load_scheduler(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Builder => load_builder(sources).map(|checked| parts(checked, |config| config.settings()))?,
    })
}

fn heading(role: Role, sources: &Sources) -> Result<String, LoadError> {
    let files = file_names(role, sources)?;
    let origin = if files.is_empty() { "no file, so everything is as it comes".to_owned() } else { files.join(", ") };
    Ok(format!("{}: {origin}", role.name()))
}

fn file_names(role: Role, sources: &Sources) -> Result<Vec<String>, LoadError> {
    Ok(files(sources, role.name())?.iter().map(|file| file.display().to_string()).collect())
}

fn parts<T>(checked: Checked<T>, settings: impl Fn(&T) -> Vec<Setting>) -> (Vec<Setting>, Vec<Warning>) {
    (settings(&checked.config), checked.warnings)
}

pub(crate) fn show(options: &ShowConfigOptions) -> Result<u8, Failure> {
    let sources = Sources::here(options.config.clone());
    let is_here =
        |role: &Role| *role == Role::Client || files(&sources, role.name()).is_ok_and(|files| !files.is_empty());
    let roles = match options.role {
        Some(role) => vec![role],
        None => [Role::Client, Role::Scheduler, Role::Builder].into_iter().filter(is_here).collect(),
    };
    let effective = roles.iter().map(|&role| Effective::load(role, &sources)).collect::<Result<Vec<_>, _>>();
    let effective = effective.map_err(Failure::with(exit::CONFIGURATION))?;
    match options.json {
        true => print(&format!("{}\n", json!(effective.iter().map(Effective::document).collect::<Vec<_>>()))),
        false => {
            let render = |effective: &Effective| effective.render(columns());
            print(&effective.iter().map(render).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What one daemon would run with, and where each setting was said.
struct Effective {
    role: Role,
    heading: String,
    files: Vec<String>,
    settings: Vec<Setting>,
    origins: Origins,
}

impl Effective {
    fn load(role: Role, sources: &Sources) -> Result<Self, LoadError> {
        let (settings, _) = load(role, sources)?;
        let (heading, files) = (heading(role, sources)?, file_names(role, sources)?);
        Ok(Self { role, heading, files, settings, origins: origins(sources, role.name())? })
    }

    /// None where the setting is as it comes.
    fn origin(&self, (name, value): &Setting) -> Option<String> {
        match self.origins.of_setting(name) {
            Some(place) => Some(place.to_string()),
            // A secret does not come by itself.
            None if value == SECRET => Some("a credential".to_owned()),
            None => None,
        }
    }

    /// A row for each setting; on a terminal that is too narrow for one, what it is made of stands below each other.
    fn render(&self, columns: Option<usize>) -> String {
        let row = |setting: &Setting| {
            let origin = self.origin(setting).unwrap_or_else(|| "as it comes".to_owned());
            [format!("  {}", setting.0), plain(&setting.1), plain(&origin)]
        };
        let rows: Vec<_> = self.settings.iter().map(row).collect();
        let text = table(&rows);
        let fits = |line: &str| columns.is_none_or(|columns| line.chars().count() <= columns);
        let text = if text.lines().all(fits) { text } else { rows.iter().map(|row| stack(row, columns)).collect() };
        format!("{}\n{text}", plain(&self.heading))
    }

    fn document(&self) -> serde_json::Value {
        let setting =
            |setting: &Setting| json!({ "name": setting.0, "value": setting.1, "from": self.origin(setting) });
        let settings: Vec<_> = self.settings.iter().map(setting).collect();
        json!({ "role": self.role.name(), "files": self.files, "settings": settings })
    }
}

/// One row on as few lines as it fits on.
fn stack([name, value, origin]: &[String; 3], columns: Option<usize>) -> String {
    let head = format!("{name:STACKED_NAME_WIDTH$}  {value}");
    let fits = |text: &str| columns.is_none_or(|columns| text.chars().count() <= columns);
    let row = format!("{head}  ({origin})");
    match (fits(&row), fits(&head)) {
        (true, _) => format!("{row}\n"),
        (false, true) => format!("{head}\n{:STACKED_NAME_WIDTH$}  ({origin})\n", ""),
        (false, false) => format!("{name}\n    {value}\n    ({origin})\n"),
    }
}

/// As wide as the longest name of a setting.
const STACKED_NAME_WIDTH: usize = "  toolchain_cache_size".len();
/// What settings show in place of a token.
const SECRET: &str = "(secret)";

pub(crate) fn import(options: &ImportOptions) -> Result<u8, Failure> {
    let sources = Sources::here(None);
    let (part, imported) =
        config::import(&sources, &options.file, options.role.map(Part::from)).map_err(|error| match error {
            ImportError::Unrecognised(_) => Failure::new(exit::USAGE, error),
            ImportError::Load(_) => Failure::new(exit::CONFIGURATION, error),
        })?;
    let Import { text, warnings, listen } = imported;
    let text = format!("# Imported from {} by farccctl.\n{text}", plain(&options.file.display().to_string()));
    let target = Target::new(part)?;
    let drop_in = listen.as_ref().map(socket_drop_in);
    let socket = target.socket.as_ref().zip(drop_in.as_ref());
    // Both or neither: a daemon that listens where it should not is worse than none.
    target.file.check(&text, options.force)?;
    if let Some((place, drop_in)) = socket {
        place.put(drop_in, options.force)?;
    }
    target.file.put(&text, options.force)?;
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    say(&format!("imported as a {}'s: {}", part.name(), target.file.path.display()));
    if let (Some((place, _)), Some(address)) = (socket, &listen) {
        let reach = if address.is_loopback() { ", where only this machine reaches it" } else { "" };
        say(&format!("the socket unit listens on {address} instead{reach}: {}", place.path.display()));
    }
    say(&target.next(socket.is_some()));
    Ok(exit::OK)
}

/// Where an imported file goes, and who reads it there.
struct Target {
    part: Part,
    is_root: bool,
    file: Place,
    /// A unit's drop-in, where there is a socket unit.
    socket: Option<Place>,
}

impl Target {
    fn new(part: Part) -> Result<Self, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        let (file, socket) = match (part, is_root) {
            (Part::Client, _) => (Place::own(part)?, None),
            (Part::Scheduler | Part::Builder, true) => (Place::service(part), Some(Place::system_socket(part))),
            (Part::Builder, false) => (Place::own(part)?, Some(Place::own_socket(part)?)),
            // A user's scheduler is started by hand, and opens its socket itself.
            (Part::Scheduler, false) => (Place::own(part)?, None),
        };
        Ok(Self { part, is_root, file, socket })
    }

    /// What comes next.
    fn next(&self, has_drop_in: bool) -> String {
        let enable = |systemctl: &str, unit: &str| match has_drop_in {
            // A socket that listens already would not notice.
            true => format!(
                "`{systemctl} daemon-reload && {systemctl} enable {unit} && {systemctl} restart farcc-{}.socket`",
                self.part.name()
            ),
            false => format!("`{systemctl} enable --now {unit}`"),
        };
        match (self.part, self.is_root) {
            (Part::Client, _) => {
                "`farccctl stop` lets a running client daemon notice; `farccctl doctor` looks at it".to_owned()
            }
            (Part::Scheduler, true) => {
                let enable = enable("systemctl", "farcc-scheduler.service");
                format!("now {enable}, and `farccctl farm invite` for the others")
            }
            (Part::Scheduler, false) => {
                format!("now `farcc-schedulerd --config {}`, from /usr/libexec/farcc", self.file.path.display())
            }
            (Part::Builder, true) => format!("now {}", enable("systemctl", "builder.socket")),
            (Part::Builder, false) => format!("now {}", enable("systemctl --user", "builder.socket")),
        }
    }
}

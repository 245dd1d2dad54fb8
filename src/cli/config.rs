//! `farccctl config`: reads what the daemons would read, shows which line says what, and brings files along from sccache.

use std::io::ErrorKind;

use serde_json::json;

use crate::cli::arguments::{CheckOptions, ImportOptions, Role, ShowConfigOptions};
use crate::cli::place::Place;
use crate::cli::render::{columns, plain, table};
use crate::cli::{Failure, credstore, print, say};
use crate::engine::config::{Checked, Import, Origins, Part, Setting, Warning, socket_drop_in};
use crate::model::exit;
use crate::os::config::{
    self, ImportError, LoadError, Sources, files, load_builder, load_client, load_scheduler, origins,
};

pub(crate) fn check(options: &CheckOptions) -> Result<u8, Failure> {
    let sources = Sources::here(options.config.clone());
    let looks: Vec<_> = roles(options.role, &sources).map(|role| (role, Look::at(role, &sources))).collect();
    if options.json {
        print(&format!("{}\n", json!(looks.iter().map(|(role, look)| look.document(*role)).collect::<Vec<_>>())))?;
    } else {
        print(&looks.iter().map(|(role, look)| look.render(*role)).collect::<String>())?;
    }
    Ok(looks.iter().map(|(_, look)| look.status(options.role.is_some())).max().unwrap_or(exit::OK))
}

/// The role that was asked for. Else the client, and each daemon that somebody has configured here: there is nothing to be said
/// about others.
fn roles(asked: Option<Role>, sources: &Sources) -> impl Iterator<Item = Role> {
    let is_here = |role: Role| role == Role::Client || !files(sources, role.name()).is_ok_and(|files| files.is_empty());
    Role::ALL.into_iter().filter(move |&role| asked.map_or_else(|| is_here(role), |asked| asked == role))
}

/// What there is to say about one daemon's configuration.
enum Look {
    /// What it would run with.
    Read { files: Vec<String>, settings: Vec<Setting>, warnings: Vec<Warning> },
    /// This user may not see all of it: why.
    Unseen(String),
    /// The daemon would not start: why.
    Wrong(String),
}

impl Look {
    fn at(role: Role, sources: &Sources) -> Self {
        let read = || Ok((load(role, sources)?, file_names(role, sources)?));
        match read() {
            Ok(((settings, warnings), files)) => Self::Read { files, settings, warnings },
            Err(LoadError::Unreadable { path, cause }) if cause.kind() == ErrorKind::PermissionDenied => {
                Self::Unseen(format!("this user may not read {}", path.display()))
            }
            Err(error) if credstore::may_mend(&error, role.into(), sources) => {
                Self::Unseen(credstore::hindrance().to_owned())
            }
            Err(error) => Self::Wrong(error.to_string()),
        }
    }

    /// The daemon would run with a warning all the same; whoever checks a configuration wants to know of a misspelt key. What this
    /// user may not see is only missed where it `is_asked` for: files for a service are not for everybody's eyes.
    fn status(&self, is_asked: bool) -> u8 {
        match self {
            Self::Read { warnings, .. } if !warnings.is_empty() => exit::NEGATIVE,
            Self::Unseen(_) if is_asked => exit::NEGATIVE,
            Self::Read { .. } | Self::Unseen(_) => exit::OK,
            Self::Wrong(_) => exit::CONFIGURATION,
        }
    }

    /// For people; what is wrong or odd goes to standard error at once.
    fn render(&self, role: Role) -> String {
        match self {
            Self::Read { files, settings, warnings } => {
                for warning in warnings {
                    say(&format!("warning: {warning}"));
                }
                let rows: Vec<_> = settings.iter().map(|(name, value)| [format!("  {name}"), value.clone()]).collect();
                format!("{}\n{}", heading(role, files), table(&rows))
            }
            Self::Unseen(why) => format!("{}: not looked at: {why}\n", role.name()),
            Self::Wrong(why) => {
                say(why);
                String::new()
            }
        }
    }

    fn document(&self, role: Role) -> serde_json::Value {
        match self {
            Self::Read { files, settings, warnings } => {
                let setting = |(name, value): &Setting| json!({ "name": name, "value": value });
                let settings: Vec<_> = settings.iter().map(setting).collect();
                let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
                json!({ "role": role.name(), "files": files, "settings": settings, "warnings": warnings })
            }
            Self::Unseen(why) => json!({ "role": role.name(), "unseen": why }),
            Self::Wrong(why) => json!({ "role": role.name(), "error": why }),
        }
    }
}

/// What would be in effect, and what is odd about it.
fn load(role: Role, sources: &Sources) -> Result<(Vec<Setting>, Vec<Warning>), LoadError> {
    let sources = &credstore::sources_of(role.into(), sources);
    Ok(match role {
        Role::Client => load_client(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Scheduler => load_scheduler(sources).map(|checked| parts(checked, |config| config.settings()))?,
        Role::Builder => load_builder(sources).map(|checked| parts(checked, |config| config.settings()))?,
    })
}

fn heading(role: Role, files: &[String]) -> String {
    let origin = if files.is_empty() { "no file, so everything is as it comes".to_owned() } else { files.join(", ") };
    format!("{}: {origin}", role.name())
}

fn file_names(role: Role, sources: &Sources) -> Result<Vec<String>, LoadError> {
    Ok(files(sources, role.name())?.iter().map(|file| file.display().to_string()).collect())
}

fn parts<T>(checked: Checked<T>, settings: impl Fn(&T) -> Vec<Setting>) -> (Vec<Setting>, Vec<Warning>) {
    (settings(&checked.config), checked.warnings)
}

pub(crate) fn show(options: &ShowConfigOptions) -> Result<u8, Failure> {
    let sources = Sources::here(options.config.clone());
    let load = |role: Role| {
        Effective::load(role, &sources).map_err(|error| match credstore::may_mend(&error, role.into(), &sources) {
            true => Failure::new(exit::CONFIGURATION, format_args!("{error}; {}", credstore::hindrance())),
            false => Failure::new(exit::CONFIGURATION, error),
        })
    };
    let effective = roles(options.role, &sources).map(load).collect::<Result<Vec<_>, _>>()?;
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
    files: Vec<String>,
    settings: Vec<Setting>,
    origins: Origins,
}

impl Effective {
    fn load(role: Role, sources: &Sources) -> Result<Self, LoadError> {
        let (settings, _) = load(role, sources)?;
        let files = file_names(role, sources)?;
        Ok(Self { role, files, settings, origins: origins(sources, role.name())? })
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
        format!("{}\n{text}", plain(&heading(self.role, &self.files)))
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
    let next = target.next(socket.is_some());
    if options.json {
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let drop_in = socket.map(|(place, _)| place.path.display().to_string());
        let file = target.file.path.display().to_string();
        let listen = listen.map(|address| address.to_string());
        let document = json!({
            "role": part.name(), "file": file, "socket_unit": drop_in, "listens": listen, "warnings": warnings, "next": next,
        });
        return print(&format!("{document}\n"));
    }
    for warning in &warnings {
        say(&format!("warning: {warning}"));
    }
    say(&format!("imported as a {}'s: {}", part.name(), target.file.path.display()));
    if let (Some((place, _)), Some(address)) = (socket, &listen) {
        let reach = if address.is_loopback() { ", where only this machine reaches it" } else { "" };
        say(&format!("the socket unit listens on {address} instead{reach}: {}", place.path.display()));
    }
    say(&next);
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

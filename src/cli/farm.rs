//! `farccctl farm`: what it takes to bring machines together, as one line to carry from one to the other.

use std::fs;
use std::io;
use std::path::Path;

use crate::cli::arguments::{InviteOptions, JoinOptions};
use crate::cli::manager::{Manager, SYSTEMD_IMPORTS, systemd_version};
use crate::cli::place::Place;
use crate::cli::{Failure, print, say};
use crate::engine::config::{HostPort, Invite, Part, SCHEDULER_PORT, SchedulerConfig};
use crate::model::exit;
use crate::os::config::{Sources, load_scheduler, scheduler_tokens};
use crate::os::net::Identity;

pub(crate) fn invite(options: &InviteOptions) -> Result<u8, Failure> {
    if options.now {
        Manager::System.switch_on("farcc-scheduler.service")?;
    }
    let configuration = Failure::with(exit::CONFIGURATION);
    let config = load_scheduler(&Sources::here(options.config.clone())).map_err(configuration)?.config;
    let dir = &config.state_dir;
    // What the scheduler makes at its first start must be made by the scheduler: else it would be another user's.
    fs::metadata(dir.join(CERTIFICATE)).map_err(|error| no_scheduler(dir, &error))?;
    let identity = Identity::load_or_create(dir).map_err(Failure::with(exit::DIRECTORY))?;
    let tokens = scheduler_tokens(&config).map_err(Failure::with(exit::DIRECTORY))?;
    let invite = Invite {
        address: address(options, &config)?,
        fingerprint: identity.fingerprint(),
        client_token: (!options.builder).then_some(tokens.client),
        builder_token: (!options.client).then_some(tokens.builder),
    };
    print(&format!("{invite}\n"))
}

fn no_scheduler(dir: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as root",
        _ => "run this on the scheduler's machine with `--now`, which starts the scheduler",
    };
    Failure::new(
        exit::NEGATIVE,
        format_args!("{}: there is no scheduler's certificate ({error}); {advice}", dir.display()),
    )
}

/// Where others find the scheduler. An address that means every address of this machine is not one for others.
fn address(options: &InviteOptions, config: &SchedulerConfig) -> Result<HostPort, Failure> {
    if let Some(text) = &options.address {
        let wrong = |error| Failure::new(exit::USAGE, format_args!("--address: {error}"));
        return HostPort::parse(text, SCHEDULER_PORT).map_err(wrong);
    }
    if !config.public_addr.is_wildcard() {
        return Ok(config.public_addr.clone());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(HostPort::new(host, config.public_addr.port))
}

pub(crate) fn join(options: &JoinOptions) -> Result<u8, Failure> {
    let invite: Invite = options.line.parse().map_err(Failure::with(exit::USAGE))?;
    let is_root = rustix::process::geteuid().is_root();
    let is_builder = options.builder || (!options.client && is_root);
    let joining = match (is_builder, is_root) {
        (true, true) => Joining::builder_service(&invite),
        (true, false) => Joining::own_builder(&invite),
        (false, _) => Joining::client(&invite, options.system),
    }?;
    // All or nothing: a daemon with half of it would knock at the door for ever.
    for (place, text) in &joining.files {
        place.check(text, options.force)?;
    }
    for (place, text) in &joining.files {
        place.put(text, options.force)?;
    }
    if joining.drop_in.as_ref().map(DropIn::settle).transpose()?.unwrap_or(false) {
        joining.manager.reload()?;
    }
    let written: Vec<_> = joining.files.iter().map(|(place, _)| place.path.display().to_string()).collect();
    let then = if options.now {
        if let Some(service) = joining.service {
            // One that runs already has read what was there at its start.
            joining.manager.restart_if_running(service)?;
        }
        joining.manager.switch_on(joining.unit)?;
        format!("{} is on", joining.unit)
    } else {
        joining.then.to_owned()
    };
    say(&format!("joined: {}; {then}", written.join(", ")));
    Ok(exit::OK)
}

/// What a service's unit is told beside its own file.
struct DropIn {
    place: Place,
    text: String,
    is_needed: bool,
}

impl DropIn {
    /// Writes it where it is needed, and removes it where it no longer is: a credential that it names must exist. True where that
    /// changes anything.
    fn settle(&self) -> Result<bool, Failure> {
        match self.is_needed {
            true => self.place.update(&self.text),
            false => self.place.take_back(&self.text),
        }
    }
}

/// What it takes to join: files, in the order of writing, and what is done with them.
struct Joining {
    files: Vec<(Place, String)>,
    drop_in: Option<DropIn>,
    manager: Manager,
    unit: &'static str,
    /// Reads the files at its start only.
    service: Option<&'static str>,
    /// What comes next for those who do it themselves.
    then: &'static str,
}

impl Joining {
    /// The token is the service manager's to keep and to hand over, where one runs that does.
    fn builder_service(invite: &Invite) -> Result<Self, Failure> {
        let token = meant_for("builders", invite.builder_token.as_ref())?;
        let credential = Place::credential(CREDENTIAL);
        let version = systemd_version();
        let drop_in = version.map(|version| DropIn {
            place: Place::system_service(Part::Builder),
            text: format!("[Service]\nLoadCredential={CREDENTIAL}:{}\n", credential.path.display()),
            is_needed: version < SYSTEMD_IMPORTS,
        });
        let files = match version {
            None => vec![(Place::service(Part::Builder), meant_for("builders", invite.builder_file())?)],
            Some(_) => vec![
                (credential, format!("{}\n", token.expose())),
                (Place::readable_service(Part::Builder), invite.upstream_file()),
            ],
        };
        let then = "now `systemctl enable --now builder.socket`";
        let service = Some("farcc-builder.service");
        Ok(Self { files, drop_in, manager: Manager::System, unit: BUILDER_UNIT, service, then })
    }

    fn own_builder(invite: &Invite) -> Result<Self, Failure> {
        let files = vec![(Place::own(Part::Builder)?, meant_for("builders", invite.builder_file())?)];
        let then = "now `systemctl --user enable --now builder.socket`";
        let service = Some("farcc-builder.service");
        Ok(Self { files, drop_in: None, manager: Manager::User, unit: BUILDER_UNIT, service, then })
    }

    fn client(invite: &Invite, is_for_all: bool) -> Result<Self, Failure> {
        let place = if is_for_all { Place::every_client() } else { Place::own(Part::Client)? };
        let files = vec![(place, meant_for("clients", invite.client_file())?)];
        let then = "`farccctl stop` lets a running client daemon notice";
        let (manager, unit) = (Manager::User, "farcc-client.socket");
        Ok(Self { files, drop_in: None, manager, unit, service: None, then })
    }
}

/// A part of the invitation, which is there if it was made for them.
fn meant_for<T>(whom: &str, part: Option<T>) -> Result<T, Failure> {
    let lacks = || format!("the invitation is not for {whom}: it was made without their token");
    part.ok_or_else(|| Failure::new(exit::NEGATIVE, lacks()))
}

/// The token of this machine's builder. A scheduler of another farm on the same machine has no use for this name.
const CREDENTIAL: &str = "farcc.token";
/// The name that people know; it is an alias of farcc-builder.socket.
const BUILDER_UNIT: &str = "builder.socket";

/// In the scheduler's state directory, as `os::net::identity` keeps it.
const CERTIFICATE: &str = "identity.crt";

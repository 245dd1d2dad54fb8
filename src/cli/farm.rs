//! `farccctl farm`: what it takes to bring machines together, as one line to carry from one to the other.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::cli::arguments::{InviteOptions, JoinOptions};
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
    let (text, place, manager, unit, then) = if is_builder && is_root {
        let then = "now `systemctl enable --now builder.socket`";
        (invite.builder_file(), Place::service(Part::Builder), Manager::System, BUILDER_UNIT, then)
    } else if is_builder {
        let then = "now `systemctl --user enable --now builder.socket`";
        (invite.builder_file(), Place::own(Part::Builder)?, Manager::User, BUILDER_UNIT, then)
    } else {
        let place = if options.system { Place::every_client() } else { Place::own(Part::Client)? };
        let then = "`farccctl stop` lets a running client daemon notice";
        (invite.client_file(), place, Manager::User, "farcc-client.socket", then)
    };
    let text = text.ok_or_else(|| {
        let role = if is_builder { "builders" } else { "clients" };
        Failure::new(exit::NEGATIVE, format_args!("the invitation is not for {role}: it was made without their token"))
    })?;
    place.put(&text, options.force)?;
    if options.now {
        manager.switch_on(unit)?;
        say(&format!("joined: {}; {unit} is on", place.path.display()));
    } else {
        say(&format!("joined: {}; {then}", place.path.display()));
    }
    Ok(exit::OK)
}

/// Whose units `--now` is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manager {
    System,
    User,
}

impl Manager {
    /// Now, and with each start of the machine or session.
    fn switch_on(self, unit: &str) -> Result<(), Failure> {
        let mut systemctl = Command::new("systemctl");
        if self == Self::User {
            systemctl.arg("--user");
        }
        let status = systemctl.args(["--quiet", "enable", "--now", unit]).status();
        let status = status.map_err(|error| Failure::new(exit::NEGATIVE, format_args!("--now: systemctl: {error}")))?;
        if !status.success() {
            // systemctl has said why.
            return Err(Failure::new(exit::NEGATIVE, format_args!("--now: {unit} could not be switched on")));
        }
        Ok(())
    }
}

/// The name that people know; it is an alias of farcc-builder.socket.
const BUILDER_UNIT: &str = "builder.socket";

/// In the scheduler's state directory, as `os::net::identity` keeps it.
const CERTIFICATE: &str = "identity.crt";

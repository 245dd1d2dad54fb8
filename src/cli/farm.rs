//! `farccctl farm`: what it takes to bring machines together, as one line to carry from one to the other.

use std::fs;
use std::io;
use std::path::Path;

use crate::cli::arguments::{InviteOptions, JoinOptions};
use crate::cli::place::Place;
use crate::cli::{Failure, print, say};
use crate::engine::config::{HostPort, Invite, Part, SCHEDULER_PORT, SchedulerConfig};
use crate::model::exit;
use crate::os::config::{Sources, load_scheduler, scheduler_tokens};
use crate::os::net::Identity;

pub(crate) fn invite(options: &InviteOptions) -> Result<u8, Failure> {
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
        _ => "run this on the scheduler's machine, after `systemctl enable --now farcc-scheduler.service`",
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
    let (text, place, then) = if is_builder && is_root {
        (invite.builder_file(), Place::service(Part::Builder), "now `systemctl enable --now builder.socket`")
    } else if is_builder {
        (invite.builder_file(), Place::own(Part::Builder)?, "now `systemctl --user enable --now builder.socket`")
    } else {
        let place = if options.system { Place::every_client() } else { Place::own(Part::Client)? };
        (invite.client_file(), place, "`farccctl stop` lets a running client daemon notice")
    };
    let text = text.ok_or_else(|| {
        let role = if is_builder { "builders" } else { "clients" };
        Failure::new(exit::NEGATIVE, format_args!("the invitation is not for {role}: it was made without their token"))
    })?;
    place.put(&text, options.force)?;
    say(&format!("joined: {}; {then}", place.path.display()));
    Ok(exit::OK)
}

/// In the scheduler's state directory, as `os::net::identity` keeps it.
const CERTIFICATE: &str = "identity.crt";

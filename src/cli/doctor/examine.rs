//! What is looked at for each part of farcc, and in which order.

use std::path::{Path, PathBuf};

use crate::cli::doctor::facts::Units;
use crate::cli::doctor::finding::{Check, Finding, Verdict};
use crate::cli::doctor::gather::configuration::{Loaded, Subject, is_root};
use crate::cli::doctor::gather::{host, listeners, sandbox, units};
use crate::cli::doctor::judge;
use crate::cli::doctor::report::Report;
use crate::cli::manager::systemd_version;
use crate::cli::{Failure, credstore, reach};
use crate::engine::config::{BuilderConfig, ClientConfig, HostPort, Part, SchedulerConfig, Upstream};
use crate::os::config::{BUILDER_TOKEN_FILE, CLIENT_TOKEN_FILE, scheduler_tokens};
use crate::os::process::privileges::{User, find_user};

/// Everything about one part, in the order in which things depend on each other.
pub(crate) fn examine(subject: &Subject, report: &mut Report) -> Result<(), Failure> {
    let (facts, config) = subject.load();
    report.add(judge::configuration(&facts))?;
    report.add(judge::secrets(&subject.secrets(config.as_ref())))?;
    match (subject.part, &config) {
        (_, Some(Loaded::Client(config))) => client(Some(config), report)?,
        (_, Some(Loaded::Scheduler(config))) => scheduler(subject, config, report)?,
        (_, Some(Loaded::Builder(config))) => builder(subject, config, report)?,
        (Part::Client, None) => client(None, report)?,
        (Part::Scheduler, None) => report.add(service(subject, units::units(subject.part, subject.is_own).as_ref()))?,
        (Part::Builder, None) => builder_unconfigured(subject, report)?,
    }
    let waits_for_import =
        !subject.is_own && credstore::holds_any_of(subject.part) && !credstore::is_named_by_drop_in(subject.part);
    report.add([judge::clock(host::clock_behind()), judge::systemd_version(systemd_version(), waits_for_import)])
}

fn client(config: Option<&ClientConfig>, report: &mut Report) -> Result<(), Failure> {
    let upstream = config.and_then(|config| config.scheduler.as_ref());
    match (config, upstream) {
        (None, _) => report.add([nothing_to_go_by()])?,
        (Some(_), None) => report.add([Finding::warning(
            Check::Scheduler,
            "none to go to, so everything is compiled here",
            "`farccctl farm join LINE`, with the line that `farccctl farm invite` prints on the scheduler's machine",
        )])?,
        (_, Some(upstream)) => report.add(reached(upstream, Part::Client))?,
    }
    let address = upstream.map(|upstream| &upstream.address);
    report.add(judge::client_daemon(&host::client_daemon(), address))?;
    report.add(judge::wrapper(&host::wrapper()))?;
    report.add([judge::descriptors(host::descriptor_limit(), None)])
}

fn scheduler(subject: &Subject, config: &SchedulerConfig, report: &mut Report) -> Result<(), Failure> {
    let user = subject.daemons_user(Some(&config.user));
    let known = units::units(subject.part, subject.is_own);
    let units = known.as_ref().filter(|units| units.socket.is_installed);
    let facts = listeners::port(config.public_addr.clone(), None, user.as_ref());
    let port = judge::port(&facts, units, "farcc-schedulerd");
    let listens = port.verdict == Verdict::Ok && (facts.is_taken() || units.is_some());
    report.add([port])?;
    report.add(service(subject, known.as_ref()))?;
    if listens {
        report.add(itself(config, units))?;
    }
    report.add(host::directory(&config.state_dir, 0, user.as_ref()).map(|facts| judge::disk(&facts)))?;
    report.add([descriptors(units)])
}

/// Whether the scheduler of this machine takes its own clients' token. Reads it where the scheduler has put it; making one is the
/// scheduler's business.
fn itself(config: &SchedulerConfig, units: Option<&Units>) -> Vec<Finding> {
    let is_there = |name| config.state_dir.join(name).exists();
    let is_made = config.client_token.is_some() && config.builder_token.is_some()
        || is_there(CLIENT_TOKEN_FILE) && is_there(BUILDER_TOKEN_FILE);
    match is_made.then(|| scheduler_tokens(config)) {
        Some(Ok(tokens)) => {
            let upstream = Upstream { address: nearest(config, units), fingerprint: None, token: tokens.client };
            reached(&upstream, Part::Scheduler)
        }
        _ => vec![Finding::not_checked(Check::Scheduler, "its token cannot be read from here", "run this as root")],
    }
}

/// Where the scheduler is reached from its own machine: the socket unit's word counts, where there is one.
fn nearest(config: &SchedulerConfig, units: Option<&Units>) -> HostPort {
    let listens = units.and_then(|units| units.socket.listens.first()?.parse::<HostPort>().ok());
    let address = listens.unwrap_or_else(|| config.public_addr.clone());
    match address.is_wildcard() {
        true => HostPort::new("127.0.0.1", address.port),
        false => address,
    }
}

fn builder(subject: &Subject, config: &BuilderConfig, report: &mut Report) -> Result<(), Failure> {
    let user = subject.daemons_user(Some(&config.user));
    let known = units::units(subject.part, subject.is_own);
    let units = known.as_ref().filter(|units| units.socket.is_installed);
    report.add(reached(&config.scheduler, Part::Builder))?;
    report.add(isolation(config.bwrap_path.as_deref(), &config.cache_dir, &config.user))?;
    let facts = listeners::port(config.bind_address.clone(), config.public_addr.clone(), user.as_ref());
    report.add([judge::port(&facts, units, "farcc-builderd")])?;
    report.add(service(subject, known.as_ref()))?;
    let bound = config.toolchain_cache_bytes.saturating_add(config.input_cache_bytes);
    let directories = [(&config.cache_dir, bound), (&config.state_dir, 0)];
    let facts = directories.iter().filter_map(|(directory, bound)| host::directory(directory, *bound, user.as_ref()));
    report.add(facts.map(|facts| judge::disk(&facts)))?;
    report.add([descriptors(units)])
}

/// Most of what keeps a machine from compiling for others has nothing to do with its configuration.
fn builder_unconfigured(subject: &Subject, report: &mut Report) -> Result<(), Failure> {
    report.add([nothing_to_go_by()])?;
    report.add(isolation(None, Path::new("/var/cache/farcc-builder"), "farcc-builder"))?;
    report.add(service(subject, units::units(subject.part, false).as_ref()))
}

/// A daemon that this user starts need not be a service.
fn service(subject: &Subject, units: Option<&Units>) -> Option<Finding> {
    (!subject.is_own).then(|| judge::service(units))
}

/// As the user that the daemon would become.
fn isolation(bwrap: Option<&Path>, cache_dir: &Path, user: &str) -> Vec<Finding> {
    let bwrap = bwrap.map_or_else(|| PathBuf::from(BWRAP), Path::to_path_buf);
    let user: Option<User> = is_root().then(|| find_user(user).or_else(|| find_user("nobody"))).flatten();
    sandbox::findings(&bwrap, cache_dir, user.as_ref())
}

/// Where a builder looks that was not told.
const BWRAP: &str = "/usr/bin/bwrap";

fn reached(upstream: &Upstream, part: Part) -> Vec<Finding> {
    judge::reached(&upstream.address, &reach::dial(upstream.clone(), part))
}

fn descriptors(units: Option<&Units>) -> Finding {
    match units {
        Some(units) => judge::descriptors(units.service.descriptors, Some(&units.service.name)),
        None => judge::descriptors(host::descriptor_limit(), None),
    }
}

fn nothing_to_go_by() -> Finding {
    Finding::not_checked(
        Check::Scheduler,
        "without a configuration there is none to ask",
        "mend the configuration first",
    )
}

//! `farccctl doctor`: finds what is wrong on this machine, and says how to mend it.
//!
//! [`gather`] looks and does not judge, [`judge`] is pure; between them are plain [`facts`], so that every broken set-up can be
//! written down in a test. What this user cannot look at is said to be unknown, never to be good.

mod facts;
mod finding;
mod gather;
mod judge;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::arguments::{DoctorOptions, SandboxCheckOptions};
use crate::cli::doctor::finding::{Check, Finding, Verdict, render};
use crate::cli::doctor::gather::configuration::{Loaded, Subject, are_credentials_stored, is_root};
use crate::cli::doctor::gather::{host, listeners, sandbox, units};
use crate::cli::render::columns;
use crate::cli::{Failure, print, reach};
use crate::engine::config::{BuilderConfig, ClientConfig, HostPort, Part, SchedulerConfig, Upstream};
use crate::model::exit;
use crate::os::config::{BUILDER_TOKEN_FILE, CLIENT_TOKEN_FILE, scheduler_tokens};
use crate::os::process::privileges::{User, find_user};

pub(crate) fn examine(options: &DoctorOptions) -> Result<u8, Failure> {
    let mut documents = Vec::new();
    let mut worst = Verdict::Ok;
    for subject in subjects(options) {
        let findings = examine_part(&subject);
        worst = findings.iter().map(|finding| finding.verdict).fold(worst, Verdict::max);
        let role = subject.part.name();
        match options.json {
            // One part takes seconds where a network does not answer, so each is shown when it is known.
            false => drop(print(&render(role, &findings, columns()))?),
            true => documents.push(json!({ "role": role, "findings": findings })),
        }
    }
    if options.json {
        print(&format!("{}\n", json!(documents)))?;
    }
    Ok(if worst == Verdict::Wrong { exit::NEGATIVE } else { exit::OK })
}

pub(crate) fn check_sandbox(options: &SandboxCheckOptions) -> Result<u8, Failure> {
    sandbox::check(options)
}

/// The part that was asked for, or all that are set up here; a client is everywhere.
fn subjects(options: &DoctorOptions) -> Vec<Subject> {
    if let Some(role) = options.role {
        return vec![Subject::new(role.into(), options.config.clone())];
    }
    let all = [Part::Client, Part::Scheduler, Part::Builder].map(|part| Subject::new(part, None));
    let is_here = |subject: &Subject| subject.part == Part::Client || subject.is_configured() || is_enabled(subject);
    all.into_iter().filter(is_here).collect()
}

fn is_enabled(subject: &Subject) -> bool {
    units::units(subject.part, subject.is_own)
        .is_some_and(|units| [units.socket, units.service].iter().any(|unit| unit.enabled == "enabled"))
}

fn examine_part(subject: &Subject) -> Vec<Finding> {
    let (facts, config) = subject.load();
    let mut findings = judge::configuration(&facts);
    findings.extend(judge::secrets(&subject.secrets(config.as_ref())));
    findings.extend(match (subject.part, &config) {
        (Part::Client, config) => client(config.as_ref().and_then(|config| match config {
            Loaded::Client(config) => Some(config),
            Loaded::Scheduler(_) | Loaded::Builder(_) => None,
        })),
        (_, Some(Loaded::Scheduler(config))) => scheduler(subject, config),
        (_, Some(Loaded::Builder(config))) => builder(subject, config),
        (Part::Builder, _) => builder_unconfigured(subject),
        (Part::Scheduler, _) => vec![judge::service(units::units(subject.part, subject.is_own).as_ref())],
    });
    findings.push(judge::clock(host::clock_behind()));
    findings.push(judge::systemd_version(units::systemd_version(), !subject.is_own && are_credentials_stored()));
    findings
}

fn client(config: Option<&ClientConfig>) -> Vec<Finding> {
    let upstream = config.and_then(|config| config.scheduler.as_ref());
    let mut findings = match (config, upstream) {
        (None, _) => vec![nothing_to_go_by()],
        (Some(_), None) => vec![Finding::warning(
            Check::Scheduler,
            "none to go to, so everything is compiled here",
            "`farccctl farm join LINE`, with the line that `farccctl farm invite` prints on the scheduler's machine",
        )],
        (_, Some(upstream)) => reached(upstream, Part::Client),
    };
    let address = upstream.map(|upstream| &upstream.address);
    findings.extend(judge::client_daemon(&host::client_daemon(), address));
    findings.extend(judge::wrapper(&host::wrapper()));
    findings.push(judge::descriptors(host::descriptor_limit(), None));
    findings
}

fn scheduler(subject: &Subject, config: &SchedulerConfig) -> Vec<Finding> {
    let user = subject.daemons_user(Some(&config.user));
    let known = units::units(subject.part, subject.is_own);
    let units = known.as_ref().filter(|units| units.socket.is_installed);
    let facts = listeners::port(config.public_addr.clone(), None, user.as_ref());
    let port = judge::port(&facts, units, "farcc-schedulerd");
    let mut findings = Vec::new();
    if port.verdict == Verdict::Ok && (facts.is_taken() || units.is_some()) {
        findings.extend(itself(config));
    }
    findings.push(port);
    findings.extend((!subject.is_own).then(|| judge::service(known.as_ref())));
    findings.extend(host::directory(&config.state_dir, 0, user.as_ref()).map(|facts| judge::disk(&facts)));
    findings.push(descriptors(units));
    findings
}

/// Whether the scheduler of this machine takes its own clients' token. Reads it where the scheduler has put it; making one is the
/// scheduler's business.
fn itself(config: &SchedulerConfig) -> Vec<Finding> {
    let is_there = |name| config.state_dir.join(name).exists();
    let is_made = config.client_token.is_some() && config.builder_token.is_some()
        || is_there(CLIENT_TOKEN_FILE) && is_there(BUILDER_TOKEN_FILE);
    match is_made.then(|| scheduler_tokens(config)) {
        Some(Ok(tokens)) => {
            let address = match config.public_addr.is_wildcard() {
                true => HostPort::new("localhost", config.public_addr.port),
                false => config.public_addr.clone(),
            };
            reached(&Upstream { address, fingerprint: None, token: tokens.client }, Part::Scheduler)
        }
        _ => vec![Finding::not_checked(Check::Scheduler, "its token cannot be read from here", "run this as root")],
    }
}

fn builder(subject: &Subject, config: &BuilderConfig) -> Vec<Finding> {
    let user = subject.daemons_user(Some(&config.user));
    let known = units::units(subject.part, subject.is_own);
    let units = known.as_ref().filter(|units| units.socket.is_installed);
    let mut findings = reached(&config.scheduler, Part::Builder);
    findings.extend(isolation(config.bwrap_path.as_deref(), &config.cache_dir, &config.user));
    let facts = listeners::port(config.bind_address.clone(), config.public_addr.clone(), user.as_ref());
    findings.push(judge::port(&facts, units, "farcc-builderd"));
    findings.extend((!subject.is_own).then(|| judge::service(known.as_ref())));
    let bound = config.toolchain_cache_bytes.saturating_add(config.input_cache_bytes);
    let directories = [(&config.cache_dir, bound), (&config.state_dir, 0)];
    let facts = directories.iter().filter_map(|(directory, bound)| host::directory(directory, *bound, user.as_ref()));
    findings.extend(facts.map(|facts| judge::disk(&facts)));
    // Two directories that are not there yet are often one.
    findings.dedup();
    findings.push(descriptors(units));
    findings
}

/// Most of what keeps a machine from compiling for others has nothing to do with its configuration.
fn builder_unconfigured(subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![nothing_to_go_by()];
    findings.extend(isolation(None, Path::new("/var/cache/farcc-builder"), "farcc-builder"));
    findings.extend((!subject.is_own).then(|| judge::service(units::units(subject.part, false).as_ref())));
    findings
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

fn descriptors(units: Option<&facts::Units>) -> Finding {
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

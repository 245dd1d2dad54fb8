//! This machine: the client daemon, the compilers' names, disks, limits, clock and versions.

use std::path::Path;
use std::time::Duration;

use crate::cli::doctor::facts::{CompilerFacts, DaemonFacts, DirectoryFacts, WrapperFacts};
use crate::cli::doctor::finding::{Check, Finding};
use crate::cli::manager::SYSTEMD_IMPORTS;
use crate::cli::render::size;
use crate::engine::config::HostPort;
use crate::model::limits::{DESCRIPTORS_MIN, DISK_FREE_BYTES_MIN, DISK_FREE_INODES_MIN};
use crate::model::report::ClientStatus;
use crate::os::local::LinkError;

/// Whether the client daemon answers, is of this version, and works with the scheduler that is configured now.
pub(crate) fn client_daemon(facts: &DaemonFacts, configured: Option<&HostPort>) -> Vec<Finding> {
    match facts {
        DaemonFacts::Answers(status) => answering(status, configured),
        DaemonFacts::NotUnderstood => {
            vec![Finding::wrong(Check::Daemon, "the client daemon is of another version of farcc", RESTART_OTHER)]
        }
        DaemonFacts::Absent { starts_by_itself: true } => vec![Finding::warning(
            Check::Daemon,
            "no client daemon runs; the next compile starts it",
            "`systemctl --user enable --now farcc-client.socket`, or `farcc --start-server`",
        )],
        DaemonFacts::Absent { starts_by_itself: false } => vec![Finding::wrong(
            Check::Daemon,
            "no client daemon listens, and none is started: FARCC_SOCKET or FARCC_AUTOSTART says so",
            "unset the variable, or start farcc-clientd there",
        )],
        DaemonFacts::Broken(LinkError::ForeignDaemon(uid)) => vec![Finding::wrong(
            Check::Daemon,
            format!("its socket belongs to user {uid}, who is neither this user nor root"),
            "unset FARCC_SOCKET, or remove that socket",
        )],
        DaemonFacts::Broken(error) => vec![Finding::wrong(
            Check::Daemon,
            format!("the client daemon does not answer: {error}"),
            "end the process farcc-clientd; the next compile starts another",
        )],
    }
}

fn answering(status: &ClientStatus, configured: Option<&HostPort>) -> Vec<Finding> {
    let ClientStatus { version, pid, scheduler, connection, .. } = status;
    let own = env!("CARGO_PKG_VERSION");
    let mut findings = Vec::new();
    if version != own {
        let found = format!("the client daemon is farcc {version}, farccctl {own}");
        findings.push(Finding::wrong(Check::Versions, found, RESTART));
    }
    let configured = configured.map(ToString::to_string).unwrap_or_default();
    findings.push(if *scheduler != configured {
        let name = |address: &str| if address.is_empty() { "no scheduler".to_owned() } else { address.to_owned() };
        let found = format!("it works with {}, and {} is configured by now", name(scheduler), name(&configured));
        Finding::wrong(Check::Daemon, found, RESTART)
    } else if scheduler.is_empty() || STANDING.contains(&connection.as_str()) {
        Finding::ok(Check::Daemon, format!("farcc {version}, process {pid}, {connection}"))
    } else {
        let found = format!("it has no scheduler: {connection}");
        Finding::warning(Check::Daemon, found, "mend what is said of the scheduler; it tries again by itself")
    });
    findings
}

const RESTART: &str = "`farccctl stop`; the next compile starts it again";
const RESTART_OTHER: &str = "end the process farcc-clientd; the next compile starts this version's";
/// Of a client daemon's link to its scheduler.
const STANDING: &[&str] = &["connected", "connecting"];

/// Whether builds that call a compiler by its name get farcc, and farcc a compiler.
pub(crate) fn wrapper(facts: &WrapperFacts) -> Vec<Finding> {
    if !facts.is_installed && facts.farcc.is_none() {
        let mend = "install the package `farcc`, if anything is to be built on this machine";
        return vec![Finding::warning(Check::Wrapper, "farcc is not installed, so no build can call it", mend)];
    }
    let mut findings = Vec::new();
    let names = |wanted: &dyn Fn(&CompilerFacts) -> bool| {
        let found: Vec<_> =
            facts.compilers.iter().filter(|compiler| wanted(compiler)).map(|compiler| compiler.name).collect();
        found.join(", ")
    };
    let hidden = names(&|compiler| compiler.mask.is_some() && compiler.real.is_some() && !compiler.is_mask_first);
    let directory = facts.compilers.iter().find_map(|compiler| compiler.mask.as_deref()?.parent());
    if let (false, Some(directory)) = (hidden.is_empty(), directory) {
        let found = format!("{} comes after the compilers in PATH, so {hidden} are not farcc", directory.display());
        findings.push(Finding::wrong(Check::Wrapper, found, in_front(directory)));
    }
    if facts.compilers.iter().all(|compiler| compiler.real.is_none()) {
        let found = "there is no compiler in PATH; farcc runs what is installed";
        findings.push(Finding::wrong(Check::Wrapper, found, "install one, such as the package `gcc`"));
    }
    if !findings.is_empty() {
        return findings;
    }
    let masked = names(&|compiler| compiler.is_mask_first && compiler.real.is_some());
    vec![match (masked.is_empty(), &facts.farcc) {
        (false, _) => Finding::ok(Check::Wrapper, format!("{masked} are farcc, with a compiler behind")),
        (true, Some(farcc)) => Finding::warning(
            Check::Wrapper,
            format!("only builds that call {} use it", farcc.display()),
            format!("CC=\"farcc gcc\" for one build, or for all: {}", in_front(Path::new(MASKS))),
        ),
        (true, None) => Finding::wrong(
            Check::Wrapper,
            "no build can call farcc: it is not in PATH",
            "put the directory that it is in into PATH",
        ),
    }]
}

fn in_front(directory: &Path) -> String {
    format!("PATH={}:$PATH", directory.display())
}

/// Where packages have the compilers' names.
const MASKS: &str = "/usr/lib/farcc";

/// Room for what a daemon keeps, and whether it is the daemon's.
pub(crate) fn disk(facts: &DirectoryFacts) -> Finding {
    let DirectoryFacts { path, free_bytes, total_bytes, free_inodes, bound_bytes, should_belong_to } = facts;
    let path = path.display();
    if let Some(user) = should_belong_to {
        let found = format!("{path} does not belong to {user}, as whom the daemon runs");
        return Finding::wrong(Check::Disk, found, format!("`chown -R {user}: {path}`"));
    }
    let found = format!("{path}: {} free", size(*free_bytes));
    if *free_bytes < DISK_FREE_BYTES_MIN {
        return Finding::wrong(Check::Disk, found, "make room there, or have the daemon keep its files elsewhere");
    }
    if free_inodes.is_some_and(|free| free < DISK_FREE_INODES_MIN) {
        let found = format!("{path}: hardly any file can be made (no inodes left)");
        return Finding::wrong(
            Check::Disk,
            found,
            "remove small files there, or make the file system anew with more inodes",
        );
    }
    if total_bytes < bound_bytes {
        let found = format!("{path}: the caches may take {} of {}", size(*bound_bytes), size(*total_bytes));
        return Finding::warning(Check::Disk, found, "lower `toolchain_cache_size` and `input_cache_size`");
    }
    Finding::ok(Check::Disk, found)
}

/// Descriptors that a daemon may have at most; None is no limit.
pub(crate) fn descriptors(limit: Option<u64>, by_unit: Option<&str>) -> Finding {
    let found = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit} open files at most"));
    if limit.is_none_or(|limit| limit >= DESCRIPTORS_MIN) {
        return Finding::ok(Check::Descriptors, found);
    }
    let mend = match by_unit {
        Some(unit) => format!("`systemctl edit {unit}`: [Service], LimitNOFILE=524288"),
        None => "raise the hard limit: `ulimit -Hn`, /etc/security/limits.d or LimitNOFILE=".to_owned(),
    };
    Finding::warning(
        Check::Descriptors,
        format!("{found}; {DESCRIPTORS_MIN} or more are needed for large builds"),
        mend,
    )
}

/// `behind` is how far the clock is behind the day on which this program was installed. Clocks of machines are not compared: no
/// part of farcc needs them to agree.
pub(crate) fn clock(behind: Option<Duration>) -> Finding {
    match behind {
        None => Finding::ok(Check::Clock, "plausible; clocks of machines need not agree"),
        Some(behind) => Finding::wrong(
            Check::Clock,
            format!(
                "it is {} h behind the day on which this program was installed",
                behind.as_secs() / SECONDS_PER_HOUR
            ),
            "set it: `timedatectl set-ntp true`; make and caches go by times of files",
        ),
    }
}

const SECONDS_PER_HOUR: u64 = 3600;

/// Whether the units work with this systemd: `version` as `systemctl --version` has it. Credentials may be stored that nothing but an
/// import would hand over.
pub(crate) fn systemd_version(version: Option<u32>, has_credentials: bool) -> Finding {
    match version {
        None => Finding::ok(Check::Versions, concat!("farcc ", env!("CARGO_PKG_VERSION"), ", without systemd")),
        Some(version) if version < SYSTEMD_MIN => Finding::warning(
            Check::Versions,
            format!("systemd {version}; the units are made for {SYSTEMD_MIN} and later"),
            "upgrade it, or start the daemons by hand",
        ),
        Some(version) if version < SYSTEMD_IMPORTS && has_credentials => Finding::wrong(
            Check::Versions,
            format!("systemd {version} does not import the credentials in /etc/credstore by itself"),
            "name them in a drop-in of the service: LoadCredential=farcc.builder-token:FILE",
        ),
        Some(version) => {
            Finding::ok(Check::Versions, format!("farcc {}, systemd {version}", env!("CARGO_PKG_VERSION")))
        }
    }
}

/// What the units were tried with.
const SYSTEMD_MIN: u32 = 252;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::cli::doctor::judge::check;

    fn status(change: impl Fn(&mut ClientStatus)) -> DaemonFacts {
        let mut status = ClientStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            scheduler: "farm:10600".into(),
            connection: "connected".into(),
            ..ClientStatus::default()
        };
        change(&mut status);
        DaemonFacts::Answers(Box::new(status))
    }

    #[test]
    fn a_client_daemon_in_every_state() {
        let farm = HostPort::new("farm", 10600);
        let found = |facts| client_daemon(&facts, Some(&farm));
        check(&found(status(|_| {}))[0], Verdict::Ok, &["connected"]);
        let old = found(status(|status| status.version = "0.0.1".into()));
        assert_eq!(old[0].check, Check::Versions);
        check(&old[0], Verdict::Wrong, &["0.0.1", "farccctl stop"]);
        let moved = status(|status| status.scheduler = "other:1".into());
        check(&found(moved)[0], Verdict::Wrong, &["other:1", "farm:10600", "farccctl stop"]);
        let unconfigured = status(|status| status.scheduler = String::new());
        check(&found(unconfigured)[0], Verdict::Wrong, &["no scheduler, and farm:10600"]);
        let refused = status(|status| status.connection = "refused".into());
        check(&found(refused)[0], Verdict::Warning, &["refused"]);
        check(&found(DaemonFacts::Absent { starts_by_itself: true })[0], Verdict::Warning, &["farcc-client.socket"]);
        check(&found(DaemonFacts::Absent { starts_by_itself: false })[0], Verdict::Wrong, &["FARCC_SOCKET"]);
        check(&found(DaemonFacts::NotUnderstood)[0], Verdict::Wrong, &["another version"]);
        check(&found(DaemonFacts::Broken(LinkError::Closed))[0], Verdict::Wrong, &["closed"]);
        check(&found(DaemonFacts::Broken(LinkError::ForeignDaemon(7)))[0], Verdict::Wrong, &["user 7"]);
    }

    fn compiler(name: &'static str, mask: Option<&str>, real: Option<&str>, is_mask_first: bool) -> CompilerFacts {
        CompilerFacts { name, mask: mask.map(PathBuf::from), real: real.map(PathBuf::from), is_mask_first }
    }

    #[test]
    fn the_wrapper_stands_before_a_compiler() {
        let mask = Some("/usr/lib/farcc/gcc");
        let real = Some("/usr/bin/gcc");
        let found = |farcc: Option<&str>, compiler| {
            let farcc = farcc.map(PathBuf::from);
            wrapper(&WrapperFacts { is_installed: farcc.is_some(), farcc, compilers: vec![compiler] }).remove(0)
        };
        let farcc = Some("/usr/bin/farcc");
        check(&found(farcc, compiler("gcc", mask, real, true)), Verdict::Ok, &["gcc are farcc"]);
        check(&found(farcc, compiler("gcc", mask, real, false)), Verdict::Wrong, &["PATH=/usr/lib/farcc:$PATH"]);
        check(&found(farcc, compiler("gcc", mask, None, true)), Verdict::Wrong, &["no compiler"]);
        check(&found(farcc, compiler("gcc", None, None, false)), Verdict::Wrong, &["no compiler"]);
        check(&found(farcc, compiler("gcc", None, real, false)), Verdict::Warning, &["farcc gcc"]);
        check(&found(None, compiler("gcc", None, real, false)), Verdict::Warning, &["install the package `farcc`"]);
        let astray =
            WrapperFacts { farcc: None, is_installed: true, compilers: vec![compiler("gcc", None, real, false)] };
        check(&wrapper(&astray)[0], Verdict::Wrong, &["not in PATH"]);
    }

    #[test]
    fn a_disk_with_room() {
        let facts = DirectoryFacts {
            path: "/c".into(),
            free_bytes: 100 << 30,
            total_bytes: 200 << 30,
            free_inodes: Some(1 << 20),
            bound_bytes: 20 << 30,
            should_belong_to: None,
        };
        check(&disk(&facts), Verdict::Ok, &["/c"]);
        check(&disk(&DirectoryFacts { free_inodes: None, ..facts.clone() }), Verdict::Ok, &[]);
        check(&disk(&DirectoryFacts { free_bytes: 1 << 20, ..facts.clone() }), Verdict::Wrong, &["make room"]);
        check(&disk(&DirectoryFacts { free_inodes: Some(3), ..facts.clone() }), Verdict::Wrong, &["inodes"]);
        check(
            &disk(&DirectoryFacts { bound_bytes: 300 << 30, ..facts.clone() }),
            Verdict::Warning,
            &["input_cache_size"],
        );
        let foreign = DirectoryFacts { should_belong_to: Some("farcc-builder".into()), ..facts };
        check(&disk(&foreign), Verdict::Wrong, &["chown -R farcc-builder: /c"]);
    }

    #[test]
    fn limits_clock_and_versions() {
        check(&descriptors(None, None), Verdict::Ok, &["no limit"]);
        check(&descriptors(Some(1 << 20), None), Verdict::Ok, &[]);
        check(&descriptors(Some(256), None), Verdict::Warning, &["256", "ulimit"]);
        check(
            &descriptors(Some(256), Some("farcc-builder.service")),
            Verdict::Warning,
            &["edit farcc-builder.service"],
        );
        check(&clock(None), Verdict::Ok, &[]);
        check(&clock(Some(Duration::from_secs(7200))), Verdict::Wrong, &["2 h behind", "timedatectl"]);
        check(&systemd_version(None, false), Verdict::Ok, &["without systemd"]);
        check(&systemd_version(Some(257), true), Verdict::Ok, &["systemd 257"]);
        check(&systemd_version(Some(252), false), Verdict::Ok, &[]);
        check(&systemd_version(Some(252), true), Verdict::Wrong, &["LoadCredential="]);
        check(&systemd_version(Some(249), false), Verdict::Warning, &["252"]);
    }
}

//! The scheduler at the other end, and the port at this one.

use std::io::ErrorKind;

use crate::cli::doctor::facts::{Holder, PortFacts, Trial, UnitFacts, Units};
use crate::cli::doctor::finding::{Check, Finding};
use crate::cli::reach::ReachError;
use crate::cli::render::count;
use crate::engine::config::HostPort;
use crate::engine::wire::farm::{FarmStatus, Refusal};
use crate::model::exit;
use crate::os::net::ConnectError;
use crate::os::net::dial::DialError;

/// What came of dialling the scheduler at `address`.
pub(crate) fn reached(address: &HostPort, outcome: &Result<Option<FarmStatus>, ReachError>) -> Vec<Finding> {
    match outcome {
        Ok(farm) => {
            let mut findings = vec![Finding::ok(Check::Scheduler, format!("{address} answers and takes the token"))];
            findings.extend(farm.as_ref().map(describe));
            findings
        }
        Err(ReachError::Here(why)) => vec![Finding::not_checked(Check::Scheduler, why, "try again")],
        Err(ReachError::Dial(error)) => {
            vec![Finding::wrong(Check::Scheduler, error.to_string(), mend(address, error))]
        }
    }
}

fn mend(address: &HostPort, error: &DialError) -> String {
    match error {
        DialError::Connect(error) => mend_connection(address, error),
        DialError::Refused { why: Refusal::Secret, .. } | DialError::Unproven => {
            "the token here is not the scheduler's: join again, with the line that `farccctl farm invite` prints there"
                .into()
        }
        DialError::Refused { why: Refusal::Version, .. } | DialError::Version(_) => {
            "install the same version of farcc on both machines".into()
        }
        DialError::Refused { .. } => "`journalctl -u farcc-scheduler` on its machine says more".into(),
        DialError::Http(_) | DialError::Stream(_) => NOT_A_SCHEDULER.into(),
        DialError::Silent => HANGS.into(),
    }
}

fn mend_connection(address: &HostPort, error: &ConnectError) -> String {
    match error {
        ConnectError::Resolve { .. } | ConnectError::Lookup { .. } => format!(
            "correct the name in `scheduler_url`, or have it resolved: `getent hosts {}` asks the same",
            address.host
        ),
        ConnectError::Tcp { source, .. } if source.kind() == ErrorKind::ConnectionRefused => format!(
            "nobody listens there: `systemctl enable --now farcc-scheduler.service` on that machine, or correct port {}",
            address.port
        ),
        ConnectError::Tcp { .. } | ConnectError::Timeout { .. } | ConnectError::NoAddress => {
            format!("check that the machine is up and that no firewall keeps TCP port {} from this one", address.port)
        }
        ConnectError::Fingerprint { .. } => {
            "somebody else answers, or the scheduler was installed anew: if so, join again with a new invitation".into()
        }
        ConnectError::Tls { .. } | ConnectError::Http { .. } => NOT_A_SCHEDULER.into(),
    }
}

const NOT_A_SCHEDULER: &str = "what listens there is no scheduler of farcc's: correct `scheduler_url`";
const HANGS: &str = "it is overloaded or hangs: `systemctl restart farcc-scheduler` on its machine";

fn describe(farm: &FarmStatus) -> Finding {
    let slots: u64 = farm.builders.iter().map(|builder| u64::from(builder.slots)).sum();
    let found = format!("{} with {}", count(farm.builders.len() as u64, "builder"), count(slots, "slot"));
    let unready: Vec<_> = farm.builders.iter().filter(|builder| builder.state != READY).collect();
    if farm.builders.is_empty() {
        return Finding::wrong(
            Check::Farm,
            "no builder, so nothing is compiled elsewhere",
            "`farccctl farm join LINE && systemctl enable --now builder.socket` as root on a machine that should help",
        );
    }
    if unready.len() == farm.builders.len() {
        let states: Vec<_> = unready.iter().map(|builder| format!("{} is {}", builder.name, builder.state)).collect();
        return Finding::warning(
            Check::Farm,
            format!("{found}, none of them ready: {}", states.join(", ")),
            "`journalctl -u farcc-builder` on those machines says why",
        );
    }
    Finding::ok(Check::Farm, found)
}

const READY: &str = "ready";

/// Whether the daemon can be reached where it should be, and by nobody else's fault not.
pub(crate) fn port(facts: &PortFacts, units: Option<&Units>, daemon: &str) -> Finding {
    if let Some(Units { socket, .. }) = units
        && socket.active == ACTIVE
    {
        return socket_unit(facts, socket);
    }
    let PortFacts { address, trial, .. } = facts;
    match trial {
        Trial::Free => match units {
            Some(Units { socket, are_own, .. }) if socket.is_installed => Finding::warning(
                Check::Port,
                format!("nobody listens on {address}"),
                format!("`systemctl {}enable --now {}`", if *are_own { "--user " } else { "" }, socket.name),
            ),
            _ => Finding::ok(Check::Port, format!("{address} is free")),
        },
        Trial::Taken(holders) => taken(address, holders, daemon),
        Trial::NotOurs => Finding::wrong(
            Check::Port,
            format!("{address}: this machine has no such address"),
            "correct it in the configuration",
        ),
        Trial::Forbidden => Finding::not_checked(
            Check::Port,
            format!("{address}: this user may not listen there"),
            "run this as root, or choose a port above 1023",
        ),
        Trial::Other(why) => Finding::wrong(Check::Port, why, "correct the address in the configuration"),
    }
}

/// systemd listens; whether where the configuration says is another matter.
fn socket_unit(facts: &PortFacts, socket: &UnitFacts) -> Finding {
    let UnitFacts { name, listens, .. } = socket;
    let found = format!("{name} listens on {}", listens.join(", "));
    let has_port = |address: &HostPort| listens.iter().any(|listen| listen.ends_with(&format!(":{}", address.port)));
    let is_everywhere = listens.iter().any(|listen| listen.starts_with("[::]:") || listen.starts_with("0.0.0.0:"));
    let PortFacts { address, told, .. } = facts;
    let edit = |stream: &str| {
        format!("`systemctl edit {name}`: [Socket], ListenStream= and ListenStream={stream}, then restart it")
    };
    if let Some(told) = told.as_ref().filter(|told| !has_port(told)) {
        return Finding::warning(
            Check::Port,
            format!("{found}, while clients are told {told}"),
            format!("unless something forwards that port: {}", edit(&told.port.to_string())),
        );
    }
    if !has_port(address) {
        let found =
            format!("{found}, while the configuration says {address}, which counts for daemons started by hand");
        return Finding::warning(Check::Port, found, edit(&address.port.to_string()));
    }
    if address.is_loopback() && is_everywhere {
        let found = format!("{found}: every address, while the configuration says {address}");
        return Finding::warning(Check::Port, found, edit(&address.to_string()));
    }
    Finding::ok(Check::Port, found)
}

fn taken(address: &HostPort, holders: &[Holder], daemon: &str) -> Finding {
    // The kernel keeps fifteen characters of a program's name.
    let is_daemon = |holder: &&Holder| match &holder.program {
        Some((_, name)) => daemon.starts_with(name.as_str()) && name.len() >= daemon.len().min(PROGRAM_NAME_BYTES),
        None => holder.is_daemons_user,
    };
    if let Some(holder) = holders.iter().find(is_daemon) {
        let process = holder.program.as_ref().map(|(pid, _)| format!(", process {pid},")).unwrap_or_default();
        return Finding::ok(Check::Port, format!("{daemon}{process} listens on {address}"));
    }
    let who: Vec<_> = holders.iter().map(describe_holder).collect();
    let who = if who.is_empty() { "another program".to_owned() } else { who.join(" and ") };
    Finding::wrong(
        Check::Port,
        format!("{who} listens on {address}"),
        "stop it, or choose another port in the configuration and the socket unit",
    )
}

fn describe_holder(holder: &Holder) -> String {
    match &holder.program {
        Some((pid, name)) => format!("{name} (process {pid})"),
        None => format!("a program of user {}", holder.uid),
    }
}

const PROGRAM_NAME_BYTES: usize = 15;
const ACTIVE: &str = "active";
const STARTING: &str = "activating";

/// Whether the daemon runs, and if not, what it said when it ended.
pub(crate) fn service(units: Option<&Units>) -> Finding {
    let Some(Units { service, socket, are_own }) = units else {
        let mend = "start the daemon by whatever starts services here";
        return Finding::not_checked(Check::Service, "no systemd runs here", mend);
    };
    let own = if *are_own { "--user " } else { "" };
    let UnitFacts { name, active, exit_status, .. } = service;
    if !service.is_installed {
        return Finding::not_checked(Check::Service, format!("there is no {name}"), "install the package that has it");
    }
    if active == ACTIVE && socket.enabled == "disabled" && service.enabled == "disabled" {
        let found = format!("{name} runs, and will not after the next boot");
        return Finding::warning(Check::Service, found, format!("`systemctl {own}enable {}`", socket.name));
    }
    if active == ACTIVE {
        return Finding::ok(Check::Service, format!("{name} runs"));
    }
    if *exit_status != exit::OK {
        let known = exit::ALL.iter().find(|(status, _)| status == exit_status);
        let meaning = known.map(|(_, meaning)| format!("{meaning}, ")).unwrap_or_default();
        return Finding::wrong(
            Check::Service,
            format!("{name} does not run: {meaning}exit status {exit_status}"),
            format!("`journalctl {own}-u {name} -n 20` has its words"),
        );
    }
    if active == STARTING {
        return Finding::warning(Check::Service, format!("{name} is starting"), "look again in a moment");
    }
    Finding::warning(
        Check::Service,
        format!("{name} does not run"),
        format!("`systemctl {own}enable --now {}`", socket.name),
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::cli::doctor::judge::check;
    use crate::engine::wire::farm::{BuilderStatus, Version};
    use crate::engine::wire::handshake::VersionError;
    use crate::model::digest::Digest;
    use crate::model::id::BuilderId;

    fn farm_address() -> HostPort {
        HostPort::new("farm", 10600)
    }

    fn why(error: DialError) -> Finding {
        reached(&farm_address(), &Err(error.into())).remove(0)
    }

    #[test]
    fn each_way_not_to_reach_a_scheduler_has_its_own_remedy() {
        let address = || "farm:10600".to_owned();
        let tcp = |kind: io::ErrorKind| DialError::from(ConnectError::Tcp { address: address(), source: kind.into() });
        let resolve = ConnectError::Resolve { address: address(), source: io::Error::other("unknown") };
        check(&why(resolve.into()), Verdict::Wrong, &["no such host", "getent hosts farm"]);
        check(
            &why(tcp(io::ErrorKind::ConnectionRefused)),
            Verdict::Wrong,
            &["nobody listens", "farcc-scheduler.service"],
        );
        check(&why(tcp(io::ErrorKind::HostUnreachable)), Verdict::Wrong, &["firewall", "10600"]);
        check(&why(ConnectError::Timeout { address: address() }.into()), Verdict::Wrong, &["no answer", "firewall"]);
        let other = ConnectError::Fingerprint { address: address() };
        check(&why(other.into()), Verdict::Wrong, &["certificate", "new invitation"]);
        let tls = ConnectError::Tls { address: address(), source: io::Error::other("corrupt message") };
        check(&why(tls.into()), Verdict::Wrong, &["no scheduler of farcc's"]);
        let refused = |why| DialError::Refused { why, message: "no".into() };
        check(&why(refused(Refusal::Secret)), Verdict::Wrong, &["token", "farm invite"]);
        check(&why(DialError::Unproven), Verdict::Wrong, &["token", "farm invite"]);
        check(&why(refused(Refusal::Full)), Verdict::Wrong, &["journalctl -u farcc-scheduler"]);
        let version = |major| Version { major, minor: 0 };
        let versions = VersionError { theirs: version(2), ours: version(1) };
        check(&why(versions.into()), Verdict::Wrong, &["2.0", "same version"]);
        check(&why(DialError::Silent), Verdict::Wrong, &["no answer", "hangs"]);
    }

    #[test]
    fn a_farm_without_builders_is_no_farm() {
        let builder = |state: &str| BuilderStatus {
            builder: BuilderId(Digest::of(b"b")),
            name: "b".into(),
            addresses: Vec::new(),
            architecture: "x86_64".into(),
            slots: 4,
            leased: 0,
            state: state.into(),
            finished: 0,
            failed: 0,
        };
        let farm = |builders| reached(&farm_address(), &Ok(Some(FarmStatus { builders, ..FarmStatus::default() })));
        check(&farm(vec![builder("ready")])[0], Verdict::Ok, &["takes the token"]);
        check(&farm(vec![builder("ready"), builder("quarantined")])[1], Verdict::Ok, &["2 builders with 8 slots"]);
        check(&farm(vec![builder("quarantined")])[1], Verdict::Warning, &["b is quarantined", "farcc-builder"]);
        check(&farm(vec![])[1], Verdict::Wrong, &["no builder", "builder.socket"]);
    }

    fn units(socket: &str, service: &str) -> Units {
        let unit = |name: &str, active: &str| UnitFacts {
            name: name.into(),
            is_installed: true,
            active: active.into(),
            enabled: "enabled".into(),
            ..UnitFacts::default()
        };
        let mut socket = unit("farcc-builder.socket", socket);
        socket.listens = vec!["[::]:10501".into()];
        Units { socket, service: unit("farcc-builder.service", service), are_own: false }
    }

    fn facts(address: &str, trial: Trial) -> PortFacts {
        PortFacts { address: HostPort::parse(address, 1).unwrap(), told: None, trial }
    }

    const DAEMON: &str = "farcc-builderd";

    #[test]
    fn a_port_of_somebody_elses_is_named_with_its_holder() {
        let holder = |program: Option<&str>, is_daemons_user| Holder {
            program: program.map(|name| (42, name.to_owned())),
            uid: 33,
            is_daemons_user,
        };
        let taken = |holder| port(&facts("[::]:10501", Trial::Taken(vec![holder])), None, DAEMON);
        check(&taken(holder(Some("nginx"), false)), Verdict::Wrong, &["nginx (process 42)", "10501"]);
        check(&taken(holder(Some("farcc"), true)), Verdict::Wrong, &["farcc (process 42)"]);
        check(&taken(holder(None, false)), Verdict::Wrong, &["a program of user 33"]);
        check(&taken(holder(None, true)), Verdict::Ok, &[DAEMON]);
        check(&taken(holder(Some(DAEMON), false)), Verdict::Ok, &["process 42"]);
        let long = port(
            &facts("[::]:1", Trial::Taken(vec![holder(Some("farcc-scheduler"), false)])),
            None,
            "farcc-schedulerd",
        );
        check(&long, Verdict::Ok, &[]);
        let nobody_knows = port(&facts("[::]:1", Trial::Taken(Vec::new())), None, DAEMON);
        check(&nobody_knows, Verdict::Wrong, &["another program"]);
    }

    #[test]
    fn a_port_that_nobody_listens_on() {
        check(&port(&facts("[::]:10501", Trial::Free), None, DAEMON), Verdict::Ok, &["free"]);
        let inactive = units("inactive", "inactive");
        let free = port(&facts("[::]:10501", Trial::Free), Some(&inactive), DAEMON);
        check(&free, Verdict::Warning, &["systemctl enable --now farcc-builder.socket"]);
        check(&port(&facts("192.0.2.1:1", Trial::NotOurs), None, DAEMON), Verdict::Wrong, &["no such address"]);
        check(&port(&facts("[::]:80", Trial::Forbidden), None, DAEMON), Verdict::NotChecked, &["as root"]);
    }

    #[test]
    fn a_socket_unit_that_listens_elsewhere() {
        let active = units("active", "active");
        let found = |address: &str, told: Option<&str>| {
            let told = told.map(|told| HostPort::parse(told, 1).unwrap());
            port(&PortFacts { told, ..facts(address, Trial::Taken(Vec::new())) }, Some(&active), DAEMON)
        };
        check(&found("[::]:10501", None), Verdict::Ok, &["farcc-builder.socket listens on [::]:10501"]);
        check(
            &found("[::]:10501", Some("b.example:10500")),
            Verdict::Warning,
            &["told b.example:10500", "ListenStream=10500"],
        );
        check(&found("[::]:10500", None), Verdict::Warning, &["says [::]:10500", "ListenStream=10500"]);
        check(&found("127.0.0.1:10501", None), Verdict::Warning, &["every address", "ListenStream=127.0.0.1:10501"]);
    }

    #[test]
    fn a_service_that_ended_says_what_its_status_means() {
        check(&service(Some(&units("active", "active"))), Verdict::Ok, &["runs"]);
        check(&service(Some(&units("active", "inactive"))), Verdict::Warning, &["enable --now farcc-builder.socket"]);
        check(&service(Some(&units("active", "activating"))), Verdict::Warning, &["is starting"]);
        let mut failed = units("active", "activating");
        failed.service.exit_status = exit::SANDBOX;
        check(
            &service(Some(&failed)),
            Verdict::Wrong,
            &["no sandbox, exit status 5", "journalctl -u farcc-builder.service"],
        );
        let mut disabled = units("active", "active");
        (disabled.socket.enabled, disabled.service.enabled) = ("disabled".into(), "disabled".into());
        check(&service(Some(&disabled)), Verdict::Warning, &["next boot"]);
        check(&service(None), Verdict::NotChecked, &["no systemd"]);
    }
}

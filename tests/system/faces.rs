//! What an administrator sees: systemctl, busctl, journalctl, farccctl.

use std::collections::BTreeSet;

use crate::farm::{BUILDERS, CLIENT, Farm, Host, SCHEDULER, eventually, farm, readme};
use crate::redis::{self, Part};

/// The daemons of the farm: where each runs, its unit, and what it calls itself in the journal.
const DAEMONS: [(Host, &str, &str); 4] = [
    (SCHEDULER, "farcc-scheduler", "farcc-schedulerd"),
    (BUILDERS[0], "farcc-builder", "farcc-builderd"),
    (BUILDERS[1], "farcc-builder", "farcc-builderd"),
    (CLIENT, "farcc-client", "farcc-clientd"),
];

#[test]
fn units_are_active_and_nothing_has_failed() {
    let _farm = farm();
    for (host, unit, _) in DAEMONS {
        let is_active = format!("systemctl {{user}} is-active {unit}.socket {unit}.service");
        assert_eq!(systemctl(host, &is_active), "active\nactive", "{host:?}");
        assert_eq!(host.run("systemctl --failed --plain --no-legend").ok(), "", "{host:?}");
    }
    for builder in BUILDERS {
        assert_eq!(builder.run("systemctl is-enabled builder.socket || true").ok(), "alias");
    }
}

/// The farm is there, with an object that a builder has made: these commands are all that it takes.
#[test]
fn readme_takes_six_commands_from_nothing_to_the_first_object() {
    let _farm = farm();
    let commands = readme();
    assert!(commands.len() <= 6, "{commands:#?}");
    assert!(commands.iter().all(|(command, _)| !command.contains(['|', '&', ';'])), "one at a time: {commands:#?}");
    assert!(CLIENT.dev("test -s ~/hello.o").is_ok());
}

#[test]
fn stopped_services_are_started_by_whoever_connects() {
    let farm = farm();
    for (host, unit, _) in DAEMONS {
        // Without its socket's warning, which is for people.
        systemctl(host, &format!("systemctl {{user}} -q stop {unit}.service 2>/dev/null"));
        if host != SCHEDULER && host != CLIENT {
            // Nobody connects to a builder that is unknown to the scheduler, so the socket is asked instead.
            SCHEDULER.run(&format!("timeout 5 bash -c ': >/dev/tcp/{}/10501'", host.0)).ok();
        }
        farm.wait_until_whole();
        compile(&farm);
    }
}

#[test]
fn restarted_daemons_find_each_other() {
    let farm = farm();
    for (host, unit, _) in DAEMONS {
        systemctl(host, &format!("systemctl {{user}} restart {unit}.service"));
        farm.wait_until_whole();
        compile(&farm);
    }
}

#[test]
fn bus_shows_counts_and_connections() {
    let farm = farm();
    compile(&farm);
    assert_eq!(SCHEDULER.property("Scheduler1", "State"), "ready");
    assert_eq!(SCHEDULER.property("Scheduler1", "BuilderCount"), 2);
    assert_eq!(SCHEDULER.property("Scheduler1", "ClientCount"), 1);
    let mut slots = 0;
    for builder in BUILDERS {
        assert_eq!(builder.property("Builder1", "State"), "ready");
        assert_eq!(builder.property("Builder1", "SchedulerConnection"), "connected");
        slots += builder.property("Builder1", "SlotsTotal").as_u64().expect("a number");
    }
    assert_eq!(SCHEDULER.property("Scheduler1", "SlotsTotal"), slots);
    assert_eq!(CLIENT.dev_property("Client1", "SchedulerConnection"), "connected");
    assert_eq!(CLIENT.dev_property("Client1", "LocalSlots"), 0);
    // What is published follows within a second; the control command asks the daemon itself.
    eventually("the bus shows the same count", || {
        (CLIENT.dev_property("Client1", "Remote") == farm.stats().count("remote")).then_some(())
    });
}

#[test]
fn control_command_shows_the_farm() {
    let farm = farm();
    compile(&farm);
    let builders = CLIENT.dev("farccctl builders").ok();
    let status = CLIENT.dev("farccctl status").ok();
    for builder in BUILDERS {
        assert!(builders.contains(builder.0), "{builders}");
        assert!(status.contains(builder.0), "{status}");
    }
    let why = CLIENT.dev("cd && farccctl why seen.c").ok();
    assert!(BUILDERS.iter().any(|builder| why.contains(builder.0)), "{why}");
    CLIENT.dev("farccctl config check").ok();
}

#[test]
fn a_build_is_quiet_at_the_default_level() {
    let _farm = farm();
    let cursors = DAEMONS.map(|(host, _, _)| host.journal_cursor());
    redis::build(Part::Server, "farcc gcc", "");
    for ((host, _, identifier), cursor) in DAEMONS.iter().zip(cursors) {
        let records = host.journal_since(&cursor, &format!("-t {identifier}"));
        assert!(records.is_empty(), "{host:?}: {records:#?}");
    }
}

#[test]
fn one_job_can_be_followed_over_all_machines() {
    let farm = farm();
    let level = |level: &str| {
        for (host, unit, _) in DAEMONS {
            systemctl(host, &format!("systemctl {{user}} service-log-level {unit}.service {level}"));
        }
    };
    let before = systemctl(CLIENT, "systemctl {user} service-log-level farcc-client.service");
    level("debug");
    // A lease may have been granted before the level was raised; a new connection gets new ones.
    systemctl(CLIENT, "systemctl {user} restart farcc-client.service");
    farm.wait_until_whole();
    level("debug");
    let cursors = DAEMONS.map(|(host, _, _)| host.journal_cursor());
    compile(&farm);
    level(&before);

    let records = |at: usize, matches: &str| DAEMONS[at].0.journal_since(&cursors[at], matches);
    let jobs = values(&records(3, "-t farcc-clientd"), "FARCC_JOB");
    assert_eq!(jobs.len(), 1, "one unit is one job here: {jobs:?}");
    let job = jobs.first().expect("one");
    let leases = values(&records(3, &format!("FARCC_JOB={job}")), "FARCC_LEASE");
    assert_eq!(leases.len(), 1, "{leases:?}");
    let lease = leases.first().expect("one");
    let at_builders: Vec<_> = [1, 2].into_iter().flat_map(|at| records(at, &format!("FARCC_JOB={job}"))).collect();
    assert_eq!(&values(&at_builders, "FARCC_LEASE"), &leases, "{at_builders:#?}");
    assert!(!records(0, &format!("FARCC_LEASE={lease}")).is_empty(), "the scheduler does not know {lease}");
}

#[test]
fn hardening_is_as_good_as_the_sandbox_allows() {
    let _farm = farm();
    for (host, unit, limit) in [(SCHEDULER, "farcc-scheduler", 2.0), (BUILDERS[0], "farcc-builder", 4.0)] {
        let line = host.run(&format!("systemd-analyze security --no-pager {unit}.service | tail -n 1")).ok();
        println!("{line}");
        let score: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).expect("a score");
        assert!(score <= limit, "{unit}: {score}");
    }
}

/// `{user}` becomes what asks the manager that has the unit: the system's, or that of `dev`.
fn systemctl(host: Host, command: &str) -> String {
    if host == CLIENT {
        host.dev(&command.replace("{user}", "--user")).ok()
    } else {
        host.run(&command.replace("{user}", "")).ok()
    }
}

fn values(records: &[serde_json::Value], field: &str) -> BTreeSet<String> {
    records.iter().filter_map(|record| record[field].as_str()).map(str::to_owned).collect()
}

fn compile(farm: &Farm) {
    let before = farm.stats().count("remote");
    CLIENT.dev("cd && echo 'int x;' >seen.c && farcc gcc -c seen.c").ok();
    eventually("the unit is counted", || (farm.stats().count("remote") == before + 1).then_some(()));
}

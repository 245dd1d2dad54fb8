//! What systemd and a daemon say to each other, over real sockets; and that the files we ship for it agree with the code.
//!
//! A test that needs a process of its own (variables, descriptors) runs itself again; the inner run does the daemon's part.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be set up has failed")]

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use farcc::engine::config::{Facts, HostPort, LogLevel, SchedulerConfig, parse};
use farcc::model::moment::Moment;
use farcc::os::bus;
use farcc::os::systemd::activation::{ListenError, tcp_listeners, unix_listeners};
use farcc::os::systemd::notify::Notifier;
use farcc::os::systemd::{journal, messages};

/// Set in the inner run.
const INSIDE: &str = "FARCC_TEST_INSIDE";

/// Runs the test `name` again, with the socket at descriptor 3 as systemd would have it.
fn again(name: &str, variables: &[(&str, &str)], socket: Option<OwnedFd>) -> Output {
    let script = match socket {
        Some(_) => "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"",
        None => "exec \"$@\"",
    };
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .stdin(socket.map_or_else(Stdio::null, Stdio::from))
        .output()
        .unwrap()
}

#[track_caller]
fn passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// An address that cannot be bound: whatever listens came from systemd.
fn elsewhere() -> HostPort {
    HostPort::new("192.0.2.1", 1)
}

#[test]
fn a_tcp_socket_that_was_handed_over_is_used() {
    if inside() {
        let listeners = tcp_listeners(&elsewhere()).unwrap();
        let expected = std::env::var("EXPECTED").unwrap();
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].local_addr().unwrap().to_string(), expected);
        assert!(rustix::io::fcntl_getfd(&listeners[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(std::env::var_os("LISTEN_FDS").is_none(), "no child may take them for its own");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    passed(&again("a_tcp_socket_that_was_handed_over_is_used", &[("EXPECTED", &address)], Some(listener.into())));
}

#[test]
fn a_unix_socket_that_was_handed_over_is_used_and_no_farm_daemon_takes_it() {
    if inside() {
        match std::env::var("ROLE").unwrap().as_str() {
            "client" => assert_eq!(unix_listeners(Path::new("/nonexistent/socket")).unwrap().len(), 1),
            _ => assert!(matches!(tcp_listeners(&elsewhere()), Err(ListenError::Kind { found: "Unix", .. }))),
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for role in ["client", "builder"] {
        let listener = UnixListener::bind(directory.path().join(role)).unwrap();
        let name = "a_unix_socket_that_was_handed_over_is_used_and_no_farm_daemon_takes_it";
        passed(&again(name, &[("ROLE", role)], Some(listener.into())));
    }
}

#[test]
fn something_that_is_no_socket_is_named() {
    if inside() {
        let error = tcp_listeners(&elsewhere()).unwrap_err().to_string();
        assert!(error.ends_with("; correct the socket unit"), "{error}");
        return;
    }
    let file = fs::File::open("/dev/null").unwrap();
    passed(&again("something_that_is_no_socket_is_named", &[], Some(file.into())));
}

#[test]
fn the_service_manager_is_told() {
    if inside() {
        let mut notifier = Notifier::new();
        notifier.ready(Moment::START, "idle");
        notifier.status(Moment::START + Duration::from_secs(2), "busy");
        notifier.reloading();
        notifier.stopping("bye");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    passed(&again("the_service_manager_is_told", &[("NOTIFY_SOCKET", path.to_str().unwrap())], None));
    let mut notices = String::new();
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        notices.push_str(std::str::from_utf8(&buffer[..length]).unwrap().trim_end());
        notices.push('|');
    }
    let (before, after) = notices.split_once("MONOTONIC_USEC=").unwrap();
    assert_eq!(before, "READY=1\nSTATUS=idle|STATUS=busy|RELOADING=1\n");
    assert!(after.ends_with("|STOPPING=1\nSTATUS=bye|"), "{after}");
}

#[test]
fn records_are_lines_where_standard_error_is_no_journal() {
    if inside() {
        let log = journal::start("farcc-test", LogLevel::Info).unwrap();
        tracing::info!(target: "farcc", message_id = messages::STARTED, farcc_job = 7, "started");
        tracing::debug!(target: "farcc", "not yet");
        log.set_level(LogLevel::Debug).unwrap();
        tracing::debug!(target: "farcc", "now");
        assert!(journal::start("farcc-test", LogLevel::Info).is_err());
        return;
    }
    // Somebody else's journal: a daemon in a terminal inherits the variable, but not the stream.
    let output = again("records_are_lines_where_standard_error_is_no_journal", &[("JOURNAL_STREAM", "1:1")], None);
    passed(&output);
    let lines = String::from_utf8(output.stderr).unwrap();
    assert_eq!(lines, "farcc-test: started (job=7)\nfarcc-test: debug: now\n");
}

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The values of `key` in a unit or a bus activation file.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn units_bus_files_users_and_code_agree() {
    for (role, names) in [("scheduler", bus::SCHEDULER), ("builder", bus::BUILDER)] {
        let user = format!("farcc-{role}");
        let unit = shipped(&format!("units/system/{user}.service"));
        let sysusers = shipped(&format!("units/{user}.sysusers"));
        let activation = shipped(&format!("dbus/{}.service", names.name));
        let policy = shipped(&format!("dbus/{}.conf", names.name));
        assert!(sysusers.lines().any(|line| line.starts_with(&format!("u {user} "))), "{user}");
        assert_eq!(values(&unit, "User"), [&user]);
        assert_eq!(values(&unit, "BusName"), [names.name]);
        assert_eq!(values(&unit, "ExecStart"), [format!("/usr/libexec/farcc/{user}d")]);
        assert_eq!(values(&unit, "StateDirectory"), [&user]);
        assert_eq!(values(&unit, "Requires"), [format!("{user}.socket")]);
        assert_eq!(values(&activation, "User"), [&user]);
        assert_eq!(values(&activation, "Name"), [names.name]);
        // Only an enabled unit has the alias, so that a call cannot start what nobody wanted.
        assert_eq!(values(&activation, "SystemdService"), values(&unit, "Alias"));
        assert!(policy.contains(&format!("<policy user=\"{user}\">\n    <allow own=\"{}\"/>", names.name)), "{policy}");
        assert!(policy.contains(&format!("<allow send_destination=\"{}\"/>", names.name)), "{policy}");
    }
    let client = shipped("units/user/farcc-client.service");
    let activation = shipped("dbus/org.farcc.Client1.service");
    assert_eq!(values(&client, "BusName"), [bus::CLIENT.name]);
    assert_eq!(values(&activation, "Name"), [bus::CLIENT.name]);
    assert_eq!(values(&activation, "SystemdService"), ["farcc-client.service"]);

    let ports = [("scheduler", 10600), ("builder", 10501)];
    for (role, port) in ports {
        let socket = shipped(&format!("units/system/farcc-{role}.socket"));
        assert_eq!(values(&socket, "ListenStream"), [port.to_string()]);
        assert_eq!(values(&socket, "Wants"), [format!("farcc-{role}.service")]);
    }
    let scheduler = SchedulerConfig::check(parse("", "").unwrap(), &Facts::default()).unwrap().config;
    assert_eq!((scheduler.public_addr.port, scheduler.user.as_str()), (10600, "farcc-scheduler"));
}

/// Sources below `directory`, all of them in one, without their tests.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.is_dir() {
        true => sources(&path),
        false if path.ends_with("systemd/messages.rs") => String::new(),
        false => fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap().to_owned(),
    };
    entries.map(text).collect()
}

/// The catalog's paragraphs fill in fields, which `journalctl -x` shows as they are where a record lacks them.
#[test]
fn every_message_is_sent_with_the_fields_that_its_paragraph_shows() {
    let (catalog, sources) =
        (shipped("units/farcc.catalog"), sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    let records: Vec<&str> =
        sources.split("tracing::").skip(1).filter_map(|record| record.split(");\n").next()).collect();
    for (name, id) in messages::ALL {
        let (_, paragraph) = catalog.split_once(&format!("-- {id}\n")).unwrap();
        let paragraph = paragraph.split("\n-- ").next().unwrap();
        let fields: Vec<String> = paragraph.split('@').skip(1).step_by(2).map(|field| field.to_lowercase()).collect();
        // Whoever has lost its scheduler takes the id from the error.
        let by_error = name.starts_with("SCHEDULER_") && *name != "SCHEDULER_JOINED";
        let is_sent = |record: &&&str| {
            record.contains(&format!("messages::{name},")) || (by_error && record.contains("message_id,"))
        };
        let records: Vec<_> = records.iter().filter(is_sent).collect();
        assert!(!records.is_empty(), "{name} is never sent");
        for record in records {
            let missing = fields.iter().find(|field| !record.contains(&format!("{field} =")));
            assert_eq!(missing, None, "{name}: {record}");
        }
    }
}

/// `@system-service` of Debian 12 (systemd 252) lacks `seccomp`: a daemon that seals itself there ends at once.
#[test]
fn every_unit_lets_its_daemon_seal_itself() {
    for unit in ["system/farcc-scheduler", "system/farcc-builder", "user/farcc-client"] {
        let text = shipped(&format!("units/{unit}.service"));
        let daemon = values(&text, "ExecStart")[0].rsplit('/').next().unwrap();
        let filters = values(&text, "SystemCallFilter");
        if filters.is_empty() || !shipped(&format!("src/bin/{daemon}.rs")).contains("privileges::seal()") {
            continue;
        }
        // Later lines win: what is allowed before a `~` line may be taken away by it.
        let allowed = filters.iter().rev().take_while(|line| !line.starts_with('~'));
        let is_named = allowed.flat_map(|line| line.split_whitespace()).any(|name| name == "seccomp");
        assert!(is_named, "{unit}: {filters:?}");
    }
}

/// Each of these was measured to break bubblewrap, and each looks like an improvement to whoever does not know.
#[test]
fn the_builders_unit_leaves_the_sandbox_working() {
    let unit = shipped("units/system/farcc-builder.service");
    for key in [
        "ProtectKernelTunables",
        "ProtectKernelLogs",
        "ProtectHostname",
        "ProcSubset",
        "RestrictSUIDSGID",
        "DynamicUser",
    ] {
        assert_eq!(values(&unit, key), [""; 0], "{key}");
    }
    // A signal to every process would end the jobs that the daemon waits for.
    assert_eq!(values(&unit, "KillMode"), ["mixed"]);
    assert_eq!(values(&unit, "RestrictNamespaces"), ["user mnt pid ipc net uts cgroup"]);
    assert!(values(&unit, "RestrictAddressFamilies")[0].contains("AF_NETLINK"));
    assert!(values(&unit, "SystemCallFilter")[0].contains("@mount"));
}

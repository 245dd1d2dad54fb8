//! The daemons as an administrator meets them when something is wrong: one line that says what to do, and a documented
//! exit status. Nothing here gets as far as to serve.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copied;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use farcc::model::exit;

use copied::copy_program;

const SCHEDULER: &str = env!("CARGO_BIN_EXE_farcc-schedulerd");
const BUILDER: &str = env!("CARGO_BIN_EXE_farcc-builderd");
const CLIENT: &str = env!("CARGO_BIN_EXE_farcc-clientd");
const DAEMONS: [&str; 3] = [SCHEDULER, BUILDER, CLIENT];
/// `nobody`: what a builder that root starts becomes in here.
const NOBODY: u32 = 65534;

/// A directory that everybody may write to, for a configuration and all that a daemon keeps.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { dir }
    }

    /// Writes a builder's configuration: `head` before the first table, `tail` within `[builder]`.
    fn builder(&self, port: u16, head: &str, tail: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!(
            "{head}\nscheduler_url = \"https://127.0.0.1:1\"\nbind_address = \"127.0.0.1:{port}\"\nuser = \"nobody\"\n\
             state_dir = \"{dir}/state\"\ncache_dir = \"{dir}/cache\"\n\
             [scheduler_auth]\ntype = \"token\"\ntoken = \"a-token-that-is-long-enough-for-a-farm\"\n\
             [builder]\nbuild_dir = \"{dir}/build\"\n{tail}\n"
        );
        self.write(&text)
    }

    fn scheduler(&self, port: u16) -> PathBuf {
        let dir = self.dir.path().display();
        self.write(&format!("public_addr = \"127.0.0.1:{port}\"\nuser = \"nobody\"\nstate_dir = \"{dir}/state\"\n"))
    }

    fn configure(&self, daemon: &str, port: u16) -> PathBuf {
        if daemon == SCHEDULER { self.scheduler(port) } else { self.builder(port, "", "") }
    }

    fn write(&self, text: &str) -> PathBuf {
        let file = self.dir.path().join("daemon.toml");
        fs::write(&file, text).unwrap();
        file
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(daemon: &str, config: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", daemon, "--config"]).arg(config);
    for name in ["FARCC_SCHEDULER_URL", "FARCC_TOKEN", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

/// The daemon ended with this status, and said on one line all of `words`.
#[track_caller]
fn check(output: &Output, status: u8, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status.into()), "{output:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense() {
    let place = Place::new();
    for daemon in DAEMONS {
        let file = place.write("local_slots = 1\nbind_address = [\n");
        let at = format!("{}:2:", file.display());
        check(&start(daemon, &file).output().unwrap(), exit::CONFIGURATION, &[&at, "TOML"]);
        let absent = place.dir.path().join("absent.toml");
        let words = [absent.to_str().unwrap(), "check that it exists"];
        check(&start(daemon, &absent).output().unwrap(), exit::CONFIGURATION, &words);
    }
}

#[test]
fn a_configuration_that_may_not_be_read() {
    let place = Place::new();
    let file = place.write("");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    for daemon in DAEMONS {
        let mut command = start(daemon, &file);
        if rustix::process::geteuid().is_root() {
            // Root may read everything. The program is copied to where anybody gets at it.
            let program = place.dir.path().join("daemon");
            copy_program(daemon, &program);
            command = start(program.to_str().unwrap(), &file);
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        check(&output, exit::CONFIGURATION, &[file.to_str().unwrap(), "Permission denied", "this user may read it"]);
    }
}

#[test]
fn a_misspelt_key_is_named_and_what_it_may_have_meant() {
    let place = Place::new();
    // The daemon goes on, here as far as the sandbox.
    let file = place.builder(free_port(), "bind_adress = \"127.0.0.1:1\"", "bwrap_path = \"/nonexistent/bwrap\"");
    let output = start(BUILDER, &file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let at = format!("{}:1:1: unknown key `bind_adress` is ignored; did you mean `bind_address`?", file.display());
    assert!(said.contains(&at), "{said}");
    assert_eq!(output.status.code(), Some(exit::SANDBOX.into()), "{said}");
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new();
    for daemon in [SCHEDULER, BUILDER] {
        let file = place.configure(daemon, port);
        let words = [&format!("cannot listen on 127.0.0.1:{port}"), "another program does", "choose another address"];
        check(&start(daemon, &file).output().unwrap(), exit::LISTEN, &words);
    }
}

#[test]
fn a_builder_without_bubblewrap() {
    let place = Place::new();
    let file = place.builder(free_port(), "", "bwrap_path = \"/nonexistent/bwrap\"");
    let words = ["/nonexistent/bwrap is missing", "install the package `bubblewrap`"];
    check(&start(BUILDER, &file).output().unwrap(), exit::SANDBOX, &words);
}

/// In a user namespace of its own, which is allowed no further ones.
#[test]
fn a_builder_where_user_namespaces_are_forbidden() {
    let place = Place::new();
    let file = place.builder(free_port(), "", "");
    let mut command = Command::new("unshare");
    // Not root in there: a daemon that root starts would look for another user, and there is none.
    let map = if rustix::process::geteuid().is_root() { "--map-user=65534" } else { "--map-current-user" };
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" --config \"$1\"";
    command.args(["--user", map, "--keep-caps", "sh", "-c", script, BUILDER]).arg(&file);
    check(&command.output().unwrap(), exit::SANDBOX, &["user namespaces are", "sysctl user.max_user_namespaces="]);
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let place = Place::new();
    fs::write(place.dir.path().join("state"), "a file").unwrap();
    for daemon in [SCHEDULER, BUILDER] {
        let file = place.configure(daemon, free_port());
        check(&start(daemon, &file).output().unwrap(), exit::DIRECTORY, &["/state"]);
    }
}

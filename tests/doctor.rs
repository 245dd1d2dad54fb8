//! The doctor in front of set-ups that are broken on purpose: each has to be named, with its cause.
//!
//! The configuration, the programs and the daemons that are in the way are real. What the doctor says to people is tested beside its
//! code; here it speaks JSON.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copied;
mod fake_daemon;
mod trial;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use farcc::engine::wire::local::FromDaemon;
use farcc::model::exit;
use farcc::model::report::ClientStatus;

use copied::copy_program;

use fake_daemon::FakeDaemon;

const FARCCCTL: &str = env!("CARGO_BIN_EXE_farccctl");
const FARCC: &str = env!("CARGO_BIN_EXE_farcc");
/// `nobody`: what a builder that root starts becomes in here.
const NOBODY: u32 = 65534;
const TOKEN: &str = "a-token-that-is-long-enough";

/// A home directory with everything in it, which everybody may look at.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    /// The client's configuration, as `farm join` would have made it.
    fn client(&self, text: &str) -> &Self {
        self.write(".config/farcc/config.toml", text, 0o600);
        self
    }

    /// A builder's: `head` before the first table, `tail` within `[builder]`.
    fn builder(&self, head: &str, tail: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!(
            "{head}\nscheduler_url = \"https://127.0.0.1:1\"\nuser = \"nobody\"\n\
             state_dir = \"{dir}/state\"\ncache_dir = \"{dir}/cache\"\n\
             [scheduler_auth]\ntype = \"token\"\ntoken = \"{TOKEN}\"\n[builder]\n{tail}\n"
        );
        self.write("builder.toml", &text, 0o600)
    }

    /// A program that everybody may run.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        self.write(name, &format!("#!/bin/sh\n{script}\n"), 0o755)
    }

    fn doctor(&self, words: &[&str]) -> Command {
        let mut command = Command::new(FARCCCTL);
        command.arg("doctor").args(words).arg("--json");
        for name in ["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "FARCC_TOKEN", "FARCC_SCHEDULER_URL", "FARCC_AUTOSTART"] {
            command.env_remove(name);
        }
        // No daemon of whoever runs the tests; and the directory for sockets is this user's own.
        command.env("HOME", self.dir.path()).env("FARCC_SOCKET", self.path("none.sock"));
        command
    }

    fn ask(&self, words: &[&str]) -> Findings {
        Findings::of(self.doctor(words).output().unwrap())
    }

    fn ask_about_builder(&self, head: &str, tail: &str) -> Findings {
        let file = self.builder(head, tail);
        self.ask(&["builder", "--config", file.to_str().unwrap()])
    }
}

/// What the doctor said.
struct Findings {
    status: Option<i32>,
    all: Vec<Value>,
}

impl Findings {
    #[track_caller]
    fn of(output: Output) -> Self {
        assert!(output.stderr.is_empty(), "{output:?}");
        Self { status: output.status.code(), all: Self::read(&output.stdout) }
    }

    #[track_caller]
    fn read(json: &[u8]) -> Vec<Value> {
        let roles: Vec<Value> = serde_json::from_slice(json).unwrap();
        roles.iter().flat_map(|role| role["findings"].as_array().unwrap().clone()).collect()
    }

    /// One of the findings of this check says all of `words`, and has this verdict.
    #[track_caller]
    fn check(&self, check: &str, verdict: &str, words: &[&str]) -> &Self {
        let is_it = |finding: &&Value| {
            let text = format!("{} {}", finding["found"], finding["mend"]);
            finding["check"] == check && finding["verdict"] == verdict && words.iter().all(|word| text.contains(word))
        };
        assert!(self.all.iter().any(|finding| is_it(&finding)), "no {verdict} {check} with {words:?}: {:#?}", self.all);
        if verdict == "wrong" && self.status.is_some() {
            assert_eq!(self.status, Some(exit::NEGATIVE.into()));
        }
        self
    }

    #[track_caller]
    fn lacks(&self, verdict: &str) -> &Self {
        assert!(self.all.iter().all(|finding| finding["verdict"] != verdict), "{:#?}", self.all);
        self
    }
}

fn upstream(address: &str) -> String {
    format!("scheduler_url = \"https://{address}\"\n[dist.auth]\ntype = \"token\"\ntoken = \"{TOKEN}\"\n")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// Configuration and tokens.

#[test]
fn a_file_that_is_no_toml() {
    let place = Place::new();
    place.client("local_slots = 1\nscheduler_url = [\n").ask(&["client"]).check(
        "configuration",
        "wrong",
        &["config.toml:2:", "TOML"],
    );
}

#[test]
fn a_misspelt_key() {
    let place = Place::new();
    let findings = place.client("local_slotz = 1\n").ask(&["client"]);
    findings.check("configuration", "warning", &["config.toml:1:1", "`local_slotz`", "write `local_slots`"]);
}

#[test]
fn a_token_that_is_missing() {
    let place = Place::new();
    let findings = place.client("scheduler_url = \"https://farm\"\n").ask(&["client"]);
    findings.check("token", "wrong", &["config.toml:1:1", "no token", "farm join"]);
}

#[test]
fn a_token_file_that_is_missing() {
    let place = Place::new();
    let auth = format!("[scheduler_auth]\ntype = \"token\"\ntoken_file = \"{}\"\n", place.path("token").display());
    let file = place.write("builder.toml", &format!("scheduler_url = \"https://127.0.0.1:1\"\n{auth}"), 0o600);
    let findings = place.ask(&["builder", "--config", file.to_str().unwrap()]);
    findings.check("token", "wrong", &["cannot read the token file", "/token", "No such file"]);
}

#[test]
fn a_token_that_everybody_may_read() {
    let place = Place::new();
    let token = place.write("token", TOKEN, 0o644);
    let auth = format!("[dist.auth]\ntype = \"token\"\ntoken_file = \"{}\"\n", token.display());
    place.client(&format!("scheduler_url = \"https://127.0.0.1:1\"\n{auth}"));
    let chmod = format!("chmod o= {}", token.display());
    place.ask(&["client"]).check("token", "wrong", &["every user", &chmod]);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    place.ask(&["client"]).check("token", "ok", &[token.to_str().unwrap()]);
}

/// Another user's: root may read everything, so root asks as somebody else.
#[test]
fn a_file_that_this_user_may_not_read_is_not_called_good() {
    let place = Place::new();
    let file = place.builder("", "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = place.doctor(&["builder", "--config", file.to_str().unwrap()]);
    if rustix::process::geteuid().is_root() {
        let program = place.path("farccctl");
        copy_program(FARCCCTL, &program);
        let mut other = Command::new(program);
        other.args(command.get_args()).env("HOME", place.dir.path());
        other.uid(NOBODY).gid(NOBODY);
        command = other;
    }
    let findings = Findings::of(command.output().unwrap());
    findings.check("configuration", "not-checked", &["builder.toml", "may not read", "root"]);
}

// The scheduler.

#[test]
fn nobody_at_the_schedulers_address() {
    let place = Place::new();
    let address = format!("127.0.0.1:{}", free_port());
    place.client(&upstream(&address)).ask(&["client"]).check("scheduler", "wrong", &[&address, "nobody listens there"]);
}

#[test]
fn a_name_that_is_not_found() {
    let place = Place::new();
    // No resolver asks anybody for a name with an empty part.
    let findings = place.client(&upstream("farm..example")).ask(&["client"]);
    findings.check("scheduler", "wrong", &["no such host", "getent hosts farm..example"]);
}

#[test]
fn another_program_at_the_schedulers_address() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
        std::io::Write::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    place.client(&upstream(&address)).ask(&["client"]).check(
        "scheduler",
        "wrong",
        &["TLS failed", "no scheduler of farcc's"],
    );
    other.join().unwrap();
}

/// One farm, asked with what its members have, and with what they should not have.
#[test]
fn a_real_scheduler_takes_its_own_and_tells_the_others_apart() {
    let place = Place::new();
    let script = r#"
        farm=$(dirname "$FARCC_SOCKET")
        mkdir -p .config/farcc
        member() { sed '/local_slots/d; /^log/d' "$farm/client.toml" >.config/farcc/config.toml; chmod 600 .config/farcc/config.toml; }
        export HOME=$PWD
        unset XDG_CONFIG_HOME
        ask() { status=0; farccctl doctor "$@" --json || status=$?; echo $status >status; }
        member
        ask client >right.json; cp status right.status
        farccctl auth check >right.auth
        farcc --dist-auth >right.dist-auth
        farccctl jobs-wanted >jobs; farccctl jobs-wanted --json >jobs.json
        farcc --dist-status >dist-status.json
        farcc --show-stats --stats-format json >stats.json
        farcc -z >/dev/null
        sed -i 's/^token = ".*"/token = "another-token-of-some-length"/' .config/farcc/config.toml
        ask client >token.json
        farccctl auth check 2>token.auth || echo $? >token.status
        farccctl auth check --json >token.auth.json || true
        member
        sed -i "1i fingerprint = \"$(printf '%064d' 7)\"" .config/farcc/config.toml
        ask client >certificate.json
        ask builder --config "$farm/builder.toml" >builder.json
        sed 's/^token = ".*"/token = "another-token-of-some-length"/' "$farm/builder.toml" >builder.toml
        ask builder --config "$PWD/builder.toml" >builder-token.json
        ask scheduler --config "$farm/scheduler.toml" >scheduler.json"#;
    trial::script_on_a_farm(place.dir.path(), script);
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    let findings = |name: &str| Findings { status: None, all: Findings::read(read(name).as_bytes()) };

    let right = findings("right.json");
    right.check("scheduler", "ok", &["takes the token"]).check("farm", "ok", &["1 builder with 2 slots"]);
    right.check("daemon", "ok", &["connected"]).check("wrapper", "ok", &["are farcc"]).lacks("wrong");
    assert_eq!(read("right.status"), "0\n");
    findings("token.json").check("scheduler", "wrong", &["wrong token", "farm invite"]);
    findings("certificate.json").check("scheduler", "wrong", &["certificate", "new invitation"]);
    let builder = findings("builder.json");
    builder.check("scheduler", "ok", &["takes the token"]).check("port", "ok", &["farcc-builderd, process"]);
    builder.check("sandbox", "ok", &["starts"]).lacks("wrong");
    findings("builder-token.json").check("scheduler", "wrong", &["wrong token"]);
    let scheduler = findings("scheduler.json");
    scheduler.check("scheduler", "ok", &["takes the token"]).check("port", "ok", &["farcc-schedulerd, process"]);

    // The words of sccache that go to the farm.
    assert!(read("right.auth").contains("takes this user's token"));
    assert_eq!(read("right.auth"), read("right.dist-auth"));
    assert!(read("token.auth").contains("wrong token"), "{}", read("token.auth"));
    assert_eq!(read("token.status"), "1\n");
    let json: Value = serde_json::from_str(&read("token.auth.json")).unwrap();
    assert_eq!(json["accepted"], false);
    let dist: Value = serde_json::from_str(&read("dist-status.json")).unwrap();
    assert_eq!(dist["SchedulerStatus"][1]["num_cpus"], 2);
    assert!(serde_json::from_str::<Value>(&read("stats.json")).unwrap()["requests"].is_u64());
    let jobs: Value = serde_json::from_str(&read("jobs.json")).unwrap();
    assert_eq!((&jobs["farm_slots"], &jobs["local_slots"]), (&2.into(), &0.into()));
    assert_eq!(read("jobs").trim().parse::<u64>().unwrap(), jobs["jobs"].as_u64().unwrap());
    assert!(jobs["jobs"].as_u64() >= Some(3) && jobs["jobs"].as_u64() >= jobs["processors"].as_u64());
}

// The client.

#[test]
fn no_client_daemon() {
    let place = Place::new();
    place.ask(&["client"]).check("daemon", "wrong", &["no client daemon listens", "FARCC_SOCKET"]);
    let runtime = place.path("run");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let output = place.doctor(&["client"]).env_remove("FARCC_SOCKET").env("XDG_RUNTIME_DIR", runtime).output().unwrap();
    Findings::of(output).check("daemon", "warning", &["no client daemon runs", "farcc-client.socket"]);
}

fn answering(status: &ClientStatus) -> FakeDaemon {
    let json = serde_json::to_string(status).unwrap();
    FakeDaemon::serving(1, move |mut conversation| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::Answer { json: json.clone() });
    })
}

#[test]
fn a_client_daemon_that_is_not_the_one_that_is_configured() {
    let place = Place::new();
    let ask = |daemon: FakeDaemon| {
        let output = place.doctor(&["client"]).env("FARCC_SOCKET", &daemon.socket).output().unwrap();
        daemon.finish();
        Findings::of(output)
    };
    let old = ClientStatus { version: "0.0.1".into(), scheduler: "other:10600".into(), ..ClientStatus::default() };
    let findings = ask(answering(&old));
    findings.check("versions", "wrong", &["0.0.1", "farccctl stop"]);
    findings.check("daemon", "wrong", &["it works with other:10600, and no scheduler is configured"]);
    let foreign = FakeDaemon::serving(1, |mut conversation| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::Upgrade { speaks: 9 });
    });
    ask(foreign).check("daemon", "wrong", &["another version"]);
}

#[test]
fn compilers_that_hide_the_wrapper() {
    let place = Place::new();
    place.program("usr/gcc", "exit 0");
    fs::create_dir(place.path("masks")).unwrap();
    symlink(FARCC, place.path("masks/gcc")).unwrap();
    let [compilers, masks] = ["usr", "masks"].map(|name| place.path(name).display().to_string());
    let ask = |path: String| Findings::of(place.doctor(&["client"]).env("PATH", path).output().unwrap());
    let findings = ask(format!("{compilers}:{masks}"));
    findings.check("wrapper", "wrong", &[&masks, "comes after", "gcc", &format!("PATH={masks}:$PATH")]);
    ask(format!("{masks}:{compilers}")).check("wrapper", "ok", &["gcc are farcc"]);
    ask(masks).check("wrapper", "wrong", &["no compiler in PATH"]);
}

// The builder.

#[test]
fn a_port_that_somebody_else_has() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let process = format!("(process {})", std::process::id());
    let address = format!("127.0.0.1:{port}");
    let findings = place.ask_about_builder(&format!("bind_address = \"{address}\""), "");
    findings.check("port", "wrong", &[&process, &address]);
    let file =
        place.write("scheduler.toml", &format!("public_addr = \"{address}\"\nstate_dir = \"/nonexistent\"\n"), 0o600);
    place.ask(&["scheduler", "--config", file.to_str().unwrap()]).check("port", "wrong", &[&process, &address]);
}

/// Takes as long as a failing sandbox may: each of these is over at once, or the builder would not start either.
#[test]
fn a_bubblewrap_that_does_not_do() {
    let place = Place::new();
    let port = free_port();
    let ask = |bwrap: &Path| {
        let bwrap = format!("bwrap_path = \"{}\"", bwrap.display());
        place.ask_about_builder(&format!("bind_address = \"127.0.0.1:{port}\""), &bwrap)
    };
    ask(&place.path("none")).check("bubblewrap", "wrong", &["none is missing", "install the package `bubblewrap`"]);
    let old = place.program("old", "echo bubblewrap 0.4.1");
    ask(&old).check("bubblewrap", "wrong", &["version 0.4.1", "0.8.0 or later"]);
    let broken = place.program("broken", "echo no such library >&2; exit 127");
    ask(&broken).check("bubblewrap", "wrong", &["cannot be run", "no such library"]);
    let refusing = place.program(
        "refusing",
        "[ \"$1\" = --version ] && echo bubblewrap 0.8.0 && exit; echo bwrap: out of order >&2; exit 1",
    );
    ask(&refusing).check("sandbox", "wrong", &["out of order"]);
    let good = ask(Path::new("/usr/bin/bwrap"));
    good.check("bubblewrap", "ok", &["/usr/bin/bwrap"]).check("sandbox", "ok", &[]).check("port", "ok", &["free"]);
}

/// In a user namespace of its own, which is allowed no further ones.
#[test]
fn user_namespaces_that_are_forbidden() {
    let place = Place::new();
    let file = place.builder("", "");
    let mut command = Command::new("unshare");
    // Not root in there, or the doctor would look for another user, and there is none.
    let map = if rustix::process::geteuid().is_root() { "--map-user=65534" } else { "--map-current-user" };
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" doctor builder --json --config \"$1\"";
    command.args(["--user", map, "--keep-caps", "sh", "-c", script, FARCCCTL]).arg(&file);
    let findings = Findings::of(command.output().unwrap());
    findings.check("user-namespaces", "wrong", &["user.max_user_namespaces is 0", "sysctl user.max_user_namespaces="]);
}

#[test]
fn a_cache_with_more_bounds_than_disk() {
    let place = Place::new();
    let findings = place.ask_about_builder("toolchain_cache_size = \"9999T\"", "");
    findings.check("disk", "warning", &["may take", "toolchain_cache_size"]);
}

// What it looks like.

#[test]
fn everything_fits_a_terminal_of_80_columns() {
    let place = Place::new();
    place.client("local_slotz = 1\nscheduler_url = \"https://127.0.0.1:1\"\n");
    let command = format!("stty cols 80; {FARCCCTL} doctor client; {FARCCCTL} config show");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("HOME", place.dir.path()).env("FARCC_SOCKET", place.path("none"));
    let output = script.env_remove("XDG_CONFIG_HOME").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(
        text.contains("warning") && text.contains("-> write `local_slots`") && text.contains("local_slots"),
        "{text}"
    );
    let words = |line: &&str| line.split_whitespace().count() > 3;
    let long: Vec<_> = text.lines().filter(words).filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_pipe_gets_one_line_for_each_check() {
    let place = Place::new();
    let mut command = place.doctor(&["client"]);
    let words: Vec<_> = command.get_args().filter(|word| *word != "--json").map(ToOwned::to_owned).collect();
    command = Command::new(FARCCCTL);
    command.args(words).env("HOME", place.dir.path()).env("FARCC_SOCKET", "/nonexistent").env_remove("XDG_CONFIG_HOME");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let verdicts = ["  ok ", "  not checked ", "  warning ", "  wrong "];
    assert!(text.starts_with("client\n"), "{text}");
    assert!(text.lines().skip(1).all(|line| verdicts.iter().any(|verdict| line.starts_with(verdict))), "{text}");
}

#[test]
fn a_number_of_jobs_without_any_daemon() {
    let place = Place::new();
    let output = Command::new(FARCCCTL).arg("jobs-wanted").env("FARCC_SOCKET", place.path("none")).output().unwrap();
    let processors = std::thread::available_parallelism().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{processors}\n"));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

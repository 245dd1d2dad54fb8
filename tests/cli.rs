//! The control command as people and scripts see it: words, JSON, exit statuses. The daemon it asks says what each test
//! needs; the throwaway farm is made of the real daemons.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copied;
mod fake_daemon;
mod heeding;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use farcc::engine::wire::local::{FromDaemon, Question, ToDaemon};
use farcc::model::exit;
use farcc::model::reason::{Reason, Why};
use farcc::model::report::{BuilderReport, ClientStatus, FarmReport, Outcome, Stats, Times, UnitRecord};

use copied::copy_program;
use fake_daemon::FakeDaemon;
use heeding::heeding;

const FARCCCTL: &str = env!("CARGO_BIN_EXE_farccctl");
const FARCC: &str = env!("CARGO_BIN_EXE_farcc");

/// `farccctl WORDS…`, with nothing of the caller's farcc.
fn farccctl(words: &[&str]) -> Command {
    let mut command = heeding(FARCCCTL);
    command.args(words).env("FARCC_SOCKET", "/nonexistent");
    for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "FARCC_TOKEN", "FARCC_SCHEDULER_URL", "FARCC_DISABLE"] {
        command.env_remove(name);
    }
    command
}

/// A daemon that answers `times` questions with `answer`.
fn daemon(times: usize, answer: impl Fn(Question) -> String + Send + 'static) -> FakeDaemon {
    FakeDaemon::serving(times, move |mut conversation| {
        let ToDaemon::Ask(question) = conversation.hear_opening() else { panic!("no question") };
        conversation.say(&FromDaemon::Answer { json: answer(question) });
    })
}

fn ask(daemon: FakeDaemon, words: &[&str]) -> Output {
    let output = farccctl(words).env("FARCC_SOCKET", &daemon.socket).output().unwrap();
    daemon.finish();
    output
}

#[track_caller]
fn check(output: &Output, status: u8, stdout: &[&str], stderr: &[&str]) {
    assert_eq!(output.status.code(), Some(status.into()), "{output:?}");
    for (stream, words) in [(&output.stdout, stdout), (&output.stderr, stderr)] {
        let text = String::from_utf8_lossy(stream);
        assert_eq!(text.is_empty(), words.is_empty(), "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
    }
}

fn status() -> ClientStatus {
    let builder = |name: &str, slots, leased| BuilderReport {
        name: name.into(),
        address: "192.0.2.1:10501".into(),
        architecture: "x86_64".into(),
        slots,
        leased,
        state: "ready".into(),
        ..BuilderReport::default()
    };
    ClientStatus {
        version: "0.1.0".into(),
        pid: 4242,
        scheduler: "farm.example:10600".into(),
        connection: "connected".into(),
        local_slots: 2,
        farm: Some(FarmReport { builders: vec![builder("b1", 40, 20), builder("b2", 16, 4)], clients: 1, queued: 0 }),
        ..ClientStatus::default()
    }
}

fn unit(source: &str, outcome: Outcome) -> UnitRecord {
    let times = Times { total: Duration::from_millis(20), ..Times::default() };
    UnitRecord { request: 1, source: source.into(), output: String::new(), outcome, attempts: Vec::new(), times }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

// Asking.

#[test]
fn statistics_for_people_and_for_scripts() {
    let stats = Stats { requests: 7, remote: 5, local: 2, ..Stats::default() };
    let answer = {
        let json = to_json(&stats);
        move |question| {
            assert_eq!(question, Question::Stats);
            json.clone()
        }
    };
    check(&ask(daemon(1, answer.clone()), &["stats"]), exit::OK, &["requests", "71 %"], &[]);
    let output = ask(daemon(1, answer), &["stats", "--json"]);
    let read: Stats = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read, stats);
}

#[test]
fn resetting_shows_what_was_counted() {
    let questions = std::sync::Mutex::new(vec![Question::ResetStats, Question::Stats]);
    let daemon = daemon(2, move |question| {
        assert_eq!(Some(question), questions.lock().unwrap().pop());
        to_json(&Stats { requests: 7, ..Stats::default() })
    });
    check(&ask(daemon, &["stats", "--reset"]), exit::OK, &["requests", "7"], &[]);
}

#[test]
fn why_tells_a_story_and_knows_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().canonicalize().unwrap().join("a.c").display().to_string();
    let expected = source.clone();
    let known = daemon(1, move |question| {
        let Question::Why { path } = question else { panic!("{question:?}") };
        assert_eq!(String::from_utf8_lossy(&path), expected);
        to_json(&Some(unit(&expected, Outcome::Local { why: Why::new(Reason::Incbin, "logo.bin") })))
    });
    let output = farccctl(&["why", "a.c"]).current_dir(&dir).env("FARCC_SOCKET", &known.socket).output().unwrap();
    known.finish();
    check(&output, exit::OK, &[&source, "on this machine", "incbin: logo.bin", ".incbin", "20 ms"], &[]);
    let unknown = daemon(2, |_| "null".into());
    check(&ask(unknown, &["why", "/x/../nowhere.c"]), exit::NEGATIVE, &[], &["nowhere.c", "has not seen"]);
}

#[test]
fn the_farm_at_a_glance() {
    let answer = || daemon(1, |_| to_json(&status()));
    let words = ["farm.example:10600, connected", "process 4242", "2 builders with 56 slots", "b1", "192.0.2.1:10501"];
    check(&ask(answer(), &["status"]), exit::OK, &words, &[]);
    check(&ask(answer(), &["builders"]), exit::OK, &["BUILDER", "b2", "ready"], &[]);
    let json: Value = serde_json::from_slice(&ask(answer(), &["builders", "--json"]).stdout).unwrap();
    assert_eq!(json[1]["slots"], 16);
    let json: Value = serde_json::from_slice(&ask(answer(), &["status", "--json"]).stdout).unwrap();
    assert_eq!(json["farm"]["clients"], 1);
}

#[test]
fn a_number_of_jobs_for_make() {
    let here = rustix::system::uname().machine().to_string_lossy().into_owned();
    let mut status = status();
    for builder in &mut status.farm.as_mut().unwrap().builders {
        builder.architecture.clone_from(&here);
    }
    let daemon = daemon(1, move |_| to_json(&status));
    let output = ask(daemon, &["jobs-wanted"]);
    // 40 and 16 of the farm, 2 here, and an eighth of all that.
    let jobs = std::thread::available_parallelism().unwrap().get().max(66);
    check(&output, exit::OK, &[&format!("{jobs}\n")], &[]);
}

#[test]
fn the_words_of_sccache() {
    let answer = || daemon(1, |_| to_json(&status()));
    let expected = json!({"SchedulerStatus": ["https://farm.example:10600", {"num_servers": 2, "num_cpus": 56, "in_progress": 24}]});
    let json: Value = serde_json::from_slice(&ask(answer(), &["status", "--dist"]).stdout).unwrap();
    assert_eq!(json, expected);
    // The wrapper hands over.
    let daemon = answer();
    let output = Command::new(FARCC).arg("--dist-status").env("FARCC_SOCKET", &daemon.socket).output().unwrap();
    daemon.finish();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
}

/// The wrapper's flags are the control command's verbs, with its words and its exit status.
#[test]
fn what_sccache_calls_flags_are_verbs_here() {
    let dir = tempfile::tempdir().unwrap();
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).current_dir(&dir).env("HOME", dir.path()).env("FARCC_SOCKET", "/nonexistent");
        command.env_remove("XDG_CONFIG_HOME").env_remove("FARCC_SCHEDULER_URL").output().unwrap()
    };
    let same: &[(&[&str], &[&str])] = &[
        (&["-s"], &["stats"]),
        (&["--show-stats", "--stats-format", "json"], &["stats", "--json"]),
        (&["-z"], &["stats", "--reset"]),
        (&["--dist-status"], &["status", "--dist"]),
        (&["--dist-auth"], &["auth", "check"]),
        (&["--stop-server"], &["stop"]),
        (&["--package-toolchain", "/no/cc", "out"], &["toolchain", "package", "/no/cc", "out"]),
    ];
    for (flags, verbs) in same {
        let (theirs, ours) = (run(FARCC, flags), run(FARCCCTL, verbs));
        assert!(!theirs.status.success() && !theirs.stderr.is_empty(), "{theirs:?}");
        assert_eq!(theirs, ours, "{flags:?}");
    }
}

#[test]
fn a_farm_that_does_not_answer() {
    let answer =
        || daemon(1, |_| to_json(&ClientStatus { connection: "refused: wrong token".into(), farm: None, ..status() }));
    for words in [&["builders"][..], &["status", "--dist"]] {
        check(&ask(answer(), words), exit::NEGATIVE, &[], &["farm.example:10600", "refused: wrong token"]);
    }
    check(&ask(answer(), &["status"]), exit::OK, &["refused: wrong token"], &[]);
}

#[test]
fn without_a_daemon() {
    for words in [&["stats"][..], &["status"], &["builders"], &["why", "a.c"], &["stop"]] {
        let output = farccctl(words).output().unwrap();
        check(&output, exit::NO_DAEMON, &[], &["no client daemon runs"]);
    }
    let other = FakeDaemon::with(|mut conversation, _| conversation.say(&FromDaemon::Upgrade { speaks: 9 }));
    check(&ask(other, &["stats"]), exit::NO_DAEMON, &[], &["another version"]);
    let broken = daemon(1, |_| "[]".into());
    check(&ask(broken, &["status"]), exit::NO_DAEMON, &[], &["something else"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is() {
    let answer = || daemon(1, |_| to_json(&status()));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let first = answer();
    let output =
        farccctl(&["status"]).env("FARCC_SOCKET", &first.socket).stdout(writer).stderr(Stdio::piped()).output();
    check(&output.unwrap(), exit::OK, &[], &[]);
    first.finish();
    let second = answer();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = farccctl(&["status"]).env("FARCC_SOCKET", &second.socket).stdout(full).stderr(Stdio::piped()).output();
    check(&output.unwrap(), exit::OUTPUT, &[], &["No space left"]);
    second.finish();
}

#[test]
fn stopping_ends_the_process_that_answers() {
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = process.id();
    let daemon = daemon(1, move |_| to_json(&ClientStatus { pid, ..status() }));
    check(&ask(daemon, &["stop"]), exit::OK, &[], &[]);
    assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn a_daemon_is_started_asked_and_stopped() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a.c"), "int a;\n").unwrap();
    let here = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).current_dir(&place).env("HOME", place.path()).env("XDG_RUNTIME_DIR", place.path());
        for name in ["FARCC_SOCKET", "FARCC_AUTOSTART", "FARCC_DISABLE", "XDG_CONFIG_HOME", "FARCC_SCHEDULER_URL"] {
            command.env_remove(name);
        }
        command.env("FARCC_LOG", "info").output().unwrap()
    };
    let rule = "[[dist.toolchains]]\ntype = \"no_dist\"\ncompiler_executable = \"/usr/bin/clang\"\n";
    fs::create_dir_all(place.path().join(".config/farcc")).unwrap();
    fs::write(place.path().join(".config/farcc/config.toml"), rule).unwrap();
    check(&here(FARCC, &["--start-server"]), exit::OK, &[], &[]);
    let kept = here(FARCC, &["/usr/bin/../bin/clang", "-c", "a.c"]);
    check(&kept, exit::OK, &[], &["farcc: a.c: local: no-dist: /usr/bin/clang"]);
    let compiled = here(FARCC, &["gcc", "-c", "a.c"]);
    check(&compiled, exit::OK, &[], &["farcc: a.c: local: not-configured"]);
    // The wrapper's last word may still be on its way to the daemon.
    let settled = |path: &str| {
        let ask = || here(FARCCCTL, &["why", path]);
        let is_settled = |said: &Output| !String::from_utf8_lossy(&said.stdout).contains("is on its way");
        std::iter::repeat_with(ask).take(1000).find(is_settled).unwrap()
    };
    check(&settled("a.o"), exit::OK, &["on this machine", "not-configured"], &[]);
    // However the build came to a file, and however somebody asks for it.
    fs::create_dir_all(place.path().join("real/sub")).unwrap();
    fs::write(place.path().join("real/b.c"), "int b;\n").unwrap();
    symlink("real", place.path().join("link")).unwrap();
    here(FARCC, &["gcc", "-c", "real/sub/../../link/b.c", "-o", "./real/../b.o"]);
    for path in ["b.o", "link/b.c", "real/b.c", "real/sub/../b.c"] {
        check(&settled(path), exit::OK, &["/link/b.c", "/b.o:", "not-configured"], &[]);
    }
    check(&here(FARCCCTL, &["why", "real"]), exit::NEGATIVE, &[], &["has not seen"]);
    let status: ClientStatus = serde_json::from_slice(&here(FARCCCTL, &["status", "--json"]).stdout).unwrap();
    check(&here(FARCC, &["--stop-server"]), exit::OK, &[], &[]);
    // Nobody's child here, so it can only be looked for.
    let stat = format!("/proc/{}/stat", status.pid);
    while fs::read_to_string(&stat).is_ok_and(|stat| stat.contains("(farcc-clientd)") && !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
    check(&here(FARCCCTL, &["status"]), exit::NO_DAEMON, &[], &["no client daemon runs"]);
}

#[test]
fn wrong_usage() {
    for words in [&[][..], &["nonsense"], &["why"], &["try"], &["try", "--slots", "0", "--", "true"], &["stats", "x"]] {
        assert_eq!(farccctl(words).output().unwrap().status.code(), Some(exit::USAGE.into()), "{words:?}");
    }
    let help = farccctl(&["--help"]).output().unwrap();
    check(&help, exit::OK, &["stats", "why", "try", "builders"], &[]);
}

// Configuration and joining.

#[test]
fn configuration_is_checked_as_the_daemon_would() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("client.toml");
    let check_file = |text: &str| {
        fs::write(&file, text).unwrap();
        farccctl(&["config", "check", "client", "--config", file.to_str().unwrap()]).output().unwrap()
    };
    let good = check_file("local_slots = 3\n");
    check(&good, exit::OK, &[file.to_str().unwrap(), "local_slots", "3"], &[]);
    let odd = check_file("local_slots = 3\nlocal_slotz = 4\n");
    check(
        &odd,
        exit::NEGATIVE,
        &["local_slots", "3"],
        &["warning: ", ":2:", "`local_slotz`", "did you mean `local_slots`?"],
    );
    let bad = check_file("local_slots = \"many\"\n");
    check(&bad, exit::CONFIGURATION, &[], &[file.to_str().unwrap(), ":1:", "local_slots"]);
    assert_eq!(String::from_utf8_lossy(&bad.stderr).lines().count(), 1);

    let document = |text: &str, status: u8| -> serde_json::Value {
        fs::write(&file, text).unwrap();
        let words = ["config", "check", "client", "--json", "--config", file.to_str().unwrap()];
        let output = farccctl(&words).output().unwrap();
        check(&output, status, &["client"], &[]);
        assert!(output.stderr.is_empty(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let odd = document("local_slots = 3\nlocal_slotz = 4\n", exit::NEGATIVE);
    assert!(odd[0]["warnings"][0].as_str().unwrap().contains(":2:"), "{odd}");
    let setting = serde_json::json!({ "name": "local_slots", "value": "3" });
    assert!(odd[0]["settings"].as_array().unwrap().contains(&setting), "{odd}");
    let bad = document("local_slots = \"many\"\n", exit::CONFIGURATION);
    assert!(bad[0]["error"].as_str().unwrap().contains(":1:"), "{bad}");
}

/// A setting, and what says so, of `config show --json`.
fn shown<'a>(document: &'a Value, name: &str) -> (&'a str, Option<&'a str>) {
    let settings = document[0]["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
    (setting["value"].as_str().unwrap(), setting["from"].as_str())
}

#[test]
fn each_setting_is_shown_with_the_line_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(".config/farcc/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = "local_slots = 3\n[dist]\nscheduler_url = \"https://farm.example\"\n[dist.auth]\ntoken = \"hunter2-and-more\"\n";
    fs::write(&file, text).unwrap();
    let show = |words: &[&str]| {
        let mut command = farccctl(&[&["config", "show"], words].concat());
        command.env("HOME", dir.path()).env("FARCC_LOG", "debug").env_remove("FARCC_LOCAL_SLOTS").output().unwrap()
    };
    let output = show(&["client", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = |line: &str| Some(format!("{}:{line}", file.display()));
    let found = |name| {
        let (value, from) = shown(&document, name);
        (value.to_owned(), from.map(str::to_owned))
    };
    assert_eq!(found("local_slots"), ("3".into(), at("1:1")));
    assert_eq!(found("scheduler_url"), ("https://farm.example:10600".into(), at("3:1")));
    assert_eq!(found("dist.auth.token"), ("(secret)".into(), at("5:1")));
    assert_eq!(found("log"), ("debug".into(), Some("FARCC_LOG".into())));
    assert_eq!(found("name").1, None);
    let text = show(&[]);
    check(&text, exit::OK, &[file.to_str().unwrap(), "local_slots", "config.toml:3:1", "as it comes"], &[]);
    assert!(!format!("{output:?}{text:?}").contains("hunter2"));
    fs::write(&file, "local_slots = \"many\"\n").unwrap();
    check(&show(&["client"]), exit::CONFIGURATION, &[], &["config.toml:1:1"]);
}

/// A scheduler's state as its first start leaves it, and the invitation to it.
fn invitation(dir: &Path, options: &[&str]) -> Output {
    let state = dir.join("state");
    farcc::os::net::Identity::load_or_create(&state).unwrap();
    let config = dir.join("scheduler.toml");
    let auth = |name: &str, token: &str| format!("[{name}]\ntype = \"token\"\ntoken = \"{token}\"\n");
    let text = format!(
        "public_addr = \"192.0.2.7:10600\"\nstate_dir = {state:?}\n{}{}",
        auth("client_auth", "token-of-all-clients"),
        auth("server_auth", "token-of-all-builders")
    );
    fs::write(&config, text).unwrap();
    farccctl(&["farm", "invite", "--config", config.to_str().unwrap()]).args(options).output().unwrap()
}

#[test]
fn an_invitation_leads_to_a_configuration_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let line = String::from_utf8(invitation(dir.path(), &[]).stdout).unwrap();
    assert!(line.starts_with("farcc://192.0.2.7:10600/") && line.lines().count() == 1, "{line}");
    let join = |force: &[&str], line: &str| {
        let words = [&["farm", "join", "--client", line.trim()], force].concat();
        farccctl(&words).env("HOME", dir.path()).output().unwrap()
    };
    let file = dir.path().join(".config/farcc/config.toml");
    check(&join(&[], &line), exit::OK, &[], &["joined", file.to_str().unwrap()]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let checked = farccctl(&["config", "check", "client", "--config", file.to_str().unwrap()]).output().unwrap();
    check(&checked, exit::OK, &["https://192.0.2.7:10600", "(secret)"], &[]);

    // Twice is once; what somebody wrote stays, unless he means it.
    check(&join(&[], &line), exit::OK, &[], &["joined"]);
    fs::write(&file, "local_slots = 1\n").unwrap();
    check(&join(&[], &line), exit::NEGATIVE, &[], &["--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "local_slots = 1\n");
    check(&join(&["--force"], &line), exit::OK, &[], &["joined"]);
    assert!(fs::read_to_string(&file).unwrap().contains("token-of-all-clients"));
}

#[test]
fn invitations_for_some_only() {
    let dir = tempfile::tempdir().unwrap();
    let line = String::from_utf8(invitation(dir.path(), &["--builder", "--address", "farm.example"]).stdout).unwrap();
    assert!(line.starts_with("farcc://farm.example:10600/"), "{line}");
    assert!(line.contains("token-of-all-builders") && !line.contains("token-of-all-clients"), "{line}");
    let output = farccctl(&["farm", "join", "--client", line.trim()]).env("HOME", dir.path()).output().unwrap();
    check(&output, exit::NEGATIVE, &[], &["not for clients"]);
    let output = farccctl(&["farm", "join", "farcc://x"]).env("HOME", dir.path()).output().unwrap();
    check(&output, exit::USAGE, &[], &["invitation"]);
}

#[test]
fn no_invitation_where_no_scheduler_has_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("scheduler.toml");
    let state = dir.path().join("state");
    fs::write(&config, format!("state_dir = {state:?}\n")).unwrap();
    let output = farccctl(&["farm", "invite", "--config", config.to_str().unwrap()]).output().unwrap();
    check(&output, exit::NEGATIVE, &[], &["no scheduler's certificate", "`--now`"]);
    assert!(!state.exists(), "an invitation has made what the scheduler must make");
}

#[test]
fn tokens_differ() {
    let token = |words: &[&str]| farccctl(&[&["auth", "generate-shared-token"], words].concat()).output().unwrap();
    let (one, other) = (token(&[]).stdout, token(&[]).stdout);
    assert!(one.len() > 32 && one != other, "{one:?}");
    assert_eq!(token(&["--bits", "128"]).stdout.len(), 128 / 4 + "\n".len());
    for bits in ["8", "257", "many"] {
        assert_eq!(token(&["--bits", bits]).status.code(), Some(exit::USAGE.into()), "{bits}");
    }
}

/// Words of sccache-dist for what there is not: one line, and nothing that looks like a token.
#[test]
fn json_web_tokens_are_refused() {
    let server = ["auth", "generate-jwt-hs256-server-token", "--secret-key", "K", "--server", "192.0.2.1:10501"];
    for words in [&["auth", "generate-jwt-hs256-key"][..], &server] {
        let output = farccctl(words).output().unwrap();
        check(&output, exit::NEGATIVE, &[], &["not supported", "generate-shared-token"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    }
}

#[test]
fn nobody_logs_in_where_no_scheduler_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = farccctl(&["auth", "check"]).env("HOME", dir.path()).output().unwrap();
    check(&output, exit::CONFIGURATION, &[], &["no scheduler", "farm join"]);
}

// The throwaway farm.

/// A place for farms, so that it can be seen what they leave.
struct Farms {
    dir: tempfile::TempDir,
}

impl Farms {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Daemons that become another user pass through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = farccctl(&["try"]);
        command.args(words).env("TMPDIR", self.dir.path()).env("LC_ALL", "C");
        command
    }

    /// No file, and no process that has one of them in its command line.
    fn assert_gone(&self) {
        let left: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "left: {left:?}");
        let name = self.dir.path().to_str().unwrap();
        for entry in fs::read_dir("/proc").unwrap() {
            let Ok(words) = fs::read(entry.unwrap().path().join("cmdline")) else { continue };
            assert!(!String::from_utf8_lossy(&words).contains(name), "runs: {}", String::from_utf8_lossy(&words));
        }
    }
}

#[test]
fn a_command_has_a_farm_of_its_own() {
    let farms = Farms::new();
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("a.c"), "#include <stdio.h>\nint f(void) { return puts(\"a\"); }\n").unwrap();
    fs::write(work.path().join("b.c"), "asm(\".macro m f\\n.incbin \\\"\\\\f\\\"\\n.endm\\nm a.c\\n\");\n").unwrap();
    let script = "gcc -c a.c -o plain.o && farcc gcc --version >/dev/null && PATH=${PATH#*:} gcc -c a.c -o expected.o \
                  && cmp plain.o expected.o && gcc -c b.c && farccctl stats --json >stats.json && farccctl why a.c >why; exit 7";
    let output = farms.command(&["--slots", "1", "--", "sh", "-c", script]).current_dir(&work).output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{report}");
    let line = |name: &str| report.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{report}"));
    assert!(line("a.c").ends_with("builder"), "{report}");
    assert!(line("b.c").contains("here") && line("b.c").contains("incbin"), "{report}");
    assert!(report.contains("2 units: 1 remote, 1 local, 0 of these after a failure"), "{report}");
    let stats: Stats = serde_json::from_slice(&fs::read(work.path().join("stats.json")).unwrap()).unwrap();
    assert_eq!((stats.remote, stats.local, stats.fallbacks), (1, 1, 0));
    assert!(fs::read_to_string(work.path().join("why")).unwrap().contains("Builder builder compiled it"));
    farms.assert_gone();
}

/// A unit that is compiled again is sent before the compiler has said what it reads; what it says still decides.
#[test]
fn a_unit_that_reads_other_files_than_last_time() {
    let farms = Farms::new();
    let work = tempfile::tempdir().unwrap();
    let script = r#"
        compile() { gcc -c a.c -o a.o && PATH=${PATH#*:} command gcc -c a.c -o plain.o && cmp a.o plain.o || exit 1; }
        mkdir first; echo 'int x = 1;' >x.h; echo '#include <x.h>' >a.c
        compile; compile
        echo 'int y = 2;' >y.h; echo '#include "y.h"' >>a.c
        compile
        echo 'int x = 3;' >first/x.h
        compile
        rm x.h
        compile
        farccctl stats --json >stats.json"#;
    let script = script.replace("gcc -c", "gcc -Ifirst -I.  -c");
    let output = farms.command(&["--slots", "1", "--", "sh", "-c", &script]).current_dir(&work).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stats: Stats = serde_json::from_slice(&fs::read(work.path().join("stats.json")).unwrap()).unwrap();
    assert_eq!((stats.remote, stats.fallbacks), (5, 0), "{stats:?}");
    farms.assert_gone();
}

#[test]
fn an_interrupted_farm_leaves_nothing() {
    let farms = Farms::new();
    let mut child = farms
        .command(&["--", "sh", "-c", "echo up; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut up = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut up).unwrap();
    assert_eq!(up, "up\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    lines.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
    farms.assert_gone();
}

/// `farccctl` where the daemons are scripts.
fn with_daemons(dir: &Path, scheduler: &str) -> std::path::PathBuf {
    let bin = dir.join("bin");
    fs::create_dir(&bin).unwrap();
    copy_program(FARCCCTL, bin.join("farccctl"));
    copy_program(FARCC, bin.join("farcc"));
    for name in ["farcc-schedulerd", "farcc-builderd", "farcc-clientd"] {
        fs::write(bin.join(name), format!("#!/bin/sh\n{scheduler}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin.join("farccctl")
}

#[test]
fn a_daemon_that_does_not_start_says_why() {
    let (farms, place) = (Farms::new(), tempfile::tempdir().unwrap());
    let program = with_daemons(place.path(), "echo cannot listen on the moon >&2; exit 4");
    let output = Command::new(program)
        .args(["try", "--", "touch", "ran"])
        .env("TMPDIR", farms.dir.path())
        .current_dir(&place)
        .output()
        .unwrap();
    let words = ["the scheduler ended at once: cannot listen (exit status 4)", "cannot listen on the moon"];
    check(&output, exit::NEGATIVE, &[], &words);
    assert!(!place.path().join("ran").exists());
    farms.assert_gone();
}

#[test]
fn a_daemon_is_started_as_systemd_would() {
    let (farms, place) = (Farms::new(), tempfile::tempdir().unwrap());
    let script = "echo \"$LISTEN_FDS $([ $LISTEN_PID = $$ ] && echo same) $(readlink /proc/$$/fd/3 | cut -c1-6) \
                  $(readlink /proc/$$/fd/0) ${FARCC_SOCKET-none} ${NOTIFY_SOCKET:+notify} $1\" >&2; exit 3";
    let program = with_daemons(place.path(), script);
    let output = Command::new(program)
        .args(["try", "--", "true"])
        .env("TMPDIR", farms.dir.path())
        .env("FARCC_SOCKET", "/x")
        .output()
        .unwrap();
    check(&output, exit::NEGATIVE, &[], &["1 same socket /dev/null none notify --config"]);
}

#[test]
fn an_interruption_is_heard_while_daemons_start() {
    let (farms, place) = (Farms::new(), tempfile::tempdir().unwrap());
    let started = place.path().join("started");
    assert!(Command::new("mkfifo").arg(&started).status().unwrap().success());
    let ended = place.path().join("ended");
    let script = format!(
        "trap 'echo in good order >{}; exit' TERM; echo >{}; sleep 1000 & wait",
        ended.display(),
        started.display()
    );
    let program = with_daemons(place.path(), &script);
    let mut child = heeding(program)
        .args(["try", "--", "true"])
        .env("TMPDIR", farms.dir.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fs::read(&started).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert_eq!(fs::read_to_string(ended).unwrap(), "in good order\n");
    farms.assert_gone();
}

#[test]
fn a_command_that_does_not_exist() {
    let farms = Farms::new();
    // Directories of PATH that this user may not read have a status of their own.
    let output = farms.command(&["--", "no-such-command"]).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-command"), "{output:?}");
    farms.assert_gone();
}

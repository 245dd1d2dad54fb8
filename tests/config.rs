//! Whole configuration trees, loaded as on a machine: `tests/cases/config/NN-name`.
//!
//! A case is a root (`usr`, `run`, `etc`) with a `home` and a file `expected`. Its first line says what is loaded: the role, then
//! `--config FILE` and `NAME=VALUE` variables in any order. What follows is the outcome: warnings, then settings, or the error.
//! `UPDATE_EXPECTED=1` writes it; then read the difference.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be set up has failed")]

mod copied;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use farcc::engine::config::{Checked, SchedulerConfig, Setting};
use farcc::os::config::{LoadError, Sources, load_builder, load_client, load_scheduler, scheduler_tokens};

use copied::copy_program;

#[test]
fn trees_mean_what_is_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/config");
    let mut cases: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 20, "the cases are there");
    for case in cases {
        let expected = fs::read_to_string(case.join("expected")).unwrap();
        let (command, _) = expected.split_once('\n').unwrap();
        let outcome = format!("{command}\n{}", load(&case, command));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(case.join("expected"), &outcome).unwrap();
        }
        assert_eq!(outcome, fs::read_to_string(case.join("expected")).unwrap(), "{}", case.display());
    }
}

fn load(case: &Path, command: &str) -> String {
    let mut words = command.split_whitespace();
    let role = words.next().unwrap();
    let home = case.join("home").display().to_string();
    let mut sources = Sources { variables: BTreeMap::from([("HOME".into(), home)]), ..sources(case) };
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((name, value)) => {
                let value = value.replace("$CASE", &case.display().to_string());
                sources.variables.insert(name.into(), value);
            }
            None => sources.file = Some(case.join(words.next().expect("--config has a file"))),
        }
    }
    let outcome = match role {
        "client" => render(load_client(&sources), |config| config.settings()),
        "scheduler" => render(load_scheduler(&sources), |config| config.settings()),
        "builder" => render(load_builder(&sources), |config| config.settings()),
        other => panic!("{}: no role {other}", case.display()),
    };
    outcome.replace(&case.display().to_string(), "$CASE")
}

fn render<T>(loaded: Result<Checked<T>, LoadError>, settings: impl Fn(&T) -> Vec<Setting>) -> String {
    match loaded {
        Err(error) => format!("error: {error}\n"),
        Ok(Checked { config, warnings }) => {
            let warnings = warnings.iter().map(|warning| format!("warning: {warning}\n"));
            let settings = settings(&config).into_iter().map(|(name, value)| format!("{name} = {value}\n"));
            warnings.chain(settings).collect()
        }
    }
}

/// A machine whose root is `root`.
fn sources(root: &Path) -> Sources {
    Sources { root: root.to_owned(), file: None, variables: BTreeMap::new(), cpus: 16, host_name: "this-host".into() }
}

fn only(file: &Path) -> Sources {
    Sources { file: Some(file.to_owned()), ..sources(Path::new("/nonexistent")) }
}

/// Everything a user sees of a wrong configuration is one line that begins with the place.
#[test]
fn errors_are_one_line_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("scheduler.toml");
    let cases: &[(&[u8], &str)] = &[
        (b"public_addr = \n", ":1:"),
        (b"public_addr = 5\n", ":1:1: "),
        (b"a = 1\n\n[client_auth]\ntype = \"none\"\n", ":4:1: "),
        (b"a = \"\xff\"\n", ":1: this line is not UTF-8"),
    ];
    for (text, place) in cases {
        fs::write(&file, text).unwrap();
        let error = load_scheduler(&only(&file)).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with(&format!("{}{place}", file.display())), "{error}");
    }
    let missing = directory.path().join("missing.toml");
    let error = load_scheduler(&only(&missing)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: No such file", missing.display())), "{error}");
    fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    let error = load_scheduler(&only(&file)).unwrap_err().to_string();
    assert!(error.contains("so it is no configuration file"), "{error}");
}

/// Root can read everything, so this test runs itself again as somebody else.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    const INSIDE: &str = "FARCC_TEST_UNREADABLE";
    if let Some(root) = std::env::var_os(INSIDE).map(PathBuf::from) {
        let error = load_client(&sources(&root)).unwrap_err().to_string();
        let file = root.join("etc/farcc/client.toml");
        assert!(error.starts_with(&format!("{}: cannot be read: Permission denied", file.display())), "{error}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let etc = directory.path().join("etc/farcc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("client.toml"), "").unwrap();
    fs::set_permissions(etc.join("client.toml"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Another user may not be allowed to reach the test's own program: a copy is within reach.
    let program = directory.path().join("test");
    copy_program(std::env::current_exe().unwrap(), &program);
    let mut command = match rustix::process::geteuid().is_root() {
        false => Command::new(&program),
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
            command
        }
    };
    command.args(["--exact", "a_file_that_may_not_be_read_is_named"]).env(INSIDE, directory.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn scheduler_in(state_dir: &Path) -> SchedulerConfig {
    let file = state_dir.join("scheduler.toml");
    fs::write(&file, format!("state_dir = \"{}\"\n", state_dir.display())).unwrap();
    load_scheduler(&only(&file)).unwrap().config
}

#[test]
fn tokens_are_made_once_kept_private_and_differ() {
    let directory = tempfile::tempdir().unwrap();
    let config = scheduler_in(directory.path());
    let first = scheduler_tokens(&config).unwrap();
    let again = scheduler_tokens(&config).unwrap();
    assert_eq!((first.client.expose(), first.builder.expose()), (again.client.expose(), again.builder.expose()));
    assert_ne!(first.client.expose(), first.builder.expose());
    assert!(!first.client.is_short());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name != "scheduler.toml" {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            names.push(name);
        }
    }
    names.sort();
    assert_eq!(names, ["farcc.builder-token", "farcc.client-token"], "nothing is left beside them");
}

#[test]
fn a_kept_token_that_is_empty_is_not_replaced_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("farcc.client-token"), "").unwrap();
    let error = scheduler_tokens(&scheduler_in(directory.path())).unwrap_err().to_string();
    assert!(error.ends_with("the token is empty; remove the file to get a new one"), "{error}");
}

//! Files of sccache and sccache-dist, brought along: `tests/cases/import/NN-name`.
//!
//! A case is a file `input`, as the guides of sccache have it, and a file `expected`. Its first line says who imports it, and how; what
//! follows is all that came of it: what was said, every file that was written, with its mode, and whether the daemon would take it.
//! Each case has a machine of its own, where `/etc` and the home directory are empty. `UPDATE_EXPECTED=1` writes what is expected; then
//! read the difference.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FARCCCTL: &str = env!("CARGO_BIN_EXE_farccctl");

/// `farccctl` on an empty machine, by root or by a user. The home directory is below `/etc`, so that all that is written is in one place.
fn machine(who: &str, directory: &Path) -> Command {
    let id = if who == "root" { "0" } else { "1000" };
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120", "bwrap"]);
    command.args(["--unshare-user", "--uid", id, "--gid", id, "--dev-bind", "/", "/", "--tmpfs", "/etc"]);
    command.args(["--setenv", "HOME", "/etc/home", "--setenv", "FARCCCTL", FARCCCTL, "--chdir"]).arg(directory);
    for name in ["XDG_CONFIG_HOME", "FARCC_LOG", "FARCC_SCHEDULER_URL", "FARCC_TOKEN", "CREDENTIALS_DIRECTORY"] {
        command.args(["--unsetenv", name]);
    }
    command.args(["--", "sh", "-c"]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(who: &str, directory: &Path, script: &str) -> Output {
    machine(who, directory).arg(script).output().unwrap()
}

/// Imports, and shows everything. A file of the wrong kind is not looked at by the daemon, so its name says whose it is.
const SCRIPT: &str = r#"
    umask 022
    eval "\"$FARCCCTL\" $WORDS" 2>&1; echo "status $?"
    find /etc -type f | sort | while read -r file; do echo "== $(stat -c %a "$file") $file"; cat "$file"; done
    for role in client scheduler builder; do
        case $role in client) own=/etc/home/.config/farcc/config.toml;; *) own=/etc/home/.config/farcc/$role.toml;; esac
        if test -e "$own"; then set -- --config "$own"
        elif test -d /etc/farcc/$role.toml.d; then set --
        else continue; fi
        "$FARCCCTL" config check $role "$@" 2>&1 >/dev/null; echo "check $role: status $?"
    done"#;

#[test]
fn what_users_bring_along_becomes_a_file_of_ours() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 15, "the cases are there");
    for case in cases {
        let expected = fs::read_to_string(case.join("expected")).unwrap();
        let (first, _) = expected.split_once('\n').unwrap();
        let (who, words) = first.split_once(' ').unwrap();
        let output = run(who, &case, &format!("WORDS='{words}'; {SCRIPT}"));
        let outcome = format!("{first}\n{}", text(&output.stdout));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(case.join("expected"), &outcome).unwrap();
        }
        assert_eq!(outcome, fs::read_to_string(case.join("expected")).unwrap(), "{}", case.display());
        let is_refused = |line: &str| line.starts_with("check ") && line.ends_with("status 3");
        assert!(!outcome.lines().any(is_refused), "{}: no daemon would take it", case.display());
    }
}

#[test]
fn nothing_that_says_something_else_is_replaced_in_silence() {
    let place = tempfile::tempdir().unwrap();
    let auth = "[scheduler_auth]\ntype = \"token\"\ntoken = \"a-token-of-all-servers\"\n";
    let file = |address: &str| format!("public_addr = \"{address}\"\nscheduler_url = \"https://farm\"\n{auth}");
    fs::write(place.path().join("one"), file("127.0.0.1:10501")).unwrap();
    fs::write(place.path().join("other"), file("127.0.0.1:10502")).unwrap();
    let script = r#"
        import() { "$FARCCCTL" config import "$@" >/dev/null 2>&1; echo $?; }
        show() { grep -h "addr\|^Listen" $(find /etc -type f | sort); }
        import one; import one; import other; show; import other --force; show"#;
    let output = text(&run("root", place.path(), script).stdout);
    let [one, other] = ["10501", "10502"].map(|port| {
        format!("bind_address = \"127.0.0.1:{port}\"\npublic_addr = \"127.0.0.1:{port}\"\nListenStream=\nListenStream=127.0.0.1:{port}\n")
    });
    assert_eq!(output, format!("0\n0\n1\n{one}0\n{other}"));
}

/// A drop-in that cannot be written must not leave a daemon on every address.
#[test]
fn a_socket_that_cannot_be_told_gets_no_daemon() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("f"), "public_addr = \"127.0.0.1:10600\"\n[client_auth]\n").unwrap();
    let script = r#"mkdir -p /etc/systemd && echo >/etc/systemd/system
        "$FARCCCTL" config import f >/dev/null 2>&1; echo $?; find /etc -type f"#;
    assert_eq!(text(&run("root", place.path(), script).stdout), "7\n/etc/systemd/system\n");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The guides' files as they are, but for the addresses. `cases` are a scheduler's, a builder's and a client's; without the latter
/// two, the machines join by invitation.
fn farm_of(cases: [Option<&str>; 3]) {
    let place = tempfile::tempdir().unwrap();
    let [scheduler, builder] = [free_port(), free_port()];
    for (name, case) in ["scheduler", "builder", "client"].iter().zip(cases) {
        let Some(case) = case else { continue };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/import").join(case).join("input");
        let text = fs::read_to_string(file).unwrap();
        let at = |text: String, port: u16, here: u16| -> String {
            let hosts = ["192.0.2.7", "192.0.2.8", "127.0.0.1", "0.0.0.0", "[::1]"];
            hosts.iter().fold(text, |text, host| text.replace(&format!("{host}:{port}"), &format!("127.0.0.1:{here}")))
        };
        let text = at(at(at(text, 10600, scheduler), 10500, builder), 10501, builder);
        fs::write(place.path().join(name), text).unwrap();
    }
    fs::write(place.path().join("a.c"), "int f(void) { return 42; }\n").unwrap();
    // As systemd would start them.
    let script = r#"
        set -eu
        exec 2>&1
        export PATH="$(dirname "$FARCCCTL"):/usr/bin:/bin" CACHE_DIRECTORY=/etc/cache FARCC_SOCKET=/etc/client.sock FARCC_LOCAL_SLOTS=0
        own=/etc/home/.config/farcc
        for role in scheduler builder client; do
            if test -e $role; then farccctl config import $role >/dev/null; fi
        done
        STATE_DIRECTORY=/etc/scheduler timeout 100 farcc-schedulerd --config $own/scheduler.toml & daemons=$!
        trap 'kill $daemons' EXIT
        invite() { farccctl farm invite --config $own/scheduler.toml; }
        if ! test -e client; then
            until STATE_DIRECTORY=/etc/scheduler invite; do :; done >/dev/null
            line=$(STATE_DIRECTORY=/etc/scheduler invite)
            farccctl farm join --client "$line"; farccctl farm join --builder "$line"
        fi
        if ! grep -q public_addr $own/builder.toml; then sed -i "1i bind_address = \"127.0.0.1:$BUILDER\"" $own/builder.toml; fi
        STATE_DIRECTORY=/etc/builder timeout 100 farcc-builderd --config $own/builder.toml & daemons="$daemons $!"
        timeout 100 farcc-clientd & daemons="$daemons $!"
        until farccctl builders --json | grep -q ready; do :; done >/dev/null
        mkdir /etc/work; cd /etc/work; cp "$OLDPWD/a.c" .
        gcc -c a.c -o plain.o; farcc gcc -c a.c -o ours.o; cmp plain.o ours.o
        until ! farccctl why ours.o | grep 'on its way'; do :; done
        farccctl why ours.o"#;
    let command = &mut machine("user", place.path());
    let output = command.arg(script).env("BUILDER", builder.to_string()).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("compiled it"), "{said}");
}

#[test]
fn the_guides_files_make_a_farm() {
    farm_of([Some("01-scheduler-token"), Some("10-builder-token"), Some("20-client-token")]);
    farm_of([Some("02-scheduler-inline"), Some("11-builder-loopback"), Some("20-client-token")]);
}

/// Where the guides have everybody log in, tokens take the place of that.
#[test]
fn a_farm_without_logins_is_joined() {
    farm_of([Some("04-scheduler-mozilla"), None, None]);
}

//! `farccctl toolchain`: packs, lists, shows and checks, for people and for scripts.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod elsewhere;
mod fake_daemon;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use farcc::engine::wire::local::{FromDaemon, Question, ToDaemon};
use farcc::model::exit;
use farcc::model::report::{PackageReport, PackageSummary, ToolchainReport};
use farcc::os::toolchain::package;

use elsewhere::{PATH, archive, subject};
use fake_daemon::FakeDaemon;

fn farccctl(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farccctl"));
    command.env_clear().env("PATH", PATH).env("FARCC_SOCKET", "/nonexistent").arg("toolchain").args(words);
    command.output().unwrap()
}

/// What `farccctl` says to what a daemon says.
fn farccctl_asks(reports: &[ToolchainReport], words: &[&str]) -> Output {
    let json = serde_json::to_string(reports).unwrap();
    let daemon = FakeDaemon::with(move |mut conversation, opening| {
        assert_eq!(opening, ToDaemon::Ask(Question::Toolchains));
        conversation.say(&FromDaemon::Answer { json });
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_farccctl"));
    let output = command.env_clear().env("FARCC_SOCKET", &daemon.socket).arg("toolchain").args(words).output().unwrap();
    daemon.finish();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn check(output: &Output, status: u8, words: &[&str]) -> String {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(status.into()), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    said
}

fn reports() -> Vec<ToolchainReport> {
    let variables = BTreeMap::from([("LANG".to_owned(), "de_DE.UTF-8".to_owned())]);
    let summary = PackageSummary {
        id: "89abcdef".repeat(8),
        compiler: "gcc 12.2.0".into(),
        files: 57,
        bytes: 103_000_000,
        archive: Some("/srv/gcc.tar.xz".into()),
    };
    let report = |compiler: &str, package| ToolchainReport {
        compiler: compiler.into(),
        options: vec!["--sysroot=/s".into()],
        variables: variables.clone(),
        package,
    };
    let failed = PackageReport::Failed { why: "/opt/cc is a script, not a compiler that could run elsewhere".into() };
    vec![report("/usr/bin/gcc", PackageReport::Packaged(summary)), report("/opt/cc", failed)]
}

#[test]
fn a_list_for_people_and_for_scripts() {
    let people = farccctl_asks(&reports(), &["list"]);
    let words = ["/usr/bin/gcc --sysroot=/s", "gcc 12.2.0", "89abcdef89ab ", "57 files, 103 MB, from /srv/gcc.tar.xz"];
    check(&people, exit::OK, &words);
    check(&people, exit::OK, &["/opt/cc --sysroot=/s", "not packaged", "/opt/cc is a script"]);
    let scripts = farccctl_asks(&reports(), &["list", "--json"]);
    let read: Vec<ToolchainReport> = serde_json::from_slice(&scripts.stdout).unwrap();
    assert_eq!(read, reports());
    check(&farccctl_asks(&[], &["list"]), exit::NEGATIVE, &["no unit has needed a package"]);
    check(&farccctl(&["list"]), exit::NO_DAEMON, &["no client daemon"]);
}

#[test]
fn one_is_shown_by_name_path_or_id() {
    for wanted in ["gcc", "/usr/bin/gcc", "89abcdef"] {
        let told =
            check(&farccctl_asks(&reports(), &["show", wanted]), exit::OK, &["gcc 12.2.0", "LANG", "de_DE.UTF-8"]);
        assert!(told.contains(&"89abcdef".repeat(8)) && !told.contains("/opt/cc"), "{told}");
    }
    check(&farccctl_asks(&reports(), &["show", "cc"]), exit::OK, &["none", "is a script"]);
    check(&farccctl_asks(&reports(), &["show", "tcc"]), exit::NEGATIVE, &["knows no such compiler"]);
    let scripts = farccctl_asks(&reports(), &["show", "--json", "cc"]);
    let read: Vec<ToolchainReport> = serde_json::from_slice(&scripts.stdout).unwrap();
    assert_eq!(read, reports()[1..]);
}

/// The archive is what a builder gets, byte for byte.
#[test]
fn a_package_is_what_is_uploaded() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("gcc.tar.zst");
    let output = farccctl(&["package", "gcc", out.to_str().unwrap()]);
    let package = package(&subject("/usr/bin/gcc", &[])).unwrap();
    check(&output, exit::OK, &["/usr/bin/gcc: gcc ", &package.id.to_string()]);
    assert!(fs::read(&out).unwrap() == archive(&package), "the archive differs from the one that is uploaded");

    let selected = farccctl(&["package", "/usr/bin/gcc", out.to_str().unwrap(), "--", "--sysroot", "/", "-O2"]);
    check(&selected, exit::OK, &["toolchain "]);
}

#[test]
fn what_cannot_be_packaged_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("cc");
    fs::write(&script, "#!/bin/sh\nexec gcc \"$@\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let out = directory.path().join("out.tar");
    let out = out.to_str().unwrap();
    check(&farccctl(&["package", script.to_str().unwrap(), out]), exit::NEGATIVE, &["is a script"]);
    check(&farccctl(&["package", "no-such-gcc", out]), exit::NEGATIVE, &["no-such-gcc: command not found"]);
    check(
        &farccctl(&["package", "gcc", "/nonexistent/out.tar"]),
        exit::DIRECTORY,
        &["cannot write /nonexistent/out.tar"],
    );
    check(&farccctl(&["package", "gcc"]), exit::USAGE, &["<OUT>"]);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cc"]);
}

#[test]
fn checks_find_nothing_with_a_sound_compiler() {
    for compiler in ["gcc", "/usr/bin/clang"] {
        let said = check(&farccctl(&["check", compiler]), exit::OK, &["toolchain "]);
        assert_eq!(said.matches(": the same commands, object, dependency list and messages").count(), 3, "{said}");
    }
    let said = check(&farccctl(&["check", "gcc", "--", "-O3", "-m32"]), exit::OK, &["toolchain "]);
    assert!(said.contains("c: the same"), "{said}");
    // Names of LTO's sections are drawn by chance.
    let said = check(&farccctl(&["check", "gcc", "--", "-flto"]), exit::OK, &["toolchain "]);
    assert!(said.contains("c: the same commands, dependency list and messages; the object is another one"), "{said}");
}

/// A program that the compiler starts and no answer of its tells of is missing elsewhere.
#[test]
fn checks_tell_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = directory.path().join("odd-gcc");
    let source = "#include <unistd.h>\nint main(int n, char **words) {\n char *argv[n + 2];\n argv[0] = \"/usr/bin/gcc\";\n \
                  argv[1] = \"-DODD\";\n for (int i = 1; i <= n; i++) argv[i + 1] = words[i];\n \
                  return execv(argv[0], argv);\n}\n";
    let file = directory.path().join("odd.c");
    fs::write(&file, source).unwrap();
    assert!(Command::new("gcc").arg(&file).arg("-o").arg(&compiler).status().unwrap().success());
    let said = check(&farccctl(&["check", compiler.to_str().unwrap()]), exit::NEGATIVE, &["c: other commands: here"]);
    assert!(said.contains("-D ODD"), "{said}");
}

#[test]
fn checks_need_a_sandbox_and_units_that_travel() {
    let no_bwrap = farccctl(&["check", "--bwrap", "/nonexistent/bwrap", "gcc"]);
    check(&no_bwrap, exit::SANDBOX, &["/nonexistent/bwrap is missing"]);
    let stays = farccctl(&["check", "gcc", "--", "-fno-such-option"]);
    check(&stays, exit::NEGATIVE, &["units with these options are compiled on this machine", "-fno-such-option"]);
}

//! The wrapper as a build sees it: real processes, the real compiler, and a daemon that does what each test needs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copied;
mod fake_daemon;
mod heeding;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use farcc::engine::wire::frame::encode;
use farcc::engine::wire::local::{FromDaemon, GREETING, Placing, ToDaemon};
use farcc::model::job::Ending;
use farcc::model::reason::{Reason, Why};

use copied::copy_program;
use fake_daemon::{Conversation, FakeDaemon, blob, compile_request, finished, output};
use heeding::heeding;

const FARCC: &str = env!("CARGO_BIN_EXE_farcc");

/// A directory for one test.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // An ordinary user, in the tests that become one, passes through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    /// With a source that compiles, with a warning.
    fn with_source() -> Self {
        let place = Self::new();
        place.write("a.c", "int f(void) { int unused; return __COUNTER__; }\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A program that is a shell script.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let text = self.write(&format!("{name}.text"), &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(&text, self.path(name));
        fs::remove_file(text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    fn mode(&self, name: &str) -> u32 {
        self.path(name).symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    /// Names that a wrapper must not leave.
    fn assert_tidy(&self) {
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().contains(".farcc-"), "left behind: {name:?}");
        }
    }

    /// `program` started here, knowing nothing of any daemon.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = heeding(program);
        command.current_dir(self.dir.path()).env("FARCC_AUTOSTART", "0").env("LC_ALL", "C");
        for name in ["FARCC_LOG", "FARCC_DISABLE", "FARCC_LEVEL", "FARCC_SOCKET", "XDG_RUNTIME_DIR", "MAKEFLAGS"] {
            command.env_remove(name);
        }
        command
    }

    /// `farcc WORDS…` here, asking `daemon`.
    fn farcc(&self, daemon: &FakeDaemon, words: &[&str]) -> Command {
        let mut command = self.command(FARCC);
        command.env("FARCC_SOCKET", &daemon.socket).args(words);
        command
    }

    /// Object and standard error of the plain compiler.
    fn plain(&self, words: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let output = self.command(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success());
        let object = self.read("a.o");
        fs::remove_file(self.path("a.o")).unwrap();
        (object, output.stderr)
    }
}

const COMPILE: &[&str] = &["gcc", "-Wall", "-c", "a.c", "-o", "a.o"];

fn run_local() -> FromDaemon {
    FromDaemon::RunLocal { why: Why::new(Reason::Incbin, "logo.bin") }
}

fn step_aside() -> FromDaemon {
    FromDaemon::StepAside { why: Reason::Link.into() }
}

/// Hears how a local compile ended.
fn hear_ending(conversation: &mut Conversation) -> Ending {
    match conversation.hear() {
        Some(ToDaemon::LocalEnded { ending, .. }) => ending,
        other => panic!("{other:?}"),
    }
}

/// A daemon that gives each of its connections a local slot.
fn local_daemon() -> FakeDaemon {
    FakeDaemon::with(|mut conversation, _| {
        conversation.say(&run_local());
        conversation.hear();
    })
}

#[track_caller]
fn assert_plain(place: &Place, output: &Output, expected: &(Vec<u8>, Vec<u8>)) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(place.read("a.o") == expected.0, "objects differ");
    assert_eq!(String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&expected.1));
    assert!(output.stdout.is_empty());
    place.assert_tidy();
}

// What the daemon is told.

#[test]
fn the_request_says_all_that_could_matter() {
    let place = Place::with_source();
    let here = place.dir.path().to_owned();
    let daemon = FakeDaemon::with(move |mut conversation, message| {
        let request = compile_request(message);
        let compiler = Path::new(OsStr::from_bytes(&request.compiler));
        assert!(compiler.is_absolute() && compiler.ends_with("gcc"), "{compiler:?}");
        let argv: Vec<_> = request.argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        assert_eq!(argv, COMPILE);
        let cwd = here.canonicalize().unwrap();
        assert_eq!(request.cwd.as_slice(), cwd.as_os_str().as_bytes());
        assert!(request.env.iter().any(|(name, value)| **name == *b"MARK" && **value == *b"a=b\xff"));
        assert_eq!(request.mount_namespace, fs::metadata("/proc/self/ns/mnt").unwrap().ino());
        let [root, cwd_fd] = <[_; 2]>::try_from(std::mem::take(&mut conversation.descriptors)).unwrap();
        let inode = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).unwrap();
        let expected = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).unwrap();
        assert_eq!(inode(root), expected(Path::new("/")));
        assert_eq!(inode(cwd_fd), expected(&cwd));
        conversation.say(&step_aside());
    });
    let mut command = place.farcc(&daemon, &[]);
    command.env("MARK", OsStr::from_bytes(b"a=b\xff"));
    let shell = place
        .command("sh")
        .arg("-c")
        .arg("exec \"$@\"")
        .arg("sh")
        .arg(FARCC)
        .args(COMPILE)
        .env("MARK", OsStr::from_bytes(b"a=b\xff"))
        .env("FARCC_SOCKET", &daemon.socket)
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
    daemon.finish();
}

// The three answers.

#[test]
fn stepping_aside_is_the_plain_compiler() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let daemon = FakeDaemon::with(|mut conversation, _| {
        conversation.say(&step_aside());
        assert_eq!(conversation.hear(), None);
    });
    let output = place.farcc(&daemon, COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
    daemon.finish();
}

#[test]
fn a_local_compile_is_the_plain_compiler_and_reports_its_end() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let daemon = FakeDaemon::with(|mut conversation, _| {
        for _ in 0..10 {
            conversation.say(&FromDaemon::SignOfLife);
        }
        conversation.say(&run_local());
        let Some(ToDaemon::LocalEnded { ending, cpu }) = conversation.hear() else { panic!("no end") };
        assert_eq!(ending, Ending::Exited(0));
        assert!(!cpu.is_zero());
    });
    let output = place.farcc(&daemon, COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
    daemon.finish();
}

#[test]
fn a_compile_error_is_reported_once_as_the_compiler_does() {
    let place = Place::new();
    place.write("a.c", "int f(void) { return x; }\n");
    let plain = place.command("gcc").args(&COMPILE[1..]).output().unwrap();
    let daemon = FakeDaemon::with(|mut conversation, _| {
        conversation.say(&run_local());
        assert_eq!(hear_ending(&mut conversation), Ending::Exited(1));
    });
    assert_eq!(place.farcc(&daemon, COMPILE).output().unwrap(), plain);
    daemon.finish();
}

#[test]
fn a_finished_unit_is_written_and_printed_without_running_a_compiler() {
    let place = Place::new();
    let compiler = place.script("cc", "echo ran >&2; exit 9");
    let (object, depfile) = (place.path("a.o"), place.path("a.d"));
    let big = vec![7; 20 << 20];
    let content = [&b"\x7fELF"[..], &big].concat();
    let daemon = FakeDaemon::with({
        let content = content.clone();
        move |mut conversation, _| {
            // In one read with what follows.
            conversation.say(&FromDaemon::SignOfLife);
            conversation.say_finished(
                b"out\n",
                b"a.c:1: warning\xff\n",
                &[(&depfile, b"a.o: a.c\n", false), (&object, &content, false)],
            );
            assert_eq!(conversation.hear(), Some(ToDaemon::Written));
        }
    });
    let output = place.farcc(&daemon, &[compiler.to_str().unwrap(), "-c", "a.c"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"a.c:1: warning\xff\n"[..]));
    assert!(place.read("a.o") == content);
    assert_eq!(place.read("a.d"), b"a.o: a.c\n");
    place.assert_tidy();
    daemon.finish();
}

// Outputs as compilers write them.

/// Has the wrapper write `outputs` under `umask`; standard error comes back.
fn write_outputs(place: &Place, umask: &str, outputs: &[(&str, &[u8], bool)]) -> Output {
    let owned: Vec<_> =
        outputs.iter().map(|&(name, content, executable)| (place.path(name), content.to_vec(), executable)).collect();
    let daemon = FakeDaemon::with(move |mut conversation, _| {
        let outputs: Vec<_> =
            owned.iter().map(|(path, content, executable)| (path.as_path(), content.as_slice(), *executable)).collect();
        conversation.say_finished(b"", b"", &outputs);
        assert_eq!(conversation.hear(), Some(ToDaemon::Written));
    });
    let output = place
        .command("sh")
        .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", FARCC, "false", "-c", "a.c"])
        .env("FARCC_SOCKET", &daemon.socket)
        .output()
        .unwrap();
    daemon.finish();
    assert!(output.status.success(), "{output:?}");
    place.assert_tidy();
    output
}

#[test]
fn modes_follow_the_umask_of_the_caller() {
    let place = Place::new();
    write_outputs(&place, "027", &[("a.o", b"\x7fELF1", false), ("a", b"\x7fELF2", true), ("a.d", b"d", false)]);
    assert_eq!((place.mode("a.o"), place.mode("a"), place.mode("a.d")), (0o640, 0o750, 0o640));
    write_outputs(&place, "0", &[("b.o", b"", false), ("b", b"\x7fELF2", true)]);
    assert_eq!((place.mode("b.o"), place.mode("b")), (0o666, 0o777));
}

/// Before, the same files for the compiler and for farcc; afterwards they must look the same.
#[test]
fn what_is_there_already_is_treated_as_gcc_treats_it() {
    let prepare = |place: &Place| {
        place.write("a.c", "int f(void) { return 1; }\n");
        for name in ["a.o", "a.d", "real.o", "real.d"] {
            place.write(name, "old content, longer than what comes\n".repeat(100).as_str());
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        place.write("empty.o", "");
        for name in ["a.o", "a.d"] {
            fs::hard_link(place.path(name), place.path(&format!("hard-{name}"))).unwrap();
        }
        for (link, target) in
            [("l.o", "real.o"), ("l.d", "real.d"), ("e.o", "empty.o"), ("n.o", "new.o"), ("n.d", "new.d")]
        {
            symlink(target, place.path(link)).unwrap();
        }
    };
    let (by_gcc, by_farcc) = (Place::new(), Place::new());
    prepare(&by_gcc);
    prepare(&by_farcc);
    for [object, depfile] in [["a.o", "a.d"], ["l.o", "l.d"], ["e.o", "e.d"], ["n.o", "n.d"]] {
        let words = ["-c", "a.c", "-MD", "-MT", "x.o", "-MF", depfile, "-o", object];
        assert!(by_gcc.command("gcc").args(words).status().unwrap().success());
        let (object_content, depfile_content) = (by_gcc.read(object), by_gcc.read(depfile));
        write_outputs(&by_farcc, "022", &[(depfile, &depfile_content, false), (object, &object_content, false)]);
    }
    assert_eq!(picture(&by_farcc), picture(&by_gcc));
}

/// clang replaces what its assembler and gcc's do not, and opens what they remove.
#[test]
fn what_is_there_already_is_treated_as_clang_treats_it() {
    let prepare = |place: &Place| {
        place.write("a.c", "int f(void) { return 1; }\n");
        place.write("a.S", ".long 4\n");
        for name in ["a.o", "a.d", "S.o", "real.o"] {
            place.write(name, "old content, longer than what comes\n".repeat(100).as_str());
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(place.path(name), place.path(&format!("hard-{name}"))).unwrap();
        }
        place.write("e.o", "");
        fs::set_permissions(place.path("e.o"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("real.o", place.path("l.o")).unwrap();
        symlink("nowhere.o", place.path("n.o")).unwrap();
    };
    let (by_clang, by_farcc) = (Place::new(), Place::new());
    prepare(&by_clang);
    prepare(&by_farcc);
    for (words, output, placing) in [
        (&["-c", "a.c", "-o", "a.o"][..], "a.o", Placing::Renamed),
        (&["-c", "a.c", "-o", "l.o"], "l.o", Placing::Renamed),
        (&["-c", "a.c", "-o", "n.o"], "n.o", Placing::Renamed),
        (&["-c", "a.c", "-o", "e.o"], "e.o", Placing::Renamed),
        (&["-c", "a.S", "-o", "S.o"], "S.o", Placing::InPlace),
        (&["-c", "a.c", "-o", "b.o", "-MD", "-MF", "a.d"], "a.d", Placing::InPlace),
    ] {
        assert!(by_clang.command("clang").args(words).status().unwrap().success());
        fs::remove_file(by_clang.path("b.o")).ok();
        let (path, content) = (by_farcc.path(output), by_clang.read(output));
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say_placed(&path, &content, placing);
            assert_eq!(conversation.hear(), Some(ToDaemon::Written));
        });
        assert!(by_farcc.farcc(&daemon, &["false", "-c", "a.c"]).status().unwrap().success());
        daemon.finish();
    }
    assert_eq!(picture(&by_farcc), picture(&by_clang));
}

/// Names, kinds, modes, link counts and contents.
fn picture(place: &Place) -> Vec<(String, u32, u64, Vec<u8>)> {
    let mut entries: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            (entry.file_name().into_string().unwrap(), meta.mode(), meta.nlink(), fs::read(entry.path()).unwrap())
        })
        .collect();
    entries.sort();
    entries
}

#[test]
fn devices_and_pipes_are_written_through() {
    let place = Place::new();
    let fifo = place.path("pipe.o");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn(move || fs::read(fifo).unwrap());
    write_outputs(&place, "022", &[("/dev/null", b"\x7fELF", false), ("pipe.o", b"\x7fELF through", false)]);
    assert_eq!(reader.join().unwrap(), b"\x7fELF through");
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

/// The local compiler has the last word on what farcc cannot write.
#[track_caller]
fn check_write_failure(place: &Place, mut wrapper: Command, daemon: FakeDaemon, plain: &Output) {
    let output = wrapper.output().unwrap();
    assert_eq!(&output, plain);
    place.assert_tidy();
    daemon.finish();
}

fn daemon_that_finishes(path: PathBuf) -> FakeDaemon {
    FakeDaemon::with(move |mut conversation, _| {
        conversation.say_finished(b"", b"not to be seen", &[(&path, b"\x7fELF", false)]);
        let Some(ToDaemon::WriteFailed { detail }) = conversation.hear() else { panic!("written?") };
        assert!(detail.contains("a.o"), "{detail}");
    })
}

#[test]
fn a_missing_directory_is_the_compilers_to_report() {
    let place = Place::with_source();
    let words = ["gcc", "-c", "a.c", "-o", "missing/a.o"];
    let plain = place.command("gcc").args(&words[1..]).output().unwrap();
    assert!(!plain.status.success());
    let daemon = daemon_that_finishes(place.path("missing/a.o"));
    check_write_failure(&place, place.farcc(&daemon, &words), daemon, &plain);
}

#[test]
fn a_read_only_directory_is_the_compilers_to_report() {
    let place = Place::with_source();
    fs::create_dir(place.path("ro")).unwrap();
    fs::set_permissions(place.path("ro"), fs::Permissions::from_mode(0o555)).unwrap();
    let words = ["-c", "a.c", "-o", "ro/a.o"];
    let plain = as_ordinary_user(&place, "gcc").args(words).output().unwrap();
    assert!(!plain.status.success());
    // The wrapper, an ordinary user here, does not talk to another ordinary user's daemon; root's is fine.
    let daemon = daemon_that_finishes(place.path("ro/a.o"));
    open_to_all(&daemon);
    let mut wrapper = as_ordinary_user(&place, FARCC);
    wrapper.env("FARCC_SOCKET", &daemon.socket).arg("gcc").args(words);
    check_write_failure(&place, wrapper, daemon, &plain);
}

/// Under root another user, who is subject to permissions; otherwise whoever runs the tests.
fn as_ordinary_user(place: &Place, program: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return place.command(program);
    }
    let mut command = place.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command
}

fn open_to_all(daemon: &FakeDaemon) {
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&daemon.socket, fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn a_full_disk_is_the_compilers_to_report() {
    let place = Place::with_source();
    symlink("/dev/full", place.path("a.o")).unwrap();
    let daemon = daemon_that_finishes(place.path("a.o"));
    let output = place.farcc(&daemon, COMPILE).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"), "{output:?}");
    daemon.finish();
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let place = Place::new();
    let object = place.path("a.o");
    let daemon = FakeDaemon::with(move |mut conversation, _| {
        conversation.say_finished(&[b'x'; 100_000], b"", &[(&object, b"\x7fELF", false)]);
        assert_eq!(conversation.hear(), Some(ToDaemon::Written));
    });
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = place.farcc(&daemon, &["false", "-c", "a.c"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.read("a.o"), b"\x7fELF");
    daemon.finish();
}

// A daemon that is of no use, in all ways.

/// Whatever the daemon does, the result is the plain compiler's.
#[track_caller]
fn check_useless(script: impl FnOnce(&mut Conversation, PathBuf) + Send + 'static) {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let object = place.path("a.o");
    let daemon = FakeDaemon::raw(move |mut conversation| script(&mut conversation, object));
    let output = place.farcc(&daemon, COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
    daemon.finish();
}

#[test]
fn dead_on_arrival() {
    check_useless(|_, _| {});
}

#[test]
fn dead_after_the_request() {
    check_useless(|conversation, _| drop(conversation.hear_opening()));
}

#[test]
fn dead_while_the_unit_waits() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::SignOfLife);
    });
}

#[test]
fn dead_within_an_answer() {
    check_useless(|conversation, object| {
        conversation.hear_opening();
        let frame = encode(&finished(b"", b"", vec![output(&object, 4, false)])).unwrap();
        conversation.say_bytes(&frame[..frame.len() / 2]);
    });
}

#[test]
fn dead_while_the_compiler_runs() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say(&run_local());
    });
}

#[test]
fn dead_before_the_outputs_are_written() {
    let place = Place::new();
    let object = place.path("a.o");
    let daemon = FakeDaemon::with(move |mut conversation, _| {
        conversation.say_finished(b"", b"", &[(&object, b"\x7fELF", false)]);
    });
    // The bytes are the wrapper's already; nothing is compiled again.
    assert!(place.farcc(&daemon, &["false", "-c", "a.c"]).status().unwrap().success());
    assert_eq!(place.read("a.o"), b"\x7fELF");
    daemon.finish();
}

#[test]
fn another_version() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::Upgrade { speaks: GREETING[7] + 1 });
    });
}

#[test]
fn garbage() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say_bytes(&[5, 0, 0, 0, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1]);
        conversation.hear();
    });
}

#[test]
fn an_endless_frame() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say_bytes(&[0xff; 64]);
        conversation.hear();
    });
}

#[test]
fn an_answer_to_another_question() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::Answer { json: "{}".into() });
    });
}

#[test]
fn outputs_without_descriptors() {
    check_useless(|conversation, object| {
        conversation.hear_opening();
        conversation.say(&finished(b"", b"not to be seen", vec![output(&object, 4, false)]));
        assert!(matches!(conversation.hear(), Some(ToDaemon::WriteFailed { .. })));
    });
}

#[test]
fn fewer_bytes_than_promised() {
    check_useless(|conversation, object| {
        conversation.hear_opening();
        let message = finished(b"", b"not to be seen", vec![output(&object, 400, false)]);
        conversation.say_with(&message, &[blob(b"\x7fELF")]);
        assert!(matches!(conversation.hear(), Some(ToDaemon::WriteFailed { .. })));
    });
}

#[test]
fn silent_for_too_long() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        // Until the wrapper has given up.
        assert_eq!(conversation.hear(), None);
    });
}

#[test]
fn silent_within_an_answer() {
    check_useless(|conversation, _| {
        conversation.hear_opening();
        conversation.say(&FromDaemon::SignOfLife);
        conversation.say_bytes(&[200, 0, 0, 0, 1]);
        assert_eq!(conversation.hear(), None);
    });
}

#[test]
fn too_busy_to_accept() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let socket = place.path("client.sock");
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
    let make = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let listener = make(SocketFlags::CLOEXEC);
    let address = SocketAddrUnix::new(&socket).unwrap();
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let mut queue = Vec::new();
    loop {
        let waiting = make(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        match connect(&waiting, &address) {
            Ok(()) => queue.push(waiting),
            Err(errno) => break assert_eq!(errno, rustix::io::Errno::AGAIN),
        }
    }
    let output = place.command(FARCC).env("FARCC_SOCKET", &socket).args(COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
}

#[test]
fn no_daemon_at_all() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let output = place.command(FARCC).env("FARCC_SOCKET", place.path("none.sock")).args(COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
    // Left by a daemon that was killed.
    drop(UnixListener::bind(place.path("dead.sock")).unwrap());
    let output = place.command(FARCC).env("FARCC_SOCKET", place.path("dead.sock")).args(COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
}

/// Only root can make another user's socket; without root there is nothing to be seen here.
#[test]
fn another_users_daemon_is_not_talked_to() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let socket = place.path("client.sock");
    let at = socket.clone();
    let listener = std::thread::spawn(move || {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&at).unwrap()).unwrap();
        // This thread only. A peer sees who has called listen().
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
        listen(&listener, 8).unwrap();
        UnixListener::from(listener)
    });
    let listener = listener.join().unwrap();
    let output = place.command(FARCC).env("FARCC_SOCKET", &socket).args(COMPILE).output().unwrap();
    assert_plain(&place, &output, &plain);
    let (mut connection, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    connection.read_to_end(&mut heard).unwrap();
    assert!(heard.is_empty(), "a foreign daemon was told {} bytes", heard.len());
}

// The compiler as a child.

/// The wrapper around a script that holds a local slot; the script's first line has been read.
struct Held {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    first: String,
    daemon: FakeDaemon,
}

fn hold(place: &Place, script: &str, group: bool) -> Held {
    let compiler = place.script("held", script);
    let daemon = local_daemon();
    let mut command = place.farcc(&daemon, &[compiler.to_str().unwrap()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if group {
        command.process_group(0);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    Held { child, lines, first: first.trim().to_owned(), daemon }
}

impl Held {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        rest
    }
}

#[test]
fn exit_status_and_standard_input_pass_through() {
    let place = Place::new();
    let script = place.script("compiler", "cat; exit 173");
    for answer in [run_local(), step_aside()] {
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&answer);
            conversation.hear();
        });
        let mut child = place
            .farcc(&daemon, &[script.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"from the caller").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(173), &b"from the caller"[..]));
        daemon.finish();
    }
}

#[test]
fn death_by_a_signal_is_repeated() {
    let place = Place::new();
    for signal in [libc::SIGSEGV, libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGPIPE] {
        let script = place.script("compiler", &format!("kill -{signal} $$"));
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&run_local());
            assert_eq!(hear_ending(&mut conversation), Ending::Signalled(signal as u8));
        });
        let status = place.farcc(&daemon, &[script.to_str().unwrap()]).status().unwrap();
        assert_eq!((status.signal(), status.core_dumped()), (Some(signal), false));
        daemon.finish();
    }
}

#[test]
fn a_signal_to_the_wrapper_reaches_the_compiler() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let place = Place::new();
        let script = format!("trap 'echo cleaned up; exit 42' {name}; echo ready; read line; exit 1");
        let mut held = hold(&place, &script, false);
        kill_process(held.pid(), signal).unwrap();
        assert_eq!(held.rest(), "cleaned up\n", "{name}");
        assert_eq!(held.child.wait().unwrap().code(), Some(42));
        held.daemon.finish();
    }
}

#[test]
fn a_killed_wrapper_takes_the_compiler_along() {
    let place = Place::new();
    let mut held = hold(&place, "echo ready; read line; echo survived", false);
    kill_process(held.pid(), Signal::KILL).unwrap();
    // Ends when nobody holds the pipe any more.
    assert_eq!(held.rest(), "");
    assert_eq!(held.child.wait().unwrap().signal(), Some(libc::SIGKILL));
    held.daemon.finish();
}

#[test]
fn stopping_and_continuing_reaches_both() {
    for whole_group in [false, true] {
        let place = Place::new();
        let mut held = hold(&place, "echo $$; read line; echo \"$line\"", true);
        let compiler: i32 = held.first.parse().unwrap();
        if whole_group {
            kill_process_group(held.pid(), Signal::TSTP).unwrap();
        } else {
            kill_process(held.pid(), Signal::TSTP).unwrap();
        }
        let (_, status) = waitpid(Some(held.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
        wait_for_state(compiler, 'T');
        held.child.stdin.take().unwrap().write_all(b"went on\n").unwrap();
        if whole_group {
            kill_process_group(held.pid(), Signal::CONT).unwrap();
        } else {
            kill_process(held.pid(), Signal::CONT).unwrap();
        }
        assert_eq!(held.rest(), "went on\n");
        assert_eq!(held.child.wait().unwrap().code(), Some(0));
        held.daemon.finish();
    }
}

/// A stop takes effect when the process next runs; on a busy machine that is soon, not at once.
fn wait_for_state(pid: i32, state: char) {
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit_once(") ").unwrap().1.starts_with(state) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn signals_given_as_ignored_or_blocked_stay_so() {
    let place = Place::new();
    let given = ["--ignore-signal=PIPE", "--ignore-signal=HUP", "--ignore-signal=CHLD", "--block-signal=USR1"];
    let ask = ["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"];
    let plain = place.command("env").args(given).args(ask).output().unwrap();
    assert!(plain.status.success());
    for answer in [run_local(), step_aside()] {
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&answer);
            conversation.hear();
        });
        let output =
            place.command("env").env("FARCC_SOCKET", &daemon.socket).args(given).arg(FARCC).args(ask).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&plain.stdout));
        daemon.finish();
    }
}

#[test]
fn the_compiler_has_the_name_and_the_descriptors_it_would_have_had() {
    let place = Place::new();
    for answer in [run_local(), step_aside()] {
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&answer);
            conversation.hear();
        });
        let script = "exec 7</dev/null; exec \"$@\"";
        let listing = ["sh", "-c", "ls /proc/$$/fd; tr '\\0' ' ' </proc/$$/cmdline"];
        let plain = place.command("sh").args(["-c", script, "sh"]).args(listing).output().unwrap();
        let output = place
            .command("sh")
            .env("FARCC_SOCKET", &daemon.socket)
            .args(["-c", script, "sh", FARCC])
            .args(listing)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&plain.stdout));
        assert!(plain.stdout.windows(3).any(|line| line == b"\n7\n"), "{plain:?}");
        daemon.finish();
    }
}

#[test]
fn makes_jobserver_passes_through() {
    let place = Place::new();
    // Takes the one free token from the jobserver's pipe and gives it back.
    let compiler = place.script(
        "compiler",
        r#"auth=${MAKEFLAGS##*--jobserver-auth=}; auth=${auth%% *}
case $auth in fifo:*) exec 8<>"${auth#fifo:}" 9>&8;; *) eval "exec 8<&${auth%,*} 9>&${auth#*,}";; esac
token=$(dd bs=1 count=1 <&8 2>/dev/null); printf %s "$token" >&9; echo "token [$token]""#,
    );
    for answer in [run_local(), step_aside()] {
        let daemon = FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&answer);
            conversation.hear();
        });
        place.write("Makefile", &format!("all:\n\t+@{FARCC} {}\n", compiler.display()));
        let mut make = place.command("make");
        // Under a make of its own (`make check`), a make speaks of directories and shares that one's tokens.
        make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKELEVEL");
        let output = make.arg("-j2").env("FARCC_SOCKET", &daemon.socket).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "token [+]\n", "{output:?}");
        daemon.finish();
    }
}

// Finding the compiler.

/// `farcc WORDS…` without a daemon, with `PATH` as given.
fn with_path(place: &Place, path: &str, program: &Path, words: &[&str]) -> Output {
    place.command(program).env("FARCC_SOCKET", "/nonexistent").env("PATH", path).args(words).output().unwrap()
}

#[test]
fn a_missing_compiler_is_reported_as_by_a_shell() {
    let place = Place::new();
    let output = with_path(&place, "/nonexistent", Path::new(FARCC), &["gcc", "-c", "a.c"]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "farcc: gcc: command not found\n");
    let output = with_path(&place, "/usr/bin", Path::new(FARCC), &["./gcc"]);
    assert_eq!(output.status.code(), Some(127));
    place.write("gcc", "no program");
    let output = with_path(&place, "/usr/bin", Path::new(FARCC), &["./gcc"]);
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "farcc: ./gcc: Permission denied\n");
}

#[test]
fn farcc_is_never_its_own_compiler() {
    let place = Place::new();
    for dir in ["link", "hard", "copy", "script", "real"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    symlink(FARCC, place.path("link/gcc")).unwrap();
    // A hard link where the file system has both; else one more copy.
    if fs::hard_link(FARCC, place.path("hard/gcc")).is_err() {
        copy_program(FARCC, place.path("hard/gcc"));
    }
    copy_program(FARCC, place.path("copy/gcc"));
    place.script("script/gcc", &format!("exec {FARCC} gcc \"$@\""));
    place.script("real/gcc", "echo real \"$0\" \"$@\"");

    let path = ["link", "hard", "copy", "script", "real"].map(|dir| place.path(dir).display().to_string()).join(":");
    let real = place.path("real/gcc").display().to_string();
    for program in ["link/gcc", "hard/gcc", "copy/gcc", "script/gcc"] {
        let output = with_path(&place, &path, &place.path(program), &["-c", "a.c"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("real {real} -c a.c\n"), "{program}");
        // Named by the path of a link.
        let output = with_path(&place, &path, Path::new(FARCC), &[place.path(program).to_str().unwrap(), "-c", "a.c"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("real {real} -c a.c\n"), "{program}");
    }
    let only_farcc = path.rsplit_once(':').unwrap().0;
    let output = with_path(&place, only_farcc, Path::new(FARCC), &["gcc"]);
    assert_eq!(output.status.code(), Some(127));
}

/// What a launcher under a compiler's name does: starts the next program of the name in PATH that is not itself.
const LAUNCHER: &str = r#"own=$(readlink -f "$0"); name=${0##*/}; IFS=:
for dir in $PATH; do
    [ "$(readlink -f "$dir/$name")" = "$own" ] && continue
    [ -x "$dir/$name" ] && exec "$dir/$name" "$@"
done
echo "$0 finds nothing""#;

/// Two that look for the compiler in PATH find each other.
#[test]
fn launchers_and_farcc_do_not_start_each_other_for_ever() {
    let place = Place::new();
    for dir in ["launcher", "farcc", "real"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    symlink(FARCC, place.path("farcc/gcc")).unwrap();
    place.script("real/gcc", "echo real \"$@\"");
    let dir = |name: &str| place.path(name).display().to_string();
    for (launcher, is_known) in [("ccache", true), ("unheard-of", false)] {
        place.script(launcher, LAUNCHER);
        fs::remove_file(place.path("launcher/gcc")).ok();
        symlink(place.path(launcher), place.path("launcher/gcc")).unwrap();
        let system = "/usr/bin:/bin";
        for order in [["launcher", "farcc"], ["farcc", "launcher"]] {
            let path = format!("{}:{}:{}:{system}", dir(order[0]), dir(order[1]), dir("real"));
            // farcc first, and a launcher that it does not know: neither can tell, but it ends.
            let is_endless = !is_known && order[0] == "farcc";
            let programs = [place.path(order[0]).join("gcc"), place.path(order[1]).join("gcc")];
            for program in programs {
                let output = with_path(&place, &path, &program, &["-c", "a.c"]);
                let (stdout, stderr) =
                    (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                match is_endless {
                    false => assert_eq!(stdout, "real -c a.c\n", "{launcher} {path} {stderr}"),
                    true => assert!(stderr.ends_with("start each other without end\n"), "{stdout} {stderr}"),
                }
            }
            if is_known {
                let output = with_path(&place, &path, Path::new(FARCC), &["gcc", "-c", "a.c"]);
                assert_eq!(String::from_utf8_lossy(&output.stdout), "real -c a.c\n", "{path}");
            }
        }
    }
    // Nothing else is there: a launcher may know a compiler that PATH does not have.
    place.script("ccache", "echo launched");
    symlink(place.path("ccache"), place.path("launcher/cc")).unwrap();
    let output = with_path(&place, &dir("launcher"), Path::new(FARCC), &["cc"]);
    assert_eq!(output.stdout, b"launched\n");
}

/// The outer one may hold the only local slot until the inner one has ended.
#[test]
fn beneath_a_compiler_nobody_is_asked() {
    let place = Place::with_source();
    let script = place.script("cc.sh", &format!("exec {FARCC} gcc \"$@\""));
    let words = [script.to_str().unwrap(), "-c", "a.c", "-o", "a.o"];
    let plain = place.plain(COMPILE);
    let one_request = |answer: FromDaemon| {
        // A second request would find nobody who answers.
        FakeDaemon::with(move |mut conversation, _| {
            conversation.say(&answer);
            conversation.hear();
        })
    };
    for answer in [run_local(), step_aside()] {
        let daemon = one_request(answer);
        let output = place.farcc(&daemon, &words).env("FARCC_LOG", "info").output().unwrap();
        assert_eq!(place.read("a.o"), plain.0);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("farcc: a.c: stepping aside: local-option: FARCC_LEVEL\n"), "{said}");
        daemon.finish();
    }
}

/// A build that farcc is put in front of has its own units distributed.
#[test]
fn beneath_what_is_no_compiler_everything_is_asked() {
    let place = Place::new();
    let script = place.script("build", "echo \"level ${FARCC_LEVEL-none}\"");
    let rustc = place.script("rustc", "echo \"level ${FARCC_LEVEL-none}\"");
    let unknown = FromDaemon::StepAside { why: Why::from(Reason::UnknownCompiler) };
    let daemon = FakeDaemon::with(move |mut conversation, _| {
        conversation.say(&unknown);
    });
    let output = place.farcc(&daemon, &[script.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.stdout, b"level none\n");
    daemon.finish();
    for program in [script, rustc] {
        let output = with_path(&place, "/usr/bin:/bin", Path::new(FARCC), &[program.to_str().unwrap()]);
        assert_eq!(output.stdout, b"level none\n", "{program:?}");
    }
}

/// gcc finds its parts from its name: by that name in PATH, or beside it. Neither may lead to farcc.
#[test]
fn behind_a_link_the_compiler_is_called_by_its_own_path() {
    let place = Place::new();
    fs::create_dir(place.path("link")).unwrap();
    symlink(FARCC, place.path("link/sh")).unwrap();
    let ask = ["-c", "tr '\\0' ' ' </proc/$$/cmdline | cut -d' ' -f1"];
    let path = format!("{}:/usr/bin:/bin", place.path("link").display());
    // As a shell finds it in PATH, and as cmake writes it down.
    let bare = place.command("env").env("FARCC_SOCKET", "/nonexistent").env("PATH", &path).arg("sh").args(ask).output();
    assert_eq!(String::from_utf8_lossy(&bare.unwrap().stdout), "/usr/bin/sh\n");
    let full = with_path(&place, &path, &place.path("link/sh"), &ask);
    assert_eq!(String::from_utf8_lossy(&full.stdout), "/usr/bin/sh\n");
    // Where PATH has no farcc, the name is as it was written.
    let plain = with_path(&place, "/usr/bin:/bin", Path::new(FARCC), &[&["sh"], &ask[..]].concat());
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "sh\n");
}

// What is said and what is not.

/// A listener that must not be spoken to.
fn assert_no_connection(place: &Place, set_up: impl FnOnce(&mut Command)) -> Output {
    let socket = place.path("client.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut command = place.command(FARCC);
    command.env("FARCC_SOCKET", &socket);
    set_up(&mut command);
    let output = command.output().unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    output
}

#[test]
fn disabled_it_asks_nobody() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let output = assert_no_connection(&place, |command| {
        command.env("FARCC_DISABLE", "1").args(COMPILE);
    });
    assert_plain(&place, &output, &plain);
}

#[test]
fn rustc_passes_at_once() {
    let place = Place::new();
    let rustc = place.script("rustc", "echo rust \"$@\" \"$CARGO_MAKEFLAGS\"");
    let output = assert_no_connection(&place, |command| {
        command.env("FARCC_LOG", "info").env("CARGO_MAKEFLAGS", "--jobserver-fds=3,4");
        command.args([rustc.to_str().unwrap(), "-vV"]);
    });
    assert_eq!(output.stdout, b"rust -vV --jobserver-fds=3,4\n");
    assert!(output.stderr.ends_with(b"stepping aside: rustc\n"), "{output:?}");
}

#[test]
fn asked_to_it_says_where_a_unit_went() {
    let place = Place::with_source();
    let lines = |daemon: FakeDaemon, level: &str| {
        let output = place.farcc(&daemon, &["gcc", "-c", "a.c", "-o", "a.o"]).env("FARCC_LOG", level).output().unwrap();
        daemon.finish();
        String::from_utf8(output.stderr).unwrap()
    };
    let remote = || {
        let object = place.path("a.o");
        FakeDaemon::with(move |mut conversation, _| {
            conversation.say_finished(b"", b"", &[(&object, b"\x7fELF", false)]);
            conversation.hear();
        })
    };
    let dead = || FakeDaemon::with(|_, _| {});
    assert_eq!(lines(local_daemon(), "info"), "farcc: a.c: local: incbin: logo.bin\n");
    assert_eq!(lines(remote(), "info"), "farcc: a.c: remote on b1\n");
    assert_eq!(lines(remote(), "error"), "");
    assert_eq!(lines(dead(), "error"), "farcc: a.c: local: the daemon closed the connection\n");
    assert_eq!(lines(dead(), ""), "");
}

#[test]
fn help_and_version() {
    let place = Place::new();
    for words in [&[][..], &["--help"]] {
        let output = place.command(FARCC).args(words).output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"Usage: farcc "), "{output:?}");
    }
    let output = place.command(FARCC).arg("--version").output().unwrap();
    assert_eq!(output.stdout, concat!("farcc ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
}

// Starting a daemon.

/// farcc installed with a daemon that is the given script.
fn installed(place: &Place, daemon: &str) -> PathBuf {
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::create_dir_all(place.path("libexec/farcc")).unwrap();
    fs::create_dir_all(place.path("run")).unwrap();
    fs::set_permissions(place.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
    copy_program(FARCC, place.path("bin/farcc"));
    place.script("libexec/farcc/farcc-clientd", daemon);
    place.path("bin/farcc")
}

/// `program` where nobody has a daemon, and wrappers start one. This machine may keep daemons for everybody in `/run`.
fn without_daemons(place: &Place, program: impl AsRef<OsStr>) -> Command {
    let mut command = place.command("bwrap");
    command.args(["--dev-bind", "/", "/", "--tmpfs", "/run", "--"]).arg(program.as_ref());
    command.env_remove("FARCC_AUTOSTART").env("XDG_RUNTIME_DIR", place.path("run"));
    command
}

fn autostarting(place: &Place, farcc: &Path) -> Command {
    let mut command = without_daemons(place, farcc);
    command.args(COMPILE);
    command
}

#[test]
fn a_started_daemon_is_detached_and_has_the_socket() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let report = place.path("report");
    // In the shell itself as far as it goes: a child would have other descriptors.
    let farcc = installed(
        &place,
        &format!(
            r#"exec 2>{report}.err
{{
echo "pid ok: $([ "$LISTEN_PID" = "$$" ] && echo yes)"
echo "fds: $LISTEN_FDS"
for fd in /proc/$$/fd/*; do echo "${{fd##*/}} $(readlink "$fd" | sed 's/\[.*//')"; done
echo "cwd: $(readlink /proc/$$/cwd)"
echo "session: $([ "$(cut -d' ' -f6 /proc/$$/stat)" != "$(cut -d' ' -f6 /proc/{test}/stat)" ] && echo new)"
echo "env: ${{MAKEFLAGS-none}} ${{FARCC_MARK-none}} ${{HOME:+home}}"
echo "umask: $(umask)"
}} >{report}"#,
            report = report.display(),
            test = std::process::id(),
        ),
    );
    // A descriptor that a daemon would keep open for ever.
    let script = "exec 9>&1; exec \"$@\"";
    let mut command = without_daemons(&place, "sh");
    command.args(["-c", script, "sh"]).arg(&farcc).args(COMPILE);
    command.env("MAKEFLAGS", "-j --jobserver-auth=3,4").env("FARCC_MARK", "kept").env("HOME", "/home");
    let output = command.output().unwrap();
    assert_plain(&place, &output, &plain);

    let report = String::from_utf8(place.read("report")).unwrap();
    let lines: Vec<_> = report.lines().collect();
    // 10 is dash's own copy of the script; 1 and 2 are redirected by it.
    let streams: Vec<_> = lines.iter().filter(|line| line.starts_with("0 ") || line.starts_with("3 ")).collect();
    assert_eq!(streams, [&"0 /dev/null", &"3 socket:"], "{report}");
    assert!(!lines.iter().any(|line| line.starts_with("9 ")), "{report}");
    for line in ["pid ok: yes", "fds: 1", "cwd: /", "session: new", "env: none kept home", "umask: 0077"] {
        assert!(lines.contains(&line), "{line}: {report}");
    }
    let socket = place.path("run/farcc/client.sock");
    assert_eq!(socket.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
}

#[test]
fn of_many_wrappers_one_starts_a_daemon() {
    let place = Place::with_source();
    let farcc =
        installed(&place, &format!("echo started >>{0}/starts; read line <{0}/end", place.dir.path().display()));
    assert!(Command::new("mkfifo").arg(place.path("end")).status().unwrap().success());
    // The daemon accepts nothing, so all of them are there until the silence has lasted too long.
    let wrappers: Vec<_> = (0..8)
        .map(|n| autostarting(&place, &farcc).args(["-o", &format!("{n}.o")]).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    for mut wrapper in wrappers {
        assert!(wrapper.wait().unwrap().success());
    }
    assert_eq!(place.read("starts"), b"started\n");
    // Lets the daemon end.
    fs::write(place.path("end"), "now\n").unwrap();
}

#[test]
fn a_daemon_that_cannot_start_is_not_started_for_each_unit() {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let farcc = installed(&place, &format!("echo started >>{0}/starts; exit 1", place.dir.path().display()));
    let output = autostarting(&place, &farcc).output().unwrap();
    assert_plain(&place, &output, &plain);
    assert_eq!(place.read("starts"), b"started\n");
    // Kept from being older than the pause, however slow this machine is.
    let lock = fs::File::options().write(true).open(place.path("run/farcc/client.lock")).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_millis(1);
    lock.set_modified(later).unwrap();
    let output = autostarting(&place, &farcc).output().unwrap();
    assert_plain(&place, &output, &plain);
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    lock.set_modified(long_ago).unwrap();
    let before = place.read("starts").len();
    let output = autostarting(&place, &farcc).output().unwrap();
    assert_plain(&place, &output, &plain);
    assert_eq!(place.read("starts").len(), before + "started\n".len());
}

/// Nobody starts a daemon whose socket would be in a directory that is like this.
#[track_caller]
fn check_untrusted(make_so: impl FnOnce(&Path)) {
    let place = Place::with_source();
    let plain = place.plain(COMPILE);
    let farcc = installed(&place, &format!("echo started >>{0}/starts", place.dir.path().display()));
    fs::create_dir(place.path("run/farcc")).unwrap();
    fs::set_permissions(place.path("run/farcc"), fs::Permissions::from_mode(0o700)).unwrap();
    make_so(&place.path("run/farcc"));
    let output = autostarting(&place, &farcc).output().unwrap();
    assert_plain(&place, &output, &plain);
    assert!(!place.exists("starts"));
}

#[test]
fn a_directory_that_others_may_write_is_not_trusted() {
    check_untrusted(|directory| fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap());
}

/// Only root can give a directory away; without root there is nothing to be seen here.
#[test]
fn another_users_directory_is_not_trusted() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    check_untrusted(|directory| std::os::unix::fs::chown(directory, Some(65534), None).unwrap());
}

// What is linked in.

/// Starting up is most of what a wrapper does: it stays small, and has no runtime.
#[test]
fn the_release_binary_is_small_and_has_no_runtime() {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--bin", "farcc"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success());
    // Beside the profile that this test was built in.
    let target = Path::new(FARCC).parent().unwrap().parent().unwrap();
    let binary = fs::read(target.join("release/farcc")).unwrap();
    assert!(binary.len() < 1_000_000, "{} bytes", binary.len());
    // Stripped, so these would be strings of code that is there: paths of sources, type names, messages.
    for runtime in ["tokio", "zbus", "hyper", "rustls", "clap_builder"] {
        assert!(!contains(&binary, runtime.as_bytes()), "the binary mentions {runtime}");
    }
    assert!(contains(&binary[..4096], b"farcc-a-wrapper\0"), "the note is not in the first page");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

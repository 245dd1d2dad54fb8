//! Four machines, and the farm that an administrator makes of them.
//!
//! Everything goes through what people use: shell commands on a machine, as root or as the user `dev`. `run.sh` has booted
//! the machines with farcc installed and nothing configured; the first test that asks for the farm sets it up.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything the farm may take to be whole again; not a figure that is measured.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Host(pub(crate) &'static str);

pub(crate) const SCHEDULER: Host = Host("scheduler");
pub(crate) const BUILDERS: [Host; 2] = [Host("builder1"), Host("builder2")];
pub(crate) const CLIENT: Host = Host("client");

impl Host {
    /// Runs a shell script as root.
    pub(crate) fn run(self, script: &str) -> Ran {
        Ran::new(script, switch(["run", self.0, "sh", "-c", script]).output())
    }

    /// Runs a shell script as `dev`, in the session of that user's systemd.
    pub(crate) fn dev(self, script: &str) -> Ran {
        Ran::new(script, self.dev_command(script).output())
    }

    /// Starts a shell script as `dev` and leaves it running.
    pub(crate) fn start_dev(self, script: &str) -> Child {
        self.dev_command(script).stdout(Stdio::null()).spawn().expect("the host script runs")
    }

    /// Runs a shell script as some other user that lingers here.
    pub(crate) fn user(self, user: &str, script: &str) -> Ran {
        Ran::new(script, switch(["as", user, self.0, "bash", "-c", script]).output())
    }

    fn dev_command(self, script: &str) -> Command {
        switch(["as", "dev", self.0, "bash", "-c", script])
    }

    /// Writes a file in the home of `dev`.
    #[track_caller]
    pub(crate) fn write(self, path: &str, text: &str) {
        let script = format!("cat >~/{path}");
        let mut cat = self.dev_command(&script).stdin(Stdio::piped()).spawn().expect("the host script runs");
        cat.stdin.take().expect("piped").write_all(text.as_bytes()).expect("cat reads");
        assert!(cat.wait().expect("started").success());
    }

    pub(crate) fn pull_cable(self) {
        assert!(switch(["cut", self.0]).status().expect("the host script runs").success());
    }

    /// Lets the machine receive no more than this until its cable is plugged in again.
    pub(crate) fn slow_down(self, rate: &str) {
        assert!(switch(["slow", self.0, rate]).status().expect("the host script runs").success());
    }

    pub(crate) fn plug_cable(self) {
        assert!(switch(["mend", self.0]).status().expect("the host script runs").success());
    }

    /// A property of one of farcc's objects on this machine's system bus, as JSON.
    pub(crate) fn property(self, name: &str, property: &str) -> serde_json::Value {
        self.run(&get_property("", name, property)).json()["data"].take()
    }

    /// The same on the session bus of `dev`.
    pub(crate) fn dev_property(self, name: &str, property: &str) -> serde_json::Value {
        self.dev(&get_property("--user", name, property)).json()["data"].take()
    }

    /// Where the journal stands now, for `since`.
    pub(crate) fn journal_cursor(self) -> String {
        let shown = self.run("journalctl -n 0 --show-cursor -q").ok();
        shown.rsplit("cursor: ").next().unwrap_or_default().trim().to_owned()
    }

    /// Records since a cursor that match journalctl's arguments, oldest first.
    pub(crate) fn journal_since(self, cursor: &str, matches: &str) -> Vec<serde_json::Value> {
        let text =
            self.run(&format!("journalctl --sync; journalctl -q -o json --after-cursor='{cursor}' {matches}")).ok();
        text.lines().map(|line| serde_json::from_str(line).expect("journalctl writes JSON")).collect()
    }
}

fn get_property(bus: &str, name: &str, property: &str) -> String {
    let path = name.replace('.', "/");
    format!("busctl {bus} --json=short get-property org.farcc.{name} /org/farcc/{path} org.farcc.{name} {property}")
}

fn switch<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let script = std::env::var_os("FARCC_SYSTEM_HOST").expect("started by run.sh, which boots the machines");
    let mut command = Command::new(script);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How a script ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    script: String,
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn new(script: &str, output: std::io::Result<Output>) -> Self {
        let output = output.expect("the host script runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            script: script.to_owned(),
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == Some(0)
    }

    /// What it printed, without the last line end; fails the test if the script failed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.is_ok(), "failed: {self:#?}");
        self.stdout.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let script = self.script.clone();
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"))
    }
}

/// Asks again until there is an answer. Bounded by patience, never by a guess of how long something takes.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}\n{}", last_words()))
}

fn within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if started.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the daemons said last.
fn last_words() -> String {
    let hosts = [SCHEDULER, BUILDERS[0], BUILDERS[1], CLIENT];
    let of = |host: Host| host.run("journalctl -q -n 6 -t farcc-schedulerd -t farcc-builderd -t farcc-clientd").stdout;
    hosts.map(of).concat()
}

/// The farm, for one test at a time; whole when a test gets it.
pub(crate) fn farm() -> Farm {
    static TURN: Mutex<bool> = Mutex::new(false);
    // A test that failed has said so; whether it left the farm whole shows below.
    let mut is_set_up = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_set_up {
        set_up();
        *is_set_up = true;
    }
    let farm = Farm { _turn: is_set_up };
    farm.wait_until_whole();
    farm
}

/// What an administrator does: the README's own commands, but for those that install packages, which `run.sh` has done its way.
/// The first machine there is two here, the second two as well.
fn set_up() {
    CLIENT
        .run("mkdir -p /etc/farcc/client.toml.d && echo 'local_slots = 0' >/etc/farcc/client.toml.d/50-slots.toml")
        .ok();
    CLIENT.write("hello.c", "int hello;\n");
    CLIENT.write("Makefile", "hello.o: hello.c\n");
    let mut invitation = String::new();
    for (command, place) in readme() {
        let command = command.replace("LINE", &invitation);
        match (command.strip_prefix("sudo "), place.starts_with("first machine")) {
            (Some(install), _) if install.starts_with("apt install ") => {}
            (Some(command), true) => invitation = SCHEDULER.run(command).ok(),
            (Some(command), false) => BUILDERS.into_iter().for_each(|builder| drop(builder.run(command).ok())),
            (None, true) => drop(CLIENT.dev(&format!("cd && {command}")).ok()),
            (None, false) => panic!("nobody builds on the second machine: {command}"),
        }
    }
    // Now: a client daemon that starts anew no longer knows.
    eventually("the first object is from a builder", || {
        let why = CLIENT.dev("cd && farccctl why hello.c").stdout;
        BUILDERS.iter().any(|builder| why.contains(builder.0)).then_some(())
    });
}

/// The commands of its section about a farm, each with where it is given.
pub(crate) fn readme() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../README.md");
    let (_, section) = text.split_once("## A farm of two machines\n").expect("that section");
    let block = section.trim_start().lines().take_while(|line| !line.is_empty() || line.starts_with("    "));
    let parts = |line: &'static str| line.split_once('#').map(|(command, place)| (command.trim(), place.trim()));
    block.map(|line| parts(line).expect("a command and where it is given")).collect()
}

#[derive(Debug)]
pub(crate) struct Farm {
    _turn: MutexGuard<'static, bool>,
}

impl Farm {
    /// Both builders ready in the scheduler's eyes, and the client connected to it.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) {
        // Once broken, it is not waited for as long again: the tests that follow would take hours to say the same.
        static IS_BROKEN: AtomicBool = AtomicBool::new(false);
        let patience = if IS_BROKEN.swap(true, Ordering::Relaxed) { PATIENCE / 20 } else { PATIENCE };
        if within(patience, || (builders_are_ready()? && client_is_connected()?).then_some(())).is_none() {
            panic!("the farm is not whole after {patience:?}\n{}", last_words());
        }
        IS_BROKEN.store(false, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats(CLIENT.dev("farccctl stats --json").json())
    }
}

fn builders_are_ready() -> Option<bool> {
    let builders = SCHEDULER.run(&get_property("", "Scheduler1", "Builders"));
    let builders: serde_json::Value = serde_json::from_str(&builders.stdout).ok()?;
    Some(builders["data"].as_array()?.iter().filter(|builder| builder[5] == "ready").count() == BUILDERS.len())
}

fn client_is_connected() -> Option<bool> {
    let status: serde_json::Value = serde_json::from_str(&CLIENT.dev("farccctl status --json").stdout).ok()?;
    Some(status["connection"] == "connected")
}

/// A variable in the environment of the client daemon, for as long as this lives.
#[derive(Debug)]
pub(crate) struct ClientVariable<'a> {
    farm: &'a Farm,
    name: &'static str,
}

impl<'a> ClientVariable<'a> {
    pub(crate) fn set(farm: &'a Farm, name: &'static str, value: &str) -> Self {
        CLIENT.dev(&format!("systemctl --user set-environment '{name}={value}'")).ok();
        let variable = Self { farm, name };
        variable.restart();
        variable
    }

    fn restart(&self) {
        CLIENT.dev("systemctl --user restart farcc-client.service").ok();
        self.farm.wait_until_whole();
    }
}

impl Drop for ClientVariable<'_> {
    fn drop(&mut self) {
        CLIENT.dev(&format!("systemctl --user unset-environment {}", self.name));
        if !std::thread::panicking() {
            self.restart();
        }
    }
}

/// The client's counters.
#[derive(Debug)]
pub(crate) struct Stats(serde_json::Value);

impl Stats {
    #[track_caller]
    pub(crate) fn count(&self, counter: &str) -> u64 {
        self.0[counter].as_u64().unwrap_or_else(|| panic!("no {counter} in {}", self.0))
    }

    pub(crate) fn reason(&self, name: &str) -> u64 {
        self.0["reasons"][name].as_u64().unwrap_or(0)
    }

    pub(crate) fn builder(&self, host: Host) -> u64 {
        self.0["builders"][host.0].as_u64().unwrap_or(0)
    }
}

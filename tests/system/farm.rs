//! Four machines, and the farm that an administrator makes of them.
//!
//! Everything goes through what people use: shell commands on a machine, as root or as the user `dev`. `run.sh` has booted
//! the machines with farcc installed and nothing configured; the first test that asks for the farm sets it up.

use std::ffi::OsStr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything the farm may take to be whole again; not a figure that is measured.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host(pub &'static str);

pub const SCHEDULER: Host = Host("scheduler");
pub const BUILDERS: [Host; 2] = [Host("builder1"), Host("builder2")];
pub const CLIENT: Host = Host("client");

impl Host {
    /// Runs a shell script as root.
    pub fn run(self, script: &str) -> Ran {
        Ran::new(script, switch(["run", self.0, "sh", "-c", script]).output())
    }

    /// Runs a shell script as `dev`, in the session of that user's systemd.
    pub fn dev(self, script: &str) -> Ran {
        Ran::new(script, self.dev_command(script).output())
    }

    /// Starts a shell script as `dev` and leaves it running.
    pub fn start_dev(self, script: &str) -> Child {
        self.dev_command(script).stdout(Stdio::null()).spawn().expect("the host script runs")
    }

    fn dev_command(self, script: &str) -> Command {
        switch(["as", "dev", self.0, "bash", "-c", script])
    }

    pub fn pull_cable(self) {
        assert!(switch(["cut", self.0]).status().expect("the host script runs").success());
    }

    pub fn plug_cable(self) {
        assert!(switch(["mend", self.0]).status().expect("the host script runs").success());
    }

    /// A property of one of farcc's objects on this machine's system bus, as JSON.
    pub fn property(self, name: &str, property: &str) -> serde_json::Value {
        self.run(&get_property("", name, property)).json()["data"].take()
    }

    /// The same on the session bus of `dev`.
    pub fn dev_property(self, name: &str, property: &str) -> serde_json::Value {
        self.dev(&get_property("--user", name, property)).json()["data"].take()
    }

    /// Where the journal stands now, for `since`.
    pub fn journal_cursor(self) -> String {
        let shown = self.run("journalctl -n 0 --show-cursor -q").ok();
        shown.rsplit("cursor: ").next().unwrap_or_default().trim().to_owned()
    }

    /// Records since a cursor that match journalctl's arguments, oldest first.
    pub fn journal_since(self, cursor: &str, matches: &str) -> Vec<serde_json::Value> {
        let text = self.run(&format!("journalctl --sync; journalctl -q -o json --after-cursor='{cursor}' {matches}")).ok();
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
pub struct Ran {
    script: String,
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
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

    pub fn is_ok(&self) -> bool {
        self.status == Some(0)
    }

    /// What it printed, without the last line end; fails the test if the script failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.is_ok(), "failed: {self:#?}");
        self.stdout.trim_end().to_owned()
    }

    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let script = self.script.clone();
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"))
    }
}

/// Asks again until there is an answer. Bounded by patience, never by a guess of how long something takes.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The farm, for one test at a time; whole when a test gets it.
pub fn farm() -> MutexGuard<'static, Farm> {
    static FARM: Mutex<Option<Farm>> = Mutex::new(None);
    static TURN: Mutex<Farm> = Mutex::new(Farm(()));
    // A test that failed says so itself; the next one finds out whether the farm is whole.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut set_up = FARM.lock().unwrap_or_else(PoisonError::into_inner);
    if set_up.is_none() {
        *set_up = Some(Farm::set_up());
    }
    turn.wait_until_whole();
    turn
}

#[derive(Debug)]
pub struct Farm(());

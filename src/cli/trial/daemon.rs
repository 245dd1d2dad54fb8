//! One daemon of a throwaway farm, from its start to its end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cli::Failure;
use crate::cli::trial::directory::Directory;
use crate::cli::trial::is_interrupted;
use crate::model::exit;
use crate::model::limits::{TRIAL_END_MAX, TRIAL_READY_MAX};
use crate::os::sys::wrapper::{GivenSignals, die_with_this_process};

/// What all daemons of a farm share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) directory: &'a Directory,
    /// As the caller gave them: here they are blocked, and a daemon ends by one of them.
    pub(crate) signals: GivenSignals,
}

/// Ended when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    /// Until it is ready. Then it is closed: nobody reads on, and a full queue would stop the daemon where it tells its status.
    notices: Option<UnixDatagram>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with `config`, and `socket` to listen on, as systemd would do it.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        config: &Path,
        socket: OwnedFd,
        surroundings: &Surroundings<'_>,
    ) -> io::Result<Self> {
        let Surroundings { directory, signals } = *surroundings;
        let log = directory.join(format!("{name}.log"));
        let notify = directory.join(format!("{name}.notify"));
        let notices = UnixDatagram::bind(&notify)?;
        // It may have become another user by the time it has something to say.
        fs::set_permissions(&notify, fs::Permissions::from_mode(0o666))?;
        notices.set_read_timeout(Some(LOOK_EVERY))?;
        let streams: File = OpenOptions::new().append(true).create(true).mode(0o600).open(&log)?;
        let mut command = Command::new("/bin/sh");
        // The shell's number is the daemon's after exec, which nobody else can know beforehand.
        command.args(["-c", "export LISTEN_PID=$$; exec \"$@\" 3<&0 </dev/null", "sh"]);
        command.arg(program).arg("--config").arg(config);
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)));
        let no_bus = format!("unix:path={}", directory.join("no-bus").display());
        command.env("LISTEN_FDS", "1").env("NOTIFY_SOCKET", &notify);
        // The names on the buses are for the farm that may run on this machine already.
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &no_bus).env("DBUS_SESSION_BUS_ADDRESS", &no_bus);
        command.current_dir("/").stdin(Stdio::from(socket)).stdout(streams.try_clone()?).stderr(streams);
        // Ctrl-C is for the command; the daemons end when it has ended.
        command.process_group(0);
        signals.pass_to(&mut command);
        die_with_this_process(&mut command, libc::SIGTERM);
        Ok(Self { name, child: command.spawn()?, notices: Some(notices), log })
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let since = Instant::now();
        let mut notice = [0; NOTICE_BYTES_MAX];
        while let Some(notices) = &self.notices {
            match notices.recv(&mut notice) {
                Ok(bytes) if notice[..bytes].split(|&byte| byte == b'\n').any(|line| line == b"READY=1") => {
                    self.notices = None;
                    return Ok(());
                }
                Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    return Err(self.failure(&format!("cannot be listened to: {error}")));
                }
                _ => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failure(&ended(status)));
            }
            if is_interrupted() {
                return Err(Failure::new(exit::NEGATIVE, "interrupted"));
            }
            if since.elapsed() > TRIAL_READY_MAX {
                return Err(self.failure(&format!("is not ready after {} s", TRIAL_READY_MAX.as_secs())));
            }
        }
        Ok(())
    }

    /// What went wrong, and what the daemon itself says about it.
    fn failure(&self, what: &str) -> Failure {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
        let tail: String = lines.iter().rev().map(|line| format!("\n  {line}")).collect();
        Failure::new(exit::NEGATIVE, format_args!("the {} {what}{tail}", self.name))
    }

    /// Asks it to end, and waits for that; then makes sure.
    fn end(&mut self) -> io::Result<()> {
        let group = Pid::from_child(&self.child);
        let since = Instant::now();
        kill_process_group(group, Signal::TERM).ok();
        while self.child.try_wait()?.is_none() && since.elapsed() < TRIAL_END_MAX {
            std::thread::sleep(LOOK_EVERY / 10);
        }
        // What it has started, and perhaps itself.
        kill_process_group(group, Signal::KILL).ok();
        self.child.wait().map(|_| ())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::cli::say(&format!("cannot end the {}: {error}", self.name));
        }
    }
}

fn ended(status: ExitStatus) -> String {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => match exit::ALL.iter().find(|(known, _)| *known == code) {
            Some((_, meaning)) => format!("ended at once: {meaning} (exit status {code})"),
            None => format!("ended at once (exit status {code})"),
        },
        None => format!("ended at once ({status})"),
    }
}

/// Of the environment; nothing that configures another farcc.
const KEPT: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "TMPDIR"];
/// Between two looks at what else may have happened.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// systemd's own limit for what a service says at once.
const NOTICE_BYTES_MAX: usize = 4096;
/// The last ones say why it ended.
const LOG_LINES_SHOWN: usize = 20;

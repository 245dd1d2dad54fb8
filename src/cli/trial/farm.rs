//! The throwaway farm: its configuration, its three daemons, and how a command gets into it.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::arguments::TryOptions;
use crate::cli::trial::daemon::{Daemon, Surroundings};
use crate::cli::trial::directory::Directory;
use crate::cli::trial::report;
use crate::cli::{Failure, ask};
use crate::engine::config::Secret;
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::os::config::generate_token;
use crate::os::sys::wrapper::GivenSignals;

/// Fields in the order in which they go: the client daemon first, the directory last.
#[derive(Debug)]
pub(crate) struct Farm {
    client: Daemon,
    builder: Daemon,
    scheduler: Daemon,
    socket: PathBuf,
    path: OsString,
    directory: Directory,
}

impl Farm {
    /// Starts all three, each when the one it needs is ready.
    pub(crate) fn start(options: &TryOptions, signals: GivenSignals) -> Result<Self, Failure> {
        let directory = Directory::create(options.keep).map_err(cannot("make a directory"))?;
        let programs = Programs::find()?;
        let plan = Plan::new(&directory, options)?;
        let around = Surroundings { directory: &directory, signals };

        let (socket, address) = loopback()?;
        let scheduler = plan.scheduler(&address)?;
        let mut scheduler = Daemon::start("scheduler", &programs.scheduler, &scheduler, socket, &around)
            .map_err(cannot("start the scheduler"))?;
        scheduler.wait_until_ready()?;

        let (socket, builder_address) = loopback()?;
        let builder = plan.builder(&builder_address, &address)?;
        let mut builder = Daemon::start("builder", &programs.builder, &builder, socket, &around)
            .map_err(cannot("start the builder"))?;
        builder.wait_until_ready()?;

        let client = plan.client(&address)?;
        let path = directory.join("client.sock");
        let socket = UnixListener::bind(&path).map_err(cannot("make a socket"))?;
        let mut client = Daemon::start("client", &programs.client, &client, socket.into(), &around)
            .map_err(cannot("start the client daemon"))?;
        client.wait_until_ready()?;

        let command_path = command_path(&directory, &programs)?;
        Ok(Self { client, builder, scheduler, socket: path, path: command_path, directory })
    }

    /// Makes `command` use this farm and no other.
    pub(crate) fn enter(&self, command: &mut Command) {
        command.env("PATH", &self.path).env("FARCC_SOCKET", &self.socket);
        command.env_remove("FARCC_DISABLE");
    }

    /// What happened to each unit, for people.
    pub(crate) fn report(&self) -> Result<String, Failure> {
        let sockets = [self.socket.clone()];
        let units = ask::read::<Vec<_>>(&ask::ask_at(&sockets, Question::History)?)?;
        let stats = ask::read(&ask::ask_at(&sockets, Question::Stats)?)?;
        Ok(report::render(&units, &stats))
    }

    /// Ends the daemons, each before the one it needs, and removes what they leave.
    pub(crate) fn take_down(self) {
        let Self { client, builder, scheduler, directory, .. } = self;
        drop(client);
        drop(builder);
        drop(scheduler);
        drop(directory);
    }
}

/// Configuration files, in the words of the documentation.
struct Plan<'a> {
    directory: &'a Directory,
    slots: Option<u32>,
    log: &'static str,
    client_token: Secret,
    builder_token: Secret,
}

impl<'a> Plan<'a> {
    fn new(directory: &'a Directory, options: &TryOptions) -> Result<Self, Failure> {
        let token = || generate_token().map_err(cannot("draw a token"));
        Ok(Self {
            directory,
            slots: options.slots,
            log: if options.keep { "debug" } else { "info" },
            client_token: token()?,
            builder_token: token()?,
        })
    }

    fn scheduler(&self, address: &str) -> Result<PathBuf, Failure> {
        let user = Some("farcc-scheduler");
        let state = self.private("scheduler", user)?;
        self.write(
            "scheduler.toml",
            user,
            &format!(
                "public_addr = \"{address}\"\nstate_dir = {state:?}\nlog = \"{}\"\n\n\
                 [client_auth]\ntype = \"token\"\ntoken = \"{}\"\n\n[server_auth]\ntype = \"token\"\ntoken = \"{}\"\n",
                self.log,
                self.client_token.expose(),
                self.builder_token.expose()
            ),
        )
    }

    fn builder(&self, address: &str, scheduler: &str) -> Result<PathBuf, Failure> {
        let user = Some("farcc-builder");
        let state = self.private("builder", user)?;
        let slots = self.slots.map(|slots| format!("slots = {slots}\n")).unwrap_or_default();
        self.write(
            "builder.toml",
            user,
            &format!(
                "scheduler_url = \"https://{scheduler}\"\npublic_addr = \"{address}\"\nname = \"builder\"\n{slots}\
                 state_dir = {state:?}\ncache_dir = {:?}\nlog = \"{}\"\n\n\
                 [scheduler_auth]\ntype = \"token\"\ntoken = \"{}\"\n",
                state.join("cache"),
                self.log,
                self.builder_token.expose()
            ),
        )
    }

    /// No local slots: what is compiled here shows a reason, not a choice.
    fn client(&self, scheduler: &str) -> Result<PathBuf, Failure> {
        self.write(
            "client.toml",
            None,
            &format!(
                "local_slots = 0\nstate_dir = {:?}\nlog = \"{}\"\n\n\
                 [dist]\nscheduler_url = \"https://{scheduler}\"\n\n[dist.auth]\ntype = \"token\"\ntoken = \"{}\"\n",
                self.private("client", None)?,
                self.log,
                self.client_token.expose()
            ),
        )
    }

    fn private(&self, name: &str, user: Option<&str>) -> Result<PathBuf, Failure> {
        self.directory.private(name, user).map_err(cannot("make a directory"))
    }

    fn write(&self, name: &str, user: Option<&str>, text: &str) -> Result<PathBuf, Failure> {
        self.directory.write(name, user, text).map_err(cannot("write a configuration file"))
    }
}

/// Our other programs: beside this one, or where packages have them.
struct Programs {
    wrapper: PathBuf,
    control: PathBuf,
    client: PathBuf,
    scheduler: PathBuf,
    builder: PathBuf,
}

impl Programs {
    fn find() -> Result<Self, Failure> {
        let control = std::env::current_exe().map_err(cannot("tell where this program is"))?;
        let beside = control.parent().unwrap_or(Path::new("/"));
        let places = [beside.to_owned(), beside.join("../libexec/farcc"), PathBuf::from("/usr/libexec/farcc")];
        let find = |name: &str| {
            let found = places.iter().map(|place| place.join(name)).find(|program| program.is_file());
            found.ok_or_else(|| {
                Failure::new(
                    exit::NEGATIVE,
                    format_args!("{name} is not installed: it is not beside {}", control.display()),
                )
            })
        };
        Ok(Self {
            wrapper: find("farcc")?,
            client: find("farcc-clientd")?,
            scheduler: find("farcc-schedulerd")?,
            builder: find("farcc-builderd")?,
            control: control.clone(),
        })
    }
}

/// `PATH` with compilers in front that are farcc.
fn command_path(directory: &Directory, programs: &Programs) -> Result<OsString, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let ours = [programs.wrapper.clone(), programs.control.clone()];
    let bin = directory.link_compilers(COMPILERS, &path, &ours).map_err(cannot("link compilers"))?;
    let mut in_front = OsString::from(bin);
    in_front.push(":");
    in_front.push(path);
    Ok(in_front)
}

/// A socket on this machine alone, at a port that is free.
fn loopback() -> Result<(OwnedFd, String), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(cannot("listen on 127.0.0.1"))?;
    let address = listener.local_addr().map_err(cannot("listen on 127.0.0.1"))?.to_string();
    Ok((listener.into(), address))
}

fn cannot<E: Display>(what: &str) -> impl Fn(E) -> Failure {
    move |error| Failure::new(exit::DIRECTORY, format_args!("cannot {what}: {error}"))
}

/// Names that builds call compilers by.
pub(crate) const COMPILERS: &[&str] = &["cc", "c++", "gcc", "g++", "clang", "clang++"];

//! The client daemon of one user: decides where wrappers' units are compiled, and sends those that are not compiled here.

use std::path::PathBuf;
use std::process::ExitCode;

use farcc::daemon::client::{self, Setup};
use farcc::daemon::link::Uplink;
use farcc::daemon::pulse::Pulse;
use farcc::daemon::reload::Reload;
use farcc::daemon::start::{self, Arguments, Failure};
use farcc::model::exit;
use farcc::model::id::Instance;
use farcc::model::limits::CLIENT_IDLE_MAX;
use farcc::os::bus::{self, Bus, ClientOrder, orders};
use farcc::os::config::{self, Sources};
use farcc::os::local::SocketPlaces;
use farcc::os::net::Identity;
use farcc::os::process::privileges;
use farcc::os::systemd::{activation, journal};
use tokio::net::UnixListener;
use tokio::sync::watch;

fn main() -> ExitCode {
    start::main("farcc-clientd", run)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let sources = Sources::here(arguments.config);
    let loaded = config::load_client(&sources).map_err(Failure::with(exit::CONFIGURATION))?;
    let config = loaded.config;
    let listeners = activation::unix_listeners(&socket_path()).map_err(Failure::with(exit::LISTEN))?;
    privileges::drop_all().map_err(Failure::with(exit::ROOT))?;
    start::raise_descriptor_limit();
    let log = journal::start("farcc-clientd", config.log).map_err(Failure::with(exit::INTERNAL))?;
    start::log_warnings(&loaded.warnings);
    start::block_on(start::BLOCKING_THREADS, async move {
        let (snapshot, watched) = watch::channel(Default::default());
        let (order, orders) = orders();
        start::reload_at_hangup(order.clone(), ClientOrder::Reload)?;
        let reload = Some(Reload::new(sources, log.clone(), &config));
        let serving = tokio::spawn(bus::serve_client(Bus::Session, watched, order, log));
        let setup = Setup {
            listeners: start::listening(listeners, UnixListener::from_std)?,
            // Nobody remembers a client: a new daemon is a new one.
            identity: Identity::ephemeral().map_err(Failure::with(exit::INTERNAL))?,
            instance: Instance(u64::from_ne_bytes(farcc::os::random::bytes())),
            name: config.name,
            architecture: start::architecture(),
            scheduler: config.scheduler.map(Uplink::from),
            local_slots: config.local_slots,
            no_dist: config.no_dist,
            path_override: config.path_override,
            processors: start::processors(),
            idle_exit: Some(CLIENT_IDLE_MAX),
            state_dir: config.state_dir,
            snapshot,
            orders,
            reload,
            pulse: Pulse::from_environment(),
        };
        let outcome = client::run(setup, start::shutdown()?).await.map_err(Failure::with(exit::INTERNAL));
        serving.abort();
        outcome
    })
}

/// Where wrappers look, for a daemon that nobody hands a socket.
fn socket_path() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    SocketPlaces::new(variable("FARCC_SOCKET"), variable("XDG_RUNTIME_DIR")).candidates.swap_remove(0)
}

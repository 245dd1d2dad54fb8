//! The scheduler: grants leases on builders' slots.

use std::process::ExitCode;

use farcc::daemon::pulse::Pulse;
use farcc::daemon::reload::Reload;
use farcc::daemon::scheduler::{self, Drained, Setup};
use farcc::daemon::start::{self, Arguments, Failure};
use farcc::model::exit;
use farcc::model::id::Instance;
use farcc::os::bus::{self, Bus, SchedulerOrder, orders};
use farcc::os::config::{self, Sources};
use farcc::os::net::Identity;
use farcc::os::process::privileges;
use farcc::os::systemd::{activation, journal};
use tokio::net::TcpListener;
use tokio::sync::watch;

fn main() -> ExitCode {
    start::main("farcc-schedulerd", run)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let sources = Sources::here(arguments.config);
    let loaded = config::load_scheduler(&sources).map_err(Failure::with(exit::CONFIGURATION))?;
    let config = loaded.config;
    let listeners = activation::tcp_listeners(&config.public_addr).map_err(Failure::with(exit::LISTEN))?;
    privileges::leave_root(&config.user).map_err(Failure::with(exit::ROOT))?;
    privileges::drop_all().and_then(|()| privileges::seal()).map_err(Failure::with(exit::ROOT))?;
    let log = journal::start("farcc-schedulerd", config.log).map_err(Failure::with(exit::INTERNAL))?;
    start::log_warnings(&loaded.warnings);
    let identity = Identity::load_or_create(&config.state_dir).map_err(Failure::with(exit::DIRECTORY))?;
    let tokens = config::scheduler_tokens(&config).map_err(Failure::with(exit::CONFIGURATION))?;
    let drained = Drained::load(&config.state_dir).map_err(Failure::with(exit::DIRECTORY))?;
    start::block_on(start::BLOCKING_THREADS, async move {
        let (snapshot, watched) = watch::channel(Default::default());
        let (order, orders) = orders();
        start::reload_at_hangup(order.clone(), SchedulerOrder::Reload)?;
        let reload = Some(Reload::new(sources, log.clone(), &config));
        let serving = tokio::spawn(bus::serve_scheduler(Bus::System, watched, order, log));
        let setup = Setup {
            listeners: start::listening(listeners, TcpListener::from_std)?,
            identity,
            client_secret: tokens.client.expose().to_owned(),
            builder_secret: tokens.builder.expose().to_owned(),
            instance: Instance(u64::from_ne_bytes(farcc::os::random::bytes())),
            snapshot,
            orders,
            reload,
            drained,
            pulse: Pulse::from_environment(),
        };
        let outcome = scheduler::run(setup, start::shutdown()?).await.map_err(Failure::with(exit::INTERNAL));
        serving.abort();
        outcome
    })
}

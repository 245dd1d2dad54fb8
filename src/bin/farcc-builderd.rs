//! A builder: compiles for others, in a sandbox.

use std::process::ExitCode;
use std::sync::Arc;

use farcc::daemon::builder::{self, Patience, RunError, Setup};
use farcc::daemon::pulse::Pulse;
use farcc::daemon::reload::Reload;
use farcc::daemon::start::{self, Arguments, Failure};
use farcc::engine::config::HostPort;
use farcc::model::exit;
use farcc::model::limits::{SHORT_WORK_THREADS, UPLOADS_MAX};
use farcc::os::bus::{self, BuilderOrder, Bus, orders};
use farcc::os::config::{self, Sources};
use farcc::os::net::Identity;
use farcc::os::process::privileges;
use farcc::os::sandbox::{Helper, HelperSettings, Workshop, WorkshopSettings};
use farcc::os::systemd::{activation, journal};
use farcc::os::toolchain::ToolchainStore;
use tokio::net::TcpListener;
use tokio::sync::watch;

fn main() -> ExitCode {
    start::main("farcc-builderd", run)
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let sources = Sources::here(arguments.config);
    let loaded = config::load_builder(&sources).map_err(Failure::with(exit::CONFIGURATION))?;
    let config = loaded.config;
    let listeners = activation::tcp_listeners(&config.bind_address).map_err(Failure::with(exit::LISTEN))?;
    let port = start::port_of(&listeners, config.bind_address.port);
    privileges::leave_root(&config.user).map_err(Failure::with(exit::ROOT))?;
    // The helper keeps what mounting needs; this half gives it up before it hears from anybody.
    let bwrap = config.bwrap_path.clone().unwrap_or_else(|| "/usr/bin/bwrap".into());
    let helper = Helper::fork(HelperSettings { bwrap, stacking: None, slots: config.slots as usize })
        .map_err(Failure::with(exit::SANDBOX))?;
    privileges::drop_all().and_then(|()| privileges::seal()).map_err(Failure::with(exit::ROOT))?;
    let log = journal::start("farcc-builderd", config.log).map_err(Failure::with(exit::INTERNAL))?;
    start::log_warnings(&loaded.warnings);
    let identity = Identity::load_or_create(&config.state_dir).map_err(Failure::with(exit::DIRECTORY))?;
    start::make_directory(&config.build_dir)?;
    start::make_directory(&config.cache_dir)?;
    let settings = WorkshopSettings { input_cache_bytes: config.input_cache_bytes };
    let workshop = Workshop::open(&config.build_dir, Arc::new(helper), &settings);
    let workshop = workshop.map_err(Failure::with(exit::DIRECTORY))?;
    let facts = workshop.check().map_err(Failure::with(exit::SANDBOX))?;
    tracing::debug!(?facts, "sandbox works");
    let toolchains = ToolchainStore::open(&config.cache_dir.join("toolchains"), config.toolchain_cache_bytes)
        .map_err(Failure::with(exit::DIRECTORY))?;
    // So many can be ordered later without a restart.
    let slots_max = config.slots.max(start::processors());
    let n_blocking = slots_max as usize + UPLOADS_MAX + SHORT_WORK_THREADS;
    start::block_on(n_blocking, async move {
        let (snapshot, watched) = watch::channel(Default::default());
        let (order, orders) = orders();
        start::reload_at_hangup(order.clone(), BuilderOrder::Reload)?;
        let reload = Some(Reload::new(sources, log.clone(), &config));
        let serving = tokio::spawn(bus::serve_builder(Bus::System, watched, order, log));
        let setup = Setup {
            listeners: start::listening(listeners, TcpListener::from_std)?,
            identity,
            name: config.name,
            slots: config.slots,
            slots_max,
            addresses: vec![
                config.public_addr.map_or_else(|| format!(":{port}"), |address: HostPort| address.to_string()),
            ],
            architecture: start::architecture(),
            scheduler: config.scheduler.into(),
            workshop: Arc::new(workshop),
            toolchains: Arc::new(toolchains),
            snapshot,
            orders,
            reload,
            patience: Patience::default(),
            pulse: Pulse::from_environment(),
        };
        let outcome = builder::run(setup, start::shutdowns()?).await;
        let outcome = outcome.map_err(|error| match error {
            RunError::HelperEnded => Failure::new(exit::SANDBOX, error),
            RunError::Tls(_) | RunError::Watch(_) => Failure::with(exit::INTERNAL)(error),
        });
        serving.abort();
        outcome
    })
}

//! Keeps an object on its bus: connects, serves, tells of changes, and starts over when the bus goes away.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use tracing::debug;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::object_server::{Interface, InterfaceRef};
use zbus::{Connection, OwnedVariant, fdo};

use crate::model::limits::{BUS_CHANGES_EVERY, BUS_RETRY_FIRST, BUS_RETRY_MAX};
use crate::os::bus::log_control::LogControl;
use crate::os::bus::names::{LOG_CONTROL_PATH, Names};

/// Which bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bus {
    System,
    Session,
    /// As D-Bus writes addresses: `unix:path=…`.
    Address(String),
}

/// Keeps `object` and `log` on `bus` under `names` for as long as the future is polled. Never ends, and never fails: a daemon
/// without a bus does everything else it does.
pub async fn serve<I, S>(bus: Bus, names: Names, object: I, log: LogControl, snapshot: watch::Receiver<S>) -> Infallible
where
    I: Interface + Clone,
    S: Send + Sync + 'static,
{
    let mut pause = BUS_RETRY_FIRST;
    loop {
        match connect(&bus).await {
            Ok(connection) => match publish(&connection, names, object.clone(), log.clone(), snapshot.clone()).await {
                Ok(()) => {
                    debug!("the bus closed the connection of {}", names.name);
                    pause = BUS_RETRY_FIRST;
                }
                Err(error) => debug!("cannot serve {}: {error}", names.name),
            },
            Err(error) => debug!("no bus for {}: {error}", names.name),
        }
        sleep(pause).await;
        pause = longer(pause);
    }
}

/// Serves on `connection` until it closes. Objects come first and the name last, so that whoever waits for the name finds them.
///
/// # Errors
/// Where the name belongs to somebody else, or may not be had.
pub async fn publish<I, S>(
    connection: &Connection,
    names: Names,
    object: I,
    log: LogControl,
    snapshot: watch::Receiver<S>,
) -> zbus::Result<()>
where
    I: Interface,
    S: Send + Sync + 'static,
{
    let server = connection.object_server();
    server.at(names.path, object).await?;
    server.at(LOG_CONTROL_PATH, log).await?;
    if connection.is_bus() {
        connection.request_name_with_flags(names.name, RequestNameFlags::DO_NOT_QUEUE).await?;
    }
    let served: InterfaceRef<I> = server.interface(names.path).await?;
    tokio::select! {
        () = connection.closed() => Ok(()),
        ended = tell_of_changes(connection, &served, snapshot) => ended,
    }
}

/// Everything an object shows, for scripts that want one call.
pub(super) fn describe(snapshot: &impl Serialize) -> fdo::Result<String> {
    serde_json::to_string(snapshot).map_err(|error| fdo::Error::Failed(error.to_string()))
}

async fn connect(bus: &Bus) -> zbus::Result<Connection> {
    let builder = match bus {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
        Bus::Address(address) => Builder::address(address.as_str()),
    };
    builder.build().await
}

/// Sends `PropertiesChanged` with all that differs from what was told before, in one signal, at a bounded rate.
async fn tell_of_changes<I: Interface, S>(
    connection: &Connection,
    served: &InterfaceRef<I>,
    mut snapshot: watch::Receiver<S>,
) -> zbus::Result<()> {
    let mut told = properties(connection, served).await?;
    while snapshot.changed().await.is_ok() {
        let next = tokio::time::Instant::now() + BUS_CHANGES_EVERY;
        let now = properties(connection, served).await?;
        let changed: HashMap<&str, &OwnedVariant> = now
            .iter()
            .filter(|(name, value)| told.get(*name) != Some(*value))
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        if !changed.is_empty() {
            let body = (I::name(), changed, Vec::<&str>::new());
            let path = served.signal_emitter().path();
            connection
                .emit_signal(None::<&str>, path, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body)
                .await?;
        }
        told = now;
        sleep_until(next).await;
    }
    // The daemon dropped its end: it is stopping. The objects stay until it is gone.
    std::future::pending().await
}

async fn properties<I: Interface>(
    connection: &Connection,
    served: &InterfaceRef<I>,
) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let emitter = served.signal_emitter();
    Ok(served.get().await.get_all(connection.object_server(), connection, None, emitter).await?)
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(BUS_RETRY_MAX)
}

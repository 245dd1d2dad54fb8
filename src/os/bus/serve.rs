//! Keeps an object on its bus: connects, serves, tells of changes, and starts over when the bus goes away.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use tracing::debug;
use zbus::connection::Builder;
use zbus::fdo::{ObjectManager, RequestNameFlags};
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

/// What a daemon shows: one object, and below it one for each part of it that comes and goes.
pub trait Face: Interface + Clone {
    type Snapshot: Send + Sync + 'static;
    /// An object that shows one part, by whatever the snapshot says of it at the time.
    type Part: Interface;

    /// The parts that there are now, by their paths below the daemon's own.
    fn parts(&self, snapshot: &Self::Snapshot) -> BTreeMap<String, Self::Part>;
}

/// Keeps `face` and `log` on `bus` under `names` for as long as the future is polled. Never ends, and never fails: a daemon
/// without a bus does everything else it does.
pub async fn serve<F: Face>(
    bus: Bus,
    names: Names,
    face: F,
    log: LogControl,
    snapshot: watch::Receiver<F::Snapshot>,
) -> Infallible {
    let mut pause = BUS_RETRY_FIRST;
    loop {
        match connect(&bus).await {
            Ok(connection) => match publish(&connection, names, face.clone(), log.clone(), snapshot.clone()).await {
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
pub async fn publish<F: Face>(
    connection: &Connection,
    names: Names,
    face: F,
    log: LogControl,
    snapshot: watch::Receiver<F::Snapshot>,
) -> zbus::Result<()> {
    let server = connection.object_server();
    server.at(names.path, ObjectManager).await?;
    server.at(names.path, face.clone()).await?;
    server.at(LOG_CONTROL_PATH, log).await?;
    let mut shown =
        Shown { connection, names, face, told: Told::of(connection, names.path).await?, parts: BTreeMap::new() };
    shown.follow(&snapshot).await?;
    if connection.is_bus() {
        connection.request_name_with_flags(names.name, RequestNameFlags::DO_NOT_QUEUE).await?;
    }
    tokio::select! {
        () = connection.closed() => Ok(()),
        ended = keep_telling(shown, snapshot) => ended,
    }
}

/// Everything an object shows, for scripts that want one call.
pub(super) fn describe(snapshot: &impl Serialize) -> fdo::Result<String> {
    serde_json::to_string(snapshot).map_err(|error| fdo::Error::Failed(error.to_string()))
}

/// A name as an element of a path, which takes letters, digits and `_`: other bytes become `_` and two digits, as systemd does it.
pub(super) fn path_element(name: &str) -> String {
    let element = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("_{byte:02x}"),
    };
    if name.is_empty() { "_".to_owned() } else { name.bytes().map(element).collect() }
}

async fn connect(bus: &Bus) -> zbus::Result<Connection> {
    let builder = match bus {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
        Bus::Address(address) => Builder::address(address.as_str()),
    };
    builder.build().await
}

/// Follows the daemon's snapshots at a bounded rate.
async fn keep_telling<F: Face>(
    mut shown: Shown<'_, F>,
    mut snapshot: watch::Receiver<F::Snapshot>,
) -> zbus::Result<()> {
    while snapshot.changed().await.is_ok() {
        let next = tokio::time::Instant::now() + BUS_CHANGES_EVERY;
        snapshot.borrow_and_update();
        shown.follow(&snapshot).await?;
        sleep_until(next).await;
    }
    // The daemon dropped its end: it is stopping. The objects stay until it is gone.
    std::future::pending().await
}

/// What is on the bus.
struct Shown<'a, F: Face> {
    connection: &'a Connection,
    names: Names,
    face: F,
    told: Told<F>,
    parts: BTreeMap<String, Told<F::Part>>,
}

impl<F: Face> Shown<'_, F> {
    /// Tells of all that has changed, and adds and removes parts, of which the object manager tells.
    async fn follow(&mut self, snapshot: &watch::Receiver<F::Snapshot>) -> zbus::Result<()> {
        self.told.tell(self.connection).await?;
        let now = self.face.parts(&snapshot.borrow());
        let server = self.connection.object_server();
        let path = |part: &str| format!("{}/{part}", self.names.path);
        let gone: Vec<String> = self.parts.keys().filter(|part| !now.contains_key(*part)).cloned().collect();
        for part in gone {
            self.parts.remove(&part);
            server.remove::<F::Part, _>(path(&part)).await?;
        }
        for (part, object) in now {
            match self.parts.get_mut(&part) {
                Some(told) => told.tell(self.connection).await?,
                None => {
                    server.at(path(&part), object).await?;
                    let told = Told::of(self.connection, &path(&part)).await?;
                    self.parts.insert(part, told);
                }
            }
        }
        Ok(())
    }
}

/// One interface of one object, and what the bus knows of its properties.
struct Told<I: Interface> {
    served: InterfaceRef<I>,
    values: HashMap<String, OwnedVariant>,
}

impl<I: Interface> Told<I> {
    async fn of(connection: &Connection, path: &str) -> zbus::Result<Self> {
        let served = connection.object_server().interface(path).await?;
        let values = properties(connection, &served).await?;
        Ok(Self { served, values })
    }

    /// Sends `PropertiesChanged` with all that differs from what was told before, in one signal.
    async fn tell(&mut self, connection: &Connection) -> zbus::Result<()> {
        let now = properties(connection, &self.served).await?;
        let changed: HashMap<&str, &OwnedVariant> = now
            .iter()
            .filter(|(name, value)| self.values.get(*name) != Some(*value))
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        if !changed.is_empty() {
            let body = (I::name(), changed, Vec::<&str>::new());
            let path = self.served.signal_emitter().path();
            connection
                .emit_signal(None::<&str>, path, "org.freedesktop.DBus.Properties", "PropertiesChanged", &body)
                .await?;
        }
        self.values = now;
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::path_element;

    #[test]
    fn names_become_path_elements() {
        let of = |name: &str| path_element(name);
        assert_eq!(
            [of("oak"), of("build-1.example"), of("é"), of("")],
            ["oak", "build_2d1_2eexample", "_c3_a9", "_"].map(str::to_owned)
        );
    }
}

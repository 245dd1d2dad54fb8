//! The objects on D-Bus: over a socket pair, and over a real bus that comes and goes.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be set up has failed")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use farcc::engine::config::LogLevel;
use farcc::model::report::BuilderReport;
use farcc::os::bus::{
    self, BuilderObject, BuilderSnapshot, Bus, BusCommand, ClientObject, ClientSnapshot, LOG_CONTROL_PATH, LogControl,
    Names, SchedulerObject, SchedulerSnapshot,
};
use farcc::os::systemd::journal::{self, LogHandle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::InterfaceName;
use zbus::object_server::Interface;
use zbus::{Connection, Guid, Message, MessageStream, OwnedVariant};

// One a process: records can be sent on their way only once.
fn log() -> LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| journal::start("farcc-test", LogLevel::Info).unwrap()).clone()
}

/// Both ends of a connection without a bus.
async fn pair() -> (Connection, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let guid = Guid::generate();
    let server = Builder::unix_stream(ours).server(guid).p2p().build();
    let client = Builder::unix_stream(theirs).p2p().build();
    let (server, client) = tokio::join!(server, client);
    (server.unwrap(), client.unwrap())
}

/// Serves over a socket pair; returns once the object answers.
async fn served<I: Interface + Clone, S: Send + Sync + 'static>(
    names: Names,
    object: I,
    snapshot: watch::Receiver<S>,
) -> (Connection, JoinHandle<()>) {
    let (server, client) = pair().await;
    let task = tokio::spawn(async move {
        bus::publish(&server, names, object, LogControl::new(log()), snapshot).await.unwrap();
    });
    while call(&client, names, "org.freedesktop.DBus.Peer", "Ping").await.is_err() {
        tokio::task::yield_now().await;
    }
    while call(&client, names, names.name, "Describe").await.is_err() {
        tokio::task::yield_now().await;
    }
    (client, task)
}

async fn call(connection: &Connection, names: Names, interface: &str, method: &str) -> zbus::Result<Message> {
    let destination = connection.is_bus().then_some(names.name);
    connection.call_method(destination, names.path, Some(interface), method, &()).await
}

async fn properties(connection: &Connection, names: Names) -> HashMap<String, OwnedVariant> {
    let proxy = PropertiesProxy::builder(connection).destination(names.name).path(names.path).build().await.unwrap();
    proxy.get_all(InterfaceName::try_from(names.name).unwrap()).await.unwrap()
}

fn builder_snapshot() -> BuilderSnapshot {
    BuilderSnapshot {
        version: "1.2.3".into(),
        name: "oak".into(),
        state: "ready".into(),
        scheduler: "farm:10600".into(),
        connection: "connected".into(),
        slots_total: 8,
        slots_used: 5,
        toolchains: vec!["abc".into()],
        ..BuilderSnapshot::default()
    }
}

fn builder() -> (BuilderObject, watch::Sender<BuilderSnapshot>, mpsc::Receiver<BusCommand>) {
    let (publish, snapshot) = watch::channel(builder_snapshot());
    let (commands, received) = bus::commands();
    (BuilderObject::new(snapshot, commands), publish, received)
}

#[tokio::test]
async fn a_builder_shows_what_it_published_and_takes_commands() {
    let (object, publish, mut commands) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;

    let shown = properties(&client, bus::BUILDER).await;
    assert_eq!(u32::try_from(shown["SlotsTotal"].clone()).unwrap(), 8);
    assert_eq!(String::try_from(shown["SchedulerConnection"].clone()).unwrap(), "connected");
    assert_eq!(Vec::<String>::try_from(shown["Toolchains"].clone()).unwrap(), ["abc"]);

    let described: String =
        call(&client, bus::BUILDER, bus::BUILDER.name, "Describe").await.unwrap().body().deserialize().unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!((&described["name"], &described["slots_used"]), (&"oak".into(), &5.into()));

    call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await.unwrap();
    call(&client, bus::BUILDER, bus::BUILDER.name, "Resume").await.unwrap();
    assert_eq!((commands.recv().await, commands.recv().await), (Some(BusCommand::Drain), Some(BusCommand::Resume)));
}

#[tokio::test]
async fn commands_that_nobody_takes_are_refused_and_not_queued_for_ever() {
    let (object, publish, commands) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;
    let mut refused = None;
    for _ in 0..100 {
        if let Err(error) = call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await {
            refused = Some(error.to_string());
            break;
        }
    }
    assert!(refused.as_ref().is_some_and(|error| error.contains("LimitsExceeded")), "{refused:?}");
    drop(commands);
    let stopped = call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await.unwrap_err();
    assert!(stopped.to_string().contains("the daemon is stopping"), "{stopped}");
}

#[tokio::test]
async fn changes_are_told_together_and_only_those() {
    let (object, publish, _commands) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;
    let mut messages = MessageStream::from(&client);
    publish.send_modify(|snapshot| {
        snapshot.slots_used = 6;
        snapshot.jobs_completed = 1;
    });
    let changed = loop {
        let message = next(&mut messages).await;
        if message.header().member().is_some_and(|member| member == "PropertiesChanged") {
            let body: (String, HashMap<String, OwnedVariant>, Vec<String>) = message.body().deserialize().unwrap();
            break body;
        }
    };
    let mut names: Vec<_> = changed.1.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        (changed.0.as_str(), names, changed.2.len()),
        ("org.farcc.Builder1", vec!["JobsCompleted", "SlotsUsed"], 0)
    );
}

#[tokio::test]
async fn scheduler_and_client_show_their_counts() {
    let builder =
        BuilderReport { name: "oak".into(), slots: 8, leased: 3, state: "ready".into(), ..Default::default() };
    let snapshot = SchedulerSnapshot { builders: vec![builder], clients: 2, queued: 7, ..Default::default() };
    let (publish, snapshot) = watch::channel(snapshot);
    let object = SchedulerObject::new(snapshot);
    let (client, _task) = served(bus::SCHEDULER, object, publish.subscribe()).await;
    let shown = properties(&client, bus::SCHEDULER).await;
    assert_eq!(u32::try_from(shown["BuilderCount"].clone()).unwrap(), 1);
    assert_eq!(u32::try_from(shown["ClientCount"].clone()).unwrap(), 2);
    assert_eq!(u32::try_from(shown["SlotsQueued"].clone()).unwrap(), 7);

    let mut snapshot = ClientSnapshot::default();
    snapshot.stats.remote = 41;
    snapshot.stats.reasons.insert("incbin".into(), 3);
    let (publish, snapshot) = watch::channel(snapshot);
    let object = ClientObject::new(snapshot);
    let (client, _task) = served(bus::CLIENT, object, publish.subscribe()).await;
    let shown = properties(&client, bus::CLIENT).await;
    assert_eq!(u64::try_from(shown["Remote"].clone()).unwrap(), 41);
    assert_eq!(
        HashMap::<String, u64>::try_from(shown["Reasons"].clone()).unwrap(),
        HashMap::from([("incbin".into(), 3)])
    );
}

#[tokio::test]
async fn the_log_level_is_changed_in_syslogs_words() {
    let (object, publish, _commands) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;
    let interface = InterfaceName::try_from("org.freedesktop.LogControl1").unwrap();
    let proxy =
        PropertiesProxy::builder(&client).destination(bus::BUILDER.name).path(LOG_CONTROL_PATH).build().await.unwrap();
    proxy.set(interface.clone(), "LogLevel", &"debug".into()).await.unwrap();
    assert_eq!(log().level(), LogLevel::Debug);
    proxy.set(interface.clone(), "LogLevel", &"info".into()).await.unwrap();
    assert_eq!(log().level(), LogLevel::Info);
    let refused = proxy.set(interface.clone(), "LogLevel", &"loud".into()).await.unwrap_err();
    assert!(refused.to_string().contains("`loud` is no log level"), "{refused}");
    let refused = proxy.set(interface, "LogTarget", &"syslog".into()).await.unwrap_err();
    assert!(refused.to_string().contains("and not to syslog"), "{refused}");
}

#[tokio::test]
async fn a_bus_that_goes_away_and_comes_back_changes_nothing_for_the_daemon() {
    let directory = public_directory();
    let address = format!("unix:path={}", directory.path().join("bus").display());
    let publish = watch::channel(builder_snapshot()).0;
    let (commands, _received) = bus::commands();
    let names = bus::BUILDER;
    // No bus yet: the daemon has to live with that.
    let task = tokio::spawn(bus::serve_builder(Bus::Address(address.clone()), publish.subscribe(), commands, log()));
    for slots_used in [1, 2] {
        let daemon = BusDaemon::start(directory.path());
        publish.send_modify(|snapshot| snapshot.slots_used = slots_used);
        let client = Builder::address(address.as_str()).build().await.unwrap();
        wait_for_name(&client, names.name).await;
        let shown = properties(&client, names).await;
        assert_eq!(u32::try_from(shown["SlotsUsed"].clone()).unwrap(), slots_used);
        drop(daemon);
        client.closed().await;
        assert!(!task.is_finished());
    }
}

#[tokio::test]
async fn others_may_look_and_not_touch() {
    let directory = public_directory();
    let _daemon = BusDaemon::start(directory.path());
    let address = format!("unix:path={}", directory.path().join("bus").display());
    let publish = watch::channel(builder_snapshot()).0;
    let (sender, mut commands) = bus::commands();
    let names = bus::BUILDER;
    let _task = tokio::spawn(bus::serve_builder(Bus::Address(address.clone()), publish.subscribe(), sender, log()));
    let client = Builder::address(address.as_str()).build().await.unwrap();
    wait_for_name(&client, names.name).await;

    let as_owner = send(&address, None, "org.farcc.Builder1.Drain").await;
    assert!(as_owner.contains("method return"), "{as_owner}");
    assert_eq!(commands.recv().await, Some(BusCommand::Drain));

    // Only root can become somebody else.
    if rustix::process::geteuid().is_root() {
        let described = send(&address, Some(65534), "org.farcc.Builder1.Describe").await;
        assert!(described.contains("\"name\":\"oak\"") || described.contains("\\\"oak\\\""), "{described}");
        for method in ["Drain", "Resume"] {
            let denied = send(&address, Some(65534), &format!("org.farcc.Builder1.{method}")).await;
            assert!(denied.contains("org.freedesktop.DBus.Error.AccessDenied"), "{denied}");
        }
        assert!(commands.try_recv().is_err());
    }
}

/// `dbus/*.xml` is what the objects say of themselves. `UPDATE_EXPECTED=1` writes it.
#[test]
fn the_shipped_introspection_is_true() {
    let (builder, ..) = builder();
    let scheduler = SchedulerObject::new(watch::channel(SchedulerSnapshot::default()).1);
    let client = ClientObject::new(watch::channel(ClientSnapshot::default()).1);
    for (names, object) in [
        (bus::SCHEDULER, &scheduler as &dyn Interface),
        (bus::BUILDER, &builder as &dyn Interface),
        (bus::CLIENT, &client as &dyn Interface),
    ] {
        let mut xml = String::from(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
        );
        object.introspect_to_writer(&mut xml, 2);
        xml.push_str("</node>\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("dbus/{}.xml", names.name));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&path, &xml).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), xml, "{}", path.display());
    }
}

/// A bus of its own, gone with this value.
struct BusDaemon(Child);

impl BusDaemon {
    fn start(directory: &Path) -> Self {
        let config = directory.join("bus.conf");
        let socket = directory.join("bus");
        // What a system bus allows, without its restriction of names.
        let text = format!(
            "<busconfig><type>custom</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
             </policy></busconfig>",
            socket.display()
        );
        fs::write(&config, text).unwrap();
        fs::remove_file(&socket).ok();
        let mut child = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .arg(format!("--config-file={}", config.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        // It prints its address once it listens.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "{address}");
        Self(child)
    }
}

impl Drop for BusDaemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn public_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

async fn wait_for_name(connection: &Connection, name: &str) {
    let bus = DBusProxy::new(connection).await.unwrap();
    let mut messages = MessageStream::from(connection);
    // The bus tells this connection of every owner that changes.
    bus.add_match_rule("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'".try_into().unwrap())
        .await
        .unwrap();
    while !bus.name_has_owner(name.try_into().unwrap()).await.unwrap() {
        next(&mut messages).await;
    }
}

async fn next(messages: &mut MessageStream) -> Message {
    use std::future::poll_fn;
    use std::pin::Pin;
    poll_fn(|context| zbus::export::futures_core::Stream::poll_next(Pin::new(messages), context))
        .await
        .unwrap()
        .unwrap()
}

/// A call by another process, as another user where asked.
async fn send(address: &str, uid: Option<u32>, method: &str) -> String {
    let mut command = match uid {
        Some(uid) => {
            let mut command = Command::new("setpriv");
            command.args([
                format!("--reuid={uid}"),
                format!("--regid={uid}"),
                "--clear-groups".into(),
                "dbus-send".into(),
            ]);
            command
        }
        None => Command::new("dbus-send"),
    };
    command.arg(format!("--bus={address}")).args([
        "--print-reply",
        "--dest=org.farcc.Builder1",
        "/org/farcc/Builder1",
        method,
    ]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

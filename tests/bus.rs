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
use farcc::engine::scheduler;
use farcc::model::report::BuilderReport;
use farcc::os::bus::{
    self, Action, BuilderObject, BuilderOrder, BuilderSnapshot, Bus, ClientObject, ClientOrder, ClientSnapshot, Face,
    FarmBuilderObject, JobObject, JobReport, LOG_CONTROL_PATH, LogControl, Names, Order, OrderError, SchedulerObject,
    SchedulerOrder, SchedulerSnapshot, orders,
};
use farcc::os::systemd::journal::{self, LogHandle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, ObjectManagerProxy, PropertiesProxy};
use zbus::names::{InterfaceName, OwnedInterfaceName};
use zbus::object_server::Interface;
use zbus::{Connection, DBusError, Guid, Message, MessageStream, OwnedVariant};

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
async fn served<F: Face>(
    names: Names,
    object: F,
    snapshot: watch::Receiver<F::Snapshot>,
) -> (Connection, JoinHandle<()>) {
    let (server, client) = pair().await;
    let task = tokio::spawn(async move {
        bus::publish(&server, names, object, LogControl::new(log(), None), snapshot).await.unwrap();
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

fn builder() -> (BuilderObject, watch::Sender<BuilderSnapshot>, mpsc::Receiver<Order<BuilderOrder>>) {
    let (publish, snapshot) = watch::channel(builder_snapshot());
    let (orders, received) = orders();
    (BuilderObject::new(snapshot, orders), publish, received)
}

/// A daemon's loop: answers every order with `answer`, and tells what they were.
fn obey<W: Send + 'static>(
    mut orders: mpsc::Receiver<Order<W>>,
    answer: impl Fn(&W) -> Result<u64, OrderError> + Send + 'static,
) -> mpsc::UnboundedReceiver<W> {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Order { what, reply }) = orders.recv().await {
            reply.send(answer(&what)).unwrap();
            tell.send(what).unwrap();
        }
    });
    told
}

#[tokio::test]
async fn a_builder_shows_what_it_published_and_takes_orders() {
    let (object, publish, received) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;
    let mut told = obey(received, |order| match order {
        BuilderOrder::PurgeToolchains => Ok(4711),
        BuilderOrder::SetSlots(0) => Err(OrderError::Invalid("none is too few".into())),
        BuilderOrder::Cancel(_) => Err(OrderError::NotFound("no such job".into())),
        _ => Ok(0),
    });

    let shown = properties(&client, bus::BUILDER).await;
    assert_eq!(u32::try_from(shown["SlotsTotal"].clone()).unwrap(), 8);
    assert_eq!(String::try_from(shown["SchedulerConnection"].clone()).unwrap(), "connected");
    assert_eq!(Vec::<String>::try_from(shown["Toolchains"].clone()).unwrap(), ["abc"]);

    let described: String =
        call(&client, bus::BUILDER, bus::BUILDER.name, "Describe").await.unwrap().body().deserialize().unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!((&described["name"], &described["slots_used"]), (&"oak".into(), &5.into()));

    for method in ["Drain", "Resume", "Reload"] {
        call(&client, bus::BUILDER, bus::BUILDER.name, method).await.unwrap();
    }
    let purged = call(&client, bus::BUILDER, bus::BUILDER.name, "PurgeToolchains").await.unwrap();
    assert_eq!(purged.body().deserialize::<u64>().unwrap(), 4711);
    let refused = client.call_method(None::<&str>, bus::BUILDER.path, Some(bus::BUILDER.name), "SetSlots", &0u32).await;
    assert_eq!(error_name(refused), "org.freedesktop.DBus.Error.InvalidArgs");
    let refused = client.call_method(None::<&str>, bus::BUILDER.path, Some(bus::BUILDER.name), "Cancel", &"1-1").await;
    assert_eq!(error_name(refused), "org.farcc.Error.NotFound");
    let expected = [
        BuilderOrder::Drain,
        BuilderOrder::Resume,
        BuilderOrder::Reload,
        BuilderOrder::PurgeToolchains,
        BuilderOrder::SetSlots(0),
        BuilderOrder::Cancel("1-1".into()),
    ];
    for order in expected {
        assert_eq!(told.recv().await, Some(order));
    }
}

#[track_caller]
fn error_name(answer: zbus::Result<Message>) -> String {
    match answer.unwrap_err() {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        zbus::Error::FDO(error) => error.name().to_string(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn orders_that_nobody_takes_are_refused_and_not_queued_for_ever() {
    let (object, publish, received) = builder();
    let (client, _task) = served(bus::BUILDER, object, publish.subscribe()).await;
    // Nobody answers, so nobody waits for the answers either.
    let asking: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await })
        })
        .collect();
    while received.len() < received.max_capacity() {
        tokio::task::yield_now().await;
    }
    let refused = call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await;
    assert_eq!(error_name(refused), "org.farcc.Error.Busy");
    drop(received);
    let stopped = call(&client, bus::BUILDER, bus::BUILDER.name, "Drain").await;
    assert_eq!(error_name(stopped), "org.farcc.Error.Stopping");
    for asking in asking {
        assert!(asking.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn parts_are_objects_that_come_and_go() {
    let farm = |names: &[&str]| SchedulerSnapshot {
        builders: names
            .iter()
            .map(|name| BuilderReport { name: (*name).into(), id: format!("{name}000000"), ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let (publish, snapshot) = watch::channel(farm(&["oak", "elm-2"]));
    let (order, received) = orders();
    let (client, _task) = served(bus::SCHEDULER, SchedulerObject::new(snapshot, order), publish.subscribe()).await;
    let mut told = obey(received, |_| Ok(0));
    let mut messages = MessageStream::from(&client);
    assert_eq!(parts(&client, bus::SCHEDULER).await, ["builders/elm_2d2", "builders/oak"]);

    let oak = Names { path: "/org/farcc/Scheduler1/builders/oak", name: "org.farcc.Scheduler1.Builder" };
    call(&client, oak, oak.name, "Drain").await.unwrap();
    assert_eq!(told.recv().await, Some(SchedulerOrder::Builder("oak000000".into(), scheduler::Order::Drain)));
    let second = 1_000_000u64;
    client.call_method(None::<&str>, oak.path, Some(oak.name), "Quarantine", &second).await.unwrap();
    let pause = scheduler::Order::Quarantine(std::time::Duration::from_secs(1));
    assert_eq!(told.recv().await, Some(SchedulerOrder::Builder("oak000000".into(), pause)));

    publish.send_replace(farm(&["oak", "ash"]));
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let message = next(&mut messages).await;
        let header = message.header();
        if header.interface().is_some_and(|interface| interface == "org.freedesktop.DBus.ObjectManager") {
            heard.push(header.member().unwrap().to_string());
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, ["InterfacesAdded", "InterfacesRemoved"]);
    assert_eq!(parts(&client, bus::SCHEDULER).await, ["builders/ash", "builders/oak"]);
}

/// Paths of the objects below a daemon's own.
async fn parts(connection: &Connection, names: Names) -> Vec<String> {
    let proxy = ObjectManagerProxy::builder(connection).destination(names.name).path(names.path).build().await.unwrap();
    let objects = proxy.get_managed_objects().await.unwrap();
    let below = |path: &str| path.strip_prefix(&format!("{}/", names.path)).map(str::to_owned);
    // The nodes between have the standard's interfaces only.
    let is_ours =
        |interfaces: &HashMap<_, _>| interfaces.keys().any(|name: &OwnedInterfaceName| name.starts_with("org.farcc."));
    let ours = objects.iter().filter(|(_, interfaces)| is_ours(interfaces));
    let mut paths: Vec<_> = ours.filter_map(|(path, _)| below(path.as_str())).collect();
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn changes_are_told_together_and_only_those() {
    let (object, publish, _orders) = builder();
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
    let object = SchedulerObject::new(snapshot, orders().0);
    let (client, _task) = served(bus::SCHEDULER, object, publish.subscribe()).await;
    let shown = properties(&client, bus::SCHEDULER).await;
    assert_eq!(u32::try_from(shown["BuilderCount"].clone()).unwrap(), 1);
    assert_eq!(u32::try_from(shown["ClientCount"].clone()).unwrap(), 2);
    assert_eq!(u32::try_from(shown["SlotsQueued"].clone()).unwrap(), 7);

    let mut snapshot = ClientSnapshot::default();
    snapshot.stats.remote = 41;
    snapshot.stats.reasons.insert("incbin".into(), 3);
    let (publish, snapshot) = watch::channel(snapshot);
    let (order, received) = orders();
    let object = ClientObject::new(snapshot, order);
    let (client, _task) = served(bus::CLIENT, object, publish.subscribe()).await;
    let shown = properties(&client, bus::CLIENT).await;
    assert_eq!(u64::try_from(shown["Remote"].clone()).unwrap(), 41);
    assert_eq!(
        HashMap::<String, u64>::try_from(shown["Reasons"].clone()).unwrap(),
        HashMap::from([("incbin".into(), 3)])
    );
    let mut told = obey(received, |_| Ok(0));
    call(&client, bus::CLIENT, bus::CLIENT.name, "Pause").await.unwrap();
    assert_eq!(told.recv().await, Some(ClientOrder::Pause));
}

#[tokio::test]
async fn the_log_level_is_changed_in_syslogs_words() {
    let (object, publish, _orders) = builder();
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
    let (order, _received) = orders();
    let names = bus::BUILDER;
    // No bus yet: the daemon has to live with that.
    let task = tokio::spawn(bus::serve_builder(Bus::Address(address.clone()), publish.subscribe(), order, log()));
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
async fn others_may_look_and_touch_only_what_polkit_allows() {
    let directory = public_directory();
    let _daemon = BusDaemon::start(directory.path());
    let address = format!("unix:path={}", directory.path().join("bus").display());
    let publish = watch::channel(builder_snapshot()).0;
    let (order, received) = orders();
    let mut told = obey(received, |_| Ok(0));
    let names = bus::BUILDER;
    let _task = tokio::spawn(bus::serve_builder(Bus::Address(address.clone()), publish.subscribe(), order, log()));
    let client = Builder::address(address.as_str()).build().await.unwrap();
    wait_for_name(&client, names.name).await;

    let as_owner = send(&address, None, "org.farcc.Builder1.Drain").await;
    assert!(as_owner.contains("method return"), "{as_owner}");
    assert_eq!(told.recv().await, Some(BuilderOrder::Drain));

    // Only root can become somebody else.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let described = send(&address, Some(65534), "org.farcc.Builder1.Describe").await;
    assert!(described.contains("\"name\":\"oak\"") || described.contains("\\\"oak\\\""), "{described}");
    // Without polkit the answer is no.
    for method in ["Drain", "Resume", "PurgeToolchains"] {
        let denied = send(&address, Some(65534), &format!("org.farcc.Builder1.{method}")).await;
        assert!(denied.contains("org.freedesktop.DBus.Error.AccessDenied"), "{denied}");
    }
    // With it, what it says.
    let (polkit, mut asked) = Polkit::start(&address).await;
    let allowed = send(&address, Some(65534), "org.farcc.Builder1.Resume").await;
    assert!(allowed.contains("method return"), "{allowed}");
    assert_eq!(told.recv().await, Some(BuilderOrder::Resume));
    let (kind, action) = asked.recv().await.unwrap();
    assert_eq!((kind.as_str(), action.as_str()), ("system-bus-name", "org.farcc.builder.drain"));
    let denied = send(&address, Some(65534), "org.farcc.Builder1.Reload").await;
    assert!(denied.contains("polkit says no to org.farcc.builder.configure"), "{denied}");
    let challenged = send(&address, Some(65534), "org.farcc.Builder1.PurgeToolchains").await;
    assert!(challenged.contains("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"), "{challenged}");
    assert!(told.try_recv().is_err());
    drop(polkit);
}

/// Answers in polkit's place: yes to a drain, not without a password to a purge, no to everything else.
struct Polkit {
    asked: mpsc::UnboundedSender<(String, String)>,
}

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation: String,
    ) -> (bool, bool, HashMap<String, String>) {
        let answer =
            (action == "org.farcc.builder.drain", action == "org.farcc.builder.purge-toolchains", HashMap::new());
        self.asked.send((subject.0, action)).unwrap();
        answer
    }
}

impl Polkit {
    async fn start(address: &str) -> (Connection, mpsc::UnboundedReceiver<(String, String)>) {
        let (tell, asked) = mpsc::unbounded_channel();
        let connection = Builder::address(address)
            .name("org.freedesktop.PolicyKit1")
            .serve_at("/org/freedesktop/PolicyKit1/Authority", Polkit { asked: tell })
            .build()
            .await
            .unwrap();
        (connection, asked)
    }
}

/// An action whose owner is another user is one that polkit does not talk to the daemon about.
#[test]
fn the_policy_describes_every_action_and_whose_it_is() {
    let shipped = |role: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("polkit/org.farcc.{role}.policy")))
            .unwrap()
    };
    let policy = shipped("builder") + &shipped("scheduler");
    let actions: Vec<&str> = policy.split("<action id=\"").skip(1).collect();
    assert_eq!(actions.len(), Action::ALL.len());
    for action in Action::ALL {
        let text = actions.iter().find(|text| text.starts_with(&format!("{}\"", action.id())));
        let text = text.unwrap_or_else(|| panic!("{} is not described", action.id()));
        let owner =
            format!("<annotate key=\"org.freedesktop.policykit.owner\">unix-user:{}</annotate>", action.owner());
        assert!(text.contains(&owner), "{text}");
        assert!(text.contains("<message>") && text.contains("<allow_any>auth_admin</allow_any>"), "{text}");
    }
}

/// `dbus/*.xml` is what the objects say of themselves. `UPDATE_EXPECTED=1` writes it.
#[test]
fn the_shipped_introspection_is_true() {
    let (builder, ..) = builder();
    let snapshot = watch::channel(SchedulerSnapshot::default()).1;
    let scheduler = SchedulerObject::new(snapshot.clone(), orders().0);
    let farm_builder = FarmBuilderObject::new("id".into(), snapshot, orders().0);
    let job = JobObject::new(JobReport::default(), orders().0);
    let client = ClientObject::new(watch::channel(ClientSnapshot::default()).1, orders().0);
    let daemons: [(Names, Vec<&dyn Interface>); 3] = [
        (bus::SCHEDULER, vec![&scheduler, &farm_builder]),
        (bus::BUILDER, vec![&builder, &job]),
        (bus::CLIENT, vec![&client]),
    ];
    for (names, objects) in daemons {
        let mut xml = String::from(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
        );
        for object in objects {
            object.introspect_to_writer(&mut xml, 2);
        }
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

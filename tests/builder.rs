//! A scheduler and a builder in one process, with real sockets and sandboxes, and clients that do not behave.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod alone;

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use farcc::daemon::builder::{Patience, RunError};
use farcc::daemon::link::{Dialler, Link, Uplink, next_message};
use farcc::daemon::pulse::Pulse;
use farcc::daemon::{builder, scheduler};
use farcc::engine::config::Secret;
use farcc::engine::wire::farm::{
    Class, ClientToScheduler, JobReply, JobRequest, Lease, Opening, Refusal, Role, SchedulerToClient, ToolchainOffer,
    ToolchainReply,
};
use farcc::engine::wire::handshake::OURS;
use farcc::model::digest::Digest;
use farcc::model::id::{Instance, JobId};
use farcc::model::job::{Bytes, Entry, FileTime, JobLimits, JobSpec, Manifest, Node};
use farcc::model::limits::HEARTBEAT_EVERY;
use farcc::model::path::SandboxPath;
use farcc::model::toolchain::{IsaLevel, ToolchainId};
use farcc::os::bus::{BuilderOrder, BuilderSnapshot, Orders, orders};
use farcc::os::net::{Connection, FrameReader, FrameWriter, Identity, Pace, body_channel, connect};
use farcc::os::sandbox::{Helper, HelperSettings, Workshop, WorkshopSettings};
use farcc::os::toolchain::{ToolchainStore, UnpackError};
use hyper::Response;
use hyper::body::Incoming;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::alone::as_user;

/// For what must happen, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);
const ARCHITECTURE: &str = "x86_64";
/// More than the builder stores at a time.
const INPUT_CACHE_BYTES: usize = 10 << 20;

struct Farm {
    uplink: Uplink,
    /// A program that waits as many seconds as it is told, and nothing else.
    toolchain: ToolchainId,
    toolchains: Arc<ToolchainStore>,
    watched: watch::Receiver<BuilderSnapshot>,
    _orders: Orders<BuilderOrder>,
    /// Asks the builder to end.
    stop: mpsc::Sender<()>,
    builder: JoinHandle<Result<(), RunError>>,
    _directory: TempDir,
}

/// Runs `test` with a farm of one builder, which has `slots`.
fn with_farm<F: Future<Output = ()>>(slots: u32, test: impl FnOnce(Farm) -> F) {
    with_patience(Patience::default(), slots, test);
}

fn with_patience<F: Future<Output = ()>>(patience: Patience, slots: u32, test: impl FnOnce(Farm) -> F) {
    // Before there are threads.
    let helper = Helper::fork(HelperSettings { bwrap: "/usr/bin/bwrap".into(), stacking: None, slots: 1 }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let farm = farm(slots, patience, helper).await;
        timeout(PATIENCE, test(farm)).await.expect("it does not happen");
    });
    runtime.shutdown_background();
}

async fn farm(slots: u32, patience: Patience, helper: Helper) -> Farm {
    let directory = tempfile::tempdir().unwrap();
    let socket = || async { TcpListener::bind("0.0.0.0:0").await.unwrap() };
    let (control, jobs) = (socket().await, socket().await);
    let port = |socket: &TcpListener| socket.local_addr().unwrap().port();
    let token = "a token for tests";
    let address = format!("127.0.0.1:{}", port(&control));
    let uplink = Uplink { address, fingerprint: None, secret: Secret::new(token).unwrap() };
    let scheduler = scheduler::Setup {
        listeners: vec![control],
        identity: Identity::ephemeral().unwrap(),
        client_secret: token.to_owned(),
        builder_secret: token.to_owned(),
        instance: Instance(1),
        snapshot: watch::channel(Default::default()).0,
        orders: orders().1,
        reload: None,
        drained: Default::default(),
        pulse: Pulse::default(),
    };
    let settings = WorkshopSettings { input_cache_bytes: INPUT_CACHE_BYTES as u64 };
    let workshop = Workshop::open(&directory.path().join("build"), Arc::new(helper), &settings).unwrap();
    let toolchains = ToolchainStore::open(&directory.path().join("toolchains"), 1 << 30).unwrap();
    let archive = waiter(directory.path());
    let toolchain = id_of(&toolchains, &archive);
    drop(toolchains.unpack(&toolchain, archive.as_slice()).unwrap());
    let toolchains = Arc::new(toolchains);
    let (snapshot, watched) = watch::channel(Default::default());
    let (orders_to, orders) = orders();
    let builder = builder::Setup {
        addresses: vec![format!(":{}", port(&jobs))],
        listeners: vec![jobs],
        identity: Identity::ephemeral().unwrap(),
        name: "builder".to_owned(),
        slots,
        slots_max: slots,
        architecture: ARCHITECTURE.to_owned(),
        scheduler: uplink.clone(),
        workshop: Arc::new(workshop),
        toolchains: toolchains.clone(),
        snapshot,
        orders,
        reload: None,
        patience,
        pulse: Pulse::default(),
    };
    tokio::spawn(scheduler::run(scheduler, std::future::pending()));
    let (stop, stopped) = mpsc::channel(2);
    let builder = tokio::spawn(builder::run(builder, stopped));
    Farm { uplink, toolchain, toolchains, watched, _orders: orders_to, stop, builder, _directory: directory }
}

fn waiter(directory: &Path) -> Vec<u8> {
    let program = directory.join("wait");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-x", "c", "-", "-o"]).arg(&program).stdin(Stdio::piped());
    let mut gcc = gcc.spawn().unwrap();
    let source =
        b"#include <stdlib.h>\n#include <unistd.h>\nint main(int n, char **words) { sleep(atoi(words[1])); }\n";
    gcc.stdin.take().unwrap().write_all(source).unwrap();
    assert!(gcc.wait().unwrap().success());
    archive("wait", &std::fs::read(program).unwrap())
}

/// A toolchain of one program.
fn archive(name: &str, program: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o555);
    header.set_size(program.len() as u64);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, name, program).unwrap();
    zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
}

fn id_of(store: &ToolchainStore, archive: &[u8]) -> ToolchainId {
    let claimed = ToolchainId(Digest::of(b"not known yet"));
    match store.unpack(&claimed, archive) {
        Err(UnpackError::WrongId { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}

impl Farm {
    /// A client that wants this many slots, and has its first.
    async fn client(&self, slots: u32) -> Client {
        self.client_of(&self.uplink, slots).await
    }

    async fn client_of(&self, uplink: &Uplink, slots: u32) -> Client {
        let identity = Arc::new(Identity::ephemeral().unwrap());
        let class =
            Class { toolchain: self.toolchain, architecture: ARCHITECTURE.to_owned(), level: IsaLevel::default() };
        let dialler = Dialler { uplink, identity: &identity, name: "client" };
        let Link { mut reader, mut writer, connection, .. } = dialler.dial(Role::Client).await.unwrap();
        writer.send(&ClientToScheduler::Demand { class, slots }).await.unwrap();
        let (granted, leases) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let _alive = connection;
            let mut beat = interval(HEARTBEAT_EVERY);
            loop {
                tokio::select! {
                    message = next_message(&mut reader) => match message {
                        Some(SchedulerToClient::Granted { lease, .. }) => granted.send(lease).unwrap_or_default(),
                        Some(_) => {}
                        None => return,
                    },
                    _ = beat.tick() => writer.send(&ClientToScheduler::Heartbeat).await.unwrap(),
                }
            }
        });
        let mut client = Client { identity, leases, lease: None };
        client.lease().await;
        client
    }

    fn spec(&self, seconds: u32, manifest: Manifest) -> JobSpec {
        JobSpec {
            job: job(0),
            toolchain: self.toolchain,
            program: SandboxPath::new(b"/wait".to_vec()).unwrap(),
            argv: vec![Bytes::from(b"/wait".to_vec()), Bytes::from(seconds.to_string().into_bytes())],
            env: Vec::new(),
            cwd: SandboxPath::root(),
            manifest,
            report: None,
            limits: JobLimits { wall: Duration::from_secs(3600), output_bytes: 1 << 20 },
        }
    }

    /// Waits until the builder says so of itself.
    async fn until(&mut self, is: impl FnMut(&BuilderSnapshot) -> bool) -> BuilderSnapshot {
        self.watched.wait_for(is).await.unwrap().clone()
    }
}

/// How many jobs of so many seconds run on this machine.
fn n_waiting(seconds: u32) -> usize {
    let words = format!("/wait\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    processes.filter(|path| std::fs::read(path).is_ok_and(|found| found == words.as_bytes())).count()
}

struct Client {
    identity: Arc<Identity>,
    leases: mpsc::UnboundedReceiver<Lease>,
    lease: Option<Lease>,
}

/// A request under way.
struct Request {
    writer: FrameWriter,
    answer: JoinHandle<Result<Response<Incoming>, hyper::Error>>,
}

impl Client {
    /// The lease given last.
    async fn lease(&mut self) -> Lease {
        while let Ok(lease) = self.leases.try_recv() {
            self.lease = Some(lease);
        }
        if self.lease.is_none() {
            self.lease = self.leases.recv().await;
        }
        self.lease.clone().unwrap()
    }

    async fn connect(&mut self) -> Connection {
        let lease = self.lease().await;
        connect(&lease.addresses, &self.identity, Some(lease.builder.0)).await.unwrap()
    }

    async fn open(&mut self, connection: &Connection, path: &'static str, job: Option<JobId>) -> Request {
        let (mut writer, body) = body_channel();
        let connection = connection.clone();
        let answer = tokio::spawn(async move { connection.post(path, body).await });
        writer.send(&Opening { version: OURS, lease: self.lease().await, job }).await.unwrap();
        Request { writer, answer }
    }

    /// Asks for a job, and announces as many blobs.
    async fn ask_with(&mut self, connection: &Connection, number: u64, spec: JobSpec, blobs: u32) -> Request {
        let mut request = self.open(connection, "/v1/job", Some(job(number))).await;
        // A refusal may come before all is said; then the answer tells.
        request.writer.send(&JobRequest { spec, blobs }).await.ok();
        request
    }

    async fn ask(&mut self, connection: &Connection, number: u64, spec: JobSpec) -> Request {
        self.ask_with(connection, number, spec, 0).await
    }
}

impl Client {
    async fn offer(&mut self, connection: &Connection, toolchain: ToolchainId) -> Request {
        let mut request = self.open(connection, "/v1/toolchain", None).await;
        request.writer.send(&ToolchainOffer { toolchain }).await.unwrap();
        request
    }
}

impl Request {
    /// The answers to an offer, one after the other, and where to upload.
    async fn receipt(self) -> (FrameReader, FrameWriter) {
        (FrameReader::new(self.answer.await.unwrap().unwrap().into_body()), self.writer)
    }

    async fn reply(self) -> JobReply {
        let mut reader = FrameReader::new(self.answer.await.unwrap().unwrap().into_body());
        reader.trust();
        reader.next().await.unwrap()
    }
}

fn job(number: u64) -> JobId {
    JobId { instance: Instance(1), number }
}

fn empty() -> Manifest {
    Manifest { entries: Vec::new() }
}

/// Files below the root, by name.
fn files(contents: &[(&str, &[u8])]) -> Manifest {
    let mtime = FileTime { seconds: 1, nanoseconds: 0 };
    let entry = |(link_group, (name, content)): (u32, &(&str, &[u8]))| Entry {
        path: SandboxPath::new(name.as_bytes().to_vec()).unwrap(),
        node: Node::File { digest: Digest::of(content), size: content.len() as u64, mode: 0o644, mtime, link_group },
    };
    Manifest { entries: (0..).zip(contents).map(entry).collect() }
}

#[track_caller]
fn check_refused(reply: &JobReply, expected: &str) {
    assert!(matches!(reply, JobReply::Refused { message, .. } if message.contains(expected)), "{reply:?}");
}

/// Seconds: no other test has a job of as many.
const LONG: u32 = 3601;

#[test]
fn a_job_whose_client_goes_away_ends_once_and_leaves_nothing() {
    as_user(|| {
        with_farm(1, |mut farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let request = client.ask(&connection, 1, farm.spec(LONG, empty())).await;
            farm.until(|builder| builder.slots_used == 1).await;
            while n_waiting(LONG) == 0 {
                tokio::task::yield_now().await;
            }
            let other = client.ask(&connection, 2, farm.spec(0, empty())).await.reply().await;
            assert!(matches!(other, JobReply::Refused { why: Refusal::Busy, .. }), "{other:?}");
            // Resets the stream.
            request.answer.abort();
            drop(request.writer);
            let builder = farm.until(|builder| builder.slots_used == 0).await;
            assert_eq!((builder.jobs_completed, builder.jobs_failed), (0, 0));
            assert_eq!(n_waiting(LONG), 0, "the slot is free, and the job runs");
            let reply = client.ask(&connection, 3, farm.spec(0, empty())).await.reply().await;
            assert!(matches!(reply, JobReply::Finished { .. }), "{reply:?}");
            let builder = farm.until(|builder| builder.jobs_completed == 1).await;
            assert_eq!((builder.slots_used, builder.jobs_failed), (0, 0));
        });
    });
}

#[test]
fn a_client_that_stops_in_the_midst_of_a_request_does_not_keep_its_slot() {
    as_user(|| {
        let pace = Pace { idle: Duration::from_millis(300), bytes_per_second: 1 };
        with_patience(Patience { pace, ..Patience::default() }, 1, |mut farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let silent = client.open(&connection, "/v1/job", Some(job(1))).await;
            check_refused(&silent.reply().await, "neither sent nor taken anything");
            let spec = farm.spec(0, files(&[("/a.c", b"int a;")]));
            let silent = client.ask_with(&connection, 2, spec, 1).await;
            check_refused(&silent.reply().await, "neither sent nor taken anything");
            let builder = farm.until(|builder| builder.slots_used == 0).await;
            assert_eq!((builder.jobs_completed, builder.jobs_failed), (0, 0));
        });
    });
}

#[test]
fn only_the_inputs_of_a_job_come_with_it() {
    as_user(|| {
        with_farm(1, |farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let spec = || farm.spec(0, files(&[("/a.c", b"int a;"), ("/b.c", b"int b;")]));
            let many = client.ask_with(&connection, 1, spec(), 3).await;
            check_refused(&many.reply().await, "3 blobs for 2 entries");
            let mut other = client.ask_with(&connection, 2, spec(), 1).await;
            other.writer.send_blob(Digest::of(b"int c;"), b"int c;").await.unwrap();
            check_refused(&other.reply().await, "does not name");
            let mut twice = client.ask_with(&connection, 3, spec(), 2).await;
            for _ in 0..2 {
                twice.writer.send_blob(Digest::of(b"int a;"), b"int a;").await.unwrap();
            }
            check_refused(&twice.reply().await, "names no more");
        });
    });
}

/// The cache takes one of them, but not both.
#[test]
fn what_has_arrived_for_a_job_is_there_when_it_runs() {
    as_user(|| {
        with_farm(1, |farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let contents = [vec![b'a'; INPUT_CACHE_BYTES / 10 * 7], vec![b'b'; INPUT_CACHE_BYTES / 10 * 7]];
            let manifest = files(&[("/a.c", &contents[0]), ("/b.c", &contents[1])]);
            let mut request = client.ask_with(&connection, 1, farm.spec(0, manifest), 2).await;
            for content in &contents {
                request.writer.send_blob(Digest::of(content), content).await.unwrap();
            }
            let reply = request.reply().await;
            assert!(matches!(reply, JobReply::Finished { .. }), "{reply:?}");
        });
    });
}

#[test]
fn an_upload_that_stalls_delays_nobody_for_long_and_has_an_end() {
    as_user(|| {
        let pace = Pace { idle: Duration::from_secs(2), bytes_per_second: 1 };
        let patience = Patience { pace, head_start: Duration::from_millis(300), ..Patience::default() };
        with_patience(patience, 2, |farm| async move {
            let archive = archive("tool", b"#!/bin/true");
            let toolchain = id_of(&farm.toolchains, &archive);
            let (mut slow, mut quick) = (farm.client(1).await, farm.client(1).await);
            let (to_slow, to_quick) = (slow.connect().await, quick.connect().await);
            let (mut answers, _stalled) = slow.offer(&to_slow, toolchain).await.receipt().await;
            assert_eq!(answers.next::<ToolchainReply>().await.unwrap(), ToolchainReply::Upload);
            let (mut again, _) = slow.offer(&to_slow, toolchain).await.receipt().await;
            let refused = again.next::<ToolchainReply>().await.unwrap();
            assert!(matches!(refused, ToolchainReply::Refused { why: Refusal::Busy, .. }), "{refused:?}");

            let (mut taken, mut writer) = quick.offer(&to_quick, toolchain).await.receipt().await;
            assert_eq!(taken.next::<ToolchainReply>().await.unwrap(), ToolchainReply::Upload);
            writer.send_bytes(&archive).await.unwrap();
            drop(writer);
            assert_eq!(taken.next::<ToolchainReply>().await.unwrap(), ToolchainReply::Ready);

            let end = answers.next::<ToolchainReply>().await.unwrap();
            assert!(matches!(end, ToolchainReply::Refused { .. }), "{end:?}");
            let (mut ready, _) = slow.offer(&to_slow, toolchain).await.receipt().await;
            assert_eq!(ready.next::<ToolchainReply>().await.unwrap(), ToolchainReply::Ready);
        });
    });
}

/// Wherever the builder sits, on the scheduler's machine too, each client gets an address that it can reach.
#[test]
fn a_builder_beside_the_scheduler_is_found_where_the_scheduler_is() {
    as_user(|| {
        with_farm(2, |farm| async move {
            let address = farm.uplink.address.replace("127.0.0.1", "127.0.0.2");
            let elsewhere = Uplink { address, ..farm.uplink.clone() };
            for (uplink, host) in [(&farm.uplink, "127.0.0.1:"), (&elsewhere, "127.0.0.2:")] {
                let mut client = farm.client_of(uplink, 1).await;
                let lease = client.lease().await;
                assert!(lease.addresses[0].starts_with(host), "{:?}", lease.addresses);
                client.connect().await;
            }
        });
    });
}

#[test]
fn a_builder_that_is_asked_to_end_lets_its_jobs_end() {
    as_user(|| {
        with_farm(2, |mut farm| async move {
            let mut client = farm.client(2).await;
            let connection = client.connect().await;
            let request = client.ask(&connection, 1, farm.spec(3, empty())).await;
            farm.until(|builder| builder.slots_used == 1).await;
            farm.stop.send(()).await.unwrap();
            farm.until(|builder| builder.draining).await;
            let late = client.ask(&connection, 2, farm.spec(0, empty())).await.reply().await;
            assert!(matches!(late, JobReply::Refused { .. }), "{late:?}");
            let reply = request.reply().await;
            assert!(matches!(reply, JobReply::Finished { .. }), "{reply:?}");
            farm.builder.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_builder_that_is_asked_twice_ends_at_once() {
    as_user(|| {
        with_farm(1, |mut farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let _request = client.ask(&connection, 1, farm.spec(3600, empty())).await;
            farm.until(|builder| builder.slots_used == 1).await;
            farm.stop.send(()).await.unwrap();
            farm.until(|builder| builder.draining).await;
            assert!(!farm.builder.is_finished());
            farm.stop.send(()).await.unwrap();
            farm.builder.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_job_that_takes_too_long_does_not_keep_a_builder_from_ending() {
    as_user(|| {
        let patience = Patience { drain: Duration::from_millis(100), ..Patience::default() };
        with_patience(patience, 1, |mut farm| async move {
            let mut client = farm.client(1).await;
            let connection = client.connect().await;
            let _request = client.ask(&connection, 1, farm.spec(3600, empty())).await;
            farm.until(|builder| builder.slots_used == 1).await;
            farm.stop.send(()).await.unwrap();
            farm.builder.await.unwrap().unwrap();
        });
    });
}

/// The only child of this process with that name.
fn helper_process() -> rustix::process::Pid {
    let is_helper = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        stat.contains("(farcc-helper)") && fields.nth(1) == Some(&std::process::id().to_string())
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    let mut pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    rustix::process::Pid::from_raw(pids.find(is_helper).unwrap()).unwrap()
}

#[test]
fn a_builder_without_its_sandbox_helper_ends() {
    as_user(|| {
        with_farm(1, |farm| async move {
            farm.client(1).await;
            rustix::process::kill_process(helper_process(), rustix::process::Signal::KILL).unwrap();
            let end = farm.builder.await.unwrap();
            assert!(matches!(end, Err(RunError::HelperEnded)), "{end:?}");
        });
    });
}

//! Peers on real sockets, and what goes wrong between them.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::listen::serve_strangers;
use super::strangers::{Allowance, Strangers};
use super::{Body, Connection, Handler, Identity, Peer, body_channel, connect, empty_body, respond, serve};
use crate::model::limits::{KEEPALIVE_EVERY, KEEPALIVE_MAX};

/// For what must happen, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers nothing; tells of each request, and when it is given up.
struct Silent {
    told: mpsc::UnboundedSender<&'static str>,
}

struct Given(mpsc::UnboundedSender<&'static str>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.send("given up").ok();
    }
}

impl Handler for Silent {
    async fn handle(&self, _peer: Peer, _request: Request<Incoming>) -> Response<Body> {
        self.told.send("asked").ok();
        let _given = Given(self.told.clone());
        pending().await
    }
}

/// A daemon that never answers.
async fn silent() -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    let identity = Identity::ephemeral().unwrap();
    tokio::spawn(async move { serve(listener, &identity, Arc::new(Silent { told })).await });
    (address, heard)
}

/// A network that lets everything through until it is told to let nothing through, without a word to either side.
async fn network(to: SocketAddr) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (unplug, unplugged) = oneshot::channel();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::select! { _ = copy_bidirectional(&mut near, &mut far) => {} _ = unplugged => pending().await }
    });
    (address, unplug)
}

/// What the machines rely on when a scheduler has lost a builder: whoever has a request there finds out by itself, soon.
#[tokio::test]
async fn both_ends_notice_a_dead_connection_in_the_midst_of_a_request() {
    let (address, mut heard) = silent().await;
    let (address, unplug) = network(address).await;
    let identity = Identity::ephemeral().unwrap();
    let connection = connect(&[address.to_string()], &identity, None).await.unwrap();
    let (_writer, body) = body_channel();
    let asking = tokio::spawn(async move { connection.post("/v1/job", body).await });
    assert_eq!(heard.recv().await, Some("asked"));
    unplug.send(()).unwrap();
    let answer = timeout(KEEPALIVE_EVERY + KEEPALIVE_MAX + PATIENCE, asking).await;
    assert!(answer.expect("the client goes on waiting").unwrap().is_err());
    let end = timeout(PATIENCE, heard.recv()).await;
    assert_eq!(end.expect("the builder goes on working"), Some("given up"));
}

/// Answers at once, and knows those who ask for `/friend`.
struct Doorman;

impl Handler for Doorman {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() == "/friend" {
            peer.prove();
        }
        respond(StatusCode::OK, empty_body())
    }
}

async fn doorman(allowance: Allowance) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let identity = Identity::ephemeral().unwrap();
    let strangers = Strangers::new(allowance);
    tokio::spawn(async move { serve_strangers(listener, &identity, Arc::new(Doorman), strangers).await });
    vec![address]
}

async fn ask(connection: &Connection, path: &'static str) -> Result<(), hyper::Error> {
    connection.post(path, empty_body()).await.map(drop)
}

#[tokio::test]
async fn only_those_who_prove_themselves_stay() {
    let allowance = Allowance { time: Duration::from_millis(300), ..Allowance::default() };
    let address = doorman(allowance).await;
    let (friend, stranger) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let first = connect(&address, &friend, None).await.unwrap();
    ask(&first, "/friend").await.unwrap();
    // The same peer, and so far it has said nothing here.
    let second = connect(&address, &friend, None).await.unwrap();
    let other = connect(&address, &stranger, None).await.unwrap();
    // The stranger came last, so when its time is over, that of the others would be as well.
    let closed = async { while ask(&other, "/").await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("a stranger stays");
    ask(&first, "/").await.unwrap();
    ask(&second, "/").await.unwrap();
}

#[tokio::test]
async fn strangers_are_few() {
    let address = doorman(Allowance { connections_per_address: 2, ..Allowance::default() }).await;
    let identities = [(); 3].map(|()| Identity::ephemeral().unwrap());
    let first = connect(&address, &identities[0], None).await.unwrap();
    let _second = connect(&address, &identities[1], None).await.unwrap();
    assert!(connect(&address, &identities[2], None).await.is_err());
    ask(&first, "/friend").await.unwrap();
    let admitted = async { while connect(&address, &identities[2], None).await.is_err() {} };
    timeout(PATIENCE, admitted).await.expect("a friend counts as a stranger");
}

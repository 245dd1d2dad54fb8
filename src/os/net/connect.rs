//! Connecting to a peer.

use std::io;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::tls::{self, EXPORTER_BYTES, Proven};
use super::{Body, Identity};
use crate::model::digest::Digest;
use crate::model::limits::{CONNECT_MAX, CONNECT_STAGGER, HANDSHAKE_MAX, KEEPALIVE_EVERY, KEEPALIVE_MAX, LOOKUP_MAX};

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{address}: no such host: {source}")]
    Resolve { address: String, source: io::Error },
    #[error("{address}: the name is not resolved within {} s", LOOKUP_MAX.as_secs())]
    Lookup { address: String },
    #[error("{address}: {source}")]
    Tcp { address: String, source: io::Error },
    #[error("{address}: no answer within {} s", CONNECT_MAX.as_secs())]
    Timeout { address: String },
    #[error(
        "{address}: its certificate is not the expected one; after a reinstallation of that machine, join the farm again"
    )]
    Fingerprint { address: String },
    #[error("{address}: TLS failed: {source}")]
    Tls { address: String, source: io::Error },
    #[error("{address}: HTTP/2 failed: {source}")]
    Http { address: String, source: hyper::Error },
    #[error("no address is known")]
    NoAddress,
}

/// A warm connection: any number of requests at a time. Cheap to clone; the last clone's end closes it.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: SendRequest<Body>,
    pub fingerprint: Digest,
    pub exporter: [u8; EXPORTER_BYTES],
    pub address: SocketAddr,
}

impl Connection {
    /// Sends one request; the answer's head comes when the peer has one, its body may still be under way.
    ///
    /// # Errors
    /// Where the connection broke, which keepalive finds out within [`KEEPALIVE_EVERY`] plus [`KEEPALIVE_MAX`].
    pub async fn post(&self, path: &'static str, body: Body) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::new(body);
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(path);
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(request).await
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Connects to the first of `addresses` (`host:port`) that answers; `expected` pins the certificate.
///
/// # Errors
/// That of the last address tried.
pub async fn connect(
    addresses: &[String],
    identity: &Identity,
    expected: Option<Digest>,
) -> Result<Connection, ConnectError> {
    let mut last = ConnectError::NoAddress;
    for address in addresses {
        match connect_one(address, identity, expected).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_one(address: &str, identity: &Identity, expected: Option<Digest>) -> Result<Connection, ConnectError> {
    let named = || address.to_owned();
    let stream = connect_tcp(address).await?;
    let remote = stream.peer_addr().map_err(|source| ConnectError::Tcp { address: named(), source })?;
    let broken = |source| ConnectError::Tls { address: named(), source };
    let config = tls::client_config(identity, expected).map_err(|error| broken(io::Error::other(error)))?;
    // The name is never looked at: peers are known by fingerprint. TLS wants one all the same.
    let name = ServerName::from(remote.ip());
    let stream = match timeout(HANDSHAKE_MAX, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_wrong_fingerprint(&error) => return Err(ConnectError::Fingerprint { address: named() }),
        Ok(Err(error)) => return Err(broken(error)),
        Err(_) => return Err(ConnectError::Timeout { address: named() }),
    };
    let proven = Proven::of(stream.get_ref().1).map_err(|error| broken(io::Error::other(error)))?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ConnectError::Http { address: named(), source })?;
    // Ends by itself when the last `SendRequest` is gone or the peer is; its error reaches whoever has a request there.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, fingerprint: proven.fingerprint, exporter: proven.exporter, address: remote })
}

/// Enough for one large source in flight on a stream without waiting for the peer, and a dozen of them on a connection.
pub(super) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Larger frames than HTTP/2's default of 16 kB: fewer copies for objects of some megabytes.
pub(super) const MAX_FRAME_BYTES: u32 = 256 << 10;

async fn connect_tcp(address: &str) -> Result<TcpStream, ConnectError> {
    let named = || address.to_owned();
    let candidates = timeout(LOOKUP_MAX, tokio::net::lookup_host(address))
        .await
        .map_err(|_| ConnectError::Lookup { address: named() })?
        .map_err(|source| ConnectError::Resolve { address: named(), source })?;
    let stream = timeout(CONNECT_MAX, connect_first(in_turns(candidates.collect())))
        .await
        .map_err(|_| ConnectError::Timeout { address: named() })?
        .map_err(|source| ConnectError::Tcp { address: named(), source })?;
    // Small frames are whole requests here; waiting to fill a segment would only delay them.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

/// Families in turns, the resolver's first choice first: where one of them leads nowhere, the other is next (RFC 8305).
fn in_turns(candidates: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first =
        |candidate: &SocketAddr| candidates.first().is_some_and(|first| first.is_ipv6() == candidate.is_ipv6());
    let (ours, others): (Vec<_>, Vec<_>) = candidates.iter().copied().partition(is_first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut turns = Vec::with_capacity(candidates.len());
    while turns.len() < candidates.len() {
        turns.extend(ours.next());
        turns.extend(others.next());
    }
    turns
}

/// Tries one after the other, the next when one has failed or has not answered for a moment. The first to answer wins.
async fn connect_first(candidates: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut candidates = candidates.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(candidate) = candidates.next() {
            attempts.spawn(TcpStream::connect(candidate));
        } else if attempts.is_empty() {
            return Err(last);
        }
        // Dropping the set ends the other attempts.
        match timeout(CONNECT_STAGGER, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(error))) => last = io::Error::other(error),
            Ok(None) | Err(_) => {}
        }
    }
}

fn is_wrong_fingerprint(error: &io::Error) -> bool {
    let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure);
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) == Some(&wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(words: &str) -> Vec<SocketAddr> {
        words.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let six = "[2001:db8::1]:1 [2001:db8::2]:1 [2001:db8::3]:1 192.0.2.1:1";
        assert_eq!(in_turns(addresses(six)), addresses("[2001:db8::1]:1 192.0.2.1:1 [2001:db8::2]:1 [2001:db8::3]:1"));
        assert_eq!(in_turns(addresses("192.0.2.1:1 [2001:db8::1]:1")), addresses("192.0.2.1:1 [2001:db8::1]:1"));
        assert_eq!(in_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_hides_no_other() {
        // Its queue is full, so that the kernel drops whatever else wants to connect.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(1).unwrap();
        let dead = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) = timeout(CONNECT_STAGGER, TcpStream::connect(dead)).await {
            waiting.push(stream);
        }
        let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = alive.local_addr().unwrap();
        let stream = timeout(CONNECT_MAX, connect_first(vec![dead, dead, alive])).await;
        assert_eq!(stream.expect("it waits for the dead one").unwrap().peer_addr().unwrap(), alive);
        assert!(connect_first(Vec::new()).await.is_err());
    }
}

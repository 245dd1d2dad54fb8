//! Accepting peers: TLS, HTTP/2, one handler for all requests of a daemon.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connect::{CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, STREAM_WINDOW_BYTES};
use super::strangers::{Allowance, Standing, Stranger, Strangers};
use super::tls::{self, EXPORTER_BYTES, Proven};
use super::{Body, Identity};
use crate::model::digest::Digest;
use crate::model::limits::{CONNECTIONS_MAX, HANDSHAKE_MAX, KEEPALIVE_EVERY, KEEPALIVE_MAX, STREAMS_MAX};
use crate::os::systemd::messages;

/// Who sent a request: a fingerprint that its TLS handshake proved, nothing more.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Where the peer found us.
    pub local: SocketAddr,
    pub fingerprint: Digest,
    pub exporter: [u8; EXPORTER_BYTES],
    standing: Arc<Standing>,
}

impl Peer {
    /// The peer has shown that it belongs here. Until a handler says so, its connections last [`PROOF_MAX`].
    ///
    /// [`PROOF_MAX`]: crate::model::limits::PROOF_MAX
    pub fn prove(&self) {
        self.standing.prove();
    }
}

/// Answers the requests of one daemon. Its future is dropped when the peer resets the stream or is lost.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, peer: Peer, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts connections on `listener` until the future is dropped, and with it every connection.
///
/// Peers that are no peers (plain HTTP, random bytes, no certificate, silence) cost one log line each.
///
/// # Errors
/// Only where TLS cannot be set up at all.
pub async fn serve(
    listener: TcpListener,
    identity: &Identity,
    handler: Arc<impl Handler>,
) -> Result<(), rustls::Error> {
    serve_strangers(listener, identity, handler, Strangers::new(Allowance::default())).await
}

pub(super) async fn serve_strangers(
    listener: TcpListener,
    identity: &Identity,
    handler: Arc<impl Handler>,
    strangers: Strangers,
) -> Result<(), rustls::Error> {
    let acceptor = TlsAcceptor::from(tls::server_config(identity)?);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return Ok(()) };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or a connection that died in the queue: neither is a reason to stop listening.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(stranger) = strangers.admit(address.ip()) else {
            tracing::debug!(farcc_peer = %address, "too many connections of strangers");
            continue;
        };
        let (acceptor, handler, strangers) = (acceptor.clone(), handler.clone(), strangers.clone());
        connections.spawn(async move {
            if let Err(refusal) = connection(stream, address, acceptor, handler, &strangers, stranger).await {
                tracing::warn!(message_id = messages::PEER_REFUSED, farcc_peer = %address, farcc_reason = %refusal, "refused a connection");
            }
            drop(permit);
        });
    }
}

/// After an accept that failed for want of descriptors, which will not be back sooner.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection was turned away before any request.
#[derive(Debug)]
enum Turned {
    PlainHttp,
    NotTls,
    NoCertificate,
    Tls(io::Error),
    Silent,
    Unproven(Duration),
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainHttp => f.write_str("plain HTTP; this port speaks TLS to farcc peers only"),
            Self::NotTls => f.write_str("not TLS"),
            Self::NoCertificate => f.write_str("TLS without a certificate: not a farcc peer"),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Silent => write!(f, "no TLS handshake within {} s", HANDSHAKE_MAX.as_secs()),
            Self::Unproven(time) => write!(f, "no request within {} s that shows that it belongs here", time.as_secs()),
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    handler: Arc<impl Handler>,
    strangers: &Strangers,
    stranger: Stranger,
) -> Result<(), Turned> {
    drop(stream.set_nodelay(true));
    let mut first = [0; 8];
    let n_first = timeout(HANDSHAKE_MAX, stream.peek(&mut first)).await.map_err(|_| Turned::Silent)?.unwrap_or(0);
    match &first[..n_first] {
        // Connected and gone: a port probe or a health check, nothing to act on.
        [] => return Ok(()),
        // The content type of a TLS handshake record (RFC 8446, 5.1).
        [0x16, ..] => {}
        text if text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => return Err(Turned::PlainHttp),
        _ => return Err(Turned::NotTls),
    }
    let stream = match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(Err(error)) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return Err(match inner {
                Some(rustls::Error::NoCertificatesPresented) => Turned::NoCertificate,
                Some(rustls::Error::InvalidMessage(_)) => Turned::NotTls,
                _ => Turned::Tls(error),
            });
        }
        Err(_) => return Err(Turned::Silent),
    };
    let proven = Proven::of(stream.get_ref().1).map_err(|error| Turned::Tls(io::Error::other(error)))?;
    let local = stream.get_ref().0.local_addr().map_err(Turned::Tls)?;
    let standing = strangers.standing(proven.fingerprint);
    let Proven { fingerprint, exporter } = proven;
    let peer = Peer { address, local, fingerprint, exporter, standing: standing.clone() };
    let service = service_fn(move |request| {
        let (handler, peer) = (handler.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(handler.handle(peer, request).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let time = strangers.allowance.time;
    let served = tokio::select! {
        served = &mut serving => served,
        is_proven = standing.is_proven_within(time) => {
            if !is_proven {
                return Err(Turned::Unproven(time));
            }
            drop(stranger);
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(farcc_peer = %address, %error, "connection ended");
    }
    Ok(())
}

//! Requests of clients: who may ask what. The work itself is in [`super::job`] and [`super::toolchain`].

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::claims::Claims;
use super::driver::{Event, Patience};
use crate::engine::wire::farm::{JobReply, Opening, Refusal, ToolchainReply};
use crate::engine::wire::handshake::{self, OURS};
use crate::model::id::ClientId;
use crate::model::limits::HANDSHAKE_MAX;
use crate::os::net::{Body, FrameReader, Handler, Peer, empty_body, respond, single_frame_body};
use crate::os::sandbox::Workshop;
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// Where clients' requests are taken.
pub(super) struct Counter {
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) toolchains: Arc<ToolchainStore>,
    pub(super) claims: Claims,
    pub(super) name: String,
    pub(super) patience: Patience,
    /// Whoever delivers results has a share, so that the loop knows.
    pub(super) deliveries: Arc<()>,
}

/// Why a request is not served; journal and client read the same text.
pub(super) struct Turned {
    pub(super) why: Refusal,
    pub(super) message: String,
}

impl Turned {
    pub(super) fn new(why: Refusal, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }

    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        Self::new(Refusal::Request, format!("the request breaks off or makes no sense: {error}"))
    }

    pub(super) fn stopping() -> Self {
        Self::new(Refusal::Draining, "the builder is stopping")
    }
}

impl Handler for Counter {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let reader = FrameReader::new(request.into_body());
        match path.as_str() {
            "/v1/job" => {
                let reply = match self.job(&peer, reader).await {
                    Ok(body) => Ok(body),
                    Err(Turned { why, message }) => {
                        log_refusal(&peer, why, &message);
                        single_frame_body(&JobReply::Refused { why, message })
                    }
                };
                answer(reply)
            }
            "/v1/toolchain" => {
                let reply = match self.toolchain(&peer, reader).await {
                    Ok(body) => Ok(body),
                    Err(Turned { why, message }) => {
                        log_refusal(&peer, why, &message);
                        single_frame_body(&ToolchainReply::Refused { why, message })
                    }
                };
                answer(reply)
            }
            _ => respond(StatusCode::NOT_FOUND, empty_body()),
        }
    }
}

fn answer<E>(body: Result<Body, E>) -> Response<Body> {
    match body {
        Ok(body) => respond(StatusCode::OK, body),
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, empty_body()),
    }
}

/// A full or draining builder is daily business; a peer without a valid lease is something to look at.
fn log_refusal(peer: &Peer, why: Refusal, message: &str) {
    match why {
        Refusal::Busy | Refusal::Draining => {
            tracing::debug!(farcc_peer = %peer.address, cause = message, "refused a request")
        }
        _ => {
            tracing::warn!(message_id = messages::PEER_REFUSED, farcc_peer = %peer.address, farcc_reason = message, "refused a request")
        }
    }
}

impl Counter {
    /// Reads the opening frame and checks version and lease, before anything large is read.
    pub(super) async fn open(&self, peer: &Peer, reader: &mut FrameReader) -> Result<Opening, Turned> {
        let opening = match timeout(HANDSHAKE_MAX, reader.next::<Opening>()).await {
            Ok(opening) => opening.map_err(Turned::broken)?,
            Err(_) => return Err(Turned::new(Refusal::Request, "no opening in time")),
        };
        handshake::agree(OURS, opening.version).map_err(|error| Turned::new(Refusal::Version, error.to_string()))?;
        let client = ClientId(peer.fingerprint);
        let check = |reply| Event::Check { client, lease: opening.lease.clone(), reply };
        self.ask(check).await?.map_err(|(why, message)| Turned { why, message })?;
        peer.prove();
        reader.trust();
        reader.expect_pace(self.patience.pace);
        Ok(opening)
    }

    /// Asks the loop.
    pub(super) async fn ask<A>(&self, event: impl FnOnce(oneshot::Sender<A>) -> Event) -> Result<A, Turned> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(event(reply)).await.map_err(|_| Turned::stopping())?;
        answer.await.map_err(|_| Turned::stopping())
    }
}

/// A body of one message, in the shape that requests are answered with.
pub(super) fn reply<M: Serialize>(message: &M) -> Result<Body, Turned> {
    single_frame_body(message).map_err(Turned::broken)
}

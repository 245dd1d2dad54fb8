//! One peer's link: checks who it is, then turns its messages into inputs.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::driver::{Event, Joined};
use crate::daemon::link::LINK_PATH;
use crate::engine::wire::farm::{BuilderOffer, Greeting, Hello, Refusal, Role, Welcome};
use crate::engine::wire::handshake::{self, OURS, Prover};
use crate::model::id::{BuilderId, ClientId};
use crate::model::limits::{HANDSHAKE_MAX, SLOTS_MAX};
use crate::os::net::{Body, FrameReader, Handler, Peer, body_channel, empty_body, respond, single_frame_body};
use crate::os::systemd::messages;

/// What peers of either kind must know.
pub(super) struct Secrets {
    pub(super) client: String,
    pub(super) builder: String,
}

/// Answers `POST /v1/link`.
pub(super) struct Door {
    pub(super) secrets: Secrets,
    pub(super) inbox: mpsc::Sender<Event>,
}

impl Handler for Door {
    async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != LINK_PATH {
            return respond(StatusCode::NOT_FOUND, empty_body());
        }
        match self.link(&peer, request.into_body()).await {
            Ok(body) => respond(StatusCode::OK, body),
            Err(Turned { why, message }) => {
                tracing::warn!(message_id = messages::PEER_REFUSED, farcc_peer = %peer.address, farcc_reason = %message, "refused a peer");
                let refused = single_frame_body(&Greeting::Refused { why, message });
                refused.map_or_else(
                    |_| respond(StatusCode::INTERNAL_SERVER_ERROR, empty_body()),
                    |body| respond(StatusCode::OK, body),
                )
            }
        }
    }
}

/// Why a peer does not get in; it and the journal read the same text.
struct Turned {
    why: Refusal,
    message: String,
}

impl Turned {
    fn new(why: Refusal, message: impl Into<String>) -> Self {
        Self { why, message: message.into() }
    }
}

impl Door {
    async fn link(&self, peer: &Peer, body: Incoming) -> Result<Body, Turned> {
        let mut reader = FrameReader::new(body);
        let hello = match timeout(HANDSHAKE_MAX, reader.next::<Hello>()).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return Err(Turned::new(Refusal::Request, format!("no valid greeting: {error}"))),
            Err(_) => return Err(Turned::new(Refusal::Request, "no greeting in time")),
        };
        handshake::agree(OURS, hello.version).map_err(|error| Turned::new(Refusal::Version, error.to_string()))?;
        let (secret, theirs, ours) = match hello.role {
            Role::Client => (&self.secrets.client, Prover::Client, Prover::SchedulerToClient),
            Role::Builder(_) => (&self.secrets.builder, Prover::Builder, Prover::SchedulerToBuilder),
        };
        if !handshake::proof(secret, theirs, &peer.exporter).verifies(&hello.proof) {
            let role = if theirs == Prover::Client { "client" } else { "builder" };
            return Err(Turned::new(
                Refusal::Secret,
                format!(
                    "{role} {:?} has the wrong token, or none; `farccctl farm invite` on the scheduler shows the right one",
                    hello.name
                ),
            ));
        }
        peer.prove();
        reader.trust();
        let (writer, body) = body_channel();
        let (reply, accepted) = oneshot::channel();
        let joined = Joined { name: hello.name, address: peer.address, reader, writer, reply };
        let event = match hello.role {
            Role::Client => Event::ClientJoined { client: ClientId(peer.fingerprint), joined },
            Role::Builder(offer) => {
                let offer = check_offer(offer, peer.address.ip())?;
                Event::BuilderJoined { builder: BuilderId(peer.fingerprint), offer, joined }
            }
        };
        let stopping = || Turned::new(Refusal::Full, "the scheduler is stopping");
        self.inbox.send(event).await.map_err(|_| stopping())?;
        let mut grant =
            accepted.await.map_err(|_| stopping())?.map_err(|why| Turned::new(why, "no room for another peer"))?;
        let welcome = Greeting::Welcome(Welcome {
            version: OURS,
            scheduler: grant.instance,
            proof: handshake::proof(secret, ours, &peer.exporter),
            lease_key: grant.lease_key,
            now: grant.now,
            epoch: grant.epoch,
        });
        grant.writer.send(&welcome).await.map_err(|error| Turned::new(Refusal::Request, error.to_string()))?;
        // From here on the driver's queue writes.
        drop(grant.start.send(grant.writer));
        Ok(body)
    }
}

/// An offer that makes sense, with the address filled in that only this side knows.
fn check_offer(mut offer: BuilderOffer, seen: IpAddr) -> Result<BuilderOffer, Turned> {
    let invalid = |message: String| Turned::new(Refusal::Offer, message);
    if offer.slots == 0 || offer.slots > SLOTS_MAX {
        return Err(invalid(format!("a builder offers 1 to {SLOTS_MAX} slots, not {}", offer.slots)));
    }
    if offer.addresses.is_empty() || offer.addresses.len() > ADDRESSES_MAX {
        return Err(invalid(format!("a builder has 1 to {ADDRESSES_MAX} addresses, not {}", offer.addresses.len())));
    }
    for address in &mut offer.addresses {
        if let Some(port) = address.strip_prefix(':') {
            *address = match seen.to_canonical() {
                IpAddr::V4(ip) => format!("{ip}:{port}"),
                IpAddr::V6(ip) => format!("[{ip}]:{port}"),
            };
        }
    }
    Ok(offer)
}

/// A host has a few names and addresses; more would only be there to make clients dial around.
const ADDRESSES_MAX: usize = 8;

//! One peer's link: checks who it is, then turns its messages into inputs.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::driver::{Event, Joined};
use crate::daemon::link::{LINK_PATH, printable};
use crate::engine::wire::farm::{BuilderOffer, Greeting, Hello, Refusal, Role, Welcome};
use crate::engine::wire::handshake::{self, OURS, Prover};
use crate::model::id::{BuilderId, ClientId};
use crate::model::limits::{ARCHITECTURE_BYTES_MAX, HANDSHAKE_MAX, NAME_CHARS_MAX, SLOTS_MAX};
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
                    printable(&hello.name, NAME_CHARS_MAX)
                ),
            ));
        }
        peer.prove();
        reader.trust();
        let (writer, body) = body_channel();
        let (reply, accepted) = oneshot::channel();
        let Peer { address, local, .. } = *peer;
        let name = printable(&hello.name, NAME_CHARS_MAX);
        let joined = Joined { name, address, local, reader, writer, reply };
        let event = match hello.role {
            Role::Client => Event::ClientJoined { client: ClientId(peer.fingerprint), joined },
            Role::Builder(offer) => {
                let offer = check_offer(offer, address.ip())?;
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
    if offer.architecture.len() > ARCHITECTURE_BYTES_MAX {
        return Err(invalid(format!("no architecture has a name of {} bytes", offer.architecture.len())));
    }
    // A builder on this machine: where it is, depends on who asks.
    if !seen.to_canonical().is_loopback() {
        offer.addresses = located(&offer.addresses, seen);
    }
    if let Some(long) = offer.addresses.iter().find(|address| address.chars().count() > NAME_CHARS_MAX) {
        return Err(invalid(format!("no host has a name of {} bytes", long.len())));
    }
    Ok(offer)
}

/// Addresses with `host` where they have none of their own.
pub(super) fn located(addresses: &[String], host: IpAddr) -> Vec<String> {
    let locate = |address: &String| match (address.strip_prefix(':'), host.to_canonical()) {
        (None, _) => address.clone(),
        (Some(port), IpAddr::V4(ip)) => format!("{ip}:{port}"),
        (Some(port), IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
    };
    addresses.iter().map(locate).collect()
}

/// A host has a few names and addresses; more would only be there to make clients dial around.
const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::toolchain::IsaLevel;

    #[track_caller]
    fn check(offered: &[&str], seen: &str, expected: &[&str]) {
        let offer = BuilderOffer {
            slots: 1,
            addresses: offered.iter().map(|&address| address.to_owned()).collect(),
            architecture: "x86_64".to_owned(),
            level: IsaLevel::default(),
            outstanding: Vec::new(),
        };
        let offer = check_offer(offer, seen.parse().unwrap()).unwrap_or_else(|turned| panic!("{}", turned.message));
        assert_eq!(offer.addresses, expected);
    }

    #[test]
    fn addresses_are_as_seen_but_for_builders_here() {
        check(&["b.example:1", ":1"], "192.0.2.1", &["b.example:1", "192.0.2.1:1"]);
        check(&[":1"], "::ffff:192.0.2.1", &["192.0.2.1:1"]);
        check(&[":1"], "2001:db8::1", &["[2001:db8::1]:1"]);
        for here in ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"] {
            check(&[":1", "127.0.0.1:2"], here, &[":1", "127.0.0.1:2"]);
        }
        assert_eq!(located(&[":1".to_owned()], "192.0.2.9".parse().unwrap()), ["192.0.2.9:1"]);
    }

    #[test]
    fn an_offer_has_bounds() {
        let refused = |change: fn(&mut BuilderOffer)| {
            let mut offer = BuilderOffer {
                slots: 1,
                addresses: vec![":1".to_owned()],
                architecture: "x86_64".to_owned(),
                level: IsaLevel::default(),
                outstanding: Vec::new(),
            };
            change(&mut offer);
            check_offer(offer, "192.0.2.1".parse().unwrap()).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|offer| offer.slots = 0));
        assert!(refused(|offer| offer.addresses.clear()));
        assert!(refused(|offer| offer.addresses = vec!["b".repeat(NAME_CHARS_MAX) + ":1"]));
        assert!(refused(|offer| offer.architecture = "x".repeat(ARCHITECTURE_BYTES_MAX + 1)));
    }
}

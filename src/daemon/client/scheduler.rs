//! The client's link to its scheduler: demand out, leases in, again after every break.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep};

use super::driver::Event;
use crate::daemon::link::{Backoff, DialError, Dialler, LINK_QUEUE, Link, Uplink, next_message};
use crate::engine::client::Input;
use crate::engine::wire::farm::{ClientToScheduler, Role, SchedulerToClient};
use crate::model::limits::HEARTBEAT_EVERY;
use crate::os::net::Identity;
use crate::os::systemd::messages;

/// How the link stands, for people and for units that would only wait in vain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LinkState {
    NotConfigured,
    Connecting,
    Connected,
    Down { why: String, since: Instant },
}

impl std::fmt::Display for LinkState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("not configured"),
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Down { why, .. } => f.write_str(why),
        }
    }
}

/// Never returns by itself.
pub(super) async fn keep_linked(
    uplink: Uplink,
    name: String,
    identity: Arc<Identity>,
    state: watch::Sender<LinkState>,
    inbox: mpsc::Sender<Event>,
) {
    let mut backoff = Backoff::default();
    loop {
        let outcome = linked(&uplink, &name, &identity, &state, &inbox, &mut backoff).await;
        let (message_id, text) = match outcome {
            Ok(()) => (messages::SCHEDULER_LOST, "lost; connecting again".to_owned()),
            Err(error) => (error.message_id(), error.to_string()),
        };
        let was = state.borrow().clone();
        let (known, since) = match &was {
            LinkState::Down { why, since } => (*why == text, *since),
            _ => (false, Instant::now()),
        };
        state.send_replace(LinkState::Down { why: text.clone(), since });
        // Once for each new cause, not once for each attempt.
        if !known {
            tracing::warn!(
                message_id,
                farcc_address = uplink.address,
                farcc_reason = text,
                "no scheduler; units compile on this machine"
            );
        }
        if was == LinkState::Connected && inbox.send(Event::Unlinked).await.is_err() {
            return;
        }
        sleep(backoff.pause()).await;
    }
}

/// One link from its greeting to its end.
async fn linked(
    uplink: &Uplink,
    name: &str,
    identity: &Identity,
    state: &watch::Sender<LinkState>,
    inbox: &mpsc::Sender<Event>,
    backoff: &mut Backoff,
) -> Result<(), DialError> {
    let dialler = Dialler { uplink, identity, name };
    let Link { mut reader, mut writer, connection: _alive, .. } = dialler.dial(Role::Client).await?;
    backoff.reset();
    let (queue, mut queued) = mpsc::channel(LINK_QUEUE);
    if inbox.send(Event::Linked(queue)).await.is_err() {
        return Ok(());
    }
    state.send_replace(LinkState::Connected);
    tracing::debug!(scheduler = uplink.address, "connected to the scheduler");
    let reading = async {
        while let Some(message) = next_message(&mut reader).await {
            let event = match message {
                SchedulerToClient::Granted { lease, class } => Event::Engine(Input::Granted { lease, class }),
                SchedulerToClient::Revoked { lease } => Event::Engine(Input::Revoked { lease }),
                SchedulerToClient::Recalled { lease } => Event::Engine(Input::Recalled { lease }),
                SchedulerToClient::Hopeless { class, hopeless } => Event::Engine(Input::Hopeless { class, hopeless }),
                SchedulerToClient::Status(status) => Event::Farm(status),
                SchedulerToClient::Heartbeat => continue,
            };
            if inbox.send(event).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        let mut beat = interval(HEARTBEAT_EVERY);
        loop {
            let message = tokio::select! {
                Some(message) = queued.recv() => message,
                _ = beat.tick() => ClientToScheduler::Heartbeat,
            };
            writer.send(&message).await?;
        }
    };
    tokio::select! {
        () = reading => Ok(()),
        ended = writing => { let ended: Result<(), DialError> = ended; ended }
    }
}

//! The builder's link to its scheduler: registers, reports, and does so again after every break.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep};

use super::driver::{Event, Report};
use crate::daemon::link::{Backoff, DialError, Dialler, Link, Outage, Uplink, next_message};
use crate::engine::wire::farm::{BuilderOffer, BuilderToScheduler, Role, SchedulerToBuilder};
use crate::model::limits::HEARTBEAT_EVERY;
use crate::model::toolchain::IsaLevel;
use crate::os::net::Identity;
use crate::os::systemd::messages;

pub(super) struct Offer {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) architecture: String,
    pub(super) level: IsaLevel,
}

/// Never returns by itself.
pub(super) async fn keep_linked(
    uplink: Uplink,
    offer: Offer,
    identity: Arc<Identity>,
    mut state: watch::Receiver<Report>,
    inbox: mpsc::Sender<Event>,
) {
    let mut backoff = Backoff::default();
    let mut outage = Outage::default();
    loop {
        let outcome = linked(&uplink, &offer, &identity, &mut state, &inbox, &mut backoff, &mut outage).await;
        let (message_id, text) = match outcome {
            Ok(()) => (messages::SCHEDULER_LOST, "lost; connecting again".to_owned()),
            Err(error) => (error.message_id(), error.to_string()),
        };
        // Once for each new cause, not once for each attempt.
        if outage.is_news(&text) {
            tracing::warn!(
                message_id,
                farcc_address = uplink.address,
                farcc_reason = text,
                "not registered with the scheduler"
            );
        }
        if inbox.send(Event::Connection(text)).await.is_err() {
            return;
        }
        sleep(backoff.pause()).await;
    }
}

/// One link from its greeting to its end.
async fn linked(
    uplink: &Uplink,
    offer: &Offer,
    identity: &Identity,
    state: &mut watch::Receiver<Report>,
    inbox: &mpsc::Sender<Event>,
    backoff: &mut Backoff,
    outage: &mut Outage,
) -> Result<(), DialError> {
    let offered = state.borrow().slots;
    let role = Role::Builder(BuilderOffer {
        slots: offered,
        addresses: offer.addresses.clone(),
        architecture: offer.architecture.clone(),
        level: offer.level,
        outstanding: state.borrow().outstanding.clone(),
    });
    let dialler = Dialler { uplink, identity, name: &offer.name };
    let Link { welcome, mut reader, mut writer, connection: _alive } = dialler.dial(role).await?;
    backoff.reset();
    let lease_key = welcome.lease_key.ok_or(DialError::Unproven)?;
    let welcomed = Event::Welcomed { lease_key, scheduler: welcome.now, epoch: welcome.epoch };
    outage.end();
    drop(inbox.send(welcomed).await);
    drop(inbox.send(Event::Connection("connected".to_owned())).await);
    tracing::info!(
        message_id = messages::SCHEDULER_JOINED,
        farcc_address = uplink.address,
        "registered with the scheduler"
    );
    let reading = async {
        while let Some(SchedulerToBuilder::Clock { now, epoch }) = next_message(&mut reader).await {
            if inbox.send(Event::Clock { scheduler: now, epoch }).await.is_err() {
                return;
            }
        }
    };
    let reporting = async {
        let mut beat = interval(HEARTBEAT_EVERY);
        let mut draining = false;
        let mut slots = offered;
        loop {
            // A drain does not wait for the next beat, nor do fewer slots: no lease should be granted meanwhile.
            let is_news = |now: &Report| now.draining != draining || now.slots != slots;
            tokio::select! { _ = beat.tick() => {} Ok(_) = state.wait_for(is_news) => {} }
            let now = state.borrow_and_update().clone();
            slots = now.slots;
            if now.draining != draining {
                draining = now.draining;
                writer.send(&BuilderToScheduler::Draining { draining }).await?;
            }
            let Report { outstanding, finished, failed, .. } = now;
            let heartbeat = BuilderToScheduler::Heartbeat { outstanding, finished, failed, slots: Some(slots) };
            writer.send(&heartbeat).await?;
        }
    };
    tokio::select! {
        () = reading => Ok(()),
        ended = reporting => { let ended: Result<(), DialError> = ended; ended }
    }
}

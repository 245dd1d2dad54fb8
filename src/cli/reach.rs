//! Dials the configured scheduler once, exactly as a daemon does, to tell what is in the way.

use tokio::runtime;
use tokio::time::timeout;

use crate::engine::config::{Part, Upstream};
use crate::engine::wire::farm::{BuilderOffer, ClientToScheduler, FarmStatus, Refusal, Role, SchedulerToClient};
use crate::model::limits::HANDSHAKE_MAX;
use crate::model::toolchain::IsaLevel;
use crate::os::net::Identity;
use crate::os::net::dial::{DialError, Dialler, Link, Uplink};

/// Why there is nothing to be told of the scheduler, or what is to be told of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    #[error("cannot try: {0}")]
    Here(String),
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// Dials as `part` would. A scheduler that takes this one for its own says what the farm is like, to clients only.
pub(crate) fn dial(upstream: Upstream, part: Part) -> Result<Option<FarmStatus>, ReachError> {
    let here = |cause: &dyn std::fmt::Display| ReachError::Here(cause.to_string());
    let identity = Identity::ephemeral().map_err(|error| here(&error))?;
    let name = format!("{} (farccctl)", rustix::system::uname().nodename().to_string_lossy());
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| here(&error))?;
    let uplink = Uplink::from(upstream);
    let dialler = Dialler { uplink: &uplink, identity: &identity, name: &name };
    let reached = runtime.block_on(async {
        match part {
            Part::Builder => offer_nothing(&dialler).await.map(|()| None),
            Part::Client | Part::Scheduler => Ok(ask(dialler.dial(Role::Client).await?).await),
        }
    });
    // A name that is still being looked up would hold up the end.
    runtime.shutdown_background();
    Ok(reached?)
}

/// Shows the builders' token without becoming a builder, to which units would be sent: an offer of no slot is turned away, but
/// only after the token was taken.
async fn offer_nothing(dialler: &Dialler<'_>) -> Result<(), DialError> {
    let offer = BuilderOffer {
        slots: 0,
        addresses: Vec::new(),
        architecture: String::new(),
        level: IsaLevel::default(),
        outstanding: Vec::new(),
    };
    match dialler.dial(Role::Builder(offer)).await {
        Ok(_) | Err(DialError::Refused { why: Refusal::Offer, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A scheduler that goes away meanwhile has nothing to say, which is no news of the link.
async fn ask(link: Link) -> Option<FarmStatus> {
    let Link { mut reader, mut writer, connection: _alive, .. } = link;
    writer.send(&ClientToScheduler::Status).await.ok()?;
    let status = async {
        loop {
            if let SchedulerToClient::Status(status) = reader.next().await.ok()? {
                return Some(status);
            }
        }
    };
    timeout(HANDSHAKE_MAX, status).await.ok()?
}

//! Who may change something. Everybody may look.
//!
//! Root and the daemon's own user may do everything, and nobody is asked for them. About others polkit is asked, where the
//! daemon is on the system bus; without polkit they may not. The bus says who calls, not the caller.

use std::collections::HashMap;

use tokio::time::timeout;
use zbus::fdo::{self, DBusProxy};
use zbus::message::{Flags, Header};
use zbus::{Connection, names::BusName};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::model::limits::POLKIT_MAX;

/// What polkit is asked about. Polkit answers a daemon only about the actions that the daemon's user owns: no two daemons share one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    DrainBuilder,
    ConfigureBuilder,
    PurgeToolchains,
    CancelJobs,
    ManageBuilders,
    ConfigureScheduler,
}

impl Action {
    pub const ALL: [Self; 6] = [
        Self::DrainBuilder,
        Self::ConfigureBuilder,
        Self::PurgeToolchains,
        Self::CancelJobs,
        Self::ManageBuilders,
        Self::ConfigureScheduler,
    ];

    /// As `polkit/*.policy` describe it.
    pub fn id(self) -> &'static str {
        match self {
            Self::DrainBuilder => "org.farcc.builder.drain",
            Self::ConfigureBuilder => "org.farcc.builder.configure",
            Self::PurgeToolchains => "org.farcc.builder.purge-toolchains",
            Self::CancelJobs => "org.farcc.builder.cancel-jobs",
            Self::ManageBuilders => "org.farcc.scheduler.manage-builders",
            Self::ConfigureScheduler => "org.farcc.scheduler.configure",
        }
    }

    /// The user whose daemon asks about it.
    pub fn owner(self) -> &'static str {
        match self {
            Self::DrainBuilder | Self::ConfigureBuilder | Self::PurgeToolchains | Self::CancelJobs => "farcc-builder",
            Self::ManageBuilders | Self::ConfigureScheduler => "farcc-scheduler",
        }
    }
}

/// Denies the call unless its sender may do it. Without an action only root and the daemon's own user may.
pub(super) async fn require(
    action: Option<Action>,
    connection: &Connection,
    header: &Header<'_>,
) -> Result<(), fdo::Error> {
    match (caller(connection, header).await?, action) {
        (Some(uid), _) if uid == 0 || uid == rustix::process::geteuid().as_raw() => Ok(()),
        (Some(uid), Some(action)) => ask_polkit(uid, action, connection, header).await,
        (Some(uid), None) => Err(denied(uid, "only root and the daemon's own user may")),
        (None, _) => Err(fdo::Error::AccessDenied("the bus does not say who calls".to_owned())),
    }
}

async fn caller(connection: &Connection, header: &Header<'_>) -> fdo::Result<Option<u32>> {
    if !connection.is_bus() {
        let credentials = connection.peer_creds().await.map_err(|error| fdo::Error::IOError(error.to_string()))?;
        return Ok(credentials.unix_user_id());
    }
    let Some(sender) = header.sender() else { return Ok(None) };
    let bus = DBusProxy::new(connection).await?;
    let credentials = bus.get_connection_credentials(BusName::from(sender.clone())).await?;
    Ok(credentials.unix_user_id())
}

/// The subject is the caller's name on the bus: unlike a process id, it is never somebody else's a moment later.
async fn ask_polkit(uid: u32, action: Action, connection: &Connection, header: &Header<'_>) -> fdo::Result<()> {
    let id = action.id();
    let cannot_ask =
        |error: &dyn std::fmt::Display| denied(uid, &format!("polkit cannot be asked about {id}: {error}"));
    let subject = Subject::new_for_message_header(header).map_err(|error| cannot_ask(&error))?;
    let flags = match header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH) {
        true => CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
        false => CheckAuthorizationFlags::empty(),
    };
    let authority = AuthorityProxy::new(connection).await.map_err(|error| cannot_ask(&error))?;
    let details = HashMap::new();
    let asking = authority.check_authorization(&subject, id, &details, flags, "");
    match timeout(POLKIT_MAX, asking).await {
        Ok(Ok(answer)) if answer.is_authorized => Ok(()),
        Ok(Ok(answer)) if answer.is_challenge => Err(fdo::Error::InteractiveAuthorizationRequired(format!(
            "user {uid} has to authenticate for {id}: use a terminal or desktop with an agent, or be root"
        ))),
        Ok(Ok(_)) => Err(denied(uid, &format!("polkit says no to {id}"))),
        Ok(Err(error)) => Err(cannot_ask(&error)),
        Err(_) => Err(cannot_ask(&"no answer in time")),
    }
}

fn denied(uid: u32, why: &str) -> fdo::Error {
    fdo::Error::AccessDenied(format!("user {uid} may not do this: {why}"))
}

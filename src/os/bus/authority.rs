//! Who may change something: root and the daemon's own user. Everybody may look.
//!
//! The bus says who calls, not the caller. Asking polkit for anybody else is not done here; they are denied.

use zbus::fdo::{self, DBusProxy};
use zbus::message::Header;
use zbus::{Connection, names::BusName};

/// Denies the call unless its sender is root or this daemon's user.
pub(super) async fn require_owner(connection: &Connection, header: &Header<'_>) -> fdo::Result<()> {
    match caller(connection, header).await? {
        Some(uid) if uid == 0 || uid == rustix::process::geteuid().as_raw() => Ok(()),
        Some(uid) => Err(denied(format!("user {uid} may not do this; only root and the daemon's own user may"))),
        None => Err(denied("the bus does not say who calls".to_owned())),
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

fn denied(why: String) -> fdo::Error {
    fdo::Error::AccessDenied(why)
}

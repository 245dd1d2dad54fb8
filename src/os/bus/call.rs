//! The control command's end: one call to a daemon.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::proxy::MethodFlags;
use zbus::{Connection, DBusError, DynamicType, Proxy, Type};

use crate::os::bus::names::Names;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("there is no system bus: {0}")]
    NoBus(String),
    /// Not enabled, or not there.
    #[error("{0} does not run on this machine")]
    NotRunning(&'static str),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
}

/// Calls `method` of the daemon with these names on the system bus, and waits for what it returns. Whoever is asked for a
/// password by polkit is asked: that may take its time.
///
/// # Errors
/// Where there is no bus, no such daemon, or the daemon says no.
pub fn call<B, A>(names: Names, method: &str, body: &B) -> Result<A, CallError>
where
    B: Serialize + DynamicType + Sync,
    A: DeserializeOwned + Type,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CallError::NoBus(error.to_string()))?.block_on(async {
        let bus = Connection::system().await.map_err(|error| CallError::NoBus(error.to_string()))?;
        let proxy = Proxy::new(&bus, names.name, names.path, names.name).await;
        let proxy = proxy.map_err(|error| CallError::NoBus(error.to_string()))?;
        let answer = proxy.call_with_flags(method, MethodFlags::ALLOW_INTERACTIVE_AUTH, body).await;
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(CallError::Refused("no answer".to_owned())),
            Err(error) => Err(refusal(names, error)),
        }
    })
}

fn refusal(names: Names, error: zbus::Error) -> CallError {
    let (name, text) = match &error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone()),
        zbus::Error::FDO(error) => (error.name().to_string(), error.description().map(str::to_owned)),
        _ => return CallError::Refused(error.to_string()),
    };
    let text = text.unwrap_or_else(|| name.clone());
    match name.as_str() {
        "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            CallError::Denied(text)
        }
        "org.farcc.Error.NotFound" => CallError::NotFound(text),
        // The file that would start it names a unit that exists only where it is enabled.
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.systemd1.NoSuchUnit" => CallError::NotRunning(names.name),
        name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => CallError::NotRunning(names.name),
        _ => CallError::Refused(text),
    }
}

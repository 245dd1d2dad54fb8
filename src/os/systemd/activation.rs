//! Sockets to listen on: systemd's where it handed some over, else bound here.
//!
//! Handed-over sockets win over any address in the configuration: the socket unit is where an administrator looks for it.

use std::fs;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use crate::engine::config::HostPort;

/// A socket that systemd keeps for us. Non-blocking and close-on-exec.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// No socket to listen on. Exit status [`crate::model::exit::LISTEN`].
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {0}: another program does; stop it, or choose another address in the configuration")]
    InUse(String),
    #[error("cannot listen on {0}: this machine has no such address; correct it in the configuration")]
    NotOurs(String),
    #[error("cannot listen on {0}: this user may not; choose a port above 1023 or a directory of this user")]
    Forbidden(String),
    #[error("cannot listen on {address}: {cause}")]
    Other { address: String, cause: io::Error },
    #[error("systemd handed over a socket that cannot be used: {0}; correct the socket unit")]
    Inherited(io::Error),
    #[error("systemd handed over a {found} socket, but this daemon listens on {wanted}; correct the socket unit")]
    Kind { found: &'static str, wanted: &'static str },
}

impl ListenError {
    fn at(address: impl ToString, cause: io::Error) -> Self {
        let address = address.to_string();
        match cause.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            io::ErrorKind::PermissionDenied => Self::Forbidden(address),
            _ => Self::Other { address, cause },
        }
    }
}

/// The sockets that systemd handed over; none where it did not. Call once, before any thread is started: it takes the
/// variables out of the environment, so that no child believes the sockets are its own.
///
/// # Errors
/// A descriptor that is no listening stream socket.
pub fn inherited() -> Result<Vec<Listener>, ListenError> {
    let mut handed_over = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(handed_over.len());
    for index in 0..handed_over.len() {
        listeners.extend(take(&mut handed_over, index).map_err(ListenError::Inherited)?);
    }
    Ok(listeners)
}

fn take(handed_over: &mut ListenFd, index: usize) -> io::Result<Option<Listener>> {
    if let Ok(Some(tcp)) = handed_over.take_tcp_listener(index) {
        tcp.set_nonblocking(true)?;
        return Ok(Some(Listener::Tcp(tcp)));
    }
    let Some(unix) = handed_over.take_unix_listener(index)? else { return Ok(None) };
    unix.set_nonblocking(true)?;
    Ok(Some(Listener::Unix(unix)))
}

/// The sockets of a daemon of the farm: systemd's, else one bound to `address`. Call as [`inherited`].
///
/// # Errors
/// Sockets of another kind, or an address that cannot be bound.
pub fn tcp_listeners(address: &HostPort) -> Result<Vec<TcpListener>, ListenError> {
    let handed_over = inherited()?;
    if handed_over.is_empty() {
        return Ok(vec![bind_tcp(address)?]);
    }
    let tcp = |listener| match listener {
        Listener::Tcp(tcp) => Ok(tcp),
        Listener::Unix(_) => Err(ListenError::Kind { found: "Unix", wanted: "TCP" }),
    };
    handed_over.into_iter().map(tcp).collect()
}

/// The sockets of a client daemon: systemd's, else one bound to `path`. Call as [`inherited`].
///
/// # Errors
/// Sockets of another kind, or a path that cannot be bound.
pub fn unix_listeners(path: &Path) -> Result<Vec<UnixListener>, ListenError> {
    let handed_over = inherited()?;
    if handed_over.is_empty() {
        return Ok(vec![bind_unix(path)?]);
    }
    let unix = |listener| match listener {
        Listener::Unix(unix) => Ok(unix),
        Listener::Tcp(_) => Err(ListenError::Kind { found: "TCP", wanted: "a Unix socket" }),
    };
    handed_over.into_iter().map(unix).collect()
}

/// Binds and listens. `[::]` means every address of the machine, where the kernel has no IPv6 too.
///
/// # Errors
/// An address that cannot be bound.
pub fn bind_tcp(address: &HostPort) -> Result<TcpListener, ListenError> {
    let bound = match bind_resolved(address) {
        Err(cause) if address.host == "::" && cause.kind() != io::ErrorKind::AddrInUse => {
            bind_resolved(&HostPort::new("0.0.0.0", address.port)).map_err(|_| cause)
        }
        bound => bound,
    };
    let listener = bound.map_err(|cause| ListenError::at(address, cause))?;
    listener.set_nonblocking(true).map_err(|cause| ListenError::at(address, cause))?;
    Ok(listener)
}

fn bind_resolved(address: &HostPort) -> io::Result<TcpListener> {
    let addresses: Vec<_> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    TcpListener::bind(addresses.as_slice())
}

/// Binds and listens in a directory of this user only, and takes over a socket whose owner is gone.
///
/// # Errors
/// A socket that somebody answers on, or a directory that cannot be used.
pub fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |cause| ListenError::at(path.display(), cause);
    if UnixStream::connect(path).is_ok() {
        return Err(ListenError::InUse(path.display().to_string()));
    }
    let directory: PathBuf = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let first = bind_tcp(&HostPort::new("127.0.0.1", 0)).unwrap();
        let address = HostPort::new("127.0.0.1", first.local_addr().unwrap().port());
        let error = bind_tcp(&address).unwrap_err().to_string();
        assert_eq!(error, ListenError::InUse(address.to_string()).to_string());
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = bind_tcp(&HostPort::new("192.0.2.1", 0)).unwrap_err();
        assert!(matches!(error, ListenError::NotOurs(_)), "{error}");
    }

    #[test]
    fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/client.sock");
        let first = bind_unix(&path).unwrap();
        assert!(matches!(bind_unix(&path), Err(ListenError::InUse(_))));
        drop(first);
        bind_unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

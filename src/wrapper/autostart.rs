//! Connects to the client daemon, and starts one where none listens: the default without systemd and configuration.
//!
//! Where the system's service manager keeps daemons for all users (farcc-clients.socket), it is asked first.
//!
//! The wrapper binds the socket itself and hands it over: it can connect before the daemon has come up, and of many wrappers
//! that start at once one starts a daemon, under a lock. The daemon ends by itself when idle.

use std::ffi::CString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::model::limits::{AUTOSTART_MAX, AUTOSTART_PAUSE};
use crate::os::local::{Link, LinkError, SocketPlaces, is_private_directory};
use crate::os::sys::wrapper::start_daemon;
use crate::wrapper::find;
use crate::wrapper::settings::Settings;

/// A connection to the daemon, started for it if need be.
///
/// # Errors
/// [`LinkError::NoDaemon`] where none listens and none could be started.
pub(crate) fn connect(settings: &Settings) -> Result<Link, LinkError> {
    let found = Link::connect_first(&settings.places.candidates);
    match (&found, &settings.places.autostart) {
        (Err(LinkError::NoDaemon), Some(socket)) if settings.autostart => start_at(socket, &settings.places),
        _ => found,
    }
}

/// Has a daemon listen, at `socket` if it is not the system's, whoever of all wrappers starts it.
fn start_at(socket: &Path, places: &SocketPlaces) -> Result<Link, LinkError> {
    let dir = private_directory(socket)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("client.lock"))?;
    let since = Instant::now();
    while let Err(errno) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        // Another wrapper is at it. Not waited for on the lock itself: its holder may be stopped for good.
        if errno != Errno::WOULDBLOCK || since.elapsed() > AUTOSTART_MAX {
            return Err(LinkError::NoDaemon);
        }
        std::thread::sleep(LOCK_RETRY);
    }
    match Link::connect_first(&places.candidates) {
        Err(LinkError::NoDaemon) => {}
        started_meanwhile => return started_meanwhile,
    }
    if started_lately(&lock) {
        return Err(LinkError::NoDaemon);
    }
    lock.write_all_at(b"\n", 0)?;
    let opened = places.door.as_deref().map_or(Err(LinkError::NoDaemon), Link::knock);
    let found = opened.and_then(|()| Link::connect_first(&places.candidates));
    let found = match found {
        // Whoever keeps daemons keeps none for this user.
        Err(LinkError::NoDaemon) => start(socket).and_then(|()| Link::connect(socket)),
        found => found,
    };
    lock.write_all_at(b"\n", 0)?;
    found
}

/// The socket's directory, ours alone. In `/tmp` somebody else may have made it first: then there is no daemon.
fn private_directory(socket: &Path) -> Result<&Path, LinkError> {
    let dir = socket.parent().ok_or(LinkError::NoDaemon)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ if is_private_directory(dir) => Ok(dir),
        _ => Err(LinkError::NoDaemon),
    }
}

/// A start writes to the lock. One that has no bytes was just made; a time in the future is no reason to wait for it.
fn started_lately(lock: &File) -> bool {
    let age = |meta: Metadata| meta.modified().ok()?.elapsed().ok();
    let last = lock.metadata().ok().filter(|meta| meta.len() > 0).and_then(age);
    last.is_some_and(|age| age < AUTOSTART_PAUSE)
}

fn start(socket: &Path) -> Result<(), LinkError> {
    let program = find::beside(&["farcc-clientd"]).ok_or(LinkError::NoDaemon)?;
    // Of a daemon that is no more: nobody listens, and the lock is ours.
    std::fs::remove_file(socket).ok();
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&listener, &SocketAddrUnix::new(socket)?)?;
    listen(&listener, BACKLOG)?;
    let program = CString::new(program.into_os_string().into_vec()).map_err(io::Error::from)?;
    start_daemon(&program, &environment(), listener.as_fd())?;
    Ok(())
}

/// Of the environment what says who and where the user is, and what is meant for farcc. The daemon serves builds to come, so
/// nothing that belongs to this one goes with it.
fn environment() -> Vec<CString> {
    // FARCC_LOG is for this build's terminal, in words that a daemon's configuration does not know.
    let is_kept = |name: &[u8]| KEPT.contains(&name) || (name.starts_with(b"FARCC_") && name != b"FARCC_LOG");
    std::env::vars_os()
        .filter(|(name, _)| is_kept(name.as_bytes()))
        .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
        .collect()
}

const KEPT: &[&[u8]] = &[
    b"HOME",
    b"USER",
    b"LOGNAME",
    b"PATH",
    b"TMPDIR",
    b"XDG_RUNTIME_DIR",
    b"XDG_CONFIG_HOME",
    b"XDG_CACHE_HOME",
    b"XDG_STATE_HOME",
    b"DBUS_SESSION_BUS_ADDRESS",
];
/// Wrappers that may wait to be accepted while the daemon starts; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;
/// Binding and forking take less than a millisecond.
const LOCK_RETRY: Duration = Duration::from_millis(5);

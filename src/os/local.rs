//! The client daemon's socket as the wrapper and the control command see it: blocking, without a runtime.
//!
//! Every wait is bounded, and a peer that is neither this user nor root is not talked to: whoever answers decides what
//! ends up in object files. Starting a daemon is the wrapper's business, serving the socket the daemon's.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, take};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg, sendmsg, socket_with,
};

use crate::engine::wire::frame::{FrameDecoder, FrameError, decode, encode};
use crate::engine::wire::local::{FromDaemon, GREETING, ToDaemon};
use crate::model::limits::{DAEMON_SILENCE_MAX, DESCRIPTORS_PER_MESSAGE_MAX};

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no daemon listens")]
    NoDaemon,
    #[error("the socket belongs to user {0}, who is neither this user nor root")]
    ForeignDaemon(u32),
    #[error("the daemon has been silent for {0:?}")]
    Silent(Duration),
    #[error("the daemon closed the connection")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
}

impl From<Errno> for LinkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR | Errno::ACCESS => Self::NoDaemon,
            // What a socket timeout looks like.
            Errno::AGAIN => Self::Silent(DAEMON_SILENCE_MAX),
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            errno => Self::Socket(errno.into()),
        }
    }
}

/// Where the daemon's socket may be, in the order of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketPlaces {
    /// Sockets to try, first to last.
    pub candidates: Vec<PathBuf>,
    /// Where the system's service manager makes the last candidate for whoever knocks, if it has been told to.
    pub door: Option<PathBuf>,
    /// Where a daemon started by the wrapper listens; none where the caller named a socket.
    pub autostart: Option<PathBuf>,
}

impl SocketPlaces {
    /// `named` is `FARCC_SOCKET`: whoever sets it means that socket and no other. `runtime_dir` is `XDG_RUNTIME_DIR`.
    ///
    /// A runtime directory that is another user's (after `su` or `sudo`) is passed over.
    pub fn new(named: Option<PathBuf>, runtime_dir: Option<PathBuf>) -> Self {
        if let Some(named) = named {
            return Self { candidates: vec![named], door: None, autostart: None };
        }
        let uid = rustix::process::geteuid().as_raw();
        let own = match runtime_dir.filter(|dir| is_private_directory(dir)) {
            Some(dir) => dir.join("farcc"),
            None => PathBuf::from(format!("/tmp/farcc-{uid}")),
        }
        .join(SOCKET_NAME);
        let of_system = PathBuf::from(format!("{SYSTEM_SOCKETS}/{uid}.sock"));
        Self { candidates: vec![own.clone(), of_system], door: Some(PathBuf::from(SYSTEM_DOOR)), autostart: Some(own) }
    }
}

/// True for a directory, not a link to one, that is ours and that nobody else may write.
pub fn is_private_directory(dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    dir.symlink_metadata().is_ok_and(|meta| {
        meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
    })
}

/// One connection to the client daemon.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    decoder: FrameDecoder,
    /// Descriptors that arrived and that no frame has claimed yet.
    descriptors: Vec<OwnedFd>,
}

impl Link {
    /// Connects to the first of `candidates` where somebody listens.
    ///
    /// # Errors
    /// [`LinkError::NoDaemon`] where nobody does; anything else where somebody does but is of no use.
    pub fn connect_first(candidates: &[PathBuf]) -> Result<Self, LinkError> {
        for path in candidates {
            match Self::connect(path) {
                Err(LinkError::NoDaemon) => {}
                result => return result,
            }
        }
        Err(LinkError::NoDaemon)
    }

    /// Has the system's service manager make this user's socket, and waits until it has. `door` is its socket for that.
    ///
    /// # Errors
    /// [`LinkError::NoDaemon`] where it has not been told to do such things.
    pub fn knock(door: &Path) -> Result<(), LinkError> {
        let Self { socket, .. } = Self::connect(door)?;
        // It says nothing, and hangs up when it has done what it could.
        loop {
            match recv(&socket, &mut [0; 1], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok(_) | Err(Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Connects to the daemon that listens at `path`, and looks who it is.
    pub fn connect(path: &Path) -> Result<Self, LinkError> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Before connecting: connecting itself blocks while a hung daemon's backlog is full.
        set_socket_timeout(&socket, Timeout::Send, Some(DAEMON_SILENCE_MAX))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(DAEMON_SILENCE_MAX))?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let peer = socket_peercred(&socket)?.uid;
        if !peer.is_root() && peer != rustix::process::geteuid() {
            return Err(LinkError::ForeignDaemon(peer.as_raw()));
        }
        Ok(Self { socket, decoder: FrameDecoder::new(), descriptors: Vec::new() })
    }

    /// Opens the conversation: greeting, first message, and the descriptors that go with it.
    pub fn open(&self, message: &ToDaemon, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        self.send_bytes(&[&GREETING, encode(message)?.as_slice()].concat(), descriptors)
    }

    /// A further message.
    pub fn send(&self, message: &ToDaemon) -> Result<(), LinkError> {
        self.send_bytes(&encode(message)?, &[])
    }

    fn send_bytes(&self, mut bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SENT_DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(LinkError::Socket(Errno::TOOMANYREFS.into()));
        }
        while !bytes.is_empty() {
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            // The descriptors went with the first byte.
            control.clear();
        }
        Ok(())
    }

    /// The next message.
    ///
    /// # Errors
    /// [`LinkError::Silent`] where no whole message comes within [`DAEMON_SILENCE_MAX`].
    pub fn receive(&mut self) -> Result<FromDaemon, LinkError> {
        let mut since = Instant::now();
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(decode(frame)?);
            }
            if since.elapsed() > DAEMON_SILENCE_MAX {
                return Err(LinkError::Silent(DAEMON_SILENCE_MAX));
            }
            match self.receive_bytes() {
                // Stopped and continued (job control): the time in between was not the daemon's silence.
                Err(Errno::INTR) => since = Instant::now(),
                Err(errno) => return Err(errno.into()),
                Ok(0) => return Err(LinkError::Closed),
                Ok(_) => {}
            }
        }
    }

    /// Descriptors that have come so far. They come with the first bytes of the message that needs them, but one read may
    /// bring earlier messages along: so whoever gets that message asks.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        take(&mut self.descriptors)
    }

    fn receive_bytes(&mut self) -> Result<usize, Errno> {
        let mut bytes = [0; RECEIVE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.decoder.push(&bytes[..received.bytes]);
        Ok(received.bytes)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket's name in its directory.
pub const SOCKET_NAME: &str = "client.sock";
/// Of farcc-clients.socket.
const SYSTEM_DOOR: &str = "/run/farcc/clients.sock";
/// Of farcc-client@UID.socket: each for its own user alone.
const SYSTEM_SOCKETS: &str = "/run/farcc/client";
/// Root and working directory.
const SENT_DESCRIPTORS_MAX: usize = 2;
/// Most answers are one frame without diagnostics: one read.
const RECEIVE_BYTES: usize = 16 << 10;

//! The client daemon's end of the local socket: frames with descriptors.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::engine::wire::frame::{self, FrameDecoder, FrameError};
use crate::engine::wire::local::{GREETING, LOCAL_VERSION};
use crate::model::limits::DESCRIPTORS_PER_MESSAGE_MAX;

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("the wrapper is gone")]
    Ended,
    #[error("the socket broke: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("not a wrapper: it does not greet")]
    Stranger,
    #[error("the wrapper speaks version {0}, this daemon {LOCAL_VERSION}")]
    Version(u8),
}

/// One wrapper's connection.
#[derive(Debug)]
pub struct LocalStream {
    stream: UnixStream,
    decoder: FrameDecoder,
    received: VecDeque<OwnedFd>,
}

/// Descriptors that a wrapper sends with its request: root and working directory. More are closed unseen.
const REQUEST_FDS_MAX: usize = 2;
/// One read: most requests (command and environment) fit.
const READ_BYTES: usize = 64 << 10;

impl LocalStream {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: FrameDecoder::new(), received: VecDeque::new() }
    }

    /// Reads the wrapper's greeting.
    ///
    /// # Errors
    /// [`LocalError::Version`] for a wrapper of another version: answer it with `Upgrade`.
    pub async fn greet(&mut self) -> Result<(), LocalError> {
        let mut greeting = [0; GREETING.len()];
        let mut n_read = 0;
        while n_read < greeting.len() {
            n_read += self.receive(&mut greeting[n_read..]).await?;
        }
        let ([name @ .., version], [expected @ .., _]) = (&greeting, &GREETING);
        match *version {
            _ if name != expected => Err(LocalError::Stranger),
            LOCAL_VERSION => Ok(()),
            other => Err(LocalError::Version(other)),
        }
    }

    /// The next message.
    ///
    /// Cancel safe: a message that is only partly here stays for the next call.
    ///
    /// # Errors
    /// [`LocalError::Ended`] where the wrapper is gone.
    pub async fn next<M: DeserializeOwned>(&mut self) -> Result<M, LocalError> {
        loop {
            if let Some(body) = self.decoder.next_frame()? {
                return Ok(frame::decode(body)?);
            }
            let mut bytes = vec![0; READ_BYTES];
            let n_read = self.receive(&mut bytes).await?;
            self.decoder.push(&bytes[..n_read]);
        }
    }

    /// Descriptors that came so far and were not taken yet, oldest first.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        self.received.drain(..).collect()
    }

    /// Sends one message; `fds` arrive with its first bytes, as many with each as the kernel takes at once.
    ///
    /// # Errors
    /// Where the wrapper is gone, or there are more `fds` than the message has bytes for.
    pub async fn send<M: Serialize>(&mut self, message: &M, fds: &[BorrowedFd<'_>]) -> Result<(), LocalError> {
        let bytes = frame::encode(message)?;
        let mut lots = fds.chunks(DESCRIPTORS_PER_MESSAGE_MAX);
        let mut n_sent = 0;
        while n_sent < bytes.len() {
            let attached = lots.next().unwrap_or_default();
            let end = if lots.len() == 0 { bytes.len() } else { n_sent + 1 };
            n_sent += self
                .stream
                .async_io(Interest::WRITABLE, || send_once(&self.stream, &bytes[n_sent..end], attached))
                .await?;
        }
        match lots.len() {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message").into()),
        }
    }

    async fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, LocalError> {
        let (n_read, fds) = self.stream.async_io(Interest::READABLE, || receive_once(&self.stream, bytes)).await?;
        self.received.extend(fds);
        self.received.truncate(REQUEST_FDS_MAX);
        if n_read == 0 { Err(LocalError::Ended) } else { Ok(n_read) }
    }
}

fn send_once(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

fn receive_once(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REQUEST_FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = received {
            fds.extend(rights);
        }
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::engine::wire::local::FromDaemon;
    use crate::os::local::Link;

    /// All of them, in order, and before the message is whole.
    #[tokio::test]
    async fn more_descriptors_than_the_kernel_takes_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let wrapper = std::thread::spawn(move || {
            let mut link = Link::connect(&socket).unwrap();
            assert_eq!(link.receive().unwrap(), FromDaemon::SignOfLife);
            link.take_descriptors()
        });
        let files = [(); 3].map(|()| tempfile::tempfile().unwrap());
        let inode = |file: &std::fs::File| file.metadata().unwrap().ino();
        let sent: Vec<_> = files.iter().cycle().take(2 * DESCRIPTORS_PER_MESSAGE_MAX + 1).collect();
        let (stream, _) = listener.accept().await.unwrap();
        let fds: Vec<_> = sent.iter().map(|file| file.as_fd()).collect();
        LocalStream::new(stream).send(&FromDaemon::SignOfLife, &fds).await.unwrap();
        let received: Vec<_> = wrapper.join().unwrap().into_iter().map(std::fs::File::from).collect();
        assert_eq!(received.iter().map(inode).collect::<Vec<_>>(), sent.into_iter().map(inode).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn descriptors_travel_with_their_message() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (LocalStream::new(a), LocalStream::new(b));
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        a.send(&"with", &[reader.as_fd()]).await.unwrap();
        a.send(&"without", &[]).await.unwrap();
        assert_eq!(b.next::<String>().await.unwrap(), "with");
        let fds = b.take_fds();
        assert_eq!(fds.len(), 1);
        assert_eq!(b.next::<String>().await.unwrap(), "without");
        assert!(b.take_fds().is_empty());
        rustix::io::write(&writer, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(&fds[0], &mut byte).unwrap(), 1);
        drop(a);
        assert!(matches!(b.next::<String>().await, Err(LocalError::Ended)));
    }
}

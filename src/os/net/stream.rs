//! Frames in HTTP bodies.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, channel, combinators::BoxBody};
use hyper::Response;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::engine::wire::farm::{BlobStart, Encoding};
use crate::engine::wire::frame::{self, FRAME_HEADER_BYTES, FrameDecoder, FrameError};
use crate::model::limits::{BLOB_CHUNK_BYTES, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};

/// What requests and answers consist of.
pub type Body = BoxBody<Bytes, Infallible>;

/// Frames under way in one body before the sender waits for the peer.
const BODY_QUEUE_FRAMES: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the peer ended the stream")]
    Ended,
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer has neither sent nor taken anything for {} s", .0.as_secs())]
    Idle(Duration),
    #[error("the peer sends less than {0} bytes a second")]
    Slow(u64),
}

/// What a peer has to keep up with.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest pause.
    pub idle: Duration,
    /// Over all the time that was spent waiting for it; counts from the end of the first `idle` on.
    pub bytes_per_second: u64,
}

/// How a peer has kept its pace so far.
#[derive(Debug)]
struct Paced {
    pace: Pace,
    waited: Duration,
    n_bytes: u64,
}

impl Paced {
    fn take(&mut self, waited: Duration, n_bytes: usize) -> Result<(), StreamError> {
        let Pace { idle, bytes_per_second } = self.pace;
        self.waited += waited;
        self.n_bytes = self.n_bytes.saturating_add(n_bytes as u64);
        let wanted = u128::from(bytes_per_second) * self.waited.as_millis() / 1000;
        if self.waited > idle && u128::from(self.n_bytes) < wanted {
            return Err(StreamError::Slow(bytes_per_second));
        }
        Ok(())
    }
}

/// Reads frames from a body; the first one is bounded as from a stranger.
#[derive(Debug)]
pub struct FrameReader {
    body: Incoming,
    decoder: FrameDecoder,
    paced: Option<Paced>,
}

impl FrameReader {
    pub fn new(body: Incoming) -> Self {
        Self { body, decoder: FrameDecoder::with_limit(FIRST_FRAME_BYTES_MAX), paced: None }
    }

    /// The peer has proved itself: frames of full size from now on.
    pub fn trust(&mut self) {
        self.decoder.set_limit(FRAME_BYTES_MAX);
    }

    /// The peer must keep this pace from now on.
    pub fn expect_pace(&mut self, pace: Pace) {
        self.paced = Some(Paced { pace, waited: Duration::ZERO, n_bytes: 0 });
    }

    /// The next frame's bytes; `None` where the body ends between two frames.
    ///
    /// # Errors
    /// A broken connection, a frame cut short or too long.
    pub async fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        loop {
            if let Some(body) = self.decoder.next_frame()? {
                return Ok(Some(body.to_vec()));
            }
            match self.next_chunk().await? {
                Some(data) => self.decoder.push(&data),
                None if self.decoder.is_empty() => return Ok(None),
                None => return Err(StreamError::Ended),
            }
        }
    }

    /// What comes next of the body, at the pace that was asked for. Time that passes between two calls is ours, not the peer's.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        let since = Instant::now();
        let chunk = match &self.paced {
            Some(Paced { pace, .. }) => {
                timeout(pace.idle, self.body.frame()).await.map_err(|_| StreamError::Idle(pace.idle))?
            }
            None => self.body.frame().await,
        };
        let Some(data) = chunk.transpose()?.map(|chunk| chunk.into_data().unwrap_or_default()) else { return Ok(None) };
        if let Some(paced) = &mut self.paced {
            paced.take(since.elapsed(), data.len())?;
        }
        Ok(Some(data))
    }

    /// The next frame's message.
    ///
    /// # Errors
    /// As [`Self::next_bytes`]; the end of the body is an error here.
    pub async fn next<M: DeserializeOwned>(&mut self) -> Result<M, StreamError> {
        let bytes = self.next_bytes().await?.ok_or(StreamError::Ended)?;
        Ok(frame::decode(&bytes)?)
    }
}

/// Writes frames into a body. Dropping it ends the body.
#[derive(Debug)]
pub struct FrameWriter {
    sender: channel::Sender<Bytes>,
    idle: Option<Duration>,
}

impl FrameWriter {
    /// The peer must take something at least this often from now on.
    pub fn expect_reader(&mut self, idle: Duration) {
        self.idle = Some(idle);
    }

    /// Sends one message as a frame; waits while the peer does not read.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), StreamError> {
        self.send_raw(frame::encode(message)?.into()).await
    }

    /// Sends `bytes` as one frame without an encoding of their own.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let mut framed = BytesMut::with_capacity(FRAME_HEADER_BYTES + bytes.len());
        framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        framed.extend_from_slice(bytes);
        self.send_raw(framed.freeze()).await
    }

    /// Announces a blob and sends its bytes, compressed where that pays.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub async fn send_blob(&mut self, digest: crate::model::digest::Digest, bytes: &[u8]) -> Result<(), StreamError> {
        let packed = compress(bytes);
        let (encoding, wire) = match &packed {
            Some(packed) => (Encoding::Zstd, packed.as_slice()),
            None => (Encoding::Plain, bytes),
        };
        let (size, wire_bytes) = (bytes.len() as u64, wire.len() as u64);
        self.send(&BlobStart { digest, size, wire_bytes, encoding }).await?;
        for chunk in wire.chunks(BLOB_CHUNK_BYTES) {
            self.send_bytes(chunk).await?;
        }
        Ok(())
    }

    async fn send_raw(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let sending = self.sender.send_data(bytes);
        let sent = match self.idle {
            Some(idle) => timeout(idle, sending).await.map_err(|_| StreamError::Idle(idle))?,
            None => sending.await,
        };
        sent.map_err(|_| StreamError::Ended)
    }
}

/// Below this, the time for compressing is worth more than the bytes on any network.
const COMPRESS_FROM_BYTES: usize = 4 << 10;
/// zstd's fastest ordinary level: about 400 MB/s a core, a factor of 3 to 4 on sources and objects.
const COMPRESS_LEVEL: i32 = 1;

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < COMPRESS_FROM_BYTES {
        return None;
    }
    zstd::bulk::compress(bytes, COMPRESS_LEVEL).ok().filter(|packed| packed.len() < bytes.len() / 10 * 9)
}

/// A body and what writes it.
pub fn body_channel() -> (FrameWriter, Body) {
    let (sender, body) = channel::Channel::<Bytes>::new(BODY_QUEUE_FRAMES);
    (FrameWriter { sender, idle: None }, body.boxed())
}

/// A body of one message.
///
/// # Errors
/// Where the message exceeds a frame.
pub fn single_frame_body<M: Serialize>(message: &M) -> Result<Body, StreamError> {
    Ok(Full::new(Bytes::from(frame::encode(message)?)).boxed())
}

pub fn empty_body() -> Body {
    Full::new(Bytes::new()).boxed()
}

/// An answer with this status and body.
pub fn respond(status: hyper::StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_be_slow_to_begin_and_not_for_ever() {
        let pace = Pace { idle: Duration::from_secs(30), bytes_per_second: 1000 };
        let mut paced = Paced { pace, waited: Duration::ZERO, n_bytes: 0 };
        assert!(paced.take(Duration::from_secs(30), 1).is_ok());
        assert!(matches!(paced.take(Duration::from_secs(1), 1), Err(StreamError::Slow(1000))));
        assert!(paced.take(Duration::from_secs(1), 32_000).is_ok());
        assert!(matches!(paced.take(Duration::from_secs(1), 900), Err(StreamError::Slow(1000))));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_peer_that_does_not_read() {
        let (mut writer, _body) = body_channel();
        writer.expect_reader(Duration::from_millis(10));
        for _ in 0..BODY_QUEUE_FRAMES {
            assert!(writer.send_bytes(b"result").await.is_ok());
        }
        assert!(matches!(writer.send_bytes(b"result").await, Err(StreamError::Idle(_))));
    }
}

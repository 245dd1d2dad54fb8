//! Offers of toolchains: taken once, verified before anybody can use them.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::claims::{Offer, Upload};
use super::session::{Counter, Turned, reply};
use crate::engine::wire::farm::{Refusal, ToolchainOffer, ToolchainReply};
use crate::model::causes::with_causes;
use crate::model::id::ClientId;
use crate::model::toolchain::ToolchainId;
use crate::os::net::{Body, FrameReader, FrameWriter, Peer, StreamError, body_channel};
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// Pieces of an archive between network and unpacking.
const QUEUE: usize = 16;

impl Counter {
    /// Waits here, in the request, until there is something to say: a client that goes away meanwhile leaves nothing.
    pub(super) async fn toolchain(&self, peer: &Peer, mut reader: FrameReader) -> Result<Body, Turned> {
        self.open(peer, &mut reader).await?;
        let ToolchainOffer { toolchain } = reader.next().await.map_err(Turned::broken)?;
        let busy = || Turned::new(Refusal::Busy, "this client offers a toolchain already");
        let offer = self.claims.offer(ClientId(peer.fingerprint)).ok_or_else(busy)?;
        let upload = loop {
            let over = offer.watch();
            if self.has_toolchain(toolchain).await {
                return reply(&ToolchainReply::Ready);
            }
            match offer.claim(Instant::now(), toolchain) {
                Ok(upload) => break upload,
                Err(taken) => taken.wait(over).await,
            }
        };
        let (writer, body) = body_channel();
        let client = ClientId(peer.fingerprint);
        let receipt = Receipt { client, toolchain, store: self.toolchains.clone(), writer };
        let address = peer.address;
        // Ends with the request: a client that goes away ends its body, or drops the other end of the answer.
        tokio::spawn(async move {
            if let Err(error) = receipt.take(offer, upload, reader).await {
                tracing::debug!(farcc_peer = %address, %error, "an offer of a toolchain broke off");
            }
        });
        Ok(body)
    }

    async fn has_toolchain(&self, toolchain: ToolchainId) -> bool {
        let store = self.toolchains.clone();
        spawn_blocking(move || store.get(&toolchain).is_some()).await.unwrap_or(false)
    }
}

/// A toolchain that is about to come.
struct Receipt {
    client: ClientId,
    toolchain: ToolchainId,
    store: Arc<ToolchainStore>,
    writer: FrameWriter,
}

impl Receipt {
    async fn take(mut self, offer: Offer, upload: Upload, reader: FrameReader) -> Result<(), StreamError> {
        self.writer.send(&ToolchainReply::Upload).await?;
        let outcome = self.unpack(reader).await;
        // Before the answer: whoever waits must find the tree, or nobody at work on it, and this client may have another.
        drop((offer, upload));
        let reply = match outcome {
            Ok(()) => ToolchainReply::Ready,
            Err(message) => {
                tracing::warn!(
                    message_id = messages::TOOLCHAIN_REJECTED,
                    farcc_toolchain = %self.toolchain,
                    farcc_client = %self.client,
                    farcc_reason = message,
                    "a toolchain was not taken in; nothing of it is left"
                );
                ToolchainReply::Refused { why: Refusal::Request, message }
            }
        };
        self.writer.send(&reply).await
    }

    async fn unpack(&self, mut reader: FrameReader) -> Result<(), String> {
        let (pieces, queue) = mpsc::channel(QUEUE);
        let (store, toolchain) = (self.store.clone(), self.toolchain);
        let unpacking = spawn_blocking(move || {
            let archive = QueueReader { queue, piece: Vec::new(), n_read: 0 };
            store.unpack(&toolchain, archive).map(drop).map_err(|error| with_causes(&error))
        });
        let receiving = async {
            loop {
                let piece = match reader.next_bytes().await {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => break,
                    Err(error) => Err(io::Error::other(error)),
                };
                let is_broken = piece.is_err();
                // Where the other end is gone, unpacking has seen enough and says why.
                if pieces.send(piece).await.is_err() || is_broken {
                    break;
                }
            }
            drop(pieces);
        };
        let ((), unpacked) = tokio::join!(receiving, unpacking);
        unpacked.map_err(|_| "the builder is stopping".to_owned())?
    }
}

/// An archive as it arrives, for code that reads.
struct QueueReader {
    queue: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    n_read: usize,
}

impl Read for QueueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.n_read == self.piece.len() {
            match self.queue.blocking_recv() {
                Some(piece) => (self.piece, self.n_read) = (piece?, 0),
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len() - self.n_read);
        buffer[..n].copy_from_slice(&self.piece[self.n_read..self.n_read + n]);
        self.n_read += n;
        Ok(n)
    }
}

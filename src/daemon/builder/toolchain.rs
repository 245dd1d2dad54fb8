//! Offers of toolchains: taken once, verified before anybody can use them.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::claims::{Claim, Granted};
use super::session::{Counter, Turned};
use crate::engine::wire::farm::{Refusal, ToolchainOffer, ToolchainReply};
use crate::model::toolchain::ToolchainId;
use crate::os::net::{Body, FrameReader, FrameWriter, Peer, StreamError, body_channel};
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// Pieces of an archive between network and unpacking.
const QUEUE: usize = 16;

impl Counter {
    pub(super) async fn toolchain(&self, peer: &Peer, mut reader: FrameReader) -> Result<Body, Turned> {
        self.open(peer, &mut reader).await?;
        let ToolchainOffer { toolchain } = reader.next().await.map_err(Turned::broken)?;
        let (writer, body) = body_channel();
        let (store, claims) = (self.toolchains.clone(), self.claims.clone());
        let address = peer.address;
        // Ends with the request: a client that goes away ends its body, or drops the other end of the answer.
        tokio::spawn(async move {
            let offer = Offer { toolchain, store, writer };
            let claimed = loop {
                if offer.is_here().await {
                    break None;
                }
                match claims.claim(toolchain) {
                    Claim::Granted(granted) => break Some(granted),
                    Claim::Taken(mut over) => drop(over.changed().await),
                }
            };
            if let Err(error) = offer.answer(claimed, reader).await {
                tracing::debug!(farcc_peer = %address, %error, "an offer of a toolchain broke off");
            }
        });
        Ok(body)
    }
}

struct Offer {
    toolchain: ToolchainId,
    store: Arc<ToolchainStore>,
    writer: FrameWriter,
}

impl Offer {
    async fn is_here(&self) -> bool {
        let (store, toolchain) = (self.store.clone(), self.toolchain);
        spawn_blocking(move || store.get(&toolchain).is_some()).await.unwrap_or(false)
    }

    async fn answer(mut self, claimed: Option<Granted>, reader: FrameReader) -> Result<(), StreamError> {
        let Some(granted) = claimed else { return self.writer.send(&ToolchainReply::Ready).await };
        self.writer.send(&ToolchainReply::Upload).await?;
        let outcome = self.unpack(reader).await;
        // Whoever waits must find the tree, or nobody at work on it.
        drop(granted);
        let reply = match outcome {
            Ok(()) => ToolchainReply::Ready,
            Err(message) => {
                tracing::warn!(
                    message_id = messages::TOOLCHAIN_REJECTED,
                    farcc_toolchain = %self.toolchain,
                    cause = message,
                    "a toolchain was rejected; nothing of it is left"
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
            store.unpack(&toolchain, archive).map(drop).map_err(|error| error.to_string())
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

//! What the ends of a scheduler link have in common: dialling with proof, and queues towards a peer.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::engine::config::{Secret, Upstream};
use crate::engine::wire::farm::{Greeting, Hello, Refusal, Role, Welcome};
use crate::engine::wire::handshake::{self, OURS, Prover};
use crate::model::digest::Digest;
use crate::model::limits::{HANDSHAKE_MAX, HEARTBEAT_SILENCE_MAX};
use crate::os::net::{self, Connection, FrameReader, FrameWriter, Identity, StreamError};
use crate::os::systemd::messages;

/// Messages that may wait for one peer. A peer that far behind is not reading any more.
pub const LINK_QUEUE: usize = 4096;

/// Where a scheduler link is opened.
pub const LINK_PATH: &str = "/v1/link";

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(transparent)]
    Connect(#[from] net::ConnectError),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the scheduler refused: {message}")]
    Refused { why: Refusal, message: String },
    #[error("the scheduler does not know the shared secret; check the token on both sides, or join the farm again")]
    Unproven,
    #[error(transparent)]
    Version(#[from] handshake::VersionError),
    #[error("no answer within {} s", HANDSHAKE_MAX.as_secs())]
    Silent,
}

impl DialError {
    /// Whether somebody has to do something, or time may mend it.
    pub fn message_id(&self) -> &'static str {
        match self {
            Self::Refused { .. } | Self::Unproven | Self::Version(_) => messages::SCHEDULER_REFUSED,
            Self::Connect(_) | Self::Http(_) | Self::Stream(_) | Self::Silent => messages::SCHEDULER_LOST,
        }
    }
}

/// Where a scheduler is and what it must be shown.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// `host:port`.
    pub address: String,
    /// The scheduler's certificate, where an invitation named it.
    pub fingerprint: Option<Digest>,
    pub secret: Secret,
}

impl From<Upstream> for Uplink {
    fn from(upstream: Upstream) -> Self {
        Self { address: upstream.address.to_string(), fingerprint: upstream.fingerprint, secret: upstream.token }
    }
}

/// Who dials, and what it knows.
#[derive(Debug)]
pub struct Dialler<'a> {
    pub uplink: &'a Uplink,
    pub identity: &'a Identity,
    /// Host name, for people.
    pub name: &'a str,
}

/// A link that both sides have proved.
#[derive(Debug)]
pub struct Link {
    pub welcome: Welcome,
    pub reader: FrameReader,
    pub writer: FrameWriter,
    pub connection: Connection,
}

impl Dialler<'_> {
    /// Opens a link in this role and checks the scheduler's proof.
    ///
    /// # Errors
    /// Why there is no link; nothing was believed that came from an unproven peer.
    pub async fn dial(&self, role: Role) -> Result<Link, DialError> {
        let connection =
            net::connect(std::slice::from_ref(&self.uplink.address), self.identity, self.uplink.fingerprint).await?;
        timeout(HANDSHAKE_MAX, self.greet(connection, role)).await.unwrap_or(Err(DialError::Silent))
    }

    async fn greet(&self, connection: Connection, role: Role) -> Result<Link, DialError> {
        let (ours, theirs) = match role {
            Role::Client => (Prover::Client, Prover::SchedulerToClient),
            Role::Builder(_) => (Prover::Builder, Prover::SchedulerToBuilder),
        };
        let proof = handshake::proof(self.uplink.secret.expose(), ours, &connection.exporter);
        let (mut writer, body) = net::body_channel();
        writer.send(&Hello { version: OURS, name: self.name.to_owned(), proof, role }).await?;
        let response = connection.post(LINK_PATH, body).await?;
        let mut reader = FrameReader::new(response.into_body());
        let welcome = match reader.next::<Greeting>().await? {
            Greeting::Refused { why, message } => return Err(DialError::Refused { why, message }),
            Greeting::Welcome(welcome) => welcome,
        };
        handshake::agree(OURS, welcome.version)?;
        if !handshake::proof(self.uplink.secret.expose(), theirs, &connection.exporter).verifies(&welcome.proof) {
            return Err(DialError::Unproven);
        }
        reader.trust();
        Ok(Link { welcome, reader, writer, connection })
    }
}

/// The next message, or `None` when the link is over, for whatever reason: the end, a breach, or silence.
pub async fn next_message<M: DeserializeOwned>(reader: &mut FrameReader) -> Option<M> {
    match timeout(HEARTBEAT_SILENCE_MAX, reader.next()).await {
        Ok(Ok(message)) => Some(message),
        Ok(Err(error)) => {
            tracing::debug!(%error, "link ended");
            None
        }
        Err(_) => {
            tracing::debug!("link silent");
            None
        }
    }
}

/// Sends what is queued until the queue or the peer ends.
pub async fn drain_queue<M: Serialize>(mut queue: mpsc::Receiver<M>, mut writer: FrameWriter) {
    while let Some(message) = queue.recv().await {
        if let Err(error) = writer.send(&message).await {
            tracing::debug!(%error, "link ended");
            return;
        }
    }
}

/// What a peer says of itself, fit for a line of a log: bounded, and without characters that end lines or move cursors.
pub fn printable(text: &str, chars_max: usize) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(chars_max).map(shown).collect()
}

/// Tells causes that are news from those that come with each attempt.
#[derive(Debug, Default)]
pub struct Outage {
    told: Option<String>,
}

impl Outage {
    /// Whether nobody has been told of this cause since the last time that things were well.
    pub fn is_news(&mut self, cause: &str) -> bool {
        let is_news = self.told.as_deref() != Some(cause);
        self.told = Some(cause.to_owned());
        is_news
    }

    pub fn end(&mut self) {
        self.told = None;
    }
}

/// Pauses between attempts to reach a scheduler: short at first, so that a restart is hardly noticed.
#[derive(Debug, Default)]
pub struct Backoff {
    n_failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    pub fn reset(&mut self) {
        self.n_failures = 0;
    }

    /// The next pause; doubles up to two seconds.
    pub fn pause(&mut self) -> Duration {
        let pause = Self::FIRST.saturating_mul(1 << self.n_failures.min(8)).min(Self::LONGEST);
        self.n_failures += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_in_each_outage() {
        let mut outage = Outage::default();
        assert!(outage.is_news("lost"));
        assert!(outage.is_news("refused") && !outage.is_news("refused"));
        outage.end();
        assert!(outage.is_news("refused") && !outage.is_news("refused"));
    }

    #[test]
    fn a_peers_words_stay_on_their_line() {
        assert_eq!(printable("häst\n<3>forged\x1b[2J", 255), "häst\u{fffd}<3>forged\u{fffd}[2J");
        assert_eq!(printable(&"ü".repeat(300), 255).chars().count(), 255);
    }
}

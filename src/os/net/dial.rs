//! Dialling a scheduler: a connection on which both sides have proved that they know the shared secret.
//!
//! The daemons do it to work, the control command to tell what is in the way; both meet the same errors.

use tokio::time::timeout;

use super::{ConnectError, Connection, FrameReader, FrameWriter, Identity, StreamError, body_channel, connect};
use crate::engine::config::{Secret, Upstream};
use crate::engine::wire::farm::{Greeting, Hello, Refusal, Role, Welcome};
use crate::engine::wire::handshake::{self, OURS, Prover};
use crate::model::digest::Digest;
use crate::model::limits::HANDSHAKE_MAX;
use crate::os::systemd::messages;

/// Where a scheduler link is opened.
pub const LINK_PATH: &str = "/v1/link";

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
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
            connect(std::slice::from_ref(&self.uplink.address), self.identity, self.uplink.fingerprint).await?;
        timeout(HANDSHAKE_MAX, self.greet(connection, role)).await.unwrap_or(Err(DialError::Silent))
    }

    async fn greet(&self, connection: Connection, role: Role) -> Result<Link, DialError> {
        let (ours, theirs) = match role {
            Role::Client => (Prover::Client, Prover::SchedulerToClient),
            Role::Builder(_) => (Prover::Builder, Prover::SchedulerToBuilder),
        };
        let proof = handshake::proof(self.uplink.secret.expose(), ours, &connection.exporter);
        let (mut writer, body) = body_channel();
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

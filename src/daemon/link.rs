//! What the ends of a scheduler link have in common: queues towards a peer, pauses, and what is news. [`crate::os::net::dial`] dials.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::model::limits::HEARTBEAT_SILENCE_MAX;
use crate::os::net::{FrameReader, FrameWriter};

pub use crate::os::net::dial::{DialError, Dialler, LINK_PATH, Link, Uplink};

/// Messages that may wait for one peer. A peer that far behind is not reading any more.
pub const LINK_QUEUE: usize = 4096;

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

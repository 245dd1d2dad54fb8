//! Tells the service manager how it goes (`sd_notify(3)`). Without one, nothing happens.

use sd_notify::NotifyState;
use tracing::debug;

use crate::model::limits::STATUS_EVERY;
use crate::model::moment::Moment;

/// Sends READY=1 and its kin, and STATUS= no more often than people can read.
#[derive(Debug, Default)]
pub struct Notifier {
    /// Waits for its turn.
    pending: Option<String>,
    /// Text and time of the last one.
    sent: Option<(String, Moment)>,
}

impl Notifier {
    pub fn new() -> Self {
        Self::default()
    }

    /// Every socket listens and every object is served: units that wait for this one may start.
    pub fn ready(&mut self, now: Moment, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
        self.pending = None;
        self.sent = Some((status.to_owned(), now));
    }

    /// The configuration is being read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => debug!("cannot read the clock for a reload notice: {error}"),
        }
    }

    /// From here on nothing new is accepted.
    pub fn stopping(&self, status: &str) {
        send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// The line that `systemctl status` shows. Repeated texts are not sent; [`Notifier::tick`] sends what had to wait.
    pub fn status(&mut self, now: Moment, text: &str) {
        let shown = self.sent.as_ref().is_some_and(|(sent, _)| sent == text);
        self.pending = (!shown).then(|| text.to_owned());
        self.tick(now);
    }

    /// When [`Notifier::tick`] has something to do.
    pub fn next(&self) -> Option<Moment> {
        self.pending.as_ref()?;
        Some(self.sent.as_ref().map_or(Moment::START, |(_, at)| *at + STATUS_EVERY))
    }

    /// Sends a status whose time has come.
    pub fn tick(&mut self, now: Moment) {
        if self.next().is_some_and(|due| due <= now)
            && let Some(text) = self.pending.take()
        {
            send(&[NotifyState::Status(&text)]);
            self.sent = Some((text, now));
        }
    }
}

/// Failure is of no consequence to the work, so it is only noted.
pub(super) fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("the service manager does not take a notice: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Moment {
        Moment::START + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_of_changes_becomes_the_first_and_the_last() {
        let mut notifier = Notifier::new();
        notifier.status(at(0), "1/8 slots");
        assert_eq!((notifier.sent.clone(), notifier.next()), (Some(("1/8 slots".into(), at(0))), None));
        notifier.status(at(10), "2/8 slots");
        notifier.status(at(20), "3/8 slots");
        assert_eq!(notifier.next(), Some(at(1000)));
        notifier.tick(at(999));
        assert_eq!(notifier.sent, Some(("1/8 slots".into(), at(0))));
        notifier.tick(at(1000));
        assert_eq!((notifier.sent.clone(), notifier.next()), (Some(("3/8 slots".into(), at(1000))), None));
    }

    #[test]
    fn back_to_what_is_shown_sends_nothing() {
        let mut notifier = Notifier::new();
        notifier.ready(at(0), "idle");
        notifier.status(at(10), "busy");
        notifier.status(at(20), "idle");
        assert_eq!(notifier.next(), None);
    }
}

//! A job's place at this builder: given by the loop, and back with it when the value that stands for it is dropped.

use tokio::sync::mpsc::OwnedPermit;

use super::driver::Event;
use crate::engine::builder::JobEnd;
use crate::model::id::JobId;

/// Tells the loop of the job's end, exactly once, from whatever thread and however that end came. Whoever works on the job
/// owns it: a slot is free when nothing of its job is left, and not when its client has gone away.
#[must_use = "dropping a Slot frees it at once"]
pub(super) struct Slot {
    job: JobId,
    how: JobEnd,
    /// Room in the loop's queue, reserved beforehand so that a drop never waits.
    line: Option<OwnedPermit<Event>>,
}

impl Slot {
    pub(super) fn new(job: JobId, line: OwnedPermit<Event>) -> Self {
        Self { job, how: JobEnd::NothingRan, line: Some(line) }
    }

    /// What to tell in the end; nothing has run until somebody says otherwise.
    pub(super) fn ends(&mut self, how: JobEnd) {
        self.how = how;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            drop(line.send(Event::Ended { job: self.job, how: self.how }));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::model::id::Instance;

    fn slot(inbox: &mpsc::Sender<Event>) -> Slot {
        let job = JobId { instance: Instance(1), number: 7 };
        Slot::new(job, inbox.clone().try_reserve_owned().unwrap())
    }

    #[track_caller]
    fn ended(events: &mut mpsc::Receiver<Event>) -> JobEnd {
        match events.try_recv() {
            Ok(Event::Ended { job, how }) if job.number == 7 => how,
            _ => panic!("no end of job 7"),
        }
    }

    #[test]
    fn its_end_is_told_once_even_where_the_queue_is_full() {
        let (inbox, mut events) = mpsc::channel(2);
        let mut first = slot(&inbox);
        inbox.try_send(Event::Connection(String::new())).unwrap();
        assert!(inbox.try_send(Event::Connection(String::new())).is_err());
        first.ends(JobEnd::Finished);
        drop(first);
        assert!(matches!(events.try_recv(), Ok(Event::Connection(_))));
        assert_eq!(ended(&mut events), JobEnd::Finished);
        assert!(events.try_recv().is_err());
    }

    /// The client may go away at any moment, also between the loop's answer and whoever waits for it.
    #[test]
    fn an_answer_that_nobody_takes_frees_the_slot() {
        let (inbox, mut events) = mpsc::channel(2);
        let (reply, answer) = oneshot::channel();
        assert!(reply.send(slot(&inbox)).is_ok());
        assert!(events.try_recv().is_err());
        drop(answer);
        assert_eq!(ended(&mut events), JobEnd::NothingRan);
    }
}

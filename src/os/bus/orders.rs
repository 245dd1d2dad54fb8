//! What people order through the bus, on its way to a daemon's loop, and the loop's answer on its way back.

use tokio::sync::{mpsc, oneshot};

use crate::engine::scheduler;
use crate::model::limits::BUS_COMMANDS_MAX;
use crate::os::bus::error::Error;

/// To a builder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuilderOrder {
    /// Take no new jobs; running ones end as usual.
    Drain,
    Resume,
    /// Jobs at a time, until the next start.
    SetSlots(u32),
    /// Remove every toolchain that no job uses. Answered with the bytes that are free by that.
    PurgeToolchains,
    /// End this job; its client has it compiled elsewhere.
    Cancel(String),
    /// Read the configuration again.
    Reload,
}

/// To a scheduler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SchedulerOrder {
    /// About the builder of this name or id.
    Builder(String, scheduler::Order),
    Reload,
}

/// To a client daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientOrder {
    /// Compile everything on this machine.
    Pause,
    Resume,
    Reload,
}

/// An order, and where its answer goes: a number where the order asks for one, else zero.
#[derive(Debug)]
pub struct Order<W> {
    pub what: W,
    pub reply: oneshot::Sender<Result<u64, OrderError>>,
}

/// Why an order is not followed; the texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Failed(String),
}

/// The objects' end.
#[derive(Debug)]
pub struct Orders<W>(mpsc::Sender<Order<W>>);

impl<W> Clone for Orders<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A queue of orders: the objects' end, and the loop's.
pub fn orders<W>() -> (Orders<W>, mpsc::Receiver<Order<W>>) {
    let (sender, receiver) = mpsc::channel(BUS_COMMANDS_MAX);
    (Orders(sender), receiver)
}

impl<W> Orders<W> {
    /// Waits for the loop's answer.
    ///
    /// # Errors
    /// Where too many wait, the daemon is stopping, or the loop says no.
    pub async fn give(&self, what: W) -> Result<u64, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Order { what, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy("too many orders wait; try again".to_owned()),
            mpsc::error::TrySendError::Closed(_) => Error::Stopping,
        })?;
        Ok(answer.await.map_err(|_| Error::Stopping)??)
    }
}

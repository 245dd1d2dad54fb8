//! Errors on the bus: the standard's where it has one, `org.farcc.Error.*` else.

use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::{DBusError, fdo};

use crate::os::bus::orders::OrderError;

#[derive(Debug)]
pub enum Error {
    Standard(fdo::Error),
    /// There is no such builder or job.
    NotFound(String),
    /// Can be asked again later.
    Busy(String),
    /// The daemon ends, or does not take orders.
    Stopping,
}

impl From<fdo::Error> for Error {
    fn from(error: fdo::Error) -> Self {
        Self::Standard(error)
    }
}

impl From<OrderError> for Error {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NotFound(what) => Self::NotFound(what),
            OrderError::Invalid(why) => Self::Standard(fdo::Error::InvalidArgs(why)),
            OrderError::Failed(why) => Self::Standard(fdo::Error::Failed(why)),
        }
    }
}

impl DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        match self {
            Self::Standard(error) => error.create_reply(call),
            _ => Message::error(call, self.name()).build(&(self.description().unwrap_or_default(),)),
        }
    }

    fn name(&self) -> ErrorName<'_> {
        match self {
            Self::Standard(error) => error.name(),
            Self::NotFound(_) => ErrorName::from_static_str_unchecked("org.farcc.Error.NotFound"),
            Self::Busy(_) => ErrorName::from_static_str_unchecked("org.farcc.Error.Busy"),
            Self::Stopping => ErrorName::from_static_str_unchecked("org.farcc.Error.Stopping"),
        }
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::Standard(error) => error.description(),
            Self::NotFound(text) | Self::Busy(text) => Some(text),
            Self::Stopping => Some("the daemon is stopping"),
        }
    }
}

//! Identities. Counters below a random instance number, so that they stay unique across hosts and restarts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;

/// Names one run of a daemon; drawn at random when it starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Instance(pub u64);

macro_rules! counted_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name {
            pub instance: Instance,
            pub number: u64,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}-{}", self.instance.0, self.number)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let (instance, number) = text.split_once('-').ok_or(IdError)?;
                let instance = u64::from_str_radix(instance, 16).map_err(|_| IdError)?;
                Ok(Self { instance: Instance(instance), number: number.parse().map_err(|_| IdError)? })
            }
        }
    };
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is INSTANCE-NUMBER, the instance in hexadecimal")]
pub struct IdError;

counted_id! {
    /// One translation unit on its way through a farm; given by the client, logged by client and builder.
    JobId
}
counted_id! {
    /// The right of one client to one slot of one builder; given by the scheduler, logged by all three.
    LeaseId
}

macro_rules! peer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.short())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

peer_id! {
    /// A builder: the fingerprint of its certificate.
    BuilderId
}
peer_id! {
    /// A client daemon: the fingerprint of its certificate.
    ClientId
}

/// One request of a wrapper, counted by its client daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back() {
        let id = JobId { instance: Instance(0xfa7c), number: 42 };
        assert_eq!(id.to_string(), "000000000000fa7c-42");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("42".parse::<JobId>(), Err(IdError));
    }
}

//! How clients and builders reach their scheduler, and how the two know each other.

use crate::engine::config::address::{HostPort, SchedulerUrl};
use crate::engine::config::error::{Advice, ConfigError, Problem};
use crate::engine::config::reader::{Found, Reader, Taken};
use crate::engine::config::secret::Secret;
use crate::model::digest::Digest;

/// Everything it takes to join a farm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    pub address: HostPort,
    /// The scheduler's certificate; checked where given.
    pub fingerprint: Option<Digest>,
    pub token: Secret,
}

impl Upstream {
    pub(super) fn describe_fingerprint(&self) -> String {
        self.fingerprint.map_or("(any that knows the token)".to_owned(), |digest| digest.to_string())
    }
}

/// A scheduler's URL. An empty one means none, so that a variable can say "not here".
pub(super) fn address(reader: &mut Reader, key: &'static str) -> Taken<HostPort> {
    let Some(text) = reader.text(key)?.filter(|found| !found.value.is_empty()) else { return Ok(None) };
    let parse =
        |text: String| SchedulerUrl::parse(&text).map_err(|cause| Problem::Address { key: key.to_owned(), cause });
    let Found { value: url, at, layer } = text.map(parse)?;
    if url.said_http {
        reader.warn(&at, Advice::PlainHttp);
    }
    Ok(Some(Found { value: url.address, at, layer }))
}

pub(super) fn fingerprint(reader: &mut Reader) -> Result<Option<Digest>, ConfigError> {
    let Some(text) = reader.text("fingerprint")? else { return Ok(None) };
    let wrong = |found| Problem::Value {
        key: "fingerprint".into(),
        expected: "64 hexadecimal digits (`farccctl farm invite` on the scheduler prints them)",
        found,
    };
    Ok(Some(text.map(|text| text.parse().map_err(|_| wrong(text)))?.value))
}

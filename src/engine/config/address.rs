//! Addresses as people write them: `host`, `host:port`, `1.2.3.4:port`, `[v6]:port`, `v6`, with or without a scheme.
//!
//! Names are kept as names: they are resolved at each connection, so that an address may change.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

/// Where a scheduler listens, as users of sccache know it.
pub const SCHEDULER_PORT: u16 = 10600;
/// Where a builder listens.
pub const BUILDER_PORT: u16 = 10501;

/// A host, by name or address, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HostPort {
    /// Name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    #[error("there is no host in it")]
    NoHost,
    #[error("`{0}` is no port; ports are numbers from 1 to 65535")]
    Port(String),
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    #[error("an IPv6 address with a port is written [ADDRESS]:PORT")]
    Brackets,
    #[error("`{0}` is no scheme that is known here; write https://HOST:PORT or HOST:PORT")]
    Scheme(String),
    #[error("a scheduler has no path; leave out `{0}`")]
    Path(String),
}

impl HostPort {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `HOST` or `HOST:PORT`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(AddressError::Port(port.to_owned())),
                Ok(port) => port,
            },
        };
        Ok(Self { host: checked_host(host)?, port })
    }

    /// Whether every interface is meant, so that others cannot use it as a destination.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "::" | "0.0.0.0")
    }

    /// The address where it is one and not a name; `localhost` is one everywhere.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host.as_str() {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host.parse().ok(),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reads what `Display` writes: the port is not optional.
impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match split(text)? {
            (_, None) => Err(AddressError::Port(String::new())),
            (_, Some(_)) => Self::parse(text, 0),
        }
    }
}

/// The scheduler as sccache users write it: a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SchedulerUrl {
    pub(super) address: HostPort,
    /// The scheme was `http`: the connection is encrypted all the same, and the user is told.
    pub(super) said_http: bool,
}

impl SchedulerUrl {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let said_http = match scheme {
            "https" => false,
            "http" => true,
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(AddressError::Path(format!("/{path}")));
        }
        Ok(Self { address: HostPort::parse(authority, SCHEDULER_PORT)?, said_http })
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        return match rest {
            "" => Ok((host, None)),
            _ => Ok((host, Some(rest.strip_prefix(':').ok_or(AddressError::Brackets)?))),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => match text.parse::<Ipv6Addr>() {
            Ok(_) => Ok((text, None)),
            Err(_) => Err(AddressError::Brackets),
        },
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn checked_host(host: &str) -> Result<String, AddressError> {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    // A zone (`fe80::1%eth0`) is an interface's name, so anything but a bracket may follow.
    let address = host.split('%').next().unwrap_or(host);
    match address.parse::<Ipv6Addr>() {
        Ok(_) => Ok(host.to_owned()),
        Err(_) if host.len() <= 253 && host.bytes().all(name) => Ok(host.to_owned()),
        Err(_) => Err(AddressError::Host(host.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let rendered = match HostPort::parse(text, 10600) {
            Ok(address) => address.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(rendered, expected);
    }

    #[test]
    fn names_and_both_kinds_of_addresses_are_read() {
        check("farm", "farm:10600");
        check("farm.example.org:9", "farm.example.org:9");
        check("192.0.2.1", "192.0.2.1:10600");
        check("192.0.2.1:10501", "192.0.2.1:10501");
        check("2001:db8::1", "[2001:db8::1]:10600");
        check("[2001:db8::1]", "[2001:db8::1]:10600");
        check("[2001:db8::1]:9", "[2001:db8::1]:9");
        check("[fe80::1%eth0]:9", "[fe80::1%eth0]:9");
    }

    #[test]
    fn nonsense_is_named() {
        check("", "error: there is no host in it");
        check(":10", "error: there is no host in it");
        check("farm:", "error: `` is no port; ports are numbers from 1 to 65535");
        check("farm:0", "error: `0` is no port; ports are numbers from 1 to 65535");
        check("farm:99999", "error: `99999` is no port; ports are numbers from 1 to 65535");
        check("far m", "error: `far m` is neither a host name nor an address");
        check("a:b:c", "error: an IPv6 address with a port is written [ADDRESS]:PORT");
        check("[::1", "error: an IPv6 address with a port is written [ADDRESS]:PORT");
        check("[::1]9", "error: an IPv6 address with a port is written [ADDRESS]:PORT");
    }

    #[test]
    fn a_scheduler_is_a_url_without_path() {
        let url = |text| SchedulerUrl::parse(text).map(|url| (url.address.to_string(), url.said_http));
        assert_eq!(url("https://farm"), Ok(("farm:10600".into(), false)));
        assert_eq!(url("http://[::1]:9/"), Ok(("[::1]:9".into(), true)));
        assert_eq!(url("farm:9"), Ok(("farm:9".into(), false)));
        assert_eq!(url("ftp://farm"), Err(AddressError::Scheme("ftp".into())));
        assert_eq!(url("https://farm/api"), Err(AddressError::Path("/api".into())));
    }

    #[test]
    fn loopback_is_known_by_every_name() {
        let is_loopback = |host: &str| HostPort::new(host, 1).is_loopback();
        assert!(["127.0.0.1", "127.1.2.3", "::1", "localhost"].iter().all(|host| is_loopback(host)));
        assert!(!["192.0.2.1", "::", "farm", "localhost.example"].iter().any(|host| is_loopback(host)));
    }

    #[test]
    fn text_form_reads_back() {
        for text in ["farm:1", "[::1]:2", "1.2.3.4:3"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert!("farm".parse::<HostPort>().is_err());
    }
}

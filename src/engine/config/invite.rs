//! One line that tells a machine all it needs to join a farm: `farcc://HOST:PORT/FINGERPRINT/client=TOKEN/builder=TOKEN`.
//!
//! Made by `farccctl farm invite`, read by `farccctl farm join`. It holds secrets: its text form is the one place where they
//! are written out, which is its purpose. No character in it means anything to a shell, brackets of IPv6 addresses aside.

use std::fmt;
use std::str::FromStr;

use crate::engine::config::address::{AddressError, HostPort, SCHEDULER_PORT};
use crate::engine::config::secret::{Secret, SecretError};
use crate::model::digest::{Digest, DigestError};

/// Address and certificate of a scheduler, and what it wants proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    pub address: HostPort,
    pub fingerprint: Digest,
    pub client_token: Option<Secret>,
    pub builder_token: Option<Secret>,
}

#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub enum InviteError {
    #[error("an invitation begins with farcc://")]
    Scheme,
    #[error("the invitation's address is wrong: {0}")]
    Address(#[from] AddressError),
    #[error("the invitation's fingerprint is wrong: {0}")]
    Fingerprint(#[from] DigestError),
    #[error("the invitation is cut off or changed: its tokens cannot be read")]
    Token,
    #[error("the invitation's token cannot be used: {0}")]
    Secret(#[from] SecretError),
    #[error("the invitation has no token in it; it was cut off")]
    NoToken,
}

impl Invite {
    /// What a client's configuration file has to say to join; none where the invitation is for builders.
    pub fn client_file(&self) -> Option<String> {
        self.client_token.as_ref().map(|token| self.file("dist.auth", token))
    }

    /// What a builder's configuration file has to say to join; none where the invitation is for clients.
    pub fn builder_file(&self) -> Option<String> {
        self.builder_token.as_ref().map(|token| self.file("scheduler_auth", token))
    }

    /// Where the scheduler is and what it shows: what a configuration file says whose token comes another way.
    pub fn upstream_file(&self) -> String {
        format!("scheduler_url = \"https://{}\"\nfingerprint = \"{}\"\n", self.address, self.fingerprint)
    }

    fn file(&self, section: &str, token: &Secret) -> String {
        let token = token.expose().replace('\\', "\\\\").replace('"', "\\\"");
        format!("{}\n[{section}]\ntype = \"token\"\ntoken = \"{token}\"\n", self.upstream_file())
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "farcc://{}/{}", self.address, self.fingerprint)?;
        for (name, token) in [("client", &self.client_token), ("builder", &self.builder_token)] {
            if let Some(token) = token {
                write!(f, "/{name}={}", escape(token.expose()))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        let mut parts = text.trim().strip_prefix("farcc://").ok_or(InviteError::Scheme)?.split('/');
        let address = HostPort::parse(parts.next().unwrap_or_default(), SCHEDULER_PORT)?;
        let fingerprint = parts.next().unwrap_or_default().parse()?;
        let mut invite = Self { address, fingerprint, client_token: None, builder_token: None };
        for part in parts {
            match part.split_once('=') {
                Some(("client", token)) => invite.client_token = Some(Secret::new(&unescape(token)?)?),
                Some(("builder", token)) => invite.builder_token = Some(Secret::new(&unescape(token)?)?),
                // A newer farcc may say more; what it says is not needed here.
                Some(_) => {}
                None => return Err(InviteError::Token),
            }
        }
        match (&invite.client_token, &invite.builder_token) {
            (None, None) => Err(InviteError::NoToken),
            _ => Ok(invite),
        }
    }
}

/// Percent-encodes whatever a shell or a mail program could change.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

fn unescape(text: &str) -> Result<String, InviteError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let (digits, after) = after.split_at_checked(2).ok_or(InviteError::Token)?;
                let digits = std::str::from_utf8(digits).map_err(|_| InviteError::Token)?;
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| InviteError::Token)?);
                after
            }
            byte => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| InviteError::Token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(client: Option<&str>, builder: Option<&str>) -> Invite {
        let secret = |text: &str| Secret::new(text).unwrap();
        Invite {
            address: HostPort::new("2001:db8::1", 10600),
            fingerprint: Digest::of(b"certificate"),
            client_token: client.map(secret),
            builder_token: builder.map(secret),
        }
    }

    #[test]
    fn text_form_reads_back() {
        for invite in [invite(Some("a/b=c%+é"), None), invite(None, Some("x")), invite(Some("x"), Some("y"))] {
            assert_eq!(invite.to_string().parse(), Ok(invite));
        }
        assert!(invite(Some("a/b"), None).to_string().ends_with("/client=a%2Fb"));
    }

    #[test]
    fn damaged_lines_are_refused_and_debug_hides_the_token() {
        let line = invite(Some("secret-token"), None).to_string();
        assert_eq!(line[8..].parse::<Invite>(), Err(InviteError::Scheme));
        assert_eq!(line[..line.len() - 15].parse::<Invite>(), Err(InviteError::Token));
        assert_eq!(line[..line.len() - 20].parse::<Invite>(), Err(InviteError::NoToken));
        assert_eq!(line[..line.len() - 40].parse::<Invite>().unwrap_err(), InviteError::Fingerprint(DigestError));
        assert!(!format!("{:?}", line.parse::<Invite>().unwrap()).contains("secret-token"));
    }

    #[test]
    fn the_files_it_makes_are_read_as_meant() {
        use crate::engine::config::{BuilderConfig, ClientConfig, Facts, Upstream, parse};
        let facts = Facts { home: Some("/home/me".into()), ..Facts::default() };
        let invite = invite(Some("client\"token\\0123"), Some("builder-token-0123"));
        let client = ClientConfig::check(parse("f", &invite.client_file().unwrap()).unwrap(), &facts).unwrap();
        let builder = BuilderConfig::check(parse("f", &invite.builder_file().unwrap()).unwrap(), &facts).unwrap();
        let upstream = |token: &Option<Secret>| Upstream {
            address: invite.address.clone(),
            fingerprint: Some(invite.fingerprint),
            token: token.clone().unwrap(),
        };
        assert_eq!(client.config.scheduler, Some(upstream(&invite.client_token)));
        assert_eq!(builder.config.scheduler, upstream(&invite.builder_token));
        assert!(client.warnings.is_empty() && builder.warnings.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_token_survives(token in "[^\\s\\p{C}]([^\\p{C}]{0,40}[^\\s\\p{C}])?") {
            let invite = invite(Some(&token), None);
            proptest::prop_assert_eq!(invite.to_string().parse(), Ok(invite));
        }

        #[test]
        fn no_text_panics(text in "farcc://.{0,80}") {
            text.parse::<Invite>().ok();
        }
    }
}

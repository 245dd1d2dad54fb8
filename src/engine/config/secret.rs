//! A shared token. Its value appears nowhere by accident: not in logs, errors, `Debug`, D-Bus or statistics.

use std::fmt;

use crate::model::limits::TOKEN_BYTES_MIN;

/// A token both sides know. Shown as `(secret)`; [`Secret::expose`] is the only way to the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the token is empty")]
    Empty,
    #[error("the token has a line break or another control character in it")]
    Control,
}

impl Secret {
    /// Takes a token as a file or a person gives it: white space around it does not count.
    ///
    /// # Errors
    /// Where nothing is left, or more than one line.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        match text {
            "" => Err(SecretError::Empty),
            _ if text.chars().any(char::is_control) => Err(SecretError::Control),
            _ => Ok(Self(text.to_owned())),
        }
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Short enough to be guessed from a recorded handshake.
    pub fn is_short(&self) -> bool {
        self.0.len() < TOKEN_BYTES_MIN
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows() {
        let secret = Secret::new(" hunter2\n").unwrap();
        assert_eq!((secret.expose(), secret.is_short()), ("hunter2", true));
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "(secret) (secret) Some((secret))");
    }

    #[test]
    fn only_one_line_of_text_is_a_token() {
        assert_eq!(
            Secret::new("preshared token").map(|secret| secret.expose().to_owned()),
            Ok("preshared token".into())
        );
        assert_eq!(Secret::new(" \n"), Err(SecretError::Empty));
        assert_eq!(Secret::new("two lines\nof it"), Err(SecretError::Control));
    }
}

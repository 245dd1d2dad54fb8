//! What can be wrong with a configuration: one line each, with place, cause and remedy.

use std::fmt;

use crate::engine::config::address::AddressError;
use crate::engine::config::document::Place;
use crate::engine::config::secret::SecretError;
use crate::model::limits::TOKEN_BYTES_MIN;

/// The daemon does not start with this.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct ConfigError {
    pub at: Place,
    pub problem: Problem,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    #[error("this is no TOML: {0}")]
    Syntax(String),
    #[error("`{key}` must be {expected}, not {found}")]
    Type { key: String, expected: &'static str, found: &'static str },
    #[error("`{key}` must be {expected}; `{found}` is not")]
    Value { key: String, expected: &'static str, found: String },
    #[error("`{key}` must be from {min} to {max}")]
    Range { key: String, min: u64, max: u64 },
    #[error("`{key}` is no address: {cause}")]
    Address { key: String, cause: AddressError },
    #[error("`{key}` must be an absolute path")]
    RelativePath { key: String },
    #[error("`{key}` begins with ~, but the home directory is not known; write the whole path")]
    NoHome { key: String },
    #[error("{0}")]
    Secret(SecretError),
    #[error("cannot read the token file {path}: {cause}")]
    TokenFile { path: String, cause: String },
    #[error("`{0}.token` and `{0}.token_file` contradict each other; keep one")]
    TwoTokens(String),
    #[error("[{section}] needs `token`, `token_file` or the credential {credential}")]
    NoToken { section: &'static str, credential: &'static str },
    #[error("authentication of type \"{0}\" is not supported; use type = \"token\" with a shared token")]
    AuthNotSupported(String),
    #[error("`{section}.type` is \"{found}\"; it must be \"token\"")]
    AuthType { section: String, found: String },
    #[error(
        "DANGEROUSLY_INSECURE is refused: authentication is mandatory; use type = \"token\" with a shared token (`farccctl auth generate-shared-token` makes one)"
    )]
    Insecure,
    #[error("builders of type \"{0}\" are not supported; use type = \"overlay\"")]
    BuilderType(String),
    #[error("`{0}` is missing: the address of the scheduler, as https://HOST:10600")]
    NoScheduler(&'static str),
    #[error("`{key}` is missing here")]
    Missing { key: &'static str },
    #[error("a toolchain of type \"{0}\" is not known; it is \"path_override\" or \"no_dist\"")]
    ToolchainType(String),
}

/// Something that was read and does not do what its author may think.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    pub at: Place,
    pub advice: Advice,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advice {
    UnknownKey {
        key: String,
        nearest: Option<&'static str>,
    },
    NoMeaning {
        key: String,
        why: &'static str,
    },
    ShortToken,
    PlainHttp,
    /// A scheduler without a token: no scheduler.
    NoToken,
    /// Only of files that are imported.
    AuthLeftOut {
        section: &'static str,
        kind: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        match &self.advice {
            Advice::UnknownKey { key, nearest: None } => write!(f, "unknown key `{key}` is ignored"),
            Advice::UnknownKey { key, nearest: Some(nearest) } => {
                write!(f, "unknown key `{key}` is ignored; did you mean `{nearest}`?")
            }
            Advice::NoMeaning { key, why } => write!(f, "`{key}` has no effect here: {why}"),
            Advice::ShortToken => {
                write!(f, "the token has fewer than {TOKEN_BYTES_MIN} bytes and could be guessed; use a longer one")
            }
            Advice::NoToken => f.write_str(
                "there is no token for this scheduler, so everything is compiled here; \
                 give it in [dist.auth], or run `farccctl farm join` with an invitation",
            ),
            Advice::AuthLeftOut { section, kind } => write!(
                f,
                "authentication of type \"{kind}\" is not supported, so [{section}] is left out: \
                 schedulers make tokens of their own, and `farccctl farm invite` hands them on"
            ),
            Advice::PlainHttp => f.write_str("http:// is taken as https://; farcc encrypts every connection"),
        }
    }
}

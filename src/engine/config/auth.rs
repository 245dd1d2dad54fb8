//! `[client_auth]`, `[server_auth]`, `[scheduler_auth]`, `[dist.auth]`: all four say which token is shared.

use crate::engine::config::document::Place;
use crate::engine::config::error::{Advice, ConfigError, Problem};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Found, Reader};
use crate::engine::config::secret::Secret;

/// The keys of one such section, and the credentials that stand in for them, best first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) token: &'static str,
    pub(super) token_file: &'static str,
    pub(super) credentials: &'static [&'static str],
}

/// Types of sccache that need what is not built yet.
const NOT_SUPPORTED: &[&str] =
    &["jwt_validate", "jwt_hs256", "jwt_token", "mozilla", "proxy_token", "oauth2_code_grant_pkce", "oauth2_implicit"];

/// sccache's word for none at all.
const INSECURE: &str = "DANGEROUSLY_INSECURE";

/// The token that `section` names, or a credential where it is silent.
pub(super) fn token(reader: &mut Reader, section: Section, facts: &Facts) -> Result<Option<Secret>, ConfigError> {
    let kind = reader.text(section.kind)?;
    if let Some(kind) = &kind {
        check_kind(kind, section)?;
    }
    let inline = reader.text(section.token)?;
    let file = reader.path(section.token_file, facts.home.as_deref())?;
    let secret = match (inline, file) {
        (Some(inline), Some(file)) if inline.layer == file.layer => {
            return Err(inline.fail(Problem::TwoTokens(section.name.to_owned())));
        }
        (Some(inline), Some(file)) if file.layer > inline.layer => Some(from_file(file, facts)?),
        (None, Some(file)) => Some(from_file(file, facts)?),
        (Some(inline), _) => Some(inline.map(|text| Secret::new(&text).map_err(Problem::Secret))?),
        (None, None) => from_credentials(section, facts),
    };
    if let (Some(kind), None) = (&kind, &secret) {
        let problem = Problem::NoToken { section: section.name, credential: section.credentials[0] };
        return Err(kind.fail(problem));
    }
    if let Some(short) = secret.as_ref().filter(|secret| secret.value.is_short()) {
        reader.warn(&short.at, Advice::ShortToken);
    }
    Ok(secret.map(|secret| secret.value))
}

/// Whether sccache has this kind of authentication and farcc has not.
pub(super) fn is_other_kind(kind: &str) -> bool {
    kind == INSECURE || NOT_SUPPORTED.contains(&kind)
}

fn check_kind(kind: &Found<String>, section: Section) -> Result<(), ConfigError> {
    match kind.value.as_str() {
        "token" => Ok(()),
        INSECURE => Err(kind.fail(Problem::Insecure)),
        other if NOT_SUPPORTED.contains(&other) => Err(kind.fail(Problem::AuthNotSupported(other.to_owned()))),
        other => Err(kind.fail(Problem::AuthType { section: section.name.to_owned(), found: other.to_owned() })),
    }
}

fn from_file(file: Found<std::path::PathBuf>, facts: &Facts) -> Result<Found<Secret>, ConfigError> {
    file.map(|path| match facts.tokens.get(&path) {
        Some(Ok(secret)) => Ok(secret.clone()),
        Some(Err(cause)) => Err(Problem::TokenFile { path: path.display().to_string(), cause: cause.clone() }),
        None => Err(Problem::TokenFile { path: path.display().to_string(), cause: "it was not read".to_owned() }),
    })
}

fn from_credentials(section: Section, facts: &Facts) -> Option<Found<Secret>> {
    let (name, value) = section.credentials.iter().find_map(|name| Some((*name, facts.credentials.get(*name)?)))?;
    Some(Found { value: value.clone(), at: Place::whole(&format!("credential {name}")), layer: 0 })
}

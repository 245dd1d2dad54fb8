//! Secrets handed over by systemd (`ImportCredential=farcc.*`, `LoadCredential=`): files in a directory only the service sees.
//!
//! Read at start only, since systemd does not change them while the service runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::engine::config::Secret;
use crate::model::limits::CONFIG_BYTES_MAX;

/// Every credential farcc knows.
pub const NAMES: &[&str] = &["farcc.token", "farcc.client-token", "farcc.builder-token"];

/// A credential that is there and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct CredentialError {
    pub path: PathBuf,
    pub cause: io::Error,
}

/// The credentials that `directory` (`$CREDENTIALS_DIRECTORY`) holds. One that is missing is no error: the configuration may say it.
///
/// # Errors
/// One that is there and empty, unreadable or no text.
pub fn read_all(directory: &Path) -> Result<BTreeMap<String, Secret>, CredentialError> {
    let mut found = BTreeMap::new();
    for name in NAMES {
        let path = directory.join(name);
        match read(&path) {
            Ok(secret) => drop(found.insert((*name).to_owned(), secret)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(CredentialError { path, cause }),
        }
    }
    Ok(found)
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_BYTES_MAX).read_to_string(&mut text)?;
    Secret::new(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("farcc.token"), "abc\n").unwrap();
        let found = read_all(directory.path()).unwrap();
        assert_eq!(
            found.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect::<Vec<_>>(),
            [("farcc.token", "abc")]
        );
    }

    #[test]
    fn an_empty_credential_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("farcc.builder-token"), "").unwrap();
        let error = read_all(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("farcc.builder-token: the token is empty"), "{error}");
    }
}

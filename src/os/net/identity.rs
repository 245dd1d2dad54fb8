//! Who a daemon is to its peers: a key pair and a certificate that it made for itself.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::model::digest::Digest;
use crate::os::state;

/// A certificate with its key. Peers know it by its fingerprint, never by a name in it.
#[derive(Debug)]
pub struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot {what} {path}: {source}; check owner and space of the state directory", path = path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

impl Identity {
    /// A fresh identity that nobody has seen yet.
    ///
    /// # Errors
    /// Only where no key can be generated.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let certificate = rcgen::CertificateParams::new(Vec::new())?.self_signed(&key)?;
        Ok(Self { certificate: certificate.der().clone(), key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// The identity kept in `directory`, made on first use. Where one of the two files is missing (a crash between them), both are made
    /// anew: nobody can have seen that certificate yet.
    ///
    /// # Errors
    /// Where the files cannot be read or written.
    pub fn load_or_create(directory: &Path) -> Result<Self, IdentityError> {
        let key_path = directory.join("identity.key");
        let certificate_path = directory.join("identity.crt");
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| IdentityError::File { what, path, source }
        };
        let read = |path: &Path| state::read(path).map_err(failed("read", path));
        let write = |path: &Path, bytes: &[u8]| state::write(path, bytes).map_err(failed("write", path));
        if let (Some(key), Some(certificate)) = (read(&key_path)?, read(&certificate_path)?) {
            return Ok(Self {
                certificate: CertificateDer::from(certificate),
                key: PrivatePkcs8KeyDer::from(key).into(),
            });
        }
        let identity = Self::ephemeral()?;
        state::make_directory(directory).map_err(failed("create", directory))?;
        write(&key_path, identity.key.secret_der())?;
        write(&certificate_path, &identity.certificate)?;
        Ok(identity)
    }

    /// What peers pin: the digest of the certificate.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.certificate)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_identity_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(directory.path()).unwrap();
        let second = Identity::load_or_create(directory.path()).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_ne!(first.fingerprint(), Identity::ephemeral().unwrap().fingerprint());
    }

    #[test]
    fn the_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_create(directory.path()).unwrap();
        let mode = fs::metadata(directory.path().join("identity.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

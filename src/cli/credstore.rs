//! The credentials that systemd hands to the services, as far as the control command may see them: it reads a configuration as the
//! daemon would, and writes a secret where only the service manager reads it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::config::{ConfigError, Part, Problem};
use crate::os::config::{LoadError, Sources};
use crate::os::systemd::credentials;

/// Lets root read a service's plain credentials as the service would. False where there may be some that cannot be seen.
pub(crate) fn show(sources: &mut Sources) -> bool {
    const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
    if sources.variables.contains_key(VARIABLE) {
        return true;
    }
    match holds(Path::new(CREDSTORE), credentials::NAMES) {
        Ok(true) => drop(sources.variables.insert(VARIABLE.to_owned(), CREDSTORE.to_owned())),
        Ok(false) => {}
        Err(_) => return false,
    }
    // Those would have to be decrypted.
    holds(Path::new(ENCRYPTED_CREDSTORE), credentials::NAMES).is_ok_and(|holds| !holds)
}

/// The sources of one daemon that runs as a service, unless a file was named: clients are nobody's service.
pub(crate) fn sources_of(part: Part, sources: &Sources) -> Sources {
    let mut sources = sources.clone();
    if part != Part::Client && sources.file.is_none() {
        show(&mut sources);
    }
    sources
}

/// Whether a service's configuration lacks just what a credential may hold that cannot be seen from here.
pub(crate) fn may_mend(error: &LoadError, part: Part, sources: &Sources) -> bool {
    let lacks_token = matches!(error, LoadError::Config(ConfigError { problem: Problem::NoToken { .. }, .. }));
    lacks_token && part != Part::Client && sources.file.is_none() && !show(&mut sources.clone())
}

/// What keeps this user from seeing all of a service's credentials.
pub(crate) fn hindrance() -> &'static str {
    match rustix::process::geteuid().is_root() {
        true => "its token may be an encrypted credential, which the service alone sees",
        false => "its token may be a credential, which this user does not see; run this as root",
    }
}

/// Whether a credential that `part` reads is in the directories that services import from, as far as this user can see.
pub(crate) fn holds_any_of(part: Part) -> bool {
    let names = part.credentials();
    [CREDSTORE, ENCRYPTED_CREDSTORE].iter().any(|directory| holds(Path::new(directory), &names).unwrap_or(false))
}

/// Whether a drop-in of a service names one of ours, as it takes before systemd imports them by itself.
pub(crate) fn is_named_by_drop_in(part: Part) -> bool {
    let drop_ins = fs::read_dir(service_drop_in(part).parent().unwrap_or(Path::new("/")));
    let mut texts = drop_ins.into_iter().flatten().filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let names_ours = |line: &str| line.trim_start().starts_with("LoadCredential") && line.contains("farcc.");
    texts.any(|text| text.lines().any(names_ours))
}

/// The drop-in that `farccctl farm join` writes where systemd imports nothing by itself.
pub(crate) fn service_drop_in(part: Part) -> PathBuf {
    PathBuf::from(format!("/etc/systemd/system/farcc-{}.service.d/farcc.conf", part.name()))
}

fn holds(directory: &Path, wanted: &[&str]) -> io::Result<bool> {
    let names: Vec<_> = match fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(names.iter().any(|name| wanted.contains(&name.as_str())))
}

/// Where systemd looks for credentials that a unit names without a path.
pub(crate) const CREDSTORE: &str = "/etc/credstore";
const ENCRYPTED_CREDSTORE: &str = "/etc/credstore.encrypted";

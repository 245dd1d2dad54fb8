//! Giving up what a daemon may do but does not need.
//!
//! The order for a builder: [`leave_root`], fork the sandbox helper, then [`drop_all`] and [`seal`] in the half that talks to the network.
//! The other daemons do the same without a helper. All of it happens while there is one thread.

use std::fs;
use std::io;
use std::path::Path;

use caps::{CapSet, Capability};

use crate::os::sandbox::filter;
use crate::os::sys;

/// An entry of the user database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error("started as root, and there is neither a user {0} nor nobody to become")]
    NoUser(String),
    #[error("cannot become user {name}")]
    Become { name: String, source: io::Error },
    #[error("cannot drop capabilities")]
    Capabilities(#[from] caps::errors::CapsError),
    #[error("cannot give up gaining privileges")]
    NewPrivileges(#[source] rustix::io::Errno),
    #[error("cannot filter system calls")]
    Filter(#[source] io::Error),
}

/// Becomes `preferred` where it exists, else `nobody`, if this is root; returns who it has become.
pub fn leave_root(preferred: &str) -> Result<Option<User>, PrivilegeError> {
    if !rustix::process::geteuid().is_root() && !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let user = find_user(preferred)
        .or_else(|| find_user("nobody"))
        .filter(|user| user.uid != 0)
        .ok_or_else(|| PrivilegeError::NoUser(preferred.to_owned()))?;
    become_user(&user)?;
    Ok(Some(user))
}

/// Becomes `user` in every way: ids, no supplementary groups, no capabilities.
pub fn become_user(user: &User) -> Result<(), PrivilegeError> {
    // First, since a user without CAP_SETPCAP cannot.
    clear_bounding_set()?;
    sys::become_ids(user.uid, user.gid).map_err(|source| PrivilegeError::Become { name: user.name.clone(), source })?;
    drop_all()
}

/// Gives up every capability and the chance to gain any by executing a file.
pub fn drop_all() -> Result<(), PrivilegeError> {
    clear_bounding_set()?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        // A service that has none may be forbidden to ask for fewer.
        if !caps::read(None, set)?.is_empty() {
            caps::clear(None, set)?;
        }
    }
    rustix::thread::set_no_new_privs(true).map_err(PrivilegeError::NewPrivileges)
}

fn clear_bounding_set() -> Result<(), PrivilegeError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    Ok(())
}

/// Forbids this process, and all it starts, to mount, to enter or make namespaces, to look into other processes and to use
/// kernel interfaces that no daemon needs. For the half of a builder that reads what strangers send; needs [`drop_all`].
pub fn seal() -> Result<(), PrivilegeError> {
    sys::filter_system_calls(&filter::program(filter::Sockets::Any)).map_err(PrivilegeError::Filter)
}

/// Looks `name`, or a decimal uid, up in `/etc/passwd`, where users of services live. Other databases (LDAP, homed) are for people.
pub fn find_user(name: &str) -> Option<User> {
    find_user_in(&fs::read_to_string(Path::new("/etc/passwd")).ok()?, name)
}

fn find_user_in(passwd: &str, name: &str) -> Option<User> {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(User { name, uid, gid })
    });
    users.into_iter().find(|user| user.name == name || name.parse() == Ok(user.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nfarcc-builder:x:990:991::/:/usr/sbin/nologin\n";
        let user = User { name: "farcc-builder".into(), uid: 990, gid: 991 };
        assert_eq!(find_user_in(passwd, "farcc-builder"), Some(user.clone()));
        assert_eq!(find_user_in(passwd, "990"), Some(user));
        assert_eq!(find_user_in(passwd, "farcc"), None);
    }
}

//! Users of this machine that are services.

use std::fs;

/// A user's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// As `/etc/passwd` has it, where users of services live.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| Self::from_line(line, name))
    }

    fn from_line(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd() {
        let line = "farcc-builder:x:990:991::/:/usr/sbin/nologin";
        assert_eq!(Account::from_line(line, "farcc-builder"), Some(Account { uid: 990, gid: 991 }));
        assert_eq!(Account::from_line(line, "farcc"), None);
        assert_eq!(Account::from_line("farcc", "farcc"), None);
    }
}

//! Who listens on a TCP port of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cli::doctor::facts::{Holder, PortFacts, Trial};
use crate::engine::config::HostPort;
use crate::os::process::privileges::User;
use crate::os::systemd::activation::{ListenError, bind_tcp};

/// Listens on `address` for a moment, and looks who does if that fails. `user` is whom the daemon runs as.
pub(crate) fn port(address: HostPort, told: Option<HostPort>, user: Option<&User>) -> PortFacts {
    let trial = match bind_tcp(&address) {
        Ok(_) => Trial::Free,
        Err(ListenError::InUse(_)) => Trial::Taken(holders(address.port, user)),
        Err(ListenError::NotOurs(_)) => Trial::NotOurs,
        Err(ListenError::Forbidden(_)) => Trial::Forbidden,
        Err(error) => Trial::Other(error.to_string()),
    };
    PortFacts { address, told, trial }
}

fn holders(port: u16, user: Option<&User>) -> Vec<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: BTreeSet<Listening> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let holder = |socket: &Listening| Holder {
        program: program(socket.inode),
        uid: socket.uid,
        is_daemons_user: user.is_some_and(|user| user.uid == socket.uid),
    };
    sockets.iter().map(holder).collect()
}

/// A socket that listens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Listening {
    uid: u32,
    inode: u64,
}

/// Those of one of the kernel's tables that listen on `port`.
fn listening(table: &str, port: u16) -> Vec<Listening> {
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        let (_, hexadecimal) = local.rsplit_once(':')?;
        let is_it = state == LISTEN && u16::from_str_radix(hexadecimal, 16) == Ok(port);
        is_it.then_some(Listening { uid, inode })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The process that has the socket open, and its name; root sees all of them, others their own.
fn program(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let leads_there = |path: &Path| fs::read_link(path).is_ok_and(|target| target.as_os_str() == wanted.as_str());
        open.filter_map(Result::ok).any(|entry| leads_there(&entry.path()))
    };
    let pid = processes.into_iter().find(has_it)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:2905 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 4711 1 0000 100\n   \
            1: 0100007F:2905 0100007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000 100\n";
        assert_eq!(listening(table, 10501), [Listening { uid: 990, inode: 4711 }]);
        assert_eq!(listening(table, 10502), []);
        assert_eq!(listening("heading\nnonsense", 1), []);
    }

    #[test]
    fn this_very_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holders(port, None);
        let pids: Vec<_> = found.iter().filter_map(|holder| Some(holder.program.as_ref()?.0)).collect();
        assert_eq!(pids, [std::process::id()], "{found:?}");
    }
}

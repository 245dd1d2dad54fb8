//! Names on the bus. The digit changes only when an interface breaks; it is extended in place otherwise.

/// Bus name, which is the interface's too, and object path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Names {
    pub name: &'static str,
    pub path: &'static str,
}

pub const SCHEDULER: Names = Names { name: "org.farcc.Scheduler1", path: "/org/farcc/Scheduler1" };
pub const BUILDER: Names = Names { name: "org.farcc.Builder1", path: "/org/farcc/Builder1" };
pub const CLIENT: Names = Names { name: "org.farcc.Client1", path: "/org/farcc/Client1" };

/// Where `systemctl service-log-level` looks.
pub const LOG_CONTROL_PATH: &str = "/org/freedesktop/LogControl1";

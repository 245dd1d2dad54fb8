//! What the service manager knows of a daemon's units.

use crate::cli::doctor::facts::{UnitFacts, Units};
use crate::cli::manager::systemctl;
use crate::engine::config::Part;
use crate::os::process::Command;

/// The units of `part`, of the system's service manager or of this user's. None where no systemd runs.
pub(crate) fn units(part: Part, are_own: bool) -> Option<Units> {
    let [socket, service] = ["socket", "service"].map(|kind| format!("farcc-{}.{kind}", part.name()));
    let mut words = if are_own { vec!["--user"] } else { Vec::new() };
    words.extend(["show", PROPERTIES, &socket, &service]);
    let said = Command::new(systemctl()?).args(words).env(environment()).run().ok()?;
    let mut found = parse(&String::from_utf8_lossy(&said.stdout)).into_iter();
    Some(Units { socket: found.next()?, service: found.next()?, are_own })
}

/// Where a user's service manager is found.
fn environment() -> Vec<(&'static str, std::ffi::OsString)> {
    let names = ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];
    names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect()
}

const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,UnitFileState,ExecMainStatus,LimitNOFILE,Listen";

/// `systemctl show`: a paragraph for each unit, a line for each property.
fn parse(text: &str) -> Vec<UnitFacts> {
    text.trim().split("\n\n").map(paragraph).collect()
}

fn paragraph(text: &str) -> UnitFacts {
    let mut unit = UnitFacts::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "Id" => unit.name = value.to_owned(),
            "LoadState" => unit.is_installed = value == "loaded",
            "ActiveState" => unit.active = value.to_owned(),
            "UnitFileState" => unit.enabled = value.to_owned(),
            "ExecMainStatus" => unit.exit_status = value.parse().unwrap_or_default(),
            // `infinity` is no number, and no limit.
            "LimitNOFILE" => unit.descriptors = value.parse().ok(),
            // `[::]:10501 (Stream)`.
            "Listen" => unit.listens.extend(value.split_whitespace().next().map(str::to_owned)),
            _ => {}
        }
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "\
Listen=[::]:10501 (Stream)
Listen=192.0.2.1:10500 (Stream)
Id=farcc-builder.socket
LoadState=loaded
ActiveState=active
UnitFileState=enabled

ExecMainStatus=5
LimitNOFILE=524288
Id=farcc-builder.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
";
        let socket = UnitFacts {
            name: "farcc-builder.socket".into(),
            is_installed: true,
            active: "active".into(),
            enabled: "enabled".into(),
            listens: vec!["[::]:10501".into(), "192.0.2.1:10500".into()],
            ..UnitFacts::default()
        };
        let service = UnitFacts {
            name: "farcc-builder.service".into(),
            active: "inactive".into(),
            exit_status: 5,
            descriptors: Some(524_288),
            ..UnitFacts::default()
        };
        assert_eq!(parse(text), [socket, service]);
    }
}

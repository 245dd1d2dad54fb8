//! What the environment tells the wrapper. The only place here that reads it; there is no configuration file.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::local::SocketPlaces;
use crate::wrapper::log::Level;

#[derive(Debug)]
pub(crate) struct Settings {
    /// `FARCC_DISABLE`: be the plain compiler.
    pub(crate) disabled: bool,
    /// `FARCC_AUTOSTART`: anything but 0 (and unset) starts a daemon where none listens.
    pub(crate) autostart: bool,
    /// `FARCC_LOG`.
    pub(crate) log: Level,
    /// `FARCC_LEVEL`: how many compilers that farcc has started are around this process; [`super::unit`] has the rule.
    pub(crate) level: u32,
    pub(crate) places: SocketPlaces,
    /// `PATH`, where compilers are looked for.
    pub(crate) path: Option<OsString>,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is = |name: &str, word: &str| variable(name).is_some_and(|value| value == word);
        Self {
            disabled: variable("FARCC_DISABLE").is_some() && !is("FARCC_DISABLE", "0"),
            autostart: !is("FARCC_AUTOSTART", "0"),
            log: Level::from_word(variable("FARCC_LOG")),
            level: variable(LEVEL_VARIABLE).and_then(|level| level.to_str()?.parse().ok()).unwrap_or(0),
            places: SocketPlaces::new(
                variable("FARCC_SOCKET").map(PathBuf::from),
                variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            ),
            path: std::env::var_os("PATH"),
        }
    }
}

//! A builder's configuration, in sccache's words where sccache has them.

use std::path::PathBuf;

use crate::engine::config::address::{BUILDER_PORT, HostPort};
use crate::engine::config::auth::{self, Section};
use crate::engine::config::document::{Document, Place};
use crate::engine::config::error::{ConfigError, Problem};
use crate::engine::config::facts::Facts;
use crate::engine::config::reader::{Checked, LogLevel, Reader, Setting};
use crate::engine::config::upstream::{self, Upstream};
use crate::model::limits::{INPUT_CACHE_BYTES, SLOTS_MAX, TOOLCHAIN_CACHE_BYTES};

#[derive(Clone, Debug)]
pub struct BuilderConfig {
    pub scheduler: Upstream,
    /// What clients are told. Absent: the address the scheduler sees.
    pub public_addr: Option<HostPort>,
    /// Where to listen when systemd hands no socket over.
    pub bind_address: HostPort,
    /// For people: the host's name unless given.
    pub name: String,
    /// Jobs at a time.
    pub slots: u32,
    pub cache_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Where jobs are staged and run.
    pub build_dir: PathBuf,
    pub toolchain_cache_bytes: u64,
    pub input_cache_bytes: u64,
    /// Absent: looked for in the usual places.
    pub bwrap_path: Option<PathBuf>,
    /// Whom to become where root starts the daemon.
    pub user: String,
    pub log: LogLevel,
}

const CACHE_DIR: &str = "/var/cache/farcc-builder";
const STATE_DIR: &str = "/var/lib/farcc-builder";
const USER: &str = "farcc-builder";

pub(super) const SCHEDULER_AUTH: Section = Section {
    name: "scheduler_auth",
    kind: "scheduler_auth.type",
    token: "scheduler_auth.token",
    token_file: "scheduler_auth.token_file",
    credentials: &["farcc.builder-token", "farcc.token"],
};

impl BuilderConfig {
    /// Makes of what was typed what it means.
    ///
    /// # Errors
    /// The first value that makes no sense, or that is missing.
    pub fn check(document: Document, facts: &Facts) -> Result<Checked<Self>, ConfigError> {
        let mut reader = Reader::new(document);
        let home = facts.home.as_deref();
        check_type(&mut reader)?;
        let scheduler = scheduler(&mut reader, facts)?;
        let public_addr = address(&mut reader, "public_addr")?;
        let listen_port = public_addr.as_ref().map_or(BUILDER_PORT, |public| public.port);
        let cache_dir = reader.path("cache_dir", home)?.map(|found| found.value);
        let cache_dir = cache_dir.or_else(|| facts.cache_dir.clone()).unwrap_or_else(|| CACHE_DIR.into());
        let config = Self {
            scheduler,
            bind_address: address(&mut reader, "bind_address")?.unwrap_or_else(|| HostPort::new("::", listen_port)),
            public_addr,
            name: reader.text("name")?.map_or_else(|| facts.host_name.clone(), |found| found.value),
            slots: reader.number("slots", 1, SLOTS_MAX)?.map_or(facts.cpus.clamp(1, SLOTS_MAX), |found| found.value),
            state_dir: reader
                .path("state_dir", home)?
                .map(|found| found.value)
                .or_else(|| facts.state_dir.clone())
                .unwrap_or_else(|| STATE_DIR.into()),
            build_dir: reader
                .path("builder.build_dir", home)?
                .map_or_else(|| cache_dir.join("build"), |found| found.value),
            cache_dir,
            toolchain_cache_bytes: reader
                .size("toolchain_cache_size")?
                .map_or(TOOLCHAIN_CACHE_BYTES, |found| found.value),
            input_cache_bytes: reader.size("input_cache_size")?.map_or(INPUT_CACHE_BYTES, |found| found.value),
            bwrap_path: reader.path("builder.bwrap_path", home)?.map(|found| found.value),
            user: reader.text("user")?.map_or_else(|| USER.to_owned(), |found| found.value),
            log: reader.log_level()?,
        };
        Ok(Checked { config, warnings: reader.finish(&[])? })
    }

    /// What clients are told, for a builder that listens on `port`. No host means: the address the scheduler sees.
    pub fn offered_address(&self, port: u16) -> String {
        self.public_addr.as_ref().map_or_else(|| format!(":{port}"), ToString::to_string)
    }

    /// Everything as it is in effect, for people.
    pub fn settings(&self) -> Vec<Setting> {
        let or = |value: Option<String>, otherwise: &str| value.unwrap_or_else(|| otherwise.to_owned());
        vec![
            ("scheduler_url", format!("https://{}", self.scheduler.address)),
            ("fingerprint", self.scheduler.describe_fingerprint()),
            ("scheduler_auth.token", self.scheduler.token.to_string()),
            ("public_addr", or(self.public_addr.as_ref().map(ToString::to_string), "(as the scheduler sees it)")),
            ("bind_address", self.bind_address.to_string()),
            ("name", self.name.clone()),
            ("slots", self.slots.to_string()),
            ("cache_dir", self.cache_dir.display().to_string()),
            ("state_dir", self.state_dir.display().to_string()),
            ("toolchain_cache_size", self.toolchain_cache_bytes.to_string()),
            ("input_cache_size", self.input_cache_bytes.to_string()),
            ("builder.build_dir", self.build_dir.display().to_string()),
            (
                "builder.bwrap_path",
                or(self.bwrap_path.as_ref().map(|path| path.display().to_string()), "(found in PATH)"),
            ),
            ("user", self.user.clone()),
            ("log", self.log.to_string()),
        ]
    }
}

fn check_type(reader: &mut Reader) -> Result<(), ConfigError> {
    match reader.text("builder.type")? {
        Some(found) if found.value != "overlay" => Err(found.fail(Problem::BuilderType(found.value.clone()))),
        _ => Ok(()),
    }
}

fn scheduler(reader: &mut Reader, facts: &Facts) -> Result<Upstream, ConfigError> {
    let missing = |problem| ConfigError { at: Place::whole(&facts.main_file), problem };
    let address = upstream::address(reader, "scheduler_url")?;
    let token = auth::token(reader, SCHEDULER_AUTH, facts)?;
    let no_token = Problem::NoToken { section: SCHEDULER_AUTH.name, credential: SCHEDULER_AUTH.credentials[0] };
    Ok(Upstream {
        address: address.ok_or_else(|| missing(Problem::NoScheduler("scheduler_url")))?.value,
        fingerprint: upstream::fingerprint(reader)?,
        token: token.ok_or_else(|| missing(no_token))?,
    })
}

fn address(reader: &mut Reader, key: &'static str) -> Result<Option<HostPort>, ConfigError> {
    let Some(text) = reader.text(key)? else { return Ok(None) };
    let parse = |text: String| {
        HostPort::parse(&text, BUILDER_PORT).map_err(|cause| Problem::Address { key: key.to_owned(), cause })
    };
    Ok(Some(text.map(parse)?.value))
}

//! What a scheduler is told and what it wants done: closed sets.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::scheduler::Order;
use crate::engine::wire::farm::{Class, FarmStatus, Grievance};
use crate::model::id::{BuilderId, ClientId, Instance, LeaseId};
use crate::model::limits::{HEARTBEAT_SILENCE_MAX, LEASE_MAX};
use crate::model::moment::Moment;
use crate::model::toolchain::IsaLevel;

#[derive(Clone, Debug)]
pub struct Settings {
    pub instance: Instance,
    /// How long a lease lives without renewal.
    pub lease: Duration,
    /// A builder or client silent for this long is lost.
    pub silence: Duration,
    /// Builders that were drained by order before this scheduler started.
    pub drained: BTreeSet<BuilderId>,
}

impl Settings {
    pub fn new(instance: Instance) -> Self {
        Self { instance, lease: LEASE_MAX, silence: HEARTBEAT_SILENCE_MAX, drained: BTreeSet::new() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A builder proved itself. One that is known already has reconnected: its old connection is void.
    BuilderJoined {
        builder: BuilderId,
        name: String,
        addresses: Vec<String>,
        slots: u32,
        architecture: String,
        level: IsaLevel,
        /// Leases whose jobs still run there, of this scheduler or an earlier one: their slots are taken until a
        /// heartbeat no longer names them.
        outstanding: Vec<LeaseId>,
    },
    BuilderHeartbeat {
        builder: BuilderId,
        outstanding: Vec<LeaseId>,
        finished: u64,
        failed: u64,
        /// Where it says how many it has: that may change while it runs.
        slots: Option<u32>,
    },
    BuilderDraining {
        builder: BuilderId,
        draining: bool,
    },
    /// Its connection ended.
    BuilderLost {
        builder: BuilderId,
    },
    ClientJoined {
        client: ClientId,
        name: String,
    },
    ClientHeartbeat {
        client: ClientId,
    },
    /// Slots wanted for `class` in all, those granted already included.
    Demand {
        client: ClientId,
        class: Class,
        slots: u32,
    },
    Returned {
        client: ClientId,
        lease: LeaseId,
    },
    /// The client could not use the lease: the builder is unreachable or broke a job.
    Complaint {
        client: ClientId,
        builder: BuilderId,
        lease: LeaseId,
        about: Grievance,
    },
    ClientLost {
        client: ClientId,
    },
    /// The farm's administrator wants something of a builder.
    Ordered {
        builder: BuilderId,
        order: Order,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A new lease or the renewal of one. The shell adds addresses and the code, and sends it.
    Granted {
        client: ClientId,
        class: Class,
        lease: LeaseId,
        builder: BuilderId,
        slots: u32,
        expires: Moment,
        epoch: u64,
    },
    Revoked {
        client: ClientId,
        lease: LeaseId,
    },
    Recalled {
        client: ClientId,
        lease: LeaseId,
    },
    /// No builder here could ever take this class; or one can again.
    Hopeless {
        client: ClientId,
        class: Class,
        hopeless: bool,
    },
    /// Leases of earlier epochs are void at this builder: tell it now.
    Epoch {
        builder: BuilderId,
        epoch: u64,
    },
    /// It gets no leases for a while, of nobody. For people.
    Quarantined {
        builder: BuilderId,
        why: Blame,
    },
    /// Silent for too long: close its connection.
    CloseBuilder {
        builder: BuilderId,
    },
    CloseClient {
        client: ClientId,
    },
}

/// Why a builder is kept from everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Two clients complained, and nothing was finished in between.
    Clients,
    /// By its own count, it could not run a job.
    Itself,
}

/// Counters and tables for people; taken whenever somebody asks.
pub type Snapshot = FarmStatus;

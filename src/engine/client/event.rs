//! What the client machine is told and what it wants done: closed sets.

use std::time::Duration;

use crate::engine::wire::farm::{Class, Grievance, Lease};
use crate::model::id::{BuilderId, LeaseId, RequestId};
use crate::model::limits::{ATTEMPTS_MAX, LEASE_LINGER};
use crate::model::reason::{Reason, Why};

#[derive(Clone, Debug)]
pub struct Settings {
    /// Distributable units compiled on this machine at a time, when no remote slot is free. Zero: never by choice.
    pub local_slots: u32,
    /// Units that must run here (not distributable, or fallen back) at a time. At least one.
    pub forced_slots: u32,
    /// Builders that may fail a unit before it is compiled here.
    pub attempts: u32,
    /// How long an idle lease is kept for the next unit.
    pub linger: Duration,
    /// False where no scheduler is configured: nothing is ever remote.
    pub has_scheduler: bool,
}

impl Settings {
    pub fn new(local_slots: u32, forced_slots: u32, has_scheduler: bool) -> Self {
        Self {
            local_slots,
            forced_slots: forced_slots.max(1),
            attempts: ATTEMPTS_MAX,
            linger: LEASE_LINGER,
            has_scheduler,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A unit that may run remotely.
    Arrived {
        request: RequestId,
        class: Class,
    },
    /// A unit that must run here.
    ArrivedLocal {
        request: RequestId,
        why: Why,
    },
    /// The wrapper is gone: whatever runs for it is of no use.
    Abandoned {
        request: RequestId,
    },
    /// A remote attempt ended well.
    RemoteFinished {
        request: RequestId,
    },
    /// A remote attempt ended without a usable result.
    RemoteFailed {
        request: RequestId,
        failure: Failure,
    },
    /// The local compile, or the whole request, ended.
    LocalEnded {
        request: RequestId,
    },
    SchedulerUp,
    SchedulerDown,
    /// New lease, or renewal of one with the same id.
    Granted {
        lease: Lease,
        class: Class,
    },
    Revoked {
        lease: LeaseId,
    },
    Recalled {
        lease: LeaseId,
    },
    Hopeless {
        class: Class,
        hopeless: bool,
    },
}

/// What a failed attempt says about its builder, its lease and its unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The builder could not be reached or broke the job: worth another builder, and a complaint.
    Builder(Why),
    /// The builder's machine cannot run the compiler: worth another builder, and no more units of this toolchain there.
    Unfit(Why),
    /// The lease was not accepted (expired, busy, draining): worth another lease, nobody's fault, not an attempt.
    Lease(Why),
    /// Another builder would say the same: compile here.
    Unit(Why),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    RunRemote {
        request: RequestId,
        lease: Lease,
    },
    /// Give the wrapper a local slot.
    RunLocal {
        request: RequestId,
        why: Why,
    },
    /// Stop the remote attempt: nobody waits for it, or its lease is void.
    Cancel {
        request: RequestId,
        reason: Reason,
    },
    /// Tell the scheduler how many slots of this class are wanted in all.
    Demand {
        class: Class,
        slots: u32,
    },
    Return {
        lease: LeaseId,
    },
    Complain {
        builder: BuilderId,
        lease: LeaseId,
        detail: String,
        about: Grievance,
    },
}

/// Numbers of the moment, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// For a slot, remote or local.
    pub waiting: u32,
    pub running_remote: u32,
    pub running_local: u32,
    /// Held, in use or not.
    pub leases: u32,
}

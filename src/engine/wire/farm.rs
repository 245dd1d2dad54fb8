//! The links of a farm: client ↔ scheduler, builder ↔ scheduler, client ↔ builder. The only schema of what crosses hosts.
//!
//! Evolution: fields are named on the wire. A new field gets `#[serde(default)]`; a new variant is sent only to a peer whose
//! minor version knows it. Nothing is renamed or reused.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, Instance, JobId, LeaseId};
use crate::model::job::{Compilation, JobSpec};
use crate::model::moment::Moment;
use crate::model::report::BuilderReport;
use crate::model::toolchain::{IsaLevel, ToolchainId};

/// Peers of another major version refuse each other.
pub const FARM_MAJOR: u16 = 1;
/// Peers at most one minor version apart work together.
pub const FARM_MINOR: u16 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

/// First frame from a client or builder to a scheduler, and proof that it knows the shared secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version: Version,
    /// Host name, for people.
    pub name: String,
    /// `handshake::proof` over this connection's TLS exporter.
    pub proof: Digest,
    pub role: Role,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    Client,
    Builder(BuilderOffer),
}

/// What a builder brings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuilderOffer {
    pub slots: u32,
    /// `host:port`, best first. An empty host means: the address this connection comes from.
    pub addresses: Vec<String>,
    /// As `uname -m` has it.
    pub architecture: String,
    #[serde(default)]
    pub level: IsaLevel,
    /// Leases of an earlier scheduler whose jobs still run.
    pub outstanding: Vec<LeaseId>,
}

/// First frame from a scheduler.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Greeting {
    Welcome(Welcome),
    Refused { why: Refusal, message: String },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub version: Version,
    pub scheduler: Instance,
    /// The scheduler's proof, over the same exporter.
    pub proof: Digest,
    /// For builders only: what leases for it are authenticated with, until the scheduler ends.
    pub lease_key: Option<Digest>,
    pub now: Moment,
    /// For builders only.
    pub epoch: u64,
}

/// Why a peer was turned away. The numbers are an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Another major version, or minor versions too far apart.
    Version,
    /// The proof does not verify: another secret, or somebody in between.
    Secret,
    /// No room for another peer.
    Full,
    /// The offer makes no sense.
    Offer,
    /// The lease is not valid here (expired, revoked, other client, other builder, wrong code).
    Lease,
    /// All slots are taken, or this lease already has a job.
    Busy,
    /// The builder takes no new jobs.
    Draining,
    /// The request breaks a limit or the protocol; the message says which.
    Request,
}

/// Units a client would compile remotely if it could: what the scheduler places.
///
/// Two are the same whatever they say of the level: it follows from the toolchain, and a scheduler that does not know the field leaves
/// it out of its answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Class {
    pub toolchain: ToolchainId,
    /// As `uname -m` has it.
    pub architecture: String,
    /// What the toolchain's programs need of the processor.
    #[serde(default)]
    pub level: IsaLevel,
}

impl Class {
    fn identity(&self) -> (ToolchainId, &str) {
        (self.toolchain, &self.architecture)
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Class {}

impl PartialOrd for Class {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Class {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for Class {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The right to run one job at a time on each of `slots` slots of a builder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    pub id: LeaseId,
    pub builder: BuilderId,
    /// For people.
    pub builder_name: String,
    /// `host:port`, best first.
    pub addresses: Vec<String>,
    pub slots: u32,
    /// By the scheduler's clock.
    pub expires: Moment,
    pub epoch: u64,
    /// [`Lease::code`] under the builder's lease key.
    pub mac: Digest,
}

impl Lease {
    /// The code that makes a lease good at its builder for one client.
    pub fn code(&self, key: &Digest, client: ClientId) -> Digest {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.id.instance.0.to_le_bytes());
        bytes.extend_from_slice(&self.id.number.to_le_bytes());
        bytes.extend_from_slice(self.builder.0.as_bytes());
        bytes.extend_from_slice(client.0.as_bytes());
        bytes.extend_from_slice(&self.slots.to_le_bytes());
        bytes.extend_from_slice(&(self.expires.since_start().as_nanos() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        Digest::keyed(key.as_bytes(), &bytes)
    }
}

/// Client → scheduler, after [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClientToScheduler {
    /// Slots wanted for a class from now on, those already leased included; zero ends the demand.
    Demand {
        class: Class,
        slots: u32,
    },
    Return {
        lease: LeaseId,
    },
    /// The builder broke a job or cannot be reached.
    Complain {
        builder: BuilderId,
        lease: LeaseId,
        detail: String,
        #[serde(default)]
        about: Grievance,
    },
    /// Nothing new, still here.
    Heartbeat,
    /// Asks for a [`FarmStatus`].
    Status,
}

/// What a client has against a builder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Grievance {
    /// It broke a job, or cannot be reached.
    #[default]
    Work,
    /// Its machine cannot run the lease's toolchain: an instruction is missing there. Others may be fine.
    Toolchain,
}

/// Scheduler → client, after [`Greeting`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SchedulerToClient {
    /// A new lease, or the renewal of one with the same id.
    Granted {
        lease: Lease,
        /// The demand that it answers.
        class: Class,
    },
    /// No further job on it: the scheduler has lost the builder. One that runs goes on while the connection to the builder lasts.
    Revoked {
        lease: LeaseId,
    },
    /// Others wait: give it back when its job is done.
    Recalled {
        lease: LeaseId,
    },
    Status(FarmStatus),
    Heartbeat,
    /// There is no builder that could ever take this class now (`true`), or there is one again (`false`).
    Hopeless {
        class: Class,
        hopeless: bool,
    },
}

/// The whole farm, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FarmStatus {
    pub builders: Vec<BuilderStatus>,
    pub clients: u32,
    /// Slots asked for and not granted.
    pub queued: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuilderStatus {
    pub builder: BuilderId,
    pub name: String,
    pub addresses: Vec<String>,
    pub architecture: String,
    pub slots: u32,
    pub leased: u32,
    /// `ready`, `draining`, `quarantined`, `recovering`.
    pub state: String,
    pub finished: u64,
    pub failed: u64,
}

impl From<BuilderStatus> for BuilderReport {
    fn from(status: BuilderStatus) -> Self {
        Self {
            name: status.name,
            id: status.builder.to_string(),
            address: status.addresses.join(" "),
            architecture: status.architecture,
            slots: status.slots,
            leased: status.leased,
            state: status.state,
            finished: status.finished,
            failed: status.failed,
        }
    }
}

/// Builder → scheduler, after [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BuilderToScheduler {
    Heartbeat {
        outstanding: Vec<LeaseId>,
        finished: u64,
        failed: u64,
        /// How many it has now. A builder that does not say has as many as it offered.
        #[serde(default)]
        slots: Option<u32>,
    },
    /// No new jobs from now on; leases end when their jobs do.
    Draining { draining: bool },
}

/// Scheduler → builder, after [`Greeting`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SchedulerToBuilder {
    /// Answers each heartbeat; leases of earlier epochs are void.
    Clock { now: Moment, epoch: u64 },
}

/// First frame of every request to a builder; checked before anything else is read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opening {
    pub version: Version,
    pub lease: Lease,
    /// The job that the lease's slot is for; none where a toolchain is offered.
    #[serde(default)]
    pub job: Option<JobId>,
}

/// Second frame of `POST /v1/job`; blobs follow (see [`BlobStart`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobRequest {
    pub spec: JobSpec,
    /// How many blobs follow.
    pub blobs: u32,
}

/// First frame of the answer to a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobReply {
    /// The compiler ran. The blobs of its outputs follow, in the order of `outputs`, each once.
    Finished { compilation: Compilation },
    /// Nothing ran: the builder lacks these. Ask again and send them.
    NeedBlobs { digests: Vec<Digest> },
    /// Nothing ran: the builder lacks the toolchain. Claim and upload it, then ask again.
    NeedToolchain,
    /// Nothing ran, and asking again will not help while things are as they are.
    Refused { why: Refusal, message: String },
    /// The compiler could not be run or did not end properly.
    Fault { fault: JobFault, message: String },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobFault {
    /// Wall clock limit.
    Timeout,
    /// Output limit.
    Output,
    /// A blob did not match its digest.
    Corrupt,
    /// The sandbox would not start.
    Sandbox,
    /// Disk full, descriptors exhausted and the like.
    Resources,
    /// Neither an exit status nor a signal came back.
    NoEnding,
    /// The job makes no sense: a manifest that cannot be laid out, a program that is not there.
    Job,
}

/// Announces one blob; frames of raw bytes follow until `wire_bytes` are complete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlobStart {
    pub digest: Digest,
    /// Uncompressed.
    pub size: u64,
    /// As sent.
    pub wire_bytes: u64,
    pub encoding: Encoding,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Encoding {
    Plain,
    Zstd,
}

/// Second frame of `POST /v1/toolchain`. The answer's frames are [`ToolchainReply`]s.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToolchainOffer {
    pub toolchain: ToolchainId,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToolchainReply {
    /// It is here, complete and verified. Ends the request.
    Ready,
    /// Nobody else sends it: send it now as frames of raw bytes until the body ends, a zstd-compressed tar.
    Upload,
    /// Ends the request.
    Refused { why: Refusal, message: String },
}

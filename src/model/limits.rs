//! Every bound in the system, each with its reason. Reaching one is a refusal with a name.

use std::time::Duration;

// Paths and manifests.

/// The kernel's PATH_MAX without the terminating NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// The kernel's NAME_MAX.
pub const PATH_COMPONENT_BYTES_MAX: usize = 255;
/// A Chromium unit reads about 8,000 files; tombstones and directories double that.
pub const MANIFEST_ENTRIES_MAX: usize = 65_536;
/// One input file. Larger than any generated source or embedded blob seen in practice.
pub const INPUT_BYTES_MAX: u64 = 256 << 20;
/// Sum of a job's inputs: a precompiled header or two and a large unit fit, a runaway `#embed` does not.
pub const INPUTS_BYTES_MAX: u64 = 1 << 30;
/// A toolchain: clang with its LLVM libraries takes 150 MB, a vendor's cross compiler with several back ends 2 GB.
pub const TOOLCHAIN_BYTES_MAX: u64 = 4 << 30;
/// A toolchain's manifest on disk: the most entries, each with a path longer than most.
pub const TOOLCHAIN_MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Files of a toolchain: a compiler needs hundreds, an archive of a whole sysroot tens of thousands.
pub const TOOLCHAIN_ENTRIES_MAX: usize = 200_000;

// Commands.

/// The kernel's own limit on one argument list at the usual 8 MB stack (a quarter of it).
pub const ARGUMENT_BYTES_MAX: usize = 2 << 20;
/// Response files inside response files; gcc itself stops at 2,000 expansions, nobody nests deeper than a few.
pub const RESPONSE_FILE_DEPTH_MAX: usize = 16;
/// What a client daemon remembers of dependency runs: some thousand units of a few hundred headers each.
pub const FORECAST_BYTES_MAX: usize = 64 << 20;

// Wire.

/// One frame of control data (a manifest is the largest: 65,536 entries of about 150 bytes). Blobs are cut into frames below.
pub const FRAME_BYTES_MAX: usize = 32 << 20;
/// The first frame of a peer that has not proved itself: a greeting or a lease takes a few hundred bytes.
pub const FIRST_FRAME_BYTES_MAX: usize = 64 << 10;
/// Payload of one blob frame: large enough to amortise its header, small enough to interleave.
pub const BLOB_CHUNK_BYTES: usize = 256 << 10;
/// HTTP/2 streams a peer may open at once: every slot of a big client plus control streams. hyper's default is 200.
pub const STREAMS_MAX: u32 = 4096;
/// Connections a daemon holds at once; a farm of a few hundred machines stays below it.
pub const CONNECTIONS_MAX: usize = 4096;
/// A peer that has connected must have proved itself by then.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// And by then have made a request that shows that it belongs here. Peers of ours do so at once.
pub const PROOF_MAX: Duration = Duration::from_secs(15);
/// Connections of peers that have not: a quarter of all there can be, so that the others have the rest.
pub const UNPROVEN_MAX: usize = CONNECTIONS_MAX / 4;
/// Of these from one address: a machine of many users, all starting to build in the same second.
pub const UNPROVEN_PER_ADDRESS_MAX: usize = 64;
/// Pings on idle and busy connections alike.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
/// A peer that does not answer a ping within this is dead. With the interval: noticed within 3 s.
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(2);
/// A connection that does not come up within this counts as down.
pub const CONNECT_MAX: Duration = Duration::from_secs(2);

/// A peer in the midst of a request that sends or takes nothing for this long has stopped, though it answers pings: a disk that spins up
/// and a lost packet or two take some seconds.
pub const REQUEST_IDLE_MAX: Duration = Duration::from_secs(30);
/// Nor may it send so slowly on average that it holds a slot for hours: a tenth of the slowest line that anybody would compile over.
pub const REQUEST_BYTES_PER_SECOND_MIN: u64 = 16 << 10;

/// Toolchains that a builder takes in at a time. Each holds a thread, and a disk serves no more of them at once any sooner.
pub const UPLOADS_MAX: usize = 8;
/// The first client to offer a toolchain uploads it alone for this long, which is enough for most; then another may as well.
pub const UPLOAD_HEAD_START: Duration = Duration::from_secs(10);
/// Threads of a builder for short work (hashing a batch of inputs, reading a result), beside those that jobs and uploads have.
pub const SHORT_WORK_THREADS: usize = 64;
/// A name must be found by then: a resolver asks its second server after five seconds.
pub const LOOKUP_MAX: Duration = Duration::from_secs(7);
/// An address of a host that has not answered for this long is not waited for alone: RFC 8305 recommends it.
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// A peer's name for itself, as hosts have them.
pub const NAME_CHARS_MAX: usize = 255;
/// A peer's account of what went wrong: a sentence with a path in it.
pub const DETAIL_CHARS_MAX: usize = 1000;
/// As `uname -m` has it: the kernel's own limit of 64 with the NUL.
pub const ARCHITECTURE_BYTES_MAX: usize = 64;

// Wrapper and client daemon.

/// The daemon sends a sign of life at least this often while a request waits.
pub const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// A daemon silent for this long is hung: the wrapper compiles locally.
pub const DAEMON_SILENCE_MAX: Duration = Duration::from_secs(3);
/// An autostarted daemon must listen by then.
pub const AUTOSTART_MAX: Duration = Duration::from_secs(3);
/// Requests a client daemon holds at once; `make -j` of every user of a big machine stays below it.
pub const REQUESTS_MAX: usize = 16_384;
/// Files that one job may make: gcc's dumps of one unit are some two hundred, and as many graphs of them. The wrapper holds a
/// descriptor of each, and as a rule may have 1,024.
pub const OUTPUT_FILES_MAX: usize = 900;
/// The kernel's SCM_MAX_FD: room for whatever a peer may send in one message.
pub const DESCRIPTORS_PER_MESSAGE_MAX: usize = 253;
/// After a wrapper has started a daemon, the next start must wait this long: one that cannot start is not started for each unit.
pub const AUTOSTART_PAUSE: Duration = Duration::from_secs(2);
/// A daemon of a throwaway farm must be ready by then; a builder tries its sandbox out before.
pub const TRIAL_READY_MAX: Duration = Duration::from_secs(30);
/// A daemon of a throwaway farm that has not ended by then is killed.
pub const TRIAL_END_MAX: Duration = Duration::from_secs(5);
/// Records that `farccctl why` can look at.
pub const HISTORY_UNITS_MAX: usize = 8192;

// Jobs.

/// A unit that compiles longer than this is a runaway; the largest known take some minutes.
pub const JOB_WALL_MAX: Duration = Duration::from_secs(30 * 60);
/// Sum of a job's outputs. Objects with full debug information reach a few hundred megabytes.
pub const JOB_OUTPUT_BYTES_MAX: u64 = 2 << 30;
/// What a job may write beside its outputs: assembly on its way to the assembler is some times as large as the object.
pub const JOB_TEMPORARY_BYTES_MAX: u64 = 2 << 30;
/// Files and directories that a job may make: a few hundred outputs at most, and as many temporary ones.
pub const JOB_INODES_MAX: u64 = 16_384;
/// Builders that may fail one unit before it is compiled locally.
pub const ATTEMPTS_MAX: u32 = 2;
/// A builder that is asked to end waits this long for its jobs: most end within, and nobody waits longer for a machine to go down.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
/// And this long after the last of them for its results to be on their way.
pub const DRAIN_LINGER: Duration = Duration::from_secs(1);
/// A sandbox that has not started its program by then never will (a filtered syscall can hang bwrap).
pub const SANDBOX_START_MAX: Duration = Duration::from_secs(10);

// Scheduling.

/// A lease not renewed for this long is over. Renewal comes with each heartbeat.
pub const LEASE_MAX: Duration = Duration::from_secs(30);
/// Builders and clients report this often.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// A builder silent for this long is forgotten.
pub const HEARTBEAT_SILENCE_MAX: Duration = Duration::from_secs(4);
/// A client keeps an idle lease this long, for the next unit of the same build.
pub const LEASE_LINGER: Duration = Duration::from_secs(2);
/// First pause of a builder that failed a job; doubles with each failure.
pub const QUARANTINE_FIRST: Duration = Duration::from_secs(2);
/// Longest quarantine that an administrator can order: whoever means longer means a drain.
pub const QUARANTINE_ORDERED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Builders that may be drained by order at a time, connected or not: more than a farm has.
pub const DRAINED_MAX: usize = 4 * BUILDERS_MAX;
/// Longest pause.
pub const QUARANTINE_MAX: Duration = Duration::from_secs(300);
/// Builders a scheduler knows at once.
pub const BUILDERS_MAX: usize = 4096;
/// Clients a scheduler knows at once.
pub const CLIENTS_MAX: usize = 4096;
/// Slots one builder may offer.
pub const SLOTS_MAX: u32 = 4096;
/// Classes one client may name at once: toolchains in use times architectures, with room.
pub const CLASSES_MAX: usize = 1024;
/// Pairs of toolchain and builder that do not go together, for one client: as many toolchains as a project has, on every machine
/// of a farm that is too old. Beyond it, some are tried again.
pub const MISFITS_MAX: usize = 1024;
/// Where clients outnumber slots, a lease may be recalled for a client without any after this long: a turn.
pub const LEASE_TURN: Duration = Duration::from_secs(2);
/// Jobs that a builder must finish after a failure before the failure is forgotten.
pub const QUARANTINE_FORGIVEN_JOBS: u64 = 32;
/// Refused leases that one unit puts up with before it is compiled locally. With the pauses: about five seconds of a farm
/// that contradicts itself.
pub const LEASE_REFUSALS_MAX: u32 = 8;
/// Pause of a unit whose lease was refused; doubles each time. A builder that still clears a slot away needs about as long.
pub const LEASE_REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// A unit keeps away this long from a builder that failed it: grants that crossed the complaint are recalled by then.
pub const BUILDER_AVOIDED: Duration = Duration::from_secs(1);
/// Units wait this long for a scheduler that went away: systemd restarts it well within.
pub const SCHEDULER_GRACE: Duration = Duration::from_secs(2);
/// Units wait this long for a first builder of their architecture: one that restarts is back by then.
pub const HOPELESS_GRACE: Duration = Duration::from_secs(3);

// Caches.

/// Default of `toolchain_cache_size`, as sccache users know it.
pub const TOOLCHAIN_CACHE_BYTES: u64 = 10 << 30;
/// Default bound of a builder's cache of input files.
pub const INPUT_CACHE_BYTES: u64 = 10 << 30;
/// Digests a client believes a builder has; 32 bytes each.
pub const KNOWN_BLOBS_MAX: usize = 1 << 20;

// Configuration.

/// One configuration file or secret. A farm's configuration takes a kilobyte; whatever is larger is the wrong file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Drop-ins of one directory that are read.
pub const CONFIG_FILES_MAX: usize = 1000;
/// A shared token below this length draws a warning: whoever records a handshake can try guesses against it at leisure.
pub const TOKEN_BYTES_MIN: usize = 16;
/// A generated token: 256 bits, as much as the hash that uses it.
pub const TOKEN_BYTES_GENERATED: usize = 32;

// systemd and D-Bus.

/// `STATUS=` goes to the service manager at most this often: people read it, and a busy daemon changes thousands of times a second.
pub const STATUS_EVERY: Duration = Duration::from_secs(1);
/// `PropertiesChanged` at most this often, for the same reason.
pub const BUS_CHANGES_EVERY: Duration = Duration::from_secs(1);
/// First pause before the bus is tried again; doubles.
pub const BUS_RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest pause: a bus that was installed later is found within this.
pub const BUS_RETRY_MAX: Duration = Duration::from_secs(30);
/// Orders from the bus that wait for the daemon's loop; people give one at a time.
pub const BUS_COMMANDS_MAX: usize = 16;
/// Polkit answers within this, or the answer is no: somebody may have to find a password first.
pub const POLKIT_MAX: Duration = Duration::from_secs(120);
/// Projects with counters of their own; the one with the fewest requests makes room.
pub const PROJECTS_MAX: usize = 64;
/// Counters are written this often at most; more are lost only where a daemon is killed.
pub const STATS_SAVED_EVERY: Duration = Duration::from_secs(10);
/// Jobs are objects on the bus once they run this long: a farm runs hundreds of shorter ones in a second.
pub const JOB_SHOWN_AFTER: Duration = Duration::from_secs(1);

/// A client daemon that no wrapper needed for this long ends; the next one starts it again in milliseconds.
pub const CLIENT_IDLE_MAX: Duration = Duration::from_secs(15 * 60);
// Compilers.

/// Compilers that a client daemon remembers, each with its options and variables. A build that sets another `PATH` for each unit
/// goes beyond; then those that nobody waits for are forgotten.
pub const TOOLCHAINS_KNOWN_MAX: usize = 512;
/// Classes of commands of which a client daemon remembers that builders' compilers run them alike, and what `native` means to them.
/// A build has some dozen; one that gives each unit an option of its own (`-frandom-seed=`) has as many as units. Each is a
/// command's words: some kilobytes.
pub const COMMAND_CLASSES_KNOWN_MAX: usize = 1024;
/// One answer of a compiler driver. gcc's macro list has 15 kB, clang's `-v -###` a few.
pub const DRIVER_ANSWER_BYTES_MAX: usize = 4 << 20;
/// A driver answers in milliseconds; a cold disk may take seconds.
pub const DRIVER_ANSWER_MAX: Duration = Duration::from_secs(20);
/// Program headers and the dynamic section of an ELF file have a few kilobytes.
pub const ELF_DYNAMIC_BYTES_MAX: u64 = 1 << 20;
/// A dynamic loader, read for what is compiled into it. They have some hundred kilobytes; musl's is its whole C library.
pub const LOADER_BYTES_MAX: u64 = 16 << 20;
/// Read and hashed at once: past this size a larger buffer gains nothing.
pub const COPY_BYTES: usize = 256 << 10;
/// What a decompressor may need for one toolchain. Archives of ours, at zstd's level 3, want 2 MB.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 24;
// Inputs of a unit.

/// Files whose digest and token scan a client daemon remembers: several large source trees, some hundred bytes each.
pub const SCAN_CACHE_FILES_MAX: usize = 1 << 17;
/// Directories whose names it remembers.
pub const SCAN_CACHE_DIRECTORIES_MAX: usize = 1 << 13;
/// A directory with more names is looked at name by name: no search directory has as many, spools and caches do.
pub const LISTING_NAMES_MAX: usize = 1 << 16;
/// A file changed this recently when it was read may change again without its times telling: kernels count in ticks of up to
/// 10 ms, some file systems in steps of 2 s.
pub const RACY_WINDOW: Duration = Duration::from_secs(2);
/// Macros of one unit that stand for `__has_include`. Libraries define one each; each round of looking for more of them reads
/// every file.
pub const HAS_INCLUDE_MACROS_MAX: usize = 64;
/// Symlinks on one path; the kernel's own limit.
pub const SYMLINKS_MAX: usize = 40;
/// What a dependency run may print: the longest lists have some hundred kilobytes, warnings beside them a few megabytes.
pub const DEPENDENCY_OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// A dependency run preprocesses one unit; one that takes longer hangs (a FIFO among the headers).
pub const DEPENDENCY_RUN_MAX: Duration = Duration::from_secs(120);
// Processes and sandboxes.

/// What a program that is only asked something may print: the longest answer, a compiler's search paths or predefined
/// macros, has some ten kilobytes; a unit's dependency list some hundred.
pub const SPAWN_OUTPUT_BYTES_MAX: usize = 16 << 20;
/// A program that is only asked something answers by then, on the slowest machine.
pub const SPAWN_WALL_MAX: Duration = Duration::from_secs(60);
/// A command with its environment, as it goes to the sandbox helper: the kernel takes an argument list of 6 MB at most.
pub const LAUNCH_BYTES_MAX: u64 = 8 << 20;
/// Open files of a job. `make` and shells expect 1,024; LTO linkers some thousand.
pub const JOB_FILES_MAX: u64 = 4096;
/// Processes of a job. A compiler starts two or three, a back end with threads as many as there are processors.
pub const JOB_PROCESSES_MAX: u64 = 4096;
/// Directories inside one another that a job may make; the deepest path the kernel takes has 2,048, and each costs a descriptor.
pub const OUTPUT_DEPTH_MAX: usize = 128;
/// Trees of inputs that wait for the next job: a large builder's slots. Each is some hundred names.
pub const TREES_MAX: usize = 64;
/// Sandboxes prepared ahead of need; each costs a process with little memory of its own. More than the jobs that arrive at once is wasted.
pub const WARM_SANDBOXES_MAX: usize = 16;
/// Names of one inode: ext4 has 65,000, btrfs in one directory some hundred less than that, and some jobs are always about to link.
pub const LINKS_MAX: u64 = 32_000;
// What the doctor calls too little.

/// Free on a disk that a builder keeps toolchains on: the largest one that clients pack takes about as much.
pub const DISK_FREE_BYTES_MIN: u64 = 1 << 30;
/// Files that can still be made there: a toolchain has some thousand, the inputs of a build some ten thousand.
pub const DISK_FREE_INODES_MIN: u64 = 10_000;
/// Open files of a daemon: some hundred units or connections at a time, with a few files each.
pub const DESCRIPTORS_MIN: u64 = 4096;
/// A client daemon that has just been started knows the farm by then, or there is nothing to know.
pub const FARM_NEWS_MAX: Duration = Duration::from_secs(2);

//! Fresh namespaces with two processes: one waits for a job, stacks its layers and becomes bwrap; the other, process 1, waits for the
//! first and for all that bwrap leaves to it, because bwrap itself ends without adding up what its children have used.
//!
//! They are made ahead of need, since namespaces are what a sandbox costs most for (the network's alone some milliseconds).
//! They serve one job, so nothing of one job can reach the next. Both begin as copies of the helper, with one thread.

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, setrlimit};

use crate::model::limits::{
    JOB_FILES_MAX, JOB_INODES_MAX, JOB_PROCESSES_MAX, JOB_TEMPORARY_BYTES_MAX, LAUNCH_BYTES_MAX,
};
use crate::model::path::SandboxPath;
use crate::os::sandbox::bwrap::{self, BwrapVersion, Root, Sandbox, Stacking};
use crate::os::sandbox::filter::{self, Sockets};
use crate::os::sandbox::launch::{Attached, Launch, Reply, Request};
use crate::os::sandbox::message;
use crate::os::sys::{self, Fork, ForkInto, Used};

/// How sandboxes are made on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Craft {
    pub bwrap: PathBuf,
    pub version: BwrapVersion,
    pub stacking: Stacking,
}

/// The helper's side.
#[derive(Debug)]
pub(crate) struct Chamber {
    pub pid: i32,
    /// Everything in the chamber dies with this process.
    pub pidfd: OwnedFd,
    door: OwnedFd,
}

/// Why a chamber cannot take a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChamberError {
    #[error("create namespaces: {0}")]
    Namespaces(io::Error),
    #[error("write {0}: {1}")]
    Setting(&'static str, io::Error),
    #[error("mount {0}: {1}")]
    Mount(&'static str, rustix::io::Errno),
    #[error("open {}: {errno}", path.display())]
    Open { path: PathBuf, errno: rustix::io::Errno },
    #[error("bubblewrap {version} cannot name the program {argv0:?}, and {argv0:?} is not {program}")]
    Name { version: BwrapVersion, argv0: String, program: SandboxPath },
    #[error("set limits: {0}")]
    Limits(rustix::io::Errno),
    #[error("the command cannot be run: {0}")]
    Command(&'static str),
    #[error("execute {}: {error}", program.display())]
    Execute { program: PathBuf, error: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Chamber {
    /// Makes one. In the new process this does not return.
    pub(crate) fn make(craft: &Craft) -> Result<Self, ChamberError> {
        let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let (door, inner) = message::pair()?;
        match sys::fork_into_namespaces().map_err(ChamberError::Namespaces)? {
            ForkInto::Parent { pid, pidfd } => Ok(Self { pid, pidfd, door }),
            ForkInto::Child => {
                // Its copies of the helper's descriptors would keep other jobs' lines open.
                let settled = sys::close_all_but(inner.as_fd()).and_then(|()| settle(inner, craft, ids));
                sys::exit_at_once(i32::from(settled.is_err()))
            }
        }
    }

    /// Hands it its job: the first message is for the process that becomes bwrap, the second for process 1.
    pub(crate) fn enter(&self, attached: &Attached) -> io::Result<()> {
        let Attached { reply, launch, stdout, stderr, status } = attached;
        let all = [reply.as_fd(), launch.as_fd(), stdout.as_fd(), stderr.as_fd(), status.as_fd()];
        message::send(&self.door, &Request {}, &all)?;
        message::send(&self.door, &Request {}, &[reply.as_fd()])
    }
}

/// The life of process 1.
fn settle(door: OwnedFd, craft: &Craft, ids: (u32, u32)) -> io::Result<()> {
    let furnished = furnish(ids);
    match sys::fork()? {
        Fork::Child => {
            inhabit(&door, craft, furnished);
            sys::exit_at_once(1)
        }
        Fork::Parent(_) => {
            sys::ask_for_short_turns().ok();
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
            let Used { cpu, peak_bytes } = sys::wait_for_children()?;
            // Told now and not by the helper: to take the namespaces down costs some milliseconds more.
            match message::receive::<Request>(&door)? {
                Some((_, reply)) if reply.len() == 1 => {
                    message::send(&reply[0], &Reply::Ended { cpu, peak_bytes }, &[])
                }
                _ => Ok(()),
            }
        }
    }
}

/// The life of the process that becomes bwrap; returns only where that fails.
fn inhabit(door: &OwnedFd, craft: &Craft, furnished: Result<(), ChamberError>) {
    // A helper that is gone closes the door.
    let Ok(Some((Request {}, descriptors))) = message::receive(door) else { return };
    let Some(attached) = Attached::from_descriptors(descriptors) else { return };
    let Ok(reply) = attached.reply.try_clone() else { return };
    if let Err(error) = furnished.and_then(|()| start(craft, attached)) {
        let text = error.to_string();
        let told = match error {
            ChamberError::Name { .. } | ChamberError::Command(_) => Reply::Refused(text),
            _ => Reply::Failed(text),
        };
        // With nobody to listen there is nobody to tell.
        message::send(&reply, &told, &[]).ok();
    }
}

/// That of the machine is nobody's business.
const HOST_NAME: &[u8] = b"builder";

/// What every job needs alike.
fn furnish((uid, gid): (u32, u32)) -> Result<(), ChamberError> {
    let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    tied.and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)).map_err(io::Error::from)?;
    let write = |file, content: &str| fs::write(file, content).map_err(|source| ChamberError::Setting(file, source));
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", &format!("{gid} {gid} 1"))?;
    // bwrap looks itself up in /proc by numbers that mean something only in this PID namespace.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None::<&CStr>).map_err(|errno| ChamberError::Mount("proc", errno))?;
    furnish_mount_points()?;
    furnish_devices()?;
    // One more is bwrap's; the job's would be too many.
    write("/proc/sys/user/max_user_namespaces", "1")?;
    Ok(rustix::system::sethostname(HOST_NAME).map_err(io::Error::from)?)
}

/// A directory that every machine has, below which nobody keeps a builder's files, and that no job needs as it is. (Below /dev
/// somebody might, in /dev/shm.)
const OWN: &str = "/sys";
/// Where the job's /dev waits for bwrap.
pub(crate) const DEVICES_AT: &str = "/sys/dev";
/// Where a job's layers come together, in memory: file systems on disks take their time over each new file, and what is in memory
/// is gone when nobody holds it any more.
const LAYERS_AT: &str = "/sys/layers";
const UPPER: &str = "/sys/layers/upper";
const WORK: &str = "/sys/layers/work";
const MERGED: &str = "/sys/layers/merged";

/// Makes places of our own.
fn furnish_mount_points() -> Result<(), ChamberError> {
    let fault = |errno| ChamberError::Mount("mount points", errno);
    mount("tmpfs", OWN, "tmpfs", QUIET, Some(c"mode=755")).map_err(fault)?;
    for directory in [DEVICES_AT, LAYERS_AT] {
        fs::create_dir(directory)?;
    }
    Ok(())
}

/// Neither executed nor obeyed.
const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// Makes a /dev with nothing to write to but devices.
fn furnish_devices() -> Result<(), ChamberError> {
    const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
    const LINKS: &[(&str, &str)] = &[("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")];
    let fault = |errno| ChamberError::Mount("devices", errno);
    let below = |name: &str| Path::new(DEVICES_AT).join(name);
    mount("tmpfs", DEVICES_AT, "tmpfs", QUIET, Some(c"mode=755")).map_err(fault)?;
    for name in DEVICES {
        File::create(below(name))?;
        // Not remounted with flags of our own: a device is neither executed nor changed, and under PrivateDevices= the flags
        // that it has are locked.
        mount_bind(Path::new("/dev").join(name), below(name)).map_err(fault)?;
    }
    for (name, target) in LINKS {
        symlink(format!("/proc/self/fd{target}"), below(name))?;
    }
    mount_remount(DEVICES_AT, MountFlags::BIND | MountFlags::RDONLY | QUIET, c"").map_err(fault)
}

/// Where an open file can be found as a path.
fn link_to(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Becomes bwrap; returns only where that fails.
fn start(craft: &Craft, attached: Attached) -> Result<(), ChamberError> {
    let launch = message::content(File::from(attached.launch), LAUNCH_BYTES_MAX)?;
    let launch: Launch = rmp_serde::from_slice(&launch).map_err(io::Error::other)?;
    let upper = make_layers(&launch)?;
    message::send(&attached.reply, &Reply::Upper, &[upper.as_fd()])?;
    let root = stack(craft.stacking, &launch)?;
    if let (Root::Merged(merged), false) = (&root, craft.version.names_program()) {
        check_name(craft.version, merged, &launch)?;
    }
    let filter = message::in_memory(&filter::bytes(&filter::program(Sockets::Local)))?;
    let sandbox = Sandbox {
        version: craft.version,
        root,
        program: &launch.program,
        argv: &launch.argv,
        env: &launch.env,
        cwd: &launch.cwd,
        filter: sys::keep_over_exec(filter.as_fd())?,
        status: sys::keep_over_exec(attached.status.as_fd())?,
    };
    let arguments = bwrap::arguments(&sandbox).into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let arguments = arguments.map_err(|_| ChamberError::Command("an argument or variable has a NUL byte"))?;
    let program =
        CString::new(craft.bwrap.as_os_str().as_bytes()).map_err(|_| ChamberError::Command("bwrap's path"))?;

    connect_streams(&attached.stdout, &attached.stderr)?;
    sys::default_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit(&launch).map_err(ChamberError::Limits)?;
    // Bubblewrap has little to compute; what it starts has not asked.
    sys::ask_for_short_turns().ok();
    let error = sys::execve(&program, &arguments, &[]);
    Err(ChamberError::Execute { program: craft.bwrap.clone(), error })
}

/// Makes what a job writes to, empty and bounded; returns the directory in which everything will be that it makes.
fn make_layers(launch: &Launch) -> Result<OwnedFd, ChamberError> {
    let bytes_max = launch.file_bytes.saturating_add(JOB_TEMPORARY_BYTES_MAX);
    let options = CString::new(format!("mode=755,size={bytes_max},nr_inodes={JOB_INODES_MAX}"));
    let options = options.map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("layers", LAYERS_AT, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(|errno| ChamberError::Mount("layers", errno))?;
    for name in [UPPER, WORK, MERGED] {
        // The root of a job, and where compilers put temporary files.
        DirBuilder::new().mode(0o755).create(name)?;
    }
    Ok(open(UPPER, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?)
}

/// Lays toolchain, inputs and the empty layer over one another.
fn stack(stacking: Stacking, Launch { inputs, toolchain, .. }: &Launch) -> Result<Root, ChamberError> {
    if stacking == Stacking::ByBwrap {
        let (toolchain, inputs) = (toolchain.clone(), inputs.clone());
        return Ok(Root::Layers { toolchain, inputs, upper: UPPER.into(), work: WORK.into() });
    }
    // By descriptor: a path may hold the characters that separate options.
    let (inputs, toolchain) = (directory(inputs)?, directory(toolchain)?);
    let (inputs_at, toolchain_at) = (link_to(&inputs), link_to(&toolchain));
    // `userxattr`: all that a namespace's root may use.
    let options = format!("lowerdir={inputs_at}:{toolchain_at},upperdir={UPPER},workdir={WORK},userxattr");
    let options = CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("job", MERGED, "overlay", flags, Some(options.as_c_str()))
        .map_err(|errno| ChamberError::Mount("overlay", errno))?;
    Ok(Root::Merged(MERGED.into()))
}

fn directory(path: &Path) -> Result<OwnedFd, ChamberError> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| ChamberError::Open { path: path.to_owned(), errno })
}

/// bwrap before 0.9 runs what it finds by the name that it gives to the program: makes sure that this is the program.
fn check_name(version: BwrapVersion, merged: &Path, launch: &Launch) -> Result<(), ChamberError> {
    let argv0 = launch.argv.first().ok_or(ChamberError::Command("it is empty"))?.as_slice();
    let root = directory(merged)?;
    let identity = |path: &Path| {
        let stat = fstat(open_in_root(&root, path).ok()?).ok()?;
        Some((stat.st_dev, stat.st_ino, stat.st_mode))
    };
    let named = Path::new(std::ffi::OsStr::from_bytes(argv0));
    let candidates: Vec<PathBuf> = if argv0.contains(&b'/') {
        vec![launch.cwd.as_path().join(named)]
    } else {
        let path = launch.env.iter().find(|(name, _)| name.as_slice() == b"PATH");
        // What execvp takes where there is no PATH.
        let path = path.map_or(&b"/bin:/usr/bin"[..], |(_, value)| value.as_slice());
        let directories = path.split(|&byte| byte == b':').map(|bytes| Path::new(std::ffi::OsStr::from_bytes(bytes)));
        directories.map(|directory| launch.cwd.as_path().join(directory).join(named)).collect()
    };
    let program = identity(launch.program.as_path());
    let is_executable = |mode: u32| mode & 0o170_000 == 0o100_000 && mode & 0o111 != 0;
    let found = candidates.iter().filter_map(|path| identity(path)).find(|(_, _, mode)| is_executable(*mode));
    match (found, program) {
        (Some(found), Some(program)) if found != program => {}
        // Neither is there: that the program is missing is for bwrap to say.
        (None, Some(_)) => {}
        _ => return Ok(()),
    }
    let argv0 = String::from_utf8_lossy(argv0).into_owned();
    Err(ChamberError::Name { version, argv0, program: launch.program.clone() })
}

/// Opens what a job would find at `path`. The kernel gives up on `..` in a symlink when anything is renamed or mounted meanwhile,
/// anywhere on the machine (EAGAIN, openat2(2)).
fn open_in_root(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    /// Each has the same chance as the first.
    const TRIES_MAX: usize = 1000;
    let open = || openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut tries = std::iter::repeat_with(open).take(TRIES_MAX);
    tries.find(|opened| !matches!(opened, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
}

fn connect_streams(stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    Ok(())
}

fn limit(launch: &Launch) -> rustix::io::Result<()> {
    let set = |resource, max| setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) });
    set(Resource::Core, 0)?;
    set(Resource::Fsize, launch.file_bytes)?;
    set(Resource::Nofile, JOB_FILES_MAX)?;
    set(Resource::Nproc, JOB_PROCESSES_MAX)?;
    // The kernel counts whole seconds and knows no zero.
    set(Resource::Cpu, launch.cpu.as_secs() + 1)
}

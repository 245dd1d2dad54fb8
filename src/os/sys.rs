//! All `unsafe`: one safe function for each call that neither std nor rustix offers.

#![allow(unsafe_code, reason = "the one module that may; each block says why it is sound")]

// Processes and sandbox.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

/// What [`fork`] returned to whom.
#[derive(Debug)]
pub enum Fork {
    Parent(libc::pid_t),
    Child,
}

/// Forks. Sound only because every caller either has one thread, or goes on to calls that glibc keeps usable in the
/// child of a threaded process (its allocator among them).
pub fn fork() -> io::Result<Fork> {
    // SAFETY: no memory is shared with the child; see above for locks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// What [`fork_into_namespaces`] returned to whom.
#[derive(Debug)]
pub enum ForkInto {
    Parent { pid: libc::pid_t, pidfd: OwnedFd },
    Child,
}

/// Forks a child that is process 1 of new user, mount, PID, network, IPC, UTS and cgroup namespaces.
///
/// One `clone3` and not `unshare` with `fork`, since the first process of a PID namespace takes all others with it when it dies,
/// and nobody needs to stand between it and the caller. For callers with one thread.
pub fn fork_into_namespaces() -> io::Result<ForkInto> {
    const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields of `clone_args` are integers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (NAMESPACES | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after `fork`; the kernel writes one descriptor
    // to `pidfd`, which outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkInto::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(ForkInto::Parent { pid: pid as libc::pid_t, pidfd })
        }
    }
}

/// What processes have used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// User plus system time.
    pub cpu: Duration,
    /// Largest resident set of one process.
    pub peak_bytes: u64,
}

/// Waits until there is no child left, those included that it inherits as process 1 of a namespace. What they used is
/// what those used that somebody has waited for.
pub fn wait_for_children() -> io::Result<Used> {
    loop {
        // SAFETY: no status is asked for, so no pointer is followed.
        if unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } == -1 {
            match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ECHILD) => break,
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        }
    }
    // SAFETY: `rusage` is plain integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local that outlives the call.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Used::from(usage))
}

/// Waits for the child `pid`, and tells what it and the children it has waited for used.
pub fn wait_with_usage(pid: libc::pid_t) -> io::Result<Used> {
    // SAFETY: `rusage` is plain integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: no status is asked for; the other pointer is to a local that outlives the call.
    if unsafe { libc::wait4(pid, ptr::null_mut(), 0, &raw mut usage) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Used::from(usage))
}

impl From<libc::rusage> for Used {
    fn from(usage: libc::rusage) -> Self {
        let time = |value: libc::timeval| {
            Duration::from_secs(value.tv_sec.unsigned_abs()) + Duration::from_micros(value.tv_usec.unsigned_abs())
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            // The kernel counts KiB.
            peak_bytes: usage.ru_maxrss.unsigned_abs() * 1024,
        }
    }
}

/// Ends the process without running anything that the original of a forked process registered.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor except standard streams and `kept`. For the child of a fork, which owns copies of descriptors
/// that no value in it stands for any more.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, kept.saturating_sub(1)), ((kept + 1).max(3), u32::MAX)] {
        // SAFETY: the caller gives up every value that owns one of them; the numbers are a range without effect where empty.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves `fd` open, under its number, in the program that this process becomes.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<RawFd> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    Ok(fd.as_raw_fd())
}

/// Every signal acts as in a fresh process, none is blocked: Rust ignores SIGPIPE, the daemons handle some, and what is
/// ignored stays so over `exec`.
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. Numbers that cannot be set are refused without harm.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an empty set is initialised before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Ignores `signals`.
pub fn ignore_signals(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Becomes another program; returns only where that fails.
pub fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |words: &[CString]| words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all strings end in NUL, both lists in a null pointer, and all outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives the whole process other ids and no supplementary groups; there is no way back.
pub fn become_ids(uid: u32, gid: u32) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the calls take integers; glibc applies them to all threads.
    unsafe {
        check(libc::setgroups(0, ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))
    }
}

/// Puts a system call filter on every thread of the process. Needs `no_new_privs`.
pub fn filter_system_calls(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions, which outlive the call, and checks them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::Error::other("a thread of the process cannot be filtered")),
    }
}

/// Asks that this thread has its turn as soon as it wakes up, for turns that are short. Otherwise it waits until a compiler on the
/// same processor has had its own, which takes milliseconds: for a thread that passes on what others wait for. Threads and
/// processes that it starts have asked for nothing.
///
/// Changes nothing before Linux 6.12 (sched_setattr(2), `sched_runtime` of SCHED_OTHER), nor where somebody has chosen another policy
/// or a negative nice value, which would not be inherited any more.
///
/// # Errors
/// Where the kernel does not let it.
pub fn ask_for_short_turns() -> io::Result<()> {
    /// The shortest that the kernel gives.
    const TURN: Duration = Duration::from_micros(100);
    set_turn(THIS_THREAD, TURN, libc::SCHED_FLAG_RESET_ON_FORK)
}

/// Lets `process`, and what it starts from now on, have long turns: it gives way to whoever wakes up, and has its share all the same.
///
/// # Errors
/// As [`ask_for_short_turns`].
pub fn give_long_turns(process: u32) -> io::Result<()> {
    /// The longest that the kernel gives.
    const TURN: Duration = Duration::from_millis(100);
    let process = libc::pid_t::try_from(process).map_err(|_| io::ErrorKind::InvalidInput)?;
    set_turn(process, TURN, 0)
}

const THIS_THREAD: libc::pid_t = 0;

fn set_turn(thread: libc::pid_t, turn: Duration, flags: libc::c_int) -> io::Result<()> {
    let mut attributes = scheduling(thread)?;
    if !has_plain_turns(&attributes) {
        return Ok(());
    }
    attributes.size = size_of_val(&attributes) as u32;
    attributes.sched_flags = flags as u64;
    attributes.sched_runtime = turn.as_nanos() as u64;
    // SAFETY: the kernel reads `size` bytes of `attributes`.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, thread, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel knows of turns, and nobody has chosen something else.
fn has_plain_turns(attributes: &libc::sched_attr) -> bool {
    attributes.sched_policy == libc::SCHED_OTHER as u32 && attributes.sched_nice >= 0 && attributes.sched_runtime > 0
}

/// How a thread is scheduled.
fn scheduling(thread: libc::pid_t) -> io::Result<libc::sched_attr> {
    // SAFETY: all fields of `sched_attr` are integers, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes);
    // SAFETY: the kernel writes at most `size` bytes to `attributes`.
    match unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attributes, size, 0) } {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the process that `command` starts die with the thread that starts it, and gives it default signals.
pub fn tie_to_parent(command: &mut Command) -> &mut Command {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only system calls happen, no allocation and no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                exit_at_once(1);
            }
            default_signals();
            Ok(())
        })
    }
}

pub mod wrapper {
    //! Signals as they were given and are passed on, the compiler as a child, and the start of a detached daemon.

    use std::ffi::{CStr, CString};
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::model::job::Ending;

    /// An ELF note that says "this program is farcc", where a loader or a reader of the file's first page finds it.
    ///
    /// Owner name, type, and an empty description, as `elf(5)` lays notes out.
    #[repr(C, align(4))]
    struct Note {
        name_bytes: u32,
        description_bytes: u32,
        kind: u32,
        name: [u8; 16],
    }

    /// Owner name of the note.
    pub const NOTE_NAME: [u8; 16] = *b"farcc-a-wrapper\0";

    #[used]
    // SAFETY: a section of its own, plain data, laid out as a note is.
    #[unsafe(link_section = ".note.farcc")]
    static NOTE: Note = Note { name_bytes: 16, description_bytes: 0, kind: 1, name: NOTE_NAME };

    /// Whether this process was started with SIGPIPE ignored (services of systemd are). Rust's runtime ignores it
    /// before `main`, so it is looked up before that.
    static SIGPIPE_GIVEN_IGNORED: AtomicBool = AtomicBool::new(false);

    extern "C" fn look_up_sigpipe() {
        SIGPIPE_GIVEN_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    }

    #[used]
    // SAFETY: the section holds pointers to functions that the loader calls once; this one only asks for a disposition.
    #[unsafe(link_section = ".init_array")]
    static BEFORE_MAIN: extern "C" fn() = look_up_sigpipe;

    /// A set of signals.
    #[derive(Clone, Copy)]
    pub struct SignalSet(libc::sigset_t);

    impl std::fmt::Debug for SignalSet {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_set().entries((1..=64).filter(|&signal| self.contains(signal))).finish()
        }
    }

    impl SignalSet {
        pub fn new(signals: impl IntoIterator<Item = i32>) -> Self {
            let mut set = MaybeUninit::uninit();
            // SAFETY: sigemptyset initialises the set it is given.
            let mut set = unsafe {
                libc::sigemptyset(set.as_mut_ptr());
                set.assume_init()
            };
            for signal in signals {
                // SAFETY: the set is initialised; a number that is no signal is refused with EINVAL and changes nothing.
                unsafe { libc::sigaddset(&raw mut set, signal) };
            }
            Self(set)
        }

        pub fn contains(&self, signal: i32) -> bool {
            // SAFETY: the set is initialised.
            unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
        }

        /// Signals that wait for this process while it blocks them.
        pub fn pending() -> Self {
            let mut set = Self::new([]);
            // SAFETY: the set is initialised and ours.
            unsafe { libc::sigpending(&raw mut set.0) };
            set
        }

        /// Signals that this thread blocks.
        pub fn blocked() -> Self {
            Self::new([]).change_mask(libc::SIG_BLOCK)
        }

        /// Blocks these too; what was blocked before comes back.
        pub fn block(&self) -> Self {
            self.change_mask(libc::SIG_BLOCK)
        }

        /// Unblocks these; what was blocked before comes back.
        pub fn unblock(&self) -> Self {
            self.change_mask(libc::SIG_UNBLOCK)
        }

        /// Blocks exactly these.
        pub fn make_mask(&self) {
            self.change_mask(libc::SIG_SETMASK);
        }

        fn change_mask(&self, how: i32) -> Self {
            let mut before = Self::new([]);
            // SAFETY: both sets are initialised; only this thread's mask changes.
            unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut before.0) };
            before
        }

        /// Waits for one of these, all of which must be blocked.
        pub fn wait(&self) -> Arrived {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            loop {
                // SAFETY: the set is initialised, and the kernel writes a whole siginfo_t where one fits.
                let signal = unsafe { libc::sigwaitinfo(&raw const self.0, info.as_mut_ptr()) };
                if signal > 0 {
                    // SAFETY: zeroed is a valid siginfo_t, and the call has succeeded besides.
                    let code = unsafe { info.assume_init_ref() }.si_code;
                    return Arrived { signal, from_kernel: code == libc::SI_KERNEL };
                }
                // EINTR is all that can come here: stopped and continued meanwhile.
            }
        }
    }

    /// A signal that was waited for.
    #[derive(Clone, Copy, Debug)]
    pub struct Arrived {
        pub signal: i32,
        /// The terminal sent it, and so to the whole foreground group; not a process by `kill`.
        pub from_kernel: bool,
    }

    /// True where `signal` is ignored.
    pub fn is_ignored(signal: i32) -> bool {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action the call only fills the old one; zeroed is valid where it fails.
        let action = unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        action.sa_sigaction == libc::SIG_IGN
    }

    fn dispose(signal: i32, disposition: libc::sighandler_t) {
        // SAFETY: only SIG_DFL and SIG_IGN are passed: no handler of ours ever runs.
        unsafe { libc::signal(signal, disposition) };
    }

    /// What the caller gave this process and a program started in its place must get.
    #[derive(Clone, Copy, Debug)]
    pub struct GivenSignals {
        mask: SignalSet,
        sigpipe_ignored: bool,
        sigchld_ignored: bool,
    }

    impl GivenSignals {
        /// Notes them, and makes the end of children noticeable. To be called once, before anything changes signals.
        pub fn note() -> Self {
            let given = Self {
                mask: SignalSet::blocked(),
                sigpipe_ignored: SIGPIPE_GIVEN_IGNORED.load(Ordering::Relaxed),
                sigchld_ignored: is_ignored(libc::SIGCHLD),
            };
            dispose(libc::SIGCHLD, libc::SIG_DFL);
            given
        }

        /// Whether `signal` was given as blocked.
        pub fn blocks(&self, signal: i32) -> bool {
            self.mask.contains(signal)
        }

        fn restore(&self) {
            let disposition = |ignored| if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            dispose(libc::SIGPIPE, disposition(self.sigpipe_ignored));
            dispose(libc::SIGCHLD, disposition(self.sigchld_ignored));
            self.mask.make_mask();
        }

        /// `command` starts with these, and not with the defaults that std gives.
        pub fn pass_to(self, command: &mut Command) {
            let restore = move || {
                self.restore();
                Ok(())
            };
            // SAFETY: only system calls that are safe after fork.
            unsafe { command.pre_exec(restore) };
        }
    }

    /// `command` gets `signal` when this process dies, by whatever.
    pub fn die_with_this_process(command: &mut Command, signal: i32) {
        let parent = std::process::id();
        let ask = move || {
            // SAFETY: plain system calls with constant arguments, safe after fork.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, signal);
                if libc::getppid().cast_unsigned() != parent {
                    libc::_exit(1);
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes only system calls that are safe after fork.
        unsafe { command.pre_exec(ask) };
    }

    /// A child that has ended.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Reaped {
        pub ending: Ending,
        /// User plus system time, its own children's included.
        pub cpu: Duration,
    }

    /// Collects the child `pid` if it has ended.
    pub fn reap(pid: u32) -> io::Result<Option<Reaped>> {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both places fit what the kernel writes; zeroed is a valid rusage.
        let (found, usage) = unsafe {
            let found = libc::wait4(pid.cast_signed(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
            (found, usage.assume_init())
        };
        let ending = match found {
            -1 => return Err(io::Error::last_os_error()),
            0 => return Ok(None),
            // Without WUNTRACED a child that is reported has ended, in one of two ways; both numbers have seven or eight bits.
            _ if libc::WIFSIGNALED(status) => Ending::Signalled(libc::WTERMSIG(status) as u8),
            _ => Ending::Exited(libc::WEXITSTATUS(status) as u8),
        };
        Ok(Some(Reaped { ending, cpu: duration(usage.ru_utime) + duration(usage.ru_stime) }))
    }

    fn duration(time: libc::timeval) -> Duration {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    }

    /// Dies by `signal`, leaving no core; comes back where that signal does not kill.
    pub fn die_by(signal: i32) {
        // SAFETY: plain system calls; no memory is shared with the kernel.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
        dispose(signal, libc::SIG_DFL);
        send_to_self(signal);
        SignalSet::new([signal]).unblock();
    }

    /// Stops by `signal` as its default action has it, and comes back when continued.
    pub fn stop_by(signal: i32) {
        send_to_self(signal);
        let mask = SignalSet::new([signal]).unblock();
        mask.make_mask();
    }

    fn send_to_self(signal: i32) {
        // SAFETY: a plain system call.
        unsafe { libc::raise(signal) };
    }

    /// Waits until `stream` takes bytes, or never will again.
    pub fn wait_writable(stream: BorrowedFd<'_>) {
        let mut wanted = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, as is said; an interrupted wait is the caller's to repeat.
        unsafe { libc::poll(&raw mut wanted, 1, -1) };
    }

    /// Starts `program` as a daemon: in a session of its own, at `/`, with `/dev/null` as its three streams and `socket` as
    /// descriptor 3, every other descriptor closed (make's jobserver, a pipe that someone reads to its end), default signals,
    /// private files.
    ///
    /// The environment is `env` plus `LISTEN_FDS=1` and `LISTEN_PID`. The daemon is nobody's child when this comes back.
    pub fn start_daemon(program: &CStr, env: &[CString], socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut listen_pid = *b"LISTEN_PID=..........\0";
        let listen_pid = listen_pid.as_mut_ptr();
        let arguments = [program.as_ptr(), std::ptr::null()];
        let mut variables: Vec<*const libc::c_char> = env.iter().map(|variable| variable.as_ptr()).collect();
        variables.extend([c"LISTEN_FDS=1".as_ptr(), listen_pid.cast(), std::ptr::null()]);
        let socket = socket.as_raw_fd();
        // SAFETY: the child makes only system calls that are safe after fork, on memory prepared before it, and never
        // returns; what the pointers point to outlives the call, and ends as execve wants it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::setsid();
                match libc::fork() {
                    0 => {
                        write_number(listen_pid.add(b"LISTEN_PID=".len()), libc::getpid().cast_unsigned());
                        become_daemon(program, &arguments, &variables, socket)
                    }
                    daemon => libc::_exit(i32::from(daemon < 0)),
                }
            }
            let mut status = 0;
            if child < 0 || libc::waitpid(child, &raw mut status, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EAGAIN)) }
        }
    }

    /// # Safety
    /// Only in a child of fork; both lists end with a null and point to strings that end with a NUL.
    unsafe fn become_daemon(
        program: &CStr,
        arguments: &[*const libc::c_char],
        variables: &[*const libc::c_char],
        socket: i32,
    ) -> ! {
        // SAFETY: system calls that are safe after fork; nothing allocates.
        unsafe {
            if socket == 3 {
                libc::fcntl(3, libc::F_SETFD, 0);
            } else {
                libc::dup2(socket, 3);
            }
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            for stream in 0..=2 {
                libc::dup2(null, stream);
            }
            libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
            libc::chdir(c"/".as_ptr());
            libc::umask(0o077);
            for signal in 1..=libc::SIGRTMAX() {
                dispose(signal, libc::SIG_DFL);
            }
            SignalSet::new([]).make_mask();
            libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr());
            libc::_exit(127)
        }
    }

    /// Writes `number` in decimal and a NUL.
    ///
    /// # Safety
    /// `text` has room for eleven bytes.
    unsafe fn write_number(text: *mut u8, number: u32) {
        let length = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = number;
        for position in (0..length).rev() {
            // SAFETY: a u32 has ten digits at most.
            unsafe { text.add(position).write(b'0' + (rest % 10) as u8) };
            rest /= 10;
        }
        // SAFETY: the eleventh byte at most.
        unsafe { text.add(length).write(0) };
    }
}

/// Whose time [`cpu_time`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Own,
    /// Those that have ended and were waited for.
    Children,
}

/// User plus system time.
pub fn cpu_time(whose: Whose) -> std::time::Duration {
    let who = match whose {
        Whose::Own => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the buffer is a whole `rusage`, which any bytes make, and the kernel fills it or leaves it.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |value: libc::timeval| {
        std::time::Duration::new(value.tv_sec.unsigned_abs(), u32::try_from(value.tv_usec).unwrap_or(0) * 1000)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In nanoseconds; none where nothing can be asked for.
    fn turn(thread: libc::pid_t) -> Option<u64> {
        scheduling(thread).ok().filter(has_plain_turns).map(|attributes| attributes.sched_runtime)
    }

    #[test]
    fn short_turns_are_for_the_thread_that_asks() {
        std::thread::spawn(move || {
            let before = turn(THIS_THREAD);
            ask_for_short_turns().ok();
            assert_eq!(turn(THIS_THREAD), before.map(|_| 100_000));
            assert_ne!(std::thread::spawn(|| turn(THIS_THREAD)).join().unwrap(), Some(100_000));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn long_turns_are_for_a_process() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let before = turn(child.id() as libc::pid_t);
        give_long_turns(child.id()).ok();
        assert_eq!(turn(child.id() as libc::pid_t), before.map(|_| 100_000_000));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}

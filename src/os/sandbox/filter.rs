//! Which system calls a job, and the network half of a builder, may not make.
//!
//! A list of what is denied, not of what is allowed: compilers of other distributions and times call what we cannot foresee, and what
//! protects the machine is the namespaces; the filter takes away the parts of the kernel that have gone wrong most often and that
//! no compiler needs. It compiles to classic BPF here, in a page of code, since a crate would bring more of it than we use.
//!
//! Denied calls fail as on a kernel that was built without them. Calls of another instruction set (a 32-bit compiler on a 64-bit builder, x32)
//! end the process: their numbers mean something else.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long, sock_filter};

/// Which address families `socket` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sockets {
    /// None but `AF_UNIX`: in an empty network namespace there is nothing to say anyway, but `AF_VSOCK` knows no namespaces.
    Local,
    Any,
}

/// Kernel interfaces that neither compilers nor daemons need.
const DENIED: &[c_long] = &[
    // Mounts and namespaces: only the helper makes any.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Its flags are behind a pointer, where no filter can look; glibc then uses `clone`.
    libc::SYS_clone3,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // Kernel memory and code paths with a history.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_vhangup,
    // The machine.
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// `clone` with one of these makes a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Pushes characters into a terminal's input, which another process would read as typed.
const TIOCSTI: u32 = libc::TIOCSTI as u32;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const AUDIT_ARCH: u32 = 0xc000_00f3;

/// x32 calls have this bit in their number, under the same architecture as ordinary ones. No other architecture has such numbers.
const X32_BIT: u32 = 0x4000_0000;

// Offsets in `struct seccomp_data`. Arguments are 64 bits wide; the lower half comes first on all three architectures.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;

/// The filter, as the kernel and bwrap's `--seccomp` take it.
pub fn program(sockets: Sockets) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE),
        skip_if(BPF_JEQ, AUDIT_ARCH, 1),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        skip_unless(BPF_JGE, X32_BIT, 1),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
    ];
    for &call in DENIED {
        // `clone3` and `open_by_handle_at` alike: absent, so that libraries take the way they know from older kernels.
        program.extend([skip_unless(BPF_JEQ, call as u32, 1), fail(libc::ENOSYS)]);
    }
    program.extend(check_argument(
        libc::SYS_clone,
        ARGUMENT_0,
        &[skip_unless(BPF_JSET, NAMESPACES, 1), fail(libc::EPERM)],
    ));
    program.extend(check_argument(libc::SYS_ioctl, ARGUMENT_1, &[skip_unless(BPF_JEQ, TIOCSTI, 1), fail(libc::EPERM)]));
    if sockets == Sockets::Local {
        let only_unix = [skip_if(BPF_JEQ, libc::AF_UNIX as u32, 1), fail(libc::EAFNOSUPPORT)];
        program.extend(check_argument(libc::SYS_socket, ARGUMENT_0, &only_unix));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// The same as bytes.
pub(crate) fn bytes(program: &[sock_filter]) -> Vec<u8> {
    program
        .iter()
        .flat_map(|step| {
            let [code, k] = [step.code.to_ne_bytes().to_vec(), step.k.to_ne_bytes().to_vec()];
            [code, vec![step.jt, step.jf], k].concat()
        })
        .collect()
}

/// `check`, done on the lower half of an argument of `call`; leaves the number loaded where it lets pass.
fn check_argument(call: c_long, argument: u32, check: &[sock_filter]) -> Vec<sock_filter> {
    let body: Vec<_> = [load(argument)].iter().chain(check).copied().chain([load(NUMBER)]).collect();
    [skip_unless(BPF_JEQ, call as u32, body.len() as u8)].into_iter().chain(body).collect()
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn skip_if(test: u32, value: u32, n: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: n, jf: 0, k: value }
}

fn skip_unless(test: u32, value: u32, n: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: 0, jf: n, k: value }
}

fn answer(verdict: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

fn fail(errno: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: an interpreter of the few instructions used.
    fn verdict(sockets: Sockets, architecture: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let program = program(sockets);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let matched = match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = match step.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        ARGUMENT_0 => arguments[0],
                        ARGUMENT_1 => arguments[1],
                        other => panic!("reads offset {other}"),
                    };
                    continue;
                }
                code if code == BPF_RET | BPF_K => return step.k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => loaded == step.k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => loaded >= step.k,
                code if code == BPF_JMP | BPF_JSET | BPF_K => loaded & step.k != 0,
                code => panic!("instruction {code:#x}"),
            };
            at += usize::from(if matched { step.jt } else { step.jf });
        }
    }

    #[test]
    fn verdicts() {
        let job = |call: c_long, arguments| verdict(Sockets::Local, AUDIT_ARCH, call as u32, arguments);
        let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
        assert_eq!(job(libc::SYS_read, [0, 0]), libc::SECCOMP_RET_ALLOW);
        for &call in DENIED {
            assert_eq!(job(call, [0, 0]), errno(libc::ENOSYS), "{call}");
        }
        assert_eq!(job(libc::SYS_clone, [libc::SIGCHLD as u32, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(job(libc::SYS_clone, [(libc::SIGCHLD | libc::CLONE_NEWUSER) as u32, 0]), errno(libc::EPERM));
        assert_eq!(job(libc::SYS_ioctl, [0, libc::TCGETS as u32]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(job(libc::SYS_ioctl, [0, TIOCSTI]), errno(libc::EPERM));
        assert_eq!(job(libc::SYS_socket, [libc::AF_UNIX as u32, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(job(libc::SYS_socket, [libc::AF_VSOCK as u32, 0]), errno(libc::EAFNOSUPPORT));
        let network = verdict(Sockets::Any, AUDIT_ARCH, libc::SYS_socket as u32, [libc::AF_INET as u32, 0]);
        assert_eq!(network, libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn other_instruction_sets_are_killed() {
        let read = libc::SYS_read as u32;
        assert_eq!(verdict(Sockets::Any, 0x4000_0003, read, [0, 0]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(verdict(Sockets::Any, AUDIT_ARCH, read | X32_BIT, [0, 0]), libc::SECCOMP_RET_KILL_PROCESS);
    }
}

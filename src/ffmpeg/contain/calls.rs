//! A filter of system calls: what no decoder asks the kernel for answers "not permitted".
//!
//! It is a list of what is forbidden, not of what is allowed: which calls a decoder makes depends on its version and its
//! C library, and a video must not fail for a new one.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Applied, ContainArgs};

const SOCKETS: [i64; 10] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

/// New ones, and everything that one process can do to another.
const PROCESSES: [i64; 13] = [
    libc::SYS_execveat,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
];

/// Views of files and of the system other than the one that was left.
const VIEWS: [i64; 16] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
];

/// Large parts of the kernel that attackers come back to, and the machine itself.
const KERNEL: [i64; 28] = [
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];

/// x86-64 kernels may know each call under a second number (x32), and some old ones besides.
#[cfg(target_arch = "x86_64")]
const X32_BIT: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const X32_ONLY: std::ops::RangeInclusive<i64> = 512..=547;

pub fn restrict_calls(_: &ContainArgs) -> Applied {
    let apply = || -> Result<(), Box<dyn std::error::Error>> {
        // glibc asks for threads by clone3, whose flags no filter can see; told that there is none it takes clone.
        let unknown = compile(BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS)?;
        let forbidden = compile(forbidden()?, libc::EPERM)?;
        seccompiler::apply_filter(&unknown)?;
        Ok(seccompiler::apply_filter(&forbidden)?)
    };
    apply().map(|()| "seccomp".to_owned()).map_err(|e| format!("no filter may be set here: {e}"))
}

pub fn prove_calls(_: &ContainArgs) -> Result<(), String> {
    match std::os::unix::net::UnixDatagram::unbound() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        other => return Err(format!("a socket: expected to be refused, found {other:?}")),
    }
    let nothing = || std::process::Stdio::null();
    let child = std::process::Command::new("/proc/self/exe").arg("schema").stdin(nothing()).stdout(nothing()).status();
    match child {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => Err(format!("a child: expected to be refused, found {other:?}")),
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?)
}

fn forbidden() -> Result<Rules, seccompiler::BackendError> {
    let always = SOCKETS.into_iter().chain(PROCESSES).chain(VIEWS).chain(KERNEL);
    let mut rules: Rules = always.map(|call| (call, vec![])).collect();
    let first = |operation, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operation, value);
    let when = |condition| SeccompRule::new(vec![condition]).map(|rule| vec![rule]);
    // A thread is allowed, a process is not.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, when(first(SeccompCmpOp::MaskedEq(thread), 0)?)?);
    // Signals and limits are for the process itself; it keeps its number when it becomes the program.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, when(first(SeccompCmpOp::Ne, own)?)?);
    rules.insert(libc::SYS_prlimit64, when(first(SeccompCmpOp::Ne, 0)?)?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.extend([libc::SYS_fork, libc::SYS_vfork, libc::SYS_iopl, libc::SYS_ioperm].map(|call| (call, vec![])));
        let second: Vec<i64> = rules.keys().copied().chain(X32_ONLY).chain([libc::SYS_clone3]).collect();
        rules.extend(second.into_iter().map(|call| (call | X32_BIT, vec![])));
    }
    Ok(rules)
}

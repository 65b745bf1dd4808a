//! A filter of system calls: what no decoder asks the kernel for answers "not permitted".
//!
//! It is a list of what is forbidden, not of what is allowed: which calls a decoder makes depends on its version and its
//! C library, and a video must not fail for a new one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use nix::libc;
use rustix::fs::Mode;
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

/// New ones, everything that one process can do to another, and ways out of the group that is killed as one.
const PROCESSES: [i64; 19] = [
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
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

/// What can be done to a file that may only be read, by its owner: Landlock knows none of it, or not in every version.
const FILES: [i64; 20] = [
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    // Newer than some C libraries; the numbers are the same on every architecture.
    452, // fchmodat2
    463, // setxattrat
    466, // removexattrat
    467, // open_tree_attr
    469, // file_setattr
];

/// The same under names that only old architectures have.
#[cfg(target_arch = "x86_64")]
const OLD: [i64; 11] = [
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
];

/// Whose first argument names a process; 0 is the thread itself, which may be moved about as its libraries like.
const OF_ITSELF: [i64; 5] = [
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// What a process may not say of itself: that it lives on without its parent, that its parent may not look at its work.
const OPTIONS: [i32; 2] = [libc::PR_SET_PDEATHSIG, libc::PR_SET_DUMPABLE];

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

/// Each attempt is one that rights alone would let through, and that changes nothing.
pub fn prove_calls(_: &ContainArgs) -> Result<(), String> {
    let refused = |what: &str, tried: io::Result<()>| match tried {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => Err(format!("{what}: expected to be refused, found {other:?}")),
    };
    refused("a socket", std::os::unix::net::UnixDatagram::unbound().map(drop))?;
    refused("leaving the group", rustix::process::setpgid(None, None).map_err(io::Error::from))?;
    let signal = Some(rustix::process::Signal::KILL);
    refused("outliving the parent", rustix::process::set_parent_process_death_signal(signal).map_err(io::Error::from))?;
    // A pipe belongs to whoever opened it.
    let output = io::stdout();
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&output).map_err(|e| e.to_string())?.st_mode);
    refused("a file's mode", rustix::fs::fchmod(&output, mode).map_err(io::Error::from))?;
    let nothing = || std::process::Stdio::null();
    let child = std::process::Command::new("/proc/self/exe").arg("schema").stdin(nothing()).stdout(nothing()).status();
    refused("a child", child.map(drop))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?)
}

fn forbidden() -> Result<Rules, seccompiler::BackendError> {
    let always = SOCKETS.into_iter().chain(PROCESSES).chain(VIEWS).chain(FILES).chain(KERNEL);
    let mut rules: Rules = always.map(|call| (call, vec![])).collect();
    let first = |operation, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operation, value);
    let rule = |condition| SeccompRule::new(vec![condition]);
    let when = |condition| rule(condition).map(|rule| vec![rule]);
    // A thread is allowed, a process is not.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, when(first(SeccompCmpOp::MaskedEq(thread), 0)?)?);
    // Signals and limits are for the process itself; it keeps its number when it becomes the program.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, when(first(SeccompCmpOp::Ne, own)?)?);
    for call in OF_ITSELF {
        rules.insert(call, when(first(SeccompCmpOp::Ne, 0)?)?);
    }
    let options = OPTIONS.map(|option| rule(first(SeccompCmpOp::Eq, u64::from(option.unsigned_abs()))?));
    rules.insert(libc::SYS_prctl, options.into_iter().collect::<Result<_, _>>()?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.extend(OLD.map(|call| (call, vec![])));
        let second: Vec<i64> = rules.keys().copied().chain(X32_ONLY).chain([libc::SYS_clone3]).collect();
        rules.extend(second.into_iter().map(|call| (call | X32_BIT, vec![])));
    }
    Ok(rules)
}

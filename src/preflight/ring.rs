//! Whether this kernel lets us use io_uring, and who forbids it if not.
//!
//! Owns: the operations that are needed, and the words for each way of being refused. Makes one
//! small ring and drops it.

use std::io;

use io_uring::{IoUring, Probe, opcode};
use nix::errno::Errno;

use super::{Finding, Tree};

const NAME: &str = "io_uring";

/// What glommio and the shards' own rings submit.
const OPCODES: &[(u8, &str)] = &[
    (opcode::Nop::CODE, "NOP"),
    (opcode::Readv::CODE, "READV"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::PollRemove::CODE, "POLL_REMOVE"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "TIMEOUT_REMOVE"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::LinkTimeout::CODE, "LINK_TIMEOUT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::Recv::CODE, "RECV"),
];

/// The opcodes this kernel lacks.
///
/// # Errors
///
/// The error of io_uring_setup(2) or of asking for the opcodes.
pub(super) fn opcodes_missing() -> io::Result<Vec<&'static str>> {
    let ring = IoUring::new(8)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let missing = OPCODES.iter().filter(|(code, _)| !probe.is_supported(*code));
    Ok(missing.map(|(_, name)| *name).collect())
}

/// Judges what [`opcodes_missing`] gave.
pub(super) fn finding(missing: io::Result<Vec<&'static str>>, tree: &Tree) -> Finding {
    let error = match missing {
        Ok(missing) if missing.is_empty() => return Finding::ok(NAME, "allowed by this kernel"),
        Ok(missing) => {
            let text = format!("this kernel lacks the operations {}", missing.join(", "));
            return Finding::fail(NAME, text, "run a Linux kernel 5.8 or newer, better 6.1");
        }
        Err(error) => error,
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSYS) => Finding::fail(
            NAME,
            "this kernel has no io_uring (io_uring_setup: ENOSYS), or a sandbox hides it",
            "run Linux 5.8 or newer, built with CONFIG_IO_URING; in gVisor and the like: on the \
             host",
        ),
        Some(Errno::EPERM | Errno::EACCES) => not_permitted(tree),
        Some(Errno::ENOMEM) => Finding::fail(
            NAME,
            "not enough lockable memory for a ring (io_uring_setup: ENOMEM)",
            "raise LimitMEMLOCK in the unit, or `ulimit -l`, to 64 MiB",
        ),
        Some(Errno::EMFILE | Errno::ENFILE) => Finding::fail(
            NAME,
            "no descriptor is left for a ring",
            "raise LimitNOFILE in the unit, or `ulimit -n`",
        ),
        _ => Finding::fail(
            NAME,
            format!("io_uring_setup failed: {error}"),
            "run Linux 5.8 or newer; look at the kernel log",
        ),
    }
}

/// Who forbids io_uring: the administrator by sysctl (Linux 6.6), else a seccomp filter, else a
/// security module.
fn not_permitted(tree: &Tree) -> Finding {
    match tree.number("proc/sys/kernel/io_uring_disabled") {
        Some(1) => Finding::fail(
            NAME,
            "kernel.io_uring_disabled is 1: only CAP_SYS_ADMIN and one group may use it",
            "sysctl kernel.io_uring_group=<gid of the engine>, or kernel.io_uring_disabled=0",
        ),
        Some(number) if number >= 2 => Finding::fail(
            NAME,
            format!("kernel.io_uring_disabled is {number}: the administrator switched it off"),
            "sysctl kernel.io_uring_disabled=0",
        ),
        _ if tree.status("Seccomp").is_some_and(|mode| mode != "0") => Finding::fail(
            NAME,
            "a seccomp filter blocks it, as Docker's and containerd's default profiles do",
            "docker run --security-opt seccomp=contrib/seccomp/engine.json, or another profile \
             that allows io_uring_setup, io_uring_enter and io_uring_register; or run on the host",
        ),
        _ => Finding::fail(
            NAME,
            "not permitted, and neither a sysctl nor a seccomp filter is the cause",
            "look at the security modules of the host (SELinux, AppArmor) and the audit log",
        ),
    }
}

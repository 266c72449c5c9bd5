//! The io_uring of a shard: readiness of many descriptors, and the one place where it sleeps.
//!
//! Owns: submission and completion. The ring carries one-shot polls and their cancellations only,
//! never a buffer: socket calls are tried first, and only one that would block is armed here. All
//! arming of a turn is submitted by the one system call that also waits (io_uring_enter(2)).
//!
//! The shard sleeps in this ring and not in glommio's reactor: measured at 1,000 paced checks a
//! second, a wake-up through the reactor costs a third more CPU (`benches/http.rs`).

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use nix::errno::Errno;
use nix::poll::PollFlags;

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end.
    Read,
    /// Room to write, or the end of a connect.
    Write,
    /// Either.
    Both,
}

impl Interest {
    fn flags(self) -> u32 {
        let flags = match self {
            Interest::Read => PollFlags::POLLIN,
            Interest::Write => PollFlags::POLLOUT,
            Interest::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
        };
        flags.bits() as u32
    }
}

/// Token of cancellations: their completions tell nothing.
const CANCELLED: u64 = u64::MAX;

/// Readiness of many descriptors.
pub struct Ring {
    uring: IoUring,
    ready: Vec<u64>,
}

impl Ring {
    /// A ring with `entries` places for submissions between two turns.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_setup(2). The preflight has explained it before.
    pub fn new(entries: u32) -> io::Result<Ring> {
        let modern = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(entries * 4)
            .build(entries);
        let uring = match modern {
            // Kernels before 6.1 do not know all of these flags.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                IoUring::builder().setup_cqsize(entries * 4).build(entries)?
            }
            other => other?,
        };
        Ok(Ring { uring, ready: Vec::with_capacity(entries as usize) })
    }

    /// Arms a one-shot poll. Its completion carries `token`, which the caller uses for no other
    /// poll at the same time. The descriptor may be closed meanwhile, after [`Ring::cancel`].
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2), which is called where the ring is full.
    pub fn poll(&mut self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        let fd = Fd(fd.as_raw_fd());
        self.push(&opcode::PollAdd::new(fd, interest.flags()).build().user_data(token))
    }

    /// Cancels the poll armed with `token`: the kernel's hold on its descriptor ends. The poll
    /// completes once more, as cancelled, in one of the next turns; the caller ignores that by
    /// the token.
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2), which is called where the ring is full.
    pub fn cancel(&mut self, token: u64) -> io::Result<()> {
        self.push(&opcode::PollRemove::new(token).build().user_data(CANCELLED))
    }

    /// Submits what is armed and waits until something is ready or `timeout` has passed; does not
    /// wait at all for `Some(0)`, and for ever for `None`. The tokens of what is ready are in
    /// [`Ring::take_ready`].
    ///
    /// # Errors
    ///
    /// The errno of io_uring_enter(2), except those that only mean that nothing came.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let result = match timeout {
            Some(Duration::ZERO) => self.uring.submitter().submit_with_args(0, &SubmitArgs::new()),
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timespec);
                self.uring.submitter().submit_with_args(1, &args)
            }
            None => self.uring.submitter().submit_and_wait(1),
        };
        if let Err(error) = result {
            let quiet = [Errno::ETIME, Errno::EINTR, Errno::EBUSY, Errno::EAGAIN];
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            if !quiet.contains(&errno) {
                return Err(error);
            }
        }
        self.ready.clear();
        let tokens = self.uring.completion().map(|completion| completion.user_data());
        self.ready.extend(tokens.filter(|token| *token != CANCELLED));
        Ok(())
    }

    /// The tokens that the last [`Ring::wait`] found ready, to be given back by
    /// [`Ring::recycle`].
    pub fn take_ready(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.ready)
    }

    /// Takes back the memory of [`Ring::take_ready`].
    pub fn recycle(&mut self, tokens: Vec<u64>) {
        self.ready = tokens;
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: a poll or its removal carries a descriptor number, flags and a token, and no
            // pointer: nothing has to stay alive for the kernel. A number that was closed and
            // given out again would be polled in vain; the caller cancels before it closes.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_poll_completes_once_when_bytes_come() {
        let mut ring = Ring::new(8).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        ring.poll(far.as_fd(), Interest::Read, 42).unwrap();
        ring.wait(Some(Duration::ZERO)).unwrap();
        assert!(ring.take_ready().is_empty());
        near.write_all(b"x").unwrap();
        ring.wait(None).unwrap();
        assert_eq!(ring.take_ready(), [42]);
        ring.wait(Some(Duration::from_millis(1))).unwrap();
        assert!(ring.take_ready().is_empty());
    }

    #[test]
    fn a_cancelled_poll_ends_at_once_and_is_not_woken_by_later_bytes() {
        let mut ring = Ring::new(8).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        ring.poll(far.as_fd(), Interest::Read, 42).unwrap();
        ring.wait(Some(Duration::ZERO)).unwrap();
        ring.cancel(42).unwrap();
        ring.wait(Some(Duration::from_secs(5))).unwrap();
        let mut ended = ring.take_ready();
        while ended.is_empty() {
            ring.wait(Some(Duration::from_secs(5))).unwrap();
            ended = ring.take_ready();
        }
        assert_eq!(ended, [42]);
        near.write_all(b"x").unwrap();
        ring.wait(Some(Duration::from_millis(1))).unwrap();
        assert!(ring.take_ready().is_empty());
    }

    #[test]
    fn more_polls_than_the_ring_has_places_all_complete() {
        let mut ring = Ring::new(8).unwrap();
        let pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
        for (token, (near, far)) in pairs.iter().enumerate() {
            ring.poll(far.as_fd(), Interest::Read, token as u64).unwrap();
            let mut near = near;
            near.write_all(b"x").unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 200 {
            ring.wait(Some(Duration::from_secs(5))).unwrap();
            let ready = ring.take_ready();
            assert!(!ready.is_empty(), "only {} of 200 came", seen.len());
            seen.extend(ready);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }
}

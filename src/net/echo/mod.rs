//! Echo requests and replies of one shard and one address family, over one ICMP socket.
//!
//! Owns: the socket, what waits to be sent, and judging what comes back. Leaves to others: polling,
//! deadlines, and recognising a reply whose check is over (its token is stale). The caller queues
//! requests and calls [`Echo::flush`] once for all of them; it calls [`Echo::receive`] when the
//! socket is readable or has an error. Costs 5 to 7 µs of CPU a request and reply in batches, most
//! of it the kernel's; nothing is allocated per packet.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, sendmmsg};
use nix::sys::time::TimeSpec;
use probes::icmp::wire::write_echo;
use probes::icmp::{ECHO_BYTES, Version};

use self::judge::Judge;
use self::socket::Opened;
use crate::clock::{both_clocks, monotonic};
use crate::limits::{ECHO_BATCH_MAX, ECHO_BATCHES_PER_WAKE_MAX, ECHO_QUEUE_MAX};

pub(crate) mod filter;

mod socket;

mod stamps;

mod sent;

mod judge;

#[cfg(test)]
mod tests;

pub use judge::{EchoCounters, EchoEvent};
pub use socket::{EchoKind, EchoUnavailable};

/// Bytes kept of a packet that came: no error is longer (RFC 1812 section 4.3.2.3), let alone a
/// reply.
const RECEIVE_BYTES: usize = 576;

#[derive(Clone, Copy, Debug)]
struct Request {
    token: u64,
    to: SocketAddr,
}

/// The ICMP socket of one shard and one address family.
pub struct Echo {
    socket: socket2::Socket,
    version: Version,
    kind: EchoKind,
    id: u16,
    queue: VecDeque<Request>,
    next_seq: u16,
    packets: Box<[[u8; ECHO_BYTES]; ECHO_BATCH_MAX]>,
    addresses: Vec<Option<SockaddrStorage>>,
    buffers: Box<[[u8; RECEIVE_BYTES]; ECHO_BATCH_MAX]>,
    error_control: Vec<u8>,
    judge: Judge,
}

impl Echo {
    /// Opens a datagram ICMP socket where this process may, else a raw one. `buffer_bytes` is the
    /// receive buffer to ask for: [`crate::limits::ECHO_RECEIVE_BUFFER_BYTES`] unless there is a
    /// reason.
    ///
    /// # Errors
    ///
    /// Neither kind can be opened: the text names the settings that decide.
    pub fn open(version: Version, buffer_bytes: usize) -> Result<Echo, EchoUnavailable> {
        socket::open(version, buffer_bytes).map(|opened| Echo::new(version, opened))
    }

    fn new(version: Version, opened: Opened) -> Echo {
        let Opened { socket, kind, id } = opened;
        Echo {
            socket,
            version,
            kind,
            id,
            queue: VecDeque::new(),
            next_seq: 0,
            packets: Box::new([[0; ECHO_BYTES]; ECHO_BATCH_MAX]),
            addresses: Vec::with_capacity(ECHO_BATCH_MAX),
            buffers: Box::new([[0; RECEIVE_BYTES]; ECHO_BATCH_MAX]),
            error_control: cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, TimeSpec, u32),
            judge: Judge::new(version, kind, id),
        }
    }

    /// The kind of socket that was opened.
    pub fn kind(&self) -> EchoKind {
        self.kind
    }

    /// Queues a request to `to`; `scope` is the interface index of a link-local IPv6 address, else
    /// 0. Returns false where the queue is full or the address is of the other family.
    #[must_use]
    pub fn queue(&mut self, token: u64, to: IpAddr, scope: u32) -> bool {
        let to = match (to, self.version) {
            (IpAddr::V4(ip), Version::V4) => SocketAddrV4::new(ip, 0).into(),
            (IpAddr::V6(ip), Version::V6) => SocketAddrV6::new(ip, 0, 0, scope).into(),
            _ => return false,
        };
        if self.queue.len() >= ECHO_QUEUE_MAX {
            self.judge.counters.refused += 1;
            return false;
        }
        self.queue.push_back(Request { token, to });
        true
    }

    /// Requests that wait to be sent.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends what is queued. What the kernel has no room for now stays queued: call again with the
    /// next tick while [`Echo::queued`] is not 0. A request that it refuses is an event, and the
    /// next one is tried.
    pub fn flush(&mut self, out: &mut Vec<EchoEvent>) {
        // An ICMP error about an earlier request is reported, once, by whatever call comes next on
        // a datagram socket: the first refusal of a request may not be about it.
        let refusals_max = if self.kind == EchoKind::Datagram { 2 } else { 1 };
        let mut refusals = 0;
        while !self.queue.is_empty() {
            match self.send_batch() {
                Ok(count) => {
                    self.note_sent(count);
                    refusals = 0;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.judge.counters.send_blocked += 1;
                    return;
                }
                Err(errno) => {
                    refusals += 1;
                    if refusals < refusals_max {
                        continue;
                    }
                    refusals = 0;
                    self.judge.counters.send_failed += 1;
                    let refused = self.queue.pop_front();
                    out.extend(
                        refused.map(|Request { token, .. }| EchoEvent::SendFailed { token, errno }),
                    );
                }
            }
        }
    }

    /// Builds and sends the first requests of the queue. Returns how many the kernel took, at
    /// least one.
    fn send_batch(&mut self) -> Result<usize, Errno> {
        let sent = monotonic();
        self.addresses.clear();
        let mut seq = self.next_seq;
        for (packet, request) in self.packets.iter_mut().zip(&self.queue) {
            let payload = self.judge.sign(request.token, sent, request.to.ip(), seq);
            write_echo(self.version, self.id, seq, &payload, packet);
            self.addresses.push(Some(request.to.into()));
            seq = seq.wrapping_add(1);
        }
        let slices = self.packets.each_ref().map(|packet| [IoSlice::new(packet)]);
        let count = self.addresses.len();
        let mut headers = MultiHeaders::preallocate(count, None);
        let taken = sendmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            slices.iter().take(count),
            &self.addresses,
            [],
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        )?;
        Ok(taken.count())
    }

    fn note_sent(&mut self, count: usize) {
        for Request { token, to } in self.queue.drain(..count.min(self.queue.len())) {
            self.judge.note_sent(self.next_seq, token, to.ip());
            self.next_seq = self.next_seq.wrapping_add(1);
        }
    }

    /// Reads what came, up to a bound: the socket stays readable where there is more.
    pub fn receive(&mut self, out: &mut Vec<EchoEvent>) {
        for _ in 0..ECHO_BATCHES_PER_WAKE_MAX {
            match self.receive_batch(out) {
                Ok(ECHO_BATCH_MAX) | Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EAGAIN) => break,
                // Not about this call: on a datagram socket an ICMP error waits in its queue.
                Err(_) => {}
            }
        }
        if self.kind == EchoKind::Datagram {
            self.receive_errors(out);
        }
    }

    fn receive_batch(&mut self, out: &mut Vec<EchoEvent>) -> Result<usize, Errno> {
        // Made anew for each batch: the kernel writes into every header how much room for control
        // data it used, and a second use would have only that much left.
        let room = cmsg_space!(TimeSpec, u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(ECHO_BATCH_MAX, Some(room));
        let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let socket = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let packets = recvmmsg(socket, &mut headers, slices.iter_mut(), flags, None)?;
        let read_at = self.judge.begin(both_clocks());
        let mut count = 0;
        for packet in packets {
            count += 1;
            out.extend(self.judge.packet(&packet, read_at));
        }
        Ok(count)
    }

    /// Reads the error queue of a datagram socket (ip(7), IP_RECVERR).
    fn receive_errors(&mut self, out: &mut Vec<EchoEvent>) {
        for _ in 0..ECHO_BATCH_MAX * ECHO_BATCHES_PER_WAKE_MAX {
            let mut quoted = [0u8; ECHO_BYTES];
            let mut slices = [IoSliceMut::new(&mut quoted)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let room = Some(self.error_control.as_mut_slice());
            let socket = self.socket.as_raw_fd();
            let Ok(message) = recvmsg::<SockaddrStorage>(socket, &mut slices, room, flags) else {
                return;
            };
            out.extend(self.judge.queued_error(&message));
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> EchoCounters {
        self.judge.counters
    }
}

impl AsFd for Echo {
    /// To be polled for reading.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

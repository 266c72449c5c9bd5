//! The yardstick for ICMP: a bare loop of sendmmsg(2) and recvmmsg(2) on one raw socket.
//!
//! Owns: the loop. Replies are counted and not looked at; a filter in the kernel keeps out what is
//! not an answer to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use probes::icmp::wire::write_echo;
use probes::icmp::{ECHO_BYTES, PAYLOAD_BYTES, Version};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::echo::filter;

/// Packets in one call: the best number measured, as many as fit the socket's buffers.
const BATCH: usize = 32;
/// Receive buffer, in bytes.
const BUFFER_BYTES: usize = 4 << 20;
/// Looks for replies that are still missing before the loop goes on without them.
const LOOKS_MAX: usize = 1_000;

/// The loop and all its memory, made once.
pub struct Pinger {
    socket: Socket,
    id: u16,
    sent: usize,
    received: usize,
    to: MultiHeaders<SockaddrIn>,
    from: MultiHeaders<SockaddrIn>,
}

impl Pinger {
    /// Opens the socket.
    ///
    /// # Errors
    ///
    /// EPERM without CAP_NET_RAW.
    pub fn open() -> io::Result<Pinger> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4))?;
        let id = std::process::id() as u16;
        socket.attach_filter(&filter::v4(id))?;
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        let to = MultiHeaders::preallocate(BATCH, None);
        let from = MultiHeaders::preallocate(BATCH, None);
        Ok(Pinger { socket, id, sent: 0, received: 0, to, from })
    }

    /// Pings `count` addresses from `first` on and takes the replies.
    ///
    /// # Errors
    ///
    /// The errno of sendmmsg(2).
    pub fn run(&mut self, first: Ipv4Addr, count: usize) -> io::Result<()> {
        let until = self.sent + count;
        while self.sent < until {
            let batch = BATCH.min(until - self.sent);
            let mut packets = [[0u8; ECHO_BYTES]; BATCH];
            let mut addresses = [None; BATCH];
            for (packet, address) in packets.iter_mut().zip(&mut addresses).take(batch) {
                let seq = self.sent as u16;
                write_echo(Version::V4, self.id, seq, &[7; PAYLOAD_BYTES], packet);
                let ip = Ipv4Addr::from(u32::from(first) + (self.sent & 0xffff) as u32);
                *address = Some(SockaddrIn::from(SocketAddrV4::new(ip, 0)));
                self.sent += 1;
            }
            let slices = packets.each_ref().map(|packet| [IoSlice::new(packet)]);
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            let slices = slices.iter().take(batch);
            let sent = sendmmsg(fd, &mut self.to, slices, &addresses[..batch], [], flags)?.count();
            self.take(sent);
        }
        Ok(())
    }

    /// Replies that came.
    pub fn received(&self) -> usize {
        self.received
    }

    fn take(&mut self, wanted: usize) {
        let (mut left, mut looks) = (wanted, 0);
        let mut buffers = [[0u8; 128]; BATCH];
        while left > 0 && looks < LOOKS_MAX {
            let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
            match recvmmsg(fd, &mut self.from, slices.iter_mut(), flags, None) {
                Ok(messages) => {
                    let count = messages.count();
                    self.received += count;
                    left = left.saturating_sub(count);
                }
                Err(Errno::EAGAIN) => looks += 1,
                Err(_) => return,
            }
        }
    }
}

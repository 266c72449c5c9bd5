//! What a packet says about a request, and whether to believe it.
//!
//! Owns: telling replies and errors from what is forged, foreign or broken, and counting each.
//! Leaves to others: reading packets. A reply is believed for the cookie in its payload, which only
//! the address that was asked has seen; an error that quotes too little for that, for identifier,
//! sequence number and destination together.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, RecvMsg, SockaddrStorage};
use probes::Nanos;
use probes::icmp::wire::{Quoted, Reason, parse, quoted_echo};
use probes::icmp::{Cookie, Delivery, Message, PAYLOAD_BYTES, Reply, Undelivered, Version};

use super::sent::Sent;
use super::socket::EchoKind;
use super::stamps::{ReadAt, Stamps};
use crate::clock::BothClocks;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoEvent {
    /// The target answered.
    Reply {
        /// As given to [`Echo::queue`](super::Echo::queue).
        token: u64,
        /// Round trip in microseconds, by the kernel's receive stamp where it can be believed.
        rtt_us: u32,
        /// Who answered: the address that was asked.
        from: IpAddr,
    },
    /// A router or the target said that the request did not arrive.
    Unreachable {
        /// As given to [`Echo::queue`](super::Echo::queue).
        token: u64,
        /// Unreachable, or lost on the way.
        reason: Reason,
        /// ICMP code (RFC 792, RFC 4443).
        code: u8,
        /// Who said so; this host itself where its neighbour does not answer.
        from: IpAddr,
    },
    /// The kernel did not take the request. [`crate::fault::owner_of`] knows the fault.
    SendFailed {
        /// As given to [`Echo::queue`](super::Echo::queue).
        token: u64,
        /// Of sendmmsg(2).
        errno: Errno,
    },
}

/// What an echo socket did since it was opened, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoCounters {
    /// Requests sent.
    pub sent: u64,
    /// Requests refused because the queue is full.
    pub refused: u64,
    /// Times that the kernel took no more for now (EAGAIN, ENOBUFS).
    pub send_blocked: u64,
    /// Requests that the kernel did not take.
    pub send_failed: u64,
    /// Replies that were good.
    pub replies: u64,
    /// Of these, timed by our own clock because the kernel's stamp could not be believed.
    pub own_stamps: u64,
    /// Errors that belong to a request of ours.
    pub unreachable: u64,
    /// Packets that are neither replies to this socket nor errors about its requests.
    pub foreign: u64,
    /// Replies that are too short to be ours.
    pub truncated: u64,
    /// Replies that another address sent than the one that was asked.
    pub wrong_source: u64,
    /// Replies and errors whose content is not what was sent.
    pub forged: u64,
    /// Errors about a request that is no longer known.
    pub unattributed: u64,
    /// Packets that the kernel dropped because our receive buffer was full (SO_RXQ_OVFL), seen
    /// with the next packet that comes; for a raw socket, ICMP packets of others too. A timeout
    /// while this number rose says nothing about the target:
    /// [`crate::fault::Fault::ReceiveBuffer`].
    pub receive_dropped: u64,
}

/// All that is needed to judge a packet.
pub(super) struct Judge {
    version: Version,
    delivery: Delivery,
    id: u16,
    cookie: Cookie,
    sent: Sent,
    stamps: Stamps,
    /// The kernel's count as of the last packet; it wraps.
    kernel_drops: u32,
    pub(super) counters: EchoCounters,
}

/// What the kernel says about a packet.
#[derive(Clone, Copy, Debug, Default)]
struct Control {
    /// Arrival, in nanoseconds since the Unix epoch.
    stamp_ns: Option<u64>,
    drops: Option<u32>,
}

impl Judge {
    pub(super) fn new(version: Version, kind: EchoKind, id: u16) -> Judge {
        let delivery = match (version, kind) {
            (Version::V4, EchoKind::Datagram) => Delivery::DatagramV4,
            (Version::V4, EchoKind::Raw) => Delivery::RawV4,
            (Version::V6, _) => Delivery::V6,
        };
        Judge {
            version,
            delivery,
            id,
            cookie: Cookie::new(),
            sent: Sent::default(),
            stamps: Stamps::default(),
            kernel_drops: 0,
            counters: EchoCounters::default(),
        }
    }

    /// The payload of a request.
    pub(super) fn sign(
        &self,
        token: u64,
        sent: Nanos,
        to: IpAddr,
        seq: u16,
    ) -> [u8; PAYLOAD_BYTES] {
        self.cookie.sign(token, sent, to, seq)
    }

    /// Notes a request that was sent.
    pub(super) fn note_sent(&mut self, seq: u16, token: u64, to: IpAddr) {
        self.counters.sent += 1;
        self.sent.insert(seq, token, to);
    }

    /// Begins a batch that was just read.
    pub(super) fn begin(&mut self, clocks: BothClocks) -> ReadAt {
        self.stamps.begin(clocks)
    }

    /// Judges a packet from the receive queue.
    pub(super) fn packet(
        &mut self,
        packet: &RecvMsg<'_, '_, SockaddrStorage>,
        read_at: ReadAt,
    ) -> Option<EchoEvent> {
        let bytes = packet.iovs().next().unwrap_or_default();
        let control = read_control(packet);
        if let Some(drops) = control.drops {
            self.counters.receive_dropped += u64::from(drops.wrapping_sub(self.kernel_drops));
            self.kernel_drops = drops;
        }
        let from = ip(packet.address.as_ref()?)?;
        match parse(self.delivery, bytes) {
            Some(Message::Reply(reply)) if reply.id == self.id => {
                self.reply(reply, from, control, read_at)
            }
            Some(Message::Undelivered(error)) if error.echo.id == self.id => {
                self.undelivered(error, from)
            }
            _ => {
                self.counters.foreign += 1;
                None
            }
        }
    }

    fn reply(
        &mut self,
        reply: Reply<'_>,
        from: IpAddr,
        control: Control,
        read_at: ReadAt,
    ) -> Option<EchoEvent> {
        let Reply { seq, payload, .. } = reply;
        let Some((token, sent)) = self.cookie.open(payload, seq, from) else {
            let reason = match () {
                () if payload.len() < PAYLOAD_BYTES => &mut self.counters.truncated,
                () if self.sent.went_elsewhere(seq, from) => &mut self.counters.wrong_source,
                () => &mut self.counters.forged,
            };
            *reason += 1;
            return None;
        };
        let arrival = read_at.arrival(control.stamp_ns, sent);
        self.counters.replies += 1;
        self.counters.own_stamps += u64::from(arrival.is_none());
        let rtt_us = arrival.unwrap_or(read_at.monotonic()).micros_since(sent);
        Some(EchoEvent::Reply { token, rtt_us, from })
    }

    fn undelivered(&mut self, error: Undelivered<'_>, from: IpAddr) -> Option<EchoEvent> {
        let Undelivered { reason, code, to, echo: Quoted { seq, payload, .. } } = error;
        let whole = payload.len() == PAYLOAD_BYTES;
        if whole && self.cookie.open(payload, seq, to).is_none() {
            self.counters.forged += 1;
            return None;
        }
        let Some(token) = self.sent.token(seq, to) else {
            self.counters.unattributed += 1;
            return None;
        };
        self.counters.unreachable += 1;
        Some(EchoEvent::Unreachable { token, reason, code, from })
    }

    /// Judges a message from the error queue of a datagram socket: the request as it was quoted,
    /// with the address that was asked. The kernel has compared the identifier.
    pub(super) fn queued_error(
        &mut self,
        message: &RecvMsg<'_, '_, SockaddrStorage>,
    ) -> Option<EchoEvent> {
        let quoted = message.iovs().next().unwrap_or_default();
        let to = message.address.as_ref().and_then(ip);
        let (Some(to), Some(echo), Some((error, from))) =
            (to, quoted_echo(self.version, quoted), extended_error(message))
        else {
            self.counters.foreign += 1;
            return None;
        };
        let reason = match (error.ee_origin, error.ee_type) {
            (libc::SO_EE_ORIGIN_ICMP, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1) => Reason::Unreachable,
            (libc::SO_EE_ORIGIN_ICMP, 11) | (libc::SO_EE_ORIGIN_ICMP6, 3) => Reason::TimeExceeded,
            _ => {
                self.counters.foreign += 1;
                return None;
            }
        };
        self.undelivered(Undelivered { reason, code: error.ee_code, to, echo }, from)
    }
}

fn read_control(packet: &RecvMsg<'_, '_, SockaddrStorage>) -> Control {
    let mut control = Control::default();
    let Ok(messages) = packet.cmsgs() else { return control };
    for message in messages {
        match message {
            ControlMessageOwned::ScmTimestampns(at) => {
                let nanos = at.tv_sec().saturating_mul(1_000_000_000).saturating_add(at.tv_nsec());
                control.stamp_ns = u64::try_from(nanos).ok();
            }
            ControlMessageOwned::RxqOvfl(drops) => control.drops = Some(drops),
            _ => {}
        }
    }
    control
}

/// The error of a message from the error queue, and who reported it.
fn extended_error(
    message: &RecvMsg<'_, '_, SockaddrStorage>,
) -> Option<(libc::sock_extended_err, IpAddr)> {
    message.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            Some((error, IpAddr::from(from.sin_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            Some((error, IpAddr::from(from.sin6_addr.s6_addr)))
        }
        _ => None,
    })
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

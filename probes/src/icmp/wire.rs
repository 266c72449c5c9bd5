//! ICMP and ICMPv6 echo on the wire (RFC 792, RFC 4443).
//!
//! Owns: building echo requests, and reading what a socket delivers: replies to them and errors
//! that quote them. Everything else on the wire is `None`: an ICMP socket hears its neighbours'
//! traffic too. The bytes may come from anybody; every length in them is checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Payload of an echo request, in bytes: that of ping(8).
pub const PAYLOAD_BYTES: usize = 56;
/// An echo request with its header, in bytes.
pub const ECHO_BYTES: usize = HEADER_BYTES + PAYLOAD_BYTES;

/// Header of every ICMP message (RFC 792), in bytes.
const HEADER_BYTES: usize = 8;
/// IPv4 header without options (RFC 791), in bytes.
const IPV4_BYTES_MIN: usize = 20;
/// IPv6 header (RFC 8200), in bytes.
const IPV6_BYTES: usize = 40;
/// Protocol numbers in the IP header.
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMPV6: u8 = 58;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// ICMP over IPv4.
    V4,
    /// ICMPv6.
    V6,
}

impl Version {
    /// The version that reaches `ip`.
    pub fn of(ip: IpAddr) -> Version {
        if ip.is_ipv4() { Version::V4 } else { Version::V6 }
    }

    fn echo_request(self) -> u8 {
        match self {
            Version::V4 => 8,
            Version::V6 => 128,
        }
    }

    fn echo_reply(self) -> u8 {
        match self {
            Version::V4 => 0,
            Version::V6 => 129,
        }
    }

    fn reason(self, kind: u8) -> Option<Reason> {
        match (self, kind) {
            (Version::V4, 3) | (Version::V6, 1) => Some(Reason::Unreachable),
            (Version::V4, 11) | (Version::V6, 3) => Some(Reason::TimeExceeded),
            _ => None,
        }
    }
}

/// What stands in front of the ICMP message in a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Nothing: `SOCK_DGRAM` with `IPPROTO_ICMP` (icmp(7)).
    DatagramV4,
    /// The IPv4 header with its options: `SOCK_RAW` (raw(7)).
    RawV4,
    /// Nothing: IPv6 sockets of both kinds (RFC 3542 §3).
    V6,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// An echo reply.
    Reply(Reply<'a>),
    /// An error that quotes an echo request.
    Undelivered(Undelivered<'a>),
}

/// An echo reply. Who sent it is known from the socket call only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// As in the request. On a datagram socket the kernel puts the socket's own here.
    pub id: u16,
    /// As in the request.
    pub seq: u16,
    /// As in the request, where the target is honest.
    pub payload: &'a [u8],
    /// Hops left of the IP header, where that was delivered.
    pub ttl: Option<u8>,
}

/// Why an echo request did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Destination unreachable.
    Unreachable,
    /// Time exceeded: a routing loop, or a fragment that never came.
    TimeExceeded,
}

/// An ICMP error that quotes an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered<'a> {
    /// Its type.
    pub reason: Reason,
    /// Its code, as in the message: for unreachable over IPv4 0 net, 1 host, 13 prohibited and so
    /// on (RFC 792, RFC 1812 §5.2.7.1; over IPv6 RFC 4443 §3.1).
    pub code: u8,
    /// Where the request was going.
    pub to: IpAddr,
    /// The request that is quoted.
    pub echo: Quoted<'a>,
}

/// A quoted echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Identifier of the request.
    pub id: u16,
    /// Sequence number of the request.
    pub seq: u16,
    /// As much of the payload as is quoted, at most [`PAYLOAD_BYTES`]. Old routers quote none of
    /// it (RFC 792 asks for 8 bytes): then `seq` must do.
    pub payload: &'a [u8],
}

/// Writes an echo request.
///
/// The checksum of ICMPv6 covers addresses that only the kernel knows here, so it fills it in
/// (RFC 3542 §3.1). On an IPv4 datagram socket it replaces identifier and checksum, too.
pub fn write_echo(
    version: Version,
    id: u16,
    seq: u16,
    payload: &[u8; PAYLOAD_BYTES],
    out: &mut [u8; ECHO_BYTES],
) {
    out[..4].copy_from_slice(&[version.echo_request(), 0, 0, 0]);
    out[4..6].copy_from_slice(&id.to_be_bytes());
    out[6..8].copy_from_slice(&seq.to_be_bytes());
    out[HEADER_BYTES..].copy_from_slice(payload);
    if version == Version::V4 {
        let sum = checksum(out);
        out[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Reads one received datagram. `None` for what is broken, cut short, or of no concern.
///
/// Checks the checksum of IPv4: raw sockets get the message before the kernel has. For IPv6 the
/// kernel has checked it.
pub fn parse(delivery: Delivery, datagram: &[u8]) -> Option<Message<'_>> {
    let (version, message, ttl) = match delivery {
        Delivery::DatagramV4 => (Version::V4, datagram, None),
        Delivery::V6 => (Version::V6, datagram, None),
        Delivery::RawV4 => {
            let packet = ipv4(datagram)?;
            let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
            let message = datagram.get(packet.header_bytes..length)?;
            (Version::V4, message, Some(packet.ttl))
        }
    };
    let (header, rest) = message.split_first_chunk::<HEADER_BYTES>()?;
    if version == Version::V4 && checksum(message) != 0 {
        return None;
    }
    let [kind, code, ..] = *header;
    if kind == version.echo_reply() && code == 0 {
        let (id, seq) = numbers(header);
        return Some(Message::Reply(Reply { id, seq, payload: rest, ttl }));
    }
    let reason = version.reason(kind)?;
    let (to, quoted) = match version {
        Version::V4 => {
            let packet = ipv4(rest)?;
            (IpAddr::V4(packet.destination), rest.get(packet.header_bytes..)?)
        }
        Version::V6 => ipv6(rest)?,
    };
    let echo = quoted_echo(version, quoted)?;
    Some(Message::Undelivered(Undelivered { reason, code, to, echo }))
}

/// Reads a quoted echo request from its ICMP header on: what the error queue of a datagram socket
/// delivers (`IP_RECVERR`, ip(7)), type and code of the error standing beside it.
pub fn quoted_echo(version: Version, quoted: &[u8]) -> Option<Quoted<'_>> {
    let (header, rest) = quoted.split_first_chunk::<HEADER_BYTES>()?;
    if header[0] != version.echo_request() || header[1] != 0 {
        return None;
    }
    let (id, seq) = numbers(header);
    // Behind the quote may follow zeros and extensions (RFC 4884 §5).
    Some(Quoted { id, seq, payload: &rest[..rest.len().min(PAYLOAD_BYTES)] })
}

/// The Internet checksum (RFC 1071): zero over a message that carries the right one.
fn checksum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    let mut sum: u64 = 0;
    for word in &mut words {
        sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(u16::from_be_bytes([*last, 0]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn numbers(header: &[u8; HEADER_BYTES]) -> (u16, u16) {
    let [_, _, _, _, id_high, id_low, seq_high, seq_low] = *header;
    (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([seq_high, seq_low]))
}

struct Ipv4Header {
    header_bytes: usize,
    ttl: u8,
    destination: Ipv4Addr,
}

/// The IPv4 header of an ICMP packet; `None` for another protocol and for a later fragment, which
/// has no ICMP header.
fn ipv4(packet: &[u8]) -> Option<Ipv4Header> {
    let header = packet.first_chunk::<IPV4_BYTES_MIN>()?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let is_icmp = header[0] >> 4 == 4 && header[9] == PROTOCOL_ICMP && fragment_offset == 0;
    if !is_icmp || header_bytes < IPV4_BYTES_MIN {
        return None;
    }
    let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    Some(Ipv4Header { header_bytes, ttl: header[8], destination })
}

/// Destination and content of an ICMPv6 packet. Our requests carry no extension headers.
fn ipv6(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (header, rest) = packet.split_first_chunk::<IPV6_BYTES>()?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_ICMPV6 {
        return None;
    }
    let destination = header.last_chunk::<16>()?;
    Some((IpAddr::V6(Ipv6Addr::from(*destination)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x01]), !0x0100);
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0xff; 65_535]), 0x00ff);
    }

    #[test]
    fn a_request_of_ipv4_carries_its_checksum_and_one_of_ipv6_leaves_it_to_the_kernel() {
        let mut out = [0xee; ECHO_BYTES];
        write_echo(Version::V4, 0x1234, 0x5678, &[b'x'; PAYLOAD_BYTES], &mut out);
        assert_eq!(out[..2], [8, 0]);
        assert_eq!(out[4..9], [0x12, 0x34, 0x56, 0x78, b'x']);
        assert_eq!(checksum(&out), 0);
        write_echo(Version::V6, 0x1234, 0x5678, &[b'x'; PAYLOAD_BYTES], &mut out);
        assert_eq!(out[..8], [128, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
    }
}

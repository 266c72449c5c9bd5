//! Opening an ICMP socket: the kind this process may have, with every option set.
//!
//! Owns: the choice between a datagram and a raw socket, and the options. Leaves to others: what
//! goes over it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use probes::icmp::Version;
use socket2::{Domain, Protocol, Socket, Type};

use super::filter;
use crate::net::random::Random;

/// How the kernel lets this process send echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EchoKind {
    /// A datagram ICMP socket: no right needed beyond net.ipv4.ping_group_range (icmp(7)).
    Datagram,
    /// A raw socket: needs CAP_NET_RAW (raw(7)).
    Raw,
}

/// This process may have no ICMP socket of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no ICMP socket (datagram: {datagram}; raw: {raw}): let net.ipv4.ping_group_range hold a group \
     of this process, or give it CAP_NET_RAW"
)]
pub struct EchoUnavailable {
    /// Why no datagram socket.
    pub datagram: Errno,
    /// Why no raw socket.
    pub raw: Errno,
}

/// An open socket and what is fixed about it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) kind: EchoKind,
    /// Identifier of our echo requests.
    pub(super) id: u16,
}

/// Opens a datagram socket, else a raw one.
pub(super) fn open(version: Version, buffer_bytes: usize) -> Result<Opened, EchoUnavailable> {
    choose(|kind| open_kind(version, kind, buffer_bytes))
}

/// The first kind that opens.
fn choose<T>(mut open: impl FnMut(EchoKind) -> Result<T, Errno>) -> Result<T, EchoUnavailable> {
    open(EchoKind::Datagram)
        .or_else(|datagram| open(EchoKind::Raw).map_err(|raw| EchoUnavailable { datagram, raw }))
}

/// Opens one kind of socket with all its options.
fn open_kind(version: Version, kind: EchoKind, buffer_bytes: usize) -> Result<Opened, Errno> {
    let (domain, protocol) = match version {
        Version::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Version::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let type_ = match kind {
        EchoKind::Datagram => Type::DGRAM,
        EchoKind::Raw => Type::RAW,
    };
    let socket = Socket::new(domain, type_.nonblocking(), Some(protocol)).map_err(errno)?;
    let id = match kind {
        EchoKind::Datagram => bind_any(&socket, version)?,
        EchoKind::Raw => {
            let id = Random::default().next() as u16;
            match version {
                Version::V4 => socket.attach_filter(&filter::v4(id)),
                Version::V6 => socket.attach_filter(&filter::v6(id)),
            }
            .map_err(errno)?;
            // What came between the opening and the filter is not for us.
            while recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT).is_ok() {}
            id
        }
    };
    set_options(&socket, version, kind, buffer_bytes)?;
    Ok(Opened { socket, kind, id })
}

/// Lets the kernel choose the identifier of a datagram socket: it is the "port" of its address.
fn bind_any(socket: &Socket, version: Version) -> Result<u16, Errno> {
    let any: IpAddr = match version {
        Version::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Version::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket.bind(&SocketAddr::new(any, 0).into()).map_err(errno)?;
    let bound = socket.local_addr().map_err(errno)?;
    Ok(bound.as_socket().map_or(0, |address| address.port()))
}

fn set_options(
    socket: &Socket,
    version: Version,
    kind: EchoKind,
    buffer_bytes: usize,
) -> Result<(), Errno> {
    // Past net.core.rmem_max only with CAP_NET_ADMIN; without it the kernel cuts it to that.
    if setsockopt(socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes).map_err(errno)?;
    }
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    // A datagram socket gets ICMP errors in its error queue; a raw one among the replies.
    match (kind, version) {
        (EchoKind::Datagram, Version::V4) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        (EchoKind::Datagram, Version::V6) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
        (EchoKind::Raw, _) => Ok(()),
    }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_socket_is_only_tried_where_a_datagram_socket_is_refused() {
        let mut tried = Vec::new();
        let datagram = choose(|kind| {
            tried.push(kind);
            Ok(kind)
        });
        assert_eq!((datagram, &tried[..]), (Ok(EchoKind::Datagram), &[EchoKind::Datagram][..]));
        let raw = choose(|kind| match kind {
            EchoKind::Datagram => Err(Errno::EACCES),
            EchoKind::Raw => Ok(kind),
        });
        assert_eq!(raw, Ok(EchoKind::Raw));
    }

    #[test]
    fn refusal_of_both_names_both_settings_that_would_help() {
        let refused = choose::<()>(|kind| match kind {
            EchoKind::Datagram => Err(Errno::EACCES),
            EchoKind::Raw => Err(Errno::EPERM),
        });
        let unavailable = EchoUnavailable { datagram: Errno::EACCES, raw: Errno::EPERM };
        assert_eq!(refused, Err(unavailable));
        let text = unavailable.to_string();
        for word in ["net.ipv4.ping_group_range", "CAP_NET_RAW", "EACCES", "EPERM"] {
            assert!(text.contains(word), "{text}");
        }
    }
}

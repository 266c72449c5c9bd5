//! Echo over real sockets on loopback, each test in a network namespace of its own: needs
//! CAP_SYS_ADMIN and CAP_NET_RAW.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use probes::icmp::PAYLOAD_BYTES;
use probes::icmp::wire::Reason;
use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::limits::ECHO_RECEIVE_BUFFER_BYTES;

/// Long enough for any packet on loopback; only a bug waits for it.
const HANG_MS: u16 = 20_000;
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Values of net.ipv4.ping_group_range.
const NO_GROUP: &str = "1 0";
const EVERY_GROUP: &str = "0 2147483647";

/// Runs `test` on a thread of its own in a new network namespace, where no other traffic is and
/// the groups of `ping_group_range` may have datagram ICMP sockets.
fn in_namespace(ping_group_range: &'static str, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            panic!("no network namespace ({errno}): run the tests with CAP_SYS_ADMIN");
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.expect("ip of iproute2 is needed").success());
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", ping_group_range).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn open(version: Version, kind: EchoKind, buffer_bytes: usize) -> Echo {
    let echo = Echo::open(version, buffer_bytes).unwrap();
    assert_eq!(echo.kind(), kind);
    echo
}

fn raw(version: Version) -> Echo {
    open(version, EchoKind::Raw, ECHO_RECEIVE_BUFFER_BYTES)
}

fn datagram(version: Version) -> Echo {
    open(version, EchoKind::Datagram, ECHO_RECEIVE_BUFFER_BYTES)
}

/// Waits until the socket has something and reads it.
fn receive_some(echo: &mut Echo, out: &mut Vec<EchoEvent>) {
    let mut fds = [PollFd::new(echo.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(HANG_MS)).unwrap(), 1, "nothing came");
    echo.receive(out);
}

/// Sends what is queued and reads until there are `count` events.
fn exchange(echo: &mut Echo, count: usize) -> Vec<EchoEvent> {
    let mut events = Vec::new();
    echo.flush(&mut events);
    while events.len() < count {
        receive_some(echo, &mut events);
    }
    events
}

/// Sends one request and reads its reply, so that all that was sent before is read too.
fn round_trip(echo: &mut Echo, token: u64, to: IpAddr) -> Vec<EchoEvent> {
    assert!(echo.queue(token, to, 0));
    let is_reply =
        |event: &EchoEvent| matches!(event, EchoEvent::Reply { token: t, .. } if *t == token);
    let mut events = exchange(echo, 0);
    while !events.iter().any(is_reply) {
        receive_some(echo, &mut events);
    }
    events.retain(|event| !is_reply(event));
    events
}

fn token(event: &EchoEvent) -> u64 {
    match event {
        EchoEvent::Reply { token, .. }
        | EchoEvent::Unreachable { token, .. }
        | EchoEvent::SendFailed { token, .. } => *token,
    }
}

/// A raw socket that says whatever a test wants, from one address to this host.
fn forger(from: IpAddr) -> Socket {
    let (domain, protocol) = match from {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket
}

fn forge(from: IpAddr, message: &[u8]) {
    let to: IpAddr = if from.is_ipv4() { HOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    forger(from).send_to(message, &SocketAddr::new(to, 0).into()).unwrap();
}

/// An ICMP message with its checksum (RFC 1071); the kernel makes that of ICMPv6 itself.
fn message(icmp_type: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[icmp_type, code, 0, 0], &rest[..], body].concat();
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = ((folded & 0xffff) + (folded >> 16)) as u16;
    bytes[2..4].copy_from_slice(&(!folded).to_be_bytes());
    bytes
}

/// Identifier and sequence number as they stand in a message.
fn id_seq(id: u16, seq: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
    [a, b, c, d]
}

/// "Host unreachable" about a request to `to`, quoting `body` behind the request's header.
fn host_unreachable(to: Ipv4Addr, id: u16, seq: u16, body: &[u8]) -> Vec<u8> {
    let request = message(8, 0, id_seq(id, seq), body);
    let length = (20 + request.len() as u16).to_be_bytes();
    let mut quoted = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 1, 0, 0];
    quoted.extend(HOST.octets());
    quoted.extend(to.octets());
    quoted.extend(&request);
    message(3, 1, [0; 4], &quoted)
}

#[test]
fn thousand_addresses_all_answer() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        let address = |n: u64| IpAddr::from([127, 9, (n / 250) as u8, (n % 250 + 1) as u8]);
        for n in 0..1_000 {
            assert!(echo.queue(n, address(n), 0));
        }
        let began = monotonic();
        let mut events = exchange(&mut echo, 1_000);
        let took_us = monotonic().micros_since(began);
        events.sort_unstable_by_key(token);
        for (n, event) in (0..).zip(&events) {
            let EchoEvent::Reply { token, rtt_us, from } = *event else { panic!("{event:?}") };
            assert_eq!((token, from), (n, address(n)));
            assert!(rtt_us <= took_us);
        }
        let counters = echo.counters();
        assert_eq!((counters.sent, counters.replies, counters.receive_dropped), (1_000, 1_000, 0));
        assert_eq!((counters.foreign, counters.forged, echo.queued()), (0, 0, 0));
    });
}

#[test]
fn ipv6_loopback_answers() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V6);
        assert!(echo.queue(7, Ipv6Addr::LOCALHOST.into(), 0));
        let events = exchange(&mut echo, 1);
        let EchoEvent::Reply { token, from, .. } = events[0] else { panic!("{events:?}") };
        assert_eq!((token, from), (7, Ipv6Addr::LOCALHOST.into()));
    });
}

#[test]
fn sockets_do_not_see_each_others_replies() {
    in_namespace(NO_GROUP, || {
        for (family, to) in
            [(Version::V4, IpAddr::V4(HOST)), (Version::V6, Ipv6Addr::LOCALHOST.into())]
        {
            let (mut one, mut other) = (raw(family), raw(family));
            for n in 0..50 {
                assert!(one.queue(n, to, 0) && other.queue(1_000 + n, to, 0));
            }
            let mut events = Vec::new();
            one.flush(&mut events);
            let theirs = exchange(&mut other, 50);
            let ours = exchange(&mut one, 50);
            assert!(ours.iter().all(|event| token(event) < 1_000));
            assert!(theirs.iter().all(|event| token(event) >= 1_000));
            for echo in [&one, &other] {
                let counters = echo.counters();
                assert_eq!((counters.replies, counters.foreign, counters.forged), (50, 0, 0));
                assert_eq!(counters.receive_dropped, 0, "what the filter drops is no loss");
            }
        }
    });
}

#[test]
fn forged_and_short_replies_are_counted_and_never_told() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        round_trip(&mut echo, 1, OTHER.into());
        let id = echo.id;
        forge(OTHER.into(), &message(0, 0, id_seq(id, 0), &[7; PAYLOAD_BYTES]));
        forge(OTHER.into(), &message(0, 0, id_seq(id, 0), &[7; 5]));
        forge(OTHER.into(), &message(0, 0, id_seq(id.wrapping_add(1), 0), &[7; PAYLOAD_BYTES]));
        assert_eq!(round_trip(&mut echo, 2, OTHER.into()), []);
        let counters = echo.counters();
        assert_eq!((counters.replies, counters.forged, counters.truncated), (2, 1, 1));
        assert_eq!(counters.foreign, 0, "the filter keeps other identifiers away");
    });
}

#[test]
fn reply_from_another_address_than_the_one_asked_is_not_told() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        assert!(echo.queue(1, HOST.into(), 0));
        assert_eq!(exchange(&mut echo, 1).len(), 1);
        // The very payload that was sent, as somebody on the way would have it.
        let payload = <[u8; PAYLOAD_BYTES]>::try_from(&echo.packets[0][8..]).unwrap();
        forge(OTHER.into(), &message(0, 0, id_seq(echo.id, 0), &payload));
        assert_eq!(round_trip(&mut echo, 2, HOST.into()), []);
        let counters = echo.counters();
        assert_eq!((counters.replies, counters.wrong_source, counters.forged), (2, 1, 0));
    });
}

#[test]
fn icmp_error_finds_its_request_by_number_and_destination() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        let target = Ipv4Addr::new(127, 0, 0, 5);
        round_trip(&mut echo, 40, target.into());
        let id = echo.id;
        forge(OTHER.into(), &host_unreachable(target, id, 0, &[]));
        forge(OTHER.into(), &host_unreachable(Ipv4Addr::new(127, 0, 0, 6), id, 0, &[]));
        forge(OTHER.into(), &host_unreachable(target, id, 9, &[]));
        forge(OTHER.into(), &host_unreachable(target, id, 0, &[7; PAYLOAD_BYTES]));
        forge(OTHER.into(), &host_unreachable(target, id.wrapping_add(1), 0, &[]));
        let events = round_trip(&mut echo, 41, target.into());
        let told = EchoEvent::Unreachable {
            token: 40,
            reason: Reason::Unreachable,
            code: 1,
            from: OTHER.into(),
        };
        assert_eq!(events, [told]);
        let counters = echo.counters();
        assert_eq!((counters.unreachable, counters.unattributed, counters.forged), (1, 2, 1));
        assert_eq!(counters.foreign, 0);
    });
}

#[test]
fn icmpv6_error_finds_its_request() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V6);
        let host = Ipv6Addr::LOCALHOST;
        round_trip(&mut echo, 40, host.into());
        for id in [echo.id, echo.id.wrapping_add(1)] {
            let mut quoted = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
            quoted.extend(host.octets());
            quoted.extend(host.octets());
            quoted.extend(message(128, 0, id_seq(id, 0), &[]));
            forge(host.into(), &message(1, 3, [0; 4], &quoted));
        }
        let events = round_trip(&mut echo, 41, host.into());
        let told = EchoEvent::Unreachable {
            token: 40,
            reason: Reason::Unreachable,
            code: 3,
            from: host.into(),
        };
        assert_eq!(events, [told]);
        assert_eq!(echo.counters().foreign, 0);
    });
}

#[test]
fn refused_request_is_told_and_the_next_one_goes_out() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        assert!(echo.queue(1, HOST.into(), 0));
        assert!(echo.queue(2, Ipv4Addr::new(192, 0, 2, 1).into(), 0));
        assert!(echo.queue(3, HOST.into(), 0));
        let mut events = exchange(&mut echo, 3);
        events.sort_unstable_by_key(token);
        assert!(matches!(events[0], EchoEvent::Reply { token: 1, .. }));
        assert_eq!(events[1], EchoEvent::SendFailed { token: 2, errno: Errno::ENETUNREACH });
        assert!(matches!(events[2], EchoEvent::Reply { token: 3, .. }));
        assert_eq!((echo.counters().sent, echo.counters().send_failed), (2, 1));
    });
}

#[test]
fn replies_lost_in_our_own_buffer_are_counted() {
    in_namespace(NO_GROUP, || {
        let mut echo = open(Version::V4, EchoKind::Raw, 4_096);
        let mut events = Vec::new();
        for n in 0..200 {
            assert!(echo.queue(n, HOST.into(), 0));
        }
        echo.flush(&mut events);
        receive_some(&mut echo, &mut events);
        // A packet tells of those that were lost before it.
        let accounted = |counters: EchoCounters| counters.replies + counters.receive_dropped;
        while accounted(echo.counters()) < echo.counters().sent {
            round_trip(&mut echo, 1_000, HOST.into());
        }
        let counters = echo.counters();
        assert!(counters.replies < counters.sent);
        assert!(accounted(counters) >= counters.sent);
    });
}

#[test]
fn queue_is_bounded_and_takes_its_own_family_only() {
    in_namespace(NO_GROUP, || {
        let mut echo = raw(Version::V4);
        assert!(!echo.queue(0, Ipv6Addr::LOCALHOST.into(), 0));
        for n in 0..ECHO_QUEUE_MAX as u64 {
            assert!(echo.queue(n, HOST.into(), 0));
        }
        assert!(!echo.queue(0, HOST.into(), 0));
        assert_eq!((echo.queued(), echo.counters().refused), (ECHO_QUEUE_MAX, 1));
    });
}

#[test]
fn datagram_sockets_are_preferred_and_get_their_replies() {
    in_namespace(EVERY_GROUP, || {
        for (family, to) in
            [(Version::V4, IpAddr::V4(OTHER)), (Version::V6, Ipv6Addr::LOCALHOST.into())]
        {
            let mut echo = datagram(family);
            for n in 0..100 {
                assert!(echo.queue(n, to, 0));
            }
            let mut events = exchange(&mut echo, 100);
            events.sort_unstable_by_key(token);
            for (n, event) in (0..).zip(&events) {
                let EchoEvent::Reply { token, from, .. } = *event else { panic!("{event:?}") };
                assert_eq!((token, from), (n, to));
            }
            assert_eq!(echo.counters().replies, 100);
        }
    });
}

#[test]
fn icmp_error_reaches_a_datagram_socket_and_fails_no_other_request() {
    in_namespace(EVERY_GROUP, || {
        let mut echo = datagram(Version::V4);
        let target = Ipv4Addr::new(127, 0, 0, 5);
        round_trip(&mut echo, 40, target.into());
        forge(OTHER.into(), &host_unreachable(target, echo.id, 0, &[]));
        // The error is pending on the socket when the next request goes out.
        let events = round_trip(&mut echo, 41, HOST.into());
        let told = EchoEvent::Unreachable {
            token: 40,
            reason: Reason::Unreachable,
            code: 1,
            from: OTHER.into(),
        };
        assert_eq!(events, [told]);
        assert_eq!(echo.counters().send_failed, 0);
    });
}

#[test]
fn request_without_a_route_is_refused_on_a_datagram_socket() {
    in_namespace(EVERY_GROUP, || {
        let mut echo = datagram(Version::V4);
        assert!(echo.queue(1, Ipv4Addr::new(192, 0, 2, 1).into(), 0));
        let mut events = Vec::new();
        echo.flush(&mut events);
        assert_eq!(events, [EchoEvent::SendFailed { token: 1, errno: Errno::ENETUNREACH }]);
    });
}

//! ICMP as sockets deliver it: replies, errors of routers old and new, damage and noise.

use std::net::IpAddr;

use probes::Nanos;
use probes::icmp::wire::{parse, quoted_echo, write_echo};
use probes::icmp::{
    Cookie, Delivery, ECHO_BYTES, Message, PAYLOAD_BYTES, Quoted, Reason, Reply, Undelivered,
    Version,
};
use proptest::prelude::*;

const PAYLOAD: [u8; PAYLOAD_BYTES] = [b'p'; PAYLOAD_BYTES];
const ID: u16 = 0x1234;
const SEQ: u16 = 0x5678;

fn echo(version: Version) -> [u8; ECHO_BYTES] {
    let mut out = [0; ECHO_BYTES];
    write_echo(version, ID, SEQ, &PAYLOAD, &mut out);
    out
}

/// The same message with another type and its IPv4 checksum set anew.
fn sealed(mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let words = message
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

fn reply_v4() -> Vec<u8> {
    let mut message = echo(Version::V4).to_vec();
    message[0] = 0;
    sealed(message)
}

fn ipv4(options: usize, content: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let length = ((header + content.len()) as u16).to_be_bytes();
    let mut packet = vec![0x40 | (header / 4) as u8, 0, length[0], length[1], 0, 0, 0x40, 0];
    packet.extend([57, 1, 0, 0, 198, 51, 100, 1, 192, 0, 2, 7]);
    packet.resize(header, 1);
    packet.extend(content);
    packet
}

fn ipv6(content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, content.len() as u8, 58, 57];
    packet.extend([0xaa; 16]);
    packet.extend(target_v6().to_vec());
    packet.extend(content);
    packet
}

fn target_v6() -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    octets[15] = 7;
    octets
}

fn error_v4(kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    sealed([&[kind, code, 0, 0, 0, 0, 0, 0], quote].concat())
}

fn error_v6(kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 0, 0, 0], quote].concat()
}

fn reply(ttl: Option<u8>) -> Option<Message<'static>> {
    Some(Message::Reply(Reply { id: ID, seq: SEQ, payload: &PAYLOAD, ttl }))
}

fn undelivered(reason: Reason, code: u8, to: impl Into<IpAddr>, quoted: usize) -> Message<'static> {
    let echo = Quoted { id: ID, seq: SEQ, payload: &PAYLOAD[..quoted] };
    Message::Undelivered(Undelivered { reason, code, to: to.into(), echo })
}

#[test]
fn a_reply_is_read_from_every_kind_of_socket() {
    assert_eq!(parse(Delivery::DatagramV4, &reply_v4()), reply(None));
    for options in [0, 4, 40] {
        assert_eq!(parse(Delivery::RawV4, &ipv4(options, &reply_v4())), reply(Some(57)));
    }
    let mut v6 = echo(Version::V6);
    v6[0] = 129;
    assert_eq!(parse(Delivery::V6, &v6), reply(None));
}

#[test]
fn our_own_request_and_other_traffic_are_no_message() {
    assert_eq!(parse(Delivery::DatagramV4, &echo(Version::V4)), None);
    assert_eq!(parse(Delivery::V6, &echo(Version::V6)), None);
    let mut redirect = reply_v4();
    redirect[0] = 5;
    assert_eq!(parse(Delivery::DatagramV4, &sealed(redirect)), None);
    let mut udp = ipv4(0, &reply_v4());
    udp[9] = 17;
    assert_eq!(parse(Delivery::RawV4, &udp), None);
    let mut fragment = ipv4(0, &reply_v4());
    fragment[7] = 1;
    assert_eq!(parse(Delivery::RawV4, &fragment), None);
}

#[test]
fn a_reply_with_a_wrong_checksum_is_dropped() {
    let whole = reply_v4();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(parse(Delivery::DatagramV4, &damaged), None, "bit {bit}");
    }
}

#[test]
fn an_error_gives_the_request_that_it_quotes() {
    for (kind, reason) in [(3, Reason::Unreachable), (11, Reason::TimeExceeded)] {
        let error = error_v4(kind, 1, &ipv4(0, &echo(Version::V4)));
        let expected = Some(undelivered(reason, 1, [192, 0, 2, 7], 56));
        assert_eq!(parse(Delivery::DatagramV4, &error), expected);
        assert_eq!(parse(Delivery::RawV4, &ipv4(4, &error)), expected);
    }
    for (kind, reason) in [(1, Reason::Unreachable), (3, Reason::TimeExceeded)] {
        let error = error_v6(kind, 3, &ipv6(&echo(Version::V6)));
        assert_eq!(parse(Delivery::V6, &error), Some(undelivered(reason, 3, target_v6(), 56)));
    }
}

#[test]
fn a_router_that_quotes_eight_bytes_still_gives_the_numbers() {
    for quoted in [0, 1, 55] {
        let quote = ipv4(8, &echo(Version::V4)[..8 + quoted]);
        let expected = undelivered(Reason::Unreachable, 0, [192, 0, 2, 7], quoted);
        assert_eq!(parse(Delivery::DatagramV4, &error_v4(3, 0, &quote)), Some(expected));
    }
    let short = error_v4(3, 0, &ipv4(0, &echo(Version::V4)[..7]));
    assert_eq!(parse(Delivery::DatagramV4, &short), None);
}

#[test]
fn padding_and_extensions_behind_the_quote_are_left_out() {
    let mut quote = ipv4(0, &echo(Version::V4));
    quote.resize(128, 0);
    quote.extend([0x20, 0, 0xff, 0xff, 0, 8, 1, 1, 0, 1, 0x81, 0xff]);
    let expected = undelivered(Reason::TimeExceeded, 0, [192, 0, 2, 7], 56);
    assert_eq!(parse(Delivery::DatagramV4, &error_v4(11, 0, &quote)), Some(expected));
}

#[test]
fn an_error_about_somebody_elses_packet_is_no_message() {
    let mut tcp = ipv4(0, &echo(Version::V4));
    tcp[9] = 6;
    assert_eq!(parse(Delivery::DatagramV4, &error_v4(3, 0, &tcp)), None);
    let about_reply = error_v4(3, 0, &ipv4(0, &reply_v4()));
    assert_eq!(parse(Delivery::DatagramV4, &about_reply), None);
    let mut udp = ipv6(&echo(Version::V6));
    udp[6] = 17;
    assert_eq!(parse(Delivery::V6, &error_v6(1, 0, &udp)), None);
}

#[test]
fn the_error_queue_gives_the_request_without_its_ip_header() {
    for version in [Version::V4, Version::V6] {
        let echo = echo(version);
        let expected = Quoted { id: ID, seq: SEQ, payload: &PAYLOAD };
        assert_eq!(quoted_echo(version, &echo), Some(expected));
        assert_eq!(quoted_echo(version, &echo[..7]), None);
    }
    assert_eq!(quoted_echo(Version::V6, &echo(Version::V4)), None);
}

#[test]
fn a_signed_request_is_recognised_in_its_reply_and_in_an_error() {
    let cookie = Cookie::new();
    let to = IpAddr::from([192, 0, 2, 7]);
    let mut request = [0; ECHO_BYTES];
    write_echo(Version::of(to), ID, SEQ, &cookie.sign(42, Nanos(9), to, SEQ), &mut request);
    let mut answer = request.to_vec();
    answer[0] = 0;
    let answer = sealed(answer);
    let error = error_v4(3, 1, &ipv4(0, &request));
    let Some(Message::Reply(reply)) = parse(Delivery::DatagramV4, &answer) else {
        panic!("no reply");
    };
    assert_eq!(cookie.open(reply.payload, reply.seq, to), Some((42, Nanos(9))));
    let Some(Message::Undelivered(error)) = parse(Delivery::DatagramV4, &error) else {
        panic!("no error");
    };
    assert_eq!(cookie.open(error.echo.payload, error.echo.seq, error.to), Some((42, Nanos(9))));
}

fn valid() -> Vec<(Delivery, Vec<u8>)> {
    let error = error_v4(3, 1, &ipv4(0, &echo(Version::V4)));
    let mut v6 = echo(Version::V6).to_vec();
    v6[0] = 129;
    vec![
        (Delivery::DatagramV4, reply_v4()),
        (Delivery::RawV4, ipv4(40, &reply_v4())),
        (Delivery::DatagramV4, error.clone()),
        (Delivery::RawV4, ipv4(0, &error)),
        (Delivery::V6, v6),
        (Delivery::V6, error_v6(1, 4, &ipv6(&echo(Version::V6)))),
    ]
}

#[test]
fn a_datagram_cut_anywhere_is_read_safely_and_one_of_ipv4_is_dropped() {
    for (delivery, whole) in valid() {
        assert!(parse(delivery, &whole).is_some());
        for len in 0..whole.len() {
            let cut = parse(delivery, &whole[..len]);
            assert!(cut.is_none() || delivery == Delivery::V6, "{delivery:?} cut to {len}");
        }
    }
}

proptest! {
    #[test]
    fn noise_is_read_safely(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for delivery in [Delivery::DatagramV4, Delivery::RawV4, Delivery::V6] {
            let _ = parse(delivery, &bytes);
        }
        let sealed = if bytes.len() < 4 { bytes } else { sealed(bytes) };
        if let Some(Message::Undelivered(found)) = parse(Delivery::DatagramV4, &sealed) {
            prop_assert!(found.echo.payload.len() <= PAYLOAD_BYTES);
        }
    }

    #[test]
    fn a_damaged_datagram_never_opens_for_another_token(
        which in 0..6usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let cookie = Cookie::new();
        let (delivery, mut bytes) = valid().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let opened = match parse(delivery, &bytes) {
            Some(Message::Reply(reply)) => {
                cookie.open(reply.payload, reply.seq, IpAddr::from([192, 0, 2, 7]))
            }
            Some(Message::Undelivered(error)) => {
                cookie.open(error.echo.payload, error.echo.seq, error.to)
            }
            None => None,
        };
        prop_assert_eq!(opened, None);
    }
}

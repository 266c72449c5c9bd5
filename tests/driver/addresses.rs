//! Names with several addresses: all get their turn, in order, within one deadline.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use engine::farm::{Behaviour, Farm};
use engine::net::trust::Trust;
use engine::sample::CheckResult::{Down, Up};
use probes::spec::HttpOptions;
use probes::{Failure, Phase};
use socket2::{Domain, Socket, Type};

use crate::bench::{Bench, tcp, web};
use crate::name_server::name_server;

const LONG_MS: u32 = 20_000;

/// A port of 127.0.0.1 that is open and that other addresses of this host do not have.
fn open_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// An address whose backlog is full: no answer to a SYN.
fn black_hole(at: &str) -> Vec<Socket> {
    let address: SocketAddr = at.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    filler.connect(&address.into()).unwrap();
    vec![socket, filler]
}

#[test]
fn a_refused_address_gives_way_to_the_next_and_the_one_that_answered_is_named() {
    let (_open, port) = open_port();
    let server = name_server(&[("two.test", &["127.0.0.9", "127.0.0.8", "127.0.0.1"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let attempt = bench.check(&tcp(&format!("two.test:{port}"), false), LONG_MS);
    assert_eq!(attempt.result, Up);
    assert_eq!(attempt.address, Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn a_silent_address_takes_its_share_of_the_time_and_no_more() {
    let (_open, port) = open_port();
    let _hole = black_hole(&format!("127.0.0.7:{port}"));
    let server = name_server(&[("two.test", &["127.0.0.7", "127.0.0.1"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let attempt = bench.check(&tcp(&format!("two.test:{port}"), false), 2_000);
    assert_eq!(attempt.result, Up);
    assert_eq!(attempt.address, Some("127.0.0.1".parse().unwrap()));
    // The time of the address that was given up counts as connecting.
    assert!(attempt.outcome.timings.get(Phase::Connect) >= Some(900_000));
}

#[test]
fn silent_addresses_only_are_a_timeout_at_the_whole_deadline() {
    let (_open, port) = open_port();
    let _holes = ["127.0.0.7", "127.0.0.6"].map(|ip| black_hole(&format!("{ip}:{port}")));
    let server = name_server(&[("two.test", &["127.0.0.7", "127.0.0.6"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let attempt = bench.check(&tcp(&format!("two.test:{port}"), false), 2_000);
    assert_eq!(attempt.result, Down(Failure::TimedOut));
    assert_eq!(attempt.address, Some("127.0.0.6".parse().unwrap()));
    assert_eq!(attempt.outcome.phase, Some(Phase::Connect));
    assert!(attempt.total_us >= 2_000_000, "{}", attempt.total_us);
}

#[test]
fn an_address_that_connects_in_its_share_keeps_the_whole_deadline_for_the_answer() {
    let slow = Behaviour::Slow { delay_ms: 1_500 };
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[slow]).unwrap();
    let port = farm.addresses()[0].1.port();
    let server = name_server(&[("two.test", &["127.0.0.1", "127.0.0.9"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    // Its share of the connect is over before the answer comes.
    let spec = web(&format!("http://two.test:{port}/"), HttpOptions::default());
    let attempt = bench.check(&spec, 2_500);
    assert_eq!(attempt.result, Up);
    assert_eq!(attempt.address, Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn a_port_is_closed_where_no_address_has_it_open() {
    let (_open, port) = open_port();
    let server = name_server(&[
        ("one.test", &["127.0.0.9", "127.0.0.1"]),
        ("none.test", &["127.0.0.9", "127.0.0.8"]),
    ]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let mut closed =
        |name: &str| bench.check(&tcp(&format!("{name}:{port}"), true), LONG_MS).result;
    assert_eq!(closed("one.test"), Down(Failure::PortOpen));
    assert_eq!(closed("none.test"), Up);
}

#[test]
fn every_address_refused_is_refused_by_the_last_one() {
    let (_open, port) = open_port();
    let server = name_server(&[("none.test", &["127.0.0.9", "127.0.0.8"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let attempt = bench.check(&tcp(&format!("none.test:{port}"), false), LONG_MS);
    assert_eq!(attempt.result, Down(Failure::Refused));
    assert_eq!(attempt.address, Some("127.0.0.8".parse().unwrap()));
}

//! Connections and sessions that are kept: what is saved, and that a target which closed one
//! meanwhile is not down for it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::attempt::Attempt;
use engine::clock::Clock;
use engine::farm::wide::{Play, WideFarm};
use engine::net::driver::Driver;
use engine::net::resolve::{Hosts, ResolverConfig};
use engine::net::trust::Trust;
use engine::sample::CheckResult;
use probes::outcome::Failure;
use probes::spec::{HttpOptions, TlsOptions};
use probes::{Phase, ProbeSpec};

use crate::bench::{Bench, web};

/// Long enough for any answer on this host; only a bug waits for it.
const LONG_MS: u32 = 20_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a target does with a connection.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// Answers whatever is asked.
    Keeps,
    /// Closes after the first answer.
    ClosesAfterOne,
    /// Closes when it is asked again.
    ClosesAtTheSecond,
    /// Says after the first answer that it has waited long enough, as some do before they close.
    SaysTimeout,
}

/// A target on a thread, and the connections that it has taken.
struct Target {
    address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Target {
    fn new(manners: Manners) -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || serve(stream.unwrap(), manners));
            }
        });
        Target { address, taken }
    }

    fn spec(&self) -> ProbeSpec {
        let options = HttpOptions { keep_alive: true, ..HttpOptions::default() };
        web(&format!("http://{}/", self.address), options)
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Answers requests, which are small and come whole. A client that leaves ends it.
fn serve(mut stream: TcpStream, manners: Manners) {
    let mut buffer = [0; 4_096];
    for number in 0.. {
        if !matches!(stream.read(&mut buffer), Ok(1..)) {
            return;
        }
        if number > 0 && manners == Manners::ClosesAtTheSecond {
            return;
        }
        let _ = stream.write_all(ANSWER);
        match manners {
            Manners::ClosesAfterOne => return,
            Manners::SaysTimeout => {
                let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
                return;
            }
            Manners::Keeps | Manners::ClosesAtTheSecond => {}
        }
    }
}

fn bench(trust: Trust) -> Bench {
    Bench::new(Vec::new(), trust)
}

fn counter(bench: &Bench, name: &str) -> u64 {
    let counters = bench.driver.counters();
    counters.iter().find(|(found, _)| *found == name).map(|(_, count)| *count).unwrap()
}

fn is_over_a_new_connection(attempt: &Attempt) -> bool {
    assert_eq!(attempt.result, CheckResult::Up, "{attempt:?}");
    assert!(attempt.outcome.timings.get(Phase::Wait).is_some());
    attempt.outcome.timings.get(Phase::Connect).is_some()
}

#[test]
fn a_kept_connection_carries_check_after_check_and_only_the_first_one_connects() {
    let target = Target::new(Manners::Keeps);
    let mut bench = bench(Trust::default());
    let found: Vec<_> = (0..5).map(|_| bench.check(&target.spec(), LONG_MS)).collect();
    let connects: Vec<_> = found.iter().map(is_over_a_new_connection).collect();
    assert_eq!(connects, [true, false, false, false, false]);
    assert_eq!((target.taken(), counter(&bench, "connections_reused")), (1, 4));
    // Two at once need two.
    let both = [(target.spec(), LONG_MS), (target.spec(), LONG_MS)];
    assert!(bench.check_all(&both).iter().all(|one| one.result == CheckResult::Up));
    assert_eq!(target.taken(), 2);
}

#[test]
fn without_being_asked_no_connection_is_kept() {
    let target = Target::new(Manners::Keeps);
    let mut bench = bench(Trust::default());
    let spec = web(&format!("http://{}/", target.address), HttpOptions::default());
    for _ in 0..3 {
        assert!(is_over_a_new_connection(&bench.check(&spec, LONG_MS)));
    }
    assert_eq!(target.taken(), 3);
}

#[test]
fn a_connection_that_the_target_gave_up_is_replaced_and_never_a_failure() {
    for manners in [Manners::ClosesAfterOne, Manners::ClosesAtTheSecond, Manners::SaysTimeout] {
        let target = Target::new(manners);
        let mut bench = bench(Trust::default());
        for _ in 0..4 {
            assert!(is_over_a_new_connection(&bench.check(&target.spec(), LONG_MS)));
        }
        assert_eq!(target.taken(), 4);
    }
}

#[test]
fn a_target_that_is_gone_is_down_though_its_connection_was_kept() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]).unwrap();
        stream.write_all(ANSWER).unwrap();
    });
    let mut bench = bench(Trust::default());
    let options = HttpOptions { keep_alive: true, ..HttpOptions::default() };
    let spec = web(&url, options);
    assert_eq!(bench.check(&spec, LONG_MS).result, CheckResult::Up);
    server.join().unwrap();
    assert_eq!(bench.check(&spec, LONG_MS).result, CheckResult::Down(Failure::Refused));
}

#[test]
fn kept_connections_make_room_for_probes() {
    let targets: Vec<_> = (0..3).map(|_| Target::new(Manners::Keeps)).collect();
    let hosts = Arc::new(Hosts::default());
    let config = ResolverConfig { servers: vec![], try_ms: 1, rounds: 1, rotate: false, hosts };
    let driver = Driver::new(Clock::start(), Trust::default(), config, 2).unwrap();
    let mut bench = Bench { driver };
    for target in &targets {
        assert!(is_over_a_new_connection(&bench.check(&target.spec(), LONG_MS)));
    }
    assert!(counter(&bench, "connections_evicted") > 0);
    assert!(!is_over_a_new_connection(&bench.check(&targets[2].spec(), LONG_MS)));
}

#[test]
fn a_tls_session_is_kept_for_monitors_that_ask_for_it_and_only_for_their_like() {
    let farm = WideFarm::open().unwrap();
    let places = farm.places().clone();
    let (orders, end) = nix::unistd::pipe().unwrap();
    let serving = std::thread::spawn(move || farm.serve(File::from(orders)));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &places.ca_pem).unwrap();
    let trust = Trust::default();
    let tls = TlsOptions {
        ca_file: Some(ca_file.to_str().unwrap().into()),
        server_name: Some("localhost".into()),
        resume: true,
        ..TlsOptions::default()
    };
    trust.load(&tls).unwrap();
    let mut bench = bench(trust);
    let url = format!("https://127.0.0.1:{}/", places.port(Play::TlsResumed));
    let spec =
        |tls: &TlsOptions| web(&url, HttpOptions { tls: tls.clone(), ..HttpOptions::default() });
    for _ in 0..3 {
        let found = bench.check(&spec(&tls), LONG_MS);
        assert!(is_over_a_new_connection(&found));
        assert!(found.outcome.cert.unwrap().problem.is_none());
    }
    assert_eq!(counter(&bench, "tls_sessions_offered"), 2);
    let unverified = TlsOptions { verify: false, ..tls.clone() };
    let full = TlsOptions { resume: false, ..tls };
    for other in [unverified, full] {
        assert!(is_over_a_new_connection(&bench.check(&spec(&other), LONG_MS)));
    }
    assert_eq!(counter(&bench, "tls_sessions_offered"), 2);
    assert_eq!(counter(&bench, "exchanges_begun_anew"), 0);
    drop(end);
    serving.join().unwrap().unwrap();
}

//! What the driver does with the descriptors of its process, in a process of its own: the tests
//! here count and limit them, one test at a time.

#[path = "driver/bench.rs"]
mod bench;
#[path = "driver/name_server.rs"]
mod name_server;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use engine::farm::{Behaviour as B, Certificate as C, Farm};
use engine::fault::Fault;
use engine::net::trust::Trust;
use engine::sample::CheckResult::{Down, Unknown, Up};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use probes::spec::{HttpOptions, TlsOptions};
use probes::{Failure, ProbeSpec};

use bench::{Bench, echo, handshake, tcp, web};
use name_server::name_server;

static ALONE: Mutex<()> = Mutex::new(());

const CHECKS: usize = 100_000;
/// Fast targets: long enough for any answer.
const LONG_MS: u32 = 30_000;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for the farm's side of connections, which closes in its own time.
fn settle(wanted: usize) {
    for _ in 0..2_000 {
        if descriptors() <= wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every outcome there is, the quick ones more often than the slow ones.
fn mixture(farm: &Farm, tls: &TlsOptions) -> Vec<(ProbeSpec, u32)> {
    let port = |behaviour| farm.address(behaviour).unwrap();
    let options = || HttpOptions { tls: tls.clone(), redirects_max: 2, ..HttpOptions::default() };
    let http = |behaviour| (web(&format!("http://{}/", port(behaviour)), options()), LONG_MS);
    let https = |behaviour| (web(&format!("https://{}/", port(behaviour)), options()), LONG_MS);
    let connect = |behaviour, closed| (tcp(&port(behaviour).to_string(), closed), LONG_MS);
    let named = |name: &str| (tcp(&format!("{name}:{}", port(B::TcpOpen).port()), false), LONG_MS);
    let quick = [
        connect(B::TcpOpen, false),
        connect(B::TcpOpen, true),
        connect(B::Closed, false),
        connect(B::Closed, true),
        connect(B::ResetAtAccept, false),
        (echo("127.0.0.1"), LONG_MS),
        (echo("::1"), LONG_MS),
        named("good.test"),
        named("two.test"),
        named("absent.test"),
        named("empty.test"),
        named("broken.test"),
    ];
    let web = [
        http(B::Good),
        http(B::Status(503)),
        http(B::RedirectLoop),
        http(B::Half),
        http(B::ResetMidBody),
        http(B::ResetAtAccept),
        http(B::SshBanner),
        http(B::TcpOpen),
        http(B::Closed),
    ];
    let costly = [
        https(B::Tls(C::Good)),
        https(B::Tls(C::SelfSigned)),
        https(B::SshBanner),
        (handshake(port(B::Tls(C::Expired)), tls.clone()), LONG_MS),
    ];
    let (silent, _) = http(B::Silent);
    let (tarpit, _) = http(B::Tarpit);
    let (hole, _) = connect(B::BlackHole, false);
    let slow = [(silent, 60), (tarpit, 40), (hole, 50)];
    let mut all = costly.to_vec();
    for _ in 0..3 {
        (0..4).for_each(|_| all.extend_from_slice(&quick));
        all.extend_from_slice(&web);
        all.extend_from_slice(&slow);
    }
    all
}

const BEHAVIOURS: &[B] = &[
    B::Good,
    B::Status(503),
    B::RedirectLoop,
    B::Half,
    B::ResetMidBody,
    B::ResetAtAccept,
    B::SshBanner,
    B::TcpOpen,
    B::Closed,
    B::Tls(C::Good),
    B::Tls(C::SelfSigned),
    B::Tls(C::Expired),
    B::Silent,
    B::Tarpit,
    B::BlackHole,
];

#[test]
fn a_hundred_thousand_checks_of_every_outcome_leave_nothing_behind() {
    let _alone = ALONE.lock();
    let names = [("good.test", &["127.0.0.1"][..]), ("two.test", &["127.0.0.9", "127.0.0.1"])];
    let server = name_server(&names);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let trust = Trust::default();
    let mut bench = Bench::new(vec![server], trust.clone());
    // What is opened once and stays: the farm's runtime has a pair of sockets for signals.
    drop(Farm::start(Ipv4Addr::LOCALHOST.into(), &[]).unwrap());
    let pings = [(echo("127.0.0.1"), LONG_MS), (echo("::1"), LONG_MS)];
    assert!(bench.check_all(&pings).iter().all(|attempt| attempt.result == Up));
    let before = descriptors();

    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), BEHAVIOURS).unwrap();
    std::fs::write(&path, farm.ca_pem()).unwrap();
    let ca_file = Some(path.to_str().unwrap().into());
    let tls = TlsOptions { ca_file, ..TlsOptions::default() };
    trust.load(&tls).unwrap();
    let mixture = mixture(&farm, &tls);

    let mut launched = 0;
    let mut results = std::collections::HashMap::new();
    while launched < CHECKS || bench.driver.in_flight() > 0 {
        while launched < CHECKS && bench.driver.in_flight() < 512 {
            let (spec, timeout_ms) = &mixture[launched % mixture.len()];
            bench.launch(launched, spec, *timeout_ms);
            launched += 1;
        }
        bench.driver.turn(None).unwrap();
        for (_, attempt) in bench.driver.finished().drain(..) {
            *results.entry(attempt.result).or_insert(0) += 1;
        }
    }
    assert_eq!(results.values().sum::<usize>(), CHECKS);
    assert!(bench.driver.is_idle());
    for expected in [
        Up,
        Down(Failure::Refused),
        Down(Failure::PortOpen),
        Down(Failure::HttpStatus),
        Down(Failure::RedirectLimit),
        Down(Failure::Closed),
        Down(Failure::Reset),
        Down(Failure::HttpMalformed),
        Down(Failure::TlsProtocol),
        Down(Failure::CertUntrusted),
        Down(Failure::CertExpired),
        Down(Failure::NameNotFound),
        Down(Failure::NameNoAddress),
        Unknown(Fault::Resolver),
    ] {
        assert!(results.contains_key(&expected), "{expected:?} is missing in {results:?}");
    }
    let counters = bench.driver.counters();
    let counter = |name| counters.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
    assert_eq!(counter("probe_panics"), Some(0));
    // A name is asked for once while its answer holds, however many checks want it.
    assert!(counter("resolve_queries").unwrap() < counter("resolve_lookups").unwrap() / 100);
    drop(farm);
    settle(before);
    assert_eq!(descriptors(), before);
}

#[test]
fn descriptors_that_ran_out_are_ours_and_the_next_check_is_good_again() {
    let _alone = ALONE.lock();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open: SocketAddr = listener.local_addr().unwrap();
    let server = name_server(&[("good.test", &["127.0.0.1"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let to_name = tcp(&format!("good.test:{}", open.port()), false);
    let probes =
        [(tcp(&open.to_string(), false), LONG_MS), (to_name, LONG_MS), (echo("::1"), LONG_MS)];

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    let found = bench.check_all(&probes);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for (attempt, (spec, _)) in found.iter().zip(&probes) {
        assert_eq!(attempt.result, Unknown(Fault::Descriptors), "{spec:?}");
    }
    // A lookup that failed here is not made again for some seconds: the name comes last.
    assert_eq!(bench.check(&probes[0].0, LONG_MS).result, Up);
    assert_eq!(bench.check(&probes[2].0, LONG_MS).result, Up);
}

//! What can only be tested from inside: a probe with a bug among good ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use probes::ProbeSpec;
use probes::spec::{Family, Host, TcpSpec};

use super::*;
use crate::ids::{Slot, Tick};
use crate::monitor::{Kind, Preset, Timing};
use crate::net::resolve::Hosts;
use crate::net::stream::panicking::Panicking;
use crate::net::stream::{AnyMachine, Stream};
use crate::sample::CheckResult;

fn driver() -> Driver {
    let hosts = Arc::new(Hosts::default());
    let config = ResolverConfig { servers: vec![], try_ms: 1, rounds: 1, rotate: false, hosts };
    Driver::new(Clock::start(), Trust::default(), config, 16).unwrap()
}

fn at(slot: u32) -> SlotRef {
    SlotRef { slot: Slot(slot), generation: 0 }
}

fn monitor(to: SocketAddr) -> Monitor {
    let host = Host::ip(to.ip());
    let tcp = TcpSpec { host, port: to.port(), family: Family::Any, expect_closed: false };
    let timing = Timing {
        interval_ms: 60_000,
        timeout_ms: 20_000,
        retry_delay_ms: 0,
        retries: 0,
        confirm_ms: 0,
        fall: 1,
        rise: 1,
    };
    Monitor {
        id: MonitorId(7),
        kind: Kind::Tcp,
        preset: Preset::Standard,
        paused: false,
        guarded: false,
        timing,
        spec: Arc::new(ProbeSpec::Tcp(tcp)),
    }
}

/// Puts a connection with a broken machine on the wire.
fn launch_panicking(driver: &mut Driver, slot: u32, to: SocketAddr) -> u32 {
    let now = driver.clock.now();
    let place = driver.flights.insert(Flight::new(at(slot), &monitor(to), now));
    let stream = Stream::connect(to, AnyMachine::Panicking(Panicking), now).unwrap();
    driver.flights.get(place).unwrap().stage = Stage::Streaming { stream, armed: None };
    place
}

fn all(driver: &mut Driver, count: usize) -> Vec<(u32, CheckResult)> {
    let mut results = Vec::new();
    while results.len() < count {
        driver.turn(None).unwrap();
        let news = driver.finished().drain(..);
        results.extend(news.map(|(at, attempt)| (at.slot.0, attempt.result)));
    }
    results.sort_unstable_by_key(|(slot, _)| *slot);
    results
}

#[test]
fn a_panic_in_a_probe_is_its_own_unknown_and_the_others_go_on() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let mut driver = driver();
    for slot in [0, 2] {
        driver.launch(at(slot), &monitor(open));
    }
    let place = launch_panicking(&mut driver, 1, open);
    driver.advance(place);
    assert_eq!(
        all(&mut driver, 3),
        [(0, CheckResult::Up), (1, CheckResult::Unknown(Fault::Panic)), (2, CheckResult::Up),]
    );
    assert!(driver.counters().contains(&("probe_panics", 1)));
    assert!(driver.is_idle());

    driver.launch(at(3), &monitor(open));
    assert_eq!(all(&mut driver, 1), [(3, CheckResult::Up)]);
}

#[test]
fn a_panic_at_the_deadline_is_contained_too_and_says_what_it_said() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut driver = driver();
    let place = launch_panicking(&mut driver, 5, listener.local_addr().unwrap());
    // As at the deadline, before the connect was seen.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let Some(Flight { stage: Stage::Streaming { stream, .. }, .. }) = driver.flights.get(place)
        else {
            unreachable!("it was put there")
        };
        stream.time_out(Nanos(0))
    }));
    driver.on_progress(place, ended);
    let (slot, attempt) = driver.finished().pop().unwrap();
    assert_eq!(slot, at(5));
    assert_eq!(attempt.result, CheckResult::Unknown(Fault::Panic));
    let text = attempt.outcome.detail.unwrap().text;
    assert_eq!(text, "the probe panicked: a bug at the end");
    assert!(driver.is_idle());
}

#[test]
fn an_attempt_that_is_forgotten_leaves_nothing_and_the_others_go_on() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let open = listener.local_addr().unwrap();
    let mut driver = driver();
    let place = launch_panicking(&mut driver, 1, open);
    driver.deadlines.arm(place, Tick(u64::MAX / 2));
    driver.arm(place, Interest::Read);
    let kept = launch_panicking(&mut driver, 3, open);
    driver.forget(&HashSet::from([at(1), at(9)]));
    assert_eq!(driver.in_flight(), 1);
    assert!(driver.flights.get(kept).is_some());
    driver.forget(&HashSet::from([at(3)]));
    driver.launch(at(2), &monitor(open));
    assert_eq!(all(&mut driver, 1), [(2, CheckResult::Up)]);
    assert!(driver.is_idle());
}

//! Ends that we decide: deadlines, stalls of our own, cancellation.

use std::net::Ipv4Addr;
use std::time::Duration;

use engine::clock::Clock;
use engine::farm::{Behaviour as B, Farm};
use engine::fault::Fault;
use engine::limits::LATE_MS_MAX;
use engine::net::trust::Trust;
use engine::sample::CheckResult::{Down, Unknown, Up};
use probes::Failure;
use probes::spec::HttpOptions;

use crate::bench::{Bench, echo, tcp, web};
use crate::name_server::name_server;

#[test]
fn no_slow_target_ends_before_its_deadline() {
    let behaviours = [B::Silent, B::Tarpit, B::BlackHole];
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &behaviours).unwrap();
    let mut bench = Bench::new(vec![], Trust::default());
    let mut probes = Vec::new();
    for behaviour in behaviours {
        let url = format!("http://{}/", farm.address(behaviour).unwrap());
        for timeout_ms in [10, 99, 250] {
            probes.push((web(&url, HttpOptions::default()), timeout_ms));
        }
    }
    let found = bench.check_all(&probes);
    for (attempt, (spec, timeout_ms)) in found.iter().zip(&probes) {
        assert_eq!(attempt.result, Down(Failure::TimedOut), "{spec:?}");
        assert!(attempt.total_us >= timeout_ms * 1_000, "{} {timeout_ms}", attempt.total_us);
    }
}

#[test]
fn a_stall_makes_a_timeout_late_and_an_answer_that_came_meanwhile_is_an_answer() {
    let slow = B::Slow { delay_ms: 300 };
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Silent, slow]).unwrap();
    let mut bench = Bench::new(vec![], Trust::default());
    // So long that the three turns below cannot take it without being a stall themselves.
    let timeout_ms = 4 * LATE_MS_MAX as u32;
    for (slot, behaviour) in [B::Silent, slow].into_iter().enumerate() {
        let url = format!("http://{}/", farm.address(behaviour).unwrap());
        bench.launch(slot, &web(&url, HttpOptions::default()), timeout_ms);
    }
    bench.launch(2, &tcp("127.0.0.1:1", false), timeout_ms);
    let clock = Clock::start();
    for _ in 0..3 {
        bench.driver.turn(Some(clock.now().plus_millis(1))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(u64::from(timeout_ms) + LATE_MS_MAX));
    let mut ended = bench.wait(3);
    ended.sort_unstable_by_key(|(slot, _)| *slot);
    let results: Vec<_> = ended.iter().map(|(_, attempt)| attempt.result).collect();
    assert_eq!(results, [Unknown(Fault::Late), Up, Down(Failure::Refused)]);
    assert!(bench.driver.stalls() >= 1);

    // What begins after the stall is believed again.
    let url = format!("http://{}/", farm.address(B::Silent).unwrap());
    let attempt = bench.check(&web(&url, HttpOptions::default()), 50);
    assert_eq!(attempt.result, Down(Failure::TimedOut));
}

#[test]
fn cancelled_probes_are_unknown_and_leave_nothing_behind_wherever_they_are() {
    let behaviours = [B::Silent, B::BlackHole, B::Tarpit];
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &behaviours).unwrap();
    let server = name_server(&[]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let mut slot = 0;
    let mut probes = vec![tcp("silent.test:1", false), tcp("silent.test:2", false)];
    // An echo that is queued and never sent: no turn is made after it.
    probes.push(echo("127.0.0.1"));
    for behaviour in behaviours {
        let url = format!("http://{}/", farm.address(behaviour).unwrap());
        probes.push(web(&url, HttpOptions::default()));
    }
    for spec in probes.iter().filter(|spec| !matches!(spec, probes::ProbeSpec::Icmp(_))) {
        bench.launch(slot, spec, 60_000);
        slot += 1;
    }
    let clock = Clock::start();
    for _ in 0..3 {
        bench.driver.turn(Some(clock.now().plus_millis(1))).unwrap();
    }
    bench.launch(slot, &probes[2], 60_000);
    assert_eq!(bench.driver.in_flight(), probes.len());
    bench.driver.cancel_all();
    assert_eq!(bench.driver.in_flight(), 0);
    for (_, attempt) in bench.wait(probes.len()) {
        assert_eq!(attempt.result, Unknown(Fault::Cancelled));
    }
    assert!(bench.driver.is_idle());
    // The reply to the cancelled echo, if it comes, disturbs nobody.
    assert_eq!(bench.check(&echo("127.0.0.1"), 20_000).result, Up);
}

//! How an engine stops: in order, at once, and what is recorded then.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use engine::farm::{Behaviour, Farm};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Engine, eventually, results};

const SLOW: Behaviour = Behaviour::Slow { delay_ms: 2_000 };

/// One web monitor whose checks take long.
fn slow_config(place: &Path, target: SocketAddr) -> PathBuf {
    let file = place.join("monitors.yaml");
    let monitor = format!("name: slow, type: ping_web, target: 'http://{target}/'");
    fs::write(&file, format!("monitors:\n  - {{{monitor}, interval: 1s, timeout: 5m}}\n")).unwrap();
    file
}

fn wait_in_flight(engine: &Engine) {
    eventually("a check in flight", || {
        (engine.metrics().sum("engine_checks_open", "") > 0.0).then_some(())
    });
}

/// The results of checks that were run, not of those missed meanwhile.
fn run_results(data_dir: &Path) -> Vec<Value> {
    let mut run = results(data_dir, "slow");
    run.retain(|result| result["attempts"].as_u64() > Some(0));
    run
}

/// True where the engine before the one with this log stopped in order.
fn found_clean(log: &str) -> bool {
    !log.contains("after an unclean stop")
}

#[test]
fn sigterm_lets_a_check_in_flight_end_and_records_it() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[SLOW]).unwrap();
    let file = slow_config(place.path(), farm.address(SLOW).unwrap());

    let engine = Engine::with_config(&data, &file);
    wait_in_flight(&engine);
    engine.stop();
    let run = run_results(&data);
    assert!(!run.is_empty());
    for result in &run {
        assert_eq!(result["result"], "ok", "{result}");
        assert!(result["total_us"].as_u64() >= Some(2_000_000), "{result}");
    }
    let again = Engine::with_config(&data, &file);
    assert!(found_clean(&again.stop().err), "a stop in order leaves its mark");
}

#[test]
fn a_second_sigterm_is_immediate_and_still_records() {
    let place = tempfile::tempdir().unwrap();
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::Silent]).unwrap();
    let file = slow_config(place.path(), farm.address(Behaviour::Silent).unwrap());
    let data = [place.path().join("twice"), place.path().join("once")];

    // The checks would last five minutes: one engine is told twice, the other drains in vain.
    let [twice, once] = [0, 1].map(|at| Engine::with_config(&data[at], &file));
    wait_in_flight(&twice);
    wait_in_flight(&once);
    once.signal(Signal::SIGTERM);
    twice.signal(Signal::SIGTERM);
    twice.wait_log("stopping: checks in flight end; a second signal cancels them");
    twice.signal(Signal::SIGTERM);
    let (twice, once) = (twice.wait(), once.wait());
    assert_eq!((twice.code, once.code), (0, 0), "{twice:?}\n{once:?}");
    assert!(twice.err.contains("stopping now: checks in flight are cancelled"), "{twice:?}");
    for data in &data {
        let run = run_results(data);
        assert_eq!(run.len(), 1, "{run:#?}");
        assert_eq!(run[0]["result"], "cancelled");
        assert_ne!(run[0]["verdict"], "down", "our stop is not the target's fault");
        let again = Engine::with_config(data, &file);
        again.signal(Signal::SIGTERM);
        again.wait_log("stopping: checks in flight end; a second signal cancels them");
        again.signal(Signal::SIGTERM);
        assert!(found_clean(&again.wait().err));
    }
}

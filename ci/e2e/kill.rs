//! `kill -9` while the engine runs: nothing that anybody has seen is lost.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use engine::farm::{Behaviour, Farm};

use crate::harness::{Engine, due_times, eventually, results};

const ROUNDS: usize = 4;
const MONITORS: usize = 20;

#[test]
fn results_that_a_reader_has_seen_survive_every_kill() {
    let place = tempfile::tempdir().unwrap();
    let (file, data) = (place.path().join("monitors.yaml"), place.path().join("data"));
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::TcpOpen]).unwrap();
    let target = farm.address(Behaviour::TcpOpen).unwrap();
    let monitors = (0..MONITORS).map(|number| {
        format!("  - {{name: m{number}, type: tcp, interval: 1s, target: '{target}'}}\n")
    });
    fs::write(&file, format!("monitors:\n{}", monitors.collect::<String>())).unwrap();

    let mut seen = BTreeSet::new();
    for round in 0..ROUNDS {
        let engine = Engine::with_config(&data, &file);
        let unclean = engine.log().contains("checking the database after an unclean stop");
        assert_eq!(unclean, round > 0, "round {round}: {}", engine.log());
        // The killing falls between commits and into them: as soon as something new is visible.
        let known = seen.len();
        eventually("a result that was not there before", || {
            seen.extend(due_times(&engine.results("m0")));
            (seen.len() > known).then_some(())
        });
        engine.kill();
        let left: BTreeSet<_> = due_times(&results(&data, "m0")).into_iter().collect();
        assert!(left.is_superset(&seen), "round {round}: {seen:?} were seen, {left:?} are left");
        seen = left;
    }
    let engine = Engine::with_config(&data, &file);
    let ends = (0..MONITORS).map(|number| engine.wait_verdict(&format!("m{number}"), "up"));
    assert_eq!(ends.count(), MONITORS);
    let left: BTreeSet<_> = due_times(&engine.results("m0")).into_iter().collect();
    assert!(left.is_superset(&seen), "{seen:?} {left:?}");
    engine.metrics().assert_balanced();
    assert!(!engine.stop().err.contains("damage"));
}

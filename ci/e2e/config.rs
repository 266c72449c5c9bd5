//! The file of monitors: at the start, at a reload, and after a restart.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use engine::farm::{Behaviour, Farm};
use engine::limits::START_ROWS;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Engine, ask, due_times, eventually, named, text};

const INTERVAL_MS: u64 = 1_000;

/// A monitor of type tcp, with further lines of YAML.
fn tcp(name: &str, target: impl ToString, more: &str) -> String {
    format!(
        "  - name: {name}\n    type: tcp\n    target: '{}'\n    interval: {INTERVAL_MS}ms\n    \
         timeout: 30s\n{more}",
        target.to_string()
    )
}

fn write(file: &Path, monitors: &[String]) {
    fs::write(file, format!("monitors:\n{}", monitors.concat())).unwrap();
}

fn farm() -> Farm {
    let behaviours = [Behaviour::TcpOpen, Behaviour::Closed];
    Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &behaviours).unwrap()
}

/// Asserts that all due times lie on one grid and returns where it lies.
fn phase(results: &[Value]) -> u64 {
    let due = due_times(results);
    let phase = due[0] % INTERVAL_MS;
    assert!(due.iter().all(|due| due % INTERVAL_MS == phase), "{due:?}");
    assert!(due.is_sorted_by(|newer, older| newer > older), "each due time once: {due:?}");
    phase
}

#[test]
fn good_monitors_run_beside_bad_ones_which_are_shown_with_their_reason() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("monitors.yaml");
    let farm = farm();
    let open = farm.address(Behaviour::TcpOpen).unwrap();
    let bad = "  - name: bad\n    type: tcp\n    target: nowhere\n    retries: 99\n".to_owned();
    write(&file, &[tcp("good", open, ""), bad]);

    let engine = Engine::with_config(&place.path().join("data"), &file);
    engine.wait_verdict("good", "up");
    let monitors = engine.monitors();
    let bad = named(&monitors, "bad");
    assert_eq!(bad["verdict"], "pending", "{bad}");
    let problem = bad["problem"].as_str().unwrap();
    assert!(problem.contains("monitors.yaml:9:13: target: nowhere"), "{problem}");
    assert!(problem.contains("monitors.yaml:10:14: retries: 99 is out of bounds"), "{problem}");
    assert_eq!(named(&monitors, "good")["problem"], Value::Null);
    assert!(engine.log().contains("cannot run"), "{}", engine.log());
    engine.stop();
}

#[test]
fn a_file_that_is_wrong_as_a_whole_forbids_the_start_and_is_told_by_line() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    for (content, told) in [
        ("monitors: []\nmonitor: []\n", ":2:1: unknown key `monitor`; did you mean `monitors`?"),
        ("settings:\n  cores: 0\nmonitors: []\n", ":2:10: cores: 0 is out of bounds"),
        ("settings:\n  listen: here\nmonitors: []\n", ":2:11: listen: here is not understood"),
        ("monitors: [\n", "monitors.yaml:2:"),
        ("- a\n- b\n", ":1:1: the file is not a map; write `monitors:`"),
    ] {
        let file = place.path().join("monitors.yaml");
        fs::write(&file, content).unwrap();
        let said = ask(&["start", "--config", text(&file), "--data-dir", text(&data)]);
        assert_eq!(said.code, 78, "{content}: {said:?}");
        assert!(said.err.starts_with("error: ") && said.err.contains(told), "{content}: {said:?}");

        let said = ask(&["validate", text(&file)]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(told) && said.out.contains("1 error\n"), "{said:?}");
        let json = ask(&["validate", "--json", text(&file)]);
        assert_eq!(json.code, 1, "{json:?}");
        assert!(json.json()["problems"][0].as_str().unwrap().contains(told), "{json:?}");
    }
    assert!(!data.exists(), "a refused start leaves nothing behind");

    let missing = ask(&["start", "--config", "no such file", "--data-dir", text(&data)]);
    assert_eq!(missing.code, 78, "{missing:?}");
    assert!(missing.err.contains("give --config a readable file"), "{missing:?}");
    assert_eq!(ask(&["validate", "no such file"]).code, 1);
    assert_eq!(ask(&["validate"]).code, 2);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/monitors.yaml");
    let good = ask(&["validate", example]);
    assert_eq!((good.code, good.err.as_str()), (0, ""), "{good:?}");
    assert!(good.out.ends_with("monitors, no errors\n"), "{good:?}");
}

#[test]
fn a_reload_touches_only_what_changed_and_a_restart_keeps_every_phase() {
    let place = tempfile::tempdir().unwrap();
    let (file, data) = (place.path().join("monitors.yaml"), place.path().join("data"));
    let farm = farm();
    let open = farm.address(Behaviour::TcpOpen).unwrap();
    let closed = farm.address(Behaviour::Closed).unwrap();
    let names = ["steady", "changing", "leaving", "sleeping"];
    write(&file, &names.map(|name| tcp(name, open, "")));

    let engine = Engine::with_config(&data, &file);
    for name in names {
        engine.wait_verdict(name, "up");
    }
    let before = engine.monitors();

    let reloaded = [
        tcp("new", open, ""),
        tcp("sleeping", open, "    paused: true\n"),
        tcp("changing", closed, ""),
        tcp("steady", open, ""),
    ];
    write(&file, &reloaded);
    engine.signal(Signal::SIGHUP);
    engine.wait_verdict("new", "up");
    engine.wait_verdict("changing", "down");
    engine.wait_verdict("sleeping", "paused");
    let told = &engine.wait_log("monitors")["fields"];
    let counts = ["running", "bad", "added", "changed", "removed"].map(|key| told[key].as_u64());
    assert_eq!(counts, [4, 0, 1, 2, 1].map(Some), "{told}");

    let count = engine.results("steady").len();
    let results = engine.wait_results("steady", count + 2);
    let steady_phase = phase(&results);
    let after = engine.monitors();
    for key in ["id", "verdict", "since_ms"] {
        assert_eq!(named(&after, "steady")[key], named(&before, "steady")[key], "{key}");
    }
    for name in ["changing", "sleeping"] {
        assert_eq!(named(&after, name)["id"], named(&before, name)["id"], "{name}");
    }
    let changing_phase = phase(&engine.results("changing"));
    assert!(!after.iter().any(|monitor| monitor["name"] == "leaving"), "{after:#?}");
    assert!(!engine.results("leaving").is_empty(), "its history stays");
    eventually("due times of a paused monitor in the ledger", || {
        (engine.metrics().sum("engine_checks_paused_total", "") >= 2.0).then_some(())
    });
    assert_refused_reloads_change_nothing(&engine, &file, &reloaded);
    engine.metrics().assert_balanced();
    engine.stop();

    let again = Engine::with_config(&data, &file);
    let states = again.monitors();
    assert_eq!(named(&states, "steady")["verdict"], "up", "what was held is held after a restart");
    assert_eq!(named(&states, "steady")["since_ms"], named(&before, "steady")["since_ms"]);
    for (name, phase_before) in [("steady", steady_phase), ("changing", changing_phase)] {
        let count = again.results(name).len();
        assert_eq!(phase(&again.wait_results(name, count + 2)), phase_before, "{name}");
    }
    write(&file, &[tcp("sleeping", open, ""), tcp("steady", open, "")]);
    again.signal(Signal::SIGHUP);
    again.wait_verdict("sleeping", "up");
    again.stop();
}

/// Reloads a file with a bad monitor and one that is no YAML, then one that is good again.
fn assert_refused_reloads_change_nothing(engine: &Engine, file: &Path, good: &[String]) {
    let before = engine.monitors();
    for (bad, told) in [
        (format!("monitors:\n{}", tcp("steady", "nowhere", "")), "monitors.yaml:4:"),
        ("monitors: [".to_owned(), "monitors.yaml:2:1: while parsing"),
    ] {
        fs::write(file, bad).unwrap();
        engine.signal(Signal::SIGHUP);
        eventually("the refused reload in the log", || {
            let log = engine.log();
            (log.contains("reload refused") && log.contains(told)).then_some(())
        });
    }
    let key = |monitors: &[Value]| -> Vec<_> {
        let keys = ["id", "name", "target", "problem"];
        monitors.iter().map(|monitor| keys.map(|key| monitor[key].clone())).collect()
    };
    assert_eq!(key(&engine.monitors()), key(&before));
    let count = engine.results("steady").len();
    engine.wait_results("steady", count + 1);
    write(file, good);
}

#[test]
fn a_name_that_comes_again_in_a_later_part_of_the_file_does_not_take_the_place_of_the_first() {
    let place = tempfile::tempdir().unwrap();
    let (file, data) = (place.path().join("monitors.yaml"), place.path().join("data"));
    let farm = farm();
    let open = farm.address(Behaviour::TcpOpen).unwrap();
    let mut all = vec![tcp("first", open, "")];
    all.extend(
        (0..START_ROWS).map(|number| tcp(&format!("n{number}"), open, "    paused: true\n")),
    );
    all.push(tcp("first", open, ""));
    write(&file, &all);
    let running = START_ROWS as u64 + 1;
    for added in [running, 0] {
        let engine = Engine::with_config(&data, &file);
        engine.wait_verdict("first", "up");
        let told = &engine.wait_log("monitors")["fields"];
        let counts = ["running", "bad", "added"].map(|key| told[key].as_u64());
        assert_eq!(counts, [running, 1, added].map(Some), "{told}");
        engine.stop();
    }
}

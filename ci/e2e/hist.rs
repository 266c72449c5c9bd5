//! Latency histograms of a running engine: asked for, dumped at a signal and on a schedule.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use engine::farm::{Behaviour, Farm};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::metrics::get;
use crate::harness::{Engine, ask, eventually, results, text};

fn show(args: &[&str]) -> Vec<Value> {
    let said = ask(&[&["hist", "show", "--json"], args].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.json().as_array().unwrap().clone()
}

fn count(all: &[Value], subject: &str, measure: &str) -> u64 {
    let fits = |one: &&Value| one["subject"] == subject && one["measure"] == measure;
    all.iter().filter(fits).map(|one| one["count"].as_u64().unwrap()).sum()
}

/// Results of checks that were run.
fn run_results(data_dir: &Path, monitor: &str) -> u64 {
    let run = |result: &&Value| result["attempts"].as_u64() > Some(0);
    results(data_dir, monitor).iter().filter(run).count() as u64
}

#[test]
fn histograms_hold_every_check_that_was_run_and_the_intervals_add_up_to_the_whole() {
    let place = tempfile::tempdir().unwrap();
    let (data, hist) = (place.path().join("data"), place.path().join("hist"));
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::TcpOpen]).unwrap();
    let target = farm.address(Behaviour::TcpOpen).unwrap();
    let row = |name: &str, tags: &str| {
        format!(
            "  - {{name: {name}, type: tcp, target: '{target}', interval: 1s, tags: [{tags}]}}\n"
        )
    };
    let file = place.path().join("monitors.yaml");
    let rows = row("plain", "shop") + &row("watched", "shop, histogram");
    fs::write(&file, format!("monitors:\n{rows}")).unwrap();

    let args = ["--config", text(&file), "--hist-dir", text(&hist), "--hist-interval", "1s"];
    let engine = Engine::start(&data, &args);
    let refused = get(engine.address(), "/api/v1/histograms");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    let address = engine.address().to_string();
    let asked = ["--data-dir", text(&data), "--listen", &address];
    eventually("histograms of the running engine", || {
        let all = show(&asked);
        (count(&all, "tcp", "total") >= 4 && count(&all, "monitor-2", "total") >= 2).then_some(())
    });
    let by_shard = show(&[&asked[..], &["--by-shard", "--measure", "lag"]].concat());
    assert!(by_shard.iter().all(|one| one["shard"].is_u64()), "{by_shard:?}");
    engine.stop();

    let whole = show(&[text(&hist.join("since-start.hlog"))]);
    let intervals = fs::read_to_string(hist.join("intervals.hlog")).unwrap();
    let of_lag = intervals.lines().filter(|line| line.starts_with("Tag=tcp:lag,")).count();
    assert!(of_lag >= 2, "{intervals}");
    let merged = show(&[text(&hist.join("intervals.hlog"))]);
    for measure in ["lag", "connect", "total", "since_due"] {
        let both = run_results(&data, "plain") + run_results(&data, "watched");
        assert_eq!(count(&whole, "tcp", measure), both, "{measure}");
        assert_eq!(count(&merged, "tcp", measure), both, "{measure}");
    }
    assert!(count(&whole, "monitor-2", "total") <= run_results(&data, "watched"));
    assert!(hist.join("tcp-total.hgrm").exists() && hist.join("monitor-2.svg").exists());
}

#[test]
fn a_signal_writes_the_histograms_to_the_data_folder() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::start(place.path(), &["--demo"]);
    eventually("a check that was run", || {
        (engine.metrics().sum("engine_checks_up_total", "") > 0.0).then_some(())
    });
    let log = place.path().join("hist/since-start.hlog");
    eventually("the log that SIGUSR1 asks for", || {
        engine.signal(Signal::SIGUSR1);
        let all = log.exists().then(|| show(&[text(&log)]))?;
        (!all.is_empty()).then_some(())
    });
    let said = ask(&["hist", "diff", text(&log), text(&log)]);
    assert!(said.out.contains("+0 %"), "{said:?}");
    engine.stop();
}

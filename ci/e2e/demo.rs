//! `engine start --demo`: what everybody tries first.

use std::path::Path;

use engine::farm::demo_expectations;
use nix::sys::signal::Signal;

use crate::harness::metrics::get;
use crate::harness::{BINARY, Engine, ask, command, eventually, monitors, named, results, text};

#[test]
fn demo_finds_every_expected_verdict_and_its_ledger_balances_at_every_scrape() {
    let place = tempfile::tempdir().unwrap();
    let demo = Engine::start(place.path(), &["--demo"]);
    let expected = demo_expectations();

    let mut wrong = Vec::new();
    let found = eventually("every expected verdict of the demo", || {
        demo.metrics().assert_balanced();
        let monitors = demo.monitors();
        let is_wrong = |(name, verdict): &&(&str, _)| {
            let verdict: &engine::sample::Verdict = verdict;
            named(&monitors, name)["verdict"] != verdict.name()
        };
        let now: Vec<_> = expected.iter().filter(is_wrong).map(|(name, _)| *name).collect();
        if now != wrong {
            eprintln!("not yet as expected: {now:?}");
            wrong = now;
        }
        wrong.is_empty().then_some(monitors)
    });
    assert_eq!(found.len(), expected.len());
    for monitor in &found {
        let up = monitor["verdict"] == "up";
        assert_eq!(monitor["result"] == "ok", up, "{monitor}");
        assert!(monitor["tags"].as_array().unwrap().iter().any(|tag| tag == "demo"), "{monitor}");
    }
    for (name, message) in [
        ("maintenance", "HTTP 503 - Service Unavailable"),
        ("cert-self-signed", "SSL error: self-signed certificate"),
        ("cert-ends-in-5-days", "SSL certificate expires soon: 5 days"),
        ("forbidden-text", "Found error keyword: \"all systems operational\""),
    ] {
        assert_eq!(named(&found, name)["message"], message);
    }
    assert_page_is_complete(&demo);
    assert_filters_narrow(place.path());

    let said = demo.stop();
    assert!(said.out.contains("UP       shop  ping_web  HTTP 200 - OK\n"), "{}", said.out);
    assert!(said.out.contains("DOWN     refused  tcp  TCP connection refused"), "{}", said.out);
    assert!(!said.out.contains('\x1b'), "no terminal, no colours: {}", said.out);
    // What was recorded stays readable without an engine.
    assert_eq!(monitors(place.path()).len(), expected.len());
    let mut shop = results(place.path(), "shop");
    shop.retain(|result| result["result"] == "ok");
    assert!(!shop.is_empty());
    for result in shop {
        assert_eq!(result["http_status"], 200, "{result}");
        assert!(result["total_us"].as_u64() >= result["phases"]["wait"].as_u64(), "{result}");
        assert_eq!(result["phases"]["tls"], serde_json::Value::Null, "{result}");
    }
}

fn assert_page_is_complete(demo: &Engine) {
    let page = demo.metrics();
    let shards = page.shards().len() as f64;
    let lag = "engine_schedule_lateness_seconds_bucket";
    let is_end = |line: &&str| line.starts_with(lag) && line.contains("le=\"+Inf\"");
    let ends = page.text.lines().filter(is_end).count() as f64;
    assert_eq!(ends, shards, "each shard has a lag histogram: {}", page.text);
    assert_eq!(page.sum("engine_monitors", ""), demo_expectations().len() as f64, "{}", page.text);
    for path in ["/-/healthy", "/-/ready"] {
        assert!(get(demo.address(), path).starts_with("HTTP/1.1 200"), "{path}");
    }
}

fn assert_filters_narrow(data_dir: &std::path::Path) {
    let list = |args: &[&str]| {
        let said = ask(&[&["monitors", "--data-dir", text(data_dir)], args].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let down = list(&["--verdict", "down", "--name", "cert"]);
    assert!(down.contains("cert-expired") && !down.contains("cert-good"), "{down}");
    assert!(list(&["--tag", "expect-up"]).contains("shop-https"));
    assert_eq!(list(&["--name", "nothing is called so"]), "no monitors\n");
    let table = ask(&["results", "maintenance", "--data-dir", text(data_dir)]);
    assert!(table.out.contains("http_status 503"), "{table:?}");
    let unknown = ask(&["results", "nobody", "--data-dir", text(data_dir)]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.err.contains("`engine monitors` lists them"), "{unknown:?}");
}

#[test]
fn demo_ends_by_itself_after_its_duration_and_at_ctrl_c() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let timed = Engine::start(first.path(), &["--demo", "--duration", "1s", "--cores", "1"]);
    let watched = Engine::start(second.path(), &["--demo", "--cores", "1"]);
    watched.signal(Signal::SIGINT);
    for ended in [timed.wait(), watched.wait()] {
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[test]
fn demo_runs_every_monitor_in_a_data_folder_that_is_no_full_path() {
    let place = tempfile::tempdir().unwrap();
    let mut program = command(BINARY);
    program.current_dir(place.path());
    let demo = Engine::start_as(program, Path::new("data"), &["--demo", "--duration", "1s"]);
    assert_eq!(demo.wait().code, 0);
    let monitors = monitors(&place.path().join("data"));
    assert_eq!(monitors.len(), demo_expectations().len());
    for monitor in &monitors {
        let message = monitor["message"].as_str().unwrap_or_default();
        assert!(!message.starts_with("cannot run"), "{monitor}");
    }
}

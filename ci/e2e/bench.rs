//! The benchmark as a command: small runs, for what they count and not for how fast they are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cluster::Cluster;
use serde_json::Value;

use crate::harness::{BINARY, ask, command};

/// Runs a small bench in a folder of its own and gives its figures and its page.
fn bench(mix: &str, more: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (json, html, data) = (path("figures.json"), path("page.html"), path("data"));
    let mut line = vec!["bench", "--mix", mix, "--monitors", "1000", "--interval", "2s"];
    line.extend(["--warmup", "3s", "--duration", "3s", "--cores", "1"]);
    line.extend(["--json", &json, "--html", &html, "--data-dir", &data]);
    line.extend(more);
    let said = ask(&line);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(said.out.contains("CPU per check"), "{said:?}");
    assert!(!folder.path().join("data").exists(), "the folder of the run is left behind");
    let figures = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    (figures, fs::read_to_string(html).unwrap())
}

fn number(figures: &Value, key: &str) -> u64 {
    figures[key].as_u64().unwrap_or_else(|| panic!("{key}: {figures:#}"))
}

#[test]
fn a_bench_of_a_fleet_finds_what_its_targets_play_and_accounts_for_every_check() {
    let (figures, page) = bench("fleet", &["--no-reference"]);
    assert_eq!(figures["ledger_balances"], true, "{figures:#}");
    assert_eq!(number(&figures, "refused"), 0);
    let (due, started) = (number(&figures, "due"), number(&figures, "started"));
    assert!(started > 0 && due == started + number(&figures, "missed"), "{figures:#}");
    for word in ["ok", "connect_refused", "http_status", "timeout", "cert_untrusted"] {
        assert!(figures["results"][word].as_u64() > Some(0), "no {word}: {figures:#}");
    }
    assert_eq!(figures["ratio_to_reference"], Value::Null);
    assert!(page.contains("<svg") && page.contains("mix fleet"));
}

#[test]
fn the_reference_does_the_same_exchanges_in_the_same_run() {
    let (figures, page) = bench("tcp", &["--quick"]);
    let ratio = figures["ratio_to_reference"].as_f64();
    assert!(ratio > Some(0.0), "{figures:#}");
    let each = |key: &str| figures[key].as_f64().unwrap();
    let worked_out = each("cpu_us_per_check") / each("reference_us_per_check");
    assert!((ratio.unwrap() - worked_out).abs() < 1e-6);
    assert!(page.contains("the bare epoll client"));
}

#[test]
fn kept_connections_and_resumed_sessions_are_measured_beside_a_reference_that_keeps_them_too() {
    for mix in ["http-keepalive", "https-resumed"] {
        let (figures, _) = bench(mix, &["--quick"]);
        assert_eq!(figures["ledger_balances"], true, "{figures:#}");
        assert!(number(&figures, "up") > 0, "{figures:#}");
        assert_eq!((number(&figures, "down"), number(&figures, "refused")), (0, 0), "{figures:#}");
        assert!(figures["ratio_to_reference"].as_f64() > Some(0.0), "{figures:#}");
    }
}

#[test]
fn a_bench_on_a_server_records_there_and_leaves_nothing_behind() {
    let server = Cluster::shared();
    let url = server.url("postgres");
    let (figures, _) = bench("tcp", &["--no-reference", "--database-url", &url]);
    assert_eq!(figures["store"], "postgres");
    assert_eq!(figures["ledger_balances"], true, "{figures:#}");
    assert!(figures["store_rows_per_s"].as_f64() > Some(0.0), "{figures:#}");
    assert!(number(&figures, "database_bytes") > 1 << 20, "{figures:#}");
    assert_eq!(number(&figures, "store_batches_spooled"), 0);
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'engine_bench%'";
    assert_eq!(server.psql("postgres", left), "0");
}

#[test]
fn the_farm_of_a_bench_says_where_it_is_and_ends_with_its_input() {
    let mut farm = command(BINARY)
        .arg("bench-farm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(farm.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let places: Value = serde_json::from_str(&line).unwrap();
    assert!(places["ports"].as_array().unwrap().len() > 10, "{places}");
    drop(farm.stdin.take());
    assert!(farm.wait().unwrap().success());
}

#[test]
fn a_folder_that_is_there_is_not_taken_for_a_bench() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let said = ask(&["bench", "--quick", "--data-dir", &path]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("--data-dir that is not there yet"), "{said:?}");
    assert!(folder.path().exists());
}

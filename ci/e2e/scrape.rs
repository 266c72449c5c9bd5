//! The metrics page as Prometheus meets it: its own linter, both forms, a selection.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::metrics::{get, unchunked};
use crate::harness::{Engine, command, eventually, run, text};

/// What `promtool check metrics` says of a page; empty where it has no complaint.
fn complaints(page: &str) -> String {
    let promtool = command("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool =
        promtool.unwrap_or_else(|error| panic!("promtool: {error}; install `prometheus`"));
    let mut input = promtool.stdin.take().expect("it is piped");
    input.write_all(page.as_bytes()).expect("promtool reads it all");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success() || !said.is_empty(), "{:?}", output.status);
    said
}

#[test]
fn promtool_has_no_complaint_about_a_page_with_monitors_of_every_type() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::start(place.path(), &["--demo"]);
    let page = eventually("monitors on the page", || {
        let answer = get(engine.address(), "/metrics");
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        let page = unchunked(body);
        let there =
            ["probe_success{", "probe_http_status_code{", "probe_ssl_earliest_cert_expiry{"];
        there.iter().all(|name| page.contains(name)).then_some(page)
    });
    assert_eq!(complaints(&page), "", "{page}");
    for family in [
        "engine_build_info",
        "engine_check_duration_seconds",
        "engine_schedule_lateness_seconds",
        "engine_store_rows_total",
        "engine_spool_bytes",
        "engine_tag_monitors",
        "process_open_fds",
    ] {
        assert!(page.contains(&format!("# TYPE {family} ")), "{family} is not in\n{page}");
    }

    shipped_files_name_what_is_there(&page);

    let down = "/metrics?match[]=probe_success%7Bverdict=%22down%22%7D";
    let answer = get(engine.address(), down);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let chosen = unchunked(body);
    assert_eq!(complaints(&chosen), "", "{chosen}");
    let samples: Vec<&str> = chosen.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!samples.is_empty() && samples.iter().all(|line| line.ends_with(" 0")), "{chosen}");
    engine.stop();
}

/// Every metric that the alert rules and the dashboard name is on the page, and the rules are good.
fn shipped_files_name_what_is_there(page: &str) {
    let rules = shipped("prometheus/rules.yml");
    let said = run("promtool", &["check", "rules", text(&rules)]);
    assert_eq!(said.code, 0, "{said:?}");
    for file in [rules, shipped("grafana/engine.json")] {
        let content = fs::read_to_string(&file).expect("it is in the tree");
        let names = metrics_in(&content);
        assert!(names.len() > 10, "{file:?}: {names:?}");
        for name in names {
            let base = name.trim_end_matches("_bucket");
            let there = page.contains(&format!("# TYPE {base} "));
            assert!(there, "{} names {name}, which is not on the page", file.display());
        }
    }
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

/// Words that can only be metrics of ours.
fn metrics_in(content: &str) -> BTreeSet<&str> {
    let words = content.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["engine_", "process_", "probe_"];
    words.filter(|word| ours.iter().any(|start| word.starts_with(start))).collect()
}

//! The metrics page as Prometheus meets it: its own linter, both forms, a selection.

use std::io::Write;
use std::process::Stdio;

use crate::harness::metrics::{get, unchunked};
use crate::harness::{Engine, command, eventually};

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

    let down = "/metrics?match[]=probe_success%7Bverdict=%22down%22%7D";
    let answer = get(engine.address(), down);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let chosen = unchunked(body);
    assert_eq!(complaints(&chosen), "", "{chosen}");
    let samples: Vec<&str> = chosen.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!samples.is_empty() && samples.iter().all(|line| line.ends_with(" 0")), "{chosen}");
    engine.stop();
}

//! Scrapes through the route: tiers, selections, forms, bounds.

use axum::Router;
use axum::body::to_bytes;
use axum::http::Request;
use axum::routing::get;
use futures_util::StreamExt;
use probes::{Failure, Timings};
use tower::ServiceExt;

use super::super::fleet::tests::{fleet_of, row};
use super::*;
use crate::ids::{MonitorId, ShardId};
use crate::sample::{Code, Sample, SampleBatch, Transition};

const NOW: u64 = 1_795_444_849_000;

fn sample(monitor: u64, result: CheckResult) -> Sample {
    let mut timings = Timings::NONE;
    timings.set_micros(Phase::Connect, 2_500);
    Sample {
        monitor: MonitorId(monitor),
        due_ms: NOW - 1_500,
        lag_us: 0,
        timings,
        total_us: 3_000,
        body_bytes: 0,
        code: Code::from(result),
        http_status: 0,
        phase: u8::MAX,
        attempts: 1,
        verdict: if result == CheckResult::Up { Verdict::Up } else { Verdict::Down },
    }
}

fn batch(samples: Vec<Sample>, transitions: Vec<Transition>) -> SampleBatch {
    SampleBatch { shard: ShardId(0), seq: 1, samples, words: Vec::new(), transitions }
}

/// 1 is up, 2 down, 3 up and starred, 4 up since a minute.
fn fleet() -> Fleet {
    let fleet = fleet_of(vec![
        row(1, "plain", &["eu"], Verdict::Up),
        row(2, "broken", &["eu", "shop"], Verdict::Up),
        row(3, "Loved", &["starred"], Verdict::Up),
        row(4, "back", &[], Verdict::Up),
    ]);
    let good = [1, 3, 4].map(|id| sample(id, CheckResult::Up));
    let bad = sample(2, CheckResult::Down(Failure::Refused));
    let change = |id, ago_ms, to| Transition {
        marks: crate::sample::Marks::default(),
        monitor: MonitorId(id),
        at_ms: NOW - ago_ms,
        from: Verdict::Pending,
        to,
        code: Code(0),
    };
    let changes = vec![
        change(1, METRICS_RECENT_MS + 1, Verdict::Up),
        change(2, METRICS_RECENT_MS + 1, Verdict::Down),
        change(4, 60_000, Verdict::Up),
    ];
    fleet.record(&[batch(good.into_iter().chain([bad]).collect(), changes)]);
    fleet
}

fn routes(fleet: Fleet) -> Router {
    let page = Page::new(Vec::new(), Arc::default(), None, Default::default);
    let scrapes = Scrapes::new(page, Arc::new(fleet), || NOW);
    Router::new().route("/metrics", get(metrics)).with_state(Arc::new(scrapes))
}

async fn ask(routes: &Router, query: &str, accept: &str) -> (StatusCode, String, String) {
    let request = Request::get(format!("/metrics{query}")).header("accept", accept);
    let response = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 30).await.unwrap();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

fn ids(text: &str, family: &str) -> Vec<u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    lines.map(|line| line.split('"').nth(1).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn without_a_wish_the_monitors_that_matter_are_shown_and_the_others_counted() {
    let (_, _, text) = ask(&routes(fleet()), "", "").await;
    assert_eq!(ids(&text, "probe_success"), [2, 3, 4]);
    for line in [
        "probe_success{monitor_id=\"2\",name=\"broken\",type=\"tcp\",instance=\"6.example:443\"} 0",
        "probe_duration_seconds{monitor_id=\"3\",name=\"Loved\",type=\"tcp\",\
         instance=\"5.example:443\"} 0.003",
        "engine_type_monitors{type=\"tcp\",verdict=\"up\"} 3",
        "engine_tag_monitors{tag=\"eu\",verdict=\"down\"} 1",
        "engine_monitors_worth_showing{shown=\"yes\"} 3",
        "engine_monitor_info{monitor_id=\"2\",name=\"broken\",type=\"tcp\",\
         instance=\"6.example:443\",tags=\",eu,shop,\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("probe_http_duration_seconds{"), "a phase that is not there is absent");
}

#[tokio::test]
async fn a_selection_shows_the_selected_monitors_and_families_only() {
    let routes = routes(fleet());
    let (_, _, text) = ask(&routes, "?match%5B%5D=%7Bname%3D%22plain%22%7D", "").await;
    assert_eq!(ids(&text, "probe_success"), [1]);
    assert!(!text.contains("engine_build"), "{text}");
    let query = "?match[]=probe_success{tag=\"eu\"}&match[]={monitor_id=\"4\",verdict=\"down\"}";
    let (_, _, text) = ask(&routes, &query.replace('"', "%22").replace('{', "%7B"), "").await;
    assert_eq!(ids(&text, "probe_success"), [1, 2]);
    let (status, kind, text) = ask(&routes, "?match[]=%7Bcolour=%22red%22%7D", "").await;
    assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, "application/problem+json"));
    assert!(text.contains("match[]: colour: write one of"), "{text}");
}

#[tokio::test]
async fn the_form_is_the_one_that_is_accepted() {
    let routes = routes(fleet());
    let open = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let (_, kind, text) = ask(&routes, "", open).await;
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE engine_monitor info\n"), "{text}");
    let (_, kind, text) = ask(&routes, "", "text/plain").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!text.contains("# EOF") && text.contains("# TYPE engine_monitor_info gauge\n"));
}

#[tokio::test]
async fn a_scrape_of_very_many_monitors_comes_in_pieces_and_whole() {
    let count = 30_000;
    let rows = (1..=count).map(|id| row(id, &format!("m{id}"), &[], Verdict::Down)).collect();
    let fleet = fleet_of(rows);
    for first in (1..=count).step_by(250) {
        let samples = (first..first + 250).map(|id| sample(id, CheckResult::Up)).collect();
        fleet.record(&[batch(samples, Vec::new())]);
    }
    let routes = routes(fleet);
    let query = "/metrics?match[]=%7Bname=~%22m.*%22%7D";
    let request = Request::get(query).body(Body::empty()).unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let (mut text, mut largest) = (Vec::new(), 0);
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        largest = largest.max(piece.len());
        text.extend_from_slice(&piece);
    }
    assert!(largest < METRICS_PIECE_BYTES + 1_024, "{largest}");
    let text = String::from_utf8(text).unwrap();
    for family in ["probe_success", "probe_duration_seconds", "engine_monitor_info"] {
        assert_eq!(ids(&text, family).len() as u64, count, "{family}");
    }
}

#[tokio::test]
async fn a_mass_outage_shows_a_bounded_number_and_counts_the_others() {
    let count = METRICS_MONITORS_MAX as u64 + 5;
    let rows = (1..=count).map(|id| row(id, &format!("m{id}"), &[], Verdict::Down)).collect();
    let (_, _, text) = ask(&routes(fleet_of(rows)), "", "").await;
    assert_eq!(ids(&text, "engine_monitor_verdict").len(), METRICS_MONITORS_MAX);
    assert!(text.contains("engine_monitors_worth_showing{shown=\"no\"} 5\n"));
}

//! The API below `/api/v1`, asked through the real router on a real store.

use axum::body::Body;
use engine::api::v1::tokens::Scope;
use engine::api::v1::{Description, paths};
use engine::limits::{API_BURST_MAX, API_PAGE_ROWS_MAX};
use engine::messages::Change;
use engine::monitor::Kind;
use engine::store::{OpenReader, StoreError};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::OpenApi;

use crate::made::{ADMIN, Api, NOW, bad, batch, good, monitor, tokens};

/// Four monitors; `delta` is down since a minute.
async fn four() -> Api {
    let monitors = [
        monitor("alpha", Kind::PingWeb, &["eu", "shop"]),
        monitor("bravo", Kind::Tcp, &["eu"]),
        monitor("charlie", Kind::PingWeb, &["us"]),
        monitor("delta", Kind::PingWeb, &[]),
    ];
    let hour_ago = NOW - 3_600_000;
    let mut samples: Vec<_> = (0..60).map(|minute| good(1, hour_ago + minute * 60_000)).collect();
    samples.extend([good(2, NOW - 1_000), good(3, NOW - 900), bad(4, NOW - 60_000)]);
    Api::new(&monitors, &[batch(1, samples, "connection refused <b>")]).await
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn names(page: &Value) -> Vec<&str> {
    page["monitors"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn monitors_are_listed_by_filter_order_and_page() {
    let api = four().await;
    let all = api.json("/monitors").await;
    assert_eq!(names(&all), ["alpha", "bravo", "charlie", "delta"]);
    assert_eq!((&all["total"], &all["next"]), (&4.into(), &Value::Null));
    for (filter, wanted) in [
        ("tag=eu", vec!["alpha", "bravo"]),
        ("tag=eu&type=tcp", vec!["bravo"]),
        ("verdict=down", vec!["delta"]),
        ("text=CHARLIE.ex", vec!["charlie"]),
        ("sort=worst&limit=1", vec!["delta"]),
        ("problems=true", vec![]),
    ] {
        let page = api.json(&format!("/monitors?{filter}")).await;
        assert_eq!(names(&page), wanted, "{filter}");
    }
    let first = api.json("/monitors?limit=3").await;
    let next = first["next"].as_str().unwrap();
    let second = api.json(&format!("/monitors?limit=3&cursor={next}")).await;
    assert_eq!((names(&second), &second["next"]), (vec!["delta"], &Value::Null));
}

#[tokio::test]
async fn one_monitor_has_its_state_results_history_uptime_and_words() {
    let api = four().await;
    let delta = api.json("/monitors/4").await;
    assert_eq!((&delta["name"], &delta["verdict"]), (&"delta".into(), &"down".into()));
    assert_eq!(delta["message"], "connection refused <b>");
    let results = api.json("/monitors/1/results?limit=2").await;
    assert_eq!(results["results"][0]["due_ms"], NOW - 60_000);
    assert_eq!(results["results"][0]["phases"]["connect"], 20_096, "as stored, within 0.8 %");
    let next = results["next_to_ms"].as_u64().unwrap();
    let more = api.json(&format!("/monitors/1/results?limit=1000&to_ms={next}")).await;
    assert_eq!(more["results"].as_array().unwrap().len(), 58);
    assert_eq!(more["next_to_ms"], Value::Null);
    let history = api.json("/monitors/1/history?steps=24").await;
    assert_eq!((&history["all"]["up"], &history["step_ms"]), (&60.into(), &3_600_000.into()));
    assert_eq!(history["steps"].as_array().unwrap().len(), 24);
    assert!(history["all"]["p99_us"].as_u64().unwrap().abs_diff(100_000) < 800);
    let words = api.json("/monitors/4/evidence").await;
    assert_eq!((&words[0]["result"], &words[0]["times"]), (&"connect_refused".into(), &1.into()));
    let changes = api.json("/monitors/4/transitions").await;
    assert_eq!((&changes[0]["from"], &changes[0]["to"]), (&"up".into(), &"down".into()));
    assert_eq!(api.json("/monitors/4/certificates").await, Value::from(Vec::<Value>::new()));
    let uptime = api.json("/monitors/4/uptime?days=2").await;
    assert_eq!(uptime["days"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn all_monitors_are_counted_by_verdict_type_and_tag_and_drawn_in_cells() {
    let api = four().await;
    let overview = api.json("/overview").await;
    let all = &overview["monitors"];
    assert_eq!((&all["total"], &all["up"], &all["down"]), (&4.into(), &3.into(), &1.into()));
    assert_eq!(overview["up_percent"], 75.0);
    assert_eq!(overview["types"][0]["name"], "ping_web");
    assert_eq!((&overview["tags"][0]["name"], &overview["tags_total"]), (&"eu".into(), &3.into()));
    assert_eq!(api.json("/tags").await.as_array().unwrap().len(), 3);
    let map = api.json("/map").await;
    assert_eq!((&map["per_cell"], &map["groups"][0]["tag"]), (&1.into(), &"eu".into()));
    let rest = &map["groups"][2];
    assert_eq!(
        (&rest["tag"], &rest["down"][0], &rest["first"][0]),
        (&Value::Null, &1.into(), &4.into())
    );
    let incidents = api.json("/incidents").await;
    assert_eq!(
        (&incidents[0]["name"], &incidents[0]["closed_ms"]),
        (&"delta".into(), &Value::Null)
    );
    assert_eq!(api.json("/transitions").await[0]["name"], "delta");
}

#[tokio::test]
async fn a_recorded_result_is_in_lists_and_counts_without_reading_the_list_anew() {
    let api = four().await;
    let index = api.fleet.index();
    api.record(batch(1, vec![bad(1, NOW)], "gone"));
    api.until("/monitors?verdict=down", |page| names(page) == ["alpha", "delta"]).await;
    assert_eq!(api.json("/overview").await["monitors"]["down"], 2);
    let place = index.place(engine::ids::MonitorId(1)).unwrap();
    assert_eq!(place.verdict(), engine::sample::Verdict::Down, "in the list as it was");
}

#[tokio::test]
async fn every_error_is_problem_json_that_names_the_field() {
    let api = four().await;
    for (path, status, field, said) in [
        ("/monitors?limit=0", 400, "limit", "0 is not in 1 to 200"),
        ("/monitors?limit=201", 400, "limit", "201 is not in"),
        ("/monitors?limit=many", 400, "limit", "invalid digit"),
        ("/monitors?tags=eu", 400, "tags", "unknown parameter"),
        ("/monitors?verdict=dead", 400, "verdict", "unknown variant"),
        ("/monitors?cursor=x", 400, "cursor", "is not the `next` of a page"),
        ("/monitors?cursor=0-99", 404, "cursor", "begin at the first page"),
        ("/monitors/x", 400, "id", "\"x\" is not the number"),
        ("/monitors/1/history?from_ms=5&to_ms=5", 400, "from_ms", "not before"),
        ("/monitors/1/history?steps=501", 400, "steps", "501 is not in"),
        ("/monitors/1/uptime?days=401", 400, "days", "401 is not in"),
        ("/incidents?limit=1001", 400, "limit", "1001 is not in"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["field"], field, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{path}: {problem}");
    }
    assert_eq!(api.get("/monitors/77").await.status, 404);
    assert_eq!(api.get("/nothing").await.status, 404);
    assert_eq!(api.get("/nothing").await.header("content-type"), "application/problem+json");
    let long = "x".repeat(201);
    assert_eq!(api.get(&format!("/monitors?text={long}")).await.json()["field"], "text");
    assert_eq!(api.get(&format!("/monitors?limit={API_PAGE_ROWS_MAX}")).await.status, 200);
}

#[tokio::test]
async fn nobody_reads_anything_without_credentials() {
    let api = four().await;
    for (path, method) in paths().iter().flat_map(|path| METHODS.map(|method| (path, method))) {
        let answer = api.ask(&format!("{method} {}", path.replace("{id}", "1")), &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    for bad in ["Bearer eng_x", "Bearer x", "Basic eng_x", "Digest x"] {
        let answer = api.ask("GET /api/v1/overview", &[("authorization", bad)]).await;
        assert_eq!(answer.status, 401, "{bad}");
    }
}

#[tokio::test]
async fn password_session_and_token_let_in_with_their_scope() {
    let api = four().await;
    let basic = [("authorization", "Basic YWRtaW46czNjcmV0")];
    let caller = api.ask("GET /api/v1/session", &basic).await.json();
    assert_eq!((&caller["scope"], &caller["word"]), (&"admin".into(), &Value::Null));
    let cookie = format!("session={}", api.auth.begin_session(NOW).unwrap());
    let caller = api.ask("GET /api/v1/session", &[("cookie", &cookie)]).await.json();
    assert_eq!(caller["name"], "session");
    let caller = api.json("/session").await;
    assert_eq!((&caller["name"], &caller["scope"]), (&"test".into(), &"read".into()));
    assert!(tokens(api.place.path()).remove("test").unwrap());
    assert_eq!(api.get("/session").await.status, 401, "a removed token ends at once");
}

#[tokio::test]
async fn what_changes_something_needs_the_scope_and_a_session_its_word() {
    let api = four().await;
    let line = "POST /api/v1/monitors/1/nothing";
    let bearer = format!("Bearer {}", api.token);
    assert_eq!(api.ask(line, &[("authorization", &bearer)]).await.status, 403);
    let writer = tokens(api.place.path()).add("writer", Scope::Write, NOW).unwrap();
    let bearer = format!("Bearer {writer}");
    assert_eq!(api.ask(line, &[("authorization", &bearer)]).await.status, 404);
    let cookie = format!("session={}", api.auth.begin_session(NOW).unwrap());
    let cookie = ("cookie", cookie.as_str());
    for headers in [&[cookie][..], &[cookie, ("x-engine-word", "x")]] {
        let answer = api.ask(line, headers).await;
        assert_eq!(answer.status, 403);
        assert!(answer.text.contains("X-Engine-Word"), "{}", answer.text);
    }
    let caller = api.ask("GET /api/v1/session", &[cookie]).await.json();
    let word = ("x-engine-word", caller["word"].as_str().unwrap());
    assert_eq!(api.ask(line, &[cookie, word]).await.status, 404);
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again() {
    let api = four().await;
    let bearer = format!("Bearer {}", api.token);
    let first = api.get("/monitors").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.len() > 10 && first.header("cache-control").contains("private"));
    let ask = async |known: &str| {
        let headers = [("authorization", bearer.as_str()), ("if-none-match", known)];
        api.ask("GET /api/v1/monitors", &headers).await
    };
    let again = ask(&format!("\"x\", W/{tag}")).await;
    assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()));
    assert_eq!(ask("\"x\"").await.status, 200);
}

#[tokio::test]
async fn one_address_that_asks_too_often_is_told_to_wait() {
    let api = four().await;
    let mut refused = None;
    for _ in 0..API_BURST_MAX + 1 {
        refused = Some(api.ask("GET /api/v1/session", &[]).await);
    }
    let refused = refused.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.json()["retry_after_s"], 1);
}

#[tokio::test]
async fn description_and_router_agree() {
    let api = four().await;
    let described = api.json("/openapi.json").await;
    assert_eq!(described, serde_json::to_value(Description::openapi()).unwrap());
    let in_description = described["paths"].as_object().unwrap();
    let mut in_router = paths();
    in_router.sort();
    assert_eq!(in_description.keys().cloned().collect::<Vec<_>>(), in_router);
    let basic = [("authorization", "Basic YWRtaW46czNjcmV0")];
    for (path, methods) in in_description {
        for method in METHODS {
            let method = method.to_lowercase();
            let is_stream = path.ends_with("/events") || path.ends_with("/tail");
            if is_stream && method == "get" {
                continue; // It does not end; tests of their own read it.
            }
            let line = format!("{} {}", method.to_uppercase(), path.replace("{id}", "1"));
            let status = api.ask(&line, &basic).await.status;
            assert_eq!(status != 405, methods.get(&method).is_some(), "{line}: {status}");
        }
    }
}

fn row(name: &str) -> Value {
    json!({ "name": name, "type": "tcp", "target": "127.0.0.1:9", "interval": "30s" })
}

#[tokio::test]
async fn a_monitor_is_added_changed_paused_and_removed_and_its_shard_is_told_each_time() {
    let api = four().await;
    let added = api.put("POST /api/v1/monitors", &row("new")).await;
    assert_eq!((added.status, added.header("location")), (201, "/api/v1/monitors/5"));
    assert_eq!(
        (&added.json()["source"], &added.json()["interval_ms"]),
        (&"api".into(), &30_000.into())
    );
    let again = api.put("POST /api/v1/monitors", &row("new")).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &5.into()), "sent twice, there once");
    assert_eq!(names(&api.json("/monitors?name=new").await), ["new"], "by name at once");
    assert_eq!(api.json("/monitors?name=5").await["total"], 0, "a number is no name");
    let changed =
        api.put("PATCH /api/v1/monitors/5", &json!({ "interval": 60, "tags": ["x"] })).await;
    assert_eq!((changed.status, &changed.json()["interval_ms"]), (200, &60_000.into()));
    let changed = api.put("PATCH /api/v1/monitors/5", &json!({ "tags": null })).await;
    assert_eq!(changed.json()["tags"], json!([]));
    let paused = api.ask("POST /api/v1/monitors/5/pause", &[ADMIN]).await;
    assert_eq!(paused.json()["verdict"], "paused");
    let resumed = api.ask("POST /api/v1/monitors/5/resume", &[ADMIN]).await;
    assert_eq!(resumed.json()["verdict"], "pending");
    api.until("/monitors", |page| page["total"] == 5).await;
    assert_eq!(api.ask("DELETE /api/v1/monitors/5", &[ADMIN]).await.status, 204);
    assert_eq!(api.ask("DELETE /api/v1/monitors/5", &[ADMIN]).await.status, 404);
    api.until("/monitors", |page| page["total"] == 4).await;
    let told = api.told.lock().unwrap();
    let told: Vec<String> = told
        .iter()
        .map(|change| match change {
            Change::Upsert(assigns) => {
                let monitor = &assigns[0].monitor;
                format!(
                    "{} every {} paused {}",
                    monitor.id, monitor.timing.interval_ms, monitor.paused
                )
            }
            Change::Remove(ids) => format!("{ids:?} removed"),
            Change::CheckNow(ids) => format!("{ids:?} checked"),
        })
        .collect();
    let wanted = [
        "5 every 30000 paused false",
        "5 every 60000 paused false",
        "5 every 60000 paused false",
        "5 every 60000 paused true",
        "5 every 60000 paused false",
        "[MonitorId(5)] removed",
    ];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn what_cannot_be_changed_is_told_with_every_field_and_changes_nothing() {
    let api = four().await;
    let bad = json!({ "type": "tcpp", "intervall": "1s", "retries": -1 });
    let answer = api.put("POST /api/v1/monitors", &bad).await;
    let problem = answer.json();
    assert_eq!((answer.status, problem["errors"].as_array().unwrap().len()), (400, 2), "{problem}");
    assert!(answer.text.contains("did you mean `interval`?"), "{}", answer.text);
    let ca = json!({ "target": "https://x", "type": "ping_web", "ca_file": "/etc/shadow" });
    assert_eq!(api.put("POST /api/v1/monitors", &ca).await.json()["field"], "ca_file");
    let taken = api.put("POST /api/v1/monitors", &row("alpha")).await;
    assert_eq!((taken.status, &taken.json()["field"]), (409, &"name".into()));
    for line in
        ["PATCH /api/v1/monitors/1", "DELETE /api/v1/monitors/1", "POST /api/v1/monitors/1/pause"]
    {
        let answer = api.put(line, &json!({})).await;
        assert_eq!(answer.status, 409, "{line}");
        assert!(answer.text.contains("is of the file"), "{}", answer.text);
    }
    assert_eq!(api.put("PATCH /api/v1/monitors/77", &json!({})).await.status, 404);
    api.put("POST /api/v1/monitors", &row("new")).await;
    let renamed = api.put("PATCH /api/v1/monitors/5", &json!({ "name": "other" })).await;
    assert_eq!(renamed.json()["field"], "name");
    let form = [ADMIN, ("content-type", "application/x-www-form-urlencoded")];
    let answer = api.send("POST /api/v1/monitors", &form, "name=x".into()).await;
    assert_eq!(answer.status, 415);
    let long = json!({ "name": "x".repeat(70_000) });
    assert_eq!(api.put("POST /api/v1/monitors", &long).await.status, 413);
    assert_eq!(api.put("POST /api/v1/monitors", &json!([])).await.status, 400);
    assert_eq!(api.told.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_of_rows_is_taken_line_by_line_in_any_pieces_and_may_be_sent_again() {
    let api = four().await;
    let mut lines: Vec<String> =
        (0..2_500).map(|at| row(&format!("bulk-{at}")).to_string()).collect();
    lines.insert(3, "not json".into());
    lines.insert(7, String::new());
    lines.push(row("alpha").to_string());
    let text = lines.join("\n");
    let headers = [ADMIN, ("content-type", "application/x-ndjson")];
    let send = async |size: usize| {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
            text.as_bytes().chunks(size).map(|piece| Ok(piece.to_vec())).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        api.send("POST /api/v1/monitors/bulk", &headers, body).await.json()
    };
    let report = send(7).await;
    assert_eq!((&report["added"], &report["refused"]), (&2_500.into(), &2.into()), "{report}");
    let lines: Vec<&Value> =
        report["problems"].as_array().unwrap().iter().map(|problem| &problem["line"]).collect();
    assert_eq!(lines, [&Value::from(4), &Value::from(2_503)]);
    let again = send(100_000).await;
    assert_eq!((&again["added"], &again["equal"]), (&0.into(), &2_500.into()));
    api.until("/monitors?text=bulk-", |page| page["total"] == 2_500).await;
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let answer = api.send("POST /api/v1/monitors/bulk", &headers, long.into()).await;
    assert_eq!(answer.status, 413);
}

/// A database that is away.
pub struct Away;

impl OpenReader for Away {
    fn open(&self) -> Result<Box<dyn engine::store::Read + Send>, StoreError> {
        Err(StoreError::Database("away".into()))
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_with_its_words_and_counts_go_on() {
    let api = Api::on(Arc::new(Away)).await;
    let answer = api.get("/incidents").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert_eq!(answer.json()["detail"], "database: away");
    assert_eq!(api.json("/overview").await["monitors"]["total"], 0);
}

//! The original's HTTP API, asked through the real router.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use engine::api::legacy::auth::Auth;
use engine::api::legacy::view::{Item, LegacyView, Totals, Worker};
use engine::api::legacy::{Legacy, routes};
use engine::config::database::Secret;
use serde_json::Value;
use tower::ServiceExt;

/// `admin:s3cret`.
const BASIC: (&str, &str) = ("authorization", "Basic YWRtaW46czNjcmV0");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A thousand monitors, every tenth disabled; the third hostile.
struct Thousand;

impl LegacyView for Thousand {
    fn totals(&self) -> Result<Totals, String> {
        Ok(Totals { total: 1_000, enabled: 900, running: 900 })
    }

    fn items(&self, limit: usize, offset: usize) -> Result<Vec<Item>, String> {
        let item = |id: u64| Item {
            id,
            name: if id == 3 { "<script>é".into() } else { format!("monitor {id}") },
            kind: "ping_web",
            target: format!("https://{id}.example/"),
            enabled: !id.is_multiple_of(10),
            running: !id.is_multiple_of(10),
            last_status: Some(1),
            last_check_ms: Some(1_795_444_849_000),
            interval_s: 60,
            consecutive_errors: 2,
            count_online: 5,
            ..Item::default()
        };
        Ok((1..=1_000).map(item).skip(offset).take(limit).collect())
    }

    fn workers(&self) -> Vec<Worker> {
        vec![Worker { id: 1, name: "shard-0".into(), monitors: 1_000 }]
    }
}

/// A store that cannot be read.
struct Broken;

impl LegacyView for Broken {
    fn totals(&self) -> Result<Totals, String> {
        Err("no database".into())
    }

    fn items(&self, _: usize, _: usize) -> Result<Vec<Item>, String> {
        Err("no database".into())
    }

    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }
}

struct Api {
    routes: Router,
    stop: Arc<AtomicBool>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn api_of(view: impl LegacyView, log_file: &Path) -> Api {
    let stop = Arc::new(AtomicBool::new(false));
    let legacy = Legacy {
        view: Arc::new(view),
        auth: Arc::new(Auth::new("admin", Secret::new("s3cret"), &Secret::new("key of the test"))),
        log_file: log_file.to_owned(),
        domain: "mon.example".into(),
        stop: Arc::clone(&stop),
        started_ms: 1_795_444_000_000,
        clock: || 1_795_444_849_000,
    };
    Api { routes: routes(legacy), stop }
}

fn api() -> Api {
    api_of(Thousand, Path::new("no-such-folder/log_main.txt"))
}

impl Api {
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let from: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let request = request.extension(ConnectInfo(from)).body(Body::from(body.to_owned()));
        let answer = self.routes.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[BASIC], "").await
    }

    /// Logs in and returns the cookie.
    async fn session(&self) -> String {
        let form = "username=admin&password=s3cret";
        let answer = self.ask("POST /login", &[], form).await;
        assert_eq!((answer.status, answer.header("location")), (302, "/"));
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn whoever_is_not_known_gets_an_error_or_the_login_page() {
    let api = api();
    for path in ["status", "monitors", "threads", "logs"] {
        let answer = api.ask(&format!("GET /api/{path}"), &[], "").await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.text, "{\"error\":\"Authentication required\"}\n");
    }
    assert_eq!(api.ask("POST /api/shutdown", &[], "").await.status, 401);
    let answer = api.ask("GET /legacy", &[], "").await;
    assert_eq!((answer.status, answer.header("location")), (302, "/login"));
    assert!(!api.is_stopped());
}

#[tokio::test]
async fn wrong_method_and_unknown_path_are_told_apart() {
    let api = api();
    assert_eq!(api.get("/api/shutdown").await.status, 405);
    assert_eq!(api.ask("POST /api/status", &[BASIC], "").await.status, 405);
    assert_eq!(api.get("/api/nothing").await.status, 404);
}

#[tokio::test]
async fn the_status_has_the_keys_of_the_original_and_real_values() {
    let status = api().get("/api/status").await;
    assert_eq!((status.status, status.header("content-type")), (200, "application/json"));
    let value = status.json();
    assert_eq!(keys(&value), ["alert_info", "monitor_items", "status", "threads", "timestamp"]);
    assert_eq!(value["status"], "running");
    let items = &value["monitor_items"];
    assert_eq!(keys(items), ["enabled", "running_threads", "total"]);
    assert_eq!((&items["total"], &items["running_threads"]), (&1_000.into(), &900.into()));
    assert_eq!(value["threads"][0]["name"], "shard-0");
}

#[tokio::test]
async fn monitors_have_every_key_and_are_all_there_or_in_pages() {
    let api = api();
    let all = api.get("/api/monitors").await;
    assert!(all.text.is_ascii() && all.text.contains("<script>\\u00e9"));
    let value = all.json();
    assert_eq!(keys(&value), ["monitors", "timestamp", "total"]);
    assert_eq!(value["monitors"].as_array().unwrap().len(), 1_000);
    let wanted = [
        "consecutive_errors",
        "count_offline",
        "count_online",
        "enabled",
        "id",
        "is_thread_running",
        "last_check_time",
        "last_status",
        "name",
        "stop_to",
        "time_range_seconds",
        "type",
        "url_check",
        "user_id",
    ];
    assert_eq!(keys(&value["monitors"][0]), wanted);
    assert_eq!(value["monitors"][9]["is_thread_running"], false);
    assert_eq!(value["monitors"][0]["consecutive_errors"], 2);
    let page = api.get("/api/monitors?limit=2&offset=998").await.json();
    let ids: Vec<_> = page["monitors"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&Value::from(999), &Value::from(1_000)]);
    assert_eq!(page["total"], 1_000);
    let none = api.get("/api/monitors?offset=99999999999").await.json();
    assert_eq!(none["monitors"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn threads_are_the_monitors_that_run() {
    let value = api().get("/api/threads?limit=10").await.json();
    assert_eq!(keys(&value), ["active_count", "threads", "timestamp", "total_running"]);
    assert_eq!(value["threads"].as_array().unwrap().len(), 9);
    assert_eq!((&value["total_running"], &value["active_count"]), (&900.into(), &1.into()));
    let wanted = [
        "consecutive_errors",
        "id",
        "is_alive",
        "last_alert_time",
        "monitor_name",
        "monitor_type",
        "name",
        "start_time",
        "status",
    ];
    assert_eq!(keys(&value["threads"][0]), wanted);
}

#[tokio::test]
async fn the_end_of_the_log_is_shown_and_a_missing_file_is_said() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log_main.txt");
    let api = api_of(Thousand, &path);
    let value = api.get("/api/logs").await.json();
    assert_eq!((&value["total_lines"], &value["showing_lines"]), (&0.into(), &1.into()));
    assert!(value["logs"][0].as_str().unwrap().contains("--log-format original"));
    let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let value = api.get("/api/logs").await.json();
    assert_eq!((&value["total_lines"], &value["showing_lines"]), (&100.into(), &50.into()));
    let value = api.get("/api/logs?lines=2").await.json();
    assert_eq!(value["logs"], Value::from(vec!["line 98", "line 99"]));
    let bad = api.get("/api/logs?lines=many").await;
    assert_eq!((bad.status, keys(&bad.json())), (500, vec!["error", "logs"]));
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let api = api();
    let bad = api.ask("POST /login", &[], "username=admin&password=x").await;
    assert!(bad.status == 200 && bad.text.contains("Invalid username or password"));
    assert_eq!(bad.header("set-cookie"), "");
    let answer = api.ask("POST /login", &[], "username=admin&password=s3cret").await;
    let cookie = answer.header("set-cookie");
    for part in ["session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    assert_eq!(api.ask("GET /api/status", &[("cookie", session)], "").await.status, 200);
    let out = api.ask("GET /logout", &[("cookie", session)], "").await;
    assert_eq!((out.status, out.header("location")), (302, "/login"));
    assert_eq!(api.ask("GET /api/status", &[("cookie", session)], "").await.status, 401);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let form = format!("username=admin&password={}", "x".repeat(100_000));
    assert_eq!(api().ask("POST /login", &[], &form).await.status, 413);
}

#[tokio::test]
async fn too_many_wrong_passwords_are_refused_and_a_session_goes_on() {
    let api = api();
    let session = api.session().await;
    for _ in 0..engine::limits::LOGIN_FAILURES_MAX {
        let answer = api.ask("POST /login", &[], "username=admin&password=x").await;
        assert_eq!(answer.status, 200);
    }
    let answer = api.ask("POST /login", &[], "username=admin&password=s3cret").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "60"));
    assert_eq!(api.get("/api/status").await.status, 429);
    assert_eq!(api.ask("GET /api/status", &[("cookie", &session)], "").await.status, 200);
}

#[tokio::test]
async fn the_dashboard_shows_live_rows_and_runs_no_script() {
    let api = api();
    let session = api.session().await;
    let page = api.ask("GET /legacy", &[("cookie", &session)], "").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("1000 monitors, 900 enabled, 900 running"));
    assert!(page.text.contains("&lt;script&gt;é") && !page.text.contains("<script"));
    assert!(page.text.contains("https://mon.example/") && page.text.contains("?offset=200"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(api.get("/style.css").await.status, 200);
}

#[tokio::test]
async fn programs_stop_the_engine_with_their_credentials() {
    let api = api();
    let answer = api.ask("POST /api/shutdown", &[BASIC], "").await;
    let value = answer.json();
    assert_eq!(value["status"], "shutting_down");
    assert_eq!(value["message"], "Monitor service is shutting down...");
    assert!(api.is_stopped());
}

#[tokio::test]
async fn a_session_stops_the_engine_from_its_own_page_only() {
    let api = api();
    let session = api.session().await;
    let cookie = ("cookie", session.as_str());
    let foreign = [cookie, ("host", "mon.example"), ("origin", "https://evil.example")];
    for headers in [&[cookie][..], &foreign] {
        for body in ["", "word=", "word=x"] {
            assert_eq!(api.ask("POST /api/shutdown", headers, body).await.status, 403);
        }
    }
    assert!(!api.is_stopped());
    let page = api.ask("GET /legacy", &[cookie], "").await.text;
    let (_, word) = page.split_once("name=\"word\" value=\"").unwrap();
    let form = format!("word={}", word.split('"').next().unwrap());
    assert_eq!(api.ask("POST /api/shutdown", &foreign, &form).await.status, 200);
    assert!(api.is_stopped());
    api.stop.store(false, Ordering::Relaxed);
    let own = [cookie, ("host", "h:5005"), ("origin", "http://h:5005")];
    assert_eq!(api.ask("POST /api/shutdown", &own, "").await.status, 200);
    assert!(api.is_stopped());
}

#[tokio::test]
async fn tokens_are_given_for_the_password_and_let_in() {
    let api = api();
    for (wish, sort, expires) in [
        ("{}", "Bearer Simple", "Never (until credentials change)"),
        ("{\"type\":\"jwt\",\"expires_hours\":2}", "Bearer JWT", "2 hours"),
        ("{\"type\":\"jwt\"}", "Bearer JWT", "24 hours"),
    ] {
        let value = api.ask("POST /api/token", &[BASIC, JSON], wish).await.json();
        assert_eq!(keys(&value), ["expires", "timestamp", "token", "type", "usage"]);
        assert_eq!((&value["type"], &value["expires"]), (&sort.into(), &expires.into()));
        let bearer = value["usage"].as_str().unwrap().strip_prefix("Authorization: ").unwrap();
        let answer = api.ask("GET /api/status", &[("authorization", bearer)], "").await;
        assert_eq!(answer.status, 200, "{sort}");
        let again = api.ask("POST /api/token", &[("authorization", bearer), JSON], "{}").await;
        assert_eq!(again.status, 401, "a token gives no token");
    }
    assert_eq!(api.ask("POST /api/token", &[BASIC], "{}").await.status, 415);
    let wrong = ("authorization", "Basic YWRtaW46eA==");
    let answer = api.ask("POST /api/token", &[wrong, JSON], "{}").await;
    assert_eq!(
        (answer.status, answer.json()["error"].clone()),
        (401, "Invalid credentials".into())
    );
    for bad in ["", "[", "{\"type\":\"x\"}", "{\"expires_hours\":0}", "{\"expires_hours\":-1}"] {
        assert_eq!(api.ask("POST /api/token", &[BASIC, JSON], bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_an_error_with_its_words() {
    let api = api_of(Broken, Path::new("x"));
    for path in ["/api/status", "/api/monitors", "/api/threads", "/legacy"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 500, "{path}");
        let value = answer.json();
        assert_eq!((&value["status"], &value["error"]), (&"error".into(), &"no database".into()));
    }
}

//! A store with monitors and results in it, and the API's router on it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use engine::api::legacy::auth::Auth;
use engine::api::v1::fleet::Fleet;
use engine::api::v1::probe::Probing;
use engine::api::v1::tokens::{Scope, Tokens};
use engine::api::v1::{self, Setup};
use engine::blackbox::Modules;
use engine::config::database::Secret;
use engine::ids::{MonitorId, ShardId};
use engine::metrics::latency::Collector;
use engine::monitor::{About, Kind};
use engine::sample::{CheckResult, Code, Sample, SampleBatch, Transition, Verdict, Words};
use engine::store::{NewMonitor, Retention, SqliteFolder, SqliteStore, Store};
use probes::{Failure, Timings};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// The time of every test, in milliseconds since the Unix epoch.
pub const NOW: u64 = 1_795_444_849_000;

/// The API on a store of its own.
pub struct Api {
    pub place: TempDir,
    pub store: SqliteStore,
    pub fleet: Arc<Fleet>,
    pub auth: Arc<Auth>,
    pub token: String,
    routes: Router,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A monitor to be stored.
pub fn monitor(name: &str, kind: Kind, tags: &[&str]) -> NewMonitor {
    NewMonitor {
        about: About {
            name: name.to_owned(),
            target: format!("https://{name}.example/"),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        },
        kind: Some(kind),
        row_json: "{}".into(),
        problem: None,
        interval_ms: 60_000,
        paused: false,
    }
}

/// One good check of 100 ms.
pub fn good(monitor: u64, due_ms: u64) -> Sample {
    Sample {
        monitor: MonitorId(monitor),
        due_ms,
        lag_us: 100,
        timings: Timings::from_raw([1_000, 20_000, 30_000, 40_000, 9_000]),
        total_us: 100_000,
        body_bytes: 1_000,
        code: Code::GOOD,
        http_status: 200,
        phase: 4,
        attempts: 1,
        verdict: Verdict::Up,
    }
}

/// One check that was refused.
pub fn bad(monitor: u64, due_ms: u64) -> Sample {
    let code = CheckResult::Down(Failure::Refused).into();
    Sample { code, http_status: 0, phase: 1, verdict: Verdict::Down, ..good(monitor, due_ms) }
}

/// A batch of these, with a change from up to the verdict of each bad one.
pub fn batch(seq: u64, samples: Vec<Sample>, message: &str) -> SampleBatch {
    let failed = |sample: &&Sample| sample.verdict == Verdict::Down;
    let change = |sample: &Sample| Transition {
        monitor: sample.monitor,
        at_ms: sample.due_ms,
        from: Verdict::Up,
        to: Verdict::Down,
        code: sample.code,
    };
    let transitions = samples.iter().filter(failed).map(change).collect();
    let words = |(at, _): (usize, &Sample)| Words {
        sample: at as u16,
        message: message.into(),
        detail: None,
        cert: None,
        attempts: Vec::new(),
    };
    let words = samples.iter().enumerate().filter(|(_, sample)| failed(sample)).map(words);
    SampleBatch { shard: ShardId(0), seq, words: words.collect(), transitions, samples }
}

impl Api {
    /// An API over these monitors, the first of which has the number 1.
    pub async fn new(monitors: &[NewMonitor], samples: &[SampleBatch]) -> Api {
        let place = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(place.path(), Retention::default()).unwrap();
        store.sync_monitors("file", monitors).unwrap();
        let run = store.begin_run(NOW).unwrap();
        store.append(run, samples).unwrap();
        let fleet = Arc::new(Fleet::default());
        let auth = Arc::new(Auth::new("admin", Secret::new("s3cret"), &Secret::new("key")));
        let token = tokens(place.path()).add("test", Scope::Read, NOW).unwrap();
        let setup = Setup {
            histograms: Arc::new(Collector::new(Vec::new(), false, 0).into()),
            probing: Probing::new(Modules::standard(), || Err("not in this test".to_owned())),
            tail: Arc::default(),
            readers: Arc::new(SqliteFolder(place.path().to_owned())),
            shards: Vec::new(),
            fleet: Arc::clone(&fleet),
            auth: Arc::clone(&auth),
            tokens: tokens(place.path()),
            counters: Arc::default(),
            clock: || NOW,
        };
        let api = Api { routes: v1::routes(setup), place, store, fleet, auth, token };
        api.eventually(monitors.len()).await;
        api
    }

    /// Waits until the list of all monitors has so many.
    async fn eventually(&self, monitors: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.fleet.index().len() != monitors {
            assert!(Instant::now() < deadline, "the list was not read");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A request with these fields only.
    pub async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let from: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let request = request.extension(ConnectInfo(from)).body(Body::empty()).unwrap();
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// A request with the token.
    pub async fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        self.ask(&format!("GET /api/v1{path}"), &[("authorization", &bearer)]).await
    }

    /// The JSON of a request that is fine.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json");
        answer.json()
    }
}

pub fn tokens(folder: &Path) -> Tokens {
    Tokens::of_folder(folder)
}

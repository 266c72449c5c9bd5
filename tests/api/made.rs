//! A store with monitors and results in it, and the API's router on it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use engine::alert::channel::Maker;
use engine::alert::http::Roots;
use engine::api;
use engine::api::legacy::Legacy;
use engine::api::legacy::auth::Auth;
use engine::api::v1::Setup;
use engine::api::v1::fleet::Fleet;
use engine::api::v1::probe::Probing;
use engine::api::v1::settings::{Setting, Started};
use engine::api::v1::status::Pages;
use engine::api::v1::tail::Tail;
use engine::api::v1::tokens::{Scope, Tokens};
use engine::blackbox::Modules;
use engine::config::channels::ChannelSpec;
use engine::config::database::Secret;
use engine::control::view::StoreView;
use engine::ids::{MonitorId, ShardId};
use engine::messages::{BatchSink, Change, Changes, changes};
use engine::metrics::latency::Collector;
use engine::metrics::page::Page;
use engine::metrics::snapshot::Published;
use engine::metrics::streaks::Streaks;
use engine::monitor::{About, Kind};
use engine::net::egress::Egress;
use engine::sample::{CheckResult, Code, Marks, Sample, SampleBatch, Transition, Verdict, Words};
use engine::store::spool::Spool;
use engine::store::{
    NewMonitor, OpenReader, Retention, SqliteFolder, SqliteStore, Store, StoreHandle, StoreThread,
};
use probes::{Failure, Timings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// The time of every test, in milliseconds since the Unix epoch.
pub const NOW: u64 = 1_795_444_849_000;

/// The administrator's password.
pub const ADMIN: (&str, &str) = ("authorization", "Basic YWRtaW46czNjcmV0");

/// The API on a store of its own.
pub struct Api {
    pub place: TempDir,
    pub store: StoreHandle,
    /// What the shards were told, in order.
    pub told: Arc<Mutex<Vec<Change>>>,
    pub fleet: Arc<Fleet>,
    pub auth: Arc<Auth>,
    pub token: String,
    pub pages: Arc<Pages>,
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
        marks: Marks::NONE,
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
        Api::at(|| NOW, monitors, samples).await
    }

    /// The same with a clock.
    pub async fn at(clock: fn() -> u64, monitors: &[NewMonitor], samples: &[SampleBatch]) -> Api {
        let place = tempfile::tempdir().unwrap();
        let readers = Arc::new(SqliteFolder(place.path().to_owned()));
        Api::in_place(place, readers, clock, monitors, samples).await
    }

    /// An API without monitors whose readers are these.
    pub async fn on(readers: Arc<dyn OpenReader>) -> Api {
        Api::in_place(tempfile::tempdir().unwrap(), readers, || NOW, &[], &[]).await
    }

    async fn in_place(
        place: TempDir,
        readers: Arc<dyn OpenReader>,
        clock: fn() -> u64,
        monitors: &[NewMonitor],
        samples: &[SampleBatch],
    ) -> Api {
        let mut sqlite = Box::new(SqliteStore::open(place.path(), Retention::default()).unwrap());
        let store = &mut sqlite;
        store.edit_monitors("file", monitors, &[]).unwrap();
        let run = store.begin_run(NOW).unwrap();
        store.append(run, samples).unwrap();
        store.end_run(run, NOW).unwrap();
        let spool = Spool::in_folder(&place.path().join("spool")).unwrap();
        let (to_store, inbox) = sync_channel(64);
        let store = StoreHandle::new(to_store);
        let tell = |_: Vec<Transition>| {};
        StoreThread::start(sqlite, spool, inbox, tell, Arc::default()).unwrap();
        let (changes, told) = followed_changes();
        let fleet = Arc::new(Fleet::default());
        let followed = Arc::clone(&fleet);
        store.tap(move |batches| followed.record(batches)).unwrap();
        let tail = Arc::new(Tail::default());
        let listened = Arc::clone(&tail);
        store.tap(move |batches| listened.record(batches)).unwrap();
        let auth = Arc::new(Auth::new("admin", Secret::new("s3cret"), &Secret::new("key")));
        let token = tokens(place.path()).add("test", Scope::Read, NOW).unwrap();
        let histograms = Arc::new(Mutex::new(Collector::new(Vec::new(), false, NOW)));
        let pages: Arc<Pages> = Arc::default();
        let setup = Setup {
            histograms,
            probing: Probing::new(Modules::standard(), Egress::Public, || {
                Err("not in this test".to_owned())
            }),
            tail,
            status: Arc::clone(&pages),
            started: Arc::new(started()),
            readers: Arc::clone(&readers),
            shards: vec![Published::new(ShardId(0))],
            fleet: Arc::clone(&fleet),
            auth: Arc::clone(&auth),
            store: store.clone(),
            changes,
            tokens: tokens(place.path()),
            counters: Arc::default(),
            clock,
        };
        let legacy = Legacy {
            view: Arc::new(StoreView {
                readers,
                reader: Mutex::default(),
                shards: Vec::new(),
                streaks: Streaks::default(),
                store: Arc::default(),
            }),
            auth: Arc::clone(&auth),
            log_file: place.path().join("log"),
            domain: "engine.example".into(),
            stop: Arc::default(),
            started_ms: NOW,
            clock,
        };
        let page = Page::new(Vec::new(), Arc::default(), None, Default::default);
        let routes = api::routes(page, legacy, setup);
        let api = Api { routes, place, store, told, fleet, auth, token, pages };
        api.eventually(monitors.len()).await;
        api
    }

    /// Answers on a port of loopback; returns where.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = self.routes.clone().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    /// Records a batch, as a shard hands it over.
    pub fn record(&self, batch: SampleBatch) {
        self.store.give(batch).unwrap();
    }

    /// Waits until what `path` answers is as it should be.
    pub async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.json(path).await;
            if is_so(&found) {
                return;
            }
            assert!(Instant::now() < deadline, "{path} stays {found}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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
        self.send(line, headers, Body::empty()).await
    }

    /// A request with a body and a JSON value as the administrator sends it.
    pub async fn put(&self, line: &str, value: &Value) -> Answer {
        let headers = [ADMIN, ("content-type", "application/json")];
        self.send(line, &headers, Body::from(value.to_string())).await
    }

    /// A request with these fields and this body.
    pub async fn send(&self, line: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let from: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let request = request.extension(ConnectInfo(from)).body(body).unwrap();
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

/// A setting, a channel that takes everything and one that takes nothing.
fn started() -> Started {
    let channel = |name: &str, program: &str| {
        let spec = json!({ "name": name, "type": "command", "run": [program], "tags": ["shop"] });
        let spec = ChannelSpec::read(spec.as_object().unwrap()).unwrap();
        let maker = Maker { env: &|_| None, roots: Roots::load(None).unwrap(), domain: None };
        (spec.way.name(), maker.make(&spec).unwrap())
    };
    let text = |text: &str| text.to_owned();
    let password = Setting { setting: text("password"), value: text("***"), from: text("default") };
    let listen =
        Setting { setting: text("listen"), value: text("127.0.0.1:8787"), from: text("--listen") };
    Started {
        settings: vec![password, listen],
        channels: vec![channel("good", "/bin/true"), channel("bad", "/bin/false")],
        ..Started::default()
    }
}

/// A way for changes whose other end remembers them.
fn followed_changes() -> (Changes, Arc<Mutex<Vec<Change>>>) {
    let (changes, mut inbox) = changes();
    let told = Arc::new(Mutex::new(Vec::new()));
    let remembered = Arc::clone(&told);
    tokio::spawn(async move {
        while let Some(pending) = inbox.next().await {
            let remember = |change| -> Result<(), ()> {
                remembered.lock().unwrap().push(change);
                Ok(())
            };
            pending.make(remember).unwrap();
        }
    });
    (changes, told)
}

pub fn tokens(folder: &Path) -> Tokens {
    Tokens::of_folder(folder)
}

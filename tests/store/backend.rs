//! The backends under test, and samples to fill them with.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::config::database::{Database, Secret};
use engine::env::original::TimeSeries;
use engine::ids::{MonitorId, ShardId};
use engine::limits::WINDOW_MS;
use engine::monitor::{About, Kind};
use engine::pg::PgOptions;
use engine::sample::{CheckResult, Code, Sample, SampleBatch, Verdict, Words};
use engine::store::view::{Range, ResultView};
use engine::store::{
    NewMonitor, OpenReader, PgServer, PgStore, Read, Retention, SqliteReader, SqliteStore, Store,
    StoreError, SyncReport,
};
use probes::{Failure, Timings};
use tempfile::TempDir;

/// Start of a window: 2026-01-01 in milliseconds since the Unix epoch.
pub const T0: u64 = 1_767_225_600_000;

/// One database that stores and readers can be opened on.
pub trait Backend {
    fn store_keeping(&self, retention: Retention) -> Box<dyn Store>;
    fn reader(&self) -> Box<dyn Read>;
    /// An empty database of the same sort.
    fn another(&self) -> Box<dyn Backend>;
    /// True where states are written after their results, by maintenance.
    fn states_lag(&self) -> bool;
    /// How many random histories are tried.
    fn histories(&self) -> u32;

    fn store(&self) -> Box<dyn Store> {
        self.store_keeping(Retention::default())
    }
}

/// Makes the monitors of a source exactly these, as a start with a file does.
pub trait SyncMonitors {
    fn sync_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
    ) -> Result<SyncReport, StoreError>;
}

impl<S: Store + ?Sized> SyncMonitors for S {
    fn sync_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
    ) -> Result<SyncReport, StoreError> {
        let mut report = self.edit_monitors(source, rows, &[])?;
        let listed: HashSet<MonitorId> = report.ids.iter().flatten().copied().collect();
        let mut gone = self.monitors_of(source)?;
        gone.retain(|id| !listed.contains(id));
        report.removed = self.edit_monitors(source, &[], &gone)?.removed;
        Ok(report)
    }
}

pub struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    pub fn new() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A connection beside the engine's, to look and to damage.
    pub fn shell(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path().join("engine.db")).unwrap()
    }
}

impl Backend for Sqlite {
    fn store_keeping(&self, retention: Retention) -> Box<dyn Store> {
        // A server that another test starts holds a copy of every lock until it has become its
        // program: no more than a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match SqliteStore::open(self.path(), retention) {
                Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return Box::new(opened.unwrap()),
            }
        }
    }

    fn reader(&self) -> Box<dyn Read> {
        Box::new(SqliteReader::open(self.path()).unwrap())
    }

    fn another(&self) -> Box<dyn Backend> {
        Box::new(Sqlite::new())
    }

    fn states_lag(&self) -> bool {
        true
    }

    fn histories(&self) -> u32 {
        24
    }
}

/// A database of its own on the one server of this process.
pub struct Postgres {
    database: String,
    pub series: TimeSeries,
}

impl Postgres {
    pub fn new() -> Postgres {
        let database = Cluster::shared().new_database();
        let schema = "glx_monitor_v2".to_owned();
        let series = TimeSeries { enabled: false, schema, checks: true, metrics: true };
        Postgres { database, series }
    }

    /// As where the original's variables switch the time series on.
    pub fn with_series() -> Postgres {
        let mut backend = Postgres::new();
        backend.series.enabled = true;
        backend
    }

    pub fn url(&self) -> String {
        Cluster::shared().url(&self.database)
    }

    pub fn options(&self) -> PgOptions {
        options(&self.url())
    }

    /// What a person sees beside the engine.
    pub fn psql(&self, sql: &str) -> String {
        Cluster::shared().psql(&self.database, sql)
    }

    pub fn try_open(&self) -> Result<PgStore, StoreError> {
        PgStore::open(&self.options(), &self.series, Retention::default())
    }
}

impl Backend for Postgres {
    fn store_keeping(&self, retention: Retention) -> Box<dyn Store> {
        Box::new(PgStore::open(&self.options(), &self.series, retention).unwrap())
    }

    fn reader(&self) -> Box<dyn Read> {
        PgServer(self.options()).open().unwrap()
    }

    fn another(&self) -> Box<dyn Backend> {
        Box::new(Postgres::new())
    }

    fn states_lag(&self) -> bool {
        false
    }

    fn histories(&self) -> u32 {
        12
    }
}

pub fn options(url: &str) -> PgOptions {
    PgOptions::of(&Database::PostgresUrl(Secret::new(url))).unwrap().unwrap()
}

pub fn sample(monitor: u64, due_ms: u64) -> Sample {
    Sample {
        monitor: MonitorId(monitor),
        due_ms,
        lag_us: 100,
        timings: Timings::from_raw([u32::MAX, 101, u32::MAX, 102, 103]),
        total_us: 120,
        body_bytes: 5_000_001,
        code: Code::GOOD,
        http_status: 200,
        phase: 4,
        attempts: 1,
        verdict: Verdict::Up,
    }
}

pub fn refused(monitor: u64, due_ms: u64) -> Sample {
    let code = CheckResult::Down(Failure::Refused).into();
    Sample { code, http_status: 0, phase: 1, verdict: Verdict::Down, ..sample(monitor, due_ms) }
}

pub fn batch(seq: u64, samples: Vec<Sample>) -> SampleBatch {
    SampleBatch { shard: ShardId(0), seq, samples, words: Vec::new(), transitions: Vec::new() }
}

pub fn words(sample: u16, message: &str) -> Words {
    Words { sample, message: message.into(), detail: None, cert: None, attempts: Vec::new() }
}

pub fn row(name: &str) -> NewMonitor {
    NewMonitor {
        about: About {
            name: name.to_owned(),
            target: format!("http://{name}/"),
            tags: vec!["web".to_owned()],
        },
        kind: Some(Kind::PingWeb),
        row_json: format!("{{\"name\":\"{name}\"}}"),
        problem: None,
        interval_ms: 60_000,
        paused: false,
    }
}

/// Maintains until nothing is left to do. Windows that were over at `now_ms` are chunks then.
pub fn maintain_all(store: &mut dyn Store, now_ms: u64) {
    while store.maintain(now_ms).unwrap().more {}
}

/// A time at which the window of `due_ms` is surely compacted.
pub fn after_window(due_ms: u64) -> u64 {
    due_ms + 3 * WINDOW_MS
}

pub fn all_results(backend: &dyn Backend, monitor: u64) -> Vec<ResultView> {
    let found = backend.reader().results(MonitorId(monitor), &Range::default()).unwrap();
    assert_eq!(found.damaged, Vec::<String>::new());
    found.results
}

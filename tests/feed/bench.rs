//! A database with the original's table, a feed on it, and what the shards would have.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::config::database::Secret;
use engine::env::original::{RowDefaults, TimeSeries};
use engine::feed::slices::Slice;
use engine::feed::{Feed, FeedCounters, Links, Wanted};
use engine::messages::{Change, changes};
use engine::monitor::Monitor;
use engine::pg::PgOptions;
use engine::store::{PgStore, Retention, StoreHandle, ToStore};
use tempfile::TempDir;

/// Longest wait for anything; only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let bound = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < bound, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One database of a cluster, with the original's table and the engine's.
pub struct Database<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl<'a> Database<'a> {
    pub fn new(cluster: &'a Cluster) -> Database<'a> {
        let name = cluster.new_database();
        let database = Database { cluster, name };
        let schema = "glx_monitor_v2".to_owned();
        let series = TimeSeries { enabled: false, schema, checks: true, metrics: true };
        PgStore::open(&database.options(""), &series, Retention::default()).unwrap();
        database
    }

    pub fn sql(&self, sql: &str) -> String {
        self.cluster.psql(&self.name, sql)
    }

    pub fn options(&self, parameters: &str) -> PgOptions {
        let url = format!("{}{parameters}", self.cluster.url(&self.name));
        PgOptions::read(&Secret::new(url), "here".into()).unwrap()
    }

    /// Enabled TCP rows from 1 to `count`, with an interval of 60 s.
    pub fn rows(&self, count: u32) {
        self.sql(&format!(
            "INSERT INTO monitor_items (name, enable, url_check, type, check_interval_seconds,
                 updated_at, last_check_time)
             SELECT 'm' || n, 1, '127.0.0.1:' || 1 + n % 60000, 'tcp', 60, t, t
             FROM generate_series(1, {count}) n, (SELECT now()::timestamp) AS at (t)"
        ));
    }
}

type Shards = BTreeMap<u64, Monitor>;

/// A running feed, and the monitors that it has given out.
pub struct Running {
    feed: Feed,
    pub counters: Arc<FeedCounters>,
    shards: Arc<Mutex<Shards>>,
    pub folder: TempDir,
}

/// How a feed is started.
pub struct Plan {
    pub options: PgOptions,
    pub slices: Vec<Slice>,
    pub only_polls: bool,
    pub folder: TempDir,
}

impl Plan {
    pub fn new(database: &Database<'_>) -> Plan {
        Plan {
            options: database.options(""),
            slices: Vec::new(),
            only_polls: false,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn polled(self) -> Plan {
        Plan { only_polls: true, ..self }
    }

    pub fn of_slice(self, number: u64, size: u64) -> Plan {
        Plan { slices: vec![Slice { number, size }], ..self }
    }

    pub fn start(self) -> Running {
        let (sender, mut inbox) = changes();
        let shards = Arc::new(Mutex::new(Shards::new()));
        let given = Arc::clone(&shards);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while let Some(pending) = runtime.block_on(inbox.next()) {
                pending.make(|change| make(&mut given.lock().unwrap(), change)).unwrap();
            }
        });
        let (to_store, questions) = sync_channel(1);
        std::thread::spawn(move || {
            for question in questions {
                if let ToStore::States { reply, .. } = question {
                    let _ = reply.send(Ok(Default::default()));
                }
            }
        });
        let wanted = Wanted {
            database: self.options,
            data_dir: self.folder.path().to_owned(),
            defaults: RowDefaults::default(),
            slices: self.slices,
            only_polls: self.only_polls,
            is_away: false,
        };
        let links = Links {
            store: StoreHandle::new(to_store),
            changes: sender,
            logs: None,
            ours: Default::default(),
        };
        let feed = Feed::start(wanted, links).unwrap();
        let counters = feed.counters();
        Running { feed, counters, shards, folder: self.folder }
    }
}

fn make(shards: &mut Shards, change: Change) -> Result<(), ()> {
    match change {
        Change::Upsert(assigns) => {
            shards.extend(assigns.into_iter().map(|assign| (assign.monitor.id.0, assign.monitor)));
        }
        Change::Remove(ids) => ids.iter().for_each(|id| drop(shards.remove(&id.0))),
        Change::CheckNow(_) => {}
    }
    Ok(())
}

impl Running {
    /// A number that the feed counts.
    pub fn count(&self, name: &str) -> u64 {
        let counts = self.counters.by_name();
        let mut all = counts.gauges.iter().chain(&counts.counters);
        all.find(|(known, ..)| *known == name).unwrap().2
    }

    /// The ids of monitors that are to be checked now.
    pub fn checked(&self) -> Vec<u64> {
        let shards = self.shards.lock().unwrap();
        shards.iter().filter(|(_, monitor)| !monitor.paused).map(|(id, _)| *id).collect()
    }

    pub fn monitor(&self, id: u64) -> Option<Monitor> {
        self.shards.lock().unwrap().get(&id).cloned()
    }

    /// Waits until exactly these are to be checked.
    pub fn wait_checked(&self, what: &str, wanted: &[u64]) {
        let start = Instant::now();
        eventually(&format!("{what}: {wanted:?}"), || (self.checked() == wanted).then_some(()));
        println!("{what}: after {:?}", start.elapsed());
    }

    pub fn wait_count(&self, name: &str, wanted: u64) {
        eventually(&format!("{name} {wanted}"), || (self.count(name) == wanted).then_some(()));
    }

    pub fn stop(self) -> TempDir {
        self.feed.stop();
        self.folder
    }
}

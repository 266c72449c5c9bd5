//! What a result costs on its way into PostgreSQL: CPU time of the store and of the server.
//!
//! Starts a cluster of its own with a million monitors and records as many results as they make in
//! a minute, a second's worth (16,667) in each call, for three kinds of monitors: the engine's own;
//! the original's rows without its time series; and with them. Then a second in which everything
//! goes down. The server's figure has all of its processes, so also checkpoints and vacuum.
//!
//! `cargo bench --bench pg_append`; `PG_APPEND_MONITORS=100000` is a short form.

use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::config::database::{Database, Secret};
use engine::env::original::TimeSeries;
use engine::ids::{MonitorId, ShardId};
use engine::limits::{BATCH_SAMPLES_MAX, FOREIGN_IDS_MAX};
use engine::pg::PgOptions;
use engine::sample::{CheckResult, Code, Sample, SampleBatch, Transition, Verdict, Words};
use engine::store::{PgStore, Retention, RunId, Store};
use nix::sys::resource::{UsageWho, getrusage};
use probes::{Failure, Timings};

/// A minute of results comes in so many calls.
const SECONDS: u64 = 60;
const T0: u64 = 1_767_225_600_000;

fn main() {
    let monitors: u64 =
        std::env::var("PG_APPEND_MONITORS").map_or(1_000_000, |text| text.parse().unwrap());
    let settings = ["shared_buffers=1GB", "max_wal_size=8GB", "wal_compression=lz4"];
    println!("{monitors} monitors, {} results in a call", monitors / SECONDS);
    println!("| monitors | client µs/result | server µs/result | ms/call p50 | max |");
    println!("|---|---|---|---|---|");
    for (name, base, series) in [
        ("the engine's own", FOREIGN_IDS_MAX, false),
        ("the original's, no time series", 1, false),
        ("the original's, with monitor_checks", 1, true),
    ] {
        let cluster = Cluster::start(&settings);
        let database = Database::PostgresUrl(Secret::new(cluster.url("postgres")));
        let options = PgOptions::of(&database).unwrap().unwrap();
        let schema = "glx_monitor_v2".to_owned();
        let series = TimeSeries { enabled: series, schema, checks: true, metrics: false };
        let mut store = PgStore::open(&options, &series, Retention::default()).unwrap();
        fill(&cluster, base, monitors);
        let second =
            |second: u64| (second..monitors).step_by(SECONDS as usize).map(move |n| base + n);
        // The first results of a monitor have words, as in the engine: its message is kept.
        record(&mut store, (0..SECONDS).map(|n| batches(n, second(n), Code::GOOD, true)), &cluster);
        let minute = (0..SECONDS).map(|n| batches(SECONDS + n, second(n), Code::GOOD, false));
        record(&mut store, minute, &cluster).show(name);
        let refused = CheckResult::Down(Failure::Refused).into();
        let outage = std::iter::once(batches(2 * SECONDS, second(0), refused, true));
        record(&mut store, outage, &cluster).show(&format!("{name}, all of them go down"));
    }
}

/// Monitors with states, as they are after an hour.
fn fill(cluster: &Cluster, base: u64, monitors: u64) {
    let last = base + monitors - 1;
    let states = format!(
        "INSERT INTO engine.state (monitor_id, verdict) SELECT n, 1
         FROM generate_series({base}, {last}) n"
    );
    let items = format!(
        "INSERT INTO monitor_items (id, name, enable, url_check, type, user_id)
         SELECT n, 'monitor ' || n, 1, 'http://host-' || n || '.example/path', 'ping_web', 1
         FROM generate_series({base}, {last}) n WHERE {base} = 1"
    );
    for sql in [&states, &items, "VACUUM ANALYZE engine.state, monitor_items", "CHECKPOINT"] {
        cluster.psql("postgres", sql);
    }
}

/// The results of one second, as the shards give them.
fn batches(
    second: u64,
    monitors: impl Iterator<Item = u64>,
    code: Code,
    with_words: bool,
) -> Vec<SampleBatch> {
    let down = code != Code::GOOD;
    let verdict = if down { Verdict::Down } else { Verdict::Up };
    let samples: Vec<Sample> = monitors
        .map(|monitor| Sample {
            monitor: MonitorId(monitor),
            due_ms: T0 + second * 1_000,
            lag_us: (monitor % 3_000) as u32,
            timings: Timings::from_raw([
                900,
                20_000,
                u32::MAX,
                45_000 + (monitor % 997) as u32,
                90,
            ]),
            total_us: 66_000 + (monitor % 997) as u32,
            body_bytes: 1_270,
            code,
            http_status: if down { 0 } else { 200 },
            phase: 4,
            attempts: 1,
            verdict,
        })
        .collect();
    let batch = |(part, samples): (usize, &[Sample])| SampleBatch {
        shard: ShardId(0),
        seq: second * 10_000 + part as u64 + 1,
        words: (0..samples.len() as u16)
            .filter(|_| with_words)
            .map(|sample| Words {
                sample,
                message: if down { "connection refused" } else { "HTTP 200 - OK" }.into(),
                detail: None,
                cert: None,
                attempts: Vec::new(),
            })
            .collect(),
        transitions: samples
            .iter()
            .filter(|_| down)
            .map(|sample| Transition {
                monitor: sample.monitor,
                at_ms: sample.due_ms,
                from: Verdict::Up,
                to: Verdict::Down,
                code,
            })
            .collect(),
        samples: samples.to_vec(),
    };
    samples.chunks(BATCH_SAMPLES_MAX).enumerate().map(batch).collect()
}

struct Cost {
    rows: u64,
    client: Duration,
    server: Duration,
    calls_ms: Vec<u128>,
}

impl Cost {
    fn show(mut self, name: &str) {
        self.calls_ms.sort_unstable();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.rows as f64;
        println!(
            "| {name} | {:.2} | {:.2} | {} | {} |",
            each(self.client),
            each(self.server),
            self.calls_ms[self.calls_ms.len() / 2],
            self.calls_ms[self.calls_ms.len() - 1]
        );
    }
}

fn record(
    store: &mut PgStore,
    calls: impl Iterator<Item = Vec<SampleBatch>>,
    cluster: &Cluster,
) -> Cost {
    let mut cost =
        Cost { rows: 0, client: Duration::ZERO, server: Duration::ZERO, calls_ms: Vec::new() };
    let before = cluster.cpu_time();
    for batches in calls {
        let (cpu, start) = (own_cpu(), Instant::now());
        cost.rows += store.append(RunId(1), &batches).unwrap().rows;
        cost.client += own_cpu() - cpu;
        cost.calls_ms.push(start.elapsed().as_millis());
    }
    cost.server = cluster.cpu_time() - before;
    cost
}

/// CPU time of this process so far.
fn own_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let both = [usage.user_time(), usage.system_time()];
    both.iter()
        .map(|time| Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64))
        .sum()
}

//! What a start costs: time to the first result and to the last monitor, CPU time and memory.
//!
//! `cargo bench --bench start_cost -- [MONITORS] [sqlite|postgres]` (default 1,000,000 and sqlite)
//! has another process put monitors into a database as the API does (six in ten are ICMP echoes,
//! the others ports of this host where nothing listens, which is what they expect), starts an
//! engine on it and looks at it again after a minute.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::bench::usage;
use engine::boot::backend::Backend;
use engine::boot::{Engine, Options};
use engine::config::Entry;
use engine::config::database::{Database, Secret};
use engine::env::original::TimeSeries;
use engine::limits::{FLEET_READ_ROWS, INFLIGHT_DEFAULT};
use engine::monitor::row::{Interner, MonitorRow, check};
use engine::pg::PgOptions;
use engine::placement;
use engine::store::{NewMonitor, PgStore, Retention, SqliteStore, Store};
use nix::sys::resource::{UsageWho, getrusage};

const SOURCE: &str = "api";

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let monitors: u64 = args.next().map_or(1_000_000, |text| text.parse().unwrap());
    let on_server = args.next().is_some_and(|text| text == "postgres");
    if let (Some(folder), Some(url)) = (args.next(), args.next()) {
        return fill(monitors, Path::new(&folder), &backend(&url));
    }
    let settings = ["shared_buffers=512MB", "max_wal_size=8GB"];
    let cluster = on_server.then(|| Cluster::start(&settings));
    let url = cluster.as_ref().map_or(String::new(), |cluster| cluster.url("postgres"));
    let folder = tempfile::tempdir().unwrap();
    let sort = if on_server { "postgres" } else { "sqlite" };
    let filler = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&monitors.to_string(), sort, &folder.path().display().to_string(), &url])
        .status();
    assert!(filler.unwrap().success());
    run(folder.path(), backend(&url));
}

fn backend(url: &str) -> Backend {
    if url.is_empty() {
        return Backend::Sqlite;
    }
    let database = Database::PostgresUrl(Secret::new(url.to_owned()));
    let options = Box::new(PgOptions::of(&database).unwrap().unwrap());
    let schema = "glx_monitor_v2".to_owned();
    let series = TimeSeries { enabled: false, schema, checks: false, metrics: false };
    Backend::Postgres { options, series }
}

fn fill(monitors: u64, folder: &Path, backend: &Backend) {
    let mut store: Box<dyn Store> = match backend {
        Backend::Sqlite => Box::new(SqliteStore::open(folder, Retention::default()).unwrap()),
        Backend::Postgres { options, series } => {
            Box::new(PgStore::open(options, series, Retention::default()).unwrap())
        }
    };
    let mut interner = Interner::default();
    let numbers: Vec<u64> = (0..monitors).collect();
    for part in numbers.chunks(10 * FLEET_READ_ROWS) {
        let rows: Vec<_> = part.iter().map(|number| new(*number, &mut interner)).collect();
        assert_eq!(store.edit_monitors(SOURCE, &rows, &[]).unwrap().added, rows.len());
    }
}

fn new(number: u64, interner: &mut Interner) -> NewMonitor {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    let (kind, port) = match number % 10 {
        0..6 => ("ping_icmp", ""),
        _ => ("open_port_tcp_then_error", ":9"),
    };
    let row = MonitorRow {
        kind: Some(kind.to_owned()),
        name: Some(format!("host {number} of the fleet")),
        target: Some(format!("127.{a}.{b}.{c}{port}").replace("127.0.0.0", "127.0.0.1")),
        interval: Some("60s".to_owned()),
        tags: Some(vec![format!("site-{}", number % 100)]),
        ..MonitorRow::default()
    };
    let checked = check(&row, interner).unwrap();
    NewMonitor::of(&checked, Entry::new(&row, 0, Ok(checked.clone())).row_json.into())
}

fn run(folder: &Path, backend: Backend) {
    let options = Options {
        data_dir: folder.to_owned(),
        backend,
        cpus: placement::shard_cpus(None).unwrap(),
        in_flight_max: INFLIGHT_DEFAULT,
        retention: Retention::default(),
        guard: None,
        roots: None,
    };
    let began = Instant::now();
    let mut engine = Engine::start(&options, |_| {}).unwrap();
    let first = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&first);
    engine
        .store()
        .tap(move |_| {
            let millis = began.elapsed().as_millis() as u64;
            // The first one only; whoever comes later finds it taken.
            let _ = seen.compare_exchange(0, millis, Ordering::Relaxed, Ordering::Relaxed);
        })
        .unwrap();
    let mut reader = options.backend.readers(folder).open().unwrap();
    let applied = engine.adopt(SOURCE, &mut *reader, &mut Interner::default()).unwrap();
    drop(reader);
    let last_s = began.elapsed().as_secs_f64();
    println!("{} monitors run, {} cannot", applied.running, applied.bad.len());
    let after_load = format!("CPU {:.1} s, {}", cpu_s(), memory());
    std::thread::sleep(Duration::from_secs(70));
    println!("first result after {:.2} s", first.load(Ordering::Relaxed) as f64 / 1_000.0);
    println!("last monitor after {last_s:.2} s: {after_load}");
    println!("a minute later: CPU {:.1} s, {}", cpu_s(), memory());
    engine.finish().unwrap();
}

fn memory() -> String {
    let memory = usage::memory();
    format!("resident {} MB, at most {} MB", memory.rss / 1_000_000, memory.peak / 1_000_000)
}

/// CPU time of this process so far, in seconds.
fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let both = [usage.user_time(), usage.system_time()];
    both.iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}

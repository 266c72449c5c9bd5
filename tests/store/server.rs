//! What only a server can get wrong: poolers, standbys, a COMMIT in doubt, a frozen process, a
//! full disk. Each with a server of its own that the test may hurt.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use engine::env::original::TimeSeries;
use engine::pg::{Kind, PgOptions};
use engine::sample::SampleBatch;
use engine::store::view::Filter;
use engine::store::{PgReader, PgStore, Read, Retention, RunId, Store, StoreError};

use crate::backend::*;

const RUN: RunId = RunId(1);

fn series() -> TimeSeries {
    let schema = "glx_monitor_v2".to_owned();
    TimeSeries { enabled: true, schema, checks: true, metrics: true }
}

fn open(options: &PgOptions) -> PgStore {
    PgStore::open(options, &series(), Retention::default()).unwrap()
}

/// One monitor of the original, with the number 1.
fn one_item(cluster: &Cluster) {
    let row = "INSERT INTO monitor_items (id, name, enable, url_check, type)
               VALUES (1, 'x', 1, 'http://x/', 'ping_web')";
    cluster.psql("postgres", row);
}

fn one(seq: u64) -> SampleBatch {
    batch(seq, vec![sample(1, T0 + seq * 60_000)])
}

/// Checks in the original's table, its counter, and results in the engine's own tables.
fn counted(cluster: &Cluster) -> [String; 3] {
    [
        cluster.psql("postgres", "SELECT count(*) FROM glx_monitor_v2.monitor_checks"),
        cluster.psql("postgres", "SELECT count_online FROM monitor_items"),
        cluster.psql("postgres", "SELECT sum(n) FROM engine.head"),
    ]
}

fn kind(error: &StoreError) -> Option<Kind> {
    match error {
        StoreError::Postgres(error) => Some(error.kind),
        _ => None,
    }
}

/// Gives the batch again until it is recorded, for at most 30 seconds.
fn append_until_recorded(store: &mut PgStore, batch: &SampleBatch) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = store.append(RUN, std::slice::from_ref(batch)) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn everything_works_through_a_pooler_that_shares_one_connection() {
    let cluster = Cluster::shared();
    let database = cluster.new_database();
    let direct = options(&cluster.url(&database));
    let bouncer = cluster.bouncer();
    let pooled = options(&bouncer.url(&database)).with_direct(direct);
    let mut stores = [open(&pooled), open(&pooled)];
    let names = ["x", "y"];
    for (number, (store, name)) in stores.iter_mut().zip(names).enumerate() {
        let id = store.sync_monitors(name, &[row(name)]).unwrap().ids[0].unwrap();
        for seq in 1..=5 {
            let rows = vec![sample(id.0, T0 + seq)];
            store.append(RunId(number as u64), &[batch(seq, rows)]).unwrap();
        }
        maintain_all(store, after_window(T0));
    }
    let mut reader = PgReader::open(&pooled).unwrap();
    let listed = reader.monitors(&Filter::default()).unwrap();
    assert_eq!(listed.iter().map(|one| one.counts.up).collect::<Vec<_>>(), [5, 5]);
    for monitor in listed {
        assert_eq!(reader.results(monitor.id, &Default::default()).unwrap().results.len(), 5);
    }
}

#[test]
fn a_promoted_standby_takes_over_and_nothing_is_lost_or_twice() {
    let mut first = Cluster::start(&["synchronous_standby_names=*", "synchronous_commit=local"]);
    let standby = first.standby();
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        first.port(),
        standby.port()
    );
    let mut store = open(&options(&both));
    one_item(&first);
    let caught_up = "SELECT pg_current_wal_lsn() <= replay_lsn FROM pg_stat_replication";
    store.append(RUN, &[one(1), one(2)]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while first.psql("postgres", caught_up) != "t" {
        assert!(Instant::now() < deadline, "the standby does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.stop_immediate();
    assert_eq!(kind(&store.append(RUN, &[one(3)]).unwrap_err()), Some(Kind::Away));
    // The standby is there but takes no writes yet.
    assert!(store.append(RUN, &[one(3)]).is_err());
    let mut reader = PgReader::open(&options(&both)).unwrap();
    assert_eq!(reader.monitors(&Filter::default()).unwrap()[0].counts.up, 2);
    standby.promote();
    append_until_recorded(&mut store, &one(3));
    store.append(RUN, &[one(1), one(2), one(3)]).unwrap();
    assert_eq!(counted(&standby), ["3", "3", "3"]);
}

/// Forwards to a server and cuts the connection at the first answer after `COMMIT` was seen in
/// what the client sends, as often as `cuts` says.
struct Cutter {
    port: u16,
    cuts: Arc<AtomicUsize>,
}

impl Cutter {
    fn start(to: u16, cuts: usize) -> Cutter {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicUsize::new(cuts));
        let left = Arc::clone(&cuts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let committing = Arc::new(AtomicBool::new(false));
                let (from, onward) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let seen = Arc::clone(&committing);
                std::thread::spawn(move || {
                    pump(from, onward, |bytes| {
                        if bytes.windows(6).any(|word| word == b"COMMIT") {
                            seen.store(true, Ordering::SeqCst);
                        }
                        true
                    })
                });
                let left = Arc::clone(&left);
                std::thread::spawn(move || {
                    pump(server, client, |_| {
                        let less = |left: usize| left.checked_sub(1);
                        let cut = committing.swap(false, Ordering::SeqCst)
                            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                        !cut
                    })
                });
            }
        });
        Cutter { port, cuts }
    }
}

/// Copies bytes as long as `wanted` says so of each piece, and then cuts both ways.
fn pump(mut from: TcpStream, mut to: TcpStream, mut wanted: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !wanted(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_commit_whose_answer_is_lost_is_repeated_without_harm() {
    let mut backend = Postgres::with_series();
    backend.series.metrics = false;
    drop(backend.store());
    backend.psql("INSERT INTO monitor_items (id, name, enable) VALUES (1, 'x', 1)");
    let cutter = Cutter::start(Cluster::shared().port(), 0);
    let url =
        backend.url().replace(&Cluster::shared().port().to_string(), &cutter.port.to_string());
    let mut store = PgStore::open(&options(&url), &backend.series, Retention::default()).unwrap();
    let mut in_doubt = 0;
    for seq in 1..=10 {
        cutter.cuts.store(1, Ordering::SeqCst);
        while let Err(error) = store.append(RUN, &[one(seq)]) {
            in_doubt += u64::from(kind(&error) == Some(Kind::InDoubt));
        }
    }
    assert_eq!(in_doubt, 10);
    assert_eq!(backend.psql("SELECT count(*) FROM glx_monitor_v2.monitor_checks"), "10");
    assert_eq!(backend.psql("SELECT count_online FROM monitor_items"), "10");
    assert_eq!(backend.psql("SELECT sum(n) FROM engine.head"), "10");
}

#[test]
fn a_frozen_server_is_given_up_within_its_bound_and_used_again_later() {
    let cluster = Cluster::start(&["fsync=off"]);
    let mut store = open(&options(&cluster.url("postgres")));
    one_item(&cluster);
    store.append(RUN, &[one(1)]).unwrap();
    cluster.freeze();
    let error = store.append(RUN, &[one(2)]).unwrap_err();
    assert_eq!(error.to_string(), "database: no answer within 8000 ms");
    cluster.thaw();
    append_until_recorded(&mut store, &one(2));
    assert_eq!(counted(&cluster), ["2", "2", "2"]);
}

#[test]
fn somebody_elses_lock_is_an_error_in_time_and_no_loss() {
    let cluster = Cluster::start(&["fsync=off"]);
    let url = cluster.url("postgres");
    let mut store = open(&options(&url));
    one_item(&cluster);
    std::thread::scope(|scope| {
        let held = "BEGIN; LOCK TABLE monitor_items; NOTIFY held; SELECT pg_sleep(60)";
        scope.spawn(|| {
            let session = std::panic::AssertUnwindSafe(|| cluster.psql("postgres", held));
            let _ = std::panic::catch_unwind(session);
        });
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
                    AND relation = 'monitor_items'::regclass";
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.psql("postgres", held) == "0" {
            assert!(Instant::now() < deadline, "the lock is not taken");
        }
        let error = store.append(RUN, &[one(1)]).unwrap_err();
        assert_eq!(kind(&error), Some(Kind::Busy), "{error}");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
        cluster.psql("postgres", end);
    });
    append_until_recorded(&mut store, &one(1));
    assert_eq!(counted(&cluster), ["1", "1", "1"]);
}

#[test]
fn a_store_opened_while_the_server_is_away_works_once_it_is_there() {
    let mut cluster = Cluster::start(&["fsync=off"]);
    cluster.stop_fast();
    let options = options(&cluster.url("postgres"));
    let error = PgStore::open(&options, &series(), Retention::default()).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Away), "{error}");
    let mut store = PgStore::later(&options, &series(), Retention::default()).unwrap();
    assert!(store.append(RUN, &[one(1)]).is_err());
    cluster.start_again();
    store.append(RUN, &[one(1)]).unwrap();
    assert_eq!(cluster.psql("postgres", "SELECT sum(n) FROM engine.head"), "1");
}

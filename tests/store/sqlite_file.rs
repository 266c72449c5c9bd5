//! What only the SQLite file can get wrong: who opens it, its schema, damage.

use engine::ids::MonitorId;
use engine::sample::{Marks, Transition, Verdict};
use engine::store::view::Range;
use engine::store::{Gap, Retention, RunId, SqliteReader, SqliteStore, StoreError};

use crate::backend::*;

#[test]
fn a_second_engine_on_the_folder_is_refused_and_a_reader_is_not() {
    let backend = Sqlite::new();
    let _store = backend.store();
    let error = SqliteStore::open(backend.path(), Retention::default()).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, StoreError::InUse { pid: found, .. } if *found == pid), "{error}");
    backend.reader();
}

#[test]
fn a_newer_schema_is_refused_in_clear_words() {
    let backend = Sqlite::new();
    drop(backend.store());
    backend.shell().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(backend.path(), Retention::default()).unwrap_err().to_string();
    assert!(error.contains("schema 99, this version of the engine knows 6"), "{error}");
    assert!(SqliteReader::open(backend.path()).is_err());
}

#[test]
fn a_database_of_another_program_is_refused_and_not_changed() {
    let backend = Sqlite::new();
    backend.shell().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let refused = SqliteStore::open(backend.path(), Retention::default());
    assert!(matches!(refused, Err(StoreError::Foreign { .. })));
    let tables: i64 = backend
        .shell()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let backend = Sqlite::new();
    std::fs::write(backend.path().join("engine.db"), [b'x'; 4_096]).unwrap();
    let refused = SqliteStore::open(backend.path(), Retention::default());
    assert!(matches!(refused, Err(StoreError::Foreign { .. })));
}

#[test]
fn a_reader_without_a_database_says_where_it_looked() {
    let backend = Sqlite::new();
    let error = SqliteReader::open(backend.path()).unwrap_err().to_string();
    assert!(error.contains("engine.db"), "{error}");
}

#[test]
fn a_reader_works_after_a_clean_end_too() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, vec![sample(1, T0)])]).unwrap();
    drop(store);
    assert_eq!(all_results(&backend, 1).len(), 1);
}

#[test]
fn damaged_blobs_are_named_and_the_others_are_read() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, vec![sample(1, T0)])]).unwrap();
    maintain_all(&mut *store, after_window(T0));
    for (seq, due) in [(2, T0 + 3_000_000), (3, T0 + 3_000_001), (4, T0 + 3_000_002)] {
        store.append(RunId(1), &[batch(seq, vec![sample(1, due)])]).unwrap();
    }
    let damage = "CREATE TEMP TABLE bad AS SELECT x'FF0102030405060708090A0B' AS data;
                  UPDATE chunk SET data = (SELECT data FROM bad);
                  UPDATE head SET data = (SELECT data FROM bad) WHERE seq = 3;";
    backend.shell().execute_batch(damage).unwrap();

    let mut reader = backend.reader();
    let found = reader.results(MonitorId(1), &Range::default()).unwrap();
    let dues: Vec<u64> = found.results.iter().map(|result| result.due_ms - T0).collect();
    assert_eq!(dues, [3_000_002, 3_000_000]);
    let chunk = format!("chunk 0 {T0} 0: unknown codec 255");
    assert_eq!(found.damaged, ["head 3: unknown codec 255".to_owned(), chunk.clone()]);

    // Compaction sets the damaged head row aside and takes the others.
    let done = store.maintain(after_window(T0 + 3_000_000)).unwrap();
    assert_eq!(done.damaged, ["head 3: unknown codec 255"]);
    assert_eq!(done.samples_compacted, 2);
    let found = reader.results(MonitorId(1), &Range::default()).unwrap();
    assert_eq!(found.results.len(), 2);
    assert_eq!(found.damaged, [chunk, "damaged 1: unknown codec 255".to_owned()]);
}

#[test]
fn damage_after_an_unclean_stop_is_found_at_start() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    let run = store.begin_run(T0).unwrap();
    let rows: Vec<_> = (0..5_000).map(|n| row(&format!("monitor-{n}"))).collect();
    store.sync_monitors("a", &rows).unwrap();
    drop(store);
    let damage = |offset: u64| {
        use std::os::unix::fs::FileExt;
        let file =
            std::fs::OpenOptions::new().write(true).open(backend.path().join("engine.db")).unwrap();
        file.write_all_at(&[0x5a; 16_384], offset).unwrap();
    };
    let mut store = backend.store();
    store.end_run(run, T0 + 1).unwrap();
    drop(store);
    damage(1_000_000);
    // After a clean stop the file is not read as a whole.
    let mut store = backend.store();
    store.begin_run(T0 + 2).unwrap();
    drop(store);
    let refused = SqliteStore::open(backend.path(), Retention::default());
    assert!(matches!(&refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

#[test]
fn the_views_speak_in_words() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    let id = store.sync_monitors("a", &[row("x")]).unwrap().ids[0].unwrap();
    let mut down = batch(1, vec![refused(id.0, T0)]);
    down.words = vec![words(0, "nobody listens")];
    let (from, to) = (Verdict::Pending, Verdict::Down);
    let change = Transition {
        monitor: id,
        at_ms: T0,
        from,
        to,
        code: down.samples[0].code,
        marks: Marks::NONE,
    };
    down.transitions = vec![change];
    store.append(RunId(1), &[down]).unwrap();
    let shell = backend.shell();
    let line: String = shell
        .query_row(
            "SELECT concat_ws(' ', name, verdict, code, message, since) FROM monitors",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(line, "x down connect_refused nobody listens 2026-01-01 00:00:00");
    for view in ["monitors", "failures", "transitions", "incidents", "certificates"] {
        shell.execute_batch(&format!("SELECT * FROM {view}")).unwrap();
    }
}

#[test]
fn the_file_has_the_settings_that_durability_needs() {
    let backend = Sqlite::new();
    let _store = backend.store();
    let shell = backend.shell();
    let number = |name| shell.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("auto_vacuum"), 2);
    assert_eq!(number("page_size"), 8_192);
    assert_eq!(number("user_version"), 6);
    let mode: String = shell.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_gap_recorded_again_takes_the_place_of_the_first() {
    let backend = Sqlite::new();
    let mut store = backend.store();
    let gap = Gap { number: 3, from_ms: T0, to_ms: T0 + 60_000, results: 900 };
    store.record_gap(RunId(1), &gap).unwrap();
    store.record_gap(RunId(1), &Gap { results: 1_000, ..gap }).unwrap();
    let rows = "SELECT count(*), sum(results) FROM gaps";
    let found: (i64, i64) =
        backend.shell().query_row(rows, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (1, 1_000));
}

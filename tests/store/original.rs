//! The original's tables: found or made, and written as the original does.

use engine::ids::MonitorId;
use engine::limits::{FOREIGN_IDS_MAX, HOUR_GRACE_MS};
use engine::sample::{CheckResult, Code, Marks, Missed, Sample, Transition, Verdict};
use engine::store::view::Filter;
use engine::store::{RunId, StoreError};
use probes::outcome::Detail;
use probes::{Failure, Timings};

use crate::backend::*;

/// The tables as the original's own setup makes them.
const SETUP: &str = include_str!("original.sql");

/// A database that the original has used: three monitors of two users, one deleted.
fn used() -> Postgres {
    let backend = Postgres::with_series();
    backend.psql(SETUP);
    backend.psql(
        "INSERT INTO monitor_items (id, name, enable, url_check, type, user_id, count_online,
                                    last_check_status, last_check_time, check_interval_seconds)
         VALUES (7, 'shop', 1, 'https://shop.example/', 'ping_web', 3, 41, 1, '2025-01-01', 60),
                (8, 'db', 1, 'db.example:5432', 'tcp', NULL, 0, NULL, NULL, 60),
                (9, 'off', 0, 'x.example', 'ping_icmp', 3, 0, NULL, NULL, 60)",
    );
    backend.psql(
        "INSERT INTO monitor_items (id, name, enable, url_check, type, deleted_at)
         VALUES (10, 'gone', 1, 'http://gone/', 'ping_web', now())",
    );
    backend
}

fn good(monitor: u64, due_ms: u64) -> Sample {
    Sample {
        timings: Timings::from_raw([1, 2, 3, 4, 5]),
        total_us: 12_345,
        ..sample(monitor, due_ms)
    }
}

#[test]
fn a_fresh_database_gets_the_originals_tables_in_their_exact_shape() {
    let columns = "SELECT table_schema, table_name, column_name, data_type, is_nullable,
                          character_maximum_length, numeric_precision, column_default
                   FROM information_schema.columns
                   WHERE table_schema IN ('public', 'glx_monitor_v2')
                     AND table_name !~ '_p[0-9]+$' ORDER BY 1, 2, ordinal_position";
    let indexes = "SELECT tablename, indexname FROM pg_indexes
                   WHERE schemaname IN ('public', 'glx_monitor_v2')
                     AND tablename !~ '_p[0-9]+$' ORDER BY 1, 2";
    let theirs = Postgres::new();
    theirs.psql(SETUP);
    let ours = Postgres::with_series();
    ours.store();
    assert!(ours.psql(columns).contains("monitor_checks|response_time|numeric"));
    assert_eq!(ours.psql(columns), theirs.psql(columns));
    assert_eq!(ours.psql(indexes), theirs.psql(indexes));
}

#[test]
fn what_is_there_is_adopted_and_only_the_columns_added_by_hand_come_on_top() {
    let backend = used();
    backend.psql("ALTER TABLE monitor_settings DROP COLUMN firebase_token");
    backend.psql("DROP TABLE monitor_configs");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'";
    let before: i64 = backend.psql(columns).parse().unwrap();
    let mut store = backend.store();
    let after: i64 = backend.psql(columns).parse().unwrap();
    let configs = 11;
    assert_eq!(after, before + 1 + configs);
    let listed = backend.reader().monitors(&Filter { by_id: true, ..Filter::default() }).unwrap();
    let listed: Vec<(u64, &str, Verdict)> =
        listed.iter().map(|one| (one.id.0, one.name.as_str(), one.verdict)).collect();
    let pending = Verdict::Pending;
    assert_eq!(listed, [(7, "shop", pending), (8, "db", pending), (9, "off", Verdict::Paused)]);
    let own = store.sync_monitors("file", &[row("own")]).unwrap().ids[0].unwrap();
    assert!(own.0 >= FOREIGN_IDS_MAX);
    assert_eq!(store.load_states().unwrap().len(), 4);
    // The owner may still change the tables.
    drop(store);
    backend.psql("ALTER TABLE monitor_items ALTER COLUMN name TYPE text, DROP COLUMN log");
    backend.store();
}

#[test]
fn tables_are_found_where_the_role_finds_them() {
    let backend = Postgres::with_series();
    backend.psql("CREATE SCHEMA app");
    backend.psql(&format!("SET search_path = app; {SETUP}"));
    backend.psql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public',
                  current_database()); END $$",
    );
    backend.psql("INSERT INTO app.monitor_items (id, name) VALUES (1, 'x')");
    let mut store = backend.store();
    assert_eq!(backend.reader().find("x").unwrap(), Some(MonitorId(1)));
    store.append(RunId(1), &[batch(1, vec![good(1, T0)])]).unwrap();
    assert_eq!(backend.psql("SELECT count_online FROM app.monitor_items"), "1");
    assert_eq!(backend.psql("SELECT to_regclass('public.monitor_items') IS NULL"), "t");
}

#[test]
fn five_columns_and_checks_say_what_the_original_says() {
    let backend = used();
    let mut store = backend.store();
    let mut first = batch(1, vec![good(7, T0), refused(8, T0), good(10, T0), good(11, T0)]);
    first.samples[1].attempts = 3;
    first.words = vec![words(0, "HTTP 200 - OK"), words(1, "TCP connection refused to db.example")];
    first.words[1].attempts = vec!["one\ttab".into(), "two\\".into()];
    let detail = Detail { url: "https://shop.example/home".into(), ..Detail::default() };
    first.words[0].detail = Some(Box::new(detail));
    store.append(RunId(1), &[first]).unwrap();
    // The same again has no words: the message holds.
    store.append(RunId(1), &[batch(2, vec![good(7, T0 + 60_000)])]).unwrap();

    let items = "SELECT id, last_check_status, count_online, count_offline,
                        last_check_time = updated_at, last_check_time
                 FROM monitor_items ORDER BY id";
    assert_eq!(
        backend.psql(items),
        "7|1|43|0|t|2026-01-01 00:01:00.0001\n8|-1|0|1|t|2026-01-01 00:00:00.0001\n\
         9||0|0||\n10||0|0||"
    );
    let checks = "SELECT time, monitor_id, user_id, check_type, status, response_time, message
                  FROM glx_monitor_v2.monitor_checks ORDER BY time, monitor_id";
    assert_eq!(
        backend.psql(checks),
        "2026-01-01 00:00:00.0001+00|7|3|ping_web|1|12.345|HTTP 200 - OK\n\
         2026-01-01 00:00:00.0001+00|8|0|tcp|-1|0.120|TCP connection refused to db.example\n\
         2026-01-01 00:01:00.0001+00|7|3|ping_web|1|12.345|HTTP 200 - OK"
    );
    let details = "SELECT details->>'status_code', details->>'reason', details->>'url',
                          details->>'retry_attempts', details->'retry_messages',
                          details->>'connection_refused', details->>'hostname'
                   FROM glx_monitor_v2.monitor_checks ORDER BY time, monitor_id LIMIT 2";
    assert_eq!(
        backend.psql(details),
        "200|OK|https://shop.example/home|0|null||\n\
         |||2|[\"Attempt 1: one\\ttab\", \"Attempt 2: two\\\\\"]|true|db.example"
    );
    let state = backend.reader().monitors(&Filter::default()).unwrap();
    let shop = state.iter().find(|one| one.id.0 == 7).unwrap();
    assert_eq!(
        (shop.verdict, shop.counts.up, shop.message.as_str()),
        (Verdict::Up, 2, "HTTP 200 - OK")
    );
}

#[test]
fn unknown_and_missed_results_are_no_minus_one() {
    let backend = used();
    let mut store = backend.store();
    let mut unknown = good(7, T0);
    unknown.code = Code(1_007);
    unknown.verdict = Verdict::Up;
    let mut missed = good(7, T0 + 1);
    missed.code = CheckResult::Missed(Missed::Stall).into();
    store.append(RunId(1), &[batch(1, vec![unknown, missed])]).unwrap();
    let item = "SELECT last_check_status, count_online, count_offline, last_check_time
                FROM monitor_items WHERE id = 7";
    assert_eq!(backend.psql(item), "1|41|0|2025-01-01 00:00:00");
    assert_eq!(backend.psql("SELECT count(*) FROM glx_monitor_v2.monitor_checks"), "0");
    let view = &backend.reader().monitors(&Filter::default()).unwrap();
    let shop = view.iter().find(|one| one.id.0 == 7).unwrap();
    assert_eq!((shop.counts.unknown, shop.counts.missed), (1, 1));
}

#[test]
fn a_late_result_counts_and_never_turns_the_row_back() {
    let backend = used();
    let mut store = backend.store();
    store.append(RunId(1), &[batch(2, vec![good(7, T0 + 60_000)])]).unwrap();
    store.append(RunId(1), &[batch(1, vec![refused(7, T0)])]).unwrap();
    store.append(RunId(1), &[batch(1, vec![refused(7, T0)])]).unwrap();
    let item = "SELECT last_check_status, count_online, count_offline, last_check_time
                FROM monitor_items WHERE id = 7";
    assert_eq!(backend.psql(item), "1|42|1|2026-01-01 00:01:00.0001");
    assert_eq!(backend.psql("SELECT count(*) FROM glx_monitor_v2.monitor_checks"), "2");
}

#[test]
fn without_the_time_series_only_the_five_columns_are_written() {
    let mut backend = used();
    backend.series.enabled = false;
    let mut store = backend.store();
    store.append(RunId(1), &[batch(1, vec![good(7, T0)])]).unwrap();
    assert_eq!(backend.psql("SELECT count_online FROM monitor_items WHERE id = 7"), "42");
    assert_eq!(backend.psql("SELECT count(*) FROM glx_monitor_v2.monitor_checks"), "0");
}

#[test]
fn the_originals_grafana_queries_find_what_they_found() {
    let backend = Postgres::with_series();
    let mut store = backend.store();
    backend.psql(
        "INSERT INTO monitor_items (id, name, enable, url_check, type, user_id)
         SELECT n, 'm' || n, 1, 'http://m' || n || '/', 'ping_web', 3
         FROM generate_series(1, 20) n",
    );
    let now =
        backend.psql("SELECT floor(extract(epoch FROM now()) * 1000)").parse::<u64>().unwrap();
    for minute in 1..=10u64 {
        let at = now - minute * 60_000;
        let rows = (1..=20u64).map(|monitor| {
            if monitor.is_multiple_of(5) { refused(monitor, at) } else { good(monitor, at) }
        });
        store.append(RunId(1), &[batch(minute, rows.collect())]).unwrap();
    }
    let counts = "SELECT count(*) FILTER (WHERE status = 1), count(*) FILTER (WHERE status = -1)
                  FROM glx_monitor_v2.monitor_checks
                  WHERE user_id = 3 AND time > now() - interval '1 hour'";
    assert_eq!(backend.psql(counts), "160|40");
    let latest = "SELECT count(*), sum(status) FROM (
                      SELECT DISTINCT ON (monitor_id) monitor_id, status
                      FROM glx_monitor_v2.monitor_checks
                      WHERE user_id = 3 AND time > now() - interval '5 minutes'
                      ORDER BY monitor_id, time DESC) l";
    assert_eq!(backend.psql(latest), "20|12");
    let buckets = "SELECT count(*), min(n) FROM (
                       SELECT date_trunc('minute', time) AS t, count(*) AS n,
                              avg(response_time) FILTER (WHERE response_time < 10000)
                       FROM glx_monitor_v2.monitor_checks WHERE user_id = 3 GROUP BY t) b";
    assert_eq!(backend.psql(buckets), "10|20");
}

#[test]
fn hours_are_summed_up_once_they_are_over_and_again_when_results_come_late() {
    let backend = used();
    let mut store = backend.store();
    let hour = 3_600_000;
    let of = |minute: u64| {
        if minute.is_multiple_of(4) {
            refused(7, T0 + minute * 60_000)
        } else {
            good(7, T0 + minute * 60_000)
        }
    };
    let run = RunId(1);
    store
        .append(run, &[batch(1, (0..59).map(of).collect()), batch(2, vec![good(8, T0 + hour)])])
        .unwrap();
    let sums = "SELECT time, monitor_id, total_checks, successful_checks, failed_checks,
                       min_response_time, max_response_time, uptime_percentage
                FROM glx_monitor_v2.monitor_stats_hourly ORDER BY 1, 2";
    maintain_all(&mut *store, T0 + hour);
    assert_eq!(backend.psql(sums), "", "the hour has only just ended");
    let after = T0 + hour + HOUR_GRACE_MS;
    maintain_all(&mut *store, after);
    let first = "2026-01-01 00:00:00+00|7|59|44|15|0.120|12.345|74.58";
    assert_eq!(backend.psql(sums), first);
    maintain_all(&mut *store, after);
    assert_eq!(backend.psql(sums), first);
    store.append(run, &[batch(3, vec![of(59)])]).unwrap();
    maintain_all(&mut *store, after + hour);
    assert_eq!(
        backend.psql(sums),
        "2026-01-01 00:00:00+00|7|60|45|15|0.120|12.345|75.00\n\
         2026-01-01 01:00:00+00|8|1|1|0|12.345|12.345|100.00"
    );
}

#[test]
fn checks_past_their_age_go_by_the_day_and_found_tables_lose_rows() {
    let day = 86_400_000;
    for adopted in [false, true] {
        let backend = if adopted { used() } else { Postgres::with_series() };
        let mut store = backend.store();
        if !adopted {
            backend.psql("INSERT INTO monitor_items (id, name) VALUES (7, 'x')");
        }
        let rows = (0..40).map(|number| good(7, T0 + number * day)).collect();
        store.append(RunId(1), &[batch(1, rows)]).unwrap();
        maintain_all(&mut *store, T0 + 39 * day + 1_000);
        let oldest = "SELECT count(*), min(time)::date FROM glx_monitor_v2.monitor_checks";
        // By the day, none goes before all of its day is too old.
        let expected = if adopted { "30|2026-01-11" } else { "31|2026-01-10" };
        assert_eq!(backend.psql(oldest), expected, "adopted: {adopted}");
        let tables = "SELECT count(*), max(relname::text) FROM pg_class
                      WHERE relname ~ '^monitor_checks_p' AND relkind = 'r'";
        let expected = if adopted { "0|" } else { "33|monitor_checks_p20260211" };
        assert_eq!(backend.psql(tables), expected, "adopted: {adopted}");
    }
}

#[test]
fn the_service_writes_the_originals_metrics_each_minute() {
    let backend = used();
    let mut store = backend.store();
    store.maintain(T0).unwrap();
    store
        .append(RunId(1), &[batch(1, vec![good(7, T0), good(7, T0 + 1), refused(8, T0)])])
        .unwrap();
    store.maintain(T0 + 60_000).unwrap();
    store.maintain(T0 + 90_000).unwrap();
    let metrics = "SELECT metric_type, round(value, 2) FROM glx_monitor_v2.monitor_system_metrics
                   WHERE metric_type LIKE 'monitor%' OR metric_type LIKE 'internet%' ORDER BY 1";
    assert_eq!(
        backend.psql(metrics),
        "internet_connectivity|1.00\nmonitor_checks_per_minute|3.00\n\
         monitor_success_rate_percent|66.67\nmonitor_total_checks|3.00"
    );
    let all = "SELECT count(*), count(DISTINCT time), min(tags->>'thread_id'),
                      bool_and(value >= 0), bool_and(tags->>'hostname' <> '')
               FROM glx_monitor_v2.monitor_system_metrics";
    assert_eq!(backend.psql(all), "7|1|1|t|t");
}

#[test]
fn a_row_that_the_database_does_not_take_is_set_aside_and_the_others_are_recorded() {
    let backend = used();
    backend.psql(
        "INSERT INTO monitor_items (id, name, enable, type) SELECT n, 'm', 1, 'tcp'
         FROM generate_series(100, 163) n;
         ALTER TABLE glx_monitor_v2.monitor_checks ADD CONSTRAINT theirs CHECK (monitor_id <> 133)",
    );
    let mut store = backend.store();
    let mut poisoned = batch(2, (100..164).map(|monitor| refused(monitor, T0)).collect());
    poisoned.words = (0..64).map(|row| words(row, "no\0body")).collect();
    poisoned.transitions = (100..164)
        .map(|monitor| Transition {
            monitor: MonitorId(monitor),
            at_ms: T0,
            from: Verdict::Up,
            to: Verdict::Down,
            code: Code(Failure::Refused.code()),
            marks: Marks::NONE,
        })
        .collect();
    let batches = [batch(1, vec![good(7, T0)]), poisoned, batch(3, vec![good(8, T0)])];
    let appended = store.append(RunId(1), &batches).unwrap();
    assert_eq!((appended.rows, appended.set_aside, appended.batches_skipped), (65, 1, 0));
    let again = store.append(RunId(1), &batches).unwrap();
    assert_eq!((again.rows, again.batches_skipped), (0, 3));
    let letter = "SELECT run_id, shard, seq, monitor_id, reason, results FROM engine.dead_letter";
    let letter = backend.psql(letter);
    assert!(letter.starts_with("1|0|2|133|"), "{letter}");
    assert!(letter.contains("constraint theirs") && letter.contains("\"nobody\""), "{letter}");
    assert_eq!(backend.psql("SELECT count(*) FROM glx_monitor_v2.monitor_checks"), "65");
    assert_eq!(backend.psql("SELECT count(*) FROM engine.transition"), "63");
    assert_eq!(backend.psql("SELECT sum(count_offline) FROM monitor_items"), "63");
}

#[test]
fn a_run_begins_without_marks_of_the_engines_own_monitors_and_leaves_rows_to_who_takes_them() {
    let backend = used();
    let mut store = backend.store();
    backend.psql(&format!("INSERT INTO engine.mark VALUES (7, 2, 1), ({FOREIGN_IDS_MAX}, 2, 1)"));
    store.begin_run(T0).unwrap();
    assert_eq!(backend.psql("SELECT monitor_id FROM engine.mark"), "7");
}

#[test]
fn two_starters_race_and_a_newer_schema_is_refused() {
    let backend = Postgres::with_series();
    std::thread::scope(|scope| {
        let starters: Vec<_> =
            (0..4).map(|_| scope.spawn(|| backend.try_open().unwrap())).collect();
        starters.into_iter().for_each(|starter| drop(starter.join().unwrap()));
    });
    let applied = "SELECT count(*) = count(DISTINCT name) FROM engine.refinery_schema_history";
    assert_eq!(backend.psql(applied), "t");
    backend.psql("UPDATE engine.refinery_schema_history SET version = 99 WHERE version = 2");
    let error = backend.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: 99, .. }), "{error}");
    let read = engine::store::PgReader::open(&backend.options()).unwrap_err();
    assert!(matches!(read, StoreError::Schema { .. }), "{read}");
}

#[test]
fn a_role_without_rights_is_told_what_it_lacks() {
    let backend = used();
    backend.psql("DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN");
    let url = format!("{:?}", backend.options());
    let place = url.rsplit('@').next().unwrap().trim_end_matches(')');
    let weak = options(&format!("postgres://weak@{place}"));
    let error = engine::store::PgStore::open(&weak, &backend.series, Default::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("permission denied") && error.contains("grant this right"), "{error}");
}

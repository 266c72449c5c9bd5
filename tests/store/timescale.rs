//! TimescaleDB. The extension is in no package that the tests could install, so what stands here
//! for it is a **stand-in**: its functions with their names and parameters, which note their calls,
//! and its row in `pg_extension`. PostgreSQL itself refuses `timescaledb.compress` without it, as
//! the extension's free edition does.

use engine::store::Store;

use crate::backend::*;

/// The functions of the extension; `add_retention_policy` does what `retention` says.
fn stand_in(retention: &str) -> Postgres {
    let backend = Postgres::with_series();
    backend.psql(&format!(
        "CREATE TABLE calls (call text);
         INSERT INTO pg_extension VALUES (99999, 'timescaledb', 10, 2200, false, 'stand-in', NULL);
         CREATE FUNCTION create_hypertable(relation regclass, time_column_name name,
             chunk_time_interval interval) RETURNS void LANGUAGE sql AS
             $$ INSERT INTO calls VALUES (format('%s by %s, %s', $1, $2, $3)) $$;
         CREATE FUNCTION add_retention_policy(relation regclass, drop_after interval)
             RETURNS void LANGUAGE plpgsql AS $$ BEGIN {retention}; END $$"
    ));
    backend
}

const TAKES: &str = "INSERT INTO calls VALUES (format('%s keeps %s', $1, $2))";
const REFUSES: &str = "RAISE 'functionality not supported under the current \"apache\" license'
    USING ERRCODE = 'feature_not_supported'";

/// One row too old for every table, and one of the time T0.
fn old_and_new(backend: &Postgres) {
    for at in ["2020-01-01", "2026-01-01"] {
        backend.psql(&format!(
            "INSERT INTO glx_monitor_v2.monitor_checks (time, monitor_id, user_id,
                 check_type, status) VALUES ('{at}', 1, 3, 'tcp', 1)"
        ));
    }
}

const YEARS: &str = "SELECT string_agg(extract(year FROM time)::text, ' ' ORDER BY time)
    FROM glx_monitor_v2.monitor_checks";

#[test]
fn tables_become_hypertables_that_delete_their_old_rows_themselves() {
    let backend = stand_in(TAKES);
    let mut store = backend.store();
    let calls = backend.psql("SELECT call FROM calls ORDER BY call COLLATE \"C\"");
    assert_eq!(
        calls.lines().collect::<Vec<_>>(),
        [
            "glx_monitor_v2.monitor_checks by time, 1 day",
            "glx_monitor_v2.monitor_checks keeps 30 days",
            "glx_monitor_v2.monitor_stats_hourly by time, 7 days",
            "glx_monitor_v2.monitor_stats_hourly keeps 1 year",
            "glx_monitor_v2.monitor_system_metrics by time, 01:00:00",
            "glx_monitor_v2.monitor_system_metrics keeps 7 days",
        ]
    );
    let partitions = "SELECT count(*) FROM pg_inherits";
    assert_eq!(backend.psql(partitions), "0");
    old_and_new(&backend);
    maintain_all(&mut *store, T0 + 1_000);
    assert_eq!(backend.psql(YEARS), "2020 2026");
}

#[test]
fn where_the_extension_deletes_nothing_the_engine_does() {
    let backend = stand_in(REFUSES);
    let mut store = backend.store();
    assert_eq!(backend.psql("SELECT count(*) FROM calls"), "3");
    old_and_new(&backend);
    maintain_all(&mut *store, T0 + 1_000);
    assert_eq!(backend.psql(YEARS), "2026");
}

#[test]
fn in_a_table_of_several_parts_only_old_rows_are_deleted() {
    let backend = Postgres::with_series();
    // As a hypertable that the original has made: rows of two parts have the same place.
    backend.psql(
        "CREATE SCHEMA glx_monitor_v2;
         CREATE TABLE glx_monitor_v2.monitor_checks (time timestamptz NOT NULL,
             monitor_id bigint NOT NULL, user_id bigint NOT NULL, check_type text NOT NULL,
             status bigint NOT NULL, response_time numeric(10, 3), message text, details jsonb)
             PARTITION BY RANGE (time);
         CREATE TABLE glx_monitor_v2.one PARTITION OF glx_monitor_v2.monitor_checks
             FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
         CREATE TABLE glx_monitor_v2.two PARTITION OF glx_monitor_v2.monitor_checks DEFAULT",
    );
    let mut store: Box<dyn Store> = backend.store();
    old_and_new(&backend);
    let places = "SELECT count(DISTINCT ctid) FROM glx_monitor_v2.monitor_checks";
    assert_eq!(backend.psql(places), "1");
    maintain_all(&mut *store, T0 + 1_000);
    assert_eq!(backend.psql(YEARS), "2026");
}

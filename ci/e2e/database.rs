//! A folder with the original's `.env` and a database that the original has used: what a drop-in
//! has to do there, with the database down and back.

use std::path::Path;

use cluster::Cluster;
use engine::farm::{Behaviour, Farm};
use nix::sys::signal::Signal;
use tempfile::TempDir;

mod away;
mod many;

use crate::harness::{BINARY, Engine, Said, command, eventually, text};

/// The original's tables, as its own setup makes them.
const ORIGINAL: &str = include_str!("../../tests/store/original.sql");
const NAME: &str = "monitor_v2";

/// A server with the original's tables, and a folder with its `.env`.
struct Place {
    cluster: Cluster,
    folder: TempDir,
    farm: Farm,
}

impl Place {
    fn new() -> Place {
        let cluster = Cluster::start(&["fsync=off"]);
        cluster.psql("postgres", &format!("CREATE DATABASE {NAME}"));
        cluster.psql(NAME, ORIGINAL);
        let folder = tempfile::tempdir().unwrap();
        let env = format!(
            "DB_TYPE=postgresql   # as the sample file has it\nPOSTGRES_HOST=127.0.0.1\n\
             POSTGRES_PORT={}\nPOSTGRES_NAME={NAME}\nPOSTGRES_USER=postgres\nPOSTGRES_PASSWORD=\n\
             TIMESCALEDB_ENABLED=true\nTIMESCALEDB_SCHEMA=glx_monitor_v2\n\
             WEB_ADMIN_USERNAME=admin\nWEB_ADMIN_PASSWORD=geheim\nASYNC_HTTP_TIMEOUT=5\n",
            cluster.port()
        );
        std::fs::write(folder.path().join(".env"), env).unwrap();
        let farm = Farm::start([127, 0, 0, 1].into(), &[Behaviour::Good]).unwrap();
        Place { cluster, folder, farm }
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.psql(NAME, sql)
    }

    fn number(&self, sql: &str) -> u64 {
        self.sql(sql).parse().unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// So many enabled rows of four types on scripted targets, with an interval in seconds.
    fn rows(&self, count: u32, interval_s: u32) {
        let (port, host) = (self.farm.port(Behaviour::Good).unwrap(), "127.0.0.1");
        self.sql(&format!(
            "INSERT INTO monitor_items (name, enable, url_check, type, user_id,
                                        check_interval_seconds, result_valid)
             SELECT 'm' || n, 1, CASE n % 4 WHEN 0 THEN 'http://{host}:{port}/' || n
                 WHEN 1 THEN '{host}:{port}' WHEN 2 THEN '{host}:1' ELSE '{host}' END,
                 CASE n % 4 WHEN 0 THEN 'ping_web' WHEN 1 THEN 'tcp'
                 WHEN 2 THEN 'open_port_tcp_then_error' ELSE 'ping_icmp' END,
                 n % 7, {interval_s}, NULL
             FROM generate_series(1, {count}) n"
        ));
    }

    fn start(&self, args: &[&str]) -> Engine {
        self.start_in("data", args)
    }

    fn start_in(&self, data: &str, args: &[&str]) -> Engine {
        let mut program = command(BINARY);
        program.current_dir(self.path());
        Engine::start_as(program, &self.path().join(data), args)
    }

    /// Runs a command in the folder.
    fn ask(&self, args: &[&str]) -> Said {
        command(BINARY).current_dir(self.path()).args(args).output().unwrap().into()
    }

    fn checks(&self) -> u64 {
        self.number("SELECT count(*) FROM glx_monitor_v2.monitor_checks")
    }

    fn wait_checks(&self, what: &str, at_least: u64) {
        eventually(what, || (self.checks() >= at_least).then_some(()));
    }
}

#[test]
fn a_start_in_the_originals_folder_goes_on_with_its_monitors_and_its_rows() {
    let place = Place::new();
    place.rows(3_000, 5);
    place.sql("UPDATE monitor_items SET count_online = 1000 WHERE id = 4");
    let engine = place.start(&[]);
    let all = "SELECT count(*) FROM monitor_items WHERE last_check_status = 1";
    eventually("a good result of each", || (place.number(all) == 3_000).then_some(()));
    assert!(place.number("SELECT count_online FROM monitor_items WHERE id = 4") > 1_000);

    let latest = "SELECT count(*) FROM (SELECT DISTINCT ON (monitor_id) * FROM
        glx_monitor_v2.monitor_checks WHERE time > now() - interval '5 minutes'
        ORDER BY monitor_id, time DESC) AS latest WHERE status = 1 AND details IS NOT NULL
        AND user_id = monitor_id % 7";
    eventually("the latest of each", || (place.number(latest) == 3_000).then_some(()));
    let good = "SELECT count(*) FILTER (WHERE status = 1) FROM glx_monitor_v2.monitor_checks
        WHERE check_type = 'ping_web' AND response_time < 10000 AND message LIKE 'HTTP 200%'";
    assert!(place.number(good) >= 750);
    its_grafana_finds_what_it_asks(&place);

    let said = place.ask(&["monitors", "--json", "--limit", "5000"]);
    assert_eq!(said.json().as_array().unwrap().len(), 3_000, "{}", said.err);
    let said = place.ask(&["results", "4", "--json"]);
    assert_eq!(said.json()["results"][0]["result"], "ok", "{said:?}");
    let address = engine.address().to_string();
    let said = place.ask(&["status", "--listen", &address]);
    assert!(said.out.contains("3000 monitors, 3000 enabled, 3000 running"), "{said:?}");
    let page = engine.metrics();
    assert_eq!(page.sum("engine_feed_rows", ""), 3_000.0);
    eventually("time between checks", || {
        (engine.metrics().sum("engine_check_delta_seconds_count", "") > 0.0).then_some(())
    });
    let said = place.ask(&["test"]);
    assert!(said.out.contains("Test result: {'success': True"), "{said:?}");
    let said = place.ask(&["performance"]);
    assert!(said.out.contains("3000 checks at once"), "{said:?}");
    let said = place.ask(&["stop", "--listen", &address]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(engine.wait().code, 0);
}

/// The questions of the original's dashboards: buckets by user, good and bad checks, the latest row
/// of each monitor in the last five minutes, times below ten seconds.
fn its_grafana_finds_what_it_asks(place: &Place) {
    // `time_bucket` is TimescaleDB's, which is not here: for whole minutes `date_bin` is the same.
    place.sql(
        "CREATE FUNCTION time_bucket(width interval, at timestamptz) RETURNS timestamptz
         LANGUAGE sql AS $$ SELECT date_bin(width, at, 'epoch') $$",
    );
    let of_user = "FROM glx_monitor_v2.monitor_checks WHERE user_id = 3
        AND time > now() - interval '1 hour'";
    let buckets = format!(
        "SELECT sum(good + bad) = sum(rows) AND max(good) > 0
                AND min(bucket) > now() - interval '2 h'
         FROM (SELECT time_bucket('1 minute', time) AS bucket, count(*) AS rows,
                   count(*) FILTER (WHERE status = 1) AS good,
                   count(*) FILTER (WHERE status = -1) AS bad
               {of_user} GROUP BY bucket ORDER BY bucket) AS buckets"
    );
    assert_eq!(place.sql(&buckets), "t");
    let times = format!(
        "SELECT string_agg(check_type, ' ' ORDER BY check_type) FROM
             (SELECT check_type, avg(response_time) AS taken {of_user} AND response_time < 10000
              GROUP BY check_type) AS times WHERE taken > 0"
    );
    assert_eq!(place.sql(&times), "open_port_tcp_then_error ping_icmp ping_web tcp");
    let latest = "SELECT count(*), count(DISTINCT monitor_id), bool_and(message <> '') FROM
        (SELECT DISTINCT ON (monitor_id) monitor_id, status, message, details
         FROM glx_monitor_v2.monitor_checks WHERE user_id = 3
             AND time > now() - interval '5 minutes' ORDER BY monitor_id, time DESC) AS latest";
    let items = place.number("SELECT count(*) FROM monitor_items WHERE user_id = 3");
    assert_eq!(place.sql(latest), format!("{items}|{items}|t"));
}

#[test]
fn a_change_of_a_row_reaches_a_running_engine() {
    let place = Place::new();
    place.rows(8, 1);
    let engine = place.start(&[]);
    let count = |id: u32| {
        let of = format!("SELECT count_online + count_offline FROM monitor_items WHERE id = {id}");
        place.number(&of)
    };
    eventually("checks of each", || (1..=8).all(|id| count(id) > 0).then_some(()));
    place.sql("UPDATE monitor_items SET enable = 0 WHERE id = 1");
    place.sql("UPDATE monitor_items SET url_check = '127.0.0.1:1', type = 'tcp' WHERE id = 4");
    place.sql("UPDATE monitor_items SET deleted_at = now() WHERE id = 5");
    eventually("the other target is down", || {
        let status = place.sql("SELECT last_check_status FROM monitor_items WHERE id = 4");
        (status == "-1").then_some(())
    });
    let (disabled, deleted, other) = (count(1), count(5), count(8));
    eventually("more checks of the others", || (count(8) > other + 2).then_some(()));
    assert_eq!((count(1), count(5)), (disabled, deleted));
    let said = place.ask(&["monitors", "--json"]);
    let monitors = said.json();
    let verdict = |id: u64| {
        let found = monitors.as_array().unwrap().iter().find(|monitor| monitor["id"] == id);
        found.map(|monitor| monitor["verdict"].clone())
    };
    assert_eq!((verdict(1), verdict(5)), (Some("paused".into()), None));
    engine.stop();
}

#[test]
fn a_change_of_force_restart_checks_the_monitor_at_once() {
    let place = Place::new();
    place.rows(1, 3_600);
    let engine = place.start(&[]);
    let force = || place.sql("UPDATE monitor_items SET \"forceRestart\" = NOT \"forceRestart\"");
    place.sql("UPDATE monitor_items SET \"forceRestart\" = false");
    eventually("the row", || (engine.metrics().sum("engine_feed_rows", "") == 1.0).then_some(()));
    force();
    place.wait_checks("a check by force", 1);
    force();
    place.wait_checks("one more", 2);
    engine.stop();
}

/// Checks that were started since the start.
fn started(engine: &Engine) -> f64 {
    engine.metrics().sum("engine_checks_started_total", "")
}

/// Every result that was due is in the tables once: by the original's count and by its rows.
fn nothing_lost(place: &Place) {
    let counted = "SELECT sum(count_online + count_offline) FROM monitor_items";
    assert_eq!(place.checks(), place.number(counted));
    let ids = "SELECT count(DISTINCT (time, monitor_id)) FROM glx_monitor_v2.monitor_checks";
    assert_eq!(place.checks(), place.number(ids));
    let gaps = "SELECT count(*) FROM (SELECT time - lag(time) OVER (PARTITION BY monitor_id
        ORDER BY time) AS step FROM glx_monitor_v2.monitor_checks) AS steps
        WHERE step > interval '1900 ms'";
    println!("gaps of two intervals and more: {}", place.number(gaps));
}

#[test]
fn results_of_a_time_without_the_database_are_there_when_it_is_back() {
    let mut place = Place::new();
    place.rows(20, 1);
    let engine = place.start(&[]);
    place.wait_checks("first checks", 20);
    place.cluster.stop_immediate();
    engine.wait_log("results cannot be recorded; it is tried again until it succeeds");
    let before = started(&engine);
    eventually("checks go on", || (started(&engine) > before + 60.0).then_some(()));
    place.cluster.start_again();
    engine.wait_log("everything in the spool is recorded");
    place.cluster.freeze();
    let before = started(&engine);
    eventually("checks go on", || (started(&engine) > before + 60.0).then_some(()));
    place.cluster.thaw();
    engine.stop();
    let engine = place.start(&[]);
    engine.stop();
    nothing_lost(&place);
}

#[test]
fn a_start_without_the_database_checks_what_was_known_and_nothing_is_lost() {
    let mut place = Place::new();
    place.rows(20, 1);
    let engine = place.start(&[]);
    place.wait_checks("first checks", 40);
    place.cluster.stop_immediate();
    engine.stop();
    let engine = place.start(&[]);
    engine.wait_log("monitors are those of the last time");
    eventually("checks", || (started(&engine) > 40.0).then_some(()));
    engine.stop();
    let engine = place.start(&[]);
    engine.wait_log("monitors are those of the last time");
    place.cluster.start_again();
    let known = place.checks();
    place.wait_checks("checks after the return", known + 80);
    engine.wait_log("everything in the spool is recorded");
    engine.stop();
    nothing_lost(&place);
    let runs = "SELECT count(*) FROM engine.run WHERE id >= 1::bigint << 62 AND stopped_ms > 0";
    assert_eq!(place.number(runs), 2);
}

#[test]
fn a_first_start_without_the_database_says_what_to_do() {
    let mut place = Place::new();
    place.cluster.stop_immediate();
    let place_of = format!("postgres://postgres:***@127.0.0.1:{}/{NAME}", place.cluster.port());
    let wanted =
        [place_of.as_str(), "refused", "start it, or correct DATABASE_URL", "POSTGRES_HOST"];
    for command in [&["start", "--listen", "127.0.0.1:0", "--data-dir", "data"][..], &["monitors"]]
    {
        let said = place.ask(command);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(wanted.iter().all(|words| said.err.contains(words)), "{said:?}");
    }
}

#[test]
fn engines_on_parts_of_the_table_never_check_the_same_row() {
    let place = Place::new();
    place.rows(10, 1);
    place.sql("UPDATE monitor_items SET enable = 0 WHERE id IN (2, 3)");
    let one = place.start_in("one", &["--chunk=1-4"]);
    let two = place.start_in("two", &["--chunk=2-4"]);
    let checked = "SELECT count(*) FROM monitor_items WHERE last_check_time IS NOT NULL";
    eventually("each row", || (place.number(checked) == 8).then_some(()));
    place.sql("UPDATE monitor_items SET enable = 1 - enable WHERE id IN (2, 3, 4, 9)");
    eventually("rows 2 and 3", || (place.number(checked) == 10).then_some(()));
    let at = place.checks();
    place.wait_checks("more", at + 20);
    one.signal(Signal::SIGTERM);
    two.signal(Signal::SIGTERM);
    assert_eq!((one.wait().code, two.wait().code), (0, 0));
    let twice = "SELECT count(*) FROM (SELECT 1 FROM glx_monitor_v2.monitor_checks
        GROUP BY monitor_id, date_trunc('second', time) HAVING count(*) > 2) AS twice";
    assert_eq!(place.number(twice), 0);
    nothing_lost(&place);
}

#[test]
fn mysql_is_refused_in_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "DB_TYPE=mysql\nMYSQL_HOST=db\n").unwrap();
    let mut start = command(BINARY);
    start.current_dir(folder.path()).args(["start", "--data-dir", text(folder.path())]);
    let said: Said = start.output().unwrap().into();
    assert_eq!((said.code, said.err.trim_end().lines().count()), (78, 1), "{said:?}");
    assert!(said.err.contains("DB_TYPE=postgresql"), "{said:?}");
}

//! A start without the database goes on where the last one ended: with its verdicts and outages,
//! and with the monitors of a file.

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use super::{Place, started};
use crate::harness::{Engine, eventually, text};
use crate::recorder::Recorder;

impl Place {
    /// Writes a file into the folder and gives its path in words.
    fn file(&self, content: &str) -> String {
        let path = self.path().join("engine.yaml");
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    }

    fn start_with(&self, config: &str) -> Engine {
        self.start(&["--config", config])
    }
}

/// What the original's command says of a running engine.
fn status(place: &Place, engine: &Engine) -> String {
    let address = engine.address().to_string();
    let said = place.ask(&["status", "--listen", &address]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

#[test]
fn an_outage_goes_on_over_a_start_without_the_database_and_its_end_is_told_once() {
    let mut place = Place::new();
    let hook = Recorder::answering(|_, _| (200, String::new(), "{\"ok\":true}".to_owned()));
    let env = format!(
        "TELEGRAM_BOT_TOKEN=7:bot\nTELEGRAM_CHAT_ID=-5\nTELEGRAM_API_URL={}\n\
         TELEGRAM_THROTTLE_SECONDS=1\n",
        hook.url("")
    );
    let file = place.path().join(".env");
    let env = std::fs::read_to_string(&file).unwrap() + &env;
    std::fs::write(&file, env).unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0").ok();
    let target: SocketAddr = listener.as_ref().unwrap().local_addr().unwrap();
    place.sql(&format!(
        "INSERT INTO monitor_items (name, enable, url_check, type, check_interval_seconds)
         VALUES ('a', 1, '{target}', 'tcp', 1)"
    ));
    let engine = place.start(&[]);
    let good = "SELECT count(*) FROM monitor_items WHERE last_check_status = 1";
    eventually("it is up", || (place.number(good) == 1).then_some(()));
    drop(listener.take());
    eventually("the outage is told", || (hook.requests().len() == 1).then_some(()));
    let opened = "SELECT opened_ms FROM engine.incident";
    let opened_ms = eventually("the incident", || place.sql(opened).parse::<u64>().ok());
    place.cluster.stop_immediate();
    engine.kill();

    let engine = place.start(&[]);
    let down = || engine.metrics().sum("engine_monitors", "verdict=\"down\"");
    eventually("it is down", || (down() == 1.0).then_some(()));
    assert!(status(&place, &engine).contains("1 monitors, 1 enabled, 1 running"));
    eventually("checks", || (started(&engine) >= 3.0).then_some(()));
    assert_eq!((hook.requests().len(), down()), (1, 1.0));
    listener = TcpListener::bind(target).ok();
    eventually("its end is told", || (hook.requests().len() == 2).then_some(()));
    place.cluster.start_again();
    engine.wait_log("everything in the spool is recorded");
    let closed = "SELECT count(*) FROM engine.incident WHERE closed_ms > opened_ms";
    eventually("the incident is over", || (place.number(closed) == 1).then_some(()));
    assert_eq!(place.number(opened), opened_ms);
    let checks = place.checks();
    place.wait_checks("checks after the return", checks + 2);
    engine.stop();
    drop(listener);
    assert_eq!(hook.requests().len(), 2);
}

#[test]
fn a_file_of_monitors_starts_without_the_database_and_a_new_one_joins_when_it_is_back() {
    let mut place = Place::new();
    let good = place.farm.port(engine::farm::Behaviour::Good).unwrap();
    let monitor = |name: &str| {
        format!("  - {{name: {name}, type: tcp, target: '127.0.0.1:{good}', interval: 1s}}\n")
    };
    let config = place.file(&format!("monitors:\n{}{}", monitor("a"), monitor("b")));
    let engine = place.start_with(&config);
    place.wait_results(2, 2);
    engine.stop();
    place.cluster.stop_immediate();

    place.file(&format!("monitors:\n{}{}", monitor("b"), monitor("c")));
    let engine = place.start_with(&config);
    let said =
        engine.wait_log("cannot run: new, and the database is away: it runs when that is back");
    assert_eq!(said["fields"]["monitor"], "entry 2");
    eventually("checks", || (started(&engine) >= 3.0).then_some(()));
    assert_eq!(engine.metrics().sum("engine_monitors", ""), 1.0);
    place.cluster.start_again();
    place.wait_results(3, 1);
    let running = || engine.metrics().sum("engine_monitors", "");
    eventually("what runs is what the file has", || (running() == 2.0).then_some(()));
    engine.stop();
    let removed = "SELECT string_agg(name, ',') FROM engine.monitor WHERE removed_ms IS NOT NULL";
    assert_eq!(place.sql(removed), "a");
}

impl Place {
    /// Waits until so many monitors of a file have that many results each.
    fn wait_results(&self, monitors: u64, results: u64) {
        let sql = format!(
            "SELECT count(*) FROM engine.state
             WHERE count_up >= {results} AND monitor_id >= 1::bigint << 40"
        );
        eventually("results of each", || (self.number(&sql) >= monitors).then_some(()));
    }
}

#[test]
fn a_start_against_a_server_that_stands_still_goes_on_without_it() {
    let place = Place::new();
    place.rows(4, 1);
    let engine = place.start(&[]);
    place.wait_checks("first checks", 4);
    engine.stop();
    place.cluster.freeze();
    let begin = Instant::now();
    let engine = place.start(&[]);
    println!("started after {:?}", begin.elapsed());
    eventually("checks", || (started(&engine) >= 8.0).then_some(()));
    assert!(status(&place, &engine).contains("4 monitors, 4 enabled, 4 running"));
    place.cluster.thaw();
    // Where the spool was not needed yet, nothing is said of it.
    let waiting = || {
        let page = engine.metrics();
        page.sum("engine_store_away", "") + page.sum("engine_spool_records", "")
    };
    eventually("everything is recorded", || (waiting() == 0.0).then_some(()));
    engine.stop();
    super::nothing_lost(&place);
}

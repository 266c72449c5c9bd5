//! What stands beside a verdict, as a receiver of alerts sees it: dependencies and maintenance.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use engine::clock::wall_millis;
use nix::sys::signal::Signal;

use crate::harness::{Engine, ask, eventually, monitors, named, text};
use crate::recorder::Recorder;

/// A port that takes connections or refuses them.
struct Door {
    address: SocketAddr,
    open: Option<TcpListener>,
}

impl Door {
    fn open() -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Door { address: listener.local_addr().unwrap(), open: Some(listener) }
    }

    fn close(&mut self) {
        self.open = None;
    }

    fn reopen(&mut self) {
        self.open = Some(TcpListener::bind(self.address).unwrap());
    }
}

/// What was told, as `down shop`.
fn told(hook: &Recorder) -> Vec<String> {
    let requests = hook.requests().into_iter().map(|request| request.json());
    let line = |body: serde_json::Value| {
        let word = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
        format!("{} {}", word(&body["event"]), word(&body["monitor"]["name"]))
    };
    requests.map(line).collect()
}

#[test]
fn what_depends_on_something_down_or_is_in_maintenance_is_told_when_that_is_over_and_it_lasts() {
    let place = tempfile::tempdir().unwrap();
    let (data, file) = (place.path().join("data"), place.path().join("monitors.yaml"));
    let hook = Recorder::start();
    let (mut router, mut shop, lamp) = (Door::open(), Door::open(), Door::open());
    let ends_ms = wall_millis() + 30_000;
    let ends = jiff::Timestamp::from_millisecond(ends_ms as i64).unwrap();
    let content = format!(
        "channels:\n  - {{name: hook, type: webhook, url: '{}'}}\n\
         defaults: {{interval: 1s, timeout: 500ms}}\n\
         monitors:\n  \
         - {{name: router, type: tcp, target: '{}'}}\n  \
         - {{name: shop, type: tcp, target: '{}', depends_on: router}}\n  \
         - {{name: lamp, type: tcp, target: '{}', tags: [worked-on]}}\n\
         maintenance:\n  - {{tags: [worked-on], from: 2020-01-01T00:00:00Z, to: {ends}}}\n",
        hook.url("/"),
        router.address,
        shop.address,
        lamp.address,
    );
    fs::write(&file, content).unwrap();
    let engine = Engine::with_config(&data, &file);
    for name in ["router", "shop", "lamp"] {
        engine.wait_verdict(name, "up");
    }
    drop(lamp);
    // The child first: its notice waits for the parent's next check.
    shop.close();
    engine.wait_verdict("shop", "down");
    router.close();
    eventually("the parent is told", || (told(&hook) == ["down router"]).then_some(()));
    eventually("the child and the one in maintenance are held", || {
        (engine.metrics().sum("engine_alert_outages_held", "") == 2.0).then_some(())
    });
    router.reopen();
    eventually("the parent's end and the child", || {
        let mut told = told(&hook);
        told.retain(|line| !line.ends_with("lamp"));
        (told == ["down router", "up router", "down shop"]).then_some(())
    });
    shop.reopen();
    eventually("the child's end", || told(&hook).contains(&"up shop".to_owned()).then_some(()));
    eventually("the one that was in maintenance", || {
        told(&hook).contains(&"down lamp".to_owned()).then_some(())
    });
    assert!(wall_millis() >= ends_ms, "told before the end of the maintenance");
    engine.stop();
    assert_eq!(told(&hook).len(), 5, "{:?}", told(&hook));
}

#[test]
fn a_monitor_added_over_the_api_is_in_a_window_of_the_file_and_behind_a_monitor_of_the_file() {
    let place = tempfile::tempdir().unwrap();
    let (data, file) = (place.path().join("data"), place.path().join("monitors.yaml"));
    let hook = Recorder::start();
    let mut router = Door::open();
    let (url, target) = (hook.url("/"), router.address);
    let write = |windows: &str| {
        let content = format!(
            "channels:\n  - {{name: hook, type: webhook, url: '{url}'}}\n\
             monitors:\n  - {{name: router, type: tcp, target: '{target}', interval: 1s}}\n\
             {windows}"
        );
        fs::write(&file, content).unwrap();
    };
    let ever = "from: 2020-01-01T00:00:00Z, to: 2120-01-01T00:00:00Z";
    write(&format!("maintenance:\n  - {{tags: [worked-on], {ever}}}\n"));
    let engine = Engine::with_config(&data, &file);
    let address = engine.address().to_string();
    let add = |row: &[&str]| {
        let to = ["monitors", "add", "--listen", &address, "--data-dir", text(&data)];
        let said = ask(&[&to[..], &["type=tcp", "interval=1s", "timeout=500ms"], row].concat());
        assert_eq!(said.code, 0, "{said:?}");
    };
    add(&["name=lamp", "target=127.0.0.1:1", "tags=worked-on"]);
    add(&["name=plain", "target=127.0.0.1:1"]);
    add(&["name=shop", &format!("target={target}"), "depends_on=router"]);
    let wait_mark = |name: &str, mark: &str| {
        eventually(&format!("{name} {mark}"), || {
            let monitors = monitors(&data);
            let monitor = named(&monitors, name);
            let is_marked = monitor["marks"] == serde_json::json!([mark]);
            (is_marked && monitor["verdict"] == "down").then_some(())
        });
    };
    wait_mark("lamp", "maintenance");
    eventually("one is told", || (told(&hook) == ["down plain"]).then_some(()));
    engine.wait_verdict("shop", "up");
    engine.stop();

    let engine = Engine::with_config(&data, &file);
    wait_mark("lamp", "maintenance");
    engine.wait_verdict("router", "up");
    router.close();
    wait_mark("shop", "unreachable");
    eventually("what it depends on is told", || {
        (told(&hook) == ["down plain", "down router"]).then_some(())
    });
    write("");
    engine.signal(Signal::SIGHUP);
    eventually("the one that was in maintenance", || {
        (told(&hook) == ["down plain", "down router", "down lamp"]).then_some(())
    });
    engine.stop();
    assert_eq!(told(&hook).len(), 3, "{:?}", told(&hook));
}

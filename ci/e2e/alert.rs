//! Alerts of the binary: an outage over a webhook, its end over a restart, and the two commands.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use engine::farm::{Behaviour, Farm};
use nix::sys::signal::Signal;

use crate::harness::{Engine, ask, eventually, text};
use crate::recorder::Recorder;

#[test]
fn an_outage_is_told_and_its_end_too_although_the_engine_was_killed_in_between() {
    let place = tempfile::tempdir().unwrap();
    let (data, file) = (place.path().join("data"), place.path().join("monitors.yaml"));
    let hook = Recorder::start();
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::TcpOpen]).unwrap();
    let open = farm.address(Behaviour::TcpOpen).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let write = |target: std::net::SocketAddr| {
        let content = format!(
            "channels:\n  - name: hook\n    type: webhook\n    url: {}\n\
             monitors:\n  - name: a\n    type: tcp\n    target: '{target}'\n    interval: 1s\n",
            hook.url("/x")
        );
        fs::write(&file, content).unwrap();
    };
    write(open);
    let engine = Engine::with_config(&data, &file);
    engine.wait_verdict("a", "up");
    write(closed);
    engine.signal(Signal::SIGHUP);
    eventually("the outage is told", || (hook.requests().len() == 1).then_some(()));
    assert_eq!(engine.metrics().sum("engine_alert_outages", ""), 1.0);
    engine.kill();
    write(open);
    let engine = Engine::with_config(&data, &file);
    eventually("its end is told", || (hook.requests().len() >= 2).then_some(()));
    engine.stop();
    let events = hook.values("event");
    assert_eq!(events, ["down", "up"]);
    let outages = hook.values("outage");
    assert_eq!(outages[0], outages[1]);
    let first = &hook.requests()[0];
    assert_eq!((first.path.as_str(), &first.json()["reason"]), ("/x", &"connect_refused".into()));

    let listed = ask(&["alert", "list", "--json", "--data-dir", text(&data)]);
    let states: Vec<_> =
        listed.json().as_array().unwrap().iter().map(|l| l["state"].clone()).collect();
    assert_eq!(states, ["delivered", "delivered"]);
    let tried = ask(&["alert", "test", "hook", "--config", text(&file)]);
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(tried.out.starts_with("hook: delivered in "), "{tried:?}");
    assert_eq!(hook.values("event")[2], "test");
    let unknown = ask(&["alert", "test", "hok", "--config", text(&file)]);
    assert_eq!(
        (unknown.code, unknown.err.trim()),
        (1, "error: there is no channel hok; there is hook")
    );
}

//! This host is cut off, and it is not: what the guard makes of it, with real packets dropped.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use engine::farm::{Behaviour, Farm};
use serde_json::json;

use crate::harness::space::isolated;
use crate::harness::{Engine, eventually, must_run, named};

const CUT_OFF: &str = "this host is cut off: failures are unknown, not down, until it is back";
const BACK: &str = "this host is not cut off any more";

/// Drops what comes in for these addresses: whoever sends waits in vain.
fn drop_for(addresses: &str) {
    must_run("nft", &["add", "rule", "inet", "t", "in", "ip", "daddr", addresses, "drop"]);
}

fn verdicts(engine: &Engine, prefix: &str) -> Vec<(String, String)> {
    let monitors = engine.monitors();
    let of =
        |key: &str, monitor: &serde_json::Value| monitor[key].as_str().unwrap_or("").to_owned();
    let found = monitors.iter().filter(|monitor| of("name", monitor).starts_with(prefix));
    found.map(|monitor| (of("verdict", monitor), of("result", monitor))).collect()
}

#[test]
fn a_host_that_is_cut_off_calls_nothing_down_tells_it_once_and_finds_real_outages_after() {
    isolated(|| {
        let place = tempfile::tempdir().unwrap();
        for address in ["10.77.0.1/16", "10.88.0.1/16", "10.88.0.2/16", "10.88.0.3/16"] {
            must_run("ip", &["addr", "add", address, "dev", "lo"]);
        }
        must_run("ip", &["route", "add", "default", "dev", "lo"]);
        must_run("nft", &["add table inet t"]);
        must_run("nft", &["add chain inet t in { type filter hook input priority 0; }"]);
        let farm = Farm::start(IpAddr::V4(Ipv4Addr::UNSPECIFIED), &[Behaviour::Good]).unwrap();
        let port = farm.port(Behaviour::Good).unwrap();
        let mut file = String::from(
            "guard:\n  canaries: [10.88.0.1, 10.88.0.2, 10.88.0.3]\n  interval: 500ms\n  \
             timeout: 300ms\n\
             defaults: {interval: 1s, timeout: 500ms, guard: true}\nmonitors:\n",
        );
        for number in 0..12 {
            file += &format!(
                "  - {{name: far-{number}, type: ping_web, target: 'http://10.77.0.1:{port}/'}}\n"
            );
        }
        file +=
            &format!("  - {{name: near, type: tcp, target: '127.0.0.1:{port}', guard: false}}\n");
        let path = place.path().join("monitors.yaml");
        fs::write(&path, file).unwrap();
        let engine = Engine::with_config(&place.path().join("data"), &path);
        let all = |prefix: &'static str, verdict: &'static str| {
            eventually(&format!("{prefix} {verdict}\n{}", engine.log()), || {
                let found = verdicts(&engine, prefix);
                found.iter().all(|(now, _)| now == verdict).then_some(())
            });
        };
        all("far", "up");
        all("near", "up");

        drop_for("{ 10.77.0.0/16, 10.88.0.0/16 }");
        engine.wait_log(CUT_OFF);
        eventually("every far monitor to be unknown", || {
            let found = verdicts(&engine, "far");
            assert!(found.iter().all(|(verdict, _)| verdict != "down"), "{found:?}");
            found.iter().all(|(_, result)| result == "vantage_isolated").then_some(())
        });
        // What does not lead over the lost way is told all the same.
        drop_for("127.0.0.0/8");
        let near = eventually("near to be down", || {
            let lines = engine.log();
            lines.contains("\"to\":\"down\"").then_some(lines)
        });
        assert_eq!(near.matches("\"to\":\"down\"").count(), 1, "{near}");

        must_run("nft", &["flush", "chain", "inet", "t", "in"]);
        engine.wait_log(BACK);
        all("far", "up");
        let page = engine.metrics();
        page.assert_balanced();
        assert_eq!(page.sum("engine_guard_isolations_total", ""), 1.0);
        assert_eq!(page.sum("engine_guard_standing", ""), 0.0);
        assert_eq!(engine.log().matches(CUT_OFF).count(), 1);

        // Canaries answer: it is the targets.
        drop_for("10.77.0.0/16");
        all("far", "down");
        assert_eq!(engine.log().matches(CUT_OFF).count(), 1);
        engine.stop();
    });
}

#[test]
fn maintenance_and_what_is_behind_something_down_are_shown_beside_the_verdict() {
    let place = tempfile::tempdir().unwrap();
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::Good, Behaviour::Closed])
        .unwrap();
    let (good, closed) =
        (farm.port(Behaviour::Good).unwrap(), farm.port(Behaviour::Closed).unwrap());
    let file = format!(
        "defaults: {{interval: 1s, timeout: 1s}}
monitors:
  - {{name: router, type: tcp, target: '127.0.0.1:{closed}'}}
  - {{name: server, type: tcp, target: '127.0.0.1:{closed}', depends_on: router}}
  - {{name: at work, type: tcp, target: '127.0.0.1:{good}', tags: [db]}}
  - {{name: other, type: tcp, target: '127.0.0.1:{good}'}}
maintenance:
  - {{tags: [db], from: 2020-01-01 00:00, to: 2120-01-01 00:00, zone: UTC}}
"
    );
    let path = place.path().join("monitors.yaml");
    fs::write(&path, &file).unwrap();
    let engine = Engine::with_config(&place.path().join("data"), &path);
    for (name, verdict, marks) in [
        ("router", "down", json!([])),
        ("server", "down", json!(["unreachable"])),
        ("at work", "up", json!(["maintenance"])),
        ("other", "up", json!([])),
    ] {
        eventually(&format!("{name}: {verdict} {marks}"), || {
            let monitors = engine.monitors();
            let found = named(&monitors, name);
            (found["verdict"] == verdict && found["marks"] == marks).then_some(())
        });
    }
    // A reload without the window ends it.
    fs::write(&path, file.split("maintenance:").next().unwrap()).unwrap();
    engine.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("no window", || {
        let monitors = engine.monitors();
        (named(&monitors, "at work")["marks"] == json!([])).then_some(())
    });
    engine.stop();
}

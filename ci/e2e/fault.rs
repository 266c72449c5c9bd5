//! Our own trouble is unknown and names its cause; it is never held against a target.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use engine::farm::{Behaviour, Farm};

use crate::harness::space::isolated;
use crate::harness::{Engine, ask, eventually, must_run, named, text};

/// Ports that the host has left for its own connections.
const PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_019;
/// Connections that are held open at the same time.
const HELD: usize = 60;

fn line(name: &str, kind: &str, target: impl ToString, more: &str) -> String {
    let target = target.to_string();
    format!("  - {{name: {name}, type: {kind}, target: '{target}', interval: 1s{more}}}\n")
}

fn start(place: &Path, monitors: &[String]) -> Engine {
    let file = place.join("monitors.yaml");
    fs::write(&file, format!("monitors:\n{}", monitors.concat())).unwrap();
    Engine::with_config(&place.join("data"), &file)
}

/// Waits until a monitor is unknown for this reason, and asserts that it was never down.
fn assert_unknown(engine: &Engine, name: &str, reason: &str) {
    let found = eventually(&format!("{name} unknown: {reason}"), || {
        let monitors = engine.monitors();
        let found = named(&monitors, name);
        (found["verdict"] == "unknown" && found["result"] == reason).then(|| found.clone())
    });
    assert!(found["message"].as_str().unwrap().contains(reason), "{found}");
    assert_eq!(found["counts"]["down"], 0, "never down: {found}");
}

#[test]
fn no_route_no_permission_and_no_port_are_unknown_while_others_stay_up() {
    isolated(|| {
        let place = tempfile::tempdir().unwrap();
        let farm = Farm::start(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            &[Behaviour::TcpOpen, Behaviour::Silent, Behaviour::Closed],
        );
        let farm = farm.unwrap();
        let at = |behaviour| farm.address(behaviour).unwrap();
        // The kernel keeps this range for each network of its own.
        let range = format!("{} {}", PORTS.start(), PORTS.end());
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();

        let mut monitors = vec![
            line("far-port", "tcp", "10.1.2.3:80", ""),
            line("far-web", "ping_web", "http://10.1.2.3/", ""),
            line("far-six", "tcp", "[2001:db8::1]:80", ""),
            line("far-ping", "ping_icmp", "10.1.2.3", ""),
            line("here", "tcp", at(Behaviour::TcpOpen), ""),
            line("closed", "tcp", at(Behaviour::Closed), ""),
            line("ping", "ping_icmp", "127.0.0.1", ""),
        ];
        let silent = at(Behaviour::Silent);
        // Nothing says within minutes whether a silent target is good: none can be down here.
        let held = |number| {
            line(
                &format!("held-{number}"),
                "ping_web",
                format!("http://{silent}/"),
                ", timeout: 5m",
            )
        };
        monitors.extend((0..HELD).map(held));
        let engine = start(place.path(), &monitors);

        for name in ["far-port", "far-web", "far-six", "far-ping"] {
            assert_unknown(&engine, name, "local_no_route");
        }
        engine.wait_verdict("here", "up");
        engine.wait_verdict("ping", "up");
        engine.wait_verdict("closed", "down");
        let without_port = HELD - PORTS.count();
        eventually("every connection beyond the ports to be unknown", || {
            let monitors = engine.monitors();
            let held = monitors.iter().filter(|m| m["name"].as_str().unwrap().starts_with("held-"));
            let held: Vec<_> = held.collect();
            assert!(held.iter().all(|monitor| monitor["verdict"] != "down"), "{held:#?}");
            let unknown = held.iter().filter(|monitor| monitor["result"] == "local_ports").count();
            (unknown >= without_port).then_some(())
        });

        must_run("nft", &["add table inet t"]);
        must_run("nft", &["add chain inet t out { type filter hook output priority 0; }"]);
        must_run("nft", &["add rule inet t out meta l4proto { icmp, ipv6-icmp } drop"]);
        assert_unknown(&engine, "ping", "local_not_permitted");
        let monitors = engine.monitors();
        assert_eq!(named(&monitors, "here")["verdict"], "up");
        engine.metrics().assert_balanced();
        assert!(engine.metrics().sum("engine_checks_total", "reason=\"local_ports\"") > 0.0);
    });
}

#[test]
fn a_dead_resolver_is_unknown_and_names_of_etc_hosts_are_still_found() {
    isolated(|| {
        let place = tempfile::tempdir().unwrap();
        // One name server takes every question and is silent, the other refuses.
        let silent = UdpSocket::bind("127.0.0.2:53").unwrap();
        let resolv = place.path().join("resolv.conf");
        fs::write(&resolv, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n").unwrap();
        must_run("mount", &["--bind", text(&resolv), "/etc/resolv.conf"]);
        let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &[Behaviour::Good]).unwrap();
        let port = farm.port(Behaviour::Good).unwrap();
        let soon = ", timeout: 3s";
        let engine = start(
            place.path(),
            &[
                line("web", "ping_web", "http://shop.example/", soon),
                line("port", "tcp", "shop.example:80", soon),
                line("ping", "ping_icmp", "shop.example", soon),
                line("cert", "ssl_expired_check", "shop.example:443", soon),
                // Nothing is proved by silence where a port has to be closed.
                line("closed", "open_port_tcp_then_error", "shop.example:23", soon),
                line("hosts", "ping_web", format!("http://localhost:{port}/"), soon),
            ],
        );
        engine.wait_verdict("hosts", "up");
        for name in ["web", "port", "ping", "cert", "closed"] {
            assert_unknown(&engine, name, "resolver");
        }
        let once = ask(&["check", "shop.example:80", "--timeout", "2s", "--json"]);
        assert_eq!(once.code, 3, "{once:?}");
        assert_eq!(once.json()["code"], "resolver", "{once:?}");
        drop(silent);
    });
}

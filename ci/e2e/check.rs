//! `engine check`: one look at a target, for people, scripts and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use engine::farm::{Behaviour, Certificate, Farm};
use serde_json::Value;

use crate::harness::{BINARY, Said, ask, run, text};

/// What a secure page reaches that is named and not numbered.
const BY_NAME: [&str; 5] = ["resolve", "connect", "tls", "wait", "transfer"];
const SLOW: Behaviour = Behaviour::Slow { delay_ms: 500 };

/// A farm, and the file with its authority.
struct Targets {
    farm: Farm,
    place: tempfile::TempDir,
}

impl Targets {
    fn start() -> Targets {
        let mut behaviours = vec![
            Behaviour::Good,
            Behaviour::Status(503),
            Behaviour::SplitNeedle,
            Behaviour::TcpOpen,
            Behaviour::Closed,
            Behaviour::Silent,
            SLOW,
        ];
        behaviours.extend(Certificate::ALL.map(Behaviour::Tls));
        let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &behaviours).unwrap();
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("ca.pem"), farm.ca_pem()).unwrap();
        Targets { farm, place }
    }

    fn at(&self, behaviour: Behaviour) -> SocketAddr {
        self.farm.address(behaviour).unwrap()
    }

    fn tls(&self, certificate: Certificate) -> SocketAddr {
        self.at(Behaviour::Tls(certificate))
    }

    fn ca_file(&self) -> String {
        text(&self.place.path().join("ca.pem")).to_owned()
    }
}

fn check(args: &[&str]) -> Said {
    ask(&[&["check"], args].concat())
}

/// The one JSON object of a check of one target.
fn check_json(args: &[&str]) -> (i32, Value) {
    let said = check(&[args, &["--json"]].concat());
    let mut lines = said.json_lines();
    assert_eq!(lines.len(), 1, "{said:?}");
    (said.code, lines.remove(0))
}

#[test]
fn every_scheme_is_up_and_its_json_has_the_phases_that_were_reached() {
    let targets = Targets::start();
    let (web, good) = (targets.at(Behaviour::Good), targets.tls(Certificate::Good));
    let port = targets.at(Behaviour::TcpOpen);
    let schemes: [(String, &str, &[&str]); 10] = [
        (format!("http://{web}/"), "ping_web", &["connect", "wait", "transfer"]),
        (format!("https://{good}/"), "ping_web", &["connect", "tls", "wait", "transfer"]),
        (format!("https://localhost:{}/", good.port()), "ping_web", &BY_NAME),
        (format!("tcp://{port}"), "tcp", &["connect"]),
        (port.to_string(), "tcp", &["connect"]),
        (format!("tls://{good}"), "ssl_expired_check", &["connect", "tls"]),
        ("127.0.0.1".to_owned(), "ping_icmp", &["connect"]),
        ("::1".to_owned(), "ping_icmp", &["connect"]),
        ("ping://127.8.9.10".to_owned(), "ping_icmp", &["connect"]),
        ("localhost".to_owned(), "ping_icmp", &["resolve", "connect"]),
    ];
    let ca_file = targets.ca_file();
    let mut args: Vec<&str> = schemes.iter().map(|(target, _, _)| target.as_str()).collect();
    args.extend(["--ca-file", &ca_file, "--json"]);
    let said = check(&args);
    assert_eq!(said.code, 0, "{said:?}");
    let reports = said.json_lines();
    assert_eq!(reports.len(), schemes.len());
    for (report, (target, kind, phases)) in reports.iter().zip(&schemes) {
        assert_eq!(report["target"], *target, "in the order of the arguments");
        assert_eq!((&report["type"], &report["code"]), (&(*kind).into(), &"ok".into()), "{report}");
        let reached: BTreeMap<String, f64> =
            serde_json::from_value(report["phases_ms"].clone()).unwrap();
        let names: BTreeSet<_> = reached.keys().map(String::as_str).collect();
        assert_eq!(names, phases.iter().copied().collect(), "{report}");
        let sum: f64 = reached.values().sum();
        assert!(report["total_ms"].as_f64().unwrap() + 0.01 >= sum, "{report}");
        assert_eq!(report["http_status"] == 200, *kind == "ping_web", "{report}");
    }
    let shown = check(&args[..args.len() - 1]);
    assert_eq!(shown.out.lines().count(), schemes.len(), "a line each: {shown:?}");
    assert!(shown.out.lines().all(|line| line.starts_with("UP ")), "{shown:?}");
}

#[test]
fn the_exit_code_is_that_of_the_worst_target() {
    let targets = Targets::start();
    let web = format!("http://{}/", targets.at(Behaviour::Good));
    let broken = format!("http://{}/", targets.at(Behaviour::Status(503)));
    let content = format!("http://{}/", targets.at(Behaviour::SplitNeedle));
    let untrusted = format!("https://{}/", targets.tls(Certificate::SelfSigned));
    let (open, closed) = (targets.at(Behaviour::TcpOpen), targets.at(Behaviour::Closed));
    let (open, closed) = (open.to_string(), closed.to_string());
    let silent = format!("http://{}/", targets.at(Behaviour::Silent));
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&web], 0, "UP   200"),
        (&[&broken], 1, "HTTP 503"),
        (&[&broken, "--status", "500-599"], 0, "UP   503"),
        (&[&web, &broken], 1, "DOWN"),
        (&[&content, "--contains", "all systems operational"], 0, "All required keywords found"),
        (&[&content, "--contains", "not there"], 1, "Missing required keywords: not there"),
        (&[&content, "--not-contains", "operational"], 1, "Found error keyword"),
        (&[&untrusted], 1, "self-signed certificate"),
        (&[&untrusted, "--insecure"], 0, "UP   200"),
        (&[&closed], 1, "refused"),
        (&[&closed, "--type", "open_port_tcp_then_error"], 0, "UP"),
        (&[&open, "--type", "open_port_tcp_then_error"], 1, "Port is open"),
        (&[&silent, "--timeout", "200ms"], 1, "timeout"),
        (&["tcp://host"], 2, "host names no port"),
        (&[&open, "--contains", "x"], 2, "contains: does not fit type tcp"),
        (&["http://"], 2, "error: http://"),
        (&[], 2, "Usage"),
        (&[&web, "--ca-file", "no such file"], 2, "no such file"),
    ];
    for (args, code, told) in cases {
        let said = check(args);
        assert_eq!(said.code, *code, "{args:?} {said:?}");
        assert!(said.out.contains(told) || said.err.contains(told), "{args:?} {said:?}");
        assert_eq!(said.out.is_empty(), *code == 2, "{args:?} {said:?}");
    }
}

#[test]
fn our_own_trouble_is_exit_code_3_and_says_what_to_change() {
    let targets = Targets::start();
    let open = targets.at(Behaviour::TcpOpen).to_string();
    let without_raw = ["--bounding-set=-net_raw", "--inh-caps=-net_raw", BINARY];
    let without_icmp_groups = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range");
    let nobody = without_icmp_groups.unwrap().split_whitespace().eq(["1", "0"]);
    assert!(nobody, "sysctl net.ipv4.ping_group_range=\"1 0\" for this test: the kernel's default");

    let ping = run("setpriv", &[&without_raw[..], &["check", "127.0.0.1"]].concat());
    assert_eq!(ping.code, 3, "{ping:?}");
    assert!(ping.out.contains("UNKNOWN") && ping.out.contains("CAP_NET_RAW"), "{ping:?}");
    let both = run("setpriv", &[&without_raw[..], &["check", "127.0.0.1", &open]].concat());
    assert_eq!(both.code, 3, "one is up, of the other it could not be told: {both:?}");
    let closed = targets.at(Behaviour::Closed).to_string();
    let down = run("setpriv", &[&without_raw[..], &["check", "127.0.0.1", &closed]].concat());
    assert_eq!(down.code, 1, "a target that is down decides: {down:?}");

    // All at once and each with a connection of its own: more than there are descriptors.
    let slow = format!("http://{}/", targets.at(SLOW));
    let many = vec![slow.as_str(); 64];
    let few = run("prlimit", &[&["--nofile=32", BINARY, "check", "--json"], &many[..]].concat());
    assert_eq!(few.code, 3, "{few:?}");
    let reports = few.json_lines();
    let (up, unknown): (Vec<_>, Vec<_>) =
        reports.iter().partition(|report| report["verdict"] == "up");
    assert!(!up.is_empty() && unknown.len() >= 32, "{few:?}");
    for report in unknown {
        assert_eq!(report["verdict"], "unknown", "{report}");
        assert_eq!(report["code"], "local_descriptors", "{report}");
        assert!(report["message"].as_str().unwrap().contains("LimitNOFILE"), "{report}");
    }
}

#[test]
fn the_facts_of_every_certificate_are_shown_whether_it_is_good_or_not() {
    let targets = Targets::start();
    let ca_file = targets.ca_file();
    let cases: [(Certificate, &str, i64, &str); 6] = [
        (Certificate::Good, "ok", 90, "localhost"),
        (Certificate::ExpiresSoon, "cert_expires_soon", 5, "localhost"),
        (Certificate::Expired, "cert_expired", -2, "localhost"),
        (Certificate::NotYetValid, "cert_not_yet_valid", 100, "localhost"),
        (Certificate::WrongName, "cert_name_mismatch", 90, "other.example"),
        (Certificate::SelfSigned, "cert_untrusted", 90, "localhost"),
    ];
    for (certificate, code, days_left, subject) in cases {
        let target = format!("tls://{}", targets.tls(certificate));
        let (exit, report) = check_json(&[&target, "--ca-file", &ca_file, "--expire-days", "10"]);
        assert_eq!((exit == 0, &report["code"]), (code == "ok", &code.into()), "{report}");
        let cert = &report["cert"];
        assert_eq!(cert["days_left"], days_left, "{certificate:?} {cert}");
        assert_eq!(cert["subject"], subject, "{cert}");
        let trusted = matches!(certificate, Certificate::Good | Certificate::ExpiresSoon);
        assert_eq!(cert.get("problem").is_none(), trusted, "{cert}");
        let authority = match certificate {
            Certificate::SelfSigned => "localhost",
            _ => "engine demo authority",
        };
        assert_eq!(cert["issuer"], authority, "{cert}");
        let chain = cert["chain"].as_array().unwrap();
        assert_eq!(chain.len(), 1, "as sent: {cert}");
        for key in ["subject", "issuer", "names", "not_after"] {
            assert_eq!(chain[0][key], cert[key], "{key}");
        }
        assert_eq!(chain[0]["sha256"].as_str().unwrap().len(), 64, "{cert}");
        assert!(chain[0]["not_before"].as_str() < chain[0]["not_after"].as_str(), "{cert}");
        let shown = check(&[&target, "--ca-file", &ca_file]);
        assert!(shown.out.contains(&format!("cert      {subject}, ")), "{shown:?}");
    }
}

#[test]
fn the_roots_of_ssl_cert_file_are_trusted_instead_of_the_systems() {
    let targets = Targets::start();
    let url = format!("https://{}/", targets.tls(Certificate::Good));
    let roots = format!("SSL_CERT_FILE={}", targets.ca_file());
    assert_eq!(check(&[&url]).code, 1);
    assert_eq!(run("env", &[&roots, BINARY, "check", &url]).code, 0);
}

//! `/probe` as a Prometheus job asks for it: modules, deadline, credentials, egress policy.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use engine::farm::{Behaviour, Farm};

use crate::harness::{BINARY, Engine, command, text};

const MODULES: &str = "
modules:
  web:
    prober: http
    http: {valid_status_codes: [200]}
  secure:
    prober: http
    http: {fail_if_not_ssl: true}
  plain:
    prober: tcp
  greeting:
    prober: tcp
    tcp: {query_response: [{expect: hello}]}
";
/// `admin:s3cret`.
const CREDENTIALS: &str = "Authorization: Basic YWRtaW46czNjcmV0\r\n";

/// Status and body of an answer; `fields` are further lines of the head.
fn ask(address: SocketAddr, query: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /probe?{query} HTTP/1.0\r\nHost: engine\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn value(body: &str, name: &str) -> f64 {
    let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{body}")).parse().unwrap()
}

#[test]
fn a_prometheus_job_moves_over_by_changing_the_address() {
    let place = tempfile::tempdir().unwrap();
    let modules = place.path().join("blackbox.yml");
    fs::write(&modules, MODULES).unwrap();
    let slow = Behaviour::Slow { delay_ms: 60_000 };
    let behaviours = [Behaviour::Status(200), Behaviour::Status(503), Behaviour::Closed, slow];
    let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &behaviours).unwrap();
    let [good, bad, closed, slow] = behaviours.map(|behaviour| farm.address(behaviour).unwrap());

    let mut program = command(BINARY);
    program.env("WEB_ADMIN_PASSWORD", "s3cret");
    let empty = place.path().join("monitors.yaml");
    fs::write(&empty, "monitors: []\n").unwrap();
    let args = ["--config", text(&empty), "--blackbox", text(&modules)];
    let args = [&args[..], &["--probe-allow", "127.0.0.0/8"]].concat();
    let engine = Engine::start_as(program, &place.path().join("data"), &args);
    let probe = |query: &str| ask(engine.address(), query, CREDENTIALS);

    let (status, body) = probe(&format!("target={good}&module=web"));
    assert_eq!((status, value(&body, "probe_success")), (200, 1.0), "{body}");
    assert_eq!(value(&body, "probe_http_status_code"), 200.0);
    assert_eq!(value(&body, "probe_ip_protocol"), 4.0);
    let (status, body) = probe(&format!("target=http://{bad}/&module=web"));
    assert_eq!((status, value(&body, "probe_success")), (200, 0.0), "{body}");
    let (_, body) = probe(&format!("target={good}&module=secure"));
    assert_eq!(value(&body, "probe_success"), 0.0, "it did not come over TLS");
    let (_, body) = probe(&format!("target={closed}&module=plain"));
    assert_eq!(value(&body, "probe_success"), 0.0);
    let (_, body) = probe(&format!("target={good}&module=plain&debug=true"));
    assert!(body.starts_with("Logs for the probe:\nresult: success\n"), "{body}");

    let field = format!("{CREDENTIALS}X-Prometheus-Scrape-Timeout-Seconds: 1\r\n");
    let (_, body) = ask(engine.address(), &format!("target={slow}&module=web"), &field);
    assert_eq!((value(&body, "probe_success"), value(&body, "probe_timeout_seconds")), (0.0, 0.5));

    for (query, wanted, told) in [
        ("module=web", 400, "target: is missing"),
        ("target=a&module=nope", 400, "\\\"nope\\\" is none of greeting, plain, secure, web"),
        ("target=a:1&module=greeting", 400, "tcp.query_response"),
        ("target=http://&module=web", 400, "target: "),
        ("target=10.0.0.1:80&module=plain", 403, "10.0.0.1: /probe may not go there"),
    ] {
        let (status, body) = probe(query);
        assert_eq!(status, wanted, "{query}: {body}");
        assert!(body.contains(told), "{query}: {body}");
    }
    assert_eq!(ask(engine.address(), &format!("target={good}&module=web"), "").0, 401);
    assert!(engine.log().contains("this module of /probe is not usable"), "{}", engine.log());
    engine.stop();
}

//! `/probe` as a Prometheus job asks for it: modules, deadline, credentials, egress policy.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use engine::farm::{Behaviour, Farm};
use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

use crate::harness::{BINARY, Engine, command, text};

const MODULES: &str = r#"
modules:
  web:
    prober: http
    http: {valid_status_codes: [200]}
  secure:
    prober: http
    http: {fail_if_not_ssl: true}
  plain:
    prober: tcp
  titled:
    prober: http
    http:
      fail_if_header_not_matches: [{header: content-type, regexp: ^image/, allow_missing: false}]
  names:
    prober: dns
    dns:
      query_name: shop.example
      query_type: A
      validate_answer_rrs: {fail_if_not_matches_regexp: ["IN\\tA\\t192\\.0\\.2\\.7$"]}
  names-tcp:
    prober: dns
    dns: {query_name: shop.example, query_type: A, transport_protocol: tcp}
  greeting:
    prober: tcp
    tcp: {query_response: [{expect: hello}]}
"#;
/// `admin:s3cret`.
const CREDENTIALS: &str = "Authorization: Basic YWRtaW46czNjcmV0\r\n";

/// The answer to a query: one address.
fn name_answer(query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(query.queries[0].clone());
    let name = query.queries[0].name.clone();
    answer.answers.push(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 7))));
    answer.to_vec().unwrap()
}

/// A name server over both transports, until the test ends.
fn name_server() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            udp.send_to(&name_answer(&buffer[..length]), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = name_answer(&query);
            stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    address
}

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

    let (_, body) = probe(&format!("target={good}&module=titled"));
    assert_eq!(value(&body, "probe_success"), 0.0, "it is no image");
    assert_eq!(value(&body, "probe_failed_due_to_regex"), 1.0);
    let server = name_server();
    for module in ["names", "names-tcp"] {
        let (status, body) = probe(&format!("target={server}&module={module}"));
        assert_eq!((status, value(&body, "probe_success")), (200, 1.0), "{module}: {body}");
        assert_eq!(value(&body, "probe_dns_answer_rrs"), 1.0);
        assert_eq!(value(&body, "probe_dns_query_succeeded"), 1.0);
    }
    let (status, body) = probe(&format!("target={closed}&module=names"));
    assert_eq!((status, value(&body, "probe_success")), (200, 0.0), "{body}");

    let field = format!("{CREDENTIALS}X-Prometheus-Scrape-Timeout-Seconds: 1\r\n");
    let (_, body) = ask(engine.address(), &format!("target={slow}&module=web"), &field);
    assert_eq!((value(&body, "probe_success"), value(&body, "probe_timeout_seconds")), (0.0, 0.5));

    for (query, wanted, told) in [
        ("module=web", 400, "target: is missing"),
        (
            "target=a&module=nope",
            400,
            "\\\"nope\\\" is none of greeting, names, names-tcp, plain, secure, titled, web",
        ),
        ("target=a:1&module=greeting", 400, "tcp.query_response"),
        ("target=http://&module=web", 400, "target: "),
        ("target=10.0.0.1&module=names", 403, "10.0.0.1: /probe may not go there"),
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

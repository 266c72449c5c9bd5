//! What is really sent where a redirect leads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use engine::farm::{Behaviour, Farm};
use engine::net::trust::Trust;
use engine::sample::CheckResult::{Down, Up};
use probes::spec::HttpOptions;
use probes::{Failure, Phase};

use crate::bench::{Bench, web};

const LONG_MS: u32 = 20_000;
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// A server that gives these answers, one a connection, and tells what it was asked.
fn server(answers: Vec<String>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let request = request(&mut stream);
            if stream.write_all(answer.as_bytes()).is_err() || tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

/// A whole request: its head, and as much body as it names.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("Content-Length: ").nth(1);
            let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut buffer).unwrap() {
            0 => return text,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn secret_post() -> HttpOptions {
    let fields = [
        ("Authorization", "Basic c2VjcmV0"),
        ("Cookie", "id=secret"),
        ("Host", "given.example"),
        ("Content-Type", "text/plain"),
        ("X-Key", "kept"),
    ];
    let fields = fields.map(|(name, value)| (name.into(), value.into()));
    HttpOptions {
        method: "POST".into(),
        headers: Box::new(fields),
        body: Box::from(*b"hello"),
        ..HttpOptions::default()
    }
}

#[test]
fn another_origin_is_asked_without_secrets_and_the_same_one_with_them() {
    let (there, asked_there) = server(vec![GOOD.to_owned()]);
    let hops = vec![to(307, "/second"), to(307, &format!("http://{there}/third"))];
    let (here, asked_here) = server(hops);
    let mut bench = Bench::new(vec![], Trust::default());
    let attempt = bench.check(&web(&format!("http://{here}/first"), secret_post()), LONG_MS);
    assert_eq!(attempt.result, Up);
    assert_eq!(attempt.outcome.http.unwrap().redirects, 2);

    for path in ["/first", "/second"] {
        let request = asked_here.recv().unwrap();
        assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{request}");
        assert_eq!(request.matches("secret").count(), 1, "{request}");
        assert!(request.contains("c2VjcmV0") && request.contains("Host: given.example\r\n"));
    }
    let request = asked_there.recv().unwrap();
    assert!(request.starts_with("POST /third HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {there}\r\n")), "{request}");
    for secret in ["Authorization", "c2VjcmV0", "Cookie", "secret", "given.example"] {
        assert!(!request.contains(secret), "{request}");
    }
    assert!(request.contains("X-Key: kept\r\n") && request.ends_with("\r\n\r\nhello"));
}

#[test]
fn a_post_that_is_told_to_look_elsewhere_becomes_a_get_without_body() {
    for status in [301, 302, 303] {
        let (here, asked) = server(vec![to(status, "/after"), GOOD.to_owned()]);
        let mut bench = Bench::new(vec![], Trust::default());
        let attempt = bench.check(&web(&format!("http://{here}/"), secret_post()), LONG_MS);
        assert_eq!(attempt.result, Up);
        assert!(asked.recv().unwrap().ends_with("\r\n\r\nhello"));
        let request = asked.recv().unwrap();
        assert!(request.starts_with("GET /after HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("Content-") && request.ends_with("\r\n\r\n"), "{request}");
    }
}

#[test]
fn a_redirect_to_another_scheme_than_http_is_not_followed() {
    let (here, _asked) = server(vec![to(302, "file:///etc/passwd")]);
    let mut bench = Bench::new(vec![], Trust::default());
    let spec = web(&format!("http://{here}/"), HttpOptions::default());
    let attempt = bench.check(&spec, LONG_MS);
    assert_eq!(attempt.result, Down(Failure::RedirectInvalid));
    assert_eq!(attempt.outcome.http.unwrap().status, 302);
}

#[test]
fn one_deadline_holds_for_all_hops_and_the_phase_is_that_of_the_last() {
    let farm = Farm::start("127.0.0.1".parse().unwrap(), &[Behaviour::Silent]).unwrap();
    let silent = farm.address(Behaviour::Silent).unwrap();
    let hops = [to(302, "/again"), to(302, &format!("http://{silent}/"))];
    // As often as a busy host may make the bench try.
    let (here, _asked) = server(hops.iter().cycle().take(100).cloned().collect());
    let mut bench = Bench::new(vec![], Trust::default());
    let spec = web(&format!("http://{here}/"), HttpOptions::default());
    let attempt = bench.check(&spec, 1_500);
    assert_eq!(attempt.result, Down(Failure::TimedOut));
    assert_eq!(attempt.outcome.phase, Some(Phase::Wait));
    assert_eq!(attempt.address, Some("127.0.0.1".parse().unwrap()));
    assert!(attempt.total_us >= 1_500_000, "{}", attempt.total_us);
}

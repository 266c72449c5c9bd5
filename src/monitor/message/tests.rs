//! Every message of the original, word for word, and ours.

use std::net::Ipv4Addr;
use std::sync::Arc;

use probes::outcome::{Detail, HttpFacts};
use probes::spec::{Family, HttpOptions, HttpSpec, HttpUrl, IcmpSpec, TcpSpec, TlsSpec};
use probes::{Phase, Timings};
use serde_json::{Value, json};

use super::*;
use crate::fault::Fault;

/// 2026-11-26 10:11:12 UTC.
const NOW: i64 = 1_795_687_872;

fn web(needles: &[&str]) -> ProbeSpec {
    let url = HttpUrl { tls: false, host: Host::Name("h".into()), port: 80, path: "/a".into() };
    let needles = needles.iter().map(|needle| (*needle).into()).collect();
    let options = HttpOptions { needles, ..HttpOptions::default() };
    ProbeSpec::Http(Box::new(HttpSpec { url, options: Arc::new(options) }))
}

fn tcp_spec() -> ProbeSpec {
    let host = Host::ip(Ipv4Addr::LOCALHOST);
    ProbeSpec::Tcp(TcpSpec { host, port: 1, family: Family::Any, expect_closed: false })
}

fn tls_spec() -> ProbeSpec {
    ProbeSpec::Tls(Box::new(TlsSpec {
        host: Host::Name("h".into()),
        port: 443,
        family: Family::Any,
        expire_days: 10,
        tls: Default::default(),
    }))
}

fn icmp_spec() -> ProbeSpec {
    ProbeSpec::Icmp(IcmpSpec { host: Host::Name("h".into()), family: Family::Any })
}

fn outcome(status: u16, text: &str) -> Outcome {
    let mut timings = Timings::NONE;
    timings.set_micros(Phase::Connect, 1_500);
    Outcome {
        phase: Some(Phase::Connect),
        timings,
        http: Some(HttpFacts { status, decoded_bytes: 7, ..HttpFacts::default() }),
        detail: Some(Box::new(Detail { text: text.into(), ..Detail::default() })),
        ..Outcome::default()
    }
}

/// A certificate that ends `seconds` after now.
fn certificate_outcome(seconds: i64) -> Outcome {
    let pairs = |name: &str| vec![("C".to_owned(), "VN".to_owned()), ("CN".into(), name.into())];
    let leaf = CertInfo {
        subject: pairs("h"),
        issuer: pairs("ca"),
        not_after: NOW + seconds,
        ..CertInfo::default()
    };
    let cert = CertFacts {
        chain: vec![leaf],
        problem: None,
        problem_text: String::new(),
        tls_version: "TLSv1.3".into(),
        cipher: String::new(),
    };
    Outcome { cert: Some(Arc::new(cert)), ..outcome(0, "") }
}

fn told<'a>(
    kind: Kind,
    spec: &'a ProbeSpec,
    outcome: &'a Outcome,
    failure: Option<Failure>,
) -> Told<'a> {
    let result = failure.map_or(CheckResult::Up, CheckResult::Down);
    let preset = Preset::Original;
    Told { kind, preset, spec, result, outcome, attempts: 1, earlier: &[], wall_s: NOW }
}

fn details(told: &Told<'_>, expected: Value) {
    assert_eq!(details_json(told), expected);
}

#[test]
fn ping_web_speaks_as_the_original() {
    let spec = web(&[]);
    let says = |status, text: &str, failure| {
        message(&told(Kind::PingWeb, &spec, &outcome(status, text), failure))
    };
    assert_eq!(says(200, "", None), "HTTP 200 - OK");
    assert_eq!(says(204, "", None), "HTTP 204 - No Content");
    assert_eq!(says(503, "", Some(Failure::HttpStatus)), "HTTP 503 - Service Unavailable");
    assert_eq!(says(0, "", Some(Failure::TimedOut)), "HTTP request timeout to http://h/a");
    assert_eq!(
        says(0, "", Some(Failure::Refused)),
        "HTTP client error: Cannot connect to host h:80 ssl:default \
         [Connect call failed ('h', 80)]"
    );
    assert_eq!(
        says(0, "", Some(Failure::NameNotFound)),
        "HTTP client error: Cannot connect to host h:80 ssl:default [Name or service not known]"
    );
    assert_eq!(
        says(0, "no status line", Some(Failure::HttpMalformed)),
        "HTTP client error: no status line"
    );
    assert_eq!(says(0, "", Some(Failure::RedirectLimit)), "HTTP client error: too many redirects");
}

#[test]
fn the_reason_that_came_goes_before_the_registered_one() {
    let spec = web(&[]);
    let mut found = outcome(200, "");
    found.detail = Some(Box::new(Detail { reason: "Fine".into(), ..Detail::default() }));
    assert_eq!(message(&told(Kind::PingWeb, &spec, &found, None)), "HTTP 200 - Fine");
}

#[test]
fn web_content_speaks_as_the_original() {
    let (plain, required) = (web(&[]), web(&["a", "b"]));
    let says = |spec: &ProbeSpec, text: &str, failure| {
        message(&told(Kind::WebContent, spec, &outcome(200, text), failure))
    };
    assert_eq!(says(&plain, "", None), "Content validation passed (Status: 200)");
    assert_eq!(says(&required, "", None), "All required keywords found (Status: 200)");
    assert_eq!(says(&plain, "", Some(Failure::HttpStatus)), "HTTP 200 - Cannot check content");
    assert_eq!(
        says(&plain, "oops", Some(Failure::NeedleForbidden)),
        "Found error keyword: \"oops\""
    );
    assert_eq!(says(&plain, "", Some(Failure::TimedOut)), "Content check timeout to http://h/a");
    assert_eq!(
        says(&plain, "", Some(Failure::Reset)),
        "Content check client error: connection reset"
    );
    let mut found = outcome(200, "");
    let missing = vec!["a".to_owned(), "b".to_owned()];
    found.detail = Some(Box::new(Detail { missing, ..Detail::default() }));
    let told = told(Kind::WebContent, &required, &found, Some(Failure::NeedleMissing));
    assert_eq!(message(&told), "Missing required keywords: a, b");
}

#[test]
fn tcp_speaks_as_the_original_under_both_names() {
    let spec = tcp_spec();
    for kind in [Kind::Tcp, Kind::OpenPortTcpThenValid] {
        let says = |failure| message(&told(kind, &spec, &outcome(0, ""), failure));
        assert_eq!(says(None), "TCP connection successful to 127.0.0.1:1");
        assert_eq!(says(Some(Failure::TimedOut)), "TCP connection timeout to 127.0.0.1:1");
        assert_eq!(says(Some(Failure::Refused)), "TCP connection refused to 127.0.0.1:1");
        assert_eq!(
            says(Some(Failure::Unreachable)),
            "TCP connection error to 127.0.0.1:1: host unreachable"
        );
    }
}

#[test]
fn a_port_that_must_be_closed_says_how_it_was_found() {
    let spec = tcp_spec();
    let says = |text: &str, failure| {
        message(&told(Kind::OpenPortTcpThenError, &spec, &outcome(0, text), failure))
    };
    let closed = "Port is closed/filtered (as expected): TCP connection";
    assert_eq!(says("", None), format!("{closed} refused to 127.0.0.1:1"));
    assert_eq!(says("timeout", None), format!("{closed} timeout to 127.0.0.1:1"));
    assert_eq!(says("unreachable", None), format!("{closed} error to 127.0.0.1:1: unreachable"));
    assert_eq!(
        says("", Some(Failure::PortOpen)),
        "Port is open (unexpected): TCP connection successful to 127.0.0.1:1"
    );
    assert_eq!(
        says("", Some(Failure::NameNotFound)),
        "TCP connection error to 127.0.0.1:1: name not found"
    );
}

#[test]
fn icmp_speaks_as_the_original_and_better_in_our_own_preset() {
    let spec = icmp_spec();
    let found = outcome(0, "");
    let mut told = told(Kind::PingIcmp, &spec, &found, None);
    assert_eq!(message(&told), "ICMP ping successful to h");
    told.result = CheckResult::Down(Failure::NameNotFound);
    assert_eq!(message(&told), "[10:11:12] ICMP ping failed to h: No response or timeout");
    told.preset = Preset::Standard;
    assert_eq!(message(&told), "ICMP ping failed to h: name not found");
    told.result = CheckResult::Down(Failure::TimedOut);
    assert_eq!(message(&told), "ICMP ping failed to h: No response or timeout");
}

#[test]
fn certificates_speak_as_the_original() {
    let spec = tls_spec();
    let day = 86_400;
    let says = |seconds, failure| {
        message(&told(Kind::SslExpiredCheck, &spec, &certificate_outcome(seconds), failure))
    };
    assert_eq!(says(57 * day, None), "SSL certificate valid, expires in 57 days");
    assert_eq!(says(12 * day - 60, None), "SSL certificate valid, expires in 11 days");
    let soon = Some(Failure::CertExpiresSoon);
    assert_eq!(says(11 * day - 60, soon), "SSL certificate expires soon: 10 days");
    assert_eq!(says(-60, soon), "SSL certificate expires soon: -1 days");
    assert_eq!(says(0, Some(Failure::CertExpired)), "SSL error: certificate has expired");
    assert_eq!(says(0, Some(Failure::TlsProtocol)), "SSL error: the target does not speak TLS");
    assert_eq!(says(0, Some(Failure::TimedOut)), "[10:11:12] SSL connection timeout to h:443");
    assert_eq!(says(0, Some(Failure::Refused)), "SSL connection error: connection refused");
}

#[test]
fn retries_are_counted_as_the_original_does_or_truly() {
    let spec = web(&[]);
    let (good, bad) = (outcome(200, ""), outcome(500, ""));
    let says = |preset, attempts, failure: Option<Failure>| {
        let found = if failure.is_none() { &good } else { &bad };
        let told = told(Kind::PingWeb, &spec, found, failure);
        message(&Told { preset, attempts, ..told })
    };
    let status = Some(Failure::HttpStatus);
    let original = Preset::Original;
    assert_eq!(says(original, 2, None), "HTTP 200 - OK (succeeded after 1 retries)");
    assert_eq!(says(original, 3, None), "HTTP 200 - OK (succeeded after 2 retries)");
    assert_eq!(says(original, 3, status), "HTTP 500 - Internal Server Error (after 3 retries)");
    let standard = Preset::Standard;
    assert_eq!(says(standard, 2, None), "HTTP 200 - OK (succeeded after 1 retry)");
    assert_eq!(says(standard, 3, status), "HTTP 500 - Internal Server Error (after 2 retries)");
    assert_eq!(says(standard, 1, status), "HTTP 500 - Internal Server Error");
}

#[test]
fn our_own_troubles_are_told_in_our_words() {
    let spec = web(&[]);
    let found = Outcome::default();
    let mut told = told(Kind::PingWeb, &spec, &found, None);
    told.result = CheckResult::Unknown(Fault::Descriptors);
    assert_eq!(
        message(&told),
        "Unknown: local_descriptors (raise LimitNOFILE (ulimit -n) or lower --max-in-flight)"
    );
    told.result = CheckResult::Missed(Missed::Overrun);
    assert_eq!(message(&told), "Not checked: overrun (the check before it was still running)");
    details(&told, json!({ "missed": "overrun", "retry_attempts": 0, "retry_messages": null }));
}

#[test]
fn web_details_have_the_originals_keys() {
    let spec = web(&["a"]);
    let mut found = outcome(200, "");
    let headers = [("A", "1"), ("B", "2"), ("A", "3")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    found.detail = Some(Box::new(Detail { headers: headers.into(), ..Detail::default() }));
    details(
        &told(Kind::PingWeb, &spec, &found, None),
        json!({
            "status_code": 200, "reason": "OK", "content_length": 7, "url": "http://h/a",
            "headers": { "A": "1, 3", "B": "2" }, "retry_attempts": 0, "retry_messages": null,
        }),
    );
    let found = outcome(200, "oops");
    let earlier = ["x".into(), "y".into()];
    let down = told(Kind::WebContent, &spec, &found, Some(Failure::NeedleForbidden));
    details(
        &Told { attempts: 3, earlier: &earlier, ..down },
        json!({
            "status_code": 200, "content_length": 7, "url": "http://h/a",
            "check_type": "error_keyword", "error_keyword": "oops",
            "failure": "content_forbidden", "phase": "connect",
            "retry_attempts": 2, "retry_messages": ["Attempt 1: x", "Attempt 2: y"],
        }),
    );
    let silent = Outcome::default();
    details(
        &told(Kind::WebContent, &spec, &silent, Some(Failure::TimedOut)),
        json!({
            "url": "http://h/a", "search_text": "a", "timeout": true, "failure": "timeout",
            "retry_attempts": 0, "retry_messages": null,
        }),
    );
}

#[test]
fn stream_and_icmp_details_have_the_originals_keys() {
    let (spec, found) = (tcp_spec(), outcome(0, ""));
    details(
        &told(Kind::Tcp, &spec, &found, None),
        json!({
            "hostname": "127.0.0.1", "port": 1, "connection_time_ms": 1.5,
            "retry_attempts": 0, "retry_messages": null,
        }),
    );
    details(
        &told(Kind::Tcp, &spec, &found, Some(Failure::Refused)),
        json!({
            "hostname": "127.0.0.1", "port": 1, "connection_refused": true,
            "failure": "connect_refused", "phase": "connect",
            "retry_attempts": 0, "retry_messages": null,
        }),
    );
    let spec = icmp_spec();
    details(
        &told(Kind::PingIcmp, &spec, &found, None),
        json!({
            "hostname": "h", "ping_time_ms": 1.5, "total_time_ms": 1.5,
            "retry_attempts": 0, "retry_messages": null,
        }),
    );
}

#[test]
fn certificate_details_have_the_originals_keys() {
    let spec = tls_spec();
    let found = certificate_outcome(1_800_588_830 - NOW);
    details(
        &told(Kind::SslExpiredCheck, &spec, &found, None),
        json!({
            "hostname": "h", "port": 443, "days_until_expiry": 56,
            "expiry_date": "Jan 22 03:33:50 2027 GMT",
            "subject": [[["countryName", "VN"]], [["commonName", "h"]]],
            "issuer": [[["countryName", "VN"]], [["commonName", "ca"]]],
            "retry_attempts": 0, "retry_messages": null,
        }),
    );
    let told = told(Kind::SslExpiredCheck, &spec, &found, Some(Failure::CertExpiresSoon));
    let value = details_json(&told);
    assert_eq!(value["warning"], "Certificate expires soon");
    assert_eq!(value.get("subject"), None);
}

//! What a row becomes, and what is refused.

use probes::spec::{HttpOptions, StatusSet};
use proptest::prelude::*;

use super::*;

fn row(pairs: &[(&str, &str)]) -> MonitorRow {
    let mut row = MonitorRow::default();
    for (key, value) in pairs {
        row.set(key, &serde_json::Value::from(*value)).unwrap();
    }
    row
}

fn good(pairs: &[(&str, &str)]) -> Checked {
    check(&row(pairs), &mut Interner::default()).unwrap()
}

fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = check(&row(pairs), &mut Interner::default()).unwrap_err();
    errors.iter().map(RowError::to_string).collect()
}

fn http(checked: &Checked) -> &HttpOptions {
    match &checked.spec {
        ProbeSpec::Http(spec) => &spec.options,
        other => panic!("not a web check: {other:?}"),
    }
}

const WEB: [(&str, &str); 2] = [("type", "ping_web"), ("target", "https://h/")];

fn web<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&WEB, more].concat()
}

fn web_errors(more: &[(&str, &str)]) -> Vec<String> {
    errors(&web(more))
}

#[test]
fn the_standard_preset_fills_in_its_defaults() {
    let checked = good(&WEB);
    let timing = Timing {
        interval_ms: 60_000,
        timeout_ms: 10_000,
        retry_delay_ms: 5_000,
        retries: 0,
        confirm_ms: 5_000,
        fall: 1,
        rise: 1,
    };
    assert_eq!(checked.timing, timing);
    assert_eq!(*http(&checked), HttpOptions::default());
    assert_eq!(checked.about.name, "https://h/");
    assert!(!checked.paused);
    let checked = good(&[("type", "ssl_expired_check"), ("target", "h")]);
    let ProbeSpec::Tls(spec) = &checked.spec else { panic!("not a certificate check") };
    assert_eq!((spec.port, spec.expire_days, spec.tls.verify), (443, 10, true));
    assert_eq!((checked.timing.timeout_ms, checked.timing.retries), (10_000, 0));
}

#[test]
fn the_original_preset_fills_in_the_originals_defaults_for_every_type() {
    for (kind, target, timeout_ms) in [
        ("ping_web", "h/a", 30_000),
        ("web_content", "h/a", 30_000),
        ("tcp", "h:1", 10_000),
        ("open_port_tcp_then_valid", "h:1", 10_000),
        ("open_port_tcp_then_error", "h:1", 10_000),
        ("ping_icmp", "h", 10_000),
        ("ssl_expired_check", "h", 15_000),
    ] {
        let checked = good(&[("type", kind), ("target", target), ("preset", "original")]);
        let timing = Timing {
            interval_ms: 360_000,
            timeout_ms,
            retry_delay_ms: 5_000,
            retries: 2,
            confirm_ms: 5_000,
            fall: 1,
            rise: 1,
        };
        assert_eq!(checked.timing, timing, "{kind}");
        match &checked.spec {
            ProbeSpec::Http(spec) => {
                assert_eq!(spec.url.to_string(), "https://h/a");
                let options = &spec.options;
                assert!(!options.tls.verify);
                assert_eq!(options.body_bytes_max, 10_240);
                assert_eq!(options.redirects_max, 10);
                assert_eq!(&*options.user_agent, "Test-Monitor-Service-T1/2025");
                assert_eq!(options.statuses, StatusSet::below_400());
                assert!(options.compression && options.headers.is_empty());
                assert_eq!(&*options.method, "GET");
            }
            ProbeSpec::Tcp(spec) => {
                assert_eq!(spec.expect_closed, kind == "open_port_tcp_then_error");
            }
            ProbeSpec::Tls(spec) => {
                assert_eq!((spec.port, spec.expire_days, spec.tls.verify), (443, 10, true));
            }
            ProbeSpec::Icmp(spec) => assert_eq!(spec.family, Family::Any),
        }
    }
}

#[test]
fn the_originals_keyword_columns_are_cut_at_commas() {
    let checked = good(&[
        ("type", "web_content"),
        ("target", "h"),
        ("preset", "original"),
        ("result_valid", " a, b c ,,"),
        ("result_error", " , "),
    ]);
    assert_eq!(*http(&checked).needles, ["a".into(), "b c".into()]);
    assert!(http(&checked).forbidden.is_empty());
    let other = [("type", "tcp"), ("target", "h:1"), ("preset", "original"), ("result_valid", "x")];
    good(&other);
}

#[test]
fn every_value_of_a_web_check_arrives() {
    let mut row = row(&web(&[
        ("method", "post"),
        ("body", "{}"),
        ("redirects", "0"),
        ("body_limit", "64KiB"),
        ("compression", "false"),
        ("keep_detail", "true"),
        ("tls_verify", "false"),
        ("tls_resume", "true"),
        ("server_name", "Other.example"),
        ("ca_file", "/etc/roots.pem"),
        ("family", "v6"),
    ]));
    row.target = Some("https://me:pw@h/".to_owned());
    row.statuses = Some(vec!["404".into(), "200-299".into(), "3xx".into()]);
    row.headers = Some([("Accept".to_owned(), vec!["a".to_owned(), " b ".to_owned()])].into());
    let checked = check(&row, &mut Interner::default()).unwrap();
    let options = http(&checked);
    assert_eq!((&*options.method, &*options.body), ("POST", &b"{}"[..]));
    assert_eq!(options.statuses, StatusSet([(200, 399), (404, 404)].into()));
    let headers: Vec<_> = options.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(headers, [("Accept", "a"), ("Accept", "b"), ("Authorization", "Basic bWU6cHc=")]);
    assert_eq!((options.redirects_max, options.body_bytes_max), (0, 65_536));
    assert!(!options.compression && options.keep_detail && !options.tls.verify);
    assert!(options.tls.resume && !options.keep_alive);
    assert_eq!(options.tls.server_name.as_deref(), Some("other.example"));
    assert_eq!(options.tls.ca_file.as_deref(), Some("/etc/roots.pem"));
    assert_eq!(options.family, Family::V6);
    assert_eq!(checked.about.target, "https://me:***@h/");
}

#[test]
fn a_connection_is_kept_for_short_intervals_and_requests_that_may_be_sent_twice() {
    let kept = [("keep_alive", "true")];
    for more in [[("interval", "60s")], [("method", "head")]] {
        assert!(http(&good(&web(&[more, kept].concat()))).keep_alive);
    }
    for more in [[("interval", "61s")], [("method", "POST")]] {
        let found = web_errors(&[more, kept].concat());
        assert!(found.len() == 1 && found[0].starts_with("keep_alive"), "{found:?}");
    }
}

#[test]
fn all_errors_of_a_row_come_at_once_in_the_order_of_the_keys() {
    let found = errors(&[
        ("type", "tcp"),
        ("target", "h"),
        ("interval", "500ms"),
        ("timeout", "soon"),
        ("retries", "11"),
        ("contains", "x"),
        ("family", "v5"),
        ("preset", "orignal"),
    ]);
    assert_eq!(
        found,
        [
            "target: h names no port; write host:port, such as example.com:443",
            "preset: orignal is not a preset; write standard or original",
            "interval: 500ms is shorter than 1s; write 1s or more",
            "timeout: soon is not a duration; write it like 500ms, 30s or 1h30m",
            "retries: 11 is out of bounds; write a number from 0 to 10",
            "family: v5 is not an address family; write any, v4 or v6",
            "contains: does not fit type tcp; remove it; it belongs to web_content",
        ]
    );
}

#[test]
fn what_is_missing_or_misspelt_is_named() {
    assert_eq!(errors(&[]).len(), 2);
    let found = errors(&[("type", "ping_wbe"), ("target", "http://h")]);
    assert_eq!(found, ["type: ping_wbe is not a type; did you mean ping_web?"]);
}

#[test]
fn timing_stays_within_its_bounds() {
    for (key, value, problem) in [
        ("interval", "31d", "interval: 31d is longer than 30d; write 30d or less"),
        ("interval", "1005ms", "interval: 1005ms is not a multiple of 10ms; write 1010ms"),
        ("timeout", "5ms", "timeout: 5ms is shorter than 10ms; write 10ms or more"),
        ("timeout", "6m", "timeout: 6m is longer than 5m; write 5m or less"),
        ("retry_delay", "1h", "retry_delay: 1h is longer than 5m; write 5m or less"),
        ("fall", "0", "fall: 0 is out of bounds; write a number from 1 to 100"),
        ("rise", "101", "rise: 101 is out of bounds; write a number from 1 to 100"),
    ] {
        assert_eq!(web_errors(&[(key, value)]), [problem]);
    }
    let checked = good(&web(&[("interval", "1"), ("timeout", "2m")]));
    assert_eq!((checked.timing.interval_ms, checked.timing.timeout_ms), (1_000, 120_000));
}

#[test]
fn a_request_that_would_break_its_framing_is_refused() {
    for (name, value, problem) in [
        ("Content-Length", "1", "headers: Content-Length is set by the engine; remove it"),
        ("connection", "close", "headers: connection is set by the engine; remove it"),
        ("Transfer-Encoding", "x", "headers: Transfer-Encoding is set by the engine; remove it"),
        ("X", "a\r\nY: b", "headers: X has a control character in its value; remove it"),
        ("X", "a\0", "headers: X has a control character in its value; remove it"),
        ("X Y", "a", "headers: X Y is not a field name; write letters, digits and hyphens"),
        ("", "a", "headers: is not a field name; write letters, digits and hyphens"),
    ] {
        let mut row = row(&WEB);
        row.headers = Some([(name.to_owned(), vec![value.to_owned()])].into());
        let errors = check(&row, &mut Interner::default()).unwrap_err();
        assert_eq!(errors[0].to_string(), problem);
    }
    assert_eq!(
        web_errors(&[("method", "GET /")]),
        ["method: GET / is not a method; write GET, HEAD, POST or another token"]
    );
    assert_eq!(web_errors(&[("method", "connect")]).len(), 1);
}

#[test]
fn secrets_never_stand_in_an_error() {
    let found = errors(&[("type", "ping_web"), ("target", "https://me:sec/ret@h")]);
    assert_eq!(found, ["target: https://me:***@h has a bad port; write a port from 1 to 65535"]);
    let mut row = row(&WEB);
    row.headers = Some([("Authorization".to_owned(), vec!["secret\u{7}".to_owned()])].into());
    let errors = check(&row, &mut Interner::default()).unwrap_err();
    assert!(!format!("{errors:?}").contains("secret"));
}

#[test]
fn texts_to_look_for_are_bounded_and_written_in_one_form() {
    let content = |more: &[(&str, &str)]| {
        let mut pairs = vec![("type", "web_content"), ("target", "http://h")];
        pairs.extend_from_slice(more);
        errors(&pairs)
    };
    let both = content(&[("contains", "a"), ("result_valid", "b")]);
    assert_eq!(both, ["contains: and result_valid say the same; keep one of them"]);
    assert_eq!(content(&[("contains", "")]).len(), 1);
    assert_eq!(content(&[("not_contains", &"x".repeat(1_025))]).len(), 1);
    assert_eq!(content(&[("result_error", &"x,".repeat(33))]).len(), 1);
    assert_eq!(
        content(&[("contains", "a"), ("method", "HEAD"), ("body_limit", "0")]),
        [
            "method: HEAD brings no body to look in; write GET",
            "body_limit: 0 leaves no body to look in; write 1MiB, or remove it",
        ]
    );
}

#[test]
fn the_key_port_stands_for_a_port_in_the_target() {
    let spec = |target, port| {
        check(
            &row(&[("type", "tcp"), ("target", target), ("port", port)]),
            &mut Interner::default(),
        )
        .map(|checked| (checked.spec.host().to_string(), checked.spec.port()))
    };
    assert_eq!(spec("h", "80").unwrap(), ("h".to_owned(), 80));
    assert_eq!(spec("2001:db8::1", "80").unwrap(), ("[2001:db8::1]".to_owned(), 80));
    assert_eq!(spec("h:80", "80").unwrap(), ("h".to_owned(), 80));
    assert_eq!(spec("h:81", "80").unwrap_err()[0].field, "port");
    assert_eq!(spec("h", "0").unwrap_err()[0].field, "port");
    assert_eq!(spec("h", "65536").unwrap_err()[0].field, "port");
}

#[test]
fn a_family_that_rules_the_address_out_is_an_error() {
    let found = errors(&[("type", "ping_icmp"), ("target", "192.0.2.1"), ("family", "v6")]);
    let fix = "write any, or the family of the target's address";
    assert_eq!(found, [format!("family: v6 rules the target out; {fix}")]);
}

#[test]
fn monitors_that_ask_alike_share_their_options() {
    let mut interner = Interner::default();
    let mut arc = |target: &str| {
        let checked =
            check(&row(&[("type", "ping_web"), ("target", target)]), &mut interner).unwrap();
        match checked.spec {
            ProbeSpec::Http(spec) => spec.options,
            other => panic!("not a web check: {other:?}"),
        }
    };
    assert!(std::sync::Arc::ptr_eq(&arc("http://a"), &arc("http://b")));
}

proptest! {
    #[test]
    fn any_text_in_any_key_is_checked_without_a_panic(
        kind in 0usize..7,
        preset in prop::sample::select(vec!["standard", "original", "x"]),
        texts in prop::collection::vec((0usize..30, "\\PC{0,40}|[ -~\\x00-\\x1f]{0,40}"), 0..8),
        target in "\\PC{0,40}|(https?://)?[a-z@:.\\[\\]%/?#\\\\0-9]{0,30}",
    ) {
        let mut row = MonitorRow {
            kind: Some(Kind::ALL[kind].name().to_owned()),
            preset: Some(preset.to_owned()),
            target: Some(target),
            ..MonitorRow::default()
        };
        for (key, text) in texts {
            let _ = row.set(MonitorRow::KEYS[key], &serde_json::Value::from(text));
        }
        if let Err(errors) = check(&row, &mut Interner::default()) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| !error.to_string().contains('\n')));
        }
    }

    #[test]
    fn any_location_is_resolved_without_a_panic(location in "\\PC{0,60}|[ -~]{0,60}") {
        let base = address::http_url("http://h/a", Preset::Standard).unwrap();
        if let Ok(url) = address::redirect(&base, &location) {
            prop_assert!(url.path.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

//! Modules as the documentation of blackbox_exporter writes them.

use super::*;
use crate::config::yaml_value;
use crate::monitor::row::{Interner, check};

const FILE: &str = r#"
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: []
  web:
    prober: http
    timeout: 5s
    http:
      valid_status_codes: [200, 204]
      method: GET
      headers:
        Accept-Language: en-US
      follow_redirects: false
      fail_if_not_ssl: true
      fail_if_body_matches_regexp:
        - "Could not connect to database"
      fail_if_body_not_matches_regexp: ["Version 1\\.2"]
      basic_auth: {username: u, password: s3cret}
      tls_config:
        insecure_skip_verify: true
      preferred_ip_protocol: ip4
      ip_protocol_fallback: false
  tls:
    prober: tcp
    tcp: {tls: true, tls_config: {server_name: mail.example}}
  plain:
    prober: tcp
  ping:
    prober: icmp
    icmp: {preferred_ip_protocol: ip4}
  ssh:
    prober: tcp
    tcp:
      query_response:
        - expect: "^SSH-2.0-"
  odd:
    prober: http
    http:
      fail_if_body_matches_regexp: ["error: [0-9]+"]
  name:
    prober: dns
    dns: {query_name: example.org}
"#;

fn modules() -> Modules {
    Modules::read(&yaml_value(FILE).unwrap()).unwrap()
}

#[test]
fn every_key_that_can_be_kept_is_in_the_row() {
    let modules = modules();
    let module = modules.get("web").unwrap();
    assert_eq!((module.timeout_ms, module.tls_wanted), (Some(5_000), Some(true)));
    let row = module.row_for("https://a.example/", None, 4_500).unwrap();
    let checked = check(&row, &mut Interner::default()).unwrap();
    assert_eq!((checked.kind, checked.timing.timeout_ms), (Kind::WebContent, 4_500));
    assert_eq!(row.statuses, Some(vec!["200".to_owned(), "204".to_owned()]));
    assert_eq!((row.redirects, row.tls_verify), (Some(0), Some(false)));
    assert_eq!(row.contains, Some(vec!["Version 1.2".to_owned()]));
    assert_eq!(row.not_contains.unwrap(), ["Could not connect to database"]);
    assert_eq!(row.family.as_deref(), Some("v4"));
    assert_eq!(row.headers.unwrap()["Authorization"], ["Basic dTpzM2NyZXQ="]);
}

#[test]
fn tcp_with_tls_checks_the_certificate_and_icmp_takes_a_host() {
    let modules = modules();
    let kind = |name: &str, target: &str| {
        let row = modules.get(name).unwrap().row_for(target, None, 1_000).unwrap();
        check(&row, &mut Interner::default()).unwrap().kind
    };
    assert_eq!(kind("tls", "a.example:993"), Kind::SslExpiredCheck);
    assert_eq!(kind("plain", "a.example:993"), Kind::Tcp);
    assert_eq!(kind("ping", "a.example"), Kind::PingIcmp);
    for (name, _) in Modules::standard().iter() {
        let target = if name == "icmp" { "a.example" } else { "a.example:80" };
        let row = Modules::standard().get(name).unwrap().row_for(target, Some("b"), 1_000).unwrap();
        check(&row, &mut Interner::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[test]
fn a_bare_target_is_http_and_a_hostname_goes_into_host_and_tls() {
    let modules = modules();
    let module = modules.get("web").unwrap();
    let row = module.row_for("a.example/x", None, 1_000).unwrap();
    assert_eq!(row.target.as_deref(), Some("http://a.example/x"));
    let row = module.row_for("https://192.0.2.1/", Some("shop.example"), 1_000).unwrap();
    assert_eq!(row.headers.unwrap()["Host"], ["shop.example"]);
    assert_eq!(row.server_name.as_deref(), Some("shop.example"));
}

#[test]
fn a_module_that_would_say_something_else_here_refuses_and_says_why() {
    let modules = modules();
    let refused = |name: &str| modules.get(name).unwrap().row_for("a:1", None, 1).unwrap_err();
    assert!(refused("ssh").starts_with("tcp.query_response: "), "{}", refused("ssh"));
    assert!(refused("odd").contains("more than a plain text"), "{}", refused("odd"));
    assert!(refused("name").starts_with("dns: only /probe"), "{}", refused("name"));
    let name = modules.get("name").unwrap();
    assert!(name.dns.is_some() && name.problems.is_empty(), "{:?}", name.problems);
    assert!(refused("http_2xx").starts_with("http.valid_http_versions"));
    assert!(modules.get("web").unwrap().problems.is_empty());
}

#[test]
fn only_plain_expressions_become_texts() {
    assert_eq!(plain_text("a b-c/d"), Some("a b-c/d".to_owned()));
    assert_eq!(plain_text("1\\.2"), Some("1.2".to_owned()));
    for expression in ["", "a.b", "^a", "a|b", "\\d", "a{2}", "a\\"] {
        assert_eq!(plain_text(expression), None, "{expression}");
    }
}

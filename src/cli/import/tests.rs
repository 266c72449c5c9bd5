//! Whole files as the other software writes them, and what becomes of them.

use std::sync::Arc;

use super::*;
use crate::config::Loaded;
use crate::monitor::row::Checked;

/// What a start would run, by name, and the notes as `name: text`.
fn imported(format: ImportFormat, text: &str) -> (Vec<Checked>, Vec<String>) {
    let settled = settle(read(format, text).unwrap());
    let file = yaml(&settled.rows);
    let loaded = Loaded::parse(Arc::from("out"), &file, &mut Interner::default())
        .unwrap_or_else(|error| panic!("{error}\n{file}"));
    let checked = loaded
        .monitors
        .into_iter()
        .map(|entry| *entry.checked.unwrap_or_else(|problems| panic!("{problems:?}\n{file}")));
    let notes = settled.notes.iter().map(|note| format!("{}: {}", note.name, note.text));
    (checked.collect(), notes.collect())
}

fn told(monitors: &[Checked]) -> Vec<(&str, &str, &str)> {
    monitors
        .iter()
        .map(|m| (m.kind.name(), m.about.name.as_str(), m.about.target.as_str()))
        .collect()
}

fn has(notes: &[String], text: &str) -> bool {
    notes.iter().any(|note| note.contains(text))
}

#[test]
fn a_dump_of_the_original_becomes_its_monitors() {
    let dump = "\
COPY public.monitor_items (id, name, enable, url_check, type, \"maxAlertCount\", user_id, \
deleted_at, check_interval_seconds, result_valid, result_error, \"stopTo\") FROM stdin;
1\tshop\t1\thttps://shop.example/\tping_web\t5\t7\t\\N\t60\tleft\\N\t\\N\t\\N
2\tshop\t1\thttps://shop.example/a\tweb_content\t\\N\t0\t\\N\t0\tIn stock, yes\terror\t\\N
3\toff\t0\tdb.example:5432\ttcp\t\\N\t0\t\\N\t360\t\\N\t\\N\t2030-01-01 00:00:00
4\tgone\t1\tx.example\tping_icmp\t\\N\t0\t2020-01-01\t60\t\\N\t\\N\t\\N
5\todd\t1\tx.example\tdns\t\\N\t0\t\\N\t60\t\\N\t\\N\t\\N
\\.
CREATE TABLE public.monitor_configs (id integer);
";
    let (monitors, notes) = imported(ImportFormat::Original, dump);
    let wanted = [
        ("ping_web", "shop", "https://shop.example/"),
        ("web_content", "shop (2)", "https://shop.example/a"),
        ("tcp", "off", "db.example:5432"),
    ];
    assert_eq!(told(&monitors), wanted);
    assert_eq!(monitors[0].about.tags, ["user-7"]);
    assert_eq!(monitors[0].timing.interval_ms, 60_000);
    assert!(!monitors[1].paused && monitors[2].paused);
    for text in [
        "shop: maxAlertCount",
        "off: stopTo",
        "odd: left out: type: dns is not a type",
        ": 1 rows are marked as deleted",
        "monitor_configs are not carried over",
        "the name is taken",
    ] {
        assert!(has(&notes, text), "{text}: {notes:#?}");
    }
}

#[test]
fn a_backup_of_uptime_kuma_becomes_its_monitors() {
    let backup = r#"{"version": "1.23.11", "notificationList": [{"id": 1}], "proxyList": [],
      "monitorList": [
        {"id": 1, "name": "Shop", "type": "keyword", "url": "https://shop.example/",
         "keyword": "In stock", "invertKeyword": false, "interval": 60, "retryInterval": 30,
         "maxretries": 2, "timeout": 48, "active": true, "method": "POST", "body": "{}",
         "headers": "{\"X-Key\": \"1\"}", "ignoreTls": true, "maxredirects": 10,
         "accepted_statuscodes": ["200-299"], "authMethod": "basic", "basic_auth_user": "u",
         "basic_auth_pass": "p", "tags": [{"name": "eu", "value": ""}, {"name": "a", "value": "b"}],
         "expiryNotification": true, "upsideDown": false},
        {"id": 2, "name": "DB", "type": "port", "hostname": "db.example", "port": 5432,
         "interval": 20, "active": 0, "maxretries": 0},
        {"id": 3, "name": "Closed", "type": "port", "hostname": "db.example", "port": 23,
         "interval": 20, "upsideDown": true},
        {"id": 4, "name": "Router", "type": "ping", "hostname": "192.0.2.1", "interval": 20},
        {"id": 5, "name": "Box", "type": "docker", "interval": 20}]}"#;
    let (monitors, notes) = imported(ImportFormat::Kuma, backup);
    let wanted = [
        ("web_content", "Shop", "https://shop.example/"),
        ("tcp", "DB", "db.example:5432"),
        ("open_port_tcp_then_error", "Closed", "db.example:23"),
        ("ping_icmp", "Router", "192.0.2.1"),
    ];
    assert_eq!(told(&monitors), wanted);
    let shop = &monitors[0];
    assert_eq!((shop.timing.retries, shop.timing.retry_delay_ms), (2, 30_000));
    assert_eq!((shop.timing.timeout_ms, &*shop.about.tags.join(",")), (48_000, "a:b,eu"));
    assert!(monitors[1].paused);
    for text in [
        "Box: left out: there is no monitor like \"docker\"",
        "Shop: expiryNotification",
        "notificationList: 1 of them",
    ] {
        assert!(has(&notes, text), "{text}: {notes:#?}");
    }
    assert!(read(ImportFormat::Kuma, "{}").unwrap_err().contains("monitorList"));
}

#[test]
fn a_configuration_of_gatus_becomes_its_monitors() {
    let file = "\
alerting:
  slack: {webhook-url: x}
endpoints:
  - name: front
    group: core
    url: https://front.example/health
    interval: 30s
    client: {insecure: true, timeout: 5s, ignore-redirect: true}
    conditions:
      - '[STATUS] == any(200, 429)'
      - '[BODY] == pat(*healthy*)'
      - '[RESPONSE_TIME] < 300'
    alerts: [{type: slack}]
  - name: cert
    url: tls://front.example:443
    conditions: ['[CONNECTED] == true', '[CERTIFICATE_EXPIRATION] > 48h']
  - {name: host, url: 'icmp://192.0.2.1', conditions: ['[CONNECTED] == true']}
  - {name: names, url: 8.8.8.8, dns: {query-name: a.example, query-type: A}}
  - {name: shell, url: 'ssh://a.example:22'}
";
    let (monitors, notes) = imported(ImportFormat::Gatus, file);
    let wanted = [
        ("web_content", "front", "https://front.example/health"),
        ("ssl_expired_check", "cert", "front.example:443"),
        ("ping_icmp", "host", "192.0.2.1"),
    ];
    assert_eq!(told(&monitors), wanted);
    assert_eq!((monitors[0].timing.interval_ms, monitors[0].timing.timeout_ms), (30_000, 5_000));
    for text in [
        "front: the condition \"[RESPONSE_TIME] < 300\"",
        "front: its alerts",
        "names: left out: there is no DNS monitor",
        "shell: left out: there is no monitor for ssh://",
        "`alerting:` is not carried over",
    ] {
        assert!(has(&notes, text), "{text}: {notes:#?}");
    }
}

#[test]
fn jobs_that_ask_blackbox_exporter_become_monitors() {
    let file = "\
global: {scrape_interval: 15s}
scrape_configs:
  - job_name: web
    metrics_path: /probe
    scrape_timeout: 5s
    params: {module: [http_2xx]}
    static_configs:
      - targets: ['https://a.example', b.example/x]
        labels: {env: prod}
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
    dns_sd_configs: [{names: [x]}]
  - job_name: ports
    metrics_path: /probe
    params: {module: [tcp_fast]}
    static_configs: [{targets: ['c.example:22']}]
  - {job_name: odd, metrics_path: /probe, params: {module: [grpc]}}
  - {job_name: node, static_configs: [{targets: ['n:9100']}]}
";
    let (monitors, notes) = imported(ImportFormat::Prometheus, file);
    let wanted = [
        ("ping_web", "https://a.example", "https://a.example"),
        ("ping_web", "http://b.example/x", "http://b.example/x"),
        ("tcp", "c.example:22", "c.example:22"),
    ];
    assert_eq!(told(&monitors), wanted);
    assert_eq!(monitors[0].about.tags, ["env:prod", "web"]);
    assert_eq!((monitors[0].timing.interval_ms, monitors[0].timing.timeout_ms), (15_000, 5_000));
    for text in [
        "web: dns_sd_configs",
        "ports: module tcp_fast: taken as \"tcp_connect\"",
        "odd: left out: what the module \"grpc\"",
        "node: left out: the job does not ask",
    ] {
        assert!(has(&notes, text), "{text}: {notes:#?}");
    }
}

#[test]
fn a_list_guesses_types_and_takes_names() {
    let list = "# ours\nhttps://a.example/\nmy db  db.example:5432 # main\n192.0.2.1\n\n";
    let (monitors, notes) = imported(ImportFormat::List, list);
    let wanted = [
        ("ping_web", "https://a.example/", "https://a.example/"),
        ("tcp", "my db", "db.example:5432"),
        ("ping_icmp", "192.0.2.1", "192.0.2.1"),
    ];
    assert_eq!((told(&monitors), notes.len()), (wanted.to_vec(), 0));
}

#[test]
fn a_hostile_name_stays_one_name_in_the_file() {
    let (monitors, _) = imported(
        ImportFormat::Kuma,
        r##"{"monitorList": [{"type": "ping",
        "name": "a\"}, x: [1] # \\ é", "hostname": "192.0.2.1"}]}"##,
    );
    assert_eq!(monitors[0].about.name, "a\"}, x: [1] # \\ é");
}

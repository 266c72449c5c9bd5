//! Uptime Kuma: the JSON of "Settings, Backup, Export", with `monitorList`.

use serde_json::Value;

use super::{Imported, text_of};
use crate::monitor::row::{Headers, MonitorRow};

/// Reads a backup.
///
/// # Errors
///
/// It is no JSON, or has no list of monitors.
pub(super) fn read(text: &str) -> Result<Imported, String> {
    let backup: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let list = backup["monitorList"].as_array();
    let list = list.ok_or("has no `monitorList`: export it at Settings, Backup")?;
    let mut imported = Imported::default();
    for monitor in list {
        one(&mut imported, monitor);
    }
    for key in ["notificationList", "proxyList"] {
        let count = backup[key].as_array().map_or(0, Vec::len);
        if count > 0 {
            imported.note("", format!("{key}: {count} of them are not carried over"));
        }
    }
    Ok(imported)
}

fn one(imported: &mut Imported, monitor: &Value) {
    let name = text_of(&monitor["name"]).unwrap_or_default();
    let word = monitor["type"].as_str().unwrap_or_default();
    let host = text_of(&monitor["hostname"]);
    let port = text_of(&monitor["port"]).filter(|port| port != "0");
    let (kind, target) = match word {
        "http" => ("ping_web", text_of(&monitor["url"])),
        "keyword" => ("web_content", text_of(&monitor["url"])),
        "port" => ("tcp", host.zip(port).map(|(host, port)| format!("{host}:{port}"))),
        "ping" => ("ping_icmp", host),
        other => {
            return imported.note(&name, format!("left out: there is no monitor like {other:?}"));
        }
    };
    let seconds = |key: &str| {
        let number = monitor[key].as_f64().filter(|seconds| *seconds > 0.0);
        number.map(|seconds| format!("{}ms", (seconds * 1e3) as u64))
    };
    let mut row = MonitorRow {
        name: Some(name.clone()).filter(|name| !name.is_empty()),
        kind: Some(kind.to_owned()),
        target,
        interval: seconds("interval"),
        timeout: seconds("timeout"),
        retries: monitor["maxretries"].as_u64().filter(|retries| *retries > 0),
        retry_delay: seconds("retryInterval"),
        paused: is_off(&monitor["active"]).then_some(true),
        tags: tags(&monitor["tags"]),
        ..MonitorRow::default()
    };
    row.retry_delay = row.retry_delay.filter(|_| row.retries.is_some());
    if row.retries.is_some_and(|retries| retries > 10) {
        row.retries = Some(10);
        imported.note(&name, "maxretries: 10 is the most");
    }
    if matches!(kind, "ping_web" | "web_content") {
        web(imported, &name, monitor, &mut row);
    }
    if monitor["upsideDown"].as_bool() == Some(true) {
        if kind == "tcp" {
            row.kind = Some("open_port_tcp_then_error".to_owned());
        } else {
            return imported.note(&name, "left out: upside down is there for ports only");
        }
    }
    for key in ["proxyId", "parent", "dns_resolve_server", "expiryNotification"] {
        let says = !matches!(monitor[key], Value::Null | Value::Bool(false));
        if says && key != "dns_resolve_server" {
            imported.note(&name, format!("{key} is not carried over"));
        }
    }
    imported.rows.push(row);
}

fn web(imported: &mut Imported, name: &str, monitor: &Value, row: &mut MonitorRow) {
    row.method = text_of(&monitor["method"]).filter(|method| method != "GET");
    row.body = text_of(&monitor["body"]);
    row.redirects = monitor["maxredirects"].as_u64().map(|redirects| redirects.min(20));
    row.tls_verify = (monitor["ignoreTls"].as_bool() == Some(true)).then_some(false);
    let statuses = monitor["accepted_statuscodes"].as_array();
    row.statuses = statuses.map(|all| all.iter().filter_map(text_of).collect());
    if let Some(keyword) = text_of(&monitor["keyword"]).filter(|_| monitor["type"] == "keyword") {
        let list = Some(vec![keyword]);
        match monitor["invertKeyword"].as_bool() {
            Some(true) => row.not_contains = list,
            _ => row.contains = list,
        }
    }
    let mut headers = Headers::new();
    // Kuma keeps them as a text of JSON.
    let written = monitor["headers"].as_str().filter(|text| !text.trim().is_empty());
    match written.map(serde_json::from_str::<serde_json::Map<String, Value>>) {
        Some(Ok(map)) => {
            for (field, value) in &map {
                headers.insert(field.clone(), text_of(value).into_iter().collect());
            }
        }
        Some(Err(_)) => imported.note(name, "headers are no JSON and not carried over"),
        None => {}
    }
    match monitor["authMethod"].as_str() {
        None | Some("") => {}
        Some("basic") => {
            use base64::Engine as _;
            let part = |key: &str| monitor[key].as_str().unwrap_or_default();
            let pair = format!("{}:{}", part("basic_auth_user"), part("basic_auth_pass"));
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            headers.insert("Authorization".to_owned(), vec![format!("Basic {pair}")]);
        }
        Some(other) => imported.note(name, format!("authMethod {other} is not carried over")),
    }
    row.headers = Some(headers).filter(|headers| !headers.is_empty());
}

/// Kuma writes booleans as such or as 0 and 1.
fn is_off(value: &Value) -> bool {
    value.as_bool() == Some(false) || value.as_u64() == Some(0)
}

fn tags(value: &Value) -> Option<Vec<String>> {
    let tags = value.as_array()?.iter().filter_map(|tag| {
        let name = text_of(&tag["name"])?;
        Some(match text_of(&tag["value"]) {
            Some(value) => format!("{name}:{value}"),
            None => name,
        })
    });
    let tags: Vec<String> = tags.collect();
    (!tags.is_empty()).then_some(tags)
}

//! Gatus: `endpoints:` of its YAML, and the conditions that have a meaning here.

use serde_json::Value;

use super::{Imported, text_of};
use crate::config::yaml_value;
use crate::monitor::row::{Headers, MonitorRow};

/// Interval of Gatus where none is given.
const INTERVAL_DEFAULT: &str = "60s";

/// Reads a configuration.
///
/// # Errors
///
/// It is no YAML, or has no targets.
pub(super) fn read(text: &str) -> Result<Imported, String> {
    let file = yaml_value(text)?;
    // The key had another name in old versions.
    let list = file["endpoints"].as_array().or(file["services"].as_array());
    let list = list.ok_or("has no list `endpoints:`")?;
    let mut imported = Imported::default();
    for entry in list {
        one(&mut imported, entry);
    }
    for key in ["alerting", "maintenance", "remote", "external-endpoints"] {
        if !file[key].is_null() {
            imported.note("", format!("`{key}:` is not carried over"));
        }
    }
    Ok(imported)
}

fn one(imported: &mut Imported, entry: &Value) {
    let name = text_of(&entry["name"]).unwrap_or_default();
    let url = text_of(&entry["url"]).unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let (kind, target) = match scheme {
        _ if !entry["dns"].is_null() => {
            return imported.note(&name, "left out: there is no DNS monitor");
        }
        "http" | "https" => ("ping_web", url.clone()),
        "tcp" => ("tcp", rest.to_owned()),
        "tls" | "starttls" => ("ssl_expired_check", rest.to_owned()),
        "icmp" => ("ping_icmp", rest.to_owned()),
        other => {
            return imported.note(&name, format!("left out: there is no monitor for {other}://"));
        }
    };
    if scheme == "starttls" {
        return imported.note(&name, "left out: STARTTLS is not spoken");
    }
    let mut row = MonitorRow {
        name: Some(name.clone()).filter(|name| !name.is_empty()),
        kind: Some(kind.to_owned()),
        target: Some(target),
        interval: text_of(&entry["interval"]).or(Some(INTERVAL_DEFAULT.to_owned())),
        timeout: text_of(&entry["client"]["timeout"]),
        tags: text_of(&entry["group"]).map(|group| vec![group]),
        paused: (text_of(&entry["enabled"]).as_deref() == Some("false")).then_some(true),
        ..MonitorRow::default()
    };
    if kind == "ping_web" {
        row.method = text_of(&entry["method"]).filter(|method| method != "GET");
        row.body = text_of(&entry["body"]);
        row.headers = headers(&entry["headers"]);
        if text_of(&entry["client"]["ignore-redirect"]).as_deref() == Some("true") {
            row.redirects = Some(0);
        }
    }
    if text_of(&entry["client"]["insecure"]).as_deref() == Some("true") && kind != "tcp" {
        row.tls_verify = Some(false);
    }
    for condition in entry["conditions"].as_array().map_or(&[][..], Vec::as_slice) {
        let condition = text_of(condition).unwrap_or_default();
        if !carry(&mut row, &condition) {
            imported.note(&name, format!("the condition {condition:?} is not carried over"));
        }
    }
    if !entry["alerts"].is_null() {
        imported.note(&name, "its alerts are not carried over");
    }
    imported.rows.push(row);
}

fn headers(value: &Value) -> Option<Headers> {
    let map = value.as_object()?;
    let pair =
        |(name, value): (&String, &Value)| (name.clone(), text_of(value).into_iter().collect());
    Some(map.iter().map(pair).collect())
}

/// Takes a condition into the row; false where it has no meaning here.
fn carry(row: &mut MonitorRow, condition: &str) -> bool {
    let words: Vec<&str> = condition.split_whitespace().collect();
    let [what, operator, value] = match words[..] {
        [what, operator, ref rest @ ..] if !rest.is_empty() => {
            [what, operator, condition.split_once(operator).map_or("", |(_, value)| value.trim())]
        }
        _ => return false,
    };
    let kind = row.kind.clone().unwrap_or_default();
    let web = matches!(kind.as_str(), "ping_web" | "web_content");
    match (what, operator) {
        // That something answers is what every monitor asks.
        ("[CONNECTED]", "==") if value == "true" => true,
        ("[STATUS]", "==") if web => {
            let any = value.strip_prefix("any(").and_then(|rest| rest.strip_suffix(')'));
            let statuses = any.unwrap_or(value).split(',').map(|one| one.trim().to_owned());
            row.statuses = Some(statuses.collect());
            true
        }
        ("[STATUS]", "<") if web && value == "300" => {
            row.statuses = Some(vec!["2xx".to_owned()]);
            true
        }
        ("[STATUS]", "<") if web && value == "400" => true,
        ("[BODY]", "==") if web => {
            let inner = value.strip_prefix("pat(").and_then(|rest| rest.strip_suffix(')'));
            let plain = inner.map(|inner| inner.trim_matches('*').to_owned());
            match plain.filter(|plain| !plain.is_empty() && !plain.contains('*')) {
                Some(plain) => {
                    row.kind = Some("web_content".to_owned());
                    row.contains.get_or_insert_default().push(plain);
                    true
                }
                None => false,
            }
        }
        ("[CERTIFICATE_EXPIRATION]", ">") if kind == "ssl_expired_check" => {
            let hours = value.strip_suffix('h').and_then(|hours| hours.parse::<u64>().ok());
            row.expire_days = hours.map(|hours| hours.div_ceil(24));
            hours.is_some()
        }
        _ => false,
    }
}

//! The facts beside a message, as the JSON object that the original service stores.
//!
//! Owns: its keys and their order of meaning; `failure` and `phase` are ours and come on top. What
//! was not kept (header fields of a good answer, say) is left out, never made up.

use probes::outcome::CertInfo;
use probes::{Failure, Phase, ProbeSpec};
use serde_json::{Map, Value, json};

use super::{Told, bare_host, closed_by, days_left, error_text, is_tls, leaf, reason};
use crate::monitor::Kind;
use crate::sample::CheckResult;

/// The details of a check.
pub fn details_json(told: &Told<'_>) -> Value {
    let mut map = Map::new();
    match told.result {
        CheckResult::Unknown(fault) => {
            map.insert("fault".into(), fault.name().into());
            map.insert("fix".into(), fault.fix().into());
        }
        CheckResult::Missed(missed) => {
            map.insert("missed".into(), missed.name().into());
        }
        CheckResult::Up => facts(told, None, &mut map),
        CheckResult::Down(failure) => {
            facts(told, Some(failure), &mut map);
            map.insert("failure".into(), failure.name().into());
            if let Some(phase) = told.outcome.phase {
                map.insert("phase".into(), phase.name().into());
            }
        }
    }
    let earlier = told.earlier.iter().enumerate();
    let earlier: Vec<Value> =
        earlier.map(|(at, message)| format!("Attempt {}: {message}", at + 1).into()).collect();
    map.insert("retry_attempts".into(), told.attempts.saturating_sub(1).into());
    map.insert(
        "retry_messages".into(),
        if earlier.is_empty() { Value::Null } else { earlier.into() },
    );
    Value::Object(map)
}

fn facts(told: &Told<'_>, failure: Option<Failure>, map: &mut Map<String, Value>) {
    if failure == Some(Failure::TimedOut) {
        map.insert("timeout".into(), true.into());
    }
    match told.spec {
        ProbeSpec::Http(_) => web(told, failure, map),
        ProbeSpec::Tcp(_) => {
            host_and_port(told, map);
            tcp(told, failure, map);
        }
        ProbeSpec::Icmp(_) => icmp(told, failure, map),
        ProbeSpec::Tls(_) => {
            host_and_port(told, map);
            certificate(told, failure, map);
        }
    }
}

fn host_and_port(told: &Told<'_>, map: &mut Map<String, Value>) {
    map.insert("hostname".into(), bare_host(told.spec.host()).into());
    map.insert("port".into(), told.spec.port().into());
}

fn web(told: &Told<'_>, failure: Option<Failure>, map: &mut Map<String, Value>) {
    let ProbeSpec::Http(spec) = told.spec else { return };
    let outcome = told.outcome;
    let detail = outcome.detail.as_deref();
    let url = detail.map(|detail| detail.url.clone()).filter(|url| !url.is_empty());
    map.insert("url".into(), url.unwrap_or_else(|| spec.url.to_string()).into());
    let content = told.kind == Kind::WebContent;
    if let Some(http) = outcome.http.filter(|http| http.status != 0) {
        map.insert("status_code".into(), http.status.into());
        if !content {
            map.insert("reason".into(), reason(outcome).into());
        }
        if !(content && failure == Some(Failure::HttpStatus)) {
            map.insert("content_length".into(), http.decoded_bytes.into());
        }
    }
    let headers = detail.map(|detail| &detail.headers).filter(|headers| !headers.is_empty());
    if let Some(headers) = headers {
        let mut object = Map::new();
        for (name, value) in headers {
            let joined = match object.get(name).and_then(Value::as_str) {
                Some(before) => format!("{before}, {value}"),
                None => value.clone(),
            };
            object.insert(name.clone(), joined.into());
        }
        map.insert("headers".into(), object.into());
    }
    match failure {
        None if content => {
            map.insert("check_type".into(), "content_validation".into());
        }
        Some(Failure::NeedleForbidden) => {
            map.insert("check_type".into(), "error_keyword".into());
            map.insert("error_keyword".into(), super::detail_text(outcome).into());
        }
        Some(Failure::NeedleMissing) => {
            let missing = detail.map(|detail| detail.missing.clone()).unwrap_or_default();
            map.insert("check_type".into(), "missing_required".into());
            map.insert("missing_keywords".into(), missing.into());
        }
        None => {}
        Some(failure) => {
            if content {
                map.insert("search_text".into(), spec.options.needles.join(", ").into());
            }
            if failure != Failure::HttpStatus && failure != Failure::TimedOut {
                map.insert("error".into(), super::client_error(told, failure).into());
            }
        }
    }
}

fn tcp(told: &Told<'_>, failure: Option<Failure>, map: &mut Map<String, Value>) {
    let reached = match failure {
        None if told.kind == Kind::OpenPortTcpThenError => Some(closed_by(told.outcome)),
        Some(Failure::PortOpen) => None,
        failure => failure,
    };
    match reached {
        None => {
            let ms = milliseconds(told.outcome.timings.sum());
            map.insert("connection_time_ms".into(), ms);
        }
        Some(Failure::TimedOut) => {
            map.insert("timeout".into(), true.into());
        }
        Some(Failure::Refused) => {
            map.insert("connection_refused".into(), true.into());
        }
        Some(failure) => {
            map.insert("error".into(), error_text(told.outcome, failure).into());
        }
    }
}

fn icmp(told: &Told<'_>, failure: Option<Failure>, map: &mut Map<String, Value>) {
    let timings = &told.outcome.timings;
    map.insert("hostname".into(), bare_host(told.spec.host()).into());
    map.insert("total_time_ms".into(), milliseconds(timings.sum()));
    match failure {
        None => {
            let round_trip = timings.get(Phase::Connect).map_or(Value::Null, milliseconds);
            map.insert("ping_time_ms".into(), round_trip);
        }
        Some(failure) => {
            map.insert("ping3_result".into(), Value::Null);
            if failure != Failure::TimedOut {
                map.insert("error".into(), error_text(told.outcome, failure).into());
            }
        }
    }
}

fn certificate(told: &Told<'_>, failure: Option<Failure>, map: &mut Map<String, Value>) {
    if let Some(leaf) = leaf(told.outcome) {
        map.insert("days_until_expiry".into(), days_left(leaf, told.wall_s).into());
        if let Some(date) = expiry_date(leaf) {
            map.insert("expiry_date".into(), date.into());
        }
        if failure.is_none() {
            map.insert("subject".into(), name_arrays(&leaf.subject));
            map.insert("issuer".into(), name_arrays(&leaf.issuer));
        }
    }
    match failure {
        None | Some(Failure::TimedOut) => {}
        Some(Failure::CertExpiresSoon) => {
            map.insert("warning".into(), "Certificate expires soon".into());
        }
        Some(failure) => {
            let key = if is_tls(failure) { "ssl_error" } else { "error" };
            map.insert(key.into(), error_text(told.outcome, failure).into());
        }
    }
}

fn milliseconds(micros: u32) -> Value {
    json!(f64::from(micros) / 1_000.0)
}

/// `Jan 22 03:33:50 2027 GMT`, the day padded with a space, as OpenSSL prints it.
fn expiry_date(cert: &CertInfo) -> Option<String> {
    let end = jiff::Timestamp::from_second(cert.not_after).ok()?;
    Some(end.strftime("%b %e %H:%M:%S %Y GMT").to_string())
}

/// A distinguished name as the original stores it: `[[["countryName","VN"]],...]`.
fn name_arrays(name: &[(String, String)]) -> Value {
    let pairs = name.iter().map(|(attribute, value)| json!([[long_name(attribute), value]]));
    Value::Array(pairs.collect())
}

/// The long name of an attribute that may be given by its short one (RFC 4519).
fn long_name(attribute: &str) -> &str {
    match attribute {
        "C" => "countryName",
        "CN" => "commonName",
        "DC" => "domainComponent",
        "L" => "localityName",
        "O" => "organizationName",
        "OU" => "organizationalUnitName",
        "ST" => "stateOrProvinceName",
        "STREET" => "streetAddress",
        other => other,
    }
}

/// The registered reason phrase of a status (IANA HTTP Status Code Registry); empty for others.
pub(super) fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

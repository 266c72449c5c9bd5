//! Webhooks: JSON by POST, in the engine's form, in the original's, or by a template.
//!
//! Owns: the three bodies. Every request carries `Idempotency-Key` with the notice's key, so that a
//! receiver can tell a repeated delivery from a new notice.

use serde_json::{Value, json};

use super::super::http::{Again, Failed, Http};
use super::super::notice::{Event, Notice};
use super::super::words;
use super::{Maker, Send};
use crate::clock::wall_micros;
use crate::config::channels::Way;
use crate::config::database::Secret;

/// What the original calls itself.
const ORIGINAL_AGENT: &str = "MonitorService-AsyncIO/2025";

/// One address that takes notices.
pub struct Webhook {
    http: Http,
    url: Secret,
    headers: Vec<(String, Secret)>,
    template: Option<String>,
    /// The name in the original's body; `None` for the engine's own form.
    original: Option<String>,
}

impl Webhook {
    /// A webhook as [`Way::Webhook`] describes it.
    ///
    /// # Errors
    ///
    /// A secret that is not there.
    pub fn new(way: &Way, maker: &Maker<'_>) -> Result<Webhook, String> {
        let Way::Webhook { url, headers, body, original, timeout_ms } = way else {
            return Err("is no webhook".to_owned());
        };
        let headers = headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), value.find(maker.env)?)))
            .collect::<Result<_, String>>()?;
        Ok(Webhook {
            http: Http::new(&maker.roots, *timeout_ms, false),
            url: url.find(maker.env)?,
            headers,
            template: body.clone(),
            original: original.then(String::new),
        })
    }

    /// Gives the original's body the name of a webhook.
    pub fn named(mut self, name: &str) -> Webhook {
        self.original = Some(name.to_owned());
        self
    }

    fn body(&self, notice: &Notice) -> String {
        match (&self.template, &self.original) {
            (Some(template), _) => fill(template, notice),
            (None, Some(name)) => original_body(notice, name).to_string(),
            (None, None) => body(notice).to_string(),
        }
    }
}

impl Send for Webhook {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let agent = match self.original {
            Some(_) => ORIGINAL_AGENT,
            None => concat!("engine/", env!("CARGO_PKG_VERSION")),
        };
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("User-Agent", agent),
            ("Idempotency-Key", notice.key.as_str()),
        ];
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.reveal())));
        let answer = self.http.post(self.url.reveal(), &headers, &self.body(notice))?;
        answer.delivered().map_err(|failed| match (&self.original, answer.status) {
            // The original gives up at once.
            (Some(_), 400..=499) if failed.again == Again::Later => Failed::never(failed.text),
            _ => failed,
        })
    }
}

/// The engine's own form.
fn body(notice: &Notice) -> Value {
    let facts = &notice.facts;
    let mut body = json!({
        "version": 1,
        "event": notice.event.name(),
        "key": notice.key,
        "outage": notice.outage,
        "title": words::title(notice),
        "message": notice.message,
        "reason": notice.reason,
        "since": words::rfc3339(notice.since_ms),
        "at": words::rfc3339(notice.at_ms),
    });
    if notice.monitor != 0 {
        body["monitor"] = json!({
            "id": notice.monitor,
            "name": facts.name,
            "target": facts.target,
            "type": facts.kind,
            "interval_s": facts.interval_ms / 1_000,
            "tags": facts.tags,
        });
        body["failures"] = json!(notice.failures);
    }
    if notice.event == Event::Up && notice.total_us > 0 {
        body["response_time_ms"] = json!(words::millis(notice.total_us));
    }
    if let Some(group) = &notice.group {
        body["group"] = json!({
            "down": group.down,
            "up": group.up,
            "in_common": group.causes,
            "members": group.members.iter().map(|(name, target)| json!({
                "name": name, "target": target,
            })).collect::<Vec<_>>(),
        });
    }
    body
}

/// The original's form: compat with whatever reads it.
pub fn original_body(notice: &Notice, name: &str) -> Value {
    let facts = &notice.facts;
    let webhook = match name {
        "" => format!("Webhook for Monitor {}", notice.monitor),
        name => name.to_owned(),
    };
    let (kind, status) =
        if notice.event.is_good() { ("recovery", "up") } else { ("error", "down") };
    let mut body = json!({
        "timestamp": words::local_iso(wall_micros()),
        "alert_type": kind,
        "status": status,
        "service": { "name": facts.name, "url": facts.target, "monitor_id": notice.monitor },
        "metadata": {
            "source": "monitor_service_asyncio",
            "version": "2025.1",
            "webhook_name": webhook,
        },
    });
    let millis = words::millis(notice.total_us);
    if notice.event.is_good() {
        let took = match notice.total_us {
            0 => String::new(),
            _ => format!(" (Response time: {millis:.0}ms)"),
        };
        body["recovery"] = json!({
            "message": format!("Service '{}' is back online{took}", facts.name),
            "response_time_ms": (millis * 100.0).round() / 100.0,
        });
    } else {
        let message = match &notice.group {
            Some(group) => words::group_text(group),
            None => format!("{} (Consecutive Error {})", notice.message, notice.failures),
        };
        body["error"] = json!({
            "message": message,
            "consecutive_count": notice.failures,
            "check_interval_seconds": facts.interval_ms / 1_000,
        });
    }
    body
}

/// Fills in `{placeholders}`; their values are escaped as parts of JSON texts. Other braces stay.
pub fn fill(template: &str, notice: &Notice) -> String {
    let facts = &notice.facts;
    let value = |word: &str| {
        Some(match word {
            "event" => notice.event.name().to_owned(),
            "key" => notice.key.clone(),
            "outage" => notice.outage.clone(),
            "title" => words::title(notice),
            "text" => words::text(notice),
            "id" => notice.monitor.to_string(),
            "name" => facts.name.clone(),
            "target" => facts.target.clone(),
            "type" => facts.kind.map_or("", |kind| kind.name()).to_owned(),
            "tags" => facts.tags.join(","),
            "message" => notice.message.clone(),
            "reason" => notice.reason.clone(),
            "failures" => notice.failures.to_string(),
            "since" => words::rfc3339(notice.since_ms),
            "at" => words::rfc3339(notice.at_ms),
            "response_ms" => format!("{:.2}", words::millis(notice.total_us)),
            _ => return None,
        })
    };
    let mut out = String::with_capacity(template.len() + 128);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        match after.find('}').and_then(|end| Some((end, value(&after[..end])?))) {
            Some((end, value)) => {
                let quoted = Value::from(value).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
                rest = &after[end + 1..];
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notice {
        let mut notice = Notice::test(1_764_000_000_000);
        notice.event = Event::Down;
        notice.monitor = 20;
        notice.facts.name = "a \"b\"".to_owned();
        notice.message = "HTTP 500 - Internal Server Error (after 3 retries)".to_owned();
        notice.failures = 1;
        notice.facts.interval_ms = 12_000;
        notice
    }

    #[test]
    fn a_template_is_filled_in_and_stays_json_whatever_a_name_holds() {
        let template = r#"{"text": "{name}: {message}", "n": {failures}, "x": {"{no}": "{"}}"#;
        let filled = fill(template, &notice());
        let value: Value = serde_json::from_str(&filled).unwrap();
        let text = "a \"b\": HTTP 500 - Internal Server Error (after 3 retries)";
        assert_eq!(value, json!({"text": text, "n": 1, "x": {"{no}": "{"}}));
    }

    #[test]
    fn the_originals_bodies_have_its_keys_and_words() {
        let mut notice = notice();
        let down = original_body(&notice, "Hook A");
        assert_eq!(down["alert_type"], "error");
        assert_eq!(down["status"], "down");
        assert_eq!(
            down["error"],
            json!({
                "message":
                    "HTTP 500 - Internal Server Error (after 3 retries) (Consecutive Error 1)",
                "consecutive_count": 1,
                "check_interval_seconds": 12,
            })
        );
        assert_eq!(
            down["metadata"],
            json!({
                "source": "monitor_service_asyncio",
                "version": "2025.1",
                "webhook_name": "Hook A",
            })
        );
        assert_eq!(down["timestamp"].as_str().unwrap().len(), "2026-11-23T03:39:21.982811".len());
        notice.event = Event::Up;
        notice.total_us = 1_541;
        let up = original_body(&notice, "");
        assert_eq!((&up["alert_type"], &up["status"]), (&json!("recovery"), &json!("up")));
        assert_eq!(
            up["recovery"],
            json!({
                "message": "Service 'a \"b\"' is back online (Response time: 2ms)",
                "response_time_ms": 1.54,
            })
        );
        assert_eq!(up["metadata"]["webhook_name"], "Webhook for Monitor 20");
    }
}

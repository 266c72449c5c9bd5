//! Receivers that keep incidents themselves: Alertmanager, PagerDuty, Opsgenie.
//!
//! Owns: how one outage stays one incident there: opened and closed under the outage's own key.

use serde_json::{Value, json};

use super::super::http::{Failed, Http, Roots};
use super::super::notice::{Event, Notice};
use super::super::words;
use super::Send;
use crate::config::database::Secret;
use crate::limits::ALERT_SEND_MS;

/// How long Alertmanager holds an alert that nobody repeats, in milliseconds: its end is sent by
/// us, so it must outlast any outage.
const HELD_MS: u64 = 30 * 24 * 3_600_000;

/// All servers of one Alertmanager, each of which gets everything.
pub struct Alertmanager {
    http: Http,
    urls: Vec<String>,
}

impl Alertmanager {
    /// These servers.
    pub fn new(roots: &Roots, urls: &[String]) -> Alertmanager {
        let path = |url: &String| format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        Alertmanager {
            http: Http::new(roots, ALERT_SEND_MS, false),
            urls: urls.iter().map(path).collect(),
        }
    }
}

impl Send for Alertmanager {
    /// Delivered when one server of the cluster has it: they tell each other.
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let body = alertmanager(notice);
        let sent = self.urls.iter().map(|url| self.http.post_json(url, &[], &body));
        let results: Vec<_> = sent.collect();
        match results.iter().any(Result::is_ok) {
            true => Ok(()),
            false => results.into_iter().next().unwrap_or(Ok(())),
        }
    }
}

/// API v2: the labels alone say which alert it is, so they never change during an outage.
fn alertmanager(notice: &Notice) -> Value {
    let facts = &notice.facts;
    let name = match notice.event {
        Event::Down | Event::StillDown | Event::Up | Event::Gone => "MonitorDown",
        Event::Flapping => "MonitorFlapping",
        Event::ManyDown | Event::ManyStillDown | Event::ManyUp => "MonitorsDown",
        Event::Isolated | Event::Connected => "EngineIsolated",
        Event::Expired => "NoticesExpired",
        Event::Test => "EngineTest",
    };
    let mut labels = json!({ "alertname": name, "severity": "critical" });
    match &notice.group {
        Some(_) => labels["group"] = json!(notice.outage),
        None if notice.monitor != 0 => {
            labels["monitor"] = json!(notice.monitor.to_string());
            labels["name"] = json!(facts.name);
            labels["kind"] = json!(facts.kind.map_or("", |kind| kind.name()));
        }
        None => {}
    }
    let over = notice.event.is_good();
    let over = over && notice.group.as_ref().is_none_or(|group| group.up >= group.down);
    let ends_ms = if over { notice.made_ms } else { notice.made_ms + HELD_MS };
    json!([{
        "labels": labels,
        "annotations": {
            "summary": words::title(notice),
            "description": words::text(notice),
        },
        "startsAt": words::rfc3339(notice.since_ms),
        "endsAt": words::rfc3339(ends_ms),
    }])
}

/// Events v2 of PagerDuty.
pub struct PagerDuty {
    http: Http,
    key: Secret,
    url: String,
}

impl PagerDuty {
    /// The integration with this routing key.
    pub fn new(roots: &Roots, key: Secret, api: &str) -> PagerDuty {
        let url = format!("{api}/v2/enqueue");
        PagerDuty { http: Http::new(roots, ALERT_SEND_MS, false), key, url }
    }
}

impl Send for PagerDuty {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let mut body = pagerduty(notice);
        body["routing_key"] = json!(self.key.reveal());
        self.http.post_json(&self.url, &[], &body)
    }
}

fn pagerduty(notice: &Notice) -> Value {
    let facts = &notice.facts;
    let action = if notice.event.is_good() { "resolve" } else { "trigger" };
    let summary: String = words::title(notice).chars().take(1_024).collect();
    json!({
        "event_action": action,
        "dedup_key": notice.outage,
        "payload": {
            "summary": summary,
            "source": if facts.target.is_empty() { "engine" } else { facts.target.as_str() },
            "severity": "critical",
            "timestamp": words::rfc3339(notice.at_ms),
            "class": notice.reason,
            "custom_details": { "text": words::text(notice), "key": notice.key },
        },
    })
}

/// Alerts of Opsgenie.
pub struct Opsgenie {
    http: Http,
    key: Secret,
    api: String,
}

impl Opsgenie {
    /// The API integration with this key.
    pub fn new(roots: &Roots, key: Secret, api: &str) -> Opsgenie {
        Opsgenie { http: Http::new(roots, ALERT_SEND_MS, false), key, api: api.to_owned() }
    }
}

impl Send for Opsgenie {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let authorization = format!("GenieKey {}", self.key.reveal());
        let headers = [("Authorization", authorization.as_str())];
        let message: String = words::title(notice).chars().take(130).collect();
        let text: String = words::text(notice).chars().take(15_000).collect();
        let base = format!("{}/v2/alerts", self.api);
        if notice.event.is_good() {
            let url = format!("{base}/{}/close?identifierType=alias", notice.outage);
            return self.http.post_json(&url, &headers, &json!({ "note": text }));
        }
        let body = json!({
            "message": message,
            "alias": notice.outage,
            "description": text,
            "tags": notice.facts.tags,
            "priority": "P1",
        });
        self.http.post_json(&base, &headers, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::Group;

    fn notice(event: Event) -> Notice {
        let mut notice = Notice::test(1_764_000_000_000);
        (notice.event, notice.monitor) = (event, 7);
        notice.outage = "7-1763999000000".to_owned();
        notice.since_ms = 1_763_999_000_000;
        notice
    }

    #[test]
    fn an_outage_is_one_alert_from_its_start_to_its_end() {
        let (down, up) = (alertmanager(&notice(Event::Down)), alertmanager(&notice(Event::Up)));
        assert_eq!(down[0]["labels"], up[0]["labels"]);
        assert_eq!(down[0]["startsAt"], up[0]["startsAt"]);
        assert_eq!(up[0]["endsAt"], "2025-11-24T16:00:00Z");
        assert_eq!(down[0]["endsAt"], "2025-12-24T16:00:00Z");
        let (down, up) = (pagerduty(&notice(Event::Down)), pagerduty(&notice(Event::Up)));
        assert_eq!(down["dedup_key"], up["dedup_key"]);
        assert_eq!(
            (&down["event_action"], &up["event_action"]),
            (&json!("trigger"), &json!("resolve"))
        );
    }

    #[test]
    fn a_group_that_is_partly_up_does_not_end_its_alert() {
        let mut notice = notice(Event::ManyUp);
        notice.group = Some(Group { down: 9, up: 8, ..Group::default() });
        assert_eq!(alertmanager(&notice)[0]["endsAt"], "2025-12-24T16:00:00Z");
        notice.group = Some(Group { down: 9, up: 9, ..Group::default() });
        assert_eq!(alertmanager(&notice)[0]["endsAt"], "2025-11-24T16:00:00Z");
    }
}

//! Receivers that read what they get as the real services do, and answer in their words: a body
//! that one of them would refuse is refused here.

use std::sync::Arc;

use engine::alert::channel::{Channel, Maker};
use engine::alert::http::Roots;
use engine::config::channels::ChannelSpec;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bench::{Memory, down, eventually, outbox, start, up};
use crate::recorder::{Answer, Recorder, Request};
use crate::secure;

const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A service: its channel at an address, and how it reads a request.
struct Service {
    channel: fn(&str) -> Value,
    read: fn(&Request) -> Result<Answer, String>,
    /// The answer to a body that it does not take.
    refuses: u16,
}

fn answer(status: u16, body: &str) -> Result<Answer, String> {
    Ok((status, String::new(), body.to_owned()))
}

fn need(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// A text that is not empty and not longer than so many characters.
fn text<'a>(value: &'a Value, name: &str, max: usize) -> Result<&'a str, String> {
    let text = value.as_str().ok_or(format!("{name} is no text"))?;
    need(!text.is_empty() && text.chars().count() <= max, name)?;
    Ok(text)
}

fn body(request: &Request) -> Result<Value, String> {
    need(request.header("content-type") == Some("application/json"), "content-type")?;
    serde_json::from_str(&request.body).map_err(|error| error.to_string())
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
fn slack(request: &Request) -> Result<Answer, String> {
    need(request.path == "/services/T0/B0/xyz", "no_service")?;
    text(&body(request)?["text"], "no_text", 40_000)?;
    answer(200, "ok")
}

/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>
fn discord(request: &Request) -> Result<Answer, String> {
    need(request.path == "/api/webhooks/1/tok", "Unknown Webhook")?;
    let body = body(request)?;
    text(&body["content"], "content", 2_000)?;
    need(body["allowed_mentions"]["parse"] == json!([]), "mentions")?;
    answer(204, "")
}

/// Workflows of Teams: a message with an adaptive card.
fn teams(request: &Request) -> Result<Answer, String> {
    need(request.path == "/workflows/1/paths/invoke?sig=x", "path")?;
    let body = body(request)?;
    need(body["type"] == "message", "type")?;
    let card = &body["attachments"][0];
    need(card["contentType"] == "application/vnd.microsoft.card.adaptive", "contentType")?;
    need(card["content"]["type"] == "AdaptiveCard", "content")?;
    for block in card["content"]["body"].as_array().ok_or("body")? {
        need(block["type"] == "TextBlock", "block")?;
        text(&block["text"], "text", 20_000)?;
    }
    answer(202, "")
}

/// <https://developer.pagerduty.com/docs/send-alert-event>
fn pagerduty(request: &Request) -> Result<Answer, String> {
    need(request.path == "/v2/enqueue", "path")?;
    let body = body(request)?;
    need(body["routing_key"] == ROUTING_KEY, "routing_key")?;
    let key = text(&body["dedup_key"], "dedup_key", 255)?;
    match text(&body["event_action"], "event_action", 20)? {
        "trigger" => {
            let payload = &body["payload"];
            text(&payload["summary"], "summary", 1_024)?;
            text(&payload["source"], "source", 10_000)?;
            let known = ["critical", "error", "warning", "info"];
            need(known.contains(&text(&payload["severity"], "severity", 20)?), "severity")?;
            time(&payload["timestamp"])?;
        }
        "resolve" => {}
        other => return Err(format!("event_action {other}")),
    }
    let said = json!({"status": "success", "message": "Event processed", "dedup_key": key});
    answer(202, &said.to_string())
}

/// <https://docs.opsgenie.com/docs/alert-api>
fn opsgenie(request: &Request) -> Result<Answer, String> {
    need(request.header("authorization") == Some("GenieKey k3y"), "Authorization")?;
    let body = body(request)?;
    if request.path == "/v2/alerts" {
        text(&body["message"], "message", 130)?;
        text(&body["alias"], "alias", 512)?;
        text(&body["description"], "description", 15_000)?;
        need(body["tags"].as_array().is_some_and(|tags| tags.len() <= 20), "tags")?;
        need(["P1", "P2", "P3", "P4", "P5"].map(Value::from).contains(&body["priority"]), "prio")?;
    } else {
        let alias = request.path.strip_prefix("/v2/alerts/").ok_or("path")?;
        need(alias == "1-1000/close?identifierType=alias", "alias")?;
        text(&body["note"], "note", 25_000)?;
    }
    answer(202, "{\"result\":\"Request will be processed\",\"took\":0.1,\"requestId\":\"r\"}")
}

/// <https://docs.ntfy.sh/publish/#publish-as-json>
fn ntfy(request: &Request) -> Result<Answer, String> {
    need(request.path == "/", "path")?;
    need(request.header("authorization") == Some("Bearer k3y"), "Authorization")?;
    let body = body(request)?;
    need(body["topic"] == "alerts", "topic")?;
    text(&body["message"], "message", 4_096)?;
    text(&body["title"], "title", 250)?;
    need(body["priority"].as_u64().is_some_and(|number| (1..=5).contains(&number)), "priority")?;
    need(body["tags"].as_array().is_some_and(|tags| tags.iter().all(Value::is_string)), "tags")?;
    answer(200, "{\"id\":\"x\",\"event\":\"message\"}")
}

/// The API of Alertmanager, version 2 (`postableAlerts`).
fn alertmanager(request: &Request) -> Result<Answer, String> {
    need(request.path == "/api/v2/alerts", "path")?;
    let body = body(request)?;
    for alert in body.as_array().ok_or("no list")? {
        for words in [&alert["labels"], &alert["annotations"]] {
            let words = words.as_object().ok_or("no labels")?;
            need(!words.is_empty() && words.values().all(Value::is_string), "labels")?;
        }
        text(&alert["labels"]["alertname"], "alertname", 1_000)?;
        need(
            time(&alert["startsAt"])? <= time(&alert["endsAt"])?,
            "start time must be before end",
        )?;
    }
    answer(200, "")
}

fn time(value: &Value) -> Result<Timestamp, String> {
    let text = value.as_str().ok_or("no time")?;
    text.parse().map_err(|_| format!("{text} is no time"))
}

const SERVICES: [(&str, Service); 7] = [
    (
        "slack",
        Service {
            channel: |url| json!({"url": format!("{url}/services/T0/B0/xyz")}),
            read: slack,
            refuses: 400,
        },
    ),
    (
        "discord",
        Service {
            channel: |url| json!({"url": format!("{url}/api/webhooks/1/tok")}),
            read: discord,
            refuses: 400,
        },
    ),
    (
        "teams",
        Service {
            channel: |url| json!({"url": format!("{url}/workflows/1/paths/invoke?sig=x")}),
            read: teams,
            refuses: 400,
        },
    ),
    (
        "pagerduty",
        Service {
            channel: |url| json!({"key": "env:ROUTING", "api": url}),
            read: pagerduty,
            refuses: 400,
        },
    ),
    (
        "opsgenie",
        Service {
            channel: |url| json!({"key": "env:KEY", "api": url}),
            read: opsgenie,
            refuses: 422,
        },
    ),
    (
        "ntfy",
        Service {
            channel: |url| json!({"url": format!("{url}/alerts"), "token": "env:KEY"}),
            read: ntfy,
            refuses: 400,
        },
    ),
    (
        "alertmanager",
        Service { channel: |url| json!({"urls": [url]}), read: alertmanager, refuses: 400 },
    ),
];

fn channel(name: &str, service: &Service, url: &str, roots: &Roots) -> Channel {
    let mut value = (service.channel)(url);
    value["type"] = json!(name);
    for key in ["url", "urls"] {
        // A secret address comes from a variable.
        if value[key].is_string() && name != "ntfy" {
            value[key] = json!("env:URL");
        }
    }
    let spec = ChannelSpec::read(value.as_object().unwrap()).unwrap();
    let address = (service.channel)(url)["url"].as_str().unwrap_or_default().to_owned();
    let env = move |name: &str| match name {
        "URL" => Some(address.clone()),
        "ROUTING" => Some(ROUTING_KEY.to_owned()),
        _ => Some("k3y".to_owned()),
    };
    Maker { env: &env, roots: roots.clone(), domain: None }.make(&spec).unwrap()
}

#[test]
fn every_service_takes_an_outage_and_its_end_over_tls_after_it_was_away_and_asked_for_a_pause() {
    let place = tempfile::tempdir().unwrap();
    let (tls, authority) = secure::server(place.path());
    let roots = Roots::load(Some(&authority)).unwrap();
    let mut servers = Vec::new();
    let mut channels = Vec::new();
    for (name, service) in &SERVICES {
        let (read, refuses) = (service.read, service.refuses);
        let server =
            Recorder::serving(Some(Arc::clone(&tls)), move |request, number| match number {
                0 => (503, String::new(), "busy".to_owned()),
                1 => (429, "Retry-After: 1\r\n".to_owned(), "{\"retry_after\":0.5}".to_owned()),
                _ => read(request).unwrap_or_else(|wrong| (refuses, String::new(), wrong)),
            });
        channels.push(channel(name, service, &secure::url(&server, ""), &roots));
        servers.push((*name, server));
    }
    let alerts = start(place.path(), channels, &Memory::of(1));
    alerts.teller().changes(vec![down(1, 1_000)]);
    for (name, server) in &servers {
        eventually(name, || (server.requests().len() >= 3).then_some(()));
    }
    alerts.teller().changes(vec![up(1, 2_000)]);
    for (name, server) in &servers {
        eventually(name, || (server.requests().len() >= 4).then_some(()));
    }
    alerts.stop();
    for (name, server) in &servers {
        let requests = server.requests();
        assert_eq!(requests.len(), 4, "{name}");
        // A repeated delivery is the same notice.
        assert!(requests[..3].iter().all(|one| one.body == requests[0].body), "{name}");
        assert_ne!(requests[3].body, requests[0].body, "{name}");
    }
    let lines = outbox(place.path());
    assert_eq!(lines.len(), 2 * servers.len(), "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(" delivered")), "{lines:?}");
}

#[test]
fn who_keeps_incidents_opens_and_ends_one_under_the_same_key() {
    let place = tempfile::tempdir().unwrap();
    let (tls, authority) = secure::server(place.path());
    let roots = Roots::load(Some(&authority)).unwrap();
    let find = |name: &str| SERVICES.iter().find(|(known, _)| *known == name).unwrap();
    let begin = |name: &str| {
        let (name, service) = find(name);
        let read = service.read;
        let server = Recorder::serving(Some(Arc::clone(&tls)), move |request, _| {
            read(request).unwrap_or_else(|wrong| (400, String::new(), wrong))
        });
        (channel(name, service, &secure::url(&server, ""), &roots), server)
    };
    let [(one, pagerduty), (two, opsgenie), (three, alertmanager)] =
        ["pagerduty", "opsgenie", "alertmanager"].map(begin);
    let alerts = start(place.path(), vec![one, two, three], &Memory::of(1));
    for change in [down(1, 1_000), up(1, 2_000)] {
        let before = alertmanager.requests().len();
        alerts.teller().changes(vec![change]);
        for server in [&pagerduty, &opsgenie, &alertmanager] {
            eventually("it came", || (server.requests().len() > before).then_some(()));
        }
    }
    alerts.stop();
    let of = |server: &Recorder, key: &str| -> Vec<Value> {
        server.requests().iter().map(|request| request.json()[key].clone()).collect()
    };
    assert_eq!(of(&pagerduty, "dedup_key"), ["1-1000", "1-1000"]);
    assert_eq!(of(&pagerduty, "event_action"), ["trigger", "resolve"]);
    assert_eq!(opsgenie.requests()[0].json()["alias"], "1-1000");
    assert_eq!(opsgenie.requests()[1].path, "/v2/alerts/1-1000/close?identifierType=alias");
    let alerts = alertmanager.requests().iter().map(|r| r.json()[0].clone()).collect::<Vec<_>>();
    assert_eq!(alerts[0]["labels"], alerts[1]["labels"]);
    assert_eq!(alerts[0]["startsAt"], "1970-01-01T00:00:01Z");
    let now = Timestamp::now();
    assert!(
        time(&alerts[0]["endsAt"]).unwrap() > now && time(&alerts[1]["endsAt"]).unwrap() <= now
    );
}

#[test]
fn what_a_service_refuses_for_good_is_not_sent_again_and_shows_the_status() {
    let place = tempfile::tempdir().unwrap();
    let mut servers = Vec::new();
    let mut channels = Vec::new();
    for (name, service) in &SERVICES {
        let refuses = service.refuses;
        let server = Recorder::answering(move |_, _| (refuses, String::new(), "no".to_owned()));
        channels.push(channel(name, service, &server.url(""), &Roots::default()));
        servers.push(server);
    }
    let alerts = start(place.path(), channels, &Memory::of(1));
    alerts.teller().changes(vec![down(1, 1_000)]);
    eventually("all are refused", || {
        let lines = outbox(place.path());
        let refused = lines.iter().filter(|line| line.ends_with(" refused")).count();
        (refused == servers.len()).then_some(())
    });
    alerts.stop();
    assert!(servers.iter().all(|server| server.requests().len() == 1));
}

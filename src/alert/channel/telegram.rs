//! Telegram: messages of a bot, in the original's words.
//!
//! Owns: the texts, with everything that a user or a target chose escaped, and the pauses that the
//! Bot API asks for.

use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::super::http::{Again, Failed, Http, Roots, after_seconds};
use super::super::notice::{Event, Notice};
use super::super::words;
use super::Send;
use crate::config::database::Secret;
use crate::limits::ALERT_TELEGRAM_MS;

/// Longest text of a message, in characters (Bot API, `sendMessage`).
const TEXT_CHARS_MAX: usize = 4_096;
/// Longest name or message within a text, in characters, so that the rest always fits.
const PART_CHARS_MAX: usize = 1_000;

/// A bot and a chat.
pub struct Telegram {
    http: Http,
    token: Secret,
    chat: String,
    api: String,
    domain: Option<String>,
}

/// What the Bot API says.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

impl Telegram {
    /// A bot that writes to a chat. Links to monitors where `domain` is given.
    pub fn new(
        roots: &Roots,
        token: Secret,
        chat: &str,
        api: &str,
        domain: Option<String>,
    ) -> Telegram {
        let http = Http::new(roots, ALERT_TELEGRAM_MS, true);
        Telegram { http, token, chat: chat.to_owned(), api: api.to_owned(), domain }
    }
}

impl Send for Telegram {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let url = format!("{}/bot{}/sendMessage", self.api, self.token.reveal());
        let body = Serializer::new(String::new())
            .append_pair("chat_id", &self.chat)
            .append_pair("text", &text(notice, self.domain.as_deref()))
            .append_pair("parse_mode", "HTML")
            .append_pair("disable_web_page_preview", "True")
            .finish();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = self.http.post(&url, &headers, &body)?;
        let said: Said = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status == 200 && said.ok {
            return Ok(());
        }
        let mut text = format!("HTTP {}", answer.status);
        if !said.description.is_empty() {
            // The API does not repeat the token; whatever stands there does not get it out.
            text += &format!(" {}", said.description.replace(self.token.reveal(), "***"));
        }
        let again = match (said.parameters.retry_after.or(answer.retry_after_s), answer.status) {
            (Some(seconds), _) => after_seconds(seconds),
            (None, 400) => Again::Never,
            (None, _) => Again::Later,
        };
        Err(Failed { text, again })
    }
}

/// The original's texts, with what they lack for the notices that it does not have.
pub fn text(notice: &Notice, domain: Option<&str>) -> String {
    let facts = &notice.facts;
    let name = escaped(&facts.name);
    let admin = domain.map_or(String::new(), |domain| {
        let url = words::admin_url(domain, notice.monitor);
        format!("🔗 <b>Admin URL:</b> {}\n", escaped(&url))
    });
    let target = escaped(&facts.target);
    let (every, at) = (words::interval(facts.interval_ms), words::local_time(notice.made_ms));
    match notice.event {
        Event::Down | Event::StillDown => format!(
            "❌ <b>ALERT: {name}</b>\n\n\
             🌐 <b>URL:</b> {target}\n\
             🕒 <b>Interval:</b> {every}\n\
             ❌ <b>Status:</b> DOWN\n\
             ⚠️ <b>Error:</b> {} (Consecutive Error {})\n\
             🕒 <b>Time:</b> {at}\n\
             {admin}\
             ⚠️ <b>Send consecutive: </b> {} \n\n\
             Please check the service immediately!",
            escaped(&notice.message),
            notice.failures,
            facts.repeat.unwrap_or_default(),
        ),
        Event::Up => format!(
            "✅ <b>SERVICE OK: {name} </b>\n\n\
             🌐 <b>URL:</b> {target}\n\
             🕒 <b>Interval:</b> {every}\n\
             ✅ <b>Status:</b> UP\n\
             ⚡ <b>Response Time:</b> {:.2}ms\n\
             🕒 <b>Time:</b> {at}\n\
             {admin}\n\
             Service is back online! 🎉",
            words::millis(notice.total_us),
        ),
        _ => {
            let mark = if notice.event.is_good() { "✅" } else { "❌" };
            let title = escaped(&words::title(notice));
            let text: String = words::text(notice).chars().take(TEXT_CHARS_MAX / 2).collect();
            format!("{mark} <b>{title}</b>\n\n{}", escape(&text))
        }
    }
}

/// A part of a text, cut and with the markup taken out.
fn escaped(part: &str) -> String {
    escape(&part.chars().take(PART_CHARS_MAX).collect::<String>())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_reads_as_the_originals_and_its_parts_are_escaped() {
        let mut notice = Notice::test(0);
        notice.event = Event::Down;
        notice.monitor = 7;
        notice.facts.name = "<b>&".to_owned();
        notice.facts.interval_ms = 12_000;
        notice.message = "HTTP 500 - x".to_owned();
        notice.failures = 2;
        notice.facts.repeat = Some(1);
        let time = words::local_time(0);
        assert_eq!(
            text(&notice, Some("mon.example")),
            format!(
                "❌ <b>ALERT: &lt;b&gt;&amp;</b>\n\n🌐 <b>URL:</b> https://example.com\n\
                 🕒 <b>Interval:</b> 12s\n❌ <b>Status:</b> DOWN\n\
                 ⚠️ <b>Error:</b> HTTP 500 - x (Consecutive Error 2)\n🕒 <b>Time:</b> {time}\n\
                 🔗 <b>Admin URL:</b> https://mon.example/member/monitor-item/edit/7\n\
                 ⚠️ <b>Send consecutive: </b> 1 \n\nPlease check the service immediately!"
            )
        );
        notice.event = Event::Up;
        notice.total_us = 1_544;
        assert!(text(&notice, None).contains("⚡ <b>Response Time:</b> 1.54ms\n"));
    }

    #[test]
    fn however_long_its_parts_a_text_is_never_too_long() {
        let mut notice = Notice::test(0);
        notice.facts.name = "n".repeat(9_000);
        notice.facts.target = "t".repeat(9_000);
        notice.message = "m".repeat(9_000);
        for event in [Event::Down, Event::Up, Event::ManyDown, Event::Test] {
            notice.event = event;
            assert!(text(&notice, None).chars().count() <= TEXT_CHARS_MAX, "{event:?}");
        }
    }
}

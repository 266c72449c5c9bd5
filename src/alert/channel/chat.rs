//! Chats that take JSON at a secret address: Slack, Discord, Teams; and ntfy.
//!
//! Owns: the body of each, within the length that it takes.

use serde_json::{Value, json};

use super::super::http::{Failed, Http, Roots};
use super::super::notice::Notice;
use super::super::words;
use super::Send;
use crate::config::database::Secret;
use crate::limits::ALERT_SEND_MS;

/// Which chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Incoming webhooks of Slack.
    Slack,
    /// Webhooks of Discord.
    Discord,
    /// Workflows of Teams: an adaptive card.
    Teams,
}

/// A chat behind a secret address.
pub struct Chat {
    http: Http,
    form: Form,
    url: Secret,
}

impl Chat {
    /// A chat at an address.
    pub fn new(roots: &Roots, form: Form, url: Secret) -> Chat {
        Chat { http: Http::new(roots, ALERT_SEND_MS, false), form, url }
    }
}

impl Send for Chat {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        self.http.post_json(self.url.reveal(), &[], &body(self.form, notice))
    }
}

fn body(form: Form, notice: &Notice) -> Value {
    let (title, text) = (words::title(notice), words::text(notice));
    let mark = if notice.event.is_good() { "✅" } else { "❌" };
    match form {
        Form::Slack => {
            let escape =
                |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let text = format!("{mark} *{}*\n{}", escape(&title), escape(&text));
            json!({ "text": cut(&text, 12_000) })
        }
        // Nobody is called by a name that holds an @.
        Form::Discord => json!({
            "content": cut(&format!("{mark} **{title}**\n{text}"), 2_000),
            "allowed_mentions": { "parse": [] },
        }),
        Form::Teams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        { "type": "TextBlock", "weight": "Bolder", "wrap": true,
                          "text": cut(&format!("{mark} {title}"), 1_000) },
                        { "type": "TextBlock", "wrap": true,
                          "text": cut(&text, 10_000).replace('\n', "\n\n") },
                    ],
                },
            }],
        }),
    }
}

/// A topic of ntfy.
pub struct Ntfy {
    http: Http,
    server: String,
    topic: String,
    token: Option<Secret>,
}

impl Ntfy {
    /// A topic at the end of an address.
    pub fn new(roots: &Roots, url: &str, token: Option<Secret>) -> Ntfy {
        let (server, topic) = url.trim_end_matches('/').rsplit_once('/').unwrap_or((url, ""));
        let http = Http::new(roots, ALERT_SEND_MS, false);
        Ntfy { http, server: server.to_owned(), topic: topic.to_owned(), token }
    }
}

impl Send for Ntfy {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let good = notice.event.is_good();
        let body = json!({
            "topic": self.topic,
            "title": words::title(notice),
            "message": cut(&words::text(notice), 3_500),
            "priority": if good { 3 } else { 4 },
            "tags": [if good { "white_check_mark" } else { "rotating_light" }],
        });
        self.http.post_json(&self.server, &headers, &body)
    }
}

/// A text of at most so many characters.
fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_chose_is_no_markup_and_calls_nobody() {
        let mut notice = Notice::test(0);
        notice.message = "<!channel> @everyone".to_owned();
        let slack = body(Form::Slack, &notice);
        assert!(slack["text"].as_str().unwrap().contains("&lt;!channel&gt;"), "{slack}");
        assert_eq!(body(Form::Discord, &notice)["allowed_mentions"], json!({ "parse": [] }));
        notice.message = "m".repeat(50_000);
        let content = body(Form::Discord, &notice)["content"].as_str().unwrap().to_owned();
        assert_eq!(content.chars().count(), 2_000);
        assert!(content.ends_with('…'));
    }
}

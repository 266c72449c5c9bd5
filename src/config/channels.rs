//! The ways over which people are told: `channels:` of the file, read and checked.
//!
//! Owns: the keys of each type and their errors. A secret is never written into the file: it is
//! `env:NAME` or `file:PATH`, and read when the engine starts. Leaves to others: sending (`alert`).

use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};
use url::Url;

use super::database::Secret;
use crate::monitor::row::written::{Written, duration_ms};
use crate::monitor::row::{RowError, nearest};

/// A value that may be a secret, or the place where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The value itself.
    Here(Secret),
    /// In this variable.
    Env(String),
    /// In this file, without the line end.
    File(PathBuf),
}

impl Hidden {
    /// The value. `env` gives the value of a variable.
    ///
    /// # Errors
    ///
    /// The variable or the file that gives none, in words without any value.
    pub fn find(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
        match self {
            Hidden::Here(secret) => Ok(secret.clone()),
            Hidden::Env(name) => match env(name).filter(|value| !value.is_empty()) {
                Some(value) => Ok(Secret::new(value)),
                None => Err(format!("the variable {name} is not set; set it before the start")),
            },
            Hidden::File(path) => match std::fs::read_to_string(path) {
                Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim())),
                Ok(_) => Err(format!("the file {} is empty", path.display())),
                Err(error) => Err(format!("the file {}: {error}", path.display())),
            },
        }
    }

    fn read(text: &str) -> Hidden {
        match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
            (Some(name), _) => Hidden::Env(name.to_owned()),
            (_, Some(path)) => Hidden::File(PathBuf::from(path)),
            _ => Hidden::Here(Secret::new(text)),
        }
    }
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// TLS after STARTTLS; a server without it is refused.
    #[default]
    Start,
    /// TLS from the first byte.
    Implicit,
    /// No TLS: for a server on this host only.
    None,
}

/// An account of a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAccount {
    /// Its name, which is the sender too where `from` is not given.
    pub user: String,
    /// Its password.
    pub password: Hidden,
}

/// The way that notices take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A POST of JSON.
    Webhook {
        /// Where.
        url: Hidden,
        /// Further header fields.
        headers: Vec<(String, Hidden)>,
        /// The body with `{placeholders}`; `None` for the engine's own.
        body: Option<String>,
        /// The name in the original's body, which gives up after a 4xx; `None` for our own.
        original: Option<String>,
        /// Deadline, in milliseconds.
        timeout_ms: u64,
    },
    /// A message of a Telegram bot.
    Telegram {
        /// Its token.
        token: Hidden,
        /// The chat.
        chat: String,
        /// Server of the Bot API.
        api: String,
    },
    /// A mail.
    Mail {
        /// Name or address of the server.
        host: String,
        /// Its port.
        port: u16,
        /// How it is spoken to.
        tls: MailTls,
        /// Accounts, one of which sends; none where the server asks for none.
        accounts: Vec<MailAccount>,
        /// The sender; the account where none is given.
        from: Option<String>,
        /// Its name.
        from_name: String,
        /// Receivers; empty for the owner of the monitor.
        to: Vec<String>,
    },
    /// A program that reads JSON on standard input.
    Command {
        /// The program and its arguments.
        run: Vec<String>,
        /// Deadline, in milliseconds.
        timeout_ms: u64,
    },
    /// Alertmanager, API v2: each of these servers.
    Alertmanager {
        /// Their addresses, without a path.
        urls: Vec<String>,
    },
    /// An incoming webhook of Slack.
    Slack(Hidden),
    /// A webhook of Discord.
    Discord(Hidden),
    /// A webhook of Teams.
    Teams(Hidden),
    /// Events v2 of PagerDuty.
    PagerDuty {
        /// The routing key.
        key: Hidden,
        /// Server of the API.
        api: String,
    },
    /// Alerts of Opsgenie.
    Opsgenie {
        /// The key of an API integration.
        key: Hidden,
        /// Server of the API.
        api: String,
    },
    /// A topic of ntfy.
    Ntfy {
        /// Server and topic.
        url: String,
        /// Access token.
        token: Option<Hidden>,
    },
    /// A message to the telephone of a monitor's owner.
    Firebase {
        /// The file of the service account.
        account: PathBuf,
        /// Server of the API.
        api: String,
    },
}

impl Way {
    /// The word of its type.
    pub fn name(&self) -> &'static str {
        match self {
            Way::Webhook { .. } => "webhook",
            Way::Telegram { .. } => "telegram",
            Way::Mail { .. } => "email",
            Way::Command { .. } => "command",
            Way::Alertmanager { .. } => "alertmanager",
            Way::Slack(_) => "slack",
            Way::Discord(_) => "discord",
            Way::Teams(_) => "teams",
            Way::PagerDuty { .. } => "pagerduty",
            Way::Opsgenie { .. } => "opsgenie",
            Way::Ntfy { .. } => "ntfy",
            Way::Firebase { .. } => "firebase",
        }
    }
}

/// How an ongoing outage is told again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remind {
    /// Never.
    #[default]
    Never,
    /// Each time so many milliseconds have passed.
    Every(u64),
    /// As the original does.
    Original(Throttle),
}

/// The original's throttle of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// True where only the first failure of an outage is told, `None` where the monitor says so.
    pub first_only: Option<bool>,
    /// Shortest time between two notices, in milliseconds.
    pub every_ms: u64,
    /// Failures in a row after which `extended_ms` holds where that is longer.
    pub extended_after: u32,
    /// In milliseconds; 0 for never.
    pub extended_ms: u64,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// Unique among all channels.
    pub name: String,
    /// The way that its notices take.
    pub way: Way,
    /// Only monitors with one of these tags, where there are any.
    pub tags: Vec<String>,
    /// How an ongoing outage is told again.
    pub remind: Remind,
    /// Whether what fails together is told together; `None` for the usual of its type.
    pub group: Option<bool>,
    /// True where the quiet times of a monitor's owner hold.
    pub quiet: bool,
    /// True where it is for monitors that name it only.
    pub on_request: bool,
}

const TYPES: &[&str] = &[
    "webhook",
    "telegram",
    "email",
    "command",
    "alertmanager",
    "slack",
    "discord",
    "teams",
    "pagerduty",
    "opsgenie",
    "ntfy",
    "firebase",
];

/// Deadline of a command or a webhook where none is given, in milliseconds.
const TIMEOUT_MS: u64 = crate::limits::ALERT_SEND_MS;

impl ChannelSpec {
    /// Reads a channel from its keys and values.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with its key.
    pub fn read(map: &Map<String, Value>) -> Result<ChannelSpec, Vec<RowError>> {
        let mut keys = Keys { map, used: vec!["type"], errors: Vec::new() };
        let kind = map.get("type").and_then(String::read).unwrap_or_default();
        let name = keys.text("name").unwrap_or_else(|| kind.clone());
        let tags = keys.list("tags");
        let usual = match kind.as_str() {
            "alertmanager" => Remind::Every(crate::limits::ALERTMANAGER_REPEAT_MS),
            _ => Remind::Never,
        };
        let remind = keys.duration("remind").map_or(usual, Remind::Every);
        let group = keys.flag("group");
        let way = way(&mut keys, &kind, &name);
        keys.refuse_others();
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            keys.bad("name", &name, "is not a name", "write 1 to 100 bytes of plain text");
        }
        match way {
            Some(way) if keys.errors.is_empty() => {
                Ok(ChannelSpec { name, way, tags, remind, group, quiet: false, on_request: false })
            }
            _ => Err(keys.errors),
        }
    }
}

fn way(keys: &mut Keys<'_>, kind: &str, name: &str) -> Option<Way> {
    Some(match kind {
        "webhook" => webhook(keys, name)?,
        "telegram" => {
            let (token, chat) = (keys.secret("token"), keys.needed("chat"));
            let api = keys.server("api", "https://api.telegram.org");
            Way::Telegram { token: token?, chat: chat?, api }
        }
        "email" => mail(keys)?,
        "command" => {
            let run = keys.list("run");
            let timeout_ms = keys.duration("timeout").unwrap_or(TIMEOUT_MS);
            if run.is_empty() {
                keys.bad("run", "", "is missing", "write a program with its arguments as a list");
                return None;
            }
            Way::Command { run, timeout_ms }
        }
        "alertmanager" => {
            let urls = keys.list("urls");
            if urls.is_empty() || urls.iter().any(|url| !is_http(url)) {
                let fix = "write a list of servers such as http://127.0.0.1:9093";
                keys.bad("urls", "", "is not a list of servers", fix);
                return None;
            }
            Way::Alertmanager { urls }
        }
        "slack" => Way::Slack(keys.secret("url")?),
        "discord" => Way::Discord(keys.secret("url")?),
        "teams" => Way::Teams(keys.secret("url")?),
        "pagerduty" => {
            let api = keys.server("api", "https://events.pagerduty.com");
            Way::PagerDuty { key: keys.secret("key")?, api }
        }
        "opsgenie" => {
            let api = keys.server("api", "https://api.opsgenie.com");
            Way::Opsgenie { key: keys.secret("key")?, api }
        }
        "ntfy" => {
            let (url, token) = (keys.needed("url")?, keys.maybe_secret("token"));
            if !is_http(&url) {
                keys.bad("url", "", "is no address", "write it like https://ntfy.sh/topic");
            }
            Way::Ntfy { url, token }
        }
        "firebase" => {
            let api = keys.server("api", "https://fcm.googleapis.com");
            Way::Firebase { account: PathBuf::from(keys.needed("account")?), api }
        }
        other => {
            let fix = match nearest(other, TYPES) {
                Some(near) if !other.is_empty() => format!("did you mean {near}?"),
                _ => format!("write one of {}", TYPES.join(", ")),
            };
            keys.bad("type", other, "is not a type of channel", fix);
            return None;
        }
    })
}

fn webhook(keys: &mut Keys<'_>, name: &str) -> Option<Way> {
    let url = keys.needed("url");
    let body = keys.text("body");
    let format = keys.text("format");
    let timeout_ms = keys.duration("timeout").unwrap_or(TIMEOUT_MS);
    let headers = keys.headers();
    let original = match format.as_deref() {
        None | Some("engine") => None,
        Some("original") => Some(name.to_owned()),
        Some(other) => {
            keys.bad("format", other, "is not a format", "write engine or original");
            None
        }
    };
    if original.is_some() && body.is_some() {
        keys.bad("body", "", "does not go with format: original", "keep one of the two");
    }
    let url = Hidden::read(&url?);
    if let Hidden::Here(plain) = &url
        && !is_http(plain.reveal())
    {
        let fix = "write https://host/path, or env:NAME or file:PATH where it is a secret";
        keys.bad("url", "", "is no address", fix);
    }
    Some(Way::Webhook { url, headers, body, original, timeout_ms })
}

fn mail(keys: &mut Keys<'_>) -> Option<Way> {
    let host = keys.needed("host");
    let tls = match keys.text("tls").as_deref() {
        None | Some("starttls") => MailTls::Start,
        Some("implicit") => MailTls::Implicit,
        Some("none") => MailTls::None,
        Some(other) => {
            let fix = "write starttls, implicit or none";
            keys.bad("tls", other, "is not a way to speak to a mail server", fix);
            MailTls::Start
        }
    };
    let usual = if tls == MailTls::Implicit { 465 } else { 587 };
    let port = match keys.number("port") {
        None => usual,
        Some(port) => u16::try_from(port).unwrap_or_else(|_| {
            keys.bad("port", &port.to_string(), "is no port", "write a number up to 65535");
            usual
        }),
    };
    let (user, password) = (keys.text("user"), keys.maybe_secret("password"));
    let accounts = match (user, password) {
        (Some(user), Some(password)) => vec![MailAccount { user, password }],
        (None, None) => Vec::new(),
        _ => {
            keys.bad("user", "", "goes with a password", "write both or none");
            Vec::new()
        }
    };
    let from = keys.text("from");
    let from_name = keys.text("from_name").unwrap_or_else(|| "engine".to_owned());
    let to = keys.list("to");
    if to.is_empty() {
        keys.bad("to", "", "is missing", "write the address of a receiver, or a list of them");
    }
    if from.is_none() && accounts.is_empty() {
        keys.bad("from", "", "is missing", "write the address of the sender");
    }
    Some(Way::Mail { host: host?, port, tls, accounts, from, from_name, to })
}

fn is_http(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The keys of one channel while they are read.
struct Keys<'a> {
    map: &'a Map<String, Value>,
    used: Vec<&'static str>,
    errors: Vec<RowError>,
}

impl Keys<'_> {
    fn bad(&mut self, key: &str, value: &str, problem: &str, fix: impl Into<String>) {
        self.errors.push(RowError::new(key, value, problem, fix));
    }

    fn value<T: Written>(&mut self, key: &'static str) -> Option<T> {
        self.used.push(key);
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        let read = T::read(value);
        if read.is_none() {
            self.bad(key, "", &format!("is not {}", T::WANTS), "write it so");
        }
        read
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        self.value(key)
    }

    fn number(&mut self, key: &'static str) -> Option<u64> {
        self.value(key)
    }

    fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.value(key)
    }

    fn list(&mut self, key: &'static str) -> Vec<String> {
        self.value(key).unwrap_or_default()
    }

    fn needed(&mut self, key: &'static str) -> Option<String> {
        let text = self.text(key).filter(|text| !text.trim().is_empty());
        if text.is_none() && !self.errors.iter().any(|error| error.field == key) {
            self.bad(key, "", "is missing", "write it with this channel");
        }
        text
    }

    fn duration(&mut self, key: &'static str) -> Option<u64> {
        let text = self.text(key)?;
        let millis = duration_ms(&text).filter(|millis| *millis >= 1_000);
        if millis.is_none() {
            self.bad(key, &text, "is no time from 1s", "write it like 30s, 15m or 4h");
        }
        millis
    }

    fn maybe_secret(&mut self, key: &'static str) -> Option<Hidden> {
        match Hidden::read(&self.text(key)?) {
            Hidden::Here(_) => {
                // What was written is not repeated.
                let fix = format!("write {key}: env:NAME or {key}: file:PATH");
                self.bad(key, "", "is a secret and does not belong into this file", fix);
                None
            }
            place => Some(place),
        }
    }

    fn secret(&mut self, key: &'static str) -> Option<Hidden> {
        if self.map.get(key).is_none_or(Value::is_null) {
            self.used.push(key);
            self.bad(key, "", "is missing", format!("write {key}: env:NAME or file:PATH"));
            return None;
        }
        self.maybe_secret(key)
    }

    fn server(&mut self, key: &'static str, usual: &str) -> String {
        let server = self.text(key).unwrap_or_else(|| usual.to_owned());
        if !is_http(&server) {
            self.bad(key, "", "is no server", format!("write it like {usual}"));
        }
        server.trim_end_matches('/').to_owned()
    }

    fn headers(&mut self) -> Vec<(String, Hidden)> {
        self.used.push("headers");
        match self.map.get("headers") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(map)) => {
                let fields = map.iter().filter_map(|(name, value)| {
                    Some((name.clone(), Hidden::read(&String::read(value)?)))
                });
                fields.collect()
            }
            Some(_) => {
                self.bad("headers", "", "is not a map", "write names with their values");
                Vec::new()
            }
        }
    }

    fn refuse_others(&mut self) {
        for key in self.map.keys().filter(|key| !self.used.contains(&key.as_str())) {
            self.errors.push(RowError::unknown_key(key, &self.used));
        }
    }
}

impl fmt::Display for ChannelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.way.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<ChannelSpec, String> {
        let spec = ChannelSpec::read(value.as_object().unwrap());
        spec.map_err(|errors| errors.iter().map(RowError::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let error = read(json!({"type": "telegram", "token": "123:CANARY", "chat": "-1"}));
        let error = error.unwrap_err();
        assert_eq!(
            error,
            "token: is a secret and does not belong into this file; write token: env:NAME or \
             token: file:PATH"
        );
        assert!(!error.contains("CANARY"));
    }

    #[test]
    fn a_secret_comes_from_a_variable_or_a_file() {
        let env = |name: &str| (name == "TOKEN").then(|| "1:x".to_owned());
        let found = Hidden::read("env:TOKEN").find(&env).unwrap();
        assert_eq!(found.reveal(), "1:x");
        let missing = Hidden::read("env:NONE").find(&env).unwrap_err();
        assert_eq!(missing, "the variable NONE is not set; set it before the start");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let hidden = Hidden::read(&format!("file:{}", file.path().display()));
        assert_eq!(hidden.find(&env).unwrap().reveal(), "s3cret");
    }

    #[test]
    fn every_error_of_a_channel_is_told_at_once() {
        let error = read(json!({"type": "email", "host": "h", "tls": "ssl", "frm": "a@b"}));
        let error = error.unwrap_err();
        for told in [
            "tls: ssl is not a way to speak to a mail server; write starttls, implicit or none",
            "to: is missing; write the address of a receiver, or a list of them",
            "from: is missing; write the address of the sender",
            "unknown key `frm`; did you mean `from`?",
        ] {
            assert!(error.contains(told), "{told} is not in\n{error}");
        }
        let error = read(json!({"type": "telegramm", "name": "x"})).unwrap_err();
        assert!(error.contains("did you mean telegram?"), "{error}");
    }

    #[test]
    fn every_type_is_read_with_its_least_keys() {
        for value in [
            json!({"type": "webhook", "url": "https://example.com/x"}),
            json!({"type": "telegram", "token": "env:T", "chat": "@x"}),
            json!({"type": "email", "host": "h", "from": "a@b", "to": "c@d"}),
            json!({"type": "command", "run": ["true"]}),
            json!({"type": "alertmanager", "urls": "http://127.0.0.1:9093"}),
            json!({"type": "slack", "url": "env:S"}),
            json!({"type": "discord", "url": "env:S"}),
            json!({"type": "teams", "url": "env:S"}),
            json!({"type": "pagerduty", "key": "env:S"}),
            json!({"type": "opsgenie", "key": "file:x"}),
            json!({"type": "ntfy", "url": "https://ntfy.example/t"}),
            json!({"type": "firebase", "account": "x.json"}),
        ] {
            let spec = read(value.clone()).unwrap();
            let kind = value["type"].as_str().unwrap();
            assert_eq!(spec.to_string(), format!("{kind} ({kind})"));
        }
    }
}

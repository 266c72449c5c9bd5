//! What the original's variables say about telling people.
//!
//! Owns: the channels that they make: `telegram`, `email` and `firebase`, and the rule of the
//! webhooks in its tables. A bad number is the default, as in the original, and is told.

use std::path::PathBuf;

use super::{Env, truth};
use crate::config::channels::{ChannelSpec, Hidden, MailAccount, MailTls, Remind, Throttle, Way};
use crate::config::database::Secret;
use crate::limits::ALERT_SEND_MS;

/// Names that have an effect, with the setting that each changes.
pub const EFFECTS: &[(&str, &str)] = &[
    ("TELEGRAM_BOT_TOKEN", "telegram"),
    ("TELEGRAM_CHAT_ID", "telegram"),
    ("TELEGRAM_API_URL", "telegram"),
    ("TELEGRAM_THROTTLE_SECONDS", "telegram"),
    ("EXTENDED_ALERT_INTERVAL_MINUTES", "reminders"),
    ("COUNT_SEND_ALERT_BEFORE_EXTENDED_INTERVAL", "reminders"),
    ("WEBHOOK_ENABLED", "webhook"),
    ("WEBHOOK_TIMEOUT", "webhook"),
    ("WEBHOOK_THROTTLE_SECONDS", "webhook"),
    ("WEBHOOK_THROTTLE_ENABLED", "webhook"),
    ("FIREBASE_THROTTLE_ENABLED", "firebase"),
    ("FIREBASE_THROTTLE_SECONDS", "firebase"),
    ("FIREBASE_SERVICE_ACCOUNT_PATH", "firebase"),
    ("SMTP_ENABLED", "email"),
    ("SMTP_HOST", "email"),
    ("SMTP_PORT", "email"),
    ("SMTP_USE_TLS", "email"),
    ("SMTP_FROM_NAME", "email"),
    ("SMTP_ACCOUNT_1_EMAIL", "email"),
    ("SMTP_ACCOUNT_1_PASSWORD", "email"),
    ("SMTP_ACCOUNT_2_EMAIL", "email"),
    ("SMTP_ACCOUNT_2_PASSWORD", "email"),
    ("SMTP_ACCOUNT_3_EMAIL", "email"),
    ("SMTP_ACCOUNT_3_PASSWORD", "email"),
];

/// What the original's variables say about telling people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerting {
    /// The channels that they make.
    pub channels: Vec<ChannelSpec>,
    /// The throttle of Telegram, for bots in the original's tables too.
    pub telegram: Throttle,
    /// Server of the Bot API.
    pub telegram_api: String,
    /// The throttle of webhooks in the original's tables; `None` where they are switched off.
    pub webhook: Option<Throttle>,
    /// Deadline of such a webhook, in milliseconds.
    pub webhook_timeout_ms: u64,
    /// Host of the original's web interface, for links; `None` where none is given.
    pub domain: Option<String>,
}

impl Alerting {
    /// Reads the variables. What is not understood is told in `notes`.
    pub fn read(env: &Env, notes: &mut Vec<String>) -> Alerting {
        let mut reader = Reader { env, notes };
        let extended_ms = reader.number("EXTENDED_ALERT_INTERVAL_MINUTES", 5, 10_080) * 60_000;
        let extended_after =
            reader.number("COUNT_SEND_ALERT_BEFORE_EXTENDED_INTERVAL", 5, 1_000_000) as u32;
        let mut throttle = |name: &str, first_only: Option<bool>| Throttle {
            first_only,
            every_ms: reader.number(name, 30, 86_400) * 1_000,
            extended_after,
            extended_ms,
        };
        let telegram = throttle("TELEGRAM_THROTTLE_SECONDS", None);
        let webhook = throttle("WEBHOOK_THROTTLE_SECONDS", Some(true));
        let firebase = throttle("FIREBASE_THROTTLE_SECONDS", Some(true));
        let throttled = |reader: &mut Reader<'_>, name: &str, rule: Throttle| Throttle {
            first_only: Some(reader.truth(name, true)),
            ..rule
        };
        let webhook = throttled(&mut reader, "WEBHOOK_THROTTLE_ENABLED", webhook);
        let firebase = throttled(&mut reader, "FIREBASE_THROTTLE_ENABLED", firebase);
        let webhook_timeout_ms =
            reader.number("WEBHOOK_TIMEOUT", ALERT_SEND_MS / 1_000, 300) * 1_000;
        let telegram_api = env.value("TELEGRAM_API_URL").unwrap_or("https://api.telegram.org");
        let telegram_api = telegram_api.trim_end_matches('/').to_owned();
        let channels =
            [bot(env, &telegram_api, telegram), reader.mail(telegram), phones(env, firebase)];
        Alerting {
            channels: channels.into_iter().flatten().collect(),
            telegram,
            telegram_api,
            webhook: reader.truth("WEBHOOK_ENABLED", true).then_some(webhook),
            webhook_timeout_ms,
            domain: env.value("ADMIN_DOMAIN").map(str::to_owned),
        }
    }
}

/// The bot for monitors without one of their own.
fn bot(env: &Env, api: &str, throttle: Throttle) -> Option<ChannelSpec> {
    let (token, chat) = (env.value("TELEGRAM_BOT_TOKEN")?, env.value("TELEGRAM_CHAT_ID")?);
    let way = Way::Telegram {
        token: Hidden::Here(Secret::new(token)),
        chat: chat.to_owned(),
        api: api.to_owned(),
    };
    Some(ChannelSpec { quiet: true, ..channel("telegram", way, throttle) })
}

/// Telephones of owners, where the file of the service account is there.
fn phones(env: &Env, throttle: Throttle) -> Option<ChannelSpec> {
    let named = env.value("FIREBASE_SERVICE_ACCOUNT_PATH").map(PathBuf::from);
    let account = named.unwrap_or_else(|| PathBuf::from("firebase_service_account.json"));
    let way = Way::Firebase {
        account: account.is_file().then_some(account)?,
        api: "https://fcm.googleapis.com".to_owned(),
    };
    Some(ChannelSpec { on_request: true, ..channel("firebase", way, throttle) })
}

fn channel(name: &str, way: Way, throttle: Throttle) -> ChannelSpec {
    ChannelSpec {
        name: name.to_owned(),
        way,
        tags: Vec::new(),
        remind: Remind::Original(throttle),
        group: None,
        quiet: false,
        on_request: false,
    }
}

struct Reader<'a> {
    env: &'a Env,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn number(&mut self, name: &str, default: u64, max: u64) -> u64 {
        let Some(text) = self.env.value(name) else { return default };
        match text.parse() {
            Ok(number) if number <= max => number,
            _ => {
                self.notes.push(format!(
                    "{name}={text}: is not a whole number from 0 to {max}; taken as {default}"
                ));
                default
            }
        }
    }

    fn truth(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.env.value(name) else { return default };
        truth(text).unwrap_or_else(|| {
            self.notes.push(format!("{name}={text}: is not true or false; taken as {default}"));
            default
        })
    }

    /// Mails to owners, by one of up to three accounts.
    fn mail(&mut self, extended: Throttle) -> Option<ChannelSpec> {
        let is_true = |name: &str, default: bool| {
            self.env.value(name).map_or(default, |text| text.eq_ignore_ascii_case("true"))
        };
        if !is_true("SMTP_ENABLED", false) {
            return None;
        }
        let account = |number: u32| {
            let value = |what: &str| self.env.value(&format!("SMTP_ACCOUNT_{number}_{what}"));
            let password = Hidden::Here(Secret::new(value("PASSWORD")?));
            Some(MailAccount { user: value("EMAIL")?.to_owned(), password })
        };
        let accounts: Vec<MailAccount> = (1..=3).filter_map(account).collect();
        if accounts.is_empty() {
            let note = "SMTP_ENABLED=true: no account is given; set SMTP_ACCOUNT_1_EMAIL and \
                        SMTP_ACCOUNT_1_PASSWORD";
            self.notes.push(note.to_owned());
            return None;
        }
        let tls = if is_true("SMTP_USE_TLS", true) { MailTls::Start } else { MailTls::None };
        let port = self.number("SMTP_PORT", 587, u64::from(u16::MAX));
        let text = |name: &str, default: &str| self.env.value(name).unwrap_or(default).to_owned();
        let way = Way::Mail {
            host: text("SMTP_HOST", "smtp.gmail.com"),
            port: u16::try_from(port).unwrap_or(587),
            tls,
            accounts,
            from: None,
            from_name: text("SMTP_FROM_NAME", "Monitor Alert System"),
            to: Vec::new(),
        };
        // The original tells only the first failure of an outage by mail, whatever is set.
        let throttle = Throttle { first_only: Some(true), ..extended };
        Some(ChannelSpec { on_request: true, ..channel("email", way, throttle) })
    }
}

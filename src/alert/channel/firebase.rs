//! Messages to telephones by Firebase (FCM v1), as the original sends them: one that is shown and
//! one with data, each time.
//!
//! Owns: the signed request for an access token (RFC 7523) and both messages. The token of the
//! telephone comes with the owner of the monitor.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::http::{Failed, Http, Roots};
use super::super::notice::{Event, Notice};
use super::super::words;
use super::Send;
use crate::clock::wall_millis;
use crate::config::database::Secret;
use crate::limits::ALERT_SEND_MS;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long an access token is asked for, in seconds: the longest that is given.
const TOKEN_SECONDS: u64 = 3_600;

/// A project of Firebase.
pub struct Firebase {
    http: Http,
    key: RsaKeyPair,
    account: Account,
    url: String,
    domain: Option<String>,
    /// The access token and when to ask for another, in milliseconds since the Unix epoch.
    token: Mutex<Option<(Secret, u64)>>,
}

/// The file of a service account.
#[derive(Deserialize)]
struct Account {
    project_id: String,
    client_email: String,
    private_key: String,
    token_uri: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

impl Firebase {
    /// The project of a service account.
    ///
    /// # Errors
    ///
    /// The file cannot be read or has no usable key.
    pub fn new(
        roots: &Roots,
        account: &Path,
        api: &str,
        domain: Option<String>,
    ) -> Result<Firebase, String> {
        let bad = |problem: &str| format!("account {}: {problem}", account.display());
        let text = std::fs::read_to_string(account).map_err(|error| bad(&error.to_string()))?;
        let account: Account =
            serde_json::from_str(&text).map_err(|_| bad("is no service account of Google"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.as_bytes())
            .map_err(|_| bad("its private_key is no PEM"))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| bad("its private_key cannot be used"))?;
        let url = format!("{api}/v1/projects/{}/messages:send", account.project_id);
        let http = Http::new(roots, ALERT_SEND_MS, false);
        Ok(Firebase { http, key, account, url, domain, token: Mutex::new(None) })
    }

    /// An access token, from before or a new one.
    fn token(&self) -> Result<Secret, Failed> {
        let now_ms = wall_millis();
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = kept.as_ref().filter(|(_, until)| now_ms < *until) {
            let _ = until;
            return Ok(token.clone());
        }
        let assertion = self.assertion(now_ms / 1_000).map_err(Failed::later)?;
        let body = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        );
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = self.http.post(&self.account.token_uri, &headers, &body)?;
        answer
            .delivered()
            .map_err(|failed| Failed::later(format!("no access token: {}", failed.text)))?;
        let token: Token = serde_json::from_str(&answer.body)
            .map_err(|_| Failed::later("no access token: the answer is no token"))?;
        let token = Secret::new(token.access_token);
        *kept = Some((token.clone(), now_ms + TOKEN_SECONDS * 900));
        Ok(token)
    }

    /// The signed statement that an access token is given for.
    fn assertion(&self, now_s: u64) -> Result<String, String> {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": self.account.client_email,
            "scope": SCOPE,
            "aud": self.account.token_uri,
            "iat": now_s,
            "exp": now_s + TOKEN_SECONDS,
        });
        let text =
            format!("{}.{}", encode(&json!({ "alg": "RS256", "typ": "JWT" })), encode(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let signed =
            self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        signed.map_err(|_| "the statement cannot be signed".to_owned())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Send for Firebase {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let telephone =
            notice.facts.person.as_ref().and_then(|person| person.firebase_token.as_deref());
        let Some(telephone) = telephone else {
            return Err(Failed::never("the owner of the monitor has no Firebase token"));
        };
        let bearer = format!("Bearer {}", self.token()?.reveal());
        let headers = [("Authorization", bearer.as_str())];
        for message in messages(notice, telephone, self.domain.as_deref().unwrap_or("localhost")) {
            self.http.post_json(&self.url, &headers, &message)?;
        }
        Ok(())
    }
}

/// What is shown, and what the telephone's program reads.
fn messages(notice: &Notice, telephone: &str, domain: &str) -> [Value; 2] {
    let facts = &notice.facts;
    let millis = words::millis(notice.total_us);
    let (title, body) = match notice.event {
        Event::Down | Event::StillDown => (
            format!("🚨 ALERT: {}", facts.name),
            format!("❌ {}\n⚠️ {}", facts.target, notice.message),
        ),
        Event::Up => (
            format!("✅ SERVICE OK: {}", facts.name),
            format!("✅ {}\n⚡ Response: {millis:.1}ms", facts.target),
        ),
        _ => (words::title(notice), words::text(notice)),
    };
    let good = notice.event.is_good();
    let mut data = json!({
        "type": if good { "monitor_recovery" } else { "monitor_alert" },
        "monitor_id": notice.monitor.to_string(),
        "monitor_name": facts.name,
        "monitor_url": facts.target,
        "admin_url": words::admin_url(domain, notice.monitor),
        "timestamp": words::local_iso(notice.made_ms * 1_000),
        "title": title,
        "body": body,
    });
    match good {
        true => data["response_time"] = json!(format!("{millis:.2}")),
        false => data["error_message"] = json!(notice.message),
    }
    let shown = json!({ "message": {
        "token": telephone,
        "notification": { "title": title, "body": body },
        "android": {
            "priority": "high",
            "notification": { "sound": "default", "channel_id": "monitor_alerts" },
        },
        "apns": { "payload": { "aps": { "sound": "default", "badge": 1 } } },
    }});
    let read = json!({ "message": {
        "token": telephone,
        "data": data,
        "android": { "priority": "high" },
        "apns": {
            "headers": { "apns-priority": "10" },
            "payload": { "aps": { "content-available": 1, "sound": "default", "badge": 1 } },
        },
    }});
    [shown, read]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_messages_carry_the_originals_fields_as_texts() {
        let mut notice = Notice::test(0);
        notice.event = Event::Down;
        notice.monitor = 9;
        notice.message = "HTTP 500".to_owned();
        let [shown, read] = messages(&notice, "t", "d");
        assert_eq!(shown["message"]["notification"]["title"], "🚨 ALERT: test");
        assert_eq!(shown["message"]["notification"]["body"], "❌ https://example.com\n⚠️ HTTP 500");
        let data = read["message"]["data"].as_object().unwrap();
        assert!(data.values().all(Value::is_string), "FCM takes texts only: {data:?}");
        assert_eq!(data["error_message"], "HTTP 500");
        assert_eq!(data["admin_url"], "https://d/member/monitor-item/edit/9");
    }
}

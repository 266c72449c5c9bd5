//! Who may use the original's API: sessions, tokens, passwords.
//!
//! Owns: one account, its sessions and the count of wrong passwords. Everything secret is compared
//! in constant time; wrong passwords are limited by address and in all. Time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::config::database::Secret;
use crate::limits::{
    LOGIN_ADDRESSES_MAX, LOGIN_FAILURES_ALL_MAX, LOGIN_FAILURES_MAX, LOGIN_WINDOW_MS, SESSION_MS,
    SESSIONS_MAX, TOKEN_BYTES_MAX,
};

/// Bytes of a session's name: 256 bits.
const SESSION_BYTES: usize = 32;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A browser with a session: it sends its cookie with whatever a page makes it send, so what
    /// changes something needs the word too.
    Session {
        /// The word that proves that our own page was the one that asked.
        word: String,
    },
    /// A program that sends its credentials on purpose.
    Program,
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credentials, or wrong ones.
    Unknown,
    /// Too many wrong ones: to be tried again after a minute.
    TooMany,
}

/// The account.
pub struct Auth {
    user: String,
    password: Secret,
    key: hmac::Key,
    /// Ends when the password changes.
    token_key: hmac::Key,
    /// By keyed hash of its name: when it ends, in milliseconds since the Unix epoch.
    sessions: Mutex<HashMap<Vec<u8>, u64>>,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    window: u64,
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// What a request brings along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The `Cookie` field.
    pub cookie: Option<&'a str>,
    /// The `Authorization` field.
    pub authorization: Option<&'a str>,
    /// Where it comes from; `None` where that is not known.
    pub address: Option<IpAddr>,
}

impl Auth {
    /// An account; `key` is the installation's own and signs tokens.
    pub fn new(user: &str, password: Secret, key: &Secret) -> Auth {
        let key = hmac::Key::new(HMAC_SHA256, key.reveal().as_bytes());
        let of_password = hmac::sign(&key, format!("jwt:{}", password.reveal()).as_bytes());
        Auth {
            user: user.to_owned(),
            token_key: hmac::Key::new(HMAC_SHA256, of_password.as_ref()),
            password,
            key,
            sessions: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Who sends this: by session, then by bearer token, then by password.
    ///
    /// # Errors
    ///
    /// Nobody that is known, or too many wrong passwords.
    pub fn who(&self, given: &Given<'_>, now_ms: u64) -> Result<Who, Denied> {
        if let Some(name) = given.cookie.and_then(session_of)
            && self.is_session(name, now_ms)
        {
            return Ok(Who::Session { word: self.word(name) });
        }
        let (scheme, credentials) =
            given.authorization.and_then(|field| field.split_once(' ')).ok_or(Denied::Unknown)?;
        let credentials = credentials.trim();
        if credentials.len() > TOKEN_BYTES_MAX {
            return Err(Denied::Unknown);
        }
        if scheme.eq_ignore_ascii_case("bearer") && credentials.matches('.').count() == 2 {
            let good = self.is_token(credentials, now_ms);
            return if good { Ok(Who::Program) } else { Err(Denied::Unknown) };
        }
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("basic") {
            return Err(Denied::Unknown);
        }
        let pair = decoded(credentials).ok_or(Denied::Unknown)?;
        let (user, password) = pair.split_once(':').ok_or(Denied::Unknown)?;
        self.check(user, password, given.address, now_ms).map(|()| Who::Program)
    }

    /// Checks name and password.
    ///
    /// # Errors
    ///
    /// They are wrong, or too many were.
    pub fn check(
        &self,
        user: &str,
        password: &str,
        address: Option<IpAddr>,
        now_ms: u64,
    ) -> Result<(), Denied> {
        let mut failures = locked(&self.failures);
        failures.turn(now_ms);
        if failures.too_many(address) {
            return Err(Denied::TooMany);
        }
        let good_user = self.same(user, &self.user);
        let good_password = self.same(password, self.password.reveal());
        if good_user & good_password {
            return Ok(());
        }
        failures.count(address);
        Err(Denied::Unknown)
    }

    /// Begins a session and returns its name for the cookie.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn begin_session(&self, now_ms: u64) -> Result<String, ring::error::Unspecified> {
        let mut random = [0; SESSION_BYTES];
        SystemRandom::new().fill(&mut random)?;
        let name = URL_SAFE_NO_PAD.encode(random);
        let mut sessions = locked(&self.sessions);
        sessions.retain(|_, end_ms| *end_ms > now_ms);
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, end_ms)| **end_ms);
            if let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(self.hash(&name), now_ms + SESSION_MS);
        Ok(name)
    }

    /// Ends the session of a cookie.
    pub fn end_session(&self, cookie: &str) {
        if let Some(name) = session_of(cookie) {
            locked(&self.sessions).remove(&self.hash(name));
        }
    }

    /// True where `said` is the word of the session.
    pub fn is_word(&self, word: &str, said: &str) -> bool {
        self.same(word, said)
    }

    /// A token that ends after so many hours (RFC 7519, HS256 of RFC 7518).
    pub fn token(&self, hours: u64, now_ms: u64) -> String {
        let now_s = now_ms / 1_000;
        let head = json!({ "alg": "HS256", "typ": "JWT" });
        let claims = json!({ "sub": self.user, "iat": now_s, "exp": now_s + hours * 3_600 });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let tag = hmac::sign(&self.token_key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The token that lasts as long as the password.
    pub fn simple_token(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()))
    }

    fn is_token(&self, token: &str, now_ms: u64) -> bool {
        let Some((signed, tag)) = token.rsplit_once('.') else { return false };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        if hmac::verify(&self.token_key, signed.as_bytes(), &tag).is_err() {
            return false;
        }
        // Signed by us: what it says is what we wrote.
        let claims = signed.split_once('.').and_then(|(_, claims)| decoded_url(claims));
        let end_s = claims.and_then(|claims| claims["exp"].as_u64());
        end_s.is_some_and(|end_s| end_s > now_ms / 1_000)
    }

    fn is_session(&self, name: &str, now_ms: u64) -> bool {
        locked(&self.sessions).get(&self.hash(name)).is_some_and(|end_ms| *end_ms > now_ms)
    }

    fn word(&self, name: &str) -> String {
        let tag = hmac::sign(&self.key, format!("word:{name}").as_bytes());
        URL_SAFE_NO_PAD.encode(tag)
    }

    fn hash(&self, name: &str) -> Vec<u8> {
        hmac::sign(&self.key, format!("session:{name}").as_bytes()).as_ref().to_vec()
    }

    /// Compares in a time that says nothing about where two texts differ.
    fn same(&self, one: &str, other: &str) -> bool {
        let tag = hmac::sign(&self.key, one.as_bytes());
        hmac::verify(&self.key, other.as_bytes(), tag.as_ref()).is_ok()
    }
}

impl Failures {
    fn turn(&mut self, now_ms: u64) {
        let window = now_ms / LOGIN_WINDOW_MS;
        if window != self.window {
            *self = Failures { window, ..Failures::default() };
        }
    }

    fn too_many(&self, address: Option<IpAddr>) -> bool {
        let own = address.and_then(|address| self.by_address.get(&address)).copied();
        self.all >= LOGIN_FAILURES_ALL_MAX || own.unwrap_or_default() >= LOGIN_FAILURES_MAX
    }

    fn count(&mut self, address: Option<IpAddr>) {
        self.all += 1;
        let Some(address) = address else { return };
        if self.by_address.len() < LOGIN_ADDRESSES_MAX || self.by_address.contains_key(&address) {
            *self.by_address.entry(address).or_default() += 1;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of the cookie `session` (RFC 6265 section 4.2).
fn session_of(cookie: &str) -> Option<&str> {
    cookie.split(';').find_map(|pair| pair.trim().strip_prefix("session="))
}

fn decoded(text: &str) -> Option<String> {
    let text = text.trim_end_matches('=');
    String::from_utf8(STANDARD_NO_PAD.decode(text).ok()?).ok()
}

fn decoded_url(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_444_849_000;

    fn auth() -> Auth {
        Auth::new("admin", Secret::new("s3:cret"), &Secret::new("key"))
    }

    fn by(auth: &Auth, authorization: &str, now_ms: u64) -> Result<Who, Denied> {
        let given = Given { authorization: Some(authorization), ..Given::default() };
        auth.who(&given, now_ms)
    }

    #[test]
    fn a_session_lasts_until_it_ends_or_is_ended() {
        let auth = auth();
        let name = auth.begin_session(NOW).unwrap();
        let cookie = format!("a=b; session={name}");
        let given = Given { cookie: Some(&cookie), ..Given::default() };
        assert!(matches!(auth.who(&given, NOW + SESSION_MS - 1), Ok(Who::Session { .. })));
        assert_eq!(auth.who(&given, NOW + SESSION_MS), Err(Denied::Unknown));
        auth.end_session(&cookie);
        assert_eq!(auth.who(&given, NOW), Err(Denied::Unknown));
        assert_ne!(name, auth.begin_session(NOW).unwrap());
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_goes_first() {
        let auth = auth();
        let first = auth.begin_session(NOW).unwrap();
        let others = (1..=SESSIONS_MAX as u64).map(|ms| auth.begin_session(NOW + ms).unwrap());
        let last = others.last().unwrap();
        assert!(!auth.is_session(&first, NOW));
        assert!(auth.is_session(&last, NOW));
        assert_eq!(locked(&auth.sessions).len(), SESSIONS_MAX);
    }

    #[test]
    fn password_and_tokens_let_in_and_nothing_else_does() {
        let auth = auth();
        let simple = auth.simple_token();
        assert_eq!(by(&auth, &format!("Basic {simple}"), NOW), Ok(Who::Program));
        assert_eq!(by(&auth, &format!("Bearer {simple}"), NOW), Ok(Who::Program));
        let token = auth.token(24, NOW);
        assert_eq!(by(&auth, &format!("bearer {token}"), NOW), Ok(Who::Program));
        for bad in
            ["Basic", "Basic !", "Basic YWRtaW4=", "Basic YWRtaW46eA==", "Digest x", "Bearer "]
        {
            assert_eq!(by(&auth, bad, NOW), Err(Denied::Unknown), "{bad}");
        }
        let long = format!("Bearer {}", "A".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(by(&auth, &long, NOW), Err(Denied::Unknown));
    }

    #[test]
    fn a_token_ends_and_cannot_be_forged() {
        let auth = auth();
        let token = auth.token(1, NOW);
        let bearer = |token: &str, now| by(&auth, &format!("Bearer {token}"), now);
        assert_eq!(bearer(&token, NOW + 3_599_000), Ok(Who::Program));
        assert_eq!(bearer(&token, NOW + 3_600_000), Err(Denied::Unknown));
        let other = Auth::new("admin", Secret::new("s3:cret"), &Secret::new("other")).token(1, NOW);
        assert_eq!(bearer(&other, NOW), Err(Denied::Unknown));
        let changed = Auth::new("admin", Secret::new("new"), &Secret::new("key"));
        assert_eq!(by(&changed, &format!("Bearer {token}"), NOW), Err(Denied::Unknown));
        let parts: Vec<&str> = token.split('.').collect();
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", NOW));
        let none = URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}");
        // What the original took: a signature that is a prefix of the text itself.
        for forged in [
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{none}.{claims}."),
            format!("{}.{claims}.{}", parts[0], &parts[0][..32]),
        ] {
            assert_eq!(bearer(&forged, NOW), Err(Denied::Unknown), "{forged}");
        }
    }

    #[test]
    fn wrong_passwords_are_limited_by_address_and_in_all_for_a_minute() {
        let auth = auth();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        for _ in 0..LOGIN_FAILURES_MAX {
            assert_eq!(auth.check("admin", "x", address(1), NOW), Err(Denied::Unknown));
        }
        assert_eq!(auth.check("admin", "s3:cret", address(1), NOW), Err(Denied::TooMany));
        assert_eq!(auth.check("admin", "s3:cret", address(2), NOW), Ok(()));
        assert_eq!(auth.check("admin", "s3:cret", address(1), NOW + LOGIN_WINDOW_MS), Ok(()));
        for number in 0..LOGIN_FAILURES_ALL_MAX {
            let _ = auth.check("admin", "x", address(number as u8), NOW + 2 * LOGIN_WINDOW_MS);
        }
        let later = NOW + 2 * LOGIN_WINDOW_MS;
        assert_eq!(auth.check("admin", "s3:cret", None, later), Err(Denied::TooMany));
        let token = auth.token(1, later);
        assert_eq!(by(&auth, &format!("Bearer {token}"), later), Ok(Who::Program));
    }
}

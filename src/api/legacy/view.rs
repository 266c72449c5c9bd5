//! What the original's API shows, as rows, and their JSON.
//!
//! Owns: the keys and the form: sorted keys, ASCII only, as the original writes it. Leaves to
//! others: where rows come from ([`LegacyView`]).

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// Gives the rows. Methods may block: they are called on threads for that.
pub trait LegacyView: Send + Sync + 'static {
    /// How many monitors there are.
    ///
    /// # Errors
    ///
    /// The store cannot be read: in words; so for all methods.
    fn totals(&self) -> Result<Totals, String>;

    /// Monitors by number, disabled ones too, at most `limit` after the first `offset`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn items(&self, limit: usize, offset: usize) -> Result<Vec<Item>, String>;

    /// The threads that check.
    fn workers(&self) -> Vec<Worker>;
}

/// How many monitors there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All.
    pub total: u64,
    /// Those that are to be checked.
    pub enabled: u64,
    /// Those that are checked: the enabled ones that can run.
    pub running: u64,
}

/// One monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The sort of check; empty where the row names none that is known.
    pub kind: &'static str,
    /// The target as written.
    pub target: String,
    /// True where it is to be checked.
    pub enabled: bool,
    /// True where a shard checks it.
    pub running: bool,
    /// 1 good, -1 bad, `None` where nothing is known.
    pub last_status: Option<i8>,
    /// When it was checked last, in milliseconds since the Unix epoch.
    pub last_check_ms: Option<u64>,
    /// From check to check, in seconds.
    pub interval_s: u64,
    /// Whose it is; `None` where nobody's.
    pub user_id: Option<i64>,
    /// Failed checks in a row.
    pub consecutive_errors: u32,
    /// Until when it is paused, in milliseconds since the Unix epoch.
    pub stop_to_ms: Option<u64>,
    /// Good checks so far.
    pub count_online: u64,
    /// Bad checks so far.
    pub count_offline: u64,
}

/// One thread that checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its number, from 1.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Monitors it owns.
    pub monitors: u64,
}

impl Item {
    /// As `/api/monitors` has it.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "type": self.kind,
            "url_check": self.target,
            "enabled": self.enabled,
            "last_status": self.last_status,
            "last_check_time": self.last_check_ms.map(local),
            "time_range_seconds": self.interval_s,
            "user_id": self.user_id,
            "consecutive_errors": self.consecutive_errors,
            "is_thread_running": self.running,
            "stop_to": self.stop_to_ms.map(local),
            "count_online": self.count_online,
            "count_offline": self.count_offline,
        })
    }

    /// As `/api/threads` has a running one; `started_ms` is the start of the engine.
    pub fn thread_json(&self, started_ms: u64) -> Value {
        json!({
            "id": self.id,
            "name": format!("Monitor-{}", self.id),
            "monitor_name": self.name,
            "monitor_type": self.kind,
            "is_alive": true,
            "start_time": local(started_ms),
            "consecutive_errors": self.consecutive_errors,
            "last_alert_time": null,
            "status": "running",
        })
    }
}

impl Worker {
    /// As `/api/status` has it.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "is_alive": true,
            "status": format!("running {} monitors", self.monitors),
        })
    }
}

/// A time as Python's `datetime.isoformat` writes it: local, without a zone.
pub fn local(unix_ms: u64) -> String {
    local_in(unix_ms, TimeZone::system())
}

fn local_in(unix_ms: u64, zone: TimeZone) -> String {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()).unwrap_or_default()
}

/// JSON in one line with sorted keys and ASCII only, as Flask writes it.
pub fn ascii(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_sorted_keys_and_only_ascii() {
        let text = ascii(&json!({"b": "é😀\n", "a": 1}));
        assert_eq!(text, "{\"a\":1,\"b\":\"\\u00e9\\ud83d\\ude00\\n\"}\n");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["b"], "é😀\n");
    }

    #[test]
    fn times_are_local_and_without_a_zone() {
        assert_eq!(local_in(1_795_444_849_250, TimeZone::UTC), "2026-11-23T14:40:49.250000");
        assert_eq!(local_in(u64::MAX, TimeZone::UTC), "");
    }
}

//! One message about a change, as it is kept and handed to a channel.
//!
//! Owns: the notice and its key. A channel makes its own words from it when it sends, so that a
//! notice that waited says when things happened and not when it left.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::monitor::Kind;

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A monitor went down.
    Down,
    /// It is still down.
    StillDown,
    /// It is up again.
    Up,
    /// Its answers change too often to tell of each change.
    Flapping,
    /// It is no longer watched, and was down.
    Gone,
    /// Many monitors went down together.
    ManyDown,
    /// Some of them are still down.
    ManyStillDown,
    /// Some or all of them are up again.
    ManyUp,
    /// The engine is cut off: it cannot tell anything of its targets.
    Isolated,
    /// The engine is no longer cut off.
    Connected,
    /// Notices were given up because the channel did not take them.
    Expired,
    /// Somebody tries the channel.
    Test,
}

impl Event {
    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Event::Down => "down",
            Event::StillDown => "still_down",
            Event::Up => "up",
            Event::Flapping => "flapping",
            Event::Gone => "gone",
            Event::ManyDown => "many_down",
            Event::ManyStillDown => "many_still_down",
            Event::ManyUp => "many_up",
            Event::Isolated => "isolated",
            Event::Connected => "connected",
            Event::Expired => "expired",
            Event::Test => "test",
        }
    }

    /// True where this ends what an earlier notice began.
    pub fn is_good(self) -> bool {
        matches!(self, Event::Up | Event::Gone | Event::ManyUp | Event::Connected | Event::Test)
    }
}

/// One message about a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same for every attempt to deliver this notice, and for no other notice of its channel.
    pub key: String,
    /// The same for all notices about one outage.
    pub outage: String,
    /// What it tells.
    pub event: Event,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// When what it tells began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Number of the monitor; 0 where it is about none or many.
    pub monitor: u64,
    /// What is known of the monitor.
    pub facts: Facts,
    /// The word for the result that decided; empty where there is none.
    pub reason: String,
    /// The message of that result, or other words.
    pub message: String,
    /// Failed checks in a row, at least 1 for an outage.
    pub failures: u32,
    /// Response time of the check that decided, in microseconds; 0 where it is not known.
    pub total_us: u32,
    /// The monitors of a grouped notice.
    pub group: Option<Group>,
}

/// What many monitors have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Monitors that went down.
    pub down: u64,
    /// Those that are up again.
    pub up: u64,
    /// What most of them share, such as `192.0.2.0/24`; empty where nothing is.
    pub causes: Vec<String>,
    /// Some of those that are down, by name and target.
    pub members: Vec<(String, String)>,
}

impl Notice {
    /// A notice without a monitor.
    pub fn of_engine(event: Event, key: String, message: String, now_ms: u64) -> Notice {
        Notice {
            outage: key.clone(),
            key,
            event,
            made_ms: now_ms,
            since_ms: now_ms,
            at_ms: now_ms,
            monitor: 0,
            facts: Facts { name: "engine".to_owned(), ..Facts::default() },
            reason: String::new(),
            message,
            failures: 0,
            total_us: 0,
            group: None,
        }
    }

    /// What `engine alert test` sends.
    pub fn test(now_ms: u64) -> Notice {
        let message = "This is a test of this channel. Nothing is down.".to_owned();
        let mut notice = Notice::of_engine(Event::Test, format!("test-{now_ms}"), message, now_ms);
        notice.facts = Facts {
            name: "test".to_owned(),
            target: "https://example.com".to_owned(),
            kind: Some(Kind::PingWeb),
            interval_ms: 60_000,
            ..Facts::default()
        };
        notice
    }
}

//! Telling people: which change becomes which notice, over which channel, and that it arrives.
//!
//! Owns: the types that cross from the engine to alerting, and the contract of a [`Directory`].
//! `outbox` keeps what is to be told in a file of its own, so that neither a kill nor an absent
//! database loses a notice; `keeper` is the thread that owns it; `channel` has one file for each
//! way out. Every change of verdict is taken once, every notice is delivered at least once, in
//! order for each monitor and channel, and always under the same key.

use serde::{Deserialize, Serialize};

use crate::config::channels::ChannelSpec;
use crate::ids::MonitorId;
use crate::monitor::Kind;
use crate::sample::{Code, Marks, Verdict};

pub mod notice;

pub mod mute;

pub mod rule;

pub mod cause;

pub mod words;

pub mod http;

pub mod channel;

pub mod outbox;

mod plan;

mod burst;

mod flaps;

mod senders;

mod counters;

pub mod keeper;

pub use counters::AlertCounters;
pub use keeper::{Alerts, Setup};
pub use notice::Notice;

/// A change of verdict, with the words that belong to it; of the marks alone where `from` and `to`
/// are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose verdict.
    pub monitor: MonitorId,
    /// Due time of the check that decided, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Before.
    pub from: Verdict,
    /// After.
    pub to: Verdict,
    /// The result that decided.
    pub code: Code,
    /// Its message.
    pub message: Box<str>,
    /// Wall time of that check, in microseconds; 0 where it is not known.
    pub total_us: u32,
    /// What stands beside the verdict from then on.
    pub marks: Marks,
}

impl Change {
    /// False where only the marks are others.
    pub fn is_of_verdict(&self) -> bool {
        self.from != self.to
    }
}

/// What alerting must know of a monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// The target as people may see it.
    pub target: String,
    /// The sort of check.
    pub kind: Option<Kind>,
    /// From check to check, in milliseconds.
    pub interval_ms: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Names of its channels; `None` where its tags decide.
    pub channels: Option<Vec<String>>,
    /// The original's `allow_alert_for_consecutive_error`: 1 tells an outage again and again.
    pub repeat: Option<i32>,
    /// Who is told, where monitors have owners.
    pub person: Option<Person>,
}

/// Why an outage is not told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// In a word, such as `maintenance`.
    pub reason: &'static str,
    /// When to look again, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// The owner of monitors, as the original's tables have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Where mails go.
    pub email: Option<String>,
    /// Token of the telephone for Firebase.
    pub firebase_token: Option<String>,
    /// Times of the day at which to tell, such as `08:00-22:00,23:00-01:00`; empty for always.
    pub ranges: String,
    /// The original's number of a zone, or a zone's name.
    pub zone: Option<String>,
    /// Nothing is told before this time, in milliseconds since the Unix epoch.
    pub silent_until_ms: Option<u64>,
}

/// Changes that were read from the store.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Those of our own monitors.
    pub changes: Vec<Change>,
    /// The number of the last one that was looked at; `None` where there was none.
    pub last: Option<u64>,
    /// True where there may be more.
    pub more: bool,
}

/// Answers from the place where monitors and their changes are kept. Asked on the alerts' thread.
pub trait Directory: Send {
    /// What is known of these monitors, in their order; `None` for one that is no longer watched.
    ///
    /// # Errors
    ///
    /// Why nothing can be known now, in words.
    fn facts(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Facts>>, String>;

    /// The next changes of our own monitors: out of at most `limit` with a number above `after`,
    /// lowest first.
    ///
    /// # Errors
    ///
    /// Why nothing can be known now, in words.
    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Page, String>;

    /// The highest number of a change so far.
    ///
    /// # Errors
    ///
    /// Why nothing can be known now, in words.
    fn newest_change(&mut self) -> Result<u64, String>;

    /// A channel that is not in the configuration but where the monitors are, by its name; `None`
    /// where there is no such.
    ///
    /// # Errors
    ///
    /// Why nothing can be known now, in words.
    fn channel(&mut self, name: &str) -> Result<Option<ChannelSpec>, String>;

    /// Why the outage of a monitor that began at `opened_ms` is not to be told now; `None` where
    /// nothing stands against it.
    fn held(&mut self, monitor: MonitorId, opened_ms: u64, now_ms: u64) -> Option<Held>;

    /// True where something that [`Directory::held`] named is gone since this was asked last.
    fn released(&mut self) -> bool;

    /// Failed checks in a row of a monitor, as far as they were counted since the start.
    fn failures(&mut self, monitor: MonitorId) -> u32;
}

/// Why alerting does not work.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The file of the outbox.
    #[error("alerts.db: {0}; it may be moved away: only what changes from then on is told")]
    Outbox(#[from] rusqlite::Error),
    /// A channel cannot be made.
    #[error("channel {channel}: {problem}")]
    Channel {
        /// Its name.
        channel: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The operating system gives no thread.
    #[error("no thread for alerts: {0}")]
    Thread(#[from] std::io::Error),
}

//! What people ask of the store: the questions and the rows that answer them.
//!
//! Owns: the contract of a reader and its types, ready for `--json`. Times are milliseconds since
//! the Unix epoch, durations microseconds; what is not there is absent, never zero.

use probes::Phase;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::StoreError;
pub use super::hours::{Counts, Hours};
use crate::ids::{MonitorId, Tick};
use crate::monitor::Kind;
use crate::sample::{Sample, Verdict};
use crate::sched::spread::next_due;

/// Answers questions while another process or thread writes. Changes nothing.
pub trait Read {
    /// The monitor with this name, else with this number; removed ones too.
    ///
    /// # Errors
    ///
    /// Only the database's; so for all methods.
    fn find(&mut self, name_or_id: &str) -> Result<Option<MonitorId>, StoreError>;

    /// Monitors that are not removed: all, those that are to be checked, and those of them that
    /// can run.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn totals(&mut self) -> Result<(u64, u64, u64), StoreError>;

    /// Monitors that fit the filter, by name or by number. Removed ones are not among them.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn monitors(&mut self, filter: &Filter) -> Result<Vec<MonitorView>, StoreError>;

    /// The rows as they were written of at most `limit` monitors with this number or a larger one,
    /// by number. Removed ones are not among them.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn written(&mut self, from: MonitorId, limit: usize) -> Result<Vec<Written>, StoreError>;

    /// Results of one monitor, newest first. Stored blobs that cannot be read are named, and the
    /// others are read.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn results(&mut self, monitor: MonitorId, range: &Range) -> Result<Results, StoreError>;

    /// Words about the last failures of one monitor, newest first.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn evidence(&mut self, monitor: MonitorId) -> Result<Vec<Evidence>, StoreError>;

    /// Incidents of one monitor or of all, open ones first, then newest first.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn incidents(
        &mut self,
        monitor: Option<MonitorId>,
        limit: usize,
    ) -> Result<Vec<Incident>, StoreError>;

    /// Changes of verdict of one monitor or of all, newest first.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn transitions(
        &mut self,
        monitor: Option<MonitorId>,
        limit: usize,
    ) -> Result<Vec<TransitionView>, StoreError>;

    /// Changes of verdict with a number above `after`, lowest number first: for whoever must not
    /// miss one. A change that waited in a spool has the number of its replay.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn transitions_after(
        &mut self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, TransitionView)>, StoreError>;

    /// The highest number of a change of verdict, 0 for none.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn newest_transition(&mut self) -> Result<u64, StoreError>;

    /// What is watched under these numbers, in their order; `None` for one that is removed.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn watched(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Watched>>, StoreError>;

    /// A channel of the original's tables; `None` where there is no such.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn channel(&mut self, id: u64) -> Result<Option<ChannelRow>, StoreError>;

    /// The hours of one monitor that begin in `from_ms..=to_ms`, each with all its results that
    /// are recorded, summed up already or not; those without any are left out.
    ///
    /// # Errors
    ///
    /// Only the database's. A stored blob that cannot be unpacked is named beside the others.
    fn hours(&mut self, monitor: MonitorId, from_ms: u64, to_ms: u64) -> Result<Hours, StoreError>;

    /// Certificates that one monitor saw, the current one first.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn certs(&mut self, monitor: MonitorId) -> Result<Vec<CertView>, StoreError>;
}

/// Opens readers: the API keeps a few of them and does not know which database they ask.
pub trait OpenReader: Send + Sync {
    /// One more reader.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn open(&self) -> Result<Box<dyn Read + Send>, StoreError>;
}

/// Which monitors to list. What is `None` does not narrow.
#[derive(Clone, Debug)]
pub struct Filter {
    /// These, as far as they are there.
    pub only: Option<Vec<MonitorId>>,
    /// With a larger number than this one: the next page in the order of numbers.
    pub after: Option<MonitorId>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// With this text in their name.
    pub name: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Only those that cannot run.
    pub problems: bool,
    /// Most rows.
    pub limit: usize,
    /// Rows left out before those.
    pub offset: usize,
    /// True for the order of numbers, false for that of names.
    pub by_id: bool,
}

/// Everything.
impl Default for Filter {
    fn default() -> Self {
        Filter {
            only: None,
            after: None,
            verdict: None,
            name: None,
            tag: None,
            problems: false,
            limit: usize::MAX,
            offset: 0,
            by_id: false,
        }
    }
}

/// Which results to list, by due time.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First due time, included.
    pub from_ms: u64,
    /// Last due time, included.
    pub to_ms: u64,
    /// Most rows.
    pub limit: usize,
}

/// Everything.
impl Default for Range {
    fn default() -> Self {
        Range { from_ms: 0, to_ms: u64::MAX, limit: usize::MAX }
    }
}

/// One monitor and its latest state.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MonitorView {
    /// Its number.
    pub id: MonitorId,
    /// Its name.
    pub name: String,
    /// The sort of check; `None` where the row names none that is known.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// The target as written.
    pub target: String,
    /// Tags as written.
    pub tags: Vec<String>,
    /// Which file, table or API gave the row.
    pub source: String,
    /// Whose it is, where the original's table says so.
    pub user_id: Option<i64>,
    /// Until when it is paused, where the original's table says so.
    pub stop_to_ms: Option<u64>,
    /// Why it cannot run; `None` where it can.
    pub problem: Option<String>,
    /// From due to due, in milliseconds.
    pub interval_ms: u64,
    /// When its name was first stored.
    pub created_ms: u64,
    /// The verdict; paused where the row says so.
    pub verdict: Verdict,
    /// When the verdict changed last.
    pub since_ms: Option<u64>,
    /// Due time of the last check that ran.
    pub last_check_ms: Option<u64>,
    /// What to know beside the verdict: `flapping`, `maintenance`, `unreachable`.
    pub marks: Vec<&'static str>,
    /// When the next check is due; `None` for one that is paused or cannot run.
    pub next_due_ms: Option<u64>,
    /// Its result: number, and word in `result`.
    pub code: u16,
    /// The word for `code`; `None` where it was never checked.
    pub result: Option<&'static str>,
    /// Its message, empty where there is none.
    pub message: String,
    /// Its wall time, in microseconds.
    pub total_us: Option<u32>,
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// Checks by result since the monitor exists.
    pub counts: Counts,
}

impl MonitorView {
    /// Fills in when the next check is due after `now_ms`: the grid is known from the number and
    /// the interval alone.
    pub(super) fn with_next_due(mut self, now_ms: u64) -> MonitorView {
        if self.problem.is_none() && self.verdict != Verdict::Paused {
            let next = next_due(self.id, self.interval_ms, Tick::at_millis(now_ms));
            self.next_due_ms = Some(next.millis());
        }
        self
    }
}

/// The row of one monitor as it was written. It may have secrets: it is for nobody but the engine
/// and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub id: MonitorId,
    /// Which file or API gave the row.
    pub source: String,
    /// The row, as a JSON object.
    pub row_json: String,
    /// True where it could not run when it was stored.
    pub has_problem: bool,
}

/// Results of one monitor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Results {
    /// Newest first.
    pub results: Vec<ResultView>,
    /// Stored blobs that could not be read, by name and reason.
    pub damaged: Vec<String>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ResultView {
    /// When it was due.
    pub due_ms: u64,
    /// Started minus due; `None` where it never started.
    pub lag_us: Option<u32>,
    /// Wall time of the last attempt.
    pub total_us: Option<u32>,
    /// Time in each phase that was reached.
    pub phases: Phases,
    /// The result: number, and word in `result`.
    pub code: u16,
    /// The word for `code`.
    pub result: &'static str,
    /// HTTP status.
    pub http_status: Option<u16>,
    /// The phase it ended in.
    pub phase: Option<&'static str>,
    /// Attempts made.
    pub attempts: u8,
    /// The verdict after it.
    pub verdict: Verdict,
    /// Bytes of the body after decompression.
    pub body_bytes: u32,
}

/// Time in each phase, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Phases {
    /// Name to address.
    pub resolve: Option<u32>,
    /// SYN to SYN-ACK, or echo request to reply.
    pub connect: Option<u32>,
    /// The TLS handshake.
    pub tls: Option<u32>,
    /// Request written to first byte of the answer.
    pub wait: Option<u32>,
    /// First to last byte of the answer.
    pub transfer: Option<u32>,
}

impl From<&Sample> for ResultView {
    fn from(sample: &Sample) -> ResultView {
        let present = |micros: u32| (micros != u32::MAX).then_some(micros);
        let phase = |phase| sample.timings.get(phase);
        ResultView {
            due_ms: sample.due_ms,
            lag_us: present(sample.lag_us),
            total_us: present(sample.total_us),
            phases: Phases {
                resolve: phase(Phase::Resolve),
                connect: phase(Phase::Connect),
                tls: phase(Phase::Tls),
                wait: phase(Phase::Wait),
                transfer: phase(Phase::Transfer),
            },
            code: sample.code.0,
            result: sample.code.name(),
            http_status: (sample.http_status > 0).then_some(sample.http_status),
            phase: sample.phase().map(Phase::name),
            attempts: sample.attempts,
            verdict: sample.verdict,
            body_bytes: sample.body_bytes,
        }
    }
}

/// Words about one failure, or about several equal ones in a row.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Evidence {
    /// Due time of the first.
    pub first_ms: u64,
    /// Due time of the last.
    pub last_ms: u64,
    /// How many.
    pub times: u64,
    /// The result: number, and word in `result`.
    pub code: u16,
    /// The word for `code`.
    pub result: &'static str,
    /// The message.
    pub message: String,
    /// What the probe kept of the first: error text, header fields, excerpt.
    pub detail: Option<Value>,
}

/// One time of being down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Incident {
    /// Whose.
    pub monitor: MonitorId,
    /// Its name.
    pub name: String,
    /// Due time of the check that decided.
    pub opened_ms: u64,
    /// Due time of the check that ended it; `None` while it lasts.
    pub closed_ms: Option<u64>,
    /// The result that opened it: number, and word in `result`.
    pub code: u16,
    /// The word for `code`.
    pub result: &'static str,
    /// The message of that result.
    pub message: String,
}

/// One change of verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransitionView {
    /// Whose.
    pub monitor: MonitorId,
    /// Its name.
    pub name: String,
    /// Due time of the check that decided.
    pub at_ms: u64,
    /// Before.
    pub from: Verdict,
    /// After.
    pub to: Verdict,
    /// The result that decided: number, and word in `result`.
    pub code: u16,
    /// The word for `code`.
    pub result: &'static str,
    /// The message of that result.
    pub message: String,
    /// What to know beside it from then on; where `from` and `to` are the same, only this changed.
    pub marks: Vec<&'static str>,
}

/// A monitor as it is defined, without anything that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// The sort of check; `None` where the row names none that is known.
    pub kind: Option<Kind>,
    /// The target as people may see it.
    pub target: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// From due to due, in milliseconds.
    pub interval_ms: u64,
    /// The row as it was written; empty for a row of the original's table.
    pub row_json: String,
    /// Who is told; `None` but for rows of the original's table.
    pub owner: Option<Owner>,
}

/// Who is told of a row of the original's table, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `allow_alert_for_consecutive_error`.
    pub repeat: Option<i32>,
    /// `alert_time_ranges`.
    pub ranges: Option<String>,
    /// `timezone`.
    pub zone: Option<String>,
    /// `global_stop_alert_to`, in milliseconds since the Unix epoch.
    pub silent_until_ms: Option<u64>,
    /// `firebase_token`.
    pub firebase_token: Option<String>,
    /// `users.email`.
    pub email: Option<String>,
    /// Channels linked to the row, as `type:id`.
    pub channels: Vec<String>,
}

/// A channel of the original's tables, as it is written there. Its value holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// `name`.
    pub name: String,
    /// `alert_type`.
    pub kind: String,
    /// `alert_config`.
    pub config: String,
}

/// A leaf certificate as one monitor saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CertView {
    /// SHA-256 of the encoded certificate, in lower-case hex.
    pub sha256: String,
    /// Distinguished name.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Host names and addresses.
    pub names: Vec<String>,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// Start, in seconds since the Unix epoch.
    pub not_before_s: i64,
    /// End, in seconds since the Unix epoch.
    pub not_after_s: i64,
    /// Earliest end in the chain as sent, in seconds since the Unix epoch.
    pub chain_not_after_s: i64,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: String,
    /// Cipher suite.
    pub cipher: String,
    /// Word for why it is not trusted; `None` where it is.
    pub problem: Option<&'static str>,
    /// The verifier's words for it.
    pub problem_text: String,
    /// Due time of the first check that saw it.
    pub first_seen_ms: u64,
    /// Due time of the check since which it is, or was, the current one.
    pub current_since_ms: u64,
}

//! The lines of the original's log files, from recorded results.
//!
//! Owns: texts, and which file each line goes to. Pure: a line carries the time of what it tells,
//! not of its writing, and it is the same for the same results.

use std::collections::HashMap;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ids::MonitorId;
use crate::monitor::Kind;
use crate::sample::{CheckResult, Code, Missed, Sample, SampleBatch, Words};

use super::delta::{Deltas, Start, seconds};

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `log_main.txt`.
    Main,
    /// `log.error`.
    Errors,
    /// `log_<id>.txt`.
    Monitor(MonitorId),
    /// `log_user_<id>.txt`.
    User(i64),
}

/// What lines say of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which.
    pub id: MonitorId,
    /// The sort of check; `None` where the row names none that is known.
    pub kind: Option<Kind>,
    /// The target as written.
    pub target: String,
    /// From check to check, in milliseconds.
    pub interval_ms: u64,
    /// Whose it is; `None` where nobody's.
    pub user_id: Option<i64>,
    /// The last result and its message: a result like the one before has no words of its own.
    pub last: (Code, String),
}

/// Results of one worker since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    checks: u64,
    good: u64,
    bad: u64,
}

/// Turns results into lines.
pub struct Lines {
    zone: TimeZone,
    started_ms: u64,
    facts: HashMap<MonitorId, Facts>,
    deltas: Deltas,
    tallies: Vec<Tally>,
    /// The last second that was written out, and its text.
    second: (u64, String),
    /// Lines not yet taken, by file.
    pub open: HashMap<Place, String>,
}

impl Lines {
    /// Nothing known yet; times are shown in `zone`.
    pub fn new(zone: TimeZone, started_ms: u64) -> Lines {
        Lines {
            zone,
            started_ms,
            facts: HashMap::new(),
            deltas: Deltas::default(),
            tallies: Vec::new(),
            second: (u64::MAX, String::new()),
            open: HashMap::new(),
        }
    }

    /// Replaces what is known of all monitors.
    pub fn know(&mut self, facts: Vec<Facts>) {
        let mut before = std::mem::take(&mut self.facts);
        self.facts = facts.into_iter().map(|facts| (facts.id, facts)).collect();
        for (id, facts) in &mut self.facts {
            if let Some(before) = before.remove(id) {
                facts.last = before.last;
            }
        }
        self.deltas.retain(|id| self.facts.contains_key(&id));
    }

    /// Takes note of what is known of some monitors, and forgets those that are gone.
    pub fn learn(&mut self, facts: Vec<Facts>, gone: &[MonitorId]) {
        for mut facts in facts {
            if let Some(before) = self.facts.remove(&facts.id) {
                facts.last = before.last;
            }
            self.facts.insert(facts.id, facts);
        }
        for id in gone {
            self.facts.remove(id);
            self.deltas.forget(*id);
        }
    }

    /// Writes the lines of a batch.
    pub fn record(&mut self, batch: &SampleBatch) {
        let worker = usize::from(batch.shard.0);
        if self.tallies.len() <= worker {
            self.tallies.resize_with(worker + 1, Tally::default);
        }
        let mut words = batch.words.iter().peekable();
        for (index, sample) in batch.samples.iter().enumerate() {
            let own = words.next_if(|words| usize::from(words.sample) == index);
            self.check(worker, sample, own);
        }
    }

    /// Writes a line of the engine's own: to the main file, or to that of errors.
    pub fn event(&mut self, at_ms: u64, is_error: bool, text: &str) {
        let stamp = self.stamp(at_ms);
        let (place, line) = match is_error {
            true => (Place::Errors, format!("{stamp}# ERROR: {text}\n")),
            false => (Place::Main, format!("{stamp}# None - {text}\n")),
        };
        self.open.entry(place).or_default().push_str(&line);
    }

    /// Writes the numbers of each worker.
    pub fn stats(&mut self, now_ms: u64) {
        let uptime_s = now_ms.saturating_sub(self.started_ms) / 1_000;
        for (worker, tally) in self.tallies.clone().iter().enumerate() {
            let Tally { checks, good, bad } = *tally;
            let percent = 100.0 * good as f64 / checks.max(1) as f64;
            let rate = checks as f64 * 60.0 / uptime_s.max(1) as f64;
            let text = format!(
                "[STATS] [Test-T{} Stats] Uptime: {uptime_s}s | Checks: {checks} | Success: {good} \
                 ({percent:.1}%) | Failed: {bad} | Rate: {rate:.1} checks/min | \
                 dTimeAverageGlobal: {} | Internet: not checked",
                worker + 1,
                self.deltas.mean.text()
            );
            self.event(now_ms, false, &text);
        }
    }

    fn check(&mut self, worker: usize, sample: &Sample, words: Option<&Words>) {
        let Some(mut facts) = self.facts.remove(&sample.monitor) else { return };
        let result = sample.code.result();
        if let Some(words) = words {
            facts.last = (sample.code, words.message.to_string());
        }
        match result {
            CheckResult::Missed(reason) => self.missed(worker, sample, reason, &facts),
            _ => self.ran(worker, sample, words, &facts),
        }
        self.facts.insert(sample.monitor, facts);
    }

    fn missed(&mut self, worker: usize, sample: &Sample, reason: Missed, facts: &Facts) {
        let due = self.stamp(sample.due_ms);
        let (id, time) = (sample.monitor, &due[11..]);
        let text =
            format!("⚡ [Test-T{}-{id}] Check at {time} missed: {}", worker + 1, reason.name());
        self.of_monitor(sample.due_ms, facts, false, &text);
    }

    fn ran(&mut self, worker: usize, sample: &Sample, words: Option<&Words>, facts: &Facts) {
        let thread = worker + 1;
        let start_us = sample.due_ms * 1_000 + u64::from(sample.lag_us);
        let (start_ms, end_ms) =
            (start_us / 1_000, (start_us + u64::from(sample.total_us)) / 1_000);
        let start = self.deltas.start(sample.monitor, start_us);
        let result = sample.code.result();
        let tally = &mut self.tallies[worker];
        tally.checks += 1;
        tally.good += u64::from(result == CheckResult::Up);
        tally.bad += u64::from(matches!(result, CheckResult::Down(_)));

        let id = sample.monitor;
        let stamp = self.stamp(start_ms);
        let time = &stamp[11..];
        let delta = seconds(start.delta_us);
        let number = start.number;
        let text =
            format!("[PERF] [Test-T{thread}-{id}] Check #{number} at {time}, DTime = {delta}");
        self.event(start_ms, false, &text);
        if number.is_multiple_of(10) {
            let text = format!(
                "[GLOBAL] [Test-T{thread}] Global Stats: Total checks = {}, \
                 dTimeAverageGlobal = {}",
                self.deltas.checks,
                self.deltas.mean.text()
            );
            self.event(start_ms, false, &text);
        }
        self.of_monitor(start_ms, facts, true, &format!("=== Checking: (ID: {id})"));
        let (kind, interval_s) = (facts.kind.map_or("", Kind::name), facts.interval_ms / 1_000);
        let text = format!("Type: {kind}, Interval: {interval_s}s, URL: {}", facts.target);
        self.of_monitor(start_ms, facts, false, &text);
        for (attempt, message) in (1..).zip(words.map_or(&[][..], |words| &words.attempts)) {
            let tag = facts.kind.map_or("CHECK", tag);
            let text =
                format!("🌐 [{tag} ERROR] Attempt {attempt} failed ({message}), retrying...");
            self.of_monitor(end_ms, facts, false, &text);
        }
        self.result(thread, sample, facts, &start, end_ms);
    }

    fn result(
        &mut self,
        thread: usize,
        sample: &Sample,
        facts: &Facts,
        start: &Start,
        end_ms: u64,
    ) {
        let good = sample.code == Code::GOOD;
        let millis = format!("{:.1}ms", f64::from(sample.total_us) / 1_000.0);
        let time = if good { millis.as_str() } else { "N/A" };
        // A message that was left out for want of room is not the one before.
        let message = match &facts.last {
            (code, message) if *code == sample.code => message,
            _ => sample.code.name(),
        };
        let text = match good {
            true => format!("✅ Result: True | {time} | {message}"),
            false => format!("❌ Result: False | {time} | {message}"),
        };
        self.of_monitor(end_ms, facts, false, &text);
        let text = format!(
            "[Test-Tid{thread}-{}] {} | RTime:{time} | Check: {millis} | DTime = {} | \
             dTimeAverage = {} ",
            sample.monitor,
            if good { "[OK] " } else { " *** [ERROR] " },
            seconds(start.delta_us),
            start.mean.text()
        );
        self.of_monitor(end_ms, facts, false, &text);
        if matches!(sample.code.result(), CheckResult::Unknown(_)) {
            self.error(end_ms, facts, message);
        }
    }

    /// A line in the files of a monitor and of its user, after an empty one where `apart`.
    fn of_monitor(&mut self, at_ms: u64, facts: &Facts, apart: bool, text: &str) {
        let stamp = self.stamp(at_ms);
        let gap = if apart { "\n" } else { "" };
        let line = format!("{gap}{stamp}# ID:{}  - {text}\n", facts.id);
        self.add(facts, &line);
    }

    /// A line in the file of errors and in those of the monitor and its user.
    fn error(&mut self, at_ms: u64, facts: &Facts, text: &str) {
        let mut line = format!("{}# [ID:{} ", self.stamp(at_ms), facts.id);
        if let Some(user) = facts.user_id {
            let _ = write!(line, "[USER:{user} ]");
        }
        let _ = writeln!(line, "]ERROR: {text}");
        self.open.entry(Place::Errors).or_default().push_str(&line);
        self.add(facts, &line);
    }

    fn add(&mut self, facts: &Facts, line: &str) {
        self.open.entry(Place::Monitor(facts.id)).or_default().push_str(line);
        if let Some(user) = facts.user_id {
            self.open.entry(Place::User(user)).or_default().push_str(line);
        }
    }

    /// `YYYY-MM-DD HH:MM:SS`, local.
    fn stamp(&mut self, at_ms: u64) -> String {
        let second = at_ms / 1_000;
        if self.second.0 != second {
            let at = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok());
            let at = at.unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
            self.second = (second, at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        }
        self.second.1.clone()
    }
}

fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::PingWeb => "WEB",
        Kind::WebContent => "CONTENT",
        Kind::Tcp | Kind::OpenPortTcpThenValid | Kind::OpenPortTcpThenError => "TCP",
        Kind::PingIcmp => "ICMP",
        Kind::SslExpiredCheck => "SSL",
    }
}

#[cfg(test)]
mod tests;

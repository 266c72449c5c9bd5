//! One check as it is stored: a fixed-size row, and the words beside it where there are any.
//!
//! Owns: the row, its result code and the batch that carries rows from a shard to the store.
//! A row is 64 bytes so that a batch of 256 is four pages and copying one is one cache line.

use std::collections::HashSet;
use std::sync::Arc;

use probes::outcome::{CertFacts, Detail};
use probes::{Failure, Phase, Timings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::ids::{MonitorId, ShardId};

/// Why a due check was not run. Numbers are stored, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Missed {
    /// The check before it was still running.
    Overrun = 2001,
    /// It waited for room in flight until its next due time came.
    Capacity = 2002,
    /// The engine itself was stopped, suspended or stalled at that time.
    Stall = 2003,
    /// The engine was draining for its stop.
    Stopping = 2004,
}

impl Missed {
    /// Every reason, in the order of its number.
    pub const ALL: &'static [Missed] =
        &[Missed::Overrun, Missed::Capacity, Missed::Stall, Missed::Stopping];

    /// The stable word of this reason, in snake_case.
    pub fn name(self) -> &'static str {
        match self {
            Missed::Overrun => "overrun",
            Missed::Capacity => "capacity",
            Missed::Stall => "stall",
            Missed::Stopping => "stopping",
        }
    }
}

/// The stored result of one due check: 0 good, 1 to 999 a [`Failure`], 1000 to 1999 a [`Fault`],
/// from 2000 a [`Missed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Code(pub u16);

/// What a [`Code`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// The target gave a good answer.
    Up,
    /// The target did not.
    Down(Failure),
    /// We cannot tell: our own trouble.
    Unknown(Fault),
    /// The check was not run.
    Missed(Missed),
}

impl Code {
    /// A good answer.
    pub const GOOD: Code = Code(0);

    /// What the number says. A number that this version does not know is read as a fault of ours.
    pub fn result(self) -> CheckResult {
        if self.0 == 0 {
            return CheckResult::Up;
        }
        if let Some(failure) = Failure::from_code(self.0) {
            return CheckResult::Down(failure);
        }
        if let Some(missed) = Missed::ALL.iter().find(|missed| **missed as u16 == self.0) {
            return CheckResult::Missed(*missed);
        }
        CheckResult::Unknown(Fault::from_code(self.0).unwrap_or(Fault::Other))
    }

    /// The stable word: `ok`, or the name of the failure, fault or reason.
    pub fn name(self) -> &'static str {
        match self.result() {
            CheckResult::Up => "ok",
            CheckResult::Down(failure) => failure.name(),
            CheckResult::Unknown(fault) => fault.name(),
            CheckResult::Missed(missed) => missed.name(),
        }
    }
}

impl From<CheckResult> for Code {
    fn from(result: CheckResult) -> Code {
        Code(match result {
            CheckResult::Up => 0,
            CheckResult::Down(failure) => failure.code(),
            CheckResult::Unknown(fault) => fault.code(),
            CheckResult::Missed(missed) => missed as u16,
        })
    }
}

/// What is held to be true of a monitor now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Verdict {
    /// Not checked yet.
    #[default]
    Pending = 0,
    /// The target answers well.
    Up = 1,
    /// The target does not.
    Down = 2,
    /// We cannot tell: our own trouble.
    Unknown = 3,
    /// Not to be checked now.
    Paused = 4,
}

impl Verdict {
    /// Every verdict, in the order of its number.
    pub const ALL: [Verdict; 5] =
        [Verdict::Pending, Verdict::Up, Verdict::Down, Verdict::Unknown, Verdict::Paused];

    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pending => "pending",
            Verdict::Up => "up",
            Verdict::Down => "down",
            Verdict::Unknown => "unknown",
            Verdict::Paused => "paused",
        }
    }

    /// The verdict with this stored number; unknown for one that is not known.
    pub fn from_number(number: u8) -> Verdict {
        Verdict::ALL.get(usize::from(number)).copied().unwrap_or(Verdict::Unknown)
    }
}

/// What to know beside a verdict before somebody is told of it. A set of bits, which are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(u8);

impl Marks {
    /// Nothing.
    pub const NONE: Marks = Marks(0);
    /// The answers change too often to tell of each change.
    pub const FLAPPING: Marks = Marks(1);
    /// Somebody is at work on it.
    pub const MAINTENANCE: Marks = Marks(2);
    /// What it depends on is down.
    pub const UNREACHABLE: Marks = Marks(4);

    /// Every single mark with its stable word.
    pub const ALL: [(Marks, &'static str); 3] = [
        (Marks::FLAPPING, "flapping"),
        (Marks::MAINTENANCE, "maintenance"),
        (Marks::UNREACHABLE, "unreachable"),
    ];

    /// True where all of `mark` are there.
    pub fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 == mark.0
    }

    /// With `mark`, or without it.
    pub fn set(self, mark: Marks, on: bool) -> Marks {
        Marks(if on { self.0 | mark.0 } else { self.0 & !mark.0 })
    }

    /// The marks with these words; words that are not known are left out.
    pub fn of_names(names: &[&str]) -> Marks {
        let known = Marks::ALL.into_iter().filter(|(_, name)| names.contains(name));
        known.fold(Marks::NONE, |marks, (mark, _)| marks.set(mark, true))
    }

    /// The words of those that are there.
    pub fn names(self) -> Vec<&'static str> {
        Marks::ALL.into_iter().filter(|(mark, _)| self.has(*mark)).map(|(_, name)| name).collect()
    }

    /// The stored number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The marks with this stored number; bits that are not known are dropped.
    pub fn from_number(number: u8) -> Marks {
        let known = Marks::ALL.iter().fold(0, |known, (mark, _)| known | mark.0);
        Marks(number & known)
    }
}

/// One check as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whose check.
    pub monitor: MonitorId,
    /// When it was due, in milliseconds since the Unix epoch: with the monitor, the key.
    pub due_ms: u64,
    /// Started minus due, in microseconds; `u32::MAX` where it never started.
    pub lag_us: u32,
    /// Time per phase of the last attempt, redirects added up.
    pub timings: Timings,
    /// Wall time of the last attempt from its start to its outcome, in microseconds; for ICMP the
    /// round trip by the kernel's stamps where it gives them.
    pub total_us: u32,
    /// Bytes of the body after decompression, at most `u32::MAX`.
    pub body_bytes: u32,
    /// The result.
    pub code: Code,
    /// HTTP status, 0 for none.
    pub http_status: u16,
    /// The phase it ended in, as a number; `u8::MAX` for none.
    pub phase: u8,
    /// Attempts made, from 1; 0 where it never started.
    pub attempts: u8,
    /// The verdict after this check.
    pub verdict: Verdict,
}

const _: () = assert!(size_of::<Sample>() <= 64);

impl Sample {
    /// The phase it ended in.
    pub fn phase(&self) -> Option<Phase> {
        Phase::ALL.get(usize::from(self.phase)).copied()
    }
}

/// A change of verdict, or of its marks alone: `from` and `to` are the same then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
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
    /// What to know beside it, from now on.
    pub marks: Marks,
}

impl Transition {
    /// True where the verdict is another one than before.
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

/// Words and facts about one sample of a batch.
#[derive(Clone, Debug)]
pub struct Words {
    /// Index of the sample in its batch.
    pub sample: u16,
    /// The message, as `monitor/message.rs` writes it.
    pub message: Box<str>,
    /// What the probe kept to read: error text, header fields, excerpt.
    pub detail: Option<Box<Detail>>,
    /// The certificate, where one was seen.
    pub cert: Option<Arc<CertFacts>>,
    /// Messages of the attempts before the last one.
    pub attempts: Vec<Box<str>>,
}

/// What one shard hands to the store at once.
#[derive(Clone, Debug)]
pub struct SampleBatch {
    /// Which shard.
    pub shard: ShardId,
    /// Numbers the batches of one shard within one run of the engine, from 1, without a gap.
    pub seq: u64,
    /// The rows, in the order they were decided.
    pub samples: Vec<Sample>,
    /// Words for those rows that have any: failures, changes, certificates.
    pub words: Vec<Words>,
    /// Changes of verdict, in order.
    pub transitions: Vec<Transition>,
}

impl SampleBatch {
    /// The words of the sample at this place.
    pub fn words_of(&self, at: usize) -> Option<&Words> {
        self.words.iter().find(|words| usize::from(words.sample) == at)
    }

    /// The place of the sample that decided a change.
    pub fn decided(&self, change: &Transition) -> Option<usize> {
        let is_it = |one: &Sample| one.monitor == change.monitor && one.due_ms == change.at_ms;
        self.samples.iter().position(is_it)
    }

    /// Drops the samples that `keep` does not want, with their words. Gives those dropped.
    pub fn retain(&mut self, keep: impl Fn(&Sample) -> bool) -> Vec<Sample> {
        let mut moved = Vec::with_capacity(self.samples.len());
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for sample in self.samples.drain(..) {
            let wanted = keep(&sample);
            moved.push(wanted.then_some(kept.len() as u16));
            if wanted { &mut kept } else { &mut dropped }.push(sample);
        }
        self.words.retain_mut(|words| match moved.get(usize::from(words.sample)) {
            Some(Some(index)) => {
                words.sample = *index;
                true
            }
            Some(None) | None => false,
        });
        self.samples = kept;
        dropped
    }

    /// Whether a sample of this batch tells what no later one will: it decided a change of
    /// verdict, or showed another certificate.
    pub fn telling(&self) -> impl Fn(&Sample) -> bool + use<> {
        let changes = self.transitions.iter().map(|change| (change.monitor, change.at_ms));
        let certs = self.words.iter().filter(|words| words.cert.is_some());
        let certs = certs.filter_map(|words| self.samples.get(usize::from(words.sample)));
        let telling: HashSet<(MonitorId, u64)> =
            changes.chain(certs.map(|sample| (sample.monitor, sample.due_ms))).collect();
        move |sample| telling.contains(&(sample.monitor, sample.due_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_four_sorts_are_told_apart() {
        assert_eq!(Code(0).result(), CheckResult::Up);
        assert_eq!(Code::from(CheckResult::Missed(Missed::Stall)).name(), "stall");
        assert_eq!(Code(12).result(), CheckResult::Down(Failure::TimedOut));
        assert_eq!(Code(1007).result(), CheckResult::Unknown(Fault::Late));
    }

    #[test]
    fn a_code_from_a_newer_version_is_never_a_down() {
        assert_eq!(Code(999).result(), CheckResult::Unknown(Fault::Other));
        assert_eq!(Code(65_000).result(), CheckResult::Unknown(Fault::Other));
    }
}

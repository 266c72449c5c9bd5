//! The ledger: what became of every due check.
//!
//! Owns: the law `due = started + missed + paused` and `started = up + down + unknown + open`. A
//! check enters the ledger when its fate is decided, in one step, so both hold at every moment.

use std::collections::BTreeMap;

use crate::monitor::Kind;
use crate::sample::{CheckResult, Code, Missed};

/// What became of every due check of one shard since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Checks that were due and whose fate is decided.
    pub due: u64,
    /// Checks that were started.
    pub started: u64,
    /// Checks that were not run, by reason, in the order of [`Missed::ALL`].
    pub missed: [u64; 4],
    /// Due times of paused monitors.
    pub paused: u64,
    /// Checks that found the target good.
    pub up: u64,
    /// Checks that found it bad.
    pub down: u64,
    /// Checks that say nothing about it: our own fault.
    pub unknown: u64,
    /// Finished checks by kind and result.
    pub results: BTreeMap<(Kind, Code), u64>,
}

impl Ledger {
    /// A check starts its first attempt.
    pub fn start(&mut self) {
        self.due += 1;
        self.started += 1;
    }

    /// `count` due checks were not run.
    pub fn miss(&mut self, reason: Missed, count: u64) {
        self.due += count;
        self.missed[reason as usize - Missed::Overrun as usize] += count;
    }

    /// A due time of a paused monitor.
    pub fn pause(&mut self) {
        self.due += 1;
        self.paused += 1;
    }

    /// A started check has its result.
    pub fn finish(&mut self, kind: Kind, result: CheckResult) {
        match result {
            CheckResult::Up => self.up += 1,
            CheckResult::Down(_) => self.down += 1,
            CheckResult::Unknown(_) => self.unknown += 1,
            CheckResult::Missed(_) => return,
        }
        *self.results.entry((kind, Code::from(result))).or_default() += 1;
    }

    /// Checks that were started and have no result yet: in flight, or between two attempts.
    pub fn open(&self) -> u64 {
        self.started - self.up - self.down - self.unknown
    }

    /// Checks that were not run, for any reason.
    pub fn missed_total(&self) -> u64 {
        self.missed.iter().sum()
    }

    /// True while every due check is accounted for.
    pub fn balances(&self) -> bool {
        self.due == self.started + self.missed_total() + self.paused
            && self.up + self.down + self.unknown <= self.started
            && self.results.values().sum::<u64>() == self.up + self.down + self.unknown
    }

    /// Adds the ledger of another shard.
    pub fn add(&mut self, other: &Ledger) {
        self.due += other.due;
        self.started += other.started;
        self.paused += other.paused;
        self.up += other.up;
        self.down += other.down;
        self.unknown += other.unknown;
        for (mine, theirs) in self.missed.iter_mut().zip(other.missed) {
            *mine += theirs;
        }
        for (key, count) in &other.results {
            *self.results.entry(*key).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn every_step_keeps_the_law() {
        let mut ledger = Ledger::default();
        ledger.start();
        ledger.start();
        ledger.miss(Missed::Stopping, 3);
        ledger.pause();
        ledger.finish(Kind::Tcp, CheckResult::Unknown(Fault::Late));
        assert!(ledger.balances());
        assert_eq!((ledger.due, ledger.open(), ledger.missed_total()), (6, 1, 3));
    }

    #[test]
    fn the_sum_of_two_shards_keeps_the_law() {
        let mut one = Ledger::default();
        one.start();
        one.finish(Kind::Tcp, CheckResult::Up);
        let mut two = Ledger::default();
        two.start();
        two.finish(Kind::Tcp, CheckResult::Up);
        two.miss(Missed::Overrun, 1);
        one.add(&two);
        assert!(one.balances());
        assert_eq!(one.results[&(Kind::Tcp, Code::GOOD)], 2);
    }
}

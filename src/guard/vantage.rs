//! What the guard and the shards tell each other: one word and four counts, without a lock.
//!
//! Owns: the memory that both sides share. A shard reads a [`View`] and stores its [`Tally`] once
//! a turn; the guard reads and writes once a round. Nothing here is touched for each probe.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::{ShardId, Tick};

/// How the way to the targets stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    #[default]
    Clear,
    /// One signal does: nothing goes down until it is known whether it is right.
    Suspect,
    /// This host is cut off: failures say nothing about targets.
    Isolated,
}

/// What a shard knows of the guard. The default one is that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Time until a failure can be believed, in ticks; 0 where there is no guard.
    pub recheck_ticks: u64,
    /// How the way to the targets stands.
    pub standing: Standing,
    /// Failures of checks that started before this are not believed.
    pub trusted_from: Tick,
    /// When the last round of canaries began that has ended.
    pub seen: Tick,
}

impl View {
    /// True where there is a guard.
    pub fn is_on(&self) -> bool {
        self.recheck_ticks > 0
    }

    /// True where a failure of a check that started at `started` says nothing.
    pub fn distrusts(&self, started: Tick) -> bool {
        self.standing == Standing::Isolated || started < self.trusted_from
    }

    /// True where a verdict may go down on failures that began at `since`: a whole round of
    /// canaries has begun after that and found nothing.
    pub fn lets_fall(&self, since: Tick) -> bool {
        self.standing == Standing::Clear && self.seen >= since
    }
}

/// What shards count for the guard. All of them only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Results of guarded monitors that were up: good ones, and the first failure of each.
    pub ended: u64,
    /// Those failures among them.
    pub failed: u64,
    /// Queries that a name server left without an answer.
    pub queries_lost: u64,
    /// Queries that a name server answered.
    pub queries_answered: u64,
}

impl Tally {
    /// What was counted since `before`.
    pub fn since(self, before: Tally) -> Tally {
        Tally {
            ended: self.ended.saturating_sub(before.ended),
            failed: self.failed.saturating_sub(before.failed),
            queries_lost: self.queries_lost.saturating_sub(before.queries_lost),
            queries_answered: self.queries_answered.saturating_sub(before.queries_answered),
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: Tally) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.queries_lost += other.queries_lost;
        self.queries_answered += other.queries_answered;
    }
}

/// The counts of one shard, on a cache line that no other shard writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot {
    ended: AtomicU64,
    failed: AtomicU64,
    queries_lost: AtomicU64,
    queries_answered: AtomicU64,
}

/// What the guard and the shards share.
#[derive(Debug)]
pub struct Vantage {
    recheck_ticks: u64,
    /// Standing in the two low bits, `trusted_from` above them.
    word: AtomicU64,
    seen: AtomicU64,
    slots: Box<[Slot]>,
}

const STANDING_BITS: u32 = 2;

impl Vantage {
    /// For so many shards; `recheck_ticks` is 0 where there is no guard.
    pub fn new(shards: usize, recheck_ticks: u64) -> Vantage {
        Vantage {
            recheck_ticks,
            word: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            slots: (0..shards).map(|_| Slot::default()).collect(),
        }
    }

    /// What a shard is to know now.
    pub fn view(&self) -> View {
        // In this order: whoever sees a round has seen what it led to.
        let seen = self.seen.load(Ordering::Acquire);
        let word = self.word.load(Ordering::Acquire);
        View {
            recheck_ticks: self.recheck_ticks,
            standing: match word & ((1 << STANDING_BITS) - 1) {
                0 => Standing::Clear,
                1 => Standing::Suspect,
                _ => Standing::Isolated,
            },
            trusted_from: Tick(word >> STANDING_BITS),
            seen: Tick(seen),
        }
    }

    /// Tells the shards what a round led to that began at `seen`.
    pub fn tell(&self, standing: Standing, trusted_from: Tick, seen: Tick) {
        self.word.store(trusted_from.0 << STANDING_BITS | standing as u64, Ordering::Release);
        self.seen.store(seen.0, Ordering::Release);
    }

    /// Takes what a shard has counted so far.
    pub fn report(&self, shard: ShardId, tally: Tally) {
        let Some(slot) = self.slots.get(usize::from(shard.0)) else { return };
        slot.ended.store(tally.ended, Ordering::Relaxed);
        slot.failed.store(tally.failed, Ordering::Relaxed);
        slot.queries_lost.store(tally.queries_lost, Ordering::Relaxed);
        slot.queries_answered.store(tally.queries_answered, Ordering::Relaxed);
    }

    /// What all shards have counted so far.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for slot in &self.slots {
            sum.add(Tally {
                ended: slot.ended.load(Ordering::Relaxed),
                failed: slot.failed.load(Ordering::Relaxed),
                queries_lost: slot.queries_lost.load(Ordering::Relaxed),
                queries_answered: slot.queries_answered.load(Ordering::Relaxed),
            });
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_see_what_the_guard_tells_and_the_guard_sees_the_sum_of_theirs() {
        let vantage = Vantage::new(2, 500);
        assert_eq!(vantage.view(), View { recheck_ticks: 500, ..View::default() });
        for standing in [Standing::Isolated, Standing::Suspect, Standing::Clear] {
            vantage.tell(standing, Tick(170_000_000_000), Tick(170_000_000_100));
            let view = vantage.view();
            assert_eq!(view.standing, standing);
            assert_eq!((view.trusted_from.0, view.seen.0), (170_000_000_000, 170_000_000_100));
        }
        let tally = Tally { ended: 5, failed: 2, queries_lost: 1, queries_answered: 0 };
        vantage.report(ShardId(0), tally);
        vantage.report(ShardId(1), tally);
        vantage.report(ShardId(1), tally);
        assert_eq!(vantage.tally().failed, 4);
        assert_eq!(vantage.tally().since(tally), tally);
    }

    #[test]
    fn a_failure_is_believed_only_after_a_whole_round_that_began_later_found_nothing() {
        let view = View { recheck_ticks: 500, seen: Tick(100), ..View::default() };
        assert!(view.lets_fall(Tick(100)) && !view.lets_fall(Tick(101)));
        let suspect = View { standing: Standing::Suspect, ..view };
        assert!(!suspect.lets_fall(Tick(1)) && !suspect.distrusts(Tick(1)));
        let over = View { trusted_from: Tick(90), ..view };
        assert!(over.distrusts(Tick(89)) && !over.distrusts(Tick(90)));
    }
}

//! Samples on their way to the store: the open batch, and the sealed ones that wait.
//!
//! Owns: when a batch is full, its number, and what is dropped first when the store cannot take
//! any more: good samples, oldest first. Failures outlive them, and changes of verdict outlive
//! these: only where database and spool both refuse for so long that memory is at stake do they go
//! too, oldest first. All that is dropped is counted.

use std::collections::VecDeque;

use crate::ids::ShardId;
use crate::limits::{BATCH_SAMPLES_MAX, SHARD_BACKLOG_BATCHES_MAX, SHARD_BACKLOG_SIZE_MAX};
use crate::sample::{Code, Sample, SampleBatch, Transition, Words};

/// Samples of one shard on their way to the store.
#[derive(Debug)]
pub struct Outbox {
    open: SampleBatch,
    sealed: VecDeque<SampleBatch>,
    /// Samples, changes and words in `sealed`, as [`size`] counts them.
    size: usize,
    /// Batches before this number hold no good samples any more.
    thinned_to: u64,
    /// Batches before this number hold nothing but changes and what tells of them any more.
    bared_to: u64,
    dropped: u64,
}

impl Outbox {
    /// Nothing to send.
    pub fn new(shard: ShardId) -> Outbox {
        Outbox {
            open: empty(shard, 1),
            sealed: VecDeque::new(),
            size: 0,
            thinned_to: 0,
            bared_to: 0,
            dropped: 0,
        }
    }

    /// Adds a sample with its words and its change of verdict.
    pub fn push(&mut self, sample: Sample, words: Option<Words>, transition: Option<Transition>) {
        if let Some(mut words) = words {
            words.sample = self.open.samples.len() as u16;
            self.open.words.push(words);
        }
        self.open.samples.push(sample);
        self.open.transitions.extend(transition);
        if self.open.samples.len() >= BATCH_SAMPLES_MAX {
            self.seal();
        }
    }

    /// Adds a change of verdict that no check decided (pause and resume).
    pub fn push_transition(&mut self, transition: Transition) {
        self.open.transitions.push(transition);
    }

    /// Samples and changes in the open batch.
    pub fn open_len(&self) -> usize {
        self.open.samples.len() + self.open.transitions.len()
    }

    /// Closes the open batch, unless it is empty.
    pub fn seal(&mut self) {
        if self.open.samples.is_empty() && self.open.transitions.is_empty() {
            return;
        }
        let next = empty(self.open.shard, self.open.seq + 1);
        let batch = std::mem::replace(&mut self.open, next);
        self.size += size(&batch);
        self.sealed.push_back(batch);
        let thinned = self.before(self.thinned_to);
        if self.sealed.len() - thinned > SHARD_BACKLOG_BATCHES_MAX {
            self.thinned_to = self.thin(thinned, |sample| sample.code != Code::GOOD);
        }
        while self.size > SHARD_BACKLOG_SIZE_MAX {
            self.shed();
        }
    }

    /// The oldest sealed batch.
    pub fn pop(&mut self) -> Option<SampleBatch> {
        let batch = self.sealed.pop_front()?;
        self.size -= size(&batch);
        Some(batch)
    }

    /// Puts back a batch that could not be sent.
    pub fn put_back(&mut self, batch: SampleBatch) {
        self.size += size(&batch);
        self.sealed.push_front(batch);
    }

    /// Sealed batches that wait.
    pub fn backlog(&self) -> usize {
        self.sealed.len()
    }

    /// Samples dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sealed batches from the front with a lower number.
    fn before(&self, seq: u64) -> usize {
        self.sealed.partition_point(|batch| batch.seq < seq)
    }

    /// Drops of one batch what `keep` does not want and tells of nothing. Gives the next number.
    fn thin(&mut self, index: usize, keep: impl Fn(&Sample) -> bool) -> u64 {
        let Some(batch) = self.sealed.get_mut(index) else { return 0 };
        let before = size(batch);
        let tells = batch.telling();
        let dropped = batch.retain(|sample| keep(sample) || tells(sample));
        self.size -= before - size(batch);
        self.dropped += dropped.len() as u64;
        batch.seq + 1
    }

    /// Makes room where memory is at stake: the oldest failures that tell of no change go first,
    /// then whole batches.
    fn shed(&mut self) {
        let bared = self.before(self.bared_to);
        if bared < self.sealed.len() {
            self.bared_to = self.thin(bared, |_| false);
            self.thinned_to = self.thinned_to.max(self.bared_to);
        } else if let Some(oldest) = self.pop() {
            self.dropped += oldest.samples.len() as u64;
        }
    }
}

/// How much memory a batch takes, in samples: a change is about as long as one, words with their
/// message and detail are as long as sixteen.
fn size(batch: &SampleBatch) -> usize {
    batch.samples.len() + batch.transitions.len() + 16 * batch.words.len()
}

fn empty(shard: ShardId, seq: u64) -> SampleBatch {
    SampleBatch {
        shard,
        seq,
        samples: Vec::with_capacity(BATCH_SAMPLES_MAX),
        words: Vec::new(),
        transitions: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MonitorId;
    use crate::sample::{Marks, Verdict};
    use probes::Timings;

    fn sample(monitor: u64, code: u16) -> Sample {
        Sample {
            monitor: MonitorId(monitor),
            due_ms: 1_000 + monitor,
            lag_us: 0,
            timings: Timings::NONE,
            total_us: 1,
            body_bytes: 0,
            code: Code(code),
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict: Verdict::Up,
        }
    }

    #[test]
    fn a_full_batch_is_sealed_and_the_numbers_have_no_gap() {
        let mut outbox = Outbox::new(ShardId(3));
        for monitor in 0..(2 * BATCH_SAMPLES_MAX as u64 + 1) {
            outbox.push(sample(monitor, 0), None, None);
        }
        assert_eq!((outbox.backlog(), outbox.open_len()), (2, 1));
        outbox.seal();
        let numbers: Vec<_> = std::iter::from_fn(|| outbox.pop()).map(|batch| batch.seq).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn a_full_backlog_drops_old_good_samples_and_keeps_failures_and_changes() {
        let mut outbox = Outbox::new(ShardId(0));
        let change = Transition {
            monitor: MonitorId(2),
            at_ms: 1_002,
            from: Verdict::Down,
            to: Verdict::Up,
            code: Code::GOOD,
            marks: Marks::NONE,
        };
        outbox.push(sample(1, 0), None, None);
        outbox.push(sample(2, 0), None, Some(change));
        let words = Words {
            sample: 0,
            message: "refused".into(),
            detail: None,
            cert: None,
            attempts: Vec::new(),
        };
        outbox.push(sample(3, 10), Some(words), None);
        outbox.seal();
        for monitor in 0..SHARD_BACKLOG_BATCHES_MAX as u64 {
            outbox.push(sample(monitor, 0), None, None);
            outbox.seal();
        }
        assert_eq!(outbox.dropped(), 1);
        let oldest = outbox.pop().unwrap();
        let kept: Vec<_> = oldest.samples.iter().map(|sample| sample.monitor.0).collect();
        assert_eq!(kept, [2, 3]);
        assert_eq!(oldest.words[0].sample, 1);
        assert_eq!(oldest.transitions.len(), 1);
    }

    #[test]
    fn a_backlog_that_is_offered_in_vain_again_and_again_stays_within_its_bound() {
        let mut outbox = Outbox::new(ShardId(0));
        let spare = 100;
        for monitor in 0..(SHARD_BACKLOG_BATCHES_MAX as u64 + spare) {
            outbox.push(sample(monitor, 0), None, None);
            outbox.seal();
            let oldest = outbox.pop().unwrap();
            outbox.put_back(oldest);
        }
        assert_eq!(outbox.dropped(), spare);
        let left = std::iter::from_fn(|| outbox.pop()).map(|batch| batch.samples.len());
        assert_eq!(left.sum::<usize>(), SHARD_BACKLOG_BATCHES_MAX);
    }

    /// A batch of failures of which the first decided a change.
    fn fail(outbox: &mut Outbox, monitor: u64) {
        for at in 0..BATCH_SAMPLES_MAX as u64 {
            let sample = sample(monitor + at, 10);
            let change = Transition {
                monitor: sample.monitor,
                at_ms: sample.due_ms,
                from: Verdict::Up,
                to: Verdict::Down,
                code: sample.code,
                marks: Marks::NONE,
            };
            outbox.push(sample, None, Some(change).filter(|_| at == 0));
        }
    }

    #[test]
    fn failures_without_end_stay_within_the_bound_and_changes_outlive_them() {
        let mut outbox = Outbox::new(ShardId(0));
        let batches = 2 * SHARD_BACKLOG_SIZE_MAX as u64 / BATCH_SAMPLES_MAX as u64;
        for number in 0..batches {
            fail(&mut outbox, number * BATCH_SAMPLES_MAX as u64);
            assert!(outbox.size <= SHARD_BACKLOG_SIZE_MAX);
        }
        let sealed: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(outbox.size, 0);
        let changes: usize = sealed.iter().map(|batch| batch.transitions.len()).sum();
        assert_eq!(changes as u64, batches);
        assert_eq!((sealed[0].samples.len(), sealed[0].samples[0].monitor.0), (1, 0));
        let kept: usize = sealed.iter().map(|batch| batch.samples.len()).sum();
        assert_eq!(kept as u64 + outbox.dropped(), batches * BATCH_SAMPLES_MAX as u64);
    }

    #[test]
    fn changes_without_end_stay_within_the_bound_too() {
        let mut outbox = Outbox::new(ShardId(0));
        let change = Transition {
            monitor: MonitorId(2),
            at_ms: 1_002,
            from: Verdict::Up,
            to: Verdict::Paused,
            code: Code::GOOD,
            marks: Marks::NONE,
        };
        for _ in 0..SHARD_BACKLOG_SIZE_MAX + 5 {
            outbox.push_transition(change.clone());
            outbox.seal();
        }
        assert_eq!(outbox.backlog(), SHARD_BACKLOG_SIZE_MAX);
        assert_eq!(outbox.pop().unwrap().seq, 6);
    }
}

//! Batches, and what came of them.

use std::collections::BTreeMap;

use engine::ids::{MonitorId, ShardId};
use engine::sample::{CheckResult, Code, Sample, SampleBatch, Transition, Verdict, Words};
use engine::store::spool::{Bounds, RunKey, Spool};
use engine::store::{Gap, RunId};
use probes::{Failure, Timings};

use crate::disk::MemoryDisk;

pub const T0: u64 = 1_767_225_600_000;
pub const RUN: RunKey = RunKey { run: RunId(1), started_ms: T0 };

pub fn sample(monitor: u64, due_ms: u64, good: bool) -> Sample {
    let result = if good { CheckResult::Up } else { CheckResult::Down(Failure::Refused) };
    Sample {
        monitor: MonitorId(monitor),
        due_ms,
        lag_us: 0,
        timings: Timings::NONE,
        total_us: 1,
        body_bytes: 0,
        code: result.into(),
        http_status: 0,
        phase: 1,
        attempts: 1,
        verdict: if good { Verdict::Up } else { Verdict::Down },
    }
}

/// A batch with so many good results of monitors from 100 on, so many bad ones from 10,000 on, and
/// with `changed` a good one of monitor 1 that decided a change.
pub fn batch(seq: u64, good: u64, bad: u64, changed: bool) -> SampleBatch {
    let due_ms = T0 + seq * 1_000;
    let mut samples: Vec<Sample> = (0..good).map(|n| sample(100 + n, due_ms, true)).collect();
    samples.extend((0..bad).map(|n| sample(10_000 + n, due_ms, false)));
    let mut batch =
        SampleBatch { shard: ShardId(0), seq, samples, words: Vec::new(), transitions: Vec::new() };
    if changed {
        batch.samples.push(sample(1, due_ms, true));
        batch.transitions.push(Transition {
            monitor: MonitorId(1),
            at_ms: due_ms,
            from: Verdict::Down,
            to: Verdict::Up,
            code: Code::GOOD,
        });
        let (message, attempts) = (format!("number {seq}").into(), Vec::new());
        let sample = batch.samples.len() as u16 - 1;
        batch.words.push(Words { sample, message, detail: None, cert: None, attempts });
    }
    batch
}

pub fn open(disk: &MemoryDisk, bounds: Bounds) -> Spool {
    Spool::open(Box::new(disk.clone()), bounds).unwrap()
}

/// Appends all, in as many calls as it takes.
pub fn append_all(spool: &mut Spool, batches: &[SampleBatch]) {
    let mut rest = batches;
    while !rest.is_empty() {
        let taken = spool.append(RUN, T0, rest).unwrap();
        rest = &rest[taken..];
    }
}

/// What a spool gave until it was empty.
#[derive(Debug, Default)]
pub struct Drained {
    /// By number: a batch may come a second time after a crash, but never differently.
    pub batches: BTreeMap<u64, SampleBatch>,
    /// In the order they came.
    pub order: Vec<u64>,
    pub gaps: BTreeMap<u64, Gap>,
    pub stops: usize,
}

impl Drained {
    /// Takes one slice; false where the spool is empty.
    pub fn take(&mut self, spool: &mut Spool, batches_max: usize) -> bool {
        let Some(slice) = spool.next(batches_max).unwrap() else { return false };
        assert_eq!(slice.run, RUN);
        for batch in &slice.batches {
            self.order.push(batch.seq);
            self.batches.insert(batch.seq, batch.clone());
        }
        self.gaps.extend(slice.gaps.iter().map(|gap| (gap.number, *gap)));
        self.stops += usize::from(slice.stopped_ms.is_some());
        spool.done(&slice);
        true
    }

    pub fn of(spool: &mut Spool) -> Drained {
        let mut drained = Drained::default();
        while drained.take(spool, 3) {}
        assert!(spool.is_empty());
        assert_eq!(spool.numbers().records, 0);
        drained
    }

    /// Good and other results.
    pub fn results(&self) -> (u64, u64) {
        let samples = || self.batches.values().flat_map(|batch| &batch.samples);
        let good = samples().filter(|sample| sample.code == Code::GOOD).count() as u64;
        (good, samples().count() as u64 - good)
    }
}

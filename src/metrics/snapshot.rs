//! What a shard publishes once a second, all at one moment.
//!
//! Owns: the shape and the place where the control thread finds it. The lock is taken once a
//! second by one writer and by whoever looks at the metrics page.

use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::ids::ShardId;
use crate::metrics::latency::Handover;
use crate::metrics::ledger::Ledger;
use crate::metrics::text::Buckets;
use crate::monitor::Kind;

/// Longest lag the histogram tells apart, in microseconds: 1 minute.
const LAG_US_MAX: u64 = 60_000_000;

/// What one shard does and did.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which shard.
    pub shard: ShardId,
    /// What became of every due check.
    pub ledger: Ledger,
    /// Start minus due of every start, in microseconds.
    pub lag: Histogram<u32>,
    /// Time of the last attempt of checks that found the target good or bad, by type.
    pub durations: [Buckets; Kind::ALL.len()],
    /// Monitors by verdict, in the order of `Verdict::ALL`.
    pub monitors: [u64; 5],
    /// Checks that are due and wait for room.
    pub waiting: u64,
    /// Probes on the wire.
    pub in_flight: u64,
    /// Most probes on the wire at once.
    pub in_flight_max: u64,
    /// Turns of the shard loop.
    pub turns: u64,
    /// CPU time of the shard's thread outside the kernel, in microseconds.
    pub cpu_user_us: u64,
    /// CPU time of the shard's thread inside the kernel, in microseconds.
    pub cpu_system_us: u64,
    /// Allocations of the shard's thread.
    pub allocations: u64,
    /// Stalls: gaps between turns longer than `limits::STALL_MS`.
    pub stalls: u64,
    /// Samples dropped because the store could not take them.
    pub samples_dropped: u64,
    /// Batches that wait for the store.
    pub backlog: u64,
    /// Checks that were started to confirm a failed one.
    pub confirmations: u64,
    /// Messages of failures left out because there were too many at once.
    pub words_skipped: u64,
    /// Counts by name from the sockets and the resolver of the shard.
    pub net: Vec<(&'static str, u64)>,
}

impl Snapshot {
    /// Nothing done yet.
    pub fn empty(shard: ShardId) -> Snapshot {
        Snapshot {
            shard,
            ledger: Ledger::default(),
            lag: lag_histogram(),
            durations: Default::default(),
            monitors: [0; 5],
            waiting: 0,
            in_flight: 0,
            in_flight_max: 0,
            turns: 0,
            cpu_user_us: 0,
            cpu_system_us: 0,
            allocations: 0,
            stalls: 0,
            samples_dropped: 0,
            backlog: 0,
            words_skipped: 0,
            confirmations: 0,
            net: Vec::new(),
        }
    }
}

/// An empty histogram of 1 µs to 1 minute with three digits.
pub fn lag_histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, LAG_US_MAX, 3) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constants that fit: {error}"),
    }
}

/// Where the latest snapshot and the histograms of one shard are found. Clones share it.
#[derive(Clone, Debug)]
pub struct Published {
    shard: ShardId,
    snapshot: Arc<Mutex<Snapshot>>,
    handover: Handover,
}

impl Published {
    /// A place for the snapshots of `shard`.
    pub fn new(shard: ShardId) -> Published {
        let snapshot = Arc::new(Mutex::new(Snapshot::empty(shard)));
        Published { shard, snapshot, handover: Handover::default() }
    }

    /// Whose they are.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Where the histograms are handed over.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The latest one.
    pub fn latest(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! Looks at a running engine: everything that a report tells is a difference of two looks.
//!
//! Owns: gathering the numbers of shards, store, threads, farm and host at one moment. Shards
//! publish once a second, so two looks are compared by what the shards had published.

use hdrhistogram::Histogram;

use crate::bench::targets::Targets;
use crate::bench::usage::{self, Memory};
use crate::metrics::ledger::Ledger;
use crate::metrics::page::Counts;
use crate::metrics::snapshot::{Published, lag_histogram};

/// What all shards together did since their start.
#[derive(Clone, Debug)]
pub struct Shards {
    /// What became of every due check.
    pub ledger: Ledger,
    /// True where the ledger of every shard accounts for every due check.
    pub balances: bool,
    /// Start minus due of every start, in microseconds.
    pub lag: Histogram<u32>,
    /// CPU time outside the kernel, in microseconds.
    pub user_us: u64,
    /// CPU time inside the kernel, in microseconds.
    pub kernel_us: u64,
    /// Allocations.
    pub allocations: u64,
    /// Probes on the wire now.
    pub in_flight: u64,
    /// Most probes on the wire at once in one shard.
    pub in_flight_max: u64,
    /// Turns of the loops.
    pub turns: u64,
    /// Gaps between turns that were too long.
    pub stalls: u64,
    /// Samples dropped because the store could not take them.
    pub dropped: u64,
}

impl Shards {
    /// The sum of what was published last.
    pub fn sum(published: &[Published]) -> Shards {
        let mut sum = Shards {
            ledger: Ledger::default(),
            balances: true,
            lag: lag_histogram(),
            user_us: 0,
            kernel_us: 0,
            allocations: 0,
            in_flight: 0,
            in_flight_max: 0,
            turns: 0,
            stalls: 0,
            dropped: 0,
        };
        for place in published {
            let one = place.latest();
            sum.ledger.add(&one.ledger);
            sum.balances &= one.ledger.balances();
            // Both have the same bounds, so nothing is refused.
            let _ = sum.lag.add(&one.lag);
            sum.user_us += one.cpu_user_us;
            sum.kernel_us += one.cpu_system_us;
            sum.allocations += one.allocations;
            sum.in_flight += one.in_flight;
            sum.in_flight_max = sum.in_flight_max.max(one.in_flight_max);
            sum.turns += one.turns;
            sum.stalls += one.stalls;
            sum.dropped += one.samples_dropped;
        }
        sum
    }
}

/// What the store did since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    /// Results.
    pub rows: u64,
    /// Bytes of packed results.
    pub bytes: u64,
    /// Time in commits, in microseconds.
    pub commit_us: u64,
    /// Transactions with results.
    pub commits: u64,
    /// Batches that wait.
    pub pending: u64,
    /// Batches that went to the spool.
    pub spooled: u64,
}

impl Stored {
    fn of(counts: &Counts) -> Stored {
        let all = || counts.counters.iter().chain(&counts.gauges);
        let of = |name: &str| all().find(|(found, ..)| *found == name).map_or(0, |found| found.2);
        Stored {
            rows: of("engine_store_rows"),
            bytes: of("engine_store_bytes"),
            commit_us: of("engine_store_commit_microseconds"),
            commits: of("engine_store_commits"),
            pending: of("engine_store_batches_pending"),
            spooled: of("engine_spool_appended"),
        }
    }
}

/// What the threads of one sort used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads {
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Times that they gave the CPU away to wait.
    pub waits: u64,
    /// Times that the CPU was taken from them.
    pub preemptions: u64,
}

impl Threads {
    fn named(all: &[usage::Thread], is: impl Fn(&str) -> bool) -> Threads {
        let mut sum = Threads::default();
        for thread in all.iter().filter(|thread| is(&thread.name)) {
            sum.cpu_us += thread.cpu_us;
            sum.waits += thread.waits;
            sum.preemptions += thread.preemptions;
        }
        sum
    }
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// The shards, as they published it.
    pub shards: Shards,
    /// The store, as it counts.
    pub stored: Stored,
    /// The threads of the shards.
    pub shard_threads: Threads,
    /// The thread of the store.
    pub store_thread: Threads,
    /// This process.
    pub memory: Memory,
    /// Descriptors of this process.
    pub descriptors: u64,
    /// Connections of the host that wait out their end.
    pub time_waits: u64,
    /// CPU time of the farm, in microseconds.
    pub farm_us: u64,
    /// Busy and total CPU time of the host, in ticks.
    pub host: (u64, u64),
}

impl Look {
    /// Looks at everything now.
    pub fn take(published: &[Published], counts: &impl Fn() -> Counts, farm: &Targets) -> Look {
        let threads = usage::threads();
        Look {
            shards: Shards::sum(published),
            stored: Stored::of(&counts()),
            shard_threads: Threads::named(&threads, |name| name.starts_with("shard-")),
            store_thread: Threads::named(&threads, |name| name == "store"),
            memory: usage::memory(),
            descriptors: usage::descriptors(),
            time_waits: usage::time_waits(),
            farm_us: farm.cpu_us(),
            host: usage::host_cpu(),
        }
    }
}

/// A look, and when it was.
#[derive(Clone, Debug)]
pub struct Point {
    /// Seconds since the warm-up.
    pub second: f64,
    /// What was seen.
    pub look: Look,
}

/// The lag of the starts between two looks, in microseconds.
pub fn lag_between(one: &Look, other: &Look) -> Histogram<u32> {
    let mut lag = other.shards.lag.clone();
    // The later one holds all that the earlier one holds, so nothing is refused.
    let _ = lag.subtract(&one.shards.lag);
    lag
}

/// A snapshot place for tests of what is built on these numbers.
#[cfg(test)]
pub fn empty() -> Look {
    let shards = Shards::sum(&[Published::new(crate::ids::ShardId(0))]);
    Look {
        shards,
        stored: Stored::default(),
        shard_threads: Threads::default(),
        store_thread: Threads::default(),
        memory: Memory::default(),
        descriptors: 0,
        time_waits: 0,
        farm_us: 0,
        host: (0, 0),
    }
}

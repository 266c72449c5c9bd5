//! What the store thread counts about itself, its database and its spool.
//!
//! Owns: the numbers and their names on the metrics page. One thread writes them, any reads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::spool::Numbers;
use super::{Appended, Maintained};
use crate::metrics::page::Counts;

/// Numbers about the store. Written by its thread only, read by anyone.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Results recorded.
    pub rows: AtomicU64,
    /// Transactions with results.
    pub commits: AtomicU64,
    /// Bytes of packed results.
    pub bytes: AtomicU64,
    /// Batches skipped because they were recorded before.
    pub batches_skipped: AtomicU64,
    /// Results that the database does not take, set aside with its reason.
    pub set_aside: AtomicU64,
    /// Batches waiting to be recorded.
    pub batches_pending: AtomicU64,
    /// Commits and maintenance steps that failed.
    pub errors: AtomicU64,
    /// Writes to the spool that failed.
    pub spool_errors: AtomicU64,
    /// Time in commits, in microseconds.
    pub commit_us: AtomicU64,
    /// The longest commit, in microseconds.
    pub commit_us_max: AtomicU64,
    /// States brought up to the results.
    pub states_written: AtomicU64,
    /// Results moved to chunks.
    pub samples_compacted: AtomicU64,
    /// Bytes of chunks written.
    pub chunk_bytes: AtomicU64,
    /// Monitors whose hour was summed up.
    pub hours_written: AtomicU64,
    /// Chunks deleted for age or size.
    pub chunks_deleted: AtomicU64,
    /// Head rows set aside because they could not be unpacked.
    pub damaged: AtomicU64,
    /// 1 while the database is larger than allowed and has no result left to delete.
    pub over_size: AtomicU64,
    /// 1 while results go to the spool because the database does not take them.
    pub away: AtomicU64,
    /// As in [`Numbers`], with the age of the oldest record in milliseconds in place of its time.
    spool: SpoolNumbers,
}

#[derive(Debug, Default)]
struct SpoolNumbers {
    bytes: AtomicU64,
    segments: AtomicU64,
    records: AtomicU64,
    oldest_age_ms: AtomicU64,
    appended: AtomicU64,
    replayed: AtomicU64,
    dropped_good: AtomicU64,
    dropped_other: AtomicU64,
    torn_bytes: AtomicU64,
    quarantined_bytes: AtomicU64,
    damaged: AtomicU64,
}

impl StoreCounters {
    /// True while the database does not take results, or was not reached yet.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed) > 0
    }

    /// Every number with its name and its help, for the metrics page.
    pub fn by_name(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let spool = &self.spool;
        let counters = vec![
            ("engine_store_rows", "Results recorded", load(&self.rows)),
            ("engine_store_commits", "Transactions with results", load(&self.commits)),
            ("engine_store_bytes", "Bytes of packed results", load(&self.bytes)),
            ("engine_store_batches_skipped", "Recorded before", load(&self.batches_skipped)),
            ("engine_store_set_aside", "Results not taken", load(&self.set_aside)),
            ("engine_store_errors", "Failed commits and maintenance", load(&self.errors)),
            ("engine_store_commit_microseconds", "Time in commits", load(&self.commit_us)),
            ("engine_store_states", "States brought up to date", load(&self.states_written)),
            ("engine_store_compacted", "Results moved to chunks", load(&self.samples_compacted)),
            ("engine_store_chunk_bytes", "Bytes of chunks written", load(&self.chunk_bytes)),
            ("engine_store_summed_up", "Hours of monitors summed up", load(&self.hours_written)),
            ("engine_store_chunks_deleted", "Deleted for age or size", load(&self.chunks_deleted)),
            ("engine_store_damaged", "Rows set aside as damaged", load(&self.damaged)),
            ("engine_spool_errors", "Failed writes to the spool", load(&self.spool_errors)),
            ("engine_spool_appended", "Batches spooled", load(&spool.appended)),
            ("engine_spool_replayed", "Batches replayed", load(&spool.replayed)),
            (
                "engine_spool_dropped_good",
                "Good results dropped from a full spool",
                load(&spool.dropped_good),
            ),
            (
                "engine_spool_dropped_other",
                "Other results dropped from a full spool",
                load(&spool.dropped_other),
            ),
            ("engine_spool_torn_bytes", "Cut off after a crash", load(&spool.torn_bytes)),
            (
                "engine_spool_quarantined_bytes",
                "Bytes set aside as damaged",
                load(&spool.quarantined_bytes),
            ),
            ("engine_spool_damaged", "Damaged places found", load(&spool.damaged)),
        ];
        let gauges = vec![
            ("engine_store_batches_pending", "Batches to record", load(&self.batches_pending)),
            ("engine_store_over_size", "1 while nothing can be deleted", load(&self.over_size)),
            ("engine_store_away", "1 while results go to the spool", load(&self.away)),
            ("engine_spool_bytes", "Bytes in the spool", load(&spool.bytes)),
            ("engine_spool_segments", "Files of the spool", load(&spool.segments)),
            ("engine_spool_records", "Batches that wait for replay", load(&spool.records)),
            (
                "engine_spool_oldest_milliseconds",
                "Age of the oldest of them",
                load(&spool.oldest_age_ms),
            ),
        ];
        Counts { counters, gauges }
    }

    /// A transaction with results took place.
    pub(super) fn committed(&self, appended: &Appended, commit_us: u64) {
        add(&self.commits, 1);
        add(&self.rows, appended.rows);
        add(&self.bytes, appended.bytes);
        add(&self.set_aside, appended.set_aside);
        add(&self.batches_skipped, appended.batches_skipped);
        add(&self.commit_us, commit_us);
        self.commit_us_max.fetch_max(commit_us, Ordering::Relaxed);
    }

    /// A step of maintenance took place.
    pub(super) fn maintained(&self, done: &Maintained) {
        add(&self.states_written, done.states_written);
        add(&self.samples_compacted, done.samples_compacted);
        add(&self.chunk_bytes, done.chunk_bytes);
        add(&self.hours_written, done.hours_written);
        add(&self.chunks_deleted, done.chunks_deleted);
        add(&self.damaged, done.damaged.len() as u64);
        self.over_size.store(u64::from(done.over_size), Ordering::Relaxed);
    }

    /// Takes over the numbers of the spool.
    pub(super) fn spooled(&self, numbers: &Numbers, now_ms: u64) {
        let age = if numbers.oldest_ms == 0 { 0 } else { now_ms.saturating_sub(numbers.oldest_ms) };
        let spool = &self.spool;
        for (counter, number) in [
            (&spool.bytes, numbers.bytes),
            (&spool.segments, numbers.segments),
            (&spool.records, numbers.records),
            (&spool.oldest_age_ms, age),
            (&spool.appended, numbers.appended),
            (&spool.replayed, numbers.replayed),
            (&spool.dropped_good, numbers.dropped_good),
            (&spool.dropped_other, numbers.dropped_other),
            (&spool.torn_bytes, numbers.torn_bytes),
            (&spool.quarantined_bytes, numbers.quarantined_bytes),
            (&spool.damaged, numbers.damaged),
        ] {
            counter.store(number, Ordering::Relaxed);
        }
    }
}

/// Adds to a counter that this thread alone writes.
pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_is_on_the_page_with_the_age_of_its_oldest_record() {
        let counters = StoreCounters::default();
        let numbers = Numbers { records: 3, oldest_ms: 1_000, replayed: 7, ..Numbers::default() };
        counters.spooled(&numbers, 5_500);
        let Counts { counters: rising, gauges } = counters.by_name();
        let of = |list: &[(&str, &str, u64)], name| {
            list.iter().find(|(found, ..)| *found == name).map(|(.., value)| *value)
        };
        assert_eq!(of(&gauges, "engine_spool_records"), Some(3));
        assert_eq!(of(&gauges, "engine_spool_oldest_milliseconds"), Some(4_500));
        assert_eq!(of(&rising, "engine_spool_replayed"), Some(7));
        counters.spooled(&Numbers::default(), 5_500);
        assert_eq!(of(&counters.by_name().gauges, "engine_spool_oldest_milliseconds"), Some(0));
    }
}

//! No more room: what goes first, what never goes, and that each loss is counted.

use engine::store::spool::{Bounds, SpoolError};

use crate::disk::MemoryDisk;
use crate::made::*;

const BOUNDS: Bounds = Bounds { bytes_max: 20_000, segment_bytes: 2_000 };

#[test]
fn the_oldest_good_results_go_first_and_every_one_is_counted() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    let batches: Vec<_> = (1..=50).map(|seq| batch(seq, 10, 2, seq % 5 == 0)).collect();
    append_all(&mut spool, &batches);
    let numbers = spool.numbers();
    assert!(numbers.bytes <= BOUNDS.bytes_max, "{numbers:?}");
    assert!(numbers.dropped_good > 100 && numbers.dropped_other == 0, "{numbers:?}");
    assert_eq!(numbers.appended, 50);

    let drained = Drained::of(&mut spool);
    let (good, other) = drained.results();
    assert_eq!(good + numbers.dropped_good, 50 * 10 + 10);
    assert_eq!(other, 100);
    let has_good = |seq: &u64| drained.batches[seq].samples.len() >= 12;
    let kept: Vec<bool> = (1..=50u64).map(|seq| has_good(&seq)).collect();
    assert!(kept.is_sorted(), "the oldest lost theirs first: {kept:?}");
    let in_gaps: u64 = drained.gaps.values().map(|gap| gap.results).sum();
    assert_eq!(in_gaps, numbers.dropped_good);
    assert_eq!(drained.gaps.values().map(|gap| gap.from_ms).min(), Some(T0 + 1_000));
    for batch in drained.batches.values().filter(|batch| batch.seq % 5 == 0) {
        let words = &batch.words[0];
        assert_eq!(batch.samples[usize::from(words.sample)].monitor.0, 1);
        assert_eq!(*words.message, format!("number {}", batch.seq));
    }
}

#[test]
fn changes_outlive_all_other_results_and_are_then_refused_not_dropped() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    let mut taken = 0;
    let error = loop {
        match spool.append(RUN, T0, &[batch(taken + 1, 3, 3, true)]) {
            Ok(count) => taken += count as u64,
            Err(error) => break error,
        }
        assert!(taken < 10_000, "the bound is not held");
    };
    assert_eq!(error, SpoolError::Full);
    let numbers = spool.numbers();
    assert!(numbers.bytes <= BOUNDS.bytes_max, "{numbers:?}");
    let drained = Drained::of(&mut spool);
    let changes: usize = drained.batches.values().map(|batch| batch.transitions.len()).sum();
    assert_eq!(changes as u64, taken);
    let (good, other) = drained.results();
    assert_eq!(good + numbers.dropped_good, 4 * taken);
    assert_eq!(other + numbers.dropped_other, 3 * taken);
    assert!(numbers.dropped_other > 0);
    let in_gaps: u64 = drained.gaps.values().map(|gap| gap.results).sum();
    assert_eq!(in_gaps, numbers.dropped_good + numbers.dropped_other);

    assert_eq!(spool.append(RUN, T0, &[batch(taken + 1, 3, 3, true)]), Ok(1), "room again");
}

#[test]
fn changes_still_fit_when_the_disk_is_full() {
    let disk = MemoryDisk::default();
    let bounds = Bounds { bytes_max: 64_000, segment_bytes: 8_000 };
    let mut spool = open(&disk, bounds);
    // Everything but what was set aside belongs to others now.
    disk.set_room(Some(0));
    let mut good_taken = 0;
    while spool.numbers().dropped_good == 0 {
        good_taken += spool.append(RUN, T0, &[batch(good_taken + 1, 10, 0, false)]).unwrap() as u64;
    }
    assert!(good_taken > 10, "the segment that was set aside was used");
    append_all(&mut spool, &[batch(1_000, 10, 1, true)]);
    let numbers = spool.numbers();
    drop(spool);
    disk.crash(0);
    let drained = Drained::of(&mut open(&disk, bounds));
    assert_eq!(drained.batches[&1_000].transitions.len(), 1);
    let (good, other) = drained.results();
    assert_eq!((good + numbers.dropped_good, other), (10 * good_taken + 11, 1));
}

#[test]
fn results_that_were_replayed_before_are_not_counted_as_dropped() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    append_all(&mut spool, &(1..=20).map(|seq| batch(seq, 10, 0, false)).collect::<Vec<_>>());
    let mut drained = Drained::default();
    drained.take(&mut spool, 1);
    append_all(&mut spool, &(21..=90).map(|seq| batch(seq, 10, 0, false)).collect::<Vec<_>>());
    let dropped = spool.numbers().dropped_good;
    assert!(dropped > 0);
    while drained.take(&mut spool, 7) {}
    let good = drained.results().0;
    assert_eq!(good + dropped, 900);
}

#[test]
fn a_thinned_segment_is_thinned_again_after_a_restart_without_counting_twice() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    append_all(&mut spool, &(1..=40).map(|seq| batch(seq, 10, 3, true)).collect::<Vec<_>>());
    let first = spool.numbers();
    drop(spool);
    disk.crash(0);
    let mut spool = open(&disk, BOUNDS);
    append_all(&mut spool, &(41..=60).map(|seq| batch(seq, 10, 3, true)).collect::<Vec<_>>());
    let second = spool.numbers();
    let drained = Drained::of(&mut spool);
    let (good, other) = drained.results();
    assert_eq!(good + first.dropped_good + second.dropped_good, 11 * 60);
    assert_eq!(other + first.dropped_other + second.dropped_other, 3 * 60);
    assert_eq!(drained.batches.len(), 60);
}

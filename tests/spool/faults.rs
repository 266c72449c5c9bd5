//! The i-th operation of the disk fails, for every i, once and for ever.

use engine::store::spool::{Bounds, Spool, SpoolError};

use crate::disk::{Fault, MemoryDisk};
use crate::made::*;

const BOUNDS: Bounds = Bounds { bytes_max: 1 << 20, segment_bytes: 800 };
/// Small enough that segments lose their good results.
const TIGHT: Bounds = Bounds { bytes_max: 4_500, segment_bytes: 800 };
const BATCHES: u64 = 24;

/// What somebody was told.
#[derive(Default)]
struct Story {
    acknowledged: Vec<u64>,
    drained: Drained,
}

impl Story {
    /// Opens, appends, replays a part, stops, and opens again; goes on after every error.
    fn tell(&mut self, disk: &MemoryDisk, bounds: Bounds) {
        let mut next = 1;
        for life in 1..=3 {
            let Some(mut spool) = opened(disk, bounds) else { continue };
            for _ in 0..10 {
                self.append(&mut spool, &mut next, life * BATCHES / 3);
            }
            self.replay(&mut spool);
            // The mark is a record as any other; that it may be missing is tested elsewhere.
            let _ = spool.append_stop(RUN, T0);
        }
    }

    fn append(&mut self, spool: &mut Spool, next: &mut u64, last: u64) {
        let batches: Vec<_> = (*next..=last).map(|seq| batch(seq, 2, 0, seq % 3 == 0)).collect();
        if batches.is_empty() {
            return;
        }
        if let Ok(taken) = spool.append(RUN, T0, &batches) {
            assert!(taken > 0);
            self.acknowledged.extend(*next..*next + taken as u64);
            *next += taken as u64;
        }
    }

    fn replay(&mut self, spool: &mut Spool) {
        for _ in 0..2 {
            let Ok(Some(slice)) = spool.next(2) else { continue };
            for batch in &slice.batches {
                self.drained.batches.insert(batch.seq, batch.clone());
            }
            spool.done(&slice);
        }
    }

    /// After the faults are over, and after a crash too, all that was acknowledged is there.
    fn end(mut self, disk: &MemoryDisk, bounds: Bounds, case: &str) {
        disk.set_fault(None);
        let mut spool = open(disk, bounds);
        while self.drained.take(&mut spool, 5) {}
        for seq in self.acknowledged {
            // Tight bounds drop good results, never changes.
            let must_be_there = bounds == BOUNDS || seq % 3 == 0;
            assert!(!must_be_there || self.drained.batches.contains_key(&seq), "{case}: {seq}");
        }
    }
}

/// One more try for a start that failed: a fault for ever fails it again.
fn opened(disk: &MemoryDisk, bounds: Bounds) -> Option<Spool> {
    let open = || Spool::open(Box::new(disk.clone()), bounds);
    open().or_else(|_| open()).ok()
}

#[test]
fn a_failure_of_any_operation_loses_nothing_that_was_acknowledged() {
    for bounds in [BOUNDS, TIGHT] {
        let disk = MemoryDisk::default();
        disk.set_fault(None);
        let mut story = Story::default();
        story.tell(&disk, bounds);
        assert_eq!(story.acknowledged.len() as u64, BATCHES, "without a fault");
        let operations = disk.operations();
        assert!(operations > 60, "{operations}");
        for at in 0..operations {
            for for_ever in [false, true] {
                for crash in [None, Some(0), Some(2), Some(3)] {
                    let case = format!("{bounds:?} {at} {for_ever} {crash:?}");
                    let disk = MemoryDisk::default();
                    disk.set_fault(Some(Fault { at, for_ever }));
                    let mut story = Story::default();
                    story.tell(&disk, bounds);
                    if let Some(thirds) = crash {
                        disk.crash(thirds);
                    }
                    story.end(&disk, bounds, &case);
                }
            }
        }
    }
}

#[test]
fn a_second_failure_during_recovery_loses_nothing_either() {
    let disk = MemoryDisk::default();
    let mut story = Story::default();
    story.tell(&disk, BOUNDS);
    disk.crash(2);
    let name = disk.names(".seg")[0].clone();
    let mut bytes = disk.bytes(&name);
    let middle = bytes.len() - 3;
    bytes[middle] ^= 1;
    disk.put(&name, bytes);
    let expected = Drained::of(&mut open(&disk.copy(), BOUNDS)).batches.len();

    let counted = disk.copy();
    counted.set_fault(None);
    drop(open(&counted, BOUNDS));
    for at in 0..counted.operations() {
        let disk = disk.copy();
        disk.set_fault(Some(Fault { at, for_ever: false }));
        drop(Spool::open(Box::new(disk.clone()), BOUNDS));
        disk.crash(0);
        disk.set_fault(None);
        let drained = Drained::of(&mut open(&disk, BOUNDS));
        assert_eq!(drained.batches.len(), expected, "operation {at}");
    }
}

#[test]
fn a_sync_that_fails_is_not_asked_again_but_written_elsewhere() {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    append_all(&mut spool, &[batch(1, 1, 0, true)]);
    // The write is the first operation, its sync the second.
    disk.set_fault(Some(Fault { at: 1, for_ever: false }));
    append_all(&mut spool, &[batch(2, 1, 0, true)]);
    assert!(disk.operations() > 4, "it was written anew");
    append_all(&mut spool, &[batch(3, 1, 0, true)]);
    drop(spool);
    disk.crash(0);
    assert_eq!(Drained::of(&mut open(&disk, BOUNDS)).order, [1, 2, 3]);
}

#[test]
fn short_writes_are_continued() {
    let disk = MemoryDisk::default();
    disk.set_short_writes(true);
    let mut spool = open(&disk, BOUNDS);
    append_all(&mut spool, &(1..=20).map(|seq| batch(seq, 3, 1, true)).collect::<Vec<_>>());
    drop(spool);
    disk.crash(0);
    assert_eq!(Drained::of(&mut open(&disk, BOUNDS)).order, (1..=20).collect::<Vec<_>>());
}

#[test]
fn an_error_names_the_file_and_what_was_tried() {
    let disk = MemoryDisk::default();
    disk.set_fault(Some(Fault { at: 0, for_ever: true }));
    let Err(error) = Spool::open(Box::new(disk), BOUNDS) else { panic!("no error") };
    assert!(matches!(error, SpoolError::Disk { what: "cannot list the files of", .. }), "{error}");
}

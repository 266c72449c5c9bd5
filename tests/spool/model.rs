//! Any sequence of actions against a model that only remembers what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use engine::sample::SampleBatch;
use engine::store::spool::{Bounds, Spool};
use proptest::prelude::*;

use crate::disk::MemoryDisk;
use crate::made::*;

const BOUNDS: Bounds = Bounds { bytes_max: 40_000, segment_bytes: 1_500 };

#[derive(Clone, Debug)]
enum Action {
    /// Batches of good results, the last one with a change.
    Append(u64),
    /// A larger one than a segment.
    AppendLarge,
    Replay(usize),
    Reopen,
    Crash(usize),
    /// Changes one byte of one file, both taken modulo what is there.
    Corrupt(usize, usize),
    /// The disk has so many bytes more than its files.
    Fill(u64),
    Free,
    Stop,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (1..12u64).prop_map(Action::Append),
        1 => Just(Action::AppendLarge),
        3 => (1..8usize).prop_map(Action::Replay),
        2 => Just(Action::Reopen),
        2 => (0..=3usize).prop_map(Action::Crash),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(file, at)| Action::Corrupt(file, at)),
        1 => (0..4_000u64).prop_map(Action::Fill),
        2 => Just(Action::Free),
        1 => Just(Action::Stop),
    ];
    prop::collection::vec(action, 1..40)
}

struct World {
    disk: MemoryDisk,
    spool: Option<Spool>,
    next: u64,
    acknowledged: BTreeSet<u64>,
    offered: BTreeMap<u64, SampleBatch>,
    drained: Drained,
    corruptions: u64,
    /// Of spools that were closed.
    dropped_good: u64,
}

impl World {
    fn spool(&mut self) -> &mut Spool {
        let disk = self.disk.clone();
        self.spool.get_or_insert_with(|| open(&disk, BOUNDS))
    }

    fn close(&mut self) {
        let spool = self.spool.take();
        self.dropped_good += spool.map_or(0, |spool| spool.numbers().dropped_good);
    }

    fn append(&mut self, batches: &[SampleBatch]) {
        self.offered.extend(batches.iter().map(|batch| (batch.seq, batch.clone())));
        let mut rest = batches;
        while !rest.is_empty() {
            match self.spool().append(RUN, T0, rest) {
                Ok(taken) => {
                    self.acknowledged.extend(rest[..taken].iter().map(|batch| batch.seq));
                    rest = &rest[taken..];
                }
                // No room, and nothing to drop any more: not acknowledged.
                Err(error) => {
                    assert!(error.is_full(), "{error}");
                    return;
                }
            }
        }
    }

    fn play(&mut self, action: &Action) {
        match action {
            Action::Append(count) => {
                let last = self.next + count - 1;
                let numbers = self.next..=last;
                let batches: Vec<_> = numbers.map(|seq| batch(seq, 4, 1, seq == last)).collect();
                self.next += count;
                self.append(&batches);
            }
            Action::AppendLarge => {
                let large = batch(self.next, 4_000, 1, true);
                self.next += 1;
                self.append(&[large]);
            }
            Action::Replay(slices) => {
                for slice in 0..*slices {
                    let mut drained = std::mem::take(&mut self.drained);
                    drained.take(self.spool(), 1 + slice);
                    self.drained = drained;
                }
            }
            Action::Reopen => self.close(),
            Action::Crash(thirds) => {
                self.close();
                self.disk.crash(*thirds);
            }
            Action::Corrupt(file, at) => {
                self.close();
                let names = self.disk.names(".seg");
                let Some(name) = names.get(file % names.len().max(1)) else { return };
                let mut bytes = self.disk.bytes(name);
                if bytes.is_empty() {
                    return;
                }
                let at = at % bytes.len();
                bytes[at] ^= 0x41;
                self.disk.put(name, bytes);
                self.corruptions += 1;
            }
            Action::Fill(bytes) => {
                self.close();
                let names = self.disk.names("");
                let used: usize = names.iter().map(|name| self.disk.bytes(name).len()).sum();
                self.disk.set_room(Some(used as u64 + bytes));
            }
            Action::Free => self.disk.set_room(None),
            Action::Stop => {
                let stopped = self.spool().append_stop(RUN, T0);
                assert!(stopped.is_ok() || stopped.is_err_and(|error| error.is_full()));
            }
        }
        let numbers = self.spool().numbers();
        // One batch may be larger than everything the spool may hold.
        assert!(numbers.bytes <= BOUNDS.bytes_max + 60_000, "{numbers:?}");
    }

    fn check(mut self) {
        self.disk.set_room(None);
        let mut drained = std::mem::take(&mut self.drained);
        while drained.take(self.spool(), 4) {}
        assert!(drained.batches.keys().all(|seq| self.offered.contains_key(seq)));
        let dropped_good = self.dropped_good + self.spool().numbers().dropped_good;
        for (seq, found) in &drained.batches {
            let made = &self.offered[seq];
            let foreign = found.samples.iter().find(|sample| {
                let same = |of: &&engine::sample::Sample| {
                    (of.monitor, of.due_ms) == (sample.monitor, sample.due_ms)
                };
                made.samples.iter().find(same) != Some(*sample)
            });
            assert_eq!(foreign, None, "batch {seq} came back changed");
        }
        let missing: Vec<u64> = self
            .acknowledged
            .iter()
            .copied()
            .filter(|seq| !drained.batches.contains_key(seq))
            .collect();
        // A changed byte costs one record; a batch has a bad result, which goes last.
        let other = self.corruptions as usize;
        assert!(missing.len() <= other || dropped_good > 0, "{missing:?} are missing");
        if dropped_good == 0 && self.corruptions == 0 {
            let good = drained.batches.values().map(|batch| batch.samples.len() as u64);
            assert!(good.sum::<u64>() >= 5 * self.acknowledged.len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_what_was_acknowledged_is_replayed(actions in actions()) {
        let mut world = World {
            disk: MemoryDisk::default(),
            spool: None,
            next: 1,
            acknowledged: BTreeSet::new(),
            offered: BTreeMap::new(),
            drained: Drained::default(),
            corruptions: 0,
            dropped_good: 0,
        };
        for action in &actions {
            world.play(action);
        }
        world.check();
    }
}

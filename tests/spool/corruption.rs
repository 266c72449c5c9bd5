//! Every byte of a segment changed, zeroed, or the first one that is missing.

use engine::store::spool::frame::{self, HEADER_BYTES};
use engine::store::spool::{Bounds, Spool, SpoolError};

use crate::disk::MemoryDisk;
use crate::made::*;

const BOUNDS: Bounds = Bounds { bytes_max: 1 << 20, segment_bytes: 600 };

/// A spool with three segments, each with several records.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut spool = open(&disk, BOUNDS);
    let batches: Vec<_> = (1..=9).map(|seq| batch(seq, 1, 0, seq % 2 == 0)).collect();
    append_all(&mut spool, &batches);
    assert!(disk.names(".seg").len() >= 3, "{:?}", spool.numbers());
    disk
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Flip,
    Zero,
    Cut,
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>, at: usize) {
        match self {
            Damage::Flip => bytes[at] ^= 0x10,
            Damage::Zero => bytes[at] = 0,
            Damage::Cut => bytes.truncate(at),
        }
    }

    /// Whether what lies there is as it was before.
    fn spares(self, before: &[u8], place: &std::ops::Range<usize>, at: usize) -> bool {
        match self {
            Damage::Flip => !place.contains(&at),
            Damage::Zero => !place.contains(&at) || before[at] == 0,
            Damage::Cut => place.end <= at,
        }
    }
}

#[test]
fn damage_to_any_byte_costs_only_the_records_it_hits() {
    let disk = written();
    let names = disk.names(".seg");
    for (number, name) in names.iter().enumerate() {
        let before = disk.bytes(name);
        let first = u64::from_str_radix(&name[..16], 16).unwrap();
        let records = frame::scan(&before, first).records;
        assert!(records.len() >= 2, "{name} has {} records", records.len());
        for at in 0..before.len() {
            for damage in [Damage::Flip, Damage::Zero, Damage::Cut] {
                let spared = records.iter().filter(|r| damage.spares(&before, &r.place, at));
                let lost = records.len() - spared.count();
                let case = format!("{damage:?} of byte {at} of segment {number}");
                check(&disk, name, damage, at, lost, &case);
            }
        }
    }
}

fn check(disk: &MemoryDisk, name: &str, damage: Damage, at: usize, lost: usize, case: &str) {
    let disk = disk.copy();
    let before = disk.bytes(name);
    let mut bytes = before.clone();
    damage.apply(&mut bytes, at);
    let intact = bytes == before;
    disk.put(name, bytes);
    let first = open(&disk, BOUNDS).numbers();
    let was_noticed = first.quarantined_bytes + first.torn_bytes > 0;
    // A file cut at the end of a record, or to nothing, is a shorter file without a fault.
    assert!(was_noticed || intact || damage == Damage::Cut, "{case}: {first:?}");
    let kept: Vec<_> = disk.names("").into_iter().map(|name| disk.bytes(&name)).collect();

    let mut again = open(&disk, BOUNDS);
    let numbers = again.numbers();
    let found = numbers.quarantined_bytes + numbers.torn_bytes + numbers.damaged;
    assert_eq!(found, 0, "{case}: a second start finds something");
    let files: Vec<_> = disk.names("").into_iter().map(|name| disk.bytes(&name)).collect();
    // The segment that is written next is made anew under the same or a later name.
    let full = |files: &[Vec<u8>]| -> Vec<Vec<u8>> {
        files.iter().filter(|bytes| bytes.len() > HEADER_BYTES).cloned().collect()
    };
    assert_eq!(full(&files), full(&kept), "{case}");
    let drained = Drained::of(&mut again);
    assert_eq!(drained.batches.len(), 9 - lost, "{case}");
    assert!(drained.order.is_sorted(), "{case}: {:?}", drained.order);
}

#[test]
fn damage_after_the_start_is_set_aside_and_the_rest_is_replayed() {
    let disk = written();
    let mut spool = open(&disk, BOUNDS);
    let name = &disk.names(".seg")[0];
    let mut bytes = disk.bytes(name);
    bytes[HEADER_BYTES + 30] ^= 1;
    disk.put(name, bytes);
    let drained = Drained::of(&mut spool);
    assert_eq!(drained.order, (2..=9).collect::<Vec<_>>());
    assert_eq!(spool.numbers().damaged, 1);
    assert_eq!(disk.names(".bad").len(), 1);
}

#[test]
fn a_file_that_is_gone_costs_only_itself_and_a_copy_adds_nothing() {
    let disk = written();
    let names = disk.names(".seg");
    let mut real = disk.clone();
    engine::store::spool::disk::Disk::remove(&mut real, &names[1]).unwrap();
    let mut spool = open(&disk, BOUNDS);
    let drained = Drained::of(&mut spool);
    assert!(drained.batches.contains_key(&1) && drained.batches.contains_key(&9));
    assert!(drained.batches.len() < 9);
}

#[test]
fn a_newer_version_is_refused_and_nothing_is_changed() {
    let disk = written();
    let name = &disk.names(".seg")[1];
    let mut bytes = disk.bytes(name);
    bytes[8] = 2;
    let checksum = crc32(&bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    disk.put(name, bytes);
    let before: Vec<_> = disk.names("").iter().map(|name| disk.bytes(name)).collect();
    let Err(error) = Spool::open(Box::new(disk.clone()), BOUNDS) else { panic!("not refused") };
    assert!(matches!(&error, SpoolError::Version { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
    let after: Vec<_> = disk.names("").iter().map(|name| disk.bytes(name)).collect();
    assert_eq!(before, after);
}

/// CRC-32 (IEEE 802.3), bit by bit: not the engine's own.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

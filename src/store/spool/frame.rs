//! The bytes of a segment: a header, then records one after the other.
//!
//! Owns: the layout and the search for good records among damaged ones. Header: magic (8 bytes),
//! version (4), first number (8), CRC-32 of these (4). Record: length of the payload (4), CRC-32
//! of all that follows and of the length (4), number (8), kind (1), payload. Numbers rise within a
//! segment and from one to the next; the first one of a segment is kept free for its gap record.
//! Little-endian. Pure: no file is touched here.

use std::ops::Range;

/// Tells a segment from other files.
const MAGIC: [u8; 8] = *b"ENGSPOOL";
/// The only layout there is.
pub const VERSION: u32 = 1;
/// Bytes before the first record.
pub const HEADER_BYTES: usize = 24;
/// Bytes of a record before its payload.
pub const RECORD_HEAD_BYTES: usize = 17;
/// Numbers of one segment lie within this span: a wrong number is seen before its checksum.
const NUMBERS_MAX: u64 = 1 << 32;
/// Bytes that the search for good records may put through the checksum, as a multiple of the
/// length: real files need little more than one, and a made-up one costs no more than this.
const SEARCH_EFFORT: usize = 8;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A batch of results.
    Batch = 1,
    /// The mark of a clean stop.
    Stop = 2,
    /// What was dropped from this segment.
    Gap = 3,
}

impl Kind {
    fn from_number(number: u8) -> Option<Kind> {
        [Kind::Batch, Kind::Stop, Kind::Gap].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A good record within the bytes it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What it holds.
    pub kind: Kind,
    /// Where it is, head and payload.
    pub place: Range<usize>,
}

impl Record {
    /// The payload, in the bytes that the record was found in.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.place.start + RECORD_HEAD_BYTES..self.place.end]
    }
}

/// What the first bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A header of ours with this version.
    Version(u32),
    /// Cut off or changed.
    Damaged,
}

/// What a segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Good records, in order.
    pub records: Vec<Record>,
    /// Bytes that belong to none, in order.
    pub damaged: Vec<Range<usize>>,
}

/// The header of a segment whose first number is `first`.
pub fn header(first: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads the header of the segment whose file name says `first`.
pub fn read_header(bytes: &[u8], first: u64) -> Header {
    let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else { return Header::Damaged };
    let checksum = u32_at(found, 20);
    if found[..8] != MAGIC || checksum != crc32fast::hash(&found[..20]) {
        return Header::Damaged;
    }
    match u32_at(found, 8) {
        VERSION if found[12..20] != first.to_le_bytes() => Header::Damaged,
        version => Header::Version(version),
    }
}

/// Adds a record to `out`.
pub fn write_record(out: &mut Vec<u8>, seq: u64, kind: Kind, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let start = out.len();
    out.extend(length);
    out.extend([0; 4]);
    out.extend(seq.to_le_bytes());
    out.push(kind as u8);
    out.extend(payload);
    let checksum = checksum(length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The record at `at`, if a good one with a number above `before` is there whole.
pub fn read_record(bytes: &[u8], at: usize, before: u64) -> Option<Record> {
    let place = extent(bytes, at, before)?;
    let length = *bytes[at..].first_chunk::<4>()?;
    if checksum(length, &bytes[at + 8..place.end]) != u32_at(bytes, at + 4) {
        return None;
    }
    let seq = u64_at(bytes, at + 8);
    Some(Record { seq, kind: Kind::from_number(bytes[at + 16])?, place })
}

/// Finds every good record of a segment, whatever the bytes between them have become.
pub fn scan(bytes: &[u8], first: u64) -> Scan {
    scan_from(bytes, HEADER_BYTES, first.saturating_sub(1))
}

/// Finds every good record from a place on, with numbers above `before`.
pub fn scan_from(bytes: &[u8], at: usize, mut before: u64) -> Scan {
    let mut scan = Scan::default();
    let mut effort = bytes.len().saturating_mul(SEARCH_EFFORT);
    let mut end = at.min(bytes.len());
    let mut at = end;
    while at < bytes.len() {
        let Some(place) = extent(bytes, at, before).filter(|place| place.len() <= effort) else {
            at += 1;
            continue;
        };
        effort -= place.len();
        let Some(record) = read_record(bytes, at, before) else {
            at += 1;
            continue;
        };
        if end < at {
            scan.damaged.push(end..at);
        }
        (before, at, end) = (record.seq, place.end, place.end);
        scan.records.push(record);
    }
    if end < bytes.len() {
        scan.damaged.push(end..bytes.len());
    }
    scan
}

/// Where a record at `at` would end, if what stands before its payload is possible.
fn extent(bytes: &[u8], at: usize, before: u64) -> Option<Range<usize>> {
    let head = bytes.get(at..)?.first_chunk::<RECORD_HEAD_BYTES>()?;
    let end = at.checked_add(RECORD_HEAD_BYTES)?.checked_add(u32_at(head, 0) as usize)?;
    let seq = u64_at(head, 8);
    let possible = end <= bytes.len()
        && seq > before
        && seq - before < NUMBERS_MAX
        && Kind::from_number(head[16]).is_some();
    possible.then_some(at..end)
}

fn checksum(length: [u8; 4], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(rest);
    hasher.finalize()
}

/// The number at a place that is known to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A segment from number 7 with a record for each payload.
    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header(7).to_vec();
        for (seq, payload) in (8..).zip(payloads) {
            write_record(&mut bytes, seq, Kind::Batch, payload);
        }
        bytes
    }

    fn numbers(scan: &Scan) -> Vec<u64> {
        scan.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn records_come_back_in_order_with_their_payload() {
        let bytes = segment(&[b"one", b"", b"three"]);
        assert_eq!(read_header(&bytes, 7), Header::Version(VERSION));
        let scan = scan(&bytes, 7);
        assert_eq!((numbers(&scan), scan.damaged.len()), (vec![8, 9, 10], 0));
        assert_eq!(scan.records[2].payload(&bytes), b"three");
    }

    #[test]
    fn a_header_of_another_version_is_told_from_a_damaged_one() {
        let mut bytes = header(7);
        bytes[8] = 9;
        assert_eq!(read_header(&bytes, 7), Header::Damaged);
        let checksum = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(read_header(&bytes, 7), Header::Version(9));
        assert_eq!(read_header(&header(7), 8), Header::Damaged);
    }

    #[test]
    fn a_record_with_a_damaged_length_costs_only_itself() {
        let mut bytes = segment(&[b"one", b"two", b"three"]);
        let second = HEADER_BYTES + RECORD_HEAD_BYTES + 3;
        for length in [0, 1, 4, 200, u32::MAX] {
            bytes[second..second + 4].copy_from_slice(&length.to_le_bytes());
            let scan = scan(&bytes, 7);
            assert_eq!(numbers(&scan), [8, 10], "length {length}");
            let end = second + RECORD_HEAD_BYTES + 3;
            assert_eq!(scan.damaged, [Range { start: second, end }]);
        }
    }

    #[test]
    fn a_record_that_is_there_twice_counts_once() {
        let mut bytes = segment(&[b"one"]);
        let copy = bytes[HEADER_BYTES..].to_vec();
        bytes.extend(copy);
        let scan = scan(&bytes, 7);
        assert_eq!((numbers(&scan), scan.damaged.len()), (vec![8], 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_accounted_for(bytes: Vec<u8>, first: u64) {
            let scan = scan(&bytes, first);
            let good: usize = scan.records.iter().map(|record| record.place.len()).sum();
            let bad: usize = scan.damaged.iter().map(Range::len).sum();
            prop_assert_eq!(good + bad, bytes.len().saturating_sub(HEADER_BYTES));
            read_header(&bytes, first);
        }

        #[test]
        fn one_changed_byte_costs_at_most_one_record(at in HEADER_BYTES..150, bits in 1..=255u8) {
            let mut bytes = segment(&[&[7; 20], &[8; 30], &[9; 25]]);
            let intact = scan(&bytes, 7);
            prop_assume!(at < bytes.len());
            bytes[at] ^= bits;
            let expected: Vec<u64> = intact.records.iter()
                .filter(|record| !record.place.contains(&at))
                .map(|record| record.seq)
                .collect();
            prop_assert_eq!(numbers(&scan(&bytes, 7)), expected);
        }
    }
}

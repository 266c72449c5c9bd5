//! Packs results into a blob and back: the one stored form of history, the same in every database.
//!
//! Owns: the layout of a blob. A blob is `codec (1 byte), length of the payload (4), CRC-32 of the
//! payload (4), payload`; the payload is the number of results (4) and then each column as its
//! length (4) and its bytes in the format of `pco`. Numbers are little-endian. Rows are sorted by
//! monitor and due time; durations are bucket numbers of `metrics::buckets`, so they come back
//! within 0.8 %, and packing what was unpacked changes nothing. All else comes back exactly.
//!
//! Costs 0.9 µs a result to pack and unpack together (2 cores, development build). A result with
//! all five phases takes 5.3 bytes in a chunk and 7.1 in the head; `tests/store.rs` measures it.

use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use probes::Timings;

use crate::ids::MonitorId;
use crate::limits::BLOB_SAMPLES_MAX;
use crate::metrics::buckets::{bucket_of, value_of};
use crate::sample::{Code, Sample, Verdict};

/// Columns of `pco` 1.x, each with deltas of the first order.
const CODEC_PCO: u8 = 1;
/// Bytes before the payload.
const HEADER_BYTES: usize = 9;
/// Columns of a row, see [`to_row`].
const COLUMNS: usize = 15;
/// Effort of `pco`, 0 to 12: past 4 the blobs shrink by less than 2 %.
const LEVEL: usize = 4;
/// Stands for an absent duration in a [`Sample`].
const ABSENT: u32 = u32::MAX;

/// Why a blob cannot be packed or unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Shorter or longer than it says.
    #[error("{found} bytes where {expected} are expected")]
    Length {
        /// Bytes that the blob says it has.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// Written by a newer version, or not a blob.
    #[error("unknown codec {0}")]
    Codec(u8),
    /// Changed since it was written.
    #[error("wrong checksum")]
    Checksum,
    /// The checksum is right, but the content makes no sense.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Packs results of monitors from `base` on, all due within 49 days after `t0_ms`.
///
/// # Errors
///
/// `Malformed` for no result, more than `BLOB_SAMPLES_MAX`, or one outside of that range.
pub fn pack(base: u64, t0_ms: u64, samples: &[Sample]) -> Result<Vec<u8>, BlobError> {
    if samples.is_empty() || samples.len() > BLOB_SAMPLES_MAX {
        return Err(BlobError::Malformed(format!("{} results", samples.len())));
    }
    let mut columns: [Vec<u32>; COLUMNS] = Default::default();
    for sample in samples {
        let row = to_row(base, t0_ms, sample)
            .ok_or_else(|| BlobError::Malformed(format!("monitor {} not here", sample.monitor)))?;
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }

    let mut blob = begin();
    blob.extend((samples.len() as u32).to_le_bytes());
    for column in &columns {
        put(&mut blob, column, DeltaSpec::TryConsecutive(1))?;
    }
    seal(&mut blob, CODEC_PCO);
    Ok(blob)
}

/// A blob without payload, to be sealed when that is written.
pub(super) fn begin() -> Vec<u8> {
    vec![0; HEADER_BYTES]
}

/// Appends a column.
pub(super) fn put(blob: &mut Vec<u8>, column: &[u32], deltas: DeltaSpec) -> Result<(), BlobError> {
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(deltas);
    let packed = simple_compress(column, &config)
        .map_err(|error| BlobError::Malformed(error.to_string()))?;
    blob.extend((packed.len() as u32).to_le_bytes());
    blob.extend(packed);
    Ok(())
}

/// Writes the header.
pub(super) fn seal(blob: &mut [u8], codec: u8) {
    let checksum = crc32fast::hash(&blob[HEADER_BYTES..]);
    let length = (blob.len() - HEADER_BYTES) as u32;
    blob[0] = codec;
    blob[1..5].copy_from_slice(&length.to_le_bytes());
    blob[5..9].copy_from_slice(&checksum.to_le_bytes());
}

/// Unpacks what [`pack`] made with the same `base` and `t0_ms`.
///
/// # Errors
///
/// Any change of a byte is noticed and gives an error; never panics, and allocates at most for
/// `BLOB_SAMPLES_MAX` results.
pub fn unpack(base: u64, t0_ms: u64, blob: &[u8]) -> Result<Vec<Sample>, BlobError> {
    unpack_of(base, t0_ms, blob, |_| true)
}

/// As [`unpack`], of the monitors that are `wanted` only: a blob that has none of them costs one
/// of its columns.
///
/// # Errors
///
/// As for [`unpack`], but columns that are not needed are not looked at.
pub fn unpack_of(
    base: u64,
    t0_ms: u64,
    blob: &[u8],
    wanted: impl Fn(MonitorId) -> bool,
) -> Result<Vec<Sample>, BlobError> {
    let mut columns = Columns::of(blob, CODEC_PCO)?;
    let count = columns.number()?;
    if count == 0 || count > BLOB_SAMPLES_MAX {
        return Err(BlobError::Malformed(format!("{count} results")));
    }
    let mut column = vec![0u32; count];
    columns.next_into(&mut column)?;
    let is_wanted = |offset: u32| wanted(MonitorId(base.saturating_add(u64::from(offset))));
    let places: Vec<usize> = (0..count).filter(|at| is_wanted(column[*at])).collect();
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = vec![[0u32; COLUMNS]; places.len()];
    for index in 0..COLUMNS {
        if index > 0 {
            columns.next_into(&mut column)?;
        }
        for (row, at) in rows.iter_mut().zip(&places) {
            row[index] = column[*at];
        }
    }
    let samples: Option<Vec<Sample>> =
        rows.into_iter().map(|row| from_row(base, t0_ms, row)).collect();
    samples.ok_or_else(|| BlobError::Malformed("number out of range".to_owned()))
}

/// The part after the header, after all that the header promises was checked.
fn payload(blob: &[u8], wanted: u8) -> Result<&[u8], BlobError> {
    let too_short = BlobError::Length { expected: HEADER_BYTES, found: blob.len() };
    let (header, payload) = blob.split_first_chunk::<HEADER_BYTES>().ok_or(too_short)?;
    let [codec, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if codec != wanted {
        return Err(BlobError::Codec(codec));
    }
    let expected = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if payload.len() != expected {
        return Err(BlobError::Length { expected, found: payload.len() });
    }
    if crc32fast::hash(payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(BlobError::Checksum);
    }
    Ok(payload)
}

/// Reads a payload from its start.
pub(super) struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Columns<'a> {
    /// The payload of a blob of this codec.
    pub fn of(blob: &'a [u8], codec: u8) -> Result<Columns<'a>, BlobError> {
        Ok(Columns { rest: payload(blob, codec)? })
    }

    /// The next number.
    pub fn number(&mut self) -> Result<usize, BlobError> {
        let too_short = BlobError::Length { expected: 4, found: self.rest.len() };
        let (number, rest) = self.rest.split_first_chunk::<4>().ok_or(too_short)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*number) as usize)
    }

    /// The next column, which has exactly this length.
    pub fn next_into(&mut self, column: &mut [u32]) -> Result<(), BlobError> {
        let length = self.number()?;
        let too_short = BlobError::Length { expected: length, found: self.rest.len() };
        let (packed, rest) = self.rest.split_at_checked(length).ok_or(too_short)?;
        self.rest = rest;
        let progress = simple_decompress_into(packed, column)
            .map_err(|error| BlobError::Malformed(error.to_string()))?;
        if progress.n_processed != column.len() || !progress.finished {
            return Err(BlobError::Malformed("column of another length".to_owned()));
        }
        Ok(())
    }
}

/// The columns of one result; `None` where its monitor or time is out of range.
fn to_row(base: u64, t0_ms: u64, sample: &Sample) -> Option<[u32; COLUMNS]> {
    let offset = u32::try_from(sample.monitor.0.checked_sub(base)?).ok()?;
    let due = u32::try_from(sample.due_ms.checked_sub(t0_ms)?).ok()?;
    let [resolve, connect, tls, wait, transfer] = sample.timings.raw();
    Some([
        offset,
        due,
        to_bucket(sample.lag_us),
        to_bucket(sample.total_us),
        to_bucket(resolve),
        to_bucket(connect),
        to_bucket(tls),
        to_bucket(wait),
        to_bucket(transfer),
        u32::from(sample.code.0),
        u32::from(sample.http_status),
        u32::from(sample.phase),
        u32::from(sample.attempts),
        sample.verdict as u32,
        sample.body_bytes,
    ])
}

/// The inverse of [`to_row`].
fn from_row(base: u64, t0_ms: u64, row: [u32; COLUMNS]) -> Option<Sample> {
    let [offset, due, lag, total, phases @ .., code, status, phase, attempts, verdict, body] = row;
    let phases: [u32; 5] = phases;
    Some(Sample {
        monitor: MonitorId(base.checked_add(u64::from(offset))?),
        due_ms: t0_ms.checked_add(u64::from(due))?,
        lag_us: from_bucket(lag)?,
        timings: Timings::from_raw([
            from_bucket(phases[0])?,
            from_bucket(phases[1])?,
            from_bucket(phases[2])?,
            from_bucket(phases[3])?,
            from_bucket(phases[4])?,
        ]),
        total_us: from_bucket(total)?,
        body_bytes: body,
        code: Code(u16::try_from(code).ok()?),
        http_status: u16::try_from(status).ok()?,
        phase: u8::try_from(phase).ok()?,
        attempts: u8::try_from(attempts).ok()?,
        verdict: Verdict::from_number(u8::try_from(verdict).ok()?),
    })
}

/// 0 for an absent duration, else the number of its bucket plus one.
fn to_bucket(micros: u32) -> u32 {
    if micros == ABSENT { 0 } else { u32::from(bucket_of(micros)) + 1 }
}

fn from_bucket(stored: u32) -> Option<u32> {
    match stored.checked_sub(1) {
        None => Some(ABSENT),
        Some(bucket) => Some(value_of(u16::try_from(bucket).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(monitor: u64, due_ms: u64) -> Sample {
        Sample {
            monitor: MonitorId(monitor),
            due_ms,
            lag_us: 90,
            timings: Timings::from_raw([ABSENT, 12_000, ABSENT, 0, 100]),
            total_us: 12_100,
            body_bytes: 70_001,
            code: Code(42),
            http_status: 503,
            phase: 3,
            attempts: 2,
            verdict: Verdict::Down,
        }
    }

    #[test]
    fn all_but_durations_come_back_exactly_and_durations_within_the_bucket() {
        let before = sample(70_000, 1_000_123);
        let after = unpack(65_536, 900_000, &pack(65_536, 900_000, &[before]).unwrap()).unwrap();
        let mut expected = before;
        expected.total_us = value_of(bucket_of(12_100));
        let connect = value_of(bucket_of(12_000));
        expected.timings = Timings::from_raw([ABSENT, connect, ABSENT, 0, 100]);
        assert_eq!(after, [expected]);
    }

    #[test]
    fn packing_what_was_unpacked_gives_the_same_bytes() {
        let samples: Vec<Sample> = (0..500).map(|n| sample(n / 5, 60_000 * (n % 5))).collect();
        let once = pack(0, 0, &samples).unwrap();
        let twice = pack(0, 0, &unpack(0, 0, &once).unwrap()).unwrap();
        assert_eq!(once, twice);
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let blob = pack(0, 0, &[sample(1, 2), sample(3, 4)]).unwrap();
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 0x10;
            assert!(unpack(0, 0, &changed).is_err(), "byte {at}");
            assert!(unpack(0, 0, &blob[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn of_some_monitors_comes_the_same_as_of_all() {
        let samples: Vec<Sample> = (0..90).map(|n| sample(n / 3, 60_000 * (n % 3))).collect();
        let blob = pack(0, 0, &samples).unwrap();
        for wanted in [&[3, 7][..], &[0], &[29], &[99], &[]] {
            let is_wanted = |monitor: MonitorId| wanted.contains(&monitor.0);
            let mut all = unpack(0, 0, &blob).unwrap();
            all.retain(|sample| is_wanted(sample.monitor));
            assert_eq!(unpack_of(0, 0, &blob, is_wanted).unwrap(), all);
        }
    }

    #[test]
    fn an_unknown_codec_is_named() {
        let mut blob = pack(0, 0, &[sample(1, 2)]).unwrap();
        blob[0] = 9;
        assert_eq!(unpack(0, 0, &blob), Err(BlobError::Codec(9)));
    }

    #[test]
    fn a_result_before_the_base_is_refused() {
        assert!(pack(10, 0, &[sample(9, 0)]).is_err());
        assert!(pack(0, 10, &[sample(0, 9)]).is_err());
        assert!(pack(0, 0, &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_payload_with_a_right_checksum_panics(payload: Vec<u8>) {
            let mut blob = vec![CODEC_PCO];
            blob.extend((payload.len() as u32).to_le_bytes());
            blob.extend(crc32fast::hash(&payload).to_le_bytes());
            blob.extend(&payload);
            let _ = unpack(0, 0, &blob);
        }

        #[test]
        fn any_numbers_survive(raw: [u32; 7], code: u16, status: u16, small: [u8; 2], body: u32) {
            let before = Sample {
                lag_us: raw[0],
                total_us: raw[1],
                timings: Timings::from_raw([raw[2], raw[3], raw[4], raw[5], raw[6]]),
                code: Code(code),
                http_status: status,
                phase: small[0],
                attempts: small[1],
                body_bytes: body,
                ..sample(5, 7)
            };
            let after = unpack(0, 0, &pack(0, 0, &[before]).unwrap()).unwrap();
            let near = |value: u32| match value {
                ABSENT => ABSENT,
                value => value_of(bucket_of(value)),
            };
            let expected = Sample {
                lag_us: near(raw[0]),
                total_us: near(raw[1]),
                timings: Timings::from_raw([2, 3, 4, 5, 6].map(|at: usize| near(raw[at]))),
                ..before
            };
            prop_assert_eq!(after, vec![expected]);
        }
    }
}

//! What is dropped when the spool has no more room, and in which order.
//!
//! Owns: the policy. The oldest segments lose their good results first; when all have, the oldest
//! lose every result that tells nothing new; changes of verdict are never dropped. What a segment
//! lost is written into it as a gap, so that the history shows no data there. A thinned segment
//! takes the place of the old one in one step: a crash leaves one of the two.

use super::frame::{Kind, Record};
use super::pack::{self, Stamp};
use super::{RECORD_HEAD_BYTES, START, Spool, SpoolError, frame};
use crate::sample::{Code, Sample, SampleBatch};
use crate::store::Gap;

/// What a segment still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything.
    Whole,
    /// No good results any more, except those that decided a change or showed a certificate.
    Kept,
    /// Changes, and the results that decided them or showed a certificate.
    Changes,
}

impl Level {
    /// As far as it can be seen from the records of a segment: thinning twice changes nothing.
    pub fn of(records: &[Record], first: u64) -> Level {
        let thinned = records.first().is_some_and(|record| record.seq == first);
        if thinned { Level::Kept } else { Level::Whole }
    }

    fn next(self) -> Level {
        if self == Level::Whole { Level::Kept } else { Level::Changes }
    }

    /// Drops what this level does not keep.
    fn apply(self, batch: &mut SampleBatch) -> Vec<Sample> {
        let tells = batch.telling();
        batch.retain(|sample| match self {
            Level::Whole => true,
            Level::Kept => sample.code != Code::GOOD || tells(sample),
            Level::Changes => tells(sample),
        })
    }
}

/// Results dropped, by sort, and when they were due.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    good: u64,
    other: u64,
    /// First and last due time.
    due: Option<(u64, u64)>,
}

impl Dropped {
    fn add(&mut self, samples: &[Sample]) {
        for sample in samples {
            *(if sample.code == Code::GOOD { &mut self.good } else { &mut self.other }) += 1;
            self.stretch(sample.due_ms, sample.due_ms);
        }
    }

    fn stretch(&mut self, from: u64, to: u64) {
        let due = self.due.unwrap_or((from, to));
        self.due = Some((due.0.min(from), due.1.max(to)));
    }

    /// The gap, with what was dropped here before; `None` for nothing.
    fn gap(mut self, number: u64, before: Option<Gap>) -> Option<Gap> {
        if let Some(before) = before {
            self.stretch(before.from_ms, before.to_ms);
        }
        let (from_ms, to_ms) = self.due?;
        let results = self.good + self.other + before.map_or(0, |gap| gap.results);
        Some(Gap { number, from_ms, to_ms, results })
    }
}

impl Spool {
    /// Thins segments until one more is within the bound.
    pub(super) fn make_room(&mut self) -> Result<(), SpoolError> {
        let new = self.bounds.segment_bytes + self.bounds.reserve();
        while self.numbers().bytes.saturating_add(new) > self.bounds.bytes_max {
            if !self.thin_oldest()? {
                return Err(SpoolError::Full);
            }
        }
        Ok(())
    }

    /// Takes the next thing from the segment whose turn it is; false where nothing is left.
    pub(super) fn thin_oldest(&mut self) -> Result<bool, SpoolError> {
        let least = self.sealed.iter().map(|segment| segment.level).min();
        let Some(level) = least.filter(|level| *level < Level::Changes) else { return Ok(false) };
        let Some(at) = self.sealed.iter().position(|s| s.level == level) else { return Ok(false) };
        self.thin(at, level.next())?;
        Ok(true)
    }

    fn thin(&mut self, at: usize, level: Level) -> Result<(), SpoolError> {
        let first = self.sealed[at].first;
        let bytes = self.read_all(first, self.sealed[at].bytes as usize)?;
        let mut dropped = Dropped::default();
        let mut before = None;
        let mut rest = Vec::new();
        let mut records = 0;
        let mut last_stamp = None;
        for record in frame::scan(&bytes, first).records {
            let payload = record.payload(&bytes);
            last_stamp = pack::peek_stamp(payload).ok().or(last_stamp);
            if record.kind == Kind::Gap && record.seq == first {
                before = pack::unpack_gap(payload).ok().map(|(_, gap)| gap);
                continue;
            }
            if at == 0 && (record.place.start as u64) < self.read.0 {
                // The store has it: nothing is lost with it.
                continue;
            }
            if record.kind == Kind::Batch {
                let Ok((stamp, mut batch)) = pack::unpack_batch(payload) else {
                    self.numbers.damaged += 1;
                    continue;
                };
                dropped.add(&level.apply(&mut batch));
                if batch.samples.is_empty() && batch.transitions.is_empty() {
                    continue;
                }
                let payload = pack::pack_batch(stamp, &batch);
                frame::write_record(&mut rest, record.seq, Kind::Batch, &payload);
            } else {
                rest.extend(&bytes[record.place.clone()]);
            }
            records += 1;
        }
        let mut thinned = frame::header(first).to_vec();
        if let (Some(stamp), Some(gap)) = (last_stamp, dropped.gap(first, before)) {
            frame::write_record(&mut thinned, first, Kind::Gap, &pack::pack_gap(stamp, &gap));
            records += 1;
        }
        thinned.extend(rest);
        self.replace(first, &thinned)?;
        // Not durable yet would mean that the old file is there after a crash: no loss.
        let _ = self.disk.sync_names();
        self.count_dropped(&dropped);
        tracing::warn!(
            segment = first,
            good = dropped.good,
            other = dropped.other,
            "the spool is full: old results were dropped"
        );
        let segment = &mut self.sealed[at];
        segment.bytes = thinned.len() as u64;
        segment.records = records;
        segment.level = level;
        if at == 0 {
            self.read = START;
        }
        Ok(())
    }

    /// Appends what is not a good result into the room that is kept for it, as many batches as
    /// go there. Good ones are dropped and counted.
    pub(super) fn append_kept(
        &mut self,
        stamp: Stamp,
        batches: &[SampleBatch],
    ) -> Result<usize, SpoolError> {
        let mut dropped = Dropped::default();
        let (mut frames, mut taken, mut seq) = (Vec::new(), 0, self.next_seq);
        // The gap comes last and always fits.
        let gap_bytes = RECORD_HEAD_BYTES + pack::pack_gap(stamp, &Gap::default()).len();
        let room = |spool: &Spool, before, more| {
            spool.fits(before, more + gap_bytes, spool.bounds.reserve())
        };
        for batch in batches {
            let mut kept = batch.clone();
            let good = Level::Kept.apply(&mut kept);
            if !kept.samples.is_empty() || !kept.transitions.is_empty() {
                let payload = pack::pack_batch(stamp, &kept);
                if !room(self, frames.len(), RECORD_HEAD_BYTES + payload.len()) {
                    break;
                }
                frame::write_record(&mut frames, seq, Kind::Batch, &payload);
                seq += 1;
            } else if !room(self, frames.len(), 0) {
                break;
            }
            dropped.add(&good);
            taken += 1;
        }
        if taken == 0 {
            return Err(SpoolError::Full);
        }
        if let Some(gap) = dropped.gap(seq, None) {
            frame::write_record(&mut frames, seq, Kind::Gap, &pack::pack_gap(stamp, &gap));
            seq += 1;
        }
        self.write(&frames, seq - self.next_seq, stamp.written_ms)?;
        self.count_dropped(&dropped);
        self.numbers.appended += taken as u64;
        self.note(&batches[..taken]);
        Ok(taken)
    }

    fn count_dropped(&mut self, dropped: &Dropped) {
        self.numbers.dropped_good += dropped.good;
        self.numbers.dropped_other += dropped.other;
    }
}

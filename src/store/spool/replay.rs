//! The way back: oldest records first, a slice at a time, files removed when they are done.
//!
//! Owns: where the replay stands. The place is kept in memory only: after a restart the oldest
//! segment is given again from its start, and the store skips what it has. Reads
//! `SPOOL_READ_BYTES` at a time.

use super::frame::{self, Kind};
use super::{RunKey, START, Segment, Spool, SpoolError, failed, file_name, pack};
use crate::limits::SPOOL_READ_BYTES;
use crate::sample::SampleBatch;
use crate::store::Gap;

/// Records for the store, in order, all of one run.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Whose they are.
    pub run: RunKey,
    /// What was dropped.
    pub gaps: Vec<Gap>,
    /// Results.
    pub batches: Vec<SampleBatch>,
    /// When the run stopped cleanly, after all its batches.
    pub stopped_ms: Option<u64>,
    /// Where the next slice begins in the segment, and the number before it.
    end: (u64, u64),
    records: u64,
}

impl Slice {
    fn of(run: RunKey) -> Slice {
        let (gaps, batches) = (Vec::new(), Vec::new());
        Slice { run, gaps, batches, stopped_ms: None, end: START, records: 0 }
    }
}

impl Spool {
    /// The oldest records, at most so many batches; `None` where the spool is empty.
    ///
    /// # Errors
    ///
    /// `Disk`; what is damaged is left out and the rest is given.
    pub fn next(&mut self, batches_max: usize) -> Result<Option<Slice>, SpoolError> {
        while let Some(oldest) = self.oldest().filter(|_| !self.is_empty()).cloned() {
            let left = oldest.bytes.saturating_sub(self.read.0);
            if left == 0 {
                self.remove_oldest();
                continue;
            }
            // A record larger than one read is read with all that follows it.
            for bytes_max in [SPOOL_READ_BYTES as u64, left] {
                let name = file_name(oldest.first);
                let length = bytes_max.min(left) as usize;
                let bytes = self.disk.read(&name, self.read.0, length);
                let bytes = bytes.map_err(failed("cannot read", &name))?;
                let slice = self.slice(&bytes, batches_max);
                if slice.is_some() {
                    return Ok(slice);
                }
            }
            self.skip_damage(&oldest)?;
        }
        Ok(None)
    }

    /// The records at the start of `bytes`; `None` where there is no good one.
    fn slice(&mut self, bytes: &[u8], batches_max: usize) -> Option<Slice> {
        let mut slice: Option<Slice> = None;
        let (mut at, mut before) = (0, self.read.1);
        while let Some(record) = frame::read_record(bytes, at, before) {
            let payload = record.payload(bytes);
            let Ok(stamp) = pack::peek_stamp(payload) else { break };
            let slice = slice.get_or_insert_with(|| Slice::of(stamp.run));
            let full = slice.batches.len() >= batches_max || slice.stopped_ms.is_some();
            if full || slice.run != stamp.run {
                break;
            }
            match record.kind {
                Kind::Stop => slice.stopped_ms = Some(stamp.written_ms),
                Kind::Gap => slice.gaps.extend(pack::unpack_gap(payload).map(|(_, gap)| gap)),
                Kind::Batch => match pack::unpack_batch(payload) {
                    Ok((_, batch)) => slice.batches.push(batch),
                    Err(error) => {
                        tracing::error!(number = record.seq, %error, "spooled batch left out");
                        self.numbers.damaged += 1;
                    }
                },
            }
            (at, before) = (record.place.end, record.seq);
            slice.records += 1;
            slice.end = (self.read.0 + at as u64, before);
        }
        slice
    }

    /// Removes what [`Spool::next`] gave last, after the store has it.
    pub fn done(&mut self, slice: &Slice) {
        self.numbers.replayed += slice.batches.len() as u64;
        self.read = slice.end;
        let Some(oldest) = self.oldest_mut() else { return };
        oldest.records = oldest.records.saturating_sub(slice.records);
        if slice.end.0 >= oldest.bytes {
            self.remove_oldest();
        }
    }

    pub(super) fn oldest(&self) -> Option<&Segment> {
        self.segments().next()
    }

    fn oldest_mut(&mut self) -> Option<&mut Segment> {
        self.sealed.front_mut().or(self.active.as_mut())
    }

    /// A file that cannot be removed is replayed once more after a restart, which is harmless.
    fn remove_oldest(&mut self) {
        let was_sealed = self.sealed.pop_front();
        let Some(segment) = was_sealed.clone().or_else(|| self.active.take()) else { return };
        self.read = START;
        let name = file_name(segment.first);
        if let Err(error) = self.disk.remove(&name) {
            tracing::warn!(%error, name, "a replayed spool file could not be removed");
        }
        if was_sealed.is_none() {
            self.suspect = false;
            if let Err(error) = self.begin(false) {
                tracing::warn!(%error, "the spool could not set room aside");
            }
        }
        if self.is_empty() {
            self.changes.clear();
            self.runs.clear();
        }
    }
}

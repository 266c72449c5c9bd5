//! What a start finds in the spool, and making it good.
//!
//! Owns: the rule for damage. Bytes at the end of the last segment that make no record are a write
//! that a crash cut short, and nobody was told that it was done: they are cut off. All other bytes
//! that belong to no good record are set aside in a `.bad` file and counted, and the segment is
//! written anew without them. Every good record is kept, before and after the damage.

use std::ops::Range;

use super::frame::{HEADER_BYTES, Header, Kind, Record, VERSION};
use super::thin::Level;
use super::{Segment, Spool, SpoolError, failed, file_name, frame, pack, write_all};

/// A segment as it was read.
struct Found {
    bytes: Vec<u8>,
    records: Vec<Record>,
    damaged: Vec<Range<usize>>,
}

impl Spool {
    /// Finds the segments. Nothing is changed where one is of an unknown version.
    pub(super) fn recover(&mut self) -> Result<(), SpoolError> {
        let files = self.disk.list().map_err(failed("cannot list the files of", "the folder"))?;
        let mut firsts: Vec<u64> =
            files.iter().filter_map(|(name, _)| first_of(name, ".seg")).collect();
        firsts.sort_unstable();
        for first in &firsts {
            self.check_version(*first)?;
        }
        let set_aside = files.iter().filter_map(|(name, _)| first_of(name, ".bad")).max();
        self.next_seq = set_aside.map_or(1, |first| first.saturating_add(1));
        for (name, _) in files.iter().filter(|(name, _)| first_of(name, ".new").is_some()) {
            self.disk.remove(name).map_err(failed("cannot remove", name))?;
        }
        let last = firsts.last().copied();
        for first in firsts {
            self.next_seq = self.next_seq.max(first.saturating_add(1));
            let found = self.recover_segment(first, Some(first) == last)?;
            self.sealed.extend(found);
        }
        Ok(())
    }

    /// Moves the replay past bytes that are damaged since the start, or that could not be set
    /// aside then.
    pub(super) fn skip_damage(&mut self, oldest: &Segment) -> Result<(), SpoolError> {
        let (at, before) = self.read;
        let left = oldest.bytes.saturating_sub(at);
        let name = file_name(oldest.first);
        let bytes =
            self.disk.read(&name, at, left as usize).map_err(failed("cannot read", &name))?;
        let scan = frame::scan_from(&bytes, 0, before);
        let start = scan.records.first().map_or(left as usize, |record| record.place.start);
        if let Err(error) = self.quarantine(oldest.first, &bytes, &[&(0..start.min(bytes.len()))]) {
            tracing::error!(%error, "damage in the spool is left out and not set aside");
        }
        self.read = (at + start as u64, before);
        Ok(())
    }

    fn check_version(&mut self, first: u64) -> Result<(), SpoolError> {
        let name = file_name(first);
        let bytes = self.disk.read(&name, 0, HEADER_BYTES).map_err(failed("cannot read", &name))?;
        match frame::read_header(&bytes, first) {
            Header::Version(found) if found != VERSION => {
                Err(SpoolError::Version { file: name, found })
            }
            Header::Version(_) | Header::Damaged => Ok(()),
        }
    }

    /// Reads a segment and makes it good; `None` where it holds no record, and is gone then.
    fn recover_segment(
        &mut self,
        first: u64,
        is_last: bool,
    ) -> Result<Option<Segment>, SpoolError> {
        let name = file_name(first);
        let found = self.find(first)?;
        let torn = found.damaged.last().filter(|last| is_last && last.end == found.bytes.len());
        let torn = torn.cloned().unwrap_or(found.bytes.len()..found.bytes.len());
        let damaged: Vec<_> = found.damaged.iter().filter(|range| **range != torn).collect();
        self.numbers.torn_bytes += torn.len() as u64;

        let mut bytes = torn.start as u64;
        if !damaged.is_empty() {
            match self.set_aside(first, &found, &damaged) {
                Ok(good) => bytes = good,
                // A full disk is no reason not to start: the replay leaves the damage out.
                Err(error) if error.is_full() => tracing::error!(%error, "damage stays in place"),
                Err(error) => return Err(error),
            }
        }
        if found.records.is_empty() {
            self.disk.remove(&name).map_err(failed("cannot remove", &name))?;
            return Ok(None);
        }
        if damaged.is_empty() && !torn.is_empty() {
            self.disk.cut(&name, bytes).map_err(failed("cannot cut", &name))?;
            self.disk.sync(&name).map_err(failed("cannot sync", &name))?;
        }
        self.take_over(&found);
        let oldest = found.records.first().map(|r| pack::peek_stamp(r.payload(&found.bytes)));
        Ok(Some(Segment {
            first,
            bytes,
            records: found.records.len() as u64,
            oldest_ms: oldest.and_then(Result::ok).map_or(0, |stamp| stamp.written_ms),
            level: Level::of(&found.records, first),
        }))
    }

    /// Reads a segment and tells good from bad.
    fn find(&mut self, first: u64) -> Result<Found, SpoolError> {
        let bytes = self.read_all(first, usize::MAX)?;
        let scan = frame::scan(&bytes, first);
        let sound = |record: &Record| {
            let payload = record.payload(&bytes);
            match record.kind {
                Kind::Batch => pack::peek_batch(payload).is_ok(),
                Kind::Stop => pack::peek_stamp(payload).is_ok(),
                Kind::Gap => pack::unpack_gap(payload).is_ok(),
            }
        };
        let (records, unsound): (Vec<_>, Vec<_>) = scan.records.into_iter().partition(sound);
        let mut damaged = scan.damaged;
        damaged.extend(unsound.into_iter().map(|record| record.place));
        let head = 0..HEADER_BYTES.min(bytes.len());
        if frame::read_header(&bytes, first) == Header::Damaged && !head.is_empty() {
            damaged.push(head);
        }
        damaged.sort_unstable_by_key(|range| range.start);
        Ok(Found { bytes, records, damaged })
    }

    /// Keeps damaged bytes for people, and the segment without them. Gives its size.
    fn set_aside(
        &mut self,
        first: u64,
        found: &Found,
        damaged: &[&Range<usize>],
    ) -> Result<u64, SpoolError> {
        self.quarantine(first, &found.bytes, damaged)?;
        let mut good = frame::header(first).to_vec();
        found.records.iter().for_each(|record| good.extend(&found.bytes[record.place.clone()]));
        self.replace(first, &good)?;
        Ok(good.len() as u64)
    }

    /// Keeps damaged bytes for people. A second time it writes the same.
    fn quarantine(
        &mut self,
        first: u64,
        bytes: &[u8],
        damaged: &[&Range<usize>],
    ) -> Result<(), SpoolError> {
        self.numbers.damaged += damaged.len() as u64;
        let name = format!("{first:016x}.bad");
        let bad: Vec<u8> =
            damaged.iter().flat_map(|r| bytes[(*r).clone()].iter().copied()).collect();
        self.disk.create(&name).map_err(failed("cannot make", &name))?;
        write_all(&mut *self.disk, &name, 0, &bad)?;
        self.disk.sync(&name).map_err(failed("cannot sync", &name))?;
        self.numbers.quarantined_bytes += bad.len() as u64;
        tracing::error!(file = name, bytes = bad.len(), "damage in the spool was set aside");
        Ok(())
    }

    /// Notes numbers, runs and changes of what was found.
    fn take_over(&mut self, found: &Found) {
        for record in &found.records {
            self.next_seq = self.next_seq.max(record.seq.saturating_add(1));
            let payload = record.payload(&found.bytes);
            if let Ok(stamp) = pack::peek_stamp(payload) {
                self.runs.insert(stamp.run);
            }
            if record.kind != Kind::Batch {
                continue;
            }
            let changes = pack::peek_batch(payload).map(|(_, changes)| changes);
            changes.unwrap_or_default().iter().for_each(|change| self.note_change(change));
        }
    }

    /// The bytes of a segment's file, at most so many.
    pub(super) fn read_all(&mut self, first: u64, max: usize) -> Result<Vec<u8>, SpoolError> {
        let name = file_name(first);
        self.disk.read(&name, 0, max).map_err(failed("cannot read", &name))
    }

    /// Puts other bytes in the place of a segment, whole or not at all.
    pub(super) fn replace(&mut self, first: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        let (name, new) = (file_name(first), format!("{first:016x}.new"));
        self.disk.create(&new).map_err(failed("cannot make", &new))?;
        let written = write_all(&mut *self.disk, &new, 0, bytes)
            .and_then(|()| self.disk.sync(&new).map_err(failed("cannot sync", &new)))
            .and_then(|()| self.disk.rename(&new, &name).map_err(failed("cannot rename", &new)));
        if written.is_err() {
            // A start removes it if this does not.
            let _ = self.disk.remove(&new);
        }
        written
    }

    /// Writes the active segment anew, with `frames` after what it held, and makes it durable.
    pub(super) fn rewrite_active(&mut self, frames: &[u8]) -> Result<(), SpoolError> {
        let Some((first, length)) = self.active.as_ref().map(|a| (a.first, a.bytes)) else {
            return Err(SpoolError::Full);
        };
        let held = self.read_all(first, length as usize)?;
        let scan = frame::scan(&held, first);
        let damaged: usize = scan.damaged.iter().map(Range::len).sum();
        let mut bytes = frame::header(first).to_vec();
        scan.records.iter().for_each(|record| bytes.extend(&held[record.place.clone()]));
        let good = bytes.len() as u64;
        bytes.extend(frames);
        self.replace(first, &bytes)?;
        let name = file_name(first);
        self.disk.sync_names().map_err(failed("cannot sync the name of", &name))?;
        // Without it a full disk is noticed at a write.
        let _ = self.disk.reserve(&name, self.bounds.segment_bytes + self.bounds.reserve());
        self.suspect = false;
        if let Some(active) = &mut self.active {
            active.bytes = good;
        }
        self.numbers.quarantined_bytes += damaged as u64;
        self.numbers.damaged += scan.damaged.len() as u64;
        Ok(())
    }
}

/// The first number of a file with this ending.
fn first_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

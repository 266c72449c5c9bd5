//! Results on disk while the database is away: a log of batches, appended, replayed, removed.
//!
//! Owns: when a batch is safe ([`Spool::append`] returns after it is durable), and what the files
//! are called. `disk` is what it asks of a disk, `frame` the bytes of a file, `pack` the bytes of a
//! batch, `recover` what a start finds, `replay` the way back to the store, `thin` what is dropped
//! when there is no more room, `limit` the bounds and what is counted. Uses no clock. All batches
//! of a call cost one write and one fdatasync. That a batch counts once, however often it is
//! replayed, is the store's part: see [`super::Store::append`].
//!
//! Files: `<first number in hex>.seg`, `.new` while one is rewritten, and `.bad` with the bytes
//! that belonged to no good record, which nobody reads again but people.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;

use super::{RunId, StoreError};
use crate::ids::MonitorId;
use crate::monitor::State;
use crate::monitor::verdict::settled_from;
use crate::sample::{SampleBatch, Transition};

pub mod disk;

pub mod frame;

pub mod pack;

mod limit;

mod recover;

mod replay;

mod thin;

pub use limit::{Bounds, Numbers, SpoolError};
pub use replay::Slice;

use disk::{Disk, FolderDisk};
use frame::{HEADER_BYTES, Kind, RECORD_HEAD_BYTES};
use pack::Stamp;

/// A run as it is told from those of other databases: two databases give the same number, but not
/// in the same millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// Its number.
    pub run: RunId,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// Makes an error of the operating system one of the spool.
fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> SpoolError {
    move |error| SpoolError::Disk {
        what,
        file: file.to_owned(),
        reason: error.to_string(),
        kind: error.kind(),
    }
}

/// One file.
#[derive(Clone, Debug)]
struct Segment {
    first: u64,
    /// Good bytes, with the header.
    bytes: u64,
    /// Records that wait for their replay.
    records: u64,
    oldest_ms: u64,
    level: thin::Level,
}

/// The name of a segment's file.
fn file_name(first: u64) -> String {
    format!("{first:016x}.seg")
}

/// Batches on disk, oldest first.
pub struct Spool {
    disk: Box<dyn Disk>,
    bounds: Bounds,
    /// Oldest first. Never appended to any more.
    sealed: VecDeque<Segment>,
    active: Option<Segment>,
    /// What was last written to the active segment may not be on the disk, and no fdatasync will
    /// tell: the segment is written anew before anything else is.
    suspect: bool,
    next_seq: u64,
    /// Where the replay stands in the oldest segment: place, and the number before it.
    read: (u64, u64),
    /// The latest change of each monitor that the store may not know.
    changes: HashMap<MonitorId, Transition>,
    runs: BTreeSet<RunKey>,
    numbers: Numbers,
}

/// Where the replay of a segment begins.
const START: (u64, u64) = (HEADER_BYTES as u64, 0);

impl Spool {
    /// Opens the spool in a folder of its own, as large as the disk allows.
    ///
    /// # Errors
    ///
    /// `InUse`, `NetworkFilesystem`, `Folder`, and `Spool` as for [`Spool::open`].
    pub fn in_folder(path: &Path) -> Result<Spool, StoreError> {
        let mut disk = FolderDisk::open(path)?;
        let unknown = || failed("cannot ask for the size of", "the folder");
        let own: u64 = disk.list().map_err(unknown())?.iter().map(|(_, bytes)| bytes).sum();
        let free = disk.free_bytes().map_err(unknown())?;
        Ok(Spool::open(Box::new(disk), Bounds::for_disk(free.saturating_add(own)))?)
    }

    /// Opens the spool on a disk: reads every file once (some GB a second) and makes good what a
    /// crash or the disk has done to it. Opening again changes nothing more.
    ///
    /// # Errors
    ///
    /// `Version` before anything is changed, or `Disk`; then it may be tried again.
    pub fn open(disk: Box<dyn Disk>, bounds: Bounds) -> Result<Spool, SpoolError> {
        let mut spool = Spool {
            disk,
            bounds,
            sealed: VecDeque::new(),
            active: None,
            suspect: false,
            next_seq: 1,
            read: START,
            changes: HashMap::new(),
            runs: BTreeSet::new(),
            numbers: Numbers::default(),
        };
        spool.recover()?;
        // Now, while there is room; without it the first batch tries again.
        if let Err(error) = spool.begin(false) {
            tracing::warn!(%error, "the spool could not set room aside");
        }
        Ok(spool)
    }

    /// True where nothing waits for its replay.
    pub fn is_empty(&self) -> bool {
        self.segments().all(|segment| segment.records == 0)
    }

    /// Runs that the spool holds results of, as found when it was opened.
    pub fn runs(&self) -> impl Iterator<Item = RunKey> {
        self.runs.iter().copied()
    }

    /// Everything that is counted.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            bytes: self.segments().map(|segment| segment.bytes).sum(),
            segments: self.segments().count() as u64,
            records: self.segments().map(|segment| segment.records).sum(),
            oldest_ms: self.segments().map(|s| s.oldest_ms).find(|at| *at > 0).unwrap_or(0),
            ..self.numbers
        }
    }

    /// Brings states read from the store up to date with changes that wait for their replay.
    pub fn correct(&self, states: &mut HashMap<MonitorId, State>) {
        for change in self.changes.values() {
            let Some(state) = states.get_mut(&change.monitor) else { continue };
            if change.at_ms >= state.since_ms {
                state.verdict = change.to;
                state.since_ms = change.at_ms;
                state.code = change.code;
                state.streak = 0;
                state.settled = settled_from(change.to);
            }
        }
    }

    /// Makes batches durable, as many as go into one segment, and gives their number: at least
    /// one. With no room left, good results of this and older batches are dropped and counted.
    ///
    /// # Errors
    ///
    /// `Full` or `Disk`: none of the batches counts as taken; they may be given again.
    pub fn append(
        &mut self,
        run: RunKey,
        now_ms: u64,
        batches: &[SampleBatch],
    ) -> Result<usize, SpoolError> {
        let stamp = Stamp { run, written_ms: now_ms };
        let mut frames = Vec::new();
        let mut count = 0;
        for batch in batches {
            let payload = pack::pack_batch(stamp, batch);
            if !self.fits(frames.len(), RECORD_HEAD_BYTES + payload.len(), 0) {
                if count > 0 {
                    break;
                }
                match self.rotate() {
                    Ok(()) => {}
                    Err(error) if error.is_full() => return self.append_kept(stamp, batches),
                    Err(error) => return Err(error),
                }
            }
            frame::write_record(&mut frames, self.next_seq + count, Kind::Batch, &payload);
            count += 1;
        }
        self.write(&frames, count, now_ms)?;
        self.numbers.appended += count;
        self.note(&batches[..count as usize]);
        Ok(count as usize)
    }

    /// Makes the mark of a clean stop durable.
    ///
    /// # Errors
    ///
    /// As [`Spool::append`].
    pub fn append_stop(&mut self, run: RunKey, now_ms: u64) -> Result<(), SpoolError> {
        let stop = pack::pack_stop(Stamp { run, written_ms: now_ms });
        if !self.fits(0, RECORD_HEAD_BYTES + stop.len(), self.bounds.reserve()) {
            self.rotate()?;
        }
        let mut frames = Vec::new();
        frame::write_record(&mut frames, self.next_seq, Kind::Stop, &stop);
        self.write(&frames, 1, now_ms)
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.sealed.iter().chain(&self.active)
    }

    /// True where so many bytes more go into the active segment, after those that are to be
    /// written already. An empty one takes any record.
    fn fits(&self, before: usize, more: usize, reserve: u64) -> bool {
        let Some(active) = &self.active else { return false };
        let held = active.bytes + before as u64;
        held + more as u64 <= self.bounds.segment_bytes + reserve || held == HEADER_BYTES as u64
    }

    /// Goes on in a new segment, after room for it was made.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        if self.suspect {
            self.rewrite_active(&[])?;
        }
        self.make_room()?;
        loop {
            match self.begin(self.active.is_some()) {
                Err(error) if error.is_full() && self.thin_oldest()? => {}
                ended => return ended,
            }
        }
    }

    /// Makes a new active segment; the one before is sealed. With `whole`, only where the disk has
    /// room for all of it.
    fn begin(&mut self, whole: bool) -> Result<(), SpoolError> {
        let first = self.next_seq;
        let name = file_name(first);
        if let Err(error) = self.make_file(&name, first, whole) {
            // It has no record: a start removes it if this does not.
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        self.next_seq = first + 1;
        let new = Segment {
            first,
            bytes: HEADER_BYTES as u64,
            records: 0,
            oldest_ms: 0,
            level: thin::Level::Whole,
        };
        if let Some(old) = self.active.replace(new) {
            // Only gives back room that was set aside; it is also free after a restart.
            let _ = self.disk.cut(&file_name(old.first), old.bytes);
            self.sealed.push_back(old);
        }
        self.suspect = false;
        Ok(())
    }

    fn make_file(&mut self, name: &str, first: u64, whole: bool) -> Result<(), SpoolError> {
        self.disk.create(name).map_err(failed("cannot make", name))?;
        let room = self.bounds.segment_bytes + self.bounds.reserve();
        // Not every file system can set room aside; then a full disk is noticed at a write.
        let reserved = self.disk.reserve(name, room).map_err(failed("no room for", name));
        match reserved {
            Err(error) if whole && error.is_full() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        write_all(&mut *self.disk, name, 0, &frame::header(first))?;
        self.disk.sync(name).map_err(failed("cannot sync", name))?;
        self.disk.sync_names().map_err(failed("cannot sync the name of", name))
    }

    /// Makes records durable at the end of the active segment. They are its next numbers.
    fn write(&mut self, frames: &[u8], count: u64, now_ms: u64) -> Result<(), SpoolError> {
        if self.active.is_none() {
            self.rotate()?;
        }
        if let Err(error) = self.write_once(frames) {
            if error.is_full() {
                // Room for the next try.
                self.thin_oldest()?;
            }
            return Err(error);
        }
        if let Some(active) = &mut self.active {
            active.bytes += frames.len() as u64;
            active.records += count;
            if active.oldest_ms == 0 {
                active.oldest_ms = now_ms;
            }
        }
        self.next_seq += count;
        Ok(())
    }

    fn write_once(&mut self, frames: &[u8]) -> Result<(), SpoolError> {
        let Some(active) = &self.active else { return Err(SpoolError::Full) };
        let (name, at) = (file_name(active.first), active.bytes);
        if self.suspect {
            return self.rewrite_active(frames);
        }
        match write_all(&mut *self.disk, &name, at, frames) {
            // What did not fit is taken back; nothing has gone wrong with what was there.
            Err(error) if error.is_full() && self.disk.cut(&name, at).is_ok() => return Err(error),
            Err(error) => tracing::error!(%error, "the segment is written anew"),
            Ok(()) => match self.disk.sync(&name) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::error!(%error, name, "fdatasync: it is written anew"),
            },
        }
        self.suspect = true;
        self.rewrite_active(frames)
    }

    fn note(&mut self, batches: &[SampleBatch]) {
        for change in batches.iter().flat_map(|batch| &batch.transitions) {
            self.note_change(change);
        }
    }

    fn note_change(&mut self, change: &Transition) {
        if change.from == change.to {
            return; // Only its marks are others.
        }
        let latest = self.changes.entry(change.monitor).or_insert_with(|| change.clone());
        if change.at_ms >= latest.at_ms {
            *latest = change.clone();
        }
    }
}

fn write_all(
    disk: &mut dyn Disk,
    name: &str,
    mut at: u64,
    mut bytes: &[u8],
) -> Result<(), SpoolError> {
    while !bytes.is_empty() {
        match disk.write(name, at, bytes) {
            Ok(0) => return Err(failed("cannot write", name)(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                at += written as u64;
                bytes = &bytes[written.min(bytes.len())..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("cannot write", name)(error)),
        }
    }
    Ok(())
}

//! The database: what is watched, what was found, and the thread that writes it.
//!
//! Owns: the contract every backend fulfils ([`Store`] to write, [`Read`] to look), its types and
//! errors. `sqlite` and `reader` are the backend that needs no server; `writer` is the thread that
//! owns a [`Store`]; `spool` keeps results on disk while the database is away; `blob` packs
//! history, in the same bytes for every backend.
//!
//! Results are durable as soon as [`Store::append`] returns: it writes a packed *head* row, and
//! every five minutes [`Store::maintain`] compacts the head rows of a window into *chunks*, one
//! for each 1,024 monitors: 5.3 bytes a result, measured. Readers see every result as soon as it
//! is committed, though its monitor's state row may be written up to a minute later.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use serde::Serialize;

use self::spool::RunKey;
use crate::ids::MonitorId;
use crate::limits::{EVENTS_AGE_MS_DEFAULT, RESULTS_AGE_MS_DEFAULT, STORE_BYTES_DEFAULT};
use crate::monitor::row::Checked;
use crate::monitor::{About, Kind, State};
use crate::pg::PgError;
use crate::sample::SampleBatch;

pub mod blob;

pub mod hours;

mod folder;

pub mod cursor;

mod fold;

mod incident;

mod marks;

mod states;

mod append;

mod words;

mod sync;

mod slice;

mod compact;

mod sum_up;

mod retain;

pub mod sqlite;

pub mod pg;

pub mod view;

pub mod reader;

pub mod spool;

mod counters;

pub mod recall;

pub mod writer;

mod handle;

pub use counters::StoreCounters;
pub use handle::StoreHandle;
pub use pg::{PgReader, PgServer, PgStore};
pub use reader::{SqliteFolder, SqliteReader};
pub use recall::Recall;
pub use sqlite::SqliteStore;
pub use view::{OpenReader, Read};
pub use writer::{StoreThread, Tap, ToStore};

/// One start of the engine, numbered by the store. Numbers of batches count within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// Runs with this bit began while their database was away.
const BEGAN_AWAY: u64 = 1 << 62;
/// Bits of the database's identity in the number of such a run, above as many random ones.
const IDENTITY_BITS: u32 = 31;

impl RunId {
    /// A number for a run that begins while its database is away: `identity` is what the engine
    /// knows that database by.
    pub fn away(identity: u64) -> RunId {
        let random = RandomState::new().hash_one(identity);
        RunId(BEGAN_AWAY | folded(identity) << IDENTITY_BITS | folded(random))
    }

    /// True where the run began while the database with this identity was away.
    pub fn is_away_from(self, identity: u64) -> bool {
        self.0 >> IDENTITY_BITS == (BEGAN_AWAY >> IDENTITY_BITS | folded(identity))
    }
}

/// The bits of a number in fewer.
fn folded(number: u64) -> u64 {
    (number ^ number >> IDENTITY_BITS) & ((1 << IDENTITY_BITS) - 1)
}

/// Writes to a database. One thread owns it; nothing here waits for another thread.
///
/// Every method is one transaction, or several bounded ones where it says so: after an error
/// nothing of the failed one is there, and the call may be repeated.
pub trait Store: Send {
    /// Changes some monitors of `source` and leaves its others. `rows` are keyed by name: new names
    /// get an id, known ones keep theirs (removed ones too, when they come back), and equal rows
    /// are not rewritten. Those of `gone` that are its own are marked removed; their history stays.
    ///
    /// # Errors
    ///
    /// Only the database's. A name that is there twice, or that another source holds, is refused
    /// in the report and nothing else is affected.
    fn edit_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
        gone: &[MonitorId],
    ) -> Result<SyncReport, StoreError>;

    /// The monitors of `source` that are not removed, by number.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn monitors_of(&mut self, source: &str) -> Result<Vec<MonitorId>, StoreError>;

    /// The last known state of every monitor that is not removed.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError>;

    /// The last known states of these monitors; those that are not known are left out.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn load_states_of(
        &mut self,
        monitors: &[MonitorId],
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        let mut all = self.load_states()?;
        Ok(monitors.iter().filter_map(|id| all.remove(id).map(|state| (*id, state))).collect())
    }

    /// The number that tells this database from others; `None` where it cannot be away.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn identity(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Starts a run. Until [`Store::end_run`], the database counts as not cleanly stopped.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn begin_run(&mut self, now_ms: u64) -> Result<RunId, StoreError>;

    /// Whether this database began that run: tells its results in a spool from those of another
    /// database, whose monitors and runs have the same numbers.
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn knows_run(&mut self, run: RunKey) -> Result<bool, StoreError>;

    /// Makes sure that this database has a run: one that began while it was away is registered.
    ///
    /// # Errors
    ///
    /// `ForeignSpool` for a run of another database, else the database's.
    fn adopt_run(&mut self, run: RunKey) -> Result<(), StoreError> {
        match self.knows_run(run)? {
            true => Ok(()),
            false => Err(StoreError::ForeignSpool { run: run.run.0 }),
        }
    }

    /// Records batches in one durable transaction, each once: the numbers applied are kept as a
    /// [`cursor::Cursor`] for each run and shard, written in the same transaction. Repeating a
    /// call is harmless, also where nobody knows whether a commit took place; and batches that
    /// later ones have passed, because they waited in a spool, are applied when they come.
    ///
    /// Batches of a run that is over, or older than what is there, come too. They join history,
    /// counters and transitions; but the state of a monitor is that of its latest check that ran
    /// (by due time) or its latest transition, and incidents are what all its transitions in the
    /// order of their times make of them, in whatever order they came.
    ///
    /// # Errors
    ///
    /// `Full` where the disk or the file has no room, else the database's; the batches may be
    /// given again.
    fn append(&mut self, run: RunId, batches: &[SampleBatch]) -> Result<Appended, StoreError>;

    /// Records that results were dropped before they came here. A second time with the same run
    /// and number takes the place of the first.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    fn record_gap(&mut self, run: RunId, gap: &Gap) -> Result<(), StoreError>;

    /// Does one bounded piece (about 0.2 s) of what keeps the database small and its rows up to
    /// date: compacts a window, brings states up to the head, deletes what is too old or too much,
    /// or gives room back to the disk.
    ///
    /// # Errors
    ///
    /// `Full` and the database's; the same piece is tried again at the next call.
    fn maintain(&mut self, now_ms: u64) -> Result<Maintained, StoreError>;

    /// Ends a run: the clean-stop marker, for any run. Call after its last [`Store::append`].
    ///
    /// # Errors
    ///
    /// Only the database's.
    fn end_run(&mut self, run: RunId, now_ms: u64) -> Result<(), StoreError>;
}

/// A monitor as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMonitor {
    /// Name, target and tags.
    pub about: About,
    /// The sort of check; `None` where the row names none that is known.
    pub kind: Option<Kind>,
    /// The row as it was written.
    pub row_json: String,
    /// Why it cannot run; `None` where it can.
    pub problem: Option<String>,
    /// From due to due, in milliseconds.
    pub interval_ms: u64,
    /// True where it is not to be checked now.
    pub paused: bool,
}

impl NewMonitor {
    /// A monitor that can run, with its row as it was written.
    pub fn of(checked: &Checked, row_json: String) -> NewMonitor {
        NewMonitor {
            about: checked.about.clone(),
            kind: Some(checked.kind),
            row_json,
            problem: None,
            interval_ms: checked.timing.interval_ms,
            paused: checked.paused,
        }
    }
}

/// What [`Store::edit_monitors`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// The id of each row, in order; `None` for a refused one.
    pub ids: Vec<Option<MonitorId>>,
    /// Names that were not there before, or that came back after they were removed.
    pub added: usize,
    /// Known names with another row.
    pub changed: usize,
    /// Names that the source no longer has.
    pub removed: Vec<MonitorId>,
    /// Rows whose name is taken.
    pub refused: Vec<RefusedRow>,
    /// True where the database is away and this is what was known: to be done again when it is
    /// back.
    pub away: bool,
}

/// A row that was not stored because its name is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Its index among the rows.
    pub index: usize,
    /// Who has the name, in words.
    pub reason: String,
}

/// What [`Store::append`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Results written.
    pub rows: u64,
    /// Bytes of the packed results.
    pub bytes: u64,
    /// Batches that had been applied before.
    pub batches_skipped: u64,
    /// Results that the database does not take, set aside with its reason.
    pub set_aside: u64,
}

/// Results that were dropped because the spool was full: a time with no data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Tells it from others of its run.
    pub number: u64,
    /// First due time of what was dropped, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Last due time.
    pub to_ms: u64,
    /// How many results.
    pub results: u64,
}

/// What [`Store::maintain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// True where more work is waiting.
    pub more: bool,
    /// States brought up to the head.
    pub states_written: u64,
    /// Results moved from the head to chunks.
    pub samples_compacted: u64,
    /// Bytes of the chunks written.
    pub chunk_bytes: u64,
    /// Monitors whose hour was summed up.
    pub hours_written: u64,
    /// Chunks deleted for their age or for the size of the database.
    pub chunks_deleted: u64,
    /// Other rows deleted.
    pub rows_deleted: u64,
    /// Head rows that could not be unpacked, by name and reason; they were set aside.
    pub damaged: Vec<String>,
    /// True where the database is larger than allowed and no result is left to delete.
    pub over_size: bool,
}

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age of raw results, in milliseconds.
    pub results_ms: u64,
    /// Age of transitions, incidents, evidence and removed monitors, in milliseconds.
    pub events_ms: u64,
    /// Size of the whole database, in bytes: past it the oldest results go.
    pub bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            results_ms: RESULTS_AGE_MS_DEFAULT,
            events_ms: EVENTS_AGE_MS_DEFAULT,
            bytes_max: STORE_BYTES_DEFAULT,
        }
    }
}

/// What is wrong with the database: always our own trouble, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A file operation on the folder failed.
    #[error("data folder {}: {reason}", path.display())]
    Folder {
        /// The folder or the file in it.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// Locks and shared memory do not work there.
    #[error(
        "data folder {} is on a network file system: choose one on a local disk",
        path.display()
    )]
    NetworkFilesystem {
        /// The folder.
        path: PathBuf,
    },
    /// Another engine has the folder.
    #[error(
        "data folder {} is in use by another engine (pid {pid}): \
         stop it first, or choose another data folder",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// As the other engine wrote it.
        pid: String,
    },
    /// There is nothing to read.
    #[error(
        "no database at {}: start the engine with this data folder first",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A database of another program.
    #[error(
        "{} is not a database of the engine: choose another data folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by another version.
    #[error("the database has schema {found}, this version of the engine knows {known}: {advice}")]
    Schema {
        /// In the file.
        found: i64,
        /// Here.
        known: i64,
        /// What to do.
        advice: &'static str,
    },
    /// `PRAGMA quick_check` found damage after an unclean stop.
    #[error(
        "the database {} is damaged ({reason}): move it away or restore it, then start again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check says.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date: {0}")]
    Migrate(String),
    /// There is no room.
    #[error("the disk with the data folder is full: make room, or lower the retention size")]
    Full,
    /// Results could not be packed.
    #[error("results could not be packed: {0}")]
    Pack(#[from] blob::BlobError),
    /// The spool refuses.
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
    /// The spool has results of another database.
    #[error(
        "the spool holds results of another database (its run {run}): start the engine once with \
         that database, or move the spool folder away"
    )]
    ForeignSpool {
        /// The run that this database does not know.
        run: u64,
    },
    /// The thread that owns the store is gone.
    #[error("the store has ended by itself; its last log line says why")]
    Ended,
    /// What a PostgreSQL server says, or that it does not answer.
    #[error("database: {0}")]
    Postgres(PgError),
    /// Whatever else the database says.
    #[error("database: {0}")]
    Database(String),
    /// The store stopped without having written everything.
    #[error("stopped with {rows} results not written: {reason}")]
    Unsaved {
        /// Results lost.
        rows: u64,
        /// Why they could not be written.
        reason: String,
    },
}

impl StoreError {
    /// True where nobody has to do anything but wait: the database is away or busy.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Full => true,
            StoreError::Postgres(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Database(error.to_string()),
        }
    }
}

impl From<PgError> for StoreError {
    fn from(error: PgError) -> StoreError {
        match error.kind {
            crate::pg::Kind::Full => StoreError::Full,
            _ => StoreError::Postgres(error),
        }
    }
}

/// Numbers as SQL has them: 64 bits with a sign. The same bits, so that every number comes back.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The inverse of [`signed`].
fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// The start of the window that holds a due time, in milliseconds since the Unix epoch.
fn window_start(due_ms: u64) -> u64 {
    due_ms - due_ms % crate::limits::WINDOW_MS
}

/// The longest start of `text` that is at most `bytes` long and ends between characters.
fn clipped(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_began_away_names_its_database_and_is_no_other() {
        for identity in [0, 1, u64::MAX >> 4] {
            let run = RunId::away(identity);
            assert!(run.is_away_from(identity) && !run.is_away_from(identity + 1));
            assert!(run.0 < 1 << 63 && run.0 >= 1 << 62);
            assert_ne!(run, RunId::away(identity));
        }
        assert!(!RunId(7).is_away_from(0));
    }
}

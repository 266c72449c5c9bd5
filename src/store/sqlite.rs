//! The database that needs no server: one SQLite file in the data folder.
//!
//! Owns: opening it (lock, checks, settings, schema) and the runs. What each method does is in
//! `sync`, `append`, `compact` and `retain`. Durability: WAL with `synchronous=FULL`, so a
//! transaction that was committed survives kill -9 and loss of power.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::append::Certs;
use super::compact::Compactor;
use super::folder::Folder;
use super::retain::Keeper;
use super::spool::RunKey;
use super::states::{self, Lanes};
use super::{
    Appended, Gap, Maintained, NewMonitor, Retention, RunId, Store, StoreError, SyncReport, marks,
    signed, unsigned,
};
use super::{append, sum_up, sync};
use crate::clock::wall_millis;
use crate::fault::Fault;
use crate::ids::MonitorId;
use crate::monitor::State;
use crate::sample::{Code, Missed, SampleBatch, Verdict};
use probes::Failure;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Tells our files from those of other programs: "engn".
const APPLICATION_ID: i64 = 0x656e_676e;
/// Prepared statements kept: all that `append` and `sync` use.
const STATEMENTS_MAX: usize = 64;

/// The SQLite file of a data folder, for the one thread that writes.
#[derive(Debug)]
pub struct SqliteStore {
    // Fields drop in this order: the file is closed before the folder is given free.
    pub(super) conn: Connection,
    _folder: Folder,
    certs: Certs,
    lanes: Lanes,
    compactor: Compactor,
    keeper: Keeper,
}

impl SqliteStore {
    /// Opens the database of a data folder; makes both where they are missing and brings the
    /// schema up to date. After an unclean stop it reads the whole file once to check it, about
    /// a second for each GiB.
    ///
    /// # Errors
    ///
    /// `InUse`, `NetworkFilesystem`, `Foreign`, `Schema` for a newer one, `Damaged`, `Migrate`,
    /// or the database's own. Nothing is changed in a file that is refused.
    pub fn open(path: &Path, retention: Retention) -> Result<SqliteStore, StoreError> {
        let folder = Folder::open(path)?;
        let file = folder.database();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(&file, flags)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let found = check_owner(&conn, &file)?;
        if found > schema_known() {
            return Err(StoreError::Schema {
                found,
                known: schema_known(),
                advice: "start the newer version, or restore a copy from before the upgrade",
            });
        }
        settle(&conn)?;
        if found > 0 && stopped_uncleanly(&conn)? {
            check_whole(&conn, &file)?;
        }
        migrate(&mut conn)?;
        let lanes = Lanes::of(&conn)?;
        Ok(SqliteStore {
            conn,
            lanes,
            _folder: folder,
            certs: Certs::default(),
            compactor: Compactor::default(),
            keeper: Keeper::new(retention),
        })
    }
}

impl Store for SqliteStore {
    fn edit_monitors(
        &mut self,
        source: &str,
        rows: &[NewMonitor],
        gone: &[MonitorId],
    ) -> Result<SyncReport, StoreError> {
        let transaction = begin(&mut self.conn)?;
        let report = sync::edit(&transaction, source, rows, gone, wall_millis())?;
        transaction.commit()?;
        Ok(report)
    }

    fn monitors_of(&mut self, source: &str) -> Result<Vec<MonitorId>, StoreError> {
        sync::of_source(&self.conn, source)
    }

    fn load_states(&mut self) -> Result<HashMap<MonitorId, State>, StoreError> {
        Ok(states::load(&mut self.conn)?.into_iter().collect())
    }

    fn load_states_of(
        &mut self,
        monitors: &[MonitorId],
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        Ok(states::load_of(&mut self.conn, monitors)?.into_iter().collect())
    }

    fn begin_run(&mut self, now_ms: u64) -> Result<RunId, StoreError> {
        marks::forget(&self.conn)?;
        self.conn.execute("INSERT INTO run (started_ms) VALUES (?1)", [signed(now_ms)])?;
        Ok(RunId(unsigned(self.conn.last_insert_rowid())))
    }

    fn knows_run(&mut self, run: RunKey) -> Result<bool, StoreError> {
        Ok(self.conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM run WHERE id = ?1 AND started_ms = ?2)",
            params![signed(run.run.0), signed(run.started_ms)],
            |row| row.get(0),
        )?)
    }

    fn append(&mut self, run: RunId, batches: &[SampleBatch]) -> Result<Appended, StoreError> {
        append::apply(&mut self.conn, &mut self.certs, &mut self.lanes, run, batches)
    }

    fn record_gap(&mut self, run: RunId, gap: &Gap) -> Result<(), StoreError> {
        self.conn.execute(
            "INSERT OR REPLACE INTO gap (run_id, number, from_ms, to_ms, results)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            [run.0, gap.number, gap.from_ms, gap.to_ms, gap.results].map(signed),
        )?;
        Ok(())
    }

    fn maintain(&mut self, now_ms: u64) -> Result<Maintained, StoreError> {
        if let Some(done) = self.compactor.slice(&mut self.conn, now_ms)? {
            return Ok(done);
        }
        if let Some(done) = self.lanes.step(&mut self.conn, now_ms)? {
            return Ok(done);
        }
        if let Some(done) = sum_up::slice(&mut self.conn, now_ms)? {
            return Ok(done);
        }
        self.keeper.slice(&mut self.conn, now_ms)
    }

    fn end_run(&mut self, run: RunId, now_ms: u64) -> Result<(), StoreError> {
        self.conn.execute(
            "UPDATE run SET stopped_ms = ?2 WHERE id = ?1",
            params![signed(run.0), signed(now_ms)],
        )?;
        Ok(())
    }
}

/// A transaction that takes the write lock at once, so that it cannot fail half-way for it.
pub(super) fn begin(conn: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    Ok(conn.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// The newest schema that this binary knows.
pub(super) fn schema_known() -> i64 {
    let runner = embedded::migrations::runner();
    runner
        .get_migrations()
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max()
        .unwrap_or(0)
}

/// The schema number of the file, 0 for an empty one.
///
/// # Errors
///
/// `Foreign` for a file that is no SQLite database, or that has tables of another program.
pub(super) fn check_owner(conn: &Connection, file: &Path) -> Result<i64, StoreError> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let foreign = || StoreError::Foreign { path: file.to_owned() };
    let application = match number("application_id") {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(foreign());
        }
        other => other?,
    };
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(foreign());
    }
    Ok(number("user_version")?)
}

/// Settings of the file and of this connection. The first two count only before the first table.
fn settle(conn: &Connection) -> Result<(), StoreError> {
    let settings = [
        "PRAGMA page_size = 8192",
        "PRAGMA auto_vacuum = INCREMENTAL",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA application_id = 0x656e676e",
        "PRAGMA cache_size = -16384",
        "PRAGMA wal_autocheckpoint = 4000",
        "PRAGMA journal_size_limit = 67108864",
        "PRAGMA busy_timeout = 5000",
        "PRAGMA foreign_keys = ON",
    ];
    for setting in settings {
        conn.execute_batch(setting)?;
    }
    Ok(())
}

fn stopped_uncleanly(conn: &Connection) -> Result<bool, StoreError> {
    let last = conn
        .query_row("SELECT stopped_ms IS NULL FROM run ORDER BY id DESC LIMIT 1", [], |r| r.get(0))
        .optional()?;
    Ok(last.unwrap_or(false))
}

fn check_whole(conn: &Connection, file: &Path) -> Result<(), StoreError> {
    tracing::info!(file = %file.display(), "checking the database after an unclean stop");
    let reason: String =
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| {
            StoreError::Damaged { path: file.to_owned(), reason: error.to_string() }
        })?;
    if reason != "ok" {
        return Err(StoreError::Damaged { path: file.to_owned(), reason });
    }
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let words = |error: refinery::Error| StoreError::Migrate(error.to_string());
    embedded::migrations::runner().run(conn).map_err(words)?;
    let transaction = begin(conn)?;
    transaction.pragma_update(None, "user_version", schema_known())?;
    let mut code_name = transaction.prepare("INSERT OR REPLACE INTO code_name VALUES (?1, ?2)")?;
    let failures = Failure::ALL.iter().map(|failure| (failure.code(), failure.name()));
    let faults = Fault::ALL.iter().map(|fault| (fault.code(), fault.name()));
    let missed = Missed::ALL.iter().map(|missed| (*missed as u16, missed.name()));
    for (code, name) in
        [(0, Code::GOOD.name())].into_iter().chain(failures).chain(faults).chain(missed)
    {
        code_name.execute(params![code, name])?;
    }
    drop(code_name);
    for verdict in Verdict::ALL {
        transaction.execute(
            "INSERT OR REPLACE INTO verdict_name VALUES (?1, ?2)",
            params![verdict as u8, verdict.name()],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

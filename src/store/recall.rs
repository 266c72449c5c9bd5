//! What is known of a database while it is away: a file in the data folder.
//!
//! Owns: the file. It has the number of the database, the ids of its monitors by name, and their
//! states: those that the store was asked for, and every change since. So a start without the
//! database goes on with verdicts and outages as they were. It is a copy: whatever is wrong with
//! it, it is made anew. The store's thread uses it; a change costs some 3 µs, a good result none.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{NewMonitor, RefusedRow, StoreError, SyncReport, signed, unsigned};
use crate::ids::MonitorId;
use crate::monitor::State;
use crate::monitor::verdict::settled_from;
use crate::sample::{Code, SampleBatch, Transition, Verdict};

const FILE: &str = "recall.db";
/// Raised with each change of the tables: an older file says nothing.
const VERSION: i64 = 1;
const TABLES: &str = "
    DROP TABLE IF EXISTS origin; DROP TABLE IF EXISTS state; DROP TABLE IF EXISTS name;
    CREATE TABLE origin (database INTEGER NOT NULL);
    CREATE TABLE state (id INTEGER PRIMARY KEY, verdict INTEGER NOT NULL,
        since_ms INTEGER NOT NULL, code INTEGER NOT NULL, streak INTEGER NOT NULL);
    CREATE TABLE name (source TEXT NOT NULL, name TEXT NOT NULL, id INTEGER NOT NULL,
        PRIMARY KEY (source, name)) WITHOUT ROWID";

/// What is known of one database.
#[derive(Debug)]
pub struct Recall {
    path: PathBuf,
    conn: Connection,
    /// The last error that was logged: each is said once.
    said: String,
}

impl Recall {
    /// Opens the file in a data folder; one that is damaged or of another version is made anew.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub fn open(data_dir: &Path) -> Result<Recall, StoreError> {
        let folder = |reason: String| StoreError::Folder { path: data_dir.to_owned(), reason };
        std::fs::create_dir_all(data_dir).map_err(|error| folder(error.to_string()))?;
        let path = data_dir.join(FILE);
        let conn = open_copy(&path, VERSION, TABLES).map_err(|error| folder(error.to_string()))?;
        Ok(Recall { path, conn, said: String::new() })
    }

    /// The number of the database; `None` before it was reached for the first time.
    pub fn database(&self) -> Option<u64> {
        let number = |row: &Row<'_>| row.get(0);
        self.conn.query_row("SELECT database FROM origin", [], number).ok().map(unsigned)
    }

    /// Says which database this is; what was known of another is forgotten.
    pub(super) fn set_database(&mut self, database: u64) {
        if self.database() == Some(database) {
            return;
        }
        self.write(|conn| {
            let transaction = conn.transaction()?;
            transaction.execute_batch("DELETE FROM state; DELETE FROM name; DELETE FROM origin")?;
            transaction.execute("INSERT INTO origin VALUES (?1)", [signed(database)])?;
            transaction.commit()
        });
    }

    /// Keeps states as the database has them.
    pub(super) fn keep_states(&mut self, states: &HashMap<MonitorId, State>) {
        let states = states.iter().map(|(id, state)| (*id, *state));
        self.put(states.collect());
    }

    /// Keeps what changes in recorded batches.
    pub(super) fn note(&mut self, batches: &[SampleBatch]) {
        let changes = batches.iter().flat_map(|batch| &batch.transitions);
        let changes = changes.filter(|change| change.from != change.to);
        self.put(changes.map(|change| (change.monitor, state_after(change))).collect());
    }

    /// The states of these monitors, or of all; those that are not known are left out.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn states(
        &self,
        of: Option<&[MonitorId]>,
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        const ALL: &str = "SELECT id, verdict, since_ms, code, streak FROM state";
        let Some(ids) = of else {
            let mut statement = self.conn.prepare(ALL)?;
            let states = statement.query_map([], state_of)?;
            return Ok(states.collect::<rusqlite::Result<_>>()?);
        };
        let mut statement = self.conn.prepare_cached(&format!("{ALL} WHERE id = ?1"))?;
        let mut states = HashMap::with_capacity(ids.len());
        for id in ids {
            states.extend(statement.query_row([signed(id.0)], state_of).optional()?);
        }
        Ok(states)
    }

    /// Keeps the ids of a source's monitors.
    pub(super) fn keep_names(&mut self, source: &str, rows: &[NewMonitor], report: &SyncReport) {
        self.write(|conn| {
            let transaction = conn.transaction()?;
            let sql = "INSERT OR REPLACE INTO name (source, name, id) VALUES (?1, ?2, ?3)";
            let mut put = transaction.prepare_cached(sql)?;
            for (row, id) in rows.iter().zip(&report.ids) {
                if let Some(id) = id {
                    put.execute(params![source, row.about.name, signed(id.0)])?;
                }
            }
            drop(put);
            transaction.commit()
        });
    }

    /// The ids of these monitors as far as they are known: a new name has to wait for its id.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn find(&self, source: &str, rows: &[NewMonitor]) -> Result<SyncReport, StoreError> {
        let sql = "SELECT id FROM name WHERE source = ?1 AND name = ?2";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut taken = HashSet::with_capacity(rows.len());
        let mut report = SyncReport { away: true, ..SyncReport::default() };
        for (index, row) in rows.iter().enumerate() {
            let named = params![source, row.about.name];
            let id = statement.query_row(named, |row| row.get(0)).optional()?;
            let id = id.map(|id| MonitorId(unsigned(id))).filter(|id| taken.insert(*id));
            if id.is_none() {
                let reason = "new, and the database is away: it runs when that is back".to_owned();
                report.refused.push(RefusedRow { index, reason });
            }
            report.ids.push(id);
        }
        Ok(report)
    }

    fn put(&mut self, states: Vec<(MonitorId, State)>) {
        if states.is_empty() {
            return;
        }
        self.write(|conn| {
            let transaction = conn.transaction()?;
            let mut put = transaction.prepare_cached(
                "INSERT INTO state (id, verdict, since_ms, code, streak)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET verdict = excluded.verdict,
                     since_ms = excluded.since_ms, code = excluded.code, streak = excluded.streak
                 WHERE (verdict, since_ms, code, streak) IS NOT
                     (excluded.verdict, excluded.since_ms, excluded.code, excluded.streak)",
            )?;
            for (id, state) in states {
                let (id, since) = (signed(id.0), signed(state.since_ms));
                let verdict = state.verdict as u8;
                put.execute(params![id, verdict, since, state.code.0, state.streak])?;
            }
            drop(put);
            transaction.commit()
        });
    }

    /// Nothing waits for this file: an error is told once.
    fn write(&mut self, write: impl FnOnce(&mut Connection) -> rusqlite::Result<()>) {
        let Err(error) = write(&mut self.conn) else { return };
        let error = error.to_string();
        if error != self.said {
            let file = self.path.display();
            tracing::error!(%file, error, "a start without the database will not know all states");
            self.said = error;
        }
    }
}

fn state_after(change: &Transition) -> State {
    State {
        verdict: change.to,
        since_ms: change.at_ms,
        code: change.code,
        streak: 0,
        settled: settled_from(change.to),
    }
}

fn state_of(row: &Row<'_>) -> rusqlite::Result<(MonitorId, State)> {
    let verdict = Verdict::from_number(row.get(1)?);
    let state = State {
        verdict,
        since_ms: unsigned(row.get(2)?),
        code: Code(row.get(3)?),
        streak: row.get(4)?,
        settled: settled_from(verdict),
    };
    Ok((MonitorId(unsigned(row.get(0)?)), state))
}

/// Opens a file that holds a copy of what is elsewhere, with these tables where it has none or
/// others. A damaged one is made anew.
///
/// # Errors
///
/// The file can be neither read nor made.
pub fn open_copy(path: &Path, version: i64, tables: &str) -> rusqlite::Result<Connection> {
    connect(path, version, tables).or_else(|_| {
        // What cannot be removed cannot be made anew: that is the error then.
        for end in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            let _ = std::fs::remove_file(name);
        }
        connect(path, version, tables)
    })
}

fn connect(path: &Path, version: i64, tables: &str) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    // Loss of power may cost the last rows: they come again from the database.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found != version {
        conn.execute_batch(&format!("{tables}; PRAGMA user_version = {version}"))?;
    }
    // A damaged file says so at the first look into each of its tables.
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let names: rusqlite::Result<Vec<String>> =
        conn.prepare(names)?.query_map([], |row| row.get(0))?.collect();
    for name in names? {
        let sql = format!("SELECT count(*) FROM {name}");
        conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
    }
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::monitor::About;
    use crate::sample::Marks;

    fn state(verdict: Verdict, since_ms: u64) -> State {
        State { verdict, since_ms, settled: settled_from(verdict), ..State::default() }
    }

    fn change(monitor: u64, from: Verdict, to: Verdict, at_ms: u64) -> Transition {
        let (monitor, code, marks) = (MonitorId(monitor), Code::GOOD, Marks::NONE);
        Transition { monitor, at_ms, from, to, code, marks }
    }

    fn row(name: &str) -> NewMonitor {
        NewMonitor {
            about: About { name: name.to_owned(), target: String::new(), tags: Vec::new() },
            kind: None,
            row_json: String::new(),
            problem: None,
            interval_ms: 1_000,
            paused: false,
        }
    }

    #[test]
    fn states_are_those_of_the_database_and_every_change_since() {
        let folder = tempfile::tempdir().unwrap();
        let mut recall = Recall::open(folder.path()).unwrap();
        assert_eq!(recall.database(), None);
        recall.set_database(u64::MAX);
        let known = [(1, state(Verdict::Up, 5)), (2, state(Verdict::Up, 6))];
        recall.keep_states(&known.map(|(id, state)| (MonitorId(id), state)).into());
        let transitions = vec![
            change(2, Verdict::Up, Verdict::Down, 70),
            change(3, Verdict::Pending, Verdict::Down, 80),
            // Only a mark: since when it is down stays.
            change(2, Verdict::Down, Verdict::Down, 90),
        ];
        let (samples, words) = (Vec::new(), Vec::new());
        recall.note(&[SampleBatch { shard: ShardId(0), seq: 1, samples, words, transitions }]);
        drop(recall);

        let mut recall = Recall::open(folder.path()).unwrap();
        recall.set_database(u64::MAX);
        let wanted = [(1, Verdict::Up, 5), (2, Verdict::Down, 70), (3, Verdict::Down, 80)];
        let wanted = wanted.map(|(id, verdict, at)| (MonitorId(id), state(verdict, at)));
        let of = |id: u64| recall.states(Some(&[MonitorId(id), MonitorId(9)])).unwrap();
        assert_eq!(recall.states(None).unwrap(), wanted.into());
        assert_eq!(of(2), HashMap::from([(MonitorId(2), state(Verdict::Down, 70))]));
        recall.set_database(7);
        assert!(recall.states(None).unwrap().is_empty());
    }

    #[test]
    fn names_keep_their_ids_and_a_new_one_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut recall = Recall::open(folder.path()).unwrap();
        let ids = vec![Some(MonitorId(1)), Some(MonitorId(2)), None];
        let report = SyncReport { ids, ..SyncReport::default() };
        recall.keep_names("file", &[row("a"), row("b"), row("taken")], &report);
        let found = recall.find("file", &[row("new"), row("b"), row("b")]).unwrap();
        assert_eq!(found.ids, [None, Some(MonitorId(2)), None]);
        assert!(found.away);
        assert_eq!(found.refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(recall.find("api", &[row("b")]).unwrap().ids, [None]);
    }

    #[test]
    fn a_file_that_is_damaged_behind_its_first_pages_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut recall = Recall::open(folder.path()).unwrap();
        recall.set_database(7);
        let known = (0..20_000).map(|id| (MonitorId(id), state(Verdict::Up, id)));
        recall.keep_states(&known.collect());
        recall.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(recall);
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[6 * 4_096..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let recall = Recall::open(folder.path()).unwrap();
        assert_eq!(recall.database(), None);
        assert!(recall.states(None).unwrap().is_empty());
    }
}

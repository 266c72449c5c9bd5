//! The last known rows, in a file of the data folder: a start without the database runs them.
//!
//! Owns: the file. It is a copy: whatever is wrong with it, it is made anew from the database. The
//! file names the database that its rows are of, so that no other is served with them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::Row;
use crate::ids::MonitorId;
use crate::store::recall::open_copy;

const FILE: &str = "monitors.db";
/// Raised with each change of [`Row`]: an older file says nothing.
const VERSION: i64 = 1;
const TABLES: &str = "
    DROP TABLE IF EXISTS item; DROP TABLE IF EXISTS origin;
    CREATE TABLE item (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, row TEXT NOT NULL);
    CREATE TABLE origin (database INTEGER NOT NULL, part TEXT NOT NULL)";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; make the data folder writable, and make room", path.display())]
pub struct SnapshotError {
    path: PathBuf,
    source: rusqlite::Error,
}

/// The rows of one database.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    conn: Connection,
}

impl Snapshot {
    /// Opens the file in a data folder; one that is damaged or of another version is made anew.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub fn open(data_dir: &Path) -> Result<Snapshot, SnapshotError> {
        let path = data_dir.join(FILE);
        match open_copy(&path, VERSION, TABLES) {
            Ok(conn) => Ok(Snapshot { path, conn }),
            Err(source) => Err(SnapshotError { path, source }),
        }
    }

    /// The number of the database that the rows are of, and which part of it they are; `None`
    /// where there are none.
    ///
    /// # Errors
    ///
    /// The file cannot be read; so for all methods.
    pub fn origin(&self) -> Result<Option<(u64, String)>, SnapshotError> {
        let origin = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
        let found = self.conn.query_row("SELECT database, part FROM origin", [], origin).optional();
        let found = found.map_err(|source| self.error(source))?;
        Ok(found.map(|(database, part)| (database.cast_unsigned(), part)))
    }

    /// Says what the rows are of; those of another database or part are forgotten.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::origin`].
    pub fn set_origin(&mut self, database: u64, part: &str) -> Result<(), SnapshotError> {
        if self.origin()?.is_some_and(|(known, of)| known == database && of == part) {
            return Ok(());
        }
        let done = self.conn.transaction().and_then(|transaction| {
            transaction.execute_batch("DELETE FROM item; DELETE FROM origin")?;
            let values = params![database.cast_signed(), part];
            transaction.execute("INSERT INTO origin VALUES (?1, ?2)", values)?;
            transaction.commit()
        });
        done.map_err(|source| self.error(source))
    }

    /// Rows after `after`, in the order of their ids, at most so many.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::origin`].
    pub fn rows(&self, after: MonitorId, rows_max: usize) -> Result<Vec<Row>, SnapshotError> {
        let read = || {
            let sql = "SELECT row FROM item WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut statement = self.conn.prepare_cached(sql)?;
            let texts = statement
                .query_map(params![after.0.cast_signed(), rows_max as i64], |row| {
                    row.get::<_, String>(0)
                })?;
            // A row that cannot be read comes anew from the database.
            let rows = texts.map(|text| Ok(serde_json::from_str(&text?).ok()));
            rows.filter_map(Result::transpose).collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.error(source))
    }

    /// These rows, as far as they are known.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::origin`].
    pub fn rows_of(&self, ids: &[MonitorId]) -> Result<Vec<Row>, SnapshotError> {
        let read = || {
            let mut statement = self.conn.prepare_cached("SELECT row FROM item WHERE id = ?1")?;
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                let text = statement.query_row([id.0.cast_signed()], |row| row.get::<_, String>(0));
                rows.extend(text.optional()?.and_then(|text| serde_json::from_str(&text).ok()));
            }
            Ok(rows)
        };
        read().map_err(|source| self.error(source))
    }

    /// Keeps these rows as they are now, and forgets those that are gone.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::origin`]; then nothing has changed.
    pub fn keep<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a Row>,
        gone: &[MonitorId],
    ) -> Result<(), SnapshotError> {
        let done = self.conn.transaction().and_then(|transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO item (id, hash, row) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, row = excluded.row
                 WHERE hash <> excluded.hash",
            )?;
            for row in rows {
                let text = serde_json::to_string(row).unwrap_or_default();
                put.execute(params![row.id.0.cast_signed(), row.hash, text])?;
            }
            drop(put);
            let mut forget = transaction.prepare_cached("DELETE FROM item WHERE id = ?1")?;
            for id in gone {
                forget.execute([id.0.cast_signed()])?;
            }
            drop(forget);
            transaction.commit()
        });
        done.map_err(|source| self.error(source))
    }

    /// Forgets every row for which `is_known` is false.
    ///
    /// # Errors
    ///
    /// As for [`Snapshot::origin`].
    pub fn retain(&mut self, is_known: impl Fn(MonitorId) -> bool) -> Result<(), SnapshotError> {
        let ids = || {
            let mut statement = self.conn.prepare("SELECT id FROM item")?;
            let ids = statement.query_map([], |row| row.get::<_, i64>(0))?;
            let ids = ids.map(|id| Ok(MonitorId(id?.cast_unsigned())));
            ids.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut gone = ids().map_err(|source| self.error(source))?;
        gone.retain(|id| !is_known(*id));
        self.keep([], &gone)
    }

    fn error(&self, source: rusqlite::Error) -> SnapshotError {
        SnapshotError { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, hash: i64) -> Row {
        Row { id: MonitorId(id), name: Some(format!("m{id}")), hash, ..Row::default() }
    }

    #[test]
    fn rows_come_back_in_order_after_changes_and_removals() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::open(folder.path()).unwrap();
        assert_eq!(snapshot.origin().unwrap(), None);
        snapshot.set_origin(u64::MAX, "all").unwrap();
        snapshot.keep(&[row(3, 1), row(1, 1), row(2, 1)], &[]).unwrap();
        snapshot.keep(&[row(3, 2)], &[MonitorId(2)]).unwrap();
        drop(snapshot);
        let mut snapshot = Snapshot::open(folder.path()).unwrap();
        assert_eq!(snapshot.origin().unwrap(), Some((u64::MAX, "all".to_owned())));
        snapshot.set_origin(u64::MAX, "all").unwrap();
        assert_eq!(snapshot.rows(MonitorId(0), 10).unwrap(), [row(1, 1), row(3, 2)]);
        assert_eq!(snapshot.rows(MonitorId(1), 1).unwrap(), [row(3, 2)]);
        assert_eq!(snapshot.rows_of(&[MonitorId(3), MonitorId(9)]).unwrap(), [row(3, 2)]);
        snapshot.retain(|id| id == MonitorId(1)).unwrap();
        assert_eq!(snapshot.rows(MonitorId(0), 10).unwrap(), [row(1, 1)]);
    }

    #[test]
    fn rows_of_another_database_or_part_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::open(folder.path()).unwrap();
        for (database, part) in [(1, "all"), (2, "all"), (2, "1-300")] {
            snapshot.set_origin(database, part).unwrap();
            assert!(snapshot.rows(MonitorId(0), 10).unwrap().is_empty());
            assert_eq!(snapshot.origin().unwrap(), Some((database, part.to_owned())));
            snapshot.keep(&[row(1, 1)], &[]).unwrap();
        }
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "no database at all, but long enough").unwrap();
        let mut snapshot = Snapshot::open(folder.path()).unwrap();
        snapshot.keep(&[row(1, 1)], &[]).unwrap();
        assert_eq!(snapshot.rows(MonitorId(0), 10).unwrap().len(), 1);
    }
}

//! Makes the stored monitors of one source equal to the rows it has now.
//!
//! Owns: ids, and which rows are written. A few statements for each `SYNC_ROWS_MAX` rows; equal
//! rows are compared here and cost the server one look-up each.

use std::collections::{HashMap, HashSet};

use super::super::sync::tags_json;
use super::super::{NewMonitor, RefusedRow, StoreError, SyncReport, signed, unsigned};
use crate::ids::MonitorId;
use crate::limits::SYNC_ROWS_MAX;
use crate::pg::{Row, Session, Type, Value};

/// Keeps two engines from giving one name to two monitors: "sync".
const LOCK: i64 = 0x7379_6e63;

/// What is stored under a name.
struct Stored {
    id: i64,
    source: String,
    removed: bool,
    columns: Columns,
}

/// A row as it is stored.
#[derive(PartialEq, Eq)]
struct Columns {
    kind: Option<String>,
    target: String,
    tags: String,
    row_json: String,
    problem: Option<String>,
    interval_ms: i64,
    paused: bool,
}

impl Columns {
    fn of(row: &NewMonitor) -> Columns {
        Columns {
            kind: row.kind.map(|kind| kind.name().to_owned()),
            target: row.about.target.clone(),
            tags: tags_json(row),
            row_json: row.row_json.clone(),
            problem: row.problem.clone(),
            interval_ms: signed(row.interval_ms),
            paused: row.paused,
        }
    }

    fn read(row: &Row, first: usize) -> Columns {
        Columns {
            kind: row.get(first),
            target: row.get(first + 1),
            tags: row.get(first + 2),
            row_json: row.get(first + 3),
            problem: row.get(first + 4),
            interval_ms: row.get(first + 5),
            paused: row.get(first + 6),
        }
    }
}

/// Rows to write, by column.
#[derive(Default)]
struct Writes {
    ids: Vec<i64>,
    names: Vec<String>,
    kinds: Vec<Option<String>>,
    targets: Vec<String>,
    tags: Vec<String>,
    rows: Vec<String>,
    problems: Vec<Option<String>>,
    intervals: Vec<i64>,
    paused: Vec<bool>,
}

impl Writes {
    fn push(&mut self, id: i64, name: &str, columns: Columns) {
        self.ids.push(id);
        self.names.push(name.to_owned());
        self.kinds.push(columns.kind);
        self.targets.push(columns.target);
        self.tags.push(columns.tags);
        self.rows.push(columns.row_json);
        self.problems.push(columns.problem);
        self.intervals.push(columns.interval_ms);
        self.paused.push(columns.paused);
    }

    /// Inserts or updates them all.
    async fn apply(&self, session: &Session, source: &str, now_ms: i64) -> Result<(), StoreError> {
        let values: [Value<'_>; 11] = [
            (&self.ids, Type::INT8_ARRAY),
            (&self.names, Type::TEXT_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.targets, Type::TEXT_ARRAY),
            (&self.tags, Type::TEXT_ARRAY),
            (&self.rows, Type::TEXT_ARRAY),
            (&self.problems, Type::TEXT_ARRAY),
            (&self.intervals, Type::INT8_ARRAY),
            (&self.paused, Type::BOOL_ARRAY),
            (&source, Type::TEXT),
            (&now_ms, Type::INT8),
        ];
        let sql = "INSERT INTO engine.monitor AS m (id, source, name, kind, target, tags, row_json,
                       problem, interval_ms, paused, created_ms, changed_ms)
                   SELECT id, $10, name, kind, target, tags, row_json, problem, interval_ms, paused,
                          $11, $11
                   FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS u
                       (id, name, kind, target, tags, row_json, problem, interval_ms, paused)
                   ON CONFLICT (id) DO UPDATE SET source = excluded.source, kind = excluded.kind,
                       target = excluded.target, tags = excluded.tags,
                       row_json = excluded.row_json, problem = excluded.problem,
                       interval_ms = excluded.interval_ms, paused = excluded.paused,
                       changed_ms = excluded.changed_ms, removed_ms = NULL";
        session.execute(sql, &values).await?;
        let sql = "INSERT INTO engine.state (monitor_id) SELECT * FROM unnest($1)
                   ON CONFLICT DO NOTHING";
        session.execute(sql, &values[..1]).await?;
        Ok(())
    }
}

/// The monitors of a source that are not removed, by number.
pub(super) async fn of_source(
    session: &Session,
    source: &str,
) -> Result<Vec<MonitorId>, StoreError> {
    let sql = "SELECT id FROM engine.monitor WHERE source = $1 AND removed_ms IS NULL ORDER BY id";
    let known = session.query(sql, &[(&source, Type::TEXT)]).await?;
    Ok(known.iter().map(|row| MonitorId(unsigned(row.get(0)))).collect())
}

/// Applies some rows and removals; see [`super::super::Store::edit_monitors`].
pub(super) async fn edit(
    session: &Session,
    source: &str,
    rows: &[NewMonitor],
    gone: &[MonitorId],
    now_ms: u64,
) -> Result<SyncReport, StoreError> {
    let mut report = put(session, source, rows, now_ms).await?;
    report.removed = remove(session, source, gone, now_ms).await?;
    Ok(report)
}

/// Adds or changes the rows.
async fn put(
    session: &Session,
    source: &str,
    rows: &[NewMonitor],
    now_ms: u64,
) -> Result<SyncReport, StoreError> {
    session.query("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    let mut report = SyncReport { ids: Vec::with_capacity(rows.len()), ..SyncReport::default() };
    let mut names: HashSet<&str> = HashSet::with_capacity(rows.len());
    for part in rows.chunks(SYNC_ROWS_MAX) {
        let stored = find(session, part).await?;
        let missing = part.iter().filter(|row| !stored.contains_key(&row.about.name));
        let mut new_ids = new_ids(session, missing.count()).await?.into_iter();
        let mut writes = Writes::default();
        for row in part {
            let name = row.about.name.as_str();
            let refusal = match stored.get(name) {
                _ if !names.insert(name) => Some(format!("the name {name:?} is there twice")),
                Some(known) if !known.removed && known.source != source => {
                    Some(format!("the name {name:?} is taken by {}", known.source))
                }
                _ => None,
            };
            if let Some(reason) = refusal {
                report.refused.push(RefusedRow { index: report.ids.len(), reason });
                report.ids.push(None);
                continue;
            }
            let columns = Columns::of(row);
            let id = match stored.get(name) {
                Some(known) if known.removed => {
                    report.added += 1;
                    writes.push(known.id, name, columns);
                    known.id
                }
                Some(known) => {
                    if known.columns != columns {
                        report.changed += 1;
                        writes.push(known.id, name, columns);
                    }
                    known.id
                }
                None => {
                    let Some(id) = new_ids.next() else { continue };
                    report.added += 1;
                    writes.push(id, name, columns);
                    id
                }
            };
            report.ids.push(Some(MonitorId(unsigned(id))));
        }
        if !writes.ids.is_empty() {
            writes.apply(session, source, signed(now_ms)).await?;
        }
    }
    Ok(report)
}

async fn find(
    session: &Session,
    rows: &[NewMonitor],
) -> Result<HashMap<String, Stored>, StoreError> {
    let names: Vec<&str> = rows.iter().map(|row| row.about.name.as_str()).collect();
    let sql = "SELECT name, id, source, removed_ms IS NOT NULL,
                      kind, target, tags, row_json, problem, interval_ms, paused
               FROM engine.monitor WHERE name = ANY($1)";
    let found = session.query(sql, &[(&names, Type::TEXT_ARRAY)]).await?;
    let stored = |row: &Row| {
        let columns = Columns::read(row, 4);
        let (id, source, removed) = (row.get(1), row.get(2), row.get(3));
        (row.get(0), Stored { id, source, removed, columns })
    };
    Ok(found.iter().map(stored).collect())
}

/// Numbers for new rows, rising.
async fn new_ids(session: &Session, count: usize) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT nextval('engine.monitor_id') FROM generate_series(1, $1)";
    let rows = session.query(sql, &[(&(count as i32), Type::INT4)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Marks those of these monitors that the source has as removed and closes their incidents: nobody
/// will look at them again. Returns which they were.
async fn remove(
    session: &Session,
    source: &str,
    gone: &[MonitorId],
    now_ms: u64,
) -> Result<Vec<MonitorId>, StoreError> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let gone: Vec<i64> = gone.iter().map(|id| signed(id.0)).collect();
    let now_ms = signed(now_ms);
    let sql = "UPDATE engine.monitor SET removed_ms = $2
               WHERE id = ANY($1) AND source = $3 AND removed_ms IS NULL RETURNING id";
    let values: [Value<'_>; 3] =
        [(&gone, Type::INT8_ARRAY), (&now_ms, Type::INT8), (&source, Type::TEXT)];
    let removed = session.query(sql, &values).await?;
    let mut removed: Vec<i64> = removed.iter().map(|row| row.get(0)).collect();
    removed.sort_unstable();
    let values: [Value<'_>; 2] = [(&removed, Type::INT8_ARRAY), (&now_ms, Type::INT8)];
    let sql = "UPDATE engine.incident SET closed_ms = greatest(opened_ms, $2)
               WHERE monitor_id = ANY($1) AND closed_ms IS NULL";
    session.execute(sql, &values).await?;
    Ok(removed.into_iter().map(|id| MonitorId(unsigned(id))).collect())
}

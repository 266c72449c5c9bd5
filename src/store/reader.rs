//! Reads the SQLite file while the engine writes it: for the command line and the API.
//!
//! Owns: the questions as SQL, and how head rows and chunks make one history. A reader holds no
//! lock that the writer waits for (WAL). A day of one monitor is 288 chunks: about 20 ms.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::fold::Touched;
use super::hours::{HOUR_MS, hour_start};
use super::sqlite::{check_owner, schema_known};
use super::states::{self, Known};
use super::view::{
    CertView, ChannelRow, Counts, Evidence, Filter, Hours, Incident, MonitorView, OpenReader,
    Range, Read, ResultView, Results, TransitionView, Watched, Written,
};
use super::{StoreError, blob, folder, signed, unsigned, window_start};
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::{GROUP_BITS, HOUR_GROUP_BITS, LANE_BITS, WINDOW_MS};
use crate::monitor::Kind;
use crate::sample::{Code, Marks, Sample, Verdict};

/// The SQLite file of a data folder, to look only.
#[derive(Debug)]
pub struct SqliteReader {
    conn: Connection,
}

/// Opens readers of the SQLite file in this data folder.
#[derive(Clone, Debug)]
pub struct SqliteFolder(pub PathBuf);

impl SqliteFolder {
    /// True where the folder has such a file.
    pub fn is_there(&self) -> bool {
        folder::database_path(&self.0).exists()
    }
}

impl OpenReader for SqliteFolder {
    fn open(&self) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.0)?))
    }
}

impl SqliteReader {
    /// Opens the database of a data folder, whether an engine runs on it or not.
    ///
    /// # Errors
    ///
    /// `Missing`, `Foreign`, `Schema` for any but the one this version knows, or the database's.
    pub fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        let file = folder::database_path(path);
        if !file.exists() {
            return Err(StoreError::Missing { path: file });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&file, flags)?;
        conn.execute_batch("PRAGMA busy_timeout = 5000")?;
        let (found, known) = (check_owner(&conn, &file)?, schema_known());
        if found > known {
            let advice = "use the newer version";
            return Err(StoreError::Schema { found, known, advice });
        }
        if found < known {
            let advice = "start the engine once with this version";
            return Err(StoreError::Schema { found, known, advice });
        }
        Ok(SqliteReader { conn })
    }

    /// Results in head rows: the windows that are not compacted yet.
    fn head_results(&self, found: &mut Found, range: &Range) -> Result<(), StoreError> {
        let lane = found.monitor.0 >> LANE_BITS;
        let mut statement = self.conn.prepare_cached(
            "SELECT t0, seq, data FROM head WHERE lane = ?1 AND t0 BETWEEN ?2 AND ?3",
        )?;
        let (from, to) = windows(range);
        let mut rows = statement.query(params![signed(lane), from, to])?;
        while let Some(row) = rows.next()? {
            let (t0, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
            let data = row.get_ref(2)?.as_blob().unwrap_or_default();
            found.add(lane << LANE_BITS, t0, data, || format!("head {seq}"));
        }
        Ok(())
    }

    /// Results in chunks, newest window first, until there are enough.
    fn chunk_results(&self, found: &mut Found, range: &Range) -> Result<(), StoreError> {
        let grp = found.monitor.0 >> GROUP_BITS;
        let mut statement = self.conn.prepare_cached(
            "SELECT t0, part, data FROM chunk WHERE grp = ?1 AND t0 BETWEEN ?2 AND ?3
             ORDER BY t0 DESC, part DESC",
        )?;
        let (from, to) = windows(range);
        let mut rows = statement.query(params![signed(grp), from, to])?;
        while let Some(row) = rows.next()? {
            let (t0, part): (i64, i64) = (row.get(0)?, row.get(1)?);
            let window_end = unsigned(t0).saturating_add(WINDOW_MS);
            if found.count_from(window_end) >= range.limit {
                break;
            }
            let data = row.get_ref(2)?.as_blob().unwrap_or_default();
            found.add(grp << GROUP_BITS, t0, data, || format!("chunk {grp} {t0} {part}"));
        }
        Ok(())
    }

    /// Results in chunks that are not in the sums of their hour.
    fn unsummed_results(&self, found: &mut Found, range: &Range) -> Result<(), StoreError> {
        let grp = found.monitor.0 >> GROUP_BITS;
        let mut statement = self.conn.prepare_cached(
            "SELECT c.t0, c.part, c.data FROM unsummed u JOIN chunk c ON c.id = u.chunk
             WHERE u.t0 BETWEEN ?2 AND ?3 AND u.grp = ?1",
        )?;
        let values = [grp, hour_start(range.from_ms), range.to_ms.min(i64::MAX as u64)];
        let mut rows = statement.query(values.map(signed))?;
        while let Some(row) = rows.next()? {
            let (t0, part): (i64, i64) = (row.get(0)?, row.get(1)?);
            let data = row.get_ref(2)?.as_blob().unwrap_or_default();
            found.add(grp << GROUP_BITS, t0, data, || format!("chunk {grp} {t0} {part}"));
        }
        Ok(())
    }

    /// Head rows of this monitor's lane that the engine has set aside as damaged.
    fn set_aside(&self, found: &mut Found, range: &Range) -> Result<(), StoreError> {
        let lane = found.monitor.0 >> LANE_BITS;
        let mut statement = self.conn.prepare_cached(
            "SELECT id, reason FROM damaged WHERE lane = ?1 AND t0 BETWEEN ?2 AND ?3",
        )?;
        let (from, to) = windows(range);
        let rows = statement.query_map(params![signed(lane), from, to], |row| {
            Ok(format!("damaged {}: {}", row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        found.damaged.extend(rows.collect::<Result<Vec<_>, _>>()?);
        Ok(())
    }
}

/// Results of one monitor while they are gathered.
pub(super) struct Found {
    monitor: MonitorId,
    range: Range,
    samples: Vec<Sample>,
    /// Blobs that cannot be read, by name and reason.
    pub damaged: Vec<String>,
}

impl Found {
    /// Nothing yet.
    pub fn new(monitor: MonitorId, range: &Range) -> Found {
        Found { monitor, range: *range, samples: Vec::new(), damaged: Vec::new() }
    }

    /// Adds what a blob has of the monitor.
    pub fn add(&mut self, base: u64, t0: i64, data: &[u8], name: impl Fn() -> String) {
        match blob::unpack_of(base, unsigned(t0), data, |monitor| monitor == self.monitor) {
            Ok(samples) => {
                let range = self.range.from_ms..=self.range.to_ms;
                let within = samples.into_iter().filter(|one| range.contains(&one.due_ms));
                self.samples.extend(within);
            }
            Err(error) => self.damaged.push(format!("{}: {error}", name())),
        }
    }

    /// Results due at a time or later.
    pub fn count_from(&self, due_ms: u64) -> usize {
        self.samples.iter().filter(|sample| sample.due_ms >= due_ms).count()
    }

    /// The results by hour.
    pub fn hours(self) -> Hours {
        let mut found = Hours { damaged: self.damaged, ..Hours::default() };
        for sample in &self.samples {
            let hour = found.hours.entry(hour_start(sample.due_ms)).or_default();
            hour.add(sample.code, Some(sample.total_us).filter(|micros| *micros != u32::MAX));
        }
        found
    }

    /// The results, newest first, as many as are wanted.
    pub fn results(mut self) -> Results {
        self.samples.sort_by_key(|sample| Reverse(sample.due_ms));
        self.samples.truncate(self.range.limit);
        let results = self.samples.iter().map(ResultView::from).collect();
        Results { results, damaged: self.damaged }
    }
}

/// The first and the last window of a range.
pub(super) fn windows(range: &Range) -> (i64, i64) {
    let limited = |ms: u64| signed(window_start(ms.min(i64::MAX as u64)));
    (limited(range.from_ms), limited(range.to_ms))
}

impl Read for SqliteReader {
    fn totals(&mut self) -> Result<(u64, u64, u64), StoreError> {
        let row = self.conn.query_row(
            "SELECT count(*), count(*) FILTER (WHERE NOT paused),
                    count(*) FILTER (WHERE NOT paused AND problem IS NULL)
             FROM monitor WHERE removed_ms IS NULL",
            [],
            |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)),
        )?;
        Ok(row)
    }

    fn find(&mut self, name_or_id: &str) -> Result<Option<MonitorId>, StoreError> {
        let id = self
            .conn
            .query_row(
                "SELECT id FROM monitor WHERE name = ?1 OR id = ?2 ORDER BY name <> ?1 LIMIT 1",
                params![name_or_id, name_or_id.parse::<i64>().ok()],
                |row| row.get(0),
            )
            .optional()?;
        Ok(id.map(|id| MonitorId(unsigned(id))))
    }

    fn monitors(&mut self, filter: &Filter) -> Result<Vec<MonitorView>, StoreError> {
        // One transaction, so that states and the head above them fit together.
        let transaction = self.conn.unchecked_transaction()?;
        // What is pending in the states may have had its first good answer in the head: whether it
        // fits is known later, and so is where the page begins.
        let (rows, left_out) = match filter.verdict {
            None => (filter.limit, filter.offset),
            Some(_) => (usize::MAX, 0),
        };
        let wanted = filter.limit.saturating_add(filter.offset - left_out);
        let order = if filter.by_id { "m.id" } else { "m.name" };
        // Written only where it is wanted: then the rows are found by their key.
        let only = match filter.only {
            Some(_) => " AND m.id IN (SELECT value FROM json_each(?8))",
            None => " AND ?8 IS NULL",
        };
        let numbers =
            filter.only.as_ref().map(|only| serde_json::to_string(only).unwrap_or_default());
        let mut statement = transaction.prepare_cached(&format!(
            "SELECT m.id, m.name, m.kind, m.target, m.tags, m.source, m.problem, m.interval_ms,
                    CASE WHEN m.paused THEN 4 ELSE s.verdict END AS shown, s.since_ms, s.due_ms,
                    s.code, s.message, s.total_us, s.http_status,
                    s.count_up, s.count_down, s.count_unknown, s.count_missed, m.created_ms,
                    s.verdict, m.paused, coalesce(k.marks, 0)
             FROM monitor m JOIN state s ON s.monitor_id = m.id
                  LEFT JOIN mark k ON k.monitor_id = m.id
             WHERE m.removed_ms IS NULL
               AND (?1 IS NULL OR shown IN (?1, 0))
               AND (?2 IS NULL OR instr(m.name, ?2) > 0)
               AND (?3 IS NULL OR EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?3))
               AND (NOT ?4 OR m.problem IS NOT NULL)
               AND m.id > ?7{only}
             ORDER BY {order} LIMIT ?5 OFFSET ?6"
        ))?;
        let values = params![
            filter.verdict.map(|verdict| verdict as u8),
            filter.name,
            filter.tag,
            filter.problems,
            limit(rows),
            limit(left_out),
            filter.after.map_or(i64::MIN, |after| signed(after.0)),
            numbers
        ];
        let mut found = statement.query(values)?;
        let (mut listed, mut certain) = (Vec::new(), 0);
        while certain < wanted
            && let Some(row) = found.next()?
        {
            let one = Listed::of(row)?;
            certain += usize::from(filter.verdict.is_none_or(|verdict| one.verdict() == verdict));
            listed.push(one);
        }
        put_head_on_top(&transaction, &mut listed)?;
        let now_ms = wall_millis();
        let fits = |one: &Listed| filter.verdict.is_none_or(|verdict| one.verdict() == verdict);
        let listed = listed.into_iter().filter(fits).skip(filter.offset - left_out);
        let views = listed.map(|one| one.shown().with_next_due(now_ms));
        Ok(views.take(filter.limit).collect())
    }

    fn written(&mut self, from: MonitorId, rows_max: usize) -> Result<Vec<Written>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT id, source, row_json, problem IS NOT NULL FROM monitor
             WHERE id >= ?1 AND removed_ms IS NULL
             ORDER BY id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![signed(from.0), limit(rows_max)], |row| {
            let id = MonitorId(number(row, 0)?);
            Ok(Written { id, source: row.get(1)?, row_json: row.get(2)?, has_problem: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn results(&mut self, monitor: MonitorId, range: &Range) -> Result<Results, StoreError> {
        // One transaction, so that a window compacted meanwhile is seen once and not twice.
        let transaction = self.conn.unchecked_transaction()?;
        let mut found = Found::new(monitor, range);
        self.head_results(&mut found, range)?;
        self.chunk_results(&mut found, range)?;
        self.set_aside(&mut found, range)?;
        transaction.finish()?;
        Ok(found.results())
    }

    fn hours(&mut self, monitor: MonitorId, from_ms: u64, to_ms: u64) -> Result<Hours, StoreError> {
        let transaction = self.conn.unchecked_transaction()?;
        let end_ms = hour_start(to_ms).saturating_add(HOUR_MS - 1);
        let range = Range { from_ms, to_ms: end_ms, limit: usize::MAX };
        let mut found = Found::new(monitor, &range);
        self.head_results(&mut found, &range)?;
        self.unsummed_results(&mut found, &range)?;
        self.set_aside(&mut found, &range)?;
        let mut found = found.hours();
        let grp = monitor.0 >> HOUR_GROUP_BITS;
        let mut statement = self.conn.prepare_cached(
            "SELECT t0, data FROM hour_sum WHERE grp = ?1 AND t0 BETWEEN ?2 AND ?3",
        )?;
        let mut rows = statement.query([grp, from_ms, to_ms].map(signed))?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().unwrap_or_default();
            found.add(monitor, unsigned(row.get(0)?), data);
        }
        transaction.finish()?;
        Ok(found)
    }

    fn evidence(&mut self, monitor: MonitorId) -> Result<Vec<Evidence>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT first_ms, last_ms, times, code, message, detail FROM evidence
             WHERE monitor_id = ?1 ORDER BY last_ms DESC, id DESC",
        )?;
        let rows = statement.query_map([signed(monitor.0)], |row| {
            let code = Code(row.get(3)?);
            let detail: Option<String> = row.get(5)?;
            Ok(Evidence {
                first_ms: number(row, 0)?,
                last_ms: number(row, 1)?,
                times: number(row, 2)?,
                code: code.0,
                result: code.name(),
                message: row.get(4)?,
                detail: detail.and_then(|text| serde_json::from_str(&text).ok()),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn incidents(
        &mut self,
        monitor: Option<MonitorId>,
        rows_max: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT i.monitor_id, m.name, i.opened_ms, i.closed_ms, i.code, i.message
             FROM incident i JOIN monitor m ON m.id = i.monitor_id
             WHERE (?1 IS NULL OR i.monitor_id = ?1)
             ORDER BY i.closed_ms IS NOT NULL, i.opened_ms DESC, i.id DESC LIMIT ?2",
        )?;
        let values = params![monitor.map(|monitor| signed(monitor.0)), limit(rows_max)];
        let rows = statement.query_map(values, |row| {
            let code = Code(row.get(4)?);
            Ok(Incident {
                monitor: MonitorId(number(row, 0)?),
                name: row.get(1)?,
                opened_ms: number(row, 2)?,
                closed_ms: row.get::<_, Option<i64>>(3)?.map(unsigned),
                code: code.0,
                result: code.name(),
                message: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn transitions(
        &mut self,
        monitor: Option<MonitorId>,
        rows_max: usize,
    ) -> Result<Vec<TransitionView>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT t.monitor_id, m.name, t.at_ms, t.from_verdict, t.to_verdict, t.code, t.message,
                    t.marks
             FROM transition t JOIN monitor m ON m.id = t.monitor_id
             WHERE (?1 IS NULL OR t.monitor_id = ?1)
             ORDER BY t.at_ms DESC, t.id DESC LIMIT ?2",
        )?;
        let values = params![monitor.map(|monitor| signed(monitor.0)), limit(rows_max)];
        let rows = statement.query_map(values, transition_view)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn transitions_after(
        &mut self,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<(u64, TransitionView)>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT t.monitor_id, m.name, t.at_ms, t.from_verdict, t.to_verdict, t.code, t.message,
                    t.marks, t.id
             FROM transition t JOIN monitor m ON m.id = t.monitor_id
             WHERE t.id > ?1 ORDER BY t.id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![signed(after), limit(rows_max)], |row| {
            Ok((number(row, 8)?, transition_view(row)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn newest_transition(&mut self) -> Result<u64, StoreError> {
        let newest = "SELECT coalesce(max(id), 0) FROM transition";
        Ok(self.conn.query_row(newest, [], |row| number(row, 0))?)
    }

    fn watched(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Watched>>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT name, kind, target, tags, interval_ms, row_json FROM monitor
             WHERE id = ?1 AND removed_ms IS NULL",
        )?;
        let watched = monitors.iter().map(|monitor| {
            let found = statement.query_row([signed(monitor.0)], |row| {
                Ok(Watched {
                    name: row.get(0)?,
                    kind: row.get::<_, Option<String>>(1)?.and_then(|name| Kind::from_name(&name)),
                    target: row.get(2)?,
                    tags: list(row, 3)?,
                    interval_ms: number(row, 4)?,
                    row_json: row.get(5)?,
                    owner: None,
                })
            });
            Ok(found.optional()?)
        });
        watched.collect()
    }

    /// The original's tables are in PostgreSQL only.
    fn channel(&mut self, _: u64) -> Result<Option<ChannelRow>, StoreError> {
        Ok(None)
    }

    fn certs(&mut self, monitor: MonitorId) -> Result<Vec<CertView>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT c.sha256, c.subject, c.issuer, c.names, c.serial, c.not_before_s, c.not_after_s,
                    l.chain_not_after_s, l.tls_version, l.cipher, l.problem, l.problem_text,
                    l.first_seen_ms, l.current_since_ms
             FROM monitor_cert l JOIN cert c ON c.id = l.cert_id
             WHERE l.monitor_id = ?1 ORDER BY l.current_since_ms DESC, c.id DESC",
        )?;
        let rows = statement.query_map([signed(monitor.0)], cert_view)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A monitor and its state while it is read.
struct Listed {
    /// All but what `known` says.
    view: MonitorView,
    known: Known,
    paused: bool,
}

impl Listed {
    fn of(row: &Row<'_>) -> rusqlite::Result<Listed> {
        let view = MonitorView {
            id: MonitorId(number(row, 0)?),
            name: row.get(1)?,
            kind: row.get::<_, Option<String>>(2)?.and_then(|name| Kind::from_name(&name)),
            target: row.get(3)?,
            tags: list(row, 4)?,
            source: row.get(5)?,
            user_id: None,
            stop_to_ms: None,
            problem: row.get(6)?,
            interval_ms: number(row, 7)?,
            verdict: Verdict::default(),
            since_ms: None,
            last_check_ms: None,
            next_due_ms: None,
            marks: Marks::from_number(row.get(22)?).names(),
            code: 0,
            result: None,
            message: row.get(12)?,
            total_us: None,
            http_status: None,
            counts: Counts {
                up: number(row, 15)?,
                down: number(row, 16)?,
                unknown: number(row, 17)?,
                missed: number(row, 18)?,
            },
            created_ms: number(row, 19)?,
        };
        let known = Known {
            verdict: Verdict::from_number(row.get(20)?),
            since_ms: number(row, 9)?,
            due_ms: number(row, 10)?,
            code: Code(row.get(11)?),
            streak: 0,
            total_us: row.get(13)?,
            http_status: row.get(14)?,
        };
        Ok(Listed { view, known, paused: row.get(21)? })
    }

    fn take(&mut self, touched: &Touched) {
        if !self.known.take(touched) {
            self.view.message.clear();
        }
        let (counts, more) = (&mut self.view.counts, touched.counts);
        counts.up += u64::from(more.up);
        counts.down += u64::from(more.down);
        counts.unknown += u64::from(more.unknown);
        counts.missed += u64::from(more.missed);
    }

    fn verdict(&self) -> Verdict {
        if self.paused { Verdict::Paused } else { self.known.verdict }
    }

    fn shown(self) -> MonitorView {
        let verdict = self.verdict();
        let Known { since_ms, due_ms, code, total_us, http_status, .. } = self.known;
        let checked = due_ms > 0;
        MonitorView {
            verdict,
            since_ms: Some(since_ms).filter(|since| *since > 0),
            last_check_ms: checked.then_some(due_ms),
            code: code.0,
            result: checked.then(|| code.name()),
            total_us: (checked && total_us != u32::MAX).then_some(total_us),
            http_status: (http_status > 0).then_some(http_status),
            ..self.view
        }
    }
}

/// Adds what the head has above the states.
fn put_head_on_top(conn: &Connection, listed: &mut [Listed]) -> Result<(), StoreError> {
    let mut by_id: Vec<&mut Listed> = listed.iter_mut().collect();
    by_id.sort_unstable_by_key(|listed| listed.view.id);
    let lane = |listed: &Listed| listed.view.id.0 >> LANE_BITS;
    for of_lane in by_id.chunk_by_mut(|one, other| lane(one) == lane(other)) {
        let ids: Vec<MonitorId> = of_lane.iter().map(|listed| listed.view.id).collect();
        let wanted = |monitor| ids.binary_search(&monitor).is_ok();
        states::on_top(conn, lane(of_lane[0]), wanted, |monitor, touched| {
            if let Ok(at) = of_lane.binary_search_by_key(&monitor, |listed| listed.view.id) {
                of_lane[at].take(touched);
            }
        })?;
    }
    Ok(())
}

fn transition_view(row: &Row<'_>) -> rusqlite::Result<TransitionView> {
    let code = Code(row.get(5)?);
    Ok(TransitionView {
        monitor: MonitorId(number(row, 0)?),
        name: row.get(1)?,
        at_ms: number(row, 2)?,
        from: Verdict::from_number(row.get(3)?),
        to: Verdict::from_number(row.get(4)?),
        code: code.0,
        result: code.name(),
        message: row.get(6)?,
        marks: Marks::from_number(row.get(7)?).names(),
    })
}

fn cert_view(row: &Row<'_>) -> rusqlite::Result<CertView> {
    Ok(CertView {
        sha256: row.get(0)?,
        subject: row.get(1)?,
        issuer: row.get(2)?,
        names: list(row, 3)?,
        serial: row.get(4)?,
        not_before_s: row.get(5)?,
        not_after_s: row.get(6)?,
        chain_not_after_s: row.get(7)?,
        tls_version: row.get(8)?,
        cipher: row.get(9)?,
        problem: row.get::<_, Option<u16>>(10)?.map(|code| Code(code).name()),
        problem_text: row.get(11)?,
        first_seen_ms: number(row, 12)?,
        current_since_ms: number(row, 13)?,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(unsigned)
}

/// A JSON list of texts; empty where it is not one.
fn list(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// A number of rows as SQL has it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

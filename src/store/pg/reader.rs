//! Reads the PostgreSQL database while an engine writes it: for the command line and the API.
//!
//! Owns: the questions as SQL; how head rows and chunks make one history is shared with the SQLite
//! reader. Any server will do, a standby too. A lost connection is made anew at the next question.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use tokio::runtime::{Builder, Runtime};

use super::super::hours::{HOUR_MS, hour_start};
use super::super::reader::{Found, limit, windows};
use super::super::view::{
    CertView, ChannelRow, Counts, Evidence, Filter, Hours, Incident, MonitorView, OpenReader,
    Owner, Range, Read, Results, TransitionView, Watched, Written,
};
use super::super::{StoreError, signed, unsigned};
use super::{is_item, schema, small};
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::{GROUP_BITS, HOUR_GROUP_BITS, LANE_BITS, PG_READ_MS_MAX, WINDOW_MS};
use crate::monitor::{Kind, address};
use crate::pg::{PgOptions, Row, Session, Type, Value};
use crate::sample::{Code, Marks, Verdict};

/// Rows of chunks fetched at once: two hours of one monitor.
const CHUNKS_AT_ONCE: i64 = 24;

/// A PostgreSQL database, to look only.
pub struct PgReader {
    /// There until the end.
    runtime: Option<Runtime>,
    options: PgOptions,
    session: Option<Session>,
}

impl std::fmt::Debug for PgReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PgReader({})", self.options)
    }
}

impl PgReader {
    /// Connects to a database that an engine has used before.
    ///
    /// # Errors
    ///
    /// `Schema` for any but the one this version knows, or the database's.
    pub fn open(options: &PgOptions) -> Result<PgReader, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Database(error.to_string()))?;
        let (options, mut session) = (options.clone(), None);
        runtime.block_on(connected(&options, &mut session))?;
        Ok(PgReader { runtime: Some(runtime), options, session })
    }

    /// Asks one question within its own transaction.
    fn ask(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.within(async |session| Ok(session.query(sql, values).await?))
    }

    /// Does `work` in a transaction that sees one moment and changes nothing.
    fn within<T>(
        &mut self,
        work: impl AsyncFnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let PgReader { runtime: Some(runtime), options, session } = self else {
            return Err(StoreError::Ended);
        };
        runtime.block_on(async {
            let open = connected(options, session).await?;
            // The original's times are those of this host's clock.
            let zone = TimeZone::system();
            let zone = zone.iana_name().map(|name| format!("; SET LOCAL TimeZone = '{name}'"));
            let zone = zone.unwrap_or_default();
            let begin = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                 SET LOCAL statement_timeout = {PG_READ_MS_MAX}; SET LOCAL jit = off{zone}"
            );
            let result = async {
                open.run(&begin).await?;
                let done = work(open).await?;
                open.run("COMMIT").await?;
                Ok(done)
            }
            .await;
            if result.is_err() {
                *session = None;
            }
            result
        })
    }
}

/// Waits for nothing: whoever drops a reader may serve others.
impl Drop for PgReader {
    fn drop(&mut self) {
        self.session = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens readers of this server.
#[derive(Clone, Debug)]
pub struct PgServer(pub PgOptions);

impl OpenReader for PgServer {
    fn open(&self) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(PgReader::open(&self.0)?))
    }
}

/// True where the next monitors by number are asked for, whatever they are.
fn is_page(filter: &Filter) -> bool {
    let any = filter.verdict.is_none() && filter.name.is_none() && filter.tag.is_none();
    filter.by_id && filter.offset == 0 && !filter.problems && any
}

/// The open session, made where there is none.
async fn connected<'a>(
    options: &PgOptions,
    session: &'a mut Option<Session>,
) -> Result<&'a Session, StoreError> {
    if !session.as_ref().is_some_and(Session::is_open) {
        let open = Session::open(options).await?.waiting(PG_READ_MS_MAX);
        let (found, known) = (schema::found(&open).await?, schema::known());
        if found < known {
            let advice = "start the engine once with this version";
            return Err(StoreError::Schema { found, known, advice });
        }
        *session = Some(open);
    }
    session.as_ref().ok_or_else(|| StoreError::Database("not connected".to_owned()))
}

impl PgReader {
    /// The next ids, found by the indexes: with the rows, each page would read the whole table.
    fn page(&mut self, after: Option<i64>, rows_max: usize) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT * FROM engine.ids_after($1, $2)";
        let after = after.unwrap_or(-1);
        let values = [(&after as _, Type::INT8), (&limit(rows_max) as _, Type::INT8)];
        let rows = self.ask(sql, &values)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

impl Read for PgReader {
    fn totals(&mut self) -> Result<(u64, u64, u64), StoreError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE NOT paused),
                          count(*) FILTER (WHERE NOT paused AND problem IS NULL)
                   FROM engine.watched() WHERE NOT removed";
        let rows = self.ask(sql, &[])?;
        let number = |column| rows.first().map_or(0, |row| unsigned(row.get(column)));
        Ok((number(0), number(1), number(2)))
    }

    fn find(&mut self, name_or_id: &str) -> Result<Option<MonitorId>, StoreError> {
        let id = name_or_id.parse::<i64>().ok();
        let sql = "SELECT id FROM engine.watched() WHERE name = $1 OR id = $2
                   ORDER BY name <> $1, removed, id LIMIT 1";
        let rows = self.ask(sql, &[(&name_or_id, Type::TEXT), (&id, Type::INT8)])?;
        Ok(rows.first().map(|row| MonitorId(unsigned(row.get(0)))))
    }

    fn monitors(&mut self, filter: &Filter) -> Result<Vec<MonitorView>, StoreError> {
        let order = if filter.by_id { "m.id" } else { "m.name COLLATE \"C\", m.id" };
        let sql = format!(
            "SELECT m.id, m.name, m.kind, m.target, m.tags, m.source, m.problem, m.interval_ms,
                    CASE WHEN m.paused THEN 4 ELSE coalesce(s.verdict, 0) END, s.since_ms,
                    s.due_ms, s.code, s.message, s.total_us, s.http_status,
                    s.count_up, s.count_down, s.count_unknown, s.count_missed, m.created_ms,
                    m.user_id, m.stop_to_ms, coalesce(k.marks, 0)
             FROM engine.watched_of($8) m LEFT JOIN engine.state s ON s.monitor_id = m.id
                  LEFT JOIN engine.mark k ON k.monitor_id = m.id
             WHERE NOT m.removed
               AND ($1 IS NULL OR CASE WHEN m.paused THEN 4 ELSE coalesce(s.verdict, 0) END = $1)
               AND ($2 IS NULL OR strpos(m.name, $2) > 0)
               AND ($3 IS NULL OR jsonb_exists(m.tags::jsonb, $3))
               AND (NOT $4 OR m.problem IS NOT NULL)
               AND ($7 IS NULL OR m.id > $7)
             ORDER BY {order} LIMIT $5 OFFSET $6"
        );
        let verdict = filter.verdict.map(|verdict| verdict as i32);
        let after = filter.after.map(|after| signed(after.0));
        let only = filter.only.as_ref().map(|only| only.iter().map(|id| signed(id.0)).collect());
        let only: Option<Vec<i64>> = match only {
            None if is_page(filter) => Some(self.page(after, filter.limit)?),
            only => only,
        };
        let values: [Value<'_>; 8] = [
            (&verdict, Type::INT4),
            (&filter.name, Type::TEXT),
            (&filter.tag, Type::TEXT),
            (&filter.problems, Type::BOOL),
            (&limit(filter.limit), Type::INT8),
            (&limit(filter.offset), Type::INT8),
            (&after, Type::INT8),
            (&only, Type::INT8_ARRAY),
        ];
        let now_ms = wall_millis();
        let rows = self.ask(&sql, &values)?;
        Ok(rows.iter().map(|row| monitor_view(row).with_next_due(now_ms)).collect())
    }

    fn written(&mut self, from: MonitorId, rows_max: usize) -> Result<Vec<Written>, StoreError> {
        // Rows of the original's table are not written by us: they have no row of this form.
        let sql = "SELECT id, source, row_json, problem IS NOT NULL FROM engine.monitor
                   WHERE id >= $1 AND removed_ms IS NULL ORDER BY id LIMIT $2";
        let values: [Value<'_>; 2] =
            [(&signed(from.0), Type::INT8), (&limit(rows_max), Type::INT8)];
        let rows = self.ask(sql, &values)?;
        let written = |row: &Row| {
            let id = MonitorId(unsigned(row.get(0)));
            Written { id, source: row.get(1), row_json: row.get(2), has_problem: row.get(3) }
        };
        Ok(rows.iter().map(written).collect())
    }

    fn results(&mut self, monitor: MonitorId, range: &Range) -> Result<Results, StoreError> {
        self.within(async |session| {
            let mut found = Found::new(monitor, range);
            head_results(session, &mut found, monitor, range).await?;
            chunk_results(session, &mut found, monitor, range).await?;
            set_aside(session, &mut found, monitor, range).await?;
            Ok(found.results())
        })
    }

    fn hours(&mut self, monitor: MonitorId, from_ms: u64, to_ms: u64) -> Result<Hours, StoreError> {
        let end_ms = hour_start(to_ms).saturating_add(HOUR_MS - 1);
        let range = Range { from_ms, to_ms: end_ms, limit: usize::MAX };
        self.within(async |session| {
            let mut found = Found::new(monitor, &range);
            head_results(session, &mut found, monitor, &range).await?;
            unsummed_results(session, &mut found, monitor, &range).await?;
            set_aside(session, &mut found, monitor, &range).await?;
            let mut found = found.hours();
            let [grp, from, to] = [monitor.0 >> HOUR_GROUP_BITS, from_ms, to_ms].map(signed);
            let values =
                [(&grp as _, Type::INT8), (&from as _, Type::INT8), (&to as _, Type::INT8)];
            let sql = "SELECT t0, data FROM engine.hour_sum
                       WHERE grp = $1 AND t0 BETWEEN $2 AND $3";
            for row in session.query(sql, &values).await? {
                found.add(monitor, unsigned(row.get(0)), row.get(1));
            }
            Ok(found)
        })
    }

    fn evidence(&mut self, monitor: MonitorId) -> Result<Vec<Evidence>, StoreError> {
        let sql = "SELECT first_ms, last_ms, times, code, message, detail FROM engine.evidence
                   WHERE monitor_id = $1 ORDER BY last_ms DESC, id DESC";
        let rows = self.ask(sql, &[(&signed(monitor.0), Type::INT8)])?;
        let evidence = |row: &Row| {
            let code = Code(small(row.get(3)));
            Evidence {
                first_ms: unsigned(row.get(0)),
                last_ms: unsigned(row.get(1)),
                times: unsigned(row.get(2)),
                code: code.0,
                result: code.name(),
                message: row.get(4),
                detail: row
                    .get::<_, Option<&str>>(5)
                    .and_then(|text| serde_json::from_str(text).ok()),
            }
        };
        Ok(rows.iter().map(evidence).collect())
    }

    fn incidents(
        &mut self,
        monitor: Option<MonitorId>,
        rows_max: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = "SELECT i.monitor_id, m.name, i.opened_ms, i.closed_ms, i.code, i.message
                   FROM engine.incident i JOIN engine.watched() m ON m.id = i.monitor_id
                   WHERE ($1 IS NULL OR i.monitor_id = $1)
                   ORDER BY i.closed_ms IS NOT NULL, i.opened_ms DESC, i.id DESC LIMIT $2";
        let monitor = monitor.map(|monitor| signed(monitor.0));
        let rows = self.ask(sql, &[(&monitor, Type::INT8), (&limit(rows_max), Type::INT8)])?;
        let incident = |row: &Row| {
            let code = Code(small(row.get(4)));
            Incident {
                monitor: MonitorId(unsigned(row.get(0))),
                name: row.get(1),
                opened_ms: unsigned(row.get(2)),
                closed_ms: row.get::<_, Option<i64>>(3).map(unsigned),
                code: code.0,
                result: code.name(),
                message: row.get(5),
            }
        };
        Ok(rows.iter().map(incident).collect())
    }

    fn transitions(
        &mut self,
        monitor: Option<MonitorId>,
        rows_max: usize,
    ) -> Result<Vec<TransitionView>, StoreError> {
        let sql = "SELECT t.monitor_id, m.name, t.at_ms, t.from_verdict, t.to_verdict, t.code,
                          t.message, t.marks
                   FROM engine.transition t JOIN engine.watched() m ON m.id = t.monitor_id
                   WHERE ($1 IS NULL OR t.monitor_id = $1)
                   ORDER BY t.at_ms DESC, t.id DESC LIMIT $2";
        let monitor = monitor.map(|monitor| signed(monitor.0));
        let rows = self.ask(sql, &[(&monitor, Type::INT8), (&limit(rows_max), Type::INT8)])?;
        Ok(rows.iter().map(transition_view).collect())
    }

    fn transitions_after(
        &mut self,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<(u64, TransitionView)>, StoreError> {
        let sql = "SELECT t.monitor_id, m.name, t.at_ms, t.from_verdict, t.to_verdict, t.code,
                          t.message, t.marks, t.id
                   FROM engine.transition t JOIN engine.watched() m ON m.id = t.monitor_id
                   WHERE t.id > $1 ORDER BY t.id LIMIT $2";
        let values = [(&signed(after) as _, Type::INT8), (&limit(rows_max) as _, Type::INT8)];
        let rows = self.ask(sql, &values)?;
        Ok(rows.iter().map(|row| (unsigned(row.get(8)), transition_view(row))).collect())
    }

    fn newest_transition(&mut self) -> Result<u64, StoreError> {
        let rows = self.ask("SELECT coalesce(max(id), 0) FROM engine.transition", &[])?;
        Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
    }

    fn watched(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Watched>>, StoreError> {
        let ids: Vec<i64> = monitors.iter().map(|monitor| signed(monitor.0)).collect();
        let sql = "SELECT m.id, m.name, m.kind, m.target, m.tags, m.interval_ms, e.row_json,
                          o.id IS NOT NULL, o.repeat, o.ranges, o.zone, o.silent_until_ms,
                          o.firebase_token, o.email, o.channels
                   FROM engine.watched_of($1) m
                   LEFT JOIN engine.monitor e ON e.id = m.id
                   LEFT JOIN engine.owners($1) o ON o.id = m.id AND m.source = 'monitor_items'
                   WHERE NOT m.removed";
        let rows = self.ask(sql, &[(&ids, Type::INT8_ARRAY)])?;
        let mut found: HashMap<u64, Watched> =
            rows.iter().map(|row| (unsigned(row.get(0)), watched(row))).collect();
        // One may be asked for twice, once for each channel.
        let mut last: HashMap<u64, usize> = HashMap::new();
        monitors.iter().for_each(|monitor| *last.entry(monitor.0).or_default() += 1);
        let one = |monitor: &MonitorId| {
            let left = last.get_mut(&monitor.0)?;
            *left -= 1;
            if *left == 0 { found.remove(&monitor.0) } else { found.get(&monitor.0).cloned() }
        };
        Ok(monitors.iter().map(one).collect())
    }

    fn channel(&mut self, id: u64) -> Result<Option<ChannelRow>, StoreError> {
        let sql = "SELECT coalesce(name, ''), coalesce(kind, ''), coalesce(config, '')
                   FROM engine.channel($1)";
        let rows = self.ask(sql, &[(&signed(id), Type::INT8)])?;
        let row = rows.first();
        Ok(row.map(|row| ChannelRow { name: row.get(0), kind: row.get(1), config: row.get(2) }))
    }

    fn certs(&mut self, monitor: MonitorId) -> Result<Vec<CertView>, StoreError> {
        let sql = "SELECT c.sha256, c.subject, c.issuer, c.names, c.serial, c.not_before_s,
                          c.not_after_s, l.chain_not_after_s, l.tls_version, l.cipher, l.problem,
                          l.problem_text, l.first_seen_ms, l.current_since_ms
                   FROM engine.monitor_cert l JOIN engine.cert c ON c.id = l.cert_id
                   WHERE l.monitor_id = $1 ORDER BY l.current_since_ms DESC, c.id DESC";
        let rows = self.ask(sql, &[(&signed(monitor.0), Type::INT8)])?;
        Ok(rows.iter().map(cert_view).collect())
    }
}

fn transition_view(row: &Row) -> TransitionView {
    let code = Code(small(row.get(5)));
    TransitionView {
        monitor: MonitorId(unsigned(row.get(0))),
        name: row.get(1),
        at_ms: unsigned(row.get(2)),
        from: Verdict::from_number(small(row.get(3))),
        to: Verdict::from_number(small(row.get(4))),
        code: code.0,
        result: code.name(),
        message: row.get(6),
        marks: Marks::from_number(small(row.get(7))).names(),
    }
}

fn watched(row: &Row) -> Watched {
    let tags: String = row.get(4);
    let owner = row.get::<_, bool>(7).then(|| Owner {
        repeat: row.get(8),
        ranges: row.get(9),
        zone: row.get(10),
        silent_until_ms: row.get::<_, Option<i64>>(11).map(unsigned),
        firebase_token: row.get(12),
        email: row.get(13),
        channels: row.get(14),
    });
    Watched {
        name: row.get(1),
        kind: row.get::<_, Option<&str>>(2).and_then(Kind::from_name),
        target: row.get(3),
        tags: serde_json::from_str(&tags).unwrap_or_default(),
        interval_ms: unsigned(row.get(5)),
        row_json: row.get::<_, Option<String>>(6).unwrap_or_default(),
        owner,
    }
}

/// Results in head rows: the windows that are not compacted yet.
async fn head_results(
    session: &Session,
    found: &mut Found,
    monitor: MonitorId,
    range: &Range,
) -> Result<(), StoreError> {
    let lane = signed(monitor.0 >> LANE_BITS);
    let (from, to) = windows(range);
    let values = [(&lane as _, Type::INT8), (&from as _, Type::INT8), (&to as _, Type::INT8)];
    let sql = "SELECT t0, seq, data FROM engine.head WHERE lane = $1 AND t0 BETWEEN $2 AND $3";
    for row in session.query(sql, &values).await? {
        let seq: i64 = row.get(1);
        let base = unsigned(lane) << LANE_BITS;
        found.add(base, row.get(0), row.get(2), || format!("head {seq}"));
    }
    Ok(())
}

/// Results in chunks, newest window first, until there are enough.
async fn chunk_results(
    session: &Session,
    found: &mut Found,
    monitor: MonitorId,
    range: &Range,
) -> Result<(), StoreError> {
    let grp = signed(monitor.0 >> GROUP_BITS);
    let (from, mut to) = windows(range);
    let mut part_before = i32::MAX;
    loop {
        let values: [Value<'_>; 5] = [
            (&grp, Type::INT8),
            (&from, Type::INT8),
            (&to, Type::INT8),
            (&part_before, Type::INT4),
            (&CHUNKS_AT_ONCE, Type::INT8),
        ];
        let sql = "SELECT t0, part, data FROM engine.chunk
                   WHERE grp = $1 AND t0 >= $2 AND (t0 < $3 OR (t0 = $3 AND part < $4))
                   ORDER BY t0 DESC, part DESC LIMIT $5";
        let rows = session.query(sql, &values).await?;
        for row in &rows {
            (to, part_before) = (row.get(0), row.get(1));
            let window_end = unsigned(to).saturating_add(WINDOW_MS);
            if found.count_from(window_end) >= range.limit {
                return Ok(());
            }
            let base = unsigned(grp) << GROUP_BITS;
            found.add(base, to, row.get(2), || format!("chunk {grp} {to} {part_before}"));
        }
        if (rows.len() as i64) < CHUNKS_AT_ONCE {
            return Ok(());
        }
    }
}

/// Results in chunks that are not in the sums of their hour.
async fn unsummed_results(
    session: &Session,
    found: &mut Found,
    monitor: MonitorId,
    range: &Range,
) -> Result<(), StoreError> {
    let grp = monitor.0 >> GROUP_BITS;
    let ends = [grp, hour_start(range.from_ms), range.to_ms.min(i64::MAX as u64)].map(signed);
    let values = ends.each_ref().map(|number| (number as _, Type::INT8));
    let sql = "SELECT c.t0, c.part, c.data FROM engine.unsummed u
               JOIN engine.chunk c ON c.id = u.chunk
               WHERE u.grp = $1 AND u.t0 BETWEEN $2 AND $3";
    for row in session.query(sql, &values).await? {
        let (t0, part): (i64, i32) = (row.get(0), row.get(1));
        found.add(grp << GROUP_BITS, t0, row.get(2), || format!("chunk {grp} {t0} {part}"));
    }
    Ok(())
}

/// Head rows of this monitor's lane that an engine has set aside as damaged.
async fn set_aside(
    session: &Session,
    found: &mut Found,
    monitor: MonitorId,
    range: &Range,
) -> Result<(), StoreError> {
    let lane = signed(monitor.0 >> LANE_BITS);
    let (from, to) = windows(range);
    let values = [(&lane as _, Type::INT8), (&from as _, Type::INT8), (&to as _, Type::INT8)];
    let sql = "SELECT id, reason FROM engine.damaged WHERE lane = $1 AND t0 BETWEEN $2 AND $3";
    let rows = session.query(sql, &values).await?;
    let named = |row: &Row| format!("damaged {}: {}", row.get::<_, i64>(0), row.get::<_, &str>(1));
    found.damaged.extend(rows.iter().map(named));
    Ok(())
}

/// A monitor that was never checked has no state: its columns are NULL.
fn monitor_view(row: &Row) -> MonitorView {
    let number = |column| row.get::<_, Option<i64>>(column).map_or(0, unsigned);
    let code = Code(row.get::<_, Option<i32>>(11).map_or(0, small));
    let last_check_ms = Some(number(10)).filter(|due| *due > 0);
    let total_us = u32::try_from(number(13)).unwrap_or(u32::MAX);
    let http_status: u16 = row.get::<_, Option<i32>>(14).map_or(0, small);
    let id = MonitorId(number(0));
    // Whatever the original lets stand there.
    let target = match is_item(id) {
        true => address::masked_widely(row.get(3)),
        false => row.get(3),
    };
    let name: String = row.get(1);
    MonitorView {
        id,
        name: if name.trim().is_empty() { target.clone() } else { name },
        kind: row.get::<_, Option<&str>>(2).and_then(Kind::from_name),
        target,
        tags: list(row.get(4)),
        source: row.get(5),
        created_ms: number(19),
        user_id: row.get(20),
        stop_to_ms: row.get::<_, Option<i64>>(21).map(unsigned),
        problem: row.get(6),
        interval_ms: number(7),
        verdict: Verdict::from_number(small(row.get(8))),
        since_ms: Some(number(9)).filter(|since| *since > 0),
        last_check_ms,
        next_due_ms: None,
        marks: Marks::from_number(small(row.get(22))).names(),
        code: code.0,
        result: last_check_ms.map(|_| code.name()),
        message: row.get::<_, Option<String>>(12).unwrap_or_default(),
        total_us: last_check_ms.and((total_us != u32::MAX).then_some(total_us)),
        http_status: (http_status > 0).then_some(http_status),
        counts: Counts {
            up: number(15),
            down: number(16),
            unknown: number(17),
            missed: number(18),
        },
    }
}

fn cert_view(row: &Row) -> CertView {
    CertView {
        sha256: row.get(0),
        subject: row.get(1),
        issuer: row.get(2),
        names: list(row.get(3)),
        serial: row.get(4),
        not_before_s: row.get(5),
        not_after_s: row.get(6),
        chain_not_after_s: row.get(7),
        tls_version: row.get(8),
        cipher: row.get(9),
        problem: row.get::<_, Option<i32>>(10).map(|code| Code(small(code)).name()),
        problem_text: row.get(11),
        first_seen_ms: unsigned(row.get(12)),
        current_since_ms: unsigned(row.get(13)),
    }
}

/// A JSON list of texts; empty where it is not one.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

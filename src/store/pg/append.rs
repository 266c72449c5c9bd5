//! Records batches: one transaction with results, states, words, certificates and transitions, in
//! about ten round trips whatever their number.
//!
//! Owns: the order of writes, which is that of the SQLite store, and the cursor that makes a
//! repeated batch harmless, also after a COMMIT in doubt.

use std::collections::HashMap;

use super::super::append::Certs;
use super::super::cursor::Cursor;
use super::super::fold::{Fold, Touched};
use super::super::{Appended, RunId, StoreError, blob, clipped, signed, unsigned};
use super::link::Work;
use super::original::{self, Days};
use crate::ids::{MonitorId, ShardId};
use crate::limits::{EVIDENCE_MAX, MESSAGE_BYTES_MAX, PG_EVENTS_MAX};
use crate::pg::{Type, Value};
use crate::sample::{CheckResult, SampleBatch};

mod words;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub appended: Appended,
    /// Good answers among the results.
    pub up: u64,
    /// Bad ones.
    pub down: u64,
}

impl Done {
    /// Both together.
    pub fn and(self, other: Done) -> Done {
        let (one, two) = (self.appended, other.appended);
        Done {
            appended: Appended {
                rows: one.rows + two.rows,
                bytes: one.bytes + two.bytes,
                batches_skipped: one.batches_skipped + two.batches_skipped,
                set_aside: one.set_aside + two.set_aside,
            },
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}

/// Batches in groups of at most `PG_EVENTS_MAX` failures and changes, each a transaction: those
/// cost the server most, and in an outage of everything come all at once.
pub(super) fn parts(batches: &[SampleBatch]) -> impl Iterator<Item = &[SampleBatch]> {
    let mut rest = batches;
    std::iter::from_fn(move || {
        let mut events = 0;
        let fits = |batch: &&SampleBatch| {
            events += batch.words.len() + batch.transitions.len();
            events <= PG_EVENTS_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (part, others) = rest.split_at(count);
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// Records batches; see [`super::super::Store::append`]. Certificates that were written are put
/// into `seen`.
pub(super) async fn apply(
    work: Work<'_>,
    certs: &Certs,
    seen: &mut Certs,
    days: &mut Days,
    run: RunId,
    batches: &[SampleBatch],
) -> Result<Done, StoreError> {
    let new = advance_cursors(work, run, batches).await?;
    let mut done = write(work, certs, seen, days, &new).await?;
    done.appended.batches_skipped = (batches.len() - new.len()) as u64;
    Ok(done)
}

/// Writes all that batches say, whether they were recorded before or not.
pub(super) async fn write(
    work: Work<'_>,
    certs: &Certs,
    seen: &mut Certs,
    days: &mut Days,
    new: &[&SampleBatch],
) -> Result<Done, StoreError> {
    let mut done = Done::default();
    let fold = Fold::of_all(new);
    write_heads(work, &fold, &mut done).await?;
    // Changes first: they say when a verdict began, and the results then agree with it.
    words::record_evidence(work, new).await?;
    words::record_certs(work, new, certs, seen).await?;
    words::record_transitions(work, new).await?;
    let touched = fold.touched();
    for (_, touched) in &touched {
        done.up += u64::from(touched.counts.up);
        done.down += u64::from(touched.counts.down);
    }
    let messages = update_states(work, &touched).await?;
    original::write(work, days, new, &touched, &messages).await?;
    Ok(done)
}

/// Ids come sorted and few: for them a plan that reads the whole table costs double.
const BY_KEY: &str = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Gives those batches that are new and marks their numbers as applied.
pub(super) async fn advance_cursors<'a>(
    work: Work<'_>,
    run: RunId,
    batches: &'a [SampleBatch],
) -> Result<Vec<&'a SampleBatch>, StoreError> {
    work.session.run(BY_KEY).await?;
    let run = signed(run.0);
    let sql = "SELECT shard, seq, holes FROM engine.cursor WHERE run_id = $1 FOR UPDATE";
    let mut cursors: HashMap<ShardId, Cursor> = HashMap::new();
    for row in work.session.query(sql, &[(&run, Type::INT8)]).await? {
        let shard = u16::try_from(row.get::<_, i32>(0)).unwrap_or(u16::MAX);
        let holes = serde_json::from_str(row.get(2)).map_err(super::super::append::malformed)?;
        cursors.insert(ShardId(shard), Cursor { last: unsigned(row.get(1)), holes });
    }
    let mut new = Vec::with_capacity(batches.len());
    let mut changed: Vec<ShardId> = Vec::new();
    for batch in batches {
        if cursors.entry(batch.shard).or_default().take(batch.seq) {
            new.push(batch);
            changed.push(batch.shard);
        }
    }
    changed.sort_unstable();
    changed.dedup();
    let shards: Vec<i32> = changed.iter().map(|shard| i32::from(shard.0)).collect();
    let last: Vec<i64> = changed.iter().map(|shard| signed(cursors[shard].last)).collect();
    let holes: Vec<String> = changed
        .iter()
        .map(|shard| serde_json::to_string(&cursors[shard].holes))
        .collect::<Result<_, _>>()
        .map_err(super::super::append::malformed)?;
    let sql = "INSERT INTO engine.cursor (run_id, shard, seq, holes)
               SELECT $1, shard, seq, holes FROM unnest($2, $3, $4) AS u (shard, seq, holes)
               ON CONFLICT (run_id, shard)
               DO UPDATE SET seq = excluded.seq, holes = excluded.holes";
    let values: [Value<'_>; 4] = [
        (&run, Type::INT8),
        (&shards, Type::INT4_ARRAY),
        (&last, Type::INT8_ARRAY),
        (&holes, Type::TEXT_ARRAY),
    ];
    work.session.execute(sql, &values).await?;
    Ok(new)
}

async fn write_heads(work: Work<'_>, fold: &Fold, done: &mut Done) -> Result<(), StoreError> {
    let (mut starts, mut lanes, mut counts, mut blobs) = (vec![], vec![], vec![], vec![]);
    for (key, samples) in &fold.heads {
        let data = blob::pack(key.base(), key.t0_ms, samples)?;
        done.appended.rows += samples.len() as u64;
        done.appended.bytes += data.len() as u64;
        starts.push(signed(key.t0_ms));
        lanes.push(signed(key.lane));
        counts.push(samples.len() as i32);
        blobs.push(data);
    }
    let sql = "INSERT INTO engine.head (t0, lane, n, data) SELECT * FROM unnest($1, $2, $3, $4)";
    let values: [Value<'_>; 4] = [
        (&starts, Type::INT8_ARRAY),
        (&lanes, Type::INT8_ARRAY),
        (&counts, Type::INT4_ARRAY),
        (&blobs, Type::BYTEA_ARRAY),
    ];
    if !starts.is_empty() {
        work.session.execute(sql, &values).await?;
    }
    Ok(())
}

/// The latest state of many monitors, by column.
#[derive(Default)]
struct States {
    monitors: Vec<i64>,
    /// Due time of the last check that ran; `None` where none did: then only counts change.
    dues: Vec<Option<i64>>,
    verdicts: Vec<i32>,
    sinces: Vec<i64>,
    codes: Vec<i32>,
    resets: Vec<bool>,
    streaks: Vec<i32>,
    totals: Vec<i64>,
    statuses: Vec<i32>,
    messages: Vec<String>,
    counts: [Vec<i64>; 4],
}

impl States {
    fn push(&mut self, monitor: MonitorId, touched: &Touched) {
        let last = touched.last.as_ref();
        self.monitors.push(signed(monitor.0));
        self.dues.push(last.map(|last| signed(last.due_ms)));
        self.verdicts.push(last.map_or(0, |last| last.verdict as i32));
        self.sinces.push(signed(touched.since_ms));
        self.codes.push(last.map_or(0, |last| i32::from(last.code.0)));
        self.resets.push(touched.streak_reset);
        self.streaks.push(i32::from(touched.streak));
        self.totals.push(last.map_or(0, |last| i64::from(last.total_us)));
        self.statuses.push(last.map_or(0, |last| i32::from(last.http_status)));
        self.messages.push(plain(&touched.message, MESSAGE_BYTES_MAX));
        let counts = touched.counts;
        let counts = [counts.up, counts.down, counts.unknown, counts.missed];
        for (column, count) in self.counts.iter_mut().zip(counts) {
            column.push(i64::from(count));
        }
    }

    fn values(&self) -> [Value<'_>; 14] {
        [
            (&self.monitors, Type::INT8_ARRAY),
            (&self.dues, Type::INT8_ARRAY),
            (&self.verdicts, Type::INT4_ARRAY),
            (&self.codes, Type::INT4_ARRAY),
            (&self.resets, Type::BOOL_ARRAY),
            (&self.streaks, Type::INT4_ARRAY),
            (&self.totals, Type::INT8_ARRAY),
            (&self.statuses, Type::INT4_ARRAY),
            (&self.messages, Type::TEXT_ARRAY),
            (&self.counts[0], Type::INT8_ARRAY),
            (&self.counts[1], Type::INT8_ARRAY),
            (&self.counts[2], Type::INT8_ARRAY),
            (&self.counts[3], Type::INT8_ARRAY),
            (&self.sinces, Type::INT8_ARRAY),
        ]
    }
}

/// `u.due` is NULL, and no state newer, where the results say nothing about the present.
const UPDATE_STATES: &str = "
    UPDATE engine.state s SET
        since_ms = CASE WHEN s.due_ms <= u.due AND s.verdict <> u.verdict AND s.since_ms <= u.due
            THEN greatest(s.since_ms, u.since) ELSE s.since_ms END,
        verdict = CASE WHEN s.due_ms <= u.due AND s.since_ms <= u.due
            THEN u.verdict ELSE s.verdict END,
        due_ms = greatest(s.due_ms, u.due),
        code = CASE WHEN s.due_ms <= u.due THEN u.code ELSE s.code END,
        streak = CASE WHEN s.due_ms <= u.due
            THEN least(255, u.streak + CASE WHEN u.reset THEN 0 ELSE s.streak END)
            ELSE s.streak END,
        total_us = CASE WHEN s.due_ms <= u.due THEN u.total ELSE s.total_us END,
        http_status = CASE WHEN s.due_ms <= u.due THEN u.status ELSE s.http_status END,
        message = CASE WHEN s.due_ms <= u.due AND u.message <> '' THEN u.message
            WHEN s.due_ms <= u.due AND (s.code <> u.code OR s.http_status <> u.status) THEN ''
            ELSE s.message END,
        count_up = s.count_up + u.up, count_down = s.count_down + u.down,
        count_unknown = s.count_unknown + u.unknown, count_missed = s.count_missed + u.missed
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        AS u (monitor, due, verdict, code, reset, streak, total, status, message, up, down,
            unknown, missed, since)
    WHERE s.monitor_id = u.monitor
    RETURNING s.monitor_id, CASE WHEN s.monitor_id < 1099511627776 THEN s.message END";

/// Updates the states of monitors. Gives the message of each row of the original's table, which
/// holds for its results without words of their own. A row that was never checked gets its state
/// here; a monitor that is not there any more has none, and nothing is written.
async fn update_states(
    work: Work<'_>,
    touched: &[(MonitorId, Touched)],
) -> Result<HashMap<MonitorId, String>, StoreError> {
    let mut states = States::default();
    touched.iter().for_each(|(monitor, touched)| states.push(*monitor, touched));
    let mut messages = HashMap::new();
    if touched.is_empty() {
        return Ok(messages);
    }
    let mut take = |rows: Vec<crate::pg::Row>| {
        let count = rows.len();
        messages.extend(rows.iter().filter_map(|row| {
            Some((MonitorId(unsigned(row.get(0))), row.get::<_, Option<String>>(1)?))
        }));
        count
    };
    let found = take(work.session.query(UPDATE_STATES, &states.values()).await?);
    if found == touched.len() {
        return Ok(messages);
    }
    let insert = format!(
        "INSERT INTO engine.state (monitor_id)
         SELECT i.id FROM unnest($1) AS u (monitor) JOIN {}.monitor_items i ON i.id = u.monitor
         WHERE i.deleted_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM engine.state s WHERE s.monitor_id = u.monitor)
         ON CONFLICT DO NOTHING RETURNING monitor_id",
        work.places.core
    );
    let values = [(&states.monitors as _, Type::INT8_ARRAY)];
    let made = work.session.query(&insert, &values).await?;
    let made: std::collections::HashSet<MonitorId> =
        made.iter().map(|row| MonitorId(unsigned(row.get(0)))).collect();
    let mut new = States::default();
    let of_new = touched.iter().filter(|(monitor, _)| made.contains(monitor));
    of_new.for_each(|(monitor, touched)| new.push(*monitor, touched));
    take(work.session.query(UPDATE_STATES, &new.values()).await?);
    Ok(messages)
}

/// A text without the one character that PostgreSQL has no place for, cut to a bound.
pub(super) fn plain(text: &str, bytes_max: usize) -> String {
    if text.contains('\0') {
        let without = text.replace('\0', "");
        return clipped(&without, bytes_max).to_owned();
    }
    clipped(text, bytes_max).to_owned()
}

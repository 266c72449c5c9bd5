//! What the original service writes about its own monitors, in its own tables.
//!
//! Owns: five columns of `monitor_items`, and rows of `monitor_checks`. Only good and bad answers
//! count there: a check that was not run, or of which we cannot tell, is no `-1`. The time of a row
//! is when its check started. A row that was deleted gets nothing any more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use bytes::Bytes;
use jiff::Timestamp;

use super::super::fold::Touched;
use super::super::{StoreError, signed, unsigned};
use super::append::plain;
use super::is_item;
use super::link::Work;
use super::schema::Form;
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::monitor::Kind;
use crate::pg::{Row, Type, Value};
use crate::sample::{CheckResult, Sample, SampleBatch, Words};

mod facts;

const HOUR_MS: u64 = 3_600_000;
const DAY_US: i64 = 86_400_000_000;

/// Days of which the table of checks is known to be there, as days since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Days(HashSet<i64>);

/// What a row says about its monitor.
pub(super) struct Item {
    user: i64,
    kind: String,
    target: String,
    /// Texts between commas that a body must have.
    required: Option<String>,
}

/// When a check started, in microseconds since the Unix epoch.
fn started_us(sample: &Sample) -> i64 {
    let lag = if sample.lag_us == u32::MAX { 0 } else { i64::from(sample.lag_us) };
    signed(sample.due_ms).saturating_mul(1_000).saturating_add(lag)
}

/// 1 for a good answer, -1 for a bad one, `None` for neither.
fn status(sample: &Sample) -> Option<i32> {
    match sample.code.result() {
        CheckResult::Up => Some(1),
        CheckResult::Down(_) => Some(-1),
        CheckResult::Unknown(_) | CheckResult::Missed(_) => None,
    }
}

/// Writes what `batches` say about rows of the original. `messages` has the message of each that
/// holds for results without words of their own.
pub(super) async fn write(
    work: Work<'_>,
    days: &mut Days,
    batches: &[&SampleBatch],
    touched: &[(MonitorId, Touched)],
    messages: &HashMap<MonitorId, String>,
) -> Result<(), StoreError> {
    let judged = |touched: &Touched| touched.counts.up + touched.counts.down > 0;
    if !touched.iter().any(|(monitor, touched)| is_item(*monitor) && judged(touched)) {
        return Ok(());
    }
    let items = update_items(work, batches, touched).await?;
    let Some(series) = &work.places.series else { return Ok(()) };
    let mut lines = Lines { items, messages, text: String::new(), days: BTreeSet::new() };
    batches.iter().for_each(|batch| lines.add(batch));
    if lines.text.is_empty() {
        return Ok(());
    }
    if work.places.form == Form::Days {
        for day in &lines.days {
            days.make(work, series, *day).await?;
        }
    }
    let sql = format!(
        "COPY {series}.monitor_checks
         (time, monitor_id, user_id, check_type, status, response_time, message, details)
         FROM STDIN"
    );
    work.session.copy(&sql, Bytes::from(lines.text)).await?;
    note_hours(work, batches).await
}

/// Updates the rows that are not deleted, and gives what they say. The columns agree with the
/// latest check; counts grow by every one, also by those that come late.
async fn update_items(
    work: Work<'_>,
    batches: &[&SampleBatch],
    touched: &[(MonitorId, Touched)],
) -> Result<HashMap<MonitorId, Item>, StoreError> {
    let mut latest: HashMap<MonitorId, (i64, i32)> = HashMap::with_capacity(touched.len());
    for sample in batches.iter().flat_map(|batch| &batch.samples) {
        let Some(status) = status(sample).filter(|_| is_item(sample.monitor)) else { continue };
        let at = started_us(sample);
        let known = latest.entry(sample.monitor).or_insert((at, status));
        if known.0 <= at {
            *known = (at, status);
        }
    }
    let (mut ids, mut statuses, mut ats) = (vec![], vec![], vec![]);
    let (mut ups, mut downs) = (vec![], vec![]);
    for (monitor, touched) in touched {
        let Some((at, status)) = latest.get(monitor) else { continue };
        ids.push(signed(monitor.0));
        statuses.push(*status);
        ats.push(*at);
        ups.push(i64::from(touched.counts.up));
        downs.push(i64::from(touched.counts.down));
    }
    let values: [Value<'_>; 5] = [
        (&ids, Type::INT8_ARRAY),
        (&statuses, Type::INT4_ARRAY),
        (&ats, Type::INT8_ARRAY),
        (&ups, Type::INT8_ARRAY),
        (&downs, Type::INT8_ARRAY),
    ];
    let sql = format!(
        "UPDATE {}.monitor_items m SET
             last_check_status = CASE WHEN m.last_check_time > u.at
                 THEN m.last_check_status ELSE u.status END,
             last_check_time = greatest(m.last_check_time, u.at),
             count_online = least(m.count_online::bigint + u.up, 2147483647),
             count_offline = least(m.count_offline::bigint + u.down, 2147483647),
             updated_at = greatest(m.updated_at, u.at)
         FROM (SELECT id, status, to_timestamp(at_us::float8 / 1e6)::timestamp AS at, up, down
               FROM unnest($1, $2, $3, $4, $5) AS u (id, status, at_us, up, down)) u
         WHERE m.id = u.id AND m.deleted_at IS NULL
         RETURNING m.id::bigint, coalesce(m.user_id, 0)::bigint, coalesce(m.type, ''),
                   coalesce(m.url_check, ''),
                   CASE WHEN m.type = 'web_content' THEN m.result_valid END",
        work.places.core
    );
    let rows = work.session.query(&sql, &values).await?;
    let item = |row: &Row| {
        let (kind, target) = (row.get(2), row.get(3));
        let item = Item { user: row.get(1), kind, target, required: row.get(4) };
        (MonitorId(unsigned(row.get(0))), item)
    };
    Ok(rows.iter().map(item).collect())
}

/// Rows of `monitor_checks` as COPY takes them.
struct Lines<'a> {
    items: HashMap<MonitorId, Item>,
    messages: &'a HashMap<MonitorId, String>,
    text: String,
    days: BTreeSet<i64>,
}

impl Lines<'_> {
    fn add(&mut self, batch: &SampleBatch) {
        let words: HashMap<u16, &Words> =
            batch.words.iter().map(|words| (words.sample, words)).collect();
        for (index, sample) in batch.samples.iter().enumerate() {
            let Some(status) = status(sample) else { continue };
            let Some(item) = self.items.get(&sample.monitor) else { continue };
            let at_us = started_us(sample);
            let Ok(at) = Timestamp::from_microsecond(at_us) else { continue };
            let words = words.get(&(index as u16)).copied();
            let message = match words {
                Some(words) => &*words.message,
                None => self.messages.get(&sample.monitor).map_or("", String::as_str),
            };
            let (monitor, user) = (sample.monitor.0, item.user);
            // A String takes everything.
            let _ = write!(self.text, "{at}\t{monitor}\t{user}\t");
            escape(&mut self.text, &item.kind);
            let _ = write!(self.text, "\t{status}\t");
            let unanswered = item.kind == Kind::PingIcmp.name() && status < 0;
            if sample.total_us == u32::MAX || unanswered {
                self.text.push_str("\\N");
            } else {
                let (ms, rest) = (sample.total_us / 1_000, sample.total_us % 1_000);
                let _ = write!(self.text, "{ms}.{rest:03}");
            }
            self.text.push('\t');
            escape(&mut self.text, &plain(message, MESSAGE_BYTES_MAX));
            self.text.push('\t');
            match facts::details(item, sample, words) {
                Some(details) => escape(&mut self.text, &details),
                None => self.text.push_str("\\N"),
            }
            self.text.push('\n');
            self.days.insert(at_us.div_euclid(DAY_US));
        }
    }
}

/// A text as COPY takes it.
fn escape(line: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\0' => {}
            letter => line.push(letter),
        }
    }
}

/// Notes which hours have new rows, so that they are summed up, also again.
async fn note_hours(work: Work<'_>, batches: &[&SampleBatch]) -> Result<(), StoreError> {
    let samples = batches.iter().flat_map(|batch| &batch.samples);
    let hours: BTreeSet<i64> = samples
        .filter(|sample| is_item(sample.monitor) && status(sample).is_some())
        .map(|sample| started_us(sample).div_euclid(1_000))
        .map(|at_ms| at_ms - at_ms.rem_euclid(signed(HOUR_MS)))
        .collect();
    let hours: Vec<i64> = hours.into_iter().collect();
    // An hour that still goes on is noted once, and engines on one database do not wait for each
    // other; of one that is over the row is locked, so that nobody sums it up without these rows.
    let over = signed(wall_millis().saturating_sub(HOUR_MS));
    let sql = "INSERT INTO engine.hour (t0)
               SELECT t0 FROM unnest($1) AS u (t0)
               WHERE t0 <= $2 OR NOT EXISTS (SELECT 1 FROM engine.hour h WHERE h.t0 = u.t0)
               ON CONFLICT (t0) DO UPDATE SET next_id = 0";
    let values = [(&hours as _, Type::INT8_ARRAY), (&over as _, Type::INT8)];
    work.session.execute(sql, &values).await?;
    Ok(())
}

impl Days {
    /// Forgets what it knows: after a rollback, a table that was made is not there.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Makes the table of a day where it is missing. Readers go on meanwhile.
    pub async fn make(&mut self, work: Work<'_>, series: &str, day: i64) -> Result<(), StoreError> {
        if self.0.contains(&day) {
            return Ok(());
        }
        let name = format!("{series}.{}", day_table(day)?);
        let there = "SELECT to_regclass($1) IS NOT NULL";
        let mut rows = work.session.query(there, &[(&name, Type::TEXT)]).await?;
        if !rows[0].get::<_, bool>(0) {
            // Two engines on one database take turns.
            work.session
                .query("SELECT pg_advisory_xact_lock(hashtext($1))", &[(&name, Type::TEXT)])
                .await?;
            rows = work.session.query(there, &[(&name, Type::TEXT)]).await?;
        }
        if !rows[0].get::<_, bool>(0) {
            let (from, to) = (day_start(day)?, day_start(day + 1)?);
            let sql = format!(
                "CREATE TABLE {name} (LIKE {series}.monitor_checks INCLUDING ALL);
                 ALTER TABLE {series}.monitor_checks ATTACH PARTITION {name}
                     FOR VALUES FROM ('{from}') TO ('{to}')"
            );
            work.session.run(&sql).await?;
        }
        self.0.insert(day);
        Ok(())
    }
}

/// The name of the table of a day.
pub(super) fn day_table(day: i64) -> Result<String, StoreError> {
    Ok(format!("monitor_checks_p{}", day_start(day)?.strftime("%Y%m%d")))
}

fn day_start(day: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_second(day.saturating_mul(86_400))
        .map_err(|error| StoreError::Database(format!("day {day}: {error}")))
}

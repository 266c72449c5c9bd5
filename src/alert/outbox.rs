//! The file of what is to be told: `alerts.db` in the data folder.
//!
//! Owns: opening it, the queue of notices and the cursor into the store's changes. `plan` and
//! `burst` decide what goes in. One thread writes; `engine alert list` may look meanwhile. Commits
//! do not wait for the disk (`synchronous=NORMAL`): what a loss of power takes back is made again
//! from the store, under the same keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use serde::Serialize;

use super::AlertError;
use super::notice::{Event, Notice};
use crate::limits::{ALERT_EXPIRE_MS, ALERT_KEEP_MS, ALERT_SEEN_MS, ALERT_WAITING_MAX};

mod embedded {
    refinery::embed_migrations!("migrations/alerts");
}

/// The name of the file in the data folder.
pub const FILE: &str = "alerts.db";

/// The mark of the newest change that was read from the store.
const CURSOR: &str = "cursor";

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits.
    Waiting = 0,
    /// The receiver took it.
    Delivered = 1,
    /// It became too old.
    GivenUp = 2,
    /// The receiver will never take it.
    Refused = 3,
}

impl State {
    fn name(number: u8) -> &'static str {
        match number {
            0 => "waiting",
            1 => "delivered",
            2 => "given_up",
            _ => "refused",
        }
    }
}

/// A notice that may go out now.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its number.
    pub id: i64,
    /// The monitor, or the group below zero.
    pub subject: i64,
    /// Deliveries tried.
    pub attempts: u32,
    /// What to send.
    pub notice: Notice,
}

/// A row of the outbox as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// The channel.
    pub channel: String,
    /// What it tells.
    pub event: String,
    /// The name of the monitor.
    pub monitor: String,
    /// `waiting`, `delivered`, `given_up` or `refused`.
    pub state: &'static str,
    /// When it was made.
    pub made_ms: u64,
    /// When it is tried next, where it waits.
    pub next_ms: Option<u64>,
    /// Deliveries tried.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: String,
    /// The same for every attempt.
    pub key: String,
}

/// The file, open.
#[derive(Debug)]
pub struct Outbox {
    pub(super) conn: Connection,
}

impl Outbox {
    /// Opens the file in a data folder and makes it where it is missing.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn open(data_dir: &Path) -> Result<Outbox, AlertError> {
        let file = data_dir.join(FILE);
        let mut conn = Connection::open(&file)?;
        // It holds addresses and tokens of owners: nobody else needs to read it.
        if let Err(error) = fs::set_permissions(&file, fs::Permissions::from_mode(0o600)) {
            tracing::warn!(%error, "alerts.db stays readable to others");
        }
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;
             PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 16777216;",
        )?;
        conn.set_prepared_statement_cache_capacity(64);
        embedded::migrations::runner()
            .run(&mut conn)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))?;
        Ok(Outbox { conn })
    }

    /// Opens the file to look only; `None` where there is none.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn look(data_dir: &Path) -> Result<Option<Outbox>, AlertError> {
        let file = data_dir.join(FILE);
        if !file.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(file, flags)?;
        conn.execute_batch("PRAGMA busy_timeout = 5000")?;
        Ok(Some(Outbox { conn }))
    }

    /// The newest notices, those that wait first.
    ///
    /// # Errors
    ///
    /// What SQLite says.
    pub fn lines(&self, limit: usize) -> Result<Vec<Line>, AlertError> {
        let mut statement = self.conn.prepare(
            "SELECT id, channel, event, json_extract(body, '$.facts.name'), state, made_ms, next_ms,
                    attempts, error, key
             FROM notice ORDER BY state <> 0, id DESC LIMIT ?1",
        )?;
        let lines = statement.query_map([limit as i64], |row| {
            let state: u8 = row.get(4)?;
            Ok(Line {
                id: row.get(0)?,
                channel: row.get(1)?,
                event: row.get(2)?,
                monitor: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                state: State::name(state),
                made_ms: number(row.get(5)?),
                next_ms: (state == 0).then_some(number(row.get(6)?)),
                attempts: row.get(7)?,
                error: row.get(8)?,
                key: row.get(9)?,
            })
        })?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// The newest change that was read from the store; `None` before the first look.
    pub(super) fn cursor(&self) -> rusqlite::Result<Option<u64>> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM mark WHERE name = ?1")?;
        let value: Option<i64> = statement.query_row([CURSOR], |row| row.get(0)).optional()?;
        Ok(value.map(number))
    }

    /// Channels with notices that wait.
    pub(super) fn channels_waiting(&self) -> rusqlite::Result<Vec<String>> {
        // One step into the index for each channel, however many notices wait.
        let mut statement = self.conn.prepare_cached(
            "WITH RECURSIVE next(channel) AS (
                 SELECT min(channel) FROM notice INDEXED BY notice_waiting WHERE state = 0
                 UNION ALL
                 SELECT (SELECT min(channel) FROM notice INDEXED BY notice_waiting
                         WHERE state = 0 AND channel > next.channel)
                 FROM next WHERE next.channel IS NOT NULL)
             SELECT channel FROM next WHERE channel IS NOT NULL",
        )?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    /// Notices of a channel that may go out now: the first that waits of each subject, oldest
    /// first.
    pub(super) fn ready(
        &self,
        channel: &str,
        now_ms: u64,
        limit: usize,
    ) -> rusqlite::Result<Vec<Ready>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT n.id, n.subject, n.attempts, n.body FROM notice n INDEXED BY notice_ready
             WHERE n.state = 0 AND n.channel = ?1 AND n.next_ms <= ?2
               AND NOT EXISTS (SELECT 1 FROM notice b WHERE b.state = 0 AND b.channel = ?1
                               AND b.subject = n.subject AND b.id < n.id)
             ORDER BY n.id LIMIT ?3",
        )?;
        let rows = statement.query_map(params![channel, now_ms as i64, limit as i64], |row| {
            let body: String = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, body))
        })?;
        let mut ready = Vec::new();
        for row in rows {
            let (id, subject, attempts, body) = row?;
            match serde_json::from_str(&body) {
                Ok(notice) => ready.push(Ready { id, subject, attempts, notice }),
                Err(error) => tracing::error!(id, %error, "a notice of the outbox is unreadable"),
            }
        }
        Ok(ready)
    }

    /// Gives up what is too old or too much, and says so over its channel. Returns how many.
    pub(super) fn expire(&mut self, now_ms: u64) -> rusqlite::Result<u64> {
        let old_ms = now_ms.saturating_sub(ALERT_EXPIRE_MS) as i64;
        let transaction = self.conn.transaction()?;
        let mut lost: Vec<(String, u64)> = Vec::new();
        for (channel, waiting, oldest_ms) in waiting_by_channel(&transaction)? {
            let surplus = waiting.saturating_sub(ALERT_WAITING_MAX);
            if oldest_ms > old_ms && surplus == 0 {
                continue;
            }
            let given_up = transaction.execute(
                "UPDATE notice SET state = 2, done_ms = ?3
                 WHERE state = 0 AND channel = ?1 AND event <> 'expired'
                   AND (made_ms <= ?2 OR id IN (SELECT id FROM notice WHERE state = 0
                        AND channel = ?1 ORDER BY id LIMIT ?4))",
                params![channel, old_ms, now_ms as i64, surplus as i64],
            )?;
            if given_up > 0 {
                lost.push((channel, given_up as u64));
            }
        }
        for (channel, count) in &lost {
            say_expired(&transaction, channel, *count, now_ms)?;
        }
        transaction.commit()?;
        Ok(lost.iter().map(|(_, count)| count).sum())
    }

    /// Deletes what is done with and old.
    pub(super) fn prune(&mut self, now_ms: u64) -> rusqlite::Result<()> {
        let before = |age: u64| now_ms.saturating_sub(age) as i64;
        self.conn.execute(
            "DELETE FROM notice WHERE state IN (1, 2, 3) AND made_ms < ?1",
            [before(ALERT_KEEP_MS)],
        )?;
        self.conn.execute("DELETE FROM seen WHERE at_ms < ?1", [before(ALERT_SEEN_MS)])?;
        Ok(())
    }

    /// Notices that wait, outages that are open, when the oldest notice was made, and how often an
    /// outage is not told because something stands against it.
    pub(super) fn totals(&self) -> rusqlite::Result<(u64, u64, u64, u64)> {
        let mut statement = self.conn.prepare_cached(
            "SELECT (SELECT count(*) FROM notice WHERE state = 0), (SELECT count(*) FROM outage),
                    (SELECT coalesce(min(made_ms), 0) FROM notice WHERE state = 0),
                    (SELECT count(*) FROM told WHERE held <> '')",
        )?;
        statement.query_row([], |row| {
            Ok((number(row.get(0)?), number(row.get(1)?), number(row.get(2)?), number(row.get(3)?)))
        })
    }
}

fn waiting_by_channel(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, u64, i64)>> {
    let mut statement = transaction.prepare_cached(
        "SELECT channel, count(*), min(made_ms) FROM notice WHERE state = 0 GROUP BY channel",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, number(row.get::<_, i64>(1)?), row.get::<_, i64>(2)?))
    })?;
    rows.collect()
}

/// One notice for all that was given up and is not told yet.
fn say_expired(
    transaction: &Transaction<'_>,
    channel: &str,
    count: u64,
    now_ms: u64,
) -> rusqlite::Result<()> {
    let earlier: Option<(i64, i64)> = transaction
        .query_row(
            "SELECT id, json_extract(body, '$.failures') FROM notice
             WHERE state = 0 AND channel = ?1 AND event = 'expired'",
            [channel],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let all = count + earlier.map_or(0, |(_, before)| number(before));
    let text = format!(
        "{all} notices were given up because this channel did not take them in time; \
         `engine alert list` shows them"
    );
    let mut notice = Notice::of_engine(Event::Expired, format!("expired-{now_ms}"), text, now_ms);
    notice.failures = u32::try_from(all).unwrap_or(u32::MAX);
    if let Some((id, _)) = earlier {
        transaction.execute("DELETE FROM notice WHERE id = ?1", [id])?;
    }
    put(transaction, channel, 0, &notice, now_ms)
}

/// Puts a notice into the outbox, not to be sent before `next_ms`. One whose key is there already
/// is not put a second time.
pub(super) fn put(
    transaction: &Transaction<'_>,
    channel: &str,
    subject: i64,
    notice: &Notice,
    next_ms: u64,
) -> rusqlite::Result<()> {
    let body = serde_json::to_string(notice)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO notice (channel, subject, key, event, made_ms, next_ms, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            channel,
            subject,
            notice.key,
            notice.event.name(),
            notice.made_ms as i64,
            next_ms as i64,
            body
        ])?;
    Ok(())
}

/// Notes the end of a notice.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    id: i64,
    state: State,
    error: &str,
    now_ms: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE notice SET state = ?2, error = ?3, done_ms = ?4, attempts = attempts + 1
             WHERE id = ?1 AND state = 0",
        )?
        .execute(params![id, state as i64, error, now_ms as i64])?;
    Ok(())
}

/// Notes a delivery that failed, and when the next one may be tried.
pub(super) fn postpone(
    transaction: &Transaction<'_>,
    id: i64,
    error: &str,
    next_ms: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE notice SET attempts = attempts + 1, error = ?2, next_ms = ?3
             WHERE id = ?1 AND state = 0",
        )?
        .execute(params![id, error, next_ms as i64])?;
    Ok(())
}

/// Moves the cursor.
pub(super) fn set_cursor(transaction: &Transaction<'_>, value: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)")?
        .execute(params![CURSOR, value as i64])?;
    Ok(())
}

/// A number as it was before it went into the file.
pub(super) fn number(value: i64) -> u64 {
    value.cast_unsigned()
}

//! The state rows: written at once where there is news, and else brought up to the head.
//!
//! Owns: the two ways a state row is written and how it is read meanwhile. A result without news
//! (see `fold`) is only in a head row at first. Once a minute each lane is *advanced*: the results
//! that its head rows have gained since go into its states, in the order of their numbers, so that
//! neighbours share a page. How far a lane was advanced is stored with it, in one transaction:
//! after a kill at any moment each result counts once. Whoever reads puts what the head has above
//! on top, and sees every committed result. Needs no memory; `benches/store_cost.rs` measures
//! 1.7 µs a result with all else the store does for it, at a million monitors.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Rows, Transaction, params};

use super::fold::{Counts, Touched};
use super::slice::Slice;
use super::sqlite::begin;
use super::{Maintained, StoreError, clipped, signed, unsigned};
use crate::ids::MonitorId;
use crate::limits::{LANE_BITS, MESSAGE_BYTES_MAX, STATES_EVERY_MS};
use crate::monitor::State;
use crate::monitor::verdict::settled_from;
use crate::sample::{Code, Verdict};

/// Lanes whose head has results that their states have not, each with the time it is due; the
/// times are apart, so that the lanes do not all come at once.
#[derive(Debug)]
pub(super) struct Lanes(BTreeMap<u64, Option<u64>>);

impl Lanes {
    /// Every lane that has head rows.
    pub fn of(conn: &Connection) -> Result<Lanes, StoreError> {
        let mut statement = conn.prepare("SELECT DISTINCT lane FROM head")?;
        let lanes = statement.query_map([], |row| Ok((unsigned(row.get(0)?), None)))?;
        Ok(Lanes(lanes.collect::<Result<_, _>>()?))
    }

    /// The head of a lane has grown.
    pub fn touch(&mut self, lane: u64) {
        self.0.entry(lane).or_default();
    }

    /// Advances one lane that is due; `None` where none is.
    pub fn step(
        &mut self,
        conn: &mut Connection,
        now_ms: u64,
    ) -> Result<Option<Maintained>, StoreError> {
        for (lane, due_ms) in &mut self.0 {
            due_ms.get_or_insert_with(|| due_after(now_ms, *lane));
        }
        let due = |due_ms: &Option<u64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        let mut all_due = self.0.iter().filter(|(_, due_ms)| due(due_ms)).map(|(lane, _)| *lane);
        let Some(lane) = all_due.next() else { return Ok(None) };
        let further = all_due.next().is_some();
        let transaction = begin(conn)?;
        let advanced = advance(&transaction, lane)?;
        transaction.commit()?;
        if !advanced.more {
            self.0.remove(&lane);
        }
        let more = advanced.more || further;
        Ok(Some(Maintained { more, states_written: advanced.states, ..Maintained::default() }))
    }
}

/// The first time after `now_ms` at which this lane has its turn.
fn due_after(now_ms: u64, lane: u64) -> u64 {
    // Multiples of the golden section spread any number of lanes evenly.
    let phase = lane.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let phase = (phase * STATES_EVERY_MS) >> 32;
    let into = (now_ms % STATES_EVERY_MS + STATES_EVERY_MS - phase) % STATES_EVERY_MS;
    now_ms + STATES_EVERY_MS - into
}

/// How far a lane has come.
pub(super) struct Advanced {
    /// The states hold all head rows up to this one.
    pub seq: i64,
    /// True where there are more.
    pub more: bool,
    /// States written.
    pub states: u64,
}

/// Takes a bounded number of head rows of a lane into its states.
pub(super) fn advance(transaction: &Transaction<'_>, lane: u64) -> Result<Advanced, StoreError> {
    let from = position(transaction, lane)?;
    let slice = above(transaction, lane, from, |_| true)?;
    if slice.last_seq == from {
        return Ok(Advanced { seq: from, more: false, states: 0 });
    }
    let mut states = 0;
    for (monitor, touched) in slice.by_monitor() {
        write(transaction, monitor, &touched)?;
        states += 1;
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO lane (lane, seq) VALUES (?1, ?2)")?
        .execute([signed(lane), slice.last_seq])?;
    Ok(Advanced { seq: slice.last_seq, more: slice.more, states })
}

fn position(conn: &Connection, lane: u64) -> Result<i64, StoreError> {
    let seq = conn
        .prepare_cached("SELECT seq FROM lane WHERE lane = ?1")?
        .query_row([signed(lane)], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

fn above(
    conn: &Connection,
    lane: u64,
    seq: i64,
    wanted: impl Fn(MonitorId) -> bool + Copy,
) -> Result<Slice, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, t0, data FROM head WHERE lane = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    read_slice_of(statement.query([signed(lane), seq])?, signed(lane), seq, wanted)
}

/// Calls `each` with what the head of a lane has of the monitors that are `wanted` above its
/// states, in bounded pieces: a monitor may come several times, each on top of the time before.
/// Must be in one transaction with the reading of the states.
pub(super) fn on_top(
    conn: &Connection,
    lane: u64,
    wanted: impl Fn(MonitorId) -> bool + Copy,
    mut each: impl FnMut(MonitorId, &Touched),
) -> Result<(), StoreError> {
    let mut from = position(conn, lane)?;
    loop {
        let slice = above(conn, lane, from, wanted)?;
        slice.by_monitor().for_each(|(monitor, touched)| each(monitor, &touched));
        if !slice.more {
            return Ok(());
        }
        from = slice.last_seq;
    }
}

/// Reads rows of `seq`, `t0` and `data` until there are `COMPACT_SAMPLES_MAX` results.
pub(super) fn read_slice(rows: Rows<'_>, lane: i64, last_seq: i64) -> Result<Slice, StoreError> {
    read_slice_of(rows, lane, last_seq, |_| true)
}

fn read_slice_of(
    mut rows: Rows<'_>,
    lane: i64,
    last_seq: i64,
    wanted: impl Fn(MonitorId) -> bool + Copy,
) -> Result<Slice, StoreError> {
    let mut slice = Slice { last_seq, ..Slice::default() };
    while let Some(row) = rows.next()? {
        let data = row.get_ref(2)?.as_blob().unwrap_or_default();
        if !slice.add_of(row.get(1)?, lane, row.get(0)?, data, wanted) {
            break;
        }
    }
    slice.sort();
    Ok(slice)
}

/// Writes what news say of the last check. Verdict and counters are not among it: a change of
/// verdict has its own record, and the rest follows from the head.
pub(super) fn write_news(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    news: &Touched,
) -> Result<(), StoreError> {
    let Some(last) = news.last else { return Ok(()) };
    transaction
        .prepare_cached(
            "UPDATE state SET
                due_ms = ?2, code = ?3, total_us = ?4, http_status = ?5,
                streak = min(255, CASE WHEN ?6 THEN ?7 ELSE streak + ?7 END),
                message = CASE WHEN ?8 <> '' THEN ?8
                    WHEN code = ?3 AND http_status = ?5 THEN message ELSE '' END
             WHERE monitor_id = ?1 AND due_ms <= ?2",
        )?
        .execute(params![
            signed(monitor.0),
            signed(last.due_ms),
            last.code.0,
            last.total_us,
            last.http_status,
            news.streak_reset,
            news.streak,
            clipped(&news.message, MESSAGE_BYTES_MAX)
        ])?;
    Ok(())
}

/// Takes results of the head into a state. A monitor that is not there any more has none: then
/// nothing is written, which is right. [`Known::take`] says the same for one who reads.
fn write(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    touched: &Touched,
) -> Result<(), StoreError> {
    let counts = touched.counts;
    let Some(last) = touched.last else { return add_counts(transaction, monitor, counts) };
    let updated = transaction
        .prepare_cached(
            "UPDATE state SET
                since_ms = CASE WHEN verdict <> ?2 AND since_ms <= ?3
                                THEN max(since_ms, ?4) ELSE since_ms END,
                verdict = CASE WHEN since_ms <= ?3 THEN ?2 ELSE verdict END,
                due_ms = ?3, code = ?5, total_us = ?6, http_status = ?7,
                streak = CASE WHEN ?8 THEN 0 ELSE streak END,
                message = CASE WHEN code = ?5 AND http_status = ?7 THEN message ELSE '' END,
                count_up = count_up + ?9, count_down = count_down + ?10,
                count_unknown = count_unknown + ?11, count_missed = count_missed + ?12
             WHERE monitor_id = ?1 AND due_ms <= ?3",
        )?
        .execute(params![
            signed(monitor.0),
            last.verdict as u8,
            signed(last.due_ms),
            signed(touched.since_ms),
            last.code.0,
            last.total_us,
            last.http_status,
            touched.streak_reset,
            counts.up,
            counts.down,
            counts.unknown,
            counts.missed
        ])?;
    if updated == 0 { add_counts(transaction, monitor, counts) } else { Ok(()) }
}

/// Counts results that say nothing about the present.
fn add_counts(
    transaction: &Transaction<'_>,
    monitor: MonitorId,
    counts: Counts,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE state SET
                count_up = count_up + ?2, count_down = count_down + ?3,
                count_unknown = count_unknown + ?4, count_missed = count_missed + ?5
             WHERE monitor_id = ?1",
        )?
        .execute(params![
            signed(monitor.0),
            counts.up,
            counts.down,
            counts.unknown,
            counts.missed
        ])?;
    Ok(())
}

/// What a state row says of the last check, counters and message aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub verdict: Verdict,
    pub since_ms: u64,
    pub due_ms: u64,
    pub code: Code,
    pub streak: u8,
    pub total_us: u32,
    pub http_status: u16,
}

impl Known {
    /// Takes results of the head into account. False where the stored message is not of the last
    /// check any more.
    pub fn take(&mut self, touched: &Touched) -> bool {
        let Some(last) = touched.last.filter(|last| self.due_ms <= last.due_ms) else {
            return true;
        };
        if self.since_ms <= last.due_ms {
            if self.verdict != last.verdict {
                self.since_ms = self.since_ms.max(touched.since_ms);
            }
            self.verdict = last.verdict;
        }
        if touched.streak_reset {
            self.streak = 0;
        }
        let the_same = (self.code, self.http_status) == (last.code, last.http_status);
        (self.due_ms, self.code) = (last.due_ms, last.code);
        (self.total_us, self.http_status) = (last.total_us, last.http_status);
        the_same
    }
}

const STATES: &str = "SELECT s.monitor_id, s.verdict, s.since_ms, s.due_ms, s.code, s.streak
    FROM state s JOIN monitor m ON m.id = s.monitor_id WHERE m.removed_ms IS NULL";

fn known_row(row: &Row<'_>) -> rusqlite::Result<(MonitorId, Known)> {
    let known = Known {
        verdict: Verdict::from_number(row.get(1)?),
        since_ms: unsigned(row.get(2)?),
        due_ms: unsigned(row.get(3)?),
        code: Code(row.get(4)?),
        streak: row.get(5)?,
        total_us: 0,
        http_status: 0,
    };
    Ok((MonitorId(unsigned(row.get(0)?)), known))
}

/// The state of every monitor that is not removed; see [`super::Store::load_states`].
pub(super) fn load(conn: &mut Connection) -> Result<Vec<(MonitorId, State)>, StoreError> {
    // One transaction, so that a lane advanced meanwhile is not seen twice.
    let transaction = conn.transaction()?;
    let mut statement = transaction.prepare(&format!("{STATES} ORDER BY s.monitor_id"))?;
    let mut states = Vec::new();
    let mut lane: Vec<(MonitorId, Known)> = Vec::new();
    for row in statement.query_map([], known_row)? {
        let row = row?;
        if lane.first().is_some_and(|(first, _)| first.0 >> LANE_BITS != row.0.0 >> LANE_BITS) {
            finish(&transaction, &mut lane, &mut states)?;
        }
        lane.push(row);
    }
    finish(&transaction, &mut lane, &mut states)?;
    Ok(states)
}

/// The states of these monitors; see [`super::Store::load_states_of`].
pub(super) fn load_of(
    conn: &mut Connection,
    monitors: &[MonitorId],
) -> Result<Vec<(MonitorId, State)>, StoreError> {
    let transaction = conn.transaction()?;
    let mut statement = transaction.prepare_cached(&format!("{STATES} AND m.id = ?1"))?;
    let mut sorted = monitors.to_vec();
    sorted.sort_unstable();
    let mut states = Vec::new();
    let mut lane = Vec::new();
    for of_lane in sorted.chunk_by(|one, other| one.0 >> LANE_BITS == other.0 >> LANE_BITS) {
        for monitor in of_lane {
            lane.extend(statement.query_row([signed(monitor.0)], known_row).optional()?);
        }
        finish(&transaction, &mut lane, &mut states)?;
    }
    Ok(states)
}

/// Puts the head on top of the states of one lane and moves them on.
fn finish(
    conn: &Connection,
    lane: &mut Vec<(MonitorId, Known)>,
    states: &mut Vec<(MonitorId, State)>,
) -> Result<(), StoreError> {
    let Some((first, _)) = lane.first() else { return Ok(()) };
    let ids: Vec<MonitorId> = lane.iter().map(|(monitor, _)| *monitor).collect();
    let wanted = |monitor| ids.binary_search(&monitor).is_ok();
    on_top(conn, first.0 >> LANE_BITS, wanted, |monitor, touched| {
        if let Ok(at) = lane.binary_search_by_key(&monitor, |(monitor, _)| *monitor) {
            lane[at].1.take(touched);
        }
    })?;
    states.extend(lane.drain(..).map(|(monitor, known)| {
        let Known { verdict, since_ms, code, streak, .. } = known;
        (monitor, State { verdict, since_ms, code, streak, settled: settled_from(verdict) })
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_its_turn_once_in_a_period_and_they_are_apart() {
        let mut dues: Vec<u64> = (0..31).map(|lane| due_after(1_000_000, lane)).collect();
        dues.sort_unstable();
        assert!(dues[0] > 1_000_000 && dues[30] <= 1_000_000 + STATES_EVERY_MS);
        assert!(dues.windows(2).all(|pair| pair[1] - pair[0] > STATES_EVERY_MS / 100));
        let due = due_after(1_000_000, 7);
        assert_eq!(due_after(due, 7), due + STATES_EVERY_MS);
    }
}

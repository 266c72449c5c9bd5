//! Compacts the head: the results of a window become one chunk for each group of monitors.
//!
//! Owns: when a window is ready, and the statements; what a slice is and how it is packed is
//! shared with the SQLite store. Of two engines on one database, one compacts at a time.

use std::collections::VecDeque;

use super::super::hours::hour_start;
use super::super::slice::Slice;
use super::super::{Maintained, StoreError, signed, unsigned};
use super::link::{Link, Work};
use crate::limits::{COMPACT_SAMPLES_MAX, WINDOW_GRACE_MS, WINDOW_MS};
use crate::pg::{Type, Value};

/// Finds windows that are over and compacts them, slice by slice.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    /// Windows and lanes of this round that are still to do.
    waiting: VecDeque<(i64, i64)>,
    /// Number of the window that the last round went up to. There is one round for each window,
    /// so late results make at most one further chunk in five minutes.
    round: u64,
}

impl Compactor {
    /// Compacts one slice; `None` where no window is ready.
    pub async fn slice(
        &mut self,
        link: &mut Link,
        now_ms: u64,
    ) -> Result<Option<Maintained>, StoreError> {
        let round = now_ms.saturating_sub(WINDOW_GRACE_MS) / WINDOW_MS;
        if self.waiting.is_empty() && round != self.round {
            let end = signed(round * WINDOW_MS);
            self.waiting = link.transaction(async |work| ready(work, end).await).await?;
            self.round = round;
        }
        let Some((t0, lane)) = self.waiting.front().copied() else { return Ok(None) };
        let (done, more) =
            link.transaction(async |work| compact(work, t0, lane, now_ms).await).await?;
        if !more {
            self.waiting.pop_front();
        }
        Ok(Some(done))
    }
}

/// The windows that start before `end_ms` and have head rows, oldest first, each with its lanes.
async fn ready(work: Work<'_>, end_ms: i64) -> Result<VecDeque<(i64, i64)>, StoreError> {
    let sql = "SELECT DISTINCT t0, lane FROM engine.head WHERE t0 < $1 ORDER BY t0, lane";
    let rows = work.session.query(sql, &[(&end_ms, Type::INT8)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Compacts one slice of a window and lane. True where it has more.
async fn compact(
    work: Work<'_>,
    t0: i64,
    lane: i64,
    now_ms: u64,
) -> Result<(Maintained, bool), StoreError> {
    let mut done = Maintained { more: true, ..Maintained::default() };
    let place: [Value<'_>; 2] = [(&t0, Type::INT8), (&lane, Type::INT8)];
    let mine = "SELECT pg_try_advisory_xact_lock(hashtext('compact ' || $1), hashtext('' || $2))";
    if !work.session.query(mine, &place).await?[0].get::<_, bool>(0) {
        return Ok((done, false)); // Another engine has it.
    }
    let mut slice = Slice::default();
    // Rows in the order of their numbers, as many as a slice holds; one more says that there are.
    let sql = "SELECT seq, data FROM (
                   SELECT seq, data, sum(n) OVER (ORDER BY seq) - n AS before
                   FROM engine.head WHERE t0 = $1 AND lane = $2) h
               WHERE before <= $3 ORDER BY seq";
    let most = COMPACT_SAMPLES_MAX as i64;
    let values = [(&t0 as _, Type::INT8), (&lane as _, Type::INT8), (&most as _, Type::INT8)];
    for row in work.session.query(sql, &values).await? {
        if !slice.add(t0, lane, row.get(0), row.get(1)) {
            break;
        }
    }
    slice.sort();
    set_aside(work, &slice, now_ms, &mut done).await?;
    write_chunks(work, t0, &slice, &mut done).await?;
    let sql = "DELETE FROM engine.head WHERE t0 = $1 AND lane = $2 AND seq <= $3";
    let values =
        [(&t0 as _, Type::INT8), (&lane as _, Type::INT8), (&slice.last_seq as _, Type::INT8)];
    work.session.execute(sql, &values).await?;
    Ok((done, slice.more))
}

async fn set_aside(
    work: Work<'_>,
    slice: &Slice,
    now_ms: u64,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    for (seq, reason) in &slice.damaged {
        let sql = "INSERT INTO engine.damaged (t0, lane, n, reason, found_ms, data)
                   SELECT t0, lane, n, $2, $3, data FROM engine.head WHERE seq = $1";
        let now = signed(now_ms);
        let values = [(seq as _, Type::INT8), (reason as _, Type::TEXT), (&now as _, Type::INT8)];
        work.session.execute(sql, &values).await?;
        done.damaged.push(format!("head {seq}: {reason}"));
    }
    Ok(())
}

async fn write_chunks(
    work: Work<'_>,
    t0: i64,
    slice: &Slice,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    let (mut groups, mut counts, mut blobs) = (vec![], vec![], vec![]);
    for (grp, count, data) in slice.chunks(t0)? {
        done.samples_compacted += count as u64;
        done.chunk_bytes += data.len() as u64;
        groups.push(signed(grp));
        counts.push(count as i32);
        blobs.push(data);
    }
    let hour = signed(hour_start(unsigned(t0)));
    let values: [Value<'_>; 5] = [
        (&groups, Type::INT8_ARRAY),
        (&t0, Type::INT8),
        (&counts, Type::INT4_ARRAY),
        (&blobs, Type::BYTEA_ARRAY),
        (&hour, Type::INT8),
    ];
    let sql = "WITH made AS (
                   INSERT INTO engine.chunk (grp, t0, part, n, data)
                   SELECT u.grp, $2, (SELECT coalesce(max(c.part) + 1, 0) FROM engine.chunk c
                                      WHERE c.grp = u.grp AND c.t0 = $2), u.n, u.data
                   FROM unnest($1, $3, $4) AS u (grp, n, data)
                   RETURNING grp, id)
               INSERT INTO engine.unsummed (t0, grp, chunk) SELECT $5, grp, id FROM made";
    if !groups.is_empty() {
        work.session.execute(sql, &values).await?;
    }
    Ok(())
}

//! Sums hours up: once an hour is over, its chunks are added to the sums of its monitors.
//!
//! Owns: when an hour is ready, and the statements. A step is one hour of one group of chunks, at
//! most `COMPACT_SAMPLES_MAX` results and one chunk, in one transaction that writes the sums and
//! takes the chunks off the list: each is added exactly once, late ones too.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::hours::{self, HOUR_MS, Sums};
use super::sqlite::begin;
use super::{Maintained, StoreError, signed, unsigned};
use crate::limits::{GROUP_BITS, HOUR_GRACE_MS};

/// Does one step; `None` where no hour is ready.
pub(super) fn slice(conn: &mut Connection, now_ms: u64) -> Result<Option<Maintained>, StoreError> {
    let over = signed(now_ms.saturating_sub(HOUR_GRACE_MS).saturating_sub(HOUR_MS));
    let next = conn
        .prepare_cached("SELECT t0, grp FROM unsummed WHERE t0 <= ?1 ORDER BY t0, grp LIMIT 1")?
        .query_row([over], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((t0, grp)) = next else { return Ok(None) };
    let transaction = begin(conn)?;
    let mut done = Maintained { more: true, ..Maintained::default() };
    let (sums, taken) = read(&transaction, (t0, grp), &mut done)?;
    write(&transaction, t0, sums, &mut done)?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM unsummed WHERE t0 = ?1 AND grp = ?2 AND chunk = ?3")?;
    for chunk in taken {
        delete.execute([t0, grp, chunk])?;
    }
    drop(delete);
    transaction.commit()?;
    Ok(Some(done))
}

/// Chunks that were deleted meanwhile have no data; those that cannot be read are named.
fn read(
    transaction: &Transaction<'_>,
    (t0, grp): (i64, i64),
    done: &mut Maintained,
) -> Result<(Sums, Vec<i64>), StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT u.chunk, c.t0, c.data FROM unsummed u LEFT JOIN chunk c ON c.id = u.chunk
         WHERE u.t0 = ?1 AND u.grp = ?2 ORDER BY u.chunk",
    )?;
    let mut rows = statement.query([t0, grp])?;
    let (mut sums, mut taken) = (Sums::default(), Vec::new());
    while !sums.is_full()
        && let Some(row) = rows.next()?
    {
        let chunk: i64 = row.get(0)?;
        taken.push(chunk);
        let Some(data) = row.get_ref(2)?.as_blob_or_null().unwrap_or_default() else { continue };
        if let Err(error) = sums.add(unsigned(grp) << GROUP_BITS, unsigned(row.get(1)?), data) {
            done.damaged.push(format!("chunk {chunk}: {error}"));
        }
    }
    Ok((sums, taken))
}

fn write(
    transaction: &Transaction<'_>,
    t0: i64,
    sums: Sums,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    let mut known =
        transaction.prepare_cached("SELECT data FROM hour_sum WHERE grp = ?1 AND t0 = ?2")?;
    let mut write = transaction.prepare_cached(
        "INSERT INTO hour_sum (grp, t0, n, data) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (grp, t0) DO UPDATE SET n = excluded.n, data = excluded.data",
    )?;
    for (grp, mut of_group) in sums.groups() {
        let before: Option<Vec<u8>> =
            known.query_row(params![signed(grp), t0], |row| row.get(0)).optional()?;
        if let Some(Err(error)) = before.map(|data| hours::add_known(grp, &mut of_group, &data)) {
            done.damaged.push(format!("hour {grp} {t0}: {error}"));
        }
        let data = hours::pack(grp, &of_group)?;
        write.execute(params![signed(grp), t0, of_group.len() as i64, data])?;
        done.hours_written += of_group.len() as u64;
    }
    Ok(())
}

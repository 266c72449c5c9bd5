//! Sums hours up: once an hour is over, its chunks are added to the sums of its monitors.
//!
//! Owns: the statements; what a sum is and how it is packed is shared with the SQLite store. Of
//! two engines on one database, one sums up an hour of a group at a time.

use super::super::hours::{self, HOUR_MS, Sums};
use super::super::{Maintained, StoreError, signed, unsigned};
use super::link::{Link, Work};
use crate::limits::{COMPACT_SAMPLES_MAX, GROUP_BITS, HOUR_GRACE_MS};
use crate::pg::{Type, Value};

/// Does one step; `None` where no hour is ready.
pub(super) async fn slice(link: &mut Link, now_ms: u64) -> Result<Option<Maintained>, StoreError> {
    let over = signed(now_ms.saturating_sub(HOUR_GRACE_MS).saturating_sub(HOUR_MS));
    link.transaction(async |work| sum_up(work, over).await).await
}

async fn sum_up(work: Work<'_>, over: i64) -> Result<Option<Maintained>, StoreError> {
    // Another engine's hour is passed over.
    let sql = "SELECT t0, grp FROM (SELECT DISTINCT t0, grp FROM engine.unsummed WHERE t0 <= $1
                                    ORDER BY t0, grp LIMIT 16) u
               WHERE pg_try_advisory_xact_lock(hashtext('hour ' || t0), hashtext('' || grp))
               LIMIT 1";
    let rows = work.session.query(sql, &[(&over, Type::INT8)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (t0, grp): (i64, i64) = (row.get(0), row.get(1));
    let mut done = Maintained { more: true, ..Maintained::default() };
    let sql = "SELECT chunk, t0, data FROM (
                   SELECT u.chunk, c.t0, c.data,
                          sum(coalesce(c.n, 0)) OVER (ORDER BY u.chunk) - coalesce(c.n, 0) AS before
                   FROM engine.unsummed u LEFT JOIN engine.chunk c ON c.id = u.chunk
                   WHERE u.t0 = $1 AND u.grp = $2) h
               WHERE before <= $3 ORDER BY chunk";
    let most = COMPACT_SAMPLES_MAX as i64;
    let values: [Value<'_>; 3] = [(&t0, Type::INT8), (&grp, Type::INT8), (&most, Type::INT8)];
    let (mut sums, mut taken) = (Sums::default(), Vec::new());
    for row in work.session.query(sql, &values).await? {
        let chunk: i64 = row.get(0);
        taken.push(chunk);
        let Some(data) = row.get::<_, Option<&[u8]>>(2) else { continue };
        if let Err(error) = sums.add(unsigned(grp) << GROUP_BITS, unsigned(row.get(1)), data) {
            done.damaged.push(format!("chunk {chunk}: {error}"));
        }
    }
    write(work, t0, sums, &mut done).await?;
    let sql = "DELETE FROM engine.unsummed WHERE t0 = $1 AND grp = $2 AND chunk = ANY($3)";
    let values: [Value<'_>; 3] =
        [(&t0, Type::INT8), (&grp, Type::INT8), (&taken, Type::INT8_ARRAY)];
    work.session.execute(sql, &values).await?;
    Ok(Some(done))
}

async fn write(
    work: Work<'_>,
    t0: i64,
    sums: Sums,
    done: &mut Maintained,
) -> Result<(), StoreError> {
    for (grp, mut of_group) in sums.groups() {
        let number = signed(grp);
        let place: [Value<'_>; 2] = [(&number, Type::INT8), (&t0, Type::INT8)];
        let sql = "SELECT data FROM engine.hour_sum WHERE grp = $1 AND t0 = $2";
        let before = work.session.query(sql, &place).await?;
        if let Some(row) = before.first()
            && let Err(error) = hours::add_known(grp, &mut of_group, row.get(0))
        {
            done.damaged.push(format!("hour {grp} {t0}: {error}"));
        }
        let data = hours::pack(grp, &of_group)?;
        let count = of_group.len() as i32;
        let sql = "INSERT INTO engine.hour_sum (grp, t0, n, data) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (grp, t0) DO UPDATE SET n = excluded.n, data = excluded.data";
        let values: [Value<'_>; 4] =
            [(&number, Type::INT8), (&t0, Type::INT8), (&count, Type::INT4), (&data, Type::BYTEA)];
        work.session.execute(sql, &values).await?;
        done.hours_written += of_group.len() as u64;
    }
    Ok(())
}

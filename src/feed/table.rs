//! The original's `monitor_items` as SQL: where it is, its rows, and which of them changed.
//!
//! Owns: the columns that are read and the hash over them, which the database makes, so that a
//! sweep brings ids and hashes only. Reads nothing but; every question is bounded in rows.

use std::ops::RangeInclusive;

use super::rows::Row;
use crate::ids::MonitorId;
use crate::limits::FEED_STEP_ROWS;
use crate::pg::{Kind, PgError, Session, Type, Value};

/// The columns of a [`Row`] that a user changes: what the hash is of and the trigger looks at.
pub const CONFIGURATION: &str = "name, enable, url_check, type, user_id, check_interval_seconds, \
    result_valid, result_error, \"stopTo\", \"forceRestart\"";

const COLUMNS: &str = "id::bigint, name::text, coalesce(enable::int = 1, false), url_check::text, \
    type::text, user_id::bigint, check_interval_seconds::bigint, result_valid::text, \
    result_error::text, CASE WHEN isfinite(\"stopTo\") \
        THEN (extract(epoch FROM \"stopTo\"::timestamp) * 1000)::bigint \
        WHEN \"stopTo\" > 'epoch' THEN 9000000000000000 END, \
    coalesce(\"forceRestart\"::text IN ('true', 't', '1'), false)";

/// Where the table is, in words that SQL takes.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
}

impl Table {
    /// Finds the table as the role's search path finds it, else in `public`.
    ///
    /// # Errors
    ///
    /// `Refused` where it is not there or may not be read, with what to do; else the database's.
    pub async fn find(session: &Session) -> Result<Table, PgError> {
        let sql = "SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid =
                coalesce(to_regclass('monitor_items'), to_regclass('public.monitor_items'))";
        let rows = session.query(sql, &[]).await?;
        let Some(row) = rows.first() else {
            return Err(PgError::new(
                Kind::Refused,
                "there is no table monitor_items: check POSTGRES_NAME, or ALTER ROLE … SET \
                 search_path to the schema that has it",
            ));
        };
        Ok(Table { name: row.try_get(0)? })
    }

    /// Its qualified name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows with these ids. Deleted ones are left out.
    ///
    /// # Errors
    ///
    /// The database's; so for all methods.
    pub async fn rows_of(&self, session: &Session, ids: &[MonitorId]) -> Result<Vec<Row>, PgError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0.cast_signed()).collect();
        let sql = self.select(COLUMNS, "id = ANY ($1) AND deleted_at IS NULL ORDER BY id");
        let rows = session.query(&sql, &[(&ids, Type::INT8_ARRAY)]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Ids and hashes of a range in order, at most `FEED_STEP_ROWS`. Deleted rows are left out.
    ///
    /// # Errors
    ///
    /// As for [`Table::rows_of`].
    pub async fn hashes(
        &self,
        session: &Session,
        range: &RangeInclusive<MonitorId>,
    ) -> Result<Vec<(MonitorId, i64)>, PgError> {
        let sql = self.select(
            "id::bigint",
            "id BETWEEN $1 AND $2 AND deleted_at IS NULL ORDER BY id LIMIT $3",
        );
        let number = |id: &MonitorId| i64::try_from(id.0).unwrap_or(i64::MAX);
        let (start, end) = (number(range.start()), number(range.end()));
        let rows_max = FEED_STEP_ROWS as i64;
        let values: [Value<'_>; 3] =
            [(&start, Type::INT8), (&end, Type::INT8), (&rows_max, Type::INT8)];
        let rows = session.query(&sql, &values).await?;
        let hashes = rows.iter().map(|row| Ok((id(row.try_get(0)?), row.try_get(1)?)));
        Ok(hashes.collect::<Result<_, tokio_postgres::Error>>()?)
    }

    /// Ids of rows that somebody else than a writer of results has updated after `since`, and the
    /// time to ask from next; a writer of results sets both times of a row alike. `since` is what
    /// the last call gave; without it there are no ids.
    ///
    /// # Errors
    ///
    /// As for [`Table::rows_of`].
    pub async fn updated(
        &self,
        session: &Session,
        since: Option<&str>,
    ) -> Result<(Vec<MonitorId>, Option<String>), PgError> {
        let sql = format!(
            "SELECT id::bigint, updated_at::text FROM {}
             WHERE updated_at IS DISTINCT FROM last_check_time
               AND updated_at > coalesce($1::text::timestamp,
                   (SELECT max(updated_at) FROM {}
                    WHERE updated_at IS DISTINCT FROM last_check_time) - interval '1 ms',
                   '-infinity')
             ORDER BY updated_at LIMIT $2",
            self.name, self.name
        );
        let values: [Value<'_>; 2] = [(&since, Type::TEXT), (&(FEED_STEP_ROWS as i64), Type::INT8)];
        let rows = session.query(&sql, &values).await?;
        let next = match rows.last() {
            Some(row) => row.try_get(1)?,
            None => since.map(str::to_owned),
        };
        let ids = rows.iter().map(|row| Ok(id(row.try_get(0)?)));
        let ids: Vec<_> = ids.collect::<Result<_, tokio_postgres::Error>>()?;
        Ok((if since.is_some() { ids } else { Vec::new() }, next))
    }

    fn select(&self, columns: &str, condition: &str) -> String {
        format!(
            "SELECT {columns}, hashtextextended(ROW({CONFIGURATION})::text, 0) FROM {} \
             WHERE {condition}",
            self.name
        )
    }
}

fn id(number: i64) -> MonitorId {
    MonitorId(number.cast_unsigned())
}

fn read(row: &crate::pg::Row) -> Result<Row, tokio_postgres::Error> {
    Ok(Row {
        id: id(row.try_get(0)?),
        name: row.try_get(1)?,
        is_enabled: row.try_get(2)?,
        url_check: row.try_get(3)?,
        kind: row.try_get(4)?,
        user_id: row.try_get(5)?,
        interval_s: row.try_get(6)?,
        result_valid: row.try_get(7)?,
        result_error: row.try_get(8)?,
        stop_to_ms: row.try_get(9)?,
        force_restart: row.try_get(10)?,
        hash: row.try_get(11)?,
    })
}

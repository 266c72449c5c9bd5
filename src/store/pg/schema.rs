//! Brings a database up to what this version needs: the engine's own schema by migrations, and the
//! original's tables found, or made where they are missing.
//!
//! Owns: where things are ([`Places`]). A fresh database and one that the original has used take
//! the same path. Whoever starts first does the work, under a lock; the others find it done.

use super::super::StoreError;
use crate::fault::Fault;
use crate::limits::PG_MIGRATE_MS_MAX;
use crate::pg::{Kind, PgError, PgOptions, Row, Session, Type};
use crate::sample::{Code, Missed, Verdict};
use probes::Failure;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

const CORE: &str = include_str!("../../../migrations/original/core.sql");
const SERIES: &str = include_str!("../../../migrations/original/series.sql");
const VIEWS: &str = include_str!("../../../migrations/original/views.sql");
/// Where refinery writes what it applied.
const HISTORY: &str = "engine.refinery_schema_history";
/// The lock that starters take, as a number no other program is likely to use: "engine".
const LOCK: i64 = 0x656e_6769_6e65;

/// Where the original's tables are. Names are quoted and ready for SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The schema of `monitor_items`.
    pub core: String,
    /// The schema of `monitor_checks`; `None` where time series are off.
    pub series: Option<String>,
    /// How rows of `monitor_checks` past their age go.
    pub form: Form,
}

/// How a table is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One table, as it was found: old rows are deleted.
    Plain,
    /// Partitioned by day by us: old days are dropped.
    Days,
    /// A hypertable: the extension does it.
    Hypertable,
}

impl Form {
    const ALL: [(Form, &'static str); 3] =
        [(Form::Plain, "plain"), (Form::Days, "days"), (Form::Hypertable, "hypertable")];

    fn name(self) -> &'static str {
        Form::ALL.into_iter().find(|(form, _)| *form == self).map_or("plain", |(_, name)| name)
    }

    fn from_name(name: &str) -> Form {
        Form::ALL.into_iter().find(|(_, word)| *word == name).map_or(Form::Plain, |(form, _)| form)
    }
}

/// The newest schema that this binary knows.
pub(super) fn known() -> i64 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(|one| i64::from(one.version())).max().unwrap_or(0)
}

/// Makes sure that everything is there. `series` is the schema for the time series, `None` where
/// they are off.
///
/// # Errors
///
/// `Schema` for a newer one, `Migrate`, `Refused` with the right that is missing, or the
/// database's own.
pub(super) async fn ready(
    options: &PgOptions,
    session: &Session,
    series: Option<&str>,
) -> Result<Places, StoreError> {
    if found(session).await? == known()
        && let Some(places) = places(session, series).await?
    {
        write_names(session).await?;
        return Ok(places);
    }
    let mut direct = Session::open(options.direct()).await?.waiting(PG_MIGRATE_MS_MAX);
    // The lock and the time limits belong to this session, which ends with this function.
    let limits = format!("SET lock_timeout = {PG_MIGRATE_MS_MAX}; SET statement_timeout = 0");
    direct.run(&limits).await?;
    direct.query("SELECT pg_advisory_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    direct.run("SET lock_timeout = 5000").await?;
    let places = migrate(&mut direct, series).await;
    direct.close().await;
    places
}

/// The schema number of the database, 0 for none.
///
/// # Errors
///
/// `Schema` for a newer one, or the database's own.
pub(super) async fn found(session: &Session) -> Result<i64, StoreError> {
    let there = format!("SELECT to_regclass('{HISTORY}') IS NOT NULL");
    let rows = session.query(&there, &[]).await?;
    if !first::<bool>(&rows)? {
        return Ok(0);
    }
    let newest = format!("SELECT coalesce(max(version), 0)::bigint FROM {HISTORY}");
    let found: i64 = first(&session.query(&newest, &[]).await?)?;
    let known = known();
    if found > known {
        let advice = "start the newer version, or restore a copy from before the upgrade";
        return Err(StoreError::Schema { found, known, advice });
    }
    Ok(found)
}

async fn migrate(direct: &mut Session, series: Option<&str>) -> Result<Places, StoreError> {
    if found(direct).await? < known() {
        direct.run("CREATE SCHEMA IF NOT EXISTS engine").await?;
        let mut runner = embedded::migrations::runner();
        runner.set_migration_table_name(HISTORY);
        let applied = runner.run_async(direct.client_mut());
        applied.await.map_err(|error| StoreError::Migrate(words(&error)))?;
    }
    write_names(direct).await?;
    let core = adopt_core(direct).await?;
    if let Some(series) = series {
        adopt_series(direct, series).await?;
    }
    let wanted = "the original's tables cannot be found after they were made";
    let places = places(direct, series).await?;
    tracing::info!(core, series, "the database is ready");
    places.ok_or_else(|| StoreError::Database(wanted.to_owned()))
}

/// What refinery says, and what the server said to it.
fn words(error: &refinery::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What was found or made at an earlier start; `None` where something is still to do.
async fn places(session: &Session, series: Option<&str>) -> Result<Option<Places>, StoreError> {
    let rows = session.query("SELECT name, schema, form FROM engine.place", &[]).await?;
    let rows: Vec<[String; 3]> =
        rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
    let Some([_, core, _]) = rows.iter().find(|[name, ..]| name == "items") else {
        return Ok(None);
    };
    let mut places = Places { core: quoted(core), series: None, form: Form::Plain };
    if let Some(series) = series {
        let checks = |[name, schema, _]: &&[String; 3]| name == "checks" && schema == series;
        let Some([_, _, form]) = rows.iter().find(checks) else { return Ok(None) };
        places.series = Some(quoted(series));
        places.form = Form::from_name(form);
    }
    Ok(Some(places))
}

/// Finds the schema of `monitor_items` on the role's search path, else takes `public`, and makes
/// there what is missing. Gives the schema.
async fn adopt_core(session: &Session) -> Result<String, StoreError> {
    let search =
        "SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = to_regclass('monitor_items')";
    let rows = session.query(search, &[]).await?;
    let core = rows.first().map_or_else(|| "public".to_owned(), |row| row.get(0));
    for statements in tables(CORE, &quoted(&core), "{core}") {
        make_where_missing(session, &core, &statements).await?;
    }
    for column in ["firebase_token", "email_notification"] {
        // The original added these by hand; whoever did not may lack the right to.
        if !has_column(session, &core, "monitor_settings", column).await? {
            let table = format!("{}.monitor_settings", quoted(&core));
            let add = format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} VARCHAR(255)");
            session.run(&add).await?;
        }
    }
    session.run(&VIEWS.replace("{core}", &quoted(&core))).await?;
    remember(session, "items", &core, Form::Plain).await?;
    Ok(core)
}

async fn adopt_series(session: &Session, series: &str) -> Result<(), StoreError> {
    session.run(&format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(series))).await?;
    let extension = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'timescaledb')";
    let extension: bool = first(&session.query(extension, &[]).await?)?;
    let partition = if extension { "" } else { "PARTITION BY RANGE (time)" };
    let text = SERIES.replace("{partition}", partition);
    let mut made = Vec::new();
    for statements in tables(&text, &quoted(series), "{series}") {
        if make_where_missing(session, series, &statements).await? {
            made.push(statements.0);
        }
    }
    let mut keeps_itself = extension;
    for table in made.iter().filter(|_| extension) {
        keeps_itself &= make_hypertable(session, series, table).await?;
    }
    let form = match (made.iter().any(|table| table == "monitor_checks"), extension) {
        (true, false) => Form::Days,
        (true, true) if keeps_itself => Form::Hypertable,
        (true, true) | (false, _) => Form::Plain,
    };
    remember(session, "checks", series, form).await
}

/// Chunks, compression and retention as the original's setup file has them. False where the
/// extension does not delete old rows: its free edition has hypertables only.
async fn make_hypertable(session: &Session, series: &str, table: &str) -> Result<bool, StoreError> {
    let (chunk, keep, compress) = match table {
        "monitor_checks" => ("1 day", "30 days", Some("7 days")),
        "monitor_stats_hourly" => ("7 days", "1 year", Some("30 days")),
        _ => ("1 hour", "7 days", None),
    };
    let name = format!("{}.{table}", quoted(series)).replace('\'', "''");
    let sql = format!(
        "SELECT create_hypertable('{name}', 'time', chunk_time_interval => INTERVAL '{chunk}')"
    );
    session.run(&sql).await?;
    if let Some(after) = compress {
        let sql = format!(
            "ALTER TABLE {}.{table} SET (timescaledb.compress = true);
             SELECT add_compression_policy('{name}', INTERVAL '{after}')",
            quoted(series)
        );
        is_taken(session, &sql, table, "does not compress").await?;
    }
    let sql = format!("SELECT add_retention_policy('{name}', INTERVAL '{keep}')");
    is_taken(session, &sql, table, "deletes no old rows of it, so the engine does").await
}

/// False where the extension refuses, which is told: `lacks` says what it does not do.
async fn is_taken(
    session: &Session,
    sql: &str,
    table: &str,
    lacks: &str,
) -> Result<bool, StoreError> {
    match session.run(sql).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_passing() => Err(error.into()),
        Err(error) => {
            tracing::warn!(table, %error, "TimescaleDB {lacks}");
            Ok(false)
        }
    }
}

/// The statements of a file by table: its name, and the SQL with the schema filled in.
fn tables(text: &str, schema: &str, mark: &str) -> Vec<(String, String)> {
    let blocks = text.split("\n\n").filter(|block| block.starts_with("CREATE TABLE"));
    let name = |block: &str| {
        let rest = block.split(&format!("{mark}.")).nth(1).unwrap_or_default();
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    };
    blocks.map(|block| (name(block), block.replace(mark, schema))).collect()
}

/// True where the table was missing and is made.
async fn make_where_missing(
    session: &Session,
    schema: &str,
    (table, sql): &(String, String),
) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT 1 FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = $2)";
    let values = [(&schema as _, Type::TEXT), (table as _, Type::TEXT)];
    if first(&session.query(there, &values).await?)? {
        return Ok(false);
    }
    // A later start that finds the table takes it for one of the original's, so it is all or none.
    session.run(&format!("BEGIN; {sql}; COMMIT")).await?;
    Ok(true)
}

async fn has_column(
    session: &Session,
    schema: &str,
    table: &str,
    column: &str,
) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT 1 FROM information_schema.columns
                 WHERE table_schema = $1 AND table_name = $2 AND column_name = $3)";
    let values =
        [(&schema as _, Type::TEXT), (&table as _, Type::TEXT), (&column as _, Type::TEXT)];
    first(&session.query(there, &values).await?)
}

async fn remember(
    session: &Session,
    name: &str,
    schema: &str,
    form: Form,
) -> Result<(), StoreError> {
    let values =
        [(&name as _, Type::TEXT), (&schema as _, Type::TEXT), (&form.name() as _, Type::TEXT)];
    let sql = "INSERT INTO engine.place (name, schema, form) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    session.execute(sql, &values).await?;
    Ok(())
}

/// Words for the numbers that the views show.
async fn write_names(session: &Session) -> Result<(), StoreError> {
    let failures = Failure::ALL.iter().map(|failure| (failure.code(), failure.name()));
    let faults = Fault::ALL.iter().map(|fault| (fault.code(), fault.name()));
    let missed = Missed::ALL.iter().map(|missed| (*missed as u16, missed.name()));
    let good = [(0, Code::GOOD.name())].into_iter();
    let codes = good.chain(failures).chain(faults).chain(missed);
    let verdicts = Verdict::ALL.iter().map(|verdict| (*verdict as u16, verdict.name()));
    let codes: (Vec<i32>, Vec<&str>) = codes.map(|(code, name)| (i32::from(code), name)).unzip();
    let verdicts: (Vec<i32>, Vec<&str>) =
        verdicts.map(|(verdict, name)| (i32::from(verdict), name)).unzip();
    for (table, key, (numbers, names)) in
        [("code_name", "code", &codes), ("verdict_name", "verdict", &verdicts)]
    {
        let sql = format!(
            "INSERT INTO engine.{table} ({key}, name) SELECT * FROM unnest($1, $2)
             ON CONFLICT ({key}) DO UPDATE SET name = excluded.name"
        );
        let values = [(numbers as _, Type::INT4_ARRAY), (names as _, Type::TEXT_ARRAY)];
        session.execute(&sql, &values).await?;
    }
    Ok(())
}

/// A name as SQL takes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The one value of one row.
fn first<T: for<'a> tokio_postgres::types::FromSql<'a>>(rows: &[Row]) -> Result<T, StoreError> {
    let nothing = || PgError::new(Kind::Other, "no row where one is expected");
    let row = rows.first().ok_or_else(nothing)?;
    row.try_get(0).map_err(|error| StoreError::from(PgError::from(error)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_migration_of_the_file_has_its_counterpart_on_the_server() {
        let names = |folder: &str| -> BTreeSet<String> {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let files = std::fs::read_dir(folder).unwrap();
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
        };
        let (server, file) = (names("migrations/postgres"), names("migrations/sqlite"));
        assert!(server.is_superset(&file), "{file:?} has more than {server:?}");
        assert_eq!(embedded::migrations::runner().get_migrations().len(), server.len());
    }

    #[test]
    fn each_table_of_the_original_is_found_in_its_file() {
        let names: Vec<String> =
            tables(CORE, "s", "{core}").into_iter().map(|(name, _)| name).collect();
        let core = "monitor_items monitor_configs monitor_and_configs monitor_settings users";
        assert_eq!(names.join(" "), core);
        let series = tables(SERIES, "\"a b\"", "{series}");
        assert_eq!(series.len(), 3);
        assert!(series[0].1.contains("ON \"a b\".monitor_checks (status, time DESC)"));
    }
}

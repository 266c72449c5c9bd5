//! The enabled rows of the table, read once: for commands that check them without an engine.
//!
//! Owns: nothing that lasts. Writes nothing, and needs no table but the original's.

use jiff::tz::TimeZone;

use super::slices::ALL;
use super::table::Table;
use crate::clock::wall_millis;
use crate::env::original::RowDefaults;
use crate::ids::MonitorId;
use crate::limits::FEED_STEP_ROWS;
use crate::monitor::row::{Checked, Interner};
use crate::pg::{Kind, PgError, PgOptions, Session};

/// What was found.
#[derive(Debug, Default)]
pub struct Enabled {
    /// Monitors that can run, in the order of their ids.
    pub monitors: Vec<Checked>,
    /// Why others cannot, with their ids.
    pub problems: Vec<(MonitorId, String)>,
}

/// Reads the first enabled rows, at most so many.
///
/// # Errors
///
/// The database's.
pub fn enabled(
    database: &PgOptions,
    defaults: &RowDefaults,
    rows_max: usize,
) -> Result<Enabled, PgError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| PgError::new(Kind::Other, error.to_string()))?;
    runtime.block_on(read(database, defaults, rows_max))
}

async fn read(
    database: &PgOptions,
    defaults: &RowDefaults,
    rows_max: usize,
) -> Result<Enabled, PgError> {
    let session = Session::open(database).await?;
    let table = Table::find(&session).await?;
    let (mut interner, zone) = (Interner::default(), TimeZone::system());
    let (mut found, mut enabled, mut range) = (Enabled::default(), 0, ALL);
    loop {
        let hashes = table.hashes(&session, &range).await?;
        let ids: Vec<_> = hashes.iter().map(|(id, _)| *id).collect();
        for row in table.rows_of(&session, &ids).await? {
            if enabled == rows_max {
                return Ok(found);
            }
            let read = row.read(defaults, &mut interner, &zone, wall_millis());
            enabled += usize::from(row.is_enabled);
            match read.checked {
                Ok(checked) if !checked.paused => found.monitors.push(checked),
                Err(problem) if row.is_enabled => found.problems.push((row.id, problem)),
                _ => {}
            }
        }
        match ids.last() {
            Some(last) if ids.len() == FEED_STEP_ROWS => range = MonitorId(last.0 + 1)..=*ALL.end(),
            _ => return Ok(found),
        }
    }
}

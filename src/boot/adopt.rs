//! Runs monitors as the store has them.
//!
//! Owns: the start of those that came over the API. They are read in pages, so that the first are
//! checked while the last are read and no list of all of them is ever held. Nothing is written but
//! for rows that can run no more, or can again.

use super::marking::Plan;
use super::{Applied, Engine, EngineError};
use crate::config::Entry;
use crate::ids::MonitorId;
use crate::limits::START_ROWS;
use crate::monitor::Monitor;
use crate::monitor::row::Interner;
use crate::store::Read;
use crate::store::view::Written;

impl Engine {
    /// Runs the monitors of `source` that the store has. A row that this version cannot read is
    /// kept and shown with the reason.
    ///
    /// # Errors
    ///
    /// The database's, or the store or a shard has ended. Those read before run.
    pub fn adopt(
        &mut self,
        source: &str,
        reader: &mut dyn Read,
        interner: &mut Interner,
    ) -> Result<Applied, EngineError> {
        let mut applied = Applied::default();
        let mut children: Vec<(MonitorId, Vec<String>)> = Vec::new();
        pages(reader, source, |rows| {
            let (mut monitors, mut anew) = (Vec::with_capacity(rows.len()), Vec::new());
            for written in rows {
                let mut entry = Entry::of_json(&written.row_json, source, interner);
                if !entry.depends_on.is_empty() {
                    children.push((written.id, std::mem::take(&mut entry.depends_on)));
                }
                let (row, monitor) = self.prepare(entry);
                if let Some(problem) = &row.problem {
                    applied.bad.push((row.about.name.clone(), problem.clone()));
                }
                if row.problem.is_some() || written.has_problem {
                    anew.push(row);
                }
                monitors.extend(monitor.map(|monitor| Monitor { id: written.id, ..monitor }));
            }
            if !anew.is_empty() {
                self.handle.edit(source, anew, Vec::new())?;
            }
            applied.running += monitors.len();
            self.assign(monitors)
        })?;
        self.mark(source, Plan::of_names(children), &[])?;
        Ok(applied)
    }
}

/// Calls `each` with the rows of a source, page by page.
fn pages(
    reader: &mut dyn Read,
    source: &str,
    mut each: impl FnMut(Vec<Written>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut from = MonitorId(0);
    loop {
        let mut rows = reader.written(from, START_ROWS)?;
        let last = rows.last().map(|row| row.id).filter(|_| rows.len() == START_ROWS);
        rows.retain(|row| row.source == source);
        each(rows)?;
        match last {
            Some(last) => from = MonitorId(last.0 + 1),
            None => return Ok(()),
        }
    }
}

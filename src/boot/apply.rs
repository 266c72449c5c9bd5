//! Makes the monitors of a source exactly what its list says.
//!
//! Owns: the steps. The list is taken in parts, each written and then sent to the shards: the first
//! monitors are checked while the last are written. Those that the list does not have any more go
//! in the end.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::marking::Plan;
use super::{Applied, Engine, EngineError};
use crate::config::{Entry, Loaded};
use crate::ids::{IdSet, MonitorId};
use crate::limits::{INTERVAL_MS_DEFAULT, START_ROWS};
use crate::monitor::row::MonitorRow;
use crate::monitor::{About, Kind, Monitor, address};
use crate::store::{NewMonitor, StoreError};

/// What is known of a list while it is applied.
#[derive(Default)]
struct Progress {
    applied: Applied,
    /// The number of each entry so far; `None` for one that was refused.
    ids: Vec<Option<MonitorId>>,
    /// True where the database is away, and these are the entries that were known.
    away: bool,
    /// Hashes of the names so far.
    names: HashSet<u64>,
    hasher: RandomState,
}

impl Progress {
    fn refuse(&mut self, entry: usize, reason: String) {
        self.applied.bad.push((format!("entry {}", entry + 1), reason));
    }
}

impl Engine {
    /// Makes the monitors of `source` exactly these. Those that cannot run are stored with their
    /// reason and shown; what did not change is not touched.
    ///
    /// # Errors
    ///
    /// The database's, or the store or a shard has ended. What was applied before stays. None where
    /// the database is away: then what was known of it runs, and the rest when it is back.
    pub fn apply(&mut self, source: &str, loaded: Loaded) -> Result<Applied, EngineError> {
        let plan = Plan::of(&loaded);
        let mut progress = Progress::default();
        let mut entries = loaded.monitors.into_iter();
        loop {
            let part: Vec<Entry> = entries.by_ref().take(START_ROWS).collect();
            if part.is_empty() {
                break;
            }
            self.put(source, part, &mut progress)?;
        }
        let Progress { mut applied, ids, away, .. } = progress;
        let gone = match away {
            true => Vec::new(),
            false => self.others(source, &ids)?,
        };
        if away {
            self.apply_again();
        }
        if !gone.is_empty() {
            let removed = self.handle.edit(source, Vec::new(), gone)?.removed;
            applied.removed = removed.len();
            self.remove(&removed)?;
        }
        self.mark(source, plan, &ids)?;
        Ok(applied)
    }

    /// Takes the windows of maintenance of a file without monitors.
    ///
    /// # Errors
    ///
    /// The store has ended.
    pub fn take_windows(&mut self, source: &str, loaded: &Loaded) -> Result<(), EngineError> {
        self.mark(source, Plan::of(loaded), &[])
    }

    /// Writes some entries and sends them to the shards.
    fn put(
        &mut self,
        source: &str,
        part: Vec<Entry>,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        let first = progress.ids.len();
        let (mut rows, mut good) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len()));
        for (at, entry) in (first..).zip(part) {
            let (row, monitor) = self.prepare(entry);
            let name = &row.about.name;
            if !progress.names.insert(progress.hasher.hash_one(name)) {
                progress.refuse(at, format!("the name {name:?} is there twice"));
                progress.ids.push(None);
                continue;
            }
            if let Some(problem) = &row.problem {
                progress.applied.bad.push((name.clone(), problem.clone()));
            }
            progress.ids.push(None);
            rows.push(row);
            good.push((at, monitor));
        }
        let report = self.handle.put(source, rows)?;
        progress.away |= report.away;
        for refused in report.refused {
            progress.refuse(good[refused.index].0, refused.reason);
        }
        progress.applied.added += report.added;
        progress.applied.changed += report.changed;
        let (mut monitors, mut stopped) = (Vec::with_capacity(good.len()), Vec::new());
        for (id, (at, monitor)) in report.ids.into_iter().zip(good) {
            progress.ids[at] = id;
            match (id, monitor) {
                (Some(id), Some(monitor)) => monitors.push(Monitor { id, ..monitor }),
                (Some(id), None) => stopped.push(id),
                (None, _) => {}
            }
        }
        progress.applied.running += monitors.len();
        self.remove(&stopped)?;
        self.assign(monitors)
    }

    /// The monitors of the source that are not among these.
    fn others(
        &self,
        source: &str,
        ids: &[Option<MonitorId>],
    ) -> Result<Vec<MonitorId>, StoreError> {
        let mut listed = IdSet::default();
        for id in ids.iter().flatten() {
            listed.insert(*id);
        }
        let mut others = self.handle.monitors_of(source)?;
        others.retain(|id| !listed.contains(*id));
        Ok(others)
    }

    /// The row to be stored, and the monitor where it can run, still without its number.
    pub(super) fn prepare(&self, entry: Entry) -> (NewMonitor, Option<Monitor>) {
        let trusted = entry.checked.map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|problem| problem.to_string()).collect();
            problems.join("; ")
        });
        let checked = trusted.and_then(|checked| match self.trust.load_for(&checked.spec) {
            Ok(()) => Ok(checked),
            Err(error) => Err(error.to_string()),
        });
        match checked {
            Ok(checked) => {
                let (about, monitor) = checked.parts(MonitorId(0));
                let row = NewMonitor {
                    about,
                    kind: Some(monitor.kind),
                    row_json: entry.row_json.into(),
                    problem: None,
                    interval_ms: monitor.timing.interval_ms,
                    paused: monitor.paused,
                };
                (row, Some(monitor))
            }
            Err(problem) => {
                let (written, _) = MonitorRow::read_json(&entry.row_json);
                let row = NewMonitor {
                    about: about_bad(&written, entry.line),
                    kind: written.kind.as_deref().and_then(Kind::from_name),
                    row_json: entry.row_json.into(),
                    problem: Some(problem),
                    interval_ms: INTERVAL_MS_DEFAULT,
                    paused: false,
                };
                (row, None)
            }
        }
    }
}

/// How a monitor is shown that cannot run.
fn about_bad(row: &MonitorRow, line: u32) -> About {
    let target = row.target.as_deref().map(address::masked_widely).unwrap_or_default();
    About {
        name: row.name.clone().unwrap_or_else(|| format!("line {line}")),
        target,
        tags: row.tags.clone().unwrap_or_default(),
    }
}

//! What alerting asks the store: who a monitor is, and which changes nobody told of.
//!
//! Owns: the questions of the alerts' thread to the store, and how recorded batches become changes.
//! Its reader stays open: it holds nothing that the writer waits for.

use std::fmt;
use std::sync::Arc;

use crate::alert::{Change, Directory, Facts};
use crate::ids::MonitorId;
use crate::metrics::streaks::Streaks;
use crate::monitor::row::MonitorRow;
use crate::sample::{Code, SampleBatch};
use crate::store::view::{OpenReader, Watched};
use crate::store::{Read, StoreError};

/// The store, as alerting sees it.
pub struct StoreDirectory {
    readers: Arc<dyn OpenReader>,
    reader: Option<Box<dyn Read + Send>>,
    streaks: Streaks,
}

impl fmt::Debug for StoreDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreDirectory")
    }
}

impl StoreDirectory {
    /// The store that `readers` opens; `streaks` counts failed checks in a row.
    pub fn new(readers: Arc<dyn OpenReader>, streaks: Streaks) -> StoreDirectory {
        StoreDirectory { readers, reader: None, streaks }
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Read) -> Result<T, StoreError>,
    ) -> Result<T, String> {
        let words = |error: StoreError| error.to_string();
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.readers.open().map_err(words)?,
        };
        let answer = question(reader.as_mut()).map_err(words)?;
        self.reader = Some(reader); // After an error a new one is opened.
        Ok(answer)
    }
}

impl Directory for StoreDirectory {
    fn facts(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Facts>>, String> {
        if monitors.is_empty() {
            return Ok(Vec::new());
        }
        let watched = self.ask(|reader| reader.watched(monitors))?;
        Ok(watched.into_iter().map(|watched| watched.map(facts)).collect())
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Vec<(u64, Change)>, String> {
        let found = self.ask(|reader| reader.transitions_after(after, limit))?;
        let changes = found.into_iter().map(|(number, view)| {
            let change = Change {
                monitor: view.monitor,
                at_ms: view.at_ms,
                from: view.from,
                to: view.to,
                code: Code(view.code),
                message: view.message.into_boxed_str(),
                total_us: 0,
            };
            (number, change)
        });
        Ok(changes.collect())
    }

    fn newest_change(&mut self) -> Result<u64, String> {
        self.ask(|reader| reader.newest_transition())
    }

    fn failures(&mut self, monitor: MonitorId) -> u32 {
        self.streaks.of(monitor)
    }
}

fn facts(watched: Watched) -> Facts {
    // A row that this version cannot read has no channels of its own.
    let row: MonitorRow = serde_json::from_str(&watched.row_json).unwrap_or_default();
    Facts {
        name: watched.name,
        target: watched.target,
        kind: watched.kind,
        interval_ms: watched.interval_ms,
        tags: watched.tags,
        channels: row.alerts,
        ..Facts::default()
    }
}

/// The changes in recorded batches, with their words.
pub fn changes(batches: &[SampleBatch]) -> Vec<Change> {
    let changing = batches.iter().filter(|batch| !batch.transitions.is_empty());
    changing.flat_map(changes_of).collect()
}

fn changes_of(batch: &SampleBatch) -> impl Iterator<Item = Change> + '_ {
    batch.transitions.iter().map(|transition| {
        let index = batch.samples.iter().position(|sample| {
            sample.monitor == transition.monitor && sample.due_ms == transition.at_ms
        });
        let words = index
            .and_then(|index| batch.words.iter().find(|words| usize::from(words.sample) == index));
        let total_us = index.map_or(0, |index| batch.samples[index].total_us);
        Change {
            monitor: transition.monitor,
            at_ms: transition.at_ms,
            from: transition.from,
            to: transition.to,
            code: transition.code,
            message: words.map(|words| words.message.clone()).unwrap_or_default(),
            total_us: if total_us == u32::MAX { 0 } else { total_us },
        }
    })
}

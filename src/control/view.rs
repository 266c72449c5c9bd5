//! The original's API on the engine's own store and shards.
//!
//! Owns: which of our numbers stands for which of the original's, and one reader of the store,
//! which holds nothing that the writer waits for.

use std::sync::{Arc, Mutex, PoisonError};

use crate::api::legacy::view::{Item, LegacyView, Totals, Worker};
use crate::metrics::snapshot::Published;
use crate::metrics::streaks::Streaks;
use crate::monitor::Kind;
use crate::sample::{CheckResult, Code, Verdict};
use crate::store::view::{Filter, MonitorView};
use crate::store::{OpenReader, Read, StoreCounters, StoreError};

/// Rows of the store, with what the shards publish.
pub struct StoreView {
    /// Opens the store.
    pub readers: Arc<dyn OpenReader>,
    /// The reader of the last look.
    pub reader: Mutex<Option<Box<dyn Read + Send>>>,
    /// Where the snapshots of the shards are found.
    pub shards: Vec<Published>,
    /// Failed checks in a row.
    pub streaks: Streaks,
    /// Whether the store can be read.
    pub store: Arc<StoreCounters>,
}

impl LegacyView for StoreView {
    /// While the store cannot be read, what the shards have.
    fn totals(&self) -> Result<Totals, String> {
        let stored = (!self.store.is_away()).then(|| self.look(|reader| reader.totals()));
        match stored.and_then(Result::ok) {
            Some((total, enabled, running)) => Ok(Totals { total, enabled, running }),
            None => Ok(self.on_shards()),
        }
    }

    fn items(&self, limit: usize, offset: usize) -> Result<Vec<Item>, String> {
        let filter = Filter { limit, offset, by_id: true, ..Filter::default() };
        let monitors = self.look(|reader| reader.monitors(&filter))?;
        Ok(monitors.into_iter().map(|monitor| self.item(monitor)).collect())
    }

    fn workers(&self) -> Vec<Worker> {
        let worker = |published: &Published| {
            let snapshot = published.latest();
            Worker {
                id: u64::from(snapshot.shard.0) + 1,
                name: format!("shard-{}", snapshot.shard),
                monitors: snapshot.monitors.iter().sum(),
            }
        };
        self.shards.iter().map(worker).collect()
    }
}

impl StoreView {
    /// Asks the reader; after an error the next look opens another.
    fn look<T>(
        &self,
        ask: impl FnOnce(&mut dyn Read) -> Result<T, StoreError>,
    ) -> Result<T, String> {
        let mut kept = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = kept.take().map_or_else(|| self.readers.open(), Ok);
        let mut reader = reader.map_err(|error| error.to_string())?;
        let answer = ask(&mut *reader).map_err(|error| error.to_string())?;
        *kept = Some(reader);
        Ok(answer)
    }

    fn on_shards(&self) -> Totals {
        let monitors = self.shards.iter().map(|published| published.latest().monitors);
        let sums = monitors.fold((0, 0), |(total, paused), of_shard| {
            let sum: u64 = of_shard.iter().sum();
            (total + sum, paused + of_shard[Verdict::Paused as usize])
        });
        let enabled = sums.0 - sums.1;
        Totals { total: sums.0, enabled, running: enabled }
    }

    fn item(&self, monitor: MonitorView) -> Item {
        let enabled = monitor.verdict != Verdict::Paused;
        Item {
            id: monitor.id.0,
            consecutive_errors: self.streaks.of(monitor.id),
            kind: monitor.kind.map_or("", Kind::name),
            last_status: last_status(&monitor),
            enabled,
            running: enabled && monitor.problem.is_none(),
            name: monitor.name,
            target: monitor.target,
            last_check_ms: monitor.last_check_ms,
            interval_s: monitor.interval_ms / 1_000,
            user_id: monitor.user_id,
            stop_to_ms: monitor.stop_to_ms,
            count_online: monitor.counts.up,
            count_offline: monitor.counts.down,
        }
    }
}

/// The original knows good and bad only; where the last check says neither, the verdict may.
fn last_status(monitor: &MonitorView) -> Option<i8> {
    monitor.last_check_ms?;
    match (Code(monitor.code).result(), monitor.verdict) {
        (CheckResult::Up, _) => Some(1),
        (CheckResult::Down(_), _) => Some(-1),
        (_, Verdict::Up) => Some(1),
        (_, Verdict::Down) => Some(-1),
        _ => None,
    }
}

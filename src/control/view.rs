//! The original's API on the engine's own store and shards.
//!
//! Owns: which of our numbers stands for which of the original's. Opens the store for each look:
//! a reader holds nothing that the writer waits for.

use std::path::PathBuf;

use crate::api::legacy::view::{Item, LegacyView, Totals, Worker};
use crate::metrics::snapshot::Published;
use crate::metrics::streaks::Streaks;
use crate::monitor::Kind;
use crate::sample::{CheckResult, Code, Verdict};
use crate::store::view::{Filter, MonitorView};
use crate::store::{Read, SqliteReader, StoreError};

/// Rows of the SQLite file in a data folder, with what the shards publish.
#[derive(Debug)]
pub struct StoreView {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Where the snapshots of the shards are found.
    pub shards: Vec<Published>,
    /// Failed checks in a row.
    pub streaks: Streaks,
}

fn words(error: StoreError) -> String {
    error.to_string()
}

impl LegacyView for StoreView {
    fn totals(&self) -> Result<Totals, String> {
        let reader = SqliteReader::open(&self.data_dir).map_err(words)?;
        let (total, enabled, running) = reader.totals().map_err(words)?;
        Ok(Totals { total, enabled, running })
    }

    fn items(&self, limit: usize, offset: usize) -> Result<Vec<Item>, String> {
        let filter = Filter { limit, offset, by_id: true, ..Filter::default() };
        let mut reader = SqliteReader::open(&self.data_dir).map_err(words)?;
        let monitors = reader.monitors(&filter).map_err(words)?;
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
            // Rows of a file have neither owner nor end of pause.
            user_id: None,
            stop_to_ms: None,
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

//! Feeds the live view of the demo: from the store and the shards to the screen, once a second.
//!
//! Owns: the thread that holds the terminal. It shows what is recorded, as any other reader would.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cli::live::{self, Ended, LiveChange, LiveRow, LiveView};
use crate::cli::style::Style;
use crate::clock::wall_millis;
use crate::metrics::ledger::Ledger;
use crate::metrics::snapshot::{Published, lag_histogram};
use crate::sample::Verdict;
use crate::store::view::{Filter, MonitorView};
use crate::store::{Read, SqliteReader, StoreError};

const EVERY: Duration = Duration::from_secs(1);

/// The live view, seen from the control thread.
pub struct Feed {
    reader: SqliteReader,
    shards: Vec<Published>,
    views: Sender<LiveView>,
    screen: JoinHandle<io::Result<Ended>>,
    listen: String,
    started_ms: u64,
    next: Instant,
    before: Vec<MonitorView>,
    finished_before: u64,
    looked: Instant,
}

impl Feed {
    /// Takes the terminal, or standard output where it is none.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn start(
        data_dir: &Path,
        listen: SocketAddr,
        shards: Vec<Published>,
        style: Style,
    ) -> Result<Feed, StoreError> {
        use std::io::IsTerminal;
        let reader = SqliteReader::open(data_dir)?;
        let (views, received) = channel();
        let screen = std::thread::spawn(move || {
            if io::stdout().is_terminal() {
                live::run(&received)
            } else {
                live::run_plain(&received, &mut io::stdout(), &style, || false)
            }
        });
        Ok(Feed {
            reader,
            shards,
            views,
            screen,
            listen: format!("http://{listen}/metrics"),
            started_ms: wall_millis(),
            next: Instant::now(),
            before: Vec::new(),
            finished_before: 0,
            looked: Instant::now(),
        })
    }

    /// Shows a new view when it is time; true where the user has ended the view.
    pub fn turn(&mut self) -> bool {
        if self.screen.is_finished() {
            return true;
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + EVERY;
            match self.view() {
                // The screen may have ended meanwhile: the next turn sees it.
                Ok(view) => drop(self.views.send(view)),
                Err(error) => tracing::error!(%error, "the live view cannot read the store"),
            }
        }
        false
    }

    /// Shows what the last checks found and gives the terminal back.
    pub fn end(mut self) {
        if let Ok(view) = self.view() {
            let _ = self.views.send(view);
        }
        drop(self.views);
        if let Ok(Err(error)) = self.screen.join() {
            tracing::error!(%error, "the live view has ended");
        }
    }

    fn view(&mut self) -> Result<LiveView, StoreError> {
        let monitors = self.reader.monitors(&Filter::default())?;
        let mut ledger = Ledger::default();
        let (mut lag, mut in_flight) = (lag_histogram(), 0);
        for shard in &self.shards {
            let shard = shard.latest();
            ledger.add(&shard.ledger);
            in_flight += shard.in_flight;
            // Both have the same bounds.
            let _ = lag.add(&shard.lag);
        }
        let finished = ledger.up + ledger.down + ledger.unknown;
        let seconds = self.looked.elapsed().as_secs_f64().max(0.001);
        let checks_per_s = finished.saturating_sub(self.finished_before) as f64 / seconds;
        self.looked = Instant::now();
        self.finished_before = finished;
        let mut verdicts = [0; Verdict::ALL.len()];
        for monitor in &monitors {
            verdicts[monitor.verdict as usize] += 1;
        }
        let changes = changes(&self.before, &monitors);
        let rows = monitors.iter().map(row).collect();
        self.before = monitors;
        Ok(LiveView {
            now_ms: wall_millis(),
            started_ms: self.started_ms,
            listen: self.listen.clone(),
            verdicts,
            checks_per_s,
            lag_p99_us: lag.value_at_quantile(0.99).min(u64::from(u32::MAX)) as u32,
            in_flight,
            missed: ledger.missed_total(),
            rows,
            changes,
        })
    }
}

fn kind(monitor: &MonitorView) -> &'static str {
    monitor.kind.map_or("?", |kind| kind.name())
}

fn row(monitor: &MonitorView) -> LiveRow {
    LiveRow {
        name: monitor.name.clone(),
        kind: kind(monitor),
        target: monitor.target.clone(),
        verdict: monitor.verdict,
        since_ms: monitor.since_ms.unwrap_or(0),
        last_us: monitor.total_us,
        message: monitor.problem.clone().unwrap_or_else(|| monitor.message.clone()),
    }
}

/// Monitors whose verdict is another one than before, oldest first.
fn changes(before: &[MonitorView], now: &[MonitorView]) -> Vec<LiveChange> {
    let known =
        |id| before.iter().find(|old| old.id == id).map_or(Verdict::Pending, |old| old.verdict);
    let changed = now.iter().filter(|new| new.verdict != known(new.id));
    let mut changes: Vec<_> = changed
        .map(|new| LiveChange {
            at_ms: new.since_ms.unwrap_or(0),
            name: new.name.clone(),
            kind: kind(new),
            to: new.verdict,
            message: new.message.clone(),
        })
        .collect();
    changes.sort_by_key(|change| change.at_ms);
    changes
}

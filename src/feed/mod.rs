//! The original's table `monitor_items` as the source of monitors, live.
//!
//! Owns: the thread `feed`, which reads the table, watches it and tells the control thread. Rows
//! become monitors in `rows`; `known` finds what a fresh row changes; `table`, `slices`, `watch`
//! and `records` are the SQL; `snapshot` is the copy that a start without the database runs.
//!
//! Changes come by a trigger and LISTEN where the role may install it, else by looking every
//! `FEED_ROUND_MS`: at `FEED_STEP_ROWS` rows in the order of their ids, and in a larger table also
//! at those that are new or updated. A sweep of all rows follows each connection. While the
//! database is away everything goes on as it was.

pub mod known;

pub mod once;

mod records;

pub mod rows;

mod run;

pub mod slices;

pub mod snapshot;

pub mod table;

pub mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use crate::env::original::RowDefaults;
use crate::logs::Logs;
use crate::messages::Changes;
use crate::metrics::page::Counts;
use crate::pg::PgOptions;
use crate::store::StoreHandle;

use slices::{Ours, Slice};

/// What is read, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the table is.
    pub database: PgOptions,
    /// The folder of the copy.
    pub data_dir: PathBuf,
    /// What the original takes from its environment.
    pub defaults: RowDefaults,
    /// The rows that all of these parts have; all rows where there is none.
    pub slices: Vec<Slice>,
    /// True where no trigger is to be installed.
    pub only_polls: bool,
    /// True where the database is known to be away: the rows of the last time run at once.
    pub is_away: bool,
}

/// Whom the feed tells.
#[derive(Clone)]
pub struct Links {
    /// Knows the last states.
    pub store: StoreHandle,
    /// Makes the changes.
    pub changes: Changes,
    /// Writes lines about monitors.
    pub logs: Option<Logs>,
    /// Hears which ids are ours.
    pub ours: Ours,
}

/// What the feed counts.
#[derive(Debug, Default)]
pub struct FeedCounters {
    connected: AtomicU64,
    listening: AtomicU64,
    rows: AtomicU64,
    bad: AtomicU64,
    changed: AtomicU64,
    errors: AtomicU64,
}

impl FeedCounters {
    /// Everything, with its name.
    pub fn by_name(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            gauges: vec![
                (
                    "engine_feed_connected",
                    "1 while the original's table is reached",
                    load(&self.connected),
                ),
                (
                    "engine_feed_listening",
                    "1 while the table tells of its changes, 0 while it is polled",
                    load(&self.listening),
                ),
                ("engine_feed_rows", "Rows that are taken from the table", load(&self.rows)),
                ("engine_feed_bad_rows", "Rows that cannot run", load(&self.bad)),
            ],
            counters: vec![
                ("engine_feed_changes", "Rows that came, changed or went", load(&self.changed)),
                ("engine_feed_errors", "Times the table could not be read", load(&self.errors)),
            ],
        }
    }
}

/// The thread, seen from the one that starts and stops it.
#[derive(Debug)]
pub struct Feed {
    thread: JoinHandle<()>,
    stop: Arc<Notify>,
    counters: Arc<FeedCounters>,
}

impl Feed {
    /// Starts the thread `feed`. It tells of the rows through `links` as soon as it has them, and
    /// goes on until it is stopped.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub fn start(wanted: Wanted, links: Links) -> io::Result<Feed> {
        let (stop, counters) = (Arc::new(Notify::new()), Arc::new(FeedCounters::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (asked, counted) = (Arc::clone(&stop), Arc::clone(&counters));
        let thread = std::thread::Builder::new().name("feed".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = asked.notified() => {}
                    () = run::run(wanted, links, &counted) => {}
                }
            });
        })?;
        Ok(Feed { thread, stop, counters })
    }

    /// What the feed counts.
    pub fn counters(&self) -> Arc<FeedCounters> {
        Arc::clone(&self.counters)
    }

    /// Ends the thread; a panic of it goes on here.
    pub fn stop(self) {
        self.stop.notify_one();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

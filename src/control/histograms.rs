//! Collects the latency histograms of the shards and writes them at times.
//!
//! Owns: when: a collection each second, a dump at SIGUSR1, on a schedule and at the end. Files are
//! written on a thread of their own, one dump at a time; one that is still being written is
//! counted and said, never waited for.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::wall_millis;
use crate::hist::{self, Series, dump};
use crate::metrics::latency::{Collector, Shared};
use crate::metrics::snapshot::Published;

const COLLECT_EVERY: Duration = Duration::from_secs(1);

/// Where and when histograms are written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where SIGUSR1 and the schedule write.
    pub folder: PathBuf,
    /// Time between two dumps; `None` where only SIGUSR1 asks for one.
    pub every: Option<Duration>,
}

/// The collector with its times.
#[derive(Debug)]
pub struct Histograms {
    collector: Shared,
    plan: Plan,
    collect_at: Instant,
    dump_at: Option<Instant>,
    interval_from_ms: u64,
    writing: Option<JoinHandle<()>>,
}

impl Histograms {
    /// Begins now.
    pub fn new(shards: Vec<Published>, plan: Plan) -> Histograms {
        let now_ms = wall_millis();
        Histograms {
            collector: Arc::new(Collector::new(shards, plan.every.is_some(), now_ms).into()),
            collect_at: Instant::now(),
            dump_at: plan.every.map(|every| Instant::now() + every),
            interval_from_ms: now_ms,
            writing: None,
            plan,
        }
    }

    /// The collector, for the API.
    pub fn shared(&self) -> Shared {
        Arc::clone(&self.collector)
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        self.collector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due.
    pub fn turn(&mut self) {
        let now = Instant::now();
        if now >= self.collect_at {
            self.collect_at = now + COLLECT_EVERY;
            self.collector().collect();
        }
        if self.dump_at.is_some_and(|at| now >= at) {
            self.dump_at = self.plan.every.map(|every| now + every);
            self.write(true);
        }
    }

    /// Writes everything since the start.
    pub fn dump_now(&mut self) {
        self.collector().collect();
        self.write(false);
    }

    /// Takes what the shards left and writes the last interval, where there is a schedule.
    pub fn end(mut self) {
        self.collector().collect();
        self.wait();
        if self.dump_at.is_some() {
            self.write(true);
        }
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(writing) = self.writing.take()
            && writing.join().is_err()
        {
            tracing::error!("the thread that writes histograms has panicked");
        }
    }

    fn write(&mut self, scheduled: bool) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            tracing::warn!("histograms are still being written: this dump is left out");
            return;
        }
        self.wait();
        let now_ms = wall_millis();
        let (whole, interval) = {
            let mut collector = self.collector();
            let started_ms = collector.started_ms();
            let whole = hist::series(collector.since_start(), false, started_ms, now_ms);
            let interval = scheduled.then(|| {
                hist::series(&collector.take_interval(), false, self.interval_from_ms, now_ms)
            });
            (whole, interval)
        };
        if scheduled {
            self.interval_from_ms = now_ms;
        }
        let folder = self.plan.folder.clone();
        let write = move || write(&folder, &whole, interval.as_deref());
        match std::thread::Builder::new().name("hist".to_owned()).spawn(write) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => tracing::error!(%error, "no thread to write histograms"),
        }
    }
}

fn write(folder: &std::path::Path, whole: &[Series], interval: Option<&[Series]>) {
    let appended = interval.map_or(Ok(()), |interval| dump::append_interval(folder, interval));
    match appended.and_then(|()| dump::write_whole(folder, whole)) {
        Ok(()) => tracing::info!(folder = %folder.display(), "histograms are written"),
        Err(error) => tracing::error!("histograms cannot be written: {error}"),
    }
}

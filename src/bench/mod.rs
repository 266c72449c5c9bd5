//! The benchmark: the whole engine against targets of its own, and a yardstick in the same run.
//!
//! Owns: the order of a run. The farm starts as its own process, the reference is measured, the
//! engine is loaded, warms up and is watched second by second; then it stops and the reference is
//! measured again. Leaves to others: flags and texts (`cli`), which know what of it to show. The
//! engine under test is the engine: same boot, same store, in a data folder that is deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::boot::{Engine, EngineError, Options};
use crate::config::Loaded;
use crate::config::database::Database;
use crate::limits::{DRAIN_MS_MAX, INFLIGHT_DEFAULT};
use crate::placement::{self, PlacementError};
use crate::preflight;
use crate::store::{Retention, StoreError};

pub mod database;

pub mod html;

pub mod limit;

pub mod machine;

pub mod mix;

pub mod ping;

pub mod plot;

pub mod reference;

pub mod report;

pub mod targets;

pub mod usage;

pub mod watch;

pub mod yardstick;

use database::RunDatabase;
use machine::Machine;
use mix::{Common, Mix};
use report::{Load, Report, Run};
use targets::Targets;
use watch::{Look, Point};
use yardstick::{Cost, Yardstick};

/// The variable that names the server of the results: a run of a search gets it here, since a
/// command line can be read by everybody.
pub const DATABASE_URL: &str = "ENGINE_BENCH_DATABASE_URL";

/// Everything that a bench needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the monitors are.
    pub mix: Mix,
    /// How many.
    pub monitors: usize,
    /// From due to due.
    pub interval: Duration,
    /// Deadline of a check.
    pub timeout: Duration,
    /// Before what is measured.
    pub warmup: Duration,
    /// What is measured.
    pub duration: Duration,
    /// Shards; all CPUs but one, which the farm gets, where `None`.
    pub cores: Option<usize>,
    /// A folder for the database, which must not be there yet; deleted in the end.
    pub data_dir: PathBuf,
    /// Where results go: that folder, or a server on which a database is made and deleted.
    pub database: Database,
    /// This binary: it serves the targets too.
    pub program: PathBuf,
    /// How long the reference runs, before and after the engine; zero for not at all.
    pub reference: Duration,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The reference, before.
    Before,
    /// Monitors are made and stored.
    Loading,
    /// Nothing is measured yet.
    WarmUp,
    /// What is told in the end.
    Steady,
    /// The reference, after.
    After,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// `--cores`.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The farm's process.
    #[error("the targets cannot be started: {0}")]
    Targets(io::Error),
    /// The folder.
    #[error("{}: {source}; give a --data-dir that is not there yet, below one that can be written",
        path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Of the file operation.
        source: io::Error,
    },
    /// The server of the results.
    #[error("the database of the bench: {0}; --database-url needs the right to create databases")]
    Database(#[from] StoreError),
    /// The reference client.
    #[error("the reference: {0}")]
    Reference(io::Error),
    /// The descriptor limit.
    #[error("the descriptor limit cannot be read: {0}")]
    Limit(#[from] nix::Error),
    /// A run of a search.
    #[error("a run of the search failed: {0}")]
    Run(String),
}

/// The folder of a run: deleted with this value.
struct Folder(PathBuf);

impl Folder {
    fn make(path: &Path) -> Result<Folder, BenchError> {
        // A full path: monitors name a file in it.
        let made = fs::create_dir(path).and_then(|()| fs::canonicalize(path));
        made.map(Folder).map_err(|source| BenchError::Folder { path: path.to_owned(), source })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, BenchError> {
        let path = self.0.join(name);
        match fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(source) => Err(BenchError::Folder { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be deleted stays for whoever looks; it is below the folder that was named.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where everything runs.
#[derive(Clone, Debug)]
pub struct Seats {
    /// A shard on each.
    pub shards: Vec<usize>,
    /// The farm's, where it has one of its own.
    pub farm: Option<usize>,
}

impl Seats {
    fn choose(cores: Option<usize>) -> Result<Seats, PlacementError> {
        let allowed = placement::shard_cpus(None)?;
        let spare_one = allowed.len().saturating_sub(1).max(1);
        let shards = placement::shard_cpus(Some(cores.unwrap_or(spare_one)))?;
        let farm = allowed.get(shards.len()).copied();
        Ok(Seats { shards, farm })
    }
}

/// Runs a bench; `tell` hears about ten times a second where it is and which part of it is done.
///
/// # Errors
///
/// What could not be started. An engine that does badly is no error: the report says so.
pub fn run(plan: &Plan, mut tell: impl FnMut(Stage, f64)) -> Result<Report, BenchError> {
    let seats = Seats::choose(plan.cores)?;
    let descriptors = preflight::raise_descriptor_limit()?;
    let machine = Machine::look();
    let folder = Folder::make(&plan.data_dir)?;
    let database = RunDatabase::make(&plan.database)?;
    let mut targets = Targets::start(&plan.program, seats.farm).map_err(BenchError::Targets)?;
    let ca_file = folder.write("farm-ca.pem", &targets.places.ca_pem)?;
    let yardstick = Yardstick::new(plan, &targets.places, &seats);
    let measure = |stage, tell: &mut dyn FnMut(Stage, f64)| -> Result<Option<Cost>, _> {
        yardstick.measure(plan.reference, |part| tell(stage, part)).map_err(BenchError::Reference)
    };
    let before = measure(Stage::Before, &mut tell)?;

    let in_flight = preflight::inflight_allowed(descriptors, seats.shards.len());
    let options = Options {
        data_dir: folder.0.join("data"),
        backend: database.backend(),
        cpus: seats.shards.clone(),
        in_flight_max: in_flight.min(INFLIGHT_DEFAULT),
        retention: Retention::default(),
        roots: None,
        guard: None,
    };
    let common = Common {
        interval_ms: plan.interval.as_millis() as u64,
        timeout_ms: plan.timeout.as_millis() as u64,
        ca_file: ca_file.display().to_string(),
    };
    tell(Stage::Loading, 0.0);
    let entries = mix::entries(plan.mix, plan.monitors, &targets.places, &common);
    let (engine, load) = start(&options, entries)?;
    let watched = watch_over(plan, &engine, &mut targets, &mut tell);
    let last = end(engine)?;
    let after = measure(Stage::After, &mut tell)?;
    Ok(Report::of(&Run {
        plan,
        seats: &seats,
        in_flight_max: options.in_flight_max,
        machine,
        load,
        watched,
        last,
        cost: Cost::mean(before, after),
        store: database.kind(),
        database: database.bytes(&options.data_dir),
    }))
}

/// Starts the engine with its monitors.
fn start(
    options: &Options,
    monitors: Vec<crate::config::Entry>,
) -> Result<(Engine, Load), BenchError> {
    let began = Instant::now();
    let mut engine = Engine::start(options, |_| {})?;
    let first_us = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&first_us);
    let tapped = engine.store().tap(move |_| {
        let micros = began.elapsed().as_micros() as u64;
        // The first one only; whoever comes later finds it taken.
        let _ = seen.compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed);
    });
    tapped.map_err(EngineError::from)?;
    let loaded = Loaded { monitors, ..Loaded::default() };
    let applied = engine.apply("bench", loaded)?;
    let load = Load {
        seconds: began.elapsed().as_secs_f64(),
        first_result_us: first_us,
        refused: applied.bad.len(),
    };
    Ok((engine, load))
}

/// Warms up and looks once a second.
fn watch_over(
    plan: &Plan,
    engine: &Engine,
    targets: &mut Targets,
    tell: &mut impl FnMut(Stage, f64),
) -> Vec<Point> {
    let published = engine.published();
    let counts = engine.store_counts();
    wait(plan.warmup, |part| tell(Stage::WarmUp, part));
    let seconds = plan.duration.as_secs().max(1);
    let (from, mut points) = (Instant::now(), Vec::with_capacity(seconds as usize + 1));
    points.push(Point { second: 0.0, look: Look::take(&published, &counts, targets) });
    for second in 1..=seconds {
        if plan.mix == Mix::Outage {
            // The farm may be gone: then every check says so.
            let _ = match second {
                _ if second == seconds / 4 + 1 => targets.outage(true),
                _ if second == seconds / 4 + seconds / 2 + 1 => targets.outage(false),
                _ => Ok(()),
            };
        }
        let part = |within: f64| (second as f64 - 1.0 + within) / seconds as f64;
        let next = from + Duration::from_secs(second);
        wait(next.saturating_duration_since(Instant::now()), |within| {
            tell(Stage::Steady, part(within));
        });
        let look = Look::take(&published, &counts, targets);
        points.push(Point { second: from.elapsed().as_secs_f64(), look });
    }
    points
}

fn wait(time: Duration, mut tell: impl FnMut(f64)) {
    const STEP: Duration = Duration::from_millis(100);
    let from = Instant::now();
    while from.elapsed() < time {
        tell(from.elapsed().as_secs_f64() / time.as_secs_f64());
        std::thread::sleep(STEP.min(time.saturating_sub(from.elapsed())));
    }
}

/// Stops the engine in order and gives the last numbers of its shards.
fn end(engine: Engine) -> Result<watch::Shards, BenchError> {
    let published = engine.published();
    engine.drain();
    let deadline = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
    while !engine.is_drained() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    engine.finish()?;
    Ok(watch::Shards::sum(&published))
}

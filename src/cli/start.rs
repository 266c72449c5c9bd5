//! `engine start`: settles what was asked, starts the engine and stays until it has stopped.
//!
//! Owns: the steps of a start; the demo. Everything that is wrong before the
//! start is told with what to do about it, and the exit code says that another try is in vain.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::alert::Alerts;
use crate::boot::{Applied, Engine, Options};
use crate::cli::api_setup::{self, SetupError};
use crate::cli::args::StartArgs;
use crate::cli::feed::Feed;
use crate::cli::instance::Instance;
use crate::cli::settle::{Layers, Refusal, Settled, failed, unfit};
use crate::cli::style::Style;
use crate::cli::{alerting, doctor, exit, logs, original_log};
use crate::config::database::Database;
use crate::config::{Loaded, Settings};
use crate::control::histograms::{Histograms, Plan};
use crate::control::{self, Control, Listener, Served};
use crate::farm::Farm;
use crate::farm::demo::{DEMO_BEHAVIOURS, demo_monitors};
use crate::logs::Logs;
use crate::messages::changes;
use crate::monitor::row::Interner;
use crate::placement;
use crate::preflight::{self, Level, Wanted};
use crate::sample::Transition;
use crate::store::{Retention, SqliteFolder};

/// Everything that is not the configuration file's monitors is kept under this name in the store.
const SOURCE: &str = "file";

/// Runs the engine; returns the exit code when it has stopped.
pub fn run(args: &StartArgs, style: &Style) -> u8 {
    match start(args, style) {
        Ok(()) => exit::OK,
        Err(Refusal { code, text }) => {
            eprintln!("{}", text.trim_end());
            code
        }
    }
}

/// Where the monitors come from.
enum Origin {
    File(PathBuf),
    Demo(Farm, PathBuf),
}

impl Origin {
    fn load(&self, interner: &mut Interner) -> Result<Loaded, String> {
        let loaded = match self {
            Origin::File(path) => Loaded::read(path, interner),
            Origin::Demo(farm, ca_file) => {
                Loaded::parse(Arc::from("demo"), &demo_monitors(farm, ca_file), interner)
            }
        };
        loaded.map_err(|error| error.to_string())
    }
}

fn start(args: &StartArgs, style: &Style) -> Result<(), Refusal> {
    let mut interner = Interner::default();
    let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
    let layers = Layers::read(args, allowed)?;
    let (origin, mut loaded, settled) = origin(args, layers, &mut interner)?;
    settled.choose(&mut loaded, &mut interner);
    let live = args.demo && io::stdout().is_terminal();
    let log_file = live.then(|| settled.data_dir.join("engine.log"));
    let original = logs::start(logs::Wanted {
        level: &settled.log_level,
        format: settled.log_format,
        file: log_file.as_deref(),
        original: settled.log_file.clone(),
    });
    let original = original.map_err(unfit)?;
    settled.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let run = Run { args, style, origin, settled, logs: original.as_ref().map(|log| &log.logs) };
    let ended = run.run(loaded, &mut interner);
    if let Err(Refusal { text, .. }) = &ended
        && original.is_some()
    {
        tracing::error!("{}", text.trim_start_matches("error: "));
    }
    if let Some(original) = original {
        original.end();
    }
    ended
}

/// One run of the engine, with what it is made of.
struct Run<'a> {
    args: &'a StartArgs,
    style: &'a Style,
    origin: Origin,
    settled: Settled,
    logs: Option<&'a Logs>,
}

impl Run<'_> {
    fn run(self, loaded: Loaded, interner: &mut Interner) -> Result<(), Refusal> {
        let Run { args, style, origin, settled, logs } = self;
        let options = options(&settled)?;
        let listen = Listener::bind(settled.listen).map_err(unfit)?;
        let address = listen.address().map_err(unfit)?;
        let _instance = Instance::take(&settled.lock_file(), address).map_err(unfit)?;
        let channels = alerting::channels(&loaded.channels, &settled).map_err(unfit)?;
        let mut engine = Engine::start(&options, log_transitions).map_err(unfit)?;
        let asked_to_stop = Arc::new(AtomicBool::new(false));
        let readers = Arc::new(SqliteFolder(settled.data_dir.clone()));
        let alerts = match alerting::begin(channels, &settled, &engine, readers) {
            Ok(alerts) => alerts,
            Err(error) => return Err(unfit(ended_early(engine, error))),
        };
        let mut served = match fill(&mut engine, &settled, loaded, &asked_to_stop, logs) {
            Ok(served) => served,
            Err(error) => return Err(failed(ended_early(engine, error))),
        };
        let started = || {
            tracing::info!(
                shards = options.cpus.len(),
                in_flight_max = options.in_flight_max,
                data_dir = %options.data_dir.display(),
                metrics = %format!("http://{address}/metrics"),
                "started"
            );
        };
        let mut feed = match &origin {
            Origin::Demo(..) => Some(
                Feed::start(&options.data_dir, address, engine.published(), style.clone())
                    .map_err(failed)?,
            ),
            Origin::File(_) => None,
        };
        let until = args.duration.map(|duration| std::time::Instant::now() + duration);
        let stop = || {
            let watched = feed.as_mut().is_some_and(Feed::turn);
            let asked = asked_to_stop.load(Ordering::Relaxed);
            let silent = alerts.as_ref().is_some_and(Alerts::is_finished);
            watched
                || asked
                || silent
                || until.is_some_and(|until| std::time::Instant::now() >= until)
        };
        let reload = |engine: &mut Engine| {
            reload(engine, &origin, &settled, interner);
            alerts.iter().for_each(|alerts| alerts.teller().monitors_changed());
            logs.into_iter().for_each(|logs| tell_facts(logs, &settled.data_dir));
        };
        served.alerts = alerts.as_ref().map(Alerts::counters);
        let histograms = Histograms::new(engine.published(), hist_plan(&settled));
        let (_changes, inbox) = changes();
        let control = Control { started, reload, changes: inbox, stop, histograms };
        let ended = control::run(engine, listen, served, control);
        // After the engine: its last changes go into the outbox too.
        if let Some(alerts) = alerts {
            alerts.stop();
        }
        if let Some(feed) = feed {
            feed.end();
        }
        ended.map_err(failed)
    }
}

/// Ends an engine that was not filled, and says both why and what came of it.
fn ended_early(engine: Engine, error: impl ToString) -> String {
    let ended = engine.finish().err();
    format!("{}{}", error.to_string(), ended.map_or(String::new(), |more| format!("; {more}")))
}

/// Sets up the API and gives the engine its monitors, in this order: no result is missed.
fn fill(
    engine: &mut Engine,
    settled: &Settled,
    loaded: Loaded,
    stop: &Arc<AtomicBool>,
    logs: Option<&Logs>,
) -> Result<Served, SetupError> {
    let served = api_setup::served(settled, engine, Arc::clone(stop))?;
    if let Some(logs) = logs.cloned() {
        engine.store().tap(move |batches| logs.record(batches))?;
    }
    log_applied(&engine.apply(SOURCE, loaded)?);
    logs.into_iter().for_each(|logs| tell_facts(logs, &settled.data_dir));
    Ok(served)
}

fn hist_plan(settled: &Settled) -> Plan {
    let every = Duration::from_millis(settled.hist_interval_ms);
    match &settled.hist_dir {
        Some(folder) => Plan { folder: folder.clone(), every: Some(every) },
        None => Plan { folder: settled.data_dir.join("hist"), every: None },
    }
}

fn tell_facts(logs: &Logs, data_dir: &Path) {
    match original_log::facts(data_dir) {
        Ok(facts) => logs.know(facts),
        Err(error) => tracing::error!("log files of monitors are not written: {error}"),
    }
}

/// Where the monitors come from, what they are, and all that is settled.
fn origin(
    args: &StartArgs,
    layers: Layers<'_>,
    interner: &mut Interner,
) -> Result<(Origin, Loaded, Settled), Refusal> {
    if args.demo {
        let settled = layers.settle(&Settings::default())?;
        let folder = &settled.data_dir;
        let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), DEMO_BEHAVIOURS).map_err(failed)?;
        let ca_file = folder.join("demo-ca.pem");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&ca_file, farm.ca_pem()));
        written.map_err(|error| {
            let file = ca_file.display();
            unfit(format!("{file}: {error}; give a --data-dir that can be written"))
        })?;
        let origin = Origin::Demo(farm, ca_file);
        let loaded = origin.load(interner).map_err(unfit)?;
        return Ok((origin, loaded, settled));
    }
    let (loaded, mut settled, path) = from_file(layers, interner)?;
    if settled.database != Database::Sqlite {
        settled.notes.push(format!(
            "the monitors of {} are taken; the database {} is not used",
            path.display(),
            settled.database
        ));
    }
    Ok((Origin::File(path), loaded, settled))
}

/// The file of monitors, and all that is settled with its help.
pub(super) fn from_file(
    layers: Layers<'_>,
    interner: &mut Interner,
) -> Result<(Loaded, Settled, PathBuf), Refusal> {
    let Some(path) = layers.config() else {
        let settled = layers.settle(&Settings::default())?;
        return Err(match settled.database {
            Database::Sqlite => unfit(NO_MONITORS),
            database => unfit(format!(
                "{database}: this version takes its monitors from a file: give one with --config \
                 FILE (examples/monitors.yaml shows every key)"
            )),
        });
    };
    let loaded = Loaded::read(&path, interner).map_err(unfit)?;
    let settled = layers.settle(&loaded.settings)?;
    Ok((loaded, settled, path))
}

const NO_MONITORS: &str = "no monitors: give a file with --config FILE (examples/monitors.yaml \
    shows every key), or try `engine start --demo`";

/// Looks at the host and settles what the engine is started with.
fn options(settled: &Settled) -> Result<Options, Refusal> {
    let cpus = placement::shard_cpus(settled.cores).map_err(unfit)?;
    look_at_host(&cpus, &settled.data_dir, settled.max_in_flight)?;
    let descriptors = preflight::raise_descriptor_limit().map_err(unfit)?;
    let in_flight_max =
        settled.max_in_flight.min(preflight::inflight_allowed(descriptors, cpus.len()));
    let mut retention = Retention::default();
    if let Some(days) = settled.retention_days {
        retention.results_ms = u64::from(days) * 24 * 3_600 * 1_000;
    }
    let (data_dir, roots) = (settled.data_dir.clone(), settled.roots.clone());
    let guard = settled.guard.clone();
    Ok(Options { data_dir, cpus, in_flight_max, retention, guard, roots })
}

fn look_at_host(cpus: &[usize], data_dir: &Path, in_flight: usize) -> Result<(), Refusal> {
    let mut wanted = Wanted::new(cpus.len(), data_dir);
    wanted.inflight = in_flight;
    let findings = preflight::run(&wanted);
    for finding in findings.iter().filter(|finding| finding.level == Level::Warn) {
        tracing::warn!(fix = finding.fix, "{}: {}", finding.name, finding.text);
    }
    if findings.iter().any(|finding| finding.level == Level::Fail) {
        return Err(Refusal { code: exit::CONFIG, text: doctor::refusal(&findings) });
    }
    Ok(())
}

/// An invalid file changes nothing: the monitors that run go on as they are.
fn reload(engine: &mut Engine, origin: &Origin, settled: &Settled, interner: &mut Interner) {
    let mut loaded = match origin.load(interner) {
        Ok(loaded) => loaded,
        Err(problem) => {
            tracing::error!("reload refused, everything goes on as before: {problem}");
            return;
        }
    };
    settled.choose(&mut loaded, interner);
    let problems = loaded.problems();
    if !problems.is_empty() {
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "reload refused, everything goes on as before");
        return;
    }
    match engine.apply(SOURCE, loaded) {
        Ok(applied) => log_applied(&applied),
        Err(error) => tracing::error!("reload failed: {error}"),
    }
}

fn log_applied(applied: &Applied) {
    for (name, problem) in &applied.bad {
        tracing::error!(monitor = name, "cannot run: {problem}");
    }
    tracing::info!(
        running = applied.running,
        bad = applied.bad.len(),
        added = applied.added,
        changed = applied.changed,
        removed = applied.removed,
        "monitors"
    );
}

fn log_transitions(transitions: Vec<Transition>) {
    for change in transitions {
        tracing::info!(
            monitor = change.monitor.0,
            from = change.from.name(),
            to = change.to.name(),
            reason = change.code.name(),
            "verdict"
        );
    }
}

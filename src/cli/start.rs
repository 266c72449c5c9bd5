//! `engine start`: settles what was asked, starts the engine and stays until it has stopped.
//!
//! Owns: the steps of a start; the demo. Everything that is wrong before the
//! start is told with what to do about it, and the exit code says that another try is in vain.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::alert::Alerts;
use crate::api::v1::status::Pages;
use crate::api::v1::writes;
use crate::boot::backend::Backend;
use crate::boot::{Applied, Engine, EngineError, Options};
use crate::cli::api_setup::{self, SetupError};
use crate::cli::args::StartArgs;
use crate::cli::feed::Feed;
use crate::cli::instance::Instance;
use crate::cli::origin::{self, Found, Origin};
use crate::cli::settle::{Layers, Refusal, Settled, failed, unfit};
use crate::cli::style::Style;
use crate::cli::{alerting, doctor, exit, logs, original_log};
use crate::clock::wall_millis;
use crate::config::Loaded;
use crate::control::histograms::{Histograms, Plan};
use crate::control::{self, Control, Listener, Served};
use crate::feed::{self, slices::Ours};
use crate::logs::Logs;
use crate::messages::{Changes, changes};
use crate::metrics::delta::DeltaTimes;
use crate::metrics::latency;
use crate::metrics::page::Reloads;
use crate::monitor::row::Interner;
use crate::pg::PgOptions;
use crate::placement;
use crate::preflight::{self, Level, Wanted};
use crate::sample::Transition;
use crate::store::{OpenReader, Retention};

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

fn start(args: &StartArgs, style: &Style) -> Result<(), Refusal> {
    let mut interner = Interner::default();
    let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
    let layers = Layers::read(args, allowed)?;
    let Found { origin, mut loaded, backend, settled } = origin::find(args, layers, &mut interner)?;
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
    let logs = original.as_ref().map(|log| &log.logs);
    let run = Run { args, style, origin, backend, settled, logs };
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
    backend: Backend,
    settled: Settled,
    logs: Option<&'a Logs>,
}

impl Run<'_> {
    fn run(self, loaded: Loaded, interner: &mut Interner) -> Result<(), Refusal> {
        let Run { args, style, origin, backend, settled, logs } = self;
        let options = options(&settled, backend)?;
        // Before the address, which the same engine has: its name says more.
        Instance::look(&settled.lock_file()).map_err(unfit)?;
        let listen = Listener::bind(settled.listen).map_err(unfit)?;
        let address = listen.address().map_err(unfit)?;
        let _instance = Instance::take(&settled.lock_file(), address).map_err(unfit)?;
        let channels = alerting::channels(&loaded.channels, &settled).map_err(unfit)?;
        let mut engine = Engine::start(&options, log_transitions)
            .map_err(|error| if error.is_passing() { failed(error) } else { unfit(error) })?;
        let asked_to_stop = Arc::new(AtomicBool::new(false));
        let readers = options.backend.readers(&options.data_dir);
        let ours = Ours::default();
        let rows = matches!(origin, Origin::Table(_)).then(|| ours.clone());
        let alerts = match alerting::begin(channels, &settled, readers, &mut engine, rows) {
            Ok(alerts) => alerts,
            Err(error) => return Err(unfit(ended_early(engine, error))),
        };
        let (changes, inbox) = changes();
        let histograms = Histograms::new(engine.published(), hist_plan(&settled));
        let filler = Filler {
            settled: &settled,
            options: &options,
            logs,
            changes,
            histograms: histograms.shared(),
            ours,
        };
        let filled = filler.fill(&mut engine, &origin, loaded, interner, &asked_to_stop);
        let Filled { mut served, rows, mut lacks_added } = match filled {
            Ok(filled) => filled,
            Err(error) => return Err(failed(ended_early(engine, error))),
        };
        let started = || log_started(&options, address);
        let watched = matches!(&origin, Origin::Demo(..));
        let watch = || Feed::start(&options.data_dir, address, engine.published(), style.clone());
        let mut feed = watched.then(watch).transpose().map_err(failed)?;
        let until = args.duration.map(|duration| Instant::now() + duration);
        let stop = || {
            let watched = feed.as_mut().is_some_and(Feed::turn);
            let asked = asked_to_stop.load(Ordering::Relaxed);
            let silent = alerts.as_ref().is_some_and(Alerts::is_finished);
            watched || asked || silent || until.is_some_and(|until| Instant::now() >= until)
        };
        let pages = Arc::clone(&served.v1.status);
        let reloads = Arc::new(Reloads::default());
        reloads.tell(true, wall_millis());
        let told = Arc::clone(&reloads);
        let reload = |engine: &mut Engine| {
            if std::mem::take(&mut lacks_added) {
                lacks_added = add_again(engine, &options, interner);
            }
            told.tell(reload(engine, &origin, &settled, interner, &pages), wall_millis());
            logs.into_iter().for_each(|logs| tell_facts(logs, &options));
        };
        served.alerts = alerts.as_ref().map(Alerts::counters);
        let control = Control { started, reload, changes: inbox, stop, histograms, reloads };
        let ended = control::run(engine, listen, served, control);
        // After the engine: its last changes go into the outbox too.
        rows.into_iter().for_each(feed::Feed::stop);
        alerts.into_iter().for_each(Alerts::stop);
        feed.into_iter().for_each(Feed::end);
        ended.map_err(failed)
    }
}

fn log_started(options: &Options, address: SocketAddr) {
    tracing::info!(
        shards = options.cpus.len(),
        in_flight_max = options.in_flight_max,
        data_dir = %options.data_dir.display(),
        metrics = %format!("http://{address}/metrics"),
        "started"
    );
}

/// Ends an engine that was not filled, and says both why and what came of it.
fn ended_early(engine: Engine, error: impl ToString) -> String {
    let ended = engine.finish().err();
    format!("{}{}", error.to_string(), ended.map_or(String::new(), |more| format!("; {more}")))
}

/// What came of filling the engine.
struct Filled {
    served: Served,
    /// The thread that follows the original's table, where that is the source.
    rows: Option<feed::Feed>,
    /// True where monitors that were added over the API could not be read.
    lacks_added: bool,
}

/// What gives the engine its monitors.
struct Filler<'a> {
    settled: &'a Settled,
    options: &'a Options,
    logs: Option<&'a Logs>,
    changes: Changes,
    histograms: latency::Shared,
    ours: Ours,
}

impl Filler<'_> {
    /// Sets up the API and gives the engine its monitors, in this order: no result is missed.
    fn fill(
        self,
        engine: &mut Engine,
        origin: &Origin,
        loaded: Loaded,
        interner: &mut Interner,
        stop: &Arc<AtomicBool>,
    ) -> Result<Filled, SetupError> {
        let Filler { settled, options, logs, changes, histograms, ours } = self;
        let readers = options.backend.readers(&options.data_dir);
        let (stop, to_control) = (Arc::clone(stop), changes.clone());
        let mut served = api_setup::served(settled, engine, readers, stop, histograms, to_control)?;
        if let Some(logs) = logs.cloned() {
            engine.store().tap(move |batches| logs.record(batches))?;
        }
        served.v1.status.set(&loaded.status_pages, &loaded.maintenance);
        served.v1.started = Arc::new(api_setup::started(&loaded.channels, settled)?);
        let is_table = matches!(origin, Origin::Table(_));
        match is_table {
            true => engine.take_windows(SOURCE, &loaded)?,
            false => log_applied(&engine.apply(SOURCE, loaded)?),
        }
        let lacks_added = add(engine, &*served.v1.readers, interner)?;
        if !engine.is_away() {
            logs.into_iter().for_each(|logs| tell_facts(logs, options));
        }
        let Origin::Table(database) = origin else {
            return Ok(Filled { served, rows: None, lacks_added });
        };
        let deltas = DeltaTimes::default();
        served.deltas = Some(deltas.clone());
        engine.store().tap(move |batches| deltas.record(batches))?;
        let wanted = feed::Wanted {
            database: PgOptions::clone(database),
            data_dir: options.data_dir.clone(),
            defaults: settled.row_defaults,
            slices: settled.selection.slices(),
            only_polls: settled.only_polls,
            is_away: engine.is_away(),
        };
        let links = feed::Links { store: engine.store(), changes, logs: logs.cloned(), ours };
        let rows = feed::Feed::start(wanted, links).map_err(SetupError::System)?;
        let counters = rows.counters();
        served.counts = Box::new(move || counters.by_name());
        Ok(Filled { served, rows: Some(rows), lacks_added })
    }
}

/// Runs the monitors that were added over the API; true where they cannot be read, because the
/// database is away: then they run when it is back.
fn add(
    engine: &mut Engine,
    readers: &dyn OpenReader,
    interner: &mut Interner,
) -> Result<bool, EngineError> {
    let added = match engine.is_away() {
        true => None,
        false => match adopt(engine, readers, interner) {
            Err(EngineError::Store(error)) if error.is_passing() => None,
            added => Some(added?),
        },
    };
    let Some(added) = added else {
        tracing::warn!("monitors added over the API run when the database is back");
        engine.apply_again();
        return Ok(true);
    };
    if added.running + added.bad.len() > 0 {
        log_applied(&added);
    }
    Ok(false)
}

fn adopt(
    engine: &mut Engine,
    readers: &dyn OpenReader,
    interner: &mut Interner,
) -> Result<Applied, EngineError> {
    engine.adopt(writes::SOURCE, &mut *readers.open()?, interner)
}

/// As [`add`], on a thread of its own: a reader may not wait on the one that serves the API.
fn add_again(engine: &mut Engine, options: &Options, interner: &mut Interner) -> bool {
    let readers = options.backend.readers(&options.data_dir);
    let added = std::thread::scope(|scope| {
        let adding = scope.spawn(|| add(engine, &*readers, interner));
        adding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    added.unwrap_or_else(|error| {
        tracing::error!(%error, "monitors added over the API do not run");
        engine.apply_again();
        true
    })
}

fn hist_plan(settled: &Settled) -> Plan {
    let every = Duration::from_millis(settled.hist_interval_ms);
    match &settled.hist_dir {
        Some(folder) => Plan { folder: folder.clone(), every: Some(every) },
        None => Plan { folder: settled.data_dir.join("hist"), every: None },
    }
}

/// On a thread of its own: a reader may not wait on the one that serves the API.
fn tell_facts(logs: &Logs, options: &Options) {
    let readers = options.backend.readers(&options.data_dir);
    let facts = std::thread::scope(|scope| {
        scope.spawn(|| original_log::facts(&*readers)).join().unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic);
        })
    });
    match facts {
        Ok(facts) => logs.know(facts),
        Err(error) => tracing::error!("log files lack what was known of monitors: {error}"),
    }
}

/// Looks at the host and settles what the engine is started with.
fn options(settled: &Settled, backend: Backend) -> Result<Options, Refusal> {
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
    Ok(Options { data_dir, backend, cpus, in_flight_max, retention, guard, roots })
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

/// An invalid file changes nothing: the monitors that run go on as they are. True where
/// the file is good.
fn reload(
    engine: &mut Engine,
    origin: &Origin,
    settled: &Settled,
    interner: &mut Interner,
    pages: &Pages,
) -> bool {
    if let Origin::Table(database) = origin {
        tracing::info!("nothing to reload: {database} is followed as it changes");
        return true;
    }
    let mut loaded = match origin.load(interner) {
        Ok(loaded) => loaded,
        Err(problem) => {
            tracing::error!("reload refused, everything goes on as before: {problem}");
            return false;
        }
    };
    settled.choose(&mut loaded, interner);
    let problems = loaded.problems();
    if !problems.is_empty() {
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!(problems = problems.len(), "reload refused, everything goes on as before");
        return false;
    }
    let (shown, windows) = (loaded.status_pages.clone(), loaded.maintenance.clone());
    match engine.apply(SOURCE, loaded) {
        Ok(applied) => {
            pages.set(&shown, &windows);
            log_applied(&applied);
        }
        Err(error) => {
            tracing::error!("reload failed: {error}");
            return false;
        }
    }
    true
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
        let marks = change.marks.names().join(",");
        if !change.is_change() {
            tracing::info!(monitor = change.monitor.0, marks, "marks");
            continue;
        }
        tracing::info!(
            monitor = change.monitor.0,
            from = change.from.name(),
            to = change.to.name(),
            reason = change.code.name(),
            marks,
            "verdict"
        );
    }
}

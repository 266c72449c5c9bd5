//! `engine start`: settles what was asked, starts the engine and stays until it has stopped.
//!
//! Owns: the order flag, environment, file, default; the demo. Everything that is wrong before the
//! start is told with what to do about it, and the exit code says that another try is in vain.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::boot::{Applied, Engine, Options};
use crate::cli::args::{LISTEN_DEFAULT, StartArgs, data_dir};
use crate::cli::feed::Feed;
use crate::cli::style::Style;
use crate::cli::{doctor, exit, logs};
use crate::config::{Loaded, Settings};
use crate::control::{self, Control, Listener};
use crate::farm::Farm;
use crate::farm::demo::{DEMO_BEHAVIOURS, demo_monitors};
use crate::limits::INFLIGHT_DEFAULT;
use crate::monitor::row::Interner;
use crate::placement;
use crate::preflight::{self, Level, Wanted};
use crate::sample::Transition;
use crate::store::Retention;

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

/// Why there is no start, or no clean end.
struct Refusal {
    code: u8,
    text: String,
}

/// Something that another try would not mend.
fn unfit(error: impl ToString) -> Refusal {
    Refusal { code: exit::CONFIG, text: format!("error: {}", error.to_string()) }
}

fn failed(error: impl ToString) -> Refusal {
    Refusal { code: exit::DOWN, text: format!("error: {}", error.to_string()) }
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
    let (origin, loaded, data_dir) = origin(args, &mut interner)?;
    let settings = loaded.settings.clone();
    let live = args.demo && io::stdout().is_terminal();
    let log_file = live.then(|| data_dir.join("engine.log"));
    let format = args.log_format.or(settings.log_format).unwrap_or_default();
    logs::start(&args.log_level, format, log_file.as_deref()).map_err(unfit)?;

    let options = options(args, &settings, data_dir)?;
    let listen = args.listen.or(settings.listen).unwrap_or(LISTEN_DEFAULT);
    let listen = Listener::bind(listen).map_err(unfit)?;
    let address = listen.address().map_err(unfit)?;
    let mut engine = Engine::start(&options, log_transitions).map_err(unfit)?;
    let applied = match engine.apply(SOURCE, loaded) {
        Ok(applied) => applied,
        Err(error) => {
            let ended = engine.finish();
            return Err(failed(format!(
                "{error}{}",
                ended.err().map_or(String::new(), |more| format!("; {more}"))
            )));
        }
    };
    log_applied(&applied);
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
        watched || until.is_some_and(|until| std::time::Instant::now() >= until)
    };
    let reload = |engine: &mut Engine| reload(engine, &origin, &mut interner);
    let ended = control::run(engine, listen, Control { started, reload, stop });
    if let Some(feed) = feed {
        feed.end();
    }
    ended.map_err(failed)
}

/// Where the monitors come from, what they are, and where the data goes.
fn origin(args: &StartArgs, interner: &mut Interner) -> Result<(Origin, Loaded, PathBuf), Refusal> {
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if args.demo {
        let folder = match &args.data_dir {
            Some(asked) => asked.clone(),
            None => data_dir(None, env).join("demo"),
        };
        let farm = Farm::start(IpAddr::V4(Ipv4Addr::LOCALHOST), DEMO_BEHAVIOURS).map_err(failed)?;
        let ca_file = folder.join("demo-ca.pem");
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&ca_file, farm.ca_pem()));
        written.map_err(|error| {
            let file = ca_file.display();
            unfit(format!("{file}: {error}; give a --data-dir that can be written"))
        })?;
        let origin = Origin::Demo(farm, ca_file);
        let loaded = origin.load(interner).map_err(unfit)?;
        return Ok((origin, loaded, folder));
    }
    let Some(path) = &args.config else {
        return Err(unfit(
            "no monitors: give a file with --config FILE (examples/monitors.yaml shows every \
             key), or try `engine start --demo`",
        ));
    };
    let origin = Origin::File(path.clone());
    let loaded = origin.load(interner).map_err(unfit)?;
    let asked = args.data_dir.clone().or_else(|| loaded.settings.data_dir.clone());
    Ok((origin, loaded, data_dir(asked, env)))
}

/// Looks at the host and settles what the engine is started with.
fn options(args: &StartArgs, settings: &Settings, data_dir: PathBuf) -> Result<Options, Refusal> {
    let cores = args.cores.or(settings.cores).map(usize::from);
    let cpus = placement::shard_cpus(cores).map_err(unfit)?;
    let wanted = args.max_in_flight.or(settings.max_in_flight);
    let wanted = wanted.map_or(INFLIGHT_DEFAULT, |wanted| wanted as usize);
    look_at_host(&cpus, &data_dir, wanted)?;
    let descriptors = preflight::raise_descriptor_limit().map_err(unfit)?;
    let in_flight_max = wanted.min(preflight::inflight_allowed(descriptors, cpus.len()));
    let days = args.retention.or(settings.retention_days);
    let mut retention = Retention::default();
    if let Some(days) = days {
        retention.results_ms = u64::from(days) * 24 * 3_600 * 1_000;
    }
    Ok(Options { data_dir, cpus, in_flight_max, retention })
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
fn reload(engine: &mut Engine, origin: &Origin, interner: &mut Interner) {
    let loaded = match origin.load(interner) {
        Ok(loaded) => loaded,
        Err(problem) => {
            tracing::error!("reload refused, everything goes on as before: {problem}");
            return;
        }
    };
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

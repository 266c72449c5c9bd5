//! The commands that only look: `validate`, `monitors`, `results`, `incidents`, `doctor`.
//!
//! Owns: reading what they show, from the file or from the store, while an engine runs or not.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::args::{
    DoctorArgs, IncidentsArgs, MonitorsArgs, ResultsArgs, ValidateArgs, data_dir,
};
use crate::cli::results::ResultsPage;
use crate::cli::style::Style;
use crate::cli::{
    change, doctor as doctor_view, exit, incidents as incidents_view, json,
    monitors as monitors_view, origin, results as results_view,
};
use crate::clock::wall_millis;
use crate::config::Loaded;
use crate::env::Env;
use crate::env::original::Original;
use crate::hist::Series;
use crate::ids::MonitorId;
use crate::metrics::latency::durations;
use crate::monitor::row::Interner;
use crate::placement;
use crate::preflight::{self, Wanted};
use crate::store::hours::{Hour, hour_start};
use crate::store::view::{Filter, Incident, Range, Results};
use crate::store::{OpenReader, PgServer, Read, SqliteFolder, StoreError};

/// Prints `text`, or why there is none.
fn show(text: Result<String, impl ToString>, code: u8) -> u8 {
    match text {
        Ok(text) => {
            println!("{}", text.trim_end());
            code
        }
        Err(error) => {
            eprintln!("error: {}", error.to_string());
            exit::DOWN
        }
    }
}

/// The folder of a start from here: `.env` may name it. One that cannot be read is left to the
/// start to tell.
pub(super) fn folder(asked: &Option<PathBuf>) -> PathBuf {
    let env = Env::of_process(false).unwrap_or_default();
    let value = |name: &str| env.value(name).map(PathBuf::from);
    data_dir(asked.clone().or_else(|| value("ENGINE_DATA_DIR")), value)
}

/// A reader of the store of a start from here: the server that the environment names, unless a data
/// folder with a file of its own is asked for.
pub(super) fn reader(asked: &Option<PathBuf>) -> Result<Box<dyn Read + Send>, String> {
    let folder = folder(asked);
    let env = Env::of_process(false).unwrap_or_default();
    let original = Original::read(&env, 1)?;
    let has_file = asked.is_some() && SqliteFolder(folder.clone()).is_there();
    let database = original.database.filter(|_| !has_file).unwrap_or_default();
    let server = origin::server(&database, original.direct.as_ref());
    let opened = match server.map_err(|error| error.to_string())? {
        Some(options) => PgServer(options).open(),
        None => SqliteFolder(folder).open(),
    };
    opened.map_err(|error| error.to_string())
}

/// Reads a file of monitors and says what is wrong with it.
pub fn validate(args: &ValidateArgs) -> u8 {
    let loaded = Loaded::read(&args.file, &mut Interner::default());
    let (count, problems) = match &loaded {
        Ok(loaded) => {
            let problems = loaded.problems().iter().map(|problem| problem.to_string()).collect();
            (loaded.monitors.len(), problems)
        }
        Err(error) => (0, error.to_string().lines().map(str::to_string).collect::<Vec<_>>()),
    };
    let code = if problems.is_empty() { exit::OK } else { exit::DOWN };
    if args.json {
        return show(json(&json!({ "monitors": count, "problems": problems })), code);
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    let file = args.file.display();
    match problems.len() {
        0 => println!("{file}: {count} monitors, no errors"),
        1 => println!("{file}: 1 error"),
        errors => println!("{file}: {errors} errors"),
    }
    code
}

/// Shows the monitors and what is held to be true of them, or changes them.
pub fn monitors(args: &MonitorsArgs, style: &Style) -> u8 {
    if let Some(command) = &args.command {
        return change::run(command);
    }
    let filter = Filter {
        verdict: args.verdict,
        name: args.name.clone(),
        tag: args.tag.clone(),
        limit: args.limit as usize,
        ..Filter::default()
    };
    let found = reader(&args.data_dir).and_then(|mut reader| {
        reader.monitors(&filter).map_err(|error: StoreError| error.to_string())
    });
    match found {
        Ok(monitors) if args.json => show(json(&monitors), exit::OK),
        found => {
            show(found.map(|found| monitors_view::render(&found, wall_millis(), style)), exit::OK)
        }
    }
}

/// Shows the last results of one monitor.
pub fn results(args: &ResultsArgs, style: &Style) -> u8 {
    match results_page(args) {
        Ok(page) if args.json => show(json(&page), exit::OK),
        page => show(page.map(|page| results_view::render(&page, style)), exit::OK),
    }
}

fn results_page(args: &ResultsArgs) -> Result<ResultsPage, String> {
    let text = |error: StoreError| error.to_string();
    let mut reader = reader(&args.data_dir)?;
    let monitor = find(reader.as_mut(), &args.monitor)?;
    let from_ms = args.since.map_or(0, |since| {
        wall_millis().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    });
    let range = Range { from_ms, limit: args.limit as usize, ..Range::default() };
    let Results { results, damaged } = reader.results(monitor, &range).map_err(text)?;
    let evidence = reader.evidence(monitor).map_err(text)?;
    Ok(ResultsPage { id: monitor.0, name: args.monitor.clone(), results, evidence, damaged })
}

/// The response times of one monitor over the hours from one time to another, added up.
pub(super) fn hours_of(
    data_dir: &Option<PathBuf>,
    name: &str,
    from_ms: u64,
    to_ms: u64,
) -> Result<Series, String> {
    let text = |error: StoreError| error.to_string();
    let mut reader = reader(data_dir)?;
    let monitor = find(reader.as_mut(), name)?;
    let from_ms = hour_start(from_ms);
    let found = reader.hours(monitor, from_ms, to_ms).map_err(text)?;
    if let Some(damaged) = found.damaged.first() {
        return Err(format!("not readable: {damaged}"));
    }
    let mut durations = durations();
    for (micros, count) in found.hours.values().flat_map(Hour::times) {
        durations.saturating_record_n(u64::from(micros), u64::from(count));
    }
    let length_ms = to_ms.saturating_sub(from_ms);
    Ok(Series { tag: format!("monitor-{monitor}:total"), from_ms, length_ms, durations })
}

/// Shows times of being down.
pub fn incidents(args: &IncidentsArgs, style: &Style) -> u8 {
    match found_incidents(args) {
        Ok(found) if args.json => show(json(&found), exit::OK),
        found => {
            let text = found.map(|found| incidents_view::render(&found, wall_millis(), style));
            show(text, exit::OK)
        }
    }
}

fn found_incidents(args: &IncidentsArgs) -> Result<Vec<Incident>, String> {
    let mut reader = reader(&args.data_dir)?;
    let monitor = args.monitor.as_ref().map(|name| find(reader.as_mut(), name)).transpose()?;
    let found = reader.incidents(monitor, args.limit as usize);
    let mut found = found.map_err(|error| error.to_string())?;
    // Open ones come first, so the limit takes none of them away.
    found.retain(|incident| !args.open || incident.closed_ms.is_none());
    Ok(found)
}

fn find(reader: &mut dyn Read, name: &str) -> Result<MonitorId, String> {
    let found = reader.find(name).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("there is no monitor {name:?}; `engine monitors` lists them"))
}

/// Looks at this host.
pub fn doctor(args: &DoctorArgs, style: &Style) -> u8 {
    let cpus = match placement::shard_cpus(args.cores.map(usize::from)) {
        Ok(cpus) => cpus,
        Err(error) => return show(Err::<String, _>(error), exit::DOWN),
    };
    let folder = folder(&args.data_dir);
    let findings = preflight::run(&Wanted::new(cpus.len(), &folder));
    let code = doctor_view::exit_code(&findings);
    if args.json {
        return show(json(&findings), code);
    }
    show(Ok::<_, StoreError>(doctor_view::render(&findings, style)), code)
}

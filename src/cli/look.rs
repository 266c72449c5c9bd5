//! The commands that only look: `validate`, `monitors`, `results`, `doctor`.
//!
//! Owns: reading what they show, from the file or from the store, while an engine runs or not.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::{DoctorArgs, MonitorsArgs, ResultsArgs, ValidateArgs, data_dir};
use crate::cli::monitors::MonitorRow;
use crate::cli::results::ResultRow;
use crate::cli::style::Style;
use crate::cli::{doctor as doctor_view, exit, monitors as monitors_view, results as results_view};
use crate::clock::wall_millis;
use crate::config::Loaded;
use crate::monitor::row::Interner;
use crate::placement;
use crate::preflight::{self, Wanted};
use crate::store::view::{Evidence, Filter, Range};
use crate::store::{Read, SqliteReader, StoreError};

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

fn folder(asked: &Option<PathBuf>) -> PathBuf {
    data_dir(asked.clone(), |name| std::env::var_os(name).map(PathBuf::from))
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
        let answer = json!({ "monitors": count, "problems": problems });
        return show(serde_json::to_string_pretty(&answer), code);
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

/// Shows the monitors and what is held to be true of them.
pub fn monitors(args: &MonitorsArgs, style: &Style) -> u8 {
    let filter = Filter {
        verdict: args.verdict,
        name: args.name.clone(),
        tag: args.tag.clone(),
        problems: false,
        limit: args.limit as usize,
    };
    let now_ms = wall_millis();
    let rows = SqliteReader::open(&folder(&args.data_dir))
        .and_then(|mut reader| reader.monitors(&filter))
        .map(|views| views.into_iter().map(|view| MonitorRow::new(view, now_ms)).collect());
    let rows: Vec<MonitorRow> = match rows {
        Ok(rows) => rows,
        Err(error) => return show(Err(error), exit::DOWN),
    };
    if args.json {
        return show(monitors_view::json(&rows), exit::OK);
    }
    show(Ok::<_, StoreError>(monitors_view::render(&rows, now_ms, style)), exit::OK)
}

/// Shows the last results of one monitor.
pub fn results(args: &ResultsArgs, style: &Style) -> u8 {
    let rows = match result_rows(args, &folder(&args.data_dir)) {
        Ok(rows) => rows,
        Err(error) => return show(Err(error), exit::DOWN),
    };
    if args.json {
        return show(results_view::json(&rows), exit::OK);
    }
    show(Ok::<_, StoreError>(results_view::render(&rows, style)), exit::OK)
}

fn result_rows(args: &ResultsArgs, folder: &Path) -> Result<Vec<ResultRow>, String> {
    let text = |error: StoreError| error.to_string();
    let mut reader = SqliteReader::open(folder).map_err(text)?;
    let monitor = reader.find(&args.monitor).map_err(text)?.ok_or_else(|| {
        format!("there is no monitor {:?}; `engine monitors` lists them", args.monitor)
    })?;
    let since = args.since.map_or(0, |since| {
        wall_millis().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    });
    let range = Range { from_ms: since, to_ms: u64::MAX, limit: args.limit as usize };
    let found = reader.results(monitor, &range).map_err(text)?;
    for damaged in &found.damaged {
        eprintln!("warning: {damaged}");
    }
    let evidence = reader.evidence(monitor).map_err(text)?;
    let rows = found.results.into_iter().map(|view| {
        let about = |words: &&Evidence| {
            words.code == view.code && (words.first_ms..=words.last_ms).contains(&view.due_ms)
        };
        let message = evidence.iter().find(about).map(|words| words.message.clone());
        ResultRow::new(view, message.unwrap_or_default())
    });
    Ok(rows.collect())
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
        return show(doctor_view::json(&findings), code);
    }
    show(Ok::<_, StoreError>(doctor_view::render(&findings, style)), code)
}

//! Telling people: started beside the engine, and the commands `alert list` and `alert test`.
//!
//! Owns: which channels there are: those of the file and those of the original's variables, the
//! file first where both have a name.

use std::sync::Arc;
use std::time::Instant;

use crate::alert::channel::{Channel, Maker};
use crate::alert::http::Roots;
use crate::alert::outbox::{Line, Outbox};
use crate::alert::{Alerts, Directory, Notice, Setup};
use crate::boot::Engine;
use crate::boot::standing::Standing;
use crate::cli::args::{AlertCommand, AlertListArgs, AlertTestArgs, StartArgs};
use crate::cli::origin::{self, Found};
use crate::cli::settle::{Layers, Settled};
use crate::cli::style::{Style, age_ms};
use crate::cli::table::{self, Cell, Column};
use crate::cli::{exit, json, look};
use crate::clock::wall_millis;
use crate::config::channels::ChannelSpec;
use crate::config::database::Database;
use crate::control::directory::{StoreDirectory, changes};
use crate::env::Env;
use crate::feed::slices::Ours;
use crate::metrics::streaks::Streaks;
use crate::monitor::row::Interner;
use crate::store::OpenReader;

/// All channels of a start.
///
/// # Errors
///
/// A channel cannot be made, with what to do about it.
pub fn channels(of_file: &[ChannelSpec], settled: &Settled) -> Result<Vec<Channel>, String> {
    let env = Env::of_process(false).map_err(|error| error.to_string())?;
    let env = |name: &str| env.value(name).map(str::to_owned);
    let roots = Roots::load(settled.roots.as_deref())?;
    let maker = Maker { env: &env, roots, domain: settled.alerting.domain.clone() };
    let of_variables = settled.alerting.channels.iter();
    let known = |name: &str| of_file.iter().any(|spec| spec.name == name);
    let specs = of_file.iter().chain(of_variables.filter(|spec| !known(&spec.name)));
    specs.map(|spec| maker.make(spec).map_err(|error| error.to_string())).collect()
}

/// Starts alerting beside a running engine; `None` where nobody can be told. `readers` opens the
/// engine's store; `ours` are its rows of the original's table.
///
/// # Errors
///
/// The outbox cannot be opened, or the store has ended.
pub fn begin(
    channels: Vec<Channel>,
    settled: &Settled,
    readers: Arc<dyn OpenReader>,
    engine: &mut Engine,
    ours: Option<Ours>,
) -> Result<Option<Alerts>, String> {
    // The original's tables may have channels at any time.
    if channels.is_empty() && settled.database == Database::Sqlite {
        return Ok(None);
    }
    let streaks = Streaks::default();
    let original = settled.alerting.clone();
    let (roots, domain) = (Roots::load(settled.roots.as_deref())?, original.domain.clone());
    let directory = StoreDirectory::new(readers, original, streaks.clone(), engine.standing());
    let known = ours.is_some();
    let directory = match ours {
        Some(ours) => directory.only(ours),
        None => directory,
    };
    let count = channels.len();
    let words = |error: &dyn ToString| error.to_string();
    // With a part of the monitors only, the others' changes in the same database are not ours.
    let part = settled.selection.chunk.is_some() || settled.selection.limit.is_some();
    let shared = part && settled.database != Database::Sqlite && !known;
    let setup = Setup { shared, ..Setup::of(channels, roots, domain) };
    let alerts = Alerts::start(&settled.data_dir, setup, Box::new(directory))
        .map_err(|error| words(&error))?;
    let teller = alerts.teller();
    let tapped = engine.store().tap(move |batches| {
        streaks.record(batches);
        let changes = changes(batches);
        if !changes.is_empty() {
            teller.changes(changes);
        }
    });
    tapped.map_err(|error| words(&error))?;
    let teller = alerts.teller();
    engine.on_removed(move || teller.monitors_removed());
    let teller = alerts.teller();
    engine.on_guard(move |change| teller.guard(change));
    tracing::info!(channels = count, "alerts");
    Ok(Some(alerts))
}

/// Runs `engine alert …`; returns the exit code.
pub fn run(command: &AlertCommand, style: &Style) -> u8 {
    let done = match command {
        AlertCommand::List(args) => list(args, style),
        AlertCommand::Test(args) => test(args),
    };
    match done {
        Ok(text) => {
            println!("{}", text.trim_end());
            exit::OK
        }
        Err(text) => {
            eprintln!("error: {}", text.trim_start_matches("error: ").trim_end());
            exit::DOWN
        }
    }
}

/// What waits, and what became of the rest.
fn list(args: &AlertListArgs, style: &Style) -> Result<String, String> {
    let folder = look::folder(&args.data_dir);
    let outbox = Outbox::look(&folder).map_err(|error| error.to_string())?;
    let lines = match outbox {
        Some(outbox) => outbox.lines(args.limit as usize).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    if args.json {
        return json(&lines).map_err(|error| error.to_string());
    }
    if lines.is_empty() {
        return Ok(format!("no notices in {}", folder.display()));
    }
    Ok(shown(&lines, style))
}

const COLUMNS: [Column; 8] = [
    Column::left("STATE"),
    Column::left("CHANNEL"),
    Column::left("EVENT"),
    Column::shrinking("MONITOR"),
    Column::right("AGE"),
    Column::right("TRIES"),
    Column::right("NEXT"),
    Column::shrinking("ERROR"),
];

fn shown(lines: &[Line], style: &Style) -> String {
    let now_ms = wall_millis();
    let cells = |line: &Line| -> Vec<Cell> {
        let next = line.next_ms.map(|next_ms| age_ms(next_ms.saturating_sub(now_ms)));
        vec![
            line.state.into(),
            line.channel.as_str().into(),
            line.event.as_str().into(),
            line.monitor.as_str().into(),
            age_ms(now_ms.saturating_sub(line.made_ms)).into(),
            line.attempts.to_string().into(),
            next.unwrap_or_default().into(),
            line.error.as_str().into(),
        ]
    };
    let rows: Vec<Vec<Cell>> = lines.iter().map(cells).collect();
    table::render(&COLUMNS, &rows, style)
}

/// A channel of the original's tables, such as `webhook:4`; `None` for any other.
fn of_tables(name: &str, settled: &Settled) -> Result<Option<Channel>, String> {
    if settled.database == Database::Sqlite || !name.contains(':') {
        return Ok(None);
    }
    let backend = origin::backend(settled).map_err(|refusal| refusal.text)?;
    let readers = backend.readers(&settled.data_dir);
    let original = settled.alerting.clone();
    let domain = original.domain.clone();
    let mut directory =
        StoreDirectory::new(readers, original, Streaks::default(), Standing::default());
    let Some(spec) = directory.channel(name)? else { return Ok(None) };
    let maker = Maker { env: &|_| None, roots: Roots::load(settled.roots.as_deref())?, domain };
    maker.make(&spec).map(Some).map_err(|error| error.to_string())
}

/// Sends a test over one channel, now and without the outbox.
fn test(args: &AlertTestArgs) -> Result<String, String> {
    let mut start = StartArgs::default();
    start.config.clone_from(&args.config);
    let layers = Layers::read(&start, 1).map_err(|refusal| refusal.text)?;
    let (of_file, settled) = match layers.config() {
        Some(_) => {
            let found = origin::find(&start, layers, &mut Interner::default());
            let Found { loaded, settled, .. } = found.map_err(|refusal| refusal.text)?;
            (loaded.channels, settled)
        }
        None => {
            let settled = layers.settle(&crate::config::Settings::default());
            (Vec::new(), settled.map_err(|refusal| refusal.text)?)
        }
    };
    let mut channels = channels(&of_file, &settled)?;
    channels.extend(of_tables(&args.channel, &settled)?);
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    let Some(channel) = channels.iter().find(|channel| channel.name == args.channel) else {
        return Err(match names.is_empty() {
            true => "there is no channel; write `channels:` into the file of --config".to_owned(),
            false => format!("there is no channel {}; there is {}", args.channel, names.join(", ")),
        });
    };
    let began = Instant::now();
    match channel.way.send(&Notice::test(wall_millis())) {
        Ok(()) => Ok(format!("{}: delivered in {} ms", channel.name, began.elapsed().as_millis())),
        Err(failed) => Err(format!("{}: {}", channel.name, failed.text)),
    }
}

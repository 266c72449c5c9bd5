//! `engine monitors add|edit|rm|pause|resume|import|export`: changes of a running engine, and its
//! rows as text.
//!
//! Owns: the flags and the texts. Changes go through the API of the engine, so they are checked
//! and made there, and run at once. Rows are read from the store itself: they may hold secrets,
//! which the API gives to nobody.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::cli::args::RemoteArgs;
use crate::cli::remote::Remote;
use crate::cli::settle::{Refusal, failed};
use crate::cli::style::printable;
use crate::cli::{exit, look};
use crate::config::Loaded;
use crate::ids::MonitorId;
use crate::limits::{API_BULK_ROWS, FLEET_READ_ROWS, REMOTE_ANSWER_BYTES_MAX};
use crate::monitor::row::Interner;

/// What to change.
#[derive(Debug, Subcommand)]
pub enum MonitorsCommand {
    /// Add a monitor to a running engine
    Add(PairsArgs),
    /// Change keys of a monitor; KEY= takes a key away
    Edit(EditArgs),
    /// Remove monitors; their history stays until it is too old
    Rm(NamesArgs),
    /// Check monitors no more for now
    Pause(NamesArgs),
    /// Check paused monitors again
    Resume(NamesArgs),
    /// Check monitors now, beside their schedule, and print what was found
    Run(NamesArgs),
    /// Add or change the monitors of a file: .yaml as for start, else one JSON object a line
    Import(ImportArgs),
    /// Print the rows of all monitors, one JSON object a line, with their secrets
    Export {
        /// Folder of the engine's data [default: as for start]
        #[arg(long, value_name = "DIR", env = "ENGINE_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// Keys and values of a new monitor.
#[derive(Debug, Args)]
pub struct PairsArgs {
    /// type=tcp target=db:5432 name=db tags=shop tags=eu; examples/monitors.yaml has every key
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    pub pairs: Vec<(String, String)>,
    /// Which engine.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// A monitor and its new values.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// Its number or name
    #[arg(value_name = "ID|NAME")]
    pub monitor: String,
    /// What changes.
    #[command(flatten)]
    pub pairs: PairsArgs,
}

/// Some monitors.
#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Their numbers or names
    #[arg(required = true, value_name = "ID|NAME")]
    pub monitors: Vec<String>,
    /// Which engine.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// A file of monitors.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; - for JSON lines on standard input
    pub file: PathBuf,
    /// Which engine.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Does it; returns the exit code.
pub fn run(command: &MonitorsCommand) -> u8 {
    match change(command) {
        Ok(text) => {
            print!("{text}");
            exit::OK
        }
        Err(Refusal { code, text }) => {
            eprintln!("{}", text.trim_end());
            code
        }
    }
}

fn change(command: &MonitorsCommand) -> Result<String, Refusal> {
    match command {
        MonitorsCommand::Add(args) => {
            let remote = Remote::of(&(&args.remote).into())?;
            let row = Value::Object(row(&args.pairs, false));
            told("is there", &put(&remote, "POST", "/api/v1/monitors", &row)?)
        }
        MonitorsCommand::Edit(EditArgs { monitor, pairs }) => {
            let remote = Remote::of(&(&pairs.remote).into())?;
            let patch = Value::Object(row(&pairs.pairs, true));
            let path = format!("/api/v1/monitors/{}", number(&remote, monitor)?);
            told("is changed", &put(&remote, "PATCH", &path, &patch)?)
        }
        MonitorsCommand::Rm(args) => each(args, "DELETE", "", "removed"),
        MonitorsCommand::Pause(args) => each(args, "POST", "/pause", "paused"),
        MonitorsCommand::Resume(args) => each(args, "POST", "/resume", "checked again"),
        MonitorsCommand::Run(args) => check_now(args),
        MonitorsCommand::Import(args) => import(&Remote::of(&(&args.remote).into())?, &args.file),
        MonitorsCommand::Export { data_dir } => export(data_dir),
    }
}

/// The row of some pairs: a key that is there twice is a list, an empty value null where `patch`.
fn row(pairs: &[(String, String)], patch: bool) -> Map<String, Value> {
    let mut row = Map::new();
    for (key, value) in pairs {
        let value = match value.is_empty() && patch {
            true => Value::Null,
            false => Value::String(value.clone()),
        };
        match row.get_mut(key) {
            None => drop(row.insert(key.clone(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    row
}

fn put(remote: &Remote, method: &str, path: &str, value: &Value) -> Result<Value, Refusal> {
    let body = value.to_string();
    parsed(&remote.put(method, path, "application/json", body.as_bytes())?)
}

fn parsed(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| failed(format!("the answer is no JSON: {error}")))
}

fn told(what: &str, monitor: &Value) -> Result<String, Refusal> {
    let name = printable(monitor["name"].as_str().unwrap_or("?"));
    Ok(format!("{name} {what}: monitor {}\n", monitor["id"]))
}

fn each(args: &NamesArgs, method: &str, path: &str, what: &str) -> Result<String, Refusal> {
    let remote = Remote::of(&(&args.remote).into())?;
    let mut text = String::new();
    for monitor in &args.monitors {
        let id = number(&remote, monitor)?;
        remote.put(method, &format!("/api/v1/monitors/{id}{path}"), "application/json", b"")?;
        text.push_str(&format!("{} {what}\n", printable(monitor)));
    }
    Ok(text)
}

/// Checks each, one after the other. Fails where one is not up.
fn check_now(args: &NamesArgs) -> Result<String, Refusal> {
    let remote = Remote::of(&(&args.remote).into())?;
    let (mut text, mut all_up) = (String::new(), true);
    for monitor in &args.monitors {
        let path = format!("/api/v1/monitors/{}/run", number(&remote, monitor)?);
        let ran = parsed(&remote.put("POST", &path, "application/json", b"")?)?;
        let (name, result) = (printable(monitor), &ran["result"]);
        all_up &= result["code"] == 0;
        text.push_str(&match result["result"].as_str() {
            None => format!("{name}: asked for; the result has not come yet\n"),
            Some(word) => {
                let verdict = result["verdict"].as_str().unwrap_or("?");
                let message = printable(ran["message"].as_str().unwrap_or_default());
                let ms = result["total_us"].as_f64().unwrap_or_default() / 1e3;
                format!("{name}: {verdict}, {word} in {ms:.1} ms {message}").trim_end().to_owned()
                    + "\n"
            }
        });
    }
    match all_up {
        true => Ok(text),
        false => Err(Refusal { code: exit::DOWN, text }),
    }
}

/// The number of a monitor that is named by it, or by its name.
fn number(remote: &Remote, monitor: &str) -> Result<u64, Refusal> {
    if let Ok(id) = monitor.parse() {
        return Ok(id);
    }
    let name: String = form_urlencoded::byte_serialize(monitor.as_bytes()).collect();
    let page = remote.get(&format!("/api/v1/monitors?name={name}"), REMOTE_ANSWER_BYTES_MAX)?;
    let page = parsed(&page)?;
    let found = page["monitors"].get(0);
    found.and_then(|row| row["id"].as_u64()).ok_or_else(|| {
        failed(format!("there is no monitor {monitor:?}; `engine monitors` lists them"))
    })
}

/// What came of all parts of an import.
#[derive(Default)]
struct Sums {
    added: u64,
    changed: u64,
    equal: u64,
    refused: u64,
    problems: Vec<String>,
}

fn import(remote: &Remote, file: &Path) -> Result<String, Refusal> {
    let unreadable = |error: &dyn std::fmt::Display| failed(format!("{}: {error}", file.display()));
    let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut sums = Sums::default();
    if is_yaml {
        let loaded = Loaded::read(file, &mut Interner::default()).map_err(|e| unreadable(&e))?;
        let rows: Vec<String> =
            loaded.monitors.into_iter().map(|entry| entry.row_json.into()).collect();
        for (at, part) in rows.chunks(API_BULK_ROWS).enumerate() {
            sums.send(remote, at * API_BULK_ROWS, part)?;
        }
    } else {
        let input: Box<dyn Read> = match file == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(file).map_err(|error| unreadable(&error))?),
        };
        let (mut part, mut first) = (Vec::with_capacity(API_BULK_ROWS), 0);
        for line in BufReader::new(input).lines() {
            part.push(line.map_err(|error| unreadable(&error))?);
            if part.len() == API_BULK_ROWS {
                sums.send(remote, first, &part)?;
                first += part.len();
                part.clear();
            }
        }
        sums.send(remote, first, &part)?;
    }
    sums.told()
}

impl Sums {
    /// Sends rows that have `before` others before them.
    fn send(&mut self, remote: &Remote, before: usize, rows: &[String]) -> Result<(), Refusal> {
        let body = rows.join("\n");
        let kind = "application/x-ndjson";
        let answer = remote.put("POST", "/api/v1/monitors/bulk", kind, body.as_bytes())?;
        let report = parsed(&answer)?;
        let count = |key: &str| report[key].as_u64().unwrap_or_default();
        self.added += count("added");
        self.changed += count("changed");
        self.equal += count("equal");
        self.refused += count("refused");
        for problem in report["problems"].as_array().map_or(&[][..], Vec::as_slice) {
            let row = before as u64 + problem["line"].as_u64().unwrap_or_default();
            let detail = printable(problem["detail"].as_str().unwrap_or("?")).into_owned();
            self.problems.push(format!("error: monitor {row}: {detail}"));
        }
        Ok(())
    }

    fn told(self) -> Result<String, Refusal> {
        let Sums { added, changed, equal, refused, mut problems } = self;
        let text = format!("{added} added, {changed} changed, {equal} as they were");
        if refused == 0 {
            return Ok(format!("{text}\n"));
        }
        problems.push(format!("{text}, {refused} refused"));
        Err(Refusal { code: exit::DOWN, text: problems.join("\n") })
    }
}

fn export(data_dir: &Option<PathBuf>) -> Result<String, Refusal> {
    let mut reader = look::reader(data_dir).map_err(failed)?;
    let mut out = io::stdout().lock();
    let mut from = MonitorId(0);
    loop {
        let rows = reader.written(from, FLEET_READ_ROWS).map_err(failed)?;
        for row in &rows {
            writeln!(out, "{}", row.row_json).map_err(failed)?;
        }
        match rows.last() {
            Some(last) if rows.len() == FLEET_READ_ROWS => from = MonitorId(last.id.0 + 1),
            _ => return Ok(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_a_row_and_in_a_change_an_empty_value_takes_a_key_away() {
        let pairs: Vec<_> = ["tags=a", "tags=b", "target=x:1", "body=a=b", "tags=c", "timeout="]
            .map(|text| pair(text).unwrap())
            .into();
        let shown = |patch| Value::Object(row(&pairs, patch)).to_string();
        let wanted = r#"{"body":"a=b","tags":["a","b","c"],"target":"x:1","timeout":null}"#;
        assert_eq!(shown(true), wanted);
        assert!(shown(false).contains(r#""timeout":"""#));
        assert!(pair("target").is_err());
    }
}

//! `engine import`: monitors of other software become a file of this engine.
//!
//! Owns: the report, and writing the file. Each format is a file below: from text to rows and notes
//! about what could not be carried over, nothing else. Every row is checked as a start would check
//! it; one that could not run is left out and told.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::cli::args::{ImportArgs, ImportFormat};
use crate::cli::style::{Color, Style, printable};
use crate::cli::{exit, json as as_json};
use crate::hist::dump::replace;
use crate::limits::CONFIG_FOREIGN_BYTES_MAX;
use crate::monitor::row::{Interner, MonitorRow, check};

mod gatus;
mod kuma;
mod list;
mod original;
mod prometheus;
mod table;

/// What a file of other software holds.
#[derive(Debug, Default)]
pub(super) struct Imported {
    rows: Vec<MonitorRow>,
    notes: Vec<Note>,
}

/// Something that is not carried over.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    /// The monitor it is about; empty where it is about all.
    name: String,
    text: String,
}

impl Imported {
    fn note(&mut self, name: &str, text: impl Into<String>) {
        self.notes.push(Note { name: name.to_owned(), text: text.into() });
    }
}

/// Imports; returns the exit code.
pub fn run(args: &ImportArgs, style: &Style) -> u8 {
    match import(args, style) {
        Ok(text) => {
            println!("{}", text.trim_end());
            exit::OK
        }
        Err(text) => {
            eprintln!("error: {text}");
            exit::DOWN
        }
    }
}

fn import(args: &ImportArgs, style: &Style) -> Result<String, String> {
    let file = args.file.display();
    let told = |error: &dyn std::fmt::Display| format!("{file}: {error}");
    let size = fs::metadata(&args.file).map_err(|error| told(&error))?.len();
    if size > CONFIG_FOREIGN_BYTES_MAX as u64 {
        return Err(told(&"is larger than 64 MiB; import it in parts"));
    }
    let text = fs::read_to_string(&args.file).map_err(|error| told(&error))?;
    let read = read(args.format, &text).map_err(|error| told(&error))?;
    let count = read.rows.len();
    let settled = settle(read);
    if !args.dry_run {
        if args.output.exists() && !args.force {
            let output = args.output.display();
            return Err(format!("{output} is there already: name another --output, or --force"));
        }
        replace(&args.output, &yaml(&settled.rows)).map_err(|error| error.to_string())?;
    }
    if args.json {
        let notes = settled.notes.iter().map(|note| json!({"name": note.name, "text": note.text}));
        let report = json!({
            "read": count,
            "imported": settled.rows.len(),
            "notes": notes.collect::<Vec<_>>(),
            "output": (!args.dry_run).then(|| args.output.display().to_string()),
        });
        return as_json(&report).map_err(|error| error.to_string());
    }
    Ok(report(args, count, &settled, style))
}

fn read(format: ImportFormat, text: &str) -> Result<Imported, String> {
    match format {
        ImportFormat::Original => original::read(text),
        ImportFormat::Kuma => kuma::read(text),
        ImportFormat::Gatus => gatus::read(text),
        ImportFormat::Prometheus => prometheus::read(text),
        ImportFormat::List => Ok(list::read(text)),
    }
}

/// Leaves out rows that could not run and gives each a name of its own.
fn settle(read: Imported) -> Imported {
    let mut settled = Imported { rows: Vec::new(), notes: read.notes };
    let mut interner = Interner::default();
    let mut names = HashSet::new();
    for mut row in read.rows {
        let shown = row.name.clone().or_else(|| row.target.clone()).unwrap_or_default();
        match check(&row, &mut interner) {
            Ok(checked) => {
                let name = unique(&checked.about.name, &mut names);
                if name != checked.about.name {
                    settled.note(&shown, format!("the name is taken: it is {name:?} now"));
                }
                row.name = Some(name);
                settled.rows.push(row);
            }
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                settled.note(&shown, format!("left out: {}", errors.join("; ")));
            }
        }
    }
    settled
}

fn unique(name: &str, names: &mut HashSet<String>) -> String {
    let further = (2..).map(|number| format!("{name} ({number})"));
    let mut all = std::iter::once(name.to_owned()).chain(further);
    let free = all.find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(free.clone());
    free
}

/// The file of monitors: every value as JSON writes it, which is YAML too.
fn yaml(rows: &[MonitorRow]) -> String {
    let mut out = String::from("monitors:\n");
    if rows.is_empty() {
        return "monitors: []\n".to_owned();
    }
    for row in rows {
        let Ok(Value::Object(row)) = serde_json::to_value(row) else { continue };
        let keys = MonitorRow::KEYS.iter().filter_map(|key| Some((*key, row.get(*key)?)));
        for (at, (key, value)) in keys.enumerate() {
            let lead = if at == 0 { "  - " } else { "    " };
            let _ = writeln!(out, "{lead}{key}: {value}");
        }
    }
    out
}

fn report(args: &ImportArgs, count: usize, settled: &Imported, style: &Style) -> String {
    let mut out = format!("read {count} monitors from {}\n", args.file.display());
    for note in &settled.notes {
        let (name, text) = (printable(&note.name), printable(&note.text));
        let name = if name.is_empty() { "all".into() } else { style.paint(Color::Bold, &name) };
        let _ = writeln!(out, "  {name}: {text}");
    }
    let imported = settled.rows.len();
    let (output, file) = (args.output.display(), args.file.display());
    let _ = match args.dry_run {
        true => writeln!(out, "would write {imported} monitors to {output}: nothing is written"),
        false => writeln!(out, "{imported} monitors of {file} are in {output}"),
    };
    out
}

/// A text of a value that may be a number.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

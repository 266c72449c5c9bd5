//! The file of monitors and settings: read, checked, compared.
//!
//! Owns: the YAML file with `monitors:`, `defaults:` and `settings:`, where every problem is named
//! by line and column. A bad monitor does not stop the good ones; a file that cannot be understood
//! as a whole, or wrong settings, do. Costs about 0.4 KiB per monitor while it is held; 1.4 KiB
//! where `defaults:` or `channels:` stand below the monitors.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::hash::RandomState;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::limits::{
    CHANNELS_MAX, CONFIG_BYTES_MAX, CONFIG_FOREIGN_BYTES_MAX, CONFIG_MONITOR_BYTES_MAX,
    MAINTENANCE_WINDOWS_MAX, STATUS_PAGES_MAX,
};
use crate::monitor::row::{Checked, Interner, MonitorRow, RowError};

pub mod channels;
pub mod database;
mod finish;
pub mod guard;
pub mod maintenance;
pub mod pages;
mod parents;
mod settings;
mod yaml;

pub use settings::{LogFormat, Settings};
pub use yaml::Place;

use channels::ChannelSpec;
use maintenance::Window;
use pages::StatusPage;
use yaml::{Data, Event, Events, Node, SyntaxError};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as named by the user.
    pub file: Arc<str>,
    /// Where in the file.
    pub place: Place,
    /// What.
    pub error: RowError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.place, self.error)
    }
}

/// Why nothing of a file can be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or is no UTF-8.
    #[error("{file}: {source}; give --config a readable file")]
    Unreadable {
        /// The file as named by the user.
        file: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// It is not YAML, or uses it past our bounds.
    #[error("{file}:{place}: {text}")]
    NotYaml {
        /// The file as named by the user.
        file: Arc<str>,
        /// Where.
        place: Place,
        /// What is wrong.
        text: String,
    },
    /// It is YAML and not a file of monitors.
    #[error("{file}:{place}: {problem}; write `monitors:` with a list below it")]
    Shape {
        /// The file as named by the user.
        file: Arc<str>,
        /// Where.
        place: Place,
        /// What is wrong.
        problem: &'static str,
    },
    /// Something that all monitors depend on is wrong: a key of the file, settings or defaults.
    /// Problems of monitors are here too, so that all are told at once.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// One monitor of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was written, defaults filled in, as JSON: a tenth of the memory of a row.
    pub row_json: Box<str>,
    /// Names of the monitors it depends on.
    pub depends_on: Vec<String>,
    /// The line it starts at, from 1.
    pub line: u32,
    /// The monitor, or everything that is wrong with it.
    pub checked: Result<Box<Checked>, Vec<Problem>>,
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Settings of the engine; a setting that is not given is absent.
    pub settings: Settings,
    /// The ways over which people are told.
    pub channels: Vec<ChannelSpec>,
    /// The monitors, good and bad, in the order of the file.
    pub monitors: Vec<Entry>,
    /// Windows of maintenance.
    pub maintenance: Vec<Window>,
    /// Public pages.
    pub status_pages: Vec<StatusPage>,
}

impl Loaded {
    /// Reads a file. Blocks while it does.
    ///
    /// # Errors
    ///
    /// See [`FileError`]. A bad monitor is no error here but an [`Entry`] that says so.
    pub fn read(path: &Path, interner: &mut Interner) -> Result<Loaded, FileError> {
        let file: Arc<str> = path.display().to_string().into();
        match read_text(path) {
            Ok(text) => Loaded::parse(file, &text, interner),
            Err(source) => Err(FileError::Unreadable { file, source }),
        }
    }

    /// Reads the text of a file that is called `file` in problems.
    ///
    /// # Errors
    ///
    /// As for [`Loaded::read`].
    pub fn parse(file: Arc<str>, text: &str, interner: &mut Interner) -> Result<Loaded, FileError> {
        // What stands below the monitors is waited for.
        let awaited = ["defaults", "channels"].into_iter().filter(|key| text.contains(key));
        let awaited = awaited.collect();
        let mut draft = Draft { file: Arc::clone(&file), awaited, ..Draft::default() };
        match draft.read(text, interner) {
            Ok(()) => draft.finish(interner),
            Err(Stop::Syntax(SyntaxError { place, text })) => {
                Err(FileError::NotYaml { file, place, text })
            }
            Err(Stop::Shape(place, problem)) => Err(FileError::Shape { file, place, problem }),
        }
    }

    /// Every problem of every bad monitor; one in a default that many share is told once.
    pub fn problems(&self) -> Vec<&Problem> {
        let bad = self.monitors.iter().filter_map(|entry| entry.checked.as_ref().err());
        distinct(bad.flatten())
    }
}

/// A whole YAML file of others as a value: every scalar is the text that was written. It is at most
/// `CONFIG_FOREIGN_BYTES_MAX` large once aliases are resolved.
///
/// # Errors
///
/// What is wrong, with its place.
pub fn yaml_value(text: &str) -> Result<Value, String> {
    let told = |error: SyntaxError| format!("{}: {}", error.place, error.text);
    value_of(yaml::whole(text, CONFIG_FOREIGN_BYTES_MAX).map_err(told)?)
}

fn value_of(node: Node) -> Result<Value, String> {
    Ok(match node.data {
        Data::Null => Value::Null,
        Data::Text(text) => Value::String(text),
        Data::List(items) => {
            Value::Array(items.into_iter().map(value_of).collect::<Result<_, _>>()?)
        }
        Data::Map(entries) => {
            let mut map = Map::new();
            for (key, place, node) in entries {
                if map.contains_key(&key) {
                    return Err(format!("{place}: {key} is there twice"));
                }
                map.insert(key, value_of(node)?);
            }
            Value::Object(map)
        }
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > CONFIG_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 GiB"));
    }
    Ok(text)
}

fn distinct<'a>(problems: impl Iterator<Item = &'a Problem>) -> Vec<&'a Problem> {
    let mut seen = HashSet::new();
    let key = |problem: &Problem| (problem.place, problem.error.to_string());
    problems.filter(|problem| seen.insert(key(problem))).collect()
}

/// The keys of a file.
const KEYS: &[&str] =
    &["monitors", "defaults", "settings", "guard", "maintenance", "channels", "status_pages"];

/// Where the value of a key stands, else the map that lacks it.
fn place_within(map: &Node, key: &str) -> Place {
    let Data::Map(entries) = &map.data else { return map.place };
    entries.iter().find(|(name, ..)| name == key).map_or(map.place, |(_, _, value)| value.place)
}

/// Why reading ends early.
enum Stop {
    Syntax(SyntaxError),
    Shape(Place, &'static str),
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Stop {
        Stop::Syntax(error)
    }
}

/// A row, where its keys stand, and what was wrong on the way.
#[derive(Default)]
struct Written {
    row: MonitorRow,
    place: Place,
    keys: Vec<(&'static str, Place)>,
    problems: Vec<Problem>,
}

/// The file while it is read.
#[derive(Default)]
struct Draft {
    file: Arc<str>,
    settings: Settings,
    channels: Vec<ChannelSpec>,
    defaults: Written,
    /// Keys of the file that may still come and that the check of a monitor needs.
    awaited: Vec<&'static str>,
    /// Monitors that wait for these.
    waiting: Vec<Written>,
    monitors: Vec<Entry>,
    /// The first monitor of each name, by the hash of it. Should two names have the same hash, a
    /// repetition of the second is left for the store to find.
    names: HashMap<u64, u32>,
    hasher: RandomState,
    /// Where monitors say what they depend on, by their places.
    dependent: HashMap<usize, Place>,
    /// Windows of maintenance, and where each names its monitors.
    maintenance: Vec<(Window, Place)>,
    pages: Vec<StatusPage>,
    /// What is wrong outside of monitors.
    problems: Vec<Problem>,
}

impl Draft {
    fn read(&mut self, text: &str, interner: &mut Interner) -> Result<(), Stop> {
        let mut events = Events::new(text.strip_prefix('\u{feff}').unwrap_or(text));
        match events.document()? {
            Some((Event::MapStart, _)) => {}
            Some((_, place)) => return Err(Stop::Shape(place, "the file is not a map")),
            None => return Err(Stop::Shape(Place::START, "the file is empty")),
        }
        let mut seen: Vec<String> = Vec::new();
        loop {
            let (key, at) = match events.next()? {
                (Event::MapEnd, _) => break,
                (Event::Text(key), at) => (key, at),
                (_, at) => return Err(Stop::Shape(at, "a key of the file is not a text")),
            };
            if seen.contains(&key) {
                return Err(Stop::Shape(at, "a key of the file is there twice"));
            }
            match key.as_str() {
                "monitors" => self.read_monitors(&mut events, interner)?,
                "defaults" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    if node.data != Data::Null {
                        self.defaults = self.written("defaults", &node);
                        self.problems.append(&mut self.defaults.problems);
                        self.refuse_personal_defaults();
                    }
                }
                "settings" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    self.read_settings(&node);
                }
                "maintenance" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    self.read_maintenance(&node);
                }
                "status_pages" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    self.read_pages(&node);
                }
                "channels" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    self.read_channels(&node);
                }
                "guard" => {
                    let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
                    self.read_guard(&node);
                }
                _ => {
                    let error = RowError::unknown_key(&key, KEYS);
                    self.problems.push(self.problem(at, error));
                    events.node(CONFIG_MONITOR_BYTES_MAX)?;
                }
            }
            self.awaited.retain(|awaited| *awaited != key);
            seen.push(key);
        }
        match events.document()? {
            None => Ok(()),
            Some((_, place)) => Err(Stop::Shape(place, "the file has a second document")),
        }
        .and_then(|()| match seen.iter().any(|key| key == "monitors") {
            true => Ok(()),
            false => Err(Stop::Shape(Place::START, "the file has no `monitors:`")),
        })
    }

    fn read_monitors(
        &mut self,
        events: &mut Events<'_>,
        interner: &mut Interner,
    ) -> Result<(), Stop> {
        match events.next()? {
            (Event::ListStart, _) => {}
            (Event::Null, _) => return Ok(()),
            (_, at) => return Err(Stop::Shape(at, "`monitors` is not a list")),
        }
        while !events.at_list_end()? {
            let node = events.node(CONFIG_MONITOR_BYTES_MAX)?;
            let written = self.written("monitors", &node);
            match self.awaited.is_empty() {
                true => self.check(written, interner),
                false => self.waiting.push(written),
            }
        }
        Ok(())
    }

    fn problem(&self, place: Place, error: RowError) -> Problem {
        Problem { file: Arc::clone(&self.file), place, error }
    }

    /// Reads the keys of a monitor or of the defaults.
    fn written(&self, of: &str, node: &Node) -> Written {
        let mut written = Written { place: node.place, ..Written::default() };
        for (key, at, value) in self.entries(of, node, &mut written.problems) {
            let mut row = std::mem::take(&mut written.row);
            let set = self
                .value(value, &mut written.problems)
                .map_or(Ok(()), |value| row.set(key, &value));
            written.row = row;
            if let Err(error) = set {
                let place = if error.is_unknown_key() { at } else { value.place };
                written.problems.push(self.problem(place, error));
            } else if let Some(known) = MonitorRow::KEYS.iter().find(|known| **known == key) {
                written.keys.push((known, value.place));
            }
        }
        written
    }

    /// The keys and values of a map; a second value of a key is a problem and left out.
    fn entries<'a>(
        &self,
        of: &str,
        node: &'a Node,
        problems: &mut Vec<Problem>,
    ) -> Vec<(&'a str, Place, &'a Node)> {
        let Data::Map(entries) = &node.data else {
            let error = RowError::new(of, "", "not a map", "write keys with their values");
            problems.push(self.problem(node.place, error));
            return Vec::new();
        };
        let mut seen = HashSet::with_capacity(entries.len());
        let mut once = Vec::with_capacity(entries.len());
        for (key, at, value) in entries {
            if !seen.insert(key) {
                let error = RowError::new(key, "", "is there twice", "keep one");
                problems.push(self.problem(*at, error));
            } else {
                once.push((key.as_str(), *at, value));
            }
        }
        once
    }

    /// A node as a JSON value. `None` where it has a key twice.
    fn value(&self, node: &Node, problems: &mut Vec<Problem>) -> Option<Value> {
        Some(match &node.data {
            Data::Null => Value::Null,
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => {
                let items = items.iter().map(|item| self.value(item, problems));
                Value::Array(items.collect::<Option<_>>()?)
            }
            Data::Map(_) => {
                let before = problems.len();
                let entries = self.entries("headers", node, problems);
                if problems.len() > before {
                    return None;
                }
                let mut map = Map::new();
                for (name, _, value) in entries {
                    map.insert(name.to_owned(), self.value(value, problems)?);
                }
                Value::Object(map)
            }
        })
    }

    fn refuse_personal_defaults(&mut self) {
        for key in ["name", "target"] {
            let place = self.defaults.keys.iter().find(|(given, _)| *given == key);
            if let Some((_, place)) = place {
                let fix = "write it with each monitor";
                let error = RowError::new(key, "", "cannot have a default", fix);
                self.problems.push(self.problem(*place, error));
            }
        }
    }

    fn read_settings(&mut self, node: &Node) {
        if node.data == Data::Null {
            return;
        }
        let mut settings = std::mem::take(&mut self.settings);
        self.read_map("settings", node, |key, value| settings.set(key, value));
        self.settings = settings;
    }

    fn read_guard(&mut self, node: &Node) {
        if node.data == Data::Null {
            return;
        }
        let mut draft = guard::Draft::default();
        let (places, well) = self.read_map("guard", node, |key, value| draft.set(key, value));
        if well {
            match draft.finish() {
                Ok(plan) => self.settings.guard = Some(plan),
                Err(errors) => self.refuse(errors, &places, node.place),
            }
        }
    }

    fn read_maintenance(&mut self, node: &Node) {
        let Some(windows) = self.items("maintenance", node, MAINTENANCE_WINDOWS_MAX) else {
            return;
        };
        for window in windows {
            let mut draft = maintenance::Draft::default();
            let (places, well) =
                self.read_map("maintenance", window, |key, value| draft.set(key, value));
            if !well {
                continue;
            }
            match draft.finish() {
                Ok(read) => {
                    let place = places.get("monitors").copied().unwrap_or(window.place);
                    self.maintenance.push((read, place));
                }
                Err(errors) => self.refuse(errors, &places, window.place),
            }
        }
    }

    fn read_pages(&mut self, node: &Node) {
        let Some(pages) = self.items("status_pages", node, STATUS_PAGES_MAX) else { return };
        for page in pages {
            let mut draft = pages::Draft::default();
            let (places, well) =
                self.read_map("status_pages", page, |key, value| draft.set(key, value));
            if !well {
                continue;
            }
            match draft.finish() {
                Ok(read) if self.pages.iter().any(|known| known.slug == read.slug) => {
                    let problem = "is the slug of another page too";
                    let error = RowError::new("slug", &read.slug, problem, "write another one");
                    self.refuse(vec![error], &places, page.place);
                }
                Ok(read) => self.pages.push(read),
                Err(errors) => self.refuse(errors, &places, page.place),
            }
        }
    }

    /// The items of a list of at most `max`; `None` where it is none, which is noted.
    fn items<'a>(&mut self, of: &str, node: &'a Node, max: usize) -> Option<&'a [Node]> {
        match &node.data {
            Data::Null => None,
            Data::List(items) if items.len() <= max => Some(items),
            _ => {
                let fix = format!("write a list of at most {max}");
                let error = RowError::new(of, "", "is no list, or too long", fix);
                self.problems.push(self.problem(node.place, error));
                None
            }
        }
    }

    /// Sets each key of a map; where each value stands, and whether all was well.
    fn read_map<'a>(
        &mut self,
        of: &str,
        node: &'a Node,
        mut set: impl FnMut(&str, &Value) -> Result<(), RowError>,
    ) -> (HashMap<&'a str, Place>, bool) {
        let (mut problems, mut places) = (Vec::new(), HashMap::new());
        for (key, at, value) in self.entries(of, node, &mut problems) {
            let Some(json) = self.value(value, &mut problems) else { continue };
            places.insert(key, value.place);
            if let Err(error) = set(key, &json) {
                let place = if error.is_unknown_key() { at } else { value.place };
                problems.push(self.problem(place, error));
            }
        }
        let well = problems.is_empty();
        self.problems.append(&mut problems);
        (places, well)
    }

    /// Notes errors where their values stand, else at `start`.
    fn refuse(&mut self, errors: Vec<RowError>, places: &HashMap<&str, Place>, start: Place) {
        for error in errors {
            let place = places.get(error.field.as_str()).copied().unwrap_or(start);
            self.problems.push(self.problem(place, error));
        }
    }

    fn read_channels(&mut self, node: &Node) {
        let Some(items) = self.items("channels", node, CHANNELS_MAX) else { return };
        for item in items {
            let mut problems = Vec::new();
            let value = self.value(item, &mut problems);
            self.problems.append(&mut problems);
            let Some(map) = value.as_ref().and_then(Value::as_object) else {
                let error = RowError::new("channels", "", "not a map", "write keys with values");
                self.problems.push(self.problem(item.place, error));
                continue;
            };
            match ChannelSpec::read(map) {
                Ok(spec) if self.channels.iter().any(|known| known.name == spec.name) => {
                    let problem = "is the name of another channel too";
                    let error = RowError::new("name", &spec.name, problem, "write another name");
                    self.problems.push(self.problem(item.place, error));
                }
                Ok(spec) => self.channels.push(spec),
                Err(errors) => {
                    let place = |error: &RowError| place_within(item, &error.field);
                    let problems: Vec<_> =
                        errors.into_iter().map(|e| self.problem(place(&e), e)).collect();
                    self.problems.extend(problems);
                }
            }
        }
    }
}

//! Checks what was read of a file.
//!
//! Owns: the check of each monitor as soon as what it needs is known, and of what monitors,
//! windows and dependencies say of each other, once all are there.

use std::borrow::Cow;
use std::collections::hash_map;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::{Draft, Entry, FileError, Loaded, Place, Problem, Written, distinct, parents};
use crate::limits::MONITOR_CHANNELS_MAX;
use crate::monitor::row::{Checked, Interner, MonitorRow, RowError, check};

/// Channels that variables of the original make, not the file.
const OF_VARIABLES: &[&str] = &["telegram", "email", "firebase"];

impl Draft {
    /// Fills in the defaults and checks a monitor.
    pub(super) fn check(&mut self, mut written: Written, interner: &mut Interner) {
        written.row.fill_from(&self.defaults.row);
        let mut problems = std::mem::take(&mut written.problems);
        // What could not be read must not be told again as missing.
        let unread: Vec<String> =
            problems.iter().map(|problem| problem.error.field.clone()).collect();
        let mut checked = match written.keys.is_empty() && !problems.is_empty() {
            true => Err(Vec::new()), // Nothing could be read: no need to say what is missing.
            false => check(&written.row, interner),
        };
        if let Ok(checked) = &checked {
            written.row.name = Some(checked.about.name.clone());
        }
        let of_others = [self.unknown_channel(&written.row), self.taken_name(&written.row)];
        for error in of_others.into_iter().flatten() {
            match &mut checked {
                Ok(_) => checked = Err(vec![error]),
                Err(errors) => errors.push(error),
            }
        }
        let errors = checked.as_ref().err().map_or(&[][..], Vec::as_slice);
        let news = errors.iter().filter(|error| !unread.contains(&error.field));
        problems
            .extend(news.map(|error| self.problem(self.place_of(&written, error), error.clone())));
        let checked = match checked {
            Ok(checked) if problems.is_empty() => Ok(checked),
            _ => Err(problems),
        };
        if written.row.depends_on.is_some() {
            let place = self.place_of_key(&written, parents::KEY);
            self.dependent.insert(self.monitors.len(), place);
        }
        self.monitors.push(Entry::new(&written.row, written.place.line, checked));
    }

    /// What is wrong with the channels that a monitor names.
    fn unknown_channel(&self, row: &MonitorRow) -> Option<RowError> {
        let names = row.alerts.as_ref()?;
        if names.len() > MONITOR_CHANNELS_MAX {
            let fix = format!("write at most {MONITOR_CHANNELS_MAX}");
            return Some(RowError::new("alerts", "", "are too many", fix));
        }
        let known: Vec<&str> = self.channels.iter().map(|spec| spec.name.as_str()).collect();
        let known = [&known[..], OF_VARIABLES].concat();
        let unknown = names.iter().find(|name| !known.contains(&name.as_str()))?;
        let fix = format!("write one of {}", known.join(", "));
        Some(RowError::new("alerts", unknown, "is not a channel", fix))
    }

    /// What is wrong with the name of the next monitor; else it is the first of that name.
    fn taken_name(&mut self, row: &MonitorRow) -> Option<RowError> {
        let name = row.name.as_deref()?;
        match self.names.entry(self.hasher.hash_one(name)) {
            hash_map::Entry::Occupied(first) => {
                let first = self.monitors.get(*first.get() as usize)?;
                let line = (first.name()? == name).then_some(first.line)?;
                let problem = format!("is the name of the monitor in line {line} too");
                Some(RowError::new("name", name, problem, "write another name"))
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(self.monitors.len() as u32);
                None
            }
        }
    }

    /// Checks the monitors that waited, and what parts of the file say of each other.
    pub(super) fn finish(mut self, interner: &mut Interner) -> Result<Loaded, FileError> {
        for written in std::mem::take(&mut self.waiting) {
            self.check(written, interner);
        }
        self.check_parents();
        self.check_windows();
        let maintenance = self.maintenance.into_iter().map(|(window, _)| window).collect();
        let (settings, channels, monitors) = (self.settings, self.channels, self.monitors);
        let status_pages = self.pages;
        let loaded = Loaded { settings, channels, monitors, maintenance, status_pages };
        if self.problems.is_empty() {
            return Ok(loaded);
        }
        let all = self.problems.iter().chain(loaded.problems());
        Err(FileError::Wrong(distinct(all).into_iter().cloned().collect()))
    }

    /// What monitors depend on must be there.
    fn check_parents(&mut self) {
        if self.dependent.is_empty() {
            return;
        }
        let named = self.monitors.iter().map(|entry| (entry.name(), &entry.depends_on[..]));
        let named: Vec<_> = named.collect();
        for (at, error) in parents::errors(&named) {
            let place = self.dependent.get(&at).copied().unwrap_or_default();
            let problem = self.problem(place, error);
            match &mut self.monitors[at].checked {
                Ok(_) => self.monitors[at].checked = Err(vec![problem]),
                Err(problems) => problems.push(problem),
            }
        }
    }

    /// The monitors that windows name must be there.
    fn check_windows(&mut self) {
        let is_there = |name: &str| {
            let first = self.names.get(&self.hasher.hash_one(name));
            let first = first.and_then(|first| self.monitors.get(*first as usize));
            first.and_then(Entry::name).is_some_and(|known| known == name)
        };
        let mut problems = Vec::new();
        for (window, place) in &self.maintenance {
            for name in window.monitors.iter().filter(|name| !is_there(name)) {
                let fix = "write the name of a monitor of this file";
                let error = RowError::new("monitors", name, "is not a monitor", fix);
                problems.push(self.problem(*place, error));
            }
        }
        self.problems.append(&mut problems);
    }

    fn place_of(&self, written: &Written, error: &RowError) -> Place {
        self.place_of_key(written, &error.field)
    }

    /// Where the value of a key stands: with the monitor, else among the defaults, else the start
    /// of the monitor.
    fn place_of_key(&self, written: &Written, key: &str) -> Place {
        let mut keys = written.keys.iter().chain(&self.defaults.keys);
        keys.find(|(known, _)| *known == key).map_or(written.place, |(_, place)| *place)
    }
}

impl Entry {
    /// A monitor with its row as it was written.
    pub fn new(row: &MonitorRow, line: u32, checked: Result<Checked, Vec<Problem>>) -> Entry {
        // A row is texts and lists of texts, which JSON can always tell.
        let row_json = serde_json::to_string(row).unwrap_or_default().into_boxed_str();
        let depends_on = row.depends_on.clone().unwrap_or_default();
        Entry { row_json, depends_on, line, checked: checked.map(Box::new) }
    }

    /// A monitor that is kept as JSON by `source`, not in a file: problems bear its name.
    pub fn of_json(row_json: &str, source: &str, interner: &mut Interner) -> Entry {
        let (row, mut errors) = MonitorRow::read_json(row_json);
        let checked = check(&row, interner).map_err(|more| {
            errors.extend(more);
            let problem = |error| Problem { file: Arc::from(source), place: Place::START, error };
            errors.drain(..).map(problem).collect()
        });
        // As it was written: what this version cannot read is not lost.
        let depends_on = row.depends_on.unwrap_or_default();
        Entry { row_json: row_json.into(), depends_on, line: 0, checked: checked.map(Box::new) }
    }

    /// What was written, defaults filled in; a good monitor always has a name here.
    pub fn row(&self) -> MonitorRow {
        MonitorRow::read_json(&self.row_json).0
    }

    /// The name; a bad monitor may have none.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        match &self.checked {
            Ok(checked) => Some(Cow::Borrowed(&checked.about.name)),
            Err(_) => self.row().name.map(Cow::Owned),
        }
    }

    /// The tags.
    pub fn tags(&self) -> Cow<'_, [String]> {
        match &self.checked {
            Ok(checked) => Cow::Borrowed(&checked.about.tags),
            Err(_) => Cow::Owned(self.row().tags.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_row_stays_as_it_was_written_with_what_cannot_be_read() {
        let text = r#"{"name": "x", "type": "tcp", "target": "192.0.2.1:80", "of_later": [1]}"#;
        let entry = Entry::of_json(text, "api", &mut Interner::default());
        assert_eq!(&*entry.row_json, text);
        assert_eq!(entry.row().name.as_deref(), Some("x"));
    }
}

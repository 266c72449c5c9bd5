//! Plain lists: one target a line, `#` begins a comment, a name may stand before a blank or tab.

use super::Imported;
use crate::cli::args::CheckArgs;
use crate::monitor::row::MonitorRow;

/// Reads a list. A line is `target`, or `name target`; the type is guessed as `engine check` does.
pub(super) fn read(text: &str) -> Imported {
    let mut imported = Imported::default();
    let guess = CheckArgs::default();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, target) = match line.rsplit_once(char::is_whitespace) {
            Some((name, target)) => (Some(name.trim().to_owned()), target),
            None => (None, line),
        };
        let (kind, target) = guess.kind_of(target);
        imported.rows.push(MonitorRow {
            name,
            kind: Some(kind.name().to_owned()),
            target: Some(target.to_owned()),
            ..MonitorRow::default()
        });
    }
    imported
}

//! The original service's `monitor_items`: a dump of its database, or the table as CSV.

use super::Imported;
use super::table::{self, Row};
use crate::feed::rows;

/// Columns that say something this file of monitors cannot hold, and what to do about it.
const LEFT_OUT: [(&str, &str); 4] = [
    ("stopTo", "the time of the pause is not carried over: pause the monitor anew"),
    ("maxAlertCount", "bounds of alerts are set with the alerts"),
    ("allow_alert_for_consecutive_error", "bounds of alerts are set with the alerts"),
    ("user_id", "users are not carried over: it became a tag"),
];

/// Reads a dump or CSV.
///
/// # Errors
///
/// It is neither, or has no such table.
pub(super) fn read(text: &str) -> Result<Imported, String> {
    let mut imported = Imported::default();
    let found = table::read(text, "monitor_items")?;
    for row in found.iter().filter(|row| !row.contains_key("deleted_at")) {
        let number = |column: &str| row.get(column).and_then(|text| text.parse::<i64>().ok());
        let text = |column: &str| row.get(column).cloned();
        let item = rows::Row {
            name: text("name"),
            url_check: text("url_check"),
            kind: text("type"),
            interval_s: number("check_interval_seconds"),
            result_valid: text("result_valid"),
            result_error: text("result_error"),
            ..rows::Row::default()
        };
        let mut written = item.written();
        written.paused = (number("enable") != Some(1)).then_some(true);
        let user = number("user_id").filter(|user| *user != 0);
        written.tags = user.map(|user| vec![format!("user-{user}")]);
        let web_content = written.kind.as_deref() == Some("web_content");
        if !web_content {
            (written.result_valid, written.result_error) = (None, None);
        }
        if written.interval.as_deref() == Some("0") {
            written.interval = None;
        }
        let name = row.get("name").or(row.get("url_check")).cloned().unwrap_or_default();
        notes(&mut imported, &name, row);
        imported.rows.push(written);
    }
    let deleted = found.len() - imported.rows.len();
    if deleted > 0 {
        imported.note("", format!("{deleted} rows are marked as deleted and left out"));
    }
    for table in ["monitor_configs", "monitor_and_configs", "monitor_settings"] {
        if text.contains(table) {
            imported.note("", format!("alerts of the table {table} are not carried over"));
        }
    }
    Ok(imported)
}

fn notes(imported: &mut Imported, name: &str, row: &Row) {
    for (column, told) in LEFT_OUT {
        let says = row.get(column).is_some_and(|value| value != "0");
        if says {
            imported.note(name, format!("{column}: {told}"));
        }
    }
}

//! The table of incidents: times of being down.
//!
//! Owns: what `incidents` shows of each. Leaves to others: reading them (`store`).

use crate::cli::style::{Color, Style, age_ms};
use crate::cli::table::{self, Cell, Column};
use crate::store::view::Incident;

const COLUMNS: [Column; 6] = [
    Column::right("ID"),
    Column::shrinking("NAME"),
    Column::left("OPENED"),
    Column::right("LASTED"),
    Column::left("RESULT"),
    Column::shrinking("MESSAGE"),
];

/// The table of incidents in the order given; those that last do so until `now_ms` (Unix time in
/// milliseconds).
pub fn render(incidents: &[Incident], now_ms: u64, style: &Style) -> String {
    if incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    let rows: Vec<_> = incidents.iter().map(|incident| cells(incident, now_ms, style)).collect();
    table::render(&COLUMNS, &rows, style)
}

fn cells(incident: &Incident, now_ms: u64, style: &Style) -> Vec<Cell> {
    let lasted_ms = incident.closed_ms.unwrap_or(now_ms).saturating_sub(incident.opened_ms);
    let lasted = match incident.closed_ms {
        Some(_) => age_ms(lasted_ms).into(),
        None => Cell::colored(format!("open {}", age_ms(lasted_ms)), Color::Red),
    };
    vec![
        incident.monitor.to_string().into(),
        incident.name.as_str().into(),
        style.time(incident.opened_ms).into(),
        lasted,
        incident.result.into(),
        incident.message.as_str().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MonitorId;

    #[test]
    fn incidents_show_how_long_they_lasted_and_which_are_open() {
        let open = Incident {
            monitor: MonitorId(7),
            name: "shop".into(),
            opened_ms: 1_795_444_849_000,
            closed_ms: None,
            code: 2,
            result: "connect_refused",
            message: "refused".into(),
        };
        let over = Incident { closed_ms: Some(1_795_444_944_000), ..open.clone() };
        let shown = render(&[open, over], 1_795_448_449_000, &Style::plain());
        let wanted = "\
ID  NAME  OPENED                    LASTED  RESULT           MESSAGE
 7  shop  2026-11-23 14:40:49  open 1h 00m  connect_refused  refused
 7  shop  2026-11-23 14:40:49       1m 35s  connect_refused  refused
";
        assert_eq!(shown, wanted, "\n{shown}");
        assert_eq!(render(&[], 0, &Style::plain()), "no incidents\n");
    }
}

//! The table of monitors.
//!
//! Owns: what `monitors` shows of each. Leaves to others: reading them (`store`).

use crate::cli::style::{Color, Style, age_ms, duration_us, verdict_color};
use crate::cli::table::{self, Cell, Column};
use crate::monitor::Kind;
use crate::sample::Verdict;
use crate::store::view::MonitorView;

const COLUMNS: [Column; 9] = [
    Column::right("ID"),
    Column::shrinking("NAME"),
    Column::left("TYPE"),
    Column::shrinking("TARGET"),
    Column::left("VERDICT"),
    Column::right("SINCE"),
    Column::right("LAST"),
    Column::right("NEXT"),
    Column::shrinking("MESSAGE"),
];

/// The table of monitors in the order given, with ages as of `now_ms` (Unix time in milliseconds)
/// and a last line with the sums.
pub fn render(monitors: &[MonitorView], now_ms: u64, style: &Style) -> String {
    if monitors.is_empty() {
        return "no monitors\n".to_owned();
    }
    let rows: Vec<Vec<Cell>> = monitors.iter().map(|monitor| cells(monitor, now_ms)).collect();
    let mut out = table::render(&COLUMNS, &rows, style);
    let sums = Verdict::ALL.into_iter().filter_map(|verdict| {
        let count = monitors.iter().filter(|monitor| monitor.verdict == verdict).count();
        (count > 0).then(|| format!("{} {count}", verdict.name()))
    });
    let sums: Vec<String> = sums.collect();
    let line = format!("{} monitors: {}", monitors.len(), sums.join(", "));
    out.push_str(&style.paint(Color::Dim, &line));
    out.push('\n');
    out
}

fn cells(monitor: &MonitorView, now_ms: u64) -> Vec<Cell> {
    let absent = || "–".to_owned();
    let since = monitor.since_ms.map(|since_ms| age_ms(now_ms.saturating_sub(since_ms)));
    let next = monitor.next_due_ms.map(|next_ms| age_ms(next_ms.saturating_sub(now_ms)));
    let message = match &monitor.problem {
        Some(problem) => Cell::colored(format!("cannot run: {problem}"), Color::Yellow),
        None => monitor.message.as_str().into(),
    };
    vec![
        monitor.id.to_string().into(),
        monitor.name.as_str().into(),
        monitor.kind.map_or("?", Kind::name).into(),
        monitor.target.as_str().into(),
        Cell::colored(monitor.verdict.name(), verdict_color(monitor.verdict)),
        since.unwrap_or_else(absent).into(),
        monitor.total_us.map_or_else(absent, duration_us).into(),
        next.unwrap_or_else(absent).into(),
        message,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MonitorId;
    use crate::store::view::Counts;

    fn monitors() -> Vec<MonitorView> {
        let up = MonitorView {
            id: MonitorId(1),
            name: "shop".into(),
            kind: Some(Kind::PingWeb),
            target: "https://shop.example/".into(),
            tags: vec!["demo".into()],
            source: "monitors.yaml".into(),
            user_id: None,
            stop_to_ms: None,
            problem: None,
            interval_ms: 60_000,
            created_ms: 900_000,
            verdict: Verdict::Up,
            since_ms: Some(1_000_000),
            last_check_ms: Some(1_200_000),
            next_due_ms: Some(1_260_000),
            code: 0,
            result: Some("ok"),
            message: "200 OK".into(),
            total_us: Some(41_200),
            http_status: Some(200),
            counts: Counts::default(),
        };
        let broken = MonitorView {
            id: MonitorId(12),
            name: "database".into(),
            kind: None,
            target: "db:5432".into(),
            problem: Some("no type".into()),
            verdict: Verdict::Pending,
            since_ms: None,
            next_due_ms: None,
            total_us: None,
            message: String::new(),
            ..up.clone()
        };
        vec![up, broken]
    }

    #[test]
    fn monitors_are_shown_aligned_with_their_sums_and_problems() {
        let wanted = "\
ID  NAME      TYPE      TARGET                 VERDICT   SINCE     LAST    NEXT  MESSAGE
 1  shop      ping_web  https://shop.example/  up       3m 20s  41.2 ms  1m 00s  200 OK
12  database  ?         db:5432                pending       –        –       –  cannot run: no type
2 monitors: pending 1, up 1
";
        let shown = render(&monitors(), 1_200_000, &Style::plain());
        assert_eq!(shown, wanted, "\n{shown}");
        assert_eq!(render(&[], 0, &Style::plain()), "no monitors\n");
    }

    #[test]
    fn a_clock_behind_the_data_gives_an_age_of_zero() {
        assert!(render(&monitors(), 5, &Style::plain()).contains(" 0s "));
    }
}

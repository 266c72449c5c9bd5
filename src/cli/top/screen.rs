//! The screen of `engine top`: drawn from what was asked, and the keys.
//!
//! Owns: layout and keys. Head and table of monitors are those of the live view. Pure but for the
//! frame: a test draws into memory.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style as TermStyle, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};
use serde_json::Value;

use super::ask::{Details, Shown, Sort, Wish};
use crate::cli::live;
use crate::cli::style::{duration_us, printable};
use crate::metrics::latency::Measure;
use crate::sample::Verdict;

/// Lines of the panel of shards and types at most, titles included.
const PANEL_LINES_MAX: u16 = 9;
/// Results listed in the details.
const RESULTS_SHOWN: usize = 12;
/// Widest bar of a phase, in columns.
const BAR_COLUMNS: u64 = 40;

/// What the user does on the screen.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// What is to be shown.
    pub wish: Wish,
    selected: usize,
    top: usize,
    typing: bool,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    Quit,
    /// To ask the engine with the new wish.
    Ask,
    /// To draw again at most.
    Draw,
}

impl Screen {
    /// Shows this.
    pub fn new(wish: Wish) -> Screen {
        Screen { wish, ..Screen::default() }
    }

    /// Takes a key. In raw mode Ctrl-C is a key like others.
    pub fn on_key(&mut self, key: KeyEvent, shown: &Shown, page: usize) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Asked::Quit;
        }
        if self.typing {
            return self.type_key(key.code);
        }
        let last = shown.view.rows.len().saturating_sub(1);
        match key.code {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Esc if self.wish.details_of.take().is_some() => return Asked::Ask,
            KeyCode::Esc => return Asked::Quit,
            KeyCode::Enter => {
                let selected = shown.ids.get(self.selected).copied();
                let open = self.wish.details_of.is_some();
                self.wish.details_of = selected.filter(|_| !open);
                return Asked::Ask;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => {
                self.wish.sort = self.wish.sort.next();
                return Asked::Ask;
            }
            KeyCode::Char('v') => {
                self.wish.verdict = next_verdict(self.wish.verdict);
                return Asked::Ask;
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => {
                self.selected = (self.selected + page).min(last);
            }
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(page),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            _ => {}
        }
        Asked::Draw
    }

    fn type_key(&mut self, code: KeyCode) -> Asked {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.wish.text.clear();
            }
            KeyCode::Backspace => drop(self.wish.text.pop()),
            KeyCode::Char(character) => self.wish.text.push(character),
            _ => return Asked::Draw,
        }
        self.selected = 0;
        Asked::Ask
    }

    /// Draws everything; returns the lines that the table of monitors has.
    pub fn draw(&mut self, shown: &Shown, trouble: Option<&str>, frame: &mut Frame) -> usize {
        let rows = shown.shards.len().max(shown.types.len()) as u16;
        let panel_lines = (rows + 1).min(PANEL_LINES_MAX);
        let [head, panel, monitors, help] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(panel_lines),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .spacing(1)
        .areas(frame.area());
        frame.render_widget(Paragraph::new(live::head_lines(&shown.view)), head);
        let [left, right] =
            Layout::horizontal([Constraint::Length(48), Constraint::Min(0)]).areas(panel);
        frame.render_widget(shards(shown), left);
        frame.render_widget(types(shown), right);

        let page = usize::from(monitors.height.saturating_sub(1));
        match &shown.details {
            Some(details) if self.wish.details_of == Some(details.id) => {
                let place = shown.ids.iter().position(|id| *id == details.id);
                let name = place.map(|at| shown.view.rows[at].name.as_str());
                frame.render_widget(details_of(details, name.unwrap_or("?")), monitors);
            }
            _ => {
                self.selected = self.selected.min(shown.view.rows.len().saturating_sub(1));
                self.top =
                    self.top.clamp((self.selected + 1).saturating_sub(page.max(1)), self.selected);
                let selected = Some(self.selected);
                live::draw_table(&shown.view, self.top, selected, frame, monitors);
            }
        }
        self.draw_help(shown, trouble, frame, help);
        page
    }

    fn draw_help(&self, shown: &Shown, trouble: Option<&str>, frame: &mut Frame, area: Rect) {
        let left = match trouble {
            Some(trouble) => Line::from(format!(" {}", printable(trouble)).red()),
            None if self.typing => Line::from(format!(" filter: {}▏", printable(&self.wish.text))),
            None => Line::from(" q quit  ↑↓ choose  ⏎ details  / filter  v verdict  s order".dim()),
        };
        frame.render_widget(Paragraph::new(left), area);
        let verdict = self.wish.verdict.map_or("", Verdict::name);
        let parts = [self.wish.text.as_str(), verdict, self.wish.sort.name()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let (count, total) = (shown.view.rows.len(), shown.total);
        let right = format!("{}  {count} of {total} ", printable(&parts.join(", ")));
        frame.render_widget(Paragraph::new(right.dim()).alignment(Alignment::Right), area);
    }
}

/// All, down, unknown, pending, up, paused, and all again.
fn next_verdict(verdict: Option<Verdict>) -> Option<Verdict> {
    match verdict {
        None => Some(Verdict::Down),
        Some(Verdict::Down) => Some(Verdict::Unknown),
        Some(Verdict::Unknown) => Some(Verdict::Pending),
        Some(Verdict::Pending) => Some(Verdict::Up),
        Some(Verdict::Up) => Some(Verdict::Paused),
        Some(Verdict::Paused) => None,
    }
}

fn titles<const N: usize>(titles: [&'static str; N]) -> Row<'static> {
    let style = TermStyle::new().add_modifier(Modifier::DIM | Modifier::UNDERLINED);
    Row::new(titles.map(|title| Line::from(title).right_aligned())).style(style)
}

fn right(text: String) -> Line<'static> {
    Line::from(text).right_aligned()
}

fn shards(shown: &Shown) -> Table<'_> {
    let rows = shown.shards.iter().map(|shard| {
        let lag = shard.lag_p99_s.map_or("–".to_owned(), |s| format!("≤ {}", seconds(s)));
        Row::new([
            right(shard.name.clone()),
            right(format!("{:.1}", shard.checks_per_s)),
            right(format!("{:.0} %", shard.cpu * 100.0)),
            right(format!("{:.0}", shard.in_flight)),
            right(lag),
        ])
    });
    let widths = [6, 9, 7, 8, 12].map(Constraint::Length);
    Table::new(rows, widths).header(titles(["SHARD", "CHECKS/S", "CPU", "FLIGHT", "LAG P99"]))
}

fn types(shown: &Shown) -> Table<'_> {
    let rows = shown.types.iter().map(|one| {
        let [p50, p90, p99] = one.quantiles_us.map(micros);
        let numbers = [format!("{:.1}", one.checks_per_s), p50, p90, p99];
        let down = format!("{:.1}", one.down_per_min);
        let cells = numbers.into_iter().chain([down]).map(right);
        Row::new(std::iter::once(Line::from(one.name.clone())).chain(cells))
    });
    let widths = [24, 9, 10, 10, 10, 9].map(Constraint::Length);
    let names = ["TYPE", "CHECKS/S", "P50", "P90", "P99", "DOWN/MIN"];
    Table::new(rows, widths).header(titles(names))
}

fn seconds(seconds: f64) -> String {
    micros((seconds * 1e6) as u64)
}

fn micros(micros: u64) -> String {
    duration_us(u32::try_from(micros).unwrap_or(u32::MAX))
}

/// The phases of the last result, the results before it, and the last words.
fn details_of<'a>(details: &'a Details, name: &'a str) -> Paragraph<'a> {
    let mut lines = vec![Line::from(format!(" {}", printable(name))).bold(), Line::default()];
    if let Some(last) = details.results.first() {
        let phases = &last["phases"];
        let all: u64 = Measure::ALL[..5].iter().filter_map(|m| phases[m.name()].as_u64()).sum();
        for measure in &Measure::ALL[..5] {
            let Some(took) = phases[measure.name()].as_u64() else { continue };
            let bar = "█".repeat((took * BAR_COLUMNS / all.max(1)).max(1) as usize);
            lines.push(Line::from(vec![
                Span::from(format!(" {:<9}{:>10}  ", measure.name(), micros(took))),
                Span::from(bar).cyan(),
            ]));
        }
        lines.push(Line::default());
    }
    for result in details.results.iter().take(RESULTS_SHOWN) {
        let text = |key: &str| result[key].as_str().unwrap_or("–").to_owned();
        let took = result["total_us"].as_u64().map_or("–".to_owned(), micros);
        let lag = result["lag_us"].as_u64().map_or("–".to_owned(), micros);
        let at = crate::cli::style::rfc3339(result["due_ms"].as_u64().unwrap_or(0));
        let status = match &result["http_status"] {
            Value::Null => String::new(),
            status => format!("HTTP {status}"),
        };
        let verdict = text("verdict").to_uppercase();
        let (reason, ends) = (text("result"), format!("lag {lag}  {status}"));
        let line = format!(" {at}  {verdict:<8}{took:>10}  {reason:<24} {ends}");
        lines.push(Line::from(line));
    }
    if let Some(words) = details.evidence.first().and_then(|one| one["message"].as_str()) {
        lines.push(Line::default());
        lines.push(Line::from(format!(" last failure: {}", printable(words))).yellow());
    }
    Paragraph::new(lines)
}

/// What is printed where there is no terminal: the same tables, once.
pub fn plain(shown: &Shown, sort: Sort) -> String {
    use crate::cli::table::{self, Cell, Column};
    let style = crate::cli::style::Style::plain();
    let mut out = live::summary(&shown.view, &style) + "\n\n";
    let numbers = |texts: &[String]| texts.iter().map(|text| Cell::from(text.as_str())).collect();
    let columns = ["SHARD", "CHECKS/S", "CPU", "IN FLIGHT", "LAG P99"].map(Column::right);
    let rows = shown.shards.iter().map(|shard| {
        numbers(&[
            shard.name.clone(),
            format!("{:.1}", shard.checks_per_s),
            format!("{:.0} %", shard.cpu * 100.0),
            format!("{:.0}", shard.in_flight),
            shard.lag_p99_s.map_or("–".to_owned(), |s| format!("≤ {}", seconds(s))),
        ])
    });
    out.push_str(&table::render(&columns, &rows.collect::<Vec<_>>(), &style));
    out.push('\n');
    let columns = ["TYPE", "CHECKS/S", "P50", "P90", "P99", "DOWN/MIN"].map(Column::right);
    let rows = shown.types.iter().map(|one| {
        let [p50, p90, p99] = one.quantiles_us.map(micros);
        let rate = |rate: f64| format!("{rate:.1}");
        numbers(&[one.name.clone(), rate(one.checks_per_s), p50, p90, p99, rate(one.down_per_min)])
    });
    out.push_str(&table::render(&columns, &rows.collect::<Vec<_>>(), &style));
    out.push('\n');
    let columns = ["VERDICT", "NAME", "TYPE", "LAST", "MESSAGE"].map(Column::left);
    let rows = shown.view.rows.iter().map(|row| {
        numbers(&[
            row.verdict.name().to_uppercase(),
            row.name.clone(),
            row.kind.to_owned(),
            row.last_us.map_or("–".to_owned(), duration_us),
            row.message.clone(),
        ])
    });
    out.push_str(&table::render(&columns, &rows.collect::<Vec<_>>(), &style));
    let (count, total) = (shown.view.rows.len(), shown.total);
    out.push_str(&format!("{count} of {total} monitors, in the order of {}\n", sort.name()));
    out
}

#[cfg(test)]
mod tests;

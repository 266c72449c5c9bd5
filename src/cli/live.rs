//! The live view of `start`: a table on a terminal, lines elsewhere.
//!
//! Owns: the terminal while the engine runs, and what is shown of a [`LiveView`]. Fed through a
//! channel, about once a second; it asks nobody for anything. Whatever ends it (q, Ctrl-C, the end
//! of the feed, a panic in any thread) gives the terminal back as it was. While the table is up
//! nothing else may write to the terminal: logs go to a file then.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color as TermColor, Modifier, Style as TermStyle, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use crate::cli::style::{Color, Style, age_ms, duration_us, printable, verdict_color};
use crate::sample::Verdict;

/// Time between two looks at the keyboard and at the feed.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Time between two summary lines where there is no terminal, in milliseconds.
const SUMMARY_MS: u64 = 10_000;
/// Lines above and below the table: two of head, one of help.
const LINES_AROUND: u16 = 4;

/// The state of the engine at one moment.
#[derive(Clone, Debug, Default)]
pub struct LiveView {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Start of the engine, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Where the metrics page is.
    pub listen: String,
    /// Monitors per verdict, by the number of the verdict.
    pub verdicts: [u64; Verdict::ALL.len()],
    /// Checks that ended per second, lately.
    pub checks_per_s: f64,
    /// Started minus due, 99th percentile, in microseconds.
    pub lag_p99_us: u32,
    /// Probes in flight.
    pub in_flight: u64,
    /// Due checks that were not run, since the start.
    pub missed: u64,
    /// Some or all monitors, in an order that stays the same.
    pub rows: Vec<LiveRow>,
    /// Changes of verdict since the view before this one, oldest first.
    pub changes: Vec<LiveChange>,
}

/// One monitor in the table.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// Its name.
    pub name: String,
    /// The sort of check.
    pub kind: &'static str,
    /// The target as written.
    pub target: String,
    /// What is held to be true.
    pub verdict: Verdict,
    /// Since when, in milliseconds since the Unix epoch; 0 for never.
    pub since_ms: u64,
    /// How long the last check took, in microseconds.
    pub last_us: Option<u32>,
    /// The message of the last check.
    pub message: String,
}

/// One change of verdict.
#[derive(Clone, Debug)]
pub struct LiveChange {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whose.
    pub name: String,
    /// The sort of check.
    pub kind: &'static str,
    /// After.
    pub to: Verdict,
    /// The message of the check that decided.
    pub message: String,
}

/// Why the live view ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user asked to stop.
    ByUser,
    /// The feed ended: the engine stops for another reason.
    ByEngine,
}

/// Shows the table on the terminal until the user or the feed ends it.
///
/// # Errors
///
/// The terminal cannot be set up, drawn on or read from. It is given back before the return.
pub fn run(views: &Receiver<LiveView>) -> io::Result<Ended> {
    // Sets a panic hook too, which gives the terminal back before the message is printed.
    let mut terminal = ratatui::try_init()?;
    let ended = show(&mut terminal, views);
    let restored = ratatui::try_restore();
    let ended = ended?;
    restored?;
    Ok(ended)
}

/// Gives the terminal back: for those who end the process without a return from [`run`].
pub fn restore_terminal() {
    ratatui::restore();
}

fn show(terminal: &mut ratatui::DefaultTerminal, views: &Receiver<LiveView>) -> io::Result<Ended> {
    let mut view = LiveView::default();
    let mut scroll = Scroll::default();
    loop {
        match newest(views) {
            Ok(Some(new)) => view = new,
            Ok(None) => {}
            Err(ended) => return Ok(ended),
        }
        let height = terminal.size()?.height.saturating_sub(LINES_AROUND);
        scroll.clamp(view.rows.len(), usize::from(height));
        terminal.draw(|frame| draw(&view, scroll.top, frame))?;
        if event::poll(KEY_WAIT)?
            && let Event::Key(key) = event::read()?
            && scroll.on_key(key, usize::from(height))
        {
            return Ok(Ended::ByUser);
        }
    }
}

/// The newest view that has come, if any; those before it are out of date.
fn newest(views: &Receiver<LiveView>) -> Result<Option<LiveView>, Ended> {
    let mut newest = None;
    loop {
        match views.try_recv() {
            Ok(view) => newest = Some(view),
            Err(TryRecvError::Empty) => return Ok(newest),
            Err(TryRecvError::Disconnected) => return Err(Ended::ByEngine),
        }
    }
}

/// The first row that is shown.
#[derive(Clone, Copy, Debug, Default)]
struct Scroll {
    top: usize,
}

impl Scroll {
    /// Moves by a key; true where the key asks to stop. In raw mode Ctrl-C is a key like others.
    fn on_key(&mut self, key: KeyEvent, page: usize) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Down | KeyCode::Char('j') => self.top = self.top.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top = self.top.saturating_add(page),
            KeyCode::PageUp => self.top = self.top.saturating_sub(page),
            KeyCode::Home => self.top = 0,
            KeyCode::End => self.top = usize::MAX,
            _ => {}
        }
        false
    }

    /// Keeps the last page full.
    fn clamp(&mut self, rows: usize, page: usize) {
        self.top = self.top.min(rows.saturating_sub(page));
    }
}

/// Draws the view, the table from row `top` on.
pub fn draw(view: &LiveView, top: usize, frame: &mut Frame) {
    let [head, table, help] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(view)), head);
    draw_table(view, top, None, frame, table);

    let last = view.rows.len().min(top + usize::from(table.height.saturating_sub(1)));
    let shown = format!("{}–{last} of {}", (top + 1).min(last), view.rows.len());
    let keys = Line::from(" q stop   ↑↓ PgUp PgDn scroll".dim());
    frame.render_widget(Paragraph::new(keys), help);
    let position = Paragraph::new(shown.dim()).alignment(Alignment::Right);
    frame.render_widget(position, help);
}

pub(super) fn head_lines(view: &LiveView) -> Vec<Line<'_>> {
    let monitors: u64 = view.verdicts.iter().sum();
    let up_for = age_ms(view.now_ms.saturating_sub(view.started_ms));
    let mut first = vec![
        Span::from(" engine ").bold(),
        Span::from(format!("{up_for}   {monitors} monitors   ")),
    ];
    for (verdict, count) in Verdict::ALL.into_iter().zip(view.verdicts) {
        if count > 0 || matches!(verdict, Verdict::Up | Verdict::Down) {
            let text = format!("{} {count}   ", verdict.name().to_uppercase());
            first.push(Span::styled(text, term_style(verdict)));
        }
    }
    let second = format!(
        " {:.1} checks/s   {} in flight   lag p99 {}   {} missed   {}",
        view.checks_per_s,
        view.in_flight,
        duration_us(view.lag_p99_us),
        view.missed,
        printable(&view.listen),
    );
    vec![Line::from(first), Line::from(second)]
}

/// Draws the table of monitors from row `top` on, with one of them marked.
pub(super) fn draw_table(
    view: &LiveView,
    top: usize,
    selected: Option<usize>,
    frame: &mut Frame,
    area: Rect,
) {
    let title_style = TermStyle::new().add_modifier(Modifier::DIM | Modifier::UNDERLINED);
    let [last, since] =
        ["LAST", "SINCE"].map(|title| Cell::from(Line::from(title).right_aligned()));
    let titles = [" VERDICT", "NAME", "TYPE", "TARGET"].map(Cell::from).into_iter();
    let titles = titles.chain([last, since, Cell::from("MESSAGE")]);

    let visible: Vec<&LiveRow> = view.rows.iter().skip(top).take(area.height.into()).collect();
    let widest_kind = visible.iter().map(|row| row.kind.len()).max().unwrap_or(0).max(4);
    let rows = visible.into_iter().enumerate().map(|(at, row)| {
        let row = table_row(row, view.now_ms);
        if selected == Some(top + at) { row.style(TermStyle::new().reversed()) } else { row }
    });
    let columns = [
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Length(u16::try_from(widest_kind).unwrap_or(u16::MAX)),
        Constraint::Fill(4),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Fill(5),
    ];
    let table = Table::new(rows, columns).header(Row::new(titles).style(title_style));
    frame.render_widget(table, area);
}

fn table_row(row: &LiveRow, now_ms: u64) -> Row<'_> {
    let since = match row.since_ms {
        0 => "–".to_owned(),
        since_ms => age_ms(now_ms.saturating_sub(since_ms)),
    };
    let last = row.last_us.map_or_else(|| "–".to_owned(), duration_us);
    Row::new([
        Cell::from(format!(" {}", row.verdict.name().to_uppercase()))
            .style(term_style(row.verdict)),
        Cell::from(printable(&row.name)),
        Cell::from(row.kind),
        Cell::from(printable(&row.target)),
        Cell::from(Line::from(last).right_aligned()),
        Cell::from(Line::from(since).right_aligned()),
        Cell::from(printable(&row.message)),
    ])
}

fn term_style(verdict: Verdict) -> TermStyle {
    match verdict_color(verdict) {
        Color::Green => TermStyle::new().fg(TermColor::Green),
        Color::Red => TermStyle::new().fg(TermColor::Red).add_modifier(Modifier::BOLD),
        Color::Yellow => TermStyle::new().fg(TermColor::Yellow),
        Color::Cyan => TermStyle::new().fg(TermColor::Cyan),
        Color::Dim => TermStyle::new().add_modifier(Modifier::DIM),
        Color::Bold => TermStyle::new().add_modifier(Modifier::BOLD),
    }
}

/// Writes a line per change of verdict and a summary every ten seconds, until the feed ends or
/// `stop` is true, which is asked after each view and while none comes.
///
/// # Errors
///
/// The error of writing, a closed pipe among them.
pub fn run_plain(
    views: &Receiver<LiveView>,
    out: &mut impl Write,
    style: &Style,
    mut stop: impl FnMut() -> bool,
) -> io::Result<Ended> {
    let mut lines = PlainLines::default();
    loop {
        match views.recv_timeout(KEY_WAIT) {
            Ok(view) => {
                out.write_all(lines.of(&view, style).as_bytes())?;
                out.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::ByEngine),
        }
        if stop() {
            return Ok(Ended::ByUser);
        }
    }
}

/// What was written last.
#[derive(Debug, Default)]
struct PlainLines {
    summary_ms: u64,
}

impl PlainLines {
    /// The lines for a view: none where nothing changed and no summary is due.
    fn of(&mut self, view: &LiveView, style: &Style) -> String {
        let mut out = String::new();
        for change in &view.changes {
            let time = style.time_of_day(change.at_ms);
            let blanks = " ".repeat(7_usize.saturating_sub(change.to.name().len()));
            let verdict = style.verdict(change.to);
            let (name, message) = (printable(&change.name), printable(&change.message));
            out.push_str(&format!(
                "{time}  {verdict}{blanks}  {name}  {}  {message}\n",
                change.kind
            ));
        }
        if view.now_ms.saturating_sub(self.summary_ms) >= SUMMARY_MS {
            self.summary_ms = view.now_ms;
            let line = summary(view, style);
            out.push_str(&style.paint(Color::Dim, &line));
            out.push('\n');
        }
        out
    }
}

pub(super) fn summary(view: &LiveView, style: &Style) -> String {
    let counts = Verdict::ALL.into_iter().zip(view.verdicts).filter(|(_, count)| *count > 0);
    let counts: Vec<String> =
        counts.map(|(verdict, count)| format!("{} {count}", verdict.name())).collect();
    format!(
        "{}  {}  {:.1} checks/s  {} in flight  lag p99 {}  {} missed",
        style.time_of_day(view.now_ms),
        if counts.is_empty() { "no monitors".to_owned() } else { counts.join(", ") },
        view.checks_per_s,
        view.in_flight,
        duration_us(view.lag_p99_us),
        view.missed,
    )
}

#[cfg(test)]
mod tests;

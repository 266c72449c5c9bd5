//! Tables with aligned columns that fit the terminal.
//!
//! Owns: widths and cutting. Knows nothing of what the cells mean.

use crate::cli::style::{Color, Style, cut, printable, width};

/// Blanks between two columns.
const GAP: &str = "  ";
/// A column is not made narrower than this, in columns of the terminal.
const SHRUNK_MIN: usize = 8;

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    right: bool,
    shrinks: bool,
}

impl Column {
    /// Starts at the left.
    pub const fn left(title: &'static str) -> Column {
        Column { title, right: false, shrinks: false }
    }

    /// Ends at the right: numbers.
    pub const fn right(title: &'static str) -> Column {
        Column { title, right: true, shrinks: false }
    }

    /// Starts at the left and is cut where the terminal is too narrow.
    pub const fn shrinking(title: &'static str) -> Column {
        Column { title, right: false, shrinks: true }
    }
}

/// One cell: its text, and its colour if it has any.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    color: Option<Color>,
}

impl Cell {
    /// A cell in a colour.
    pub fn colored(text: impl Into<String>, color: Color) -> Cell {
        Cell { text: text.into(), color: Some(color) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), color: None }
    }
}

/// The table as text, a title line first, each line ended. Cells are made printable here. Rows with
/// fewer cells than columns are filled up; further cells are left out.
pub fn render(columns: &[Column], rows: &[Vec<Cell>], style: &Style) -> String {
    let titles = columns.iter().map(|column| Cell::colored(column.title, Color::Dim));
    let rows: Vec<Vec<Cell>> =
        std::iter::once(titles.collect()).chain(rows.iter().map(|row| clean(row))).collect();
    let widths = widths(columns, &rows, style.width);

    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, (column, wanted)) in columns.iter().zip(&widths).enumerate() {
            if at > 0 {
                line.push_str(GAP);
            }
            let Some(cell) = row.get(at) else { break };
            let text = cut(&cell.text, *wanted);
            let blanks = " ".repeat(wanted.saturating_sub(width(&text)));
            let shown = match cell.color {
                Some(color) => style.paint(color, &text),
                None => text.into_owned(),
            };
            let (first, second) = if column.right { (&blanks, &shown) } else { (&shown, &blanks) };
            line.push_str(first);
            line.push_str(second);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn clean(row: &[Cell]) -> Vec<Cell> {
    let clean = |cell: &Cell| Cell { text: printable(&cell.text).into_owned(), ..cell.clone() };
    row.iter().map(clean).collect()
}

/// The width of each column: its widest cell, and less for shrinking ones, the widest first, until
/// a line fits.
fn widths(columns: &[Column], rows: &[Vec<Cell>], limit: Option<usize>) -> Vec<usize> {
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| width(&cell.text)).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    let Some(limit) = limit else { return widths };

    while widths.iter().sum::<usize>() + gaps > limit {
        let shrinking = columns.iter().zip(&mut widths).filter(|(column, _)| column.shrinks);
        let Some(widest) = shrinking.map(|(_, width)| width).max_by_key(|width| **width) else {
            break;
        };
        if *widest <= SHRUNK_MIN {
            break;
        }
        *widest -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::shrinking("NAME"), Column::right("LAST"), Column::shrinking("MESSAGE")];

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["shop".into(), "41.2 ms".into(), "200 OK".into()],
            vec!["日本".into(), "1 s".into(), "a message that is quite a bit longer".into()],
        ]
    }

    #[test]
    fn columns_are_aligned_by_width_on_the_terminal() {
        let table = render(&COLUMNS, &rows(), &Style::plain());
        let wanted = "\
NAME     LAST  MESSAGE
shop  41.2 ms  200 OK
日本      1 s  a message that is quite a bit longer
";
        assert_eq!(table, wanted);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_shrinking_column() {
        let style = Style { width: Some(30), ..Style::plain() };
        let table = render(&COLUMNS, &rows(), &style);
        assert!(table.ends_with("日本      1 s  a message that…\n"), "{table}");
        for line in table.lines() {
            assert!(width(line) <= 30, "{line}");
        }
        let style = Style { width: Some(1), ..Style::plain() };
        assert!(render(&COLUMNS, &rows(), &style).contains("a messa…"));
    }

    #[test]
    fn colours_do_not_change_the_alignment() {
        let style = Style { color: true, ..Style::plain() };
        let rows = [vec![Cell::colored("UP", Color::Green), "1".into()]];
        let columns = [Column::left("VERDICT"), Column::left("N")];
        let table = render(&columns, &rows, &style);
        assert!(table.ends_with("\x1b[32mUP\x1b[0m       1\n"), "{table:?}");
    }

    #[test]
    fn a_cell_with_an_escape_sequence_is_shown_harmless() {
        let table = render(&COLUMNS, &[vec!["\x1b[31m\nx".into()]], &Style::plain());
        assert_eq!(table, "NAME     LAST  MESSAGE\n·[31m·x\n");
    }
}

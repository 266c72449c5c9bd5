//! `engine config`: every setting, its value and where it came from.
//!
//! Owns: the table. Leaves to others: settling ([`super::settle`]).

use serde_json::json;

use crate::cli::args::ConfigArgs;
use crate::cli::settle::{Layers, Refusal, Row, failed, unfit};
use crate::cli::style::Style;
use crate::cli::table::{self, Cell, Column};
use crate::cli::{exit, json as pretty};
use crate::config::Loaded;
use crate::monitor::row::Interner;
use crate::placement;

/// Prints the settings; returns the exit code.
pub fn run(args: &ConfigArgs, style: &Style) -> u8 {
    match text(args, style) {
        Ok(text) => {
            println!("{}", text.trim_end());
            exit::OK
        }
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

fn text(args: &ConfigArgs, style: &Style) -> Result<String, Refusal> {
    let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
    let layers = Layers::read(&args.start, allowed)?;
    let file = match layers.config() {
        Some(path) => Loaded::read(&path, &mut Interner::default()).map_err(unfit)?.settings,
        None => Default::default(),
    };
    let settled = layers.settle(&file)?;
    for note in &settled.notes {
        eprintln!("note: {note}");
    }
    if args.json {
        let rows = settled.rows.iter().map(|Row { setting, value, from }| {
            json!({ "setting": setting, "value": value, "from": from.to_string() })
        });
        return pretty(&rows.collect::<Vec<_>>()).map_err(failed);
    }
    Ok(render(&settled.rows, style))
}

fn render(rows: &[Row], style: &Style) -> String {
    let columns = [Column::left("SETTING"), Column::shrinking("VALUE"), Column::shrinking("FROM")];
    let cells = |row: &Row| -> Vec<Cell> {
        vec![row.setting.into(), row.value.as_str().into(), row.from.to_string().into()]
    };
    table::render(&columns, &rows.iter().map(cells).collect::<Vec<_>>(), style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settle::Source;

    #[test]
    fn a_setting_is_shown_with_where_it_came_from() {
        let row = |setting, value: &str, from| Row { setting, value: value.into(), from };
        let rows = [
            row("cores", "2", Source::Flag("cores")),
            row("listen", "127.0.0.1:5005", Source::Default),
        ];
        let wanted = "\
SETTING  VALUE           FROM
cores    2               --cores
listen   127.0.0.1:5005  default
";
        assert_eq!(render(&rows, &Style::plain()), wanted);
    }
}

//! `engine tail`: the results of a running engine as they are recorded.
//!
//! Owns: the lines. Reads a stream that the engine bounds: whoever reads too slowly is told what
//! was left out.

use std::io::{self, BufRead, Write};

use serde_json::Value;

use crate::cli::args::TailArgs;
use crate::cli::exit;
use crate::cli::remote::Remote;
use crate::cli::settle::{Refusal, failed};
use crate::cli::style::{Color, Style, duration_us, printable, verdict_color};
use crate::sample::Verdict;

/// Follows the results until the engine, the reader or `--count` ends it; returns the exit code.
pub fn run(args: &TailArgs, style: &Style) -> u8 {
    match follow(args, style) {
        Ok(()) => exit::OK,
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

fn follow(args: &TailArgs, style: &Style) -> Result<(), Refusal> {
    let lines = Remote::of(&(&args.remote).into())?.open("GET", &path(args))?;
    let mut out = io::stdout().lock();
    let mut left = args.count.unwrap_or(u64::MAX);
    for line in lines.lines() {
        let line = line.map_err(|error| failed(format!("the engine has gone: {error}")))?;
        if line.is_empty() {
            continue; // It says that it is there.
        }
        let value: Value = serde_json::from_str(&line)
            .map_err(|_| failed("the answer is not this engine's: it is no JSON"))?;
        let shown = if args.json { line } else { shown(&value, style) };
        let written = writeln!(out, "{shown}").and_then(|()| out.flush());
        match written {
            Ok(()) => {}
            // Whoever read has enough, as `head` has.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        left -= 1;
        if left == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn path(args: &TailArgs) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if args.changes {
        query.append_pair("changes", "true");
    }
    if let Some(tag) = &args.tag {
        query.append_pair("tag", tag);
    }
    if let Some(kind) = args.kind {
        query.append_pair("type", kind.name());
    }
    if let Some(verdict) = args.verdict {
        query.append_pair("verdict", verdict.name());
    }
    format!("/api/v1/tail?{}", query.finish())
}

/// One line for people.
fn shown(line: &Value, style: &Style) -> String {
    if let Some(batches) = line["dropped_batches"].as_u64() {
        let text = format!("{batches} batches of results were left out: this was read too slowly");
        return style.paint(Color::Yellow, &text);
    }
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let time = style.time_of_day(line["at_ms"].as_u64().or(line["due_ms"].as_u64()).unwrap_or(0));
    let name = match line["name"].as_str() {
        Some(name) => printable(name).into_owned(),
        None => format!("monitor {}", line["monitor"]),
    };
    let word = if text("to").is_empty() { text("verdict") } else { text("to") };
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.name() == word);
    let padded = format!("{:<7}", word.to_uppercase());
    let painted =
        verdict.map_or(padded.clone(), |verdict| style.paint(verdict_color(verdict), &padded));
    let took = line["total_us"].as_u64().map_or_else(
        || format!("from {}", text("from")),
        |micros| duration_us(u32::try_from(micros).unwrap_or(u32::MAX)),
    );
    let why = match line["message"].as_str() {
        Some(message) => printable(message).into_owned(),
        None => text("result").to_owned(),
    };
    format!("{time}  {painted}  {took:>10}  {name}  {}  {why}", text("type"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_a_change_and_a_loss_are_one_line_each() {
        let style = Style::plain();
        let result = json!({
            "due_ms": 1_795_444_849_000_u64, "monitor": 3, "name": "shop\u{1b}", "type": "tcp",
            "verdict": "up", "result": "ok", "total_us": 4_100, "message": null,
        });
        assert_eq!(shown(&result, &style), "14:40:49  UP          4.10 ms  shop·  tcp  ok");
        let change = json!({
            "at_ms": 1_795_444_849_000_u64, "monitor": 3, "name": null, "type": null,
            "from": "up", "to": "down", "result": "timeout", "message": "no answer",
        });
        let wanted = "14:40:49  DOWN        from up  monitor 3    no answer";
        assert_eq!(shown(&change, &style), wanted);
        assert!(shown(&json!({"dropped_batches": 7}), &style).starts_with("7 batches"));
    }

    #[test]
    fn the_wishes_are_in_the_address() {
        let args = TailArgs {
            changes: true,
            tag: Some("a&b".into()),
            verdict: Some(Verdict::Down),
            ..TailArgs::default()
        };
        assert_eq!(path(&args), "/api/v1/tail?changes=true&tag=a%26b&verdict=down");
    }
}

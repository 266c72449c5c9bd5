//! `engine test` and `engine performance`: real checks without schedule and without store.
//!
//! Owns: the rounds and their lines, in the form of the original service. The checks themselves
//! are the engine's own: the same rows, the same driver.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value;

use crate::attempt::Attempt;
use crate::cli::args::StartArgs;
use crate::cli::check;
use crate::cli::check_report;
use crate::cli::exit;
use crate::cli::origin::{self, Found, Origin};
use crate::cli::settle::{Layers, Refusal, Settled, failed, unfit};
use crate::cli::style::Style;
use crate::clock::wall_millis;
use crate::feed::once::{self, Enabled};
use crate::ids::MonitorId;
use crate::limits::PERFORMANCE_ROUND_MAX;
use crate::monitor::Monitor;
use crate::monitor::message::{Told, attempt_message, details_json, message};
use crate::monitor::row::{Checked, Interner};
use crate::net::trust::Trust;
use crate::pg::PgOptions;
use crate::placement;
use crate::preflight;
use crate::sample::CheckResult;

/// Checks the first enabled monitor, with its retries; returns the exit code.
pub fn test(args: &StartArgs, style: &Style) -> u8 {
    ended(one_check(args, style))
}

/// Checks more and more monitors at once; returns the exit code.
pub fn performance(args: &StartArgs) -> u8 {
    ended(rounds(args))
}

fn ended(result: Result<(), Refusal>) -> u8 {
    match result {
        Ok(()) => exit::OK,
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

/// The enabled monitors of a start with these settings, and the roots that they trust.
fn enabled(args: &StartArgs) -> Result<(Vec<Checked>, Trust), Refusal> {
    let mut interner = Interner::default();
    let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
    let found = origin::find(args, Layers::read(args, allowed)?, &mut interner)?;
    let Found { origin, mut loaded, settled, .. } = found;
    settled.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let enabled = match &origin {
        Origin::Table(database) => of_table(database, &settled)?,
        Origin::File(_) | Origin::Demo(..) => {
            settled.choose(&mut loaded, &mut interner);
            loaded.problems().iter().for_each(|problem| eprintln!("note: {problem}"));
            let good = loaded.monitors.into_iter().filter_map(|entry| Some(*entry.checked.ok()?));
            good.filter(|checked| !checked.paused).collect()
        }
    };
    if enabled.is_empty() {
        let place = settled.config.map(|path| path.display().to_string());
        let place = place.unwrap_or_else(|| settled.database.to_string());
        return Err(failed(format!("{place}: no monitor is enabled")));
    }
    preflight::raise_descriptor_limit().map_err(failed)?;
    Ok((enabled, Trust::of(settled.roots.as_deref()).map_err(unfit)?))
}

fn of_table(database: &PgOptions, settled: &Settled) -> Result<Vec<Checked>, Refusal> {
    let found = once::enabled(database, &settled.row_defaults, settled.selection.end());
    let Enabled { mut monitors, problems } = found.map_err(failed)?;
    for (id, problem) in problems {
        eprintln!("note: monitor {id}: {problem}");
    }
    settled.selection.apply(&mut monitors);
    Ok(monitors)
}

fn one_check(args: &StartArgs, style: &Style) -> Result<(), Refusal> {
    let (mut enabled, trust) = enabled(args)?;
    let checked = enabled.swap_remove(0);
    let target = checked.about.target.clone();
    println!("🧪 Testing monitor: {} ({target})", checked.about.name);
    let monitor = checked.monitor(MonitorId(1));
    let mut earlier: Vec<Box<str>> = Vec::new();
    loop {
        let attempt = attempts(std::slice::from_ref(&monitor), &trust)?
            .pop()
            .ok_or_else(|| failed("the check was not run"))?;
        let number = earlier.len().saturating_add(1).min(usize::from(u8::MAX)) as u8;
        let wall_s = (wall_millis() / 1_000) as i64;
        let told = Told::of(&monitor, &attempt, number, &earlier, wall_s);
        let over = matches!(attempt.result, CheckResult::Up)
            || earlier.len() >= usize::from(monitor.timing.retries);
        if over {
            println!("🏁 Test result: {}", result_text(&told, attempt.total_us));
            let mut report = check::report(&target, &monitor, &attempt);
            report.attempts = told.attempts;
            report.message = message(&told);
            print!("{}", check_report::render(&report, style));
            return Ok(());
        }
        let text = attempt_message(&told).into_boxed_str();
        println!("   attempt {} failed: {text}", told.attempts);
        earlier.push(text);
        std::thread::sleep(Duration::from_millis(monitor.timing.retry_delay_ms.into()));
    }
}

fn attempts(monitors: &[Monitor], trust: &Trust) -> Result<Vec<Attempt>, Refusal> {
    check::attempts(monitors, trust.clone())
        .map_err(|(code, text)| Refusal { code, text: format!("error: {text}") })
}

/// The result as the original prints it: a Python dictionary.
fn result_text(told: &Told<'_>, total_us: u32) -> String {
    let good = told.result == CheckResult::Up;
    let time = if good { millis(total_us) } else { "None".to_owned() };
    format!(
        "{{'success': {}, 'response_time': {time}, 'message': {}, 'details': {}}}",
        python(&Value::Bool(good)),
        python(&Value::String(message(told))),
        python(&details_json(told))
    )
}

fn millis(micros: u32) -> String {
    format!("{:.3}", f64::from(micros) / 1_000.0)
}

/// A value as Python prints it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let escaped: String = text.chars().map(python_char).collect();
            format!("'{escaped}'")
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(python).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let key = |key: &String| python(&Value::String(key.clone()));
            let pairs: Vec<_> = map
                .iter()
                .map(|(name, value)| format!("{}: {}", key(name), python(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn python_char(character: char) -> String {
    match character {
        '\'' | '\\' => format!("\\{character}"),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        control if control.is_control() => format!("\\x{:02x}", u32::from(control)),
        other => other.to_string(),
    }
}

/// Sizes of the rounds: the original's, then on in the same steps, at most `monitors` each. Where
/// there are fewer than the first, one round with all.
fn sizes(monitors: usize) -> Vec<usize> {
    let further =
        (1..).map(|power| 10_usize.pow(power)).flat_map(|tens| [tens, 3 * tens, 5 * tens]);
    let bound = monitors.min(PERFORMANCE_ROUND_MAX);
    let sizes = further.skip_while(|size| *size < 100).take_while(|size| *size <= bound);
    let sizes: Vec<usize> = sizes.collect();
    if sizes.is_empty() { vec![monitors] } else { sizes }
}

fn rounds(args: &StartArgs) -> Result<(), Refusal> {
    let (enabled, trust) = enabled(args)?;
    let monitors: Vec<_> =
        enabled.into_iter().zip(1..).map(|(checked, id)| checked.monitor(MonitorId(id))).collect();
    println!("🚀 Performance test: {} enabled monitors, nothing is written", monitors.len());
    for size in sizes(monitors.len()) {
        let (start, cpu) = (Instant::now(), cpu_us());
        let found = attempts(&monitors[..size], &trust)?;
        let round = Round {
            checks: found.len(),
            good: found.iter().filter(|attempt| attempt.result == CheckResult::Up).count(),
            wall: start.elapsed(),
            cpu_us: cpu_us().saturating_sub(cpu),
        };
        print!("{}", round.text());
    }
    Ok(())
}

struct Round {
    checks: usize,
    good: usize,
    wall: Duration,
    cpu_us: u64,
}

impl Round {
    fn text(&self) -> String {
        let checks = self.checks.max(1) as f64;
        let seconds = self.wall.as_secs_f64().max(f64::EPSILON);
        let mut text = format!("\n📊 {} checks at once:\n", self.checks);
        let _ = writeln!(text, "   Total checks: {}", self.checks);
        let _ = writeln!(text, "   Success rate: {:.1}%", 100.0 * self.good as f64 / checks);
        let _ = writeln!(text, "   Total time: {seconds:.2}s");
        let _ = writeln!(text, "   Checks/sec: {:.1}", checks / seconds);
        let _ = writeln!(text, "   CPU per check: {:.0}µs", self.cpu_us as f64 / checks);
        text
    }
}

/// CPU time of this process, in microseconds (getrusage(2)).
fn cpu_us() -> u64 {
    let micros = |time: TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0, |usage| micros(usage.user_time()) + micros(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rounds_go_on_as_far_as_there_are_monitors() {
        assert_eq!(sizes(7), [7]);
        assert_eq!(sizes(100), [100]);
        assert_eq!(sizes(999), [100, 300, 500]);
        assert_eq!(sizes(6_000), [100, 300, 500, 1_000, 3_000, 5_000]);
        assert_eq!(sizes(usize::MAX).last(), Some(&PERFORMANCE_ROUND_MAX));
    }

    #[test]
    fn a_round_has_the_lines_of_the_original() {
        let round =
            Round { checks: 200, good: 199, wall: Duration::from_millis(500), cpu_us: 20_000 };
        let wanted = "
📊 200 checks at once:
   Total checks: 200
   Success rate: 99.5%
   Total time: 0.50s
   Checks/sec: 400.0
   CPU per check: 100µs
";
        assert_eq!(round.text(), wanted);
    }

    #[test]
    fn a_result_is_written_as_python_does() {
        let value = json!({"a": [null, true, 1.5], "b": "it's\n\u{1b}"});
        assert_eq!(python(&value), r"{'a': [None, True, 1.5], 'b': 'it\'s\n\x1b'}");
    }
}

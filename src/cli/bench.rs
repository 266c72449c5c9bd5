//! `engine bench`: what is asked to be measured, how far it is, and what was found.
//!
//! Owns: the settled plan, the line of progress, the summary and the files. The farm's command is
//! here too: the same binary serves the targets.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use crate::bench::limit::{self, Search, Trial};
use crate::bench::machine::Machine;
use crate::bench::plot::short;
use crate::bench::report::Report;
use crate::bench::{self, Plan, Stage, html};
use crate::cli::args_bench::{BenchArgs, BenchFarmArgs};
use crate::cli::style::{Color, Style};
use crate::cli::{exit, json};
use crate::farm::wide::WideFarm;
use crate::preflight;

/// Length of each of the two measurements of the reference.
const REFERENCE: Duration = Duration::from_secs(8);
/// The same with `--quick`.
const REFERENCE_QUICK: Duration = Duration::from_secs(5);
/// Columns of the bar.
const BAR: usize = 24;

/// Runs what is asked; returns the exit code.
pub fn run(args: &BenchArgs, style: &Style) -> u8 {
    let done = match plan(args) {
        Ok(plan) if args.find_limit => find_limit(args, &plan),
        Ok(plan) if !args.sweep.is_empty() => sweep(args, &plan),
        Ok(plan) => measure(args, &plan, style),
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => exit::OK,
        Err(problem) => {
            eprintln!("error: {problem}");
            exit::DOWN
        }
    }
}

/// Serves the targets until standard input ends; returns the exit code.
pub fn serve_targets(args: &BenchFarmArgs) -> u8 {
    let served = || -> io::Result<()> {
        if let Some(cpu) = args.cpu {
            let mut cpus = CpuSet::new();
            cpus.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &cpus)?;
        }
        preflight::raise_descriptor_limit()?;
        let farm = WideFarm::open()?;
        println!("{}", serde_json::to_string(farm.places())?);
        farm.serve(File::from(io::stdin().as_fd().try_clone_to_owned()?))
    };
    match served() {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("error: the targets of the bench: {error}");
            exit::DOWN
        }
    }
}

fn plan(args: &BenchArgs) -> Result<Plan, String> {
    let quick = args.quick;
    let seconds = Duration::from_secs;
    let interval = args.interval.unwrap_or(seconds(if quick { 10 } else { 60 }));
    if interval < seconds(1) {
        return Err("--interval: 1s is the shortest".to_owned());
    }
    let reference = match (args.no_reference, quick) {
        (true, _) => Duration::ZERO,
        (false, true) => REFERENCE_QUICK,
        (false, false) => REFERENCE,
    };
    let own_folder = || std::env::temp_dir().join(format!("engine-bench-{}", std::process::id()));
    Ok(Plan {
        mix: args.mix,
        monitors: args.monitors.unwrap_or(if quick { 20_000 } else { 100_000 }) as usize,
        interval,
        timeout: args.timeout.unwrap_or(seconds(5).min(interval / 2)),
        warmup: args.warmup.unwrap_or(interval + seconds(5)),
        duration: args.duration.unwrap_or(seconds(if quick { 30 } else { 60 })),
        cores: args.cores.map(usize::from),
        data_dir: args.data_dir.clone().unwrap_or_else(own_folder),
        database: args.database_url.clone().unwrap_or_default(),
        program: std::env::current_exe().map_err(|error| error.to_string())?,
        reference,
    })
}

fn measure(args: &BenchArgs, plan: &Plan, style: &Style) -> Result<(), String> {
    let mut progress = Progress::new();
    let report = bench::run(plan, |stage, part| progress.at(plan, stage, part));
    progress.end();
    let report = report.map_err(|error| error.to_string())?;
    if !is_stdout(args.json.as_deref()) {
        print!("{}", summary(&report, style));
    }
    save(args, &report, || html::page(&report))
}

fn find_limit(args: &BenchArgs, plan: &Plan) -> Result<(), String> {
    let machine = Machine::look();
    let told = |monitors: usize, trials: &[Trial]| {
        trials.last().inspect(|trial| eprintln!("{}", trial_line(trial)));
        eprintln!("{} monitors …", short(monitors as f64));
    };
    let found = limit::find_limit(plan, args.lag_max, told).map_err(|error| error.to_string())?;
    found.trials.last().inspect(|trial| eprintln!("{}", trial_line(trial)));
    if !is_stdout(args.json.as_deref()) {
        print!("{}", limit_summary(&found));
    }
    save(args, &found, || html::search_page(plan.mix.name(), &found, &machine))
}

fn sweep(args: &BenchArgs, plan: &Plan) -> Result<(), String> {
    let machine = Machine::look();
    let counts: Vec<usize> = args.sweep.iter().map(|count| *count as usize).collect();
    let told = |monitors: usize, _: &[Trial]| eprintln!("{} monitors …", short(monitors as f64));
    let trials = limit::sweep(plan, &counts, told).map_err(|error| error.to_string())?;
    if !is_stdout(args.json.as_deref()) {
        trials.iter().for_each(|trial| println!("{}", trial_line(trial)));
    }
    save(args, &trials, || html::sweep_page(plan.mix.name(), &trials, &machine))
}

fn is_stdout(path: Option<&Path>) -> bool {
    path == Some(Path::new("-"))
}

fn save(
    args: &BenchArgs,
    figures: &impl Serialize,
    page: impl FnOnce() -> String,
) -> Result<(), String> {
    let write = |path: &PathBuf, text: String| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &args.json {
        let text = json(figures).map_err(|error| error.to_string())?;
        if is_stdout(Some(path)) {
            println!("{text}");
        } else {
            write(path, text)?;
        }
    }
    if let Some(path) = &args.html {
        write(path, page())?;
    }
    Ok(())
}

fn trial_line(trial: &Trial) -> String {
    format!(
        "{:>9} monitors every {:>6.1} s: {:>7.0} checks/s, {:>6.1} µs a check, lag p99 {:>7.1} ms, \
         missed {}, unknown {}, {:.0} MB",
        trial.monitors,
        trial.interval_s,
        trial.checks_per_s,
        trial.cpu_us_per_check,
        trial.lag_p99_ms,
        trial.missed,
        trial.unknown,
        trial.rss_bytes as f64 / 1e6
    )
}

fn limit_summary(found: &Search) -> String {
    let holds = found.holds.as_ref().map_or(0, |trial| trial.monitors);
    match (&found.fails, found.ran_out) {
        (Some(fails), Some(ran_out)) => format!(
            "{holds} monitors hold, {} do not.\nWhat ran out first: {ran_out}.\n",
            fails.monitors
        ),
        _ => format!("{holds} monitors hold: the most that a search tries.\n"),
    }
}

/// A line on a terminal: which part is done and how long it still takes.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Progress {
        Progress { terminal: io::stderr().is_terminal() }
    }

    fn at(&mut self, plan: &Plan, stage: Stage, part: f64) {
        if !self.terminal {
            return;
        }
        let seconds = |time: Duration| time.as_secs_f64();
        let stages = [
            (Stage::Before, "reference", seconds(plan.reference)),
            (Stage::Loading, "loading", plan.monitors as f64 * 10e-6),
            (Stage::WarmUp, "warm-up", seconds(plan.warmup)),
            (Stage::Steady, "measuring", seconds(plan.duration)),
            (Stage::After, "reference", seconds(plan.reference)),
        ];
        let all: f64 = stages.iter().map(|stage| stage.2).sum();
        let now = stages.iter().position(|known| known.0 == stage).unwrap_or(0);
        let before: f64 = stages[..now].iter().map(|stage| stage.2).sum();
        let done = before + part.clamp(0.0, 1.0) * stages[now].2;
        let filled = (done / all.max(1e-9) * BAR as f64) as usize;
        let (full, rest) = ("█".repeat(filled), "░".repeat(BAR.saturating_sub(filled)));
        let left = (all - done).ceil().max(0.0);
        eprint!("\r{full}{rest} {:<10} {left:>4.0} s left ", stages[now].1);
        let _ = io::stderr().flush();
    }

    fn end(&mut self) {
        if self.terminal {
            eprint!("\r{:width$}\r", "", width = BAR + 32);
        }
    }
}

/// The summary on standard output.
fn summary(report: &Report, style: &Style) -> String {
    let mut rows = found(report, style);
    rows.extend(used(report));
    rows.iter().map(|(name, text)| format!("{name:<14} {text}\n")).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn reference(r: &Report) -> String {
    match (r.reference_us_per_check, r.ratio_to_reference) {
        (Some(us), Some(ratio)) => format!("{us:.1} µs; ratio {ratio:.2}"),
        _ => "not measured".to_owned(),
    }
}

fn missed(r: &Report, style: &Style) -> String {
    let missed: Vec<String> = r
        .missed_by_reason
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let color = if r.missed == 0 { Color::Green } else { Color::Red };
    match missed.is_empty() {
        true => style.paint(color, "0"),
        false => style.paint(color, &format!("{} ({})", r.missed, missed.join(", "))),
    }
}

/// What was run and found, and what it cost.
fn found(r: &Report, style: &Style) -> Vec<(&'static str, String)> {
    vec![
        (
            "monitors",
            format!("{}, mix {}, every {} s, {} shards", r.monitors, r.mix, r.interval_s, r.shards),
        ),
        (
            "machine",
            format!(
                "{} CPUs ({}), {}, load {:.1} before",
                r.machine.cpus, r.machine.cpu, r.machine.kernel, r.machine.load
            ),
        ),
        (
            "checks",
            format!(
                "{} due, {} started in {:.0} s: {:.0} a second",
                r.due, r.started, r.seconds, r.checks_per_s
            ),
        ),
        ("missed", missed(r, style)),
        (
            "results",
            format!(
                "{} up, {} down ({} of the mix fail), {} unknown; the ledger {}",
                r.up,
                r.down,
                percent(r.failing_share_of_mix),
                r.unknown,
                if r.ledger_balances { "balances" } else { "DOES NOT BALANCE" }
            ),
        ),
        (
            "lag",
            format!(
                "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, latest {:.1} ms",
                r.lag_p50_ms, r.lag_p99_ms, r.lag_p999_ms, r.lag_max_ms
            ),
        ),
        (
            "CPU per check",
            format!(
                "{:.1} µs ({:.1} user, {:.1} kernel); store {:.1} µs; farm {:.1} µs",
                r.cpu_us_per_check,
                r.cpu_user_us_per_check,
                r.cpu_kernel_us_per_check,
                r.store_cpu_us_per_check,
                r.farm_cpu_us_per_check
            ),
        ),
        ("reference", reference(r)),
    ]
}

/// What the run has used.
fn used(r: &Report) -> Vec<(&'static str, String)> {
    vec![
        (
            "busy",
            format!(
                "shards {}, store {}, farm {}, machine {}",
                percent(r.shard_busy),
                percent(r.store_busy),
                percent(r.farm_busy),
                percent(r.machine_busy)
            ),
        ),
        (
            "per check",
            format!(
                "{:.2} allocations, {:.3} waits, {:.3} preemptions",
                r.allocations_per_check, r.waits_per_check, r.preemptions_per_check
            ),
        ),
        (
            "memory",
            format!(
                "{} ({:.0} bytes a monitor), {} at most",
                megabytes(r.rss_bytes),
                r.rss_bytes_per_monitor,
                megabytes(r.rss_bytes_peak)
            ),
        ),
        (
            "store",
            format!(
                "{}: {:.0} results a second, {:.1} bytes each, {:.1} ms a commit, {} in the end",
                r.store,
                r.store_rows_per_s,
                r.store_bytes_per_row,
                r.store_commit_ms,
                megabytes(r.database_bytes)
            ),
        ),
        (
            "held",
            format!(
                "{} of {} probes in flight, {} descriptors, {} in TIME_WAIT at most",
                r.in_flight_max, r.in_flight_allowed, r.descriptors_max, r.time_waits_max
            ),
        ),
        (
            "start",
            format!(
                "{:.2} s to the last monitor, {:.2} s to the first result",
                r.load_s, r.first_result_s
            ),
        ),
    ]
}

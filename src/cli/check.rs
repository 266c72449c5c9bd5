//! `engine check`: from the flags to one attempt per target and its report.

use std::collections::HashSet;
use std::path::Path;

use crate::attempt::Attempt;
use crate::boot::once::check_once;
use crate::cli::args::{CheckArgs, FamilyFlag};
use crate::cli::check_report::{self, CertSummary, CheckReport};
use crate::cli::exit;
use crate::cli::style::Style;
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::monitor::Monitor;
use crate::monitor::message::{Told, message};
use crate::monitor::row::{Interner, MonitorRow, check};
use crate::net::resolve::ResolverConfig;
use crate::net::trust::Trust;
use crate::sample::{CheckResult, Code, Verdict};

/// Checks the targets and prints what came of each; returns the exit code.
pub fn run(args: &CheckArgs, style: &Style) -> u8 {
    match reports(args) {
        Ok(reports) => {
            print(args, &reports, style);
            check_report::exit_code(&reports)
        }
        Err((code, text)) => {
            eprintln!("error: {text}");
            code
        }
    }
}

pub(super) type Refusal = (u8, String);

fn reports(args: &CheckArgs) -> Result<Vec<CheckReport>, Refusal> {
    let mut interner = Interner::default();
    let mut monitors = Vec::new();
    for (target, row) in args.targets.iter().zip(rows(args)) {
        let checked = check(&row, &mut interner).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(|error| format!("{target}: {error}")).collect();
            (exit::USAGE, errors.join("\nerror: "))
        })?;
        monitors.push(checked.monitor(MonitorId(monitors.len() as u64)));
    }
    let trust = Trust::system().map_err(|error| (exit::UNKNOWN, error.to_string()))?;
    let attempts = attempts(&monitors, trust)?;
    let pairs = args.targets.iter().zip(monitors.iter().zip(attempts));
    Ok(pairs.map(|(target, (monitor, attempt))| report(target, monitor, &attempt)).collect())
}

/// Makes one attempt for each monitor, all at once, and returns them in order.
pub(super) fn attempts(monitors: &[Monitor], trust: Trust) -> Result<Vec<Attempt>, Refusal> {
    for monitor in monitors {
        let loaded = trust.load_for(&monitor.spec);
        loaded.map_err(|error| (exit::USAGE, error.to_string()))?;
    }
    let resolver =
        ResolverConfig::from_system(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"))
            .map_err(|error| (exit::UNKNOWN, error.to_string()))?;
    check_once(monitors, trust, resolver).map_err(|error| {
        (exit::UNKNOWN, format!("io_uring: {error}; `engine doctor` says what to change"))
    })
}

/// One row per target. A flag goes to the targets that it fits; one that fits none of them is left
/// to the first, whose check says so.
fn rows(args: &CheckArgs) -> Vec<MonitorRow> {
    let flags = flags(args);
    let bare = |target: &String| {
        let (kind, rest) = args.kind_of(target);
        MonitorRow {
            name: Some(rest.to_string()),
            kind: Some(kind.name().to_string()),
            target: Some(rest.to_string()),
            ..MonitorRow::default()
        }
    };
    let fill = |mut row: MonitorRow| {
        row.fill_from(&flags);
        row
    };
    let mut rows: Vec<_> = args.targets.iter().map(bare).map(fill).collect();
    let used: HashSet<_> = rows.iter().flat_map(MonitorRow::given).collect();
    if flags.given().any(|key| !used.contains(key))
        && let Some(first) = rows.first_mut()
    {
        let MonitorRow { name, kind, target, .. } = std::mem::take(first);
        *first = MonitorRow { name, kind, target, ..flags };
    }
    rows
}

/// What the flags say, without any target.
fn flags(args: &CheckArgs) -> MonitorRow {
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    let family = match args.family {
        FamilyFlag::Any => None,
        FamilyFlag::V4 => Some("v4".to_string()),
        FamilyFlag::V6 => Some("v6".to_string()),
    };
    let statuses: Vec<_> =
        args.statuses.iter().map(|(low, high)| format!("{low}-{high}")).collect();
    MonitorRow {
        timeout: Some(format!("{}ms", args.timeout.as_millis())),
        family,
        contains: texts(&args.contains),
        not_contains: texts(&args.not_contains),
        statuses: texts(&statuses),
        tls_verify: args.insecure.then_some(false),
        ca_file: args.ca_file.as_ref().map(|path| path.display().to_string()),
        server_name: args.server_name.clone(),
        expire_days: args.expire_days.map(u64::from),
        ..MonitorRow::default()
    }
}

pub(super) fn report(target: &str, monitor: &Monitor, attempt: &Attempt) -> CheckReport {
    let now_ms = wall_millis();
    let told = Told::of(monitor, attempt, 1, &[], (now_ms / 1_000) as i64);
    let outcome = &attempt.outcome;
    CheckReport {
        target: target.to_string(),
        kind: monitor.kind.name(),
        verdict: match attempt.result {
            CheckResult::Up => Verdict::Up,
            CheckResult::Down(_) => Verdict::Down,
            CheckResult::Unknown(_) | CheckResult::Missed(_) => Verdict::Unknown,
        },
        code: Code::from(attempt.result).name().to_string(),
        message: message(&told),
        http_status: outcome.http.map(|http| http.status),
        phases: outcome.timings,
        total_us: attempt.total_us,
        address: attempt.address.map(|ip| ip.to_string()),
        cert: outcome.cert.as_deref().and_then(|facts| CertSummary::new(facts, now_ms)),
        attempts: 1,
    }
}

fn print(args: &CheckArgs, reports: &[CheckReport], style: &Style) {
    for report in reports {
        if args.json {
            match check_report::json(report) {
                Ok(json) => println!("{json}"),
                Err(error) => eprintln!("error: {error}"),
            }
        } else if reports.len() == 1 {
            print!("{}", check_report::render(report, style));
        } else {
            println!("{}", check_report::render_line(report, style).trim_end());
        }
    }
}

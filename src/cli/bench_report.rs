//! The summary of a bench as lines on a terminal.
//!
//! Owns: the words. Pure: from the figures to text.

use crate::bench::report::Report;
use crate::cli::style::{Color, Style};

/// A line: its name and its text.
type Row = (&'static str, String);

/// The summary of one run.
pub fn summary(report: &Report, style: &Style) -> String {
    let mut rows = what_ran(report);
    rows.extend(what_came(report, style));
    rows.extend(what_it_cost(report));
    rows.extend(what_it_held(report));
    rows.iter().map(|(name, text)| format!("{name:<14} {text}\n")).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn what_ran(r: &Report) -> Vec<Row> {
    let run =
        format!("{}, mix {}, every {} s, {} shards", r.monitors, r.mix, r.interval_s, r.shards);
    let m = &r.machine;
    let machine = format!("{} CPUs ({}), {}, load {:.1} before", m.cpus, m.cpu, m.kernel, m.load);
    vec![("monitors", run), ("machine", machine)]
}

fn what_came(r: &Report, style: &Style) -> Vec<Row> {
    let reasons = r.missed_by_reason.iter().filter(|(_, count)| **count > 0);
    let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    let missed = match reasons.is_empty() {
        true => style.paint(Color::Green, "0"),
        false => style.paint(Color::Red, &format!("{} ({})", r.missed, reasons.join(", "))),
    };
    let (due, started, seconds, rate) = (r.due, r.started, r.seconds, r.checks_per_s);
    let checks = format!("{due} due, {started} started in {seconds:.0} s: {rate:.0} a second");
    let ledger = if r.ledger_balances { "balances" } else { "DOES NOT BALANCE" };
    let (up, down, unknown, failing) = (r.up, r.down, r.unknown, percent(r.failing_share_of_mix));
    let results = format!(
        "{up} up, {down} down ({failing} of the mix fail), {unknown} unknown; the ledger {ledger}"
    );
    let lag = format!(
        "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, latest {:.1} ms",
        r.lag_p50_ms, r.lag_p99_ms, r.lag_p999_ms, r.lag_max_ms
    );
    vec![("checks", checks), ("missed", missed), ("results", results), ("lag", lag)]
}

fn what_it_cost(r: &Report) -> Vec<Row> {
    let (all, user, kernel) =
        (r.cpu_us_per_check, r.cpu_user_us_per_check, r.cpu_kernel_us_per_check);
    let (store, farm) = (r.store_cpu_us_per_check, r.farm_cpu_us_per_check);
    let cpu = format!(
        "{all:.1} µs ({user:.1} user, {kernel:.1} kernel); store {store:.1} µs; farm {farm:.1} µs"
    );
    let reference = match (r.reference_us_per_check, r.ratio_to_reference) {
        (Some(us), Some(ratio)) => format!("{us:.1} µs; ratio {ratio:.2}"),
        _ => "not measured".to_owned(),
    };
    let busy = [r.shard_busy, r.store_busy, r.farm_busy, r.machine_busy].map(percent);
    let [shards, store, farm, machine] = busy;
    let busy = format!("shards {shards}, store {store}, farm {farm}, machine {machine}");
    let each = format!(
        "{:.2} allocations, {:.3} waits, {:.3} preemptions",
        r.allocations_per_check, r.waits_per_check, r.preemptions_per_check
    );
    vec![("CPU per check", cpu), ("reference", reference), ("busy", busy), ("per check", each)]
}

fn what_it_held(r: &Report) -> Vec<Row> {
    let (now, most) = (megabytes(r.rss_bytes), megabytes(r.rss_bytes_peak));
    let memory = format!("{now} ({:.0} bytes a monitor), {most} at most", r.rss_bytes_per_monitor);
    let store = format!(
        "{:.0} results a second, {:.1} bytes each, {:.1} ms a commit, {} in the end",
        r.store_rows_per_s,
        r.store_bytes_per_row,
        r.store_commit_ms,
        megabytes(r.database_bytes)
    );
    let held = format!(
        "{} of {} probes in flight, {} descriptors, {} in TIME_WAIT at most",
        r.in_flight_max, r.in_flight_allowed, r.descriptors_max, r.time_waits_max
    );
    let (last, first) = (r.load_s, r.first_result_s);
    let start = format!("{last:.2} s to the last monitor, {first:.2} s to the first result");
    vec![("memory", memory), ("store", store), ("held", held), ("start", start)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_told_with_its_reason_and_a_ledger_that_is_wrong_is_shouted() {
        let reasons = [("capacity", 7), ("stall", 0)].into();
        let bad = Report { missed: 7, missed_by_reason: reasons, ..Report::default() };
        let text = summary(&bad, &Style::plain());
        assert!(text.contains("missed         7 (capacity 7)\n"), "{text}");
        assert!(text.contains("DOES NOT BALANCE"), "{text}");
        assert!(text.contains("reference      not measured\n"), "{text}");
        let good = Report {
            ledger_balances: true,
            reference_us_per_check: Some(40.0),
            ratio_to_reference: Some(1.05),
            ..Report::default()
        };
        let text = summary(&good, &Style::plain());
        assert!(text.contains("missed         0\n") && !text.contains("NOT BALANCE"), "{text}");
        assert!(text.contains("40.0 µs; ratio 1.05"), "{text}");
    }
}

//! The report as one page of HTML with plots, without any file beside it.
//!
//! Owns: the page. Pure: from the figures to text. Light and dark as the reader's system is.

use std::fmt::Write;

use crate::bench::limit::{Search, Trial};
use crate::bench::plot::{Line, Plot, Scale, bars, columns, lines, short};
use crate::bench::report::{Report, Second};

const STYLE: &str = "\
:root{--bg:#fbfbf9;--card:#fff;--ink:#1d2430;--soft:#667085;--line:#e6e7e3;--c1:#2563a8;\
--c2:#d9822b;--c3:#2f8f6b;--c4:#a13d63;--good:#2f8f6b;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--bg:#14171c;--card:#1c2027;--ink:#e8eaed;--soft:#98a2b3;\
--line:#2c323c;--c1:#6ea8e8;--c2:#f0a95b;--c3:#5fc39b;--c4:#d97fa3;--good:#5fc39b;--bad:#f2857c}}\
body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--ink);margin:0 auto;\
max-width:1220px;padding:2rem 1.25rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;\
margin:2.2rem 0 .6rem}p{margin:.2rem 0;color:var(--soft)}.cards{display:grid;gap:.8rem;\
grid-template-columns:repeat(4,1fr);margin:1.4rem 0}.card,figure{\
background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.9rem 1rem}\
.card b{display:block;font-size:1.55rem;font-weight:600;font-variant-numeric:tabular-nums}\
.card span{color:var(--soft);font-size:.85rem}.good b{color:var(--good)}.bad b{color:var(--bad)}\
.plots{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(420px,1fr))}\
figure{margin:0}figcaption{font-weight:600;margin-bottom:.4rem}.key{font-weight:400;\
font-size:.85rem;margin-left:.9rem;color:var(--soft)}.key:before{content:'';display:inline-block;\
width:.7rem;height:.7rem;border-radius:2px;margin-right:.35rem;background:currentColor}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;\
fill:var(--soft)}svg .value{font-weight:600;fill:var(--ink)}svg line{stroke:var(--line)}\
polyline{fill:none;stroke-width:2;stroke-linejoin:round}polygon.area{opacity:.13}\
.c1{stroke:var(--c1);fill:var(--c1)}.c2{stroke:var(--c2);fill:var(--c2)}\
.c3{stroke:var(--c3);fill:var(--c3)}.c4{stroke:var(--c4);fill:var(--c4)}rect{stroke:none}\
polyline.c1,polyline.c2,polyline.c3,polyline.c4{fill:none}polygon{stroke:none}\
.key.c1:before{background:var(--c1)}.key.c2:before{background:var(--c2)}\
.key.c3:before{background:var(--c3)}.key.c4:before{background:var(--c4)}\
table{border-collapse:collapse;width:100%;background:var(--card)}td,th{text-align:right;\
padding:.3rem .7rem;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}\
th{font-weight:600}td:first-child,th:first-child{text-align:left}\
@media(max-width:900px){.plots{grid-template-columns:1fr}.cards{grid-template-columns:1fr 1fr}}";

/// The page of one run.
pub fn page(report: &Report) -> String {
    let subject = format!(
        "{} monitors, mix {}, every {} s, {} shard{}",
        short(report.monitors as f64),
        report.mix,
        report.interval_s,
        report.shards,
        if report.shards == 1 { "" } else { "s" }
    );
    let mut html = head(&subject, &report.machine);
    cards(&mut html, report);
    html.push_str("<h2>Second by second</h2><div class=\"plots\">");
    for plot in plots(&report.series) {
        html.push_str(&lines(&plot));
    }
    let lag = &report.lag_histogram;
    html.push_str(&columns("Starts by how late they were", "started minus due, ms", lag));
    html.push_str("</div><h2>In all</h2><div class=\"plots\">");
    html.push_str(&costs(report));
    results(&mut html, report);
    html.push_str("</div>");
    html.push_str("</body></html>\n");
    html
}

/// The page of a sweep.
pub fn sweep_page(mix: &str, trials: &[Trial], machine: &super::machine::Machine) -> String {
    let mut html = head(&format!("cost as work grows, mix {mix}"), machine);
    let points = |value: fn(&Trial) -> f64| {
        trials.iter().map(|trial| (trial.monitors as f64, value(trial))).collect()
    };
    let line = |name, class, value| Line { name, class, points: points(value) };
    let plot = |title, lines| Plot { title, below: "monitors", scale: Scale::Tenfold, lines };
    html.push_str("<h2>At the same number of checks a second</h2><div class=\"plots\">");
    html.push_str(&lines(&plot(
        "CPU µs per check",
        vec![
            line("shards", "c1", |trial| trial.cpu_us_per_check),
            line("store", "c2", |trial| trial.store_cpu_us_per_check),
        ],
    )));
    html.push_str(&lines(&plot(
        "Memory, MB",
        vec![line("resident", "c3", |trial| trial.rss_bytes as f64 / 1e6)],
    )));
    html.push_str("</div>");
    trial_table(&mut html, trials);
    html.push_str("</body></html>\n");
    html
}

/// The page of a search.
pub fn search_page(mix: &str, search: &Search, machine: &super::machine::Machine) -> String {
    let mut html = head(&format!("the limit, mix {mix}"), machine);
    let holds = search.holds.as_ref().map_or(0, |trial| trial.monitors);
    html.push_str("<div class=\"cards\">");
    card(&mut html, "good", &short(holds as f64), "monitors hold");
    if let Some(fails) = &search.fails {
        card(&mut html, "bad", &short(fails.monitors as f64), "monitors do not");
    }
    html.push_str("</div>");
    let ran_out = search.ran_out.unwrap_or("nothing: the search ended at its bound");
    let _ = write!(html, "<p>What ran out first: {ran_out}.</p>");
    trial_table(&mut html, &search.trials);
    html.push_str("</body></html>\n");
    html
}

fn head(subject: &str, machine: &super::machine::Machine) -> String {
    let gigabytes = machine.memory_bytes as f64 / 1e9;
    // The CPU says its own name: it is the only text here that is not ours.
    let cpu = machine.cpu.replace('&', "&amp;").replace('<', "&lt;");
    let when = &machine.at;
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>engine bench: \
         {subject}</title><meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}\
         </style></head><body><h1>engine bench: {subject}</h1>\
         <p>{when}, engine {}, {} CPUs ({cpu}), \
         {gigabytes:.0} GB, {}, load before {:.1}</p>",
        env!("CARGO_PKG_VERSION"),
        machine.cpus,
        machine.kernel,
        machine.load
    )
}

fn card(html: &mut String, class: &str, value: &str, name: &str) {
    let _ = write!(html, "<div class=\"card {class}\"><b>{value}</b><span>{name}</span></div>");
}

fn cards(html: &mut String, report: &Report) {
    let verdict = if report.missed == 0 { "good" } else { "bad" };
    html.push_str("<div class=\"cards\">");
    let mut plain = |value: String, name: &str| card(html, "", &value, name);
    plain(short(report.checks_per_s), "checks a second");
    plain(format!("{:.1} µs", report.cpu_us_per_check), "CPU per check, shards");
    if let Some(ratio) = report.ratio_to_reference {
        plain(format!("{ratio:.2} ×"), "the bare epoll client");
    }
    plain(format!("{:.1} ms", report.lag_p99_ms), "lag, 99 of 100 below");
    plain(format!("{:.0} MB", report.rss_bytes as f64 / 1e6), "resident memory");
    plain(format!("{:.2}", report.allocations_per_check), "allocations per check");
    plain(format!("{:.2} s", report.first_result_s), "start to first result");
    card(html, verdict, &report.missed.to_string(), "checks missed");
    html.push_str("</div>");
}

fn plots(series: &[Second]) -> Vec<Plot> {
    let line = |name, class, value: fn(&Second) -> f64| {
        let points = series.iter().map(|second| (second.at_s, value(second))).collect();
        Line { name, class, points }
    };
    let plot = |title, lines| Plot { title, below: "seconds", scale: Scale::Even, lines };
    vec![
        plot(
            "Checks a second",
            vec![
                line("due", "c2", |second| second.due_per_s),
                line("finished", "c1", |second| second.checks_per_s),
                line("not up", "c4", |second| second.not_up_per_s),
            ],
        ),
        plot(
            "Lag, ms",
            vec![
                line("latest", "c2", |second| second.lag_max_ms),
                line("99 of 100", "c1", |second| second.lag_p99_ms),
            ],
        ),
        plot(
            "CPUs used",
            vec![
                line("shards", "c1", |second| second.shard_cpus),
                line("store", "c2", |second| second.store_cpus),
                line("farm", "c3", |second| second.farm_cpus),
            ],
        ),
        plot(
            "Resident memory, MB",
            vec![line("resident", "c3", |second| second.rss_bytes as f64 / 1e6)],
        ),
        plot("Probes in flight", vec![line("in flight", "c4", |second| second.in_flight as f64)]),
    ]
}

fn costs(report: &Report) -> String {
    let mut rows = vec![
        ("shards, kernel", report.cpu_kernel_us_per_check, "c1"),
        ("shards, user", report.cpu_user_us_per_check, "c1"),
        ("store", report.store_cpu_us_per_check, "c2"),
        ("farm (not ours)", report.farm_cpu_us_per_check, "c3"),
    ];
    if let Some(reference) = report.reference_us_per_check {
        rows.insert(0, ("reference", reference, "c4"));
        rows.insert(1, ("shards", report.cpu_us_per_check, "c1"));
    }
    bars("CPU µs per check", &rows)
}

fn results(html: &mut String, report: &Report) {
    html.push_str("<figure><figcaption>Results</figcaption><table>");
    for (word, count) in &report.results {
        let _ = write!(html, "<tr><td>{word}</td><td>{count}</td></tr>");
    }
    for (reason, count) in report.missed_by_reason.iter().filter(|(_, count)| **count > 0) {
        let _ = write!(html, "<tr><td>missed: {reason}</td><td>{count}</td></tr>");
    }
    html.push_str("</table></figure>");
}

fn trial_table(html: &mut String, trials: &[Trial]) {
    html.push_str(
        "<h2>Runs</h2><table><tr><th>monitors</th><th>interval, s</th><th>checks/s</th>\
         <th>missed</th><th>unknown</th><th>lag p99, ms</th><th>CPU µs/check</th>\
         <th>store µs/check</th><th>memory, MB</th></tr>",
    );
    for trial in trials {
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{:.1}</td><td>{:.0}</td><td>{}</td><td>{}</td><td>{:.1}</td>\
             <td>{:.1}</td><td>{:.1}</td><td>{:.0}</td></tr>",
            trial.monitors,
            trial.interval_s,
            trial.checks_per_s,
            trial.missed,
            trial.unknown,
            trial.lag_p99_ms,
            trial.cpu_us_per_check,
            trial.store_cpu_us_per_check,
            trial.rss_bytes as f64 / 1e6
        );
    }
    html.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_plot_and_no_number_that_is_none() {
        let series = (1..=10).map(|second| Second {
            at_s: f64::from(second),
            checks_per_s: 1_000.0,
            ..Second::default()
        });
        let report = Report {
            mix: "http",
            monitors: 10_000,
            shards: 1,
            series: series.collect(),
            lag_histogram: vec![(2.0, 100), (10.0, 1)],
            ratio_to_reference: Some(1.05),
            reference_us_per_check: Some(40.0),
            ..Report::default()
        };
        let html = page(&report);
        assert_eq!(html.matches("<figure>").count(), 8);
        assert!(html.contains("1.05 ×") && !html.contains("NaN") && !html.contains("inf"));
    }
}

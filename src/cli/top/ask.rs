//! What `engine top` asks a running engine, and what it makes of the answers.
//!
//! Owns: the questions. They go to the API only: the store is not touched, and an engine elsewhere
//! can be watched as well.

use std::time::Instant;

use serde_json::Value;

use super::page::Page;
use crate::cli::live::{LiveRow, LiveView};
use crate::cli::remote::Remote;
use crate::cli::settle::{Refusal, failed};
use crate::clock::wall_millis;
use crate::limits::{HIST_ANSWER_BYTES_MAX, TOP_ROWS_MAX};
use crate::monitor::Kind;
use crate::sample::Verdict;

/// What is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Text in name or target.
    pub text: String,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those with this verdict.
    pub verdict: Option<Verdict>,
    /// The order.
    pub sort: Sort,
    /// The monitor whose details are shown.
    pub details_of: Option<u64>,
}

/// The order of the monitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// What is down first.
    #[default]
    Worst,
    /// By name.
    Name,
    /// By number.
    Id,
}

impl Sort {
    /// The word in the address and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Worst => "worst",
            Sort::Name => "name",
            Sort::Id => "id",
        }
    }

    /// The order after this one.
    pub fn next(self) -> Sort {
        match self {
            Sort::Worst => Sort::Name,
            Sort::Name => Sort::Id,
            Sort::Id => Sort::Worst,
        }
    }
}

/// One shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Its number.
    pub name: String,
    /// Checks started each second.
    pub checks_per_s: f64,
    /// Share of its core, 0 to 1.
    pub cpu: f64,
    /// Probes on the wire.
    pub in_flight: f64,
    /// 99 of 100 checks started within this, in seconds.
    pub lag_p99_s: Option<f64>,
}

/// One type.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// Its name.
    pub name: String,
    /// Checks finished each second.
    pub checks_per_s: f64,
    /// Time of checks since the start, in microseconds: 50, 90 and 99 of 100.
    pub quantiles_us: [u64; 3],
    /// Bad checks each minute.
    pub down_per_min: f64,
}

/// One monitor closely.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Its number.
    pub id: u64,
    /// The last results, newest first, as the API gives them.
    pub results: Vec<Value>,
    /// Words about its last failures, newest first.
    pub evidence: Vec<Value>,
}

/// Everything that is shown at one moment.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Head and monitors.
    pub view: LiveView,
    /// The numbers of the monitors in the view.
    pub ids: Vec<u64>,
    /// Monitors that fit the wish.
    pub total: u64,
    /// The shards.
    pub shards: Vec<Shard>,
    /// The types.
    pub types: Vec<Type>,
    /// The monitor that is looked at closely.
    pub details: Option<Details>,
}

/// Asks one engine again and again.
pub struct Asker {
    remote: Remote,
    before: Option<Page>,
}

impl Asker {
    /// Asks this engine.
    pub fn new(remote: Remote) -> Asker {
        Asker { remote, before: None }
    }

    /// Asks for everything once.
    ///
    /// # Errors
    ///
    /// No engine answers, or it is another one than this version knows.
    pub fn ask(&mut self, wish: &Wish) -> Result<Shown, Refusal> {
        let text = self.remote.get("/metrics", HIST_ANSWER_BYTES_MAX)?;
        let page = Page::read(&String::from_utf8_lossy(&text), Instant::now());
        let overview = self.json("/api/v1/overview")?;
        let monitors = self.json(&address(wish))?;
        let histograms = self.json("/api/v1/histograms?measure=total&format=json")?;
        let before = self.before.as_ref();
        let (view, ids) = view(&overview, &monitors, &page, &self.remote.address());
        let shown = Shown {
            view,
            ids,
            total: monitors["total"].as_u64().unwrap_or(0),
            shards: shards(&page, before),
            types: types(&page, before, &histograms),
            details: wish.details_of.map(|id| self.details(id)).transpose()?,
        };
        self.before = Some(page);
        Ok(shown)
    }

    fn details(&self, id: u64) -> Result<Details, Refusal> {
        let results = self.json(&format!("/api/v1/monitors/{id}/results?limit=50"))?;
        let evidence = self.json(&format!("/api/v1/monitors/{id}/evidence"))?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Ok(Details { id, results: list(&results["results"]), evidence: list(&evidence) })
    }

    fn json(&self, path: &str) -> Result<Value, Refusal> {
        let body = self.remote.get(path, HIST_ANSWER_BYTES_MAX)?;
        serde_json::from_slice(&body)
            .map_err(|_| failed(format!("{path}: the answer is not this engine's")))
    }
}

fn address(wish: &Wish) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("sort", wish.sort.name());
    query.append_pair("limit", &TOP_ROWS_MAX.to_string());
    if !wish.text.is_empty() {
        query.append_pair("text", &wish.text);
    }
    if let Some(tag) = &wish.tag {
        query.append_pair("tag", tag);
    }
    if let Some(verdict) = wish.verdict {
        query.append_pair("verdict", verdict.name());
    }
    format!("/api/v1/monitors?{}", query.finish())
}

fn view(overview: &Value, monitors: &Value, page: &Page, listen: &str) -> (LiveView, Vec<u64>) {
    let counts = &overview["monitors"];
    let engine = &overview["engine"];
    let list = monitors["monitors"].as_array().map_or(&[][..], Vec::as_slice);
    let view = LiveView {
        now_ms: overview["at_ms"].as_u64().unwrap_or_else(wall_millis),
        started_ms: (page.total("process_start_time_seconds") * 1e3) as u64,
        listen: listen.to_owned(),
        verdicts: Verdict::ALL.map(|verdict| counts[verdict.name()].as_u64().unwrap_or(0)),
        checks_per_s: engine["checks_per_s"].as_f64().unwrap_or(0.0),
        lag_p99_us: micros(&engine["lag_p99_us"]).unwrap_or(0),
        in_flight: engine["in_flight"].as_u64().unwrap_or(0),
        missed: page.total("engine_checks_missed_total") as u64,
        rows: list.iter().map(row).collect(),
        changes: Vec::new(),
    };
    (view, list.iter().map(|monitor| monitor["id"].as_u64().unwrap_or(0)).collect())
}

fn row(monitor: &Value) -> LiveRow {
    let text = |key: &str| monitor[key].as_str().unwrap_or_default().to_owned();
    let verdict = text("verdict");
    let problem = monitor["problem"].as_str().map(str::to_owned);
    LiveRow {
        name: text("name"),
        kind: Kind::from_name(&text("type")).map_or("?", Kind::name),
        target: text("target"),
        verdict: Verdict::ALL
            .into_iter()
            .find(|known| known.name() == verdict)
            .unwrap_or(Verdict::Unknown),
        since_ms: monitor["since_ms"].as_u64().unwrap_or(0),
        last_us: micros(&monitor["total_us"]),
        message: problem.unwrap_or_else(|| text("message")),
    }
}

fn micros(value: &Value) -> Option<u32> {
    value.as_u64().map(|micros| u32::try_from(micros).unwrap_or(u32::MAX))
}

fn shards(page: &Page, before: Option<&Page>) -> Vec<Shard> {
    let shard = |name: String| {
        let label = ("shard", name.as_str());
        let lag = "engine_schedule_lateness_seconds";
        Shard {
            checks_per_s: page.rate(before, "engine_checks_started_total", &[label]),
            cpu: page.rate(before, "engine_shard_cpu_seconds_total", &[label]),
            in_flight: page.sum("engine_in_flight", label),
            lag_p99_s: page.quantile(before, lag, label, 0.99),
            name,
        }
    };
    page.values("engine_in_flight", "shard").into_iter().map(shard).collect()
}

fn types(page: &Page, before: Option<&Page>, histograms: &Value) -> Vec<Type> {
    let list = histograms.as_array().map_or(&[][..], Vec::as_slice);
    let of_types = list
        .iter()
        .filter(|one| one["subject"].as_str().is_some_and(|name| Kind::from_name(name).is_some()));
    let one = |histogram: &Value| {
        let name = histogram["subject"].as_str().unwrap_or_default().to_owned();
        let label = ("type", name.as_str());
        let quantile = |name: &str| histogram["quantiles_us"][name].as_u64().unwrap_or(0);
        let checks = page.rate(before, "engine_check_duration_seconds_count", &[label]);
        let down = ("result", "down");
        Type {
            checks_per_s: checks,
            quantiles_us: ["p50", "p90", "p99"].map(quantile),
            down_per_min: 60.0 * page.rate(before, "engine_checks_total", &[label, down]),
            name,
        }
    };
    of_types.map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wish_is_in_the_address() {
        let wish = Wish { text: "a b&c".into(), verdict: Some(Verdict::Down), ..Wish::default() };
        let wanted =
            format!("/api/v1/monitors?sort=worst&limit={TOP_ROWS_MAX}&text=a+b%26c&verdict=down");
        assert_eq!(address(&wish), wanted);
    }

    #[test]
    fn the_answers_become_the_same_view_that_the_demo_has() {
        let overview = json!({
            "at_ms": 10_000, "monitors": {"up": 2, "down": 1},
            "engine": {"checks_per_s": 1.5, "lag_p99_us": 900, "in_flight": 4},
        });
        let monitors = json!({"total": 3, "monitors": [
            {"id": 7, "name": "shop", "type": "tcp", "target": "a:1", "verdict": "down",
             "since_ms": 9_000, "total_us": 1_200, "message": "refused", "problem": null},
        ]});
        let text = "process_start_time_seconds 2\nengine_checks_missed_total{shard=\"0\"} 6\n";
        let page = Page::read(text, Instant::now());
        let (view, ids) = view(&overview, &monitors, &page, "x");
        assert_eq!((ids, view.verdicts, view.missed), (vec![7], [0, 2, 1, 0, 0], 6));
        assert_eq!((view.started_ms, view.lag_p99_us), (2_000, 900));
        let row = &view.rows[0];
        assert_eq!((row.kind, row.verdict, row.last_us), ("tcp", Verdict::Down, Some(1_200)));
    }
}

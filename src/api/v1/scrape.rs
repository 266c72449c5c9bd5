//! `/metrics`: the engine's own numbers, monitors by type and tag, and the monitors that matter.
//!
//! Owns: the tiers. Always: the engine, and counts by type and tag. Of single monitors: those that
//! are down or unknown, changed of late, or have the tag `starred`, up to a bound, past which they
//! are counted; with `match[]` those that are selected, all of them. The names are those of
//! blackbox_exporter. The text is made in pieces while it is sent, so a scrape of any number of
//! monitors holds one piece and the list of places: 4 bytes a monitor.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use probes::Phase;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::form_urlencoded;

use super::details::Latest;
use super::fleet::{Fleet, Index, Place};
use super::load::Load;
use super::matching::Selection;
use super::overview::{Group, overview};
use super::readers::blocking;
use crate::api::problem::Problem;
use crate::limits::{
    API_TAGS_MAX, METRICS_MONITORS_MAX, METRICS_PIECE_BYTES, METRICS_RECENT_MS,
    METRICS_SCRAPES_MAX, METRICS_TAGS_MAX, STAR_TAG,
};
use crate::metrics::page::Page;
use crate::metrics::text::{Format, Label, Sort, Text};
use crate::monitor::Kind;
use crate::sample::{CheckResult, Verdict};

/// What a scrape is answered from.
pub struct Scrapes {
    page: Page,
    fleet: Arc<Fleet>,
    clock: fn() -> u64,
    turns: Arc<Semaphore>,
}

impl Scrapes {
    /// Answers from the engine's page and the list of all monitors.
    pub fn new(page: Page, fleet: Arc<Fleet>, clock: fn() -> u64) -> Scrapes {
        let turns = Arc::new(Semaphore::new(METRICS_SCRAPES_MAX));
        Scrapes { page, fleet, clock, turns }
    }
}

/// Answers one scrape.
pub async fn metrics(
    State(scrapes): State<Arc<Scrapes>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(turn) = Arc::clone(&scrapes.turns).try_acquire_owned() else {
        let detail = format!("{METRICS_SCRAPES_MAX} scrapes are being answered; try again");
        return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 1));
    };
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let selectors: Vec<String> = pairs
        .filter(|(key, _)| key == "match[]")
        .map(|(_, selector)| selector.into_owned())
        .collect();
    let selection =
        Selection::read(&selectors).map_err(|error| Problem::field("match[]", error))?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let (index, now_ms) = (scrapes.fleet.index(), (scrapes.clock)());
    let mut pieces =
        blocking(move || Pieces::begin(&scrapes, index, selection, format, now_ms, turn)).await?;
    pieces.next_family();
    let body = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next()?;
        // The control thread has other work to do.
        tokio::task::yield_now().await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), pieces))
    });
    let fields = [
        (header::CONTENT_TYPE, format.media_type()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((fields, Body::from_stream(body)).into_response())
}

/// The answer while it is made.
struct Pieces {
    index: Arc<Index>,
    selection: Option<Selection>,
    /// The monitors that are shown.
    places: Vec<u32>,
    /// The family that is being written, and the next of its monitors.
    family: usize,
    next: usize,
    text: Text,
    _turn: OwnedSemaphorePermit,
}

impl Pieces {
    /// Chooses the monitors and writes what is not about single ones.
    fn begin(
        scrapes: &Scrapes,
        index: Arc<Index>,
        selection: Option<Selection>,
        format: Format,
        now_ms: u64,
        turn: OwnedSemaphorePermit,
    ) -> Pieces {
        let mut text = Text::new(format);
        let places = match &selection {
            Some(selection) => {
                let fits = index.places().filter(|place| selection.fits(&index, *place));
                fits.map(|place| place.at() as u32).collect()
            }
            None => {
                scrapes.page.write(&mut text);
                groups(&mut text, &index);
                let (places, left_out) = worth_showing(&index, now_ms);
                let help = "Monitors that are worth a series of their own";
                text.family("engine_monitors_worth_showing", help, Sort::Gauge);
                text.sample(&[("shown", "yes")], places.len() as f64);
                text.sample(&[("shown", "no")], left_out as f64);
                places
            }
        };
        Pieces { index, selection, places, family: 0, next: 0, text, _turn: turn }
    }

    /// Skips families that are not wanted and begins the next one; past the last one it ends.
    fn next_family(&mut self) {
        let wanted = |family: &Family| {
            self.selection.as_ref().is_none_or(|selection| selection.fits_family(family.sample))
        };
        while FAMILIES.get(self.family).is_some_and(|family| !wanted(family)) {
            self.family += 1;
        }
        self.next = 0;
        match FAMILIES.get(self.family).filter(|_| !self.places.is_empty()) {
            Some(family) => self.text.family(family.name, family.help, family.sort),
            None => {
                self.family = FAMILIES.len();
                self.text.end();
            }
        }
    }

    /// The next piece; `None` at the end.
    fn next(&mut self) -> Option<String> {
        while self.text.len() < METRICS_PIECE_BYTES && self.family < FAMILIES.len() {
            self.write_some();
            if self.next == self.places.len() {
                self.family += 1;
                self.next_family();
            }
        }
        let piece = self.text.take();
        (!piece.is_empty()).then_some(piece)
    }

    /// Writes monitors of one family until the piece is full. Holds the lock of the last checks
    /// that long: some hundred samples.
    fn write_some(&mut self) {
        let details = self.index.details();
        let latest = details.latest();
        let family = &FAMILIES[self.family];
        while let Some(at) = self.places.get(self.next) {
            if self.text.len() >= METRICS_PIECE_BYTES {
                return;
            }
            self.next += 1;
            let place = self.index.at(*at as usize);
            let id = place.id().to_string();
            let labels = [
                ("monitor_id", id.as_str()),
                ("name", details.name(place.at())),
                ("type", place.kind().map_or("", Kind::name)),
                ("instance", details.instance(place.at())),
            ];
            let shown = Shown { index: &self.index, place, latest: latest[place.at()], labels };
            (family.write)(&shown, &mut self.text);
        }
    }
}

const _: () = assert!(METRICS_TAGS_MAX <= API_TAGS_MAX, "the overview has at most those");

/// Monitors by type and by tag.
fn groups(text: &mut Text, index: &Index) {
    let all = overview(index, METRICS_TAGS_MAX, Load::default(), 0);
    text.family("engine_type_monitors", "Monitors by type and verdict", Sort::Gauge);
    all.types.iter().for_each(|group| counted(text, "type", group));
    text.family("engine_tag_monitors", "Monitors by tag and verdict", Sort::Gauge);
    all.tags.iter().for_each(|group| counted(text, "tag", group));
    text.family("engine_tags", "Tags; past a bound the rarest have no series", Sort::Gauge);
    text.sample(&[], all.tags_total as f64);
}

fn counted(text: &mut Text, label: &str, group: &Group) {
    for verdict in Verdict::ALL {
        let labels = [(label, group.name.as_str()), ("verdict", verdict.name())];
        text.sample(&labels, group.monitors.of(verdict) as f64);
    }
}

/// The monitors that have series of their own without being asked for, and how many more there
/// would be.
fn worth_showing(index: &Index, now_ms: u64) -> (Vec<u32>, usize) {
    let star = index.tag(STAR_TAG);
    let recent_ms = now_ms.saturating_sub(METRICS_RECENT_MS);
    let recent: Vec<bool> =
        index.details().latest().iter().map(|latest| latest.changed_ms >= recent_ms).collect();
    let starred: Vec<bool> =
        index.tag_sets().iter().map(|set| star.is_some_and(|star| set.contains(&star))).collect();
    let worth = |place: &Place<'_>| {
        matches!(place.verdict(), Verdict::Down | Verdict::Unknown)
            || recent[place.at()]
            || starred[place.tag_set()]
    };
    let mut places: Vec<u32> =
        index.places().filter(worth).map(|place| place.at() as u32).collect();
    let left_out = places.len().saturating_sub(METRICS_MONITORS_MAX);
    places.truncate(METRICS_MONITORS_MAX);
    (places, left_out)
}

/// One monitor as it is shown.
struct Shown<'a> {
    index: &'a Index,
    place: Place<'a>,
    latest: Latest,
    labels: [Label<'a>; 4],
}

impl Shown<'_> {
    fn sample(&self, text: &mut Text, value: Option<f64>) {
        if let Some(value) = value {
            text.sample(&self.labels, value);
        }
    }

    fn with(&self, text: &mut Text, further: Label<'_>, value: f64) {
        let [id, name, kind, instance] = self.labels;
        text.sample(&[id, name, kind, instance, further], value);
    }

    fn phase(&self, phase: Phase) -> Option<f64> {
        self.latest.timings.get(phase).map(seconds)
    }

    /// The phases under the names of blackbox_exporter.
    fn phases(&self, text: &mut Text, names: &[(Phase, &str)]) {
        for (phase, name) in names {
            if let Some(value) = self.phase(*phase) {
                self.with(text, ("phase", name), value);
            }
        }
    }

    fn is_known(&self) -> bool {
        self.latest.due_ms > 0
    }
}

fn seconds(micros: u32) -> f64 {
    f64::from(micros) / 1e6
}

/// A family with a sample, or some, for each monitor. What a monitor does not have is left out.
struct Family {
    name: &'static str,
    /// The name of its samples.
    sample: &'static str,
    help: &'static str,
    sort: Sort,
    write: fn(&Shown<'_>, &mut Text),
}

const fn gauge(name: &'static str, help: &'static str, write: fn(&Shown<'_>, &mut Text)) -> Family {
    Family { name, sample: name, help, sort: Sort::Gauge, write }
}

const FAMILIES: &[Family] = &[
    gauge("probe_success", "1 where the last check found the target good, 0 where bad", success),
    gauge("probe_duration_seconds", "Time of the last attempt", |shown, text| {
        shown.sample(text, shown.is_known().then(|| seconds(shown.latest.total_us)));
    }),
    gauge("probe_dns_lookup_time_seconds", "Time to resolve the name", |shown, text| {
        shown.sample(text, shown.phase(Phase::Resolve));
    }),
    gauge("probe_http_duration_seconds", "Time by phase, summed over redirects", http_phases),
    gauge("probe_http_status_code", "HTTP status of the last answer", |shown, text| {
        let status = shown.latest.http_status;
        shown.sample(text, (status > 0).then(|| f64::from(status)));
    }),
    gauge("probe_icmp_duration_seconds", "Time of the ICMP echo by phase", |shown, text| {
        if shown.place.kind() == Some(Kind::PingIcmp) {
            shown.phases(text, &[(Phase::Resolve, "resolve"), (Phase::Connect, "rtt")]);
        }
    }),
    gauge("probe_ssl_earliest_cert_expiry", "Earliest end in the chain", |shown, text| {
        let end_s = shown.latest.cert_end_s;
        shown.sample(text, (end_s > 0).then_some(end_s as f64));
    }),
    gauge("engine_monitor_verdict", "1 for what is held to be true", |shown, text| {
        shown.with(text, ("verdict", shown.place.verdict().name()), 1.0);
    }),
    gauge("engine_monitor_last_check_timestamp_seconds", "When it was due", |shown, text| {
        shown.sample(text, shown.is_known().then(|| shown.latest.due_ms as f64 / 1e3));
    }),
    Family {
        name: "engine_monitor",
        sample: "engine_monitor_info",
        help: "Its tags, between commas; the value is always 1",
        sort: Sort::Info,
        write: |shown, text| {
            let tags = shown.place.tags().iter();
            let tags = tags.map(|tag| format!(",{}", shown.index.tags()[*tag as usize]));
            let tags = tags.collect::<String>() + ",";
            shown.with(text, ("tags", &tags), 1.0);
        },
    },
];

fn success(shown: &Shown<'_>, text: &mut Text) {
    let value = match shown.latest.code.result() {
        CheckResult::Up => Some(1.0),
        CheckResult::Down(_) => Some(0.0),
        // Our own trouble says nothing about a target.
        CheckResult::Unknown(_) | CheckResult::Missed(_) => None,
    };
    shown.sample(text, value.filter(|_| shown.is_known()));
}

fn http_phases(shown: &Shown<'_>, text: &mut Text) {
    if matches!(shown.place.kind(), Some(Kind::PingWeb | Kind::WebContent)) {
        let names = [
            (Phase::Resolve, "resolve"),
            (Phase::Connect, "connect"),
            (Phase::Tls, "tls"),
            (Phase::Wait, "processing"),
            (Phase::Transfer, "transfer"),
        ];
        shown.phases(text, &names);
    }
}

#[cfg(test)]
mod tests;

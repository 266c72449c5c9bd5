//! What is read of monitors: lists, one monitor, and what happened to it.
//!
//! Owns: the parameters and their bounds. A parameter that is not known is an error, not ignored:
//! a filter with a typing mistake would show everything.

use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::history::{History, history, history_of_hours};
use super::select::{Cursor, Selected, Sort, Wanted, select};
use super::uptime::{DAY_MS, Share, Span, days, share, spans};
use super::{Shared, V1, blocking};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::ids::MonitorId;
use crate::limits::{
    API_EVENTS_MAX, API_HISTORY_EXACT_MS_MAX, API_HISTORY_RESULTS_MAX, API_HISTORY_STEPS_MAX,
    API_PAGE_ROWS_DEFAULT, API_PAGE_ROWS_MAX, API_RESULTS_MAX, API_TEXT_BYTES_MAX,
    API_UPTIME_CHANGES_MAX,
};
use crate::monitor::Kind;
use crate::sample::Verdict;
use crate::store::hours::hour_start;
use crate::store::view::{
    CertView, Evidence, Filter, Incident, MonitorView, Range, ResultView, Results, TransitionView,
};

/// Results where a request names no number.
const RESULTS_DEFAULT: usize = 100;
/// Incidents and changes where a request names no number.
const EVENTS_DEFAULT: usize = 100;
/// Steps of a history where a request names no number.
const STEPS_DEFAULT: usize = 120;
/// Days of an uptime where a request names no number, and the most.
const DAYS_DEFAULT: u64 = 90;
const DAYS_MAX: u64 = 400;

/// Which monitors to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MonitorsQuery {
    /// The one with exactly this name, as the store has it now; goes with no other parameter.
    name: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// Of this type.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<Kind>,
    /// With this verdict.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// With this text in name or target, in any case.
    #[param(max_length = 200)]
    text: Option<String>,
    /// Only those that cannot run.
    problems: Option<bool>,
    /// The order.
    #[param(inline)]
    sort: Option<Sort>,
    /// Most monitors: 50 where it is left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-4]-[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// One page of monitors.
#[derive(Debug, Serialize, ToSchema)]
pub struct MonitorPage {
    /// The monitors, in order.
    monitors: Vec<MonitorView>,
    /// How many there are in all pages.
    total: usize,
    /// The `cursor` of the next page; `None` on the last.
    next: Option<String>,
}

/// Which results to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResultsQuery {
    /// First due time, in milliseconds since the Unix epoch.
    from_ms: Option<u64>,
    /// Last due time.
    to_ms: Option<u64>,
    /// Most results: 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Results of one monitor, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultPage {
    /// The results.
    results: Vec<ResultView>,
    /// Stored blobs that could not be read, by name and reason.
    damaged: Vec<String>,
    /// The `to_ms` of the next page; `None` on the last.
    next_to_ms: Option<u64>,
}

/// Which history to make.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Start, in milliseconds since the Unix epoch: a day before the end where it is left out.
    from_ms: Option<u64>,
    /// End: now where it is left out.
    to_ms: Option<u64>,
    /// How many steps: 120 where it is left out.
    #[param(minimum = 1, maximum = 500)]
    steps: Option<usize>,
}

/// How many days to look back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UptimeQuery {
    /// Days, today included: 90 where it is left out.
    #[param(minimum = 1, maximum = 400)]
    days: Option<u64>,
}

/// How long one monitor was up and down.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uptime {
    /// The last 24 hours.
    pub day: Share,
    /// The last 7 days.
    pub week: Share,
    /// The last 30 days.
    pub month: Share,
    /// Each day of UTC, today last.
    pub days: Vec<Share>,
    /// The times of the last 24 hours, oldest first.
    pub spans: Vec<Span>,
}

/// How many to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Most rows: 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The parameters of a request, or the one that cannot be used.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let read = Query::<T>::try_from_uri(uri);
    read.map(|Query(parameters)| parameters).map_err(|refused| {
        let text = refused.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        if let Some((_, rest)) = text.split_once("unknown field `") {
            let (field, rest) = rest.split_once('`').unwrap_or((rest, ""));
            return Problem::field(field, format!("unknown parameter{rest}"));
        }
        match text.split_once(": ") {
            Some((field, detail)) => Problem::field(field, detail),
            None => Problem::field("query", text),
        }
    })
}

/// A time, as far as a database can hold it.
fn time_ms(field: &str, given: Option<u64>, default: u64) -> Result<u64, Problem> {
    match given {
        Some(time_ms) if i64::try_from(time_ms).is_err() => {
            Err(Problem::field(field, format!("{time_ms} is later than {}", i64::MAX)))
        }
        _ => Ok(given.unwrap_or(default)),
    }
}

/// A number from 1 to `max`.
fn bounded<N: PartialOrd + std::fmt::Display + From<u8>>(
    field: &str,
    given: Option<N>,
    default: N,
    max: N,
) -> Result<N, Problem> {
    match given {
        None => Ok(default),
        Some(number) if number >= N::from(1) && number <= max => Ok(number),
        Some(number) => Err(Problem::field(field, format!("{number} is not in 1 to {max}"))),
    }
}

/// The number in an address.
pub(super) fn monitor_id(text: &str) -> Result<MonitorId, Problem> {
    let detail = || format!("{text:?} is not the number of a monitor");
    let id = text.parse::<i64>().ok().and_then(|id| u64::try_from(id).ok());
    id.map(MonitorId).ok_or_else(|| Problem::field("id", detail()))
}

/// The monitor of a cursor was removed meanwhile.
fn expired() -> Problem {
    let detail = "cursor: its monitor is gone; begin at the first page";
    let problem = Problem::new(StatusCode::NOT_FOUND, detail);
    Problem { field: Some("cursor".into()), ..problem }
}

/// Lists monitors.
#[utoipa::path(
    get, path = "/api/v1/monitors", tag = "monitors", params(MonitorsQuery),
    responses(
        (status = 200, body = MonitorPage),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "The monitor of the cursor is gone"),
    )
)]
pub async fn monitors(State(api): Shared, parts: Parts) -> Result<Response, Problem> {
    let asked: MonitorsQuery = query(&parts.uri)?;
    if let Some(name) = asked.name {
        let monitors = Vec::from_iter(api.named(name).await?);
        let page = MonitorPage { total: monitors.len(), monitors, next: None };
        return Ok(Answer::json(&page)?.to(&parts.headers));
    }
    let limit = bounded("limit", asked.limit, API_PAGE_ROWS_DEFAULT, API_PAGE_ROWS_MAX)?;
    if asked.text.as_ref().is_some_and(|text| text.len() > API_TEXT_BYTES_MAX) {
        return Err(Problem::field("text", format!("at most {API_TEXT_BYTES_MAX} bytes")));
    }
    let cursor = match asked.cursor {
        Some(text) => Some(Cursor::parse(&text).ok_or_else(|| {
            Problem::field("cursor", format!("{text:?} is not the `next` of a page"))
        })?),
        None => None,
    };
    let wanted = Wanted {
        tag: asked.tag,
        kind: asked.kind,
        verdict: asked.verdict,
        text: asked.text.filter(|text| !text.is_empty()),
        problems: asked.problems.unwrap_or_default(),
    };
    let (index, sort) = (api.setup.fleet.index(), asked.sort.unwrap_or_default());
    let selected = blocking(move || select(&index, &wanted, sort, cursor, limit)).await?;
    let Selected { ids, total, next } = selected.ok_or_else(expired)?;
    let mut monitors = api.monitors(ids.clone()).await?;
    let order = |monitor: &MonitorView| ids.iter().position(|id| *id == monitor.id);
    monitors.sort_by_key(order);
    let page = MonitorPage { monitors, total, next: next.map(Cursor::text) };
    Ok(Answer::json(&page)?.to(&parts.headers))
}

impl V1 {
    /// These monitors, as far as they are there, in no order.
    pub(super) async fn monitors(&self, ids: Vec<MonitorId>) -> Result<Vec<MonitorView>, Problem> {
        let filter = Filter { only: Some(ids), ..Filter::default() };
        self.readers.read(move |reader| reader.monitors(&filter)).await
    }

    pub(super) async fn monitor(&self, id: MonitorId) -> Result<MonitorView, Problem> {
        self.monitors(vec![id]).await?.pop().ok_or_else(|| Problem::no_monitor(id.0))
    }

    /// The monitor with this name, which may be new.
    async fn named(&self, name: String) -> Result<Option<MonitorView>, Problem> {
        let asked = name.clone();
        let Some(id) = self.readers.read(move |reader| reader.find(&asked)).await? else {
            return Ok(None);
        };
        Ok(self.monitors(vec![id]).await?.pop().filter(|monitor| monitor.name == name))
    }

    /// Uptime of one monitor.
    pub(super) async fn uptime(&self, id: MonitorId, back: u64) -> Result<Uptime, Problem> {
        let monitor = self.monitor(id).await?;
        let max = API_UPTIME_CHANGES_MAX;
        let changes = self.readers.read(move |reader| reader.transitions(Some(id), max)).await?;
        let now_ms = (self.setup.clock)();
        let all = spans(&monitor, &changes, max, now_ms);
        let last = |length| share(&all, now_ms.saturating_sub(length), now_ms);
        let from = now_ms.saturating_sub(DAY_MS);
        let recent = all.iter().filter(|span| span.to_ms > from);
        Ok(Uptime {
            day: last(DAY_MS),
            week: last(7 * DAY_MS),
            month: last(30 * DAY_MS),
            days: days(&all, back, now_ms),
            spans: recent.map(|span| Span { from_ms: span.from_ms.max(from), ..*span }).collect(),
        })
    }
}

/// One monitor.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}", tag = "monitors", params(("id" = u64, Path)),
    responses(
        (status = 200, body = MonitorView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
pub async fn monitor(
    State(api): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(Answer::json(&api.monitor(monitor_id(&id)?).await?)?.to(&headers))
}

/// Results of one monitor, newest first.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/results", tag = "monitors",
    params(("id" = u64, Path), ResultsQuery),
    responses((status = 200, body = ResultPage), (status = 400, body = Problem))
)]
pub async fn results(
    State(api): Shared,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let (id, asked): (_, ResultsQuery) = (monitor_id(&id)?, query(&parts.uri)?);
    let limit = bounded("limit", asked.limit, RESULTS_DEFAULT, API_RESULTS_MAX)?;
    let from_ms = time_ms("from_ms", asked.from_ms, 0)?;
    let to_ms = time_ms("to_ms", asked.to_ms, u64::MAX)?;
    let range = Range { from_ms, to_ms, limit: limit + 1 };
    let found = api.readers.read(move |reader| reader.results(id, &range)).await?;
    let Results { mut results, damaged } = found;
    // One due time has one result, so the next page begins with the first that is left out.
    let next_to_ms = results.get(limit).map(|result| result.due_ms);
    results.truncate(limit);
    Ok(Answer::json(&ResultPage { results, damaged, next_to_ms })?.to(&parts.headers))
}

/// Results of one monitor as steps in time, with percentiles. More than 2 days are made of sums of
/// hours, which are kept 90 days.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/history", tag = "monitors",
    params(("id" = u64, Path), HistoryQuery),
    responses((status = 200, body = History), (status = 400, body = Problem))
)]
pub async fn monitor_history(
    State(api): Shared,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let (id, asked): (_, HistoryQuery) = (monitor_id(&id)?, query(&parts.uri)?);
    let steps = bounded("steps", asked.steps, STEPS_DEFAULT, API_HISTORY_STEPS_MAX)?;
    let to_ms = time_ms("to_ms", asked.to_ms, (api.setup.clock)())?;
    let from_ms = time_ms("from_ms", asked.from_ms, to_ms.saturating_sub(DAY_MS))?;
    if from_ms >= to_ms {
        return Err(Problem::field("from_ms", format!("{from_ms} is not before to_ms {to_ms}")));
    }
    let range = Range { from_ms, to_ms, limit: API_HISTORY_RESULTS_MAX };
    let made = api.readers.read(move |reader| {
        if to_ms - from_ms > API_HISTORY_EXACT_MS_MAX {
            let hours = reader.hours(id, hour_start(from_ms), to_ms)?;
            return Ok(history_of_hours(&hours, from_ms, to_ms, steps));
        }
        let Results { results, damaged } = reader.results(id, &range)?;
        let truncated = results.len() >= API_HISTORY_RESULTS_MAX;
        Ok(History { truncated, damaged, ..history(&results, from_ms, to_ms, steps) })
    });
    Ok(Answer::json(&made.await?)?.to(&parts.headers))
}

/// How long one monitor was up and down.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/uptime", tag = "monitors",
    params(("id" = u64, Path), UptimeQuery),
    responses(
        (status = 200, body = Uptime),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
pub async fn uptime(
    State(api): Shared,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let (id, asked): (_, UptimeQuery) = (monitor_id(&id)?, query(&parts.uri)?);
    let back = bounded("days", asked.days, DAYS_DEFAULT, DAYS_MAX)?;
    Ok(Answer::json(&api.uptime(id, back).await?)?.to(&parts.headers))
}

/// Words about the last failures of one monitor, newest first.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/evidence", tag = "monitors", params(("id" = u64, Path)),
    responses((status = 200, body = Vec<Evidence>), (status = 400, body = Problem))
)]
pub async fn evidence(
    State(api): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = monitor_id(&id)?;
    let found = api.readers.read(move |reader| reader.evidence(id)).await?;
    Ok(Answer::json(&found)?.to(&headers))
}

/// Certificates that one monitor saw, the current one first.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/certificates", tag = "monitors", params(("id" = u64, Path)),
    responses((status = 200, body = Vec<CertView>), (status = 400, body = Problem))
)]
pub async fn certificates(
    State(api): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = monitor_id(&id)?;
    let found = api.readers.read(move |reader| reader.certs(id)).await?;
    Ok(Answer::json(&found)?.to(&headers))
}

/// Incidents of one monitor, an open one first, then the newest.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/incidents", tag = "monitors",
    params(("id" = u64, Path), EventsQuery),
    responses((status = 200, body = Vec<Incident>), (status = 400, body = Problem))
)]
pub async fn monitor_incidents(
    State(api): Shared,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    api.incidents(Some(monitor_id(&id)?), &parts).await
}

/// Changes of verdict of one monitor, newest first.
#[utoipa::path(
    get, path = "/api/v1/monitors/{id}/transitions", tag = "monitors",
    params(("id" = u64, Path), EventsQuery),
    responses((status = 200, body = Vec<TransitionView>), (status = 400, body = Problem))
)]
pub async fn monitor_transitions(
    State(api): Shared,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    api.transitions(Some(monitor_id(&id)?), &parts).await
}

/// Incidents of all monitors, open ones first, then the newest.
#[utoipa::path(
    get, path = "/api/v1/incidents", tag = "fleet", params(EventsQuery),
    responses((status = 200, body = Vec<Incident>), (status = 400, body = Problem))
)]
pub async fn incidents(State(api): Shared, parts: Parts) -> Result<Response, Problem> {
    api.incidents(None, &parts).await
}

/// Changes of verdict of all monitors, newest first.
#[utoipa::path(
    get, path = "/api/v1/transitions", tag = "fleet", params(EventsQuery),
    responses((status = 200, body = Vec<TransitionView>), (status = 400, body = Problem))
)]
pub async fn transitions(State(api): Shared, parts: Parts) -> Result<Response, Problem> {
    api.transitions(None, &parts).await
}

impl V1 {
    async fn incidents(&self, of: Option<MonitorId>, parts: &Parts) -> Result<Response, Problem> {
        let limit = events_limit(parts)?;
        let found = self.readers.read(move |reader| reader.incidents(of, limit)).await?;
        Ok(Answer::json(&found)?.to(&parts.headers))
    }

    async fn transitions(&self, of: Option<MonitorId>, parts: &Parts) -> Result<Response, Problem> {
        let limit = events_limit(parts)?;
        let found = self.readers.read(move |reader| reader.transitions(of, limit)).await?;
        Ok(Answer::json(&found)?.to(&parts.headers))
    }
}

fn events_limit(parts: &Parts) -> Result<usize, Problem> {
    let asked: EventsQuery = query(&parts.uri)?;
    bounded("limit", asked.limit, EVENTS_DEFAULT, API_EVENTS_MAX)
}

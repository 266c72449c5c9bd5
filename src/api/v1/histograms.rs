//! Latency since the start, as a log, percentiles, JSON or a picture.
//!
//! Owns: the query and the forms of the answer, and which monitors have histograms of their own.
//! What it copies under the lock of the collector is bounded by the shards, the types and those
//! monitors.

use std::collections::HashSet;
use std::sync::PoisonError;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::reads::query;
use super::{Shared, V1};
use crate::api::problem::Problem;
use crate::hist::{self, Series, Wanted, dump, log, text};
use crate::ids::MonitorId;
use crate::limits::{LATENCY_MONITORS_MAX, LATENCY_TAG};
use crate::metrics::latency::Measure;

/// How histograms are answered.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An interval log of HdrHistogram.
    Hlog,
    /// Percentile text, of one series.
    Hgrm,
    /// Count, extremes and quantiles.
    Json,
    /// A picture.
    Svg,
}

/// What histograms are kept apart by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The shard that ran the check.
    Shard,
}

/// Which histograms, and in which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistogramsQuery {
    /// A type, or `monitor-` and the number of a monitor with the tag `histogram`.
    subject: Option<String>,
    /// One measure; all where it is left out.
    #[param(inline)]
    measure: Option<Measure>,
    /// Kept apart by this; everything added up where it is left out.
    #[param(inline)]
    by: Option<By>,
    /// `hlog` where it is left out.
    #[param(inline)]
    format: Option<Format>,
}

/// Latency since the start of the engine.
#[utoipa::path(
    get, path = "/api/v1/histograms", tag = "fleet", params(HistogramsQuery),
    responses(
        (status = 200, description = "In the form that was asked for", content(
            (String = "text/plain"), (Vec<Object> = "application/json"),
            (String = "image/svg+xml"),
        )),
        (status = 400, body = Problem),
        (status = 404, body = Problem, description = "Nothing was recorded for it"),
    ),
)]
pub async fn histograms(State(api): Shared, uri: Uri) -> Result<Response, Problem> {
    let asked: HistogramsQuery = query(&uri)?;
    let all = api.series(&asked);
    match asked.format.unwrap_or(Format::Hlog) {
        Format::Hlog => {
            let start_ms = all.iter().map(|series| series.from_ms).min().unwrap_or(0);
            Ok(plain("text/plain; charset=utf-8", log::head(start_ms) + &log::lines(&all)))
        }
        Format::Json => {
            let told: Vec<Value> = all.iter().map(text::json).collect();
            Ok(plain("application/json", Value::Array(told).to_string()))
        }
        Format::Hgrm => match &all[..] {
            [one] => Ok(plain("text/plain; charset=utf-8", text::hgrm(&one.durations))),
            _ => Err(Problem::field("format", "hgrm is of one series: name subject and measure")),
        },
        Format::Svg => {
            let wanted = asked.subject.unwrap_or_else(|| "total".to_owned());
            let picture = dump::pictures(&all).into_iter().find(|(name, _)| *name == wanted);
            let (_, picture) = picture.ok_or_else(|| nothing(&wanted))?;
            Ok(plain("image/svg+xml", picture))
        }
    }
}

/// A picture of what was never seen.
fn nothing(subject: &str) -> Problem {
    let detail = format!("subject: nothing was recorded for {subject:?}");
    let problem = Problem::new(StatusCode::NOT_FOUND, detail);
    Problem { field: Some("subject".into()), ..problem }
}

impl V1 {
    fn series(&self, asked: &HistogramsQuery) -> Vec<Series> {
        let collector = self.setup.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let (from_ms, to_ms) = (collector.started_ms(), (self.setup.clock)());
        let mut all = hist::series(collector.since_start(), asked.by.is_some(), from_ms, to_ms);
        let wanted = Wanted {
            subject: asked.subject.clone(),
            measure: asked.measure.map(|one| one.name().to_owned()),
        };
        all.retain(|series| wanted.fits(series));
        all
    }

    /// Gives the monitors whose tags ask for it histograms of their own, the first ones where
    /// there are too many.
    pub(super) fn watch_tagged(&self) {
        let index = self.setup.fleet.index();
        let mut ids: Vec<MonitorId> = index.tagged(&HashSet::from([LATENCY_TAG])).collect();
        if ids.len() > LATENCY_MONITORS_MAX {
            tracing::warn!(
                asked = ids.len(),
                given = LATENCY_MONITORS_MAX,
                "too many monitors with the tag `{LATENCY_TAG}`: the last ones have no histograms"
            );
            ids.truncate(LATENCY_MONITORS_MAX);
        }
        self.setup.histograms.lock().unwrap_or_else(PoisonError::into_inner).watch(&ids);
    }
}

fn plain(content_type: &'static str, body: String) -> Response {
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, body).into_response()
}

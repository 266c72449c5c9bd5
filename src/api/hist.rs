//! `/api/v1/histograms`: latency since the start, as a log, percentiles, JSON or a picture.
//!
//! Owns: the query and the forms of the answer. Needs credentials. What it copies under the lock of
//! the collector is bounded by the shards, the types and the monitors that were asked for.

use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::legacy::admit;
use crate::api::legacy::auth::Auth;
use crate::clock::wall_millis;
use crate::hist::{self, Series, Wanted, dump, log, text};
use crate::metrics::latency::{Measure, Shared};

/// What the histograms are answered with.
#[derive(Clone)]
pub struct Histograms {
    /// Where they are.
    pub collector: Shared,
    /// Who may ask.
    pub auth: Arc<Auth>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Hlog,
    Hgrm,
    Json,
    Svg,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// A type, or `monitor-` and its number.
    subject: Option<String>,
    measure: Option<String>,
    /// `shard` keeps the shards apart.
    by: Option<String>,
    #[serde(default)]
    format: Format,
}

/// The route.
pub fn routes(histograms: Histograms) -> Router {
    Router::new().route("/api/v1/histograms", get(answer)).with_state(histograms)
}

async fn answer(
    State(state): State<Histograms>,
    query: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(refused) = admit(&state.auth, &parts, wall_millis()) {
        return refused.into();
    }
    let Query(asked) = match query {
        Ok(query) => query,
        Err(error) => return bad(&error.body_text()),
    };
    let known = |name: &String| Measure::from_name(name).is_some();
    if !asked.measure.as_ref().is_none_or(known) {
        let names = Measure::ALL.map(Measure::name).join(", ");
        return bad(&format!("measure: write one of {names}"));
    }
    if asked.by.as_deref().is_some_and(|by| by != "shard") {
        return bad("by: write shard, or leave it out");
    }
    let all = series(&state, &asked);
    match asked.format {
        Format::Hlog => {
            let start_ms = all.iter().map(|series| series.from_ms).min().unwrap_or(0);
            plain("text/plain; charset=utf-8", log::head(start_ms) + &log::lines(&all))
        }
        Format::Json => {
            let told: Vec<Value> = all.iter().map(text::json).collect();
            plain("application/json", Value::Array(told).to_string())
        }
        Format::Hgrm => match &all[..] {
            [one] => plain("text/plain; charset=utf-8", text::hgrm(&one.durations)),
            _ => bad("format=hgrm wants one series: name subject and measure"),
        },
        Format::Svg => {
            let wanted = asked.subject.unwrap_or_else(|| "total".to_owned());
            let picture = dump::pictures(&all).into_iter().find(|(name, _)| *name == wanted);
            match picture {
                Some((_, picture)) => plain("image/svg+xml", picture),
                None => bad("subject: nothing was recorded for it"),
            }
        }
    }
}

fn series(state: &Histograms, asked: &Asked) -> Vec<Series> {
    let collector = state.collector.lock().unwrap_or_else(PoisonError::into_inner);
    let by_shard = asked.by.is_some();
    let from_ms = collector.started_ms();
    let mut all = hist::series(collector.since_start(), by_shard, from_ms, wall_millis());
    let wanted = Wanted { subject: asked.subject.clone(), measure: asked.measure.clone() };
    all.retain(|series| wanted.fits(series));
    all
}

fn plain(content_type: &'static str, body: String) -> Response {
    let fields = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    (fields, body).into_response()
}

fn bad(detail: &str) -> Response {
    let problem = json!({ "title": "Bad request", "status": 400, "detail": detail });
    let fields = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::BAD_REQUEST, fields, problem.to_string()).into_response()
}

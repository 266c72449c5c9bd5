//! The HTTP side of the engine: metrics and health, the API, the page and the original's API.
//!
//! Owns: the routes. Runs on the control thread, apart from the shards: it cannot slow a probe.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::metrics::latency::Shared;

mod answer;

pub mod hist;

mod problem;

pub mod legacy;

mod page;

pub mod v1;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes: `/metrics`, `/-/healthy`, `/-/ready`, the page, and those of [`hist`], [`legacy`]
/// and [`v1`]. Call within a runtime.
pub fn routes(
    registry: Registry,
    collector: Shared,
    legacy: legacy::Legacy,
    v1: v1::Setup,
) -> Router {
    let histograms = hist::Histograms { collector, auth: Arc::clone(&legacy.auth) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(|| async { "ready\n" }))
        .with_state(Arc::new(registry))
        .merge(page::routes(Arc::clone(&legacy.auth), legacy.clock))
        .merge(hist::routes(histograms))
        .merge(legacy::routes(legacy))
        .merge(v1::routes(v1))
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

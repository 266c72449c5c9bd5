//! The HTTP side of the engine: metrics and health, the API, the page and the original's API.
//!
//! Owns: the routes. Runs on the control thread, apart from the shards: it cannot slow a probe.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::metrics::page::Page;

mod answer;

mod markup;

mod problem;

pub mod legacy;

mod page;

pub mod v1;

/// The routes: `/metrics`, `/-/healthy`, `/-/ready`, the page, and those of [`legacy`] and
/// [`v1`]. Call within a runtime.
pub fn routes(page: Page, legacy: legacy::Legacy, v1: v1::Setup) -> Router {
    let scrapes = v1::scrape::Scrapes::new(page, Arc::clone(&v1.fleet), v1.clock);
    Router::new()
        .route("/metrics", get(v1::scrape::metrics))
        .with_state(Arc::new(scrapes))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(|| async { "ready\n" }))
        .merge(page::routes(Arc::clone(&legacy.auth), legacy.clock))
        .merge(legacy::routes(legacy))
        .merge(v1::routes(v1))
}

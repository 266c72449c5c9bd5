//! The description of the API, made from the code that answers.
//!
//! Owns: the list of what is described. A test compares it with the routes.

use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::{bulk, histograms, reads, tail, whole, writes};
use crate::api::answer::Answer;
use crate::api::problem::Problem;

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(title = "engine", description = "Times are milliseconds since the Unix epoch (…_ms), \
         durations microseconds (…_us). What is not there is null, never zero."),
    paths(
        whole::overview, whole::map, whole::tags, whole::session, whole::events,
        histograms::histograms, tail::tail,
        reads::incidents, reads::transitions,
        reads::monitors, reads::monitor, reads::results, reads::monitor_history, reads::uptime,
        reads::evidence, reads::certificates, reads::monitor_incidents, reads::monitor_transitions,
        writes::add, writes::change, writes::remove, writes::pause, writes::resume, bulk::bulk,
        openapi,
    ),
    modifiers(&Security),
    security(("token" = []), ("password" = [])),
)]
pub struct Description;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, described: &mut utoipa::openapi::OpenApi) {
        let components = described.components.get_or_insert_default();
        let http = |scheme| SecurityScheme::Http(Http::new(scheme));
        components.add_security_scheme("token", http(HttpAuthScheme::Bearer));
        components.add_security_scheme("password", http(HttpAuthScheme::Basic));
    }
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "fleet",
    responses((status = 200, body = Object)))]
pub async fn openapi(headers: HeaderMap) -> Result<Response, Problem> {
    Ok(Answer::json(&Description::openapi())?.to(&headers))
}

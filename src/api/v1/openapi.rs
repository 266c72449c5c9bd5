//! The description of the API, made from the code that answers.
//!
//! Owns: the list of what is described. A test compares it with the routes.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{self as described, Content, Ref, RefOr, ResponseBuilder};

use super::{bulk, histograms, reads, run, settings, tail, whole, writes};
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
        run::run, settings::settings, settings::test_channel, settings::tokens, settings::add_token,
        settings::remove_token,
        openapi,
    ),
    modifiers(&Security, &Everywhere),
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

/// What every request may be answered with, and the media type of every error.
struct Everywhere;

const EVERYWHERE: [(&str, &str); 4] = [
    ("401", "No credentials, or none that are known"),
    ("403", "These credentials may not do that"),
    ("429", "Too many requests from this address"),
    ("503", "Our own trouble; try again later"),
];

impl utoipa::Modify for Everywhere {
    fn modify(&self, described: &mut utoipa::openapi::OpenApi) {
        for item in described.paths.paths.values_mut() {
            let reads = item.get.iter_mut().map(|operation| (operation, true));
            let writes = [&mut item.post, &mut item.patch, &mut item.delete];
            let writes = writes.into_iter().flatten().map(|operation| (operation, false));
            for (operation, is_read) in reads.chain(writes) {
                complete(&mut operation.responses.responses, is_read);
            }
        }
    }
}

fn complete(responses: &mut BTreeMap<String, RefOr<described::Response>>, is_read: bool) {
    for (status, text) in EVERYWHERE {
        let problem = Ref::from_schema_name("Problem");
        let response = ResponseBuilder::new()
            .description(text)
            .content("application/json", Content::new(Some(problem)));
        responses.entry(status.to_owned()).or_insert_with(|| response.build().into());
    }
    let is_json = |response: &RefOr<described::Response>| match response {
        RefOr::T(response) => response.content.contains_key("application/json"),
        RefOr::Ref(_) => false,
    };
    if is_read && responses.get("200").is_some_and(is_json) {
        let same = ResponseBuilder::new().description("What If-None-Match names is of now");
        responses.insert("304".to_owned(), same.build().into());
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && let Some(problem) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), problem);
        }
    }
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "fleet",
    responses((status = 200, body = Object)))]
pub async fn openapi(headers: HeaderMap) -> Result<Response, Problem> {
    Ok(Answer::json(&Description::openapi())?.to(&headers))
}

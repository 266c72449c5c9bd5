//! What is read of all monitors at once: counts, map, tags, live events, and who asks.
//!
//! Owns: sharing one answer among all who ask within a second, so that what it costs does not
//! depend on how many look.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use super::access::Caller;
use super::overview::{self, Group, Map, Overview};
use super::{Shared, V1, blocking};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::limits::{API_SHARED_MS, API_TAGS_MAX};

/// Tags in the overview.
pub(super) const OVERVIEW_TAGS_MAX: usize = 20;

/// An answer and when it was made.
pub type SharedAnswer = Mutex<Option<(u64, Answer)>>;

impl V1 {
    /// The overview as it is now.
    pub(super) async fn overview(&self, tags_max: usize) -> Result<Overview, Problem> {
        let (index, load, now_ms) = (self.setup.fleet.index(), self.load(), (self.setup.clock)());
        blocking(move || overview::overview(&index, tags_max, load, now_ms)).await
    }

    /// The answer of this second, made by the first who asks; the others wait for it.
    async fn shared(
        &self,
        place: &SharedAnswer,
        make: impl Future<Output = Result<Answer, Problem>>,
    ) -> Result<Answer, Problem> {
        let mut kept = place.lock().await;
        let now_ms = (self.setup.clock)();
        if let Some((made_ms, answer)) = &*kept
            && now_ms.abs_diff(*made_ms) < API_SHARED_MS
        {
            return Ok(answer.clone());
        }
        let answer = make.await?;
        *kept = Some((now_ms, answer.clone()));
        Ok(answer)
    }
}

/// All monitors at a glance.
#[utoipa::path(get, path = "/api/v1/overview", tag = "fleet",
    responses((status = 200, body = Overview)))]
pub async fn overview(State(api): Shared, headers: HeaderMap) -> Result<Response, Problem> {
    let make = async { Answer::json(&api.overview(OVERVIEW_TAGS_MAX).await?) };
    Ok(api.shared(&api.overview, make).await?.to(&headers))
}

/// All monitors as cells, by their first tag.
#[utoipa::path(get, path = "/api/v1/map", tag = "fleet", responses((status = 200, body = Map)))]
pub async fn map(State(api): Shared, headers: HeaderMap) -> Result<Response, Problem> {
    let make = async {
        let index = api.setup.fleet.index();
        Answer::json(&blocking(move || overview::map(&index)).await?)
    };
    Ok(api.shared(&api.map, make).await?.to(&headers))
}

/// The tags with most monitors: at most 1,000.
#[utoipa::path(get, path = "/api/v1/tags", tag = "fleet",
    responses((status = 200, body = Vec<Group>)))]
pub async fn tags(State(api): Shared, headers: HeaderMap) -> Result<Response, Problem> {
    let make = async { Answer::json(&api.overview(API_TAGS_MAX).await?.tags) };
    Ok(api.shared(&api.tags, make).await?.to(&headers))
}

/// Who asks, and what it may do.
#[utoipa::path(get, path = "/api/v1/session", tag = "fleet",
    responses((status = 200, body = Caller)))]
pub async fn session(
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(Answer::json(&caller)?.to(&headers))
}

/// Follows live: `overview` once a second, and `changes` with the monitors whose verdict changed.
#[utoipa::path(get, path = "/api/v1/events", tag = "fleet",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 503, body = Problem),
    ))]
pub async fn events(State(api): Shared) -> Result<Response, Problem> {
    Ok(api.live.listen()?.into_response())
}

//! A check that is asked for: made now, beside the schedule, and answered with its result.
//!
//! Owns: the wait for the result. The shard never makes two checks of one monitor at once: where
//! one is due, waits or runs already, its result is the answer. Whoever waits follows the stream of
//! recorded results, so an answer is of a result that is stored.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::reads::{monitor_id, query};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::ids::MonitorId;
use crate::limits::{RUN_WAIT_MS_DEFAULT, RUN_WAIT_MS_MAX, TICK_MS};
use crate::messages::Change;
use crate::sample::{CheckResult, Sample, SampleBatch, Verdict};
use crate::store::view::ResultView;

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Longest wait for the result, in milliseconds: 10,000 where it is left out.
    #[param(minimum = 0, maximum = 60000)]
    wait_ms: Option<u64>,
}

/// What a check that was asked for found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ran {
    /// Whose.
    monitor: MonitorId,
    /// What was found; `None` where it has not come yet: it is among the results when it is there.
    result: Option<ResultView>,
    /// The message of a failure, empty where there is none.
    message: String,
}

/// Checks a monitor now. Answers with the result, or with 202 where it takes longer than the wait.
#[utoipa::path(
    post, path = "/api/v1/monitors/{id}/run", tag = "monitors",
    params(("id" = u64, Path), RunQuery),
    responses(
        (status = 200, body = Ran),
        (status = 202, body = Ran, description = "It was asked for; the result has not come yet"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is paused or cannot run"),
    )
)]
pub async fn run(
    State(api): Shared,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (id, asked): (_, RunQuery) = (monitor_id(&id)?, query(&uri)?);
    let wait_ms = asked.wait_ms.unwrap_or(RUN_WAIT_MS_DEFAULT);
    if wait_ms > RUN_WAIT_MS_MAX {
        let detail = format!("{wait_ms} is not in 0 to {RUN_WAIT_MS_MAX}");
        return Err(Problem::field("wait_ms", detail));
    }
    let monitor = api.monitor(id).await?;
    if let Some(problem) = monitor.problem {
        let detail = format!("monitor {id} cannot run: {problem}");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    if monitor.verdict == Verdict::Paused {
        let detail = format!("monitor {id} is paused; resume it first");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let mut recorded = api.setup.tail.listen()?;
    let asked_ms = (api.setup.clock)();
    let stopping = |_| {
        let detail = "the engine is stopping; it checks nothing more";
        Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 10)
    };
    api.setup.changes.apply(Change::CheckNow(vec![id])).await.map_err(stopping)?;
    let tail = Arc::clone(&api.setup.tail);
    let comes = async move {
        loop {
            match recorded.recv().await {
                Ok(batch) => {
                    if let Some(ran) = found(&batch, id, asked_ms) {
                        return Some(ran);
                    }
                }
                Err(RecvError::Lagged(batches)) => tail.lost(batches),
                Err(RecvError::Closed) => return None,
            }
        }
    };
    match tokio::time::timeout(Duration::from_millis(wait_ms), comes).await {
        Ok(Some(ran)) => Ok(Answer::json(&ran)?.to(&HeaderMap::new())),
        Ok(None) | Err(_) => {
            let place = [(header::LOCATION, format!("/api/v1/monitors/{id}/results"))];
            let ran = Ran { monitor: id, result: None, message: String::new() };
            let answer = Answer::json(&ran)?.to(&HeaderMap::new());
            Ok((StatusCode::ACCEPTED, place, answer).into_response())
        }
    }
}

/// The result of this monitor in a batch, unless it was there before it was asked for.
fn found(batch: &SampleBatch, id: MonitorId, asked_ms: u64) -> Option<Ran> {
    // A due time that passes while the check runs is not what was asked for.
    let is_wanted = |sample: &Sample| {
        sample.monitor == id
            && !matches!(sample.code.result(), CheckResult::Missed(_))
            && end_ms(sample) >= asked_ms
    };
    let at = batch.samples.iter().position(is_wanted)?;
    let message = batch.words_of(at).map(|words| words.message.to_string()).unwrap_or_default();
    Some(Ran { monitor: id, result: Some((&batch.samples[at]).into()), message })
}

/// When a check ended at the earliest: pauses between its attempts are not known here.
fn end_ms(sample: &Sample) -> u64 {
    let known = |us: u32| if us == u32::MAX { 0 } else { u64::from(us) };
    sample.due_ms + TICK_MS + (known(sample.lag_us) + known(sample.total_us)) / 1_000
}

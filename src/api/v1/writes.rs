//! Changes of monitors: one at a time, or as a stream of rows.
//!
//! Owns: the monitors of the source `api`; those of a file or a table are changed there. A change
//! is first in the database, then on its shard, then answered. Everything may be sent again: a row
//! that is there already changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::reads::monitor_id;
use super::{Shared, V1, blocking};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::ids::MonitorId;
use crate::limits::{API_ROW_BYTES_MAX, API_WRITE_WAIT_MS};
use crate::messages::{Assign, Change};
use crate::monitor::State as MonitorState;
use crate::monitor::row::{Checked, Interner, MonitorRow, RowError, check};
use crate::store::view::MonitorView;
use crate::store::{NewMonitor, StoreError, SyncReport};

/// The source of all monitors that were added here.
pub const SOURCE: &str = "api";

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changed {
    /// New monitors.
    pub added: usize,
    /// Known ones with another row.
    pub changed: usize,
    /// Known ones with the same row.
    pub equal: usize,
}

/// Adds a monitor. A row that is there already is answered with 200 and changes nothing.
#[utoipa::path(
    post, path = "/api/v1/monitors", tag = "monitors",
    request_body(content = MonitorRow, example = json!({
        "name": "shop", "type": "ping_web", "target": "https://shop.example/", "tags": ["shop"],
    })),
    responses(
        (status = 201, body = MonitorView),
        (status = 200, body = MonitorView, description = "It is there already"),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "The name is taken"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
    )
)]
pub async fn add(State(api): Shared, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let row = object(&headers, body, &["application/json"]).await?;
    let mut interner = api.writer.lock().await;
    let (row, checked) = checked(row, &mut interner)?;
    let name = checked.about.name.clone();
    if let Some(id) = api.readers.read(move |reader| reader.find(&name)).await?
        && let Some((source, known)) = api.written(id).await?
        && source == SOURCE
        && name_of(&known) == checked.about.name
    {
        if Value::Object(known) != json(&row) {
            let detail = format!("{:?} is monitor {id}: PATCH changes it", checked.about.name);
            return Err(taken(detail));
        }
        return Ok(Answer::json(&api.monitor(id).await?)?.to(&HeaderMap::new()));
    }
    let id = api.put_one(row, checked).await?;
    let place = [(header::LOCATION, format!("/api/v1/monitors/{id}"))];
    let answer = Answer::json(&api.monitor(id).await?)?.to(&HeaderMap::new());
    Ok((StatusCode::CREATED, place, answer).into_response())
}

/// Changes the keys that are given; null takes a key away (RFC 7396). The name stays.
#[utoipa::path(
    patch, path = "/api/v1/monitors/{id}", tag = "monitors", params(("id" = u64, Path)),
    request_body(
        content = MonitorRow, content_type = "application/merge-patch+json",
        example = json!({ "interval": "30s", "tags": ["shop", "eu"] }),
    ),
    responses(
        (status = 200, body = MonitorView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is of a file or a table"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
    )
)]
pub async fn change(
    State(api): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = monitor_id(&id)?;
    let kinds = ["application/json", "application/merge-patch+json"];
    let patch = object(&headers, body, &kinds).await?;
    api.patch(id, patch).await
}

/// Pauses a monitor: it keeps its row and its history.
#[utoipa::path(
    post, path = "/api/v1/monitors/{id}/pause", tag = "monitors", params(("id" = u64, Path)),
    responses(
        (status = 200, body = MonitorView), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
    )
)]
pub async fn pause(State(api): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    api.patch(monitor_id(&id)?, paused(true)).await
}

/// Checks a paused monitor again.
#[utoipa::path(
    post, path = "/api/v1/monitors/{id}/resume", tag = "monitors", params(("id" = u64, Path)),
    responses(
        (status = 200, body = MonitorView), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
    )
)]
pub async fn resume(State(api): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    api.patch(monitor_id(&id)?, paused(false)).await
}

/// Removes a monitor; its history stays until it is too old.
#[utoipa::path(
    delete, path = "/api/v1/monitors/{id}", tag = "monitors", params(("id" = u64, Path)),
    responses(
        (status = 204), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
    )
)]
pub async fn remove(State(api): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = monitor_id(&id)?;
    let _interner = api.writer.lock().await;
    api.own_row(id).await?;
    api.edit(Vec::new(), Vec::new(), vec![id]).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn paused(paused: bool) -> Map<String, Value> {
    Map::from_iter([("paused".to_owned(), Value::Bool(paused))])
}

/// The name is that of another monitor.
fn taken(detail: impl std::fmt::Display) -> Problem {
    let problem = Problem::new(StatusCode::CONFLICT, format!("name: {detail}"));
    Problem { field: Some("name".to_owned()), ..problem }
}

fn json(row: &MonitorRow) -> Value {
    serde_json::to_value(row).unwrap_or_default()
}

fn name_of(row: &Map<String, Value>) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or_default()
}

impl V1 {
    async fn patch(&self, id: MonitorId, patch: Map<String, Value>) -> Result<Response, Problem> {
        let mut interner = self.writer.lock().await;
        let mut row = self.own_row(id).await?;
        if patch.get("name").is_some_and(|name| Some(name) != row.get("name")) {
            return Err(Problem::field("name", "cannot be changed; add another monitor"));
        }
        for (key, value) in patch {
            match value {
                Value::Null => drop(row.remove(&key)),
                value => drop(row.insert(key, value)),
            }
        }
        let (row, checked) = checked(row, &mut interner)?;
        self.put_one(row, checked).await?;
        Ok(Answer::json(&self.monitor(id).await?)?.to(&HeaderMap::new()))
    }

    /// The source and the row of a monitor that is not removed.
    async fn written(
        &self,
        id: MonitorId,
    ) -> Result<Option<(String, Map<String, Value>)>, Problem> {
        let found = self.readers.read(move |reader| reader.written(id, 1)).await?;
        let found = found.into_iter().find(|row| row.id == id);
        let row = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Ok(found.map(|found| (found.source, row(&found.row_json))))
    }

    /// The row of a monitor that was added here.
    async fn own_row(&self, id: MonitorId) -> Result<Map<String, Value>, Problem> {
        match self.written(id).await? {
            None => Err(Problem::no_monitor(id.0)),
            Some((source, row)) if source == SOURCE => Ok(row),
            Some((source, _)) => {
                let detail = format!("monitor {id} is of the {source}: change it there");
                Err(Problem::new(StatusCode::CONFLICT, detail))
            }
        }
    }

    async fn put_one(&self, row: MonitorRow, checked: Checked) -> Result<MonitorId, Problem> {
        let report = self.edit(vec![row], vec![checked], Vec::new()).await?;
        if let Some(refused) = report.refused.first() {
            return Err(taken(&refused.reason));
        }
        let lost = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the store gave no number");
        report.ids.first().copied().flatten().ok_or_else(lost)
    }

    /// Makes changes in the database, then on the shards. The caller holds the writer's lock: a
    /// change that was read before another one is not written after it.
    pub(super) async fn edit(
        &self,
        rows: Vec<MonitorRow>,
        checked: Vec<Checked>,
        gone: Vec<MonitorId>,
    ) -> Result<SyncReport, Problem> {
        let (store, changes) = (self.setup.store.clone(), self.setup.changes.clone());
        let new = rows.iter().zip(&checked);
        let new =
            new.map(|(row, checked)| NewMonitor::of(checked, json(row).to_string())).collect();
        let stored = blocking(move || -> Result<_, StoreError> {
            let report = store.edit(SOURCE, new, gone)?;
            let ids: Vec<MonitorId> = report.ids.iter().flatten().copied().collect();
            let states = if ids.is_empty() { HashMap::new() } else { store.states(Some(ids))? };
            Ok((report, states))
        });
        let wait = Duration::from_millis(API_WRITE_WAIT_MS);
        let late = |_| {
            let detail =
                "the database does not answer: the change may be made later; send it again";
            Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 10)
        };
        let (report, states) = tokio::time::timeout(wait, stored).await.map_err(late)???;
        let assigns = report.ids.iter().zip(checked).filter_map(|(id, checked)| {
            let state: MonitorState = states.get(&(*id)?).copied().unwrap_or_default();
            Some(Assign { monitor: checked.monitor((*id)?), state })
        });
        let assigns: Vec<Assign> = assigns.collect();
        let stopping = |_| {
            let detail = "the engine is stopping; the change is kept for the next start";
            Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 10)
        };
        if !assigns.is_empty() {
            changes.apply(Change::Upsert(assigns)).await.map_err(stopping)?;
        }
        if !report.removed.is_empty() {
            let removed = report.removed.clone();
            changes.apply(Change::Remove(removed)).await.map_err(stopping)?;
        }
        self.changed.notify_one();
        Ok(report)
    }
}

/// What a report says, in numbers.
pub(super) fn changed(report: &SyncReport) -> Changed {
    let known = report.ids.iter().flatten().count();
    let equal = known.saturating_sub(report.added + report.changed);
    Changed { added: report.added, changed: report.changed, equal }
}

/// Reads and checks a row. The name is written out, so that a change of the target keeps it.
///
/// # Errors
///
/// Every key that is wrong.
pub(super) fn checked(
    row: Map<String, Value>,
    interner: &mut Interner,
) -> Result<(MonitorRow, Checked), Problem> {
    let (mut row, mut errors) = MonitorRow::read(&row);
    if row.ca_file.is_some() {
        let fix = "name the file with --roots, or write the monitor into the configuration file";
        errors.push(RowError::new("ca_file", "", "is a file of the engine's host", fix));
    }
    if !errors.is_empty() {
        return Err(Problem::fields(&errors));
    }
    let checked = check(&row, interner).map_err(|errors| Problem::fields(&errors))?;
    row.name = Some(checked.about.name.clone());
    Ok((row, checked))
}

/// The JSON object in a body.
pub(super) async fn object(
    headers: &HeaderMap,
    body: Body,
    kinds: &[&str],
) -> Result<Map<String, Value>, Problem> {
    of_kind(headers, kinds)?;
    let too_large = |_| {
        let detail = format!("a row has at most {API_ROW_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let bytes = to_bytes(body, API_ROW_BYTES_MAX).await.map_err(too_large)?;
    let bad = |error: serde_json::Error| Problem::field("body", format!("no JSON object: {error}"));
    serde_json::from_slice(&bytes).map_err(bad)
}

/// A body of another media type is refused: no form of another site can send these.
pub(super) fn of_kind(headers: &HeaderMap, kinds: &[&str]) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let given = given.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kinds.iter().any(|kind| given.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    let detail = format!("send it as {}", kinds.join(" or "));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

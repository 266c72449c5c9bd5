//! What the engine was started with, and what its administrator does about it: settings, channels
//! with a test, tokens, windows of maintenance, public pages.
//!
//! Owns: that all of it is for administrators only. Values of secrets are not here to be told:
//! settings come masked, of a channel only its name, type and tags are known here, and of a token
//! its hash stays in its file.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::access::Caller;
use super::tokens::{Scope, Token, TokenError};
use super::writes::object;
use super::{Shared, V1, blocking};
use crate::alert::Notice;
use crate::alert::channel::Channel;
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::config::maintenance::Window;
use crate::limits::PAGE_WINDOWS_MS_MAX;

/// What a start gives to this part of the API.
#[derive(Debug, Default)]
pub struct Started {
    /// Every setting; secrets are masked.
    pub settings: Vec<Setting>,
    /// The channels, with their types.
    pub channels: Vec<(&'static str, Channel)>,
    /// Held while a channel is tried: one at a time.
    pub trial: Mutex<()>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Setting {
    /// Its name.
    pub setting: String,
    /// Its value; `***` for a secret.
    pub value: String,
    /// Where the value came from.
    pub from: String,
}

/// A way over which people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    name: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Only monitors with one of these tags, where there are any.
    tags: Vec<String>,
}

/// A window of maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WindowView {
    /// Monitors with one of these tags.
    tags: Vec<String>,
    /// And monitors with these names.
    monitors: Vec<String>,
    /// True while it is open.
    open: bool,
    /// Start of the time that is open, or comes next within a week.
    from_ms: Option<u64>,
    /// Its end.
    to_ms: Option<u64>,
}

/// A public page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PageView {
    /// Its place: `/status/` and this.
    slug: String,
    /// Its head.
    title: String,
}

/// What the engine was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Settings {
    /// The version of the engine.
    version: &'static str,
    /// Every setting.
    settings: Vec<Setting>,
    /// The channels.
    channels: Vec<ChannelView>,
    /// Windows of maintenance.
    maintenance: Vec<WindowView>,
    /// Public pages.
    status_pages: Vec<PageView>,
}

/// A token, without what it is kept as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenView {
    /// What people call it.
    name: String,
    /// What it may do.
    scope: Scope,
    /// When it was made, in milliseconds since the Unix epoch.
    created_ms: u64,
}

/// A token to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What people call it; unique.
    name: String,
    /// What it may do.
    scope: Scope,
}

/// A new token.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MadeToken {
    /// What people call it.
    name: String,
    /// What it may do.
    scope: Scope,
    /// The token: shown this once.
    token: String,
}

/// A test over a channel that was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivered {
    /// How long it took, in milliseconds.
    took_ms: u64,
}

fn window(window: &Window, now_ms: u64) -> WindowView {
    let next = window.when.next(now_ms, now_ms.saturating_add(PAGE_WINDOWS_MS_MAX));
    WindowView {
        tags: window.tags.clone(),
        monitors: window.monitors.clone(),
        open: window.when.is_open(now_ms),
        from_ms: next.map(|(from_ms, _)| from_ms),
        to_ms: next.map(|(_, to_ms)| to_ms),
    }
}

/// What the engine was started with; for administrators.
#[utoipa::path(get, path = "/api/v1/settings", tag = "admin",
    responses((status = 200, body = Settings)))]
pub async fn settings(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.may(Scope::Admin)?;
    let (started, now_ms) = (&api.setup.started, (api.setup.clock)());
    let channel = |(kind, channel): &(&'static str, Channel)| ChannelView {
        name: channel.name.clone(),
        kind,
        tags: channel.tags.clone(),
    };
    let pages = api.setup.status.configured().into_iter();
    let told = Settings {
        version: env!("CARGO_PKG_VERSION"),
        settings: started.settings.clone(),
        channels: started.channels.iter().map(channel).collect(),
        maintenance: api.setup.status.windows().iter().map(|one| window(one, now_ms)).collect(),
        status_pages: pages.map(|(slug, title)| PageView { slug, title }).collect(),
    };
    Ok(Answer::json(&told)?.to(&headers))
}

/// Sends a test over a channel, now and without the outbox; for administrators.
#[utoipa::path(
    post, path = "/api/v1/channels/{name}/test", tag = "admin", params(("name" = String, Path)),
    responses(
        (status = 200, body = Delivered),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another channel is tried now"),
        (status = 502, body = Problem, description = "It was not taken"),
    )
)]
pub async fn test_channel(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    caller.may(Scope::Admin)?;
    let started = Arc::clone(&api.setup.started);
    let Some(at) = started.channels.iter().position(|(_, channel)| channel.name == name) else {
        let detail = format!("there is no channel {name:?}; /api/v1/settings lists them");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let notice = Notice::test((api.setup.clock)());
    let sent = blocking(move || {
        let Ok(_trial) = started.trial.try_lock() else { return None };
        let began = Instant::now();
        let sent = started.channels[at].1.way.send(&notice);
        Some(sent.map(|()| began.elapsed().as_millis() as u64))
    });
    match sent.await? {
        None => {
            let detail = "another channel is tried now; wait for its answer";
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Some(Err(failed)) => Err(Problem::new(StatusCode::BAD_GATEWAY, failed.text)),
        Some(Ok(took_ms)) => Ok(Answer::json(&Delivered { took_ms })?.to(&HeaderMap::new())),
    }
}

/// The tokens, in the order they were made; for administrators.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "admin",
    responses((status = 200, body = Vec<TokenView>)))]
pub async fn tokens(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.may(Scope::Admin)?;
    let kept = api.with_tokens(|api| api.setup.tokens.list()).await?;
    let view = |Token { name, scope, created_ms, .. }| TokenView { name, scope, created_ms };
    Ok(Answer::json(&kept.into_iter().map(view).collect::<Vec<_>>())?.to(&headers))
}

/// Makes a token and answers with it: it is not kept and cannot be shown again. For administrators.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "admin", request_body = NewToken,
    responses(
        (status = 201, body = MadeToken),
        (status = 400, body = Problem),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
    )
)]
pub async fn add_token(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(Scope::Admin)?;
    let asked = Value::Object(object(&headers, body, &["application/json"]).await?);
    let NewToken { name, scope } =
        serde_json::from_value(asked).map_err(|error| Problem::field("body", error))?;
    let (kept, now_ms) = (name.clone(), (api.setup.clock)());
    let token = api.with_tokens(move |api| api.setup.tokens.add(&kept, scope, now_ms)).await?;
    let mut made = Answer::json(&MadeToken { name, scope, token })?.to(&HeaderMap::new());
    *made.status_mut() = StatusCode::CREATED;
    Ok(made)
}

/// Takes a token back: it lets nobody in from now on. For administrators.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{name}", tag = "admin", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem))
)]
pub async fn remove_token(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    caller.may(Scope::Admin)?;
    let kept = name.clone();
    match api.with_tokens(move |api| api.setup.tokens.remove(&kept)).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => {
            let detail = format!("there is no token {name:?}; /api/v1/tokens lists them");
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
    }
}

impl V1 {
    /// Works on the file of tokens, on a thread for that.
    async fn with_tokens<T: Send + 'static>(
        self: &Arc<V1>,
        work: impl FnOnce(&V1) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, Problem> {
        let api = Arc::clone(self);
        blocking(move || work(&api)).await?.map_err(|error| match error {
            TokenError::Name { problem, .. } => Problem::field("name", problem),
            TokenError::File { .. } => {
                tracing::error!("tokens of the API cannot be changed: {error}");
                let detail = "the file of tokens cannot be used; the engine's log says why";
                Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 60)
            }
        })
    }
}

//! The original service's HTTP API, filled with what really runs.
//!
//! Owns: the addresses, who may use them, and what each answers. Reads of the store go to threads
//! for that, few at once, so that the control thread goes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::form_urlencoded;

use crate::limits::{
    API_BODY_BYTES_MAX, API_READS_MAX, API_ROWS_MAX, DASHBOARD_ROWS_MAX, LOGIN_WINDOW_MS,
    SESSION_MS, TOKEN_HOURS_MAX,
};

pub mod auth;

mod page;

pub mod tail;

pub mod view;

use auth::{Auth, Denied, Given, Who};
use page::Dashboard;
use view::{LegacyView, ascii, local};

/// Lines of the log where a request names no number.
const LINES_DEFAULT: usize = 50;
/// Lines of the log on the dashboard.
const LINES_DASHBOARD: usize = 20;
/// Hours of a signed token where a request names no number.
const HOURS_DEFAULT: u64 = 24;

/// What the API works with.
pub struct Legacy {
    /// Where rows come from.
    pub view: Arc<dyn LegacyView>,
    /// The account.
    pub auth: Arc<Auth>,
    /// The log whose end is shown.
    pub log_file: PathBuf,
    /// Host of the dashboard's Home link.
    pub domain: String,
    /// Set when the engine is to stop.
    pub stop: Arc<AtomicBool>,
    /// Start of the engine, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Gives the wall time, in milliseconds since the Unix epoch.
    pub clock: fn() -> u64,
}

struct Api {
    legacy: Legacy,
    reads: Semaphore,
}

type Shared = State<Arc<Api>>;

/// The routes.
pub fn routes(legacy: Legacy) -> Router {
    let api = Api { legacy, reads: Semaphore::new(API_READS_MAX) };
    Router::new()
        .route("/legacy", get(dashboard))
        .route("/login", get(|| async { html(page::login(false)) }).post(login))
        .route("/logout", get(logout))
        .route("/style.css", get(style))
        .route("/api/status", get(status))
        .route("/api/monitors", get(monitors))
        .route("/api/threads", get(threads))
        .route("/api/logs", get(logs))
        .route("/api/shutdown", post(shutdown))
        .route("/api/token", post(token))
        .with_state(Arc::new(api))
}

impl Api {
    fn now_ms(&self) -> u64 {
        (self.legacy.clock)()
    }

    fn failed(&self, error: &str) -> Response {
        let now = local(self.now_ms());
        let body = json!({ "status": "error", "error": error, "timestamp": now });
        answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
    }

    /// Lets in who is known.
    fn guard(&self, parts: &Parts) -> Result<Who, Refused> {
        let of_programs = parts.uri.path().starts_with("/api/");
        let who = self.legacy.auth.who(&given(parts), self.now_ms());
        who.map_err(|denied| Refused { denied, of_programs })
    }

    /// Reads with the view on a thread for that.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn LegacyView) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Response> {
        let view = Arc::clone(&self.legacy.view);
        let _turn = self.reads.acquire().await.map_err(|error| self.failed(&error.to_string()))?;
        let read = tokio::task::spawn_blocking(move || look(&*view)).await;
        match read {
            Ok(found) => found.map_err(|error| self.failed(&error)),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    async fn tail(&self, lines: usize) -> Result<Option<tail::Tail>, Response> {
        let path = self.legacy.log_file.clone();
        let read = tokio::task::spawn_blocking(move || tail::tail(&path, lines)).await;
        match read {
            Ok(found) => found.map_err(|error| self.failed(&error.to_string())),
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }
}

/// Nobody who is known; the answer that says so is made from it.
struct Refused {
    denied: Denied,
    /// True where a program is told, false where a person is shown the way.
    of_programs: bool,
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Response {
        match refused.denied {
            Denied::TooMany => too_many(),
            Denied::Unknown if refused.of_programs => {
                let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"engine\"")];
                let body = json!({ "error": "Authentication required" });
                (challenge, answer(StatusCode::UNAUTHORIZED, &body)).into_response()
            }
            Denied::Unknown => redirect("/login", None),
        }
    }
}

async fn dashboard(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, _) = request.into_parts();
    let who = api.guard(&parts)?;
    let offset = number(&parts, "offset").unwrap_or(0);
    let look =
        move |view: &dyn LegacyView| Ok((view.totals()?, view.items(DASHBOARD_ROWS_MAX, offset)?));
    let (totals, items) = api.read(look).await?;
    let log = api.tail(LINES_DASHBOARD).await?.unwrap_or_default().lines;
    let word = match who {
        Who::Session { word } => word,
        Who::Program => String::new(),
    };
    let domain = api.legacy.domain.clone();
    Ok(html(page::dashboard(&Dashboard { totals, items, offset, log, domain, word })))
}

async fn login(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    let body = bytes(body).await?;
    let field = |name: &str| {
        let mut pairs = form_urlencoded::parse(&body);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let now_ms = api.now_ms();
    let (user, password) = (field("username"), field("password"));
    match api.legacy.auth.check(&user, &password, given(&parts).address, now_ms) {
        Ok(()) => {}
        Err(Denied::TooMany) => return Err(too_many()),
        Err(Denied::Unknown) => return Ok(html(page::login(true))),
    }
    let name = api.legacy.auth.begin_session(now_ms).map_err(|_| api.failed("no random bytes"))?;
    let age_s = SESSION_MS / 1_000;
    let cookie = format!("session={name}; HttpOnly; Path=/; SameSite=Strict; Max-Age={age_s}");
    Ok(redirect("/", Some(&cookie)))
}

async fn logout(State(api): Shared, headers: HeaderMap) -> Response {
    if let Some(cookie) = text(&headers, header::COOKIE) {
        api.legacy.auth.end_session(cookie);
    }
    redirect("/login", Some("session=; HttpOnly; Path=/; SameSite=Strict; Max-Age=0"))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE).into_response()
}

async fn status(State(api): Shared, request: Request) -> Result<Response, Response> {
    api.guard(&request.into_parts().0)?;
    let (totals, workers) =
        api.read(|view: &dyn LegacyView| Ok((view.totals()?, view.workers()))).await?;
    let workers: Vec<Value> = workers.iter().map(view::Worker::json).collect();
    Ok(good(&json!({
        "status": "running",
        "timestamp": local(api.now_ms()),
        "monitor_items": {
            "total": totals.total,
            "enabled": totals.enabled,
            "running_threads": totals.running,
        },
        "threads": workers,
        "alert_info": {},
    })))
}

async fn monitors(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, _) = request.into_parts();
    api.guard(&parts)?;
    let (limit, offset) = paging(&parts);
    let look = move |view: &dyn LegacyView| Ok((view.totals()?.total, view.items(limit, offset)?));
    let (total, items) = api.read(look).await?;
    let items: Vec<Value> = items.iter().map(view::Item::json).collect();
    let timestamp = local(api.now_ms());
    Ok(good(&json!({ "monitors": items, "total": total, "timestamp": timestamp })))
}

async fn threads(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, _) = request.into_parts();
    api.guard(&parts)?;
    let (limit, offset) = paging(&parts);
    let look = move |view: &dyn LegacyView| {
        Ok((view.totals()?.running, view.workers().len(), view.items(limit, offset)?))
    };
    let (running, workers, items) = api.read(look).await?;
    let started_ms = api.legacy.started_ms;
    let alive = items.iter().filter(|item| item.running);
    let threads: Vec<Value> = alive.map(|item| item.thread_json(started_ms)).collect();
    Ok(good(&json!({
        "threads": threads,
        "total_running": running,
        "active_count": workers,
        "timestamp": local(api.now_ms()),
    })))
}

async fn logs(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, _) = request.into_parts();
    api.guard(&parts)?;
    let lines = match parameter(&parts, "lines") {
        None => LINES_DEFAULT,
        Some(text) => text.parse().map_err(|_| {
            let error = format!("lines={text}: write a whole number");
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error, "logs": [] }))
        })?,
    };
    let tail = api.tail(lines).await?.unwrap_or_else(|| tail::Tail {
        lines: vec![format!(
            "There is no {}: start with --log-format original to have it written",
            api.legacy.log_file.display()
        )],
        total: 0,
    });
    Ok(good(&json!({
        "logs": tail.lines,
        "total_lines": tail.total,
        "showing_lines": tail.lines.len(),
        "timestamp": local(api.now_ms()),
    })))
}

async fn shutdown(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    if let Who::Session { word } = api.guard(&parts)? {
        let body = bytes(body).await?;
        let said = form_urlencoded::parse(&body).find(|(key, _)| key == "word");
        let knows_word = said.is_some_and(|(_, said)| api.legacy.auth.is_word(&word, &said));
        if !knows_word && !is_own_page(&parts.headers) {
            let error = "A session may stop the engine from its own page only";
            return Err(answer(StatusCode::FORBIDDEN, &json!({ "error": error })));
        }
    }
    tracing::info!("stopping: asked for by the API");
    api.legacy.stop.store(true, Ordering::Relaxed);
    Ok(good(&json!({
        "status": "shutting_down",
        "message": "Monitor service is shutting down...",
        "timestamp": local(api.now_ms()),
    })))
}

async fn token(State(api): Shared, request: Request) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    let given = given(&parts);
    let basic = given.authorization.is_some_and(|field| {
        field.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "))
    });
    let only_basic = Given { cookie: None, ..given };
    let now_ms = api.now_ms();
    match api.legacy.auth.who(&only_basic, now_ms) {
        Err(Denied::TooMany) => return Err(too_many()),
        Ok(_) if basic => {}
        _ => {
            let body = json!({ "error": "Invalid credentials" });
            return Err(answer(StatusCode::UNAUTHORIZED, &body));
        }
    }
    let kind = text(&parts.headers, header::CONTENT_TYPE).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/json") {
        let body = json!({ "error": "Send application/json" });
        return Err(answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, &body));
    }
    let bad = |error: &str| answer(StatusCode::BAD_REQUEST, &json!({ "error": error }));
    let wish: Value =
        serde_json::from_slice(&bytes(body).await?).map_err(|_| bad("The body is not JSON"))?;
    let hours = match &wish["expires_hours"] {
        Value::Null => HOURS_DEFAULT,
        hours => hours
            .as_u64()
            .filter(|hours| (1..=TOKEN_HOURS_MAX).contains(hours))
            .ok_or_else(|| bad("expires_hours: write a whole number from 1 to 8760"))?,
    };
    let (token, sort, expires) = match wish["type"].as_str().unwrap_or("simple") {
        "simple" => {
            let expires = "Never (until credentials change)".to_owned();
            (api.legacy.auth.simple_token(), "Bearer Simple", expires)
        }
        "jwt" => (api.legacy.auth.token(hours, now_ms), "Bearer JWT", format!("{hours} hours")),
        _ => return Err(bad("type: write simple or jwt")),
    };
    Ok(good(&json!({
        "token": token,
        "type": sort,
        "expires": expires,
        "usage": format!("Authorization: Bearer {token}"),
        "timestamp": local(now_ms),
    })))
}

/// What a request brings along.
pub(super) fn given(parts: &Parts) -> Given<'_> {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    Given {
        cookie: text(&parts.headers, header::COOKIE),
        authorization: text(&parts.headers, header::AUTHORIZATION),
        address: address.map(|ConnectInfo(address)| address.ip()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// True where a browser says that the request comes from a page of ours (Fetch, section 3.2).
fn is_own_page(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST);
    let origin = text(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(parts: &Parts, name: &str) -> Option<usize> {
    parameter(parts, name)?.parse().ok()
}

/// How many rows, and how many before them.
fn paging(parts: &Parts) -> (usize, usize) {
    let limit = number(parts, "limit").unwrap_or(API_ROWS_MAX).min(API_ROWS_MAX);
    (limit, number(parts, "offset").unwrap_or(0))
}

async fn bytes(body: Body) -> Result<axum::body::Bytes, Response> {
    to_bytes(body, API_BODY_BYTES_MAX).await.map_err(|_| {
        answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "The body is too large" }))
    })
}

fn good(value: &Value) -> Response {
    answer(StatusCode::OK, value)
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, ascii(value)).into_response()
}

fn too_many() -> Response {
    let body = json!({ "error": "Too many wrong passwords; try again in a minute" });
    let wait = [(header::RETRY_AFTER, (LOGIN_WINDOW_MS / 1_000).to_string())];
    (wait, answer(StatusCode::TOO_MANY_REQUESTS, &body)).into_response()
}

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, page).into_response()
}

/// Sends a browser elsewhere.
pub(super) fn redirect(to: &'static str, cookie: Option<&str>) -> Response {
    let mut answer = (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| header::HeaderValue::from_str(cookie).ok()) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

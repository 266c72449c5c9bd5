//! Who may do what: the one guard before everything below `/api/v1`.
//!
//! Owns: rate, credentials, scope, and that a browser's session changes something only when our
//! own page asks. Whatever has no credentials gets nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::tokens::Scope;
use super::{Shared, V1};
use crate::api::legacy::auth::{Denied, Who};
use crate::api::legacy::given;
use crate::api::problem::Problem;
use crate::limits::LOGIN_WINDOW_MS;

/// The field in which our page sends the word of its session.
pub const WORD_FIELD: &str = "x-engine-word";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Caller {
    /// The name of the token; `session` or `password` where there is none.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// What a page of this session sends in `X-Engine-Word` with whatever changes something.
    pub word: Option<String>,
}

/// Lets a request through, or says why not.
pub async fn guard(State(api): Shared, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match api.allow(&parts) {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn address(parts: &Parts) -> Option<IpAddr> {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|ConnectInfo(address)| address.ip())
}

impl Caller {
    /// # Errors
    ///
    /// It may not do that much.
    pub(super) fn may(&self, needed: Scope) -> Result<(), Problem> {
        if self.scope >= needed {
            return Ok(());
        }
        let (has, needed) = (self.scope.name(), needed.name());
        let detail = format!("this token may {has}; one that may {needed} is needed");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

impl V1 {
    pub(super) fn allow(&self, parts: &Parts) -> Result<Caller, Problem> {
        let counters = &self.setup.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let now_ms = (self.setup.clock)();
        if !self.rate().take(address(parts), now_ms) {
            counters.refused_rate.fetch_add(1, Ordering::Relaxed);
            let detail = "too many requests from this address; try again in a second";
            return Err(Problem::busy(StatusCode::TOO_MANY_REQUESTS, detail, 1));
        }
        let caller = self.caller(parts, now_ms).inspect_err(|_| {
            counters.refused_unknown.fetch_add(1, Ordering::Relaxed);
        })?;
        let looks = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        caller.may(if looks { Scope::Read } else { Scope::Write })?;
        if let Some(word) = caller.word.as_ref().filter(|_| !looks) {
            let said = parts.headers.get(WORD_FIELD).and_then(|said| said.to_str().ok());
            if !said.is_some_and(|said| self.setup.auth.is_word(word, said)) {
                let detail = "a session changes something from its own page only: send its word \
                              in X-Engine-Word (/api/v1/session has it)";
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
        }
        Ok(caller)
    }

    fn caller(&self, parts: &Parts, now_ms: u64) -> Result<Caller, Problem> {
        let unknown = "send a token of `engine token add` as `Authorization: Bearer …`, or log in";
        if let Some(token) = bearer(parts) {
            match self.setup.tokens.scope_of(token) {
                Ok(Some((scope, name))) => return Ok(Caller { name, scope, word: None }),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!("tokens of the API cannot be read: {error}");
                    let detail = "the tokens cannot be read; the engine's log says why";
                    return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 60));
                }
            }
        }
        match self.setup.auth.who(&given(parts), now_ms) {
            Ok(Who::Session { word }) => {
                Ok(Caller { name: "session".into(), scope: Scope::Admin, word: Some(word) })
            }
            Ok(Who::Program) => {
                Ok(Caller { name: "password".into(), scope: Scope::Admin, word: None })
            }
            Err(Denied::Unknown) => Err(Problem::new(StatusCode::UNAUTHORIZED, unknown)),
            Err(Denied::TooMany) => {
                let detail = "too many wrong passwords; try again in a minute";
                let wait_s = LOGIN_WINDOW_MS / 1_000;
                Err(Problem::busy(StatusCode::TOO_MANY_REQUESTS, detail, wait_s))
            }
        }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let field = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

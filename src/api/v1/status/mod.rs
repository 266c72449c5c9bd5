//! Public status pages and badges: what anybody may see, without a token.
//!
//! Owns: the routes, and that only what a page of the configuration selects is public. A page is
//! made at most once in five seconds and given to all who ask meanwhile; while it is made again
//! they get the one before, so what strangers cost does not depend on how many there are. Readers
//! are apart from those of the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Shared, V1, blocking};
use crate::api::answer::Answer;
use crate::api::problem::Problem;
use crate::config::maintenance::Window;
use crate::config::pages::StatusPage;
use crate::limits::PAGE_SHARED_MS;

mod atom;

pub mod badge;

mod html;

mod read;

mod view;

use read::Memory;
use view::View;

/// Nothing but files of ours; one script, which looks whether something changed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// A little longer than a page is kept here: caches on the way help too.
const CACHING: &str = "public, max-age=10";

/// The pages of the configuration, shared with whoever reads it anew.
#[derive(Debug, Default)]
pub struct Pages {
    pages: RwLock<Arc<[Arc<Page>]>>,
    windows: RwLock<Arc<[Window]>>,
}

/// One page, and what was made of it last.
#[derive(Debug)]
pub struct Page {
    config: StatusPage,
    made: RwLock<Option<Arc<Made>>>,
    /// Held by whoever makes it anew.
    memory: tokio::sync::Mutex<Memory>,
}

/// A page in all its forms.
#[derive(Debug)]
pub struct Made {
    /// When it was tried last, in milliseconds since the Unix epoch.
    tried_ms: AtomicU64,
    view: View,
    html: Answer,
    json: Answer,
    atom: Answer,
}

impl Pages {
    /// These pages from now on, with these windows of maintenance.
    pub fn set(&self, pages: &[StatusPage], windows: &[Window]) {
        let windows: Arc<[Window]> = windows.into();
        let page = |config: &StatusPage| {
            Arc::new(Page {
                config: config.clone(),
                made: RwLock::default(),
                memory: tokio::sync::Mutex::default(),
            })
        };
        let pages = pages.iter().map(page).collect();
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = pages;
        *self.windows.write().unwrap_or_else(PoisonError::into_inner) = windows;
    }

    /// All windows of maintenance.
    pub fn windows(&self) -> Arc<[Window]> {
        Arc::clone(&self.windows.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Slug and title of each page.
    pub fn configured(&self) -> Vec<(String, String)> {
        let both = |page: &Arc<Page>| (page.config.slug.clone(), page.config.title.clone());
        self.all().iter().map(both).collect()
    }

    fn all(&self) -> Arc<[Arc<Page>]> {
        Arc::clone(&self.pages.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, slug: &str) -> Option<Arc<Page>> {
        self.all().iter().find(|page| page.config.slug == slug).cloned()
    }
}

impl Page {
    fn made(&self) -> Option<Arc<Made>> {
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, made: Made) -> Arc<Made> {
        let made = Arc::new(made);
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&made));
        made
    }
}

/// The routes.
pub(super) fn routes(api: Arc<V1>) -> Router {
    Router::new()
        .route("/status/{name}", get(status))
        .route("/badge/{of}/{kind}", get(badge::badge))
        .with_state(api)
}

/// One page: `/status/shop`, `/status/shop.json` or `/status/shop.atom`.
async fn status(State(api): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let (slug, form) = name.split_once('.').unwrap_or((&name, "html"));
    let page = api.setup.status.of(slug).filter(|_| ["html", "json", "atom"].contains(&form));
    let Some(page) = page else {
        let text = "There is no such page. The configuration names them in status_pages.";
        return notice(StatusCode::NOT_FOUND, "Not found", text);
    };
    let made = match api.page(&page).await {
        Ok(made) => made,
        Err(problem) if form == "html" => {
            tracing::warn!(page = slug, "a public page cannot be made: {}", problem.detail);
            let text = "The state cannot be shown now. Try again in a minute.";
            return notice(StatusCode::SERVICE_UNAVAILABLE, "Not now", text);
        }
        Err(problem) => return problem.into_response(),
    };
    match form {
        "json" => made.json.to(&headers),
        "atom" => made.atom.to(&headers),
        _ => with_policy(made.html.to(&headers)),
    }
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn notice(status: StatusCode, head: &str, text: &str) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    with_policy((status, fields, html::notice(head, text)).into_response())
}

impl V1 {
    /// The page as it is now, or a few seconds ago.
    async fn page(&self, page: &Page) -> Result<Arc<Made>, Problem> {
        let is_fresh = |made: &Arc<Made>| {
            (self.setup.clock)().abs_diff(made.tried_ms.load(Ordering::Relaxed)) < PAGE_SHARED_MS
        };
        let before = page.made();
        if let Some(made) = before.as_ref().filter(|made| is_fresh(made)) {
            return Ok(Arc::clone(made));
        }
        let mut memory = match (page.memory.try_lock(), before) {
            (Ok(memory), _) => memory,
            (Err(_), Some(made)) => return Ok(made),
            (Err(_), None) => page.memory.lock().await,
        };
        // Somebody else may have made it meanwhile.
        let before = page.made();
        if let Some(made) = before.as_ref().filter(|made| is_fresh(made)) {
            return Ok(Arc::clone(made));
        }
        match self.make(page, &mut memory).await {
            Ok(made) => Ok(page.keep(made)),
            Err(problem) => match before {
                // It says of when it is.
                Some(made) => {
                    made.tried_ms.store((self.setup.clock)(), Ordering::Relaxed);
                    Ok(made)
                }
                None => Err(problem),
            },
        }
    }

    async fn make(&self, page: &Page, memory: &mut Memory) -> Result<Made, Problem> {
        let (index, now_ms) = (self.setup.fleet.index(), (self.setup.clock)());
        let (config, windows) = (page.config.clone(), self.setup.status.windows());
        let chosen = blocking(move || read::chosen(&index, &config)).await?;
        let (ids, mut kept) = (chosen.ids.clone(), std::mem::take(memory));
        let read = self.public.read(move |reader| {
            let rows = read::read(reader, &mut kept, &ids, now_ms)?;
            Ok((rows, kept))
        });
        let (rows, kept) = read.await?;
        *memory = kept;
        let config = page.config.clone();
        blocking(move || Made::of(view::view(&config, &chosen, rows, &windows, now_ms), now_ms))
            .await?
    }
}

impl Made {
    fn of(view: View, tried_ms: u64) -> Result<Made, Problem> {
        let of = |kind, body: Vec<u8>| Answer::of(kind, body.into(), CACHING);
        let json = serde_json::to_vec(&view)
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(Made {
            tried_ms: tried_ms.into(),
            html: of("text/html; charset=utf-8", html::page(&view).into_bytes()),
            json: of("application/json", json),
            atom: of("application/atom+xml", atom::feed(&view).into_bytes()),
            view,
        })
    }
}

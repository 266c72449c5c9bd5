//! The web page: files that are part of the program, served with a strict policy.
//!
//! Owns: the addresses of the page and of its files. The files are as they are in the tree: no
//! build step, nothing from elsewhere. What they show comes from `/api/v1`; the page itself has no
//! secrets, but whoever is not logged in is shown the way.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer::Answer;
use super::legacy::auth::Auth;
use super::legacy::{given, redirect};

/// Scripts and styles are files of ours, requests go to us, and nobody may frame us (CSP level 3).
/// With trusted types and no policy for them a browser refuses to turn text into markup at all.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Every file of the page: its name, media type and bytes.
const FILES: &[(&str, &str, &[u8])] = &[
    ("page.css", "text/css; charset=utf-8", include_bytes!("page/page.css")),
    ("status.css", "text/css; charset=utf-8", include_bytes!("page/status.css")),
    ("status.js", JS, include_bytes!("page/status.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
    ("theme.js", JS, include_bytes!("page/theme.js")),
    ("main.js", JS, include_bytes!("page/main.js")),
    ("api.js", JS, include_bytes!("page/api.js")),
    ("dom.js", JS, include_bytes!("page/dom.js")),
    ("format.js", JS, include_bytes!("page/format.js")),
    ("overview.js", JS, include_bytes!("page/overview.js")),
    ("map.js", JS, include_bytes!("page/map.js")),
    ("monitors.js", JS, include_bytes!("page/monitors.js")),
    ("monitor.js", JS, include_bytes!("page/monitor.js")),
    ("chart.js", JS, include_bytes!("page/chart.js")),
    ("edit.js", JS, include_bytes!("page/edit.js")),
    ("settings.js", JS, include_bytes!("page/settings.js")),
    ("incidents.js", JS, include_bytes!("page/incidents.js")),
];

/// What the page is served with.
struct Page {
    auth: Arc<Auth>,
    clock: fn() -> u64,
    index: Answer,
    files: Vec<(&'static str, Answer)>,
}

/// The routes.
pub fn routes(auth: Arc<Auth>, clock: fn() -> u64) -> Router {
    let file = |bytes: &'static [u8], kind| Answer::of(kind, Bytes::from_static(bytes), "no-cache");
    let page = Page {
        auth,
        clock,
        index: file(include_bytes!("page/index.html"), HTML),
        files: FILES.iter().map(|(name, kind, bytes)| (*name, file(bytes, kind))).collect(),
    };
    let mut routes = Router::new().route("/assets/{name}", get(asset));
    // Browsers ask for it by this name where a picture is opened by itself.
    routes = routes.route("/favicon.ico", get(icon));
    for path in ["/", "/monitors", "/monitors/{id}", "/incidents", "/settings"] {
        routes = routes.route(path, get(index));
    }
    routes.with_state(Arc::new(page))
}

async fn index(State(page): State<Arc<Page>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if page.auth.who(&given(&parts), (page.clock)()).is_err() {
        return redirect("/login", None);
    }
    let mut response = page.index.to(&parts.headers);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

async fn icon(page: State<Arc<Page>>, headers: HeaderMap) -> Response {
    asset(page, Path("icon.svg".to_owned()), headers).await
}

async fn asset(
    State(page): State<Arc<Page>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match page.files.iter().find(|(known, _)| *known == name) {
        Some((_, file)) => file.to(&headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

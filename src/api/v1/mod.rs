//! The API: everything a person or a program asks about monitors, below `/api/v1`.
//!
//! Owns: the routes and what they share. Whatever is about all monitors at once is answered from
//! memory ([`fleet`]); rows of one monitor or of one page are read from the store by a few readers
//! on threads of their own (`readers`). So nothing here waits for the control thread for long,
//! and nothing on a shard waits at all.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::legacy::auth::Auth;
use crate::api::problem::Problem;
use crate::limits::{FLEET_READ_ANYHOW, FLEET_READ_MS_MIN, FLEET_READ_SHARE};
use crate::messages::Changes;
use crate::metrics::latency;
use crate::metrics::snapshot::Published;
use crate::monitor::row::Interner;
use crate::store::{OpenReader, StoreHandle};

pub mod access;

mod bulk;

pub mod counters;

mod details;

pub mod fleet;

mod histograms;

mod history;

mod live;

mod load;

mod matching;

mod openapi;

mod overview;

pub mod probe;

mod probe_dns;

mod rate;

mod readers;

mod reads;

mod run;

pub mod scrape;

mod select;

pub mod settings;

pub mod status;

pub mod tail;

pub mod tokens;

mod uptime;

mod whole;

pub mod writes;

pub use openapi::Description;

use counters::ApiCounters;
use fleet::Fleet;
use live::Live;
use load::{Load, Watch};
use probe::Probing;
use rate::Rate;
use readers::{Readers, blocking};
use tokens::Tokens;
use whole::SharedAnswer;

/// How often live pages are told, and lag and rates are looked at.
const TURN: Duration = Duration::from_secs(1);

/// What the API works with.
pub struct Setup {
    /// Opens the store.
    pub readers: Arc<dyn OpenReader>,
    /// Where the snapshots of the shards are found.
    pub shards: Vec<Published>,
    /// The list of all monitors, fed with recorded results.
    pub fleet: Arc<Fleet>,
    /// The account.
    pub auth: Arc<Auth>,
    /// The way to the store thread, for changes.
    pub store: StoreHandle,
    /// The way to the shards, for changes.
    pub changes: Changes,
    /// Tokens of programs.
    pub tokens: Tokens,
    /// Numbers about the API.
    pub counters: Arc<ApiCounters>,
    /// Latency since the start.
    pub histograms: latency::Shared,
    /// Checks that are asked for by `/probe`.
    pub probing: Probing,
    /// Results as they are recorded.
    pub tail: Arc<tail::Tail>,
    /// The public pages.
    pub status: Arc<status::Pages>,
    /// What the engine was started with.
    pub started: Arc<settings::Started>,
    /// Gives the wall time, in milliseconds since the Unix epoch.
    pub clock: fn() -> u64,
}

/// The API at work.
pub struct V1 {
    setup: Setup,
    readers: Readers,
    /// Those of public pages and badges.
    public: Readers,
    rate: Mutex<Rate>,
    load: Mutex<Load>,
    live: Live,
    /// Held by whoever changes monitors.
    writer: tokio::sync::Mutex<Interner>,
    /// Told after a change: the list of all monitors is not of now.
    changed: Notify,
    overview: SharedAnswer,
    map: SharedAnswer,
    tags: SharedAnswer,
}

type Shared = State<Arc<V1>>;

/// Every route, below `/api/v1`.
fn table() -> Vec<(&'static str, MethodRouter<Arc<V1>>)> {
    vec![
        ("/openapi.json", get(openapi::openapi)),
        ("/session", get(whole::session)),
        ("/overview", get(whole::overview)),
        ("/map", get(whole::map)),
        ("/tags", get(whole::tags)),
        ("/events", get(whole::events)),
        ("/histograms", get(histograms::histograms)),
        ("/tail", get(tail::tail)),
        ("/settings", get(settings::settings)),
        ("/channels/{name}/test", post(settings::test_channel)),
        ("/tokens", get(settings::tokens).post(settings::add_token)),
        ("/tokens/{name}", delete(settings::remove_token)),
        ("/incidents", get(reads::incidents)),
        ("/transitions", get(reads::transitions)),
        ("/monitors", get(reads::monitors).post(writes::add)),
        ("/monitors/bulk", post(bulk::bulk)),
        ("/monitors/{id}", get(reads::monitor).patch(writes::change).delete(writes::remove)),
        ("/monitors/{id}/pause", post(writes::pause)),
        ("/monitors/{id}/resume", post(writes::resume)),
        ("/monitors/{id}/run", post(run::run)),
        ("/monitors/{id}/results", get(reads::results)),
        ("/monitors/{id}/history", get(reads::monitor_history)),
        ("/monitors/{id}/uptime", get(reads::uptime)),
        ("/monitors/{id}/evidence", get(reads::evidence)),
        ("/monitors/{id}/certificates", get(reads::certificates)),
        ("/monitors/{id}/incidents", get(reads::monitor_incidents)),
        ("/monitors/{id}/transitions", get(reads::monitor_transitions)),
    ]
}

/// The paths of all routes.
pub fn paths() -> Vec<String> {
    table().into_iter().map(|(path, _)| format!("/api/v1{path}")).collect()
}

/// The routes; begins to follow the engine. Call within a runtime.
pub fn routes(setup: Setup) -> Router {
    let api = Arc::new(V1 {
        readers: Readers::new(Arc::clone(&setup.readers)),
        public: Readers::new(Arc::clone(&setup.readers)),
        live: Live::new(Arc::clone(&setup.counters.live_dropped)),
        rate: Mutex::default(),
        load: Mutex::default(),
        writer: tokio::sync::Mutex::default(),
        changed: Notify::new(),
        overview: SharedAnswer::default(),
        map: SharedAnswer::default(),
        tags: SharedAnswer::default(),
        setup,
    });
    tokio::spawn(follow(Arc::downgrade(&api)));
    let mut routes = Router::new();
    for (path, route) in table() {
        routes = routes.route(path, route);
    }
    let routes = routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), access::guard))
        .with_state(Arc::clone(&api));
    let probe = Router::new().route("/probe", get(probe::probe)).with_state(Arc::clone(&api));
    Router::new().nest("/api/v1", routes).merge(probe).merge(status::routes(api))
}

impl V1 {
    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Load {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the list of all monitors anew; says how long it took.
    async fn read_fleet(&self) -> Duration {
        let fleet = Arc::clone(&self.setup.fleet);
        let begun = Instant::now();
        let read = self.readers.read(move |reader| fleet.reload(reader)).await;
        let counters = &self.setup.counters;
        if let Err(problem) = read {
            counters.fleet_failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("the list of monitors is not of now: {}", problem.detail);
        }
        let count = self.setup.fleet.index().len() as u64;
        counters.fleet.store(count, Ordering::Relaxed);
        self.watch_tagged();
        begun.elapsed()
    }

    /// Tells live pages what is new; there may be none.
    async fn tell(&self) {
        let changes = self.setup.fleet.take_changes();
        let listeners = self.live.listeners();
        self.setup.counters.live.store(listeners as u64, Ordering::Relaxed);
        if listeners == 0 {
            return;
        }
        if changes.count > 0
            && let Ok(text) = serde_json::to_string(&changes)
        {
            self.live.tell("changes", text);
        }
        if let Ok(overview) = self.overview(whole::OVERVIEW_TAGS_MAX).await
            && let Ok(text) = serde_json::to_string(&overview)
        {
            self.live.tell("overview", text);
        }
    }
}

/// Follows the engine until the API is gone: load and live pages once a second, the list of all
/// monitors as often as its length allows.
async fn follow(api: Weak<V1>) {
    let Some(mut watch) = api.upgrade().map(|api| Watch::new(api.setup.shards.clone())) else {
        return;
    };
    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut read_at, mut read_anyhow_at) = (Instant::now(), Instant::now());
    loop {
        turn.tick().await;
        let Some(api) = api.upgrade() else { return };
        let is_stale = api.changed.notified().now_or_never().is_some();
        let load = watch.look((api.setup.clock)());
        *api.load.lock().unwrap_or_else(PoisonError::into_inner) = load;
        let due_at = if api.setup.fleet.is_outdated() { read_at } else { read_anyhow_at };
        if is_stale || Instant::now() >= due_at {
            let took = api.read_fleet().await;
            let pause = (took * FLEET_READ_SHARE).max(Duration::from_millis(FLEET_READ_MS_MIN));
            read_at = Instant::now() + pause;
            read_anyhow_at = Instant::now() + pause * FLEET_READ_ANYHOW;
        }
        api.tell().await;
    }
}

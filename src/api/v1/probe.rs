//! `/probe`: one check now, as blackbox_exporter makes it.
//!
//! Owns: the parameters, the deadline and the forms of the answer. Needs credentials that may
//! write, since it sends something somewhere, and goes only where the egress policy allows. Checks
//! run on a thread of their own, a bounded number at once. Our own trouble is an error of the
//! scrape, never a target that is down.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use probes::spec::Family;
use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit, oneshot};

use super::probe_dns;
use super::readers::blocking;
use super::reads::query;
use super::tokens::Scope;
use super::{Shared, V1};
use crate::api::problem::Problem;
use crate::attempt::Attempt;
use crate::blackbox::answer::Probed;
use crate::blackbox::dns::Dns;
use crate::blackbox::{Module, Modules};
use crate::fault::Fault;
use crate::ids::MonitorId;
use crate::limits::{
    PROBE_OFFSET_MS, PROBE_TIMEOUT_MS_DEFAULT, PROBES_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN,
};
use crate::metrics::text::{Format, Text};
use crate::monitor::message::{Told, message};
use crate::monitor::row::{Interner, check};
use crate::monitor::{Kind, Monitor};
use crate::net::egress::Egress;
use crate::sample::CheckResult;

/// The module where a request names none.
const MODULE_DEFAULT: &str = "http_2xx";

/// Makes checks on a thread of their own.
pub trait Probe: Send + Sync {
    /// Makes one attempt. The outcome comes to the receiver; none comes where the thread is gone.
    fn check(&self, monitor: Monitor) -> oneshot::Receiver<Attempt>;
}

/// Starts the thread, when it is needed first.
pub type Start = dyn Fn() -> Result<Box<dyn Probe>, String> + Send + Sync;

/// What `/probe` works with.
pub struct Probing {
    modules: Modules,
    start: Arc<Start>,
    egress: Egress,
    prober: OnceCell<Box<dyn Probe>>,
    turns: Semaphore,
}

impl Probing {
    /// These modules, where they may go, and a thread that `start` starts.
    pub fn new(
        modules: Modules,
        egress: Egress,
        start: impl Fn() -> Result<Box<dyn Probe>, String> + Send + Sync + 'static,
    ) -> Probing {
        let (prober, turns) = (OnceCell::new(), Semaphore::new(PROBES_MAX));
        Probing { modules, egress, start: Arc::new(start), prober, turns }
    }

    async fn prober(&self) -> Result<&dyn Probe, Problem> {
        let started = self.prober.get_or_try_init(|| async {
            let start = Arc::clone(&self.start);
            let unable = |error: String| {
                tracing::error!("/probe cannot work: {error}");
                Problem::busy(StatusCode::SERVICE_UNAVAILABLE, error, 60)
            };
            blocking(move || start()).await?.map_err(unable)
        });
        Ok(&**started.await?)
    }
}

#[derive(Debug, Deserialize)]
struct ProbeQuery {
    target: Option<String>,
    module: Option<String>,
    hostname: Option<String>,
    debug: Option<String>,
}

/// Makes one check and answers with its metrics.
pub async fn probe(State(api): Shared, parts: Parts) -> Result<Response, Problem> {
    // A probe sends something.
    api.allow(&parts)?.may(Scope::Write)?;
    let asked: ProbeQuery = query(&parts.uri)?;
    let target = asked.target.as_deref().filter(|target| !target.is_empty());
    let target = target.ok_or_else(|| Problem::field("target", "is missing"))?;
    let name = asked.module.as_deref().unwrap_or(MODULE_DEFAULT);
    let modules = &api.setup.probing.modules;
    let module = modules.get(name).ok_or_else(|| {
        let known: Vec<&str> = modules.iter().map(|(name, _)| name.as_str()).collect();
        Problem::field("module", format!("{name:?} is none of {}", known.join(", ")))
    })?;
    let timeout_ms = timeout_ms(module, &parts.headers);
    if let Some(dns) = &module.dns {
        if !module.problems.is_empty() {
            return Err(Problem::field(
                "module",
                format!("{name}: {}", module.problems.join("; ")),
            ));
        }
        return api.probe_dns(dns, module, target, timeout_ms, asked.debug.as_deref()).await;
    }
    let row = module
        .row_for(target, asked.hostname.as_deref(), timeout_ms)
        .map_err(|problem| Problem::field("module", format!("{name}: {problem}")))?;
    let checked = check(&row, &mut Interner::default()).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Problem::field("target", errors.join("; "))
    })?;
    let monitor = checked.monitor(MonitorId(0));
    let attempt = api.attempt(monitor.clone()).await?;
    let probed = probed(&monitor, module, &attempt, timeout_ms)?;
    let mut text = Text::new(Format::Prometheus);
    probed.write(&mut text);
    let metrics = text.take();
    let wall_s = ((api.setup.clock)() / 1_000) as i64;
    let logs = probed.told(&message(&Told::of(&monitor, &attempt, 1, &[], wall_s)));
    Ok(answered(asked.debug.as_deref(), &logs, &metrics, monitor.kind.name(), timeout_ms))
}

/// The metrics, with `debug=true` among what a person wants to know.
fn answered(
    debug: Option<&str>,
    logs: &str,
    metrics: &str,
    prober: &str,
    timeout_ms: u64,
) -> Response {
    let body = match debug {
        Some("true") => format!(
            "Logs for the probe:\n{logs}\n\nMetrics that would have been returned:\n{metrics}\n\
             \n\nModule configuration:\nprober: {prober}\ntimeout: {timeout_ms}ms\n",
        ),
        _ => metrics.to_owned(),
    };
    let kind = Format::Prometheus.media_type();
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, body).into_response()
}

impl V1 {
    async fn probe_dns(
        &self,
        dns: &Dns,
        module: &Module,
        target: &str,
        timeout_ms: u64,
        debug: Option<&str>,
    ) -> Result<Response, Problem> {
        let _turn = self.turn()?;
        let family = match module.row.family.as_deref() {
            Some("v4") => Family::V4,
            Some("v6") => Family::V6,
            _ => Family::Any,
        };
        let exchange =
            probe_dns::ask(dns, target, family, &self.setup.probing.egress, timeout_ms).await?;
        let mut text = Text::new(Format::Prometheus);
        let success = dns.write(&mut text, &exchange, timeout_ms);
        let metrics = text.take();
        let told = match &exchange.reply {
            Ok(reply) => dns.fault(reply).unwrap_or_else(|| format!("{reply}")),
            Err(error) => error.clone(),
        };
        let result = if success { "success" } else { "failure" };
        let logs = format!("result: {result}\nmessage: {told}\naddress: {}\n", exchange.server);
        Ok(answered(debug, &logs, &metrics, "dns", timeout_ms))
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let counters = &self.setup.counters;
        counters.probes.fetch_add(1, Ordering::Relaxed);
        self.setup.probing.turns.try_acquire().map_err(|_| {
            counters.probes_refused.fetch_add(1, Ordering::Relaxed);
            let detail = format!("{PROBES_MAX} probes are running; ask later or less often");
            Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 1)
        })
    }

    async fn attempt(&self, monitor: Monitor) -> Result<Attempt, Problem> {
        let _turn = self.turn()?;
        self.setup.probing.prober().await?.check(monitor).await.map_err(|_| {
            let detail = "the thread that makes probes has ended; the engine's log says why";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        })
    }
}

/// What the module makes of an attempt.
fn probed<'a>(
    monitor: &Monitor,
    module: &Module,
    attempt: &'a Attempt,
    timeout_ms: u64,
) -> Result<Probed<'a>, Problem> {
    let text = attempt.outcome.detail.as_deref().map_or("", |detail| detail.text.as_str());
    let over_tls = attempt.outcome.cert.is_some();
    let fields = attempt.outcome.detail.as_deref().map_or(&[][..], |detail| &detail.headers);
    let is_web = matches!(monitor.kind, Kind::PingWeb | Kind::WebContent);
    let refused = is_web && !module.headers.iter().all(|rule| rule.holds(fields));
    let success = match attempt.result {
        CheckResult::Up => !refused && module.tls_wanted.is_none_or(|wanted| wanted == over_tls),
        CheckResult::Down(_) => false,
        CheckResult::Unknown(Fault::Egress) => {
            let detail =
                format!("{text}: /probe may not go there; --probe-allow says where it may");
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        CheckResult::Unknown(fault) => {
            let detail = format!("{}: {text}; {}", fault.name(), fault.fix());
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 5));
        }
        CheckResult::Missed(missed) => {
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, missed.name(), 5));
        }
    };
    let needle = matches!(
        attempt.result,
        CheckResult::Down(probes::Failure::NeedleMissing | probes::Failure::NeedleForbidden)
    );
    let kind = monitor.kind;
    let refused = refused || needle && kind == Kind::WebContent;
    Ok(Probed { kind, attempt, success, refused, timeout_ms })
}

/// The shorter one of the module's deadline and the scrape's, as blackbox_exporter takes it.
fn timeout_ms(module: &Module, headers: &HeaderMap) -> u64 {
    let field = headers.get("x-prometheus-scrape-timeout-seconds");
    let seconds = field.and_then(|field| field.to_str().ok()?.parse::<f64>().ok());
    let scrape = seconds.filter(|seconds| *seconds > 0.0 && *seconds < 1e6);
    let scrape_ms = scrape.map_or(PROBE_TIMEOUT_MS_DEFAULT, |seconds| (seconds * 1e3) as u64);
    let left_ms = scrape_ms.saturating_sub(PROBE_OFFSET_MS);
    let own_ms = module.timeout_ms.filter(|own_ms| *own_ms > 0);
    let wanted_ms = match own_ms {
        Some(own_ms) if left_ms == 0 || own_ms < left_ms => own_ms,
        _ => left_ms,
    };
    wanted_ms.clamp(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_deadline_counts_and_half_a_second_is_kept_for_the_answer() {
        let case = |own_ms: Option<u64>, scrape: &str| {
            let module = Module { timeout_ms: own_ms, ..Module::default() };
            let mut headers = HeaderMap::new();
            if !scrape.is_empty() {
                let name = "x-prometheus-scrape-timeout-seconds";
                headers.insert(name, scrape.parse().unwrap());
            }
            timeout_ms(&module, &headers)
        };
        assert_eq!(case(None, "10"), 9_500);
        assert_eq!(case(Some(5_000), "10"), 5_000);
        assert_eq!(case(Some(30_000), "10.0"), 9_500);
        assert_eq!(case(Some(5_000), "0.4"), 5_000);
        assert_eq!(case(None, ""), 119_500);
        assert_eq!(case(None, "0.2"), TIMEOUT_MS_MIN);
        assert_eq!(case(None, "NaN"), 119_500);
        assert_eq!(case(None, "1e300"), 119_500);
    }
}

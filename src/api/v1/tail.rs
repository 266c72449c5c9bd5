//! The stream of results as they are recorded, one JSON object a line.
//!
//! Owns: the channel between the store's thread and those who listen, and the lines. With nobody
//! listening a batch costs one look at a counter. Whoever reads too slowly loses results, is told
//! how many batches, and they are counted; nobody waits for a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;
use utoipa::IntoParams;

use super::Shared;
use super::fleet::{Fleet, Index, Place};
use super::reads::query;
use crate::api::problem::Problem;
use crate::limits::{TAIL_BATCHES_MAX, TAIL_CLIENTS_MAX};
use crate::monitor::Kind;
use crate::sample::{Sample, SampleBatch, Transition, Verdict};
use crate::store::view::ResultView;

/// How often a stream without results says that it is there, by an empty line.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The channel of all who listen.
#[derive(Debug)]
pub struct Tail {
    sender: broadcast::Sender<Arc<SampleBatch>>,
    dropped: AtomicU64,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { sender: broadcast::channel(TAIL_BATCHES_MAX).0, dropped: AtomicU64::new(0) }
    }
}

impl Tail {
    /// Passes recorded results on to those who listen.
    pub fn record(&self, batches: &[SampleBatch]) {
        if self.sender.receiver_count() > 0 {
            for batch in batches {
                // An error says that the last one has just gone.
                let _ = self.sender.send(Arc::new(batch.clone()));
            }
        }
    }

    /// One more who listens.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(super) fn listen(&self) -> Result<broadcast::Receiver<Arc<SampleBatch>>, Problem> {
        if self.sender.receiver_count() >= TAIL_CLIENTS_MAX {
            let detail = format!("{TAIL_CLIENTS_MAX} programs follow the results already; end one");
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 60));
        }
        Ok(self.sender.subscribe())
    }

    /// Somebody was too slow for these.
    pub(super) fn lost(&self, batches: u64) {
        self.dropped.fetch_add(batches, Ordering::Relaxed);
    }

    /// Batches that somebody was too slow for, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Which results to stream. What is left out does not narrow.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    /// Only changes of verdict.
    changes: Option<bool>,
    /// Of monitors with this tag.
    tag: Option<String>,
    /// Of monitors of this type.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<Kind>,
    /// With this verdict after the check.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// Of this monitor.
    monitor: Option<u64>,
}

/// Results as they are recorded.
#[utoipa::path(
    get, path = "/api/v1/tail", tag = "fleet", params(TailQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = String),
        (status = 400, body = Problem), (status = 503, body = Problem),
    ),
)]
pub async fn tail(State(api): Shared, uri: Uri) -> Result<Response, Problem> {
    let asked: TailQuery = query(&uri)?;
    let tail = Arc::clone(&api.setup.tail);
    let listener =
        Listener { receiver: tail.listen()?, tail, fleet: Arc::clone(&api.setup.fleet), asked };
    let lines = stream::unfold(listener, |mut listener| async move {
        let lines = listener.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(lines)), listener))
    });
    let fields = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((fields, Body::from_stream(lines)).into_response())
}

struct Listener {
    receiver: broadcast::Receiver<Arc<SampleBatch>>,
    tail: Arc<Tail>,
    fleet: Arc<Fleet>,
    asked: TailQuery,
}

impl Listener {
    /// The next lines; `None` where the engine has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            match timeout(KEEP_ALIVE, self.receiver.recv()).await {
                Ok(Ok(batch)) => {
                    let lines = lines(&batch, &self.fleet.index(), &self.asked);
                    if !lines.is_empty() {
                        return Some(lines);
                    }
                }
                Ok(Err(RecvError::Lagged(batches))) => {
                    self.tail.lost(batches);
                    return Some(format!("{}\n", json!({ "dropped_batches": batches })));
                }
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) => return Some("\n".to_owned()),
            }
        }
    }
}

/// The lines about a batch.
fn lines(batch: &SampleBatch, index: &Index, asked: &TailQuery) -> String {
    // A tag that nobody has fits nobody.
    let tag = asked.tag.as_ref().map(|tag| index.tag(tag));
    let fits = |place: Option<Place<'_>>, verdict: Verdict| {
        let has = |number: u32| place.is_some_and(|place| place.tags().contains(&number));
        asked.verdict.is_none_or(|wanted| wanted == verdict)
            && asked.kind.is_none_or(|wanted| place.and_then(Place::kind) == Some(wanted))
            && tag.is_none_or(|number| number.is_some_and(has))
    };
    let of = |id: u64| asked.monitor.is_none_or(|wanted| wanted == id);
    let mut out = String::new();
    let mut write = |line: Value| {
        out.push_str(&line.to_string());
        out.push('\n');
    };
    if asked.changes == Some(true) {
        let changes = batch.transitions.iter().filter(|change| change.is_change());
        for change in changes.filter(|change| of(change.monitor.0)) {
            let place = index.place(change.monitor);
            if fits(place, change.to) {
                write(changed(batch, change, index, place));
            }
        }
        return out;
    }
    for (at, sample) in batch.samples.iter().enumerate().filter(|(_, one)| of(one.monitor.0)) {
        let place = index.place(sample.monitor);
        if fits(place, sample.verdict) {
            write(found(batch, at, sample, index, place));
        }
    }
    out
}

/// Name and type, where the list has the monitor already.
fn named(index: &Index, place: Option<Place<'_>>) -> (Value, Value) {
    let name = place.map(|place| index.details().name(place.at()));
    (name.into(), place.and_then(Place::kind).map(Kind::name).into())
}

fn message(batch: &SampleBatch, at: usize) -> Option<&str> {
    batch.words_of(at).map(|words| &*words.message)
}

fn found(
    batch: &SampleBatch,
    at: usize,
    sample: &Sample,
    index: &Index,
    place: Option<Place<'_>>,
) -> Value {
    let (name, kind) = named(index, place);
    let mut line = serde_json::to_value(ResultView::from(sample)).unwrap_or_default();
    line["monitor"] = sample.monitor.0.into();
    line["name"] = name;
    line["type"] = kind;
    line["message"] = message(batch, at).into();
    line
}

fn changed(
    batch: &SampleBatch,
    change: &Transition,
    index: &Index,
    place: Option<Place<'_>>,
) -> Value {
    let (name, kind) = named(index, place);
    let at = batch.decided(change);
    json!({
        "at_ms": change.at_ms,
        "monitor": change.monitor.0,
        "name": name,
        "type": kind,
        "from": change.from.name(),
        "to": change.to.name(),
        "result": change.code.name(),
        "message": at.and_then(|at| message(batch, at)),
    })
}

#[cfg(test)]
mod tests {
    use probes::{Failure, Timings};

    use super::super::fleet::tests::{fleet_of, row};
    use super::*;
    use crate::ids::{MonitorId, ShardId};
    use crate::sample::{CheckResult, Code, Words};

    fn batch() -> SampleBatch {
        let sample = |id: u64, code: Code, verdict| Sample {
            monitor: MonitorId(id),
            due_ms: 9_000 + id,
            lag_us: 5,
            timings: Timings::NONE,
            total_us: 700,
            body_bytes: 0,
            code,
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict,
        };
        let refused = Code::from(CheckResult::Down(Failure::Refused));
        let samples = vec![sample(1, Code::GOOD, Verdict::Up), sample(2, refused, Verdict::Down)];
        let words = vec![Words {
            sample: 1,
            message: "refused\nhere".into(),
            detail: None,
            cert: None,
            attempts: Vec::new(),
        }];
        let change = Transition {
            marks: crate::sample::Marks::default(),
            monitor: MonitorId(2),
            at_ms: 9_002,
            from: Verdict::Up,
            to: Verdict::Down,
            code: refused,
        };
        SampleBatch { shard: ShardId(0), seq: 1, samples, words, transitions: vec![change] }
    }

    fn told(asked: TailQuery) -> Vec<Value> {
        let fleet = fleet_of(vec![
            row(1, "One", &["eu"], Verdict::Up),
            row(2, "Two", &["us"], Verdict::Up),
        ]);
        let text = lines(&batch(), &fleet.index(), &asked);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_result_is_one_line_with_its_name_and_message() {
        let all = told(TailQuery::default());
        assert_eq!(all.len(), 2);
        assert_eq!((&all[0]["name"], &all[0]["result"]), (&json!("One"), &json!("ok")));
        assert_eq!(all[1]["message"], "refused\nhere");
        assert_eq!((&all[1]["monitor"], &all[1]["total_us"]), (&json!(2), &json!(700)));
    }

    #[test]
    fn marks_alone_are_no_change() {
        let fleet = fleet_of(vec![row(2, "Two", &[], Verdict::Down)]);
        let mut batch = batch();
        batch.transitions[0].from = Verdict::Down;
        let asked = TailQuery { changes: Some(true), ..TailQuery::default() };
        assert_eq!(lines(&batch, &fleet.index(), &asked), "");
        fleet.record(&[batch]);
        assert_eq!(fleet.take_changes().count, 0);
    }

    #[test]
    fn each_filter_narrows() {
        let count = |asked: TailQuery| told(asked).len();
        let tag = |tag: &str| TailQuery { tag: Some(tag.into()), ..TailQuery::default() };
        assert_eq!((count(tag("eu")), count(tag("nobody"))), (1, 0));
        let down = TailQuery { verdict: Some(Verdict::Down), ..TailQuery::default() };
        assert_eq!(count(down), 1);
        let icmp = TailQuery { kind: Some(Kind::PingIcmp), ..TailQuery::default() };
        assert_eq!(count(icmp), 0);
        assert_eq!(count(TailQuery { monitor: Some(1), ..TailQuery::default() }), 1);
        let changes = told(TailQuery { changes: Some(true), ..TailQuery::default() });
        assert_eq!(changes.len(), 1);
        assert_eq!((&changes[0]["from"], &changes[0]["to"]), (&json!("up"), &json!("down")));
        assert_eq!(changes[0]["message"], "refused\nhere");
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_lost_and_nobody_waits_for_it() {
        let tail = Arc::new(Tail::default());
        tail.record(&[batch()]);
        let mut listener = Listener {
            receiver: tail.sender.subscribe(),
            tail: Arc::clone(&tail),
            fleet: Arc::default(),
            asked: TailQuery::default(),
        };
        (0..TAIL_BATCHES_MAX + 3).for_each(|_| tail.record(&[batch()]));
        let first = listener.next().await.unwrap();
        assert_eq!(first, "{\"dropped_batches\":3}\n");
        assert_eq!(tail.dropped(), 3);
        assert_eq!(listener.next().await.unwrap().lines().count(), 2);
    }
}

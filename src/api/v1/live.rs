//! Pages that follow the engine live, by server-sent events.
//!
//! Owns: one channel that all pages listen to. A page that does not read is dropped and counted;
//! its browser comes again by itself. A stream ends after a while, so that whoever may no longer
//! look does not look for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout_at};

use crate::api::problem::Problem;
use crate::limits::{LIVE_CLIENTS_MAX, LIVE_MESSAGES_MAX, LIVE_MS_MAX};

/// How often a stream without news says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The channel of all live pages.
#[derive(Debug)]
pub struct Live {
    sender: broadcast::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// The name of an event, and its data in one line.
#[derive(Clone, Debug)]
struct Message(&'static str, Arc<str>);

impl Live {
    /// Nobody listens yet. `dropped` counts pages that did not read.
    pub fn new(dropped: Arc<AtomicU64>) -> Live {
        Live { sender: broadcast::channel(LIVE_MESSAGES_MAX).0, dropped }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Tells all that listen.
    pub fn tell(&self, name: &'static str, data: String) {
        // An error says that nobody listens any more.
        let _ = self.sender.send(Message(name, data.into()));
    }

    /// One more listener.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn listen(
        &self,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
        if self.listeners() >= LIVE_CLIENTS_MAX {
            let detail = format!("{LIVE_CLIENTS_MAX} pages are live already; close one");
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 60));
        }
        let end = Instant::now() + Duration::from_millis(LIVE_MS_MAX);
        let state = (self.sender.subscribe(), Arc::clone(&self.dropped));
        let events = stream::unfold(state, move |(mut receiver, dropped)| async move {
            match timeout_at(end, receiver.recv()).await {
                Ok(Ok(Message(name, data))) => {
                    let event = Event::default().event(name).data(data);
                    Some((Ok(event), (receiver, dropped)))
                }
                Ok(Err(RecvError::Lagged(_))) => {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Ok(Err(RecvError::Closed)) | Err(_) => None,
            }
        });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::IntoResponse;

    use super::*;

    #[tokio::test]
    async fn a_listener_hears_what_is_told_and_one_that_does_not_read_is_dropped_and_counted() {
        let dropped = Arc::new(AtomicU64::new(0));
        let live = Live::new(Arc::clone(&dropped));
        let good = live.listen().unwrap().into_response();
        live.tell("changes", "{\"count\":1}".into());
        let slow = live.listen().unwrap().into_response();
        (0..=LIVE_MESSAGES_MAX).for_each(|_| live.tell("x", "1".into()));
        drop(live.sender.clone());
        let text = to_bytes(slow.into_body(), 1 << 20).await.unwrap();
        assert_eq!((text.len(), dropped.load(Ordering::Relaxed)), (0, 1));
        drop(good);
        let heard = live.listen().unwrap().into_response();
        live.tell("changes", "{\"count\":1}".into());
        drop(live);
        let text = to_bytes(heard.into_body(), 1 << 20).await.unwrap();
        assert_eq!(text, "event: changes\ndata: {\"count\":1}\n\n");
    }

    #[tokio::test]
    async fn listeners_are_bounded() {
        let live = Live::new(Arc::default());
        let all: Vec<_> = (0..LIVE_CLIENTS_MAX).map(|_| live.listen().unwrap()).collect();
        assert_eq!(live.listen().err().unwrap().status, 503);
        drop(all);
        assert!(live.listen().is_ok());
    }
}

//! A few readers of the store, each used by one request at a time.
//!
//! Owns: how many read at once and how long one waits for its turn. Reads run on threads for that:
//! the control thread goes on meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::api::problem::Problem;
use crate::limits::{API_READ_WAIT_MS, API_READERS_MAX};
use crate::store::{OpenReader, Read, StoreError};

/// The readers.
pub struct Readers {
    open: Arc<dyn OpenReader>,
    idle: Arc<Mutex<Vec<Box<dyn Read + Send>>>>,
    turns: Semaphore,
}

impl Readers {
    /// Readers that are opened when they are needed.
    pub fn new(open: Arc<dyn OpenReader>) -> Readers {
        Readers { open, idle: Arc::default(), turns: Semaphore::new(API_READERS_MAX) }
    }

    /// Reads on a thread for that.
    ///
    /// # Errors
    ///
    /// The store's, or that all readers are busy.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut dyn Read) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turns.acquire();
        let wait = Duration::from_millis(API_READ_WAIT_MS);
        let Ok(Ok(_turn)) = tokio::time::timeout(wait, turn).await else {
            let detail = "the store is busy with other requests; try again";
            return Err(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 1));
        };
        let (open, idle) = (Arc::clone(&self.open), Arc::clone(&self.idle));
        let read = move || {
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = match waiting {
                Some(reader) => reader,
                None => open.open()?,
            };
            let found = look(&mut *reader)?;
            // One that failed is not used again: its connection may be gone.
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            Ok(found)
        };
        blocking(read).await?.map_err(|error: StoreError| Problem::from(error))
    }
}

/// Closed on a thread for that: a reader may have an executor of its own, which must not end
/// within another one.
impl Drop for Readers {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::spawn(move || drop(idle));
    }
}

/// Does `work` on a thread for work that takes its time.
///
/// # Errors
///
/// The work panicked: our bug.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("a request to the API failed: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the engine; its log says more")
    })
}

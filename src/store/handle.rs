//! The way to the store thread, for whoever asks it: the start, the control thread, the feed.
//!
//! Owns: asking and waiting for the answer. The store thread answers between two commits.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel};

use super::{NewMonitor, StoreError, SyncReport, Tap, ToStore};
use crate::ids::MonitorId;
use crate::messages::{BatchSink, Refused, StoreGone};
use crate::monitor::State;
use crate::sample::SampleBatch;

/// The way to the store thread. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct StoreHandle(SyncSender<ToStore>);

impl StoreHandle {
    /// The way through this channel.
    pub fn new(to_store: SyncSender<ToStore>) -> StoreHandle {
        StoreHandle(to_store)
    }

    /// Adds or changes monitors of a source; where the database is away, says which are known.
    ///
    /// # Errors
    ///
    /// The database's, or `Ended`.
    pub fn put(&self, source: &str, rows: Vec<NewMonitor>) -> Result<SyncReport, StoreError> {
        let source = source.to_owned();
        self.ask(|reply| ToStore::Put { source, rows, reply })
    }

    /// Changes some monitors of a source; see [`super::Store::edit_monitors`].
    ///
    /// # Errors
    ///
    /// The database's, or `Ended`.
    pub fn edit(
        &self,
        source: &str,
        rows: Vec<NewMonitor>,
        gone: Vec<MonitorId>,
    ) -> Result<SyncReport, StoreError> {
        let source = source.to_owned();
        self.ask(|reply| ToStore::Edit { source, rows, gone, reply })
    }

    /// The monitors of a source; see [`super::Store::monitors_of`].
    ///
    /// # Errors
    ///
    /// The database's, or `Ended`.
    pub fn monitors_of(&self, source: &str) -> Result<Vec<MonitorId>, StoreError> {
        let source = source.to_owned();
        self.ask(|reply| ToStore::Of { source, reply })
    }

    /// The last known states of these monitors, or of all.
    ///
    /// # Errors
    ///
    /// The database's, or `Ended`.
    pub fn states(
        &self,
        of: Option<Vec<MonitorId>>,
    ) -> Result<HashMap<MonitorId, State>, StoreError> {
        self.ask(|reply| ToStore::States { of, reply })
    }

    /// Calls `tap` with batches once they are recorded, from now on, on the store thread.
    ///
    /// # Errors
    ///
    /// `Ended`.
    pub fn tap(&self, tap: impl FnMut(&[SampleBatch]) + Send + 'static) -> Result<(), StoreError> {
        self.0.send(ToStore::Tap(Tap(Box::new(tap)))).map_err(|_| StoreError::Ended)
    }

    /// Asks for the stop; true once the thread knows, or is gone. Does not wait for room.
    pub fn try_stop(&self) -> bool {
        !matches!(self.0.try_send(ToStore::Stop), Err(TrySendError::Full(_)))
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(Sender<Result<T, StoreError>>) -> ToStore,
    ) -> Result<T, StoreError> {
        let (reply, answer) = channel();
        self.0.send(question(reply)).map_err(|_| StoreError::Ended)?;
        answer.recv().map_err(|_| StoreError::Ended)?
    }
}

/// The way of one shard to the store.
impl BatchSink for StoreHandle {
    fn offer(&self, batch: SampleBatch) -> Result<(), Refused> {
        match self.0.try_send(ToStore::Batch(batch)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(ToStore::Batch(batch))) => Err(Refused::Full(batch)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Refused::Gone),
        }
    }

    fn give(&self, batch: SampleBatch) -> Result<(), StoreGone> {
        self.0.send(ToStore::Batch(batch)).map_err(|_| StoreGone)
    }
}

//! The threads that send: a slow receiver costs one of them, never the alerts' thread.
//!
//! Owns: the threads, which start when there is something to send, and the answers on their way
//! back. A panic inside a channel is a failed delivery.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::channel::Channel;
use super::http::Failed;
use super::keeper::ToAlerts;
use super::outbox::Ready;
use crate::limits::ALERT_SENDERS_MAX;

/// A notice on its way.
pub(super) struct Job {
    pub(super) ready: Ready,
    pub(super) channel: Arc<Channel>,
}

/// What became of it.
#[derive(Debug)]
pub struct Done {
    pub(super) id: i64,
    pub(super) subject: i64,
    pub(super) attempts: u32,
    pub(super) channel: String,
    pub(super) outcome: Result<(), Failed>,
}

/// The threads, seen from the alerts' thread.
pub(super) struct Senders {
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    done: Sender<ToAlerts>,
    threads: usize,
    busy: usize,
}

impl Senders {
    /// No thread yet; answers go to `done`.
    pub(super) fn new(done: Sender<ToAlerts>) -> Senders {
        let (jobs, queue) = channel();
        Senders { jobs, queue: Arc::new(Mutex::new(queue)), done, threads: 0, busy: 0 }
    }

    /// Deliveries on their way.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Deliveries that may start.
    pub(super) fn room(&self) -> usize {
        ALERT_SENDERS_MAX - self.busy
    }

    /// Starts a delivery. There must be room.
    pub(super) fn start(&mut self, job: Job) {
        assert!(self.busy < ALERT_SENDERS_MAX);
        self.busy += 1;
        if self.threads < self.busy {
            let (queue, done) = (Arc::clone(&self.queue), self.done.clone());
            let name = format!("sender-{}", self.threads);
            match Builder::new().name(name).spawn(move || work(&queue, &done)) {
                Ok(_) => self.threads += 1,
                // Those that run take the job when they are free; without any it waits for one.
                Err(error) => tracing::error!(%error, "no thread to send notices"),
            }
        }
        // The receiving side lives as long as this does.
        let _ = self.jobs.send(job);
    }

    /// An answer was taken.
    pub(super) fn ended(&mut self) {
        self.busy -= 1;
    }
}

fn work(queue: &Mutex<Receiver<Job>>, done: &Sender<ToAlerts>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { ready, channel }) = job else { return };
        let sent = catch_unwind(AssertUnwindSafe(|| channel.way.send(&ready.notice)));
        let outcome = sent.unwrap_or_else(|_| Err(Failed::later("a fault of the engine")));
        let answer = Done {
            id: ready.id,
            subject: ready.subject,
            attempts: ready.attempts,
            channel: channel.name.clone(),
            outcome,
        };
        if done.send(ToAlerts::Done(answer)).is_err() {
            return;
        }
    }
}

//! The original's log files: one thread that turns recorded results into lines and writes them.
//!
//! Owns: the thread and the channel to it. Whoever logs never waits: what does not fit is counted
//! and told. Runs only where this form of log is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::{LOG_QUEUE_MESSAGES_MAX, LOG_ROUND_MESSAGES_MAX, LOG_STATS_MS};
use crate::sample::SampleBatch;

pub mod delta;

pub mod files;

pub mod lines;

use files::Files;
pub use lines::Facts;
use lines::Lines;

/// How long lines may wait to be written.
const FLUSH: Duration = Duration::from_secs(1);

enum Message {
    Batch(SampleBatch),
    Event { at_ms: u64, is_error: bool, text: String },
    Known(Vec<Facts>),
    Learnt(Vec<Facts>, Vec<MonitorId>),
    Stop,
}

/// The way to the log files. Clones lead to the same ones.
#[derive(Clone)]
pub struct Logs {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// The thread, to be waited for at the end.
pub struct LogThread(JoinHandle<()>);

impl Logs {
    /// Starts the thread `logs`, which writes to files in `folder`; `single` takes the lines of
    /// the main file and of the monitors.
    ///
    /// # Errors
    ///
    /// The folder cannot be made, or the operating system gives no thread.
    pub fn start(folder: &Path, single: Option<PathBuf>) -> std::io::Result<(Logs, LogThread)> {
        let files = Files::new(folder, single)?;
        let (sender, messages) = sync_channel(LOG_QUEUE_MESSAGES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines::new(TimeZone::system(), wall_millis());
        let writer =
            Writer { messages, lines, files, dropped: Arc::clone(&dropped), is_failing: false };
        let thread = std::thread::Builder::new().name("logs".into()).spawn(|| writer.run())?;
        Ok((Logs { messages: sender, dropped }, LogThread(thread)))
    }

    /// Says what is known of all monitors; waits for room.
    pub fn know(&self, facts: Vec<Facts>) {
        // The thread ends at `stop` only: then there is nothing to say any more.
        let _ = self.messages.send(Message::Known(facts));
    }

    /// Says what is known of some monitors, and which are gone; waits for room.
    pub fn learn(&self, facts: Vec<Facts>, gone: Vec<MonitorId>) {
        let _ = self.messages.send(Message::Learnt(facts, gone));
    }

    /// Logs recorded results.
    pub fn record(&self, batches: &[SampleBatch]) {
        batches.iter().for_each(|batch| self.offer(Message::Batch(batch.clone())));
    }

    /// Logs an event of the engine's own.
    pub fn event(&self, is_error: bool, text: String) {
        self.offer(Message::Event { at_ms: wall_millis(), is_error, text });
    }

    /// Writes what was logged before and ends the thread.
    pub fn stop(&self, thread: LogThread) {
        let _ = self.messages.send(Message::Stop);
        if let Err(panic) = thread.0.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn offer(&self, message: Message) {
        let size = match &message {
            Message::Batch(batch) => batch.samples.len() as u64,
            _ => 1,
        };
        if self.messages.try_send(message).is_err() {
            self.dropped.fetch_add(size, Ordering::Relaxed);
        }
    }
}

struct Writer {
    messages: Receiver<Message>,
    lines: Lines,
    files: Files,
    dropped: Arc<AtomicU64>,
    /// True while the last write failed: it is said once.
    is_failing: bool,
}

impl Writer {
    fn run(mut self) {
        let every = Duration::from_millis(LOG_STATS_MS);
        let mut stats_at = Instant::now() + every;
        let mut goes_on = true;
        while goes_on {
            goes_on = self.take();
            if Instant::now() >= stats_at {
                stats_at += every;
                self.lines.stats(wall_millis());
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let text = format!("{dropped} results or lines were not logged: too many at once");
                self.lines.event(wall_millis(), true, &text);
            }
            self.write();
        }
    }

    /// Takes what is there, waiting for the first; false after the last.
    fn take(&mut self) -> bool {
        let mut next = match self.messages.recv_timeout(FLUSH) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        let mut taken = 0;
        while let Some(message) = next.take() {
            match message {
                Message::Batch(batch) => self.lines.record(&batch),
                Message::Event { at_ms, is_error, text } => {
                    self.lines.event(at_ms, is_error, &text);
                }
                Message::Known(facts) => self.lines.know(facts),
                Message::Learnt(facts, gone) => self.lines.learn(facts, &gone),
                Message::Stop => return false,
            }
            taken += 1;
            if taken < LOG_ROUND_MESSAGES_MAX {
                next = self.messages.try_recv().ok();
            }
        }
        true
    }

    fn write(&mut self) {
        let mut failure = None;
        for (place, text) in self.lines.open.drain() {
            failure = self.files.append(place, &text).err().or(failure);
        }
        if let Some(error) = &failure
            && !self.is_failing
        {
            // Not through the log: it is the log that fails.
            eprintln!("error: log files cannot be written: {error}");
        }
        self.is_failing = failure.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_logged_before_the_stop_is_written() {
        let place = tempfile::tempdir().unwrap();
        let (logs, thread) = Logs::start(place.path(), None).unwrap();
        logs.event(false, "started".into());
        logs.event(true, "no room".into());
        logs.stop(thread);
        let main = fs::read_to_string(place.path().join("log_main.txt")).unwrap();
        assert!(main.ends_with("# None - started\n"), "{main}");
        let errors = fs::read_to_string(place.path().join("log.error")).unwrap();
        assert!(errors.ends_with("# ERROR: no room\n"), "{errors}");
    }

    #[test]
    fn a_full_queue_makes_nobody_wait_and_is_counted() {
        let (messages, _held) = sync_channel(1);
        let logs = Logs { messages, dropped: Arc::default() };
        for _ in 0..5 {
            logs.event(false, "x".into());
        }
        assert_eq!(logs.dropped.load(Ordering::Relaxed), 4);
    }
}

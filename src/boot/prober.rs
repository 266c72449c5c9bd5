//! Makes checks that somebody asks for now, on a thread and a ring of their own.
//!
//! Owns: the thread. It has no schedule and no store, and shares nothing with the shards: however
//! many ask, no check of a shard is later for it. How many may ask at once is the caller's to
//! bound.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use crate::api::v1::probe::Probe;
use crate::attempt::Attempt;
use crate::boot::EngineError;
use crate::clock::Clock;
use crate::fault::Fault;
use crate::ids::{Slot, SlotRef};
use crate::limits::PROBES_MAX;
use crate::monitor::Monitor;
use crate::net::driver::Driver;
use crate::net::egress::Egress;
use crate::net::resolve::ResolverConfig;
use crate::net::trust::Trust;

/// A check and where its outcome goes.
struct Asked {
    monitor: Monitor,
    answer: oneshot::Sender<Attempt>,
}

/// The way to the thread. It ends when this is dropped.
pub struct Prober {
    asked: Sender<Asked>,
    wake: Wake,
    trust: Trust,
}

/// Wakes the thread, also when it is dropped: below the channel, so that the thread finds that
/// gone.
struct Wake(Arc<EventFd>);

impl Drop for Wake {
    fn drop(&mut self) {
        let _ = self.0.write(1);
    }
}

impl Prober {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The roots, the resolver's files, the ring, or no thread.
    pub fn start(roots: Option<&Path>, egress: Egress) -> Result<Prober, EngineError> {
        let trust = Trust::of(roots)?;
        let resolver =
            ResolverConfig::from_system(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf"))?;
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags).map_err(io::Error::from)?);
        let (asked, inbox) = channel();
        let (ready, started) = channel();
        let (roots, waker) = (trust.clone(), Arc::clone(&wake));
        // A ring takes work from the thread only that made it.
        let work = move || {
            let made = Driver::new(Clock::start(), roots, resolver, PROBES_MAX);
            let mut driver = match made {
                Ok(driver) => driver,
                Err(error) => return drop(ready.send(Err(error))),
            };
            driver.confine(egress);
            let _ = ready.send(Ok(()));
            let work = Work { driver, inbox, wake: waker, waiting: HashMap::new(), next: 0 };
            if let Err(error) = work.run() {
                tracing::error!(%error, "checks that are asked for cannot be made any more");
            }
        };
        std::thread::Builder::new().name("prober".to_owned()).spawn(work)?;
        started.recv().map_err(|_| io::Error::other("the thread has ended"))??;
        Ok(Prober { asked, wake: Wake(wake), trust })
    }
}

impl Probe for Prober {
    fn check(&self, monitor: Monitor) -> oneshot::Receiver<Attempt> {
        let (answer, outcome) = oneshot::channel();
        if let Err(error) = self.trust.load_for(&monitor.spec) {
            let _ = answer.send(Attempt::of_fault(Fault::TlsSetup, error.to_string(), 0));
            return outcome;
        }
        let _ = self.asked.send(Asked { monitor, answer });
        let _ = self.wake.0.write(1);
        outcome
    }
}

struct Work {
    driver: Driver,
    inbox: Receiver<Asked>,
    wake: Arc<EventFd>,
    waiting: HashMap<u32, oneshot::Sender<Attempt>>,
    next: u32,
}

impl Work {
    fn run(mut self) -> io::Result<()> {
        loop {
            self.driver.watch_inbox(self.wake.as_fd())?;
            while !self.driver.take_inbox_ready() {
                self.driver.turn(None)?;
                for (at, attempt) in self.driver.finished().drain(..) {
                    if let Some(answer) = self.waiting.remove(&at.slot.0) {
                        // Whoever asked may have gone.
                        let _ = answer.send(attempt);
                    }
                }
            }
            let _ = self.wake.read();
            loop {
                match self.inbox.try_recv() {
                    Ok(asked) => self.launch(asked),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn launch(&mut self, Asked { monitor, answer }: Asked) {
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(self.next, answer);
        self.driver.launch(SlotRef { slot: Slot(self.next), generation: 0 }, &monitor);
    }
}

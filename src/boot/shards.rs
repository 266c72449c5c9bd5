//! Starts the shards, each a pinned glommio executor, and sends them their monitors.
//!
//! Owns: the threads and their inboxes. A shard that ends by itself ends the process: a monitor
//! that silently lost its checks is worse than one that restarts.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::clock::Clock;
use crate::guard::vantage::Vantage;
use crate::ids::{MonitorId, ShardId};
use crate::limits::{COMMAND_MONITORS_MAX, EXECUTOR_IO_BYTES, EXECUTOR_RING_ENTRIES};
use crate::messages::{Assign, BatchSink, Command, InboxSender, ShardGone, inbox};
use crate::metrics::snapshot::Published;
use crate::monitor::partition::owner;
use crate::net::driver::Driver;
use crate::net::resolve::ResolverConfig;
use crate::net::trust::Trust;
use crate::sample::Marks;
use crate::shard::run::{Loop, Setup};

/// A shard that could not be started or that ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The executor, the ring or the inbox could not be made.
    #[error("shard {shard} on CPU {cpu} cannot start: {reason}; `engine doctor` says why")]
    Start {
        /// Which.
        shard: u16,
        /// Where.
        cpu: usize,
        /// The error of the executor or the ring.
        reason: String,
    },
    /// The thread is gone although nobody asked for it.
    #[error("shard {shard} has ended by itself: {reason}")]
    Died {
        /// Which.
        shard: u16,
        /// Its error, or the panic.
        reason: String,
    },
}

/// What all shards are given.
pub struct Common {
    /// The schedule clock.
    pub clock: Clock,
    /// The roots that handshakes trust.
    pub trust: Trust,
    /// Name servers and hosts.
    pub resolver: ResolverConfig,
    /// Probes in flight per shard.
    pub in_flight_max: usize,
    /// Where the guard tells them how it stands.
    pub vantage: Arc<Vantage>,
}

struct Thread {
    id: ShardId,
    inbox: InboxSender,
    handle: Option<ExecutorJoinHandle<Result<(), String>>>,
}

/// The running shards.
pub struct Shards {
    threads: Vec<Thread>,
    published: Vec<Published>,
}

impl Shards {
    /// Starts one shard on each of `cpus`; `sink` makes the way of each to the store.
    ///
    /// # Errors
    ///
    /// `Start` for the first that fails; those before it end when their inbox is dropped.
    pub fn start(
        cpus: &[usize],
        common: &Common,
        sink: impl Fn() -> Box<dyn BatchSink>,
    ) -> Result<Shards, ShardError> {
        let mut shards = Shards { threads: Vec::new(), published: Vec::new() };
        for (number, cpu) in cpus.iter().enumerate() {
            let id = ShardId(number as u16);
            let failed = |reason: String| ShardError::Start { shard: id.0, cpu: *cpu, reason };
            let published = Published::new(id);
            let (ready, started) = channel();
            let (sender, handle) = spawn(id, *cpu, common, published.clone(), sink(), ready)
                .map_err(|error| failed(error.to_string()))?;
            shards.threads.push(Thread { id, inbox: sender, handle: Some(handle) });
            shards.published.push(published);
            match started.recv() {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return Err(failed(reason)),
                Err(_) => return Err(failed("the executor has ended".to_string())),
            }
        }
        Ok(shards)
    }

    /// Where the snapshots of the shards are found.
    pub fn published(&self) -> Vec<Published> {
        self.published.clone()
    }

    /// Sends each monitor to its owner.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn assign(&self, monitors: Vec<Assign>) -> Result<(), ShardGone> {
        let shards = self.threads.len() as u16;
        let mut parts: Vec<Vec<Assign>> = self.threads.iter().map(|_| Vec::new()).collect();
        for assign in monitors {
            let shard = usize::from(owner(assign.monitor.id, shards).0);
            parts[shard].push(assign);
            if parts[shard].len() == COMMAND_MONITORS_MAX {
                let full = std::mem::take(&mut parts[shard]);
                self.threads[shard].inbox.send(Command::Assign(full))?;
            }
        }
        for (thread, part) in self.threads.iter().zip(parts) {
            if !part.is_empty() {
                thread.inbox.send(Command::Assign(part))?;
            }
        }
        Ok(())
    }

    /// Tells each owner to forget these monitors.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn remove(&self, ids: &[MonitorId]) -> Result<(), ShardGone> {
        self.tell_owners(ids, Command::Remove)
    }

    /// Tells each owner to check these monitors now.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn check_now(&self, ids: &[MonitorId]) -> Result<(), ShardGone> {
        self.tell_owners(ids, Command::CheckNow)
    }

    /// Tells each owner that these monitors get a mark or lose it.
    ///
    /// # Errors
    ///
    /// A shard has ended.
    pub fn mark(&self, mark: Marks, on: bool, ids: &[MonitorId]) -> Result<(), ShardGone> {
        self.tell_owners(ids, |monitors| Command::Mark { monitors, mark, on })
    }

    fn tell_owners(
        &self,
        ids: &[MonitorId],
        command: impl Fn(Vec<MonitorId>) -> Command,
    ) -> Result<(), ShardGone> {
        let shards = self.threads.len() as u16;
        for thread in &self.threads {
            let mine = ids.iter().copied().filter(|id| owner(*id, shards) == thread.id);
            let mine: Vec<_> = mine.collect();
            for part in mine.chunks(COMMAND_MONITORS_MAX) {
                thread.inbox.send(command(part.to_vec()))?;
            }
        }
        Ok(())
    }

    /// Lets the shards end what is in flight and leave.
    pub fn drain(&self) {
        self.tell(|| Command::Drain);
    }

    /// Makes the shards leave now.
    pub fn quit(&self) {
        self.tell(|| Command::Quit);
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for thread in &self.threads {
            // A shard that has ended already has nothing to be told.
            let _ = thread.inbox.send(command());
        }
    }

    /// True when every shard has ended.
    pub fn all_ended(&self) -> bool {
        self.threads.iter().all(ended)
    }

    /// A shard that ended although it was not told to.
    pub fn take_dead(&mut self) -> Option<ShardError> {
        let thread = self.threads.iter_mut().find(|thread| ended(thread))?;
        let reason = join(thread.handle.take()?).err().unwrap_or_else(|| "no error".to_string());
        Some(ShardError::Died { shard: thread.id.0, reason })
    }

    /// Waits until every shard has ended, or until `deadline`; true where all have.
    pub fn wait(&self, deadline: Instant) -> bool {
        while !self.all_ended() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

fn ended(thread: &Thread) -> bool {
    thread.handle.is_none() || thread.inbox.is_gone()
}

fn join(handle: ExecutorJoinHandle<Result<(), String>>) -> Result<(), String> {
    match handle.join() {
        Ok(result) => result,
        Err(error) => Err(error.to_string()),
    }
}

type Spawned = (InboxSender, ExecutorJoinHandle<Result<(), String>>);

fn spawn(
    id: ShardId,
    cpu: usize,
    common: &Common,
    published: Published,
    store: Box<dyn BatchSink>,
    ready: Sender<Result<(), String>>,
) -> Result<Spawned, Box<dyn std::error::Error>> {
    let (sender, inbox) = inbox()?;
    let (clock, trust, resolver) = (common.clock, common.trust.clone(), common.resolver.clone());
    let in_flight_max = common.in_flight_max;
    let vantage = Arc::clone(&common.vantage);
    let work = move || async move {
        let driver = match Driver::new(clock, trust, resolver, in_flight_max) {
            Ok(driver) => driver,
            Err(error) => {
                let _ = ready.send(Err(error.to_string()));
                return Err(error.to_string());
            }
        };
        let _ = ready.send(Ok(()));
        let setup = Setup { id, clock, inbox, store, published, driver, vantage };
        Loop::new(setup).run().await.map_err(|error| error.to_string())
    };
    let handle = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(&format!("shard-{id}"))
        .io_memory(EXECUTOR_IO_BYTES)
        .ring_depth(EXECUTOR_RING_ENTRIES)
        .spawn(work)
        .map_err(|error| error.to_string())?;
    Ok((sender, handle))
}

//! What crosses threads, and the bounded senders that count every refusal.
//!
//! Owns: the messages, the inbox of a shard, and the way of changes to the control thread. A shard
//! sleeps in its ring: whoever sends to it wakes it through an eventfd that the ring watches.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use crate::ids::MonitorId;
use crate::limits::{CHANGES_QUEUED_MAX, INBOX_COMMANDS_MAX};
use crate::monitor::{Monitor, State};
use crate::sample::{Marks, SampleBatch};

/// A monitor and what was last known of it, on the way to its shard.
#[derive(Clone, Debug)]
pub struct Assign {
    /// What to check.
    pub monitor: Monitor,
    /// What was known; ignored where the shard has the monitor already.
    pub state: State,
}

/// An isolation of this host began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardChange {
    /// When it was seen, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// True where it began: failures are unknown until it ends.
    pub isolated: bool,
    /// When it began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Canaries are silent.
    pub canaries: bool,
    /// No way out on this host, or every name server silent.
    pub local: bool,
    /// A share of the monitors beyond any usual one fails.
    pub mass: bool,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Command {
    /// Add these monitors, or change those that are there already. A changed monitor keeps its
    /// phase, its state and its check in flight.
    Assign(Vec<Assign>),
    /// Forget these monitors.
    Remove(Vec<MonitorId>),
    /// Mark these monitors, or take the mark away.
    Mark {
        /// Which; ids that are not known are passed over.
        monitors: Vec<MonitorId>,
        /// One mark that no result decides: maintenance or unreachable.
        mark: Marks,
        /// True where it is to be there.
        on: bool,
    },
    /// Check these monitors now, beside their schedule. One that is paused, or whose check is due,
    /// waits or runs already, is passed over.
    CheckNow(Vec<MonitorId>),
    /// Start nothing more, let what is in flight end, seal the batch and leave.
    Drain,
    /// Leave now: what is in flight is unknown(cancelled).
    Quit,
}

/// Where a shard hands over its batches. The store's thread implements it over its bounded channel.
pub trait BatchSink: Send {
    /// Hands over a batch without waiting.
    ///
    /// # Errors
    ///
    /// Gives the batch back, with the reason.
    fn offer(&self, batch: SampleBatch) -> Result<(), Refused>;

    /// Hands over a batch, waiting for room.
    ///
    /// # Errors
    ///
    /// The store has ended.
    fn give(&self, batch: SampleBatch) -> Result<(), StoreGone>;
}

/// A batch that was not taken.
#[derive(Debug)]
pub enum Refused {
    /// The channel is full: to be offered again later.
    Full(SampleBatch),
    /// The store has ended.
    Gone,
}

/// The store on the other side is gone: the process is stopping or the store has died.
#[derive(Debug, thiserror::Error)]
#[error("the store has ended")]
pub struct StoreGone;

/// The sending side of a shard's inbox. There is one for each; the shard leaves when it is gone.
#[derive(Debug)]
pub struct InboxSender {
    commands: SyncSender<Command>,
    /// Below `commands`, since it is dropped after it: the shard wakes and finds it gone.
    wake: Waker,
}

/// Wakes the shard, also when it is dropped.
#[derive(Debug)]
struct Waker(Arc<EventFd>);

impl Waker {
    fn wake(&self) {
        // EAGAIN means that the counter is at its end: the shard is awake already.
        let _ = self.0.write(1);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.wake();
    }
}

/// The receiving side of a shard's inbox.
#[derive(Debug)]
pub struct Inbox {
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
}

/// The shard on the other side is gone: the process is stopping or a shard has died.
#[derive(Debug, thiserror::Error)]
#[error("the shard has ended")]
pub struct ShardGone;

/// Makes the inbox of one shard.
///
/// # Errors
///
/// The errno of eventfd(2): no descriptor is left.
pub fn inbox() -> nix::Result<(InboxSender, Inbox)> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, receiver) = sync_channel(INBOX_COMMANDS_MAX);
    let inbox = Inbox { commands: receiver, wake: Arc::clone(&wake) };
    Ok((InboxSender { commands: sender, wake: Waker(wake) }, inbox))
}

impl InboxSender {
    /// Sends a command and wakes the shard; waits while the inbox is full.
    ///
    /// # Errors
    ///
    /// The shard has ended.
    pub fn send(&self, command: Command) -> Result<(), ShardGone> {
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Disconnected(_)) => return Err(ShardGone),
            Err(TrySendError::Full(command)) => {
                self.wake.wake();
                self.commands.send(command).map_err(|_| ShardGone)?;
            }
        }
        self.wake.wake();
        Ok(())
    }

    /// True where the receiving side is gone.
    pub fn is_gone(&self) -> bool {
        // The inbox holds the other half of the eventfd's two owners.
        Arc::strong_count(&self.wake.0) < 2
    }
}

impl Inbox {
    /// The next command, if one is there; [`Command::Quit`] where the sending side is gone.
    pub fn try_next(&self) -> Option<Command> {
        match self.commands.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Command::Quit),
        }
    }

    /// Clears the wake-up, so that the descriptor is readable only for what comes later. Call
    /// before [`Inbox::try_next`].
    pub fn clear_wake(&self) {
        let _ = self.wake.read();
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What the control thread is told about the monitors, whoever learned of it: the tables of the
/// database, or the API.
#[derive(Debug)]
pub enum Change {
    /// Add these monitors, or change those that run.
    Upsert(Vec<Assign>),
    /// Take these away.
    Remove(Vec<MonitorId>),
    /// Check these now, as [`Command::CheckNow`] says.
    CheckNow(Vec<MonitorId>),
}

/// A change on its way, and who waits for it.
#[derive(Debug)]
pub struct Pending {
    change: Change,
    done: oneshot::Sender<()>,
}

impl Pending {
    /// Makes the change by `make` and tells the sender that it is made.
    ///
    /// # Errors
    ///
    /// Those of `make`; the sender is told that nobody takes changes any more.
    pub fn make<E>(self, make: impl FnOnce(Change) -> Result<(), E>) -> Result<(), E> {
        make(self.change)?;
        // Whoever asked may be gone: then nobody waits.
        let _ = self.done.send(());
        Ok(())
    }
}

/// The way to the control thread. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Changes(mpsc::Sender<Pending>);

/// The control thread's end of it.
#[derive(Debug)]
pub struct ChangeInbox(mpsc::Receiver<Pending>);

/// The control thread takes no more changes: the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the engine is stopping")]
pub struct ControlGone;

/// Makes the way of changes, for `CHANGES_QUEUED_MAX` of them.
pub fn changes() -> (Changes, ChangeInbox) {
    let (sender, receiver) = mpsc::channel(CHANGES_QUEUED_MAX);
    (Changes(sender), ChangeInbox(receiver))
}

impl Changes {
    /// Sends a change, waiting for room, and returns when the shards have it.
    ///
    /// # Errors
    ///
    /// The engine is stopping; the change may or may not have been made.
    pub async fn apply(&self, change: Change) -> Result<(), ControlGone> {
        let (done, made) = oneshot::channel();
        self.0.send(Pending { change, done }).await.map_err(|_| ControlGone)?;
        made.await.map_err(|_| ControlGone)
    }
}

impl ChangeInbox {
    /// The next change; `None` when all senders are gone.
    pub async fn next(&mut self) -> Option<Pending> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_over_when_it_was_made_and_fails_when_nobody_takes_it() {
        let (changes, mut inbox) = changes();
        let asked = tokio::spawn({
            let changes = changes.clone();
            async move { changes.apply(Change::Remove(vec![MonitorId(7)])).await }
        });
        let pending = inbox.next().await.unwrap();
        assert!(matches!(&pending.change, Change::Remove(ids) if *ids == [MonitorId(7)]));
        assert!(!asked.is_finished());
        pending.make(|_| Ok::<_, ()>(())).unwrap();
        asked.await.unwrap().unwrap();
        drop(inbox);
        assert!(changes.apply(Change::Remove(vec![])).await.is_err());
    }

    #[test]
    fn a_command_makes_the_inbox_readable_until_it_is_cleared() {
        let (sender, inbox) = inbox().unwrap();
        sender.send(Command::Drain).unwrap();
        assert_eq!(inbox.wake.read().unwrap(), 1);
        inbox.clear_wake();
        assert!(matches!(inbox.try_next(), Some(Command::Drain)));
        assert!(inbox.try_next().is_none());
    }

    #[test]
    fn a_sender_that_is_gone_wakes_the_shard_and_means_quit_after_what_it_sent() {
        let (sender, inbox) = inbox().unwrap();
        sender.send(Command::Drain).unwrap();
        inbox.clear_wake();
        drop(sender);
        assert_eq!(inbox.wake.read().unwrap(), 1);
        assert!(matches!(inbox.try_next(), Some(Command::Drain)));
        assert!(matches!(inbox.try_next(), Some(Command::Quit)));
    }

    #[test]
    fn sending_to_an_ended_shard_is_an_error() {
        let (sender, inbox) = inbox().unwrap();
        drop(inbox);
        assert!(sender.send(Command::Quit).is_err());
    }
}

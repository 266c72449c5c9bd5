//! The checks that are due and wait for room, oldest first.
//!
//! Owns: the order of starts. Retries of checks that began earlier stand before new ones, since
//! their due time is older. Allocates only to grow.

use std::collections::{BinaryHeap, VecDeque};

use crate::ids::{SlotRef, Tick};

/// One start that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub slot: SlotRef,
    /// When it was due.
    pub due: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Later {
    at: Tick,
    waiting: Waiting,
}

/// The earliest is the greatest, for the heap.
impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |later: &Later| (later.at, later.waiting.due, later.waiting.slot.slot);
        key(other).cmp(&key(self))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The checks that are due and wait for room, and the retries that wait for their time.
#[derive(Debug, Default)]
pub struct DueList {
    first: VecDeque<Waiting>,
    retries: VecDeque<Waiting>,
    later: BinaryHeap<Later>,
}

impl DueList {
    /// Puts a new check at the end.
    pub fn push(&mut self, waiting: Waiting) {
        self.first.push_back(waiting);
    }

    /// Puts off a further attempt of a check until `at`. It holds no room meanwhile.
    pub fn push_later(&mut self, at: Tick, waiting: Waiting) {
        self.later.push(Later { at, waiting });
    }

    /// Moves the attempts whose time has come to the ones that may start.
    pub fn ripen(&mut self, now: Tick) {
        while let Some(later) = self.later.peek().filter(|later| later.at <= now) {
            self.retries.push_back(later.waiting);
            self.later.pop();
        }
    }

    /// The next to start.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.retries.pop_front().or_else(|| self.first.pop_front())
    }

    /// Those that could start now, were there room.
    pub fn ready(&self) -> usize {
        self.first.len() + self.retries.len()
    }

    /// When the next put-off attempt ripens.
    pub fn next_later(&self) -> Option<Tick> {
        self.later.peek().map(|later| later.at)
    }

    /// Takes out everything that waits, put-off attempts too.
    pub fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        let later = std::mem::take(&mut self.later).into_iter().map(|later| later.waiting);
        let ready = std::mem::take(&mut self.retries).into_iter();
        ready.chain(std::mem::take(&mut self.first)).chain(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slot;

    fn waiting(slot: u32, due: u64) -> Waiting {
        Waiting { slot: SlotRef { slot: Slot(slot), generation: 0 }, due: Tick(due) }
    }

    #[test]
    fn a_ripe_retry_starts_before_newer_checks() {
        let mut list = DueList::default();
        list.push(waiting(1, 100));
        list.push_later(Tick(110), waiting(2, 50));
        list.ripen(Tick(109));
        assert_eq!(list.ready(), 1);
        list.ripen(Tick(110));
        assert_eq!(list.pop(), Some(waiting(2, 50)));
        assert_eq!(list.pop(), Some(waiting(1, 100)));
        assert_eq!(list.pop(), None);
    }

    #[test]
    fn retries_ripen_in_the_order_of_their_time() {
        let mut list = DueList::default();
        list.push_later(Tick(30), waiting(3, 3));
        list.push_later(Tick(10), waiting(1, 1));
        list.push_later(Tick(20), waiting(2, 2));
        assert_eq!(list.next_later(), Some(Tick(10)));
        list.ripen(Tick(25));
        assert_eq!(list.pop(), Some(waiting(1, 1)));
        assert_eq!(list.pop(), Some(waiting(2, 2)));
        assert_eq!(list.next_later(), Some(Tick(30)));
    }
}

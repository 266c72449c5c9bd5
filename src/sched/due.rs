//! The checks that are due and wait for room, oldest first.
//!
//! Owns: the order of starts. What comes after a failure (retries, confirmations, checks of
//! monitors that are down) waits in a line of its own: it holds its place in flight for a whole
//! timeout, so it takes turns with the others and leaves them a part of the room. An outage of very
//! many targets then does not delay the healthy rest. Allocates only to grow.

use std::collections::{BinaryHeap, VecDeque};

use crate::ids::{SlotRef, Tick};
use crate::limits::ROOM_RESERVE_DIVISOR;

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

/// Places in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Free ones.
    pub free: usize,
    /// Those of them that only sound monitors get.
    pub reserved: usize,
}

impl Room {
    /// So many `free` ones of `max`.
    pub fn new(free: usize, max: usize) -> Room {
        Room { free, reserved: max / ROOM_RESERVE_DIVISOR }
    }

    /// True where a check of a doubtful monitor may start.
    fn takes_doubtful(self) -> bool {
        self.free > self.reserved
    }
}

/// The checks that are due and wait for room, and the further ones that wait for their time.
#[derive(Debug, Default)]
pub struct DueList {
    sound: VecDeque<Waiting>,
    doubtful: VecDeque<Waiting>,
    /// Whose turn it is where both wait.
    doubtful_next: bool,
    later: BinaryHeap<Later>,
}

impl DueList {
    /// Puts a new check at the end of its line.
    pub fn push(&mut self, waiting: Waiting, doubtful: bool) {
        if doubtful { &mut self.doubtful } else { &mut self.sound }.push_back(waiting);
    }

    /// Puts off a further attempt of a check until `at`. It holds no room meanwhile.
    pub fn push_later(&mut self, at: Tick, waiting: Waiting) {
        self.later.push(Later { at, waiting });
    }

    /// Moves the attempts whose time has come to the ones that may start.
    pub fn ripen(&mut self, now: Tick) {
        while let Some(later) = self.later.peek().filter(|later| later.at <= now) {
            self.doubtful.push_back(later.waiting);
            self.later.pop();
        }
    }

    /// The next to start.
    pub fn pop(&mut self, room: Room) -> Option<Waiting> {
        let doubtful = !self.doubtful.is_empty() && room.takes_doubtful();
        if doubtful && (self.doubtful_next || self.sound.is_empty()) {
            self.doubtful_next = false;
            return self.doubtful.pop_front();
        }
        self.doubtful_next = true;
        if room.free > 0 { self.sound.pop_front() } else { None }
    }

    /// True where one could start in this room.
    pub fn can_start(&self, room: Room) -> bool {
        (!self.sound.is_empty() && room.free > 0)
            || (!self.doubtful.is_empty() && room.takes_doubtful())
    }

    /// Those that could start now, were there room.
    pub fn ready(&self) -> usize {
        self.sound.len() + self.doubtful.len()
    }

    /// When the next put-off attempt ripens.
    pub fn next_later(&self) -> Option<Tick> {
        self.later.peek().map(|later| later.at)
    }

    /// Takes out everything that waits, put-off attempts too.
    pub fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        let later = std::mem::take(&mut self.later).into_iter().map(|later| later.waiting);
        let ready = std::mem::take(&mut self.doubtful).into_iter();
        ready.chain(std::mem::take(&mut self.sound)).chain(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slot;

    fn waiting(slot: u32, due: u64) -> Waiting {
        Waiting { slot: SlotRef { slot: Slot(slot), generation: 0 }, due: Tick(due) }
    }

    const WIDE: Room = Room { free: 100, reserved: 25 };

    #[test]
    fn sound_and_doubtful_monitors_take_turns_and_the_reserve_is_for_the_sound() {
        let mut list = DueList::default();
        (1..=3).for_each(|slot| list.push(waiting(slot, 100), false));
        list.push_later(Tick(110), waiting(11, 50));
        list.push(waiting(10, 100), true);
        list.ripen(Tick(109));
        assert_eq!(list.ready(), 4);
        list.ripen(Tick(110));
        let order: Vec<_> =
            std::iter::from_fn(|| list.pop(WIDE)).map(|next| next.slot.slot.0).collect();
        assert_eq!(order, [1, 10, 2, 11, 3]);
        list.push(waiting(10, 100), true);
        let scarce = Room { free: 25, reserved: 25 };
        assert_eq!((list.can_start(scarce), list.pop(scarce)), (false, None));
        list.push(waiting(1, 100), false);
        assert_eq!((list.can_start(scarce), list.pop(scarce)), (true, Some(waiting(1, 100))));
        assert_eq!(list.pop(Room { free: 0, reserved: 0 }), None);
    }

    #[test]
    fn retries_ripen_in_the_order_of_their_time() {
        let mut list = DueList::default();
        list.push_later(Tick(30), waiting(3, 3));
        list.push_later(Tick(10), waiting(1, 1));
        list.push_later(Tick(20), waiting(2, 2));
        assert_eq!(list.next_later(), Some(Tick(10)));
        list.ripen(Tick(25));
        assert_eq!(list.pop(WIDE), Some(waiting(1, 1)));
        assert_eq!(list.pop(WIDE), Some(waiting(2, 2)));
        assert_eq!(list.next_later(), Some(Tick(30)));
    }
}

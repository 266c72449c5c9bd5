//! A timer wheel of two levels over small integer keys.
//!
//! Owns: which key is armed for which tick. Costs 16 bytes a key and no allocation once the keys
//! are known; arming and disarming touch a constant number of entries. The near level holds every
//! tick of the block the wheel is in (4,096 ticks, 41 s) exactly; the far level holds one list per
//! later block, moved to the near level when its block begins.

use crate::ids::Tick;

const BLOCK_BITS: u32 = 12;
const BLOCK_TICKS: u64 = 1 << BLOCK_BITS;
const LISTS: usize = BLOCK_TICKS as usize;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    due: u64,
    next: u32,
    /// The entry before, [`NONE`] for the first of its list, or [`IDLE`].
    prev: u32,
}

/// Marks an entry that is in no list.
const IDLE: u32 = u32::MAX - 1;

/// Which key is armed for which tick.
pub struct Wheel {
    entries: Vec<Entry>,
    near: Box<[u32]>,
    far: Box<[u32]>,
    /// One bit for each list of `near` that is not empty.
    occupied: [u64; LISTS / 64],
    /// Every tick up to this one has expired.
    now: u64,
    armed: usize,
}

impl Wheel {
    /// An empty wheel in which every tick up to `now` has expired.
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            entries: Vec::new(),
            near: vec![NONE; LISTS].into(),
            far: vec![NONE; LISTS].into(),
            occupied: [0; LISTS / 64],
            now: now.0,
            armed: 0,
        }
    }

    /// Keys that are armed.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// True where no key is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// The tick a key is armed for.
    pub fn due(&self, key: u32) -> Option<Tick> {
        let entry = self.entries.get(key as usize)?;
        (entry.prev != IDLE).then_some(Tick(entry.due))
    }

    /// Arms `key` for `due`, or for the next tick where that has expired already. A key that is
    /// armed is moved.
    pub fn arm(&mut self, key: u32, due: Tick) {
        self.disarm(key);
        let index = key as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry { due: 0, next: NONE, prev: IDLE });
        }
        self.entries[index].due = due.0.max(self.now + 1);
        self.link(key);
        self.armed += 1;
    }

    /// Disarms `key`; nothing happens where it is not armed.
    pub fn disarm(&mut self, key: u32) {
        let Some(entry) = self.entries.get(key as usize).copied() else { return };
        if entry.prev == IDLE {
            return;
        }
        if entry.prev == NONE {
            let list = self.list_of(entry.due);
            self.set_head(list, entry.next);
        } else {
            self.entries[entry.prev as usize].next = entry.next;
        }
        if entry.next != NONE {
            self.entries[entry.next as usize].prev = entry.prev;
        }
        self.entries[key as usize].prev = IDLE;
        self.armed -= 1;
    }

    /// Calls `each` with every key due at or before `now`, in the order of their ticks, and disarms
    /// them. A time that lies behind is ignored.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(u32, Tick)) {
        while let Some(tick) = self.step_to(now.0) {
            let list = List::Near((tick % BLOCK_TICKS) as usize);
            let mut key = self.head(list);
            self.set_head(list, NONE);
            while key != NONE {
                let entry = &mut self.entries[key as usize];
                let next = entry.next;
                entry.prev = IDLE;
                self.armed -= 1;
                each(key, Tick(tick));
                key = next;
            }
        }
    }

    /// A tick before which nothing expires: the next armed one where it lies in this block, else
    /// the start of the next block. `None` for an empty wheel.
    pub fn next_expiry(&self) -> Option<Tick> {
        if self.armed == 0 {
            return None;
        }
        Some(Tick(self.next_occupied().unwrap_or_else(|| next_block(self.now))))
    }

    /// Moves to the next tick up to `limit` that has keys, or to `limit`.
    fn step_to(&mut self, limit: u64) -> Option<u64> {
        while self.now < limit {
            let block_end = next_block(self.now) - 1;
            if let Some(tick) = self.next_occupied().filter(|tick| *tick <= limit) {
                self.now = tick;
                return Some(tick);
            }
            self.now = block_end.min(limit);
            if self.now == limit {
                return None;
            }
            // The last tick of the block has expired: the next one begins a block.
            self.now += 1;
            self.begin_block();
            if self.head(List::Near((self.now % BLOCK_TICKS) as usize)) != NONE {
                return Some(self.now);
            }
        }
        None
    }

    /// The first tick after `now` in its block that has keys.
    fn next_occupied(&self) -> Option<u64> {
        let block = self.now & !(BLOCK_TICKS - 1);
        let first = (self.now - block + 1) as usize;
        let mut word = first / 64;
        let mut bits = *self.occupied.get(word)? & (u64::MAX << (first % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(block + (word * 64) as u64 + u64::from(bits.trailing_zeros()))
    }

    /// Brings the keys of the block that `now` begins from the far level to the near one.
    fn begin_block(&mut self) {
        let list = List::Far(((self.now >> BLOCK_BITS) % BLOCK_TICKS) as usize);
        let mut key = self.head(list);
        self.set_head(list, NONE);
        while key != NONE {
            let next = self.entries[key as usize].next;
            self.link(key); // A key a whole round of the far level away goes back to its list.
            key = next;
        }
    }

    fn link(&mut self, key: u32) {
        let list = self.list_of(self.entries[key as usize].due);
        let head = self.head(list);
        if head != NONE {
            self.entries[head as usize].prev = key;
        }
        let entry = &mut self.entries[key as usize];
        entry.next = head;
        entry.prev = NONE;
        self.set_head(list, key);
    }

    fn list_of(&self, due: u64) -> List {
        if due >> BLOCK_BITS == self.now >> BLOCK_BITS {
            List::Near((due % BLOCK_TICKS) as usize)
        } else {
            List::Far(((due >> BLOCK_BITS) % BLOCK_TICKS) as usize)
        }
    }

    fn head(&self, list: List) -> u32 {
        match list {
            List::Near(index) => self.near[index],
            List::Far(index) => self.far[index],
        }
    }

    fn set_head(&mut self, list: List, key: u32) {
        match list {
            List::Near(index) => {
                self.near[index] = key;
                let bit = 1u64 << (index % 64);
                let word = &mut self.occupied[index / 64];
                *word = if key == NONE { *word & !bit } else { *word | bit };
            }
            List::Far(index) => self.far[index] = key,
        }
    }
}

#[derive(Clone, Copy)]
enum List {
    Near(usize),
    Far(usize),
}

fn next_block(tick: u64) -> u64 {
    (tick | (BLOCK_TICKS - 1)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn expired(wheel: &mut Wheel, now: u64) -> Vec<(u32, u64)> {
        let mut keys = Vec::new();
        wheel.expire(Tick(now), |key, due| keys.push((key, due.0)));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_key_expires_at_its_tick_and_only_once() {
        let mut wheel = Wheel::new(Tick(100));
        wheel.arm(7, Tick(105));
        assert_eq!(expired(&mut wheel, 104), []);
        assert_eq!(expired(&mut wheel, 105), [(7, 105)]);
        assert_eq!(expired(&mut wheel, 20_000), []);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_key_armed_for_the_past_expires_at_the_next_tick() {
        let mut wheel = Wheel::new(Tick(100));
        wheel.arm(1, Tick(3));
        assert_eq!(wheel.next_expiry(), Some(Tick(101)));
        assert_eq!(expired(&mut wheel, 101), [(1, 101)]);
    }

    #[test]
    fn a_key_many_rounds_away_waits_for_its_own_round() {
        let mut wheel = Wheel::new(Tick(0));
        let far = BLOCK_TICKS * BLOCK_TICKS + 5;
        wheel.arm(0, Tick(far));
        wheel.arm(1, Tick(5));
        assert_eq!(expired(&mut wheel, far - 1), [(1, 5)]);
        assert_eq!(expired(&mut wheel, far), [(0, far)]);
    }

    #[test]
    fn the_next_expiry_is_exact_within_a_block() {
        let mut wheel = Wheel::new(Tick(1_000));
        assert_eq!(wheel.next_expiry(), None);
        wheel.arm(0, Tick(BLOCK_TICKS + 9));
        assert_eq!(wheel.next_expiry(), Some(Tick(BLOCK_TICKS)));
        wheel.arm(1, Tick(1_234));
        assert_eq!(wheel.next_expiry(), Some(Tick(1_234)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32, u64),
        Disarm(u32),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let reach = prop_oneof![0..20u64, 0..9_000u64, 0..40_000_000u64];
        prop_oneof![
            4 => (0..40u32, reach.clone()).prop_map(|(key, ahead)| Step::Arm(key, ahead)),
            1 => (0..40u32).prop_map(Step::Disarm),
            3 => reach.prop_map(Step::Expire),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_a_sorted_map_does(
            start in 0..10_000_000u64,
            steps in proptest::collection::vec(step(), 1..120),
        ) {
            let mut wheel = Wheel::new(Tick(start));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = start;
            for step in steps {
                match step {
                    Step::Arm(key, ahead) => {
                        wheel.arm(key, Tick(now + ahead));
                        model.insert(key, (now + ahead).max(now + 1));
                    }
                    Step::Disarm(key) => {
                        wheel.disarm(key);
                        model.remove(&key);
                    }
                    Step::Expire(ahead) => {
                        now += ahead;
                        let mut due: Vec<_> = model.iter().map(|(k, t)| (*k, *t))
                            .filter(|(_, tick)| *tick <= now).collect();
                        due.sort_unstable();
                        model.retain(|_, tick| *tick > now);
                        prop_assert_eq!(expired(&mut wheel, now), due);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                if let Some(next) = wheel.next_expiry() {
                    prop_assert!(next.0 > now);
                    prop_assert!(model.values().all(|tick| *tick >= next.0));
                }
            }
        }
    }
}

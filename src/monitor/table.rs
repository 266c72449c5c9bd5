//! The monitors of one shard, by slot.
//!
//! Owns: slots and their generations, and what a shard knows of each monitor while it runs. What
//! every tick touches ([`Hot`]) lies apart from the definitions. A table that holds slots only, 5
//! bytes each, finds the one of a number: the numbers are with the definitions.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::ids::{MonitorId, Slot, SlotRef, Tick};
use crate::monitor::flap::History;
use crate::monitor::{Monitor, State};
use crate::sample::Marks;

/// Where the check of a monitor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Armed, or paused.
    #[default]
    Idle,
    /// Due, and waiting for room.
    Waiting,
    /// A probe is on the wire.
    InFlight,
    /// An attempt failed; the next one waits for its time or for room.
    Retrying,
}

impl Activity {
    /// True where an attempt waits to be started.
    pub fn waits(self) -> bool {
        matches!(self, Activity::Waiting | Activity::Retrying)
    }
}

/// What every tick touches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hot {
    /// Due time of the check that waits or runs.
    pub due: Tick,
    /// Start minus due of that check, in microseconds.
    pub lag_us: u32,
    /// Raised each time the slot gets another monitor.
    pub generation: u32,
    /// Where the check is.
    pub activity: Activity,
    /// Attempts made in that check.
    pub attempts: u8,
    /// What is known.
    pub state: State,
    /// When the first failure ended of those that speak against the verdict; 0 for none.
    pub failing_since: Tick,
    /// When a failed check is to be confirmed; 0 for never.
    pub confirm_at: Tick,
    /// True where the check that waits or runs confirms a failed one.
    pub confirms: bool,
    /// Its last results.
    pub history: History,
    /// What to know beside the verdict.
    pub marks: Marks,
}

impl Hot {
    /// Begins a check that is due then: it waits for room.
    pub fn begin(&mut self, due: Tick, confirms: bool) {
        self.due = due;
        self.attempts = 0;
        self.confirms = confirms;
        self.activity = Activity::Waiting;
    }
}

/// The monitors of one shard, by slot.
#[derive(Debug, Default)]
pub struct Table {
    hot: Vec<Hot>,
    monitors: Vec<Option<Monitor>>,
    by_id: HashTable<Slot>,
    hasher: RandomState,
    free: Vec<Slot>,
}

impl Table {
    /// Monitors in the table.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The slot of a monitor.
    pub fn slot(&self, id: MonitorId) -> Option<Slot> {
        let is = |slot: &Slot| {
            let monitor = self.monitors[slot.0 as usize].as_ref();
            monitor.is_some_and(|monitor| monitor.id == id)
        };
        self.by_id.find(self.hasher.hash_one(id), is).copied()
    }

    /// Gives a new monitor a slot.
    pub fn insert(&mut self, monitor: Monitor, state: State) -> Slot {
        let id = monitor.id;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.hot.push(Hot::default());
            self.monitors.push(None);
            Slot((self.hot.len() - 1) as u32)
        });
        let hot = &mut self.hot[slot.0 as usize];
        let generation = hot.generation.wrapping_add(1);
        *hot = Hot { generation, state, ..Hot::default() };
        self.monitors[slot.0 as usize] = Some(monitor);
        let Table { by_id, hasher, monitors, .. } = self;
        by_id.insert_unique(hasher.hash_one(id), slot, |slot| {
            let monitor = monitors[slot.0 as usize].as_ref();
            hasher.hash_one(monitor.map_or(MonitorId(0), |monitor| monitor.id))
        });
        slot
    }

    /// Replaces the definition in a slot; what is known and what runs stay.
    pub fn replace(&mut self, slot: Slot, monitor: Monitor) {
        self.monitors[slot.0 as usize] = Some(monitor);
    }

    /// Frees the slot of a monitor. Results that come later do not find it.
    pub fn remove(&mut self, slot: Slot) -> Option<Monitor> {
        let monitor = self.monitors[slot.0 as usize].take()?;
        let hash = self.hasher.hash_one(monitor.id);
        if let Ok(entry) = self.by_id.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.hot[slot.0 as usize].generation += 1;
        self.free.push(slot);
        Some(monitor)
    }

    /// The reference by which later events find this monitor, and only this one.
    pub fn reference(&self, slot: Slot) -> SlotRef {
        SlotRef { slot, generation: self.hot[slot.0 as usize].generation }
    }

    /// The monitor of a reference, unless it has gone since.
    pub fn find(&mut self, at: SlotRef) -> Option<(&mut Hot, &Monitor)> {
        let hot = self.hot.get_mut(at.slot.0 as usize)?;
        let monitor = self.monitors.get(at.slot.0 as usize)?.as_ref()?;
        (hot.generation == at.generation).then_some((hot, monitor))
    }

    /// The monitor in a slot.
    pub fn get(&self, slot: Slot) -> Option<(&Hot, &Monitor)> {
        let monitor = self.monitors.get(slot.0 as usize)?.as_ref()?;
        Some((&self.hot[slot.0 as usize], monitor))
    }

    /// The monitor in a slot, to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<(&mut Hot, &Monitor)> {
        let monitor = self.monitors.get(slot.0 as usize)?.as_ref()?;
        Some((&mut self.hot[slot.0 as usize], monitor))
    }

    /// Reads all that a start of these monitors needs. Of a million monitors hardly one is in the
    /// cache when it is due; here the reads do not depend on each other, so memory answers for
    /// several at once, and the work that follows does not wait for each one.
    pub fn warm(&self, slots: impl Iterator<Item = Slot>) {
        let read = |slot: Slot| {
            let monitor = self.monitors.get(slot.0 as usize)?.as_ref()?;
            let hot = self.hot.get(slot.0 as usize)?;
            Some(Arc::strong_count(&monitor.spec) + hot.generation as usize)
        };
        std::hint::black_box(slots.filter_map(read).fold(0usize, usize::wrapping_add));
    }

    /// Every monitor with its slot.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Hot, &Monitor)> {
        self.monitors.iter().zip(&self.hot).enumerate().filter_map(|(index, (monitor, hot))| {
            monitor.as_ref().map(|monitor| (Slot(index as u32), hot, monitor))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::monitor::{Kind, Preset, Timing};
    use probes::spec::{Family, Host, IcmpSpec, ProbeSpec};

    fn monitor(id: u64) -> Monitor {
        let host = Host::ip(Ipv4Addr::LOCALHOST);
        let timing = Timing {
            interval_ms: 60_000,
            timeout_ms: 1_000,
            retry_delay_ms: 0,
            retries: 0,
            confirm_ms: 0,
            fall: 1,
            rise: 1,
        };
        Monitor {
            id: MonitorId(id),
            kind: Kind::PingIcmp,
            preset: Preset::Standard,
            paused: false,
            guarded: false,
            timing,
            spec: Arc::new(ProbeSpec::Icmp(IcmpSpec { host, family: Family::Any })),
        }
    }

    #[test]
    fn a_reference_to_a_removed_monitor_does_not_find_the_next_one_in_its_slot() {
        let mut table = Table::default();
        let first = table.insert(monitor(1), State::default());
        let stale = table.reference(first);
        assert!(table.find(stale).is_some());
        table.remove(first);
        assert!(table.find(stale).is_none());
        let second = table.insert(monitor(2), State::default());
        assert_eq!(first, second);
        assert!(table.find(stale).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn every_monitor_is_found_by_its_number_while_others_come_and_go() {
        let mut table = Table::default();
        let slots: Vec<Slot> =
            (0..5_000).map(|id| table.insert(monitor(id), State::default())).collect();
        for slot in slots.iter().step_by(3) {
            table.remove(*slot);
        }
        for id in 5_000..6_000 {
            table.insert(monitor(id), State::default());
        }
        for id in 0..6_000 {
            let found = table.slot(MonitorId(id)).and_then(|slot| table.get(slot));
            let gone = id < 5_000 && id % 3 == 0;
            assert_eq!(found.map(|(_, monitor)| monitor.id.0), Some(id).filter(|_| !gone));
        }
        assert_eq!(table.len(), 6_000 - 1_667);
    }

    #[test]
    fn the_hot_part_of_a_monitor_stays_within_one_cache_line() {
        assert!(size_of::<Hot>() <= 64, "{}", size_of::<Hot>());
    }
}

//! What stands against telling of a monitor: its window of maintenance, and what it depends on.
//!
//! Owns: what is known of monitors that depend on others and of those others. The control thread
//! puts the plan in, the store's thread what was found, the alerts' thread asks. A child is not
//! told while something it depends on is down. Where the child failed first, its notice waits until
//! all of that was checked since, which is asked for, and is good; and where that came back, until
//! the child was checked since. A monitor that is too new for the list in which marks are looked up
//! is not told either. Every wait has an end. Costs nothing where no monitor depends on another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::v1::fleet::Index;
use crate::ids::MonitorId;
use crate::limits::{ALERT_HELD_LOOK_MS, ALERT_KIN_WAIT_MS};
use crate::sample::{CheckResult, SampleBatch, Verdict};

/// Time until a wait for a check is looked at again, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// Why nothing is told of a monitor before its marks are looked up.
const NOT_KNOWN: &str = "marks not known yet";

/// Why a monitor is not told of: the reason, and when to look again.
pub type Against = (&'static str, u64);

/// What stands against telling. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What each child depends on.
    parents: HashMap<MonitorId, Vec<MonitorId>>,
    kin: HashMap<MonitorId, Kin>,
    maintained: HashSet<MonitorId>,
    /// The list of all monitors that marks are looked up in, and since when; `None` where none is
    /// needed.
    list: Option<(Arc<Index>, u64)>,
    /// The plan of this start is not known yet.
    starting: bool,
    /// What a child depends on that failed first: to be checked at once.
    asked: HashSet<MonitorId>,
    /// What is down has changed since it was asked last.
    changed: bool,
    /// A mark was taken off since it was asked last.
    released: bool,
}

/// What is known of a monitor that depends on others or that others depend on.
#[derive(Clone, Copy, Debug, Default)]
struct Kin {
    down: bool,
    paused: bool,
    /// Due time of the change that ended its last outage.
    back_ms: u64,
    /// Due time of its last good check.
    good_ms: u64,
    /// Due time of its last check that says something of the target.
    checked_ms: u64,
}

impl Standing {
    /// Of an engine that starts: nothing is to be told before the first look at the plan.
    pub(super) fn starting() -> Standing {
        Standing(Arc::new(Mutex::new(Inner { starting: true, ..Inner::default() })))
    }

    /// Why the outage of a monitor that began at `opened_ms` is not to be told now; `None` where
    /// nothing stands against it.
    pub fn against(&self, id: MonitorId, opened_ms: u64, now_ms: u64) -> Option<Against> {
        let inner = self.inner();
        if inner.starting {
            return Some((NOT_KNOWN, now_ms + LOOK_MS));
        }
        if inner.maintained.contains(&id) {
            return Some(("maintenance", now_ms + ALERT_HELD_LOOK_MS));
        }
        if inner.is_too_new(id, opened_ms, now_ms) {
            return Some((NOT_KNOWN, now_ms + LOOK_MS));
        }
        inner.against_kin(id, opened_ms, now_ms)
    }

    /// True where a mark was taken off since this was asked last.
    pub fn take_released(&self) -> bool {
        std::mem::take(&mut self.inner().released)
    }

    /// Hears of recorded results, on the store's thread.
    pub fn record(&self, batches: &[SampleBatch]) {
        let mut inner = self.inner();
        if inner.kin.is_empty() {
            return;
        }
        for batch in batches {
            for sample in &batch.samples {
                let Some(kin) = inner.kin.get_mut(&sample.monitor) else { continue };
                match sample.code.result() {
                    CheckResult::Up => {
                        kin.good_ms = kin.good_ms.max(sample.due_ms);
                        kin.checked_ms = kin.checked_ms.max(sample.due_ms);
                    }
                    CheckResult::Down(_) => kin.checked_ms = kin.checked_ms.max(sample.due_ms),
                    CheckResult::Unknown(_) | CheckResult::Missed(_) => {}
                }
            }
            for change in batch.transitions.iter().filter(|change| change.is_change()) {
                inner.see(change.monitor, change.to, change.at_ms);
            }
        }
    }

    /// Takes what each monitor depends on, in place of what was known of it, and gives all that
    /// something depends on.
    pub(super) fn plan(
        &self,
        dependencies: impl Iterator<Item = (MonitorId, MonitorId)>,
    ) -> Vec<MonitorId> {
        let mut inner = self.inner();
        let mut before = std::mem::take(&mut inner.kin);
        inner.parents.clear();
        let mut needed = HashSet::new();
        for (child, parent) in dependencies {
            inner.parents.entry(child).or_default().push(parent);
            needed.insert(parent);
            for id in [child, parent] {
                let known = before.remove(&id).unwrap_or_default();
                inner.kin.entry(id).or_insert(known);
            }
        }
        inner.changed = true;
        needed.into_iter().collect()
    }

    /// What was known of some of them at the start.
    pub(super) fn seed(&self, known: impl Iterator<Item = (MonitorId, Verdict)>) {
        let mut inner = self.inner();
        known.for_each(|(id, verdict)| inner.see(id, verdict, 0));
    }

    /// Those that are down, where that has changed since the last look, or `anyway`.
    pub(super) fn newly_down(&self, anyway: bool) -> Option<Vec<MonitorId>> {
        let mut inner = self.inner();
        let changed = std::mem::take(&mut inner.changed) || anyway;
        let down = || inner.kin.iter().filter(|(_, kin)| kin.down).map(|(id, _)| *id).collect();
        changed.then(down)
    }

    /// Those that are to be checked at once: something that depends on them has failed.
    pub(super) fn take_asked(&self) -> Vec<MonitorId> {
        std::mem::take(&mut self.inner().asked).into_iter().collect()
    }

    /// Who is in a window of maintenance now; and the list of all monitors, where that or a
    /// dependency was looked up in it, and since when it is looked at.
    pub(super) fn set_maintained(
        &self,
        maintained: HashSet<MonitorId>,
        list: Option<(Arc<Index>, u64)>,
    ) {
        let mut inner = self.inner();
        (inner.maintained, inner.list) = (maintained, list);
    }

    /// Notes a look at the plan, and whether a mark was taken off.
    pub(super) fn looked(&self, released: bool) {
        let mut inner = self.inner();
        inner.starting = false;
        inner.released |= released;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// An unknown verdict says nothing: what was down counts as down.
    fn see(&mut self, id: MonitorId, verdict: Verdict, at_ms: u64) {
        let Some(kin) = self.kin.get_mut(&id) else { return };
        let was_down = kin.down;
        match verdict {
            Verdict::Down => kin.down = true,
            Verdict::Up | Verdict::Pending | Verdict::Paused => kin.down = false,
            Verdict::Unknown => {}
        }
        kin.paused = verdict == Verdict::Paused;
        if was_down && !kin.down {
            kin.back_ms = at_ms;
        }
        self.changed |= was_down != kin.down;
        if verdict == Verdict::Down {
            let above = self.above(id).into_iter();
            let doubtful = above.filter(|(_, kin)| !kin.down && !kin.paused && kin.good_ms < at_ms);
            self.asked.extend(doubtful.map(|(id, _)| id));
        }
    }

    /// True where a monitor is not in the list yet: that is read every few seconds.
    fn is_too_new(&self, id: MonitorId, opened_ms: u64, now_ms: u64) -> bool {
        self.list.as_ref().is_some_and(|(index, since_ms)| {
            let until_ms = opened_ms.max(*since_ms) + ALERT_KIN_WAIT_MS;
            index.place(id).is_none() && now_ms < until_ms
        })
    }

    fn against_kin(&self, id: MonitorId, opened_ms: u64, now_ms: u64) -> Option<Against> {
        let above = self.above(id);
        if above.iter().any(|(_, kin)| kin.down) {
            return Some(("unreachable", now_ms + ALERT_HELD_LOOK_MS));
        }
        let checked_ms = self.kin.get(&id).map_or(0, |kin| kin.checked_ms);
        let waits = above.iter().filter(|(_, kin)| !kin.paused).any(|(_, kin)| {
            let for_parent = kin.good_ms < opened_ms && now_ms < opened_ms + ALERT_KIN_WAIT_MS;
            let for_child = checked_ms < kin.back_ms && now_ms < kin.back_ms + ALERT_KIN_WAIT_MS;
            for_parent || for_child
        });
        waits.then_some(("waiting for what it depends on", now_ms + LOOK_MS))
    }

    /// All that a monitor depends on, over however many steps.
    fn above(&self, id: MonitorId) -> Vec<(MonitorId, Kin)> {
        let (mut open, mut seen) = (vec![id], HashSet::new());
        let mut above = Vec::new();
        while let Some(id) = open.pop() {
            for parent in self.parents.get(&id).into_iter().flatten() {
                if seen.insert(*parent) {
                    open.push(*parent);
                    above.extend(self.kin.get(parent).map(|kin| (*parent, *kin)));
                }
            }
        }
        above
    }
}

#[cfg(test)]
mod tests {
    use probes::Timings;

    use super::*;
    use crate::ids::ShardId;
    use crate::sample::{Code, Marks, Missed, Sample, Transition};

    const ROUTER: MonitorId = MonitorId(1);
    const SWITCH: MonitorId = MonitorId(2);
    const SHOP: MonitorId = MonitorId(3);
    const BAD: Code = Code(12);

    /// A shop behind a switch behind a router.
    fn standing() -> Standing {
        let standing = Standing::default();
        standing.plan([(SWITCH, ROUTER), (SHOP, SWITCH)].into_iter());
        standing
    }

    fn check(standing: &Standing, monitor: MonitorId, due_ms: u64, code: Code) {
        let sample = Sample {
            monitor,
            due_ms,
            lag_us: 0,
            timings: Timings::NONE,
            total_us: 0,
            body_bytes: 0,
            code,
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict: Verdict::Up,
        };
        let batch = SampleBatch {
            shard: ShardId(0),
            seq: 1,
            samples: vec![sample],
            words: vec![],
            transitions: vec![],
        };
        standing.record(&[batch]);
    }

    fn turn(standing: &Standing, monitor: MonitorId, at_ms: u64, from: Verdict, to: Verdict) {
        let marks = Marks::NONE;
        let change = Transition { monitor, at_ms, from, to, code: Code::GOOD, marks };
        let batch = SampleBatch {
            shard: ShardId(0),
            seq: 2,
            samples: vec![],
            words: vec![],
            transitions: vec![change],
        };
        standing.record(&[batch]);
    }

    fn why(standing: &Standing, opened_ms: u64, now_ms: u64) -> Option<&'static str> {
        standing.against(SHOP, opened_ms, now_ms).map(|(reason, _)| reason)
    }

    #[test]
    fn a_child_that_fails_first_is_told_once_all_it_depends_on_was_good_since() {
        let standing = standing();
        check(&standing, SWITCH, 11_000, Code::GOOD);
        turn(&standing, SHOP, 10_000, Verdict::Up, Verdict::Down);
        assert_eq!(standing.take_asked(), [ROUTER]);
        assert_eq!(standing.take_asked(), []);
        assert_eq!(why(&standing, 10_000, 10_000), Some("waiting for what it depends on"));
        check(&standing, ROUTER, 9_000, Code::GOOD);
        assert_eq!(why(&standing, 10_000, 12_000), Some("waiting for what it depends on"));
        check(&standing, ROUTER, 12_000, Code::GOOD);
        assert_eq!(why(&standing, 10_000, 12_000), None);
    }

    #[test]
    fn a_child_that_fails_before_its_parent_is_not_told_and_after_it_neither() {
        for opened_ms in [10_000, 20_000] {
            let standing = standing();
            check(&standing, SWITCH, 11_000, Code::GOOD);
            check(&standing, ROUTER, 11_000, BAD);
            turn(&standing, ROUTER, 13_000, Verdict::Up, Verdict::Down);
            assert_eq!(why(&standing, opened_ms, 20_000), Some("unreachable"));
            assert_eq!(why(&standing, opened_ms, 9_000_000), Some("unreachable"));
        }
    }

    #[test]
    fn after_its_parent_came_back_a_child_is_told_once_it_was_checked_and_is_still_down() {
        let standing = standing();
        turn(&standing, ROUTER, 13_000, Verdict::Up, Verdict::Down);
        turn(&standing, ROUTER, 50_000, Verdict::Down, Verdict::Up);
        for id in [ROUTER, SWITCH] {
            check(&standing, id, 50_000, Code::GOOD);
        }
        check(&standing, SHOP, 40_000, BAD);
        assert_eq!(why(&standing, 10_000, 51_000), Some("waiting for what it depends on"));
        check(&standing, SHOP, 60_000, Code::from(CheckResult::Missed(Missed::Capacity)));
        assert_eq!(why(&standing, 10_000, 61_000), Some("waiting for what it depends on"));
        check(&standing, SHOP, 70_000, BAD);
        assert_eq!(why(&standing, 10_000, 71_000), None);
    }

    #[test]
    fn every_wait_has_an_end_and_nobody_waits_for_what_is_paused() {
        let standing = standing();
        let end_ms = 10_000 + ALERT_KIN_WAIT_MS;
        assert!(why(&standing, 10_000, end_ms - 1).is_some());
        assert_eq!(why(&standing, 10_000, end_ms), None);
        turn(&standing, ROUTER, 20_000, Verdict::Up, Verdict::Down);
        turn(&standing, ROUTER, 500_000, Verdict::Down, Verdict::Up);
        assert!(why(&standing, 10_000, 500_000 + ALERT_KIN_WAIT_MS - 1).is_some());
        assert_eq!(why(&standing, 10_000, 500_000 + ALERT_KIN_WAIT_MS), None);
        let standing = self::standing();
        turn(&standing, ROUTER, 5_000, Verdict::Up, Verdict::Paused);
        check(&standing, SWITCH, 10_000, Code::GOOD);
        assert_eq!(why(&standing, 10_000, 10_000), None);
    }

    #[test]
    fn nothing_is_told_before_the_first_look_at_the_plan() {
        let standing = Standing::starting();
        assert_eq!(why(&standing, 10_000, 10_000), Some("marks not known yet"));
        standing.looked(false);
        assert_eq!(why(&standing, 10_000, 10_000), None);
        assert!(!standing.take_released());
        standing.looked(true);
        assert_eq!((standing.take_released(), standing.take_released()), (true, false));
    }
}

//! What the engine knows of the rows, and what each fresh row changes.
//!
//! Owns: the comparison. Pure: rows come in, what is to be noted and what the shards are to do come
//! out. Some 60 bytes a row; rows are in the order of their ids, so that a step of a sweep shows
//! which are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;

use super::rows::Row;
use crate::env::original::RowDefaults;
use crate::ids::MonitorId;
use crate::logs::Facts;
use crate::monitor::Monitor;
use crate::monitor::row::{Checked, Interner};
use crate::sample::Code;

/// What is known of one row.
#[derive(Clone, Copy, Debug)]
struct Seen {
    hash: i64,
    force_restart: bool,
    /// On a shard, paused or not.
    is_assigned: bool,
    is_bad: bool,
    /// When its pause ends.
    wake_ms: Option<u64>,
}

/// What some fresh rows change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows that are new or changed.
    pub fresh: Vec<Row>,
    /// Of those, the ones that cannot run, and why.
    pub problems: Vec<(MonitorId, String)>,
    /// Of those, the ones that can, as lines about them say it.
    pub facts: Vec<Facts>,
    /// Monitors to add or change.
    pub upserts: Vec<Monitor>,
    /// Of those, the ones that no shard has.
    pub new: Vec<MonitorId>,
    /// Monitors to check at once, after the upserts: their `forceRestart` has changed.
    pub check_now: Vec<MonitorId>,
    /// Monitors to take away, before the upserts.
    pub removes: Vec<MonitorId>,
    /// Rows that are no longer there.
    pub gone: Vec<MonitorId>,
}

impl Step {
    /// True where nothing changes.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.gone.is_empty()
    }
}

/// All rows that are known.
#[derive(Debug)]
pub struct Known {
    rows: BTreeMap<MonitorId, Seen>,
    wakes: BTreeSet<(u64, MonitorId)>,
    bad: usize,
    defaults: RowDefaults,
    interner: Interner,
    zone: TimeZone,
}

impl Known {
    /// Nothing is known yet. Times of pauses are read in `zone`.
    pub fn new(defaults: RowDefaults, zone: TimeZone) -> Known {
        let (rows, wakes) = (BTreeMap::new(), BTreeSet::new());
        Known { rows, wakes, bad: 0, defaults, interner: Interner::default(), zone }
    }

    /// How many rows are known.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True where no row is known.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many of them cannot run.
    pub fn bad(&self) -> usize {
        self.bad
    }

    /// The known rows that are not equal to one of these hashes of theirs.
    pub fn differing(&self, hashes: &[(MonitorId, i64)]) -> Vec<MonitorId> {
        let differs = |id: &MonitorId, hash: i64| self.rows.get(id).is_none_or(|s| s.hash != hash);
        hashes.iter().filter(|(id, hash)| differs(id, *hash)).map(|(id, _)| *id).collect()
    }

    /// The known rows of a range that are not among `present`, which is in order.
    pub fn missing(
        &self,
        range: RangeInclusive<MonitorId>,
        present: &[MonitorId],
    ) -> Vec<MonitorId> {
        let known = self.rows.range(range).map(|(id, _)| *id);
        known.filter(|id| present.binary_search(id).is_err()).collect()
    }

    /// The known rows outside a range.
    pub fn outside(&self, range: &RangeInclusive<MonitorId>) -> Vec<MonitorId> {
        self.rows.keys().copied().filter(|id| !range.contains(id)).collect()
    }

    /// Looks at these rows again when they are seen next, whatever their hash: what came of them is
    /// not written down.
    pub fn doubt(&mut self, ids: impl Iterator<Item = MonitorId>) {
        for id in ids {
            if let Some(seen) = self.rows.get_mut(&id) {
                seen.hash = !seen.hash;
            }
        }
    }

    /// True where the row is known.
    pub fn has(&self, id: MonitorId) -> bool {
        self.rows.contains_key(&id)
    }

    /// The highest id that is known.
    pub fn last(&self) -> MonitorId {
        self.rows.last_key_value().map_or(MonitorId(0), |(id, _)| *id)
    }

    /// The rows whose pause is over: they are to be looked at again.
    pub fn wake(&mut self, now_ms: u64) -> Vec<MonitorId> {
        let mut woken = Vec::new();
        while let Some((at_ms, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.wakes.remove(&(at_ms, id));
            if let Some(seen) = self.rows.get_mut(&id) {
                seen.wake_ms = None;
            }
            woken.push(id);
        }
        self.doubt(woken.iter().copied());
        woken
    }

    /// How long until the next pause ends, in milliseconds.
    pub fn next_wake_in_ms(&self, now_ms: u64) -> Option<u64> {
        self.wakes.first().map(|(at_ms, _)| at_ms.saturating_sub(now_ms))
    }

    /// Takes rows as they are now, and of `asked` those that are not among them as gone.
    pub fn take(&mut self, rows: Vec<Row>, asked: &[MonitorId], now_ms: u64) -> Step {
        let mut step = Step::default();
        let present: BTreeSet<MonitorId> = rows.iter().map(|row| row.id).collect();
        for id in asked.iter().filter(|id| !present.contains(id)) {
            if self.forget(*id, &mut step) {
                step.gone.push(*id);
            }
        }
        for row in rows {
            self.take_one(row, now_ms, &mut step);
        }
        step
    }

    fn forget(&mut self, id: MonitorId, step: &mut Step) -> bool {
        let Some(seen) = self.rows.remove(&id) else { return false };
        self.bad -= usize::from(seen.is_bad);
        if let Some(at_ms) = seen.wake_ms {
            self.wakes.remove(&(at_ms, id));
        }
        if seen.is_assigned {
            step.removes.push(id);
        }
        true
    }

    fn take_one(&mut self, row: Row, now_ms: u64, step: &mut Step) {
        let before = self.rows.get(&row.id).copied();
        if before.is_some_and(|before| before.hash == row.hash) {
            return;
        }
        let read = row.read(&self.defaults, &mut self.interner, &self.zone, now_ms);
        let id = row.id;
        let was_assigned = before.is_some_and(|before| before.is_assigned);
        let is_forced = before.is_some_and(|before| before.force_restart != row.force_restart);
        let goes_on = was_assigned && read.checked.is_ok();
        if was_assigned && !goes_on {
            step.removes.push(id);
        }
        let mut seen = Seen {
            hash: row.hash,
            force_restart: row.force_restart,
            is_assigned: false,
            is_bad: read.checked.is_err(),
            wake_ms: read.paused_until_ms.filter(|_| row.is_enabled),
        };
        match read.checked {
            Err(problem) => step.problems.push((id, problem)),
            // A paused one that no shard has costs nothing.
            Ok(checked) if checked.paused && !goes_on => {}
            Ok(checked) => {
                seen.is_assigned = true;
                if !goes_on {
                    step.new.push(id);
                }
                if is_forced {
                    step.check_now.push(id);
                }
                step.facts.push(facts(&row, &checked));
                step.upserts.push(checked.monitor(id));
            }
        }
        if let Some(at_ms) = before.and_then(|before| before.wake_ms) {
            self.wakes.remove(&(at_ms, id));
        }
        self.wakes.extend(seen.wake_ms.map(|at_ms| (at_ms, id)));
        self.bad += usize::from(seen.is_bad);
        self.bad -= usize::from(before.is_some_and(|before| before.is_bad));
        self.rows.insert(id, seen);
        step.fresh.push(row);
    }
}

fn facts(row: &Row, checked: &Checked) -> Facts {
    Facts {
        id: row.id,
        kind: Some(checked.kind),
        target: checked.about.target.clone(),
        interval_ms: checked.timing.interval_ms,
        user_id: row.user_id,
        last: (Code::GOOD, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn known() -> Known {
        Known::new(RowDefaults::default(), TimeZone::UTC)
    }

    fn row(id: u64, hash: i64) -> Row {
        Row {
            id: MonitorId(id),
            is_enabled: true,
            kind: Some("tcp".into()),
            url_check: Some("example.com:80".into()),
            hash,
            ..Row::default()
        }
    }

    fn ids(monitors: &[Monitor]) -> Vec<u64> {
        monitors.iter().map(|monitor| monitor.id.0).collect()
    }

    #[test]
    fn only_what_differs_is_passed_on() {
        let mut known = known();
        let first = known.take(vec![row(1, 1), row(2, 1)], &[], NOW);
        assert_eq!((ids(&first.upserts), first.new.len(), first.fresh.len()), (vec![1, 2], 2, 2));
        assert!(known.take(vec![row(1, 1), row(2, 1)], &[], NOW).is_empty());
        let changed = known.take(vec![row(1, 1), row(2, 2)], &[], NOW);
        assert_eq!((ids(&changed.upserts), changed.new.len()), (vec![2], 0));
        let hashes = [(MonitorId(1), 1), (MonitorId(2), 1), (MonitorId(3), 1)];
        assert_eq!(known.differing(&hashes), [MonitorId(2), MonitorId(3)]);
        known.doubt([MonitorId(1)].into_iter());
        assert_eq!(known.differing(&hashes[..1]), [MonitorId(1)]);
    }

    #[test]
    fn a_row_that_was_asked_for_and_is_not_there_is_gone() {
        let mut known = known();
        known.take(vec![row(1, 1), row(2, 1), row(5, 1)], &[], NOW);
        let missing = known.missing(MonitorId(2)..=MonitorId(4), &[MonitorId(3)]);
        assert_eq!(missing, [MonitorId(2)]);
        let step = known.take(vec![], &[MonitorId(2), MonitorId(9)], NOW);
        assert_eq!((step.gone, step.removes), (vec![MonitorId(2)], vec![MonitorId(2)]));
        assert_eq!(known.len(), 2);
        assert_eq!(known.outside(&(MonitorId(0)..=MonitorId(4))), [MonitorId(5)]);
    }

    #[test]
    fn a_disabled_row_pauses_where_it_runs_and_stays_off_the_shards_where_not() {
        let mut known = known();
        let off = |hash| Row { is_enabled: false, ..row(1, hash) };
        let step = known.take(vec![off(1)], &[], NOW);
        assert_eq!((step.upserts.len(), step.fresh.len()), (0, 1));
        let step = known.take(vec![row(1, 2)], &[], NOW);
        assert_eq!((step.new, step.upserts[0].paused), (vec![MonitorId(1)], false));
        let step = known.take(vec![off(3)], &[], NOW);
        assert_eq!((step.new.len(), step.upserts[0].paused), (0, true));
    }

    #[test]
    fn a_pause_ends_by_itself() {
        let mut known = known();
        let paused = Row { stop_to_ms: Some(NOW as i64 + 500), ..row(1, 1) };
        let step = known.take(vec![paused.clone()], &[], NOW);
        assert!(step.upserts.is_empty());
        assert_eq!(known.next_wake_in_ms(NOW), Some(500));
        assert!(known.wake(NOW + 499).is_empty());
        assert_eq!(known.wake(NOW + 500), [MonitorId(1)]);
        let step = known.take(vec![paused], &[], NOW + 500);
        assert_eq!((ids(&step.upserts), step.upserts[0].paused), (vec![1], false));
        assert!(known.wake(u64::MAX).is_empty());
    }

    #[test]
    fn a_bad_row_is_kept_with_its_reason_and_taken_off_its_shard() {
        let mut known = known();
        known.take(vec![row(1, 1)], &[], NOW);
        let bad = Row { kind: Some("nonsense".into()), ..row(1, 2) };
        let step = known.take(vec![bad], &[], NOW);
        assert_eq!((step.removes, step.upserts.len()), (vec![MonitorId(1)], 0));
        assert!(step.problems[0].1.contains("nonsense"));
        assert_eq!(known.bad(), 1);
        assert_eq!(known.take(vec![row(1, 3)], &[], NOW).new, [MonitorId(1)]);
        assert_eq!(known.bad(), 0);
    }

    #[test]
    fn a_change_of_force_restart_checks_the_monitor_at_once_and_nothing_else_does() {
        let mut known = known();
        let force = |force_restart, hash| Row { force_restart, ..row(1, hash) };
        let steps = [force(true, 1), force(true, 2), force(false, 3)];
        let checks = steps.map(|row| known.take(vec![row], &[], NOW).check_now);
        assert_eq!(checks, [vec![], vec![], vec![MonitorId(1)]]);
    }
}

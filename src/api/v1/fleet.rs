//! All monitors in memory, as far as lists, counts and the map need them.
//!
//! Owns: the index. What people ask of all monitors at once is answered here, the same with any
//! database and without asking it: about 80 bytes a monitor beside its name and target, and a scan
//! of 200,000 takes a few milliseconds. Rows of a page are then read from the store by number.
//!
//! The list is read anew from time to time; verdicts in between come from the results as they are
//! recorded, on the store's thread: one look-up and one store for each, no lock that a reader
//! holds.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;

use super::details::Details;
use crate::ids::MonitorId;
use crate::limits::{FLEET_READ_ROWS, LIVE_CHANGES_MAX};
use crate::monitor::Kind;
use crate::sample::{SampleBatch, Verdict};
use crate::store::view::{Filter, MonitorView};
use crate::store::{Read, StoreError};

/// The kind of a monitor whose row names none that is known.
const NO_KIND: u8 = u8::MAX;

/// The list of all monitors, shared by the store's thread and the API.
#[derive(Debug, Default)]
pub struct Fleet {
    index: RwLock<Arc<Index>>,
    changes: Mutex<Changes>,
    /// Monitors came, went or changed since the list was read.
    is_outdated: AtomicBool,
}

/// Changes of verdict since they were taken last.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Whose, the latest last; the oldest are left out where there are many.
    pub monitors: VecDeque<MonitorId>,
    /// How many there were in all.
    pub count: u64,
}

impl Fleet {
    /// Takes recorded results into account.
    pub fn record(&self, batches: &[SampleBatch]) {
        let index = self.index();
        for batch in batches {
            index.take(batch);
            let changed = batch.transitions.iter().filter(|change| change.is_change());
            let changed: Vec<MonitorId> = changed.map(|change| change.monitor).collect();
            if !changed.is_empty() {
                let mut changes = self.changes();
                changes.count += changed.len() as u64;
                changes.monitors.extend(changed);
                let surplus = changes.monitors.len().saturating_sub(LIVE_CHANGES_MAX);
                changes.monitors.drain(..surplus);
            }
        }
    }

    /// The list as it is now. Its verdicts go on changing.
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the list anew. Blocks: 1 µs a monitor and more.
    ///
    /// # Errors
    ///
    /// The database's; the list stays as it was.
    pub fn reload(&self, reader: &mut dyn Read) -> Result<(), StoreError> {
        // Before the reading: what changes meanwhile may be missing.
        self.is_outdated.store(false, Ordering::Relaxed);
        let read = self.read(reader);
        if read.is_err() {
            self.outdate();
        }
        read
    }

    /// Monitors came, went or changed: the list is to be read soon.
    pub fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Relaxed);
    }

    /// True where [`Fleet::outdate`] was called since the list was read.
    pub fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed)
    }

    fn read(&self, reader: &mut dyn Read) -> Result<(), StoreError> {
        let mut draft = Draft::default();
        let mut filter = Filter { limit: FLEET_READ_ROWS, by_id: true, ..Filter::default() };
        loop {
            let rows = reader.monitors(&filter)?;
            rows.iter().for_each(|row| draft.push(row));
            match rows.last() {
                Some(last) if rows.len() == FLEET_READ_ROWS => filter.after = Some(last.id),
                _ => break,
            }
        }
        let index = draft.finish();
        index.carry(&self.index());
        let index = Arc::new(index);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        Ok(())
    }

    /// The changes of verdict since the last call.
    pub fn take_changes(&self) -> Changes {
        std::mem::take(&mut *self.changes())
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A list of all monitors in columns, by number; verdicts are of now.
#[derive(Debug, Default)]
pub struct Index {
    ids: Vec<MonitorId>,
    verdicts: Vec<AtomicU8>,
    kinds: Vec<u8>,
    problems: Vec<bool>,
    /// For each monitor which of `tag_sets` it has.
    tag_set: Vec<u32>,
    tag_sets: Vec<Vec<u32>>,
    tags: Vec<String>,
    /// Name and target in lower case, one after the other, and where each ends.
    text: String,
    text_ends: Vec<usize>,
    name_ends: Vec<usize>,
    /// Places by name.
    by_name: Vec<u32>,
    /// Where each place stands in `by_name`.
    rank: Vec<u32>,
    details: Details,
}

/// One monitor of the list.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    index: &'a Index,
    at: usize,
}

impl Index {
    /// How many monitors there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// All tags, in no order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The number of a tag in [`Index::tags`].
    pub fn tag(&self, name: &str) -> Option<u32> {
        self.tags.iter().position(|tag| tag == name).map(|at| at as u32)
    }

    /// Which tags monitors have together, as numbers in [`Index::tags`].
    pub fn tag_sets(&self) -> &[Vec<u32>] {
        &self.tag_sets
    }

    /// All monitors by number.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        (0..self.len()).map(|at| Place { index: self, at })
    }

    /// All monitors by name.
    pub fn by_name(&self) -> impl Iterator<Item = Place<'_>> {
        self.by_name.iter().map(|at| Place { index: self, at: *at as usize })
    }

    /// The monitor with this number.
    pub fn place(&self, id: MonitorId) -> Option<Place<'_>> {
        let at = self.ids.binary_search(&id).ok()?;
        Some(Place { index: self, at })
    }

    /// The monitor with exactly this name.
    pub fn named(&self, name: &str) -> Option<Place<'_>> {
        let lower = name.to_lowercase();
        let place = |at: &u32| Place { index: self, at: *at as usize };
        let first = self.by_name.partition_point(|at| place(at).name() < lower.as_str());
        let alike = self.by_name[first..].iter().map(place);
        let mut alike = alike.take_while(|place| place.name() == lower);
        alike.find(|place| self.details.name(place.at) == name)
    }

    /// The numbers of those with one of these tags.
    pub fn tagged(&self, tags: &HashSet<&str>) -> impl Iterator<Item = MonitorId> {
        let wanted: Vec<bool> = self.tags.iter().map(|tag| tags.contains(tag.as_str())).collect();
        let is_wanted = |set: &Vec<u32>| set.iter().any(|tag| wanted[*tag as usize]);
        let sets: Vec<bool> = self.tag_sets.iter().map(is_wanted).collect();
        let looked_at = if sets.contains(&true) { self.len() } else { 0 };
        let found = (0..looked_at).filter(move |at| sets[self.tag_set[*at] as usize]);
        found.map(move |at| self.ids[at])
    }

    /// The monitor at this place, below [`Index::len`].
    pub fn at(&self, at: usize) -> Place<'_> {
        Place { index: self, at }
    }

    /// Labels and last checks.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Takes a recorded batch into account. New monitors are not there until the list is read
    /// again.
    fn take(&self, batch: &SampleBatch) {
        let mut latest = self.details.latest();
        for sample in &batch.samples {
            if let Some(place) = self.place(sample.monitor) {
                self.verdicts[place.at].store(sample.verdict as u8, Ordering::Relaxed);
                latest[place.at].take(sample);
            }
        }
        for change in batch.transitions.iter().filter(|change| change.is_change()) {
            if let Some(place) = self.place(change.monitor) {
                self.verdicts[place.at].store(change.to as u8, Ordering::Relaxed);
                latest[place.at].changed_ms = change.at_ms;
            }
        }
        for words in &batch.words {
            let sample = batch.samples.get(usize::from(words.sample));
            let place = sample.and_then(|sample| self.place(sample.monitor));
            if let (Some(place), Some(cert)) = (place, &words.cert) {
                latest[place.at].cert_end_s = cert.earliest_not_after().unwrap_or(0);
            }
        }
    }

    /// Keeps what the list before this one knew of last checks.
    fn carry(&self, before: &Index) {
        let (mut latest, known) = (self.details.latest(), before.details.latest());
        for place in self.places() {
            if let Some(old) = before.place(place.id()) {
                latest[place.at] = known[old.at];
            }
        }
    }
}

impl<'a> Place<'a> {
    /// Where it is in the list.
    pub fn at(self) -> usize {
        self.at
    }

    /// Its number.
    pub fn id(self) -> MonitorId {
        self.index.ids[self.at]
    }

    /// Its verdict now.
    pub fn verdict(self) -> Verdict {
        Verdict::from_number(self.index.verdicts[self.at].load(Ordering::Relaxed))
    }

    /// The sort of check.
    pub fn kind(self) -> Option<Kind> {
        Kind::ALL.get(usize::from(self.index.kinds[self.at])).copied()
    }

    /// True where it cannot run.
    pub fn has_problem(self) -> bool {
        self.index.problems[self.at]
    }

    /// The number of its tags in [`Index::tag_sets`].
    pub fn tag_set(self) -> usize {
        self.index.tag_set[self.at] as usize
    }

    /// The numbers of its tags in [`Index::tags`], in the order as written.
    pub fn tags(self) -> &'a [u32] {
        &self.index.tag_sets[self.tag_set()]
    }

    /// Its name in lower case.
    pub fn name(self) -> &'a str {
        &self.index.text[self.text_start()..self.index.name_ends[self.at]]
    }

    /// Name and target in lower case.
    pub fn text(self) -> &'a str {
        &self.index.text[self.text_start()..self.index.text_ends[self.at]]
    }

    /// Where it stands among all by name.
    pub fn rank(self) -> u32 {
        self.index.rank[self.at]
    }

    fn text_start(self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.index.text_ends[before])
    }
}

/// The list while it is read.
#[derive(Default)]
struct Draft {
    index: Index,
    tag_numbers: HashMap<String, u32>,
    set_numbers: HashMap<Vec<u32>, u32>,
}

impl Draft {
    fn push(&mut self, row: &MonitorView) {
        let mut set = Vec::with_capacity(row.tags.len());
        for tag in &row.tags {
            let number = match self.tag_numbers.get(tag) {
                Some(number) => *number,
                None => {
                    let number = self.index.tags.len() as u32;
                    self.index.tags.push(tag.clone());
                    self.tag_numbers.insert(tag.clone(), number);
                    number
                }
            };
            if !set.contains(&number) {
                set.push(number);
            }
        }
        let sets = &mut self.index.tag_sets;
        let set_number = *self.set_numbers.entry(set).or_insert_with_key(|set| {
            sets.push(set.clone());
            sets.len() as u32 - 1
        });
        let index = &mut self.index;
        index.details.push(row);
        index.tag_set.push(set_number);
        index.ids.push(row.id);
        index.verdicts.push(AtomicU8::new(row.verdict as u8));
        index.kinds.push(row.kind.map_or(NO_KIND, |kind| kind as u8));
        index.problems.push(row.problem.is_some());
        index.text.push_str(&row.name.to_lowercase());
        index.name_ends.push(index.text.len());
        index.text.push('\n'); // A text that is looked for matches one of both, not across them.
        index.text.push_str(&row.target.to_lowercase());
        index.text_ends.push(index.text.len());
    }

    fn finish(self) -> Index {
        let mut index = self.index;
        let mut by_name: Vec<u32> = (0..index.len() as u32).collect();
        by_name.sort_by_key(|at| {
            let place = Place { index: &index, at: *at as usize };
            (place.name(), place.id())
        });
        let mut rank = vec![0; by_name.len()];
        by_name.iter().enumerate().for_each(|(at, place)| rank[*place as usize] = at as u32);
        (index.by_name, index.rank) = (by_name, rank);
        index.text.shrink_to_fit();
        index.details.shrink_to_fit();
        index
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::sample::{Code, Marks, Transition};
    use crate::store::view::{
        CertView, ChannelRow, Counts, Evidence, Hours, Incident, Range, Results, TransitionView,
        Watched, Written,
    };

    /// A store that has a list of monitors and nothing else.
    pub(in super::super) struct Rows(pub Vec<MonitorView>);

    impl Read for Rows {
        fn totals(&mut self) -> Result<(u64, u64, u64), StoreError> {
            let all = self.0.len() as u64;
            Ok((all, all, all))
        }

        fn find(&mut self, _: &str) -> Result<Option<MonitorId>, StoreError> {
            Ok(None)
        }

        fn monitors(&mut self, filter: &Filter) -> Result<Vec<MonitorView>, StoreError> {
            let after = filter.after.unwrap_or_default();
            let rows = self.0.iter().filter(|row| row.id > after);
            Ok(rows.take(filter.limit).cloned().collect())
        }

        fn written(&mut self, _: MonitorId, _: usize) -> Result<Vec<Written>, StoreError> {
            Ok(Vec::new())
        }

        fn results(&mut self, _: MonitorId, _: &Range) -> Result<Results, StoreError> {
            Ok(Results::default())
        }

        fn evidence(&mut self, _: MonitorId) -> Result<Vec<Evidence>, StoreError> {
            Ok(Vec::new())
        }

        fn incidents(
            &mut self,
            _: Option<MonitorId>,
            _: usize,
        ) -> Result<Vec<Incident>, StoreError> {
            Ok(Vec::new())
        }

        fn transitions(
            &mut self,
            _: Option<MonitorId>,
            _: usize,
        ) -> Result<Vec<TransitionView>, StoreError> {
            Ok(Vec::new())
        }

        fn transitions_after(
            &mut self,
            _: u64,
            _: usize,
        ) -> Result<Vec<(u64, TransitionView)>, StoreError> {
            Ok(Vec::new())
        }

        fn newest_transition(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn watched(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Watched>>, StoreError> {
            Ok(monitors.iter().map(|_| None).collect())
        }

        fn channel(&mut self, _: u64) -> Result<Option<ChannelRow>, StoreError> {
            Ok(None)
        }

        fn hours(&mut self, _: MonitorId, _: u64, _: u64) -> Result<Hours, StoreError> {
            Ok(Hours::default())
        }

        fn certs(&mut self, _: MonitorId) -> Result<Vec<CertView>, StoreError> {
            Ok(Vec::new())
        }
    }

    /// A monitor with this number, name, tags and verdict.
    pub(crate) fn row(id: u64, name: &str, tags: &[&str], verdict: Verdict) -> MonitorView {
        MonitorView {
            id: MonitorId(id),
            name: name.into(),
            kind: Some(Kind::Tcp),
            target: format!("{}.example:443", name.len()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            source: "file".into(),
            user_id: None,
            stop_to_ms: None,
            problem: None,
            interval_ms: 60_000,
            created_ms: 1_000,
            verdict,
            since_ms: None,
            last_check_ms: None,
            marks: Vec::new(),
            next_due_ms: None,
            code: 0,
            result: None,
            message: String::new(),
            total_us: None,
            http_status: None,
            counts: Counts::default(),
        }
    }

    /// The list of these rows.
    pub(crate) fn fleet_of(rows: Vec<MonitorView>) -> Fleet {
        let fleet = Fleet::default();
        fleet.reload(&mut Rows(rows)).unwrap();
        fleet
    }

    fn change(monitor: u64, to: Verdict) -> SampleBatch {
        let monitor = MonitorId(monitor);
        let change = Transition {
            monitor,
            at_ms: 5,
            from: Verdict::Up,
            to,
            code: Code(7),
            marks: Marks::NONE,
        };
        let (shard, seq) = (ShardId(0), 1);
        let (samples, words, transitions) = (Vec::new(), Vec::new(), vec![change]);
        SampleBatch { shard, seq, samples, words, transitions }
    }

    #[test]
    fn every_monitor_of_several_pages_is_there_by_number_and_by_name() {
        let count = FLEET_READ_ROWS as u64 * 2 + 3;
        let rows = (1..=count).map(|id| row(id, &format!("M {}", count - id), &[], Verdict::Up));
        let index = fleet_of(rows.collect()).index();
        assert_eq!(index.len() as u64, count);
        let names: Vec<&str> = index.by_name().map(Place::name).collect();
        assert!(names.is_sorted() && names[0] == "m 0");
        let place = index.place(MonitorId(count)).unwrap();
        assert_eq!((place.text(), place.rank()), ("m 0\n3.example:443", 0));
        assert_eq!(index.named("M 0").map(Place::id), Some(MonitorId(count)));
        assert!(index.named("m 0").is_none() && index.named("M").is_none());
    }

    #[test]
    fn those_with_one_of_some_tags_are_found_once_each() {
        let tagged = [&["a", "b"][..], &["c"], &["b"], &[], &["b", "a"]];
        let rows = (1..).zip(tagged).map(|(id, tags)| row(id, "m", tags, Verdict::Up));
        let index = fleet_of(rows.collect()).index();
        let found = |tags: &[&str]| -> Vec<u64> {
            index.tagged(&tags.iter().copied().collect()).map(|id| id.0).collect()
        };
        assert_eq!(found(&["a", "b"]), [1, 3, 5]);
        assert_eq!(found(&["c", "nobody's"]), [2]);
        assert_eq!((found(&[]), found(&["nobody's"])), (vec![], vec![]));
    }

    #[test]
    fn a_recorded_change_is_in_the_list_at_once_and_told_once() {
        let rows = vec![row(1, "a", &[], Verdict::Up), row(2, "b", &[], Verdict::Up)];
        let fleet = fleet_of(rows);
        let index = fleet.index();
        fleet.record(&[change(2, Verdict::Down)]);
        assert_eq!(index.place(MonitorId(2)).unwrap().verdict(), Verdict::Down);
        assert_eq!(index.place(MonitorId(1)).unwrap().verdict(), Verdict::Up);
        assert_eq!(fleet.take_changes().monitors[0], MonitorId(2));
        assert_eq!(fleet.take_changes().count, 0);
    }

    #[test]
    fn many_changes_are_counted_and_the_latest_kept() {
        let fleet = fleet_of(Vec::new());
        (0..200).for_each(|id| fleet.record(&[change(id, Verdict::Down)]));
        let changes = fleet.take_changes();
        assert_eq!((changes.count, changes.monitors.len()), (200, LIVE_CHANGES_MAX));
        assert_eq!(changes.monitors.back(), Some(&MonitorId(199)));
    }
}

//! Latency histograms: recorded on the shards, collected once a second, merged without loss.
//!
//! Owns: what is measured, the sets of histograms, and the box in which a shard hands a full set
//! over for an empty one. Recording is eight array increments; nothing is allocated where checks
//! run: sets are made when a shard gets its first monitor of a type. Memory: 0.2 MB for each set;
//! four sets for each shard and type in use (the shard's, the spare, since the start, the
//! interval), and as many for each monitor with histograms of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;
use probes::Phase;

use crate::ids::{MonitorId, ShardId};
use crate::limits::{LATENCY_DIGITS, LATENCY_US_MAX};
use crate::metrics::snapshot::Published;
use crate::monitor::Kind;
use crate::sample::{CheckResult, Sample};

/// One duration of a check.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Measure {
    /// Name to address.
    Resolve = 0,
    /// SYN to SYN-ACK, or echo request to reply.
    Connect = 1,
    /// The TLS handshake.
    Tls = 2,
    /// Request written to first byte of the answer.
    Wait = 3,
    /// First to last byte of the answer.
    Transfer = 4,
    /// From the actual start of the last attempt to its outcome.
    Total = 5,
    /// From the due time, the intended start, to the outcome. Checks that were not run because
    /// this one still ran count as waits for it, so that a slow target is not asked less often
    /// and looks better for it (coordinated omission).
    SinceDue = 6,
    /// From the due time to the actual start.
    Lag = 7,
}

impl Measure {
    /// Every measure, in the order of its number; the phases first.
    pub const ALL: [Measure; 8] = [
        Measure::Resolve,
        Measure::Connect,
        Measure::Tls,
        Measure::Wait,
        Measure::Transfer,
        Measure::Total,
        Measure::SinceDue,
        Measure::Lag,
    ];

    /// The word in tags, files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Total => "total",
            Measure::SinceDue => "since_due",
            Measure::Lag => "lag",
            phase => Phase::ALL[phase as usize].name(),
        }
    }

    /// The measure with this name.
    pub fn from_name(name: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| measure.name() == name)
    }
}

/// Microseconds, 1 µs to an hour, as precise as stored results.
pub type Durations = Histogram<u64>;

/// An empty histogram with the bounds that all of ours have.
pub fn durations() -> Durations {
    match Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constants that fit: {error}"),
    }
}

/// One histogram for each measure.
#[derive(Clone, Debug)]
pub struct Set([Durations; Measure::ALL.len()]);

impl Default for Set {
    fn default() -> Set {
        Set(std::array::from_fn(|_| durations()))
    }
}

impl Set {
    /// The histogram of a measure.
    pub fn get(&self, measure: Measure) -> &Durations {
        &self.0[measure as usize]
    }

    fn record(&mut self, sample: &Sample, since_due_us: u64, interval_us: u64) {
        let lag = &mut self.0[Measure::Lag as usize];
        lag.saturating_record(u64::from(sample.lag_us));
        match sample.code.result() {
            CheckResult::Up | CheckResult::Down(_) => {}
            // Our own trouble says nothing about a target.
            CheckResult::Unknown(_) | CheckResult::Missed(_) => return,
        }
        for phase in Phase::ALL {
            if let Some(micros) = sample.timings.get(phase) {
                self.0[phase as usize].saturating_record(u64::from(micros));
            }
        }
        let total = &mut self.0[Measure::Total as usize];
        total.saturating_record(u64::from(sample.total_us));
        let since_due = &mut self.0[Measure::SinceDue as usize];
        let mut waited = since_due_us;
        since_due.saturating_record(waited);
        while waited > interval_us && interval_us > 0 {
            waited -= interval_us;
            since_due.saturating_record(waited);
        }
    }

    fn add(&mut self, other: &Set) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            if !theirs.is_empty() && mine.add(theirs).is_err() {
                unreachable!("all sets have the same bounds");
            }
        }
    }

    fn reset(&mut self) {
        self.0.iter_mut().filter(|histogram| !histogram.is_empty()).for_each(Durations::reset);
    }
}

/// The histograms of one shard.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    kinds: [Option<Box<Set>>; Kind::ALL.len()],
    /// Of monitors that were asked for.
    own: HashMap<MonitorId, Box<Set>>,
}

impl Latency {
    /// Makes room for a type, where there is none.
    pub fn prepare(&mut self, kind: Kind) {
        self.kinds[kind as usize].get_or_insert_default();
    }

    /// Records a finished check: `since_due_us` from its due time to now, `interval_us` to the
    /// next due time.
    pub fn record(&mut self, kind: Kind, sample: &Sample, since_due_us: u64, interval_us: u64) {
        if let Some(set) = &mut self.kinds[kind as usize] {
            set.record(sample, since_due_us, interval_us);
        }
        if !self.own.is_empty()
            && let Some(set) = self.own.get_mut(&sample.monitor)
        {
            set.record(sample, since_due_us, interval_us);
        }
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &Latency) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().add(theirs);
            }
        }
        for (id, theirs) in &other.own {
            self.own.entry(*id).or_default().add(theirs);
        }
    }

    /// Empties every histogram and makes those of monitors exactly these.
    fn renew(&mut self, own: &[MonitorId]) {
        self.kinds.iter_mut().flatten().for_each(|set| set.reset());
        self.own.retain(|id, _| own.contains(id));
        self.own.values_mut().for_each(|set| set.reset());
        for id in own {
            self.own.entry(*id).or_default();
        }
    }

    /// Every set with whose it is.
    fn sets(&self) -> impl Iterator<Item = (Subject, &Set)> {
        let kinds = Kind::ALL.into_iter().zip(&self.kinds);
        let kinds = kinds.filter_map(|(kind, set)| Some((Subject::Type(kind), set.as_deref()?)));
        kinds.chain(self.own.iter().map(|(id, set)| (Subject::Monitor(*id), &**set)))
    }
}

/// The box between a shard and the collector. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
enum Held {
    /// The collector has taken what was here and not put anything in yet.
    #[default]
    Nothing,
    /// An empty one, for the shard.
    Empty(Box<Latency>),
    /// A full one, for the collector.
    Full(Box<Latency>),
}

impl Handover {
    /// The shard changes its histograms for empty ones, where those are there. Else it goes on
    /// with what it has: nothing is lost.
    pub fn exchange(&self, mine: &mut Box<Latency>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Held::Empty(empty) = &mut *held else { return };
        for (kind, set) in Kind::ALL.into_iter().zip(&mine.kinds) {
            if set.is_some() {
                empty.prepare(kind);
            }
        }
        let full = std::mem::replace(mine, std::mem::take(empty));
        *held = Held::Full(full);
    }

    /// The shard leaves: what it has is handed over, whatever is in the box.
    pub fn leave(&self, mine: Box<Latency>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Held::Full(full) => full.add(&mine),
            held => *held = Held::Full(mine),
        }
    }

    /// The collector takes a full one and gives an empty one back.
    fn collect(&self, own: &[MonitorId], take: impl FnOnce(&Latency)) {
        let held = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut latency = match held {
            Held::Full(full) => {
                take(&full);
                full
            }
            Held::Empty(empty) => empty,
            Held::Nothing => Box::default(),
        };
        latency.renew(own);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::Nothing = &*held {
            *held = Held::Empty(latency);
        }
    }
}

/// Whose durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// All monitors of a type.
    Type(Kind),
    /// One monitor.
    Monitor(MonitorId),
}

impl Subject {
    /// The word in tags: the name of the type, or `monitor-` and the number.
    pub fn word(self) -> String {
        match self {
            Subject::Type(kind) => kind.name().to_owned(),
            Subject::Monitor(id) => format!("monitor-{id}"),
        }
    }
}

/// What the collector has, by shard and subject.
pub type Sets = BTreeMap<(ShardId, Subject), Set>;

/// A collector that the API reads too.
pub type Shared = Arc<Mutex<Collector>>;

/// Collects the histograms of all shards.
#[derive(Debug)]
pub struct Collector {
    shards: Vec<Published>,
    started_ms: u64,
    own: Vec<MonitorId>,
    since_start: Sets,
    /// Only kept where somebody takes it.
    interval: Option<Sets>,
}

impl Collector {
    /// Collects from these shards, which were started at `started_ms`. `intervals` says whether
    /// [`Collector::take_interval`] is used.
    pub fn new(shards: Vec<Published>, intervals: bool, started_ms: u64) -> Collector {
        let interval = intervals.then(Sets::new);
        let since_start = Sets::new();
        Collector { shards, started_ms, own: Vec::new(), since_start, interval }
    }

    /// When the shards were started, in milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// From the next collection on, exactly these monitors have histograms of their own; what
    /// others had is dropped.
    pub fn watch(&mut self, own: &[MonitorId]) {
        if self.own != own {
            self.own = own.to_vec();
            self.since_start.retain(|(_, subject), _| match subject {
                Subject::Type(_) => true,
                Subject::Monitor(id) => own.contains(id),
            });
        }
    }

    /// Takes what the shards have handed over since the last call.
    pub fn collect(&mut self) {
        let Collector { shards, own, since_start, interval, .. } = self;
        for published in shards {
            let shard = published.shard();
            published.handover().collect(own, |latency| {
                for (subject, set) in latency.sets() {
                    since_start.entry((shard, subject)).or_default().add(set);
                    if let Some(interval) = interval {
                        interval.entry((shard, subject)).or_default().add(set);
                    }
                }
            });
        }
    }

    /// Everything collected since the start.
    pub fn since_start(&self) -> &Sets {
        &self.since_start
    }

    /// Everything collected since the last call.
    pub fn take_interval(&mut self) -> Sets {
        self.interval.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// The sets of all shards as one, by subject.
pub fn merged(sets: &Sets) -> BTreeMap<Subject, Set> {
    let mut merged: BTreeMap<Subject, Set> = BTreeMap::new();
    for ((_, subject), set) in sets {
        merged.entry(*subject).or_default().add(set);
    }
    merged
}

#[cfg(test)]
mod tests {
    use probes::{Failure, Timings};

    use super::*;
    use crate::fault::Fault;
    use crate::sample::{Code, Verdict};

    fn sample(monitor: u64, total_us: u32, result: CheckResult) -> Sample {
        let mut timings = Timings::NONE;
        timings.set_micros(Phase::Connect, total_us / 2);
        Sample {
            monitor: MonitorId(monitor),
            due_ms: 0,
            lag_us: 7,
            timings,
            total_us,
            body_bytes: 0,
            code: Code::from(result),
            http_status: 0,
            phase: u8::MAX,
            attempts: 1,
            verdict: Verdict::Up,
        }
    }

    fn count(set: &Set, measure: Measure) -> u64 {
        set.get(measure).len()
    }

    #[test]
    fn phases_not_reached_are_not_recorded_and_our_own_trouble_counts_as_lag_only() {
        let mut set = Set::default();
        set.record(&sample(1, 1_000, CheckResult::Up), 1_007, 60_000_000);
        set.record(&sample(1, 1_000, CheckResult::Down(Failure::Reset)), 1_007, 60_000_000);
        set.record(&sample(1, 1_000, CheckResult::Unknown(Fault::Late)), 1_007, 60_000_000);
        let counts = Measure::ALL.map(|measure| count(&set, measure));
        assert_eq!(counts, [0, 2, 0, 0, 0, 2, 2, 3]);
        assert_eq!(set.get(Measure::Connect).max(), 501, "500 is in the bucket of 500 and 501");
    }

    #[test]
    fn a_check_longer_than_its_interval_counts_the_waits_that_it_caused() {
        let mut set = Set::default();
        set.record(&sample(1, 2_500_000, CheckResult::Up), 2_500_000, 1_000_000);
        let due = set.get(Measure::SinceDue);
        assert_eq!((due.len(), count(&set, Measure::Total)), (3, 1));
        for (quantile, wanted) in [(0.1, 500_000.0), (0.5, 1_500_000.0), (1.0, 2_500_000.0)] {
            let found = due.value_at_quantile(quantile) as f64;
            assert!((found / wanted - 1.0).abs() < 0.01, "{quantile}: {found}");
        }
    }

    #[test]
    fn nothing_is_lost_however_often_each_side_comes() {
        let published = Published::new(ShardId(3));
        let mut collector = Collector::new(vec![published.clone()], true, 0);
        collector.watch(&[MonitorId(2)]);
        let mut mine = Box::<Latency>::default();
        mine.prepare(Kind::Tcp);
        let (mut recorded, mut of_two, mut intervals) = (0, 0, 0);
        for turn in 0..40_u64 {
            let id = turn % 4;
            mine.record(Kind::Tcp, &sample(id, 900, CheckResult::Up), 900, 1_000);
            recorded += 1;
            of_two += u64::from(mine.own.contains_key(&MonitorId(id)));
            if turn % 3 == 0 {
                published.handover().exchange(&mut mine);
            }
            if turn % 7 < 2 {
                collector.collect();
            }
            if turn % 10 == 0 {
                let interval = merged(&collector.take_interval());
                intervals += interval.get(&Subject::Type(Kind::Tcp)).map_or(0, total);
            }
        }
        published.handover().leave(mine);
        collector.collect();
        collector.collect();
        let whole = merged(collector.since_start());
        intervals += total(&merged(&collector.take_interval())[&Subject::Type(Kind::Tcp)]);
        assert_eq!(total(&whole[&Subject::Type(Kind::Tcp)]), recorded);
        assert_eq!(intervals, recorded);
        assert_eq!(total(&whole[&Subject::Monitor(MonitorId(2))]), of_two);
        assert!((1..=10).contains(&of_two), "{of_two}");
    }

    fn total(set: &Set) -> u64 {
        count(set, Measure::Total)
    }

    #[test]
    fn a_set_takes_the_memory_that_is_stated() {
        let bytes = Measure::ALL.len() * durations().distinct_values() * size_of::<u64>();
        assert!((180_000..220_000).contains(&bytes), "{bytes}");
    }
}

//! The loop of a shard on its own thread, with real sockets: it wakes when it must, sleeps when it
//! may, and hands over every sample.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::boot::shards::{Common, Shards};
use engine::clock::Clock;
use engine::farm::{Behaviour as B, Farm};
use engine::fault::Fault;
use engine::guard::vantage::Vantage;
use engine::ids::MonitorId;
use engine::messages::{Assign, BatchSink, Refused, StoreGone};
use engine::metrics::snapshot::Snapshot;
use engine::monitor::address::host_port;
use engine::monitor::{Kind, Monitor, Preset, State, Timing};
use engine::net::resolve::{Hosts, ResolverConfig};
use engine::net::trust::Trust;
use engine::placement::shard_cpus;
use engine::sample::{CheckResult, Code, SampleBatch};
use probes::ProbeSpec;
use probes::spec::{Family, HttpOptions, HttpSpec, HttpUrl, TcpSpec};

/// Only to end a broken test; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

/// A store that can be full.
#[derive(Clone)]
struct Sink {
    full: Arc<AtomicBool>,
    batches: Arc<Mutex<Sender<SampleBatch>>>,
}

impl Sink {
    fn take(&self, batch: SampleBatch) {
        self.batches.lock().unwrap().send(batch).unwrap();
    }
}

impl BatchSink for Sink {
    fn offer(&self, batch: SampleBatch) -> Result<(), Refused> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Refused::Full(batch));
        }
        self.take(batch);
        Ok(())
    }

    fn give(&self, batch: SampleBatch) -> Result<(), StoreGone> {
        self.take(batch);
        Ok(())
    }
}

/// One running shard and what it hands over.
struct Bench {
    shards: Shards,
    full: Arc<AtomicBool>,
    batches: Receiver<SampleBatch>,
}

fn bench() -> Bench {
    let (sender, batches) = channel();
    let full = Arc::new(AtomicBool::new(false));
    let sink = Sink { full: Arc::clone(&full), batches: Arc::new(Mutex::new(sender)) };
    let hosts = Arc::new(Hosts::default());
    let resolver = ResolverConfig { servers: vec![], try_ms: 1, rounds: 1, rotate: false, hosts };
    let (clock, trust, vantage) = (Clock::start(), Trust::default(), Arc::new(Vantage::new(1, 0)));
    let common = Common { clock, trust, resolver, in_flight_max: 64, vantage };
    let cpus = shard_cpus(Some(1)).unwrap();
    let shards = Shards::start(&cpus, &common, || Box::new(sink.clone())).unwrap();
    Bench { shards, full, batches }
}

impl Bench {
    fn snapshot(&self) -> Snapshot {
        self.shards.published()[0].latest()
    }

    /// Waits until the published numbers say so.
    fn wait_for(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let end = Instant::now() + GUARD;
        loop {
            let snapshot = self.snapshot();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < end, "never {what}: {snapshot:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the shard has left; everything it found, and its last numbers.
    fn end(self) -> (Vec<SampleBatch>, Snapshot) {
        assert!(self.shards.wait(Instant::now() + GUARD), "the shard does not leave");
        let snapshot = self.snapshot();
        (self.batches.try_iter().collect(), snapshot)
    }
}

fn monitor(id: u64, timeout_ms: u32, spec: ProbeSpec) -> Assign {
    let timing = Timing {
        interval_ms: 1_000,
        timeout_ms,
        retry_delay_ms: 0,
        retries: 0,
        confirm_ms: 0,
        fall: 1,
        rise: 1,
    };
    let monitor = Monitor {
        id: MonitorId(id),
        kind: Kind::Tcp,
        preset: Preset::Standard,
        paused: false,
        guarded: false,
        timing,
        spec: Arc::new(spec),
    };
    Assign { monitor, state: State::default() }
}

fn tcp(to: &str) -> ProbeSpec {
    let (host, port) = host_port(to).unwrap();
    ProbeSpec::Tcp(TcpSpec { host, port, family: Family::Any, expect_closed: false })
}

fn web(to: &str) -> ProbeSpec {
    let (host, port) = host_port(to).unwrap();
    let url = HttpUrl { tls: false, host, port, path: "/".into() };
    ProbeSpec::Http(Box::new(HttpSpec { url, options: Arc::new(HttpOptions::default()) }))
}

/// The numbers of the batches have no gap, and no sample is there twice. Results by code.
fn count(batches: &[SampleBatch]) -> BTreeMap<Code, u64> {
    let numbers: Vec<_> = batches.iter().map(|batch| batch.seq).collect();
    assert_eq!(numbers, (1..=batches.len() as u64).collect::<Vec<_>>());
    let mut codes = BTreeMap::new();
    let mut keys = std::collections::HashSet::new();
    for sample in batches.iter().flat_map(|batch| &batch.samples) {
        assert!(keys.insert((sample.monitor, sample.due_ms)), "{sample:?} is there twice");
        *codes.entry(sample.code).or_default() += 1;
    }
    codes
}

/// Every check of the ledger is in the batches, but for those missed while the shard slept.
fn assert_complete(codes: &BTreeMap<Code, u64>, last: &Snapshot) {
    let ledger = &last.ledger;
    assert!(ledger.balances() && ledger.open() == 0, "{ledger:?}");
    let is_missed = |code: &Code| matches!(code.result(), CheckResult::Missed(_));
    let found: u64 = codes.iter().filter(|(code, _)| !is_missed(code)).map(|(_, n)| n).sum();
    assert_eq!(found, ledger.started);
}

#[test]
fn an_idle_shard_turns_a_few_times_a_second_only() {
    let bench = bench();
    let begin = Instant::now();
    bench.wait_for("ten turns", |snapshot| snapshot.turns >= 3);
    let first = bench.snapshot().turns;
    let last = bench.wait_for("two more", |snapshot| snapshot.turns >= first + 2).turns;
    // Once a second to publish, and the first look into the inbox: a busy loop makes millions.
    let seconds = begin.elapsed().as_secs() + 1;
    assert!(last <= 5 + 5 * seconds, "{last} turns in {seconds} s");
    bench.shards.quit();
    let (batches, _) = bench.end();
    assert!(batches.is_empty());
}

#[test]
fn commands_wake_a_sleeping_shard_however_they_come() {
    let bench = bench();
    for round in 0..5 {
        // Each round finds the shard asleep again, at some point of its sleep.
        for id in 0..60 {
            let assign = monitor(round * 60 + id, 1_000, tcp("127.0.0.1:1"));
            let assign =
                Assign { monitor: Monitor { paused: true, ..assign.monitor }, state: assign.state };
            bench.shards.assign(vec![assign]).unwrap();
        }
        let wanted = (round + 1) * 60;
        bench.wait_for("all monitors", |now| now.monitors.iter().sum::<u64>() == wanted);
    }
    bench.shards.remove(&(0..300).map(MonitorId).collect::<Vec<_>>()).unwrap();
    bench.wait_for("no monitors", |now| now.monitors.iter().sum::<u64>() == 0);
    bench.shards.drain();
    bench.end();
}

#[test]
fn a_store_that_is_full_for_a_while_gets_every_sample_in_order() {
    let bench = bench();
    bench.full.store(true, Ordering::SeqCst);
    let closed = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Closed, B::TcpOpen]).unwrap();
    let monitors = (0..40).map(|id| {
        let behaviour = if id % 2 == 0 { B::Closed } else { B::TcpOpen };
        monitor(id, 5_000, tcp(&closed.address(behaviour).unwrap().to_string()))
    });
    bench.shards.assign(monitors.collect()).unwrap();
    let waiting = |now: &Snapshot| now.backlog >= 2 && now.ledger.up + now.ledger.down >= 100;
    bench.wait_for("a backlog", waiting);
    assert_eq!(bench.batches.try_iter().count(), 0);
    bench.full.store(false, Ordering::SeqCst);
    bench.wait_for("no backlog", |now| now.backlog == 0);
    bench.full.store(true, Ordering::SeqCst);
    bench.shards.drain();
    let (batches, last) = bench.end();
    assert_eq!(last.samples_dropped, 0);
    assert_complete(&count(&batches), &last);
}

#[test]
fn a_drain_lets_checks_in_flight_end_and_then_leaves() {
    let bench = bench();
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Silent]).unwrap();
    let to = farm.address(B::Silent).unwrap().to_string();
    bench.shards.assign((0..8).map(|id| monitor(id, 2_000, web(&to))).collect()).unwrap();
    bench.wait_for("checks in flight", |now| now.in_flight > 0);
    bench.shards.drain();
    let (batches, last) = bench.end();
    let codes = count(&batches);
    assert_complete(&codes, &last);
    assert!(!codes.contains_key(&Code::from(CheckResult::Unknown(Fault::Cancelled))), "{codes:?}");
}

#[test]
fn a_quit_cuts_a_drain_short_and_what_was_in_flight_is_cancelled() {
    let bench = bench();
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Silent]).unwrap();
    let to = farm.address(B::Silent).unwrap().to_string();
    // No check ends by itself within this test.
    bench.shards.assign((0..8).map(|id| monitor(id, 300_000, web(&to))).collect()).unwrap();
    let before = bench.wait_for("checks in flight", |now| now.in_flight > 0);
    assert!(before.ledger.balances());
    bench.shards.drain();
    bench.wait_for("a missed check", |now| now.ledger.missed_total() > 0);
    assert!(!bench.shards.all_ended());
    bench.shards.quit();
    let (batches, last) = bench.end();
    let codes = count(&batches);
    assert_complete(&codes, &last);
    let cancelled = Code::from(CheckResult::Unknown(Fault::Cancelled));
    assert_eq!(codes.get(&cancelled), Some(&last.ledger.started));
}

#[test]
fn a_removed_monitor_whose_check_is_in_flight_leaves_the_ledger_whole() {
    let bench = bench();
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Silent]).unwrap();
    let to = farm.address(B::Silent).unwrap().to_string();
    bench.shards.assign((0..8).map(|id| monitor(id, 300_000, web(&to))).collect()).unwrap();
    bench.wait_for("checks in flight", |now| now.in_flight == 8);
    bench.shards.remove(&(0..8).map(MonitorId).collect::<Vec<_>>()).unwrap();
    bench.wait_for("an empty table", |now| now.monitors.iter().sum::<u64>() == 0);
    bench.wait_for("room at once, long before the deadline", |now| now.in_flight == 0);
    bench.shards.drain();
    let (_, last) = bench.end();
    assert_eq!((last.ledger.started, last.ledger.unknown, last.ledger.open()), (8, 8, 0));
    assert!(last.ledger.balances());
}

#[test]
fn shards_that_are_dropped_leave_by_themselves() {
    let bench = bench();
    let published = bench.shards.published();
    bench.shards.assign(vec![monitor(1, 1_000, tcp("127.0.0.1:1"))]).unwrap();
    bench.wait_for("a monitor", |now| now.monitors.iter().sum::<u64>() == 1);
    let Bench { shards, batches, full: _ } = bench;
    drop(shards);
    // The sink goes with the loop: the channel ends.
    let end = Instant::now() + GUARD;
    while !matches!(batches.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
        assert!(Instant::now() < end, "the shard does not leave");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(published[0].latest().ledger.balances());
}

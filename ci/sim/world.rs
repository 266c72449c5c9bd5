//! A world of targets, seen through one shard and one guard, on a simulated clock.
//!
//! Owns: what truly happens (outages of targets, losses of the way, faults of ours) and what the
//! engine makes of it. After every step the ledger must balance; every transition to down is
//! compared with the truth when it comes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use engine::attempt::Attempt;
use engine::fault::Fault;
use engine::guard::judge::{Evidence, Judge};
use engine::guard::vantage::{Standing, Vantage};
use engine::ids::{MonitorId, ShardId, SlotRef, Tick};
use engine::messages::{Assign, Command};
use engine::monitor::{Kind, Monitor, Preset, State, Timing};
use engine::sample::{CheckResult, Missed, Verdict};
use engine::sched::due::Room;
use engine::shard::{Now, Shard};
use probes::spec::{Family, Host, IcmpSpec, ProbeSpec};
use probes::{Failure, Nanos, Outcome, Phase, Timings};

use crate::random::Random;

/// Times of the guard: rounds, and the time a canary has, in ticks.
const ROUND: u64 = 100;
const CANARY: u64 = 200;
const START: u64 = 170_000_000_000;

/// What is planted.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub monitors: u64,
    pub guard: bool,
    /// Checks out of 10,000 that end with a fault of ours.
    pub faults: u64,
    /// The way is lost: nothing outside answers.
    pub lost: Vec<Range<u64>>,
    /// It is lost with the default route, or somewhere behind it.
    pub route_too: bool,
    /// The canaries are dead, and nothing else.
    pub dead_canaries: Option<Range<u64>>,
    /// Outages of targets, by monitor.
    pub outages: BTreeMap<u64, Range<u64>>,
    /// Longest stall of the process, in ticks.
    pub stall: u64,
    /// Places in flight; 0 for plenty.
    pub room: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Told {
    pub checks: u64,
    pub isolations: Vec<u64>,
    pub ends: Vec<u64>,
    /// When each monitor went down.
    pub downs: BTreeMap<u64, Vec<u64>>,
    pub false_downs: Vec<(u64, u64)>,
    /// Latest start of a monitor without outage, in milliseconds.
    pub lag_ms_max: u64,
    pub unknown: u64,
    pub confirmations: u64,
}

/// The world while it goes on. Times are ticks since its start.
pub struct World {
    plan: Plan,
    random: Random,
    shard: Shard,
    vantage: Vantage,
    judge: Judge,
    trusted_from: u64,
    round: u64,
    now: u64,
    /// By when they end and whose they are.
    in_flight: BTreeMap<(u64, u64), (SlotRef, Attempt)>,
    told: Told,
}

/// Interval, timeout, confirmation, fall: all between what users ask for.
pub fn timing(id: u64) -> Timing {
    let pick = |list: &[u64], salt: u64| list[(id / salt) as usize % list.len()];
    Timing {
        interval_ms: pick(&[20_000, 30_000, 60_000], 1),
        timeout_ms: pick(&[1_000, 3_000, 10_000], 3) as u32,
        retry_delay_ms: 1_000,
        retries: pick(&[0, 0, 1], 9) as u8,
        confirm_ms: pick(&[5_000, 2_000], 27) as u32,
        fall: pick(&[1, 2, 3], 54) as u8,
        rise: 1,
    }
}

/// Longest time from the begin of an outage to its down, in ticks, as documented: an interval and
/// a check, and for each further failure that is needed a pause and a check, or an interval where
/// that does not fit before the next check. A check that takes longer than its interval is
/// followed by the one after.
pub fn detection(timing: &Timing, guard: bool) -> u64 {
    let check = timing.check_ms_max();
    let further = u64::from(timing.fall - 1).max(u64::from(guard));
    let recheck = if guard { (ROUND + 2 * CANARY) * 10 } else { 0 };
    let pause = u64::from(timing.confirm_ms).max(recheck);
    let interval = timing.interval_ms * (check + 10).div_ceil(timing.interval_ms);
    let fits = check + further * (pause + check) < interval;
    let each = if fits { pause + check } else { interval + pause };
    (interval + check + further * each + 1_000) / 10
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let recheck = if plan.guard { ROUND + 2 * CANARY } else { 0 };
        let mut world = World {
            random: Random(seed),
            shard: Shard::new(ShardId(0), Tick(START)),
            vantage: Vantage::new(1, recheck),
            judge: Judge::new((recheck / ROUND + 1) as usize),
            trusted_from: 0,
            round: 0,
            now: 0,
            in_flight: BTreeMap::new(),
            told: Told::default(),
            plan,
        };
        let now = world.at();
        let monitors = (0..world.plan.monitors).map(|id| Assign {
            monitor: monitor(id),
            // All were up before: as after a restart.
            state: State { verdict: Verdict::Up, settled: Verdict::Up, ..State::default() },
        });
        world.shard.on_command(Command::Assign(monitors.collect()), now);
        world
    }

    fn at(&self) -> Now {
        let tick = START + self.now;
        Now { nanos: Nanos(tick * 10_000_000), tick: Tick(tick), unix_us: tick * 10_000 }
    }

    /// Goes on until `end` and says what came of it.
    pub fn run(mut self, end: u64) -> Told {
        while self.now < end {
            self.now += 1;
            if self.plan.stall > 0 && self.random.below(6_000) == 0 {
                self.now += self.random.below(self.plan.stall);
            }
            self.guard();
            let now = self.at();
            self.shard.look(self.vantage.view());
            self.shard.on_tick(now);
            self.start(now);
            self.end(now);
            self.vantage.report(ShardId(0), self.shard.tally());
            if self.now.is_multiple_of(50) {
                self.read();
            }
        }
        self.read();
        let ledger = self.shard.ledger();
        assert!(ledger.balances(), "{ledger:?}");
        self.told.checks = ledger.started;
        self.told.unknown = ledger.unknown;
        self.told.confirmations = self.shard.snapshot().confirmations;
        self.told
    }

    fn lost(&self, from: u64, to: u64) -> bool {
        self.plan.lost.iter().any(|lost| from < lost.end && lost.start <= to)
    }

    /// A round of canaries ends where its time has come.
    fn guard(&mut self) {
        if !self.plan.guard {
            return;
        }
        let dead = self.plan.dead_canaries.as_ref().is_some_and(|dead| dead.contains(&self.round));
        let silent = dead || self.lost(self.round, self.round);
        let ends = self.round + if silent { CANARY } else { 3 };
        if self.now < ends {
            return;
        }
        let evidence = Evidence {
            canaries: silent,
            no_way_out: self.plan.route_too && self.lost(self.now, self.now),
            tally: self.vantage.tally(),
        };
        if self.judge.round(evidence, self.now * 10) {
            if self.judge.standing() == Standing::Isolated {
                self.told.isolations.push(self.now);
            } else {
                self.told.ends.push(self.now);
                self.trusted_from = self.now;
            }
        }
        let (from, seen) = (Tick(START + self.trusted_from), Tick(START + self.round));
        self.vantage.tell(self.judge.standing(), from, seen);
        self.round = (self.round + ROUND).max(self.now);
    }

    fn start(&mut self, now: Now) {
        let places = if self.plan.room == 0 { 1_000_000 } else { self.plan.room };
        let mut started = Vec::new();
        let room = Room::new(places - self.in_flight.len(), places);
        self.shard.start_due(room, now, |at, monitor, _| started.push((at, monitor.id.0)));
        for (at, id) in started {
            let (lasts, attempt) = self.attempt(id);
            let other = self.in_flight.insert((self.now + lasts, id), (at, attempt));
            assert!(other.is_none(), "two probes of one check in flight");
        }
    }

    /// What an attempt that starts now will find, and how long it takes.
    fn attempt(&mut self, id: u64) -> (u64, Attempt) {
        let timeout = u64::from(timing(id).timeout_ms) / 10;
        let ours = [
            Fault::Descriptors,
            Fault::Ports,
            Fault::Memory,
            Fault::NotPermitted,
            Fault::NoRoute,
            Fault::Resolver,
            Fault::Late,
            Fault::ReceiveBuffer,
        ];
        if self.random.below(10_000) < self.plan.faults {
            let fault = ours[self.random.below(ours.len() as u64) as usize];
            return (1, Attempt::of_fault(fault, String::new(), 10_000));
        }
        let outage = self.plan.outages.get(&id).is_some_and(|outage| outage.contains(&self.now));
        let answer = 1 + self.random.below(20);
        let lost = self.lost(self.now, self.now + answer);
        if lost && self.plan.route_too && self.random.chance(50) {
            return (1, Attempt::of_fault(Fault::NoRoute, String::new(), 10));
        }
        if !lost && !outage {
            return (answer, Attempt::of_target(Outcome::default(), answer as u32 * 10_000, None));
        }
        // Some hosts on the way refuse at once, others say nothing.
        let (lasts, failure) = match self.random.below(4) {
            0 => (1, Failure::Refused),
            1 => (answer, Failure::Unreachable),
            _ => (timeout, Failure::TimedOut),
        };
        let failed = Outcome::failed(failure, Phase::Connect, Timings::NONE, String::new());
        (lasts, Attempt::of_target(failed, lasts as u32 * 10_000, None))
    }

    fn end(&mut self, now: Now) {
        while let Some(first) = self.in_flight.first_entry()
            && first.key().0 <= self.now
        {
            let (at, attempt) = first.remove();
            self.shard.on_attempt(at, attempt, now);
        }
    }

    /// Takes what the store would get.
    fn read(&mut self) {
        self.shard.outbox().seal();
        while let Some(batch) = self.shard.outbox().pop() {
            for change in batch.transitions {
                if change.to != Verdict::Down || !change.is_change() {
                    continue;
                }
                let id = change.monitor.0;
                let due = change.at_ms / 10 - START;
                self.told.downs.entry(id).or_default().push(self.now);
                let outage = self.plan.outages.get(&id);
                let check = timing(id).check_ms_max() / 10;
                // The deciding check ran within its longest time after it was due.
                if outage.is_none_or(|outage| due + check < outage.start || outage.end <= due) {
                    self.told.false_downs.push((id, due));
                }
            }
            for sample in batch.samples {
                let missed = matches!(sample.code.result(), CheckResult::Missed(Missed::Stall));
                if !missed && !self.plan.outages.contains_key(&sample.monitor.0) {
                    self.told.lag_ms_max =
                        self.told.lag_ms_max.max(u64::from(sample.lag_us) / 1_000);
                }
            }
        }
    }
}

fn monitor(id: u64) -> Monitor {
    let host = Host::ip(Ipv4Addr::LOCALHOST);
    Monitor {
        id: MonitorId(id),
        kind: Kind::PingIcmp,
        preset: Preset::Standard,
        paused: false,
        guarded: true,
        timing: timing(id),
        spec: Arc::new(ProbeSpec::Icmp(IcmpSpec { host, family: Family::Any })),
    }
}

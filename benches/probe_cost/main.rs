//! What a check costs, beside the smallest client that does the same exchanges, in one run.
//!
//! `cargo bench --bench probe_cost` prints CPU µs per check (user + system of the checking thread,
//! getrusage(2)) of one shard and of the reference, their ratio, and the medians of several rounds,
//! which alternate so that the mood of the machine falls on both. Targets: nginx on another CPU,
//! 1 KB answer, a new connection for each check.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::bench::ping::Pinger;
use engine::bench::reference::{Client, Exchange, Goal};
use engine::boot::shards::{Common, Shards};
use engine::clock::{Clock, thread_cpu_micros};
use engine::guard::vantage::Vantage;
use engine::ids::MonitorId;
use engine::messages::{Assign, BatchSink, Refused, StoreGone};
use engine::metrics::snapshot::Snapshot;
use engine::monitor::{Kind, Monitor, Preset, State, Timing};
use engine::net::resolve::{Hosts, ResolverConfig};
use engine::net::trust::Trust;
use engine::sample::SampleBatch;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use probes::ProbeSpec;
use probes::spec::{Family, Host, HttpOptions, HttpSpec, HttpUrl, IcmpSpec, TcpSpec};

mod nginx;

use nginx::Nginx;

const SHARD_CPU: usize = 0;
const SERVER_CPU: usize = 1;
const ROUNDS: usize = 5;
const REFERENCE_CHECKS: usize = 60_000;
const PARALLEL: usize = 256;

fn main() {
    let nginx = Nginx::start(SERVER_CPU, 8);
    println!("CPU µs per check, medians of {ROUNDS} rounds; one shard on CPU {SHARD_CPU}\n");
    println!("{:<28} {:>8} {:>10} {:>7}", "exchange", "engine", "reference", "ratio");
    saturated("http", Exchange::Http, &nginx.targets);
    saturated("tcp", Exchange::Tcp, &nginx.targets);
    icmp();
    for rate in [100, 1_000, 5_000] {
        paced(rate, &nginx.targets);
    }
    idle();
}

fn row(name: &str, engine: &mut [f64], reference: &mut [f64]) {
    let (engine, reference) = (median(engine), median(reference));
    println!("{name:<28} {engine:>8.1} {reference:>10.1} {:>7.2}", engine / reference);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// As many checks as one core does: more are due than it can start.
fn saturated(name: &str, exchange: Exchange, targets: &[SocketAddr]) {
    let (mut engine, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reference.push(reference_cost(|| {
            let goals = goals(exchange, targets);
            Client::new(PARALLEL, None, None).unwrap().run(&goals, REFERENCE_CHECKS).unwrap();
            REFERENCE_CHECKS
        }));
        engine.push(engine_cost(&monitors(exchange, targets, 40_000, 1_000)));
    }
    row(&format!("{name}, saturated"), &mut engine, &mut reference);
}

/// A fixed number of checks per second, the reference paced on the same 10 ms grid.
fn paced(rate: usize, targets: &[SocketAddr]) {
    let (mut engine, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reference.push(reference_cost(|| paced_reference(rate, targets)));
        engine.push(engine_cost(&monitors(Exchange::Http, targets, rate * 10, 10_000)));
    }
    row(&format!("http, {rate} a second"), &mut engine, &mut reference);
}

fn paced_reference(rate: usize, targets: &[SocketAddr]) -> usize {
    const TICK: Duration = Duration::from_millis(10);
    let goals = goals(Exchange::Http, targets);
    let mut client = Client::new(PARALLEL, None, None).unwrap();
    let (start, mut done) = (Instant::now(), 0);
    for tick in 1..=300 {
        let due = rate * tick / 100;
        client.run(&goals, due - done).unwrap();
        done = due;
        let next = start + TICK * tick as u32;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    done
}

fn goals(exchange: Exchange, targets: &[SocketAddr]) -> Vec<Goal> {
    targets.iter().map(|address| Goal { exchange, address: *address }).collect()
}

/// Pings in one go, and returns how many were answered.
fn ping(count: usize) -> usize {
    let mut pinger = Pinger::open().expect("raw sockets need root or CAP_NET_RAW");
    pinger.run([127, 1, 0, 0].into(), count).unwrap();
    pinger.received()
}

fn icmp() {
    let (mut engine, mut reference) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reference.push(reference_cost(|| ping(200_000)));
        let spec = |id: u64| {
            let host = Host::ip([127, 1, (id >> 8) as u8, id as u8]);
            ProbeSpec::Icmp(IcmpSpec { host, family: Family::Any })
        };
        let monitors: Vec<_> =
            (1..=150_000).map(|id| monitor(id, Kind::PingIcmp, spec(id), 1_000)).collect();
        engine.push(engine_cost(&monitors));
    }
    row("icmp, saturated", &mut engine, &mut reference);
}

/// What 100,000 monitors at an hour cost while nearly nothing is due.
fn idle() {
    let targets = [SocketAddr::from(([127, 0, 0, 1], 9))];
    let monitors = monitors(Exchange::Tcp, &targets, 100_000, 3_600_000);
    let run = run(&monitors, Duration::from_secs(10));
    let cpu = run.cpu_us / run.seconds / 1e4;
    println!("\nidle, 100,000 monitors at 3,600 s: {cpu:.2} % of a core");
}

fn monitors(
    exchange: Exchange,
    targets: &[SocketAddr],
    count: usize,
    interval_ms: u64,
) -> Vec<Monitor> {
    let options = Arc::new(HttpOptions::default());
    let make = |index: usize| {
        let target = targets[index % targets.len()];
        let (host, port) = (Host::ip(target.ip()), target.port());
        let (kind, spec) = match exchange {
            Exchange::Tcp => {
                let tcp = TcpSpec { host, port, family: Family::Any, expect_closed: false };
                (Kind::Tcp, ProbeSpec::Tcp(tcp))
            }
            Exchange::Http | Exchange::Https | Exchange::Kept | Exchange::Resumed => {
                let tls = matches!(exchange, Exchange::Https | Exchange::Resumed);
                let url = HttpUrl { tls, host, port, path: "/1k".into() };
                let http = HttpSpec { url, options: Arc::clone(&options) };
                (Kind::PingWeb, ProbeSpec::Http(Box::new(http)))
            }
        };
        monitor(index as u64 + 1, kind, spec, interval_ms)
    };
    (0..count).map(make).collect()
}

fn monitor(id: u64, kind: Kind, spec: ProbeSpec, interval_ms: u64) -> Monitor {
    let timing = Timing {
        interval_ms,
        timeout_ms: 5_000,
        retry_delay_ms: 0,
        retries: 0,
        confirm_ms: 0,
        fall: 1,
        rise: 1,
    };
    Monitor {
        id: MonitorId(id),
        kind,
        preset: Preset::Standard,
        paused: false,
        guarded: false,
        timing,
        spec: Arc::new(spec),
    }
}

/// Takes batches and drops them: the store has its own bench.
struct Sink;

impl BatchSink for Sink {
    fn offer(&self, _: SampleBatch) -> Result<(), Refused> {
        Ok(())
    }

    fn give(&self, _: SampleBatch) -> Result<(), StoreGone> {
        Ok(())
    }
}

struct Run {
    cpu_us: f64,
    checks: f64,
    seconds: f64,
}

fn engine_cost(monitors: &[Monitor]) -> f64 {
    let run = run(monitors, Duration::from_secs(3));
    run.cpu_us / run.checks
}

/// Runs one shard, lets it warm up, and measures it for `time`.
fn run(monitors: &[Monitor], time: Duration) -> Run {
    let common = Common {
        clock: Clock::start(),
        trust: Trust::default(),
        resolver: ResolverConfig::parse(b"", Hosts::parse(b"")),
        in_flight_max: PARALLEL,
        vantage: Arc::new(Vantage::new(1, 0)),
    };
    let shards = Shards::start(&[SHARD_CPU], &common, || Box::new(Sink)).unwrap();
    let assigns =
        monitors.iter().cloned().map(|monitor| Assign { monitor, state: State::default() });
    shards.assign(assigns.collect()).unwrap();
    let published = shards.published().remove(0);
    std::thread::sleep(Duration::from_millis(2_500));
    let (before, started) = (next_snapshot(&published), Instant::now());
    std::thread::sleep(time);
    let (after, seconds) = (next_snapshot(&published), started.elapsed().as_secs_f64());
    shards.quit();
    assert!(shards.wait(Instant::now() + Duration::from_secs(20)), "the shard does not end");
    let cpu = |snapshot: &Snapshot| (snapshot.cpu_user_us + snapshot.cpu_system_us) as f64;
    let down = after.ledger.down - before.ledger.down;
    let checks = (after.ledger.up - before.ledger.up) as f64;
    assert!((down as f64) <= checks / 1_000.0 || time > Duration::from_secs(5), "{down} down");
    Run { cpu_us: cpu(&after) - cpu(&before), checks, seconds }
}

/// The next snapshot that the shard publishes.
fn next_snapshot(published: &engine::metrics::snapshot::Published) -> Snapshot {
    let turns = published.latest().turns;
    loop {
        let latest = published.latest();
        if latest.turns != turns {
            return latest;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// CPU µs per check of `work`, on a thread of its own on the shard's CPU.
fn reference_cost(work: impl FnOnce() -> usize + Send) -> f64 {
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            let mut cpus = CpuSet::new();
            cpus.set(SHARD_CPU).unwrap();
            sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
            let before = thread_cpu_micros();
            let checks = work();
            let after = thread_cpu_micros();
            (after.0 + after.1 - before.0 - before.1) as f64 / checks as f64
        });
        measured.join().unwrap()
    })
}

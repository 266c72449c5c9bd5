//! A small company's monitors with 90 days of history, for pictures and status pages.

use engine::clock::wall_millis;
use engine::ids::{MonitorId, ShardId};
use engine::monitor::Kind;
use engine::sample::{CheckResult, Code, Marks, Sample, SampleBatch, Transition, Verdict, Words};
use engine::store::NewMonitor;
use probes::Failure;

use crate::made::{bad, good, monitor};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Name, type, tags, usual time in milliseconds.
const MONITORS: [(&str, Kind, &[&str], u32); 14] = [
    ("Shop front", Kind::PingWeb, &["shop", "eu"], 84),
    ("Checkout", Kind::WebContent, &["shop", "eu"], 131),
    ("Search", Kind::PingWeb, &["shop", "eu"], 47),
    ("Payments gateway", Kind::Tcp, &["shop", "eu"], 23),
    ("Product images", Kind::PingWeb, &["shop", "us"], 62),
    ("Customer login", Kind::WebContent, &["accounts", "eu"], 96),
    ("Accounts API", Kind::PingWeb, &["accounts", "eu"], 38),
    ("Mail, outgoing", Kind::Tcp, &["mail"], 31),
    ("Mail, incoming", Kind::Tcp, &["mail"], 29),
    ("Webmail", Kind::PingWeb, &["mail"], 112),
    ("Router Frankfurt", Kind::PingIcmp, &["network"], 4),
    ("Router Virginia", Kind::PingIcmp, &["network"], 92),
    ("Database primary", Kind::Tcp, &["network"], 2),
    ("Certificate of the shop", Kind::SslExpiredCheck, &["shop"], 71),
];

/// The number of a monitor, days ago, minutes of being down.
const OUTAGES: [(u64, u64, u64); 14] = [
    (1, 62, 14),
    (1, 17, 6),
    (2, 62, 16),
    (2, 41, 190),
    (2, 3, 22),
    (5, 78, 33),
    (6, 29, 8),
    (8, 55, 640),
    (8, 9, 47),
    (10, 55, 655),
    (10, 21, 12),
    (12, 70, 5),
    (12, 33, 9),
    (12, 5, 3),
];

/// The monitors: 10 is down since 23 minutes, 12 cannot be told.
pub fn monitors() -> Vec<NewMonitor> {
    let one = |(name, kind, tags, _): &(&str, Kind, &[&str], u32)| {
        let mut one = monitor(name, *kind, tags);
        let host = name.to_lowercase().replace([',', ' '], "-").replace("--", "-");
        one.about.target = match kind {
            Kind::PingWeb | Kind::WebContent => format!("https://{host}.example/"),
            Kind::PingIcmp => format!("{host}.example"),
            _ => format!("{host}.example:443"),
        };
        one
    };
    MONITORS.iter().map(one).collect()
}

/// What was found: changes of 90 days and the results of a day.
pub fn samples() -> Vec<SampleBatch> {
    let now_ms = wall_millis() / MINUTE_MS * MINUTE_MS;
    let mut batches = vec![history(now_ms)];
    for minute in (0..24 * 60).rev() {
        let due_ms = now_ms - minute * MINUTE_MS;
        let samples = (1..).zip(&MONITORS).map(|(id, (.., usual))| {
            let since = minute <= 23;
            match id {
                10 if since => bad(id, due_ms),
                12 if since => {
                    Sample { verdict: Verdict::Unknown, code: Code(1_000), ..bad(id, due_ms) }
                }
                _ => timed(good(id, due_ms), *usual, id * 7_919 + minute),
            }
        });
        let samples: Vec<Sample> = samples.collect();
        let failed = |(_, sample): &(usize, &Sample)| sample.verdict == Verdict::Down;
        let words = samples.iter().enumerate().filter(failed).map(|(at, _)| Words {
            sample: at as u16,
            message: "nothing listens: connection refused by 192.0.2.25:443".into(),
            detail: None,
            cert: None,
            attempts: Vec::new(),
        });
        let (shard, seq) = (ShardId(0), batches.len() as u64 + 1);
        let words = words.collect();
        batches.push(SampleBatch { shard, seq, words, transitions: Vec::new(), samples });
    }
    batches
}

/// A good sample with about this time.
fn timed(sample: Sample, usual_ms: u32, seed: u64) -> Sample {
    let random = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 % 1_000;
    let wave = ((seed % 1_440) as f64 / 1_440.0 * std::f64::consts::TAU).sin() * 0.18 + 1.0;
    let slow = if random.is_multiple_of(31) { 2 } else { 1 };
    let total_us = (f64::from(usual_ms * 1_000) * wave) as u32 + usual_ms * (random % 300) * slow;
    let part = |percent: u32| total_us / 100 * percent;
    let timings = probes::Timings::from_raw([part(2), part(18), part(27), part(43), part(10)]);
    Sample { total_us, timings, ..sample }
}

fn history(now_ms: u64) -> SampleBatch {
    let refused = Code::from(CheckResult::Down(Failure::Refused));
    let change = |monitor, at_ms, from, to, code| Transition {
        monitor: MonitorId(monitor),
        at_ms,
        from,
        to,
        code,
        marks: Marks::NONE,
    };
    let begin = |id| {
        let known_days = if id == 13 { 20 } else { 89 };
        change(id, now_ms - known_days * DAY_MS, Verdict::Pending, Verdict::Up, Code::GOOD)
    };
    let mut transitions: Vec<Transition> = (1..=MONITORS.len() as u64).map(begin).collect();
    for (id, days, minutes) in OUTAGES {
        let at_ms = now_ms - days * DAY_MS - 7 * 61 * MINUTE_MS;
        let end_ms = at_ms + minutes * MINUTE_MS;
        transitions.push(change(id, at_ms, Verdict::Up, Verdict::Down, refused));
        transitions.push(change(id, end_ms, Verdict::Down, Verdict::Up, Code::GOOD));
    }
    let since_ms = now_ms - 23 * MINUTE_MS;
    transitions.push(change(10, since_ms, Verdict::Up, Verdict::Down, refused));
    transitions.push(change(12, since_ms, Verdict::Up, Verdict::Unknown, Code(1_000)));
    transitions.sort_by_key(|change| change.at_ms);
    let (shard, seq, samples, words) = (ShardId(0), 1, Vec::new(), Vec::new());
    SampleBatch { shard, seq, samples, words, transitions }
}

/// The public page of all of them, and a window of maintenance.
pub fn pages() -> String {
    let day = |ahead: u64| engine::alert::words::rfc3339(wall_millis() + ahead);
    let (from, to) = (day(30 * 60 * MINUTE_MS), day(32 * 60 * MINUTE_MS));
    format!(
        "status_pages:
  - slug: example
    title: Example Store
    description: The state of everything our customers use, measured from outside once a minute.
    tags: [shop, accounts, mail, network]
maintenance:
  - tags: [accounts]
    from: {from}
    to: {to}
"
    )
}

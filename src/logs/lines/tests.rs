//! The lines, word for word as the original writes them.

use probes::Timings;

use super::*;
use crate::ids::ShardId;
use crate::sample::Verdict;

/// 2026-11-23 14:40:49 UTC.
const DUE_MS: u64 = 1_795_444_849_000;

fn facts(id: u64, user_id: Option<i64>) -> Facts {
    Facts {
        id: MonitorId(id),
        kind: Some(Kind::PingWeb),
        target: "http://a.example/".into(),
        interval_ms: 5_000,
        user_id,
        last: (Code::GOOD, "HTTP 200 - OK".into()),
    }
}

fn sample(id: u64, due_ms: u64, code: u16) -> Sample {
    Sample {
        monitor: MonitorId(id),
        due_ms,
        lag_us: 2_000,
        timings: Timings::NONE,
        total_us: 1_140,
        body_bytes: 77,
        code: Code(code),
        http_status: 200,
        phase: u8::MAX,
        attempts: 1,
        verdict: Verdict::Up,
    }
}

fn words(sample: u16, message: &str, attempts: &[&str]) -> Words {
    let attempts = attempts.iter().map(|text| Box::from(*text)).collect();
    Words { sample, message: message.into(), detail: None, cert: None, attempts }
}

fn batch(samples: Vec<Sample>, words: Vec<Words>) -> SampleBatch {
    SampleBatch { shard: ShardId(0), seq: 1, samples, words, transitions: vec![] }
}

fn lines() -> Lines {
    let mut lines = Lines::new(TimeZone::UTC, DUE_MS - 60_000);
    lines.know(vec![facts(1, Some(9)), facts(2, None)]);
    lines
}

#[test]
fn a_good_check_has_the_lines_of_the_original_in_its_three_files() {
    let mut lines = lines();
    lines.record(&batch(vec![sample(1, DUE_MS, 0), sample(1, DUE_MS + 5_000, 0)], vec![]));
    let main = "\
2026-11-23 14:40:49# None - [PERF] [Test-T1-1] Check #1 at 14:40:49, DTime = N/A
2026-11-23 14:40:54# None - [PERF] [Test-T1-1] Check #2 at 14:40:54, DTime = 5.0s
";
    assert_eq!(lines.open[&Place::Main], main);
    let second = "

2026-11-23 14:40:54# ID:1  - === Checking: (ID: 1)
2026-11-23 14:40:54# ID:1  - Type: ping_web, Interval: 5s, URL: http://a.example/
2026-11-23 14:40:54# ID:1  - ✅ Result: True | 1.1ms | HTTP 200 - OK
2026-11-23 14:40:54# ID:1  - [Test-Tid1-1] [OK]  | RTime:1.1ms | Check: 1.1ms | DTime = 5.0s | \
dTimeAverage = 5.0s (1 checks) 
";
    let own = &lines.open[&Place::Monitor(MonitorId(1))];
    assert!(own.ends_with(second), "{own}");
    assert_eq!(own, &lines.open[&Place::User(9)]);
    assert!(!lines.open.contains_key(&Place::Errors));
}

#[test]
fn a_bad_check_has_its_attempts_and_its_message_also_when_it_has_no_words_of_its_own() {
    let mut lines = lines();
    let told = words(0, "HTTP 500 - Error (after 3 retries)", &["HTTP 500", "HTTP 502"]);
    lines.record(&batch(vec![sample(2, DUE_MS, 12)], vec![told]));
    let own = lines.open.remove(&Place::Monitor(MonitorId(2))).unwrap();
    assert!(own.contains("🌐 [WEB ERROR] Attempt 2 failed (HTTP 502), retrying...\n"), "{own}");
    assert!(own.contains("❌ Result: False | N/A | HTTP 500 - Error (after 3 retries)\n"), "{own}");
    assert!(own.contains("[Test-Tid1-2]  *** [ERROR]  | RTime:N/A | Check: 1.1ms | DTime = N/A"));
    lines.record(&batch(vec![sample(2, DUE_MS + 5_000, 12)], vec![]));
    let own = lines.open.remove(&Place::Monitor(MonitorId(2))).unwrap();
    assert!(own.contains("❌ Result: False | N/A | HTTP 500 - Error (after 3 retries)\n"), "{own}");
    lines.record(&batch(vec![sample(2, DUE_MS + 10_000, 10)], vec![]));
    let own = lines.open.remove(&Place::Monitor(MonitorId(2))).unwrap();
    assert!(own.contains(&format!("N/A | {}\n", Code(10).name())), "{own}");
}

#[test]
fn our_own_trouble_is_an_error_and_a_missed_check_is_no_start() {
    let mut lines = lines();
    let told = words(1, "Unknown: late", &[]);
    let samples = vec![sample(1, DUE_MS, 2001), sample(1, DUE_MS + 5_000, 1007)];
    lines.record(&batch(samples, vec![told]));
    assert_eq!(
        lines.open[&Place::Errors],
        "2026-11-23 14:40:54# [ID:1 [USER:9 ]]ERROR: Unknown: late\n"
    );
    let own = &lines.open[&Place::Monitor(MonitorId(1))];
    let missed = "2026-11-23 14:40:49# ID:1  - ⚡ [Test-T1-1] Check at 14:40:49 missed: overrun\n";
    assert!(own.starts_with(missed), "{own}");
    assert!(lines.open[&Place::Main].contains("Check #1 at 14:40:54, DTime = N/A"));
}

#[test]
fn every_tenth_check_and_every_look_at_the_numbers_tell_the_sums() {
    let mut lines = lines();
    let samples = (0..10).map(|number| sample(1, DUE_MS + number * 5_000, 0));
    lines.record(&batch(samples.collect(), vec![]));
    let global = "[GLOBAL] [Test-T1] Global Stats: Total checks = 10, dTimeAverageGlobal = 5.0s (9 checks)\n";
    assert!(lines.open[&Place::Main].ends_with(global), "{}", lines.open[&Place::Main]);
    lines.stats(DUE_MS + 60_000);
    let stats = "2026-11-23 14:41:49# None - [STATS] [Test-T1 Stats] Uptime: 120s | Checks: 10 | \
Success: 10 (100.0%) | Failed: 0 | Rate: 5.0 checks/min | dTimeAverageGlobal: 5.0s (9 checks) | \
Internet: not checked\n";
    assert!(lines.open[&Place::Main].ends_with(stats), "{}", lines.open[&Place::Main]);
}

#[test]
fn results_of_a_monitor_that_is_gone_write_nothing_and_its_starts_are_forgotten() {
    let mut lines = lines();
    lines.record(&batch(vec![sample(1, DUE_MS, 0)], vec![]));
    lines.know(vec![facts(2, None)]);
    lines.open.clear();
    lines.record(&batch(vec![sample(1, DUE_MS + 5_000, 0)], vec![]));
    assert!(lines.open.is_empty());
    lines.know(vec![facts(1, None)]);
    lines.record(&batch(vec![sample(1, DUE_MS + 10_000, 0)], vec![]));
    assert!(lines.open[&Place::Main].contains("Check #1 at 14:40:59, DTime = N/A"));
}

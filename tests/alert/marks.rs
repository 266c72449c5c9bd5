//! What marks hold back, and what is told of it in the end.

use engine::alert::{Alerts, Change};
use engine::sample::{Marks, Verdict};
use serde_json::json;

use crate::bench::{Memory, change, channel, down, eventually, flapping, outbox, start, up};
use crate::recorder::Recorder;

/// Alerts with one webhook, and everything beside them.
struct Bench {
    place: tempfile::TempDir,
    hook: Recorder,
    memory: Memory,
    alerts: Option<Alerts>,
}

impl Bench {
    fn of(count: u64) -> Bench {
        let (place, hook, memory) =
            (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(count));
        let mut bench = Bench { place, hook, memory, alerts: None };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let hooks = vec![channel(json!({"type": "webhook", "url": self.hook.url("/")}))];
        self.alerts = Some(start(self.place.path(), hooks, &self.memory));
    }

    fn stop(&mut self) {
        self.alerts.take().unwrap().stop();
    }

    fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        let teller = self.alerts.as_ref().unwrap().teller();
        changes.into_iter().for_each(|change| teller.changes(vec![change]));
    }

    /// Waits until so many notices have come, and gives their keys.
    fn keys(&self, count: usize) -> Vec<String> {
        eventually("the notices", || (self.hook.requests().len() >= count).then_some(()));
        self.hook.values("key")
    }

    /// Waits until an outage of another monitor is told: what was told before it was weighed.
    fn settle(&self, id: u64) {
        let before = self.hook.requests().len();
        self.tell([down(id, 1_000)]);
        let keys = self.keys(before + 1);
        assert!(keys.contains(&format!("{id}-1000-down")), "{keys:?}");
    }
}

fn settled(id: u64, at_ms: u64, verdict: Verdict) -> Change {
    change(id, at_ms, verdict, verdict)
}

#[test]
fn a_monitor_that_flaps_is_told_once_and_then_what_it_settles_on_if_that_is_news() {
    let mut bench = Bench::of(9);
    bench.tell([down(1, 1_000)]);
    bench.keys(1);
    bench.tell([flapping(up(1, 2_000)), flapping(down(1, 3_000)), flapping(up(1, 4_000))]);
    assert_eq!(bench.keys(2), ["1-1000-down", "1-2000-flapping"]);
    bench.settle(9);
    bench.tell([settled(1, 5_000, Verdict::Up)]);
    assert_eq!(bench.keys(4)[3], "1-1000-up");
    bench.stop();
    assert_eq!(bench.hook.values("event"), ["down", "flapping", "down", "up"]);
    assert_eq!(bench.hook.requests().len(), 4);
}

#[test]
fn a_monitor_that_settles_where_it_was_told_to_be_is_not_told_again_and_its_end_is() {
    let mut bench = Bench::of(9);
    bench.tell([down(1, 1_000)]);
    bench.keys(1);
    bench.tell([flapping(up(1, 2_000)), flapping(down(1, 3_000))]);
    assert_eq!(bench.keys(2)[1], "1-2000-flapping");
    bench.tell([settled(1, 4_000, Verdict::Down)]);
    bench.settle(9);
    bench.tell([up(1, 5_000)]);
    assert_eq!(bench.keys(4)[3], "1-1000-up");
    bench.stop();
    assert_eq!(bench.hook.requests().len(), 4);
}

#[test]
fn a_monitor_that_began_to_flap_while_it_was_up_and_settles_down_is_told_down_then() {
    let mut bench = Bench::of(9);
    bench.tell([flapping(down(1, 1_000)), flapping(up(1, 2_000)), flapping(down(1, 3_000))]);
    assert_eq!(bench.keys(1), ["1-1000-flapping"]);
    bench.settle(9);
    bench.tell([settled(1, 4_000, Verdict::Down)]);
    let told = bench.keys(3)[2].clone();
    assert!(told.starts_with("1-") && told.ends_with("-down"), "{told}");
    bench.tell([up(1, 5_000)]);
    assert_eq!(bench.keys(4)[3], told.replace("down", "up"));
    bench.stop();
    assert_eq!(bench.hook.requests().len(), 4);
}

#[test]
fn an_end_that_flapping_held_back_is_told_after_a_restart_which_knows_of_no_flapping() {
    let mut bench = Bench::of(9);
    bench.tell([down(1, 1_000)]);
    bench.keys(1);
    bench.tell([flapping(up(1, 2_000))]);
    bench.keys(2);
    bench.settle(9);
    bench.stop();
    bench.start();
    assert_eq!(bench.keys(4)[3], "1-1000-up");
    bench.stop();
}

#[test]
fn many_that_begin_to_flap_are_one_notice_and_who_keeps_incidents_gets_none() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(60));
    let channels = vec![
        channel(json!({"type": "webhook", "name": "people", "url": hook.url("/")})),
        channel(json!({"type": "pagerduty", "name": "pager", "key": "env:HOME",
                       "api": hook.url("")})),
    ];
    let alerts = start(place.path(), channels, &memory);
    let mark = |id| flapping(settled(id, 1_000, Verdict::Up));
    alerts.teller().changes((1..=60).map(mark).collect());
    eventually("the notice", || (!hook.requests().is_empty()).then_some(()));
    alerts.stop();
    let request = hook.requests()[0].json();
    assert_eq!(request["title"], "FLAPPING: 60 monitors");
    let text = request["message"].as_str().unwrap();
    assert!(text.contains("- monitor-20\n… and 40 more"), "{text}");
    assert_eq!(outbox(place.path()), ["people flapping 1-1000-flapping-together delivered"]);
}

#[test]
fn marks_alone_are_no_change_of_verdict() {
    let mut bench = Bench::of(9);
    let marked = |id, verdict| Change { marks: Marks::MAINTENANCE, ..settled(id, 1_000, verdict) };
    bench.tell([marked(1, Verdict::Down), marked(2, Verdict::Up)]);
    bench.settle(9);
    let mut counts = engine::metrics::page::Counts::default();
    bench.alerts.as_ref().unwrap().counters().add_to(&mut counts, 0);
    bench.stop();
    let of = |name: &str| counts.counters.iter().find(|one| one.0 == name).unwrap().2;
    assert_eq!((of("engine_alert_changes"), of("engine_alert_changes_repeated")), (1, 0));
    assert_eq!(bench.hook.requests().len(), 1);
}

#[test]
fn what_a_mark_holds_back_is_told_when_it_is_gone_if_it_lasts_and_who_was_told_hears_the_end() {
    let mut bench = Bench::of(9);
    bench.memory.hold(1, "maintenance");
    bench.memory.hold(2, "unreachable");
    bench.tell([down(4, 1_000)]);
    bench.keys(1);
    bench.memory.hold(4, "maintenance");
    bench.tell([down(1, 1_000), down(2, 1_000)]);
    bench.settle(9);
    // Who was told of the outage is told of its end, also in a maintenance.
    bench.tell([up(4, 2_000)]);
    assert_eq!(bench.keys(3)[2], "4-1000-up");
    bench.tell([up(1, 2_000)]); // Nobody was told of it.
    bench.stop();
    bench.start();
    bench.memory.release(1);
    bench.memory.release(2);
    assert_eq!(bench.keys(4)[3], "2-1000-down");
    bench.tell([up(2, 3_000)]);
    assert_eq!(bench.keys(5)[4], "2-1000-up");
    bench.stop();
    assert_eq!(bench.hook.requests().len(), 5);
}

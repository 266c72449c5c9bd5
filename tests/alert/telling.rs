//! What is told, over channels of the configuration, as a receiver sees it.

use engine::alert::http::Roots;
use engine::alert::outbox::Outbox;
use engine::alert::{Alerts, Facts, Person, Setup};
use engine::clock::wall_millis;
use engine::sample::Verdict;
use serde_json::json;

use crate::bench::{Memory, change, channel, down, eventually, named, start, up};
use crate::recorder::Recorder;

#[test]
fn an_outage_is_told_once_and_its_end_once_under_keys_of_one_outage() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(1));
    let alerts = start(
        place.path(),
        vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))],
        &memory,
    );
    for change in [
        down(1, 1_000),
        down(1, 1_000),
        change(1, 2_000, Verdict::Down, Verdict::Unknown),
        change(1, 3_000, Verdict::Unknown, Verdict::Down),
        up(1, 4_000),
        up(1, 4_000),
    ] {
        alerts.teller().changes(vec![change]);
    }
    eventually("two notices", || (hook.requests().len() == 2).then_some(()));
    alerts.stop();
    let requests = hook.requests();
    assert_eq!(hook.values("event"), ["down", "up"]);
    assert_eq!(hook.values("outage"), ["1-1000", "1-1000"]);
    assert_eq!(hook.values("key"), ["1-1000-down", "1-1000-up"]);
    assert_eq!(requests[0].header("idempotency-key"), Some("1-1000-down"));
    assert_eq!(requests[0].json()["monitor"]["name"], "monitor-1");
    assert_eq!(requests[0].json()["message"], "timeout");
    assert_eq!(requests[1].json()["response_time_ms"], 1.54);
}

#[test]
fn what_nobody_told_of_is_read_from_the_store_once() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(3));
    let hooks = || vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))];
    memory.record(&down(3, 500)); // Before alerts were ever started: nobody's news.
    start(place.path(), hooks(), &memory).stop();
    memory.record(&down(1, 1_000)); // Killed between commit and telling.
    memory.record(&down(2, 1_000));
    let alerts = start(place.path(), hooks(), &memory);
    alerts.teller().changes(vec![down(2, 1_000)]);
    eventually("both", || (hook.requests().len() == 2).then_some(()));
    memory.record(&up(1, 2_000));
    alerts.stop();
    let alerts = start(place.path(), hooks(), &memory);
    eventually("the end, over a restart", || (hook.requests().len() == 3).then_some(()));
    alerts.stop();
    let mut keys = hook.values("key");
    keys[..2].sort();
    assert_eq!(keys, ["1-1000-down", "2-1000-down", "1-1000-up"]);
}

#[test]
fn changes_that_other_engines_record_in_a_shared_store_are_theirs_to_tell() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(2));
    let begin = || {
        let hooks = vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))];
        let setup = Setup::of(hooks, Roots::default(), None);
        let setup = Setup { shared: true, hold_ms: 0, ..setup };
        Alerts::start(place.path(), setup, Box::new(memory.clone())).unwrap()
    };
    begin().stop();
    memory.record(&down(1, 1_000)); // Another engine's.
    memory.record(&down(2, 1_000));
    let alerts = begin();
    alerts.teller().changes(vec![down(2, 1_000)]);
    eventually("ours", || (hook.requests().len() == 1).then_some(()));
    alerts.stop();
    assert_eq!(hook.values("key"), ["2-1000-down"]);
    let lines = Outbox::look(place.path()).unwrap().unwrap().lines(10).unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn tags_and_names_of_channels_decide_who_is_told() {
    let place = tempfile::tempdir().unwrap();
    let (all, shop, named_only) = (Recorder::start(), Recorder::start(), Recorder::start());
    let hook = |name: &str, to: &Recorder, tags: &[&str]| {
        channel(json!({"type": "webhook", "name": name, "url": to.url("/"), "tags": tags}))
    };
    let channels = vec![
        hook("all", &all, &[]),
        hook("shop", &shop, &["shop"]),
        hook("other", &named_only, &["nobody"]),
    ];
    let memory = Memory::of(4);
    memory.know(2, Facts { tags: vec!["shop".into()], ..named(2) });
    memory.know(3, Facts { channels: Some(vec!["other".into(), "gone".into()]), ..named(3) });
    memory.know(4, Facts { channels: Some(vec![]), ..named(4) });
    let alerts = start(place.path(), channels, &memory);
    alerts.teller().changes((1..=4).map(|id| down(id, 1_000)).collect());
    eventually("one named channel", || (named_only.requests().len() == 1).then_some(()));
    eventually("one of a tag", || (shop.requests().len() == 1).then_some(()));
    eventually("those without names", || (all.requests().len() == 2).then_some(()));
    alerts.stop();
    assert_eq!(named_only.values("key"), ["3-1000-down"]);
    assert_eq!(shop.values("key"), ["2-1000-down"]);
}

#[test]
fn in_a_quiet_time_an_end_waits_and_a_new_outage_is_not_told() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(2));
    let mut quiet = channel(json!({"type": "webhook", "url": hook.url("/x")}));
    quiet.quiet = true;
    let alerts = start(place.path(), vec![quiet], &memory);
    alerts.teller().changes(vec![down(1, 1_000)]);
    eventually("the outage", || (hook.requests().len() == 1).then_some(()));
    let until = wall_millis() + 600_000;
    let silent = Person { silent_until_ms: Some(until), ..Person::default() };
    memory.know(1, Facts { person: Some(silent), ..named(1) });
    alerts.teller().changes(vec![up(1, 2_000), down(1, 3_000), up(1, 4_000)]);
    alerts.teller().changes(vec![down(2, 5_000)]);
    eventually("another's outage", || (hook.requests().len() == 2).then_some(()));
    alerts.stop();
    let lines = Outbox::look(place.path()).unwrap().unwrap().lines(10).unwrap();
    let waiting: Vec<_> = lines.iter().filter(|line| line.state == "waiting").collect();
    assert_eq!(waiting.len(), 1, "{lines:?}");
    assert_eq!((waiting[0].key.as_str(), waiting[0].next_ms), ("1-1000-up", Some(until)));
}

#[test]
fn an_outage_of_a_monitor_that_is_taken_away_has_an_end() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(2));
    let hooks = vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))];
    let alerts = start(place.path(), hooks, &memory);
    alerts.teller().changes(vec![down(1, 1_000), down(2, 1_000)]);
    eventually("both", || (hook.requests().len() == 2).then_some(()));
    memory.forget(1);
    alerts.teller().monitors_removed();
    eventually("its end", || (hook.requests().len() == 3).then_some(()));
    alerts.stop();
    assert_eq!(hook.values("event")[2], "gone");
    assert_eq!(hook.values("outage")[2], "1-1000");
}

#[test]
fn an_absent_database_delays_an_alert_and_loses_none() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(1));
    memory.set_away(true);
    let hooks = vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))];
    let alerts = start(place.path(), hooks, &memory);
    alerts.teller().changes(vec![down(1, 1_000), up(1, 2_000)]);
    memory.set_away(false);
    eventually("both", || (hook.requests().len() == 2).then_some(()));
    alerts.stop();
    assert_eq!(hook.values("event"), ["down", "up"]);
}

#[test]
fn an_outage_that_waited_in_the_spool_is_told_before_a_later_one_of_its_monitor() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(1));
    memory.set_away(true);
    let hooks = vec![channel(json!({"type": "webhook", "url": hook.url("/x")}))];
    let alerts = start(place.path(), hooks, &memory);
    alerts.teller().changes(vec![down(1, 5_000), up(1, 6_000)]);
    alerts.teller().changes(vec![down(1, 1_000), up(1, 2_000)]);
    memory.set_away(false);
    eventually("all", || (hook.requests().len() == 4).then_some(()));
    alerts.stop();
    assert_eq!(hook.values("key"), ["1-1000-down", "1-1000-up", "1-5000-down", "1-5000-up"]);
}

#[test]
fn reminders_follow_the_rule_and_only_after_a_further_failed_check() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(1));
    let hooks = vec![channel(json!({"type": "webhook", "url": hook.url("/x"), "remind": "1s"}))];
    let alerts = start(place.path(), hooks, &memory);
    memory.fail(1, 1);
    alerts.teller().changes(vec![down(1, 1_000)]);
    eventually("the outage", || (hook.requests().len() == 1).then_some(()));
    memory.fail(1, 3);
    eventually("a reminder", || (hook.requests().len() == 2).then_some(()));
    alerts.teller().changes(vec![up(1, 9_000)]);
    eventually("the end", || (hook.requests().len() == 3).then_some(()));
    alerts.stop();
    assert_eq!(hook.values("event"), ["down", "still_down", "up"]);
    assert_eq!(hook.requests()[1].json()["failures"], 3);
}

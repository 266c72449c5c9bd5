//! A mass outage: one notice for what fails together, one for its end, and the rest as ever.

use engine::alert::{Alerts, Facts};
use serde_json::json;

use crate::bench::{Memory, channel, down, eventually, named, start_holding, up};
use crate::recorder::Recorder;

/// Monitors: 100,000 in the long form.
fn fleet() -> u64 {
    if std::env::var_os("ALERT_MASS_LONG").is_some() { 100_000 } else { 1_000 }
}

#[test]
fn nine_tenths_of_a_fleet_are_one_notice_with_the_common_cause_and_their_end_is_one_too() {
    let (place, hook, machine) =
        (tempfile::tempdir().unwrap(), Recorder::start(), Recorder::start());
    let (all, gone) = (fleet(), fleet() / 10 * 9);
    let memory = Memory::default();
    for id in 1..=all {
        let target = format!("10.77.3.{}:443", id % 250);
        memory.know(id, Facts { target, tags: vec!["rack 7".into()], ..named(id) });
    }
    let channels = || {
        vec![
            channel(json!({"type": "webhook", "name": "people", "url": hook.url("/")})),
            channel(json!({
                "type": "webhook", "name": "machine", "url": machine.url("/"),
                "group": false, "tags": "lonely"
            })),
        ]
    };
    memory.know(
        all,
        Facts { tags: vec!["lonely".into()], channels: Some(vec!["machine".into()]), ..named(all) },
    );
    let alerts = start_holding(place.path(), channels(), &memory, 1_000);
    let tell = |alerts: &Alerts, ids: std::ops::RangeInclusive<u64>| {
        let ids: Vec<u64> = ids.collect();
        for part in ids.chunks(256) {
            alerts.teller().changes(part.iter().map(|id| down(*id, 1_000 + id)).collect());
        }
    };
    tell(&alerts, 1..=gone / 2);
    alerts.stop(); // A restart in the middle changes nothing.
    let alerts = start_holding(place.path(), channels(), &memory, 1_000);
    tell(&alerts, gone / 2 + 1..=gone);
    alerts.teller().changes(vec![down(all, 5_000)]);
    eventually("the healthy rest is told as ever", || {
        (machine.requests().len() == 1).then_some(())
    });
    eventually("one notice", || (hook.requests().len() == 1).then_some(()));
    let many = hook.requests()[0].json();
    assert_eq!(many["event"], "many_down");
    assert_eq!((&many["group"]["down"], &many["group"]["up"]), (&json!(gone), &json!(0)));
    let causes = ["addresses 10.77.3.0/24", "reason timeout", "tag rack 7"];
    assert_eq!(many["group"]["in_common"], json!(causes));
    assert_eq!(many["group"]["members"].as_array().unwrap().len(), 20);

    let ids: Vec<u64> = (1..=gone).collect();
    for part in ids.chunks(256) {
        alerts.teller().changes(part.iter().map(|id| up(*id, 900_000 + id)).collect());
    }
    eventually("one notice of the end", || (hook.requests().len() == 2).then_some(()));
    alerts.stop();
    let up = hook.requests()[1].json();
    assert_eq!((&up["event"], &up["outage"]), (&json!("many_up"), &many["outage"]));
    assert_eq!((&up["group"]["down"], &up["group"]["up"]), (&json!(gone), &json!(gone)));
    assert_eq!(hook.requests().len(), 2);
}

#[test]
fn a_few_outages_at_once_are_told_one_by_one_and_a_stream_of_them_is_cut_short() {
    let (place, hook, memory) = (tempfile::tempdir().unwrap(), Recorder::start(), Memory::of(60));
    let channels = vec![channel(json!({"type": "webhook", "url": hook.url("/")}))];
    let alerts = start_holding(place.path(), channels, &memory, 0);
    // One at a time, so that none are due together.
    for id in 1..=20 {
        alerts.teller().changes(vec![down(id, 1_000 + id)]);
        eventually("each by itself", || (hook.requests().len() == id as usize).then_some(()));
    }
    for id in 21..=60 {
        alerts.teller().changes(vec![down(id, 1_000 + id)]);
    }
    eventually("the rest together", || (hook.requests().len() == 21).then_some(()));
    alerts.stop();
    let last = hook.requests()[20].json();
    assert_eq!((&last["event"], &last["group"]["down"]), (&json!("many_down"), &json!(40)));
}

#[test]
fn being_cut_off_is_one_notice_to_every_channel_and_its_end_another() {
    let (place, one, other) = (tempfile::tempdir().unwrap(), Recorder::start(), Recorder::start());
    let hook = |name: &str, to: &Recorder| {
        channel(json!({"type": "webhook", "name": name, "url": to.url("/")}))
    };
    let alerts =
        start_holding(place.path(), vec![hook("a", &one), hook("b", &other)], &Memory::of(1), 0);
    alerts.teller().isolated(true, "2 of 3 canaries are silent and there is no route");
    alerts.teller().isolated(false, "canaries answer again");
    for hook in [&one, &other] {
        eventually("both", || (hook.requests().len() == 2).then_some(()));
        assert_eq!(hook.values("event"), ["isolated", "connected"]);
    }
    alerts.stop();
}

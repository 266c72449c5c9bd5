//! Verdicts one can trust: no fault of ours is a down, and every real outage is found in time.
//!
//! `SIM_CHECKS=10000000` asks for the long form; the small one makes half a million checks.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::world::{Plan, Told, World, detection, timing};

/// Ticks of a minute and an hour.
const MINUTE: u64 = 6_000;

/// Checks that are asked for in all.
fn checks() -> u64 {
    let asked = std::env::var("SIM_CHECKS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(500_000)
}

fn none_false(told: &Told) {
    assert!(
        told.false_downs.is_empty(),
        "{:?}",
        &told.false_downs[..told.false_downs.len().min(9)]
    );
}

/// Every planted outage is told within the documented time.
fn all_found(told: &Told, plan: &Plan) {
    for (id, outage) in &plan.outages {
        let within = detection(&timing(*id), plan.guard);
        assert!(outage.start + within < outage.end, "the plan is too short for monitor {id}");
        let downs = told.downs.get(id).map_or(&[][..], Vec::as_slice);
        let at = downs.iter().find(|at| outage.contains(at)).copied();
        let at = at.unwrap_or_else(|| panic!("outage of {id} was not found: {outage:?}"));
        let took = at - outage.start;
        // What the store is told comes with the batch.
        assert!(took <= within + 50, "{id} took {took} ticks, not {within}: {:?}", timing(*id));
    }
}

/// One outage each of some monitors, anywhere in the time.
fn outages(
    random: &mut Random,
    monitors: u64,
    count: u64,
    end: u64,
) -> BTreeMap<u64, std::ops::Range<u64>> {
    let lasts = 8 * MINUTE;
    let pairs = (0..count).map(|_| {
        let start = random.below(end - lasts);
        (random.below(monitors), start..start + lasts)
    });
    pairs.collect()
}

#[test]
fn no_fault_of_ours_is_a_down_and_every_real_outage_is_found_in_time() {
    let (mut left, mut seed) = (checks(), 1);
    while left > 0 {
        let mut random = Random(seed);
        let end = 60 * MINUTE;
        let plan = Plan {
            monitors: 2_000,
            guard: seed % 2 == 0,
            faults: 500,
            outages: outages(&mut random, 2_000, 60, end),
            ..Plan::default()
        };
        let told = World::new(seed, plan.clone()).run(end);
        none_false(&told);
        assert!(told.unknown > told.checks / 40 && told.isolations.is_empty());
        // A fault may hit the very check that would have decided: the next one does.
        let found = plan.outages.keys().filter(|id| told.downs.contains_key(id)).count();
        assert_eq!(found, plan.outages.len());
        left = left.saturating_sub(told.checks);
        seed += 1;
    }
}

#[test]
fn without_faults_every_outage_is_found_within_the_documented_time() {
    for guard in [false, true] {
        let end = 60 * MINUTE;
        let outages = outages(&mut Random(7), 2_000, 400, end);
        let plan = Plan { monitors: 2_000, guard, outages, ..Plan::default() };
        let told = World::new(7, plan.clone()).run(end);
        none_false(&told);
        all_found(&told, &plan);
        assert!(told.confirmations > 100 && told.isolations.is_empty());
    }
}

#[test]
fn a_process_that_stalls_again_and_again_calls_nothing_down() {
    let plan = Plan { monitors: 2_000, guard: true, faults: 200, stall: 3_000, ..Plan::default() };
    let told = World::new(3, plan).run(60 * MINUTE);
    assert_eq!(told.downs, BTreeMap::new());
    assert!(told.isolations.is_empty());
}

#[test]
fn a_loss_of_the_way_is_no_down_and_exactly_one_isolation() {
    for (seed, route_too, monitors) in
        [(1, true, 2_000), (2, false, 2_000), (3, false, 300), (4, false, 30), (5, true, 5)]
    {
        let lost = 20 * MINUTE + 3_333..30 * MINUTE + 1_111;
        let plan =
            Plan { monitors, guard: true, route_too, lost: vec![lost.clone()], ..Plan::default() };
        let told = World::new(seed, plan).run(60 * MINUTE);
        assert_eq!(told.downs, BTreeMap::new(), "{monitors} monitors");
        assert_eq!((told.isolations.len(), told.ends.len()), (1, 1), "{monitors} monitors");
        assert!(told.ends[0] > lost.end && told.ends[0] < lost.end + 1_000);
    }
}

#[test]
fn losses_of_any_length_and_kind_make_no_down() {
    for seed in 0..12 {
        let mut random = Random(seed);
        // Longer than a pause and two times of a canary, which is what is promised.
        let mut lost = Vec::new();
        for n in 0..6 {
            let start = n * 10 * MINUTE + random.below(MINUTE);
            lost.push(start..start + 510 + random.below(6 * MINUTE));
        }
        let plan = Plan {
            monitors: 400,
            guard: true,
            route_too: random.chance(50),
            faults: 100,
            lost,
            ..Plan::default()
        };
        let told = World::new(seed, plan).run(65 * MINUTE);
        assert_eq!(told.downs, BTreeMap::new(), "seed {seed}");
    }
}

#[test]
fn canaries_that_die_alone_neither_isolate_nor_hide_an_outage() {
    let end = 60 * MINUTE;
    let mut plan = Plan {
        monitors: 2_000,
        guard: true,
        dead_canaries: Some(10 * MINUTE..60 * MINUTE),
        ..Plan::default()
    };
    // Some while the canaries are in doubt, others after.
    plan.outages = outages(&mut Random(9), 2_000, 200, end);
    let told = World::new(9, plan.clone()).run(end);
    none_false(&told);
    assert!(told.isolations.is_empty());
    let found = plan.outages.keys().filter(|id| told.downs.contains_key(id)).count();
    assert_eq!(found, plan.outages.len());
}

#[test]
fn a_mass_outage_is_found_in_time_and_does_not_delay_the_healthy_rest() {
    let monitors = 5_000;
    let start = 10 * MINUTE;
    let down = (0..monitors).filter(|id| id % 10 != 0);
    let outages = down.map(|id| (id, start..30 * MINUTE)).collect();
    // Room for what one round of an outage needs: rate times timeout, with retries.
    let plan = Plan { monitors, guard: true, outages, room: 2_000, ..Plan::default() };
    let told = World::new(11, plan.clone()).run(31 * MINUTE);
    none_false(&told);
    all_found(&told, &plan);
    assert!(told.isolations.is_empty(), "canaries that answer say that it is not us");
    assert!(told.lag_ms_max <= 1_000, "a healthy monitor started {} ms late", told.lag_ms_max);
}

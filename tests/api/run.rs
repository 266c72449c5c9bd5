//! Checks that are asked for over the API.

use std::sync::Arc;

use engine::messages::Change;
use engine::monitor::Kind;
use engine::sample::{CheckResult, Missed, Sample};

use crate::made::{ADMIN, Api, NOW, bad, batch, good, monitor};

async fn two() -> Api {
    let mut resting = monitor("resting", Kind::Tcp, &[]);
    resting.paused = true;
    let mut broken = monitor("broken", Kind::Tcp, &[]);
    broken.problem = Some("target: is missing".into());
    let monitors = [monitor("alpha", Kind::PingWeb, &[]), resting, broken];
    Api::new(&monitors, &[batch(1, vec![good(1, NOW - 60_000)], "")]).await
}

#[tokio::test]
async fn a_check_that_was_asked_for_is_answered_with_the_result_that_came_after() {
    let api = Arc::new(two().await);
    let asking = Arc::clone(&api);
    let asked = tokio::spawn(async move {
        asking.ask("POST /api/v1/monitors/1/run?wait_ms=60000", &[ADMIN]).await
    });
    while !matches!(&api.told.lock().unwrap()[..], [Change::CheckNow(ids)] if ids[0].0 == 1) {
        tokio::task::yield_now().await;
    }
    // One of another monitor, one from before and a due time that passed meanwhile are not what
    // was asked for.
    let code = CheckResult::Missed(Missed::Overrun).into();
    let passed = Sample { code, ..good(1, NOW + 5) };
    api.record(batch(1, vec![good(2, NOW + 1), good(1, NOW - 500), passed], ""));
    api.record(batch(2, vec![bad(1, NOW + 10)], "refused"));
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let ran = answer.json();
    assert_eq!(
        (&ran["result"]["due_ms"], &ran["message"]),
        (&(NOW + 10).into(), &"refused".into())
    );
    assert_eq!(ran["result"]["result"], "connect_refused");
}

#[tokio::test]
async fn a_result_that_does_not_come_in_time_is_promised_and_what_cannot_run_is_told() {
    let api = two().await;
    let late = api.ask("POST /api/v1/monitors/1/run?wait_ms=1", &[ADMIN]).await;
    assert_eq!((late.status, late.header("location")), (202, "/api/v1/monitors/1/results"));
    assert!(late.json()["result"].is_null());
    for (path, status) in [("2/run", 409), ("3/run", 409), ("77/run", 404), ("x/run", 400)] {
        let refused = api.ask(&format!("POST /api/v1/monitors/{path}"), &[ADMIN]).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
    }
    let reader = format!("Bearer {}", api.token);
    let refused = api.ask("POST /api/v1/monitors/1/run", &[("authorization", &reader)]).await;
    assert_eq!(refused.status, 403, "a check is asked for by those who may change something");
    assert_eq!(api.told.lock().unwrap().len(), 1);
}

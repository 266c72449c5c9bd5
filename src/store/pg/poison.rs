//! Records batches also where the database does not take one of their rows.
//!
//! Owns: finding that row. Batches are halved, and then the monitors of the one batch that is left,
//! within one transaction; what the database refuses goes to `engine.dead_letter` with its reason,
//! and all else is recorded.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use super::super::append::{Certs, messages_of};
use super::super::{RunId, StoreError, signed};
use super::append::{self, Done, plain};
use super::link::{Link, Work};
use super::original::Days;
use crate::clock::wall_millis;
use crate::ids::MonitorId;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::pg::{Kind, Type, Value};
use crate::sample::SampleBatch;

/// Records batches; see [`super::super::Store::append`].
pub(super) async fn append(
    link: &mut Link,
    certs: &mut Certs,
    days: &mut Days,
    run: RunId,
    batches: &[SampleBatch],
) -> Result<Done, StoreError> {
    let mut seen = Certs::new();
    let result = link
        .transaction(async |work| append::apply(work, certs, &mut seen, days, run, batches).await)
        .await;
    match result {
        Ok(done) => {
            // Only now: a rolled back transaction has not written the certificates.
            certs.extend(seen);
            Ok(done)
        }
        Err(error) if poison(&error).is_none() => {
            days.forget();
            Err(error)
        }
        Err(_) if batches.len() > 1 => {
            days.forget();
            let (first, second) = batches.split_at(batches.len() / 2);
            let first = Box::pin(append(link, certs, days, run, first)).await?;
            let second = Box::pin(append(link, certs, days, run, second)).await?;
            Ok(first.and(second))
        }
        Err(_) => {
            days.forget();
            let Some(batch) = batches.first() else { return Ok(Done::default()) };
            link.transaction(async |work| sift(work, days, run, batch).await).await
        }
    }
}

/// The reason, where a value of ours was not taken.
fn poison(error: &StoreError) -> Option<&str> {
    match error {
        StoreError::Postgres(error) if error.kind == Kind::Poison => Some(&error.text),
        _ => None,
    }
}

/// Records one batch without the monitors whose rows are not taken.
async fn sift(
    work: Work<'_>,
    days: &mut Days,
    run: RunId,
    batch: &SampleBatch,
) -> Result<Done, StoreError> {
    let mut done = Done::default();
    if append::advance_cursors(work, run, std::slice::from_ref(batch)).await?.is_empty() {
        done.appended.batches_skipped = 1;
        return Ok(done);
    }
    let monitors = batch.samples.iter().map(|sample| sample.monitor);
    let monitors = monitors.chain(batch.transitions.iter().map(|change| change.monitor));
    let all: Vec<MonitorId> = monitors.collect::<BTreeSet<_>>().into_iter().collect();
    let mut groups = vec![all];
    while let Some(group) = groups.pop() {
        let part = only(batch, &group);
        work.session.run("SAVEPOINT part").await?;
        // Certificates are not remembered: they are written again when they are seen again.
        let known = (&Certs::new(), &mut Certs::new());
        let result = append::write(work, known.0, known.1, days, &[&part]).await;
        let reason = match &result {
            Ok(of_part) => {
                done = done.and(*of_part);
                work.session.run("RELEASE SAVEPOINT part").await?;
                continue;
            }
            Err(error) => poison(error).map(str::to_owned),
        };
        let Some(reason) = reason else { return result };
        days.forget();
        work.session.run("ROLLBACK TO SAVEPOINT part").await?;
        match group.as_slice() {
            [monitor] => {
                set_aside(work, run, &part, *monitor, &reason).await?;
                done.appended.set_aside += part.samples.len() as u64;
            }
            several => {
                let (first, second) = several.split_at(several.len() / 2);
                groups.push(second.to_vec());
                groups.push(first.to_vec());
            }
        }
    }
    Ok(done)
}

/// What a batch has of these monitors.
fn only(batch: &SampleBatch, monitors: &[MonitorId]) -> SampleBatch {
    let wanted: HashSet<MonitorId> = monitors.iter().copied().collect();
    let mut part = batch.clone();
    part.retain(|sample| wanted.contains(&sample.monitor));
    part.transitions.retain(|change| wanted.contains(&change.monitor));
    part
}

async fn set_aside(
    work: Work<'_>,
    run: RunId,
    part: &SampleBatch,
    monitor: MonitorId,
    reason: &str,
) -> Result<(), StoreError> {
    tracing::error!(%monitor, reason, "results that the database does not take were set aside");
    let messages = messages_of(part);
    let message = messages.get(&monitor).copied().unwrap_or_default();
    let results: Vec<_> = part
        .samples
        .iter()
        .map(|sample| json!({ "due_ms": sample.due_ms, "code": sample.code.0, "message": message }))
        .collect();
    let results = json!(results).to_string().replace("\\u0000", "");
    let numbers = [wall_millis(), run.0, part.seq, monitor.0].map(signed);
    let reason = plain(reason, MESSAGE_BYTES_MAX);
    let values: [Value<'_>; 7] = [
        (&numbers[0], Type::INT8),
        (&numbers[1], Type::INT8),
        (&i32::from(part.shard.0), Type::INT4),
        (&numbers[2], Type::INT8),
        (&numbers[3], Type::INT8),
        (&reason, Type::TEXT),
        (&results, Type::TEXT),
    ];
    let sql = "INSERT INTO engine.dead_letter
                   (at_ms, run_id, shard, seq, monitor_id, reason, results)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    work.session.execute(sql, &values).await?;
    Ok(())
}

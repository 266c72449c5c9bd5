//! Monitors that flap: one notice says so, and then nothing until they have settled.
//!
//! Owns: who flaps, as the changes say, in the outbox. While a monitor flaps its outages are one:
//! what was told stays told, a further change to down opens it again, and its end waits. When it
//! settles, what it settled on is told where that is not what was told last.

use rusqlite::{OptionalExtension, Transaction, params};

use super::notice::{Event, Notice};
use super::outbox::{number, put};
use super::plan::{Turn, quiet_until};
use super::{Change, Facts};
use crate::ids::MonitorId;
use crate::limits::{
    ALERT_GROUP_NAMES_MAX, ALERT_HELD_LOOK_MS, ALERT_SINGLES_PER_MINUTE_MAX,
    ALERT_TURN_OUTAGES_MAX, MARK_DISORDER_MS,
};
use crate::sample::Marks;

/// Why an outage is held that is one of a monitor that flaps.
pub(super) const HELD: &str = "flapping";

/// Stands for all channels among those that told something by itself lately.
const ALL: &str = "";

/// A monitor that began to flap.
struct Flapping {
    monitor: u64,
    since_ms: u64,
}

/// True while a monitor flaps.
pub(super) fn is_on(transaction: &Transaction<'_>, monitor: u64) -> rusqlite::Result<bool> {
    let found = transaction
        .prepare_cached("SELECT still FROM flapping WHERE monitor = ?1")?
        .query_row([monitor as i64], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(false))
}

/// Forgets who flapped in an earlier run: the engine counts anew.
pub(super) fn forget(transaction: &Transaction<'_>, now_ms: u64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM flapping", [])?;
    transaction.execute("UPDATE outage SET end_ms = 0 WHERE end_ms > 0", [])?;
    let due = "UPDATE told SET due_ms = ?1, held = '' WHERE held = ?2 AND sent_ms = 0";
    transaction.execute(due, params![now_ms as i64, HELD])?;
    Ok(())
}

/// Forgets a monitor that is no longer watched.
pub(super) fn forget_one(transaction: &Transaction<'_>, monitor: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM flapping WHERE monitor = ?1")?.execute([monitor])?;
    Ok(())
}

/// Opens the last outage again where it is over and that was not told. True where there was one.
pub(super) fn open_again(
    transaction: &Transaction<'_>,
    monitor: u64,
    closed_ms: Option<i64>,
    due_ms: u64,
) -> rusqlite::Result<bool> {
    let last: Option<i64> = transaction
        .prepare_cached(
            "SELECT opened_ms FROM outage WHERE monitor = ?1 AND closed_ms IS NOT NULL AND gone = 0
             ORDER BY opened_ms DESC LIMIT 1",
        )?
        .query_row([monitor as i64], |row| row.get(0))
        .optional()?;
    let Some(opened_ms) = last else { return Ok(false) };
    transaction
        .prepare_cached(
            "UPDATE outage SET closed_ms = ?3, end_ms = 0 WHERE monitor = ?1 AND opened_ms = ?2",
        )?
        .execute(params![monitor as i64, opened_ms, closed_ms])?;
    transaction
        .prepare_cached(
            "UPDATE told SET due_ms = ?3
             WHERE monitor = ?1 AND opened_ms = ?2 AND sent_ms = 0 AND due_ms IS NULL",
        )?
        .execute(params![monitor as i64, opened_ms, due_ms as i64])?;
    Ok(true)
}

/// Puts off the end of an outage.
pub(super) fn hold_end(
    transaction: &Transaction<'_>,
    monitor: u64,
    opened_ms: u64,
    now_ms: u64,
) -> rusqlite::Result<()> {
    let until_ms = now_ms + ALERT_HELD_LOOK_MS;
    transaction
        .prepare_cached("UPDATE outage SET end_ms = ?3 WHERE monitor = ?1 AND opened_ms = ?2")?
        .execute([monitor as i64, opened_ms as i64, until_ms as i64])?;
    Ok(())
}

impl Turn<'_> {
    /// Notes whether a monitor flaps. What comes much too late, out of a spool, says nothing.
    pub(super) fn note_flapping(&mut self, change: &Change) -> rusqlite::Result<()> {
        let (monitor, at_ms) = (change.monitor.0 as i64, change.at_ms as i64);
        let flaps = change.marks.has(Marks::FLAPPING);
        let now_ms = self.now_ms as i64;
        let known = self
            .transaction
            .prepare_cached(
                "UPDATE flapping SET
                     since_ms = CASE WHEN ?2 AND NOT still THEN ?3 ELSE since_ms END,
                     due_ms = CASE WHEN NOT ?2 THEN NULL WHEN still THEN due_ms ELSE ?4 END,
                     at_ms = max(at_ms, ?3), still = ?2
                 WHERE monitor = ?1 AND at_ms <= ?3 + ?5",
            )?
            .execute(params![monitor, flaps, at_ms, now_ms, MARK_DISORDER_MS as i64])?;
        if known == 0 && flaps {
            self.transaction
                .prepare_cached("INSERT OR IGNORE INTO flapping VALUES (?1, ?2, ?2, 1, ?3)")?
                .execute([monitor, at_ms, now_ms])?;
        }
        if known > 0 && !flaps {
            self.transaction
                .prepare_cached("UPDATE outage SET end_ms = 0 WHERE monitor = ?1 AND end_ms > 0")?
                .execute([monitor])?;
            self.transaction
                .prepare_cached(
                    "UPDATE told SET due_ms = ?2, held = ''
                     WHERE monitor = ?1 AND held = ?3 AND sent_ms = 0",
                )?
                .execute(params![monitor, now_ms, HELD])?;
        }
        Ok(())
    }

    /// Tells who began to flap; many at once, and those that follow within a minute, in one notice.
    pub(super) fn tell_flapping(&mut self) -> rusqlite::Result<()> {
        let room = ALERT_SINGLES_PER_MINUTE_MAX.saturating_sub(self.lately(ALL));
        if room == 0 {
            return Ok(());
        }
        let due = self.flapping_due()?;
        let ids: Vec<MonitorId> = due.iter().map(|due| MonitorId(due.monitor)).collect();
        let known = match self.directory.facts(&ids) {
            Ok(known) => known,
            Err(error) => {
                self.counters.directory_failed(&error);
                return Ok(());
            }
        };
        let mut telling = Vec::with_capacity(due.len());
        for (one, facts) in due.into_iter().zip(known) {
            let Some(facts) = facts else {
                forget_one(self.transaction, one.monitor as i64)?;
                continue;
            };
            let id = MonitorId(one.monitor);
            let held = self.directory.held(id, one.since_ms, self.now_ms);
            let again_ms = held.map(|held| held.until_ms as i64);
            self.transaction
                .prepare_cached("UPDATE flapping SET due_ms = ?2 WHERE monitor = ?1")?
                .execute(params![one.monitor as i64, again_ms])?;
            if again_ms.is_none() {
                telling.push((one, facts));
            }
        }
        let together = telling.len() as u64 > room;
        let used = if together { room as usize } else { telling.len() };
        let singles = self.singles.entry(ALL.to_owned()).or_default();
        singles.extend(std::iter::repeat_n(self.now_ms, used));
        if together { self.tell_together(&telling) } else { self.tell_each(&telling) }
    }

    fn flapping_due(&self) -> rusqlite::Result<Vec<Flapping>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT monitor, since_ms FROM flapping WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
        )?;
        let key = [self.now_ms as i64, ALERT_TURN_OUTAGES_MAX as i64];
        let rows = statement.query_map(key, |row| {
            Ok(Flapping { monitor: number(row.get(0)?), since_ms: number(row.get(1)?) })
        })?;
        rows.collect()
    }

    fn tell_each(&mut self, telling: &[(Flapping, Facts)]) -> rusqlite::Result<()> {
        for (one, facts) in telling {
            let key = format!("{}-{}-flapping", one.monitor, one.since_ms);
            let mut notice = Notice::of_engine(Event::Flapping, key, WORDS.into(), self.now_ms);
            (notice.monitor, notice.facts) = (one.monitor, facts.clone());
            (notice.since_ms, notice.at_ms) = (one.since_ms, one.since_ms);
            for name in self.told_of_flapping(facts) {
                put(self.transaction, &name, one.monitor as i64, &notice, self.now_ms)?;
            }
        }
        Ok(())
    }

    fn tell_together(&mut self, telling: &[(Flapping, Facts)]) -> rusqlite::Result<()> {
        let mut by_channel: std::collections::BTreeMap<String, Vec<&Facts>> = Default::default();
        for (_, facts) in telling {
            for name in self.told_of_flapping(facts) {
                by_channel.entry(name).or_default().push(facts);
            }
        }
        let Some((first, _)) = telling.first() else { return Ok(()) };
        let key = format!("{}-{}-flapping-together", first.monitor, first.since_ms);
        for (name, members) in by_channel {
            let text = format!("{WORDS}\n{}", list(&members));
            let mut notice = Notice::of_engine(Event::Flapping, key.clone(), text, self.now_ms);
            notice.since_ms = telling.iter().map(|(one, _)| one.since_ms).min().unwrap_or(0);
            notice.facts.name = format!("{} monitors", members.len());
            put(self.transaction, &name, 0, &notice, self.now_ms)?;
        }
        Ok(())
    }

    /// Channels that tell of it now: after a quiet time only what still stands is told.
    fn told_of_flapping(&mut self, facts: &Facts) -> Vec<String> {
        let mut names = self.registry.routes(facts);
        names.retain(|name| {
            let found = self.registry.get(name, self.directory, self.now_ms).ok().flatten();
            found.is_some_and(|channel| {
                channel.tells_flapping && quiet_until(&channel, facts, self.now_ms).is_none()
            })
        });
        names
    }
}

/// What the notice says.
const WORDS: &str = "The answers change too often to tell of each change. What it settles on is \
                     told, where that is something else than what was told last.";

fn list(members: &[&Facts]) -> String {
    let shown = members.iter().take(ALERT_GROUP_NAMES_MAX);
    let mut lines: Vec<String> = shown.map(|facts| format!("- {}", facts.name)).collect();
    if members.len() > ALERT_GROUP_NAMES_MAX {
        lines.push(format!("… and {} more", members.len() - ALERT_GROUP_NAMES_MAX));
    }
    lines.join("\n")
}

//! From changes to notices: what is told to whom, and when.
//!
//! Owns: the life of an outage in the outbox. A change to down opens it and finds its channels;
//! after a short hold each channel tells it, alone or with others; reminders follow by the
//! channel's rule; a change to up ends it, and whoever was told of the outage is told of its end.
//! What a quiet time or a mark holds back is told at its end, if it still lasts; what ended before
//! that is told to nobody. Everything of one turn is one transaction.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Transaction, params};

use super::channel::{Channel, Registry};
use super::counters::AlertCounters;
use super::notice::{Event, Notice};
use super::outbox::{number, put};
use super::{Change, Directory, Facts, Held, burst, flaps, mute, rule};
use crate::config::channels::Remind;
use crate::ids::MonitorId;
use crate::limits::{
    ALERT_FACTS_WAIT_MS, ALERT_GROUP_MIN, ALERT_HELD_LOOK_MS, ALERT_SINGLES_PER_MINUTE_MAX,
    ALERT_TURN_OUTAGES_MAX,
};
use crate::messages::GuardChange;
use crate::sample::{Code, Verdict};

/// Time until something is looked at again for which it is too early, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// When each channel told an outage by itself lately, in milliseconds.
pub(super) type Singles = HashMap<String, VecDeque<u64>>;

/// One turn of the alerts' thread, within one transaction.
pub(super) struct Turn<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) registry: &'a mut Registry,
    pub(super) directory: &'a mut dyn Directory,
    pub(super) counters: &'a AlertCounters,
    pub(super) singles: &'a mut Singles,
    pub(super) hold_ms: u64,
    pub(super) now_ms: u64,
}

/// An outage that one channel is due to tell.
#[derive(Debug)]
struct Due {
    monitor: u64,
    opened_ms: u64,
    channel: String,
    sent_ms: u64,
    times: u32,
    failures: u32,
    code: u16,
    message: String,
    facts: Facts,
    closed: bool,
}

/// An outage that is over.
struct Over {
    monitor: u64,
    opened_ms: u64,
    closed_ms: u64,
    total_us: u32,
    gone: bool,
    facts: Facts,
}

impl Turn<'_> {
    /// True where a change does not follow from what was taken: one in between was not told.
    pub(super) fn misses_one(&self, change: &Change) -> rusqlite::Result<bool> {
        let wants_open = match (change.from, change.to) {
            (Verdict::Up, Verdict::Down) => false,
            (Verdict::Down, Verdict::Up) => true,
            _ => return Ok(false),
        };
        let open: bool = self
            .transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM outage WHERE monitor = ?1 AND closed_ms IS NULL)",
            )?
            .query_row([change.monitor.0 as i64], |row| row.get(0))?;
        Ok(open != wants_open)
    }

    /// Takes a change into account, once. Returns false for one that was taken before.
    pub(super) fn take(&mut self, change: &Change) -> rusqlite::Result<bool> {
        self.note_flapping(change)?;
        if !change.is_of_verdict() {
            return Ok(false);
        }
        let key = params![change.monitor.0 as i64, change.at_ms as i64, change.to as u8];
        let fresh = self
            .transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO seen (monitor, at_ms, verdict) VALUES (?1, ?2, ?3)",
            )?
            .execute(key)?;
        if fresh == 0 {
            return Ok(false);
        }
        match change.to {
            Verdict::Down => self.opened(change)?,
            Verdict::Up => self.ended(change)?,
            _ => {}
        }
        Ok(true)
    }

    /// One outage at a time: a further change to down, after a time of unknown, says nothing new.
    fn opened(&mut self, change: &Change) -> rusqlite::Result<()> {
        let (monitor, at_ms) = (change.monitor.0 as i64, change.at_ms as i64);
        let later_up: Option<i64> = self
            .transaction
            .prepare_cached(
                "SELECT min(at_ms) FROM seen WHERE monitor = ?1 AND at_ms > ?2 AND verdict = ?3",
            )?
            .query_row(params![monitor, at_ms, Verdict::Up as u8], |row| row.get(0))?;
        let due_ms = self.now_ms + self.hold_ms;
        if flaps::is_on(self.transaction, change.monitor.0)?
            && flaps::open_again(self.transaction, change.monitor.0, later_up, due_ms)?
        {
            return Ok(());
        }
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO outage
                     (monitor, opened_ms, taken_ms, code, message, closed_ms, blocked)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6,
                        EXISTS (SELECT 1 FROM outage WHERE monitor = ?1 AND opened_ms < ?2)
                 WHERE NOT EXISTS
                     (SELECT 1 FROM outage WHERE monitor = ?1 AND closed_ms IS NULL)",
            )?
            .execute(params![
                monitor,
                at_ms,
                self.now_ms as i64,
                change.code.0,
                change.message,
                later_up
            ])?;
        if inserted > 0 && later_up.is_some() {
            // It waited in the spool: later ones of the monitor are told after it.
            self.transaction
                .prepare_cached(
                    "UPDATE outage SET blocked = 1
                     WHERE monitor = ?1 AND opened_ms > ?2 AND routed = 0",
                )?
                .execute([monitor, at_ms])?;
        }
        Ok(())
    }

    /// What is still held is told now, and then its end.
    fn ended(&mut self, change: &Change) -> rusqlite::Result<()> {
        let (monitor, at_ms) = (change.monitor.0 as i64, change.at_ms as i64);
        let closed = self
            .transaction
            .prepare_cached(
                "UPDATE outage SET closed_ms = ?2, up_total_us = ?3
                 WHERE monitor = ?1 AND closed_ms IS NULL AND opened_ms < ?2",
            )?
            .execute(params![monitor, at_ms, change.total_us])?;
        if closed > 0 {
            self.transaction
                .prepare_cached(
                    "UPDATE told SET due_ms = ?2
                     WHERE monitor = ?1 AND sent_ms = 0 AND due_ms <= ?3",
                )?
                .execute(params![
                    monitor,
                    self.now_ms as i64,
                    (self.now_ms + self.hold_ms) as i64
                ])?;
        }
        Ok(())
    }

    /// Does what is due. Returns true where more of it waits.
    pub(super) fn work(&mut self) -> rusqlite::Result<bool> {
        let routed = self.route()?;
        if self.directory.released() {
            self.look_at_held()?;
        }
        self.tell_flapping()?;
        let told = self.tell()?;
        let over = self.finish()?;
        let Turn { registry, directory, transaction, now_ms, .. } = self;
        let mut rule = |name: &str| {
            let channel = registry.get(name, *directory, *now_ms).ok().flatten();
            channel.map_or(Remind::Never, |channel| channel.remind)
        };
        let grouped = burst::tell(transaction, &mut rule, *now_ms)?;
        self.counters.grouped(grouped);
        // Where something began or ended, the next outage of the same monitor may follow at once.
        Ok(routed > 0 || told >= ALERT_TURN_OUTAGES_MAX || over > 0)
    }

    /// Finds the channels of outages that are new. A monitor's next outage waits until the one
    /// before is over and told: notices of one monitor are made in their order.
    fn route(&mut self) -> rusqlite::Result<usize> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT monitor, opened_ms, taken_ms, closed_ms IS NOT NULL FROM outage
             WHERE routed = 0 AND blocked = 0 ORDER BY taken_ms LIMIT ?1",
        )?;
        let rows = statement.query_map([ALERT_TURN_OUTAGES_MAX as i64], |row| {
            let numbers: (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((number(numbers.0), number(numbers.1), number(numbers.2), row.get::<_, bool>(3)?))
        })?;
        let new: Vec<(u64, u64, u64, bool)> = rows.collect::<Result<_, _>>()?;
        let ids: Vec<MonitorId> = new.iter().map(|row| MonitorId(row.0)).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        let known = match self.directory.facts(&ids) {
            Ok(known) => known,
            Err(error) => {
                self.counters.directory_failed(&error);
                let waited = new.iter().all(|row| row.2 + ALERT_FACTS_WAIT_MS <= self.now_ms);
                if !waited {
                    return Ok(0);
                }
                ids.iter().map(|id| Some(nameless(*id))).collect()
            }
        };
        for ((monitor, opened_ms, _, closed), facts) in new.iter().zip(known) {
            // Where there are no facts it is no longer watched: nobody was told, nobody will be.
            let nobody = || Facts { channels: Some(vec![]), ..Facts::default() };
            let facts = facts.unwrap_or_else(nobody);
            let hold_ms = if *closed { 0 } else { self.hold_ms };
            for channel in self.registry.routes(&facts) {
                self.transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO told (monitor, opened_ms, channel, due_ms)
                         VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![
                        *monitor as i64,
                        *opened_ms as i64,
                        channel,
                        (self.now_ms + hold_ms) as i64
                    ])?;
            }
            self.transaction
                .prepare_cached(
                    "UPDATE outage SET routed = 1, facts = ?3
                     WHERE monitor = ?1 AND opened_ms = ?2",
                )?
                .execute(params![*monitor as i64, *opened_ms as i64, json(&facts)])?;
        }
        Ok(new.len())
    }

    /// Tells what is due: outages, alone or together, and reminders.
    fn tell(&mut self) -> rusqlite::Result<usize> {
        let mut due = self.due()?;
        let count = due.len();
        let ids: Vec<MonitorId> = due.iter().map(|due| MonitorId(due.monitor)).collect();
        // Where nothing can be known now, what was known when the outage began is good enough.
        match self.directory.facts(&ids) {
            Ok(known) => {
                for (due, facts) in due.iter_mut().zip(known) {
                    due.facts = facts.unwrap_or_else(|| std::mem::take(&mut due.facts));
                }
            }
            Err(error) => self.counters.directory_failed(&error),
        }
        let mut fresh: HashMap<String, Vec<Due>> = HashMap::new();
        for due in due {
            let channel = match self.registry.get(&due.channel, self.directory, self.now_ms) {
                Ok(Some(channel)) => channel,
                Ok(None) => {
                    self.look_again(&due, None, "")?; // It was taken out of the configuration.
                    continue;
                }
                Err(error) => {
                    self.counters.directory_failed(&error);
                    self.look_again(&due, Some(self.now_ms + LOOK_MS), "")?;
                    continue;
                }
            };
            match self.held(&channel, &due)? {
                Some(held) if !due.closed || due.sent_ms > 0 => {
                    self.look_again(&due, Some(held.until_ms), held.reason)?;
                }
                Some(_) => self.look_again(&due, None, "")?,
                None if due.sent_ms > 0 => self.remind(&channel, &due)?,
                None => fresh.entry(due.channel.clone()).or_default().push(due),
            }
        }
        for (name, fresh) in fresh {
            let found = self.registry.get(&name, self.directory, self.now_ms);
            let Ok(Some(channel)) = found else { continue };
            if channel.group && self.is_mass(&name, fresh.len() as u64)? {
                let members: Vec<_> = fresh
                    .iter()
                    .map(|due| burst::Member {
                        monitor: due.monitor,
                        opened_ms: due.opened_ms,
                        causes: super::cause::of(&due.facts, Code(due.code).name()),
                    })
                    .collect();
                burst::join(self.transaction, &name, &members, self.now_ms)?;
                continue;
            }
            for due in fresh {
                self.announce(&channel, &due)?;
            }
        }
        Ok(count)
    }

    fn due(&self) -> rusqlite::Result<Vec<Due>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT t.monitor, t.opened_ms, t.channel, t.sent_ms, t.times, t.failures, o.code,
                    o.message, o.facts, o.closed_ms IS NOT NULL
             FROM told t JOIN outage o ON o.monitor = t.monitor AND o.opened_ms = t.opened_ms
             WHERE t.due_ms <= ?1 ORDER BY t.due_ms LIMIT ?2",
        )?;
        let limit = ALERT_TURN_OUTAGES_MAX as i64;
        let rows = statement.query_map(params![self.now_ms as i64, limit], |row| {
            Ok(Due {
                monitor: number(row.get(0)?),
                opened_ms: number(row.get(1)?),
                channel: row.get(2)?,
                sent_ms: number(row.get(3)?),
                times: row.get(4)?,
                failures: row.get(5)?,
                code: row.get(6)?,
                message: row.get(7)?,
                facts: facts_of(&row.get::<_, String>(8)?),
                closed: row.get(9)?,
            })
        })?;
        rows.collect()
    }

    /// True where a channel is to tell these together with what else fails now.
    fn is_mass(&mut self, channel: &str, fresh: u64) -> rusqlite::Result<bool> {
        if burst::open(self.transaction, channel, self.now_ms)?.is_some() {
            return Ok(true);
        }
        let until = self.now_ms + self.hold_ms;
        let held: i64 = self
            .transaction
            .prepare_cached(
                "SELECT count(*) FROM told
                 WHERE channel = ?1 AND sent_ms = 0 AND due_ms > ?2 AND due_ms <= ?3",
            )?
            .query_row(params![channel, self.now_ms as i64, until as i64], |row| row.get(0))?;
        let lately = self.lately(channel);
        Ok(fresh + number(held) >= ALERT_GROUP_MIN || lately + fresh > ALERT_SINGLES_PER_MINUTE_MAX)
    }

    /// How often a channel told something by itself within the last minute.
    pub(super) fn lately(&mut self, channel: &str) -> u64 {
        let singles = self.singles.entry(channel.to_owned()).or_default();
        while singles.front().is_some_and(|at| at + 60_000 <= self.now_ms) {
            singles.pop_front();
        }
        singles.len() as u64
    }

    fn announce(&mut self, channel: &Channel, due: &Due) -> rusqlite::Result<()> {
        self.singles.entry(channel.name.clone()).or_default().push_back(self.now_ms);
        let failures = self.directory.failures(MonitorId(due.monitor)).max(1);
        self.put(channel, Event::Down, due, failures)
    }

    /// An outage is told again only after a further failed check: otherwise nothing is known.
    fn remind(&mut self, channel: &Channel, due: &Due) -> rusqlite::Result<()> {
        let failures = self.directory.failures(MonitorId(due.monitor));
        if due.closed {
            return self.look_again(due, None, "");
        }
        if failures == 0 || failures == due.failures {
            return self.look_again(due, Some(self.now_ms + LOOK_MS), "");
        }
        self.put(channel, Event::StillDown, due, failures)
    }

    fn put(
        &mut self,
        channel: &Channel,
        event: Event,
        due: &Due,
        failures: u32,
    ) -> rusqlite::Result<()> {
        let outage = outage_key(due.monitor, due.opened_ms);
        let key = match event {
            Event::Down => format!("{outage}-down"),
            _ => format!("{outage}-down-{}", due.times + 1),
        };
        let notice = Notice {
            key,
            outage,
            event,
            made_ms: self.now_ms,
            since_ms: due.opened_ms,
            at_ms: if event == Event::Down { due.opened_ms } else { self.now_ms },
            monitor: due.monitor,
            facts: due.facts.clone(),
            reason: Code(due.code).name().to_owned(),
            message: due.message.clone(),
            failures,
            total_us: 0,
            group: None,
        };
        put(self.transaction, &channel.name, due.monitor as i64, &notice, self.now_ms)?;
        let next_ms = rule::next_ms(&channel.remind, &due.facts, failures, self.now_ms);
        self.transaction
            .prepare_cached(
                "UPDATE told SET sent_ms = ?4, times = times + 1, failures = ?5, due_ms = ?6,
                     held = ''
                 WHERE monitor = ?1 AND opened_ms = ?2 AND channel = ?3",
            )?
            .execute(params![
                due.monitor as i64,
                due.opened_ms as i64,
                due.channel,
                self.now_ms as i64,
                failures,
                next_ms.map(|ms| ms as i64)
            ])?;
        Ok(())
    }

    /// Why this outage is not told now over this channel: its marks, or a quiet time.
    fn held(&mut self, channel: &Channel, due: &Due) -> rusqlite::Result<Option<Held>> {
        let flaps = flaps::is_on(self.transaction, due.monitor)?;
        let held = match flaps {
            true => Some(Held { reason: flaps::HELD, until_ms: self.now_ms + ALERT_HELD_LOOK_MS }),
            false => self.directory.held(MonitorId(due.monitor), due.opened_ms, self.now_ms),
        };
        let quiet = quiet_until(channel, &due.facts, self.now_ms);
        Ok(held.or(quiet.map(|until_ms| Held { reason: "quiet time", until_ms })))
    }

    /// A mark is gone: what one holds is looked at now.
    fn look_at_held(&self) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE told SET due_ms = ?1
                 WHERE held NOT IN ('', ?2) AND sent_ms = 0 AND due_ms > ?1",
            )?
            .execute(params![self.now_ms as i64, flaps::HELD])?;
        Ok(())
    }

    fn look_again(&self, due: &Due, at_ms: Option<u64>, held: &str) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached(
                "UPDATE told SET due_ms = ?4, held = ?5
                 WHERE monitor = ?1 AND opened_ms = ?2 AND channel = ?3",
            )?
            .execute(params![
                due.monitor as i64,
                due.opened_ms as i64,
                due.channel,
                at_ms.map(|ms| ms as i64),
                held
            ])?;
        Ok(())
    }

    /// Tells the end of outages to whoever was told that they began.
    fn finish(&mut self) -> rusqlite::Result<usize> {
        let mut over = self.over()?;
        let ids: Vec<MonitorId> = over.iter().map(|over| MonitorId(over.monitor)).collect();
        match self.directory.facts(&ids) {
            Ok(known) => over.iter_mut().zip(known).for_each(|(over, facts)| {
                over.facts = facts.unwrap_or_else(|| std::mem::take(&mut over.facts));
            }),
            Err(error) => self.counters.directory_failed(&error),
        }
        for over in &over {
            let told = self.told(over)?;
            if !told.is_empty() && !over.gone && flaps::is_on(self.transaction, over.monitor)? {
                flaps::hold_end(self.transaction, over.monitor, over.opened_ms, self.now_ms)?;
                continue;
            }
            for (name, burst) in told {
                match burst {
                    Some(burst) => burst::member_up(self.transaction, burst, self.now_ms)?,
                    None => self.tell_end(&name, over)?,
                }
            }
            for table in ["told", "outage"] {
                self.transaction
                    .prepare_cached(&format!(
                        "DELETE FROM {table} WHERE monitor = ?1 AND opened_ms = ?2"
                    ))?
                    .execute([over.monitor as i64, over.opened_ms as i64])?;
            }
            self.transaction
                .prepare_cached(
                    "UPDATE outage SET blocked = 0 WHERE monitor = ?1 AND opened_ms =
                         (SELECT min(opened_ms) FROM outage WHERE monitor = ?1)",
                )?
                .execute([over.monitor as i64])?;
        }
        Ok(over.len())
    }

    fn over(&self) -> rusqlite::Result<Vec<Over>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT monitor, opened_ms, closed_ms, up_total_us, gone, facts FROM outage o
             WHERE closed_ms IS NOT NULL AND routed = 1 AND end_ms <= ?1 AND NOT EXISTS
                 (SELECT 1 FROM told t WHERE t.monitor = o.monitor AND t.opened_ms = o.opened_ms
                  AND t.sent_ms = 0 AND t.due_ms <= ?1)
             ORDER BY closed_ms LIMIT ?2",
        )?;
        let limit = ALERT_TURN_OUTAGES_MAX as i64;
        let rows = statement.query_map(params![self.now_ms as i64, limit], |row| {
            Ok(Over {
                monitor: number(row.get(0)?),
                opened_ms: number(row.get(1)?),
                closed_ms: number(row.get(2)?),
                total_us: row.get(3)?,
                gone: row.get(4)?,
                facts: facts_of(&row.get::<_, String>(5)?),
            })
        })?;
        rows.collect()
    }

    /// Channels that told an outage, and the group they told it with.
    fn told(&self, over: &Over) -> rusqlite::Result<Vec<(String, Option<i64>)>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT channel, burst FROM told
             WHERE monitor = ?1 AND opened_ms = ?2 AND sent_ms > 0",
        )?;
        let key = [over.monitor as i64, over.opened_ms as i64];
        statement.query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn tell_end(&mut self, name: &str, over: &Over) -> rusqlite::Result<()> {
        let outage = outage_key(over.monitor, over.opened_ms);
        let (event, message) = match over.gone {
            true => (Event::Gone, "no longer watched".to_owned()),
            false => (Event::Up, String::new()),
        };
        // Where it cannot be known now, whoever was told of the outage is told of its end.
        let channel = self.registry.get(name, self.directory, self.now_ms).ok().flatten();
        let quiet = channel.and_then(|channel| quiet_until(&channel, &over.facts, self.now_ms));
        let notice = Notice {
            key: format!("{outage}-{}", event.name()),
            outage,
            event,
            made_ms: self.now_ms,
            since_ms: over.opened_ms,
            at_ms: over.closed_ms,
            monitor: over.monitor,
            facts: over.facts.clone(),
            reason: String::new(),
            message,
            failures: 0,
            total_us: over.total_us,
            group: None,
        };
        let next_ms = quiet.unwrap_or(self.now_ms);
        put(self.transaction, name, over.monitor as i64, &notice, next_ms)
    }

    /// Ends the outages of monitors that are no longer watched.
    pub(super) fn look_for_gone(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT monitor FROM outage
             WHERE closed_ms IS NULL AND routed = 1 AND monitor > ?1 ORDER BY monitor LIMIT ?2",
        )?;
        let mut after = -1i64;
        loop {
            let limit = ALERT_TURN_OUTAGES_MAX as i64;
            let rows = statement.query_map([after, limit], |row| row.get::<_, i64>(0))?;
            let open: Vec<i64> = rows.collect::<Result<_, _>>()?;
            let Some(last) = open.last() else { return Ok(()) };
            after = *last;
            let ids: Vec<MonitorId> = open.iter().map(|id| MonitorId(number(*id))).collect();
            let known = match self.directory.facts(&ids) {
                Ok(known) => known,
                Err(error) => {
                    self.counters.directory_failed(&error);
                    return Ok(());
                }
            };
            for (id, _) in open.iter().zip(known).filter(|(_, facts)| facts.is_none()) {
                self.transaction
                    .prepare_cached(
                        "UPDATE outage SET closed_ms = ?2, gone = 1
                         WHERE monitor = ?1 AND closed_ms IS NULL",
                    )?
                    .execute([*id, self.now_ms as i64])?;
                flaps::forget_one(self.transaction, *id)?;
            }
        }
    }

    /// That the engine is cut off, or no longer so, to every channel of the configuration.
    pub(super) fn tell_all(&mut self, change: &GuardChange) -> rusqlite::Result<()> {
        let event = if change.isolated { Event::Isolated } else { Event::Connected };
        let key = format!("guard-{}-{}", change.since_ms, event.name());
        let mut notice = Notice::of_engine(event, key, evidence(change), self.now_ms);
        notice.outage = format!("guard-{}", change.since_ms);
        (notice.since_ms, notice.at_ms) = (change.since_ms, change.at_ms);
        for name in self.registry.configured() {
            put(self.transaction, &name, 0, &notice, self.now_ms)?;
        }
        Ok(())
    }
}

/// Why the engine holds itself to be cut off.
fn evidence(change: &GuardChange) -> String {
    if !change.isolated {
        return "Targets and canaries can be reached again; checks count as usual.".to_owned();
    }
    let signs = [
        (change.canaries, "the canaries are silent"),
        (change.local, "this host has no way out, or no name server answers"),
        (change.mass, "far more monitors fail than usual"),
    ];
    let signs: Vec<&str> =
        signs.into_iter().filter_map(|(seen, words)| seen.then_some(words)).collect();
    format!("{}. Until it ends no monitor is called down.", signs.join(", "))
}

/// When the quiet time of a monitor's owner ends, where this channel keeps to it.
pub(super) fn quiet_until(channel: &Channel, facts: &Facts, now_ms: u64) -> Option<u64> {
    let person = facts.person.as_ref().filter(|_| channel.quiet)?;
    mute::quiet_until(person, now_ms)
}

fn outage_key(monitor: u64, opened_ms: u64) -> String {
    format!("{monitor}-{opened_ms}")
}

fn nameless(id: MonitorId) -> Facts {
    Facts { name: format!("monitor {id}"), ..Facts::default() }
}

fn json(facts: &Facts) -> String {
    serde_json::to_string(facts).unwrap_or_else(|_| "{}".to_owned())
}

/// The facts of a row; none where an earlier version wrote others.
fn facts_of(text: &str) -> Facts {
    serde_json::from_str(text).unwrap_or_default()
}

//! Outages that are told together: one notice for what fails at once, and one for its end.
//!
//! Owns: the groups of each channel. A group collects until nothing more fails for ten seconds, or
//! a minute at most; then its notice goes out with what the members share. Who joins later is told
//! in one further notice when it is quiet again. The end is told when all are up, or in between at
//! growing distances. A group is a few rows: a restart goes on where it was.

use rusqlite::{OptionalExtension, Transaction, params};

use super::notice::{Event, Group, Notice};
use super::outbox::{number, put};
use super::{Facts, cause};
use crate::config::channels::Remind;
use crate::limits::{
    ALERT_GROUP_NAMES_MAX, ALERT_GROUP_OPEN_MS, ALERT_GROUP_QUIET_MS, ALERT_GROUP_TELL_MS_MAX,
    ALERT_GROUP_UP_MS, ALERT_GROUP_UP_MS_MAX,
};

/// Pause before the end is told when all are up, in milliseconds: one may fail again at once.
const ALL_UP_MS: u64 = 2_000;

/// An outage that joins a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) monitor: u64,
    pub(super) opened_ms: u64,
    pub(super) causes: Vec<String>,
}

/// The group of a channel that outages join now.
pub(super) fn open(
    transaction: &Transaction<'_>,
    channel: &str,
    now_ms: u64,
) -> rusqlite::Result<Option<i64>> {
    let since = now_ms.saturating_sub(ALERT_GROUP_OPEN_MS) as i64;
    transaction
        .prepare_cached(
            "SELECT id FROM burst WHERE channel = ?1 AND joined_ms > ?2
             AND NOT (told_down > 0 AND up = members) ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![channel, since], |row| row.get(0))
        .optional()
}

/// Puts outages into the open group of a channel, which is made where there is none.
pub(super) fn join(
    transaction: &Transaction<'_>,
    channel: &str,
    members: &[Member],
    now_ms: u64,
) -> rusqlite::Result<()> {
    let id = match open(transaction, channel, now_ms)? {
        Some(id) => id,
        None => {
            transaction
                .prepare_cached(
                    "INSERT INTO burst (channel, opened_ms, joined_ms) VALUES (?1, ?2, ?2)",
                )?
                .execute(params![channel, now_ms as i64])?;
            transaction.last_insert_rowid()
        }
    };
    for member in members {
        transaction
            .prepare_cached(
                "UPDATE told SET sent_ms = ?4, times = 1, burst = ?5, due_ms = NULL, held = ''
                 WHERE monitor = ?1 AND opened_ms = ?2 AND channel = ?3",
            )?
            .execute(params![
                member.monitor as i64,
                member.opened_ms as i64,
                channel,
                now_ms as i64,
                id
            ])?;
        for cause in &member.causes {
            transaction
                .prepare_cached(
                    "INSERT INTO burst_cause (burst, cause, count) VALUES (?1, ?2, 1)
                     ON CONFLICT (burst, cause) DO UPDATE SET count = count + 1",
                )?
                .execute(params![id, cause])?;
        }
    }
    transaction
        .prepare_cached("UPDATE burst SET members = members + ?2, joined_ms = ?3 WHERE id = ?1")?
        .execute(params![id, members.len() as i64, now_ms as i64])?;
    Ok(())
}

/// A member is up again.
pub(super) fn member_up(
    transaction: &Transaction<'_>,
    id: i64,
    now_ms: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE burst SET up = up + 1,
                 up_due_ms = coalesce(up_due_ms, ?2 + max(up_pause_ms, ?3)) WHERE id = ?1",
        )?
        .execute(params![id, now_ms as i64, ALERT_GROUP_UP_MS as i64])?;
    transaction
        .prepare_cached(
            "UPDATE burst SET up_due_ms = min(up_due_ms, ?2) WHERE id = ?1 AND up = members",
        )?
        .execute(params![id, (now_ms + ALL_UP_MS) as i64])?;
    Ok(())
}

/// How a channel tells an ongoing outage again.
pub(super) type Rule<'a> = dyn FnMut(&str) -> Remind + 'a;

/// A group as its row has it.
struct Row {
    id: i64,
    channel: String,
    opened_ms: u64,
    joined_ms: u64,
    members: u64,
    up: u64,
    told_down: u64,
    told_up: u64,
    up_due_ms: Option<u64>,
    up_pause_ms: u64,
    remind_ms: Option<u64>,
}

/// Writes the notices of groups that are due. Returns how many.
pub(super) fn tell(
    transaction: &Transaction<'_>,
    rule: &mut Rule<'_>,
    now_ms: u64,
) -> rusqlite::Result<u64> {
    let mut told = 0;
    for row in rows(transaction)? {
        let told_down = if row.down_is_due(now_ms) {
            tell_down(transaction, &row, now_ms)?;
            remind_later(transaction, &row, rule, now_ms)?;
            told += 1;
            row.members
        } else {
            row.told_down
        };
        let up_is_due = row.up_due_ms.is_some_and(|due| due <= now_ms);
        if told_down > 0 && row.up > row.told_up && up_is_due {
            tell_up(transaction, &row, now_ms)?;
            told += 1;
        } else if row.remind_ms.is_some_and(|due| due <= now_ms) && row.up < row.members {
            let key = format!("{}-still-{now_ms}", row.outage());
            put_notice(transaction, &row, Event::ManyStillDown, key, now_ms)?;
            remind_later(transaction, &row, rule, now_ms)?;
            told += 1;
        }
    }
    Ok(told)
}

impl Row {
    fn down_is_due(&self, now_ms: u64) -> bool {
        if self.members == self.told_down {
            return false;
        }
        match self.told_down {
            0 => {
                let quiet = self.joined_ms + ALERT_GROUP_QUIET_MS;
                now_ms >= quiet.min(self.opened_ms + ALERT_GROUP_TELL_MS_MAX)
            }
            _ => now_ms >= self.joined_ms + ALERT_GROUP_OPEN_MS,
        }
    }

    fn outage(&self) -> String {
        format!("group-{}-{}", self.id, self.opened_ms)
    }
}

fn rows(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Row>> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, channel, opened_ms, joined_ms, members, up, told_down, told_up, up_due_ms,
                up_pause_ms, remind_ms FROM burst ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Row {
            id: row.get(0)?,
            channel: row.get(1)?,
            opened_ms: number(row.get(2)?),
            joined_ms: number(row.get(3)?),
            members: number(row.get(4)?),
            up: number(row.get(5)?),
            told_down: number(row.get(6)?),
            told_up: number(row.get(7)?),
            up_due_ms: row.get::<_, Option<i64>>(8)?.map(number),
            up_pause_ms: number(row.get(9)?),
            remind_ms: row.get::<_, Option<i64>>(10)?.map(number),
        })
    })?;
    rows.collect()
}

fn tell_down(transaction: &Transaction<'_>, row: &Row, now_ms: u64) -> rusqlite::Result<()> {
    let key = format!("{}-down-{}", row.outage(), row.members);
    put_notice(transaction, row, Event::ManyDown, key, now_ms)?;
    transaction
        .prepare_cached("UPDATE burst SET told_down = members WHERE id = ?1")?
        .execute([row.id])?;
    Ok(())
}

/// Notes when a group is told again. Of a group there is no count of failed checks in a row: the
/// rule of a first notice holds each time.
fn remind_later(
    transaction: &Transaction<'_>,
    row: &Row,
    rule: &mut Rule<'_>,
    now_ms: u64,
) -> rusqlite::Result<()> {
    let next_ms = super::rule::next_ms(&rule(&row.channel), &Facts::default(), 1, now_ms);
    transaction
        .prepare_cached("UPDATE burst SET remind_ms = ?2 WHERE id = ?1")?
        .execute(params![row.id, next_ms.map(|ms| ms as i64)])?;
    Ok(())
}

/// The group goes with its last member.
fn tell_up(transaction: &Transaction<'_>, row: &Row, now_ms: u64) -> rusqlite::Result<()> {
    let key = format!("{}-up-{}", row.outage(), row.up);
    put_notice(transaction, row, Event::ManyUp, key, now_ms)?;
    if row.up == row.members {
        transaction.execute("DELETE FROM burst_cause WHERE burst = ?1", [row.id])?;
        transaction.execute("DELETE FROM burst WHERE id = ?1", [row.id])?;
        return Ok(());
    }
    let pause_ms = (row.up_pause_ms.max(ALERT_GROUP_UP_MS) * 2).min(ALERT_GROUP_UP_MS_MAX);
    transaction.execute(
        "UPDATE burst SET told_up = up, up_due_ms = NULL, up_pause_ms = ?2 WHERE id = ?1",
        [row.id, pause_ms as i64],
    )?;
    Ok(())
}

fn put_notice(
    transaction: &Transaction<'_>,
    row: &Row,
    event: Event,
    key: String,
    now_ms: u64,
) -> rusqlite::Result<()> {
    let group = Group {
        down: row.members,
        up: row.up,
        causes: cause::common(causes(transaction, row.id)?, row.members),
        members: members(transaction, row.id)?,
    };
    let mut notice = Notice::of_engine(event, key, String::new(), now_ms);
    notice.outage = row.outage();
    notice.since_ms = row.opened_ms;
    notice.facts.name = format!("{} monitors", row.members);
    notice.group = Some(group);
    put(transaction, &row.channel, -row.id, &notice, now_ms)
}

fn causes(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut statement =
        transaction.prepare_cached("SELECT cause, count FROM burst_cause WHERE burst = ?1")?;
    statement.query_map([id], |row| Ok((row.get(0)?, number(row.get(1)?))))?.collect()
}

/// Names and targets of members that are down.
fn members(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = transaction.prepare_cached(
        "SELECT coalesce(json_extract(o.facts, '$.name'), ''),
                coalesce(json_extract(o.facts, '$.target'), '')
         FROM told t JOIN outage o ON o.monitor = t.monitor AND o.opened_ms = t.opened_ms
         WHERE t.burst = ?1 AND o.closed_ms IS NULL LIMIT ?2",
    )?;
    let rows = statement
        .query_map([id, ALERT_GROUP_NAMES_MAX as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::outbox::Outbox;

    /// Events of the notices so far.
    fn events(transaction: &Transaction<'_>) -> Vec<String> {
        let mut statement = transaction.prepare("SELECT event FROM notice ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_group_is_told_again_by_the_rule_of_its_channel_until_all_are_up() {
        let place = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(place.path()).unwrap();
        let transaction = outbox.conn.transaction().unwrap();
        let member = |monitor| Member { monitor, opened_ms: 1, causes: vec![] };
        join(&transaction, "a", &[member(1), member(2)], 1_000).unwrap();
        let mut rule = |_: &str| Remind::Every(60_000);
        let told_ms = 1_000 + ALERT_GROUP_QUIET_MS;
        for now_ms in [told_ms, told_ms + 59_999, told_ms + 60_000, told_ms + 119_999] {
            tell(&transaction, &mut rule, now_ms).unwrap();
        }
        assert_eq!(events(&transaction), ["many_down", "many_still_down"]);
        for _ in 0..2 {
            let id = open(&transaction, "a", told_ms).unwrap().unwrap();
            member_up(&transaction, id, told_ms + 119_999).unwrap();
        }
        tell(&transaction, &mut rule, told_ms + 500_000).unwrap();
        tell(&transaction, &mut rule, told_ms + 900_000).unwrap();
        assert_eq!(events(&transaction)[2..], ["many_up"]);
        let mut never = |_: &str| Remind::Never;
        join(&transaction, "b", &[member(3)], 1_000).unwrap();
        tell(&transaction, &mut never, told_ms).unwrap();
        tell(&transaction, &mut never, told_ms + 9_000_000).unwrap();
        assert_eq!(events(&transaction)[3..], ["many_down"]);
    }
}

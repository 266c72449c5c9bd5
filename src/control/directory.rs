//! What alerting asks the store: who a monitor is, and which changes nobody told of.
//!
//! Owns: the questions of the alerts' thread to the store, and how recorded batches become changes.
//! Its reader stays open: it holds nothing that the writer waits for.

use std::fmt;
use std::sync::Arc;

use crate::alert::{Change, Directory, Facts, Held, Page, Person};
use crate::boot::standing::Standing;
use crate::config::channels::{ChannelSpec, Hidden, Remind, Way};
use crate::config::database::Secret;
use crate::env::alerting::Alerting;
use crate::feed::slices::{self, Ours};
use crate::ids::MonitorId;
use crate::metrics::streaks::Streaks;
use crate::monitor::row::MonitorRow;
use crate::sample::{Code, Marks, SampleBatch};
use crate::store::view::{ChannelRow, OpenReader, Owner, Watched};
use crate::store::{Read, StoreError};

/// The store, as alerting sees it.
pub struct StoreDirectory {
    readers: Arc<dyn OpenReader>,
    reader: Option<Box<dyn Read + Send>>,
    original: Alerting,
    streaks: Streaks,
    standing: Standing,
    ours: Option<Ours>,
}

impl fmt::Debug for StoreDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreDirectory")
    }
}

impl StoreDirectory {
    /// The store that `readers` opens; `streaks` counts failed checks in a row, `standing` knows
    /// of marks, and `original` says how the channels of the original's tables are used.
    pub fn new(
        readers: Arc<dyn OpenReader>,
        original: Alerting,
        streaks: Streaks,
        standing: Standing,
    ) -> StoreDirectory {
        StoreDirectory { readers, reader: None, original, streaks, standing, ours: None }
    }

    /// Catches up with changes of these monitors only: the others are other engines'.
    pub fn only(self, ours: Ours) -> StoreDirectory {
        StoreDirectory { ours: Some(ours), ..self }
    }

    fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Read) -> Result<T, StoreError>,
    ) -> Result<T, String> {
        let words = |error: StoreError| error.to_string();
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.readers.open().map_err(words)?,
        };
        let answer = question(reader.as_mut()).map_err(words)?;
        self.reader = Some(reader); // After an error a new one is opened.
        Ok(answer)
    }
}

impl Directory for StoreDirectory {
    fn facts(&mut self, monitors: &[MonitorId]) -> Result<Vec<Option<Facts>>, String> {
        if monitors.is_empty() {
            return Ok(Vec::new());
        }
        let watched = self.ask(|reader| reader.watched(monitors))?;
        Ok(watched.into_iter().map(|watched| watched.map(facts)).collect())
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Page, String> {
        let ours = match &self.ours {
            None => slices::ALL,
            Some(ours) => ours.get().ok_or("which monitors are ours is not known yet")?,
        };
        let found = self.ask(|reader| reader.transitions_after(after, limit))?;
        let (last, more) = (found.last().map(|(number, _)| *number), found.len() == limit);
        let found = found.into_iter().filter(|(_, view)| ours.contains(&view.monitor));
        let changes = found.map(|(_, view)| Change {
            monitor: view.monitor,
            at_ms: view.at_ms,
            from: view.from,
            to: view.to,
            code: Code(view.code),
            message: view.message.into_boxed_str(),
            total_us: 0,
            marks: Marks::of_names(&view.marks),
        });
        Ok(Page { changes: changes.collect(), last, more })
    }

    fn newest_change(&mut self) -> Result<u64, String> {
        self.ask(|reader| reader.newest_transition())
    }

    fn channel(&mut self, name: &str) -> Result<Option<ChannelSpec>, String> {
        let Some(id) = name.split_once(':').and_then(|(_, id)| id.parse().ok()) else {
            return Ok(None);
        };
        let row = self.ask(|reader| reader.channel(id))?;
        Ok(row.and_then(|row| of_row(name, &row, &self.original)))
    }

    fn held(&mut self, monitor: MonitorId, opened_ms: u64, now_ms: u64) -> Option<Held> {
        let against = self.standing.against(monitor, opened_ms, now_ms);
        against.map(|(reason, until_ms)| Held { reason, until_ms })
    }

    fn released(&mut self) -> bool {
        self.standing.take_released()
    }

    fn failures(&mut self, monitor: MonitorId) -> u32 {
        self.streaks.of(monitor)
    }
}

fn facts(watched: Watched) -> Facts {
    let (row, _) = MonitorRow::read_json(&watched.row_json);
    let mut facts = Facts {
        name: watched.name,
        target: watched.target,
        kind: watched.kind,
        interval_ms: watched.interval_ms,
        tags: watched.tags,
        channels: row.alerts,
        ..Facts::default()
    };
    if let Some(owner) = watched.owner {
        facts.repeat = owner.repeat;
        facts.channels = Some(channels_of(&owner));
        facts.person = Some(Person {
            email: owner.email,
            firebase_token: owner.firebase_token,
            ranges: owner.ranges.unwrap_or_default(),
            zone: owner.zone,
            silent_until_ms: owner.silent_until_ms,
        });
    }
    facts
}

/// The channels of a row of the original's table: those linked to it, the bot of the variables
/// where none of them is one, and what its owner can be reached by.
fn channels_of(owner: &Owner) -> Vec<String> {
    let mut channels = owner.channels.clone();
    if !channels.iter().any(|name| name.starts_with("telegram:")) {
        channels.push("telegram".to_owned());
    }
    channels.extend(owner.email.as_ref().map(|_| "email".to_owned()));
    channels.extend(owner.firebase_token.as_ref().map(|_| "firebase".to_owned()));
    channels
}

/// A channel of the original's tables. One of Telegram that cannot be understood is the one of the
/// variables; a webhook that cannot is none.
fn of_row(name: &str, row: &ChannelRow, original: &Alerting) -> Option<ChannelSpec> {
    let (way, throttle) = match row.kind.as_str() {
        "telegram" => match bot(&row.config) {
            Some((token, chat)) => {
                let token = Hidden::Here(Secret::new(token));
                let api = original.telegram_api.clone();
                (Way::Telegram { token, chat: chat.to_owned(), api }, original.telegram)
            }
            None => {
                let usual = original.channels.iter().find(|spec| spec.name == "telegram")?;
                return Some(ChannelSpec { name: name.to_owned(), ..usual.clone() });
            }
        },
        "webhook" => {
            let url = row.config.trim();
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                return None;
            }
            let way = Way::Webhook {
                url: Hidden::Here(Secret::new(url)),
                headers: Vec::new(),
                body: None,
                original: Some(row.name.clone()),
                timeout_ms: original.webhook_timeout_ms,
            };
            (way, original.webhook?)
        }
        _ => return None,
    };
    Some(ChannelSpec {
        name: name.to_owned(),
        way,
        tags: Vec::new(),
        remind: Remind::Original(throttle),
        group: None,
        quiet: true,
        on_request: true,
    })
}

/// Token and chat in either order: the token is the part with a colon.
fn bot(config: &str) -> Option<(&str, &str)> {
    let (one, other) = config.split_once(',')?;
    let (one, other) = (one.trim(), other.trim());
    let (token, chat) = if one.contains(':') { (one, other) } else { (other, one) };
    let digits = chat.strip_prefix('-').unwrap_or(chat);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (token.contains(':') && (is_number || chat.starts_with('@'))).then_some((token, chat))
}

/// The changes in recorded batches, with their words.
pub fn changes(batches: &[SampleBatch]) -> Vec<Change> {
    let changing = batches.iter().filter(|batch| !batch.transitions.is_empty());
    changing.flat_map(changes_of).collect()
}

fn changes_of(batch: &SampleBatch) -> impl Iterator<Item = Change> + '_ {
    batch.transitions.iter().map(|transition| {
        let index = batch.decided(transition);
        let words = index.and_then(|index| batch.words_of(index));
        let total_us = index.map_or(0, |index| batch.samples[index].total_us);
        Change {
            monitor: transition.monitor,
            at_ms: transition.at_ms,
            from: transition.from,
            to: transition.to,
            code: transition.code,
            message: words.map(|words| words.message.clone()).unwrap_or_default(),
            total_us: if total_us == u32::MAX { 0 } else { total_us },
            marks: transition.marks,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_of_the_original_is_read_in_either_order() {
        assert_eq!(bot("-100,12:ab"), Some(("12:ab", "-100")));
        assert_eq!(bot("12:ab, -100"), Some(("12:ab", "-100")));
        assert_eq!(bot("@ops,12:ab"), Some(("12:ab", "@ops")));
        for config in ["", "12:ab", "-100", "x,12:ab", "-100,ab", "-,1:a"] {
            assert_eq!(bot(config), None, "{config}");
        }
    }

    #[test]
    fn a_row_without_a_bot_of_its_own_is_told_over_the_one_of_the_variables() {
        let channels = |linked: &[&str], email: Option<&str>| {
            let owner = Owner {
                channels: linked.iter().map(|name| (*name).to_owned()).collect(),
                email: email.map(str::to_owned),
                ..Owner::default()
            };
            channels_of(&owner).join(" ")
        };
        assert_eq!(channels(&["webhook:4"], None), "webhook:4 telegram");
        assert_eq!(
            channels(&["telegram:1", "telegram:2"], Some("a@b")),
            "telegram:1 telegram:2 email"
        );
    }
}

//! The ways out: one file for each sort of receiver.
//!
//! Owns: making channels from what the configuration says, and finding them by name. A way out
//! sends one notice, waits for the answer within its deadline, and says whether to try again; it
//! keeps nothing and is called from several threads.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::http::{Failed, Roots};
use super::notice::Notice;
use super::{AlertError, Directory, Facts};
use crate::config::channels::{ChannelSpec, Remind, Way};
use crate::limits::{ALERT_CHANNEL_KEPT_MS, ALERT_CHANNELS_KEPT_MAX};

mod chat;

mod command;

mod firebase;

mod mail;

mod pager;

mod telegram;

pub mod webhook;

/// Sends notices to one receiver.
pub trait Send: std::marker::Send + Sync {
    /// Delivers a notice.
    ///
    /// # Errors
    ///
    /// It was not taken, with whether to try again.
    fn send(&self, notice: &Notice) -> Result<(), Failed>;
}

/// One channel.
pub struct Channel {
    /// Unique among all channels.
    pub name: String,
    /// Only monitors with one of these tags, where there are any.
    pub tags: Vec<String>,
    /// How an ongoing outage is told again.
    pub remind: Remind,
    /// True where what fails together is told together.
    pub group: bool,
    /// True where the quiet times of a monitor's owner hold.
    pub quiet: bool,
    /// True where it tells that a monitor flaps. Not where the receiver keeps incidents: there the
    /// one that was opened stays open until the monitor has settled.
    pub tells_flapping: bool,
    /// True where it is for monitors that name it only.
    pub on_request: bool,
    /// The way out.
    pub way: Box<dyn Send>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What all channels are made with.
pub struct Maker<'a> {
    /// Gives the value of a variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The roots that receivers are verified with.
    pub roots: Roots,
    /// Host of the original's web interface, for links.
    pub domain: Option<String>,
}

impl Maker<'_> {
    /// Makes a channel.
    ///
    /// # Errors
    ///
    /// A secret is not where it should be, or a value cannot be used.
    pub fn make(&self, spec: &ChannelSpec) -> Result<Channel, AlertError> {
        let fail = |problem| AlertError::Channel { channel: spec.name.clone(), problem };
        let way = self.way(&spec.way).map_err(fail)?;
        // Machines want each monitor by itself: they group as they like.
        let by_itself = match &spec.way {
            Way::Webhook { original, .. } => original.is_some(),
            Way::Command { .. } | Way::Alertmanager { .. } => true,
            _ => false,
        };
        let keeps_incidents = match &spec.way {
            Way::Webhook { original, .. } => original.is_some(),
            Way::Alertmanager { .. } | Way::PagerDuty { .. } | Way::Opsgenie { .. } => true,
            _ => false,
        };
        Ok(Channel {
            tells_flapping: !keeps_incidents,
            name: spec.name.clone(),
            tags: spec.tags.clone(),
            remind: spec.remind,
            group: spec.group.unwrap_or(!by_itself),
            quiet: spec.quiet,
            on_request: spec.on_request,
            way,
        })
    }

    fn way(&self, way: &Way) -> Result<Box<dyn Send>, String> {
        let domain = self.domain.clone();
        Ok(match way {
            Way::Webhook { .. } => Box::new(webhook::Webhook::new(way, self)?),
            Way::Telegram { token, chat, api } => {
                let token = token.find(self.env)?;
                Box::new(telegram::Telegram::new(&self.roots, token, chat, api, domain))
            }
            Way::Mail { .. } => Box::new(mail::Mail::new(way, self)?),
            Way::Command { run, timeout_ms } => {
                Box::new(command::Program { run: run.clone(), timeout_ms: *timeout_ms })
            }
            Way::Alertmanager { urls } => Box::new(pager::Alertmanager::new(&self.roots, urls)),
            Way::Slack(url) => {
                Box::new(chat::Chat::new(&self.roots, chat::Form::Slack, url.find(self.env)?))
            }
            Way::Discord(url) => {
                Box::new(chat::Chat::new(&self.roots, chat::Form::Discord, url.find(self.env)?))
            }
            Way::Teams(url) => {
                Box::new(chat::Chat::new(&self.roots, chat::Form::Teams, url.find(self.env)?))
            }
            Way::PagerDuty { key, api } => {
                Box::new(pager::PagerDuty::new(&self.roots, key.find(self.env)?, api))
            }
            Way::Opsgenie { key, api } => {
                Box::new(pager::Opsgenie::new(&self.roots, key.find(self.env)?, api))
            }
            Way::Ntfy { url, token } => {
                let token = token.as_ref().map(|token| token.find(self.env)).transpose()?;
                Box::new(chat::Ntfy::new(&self.roots, url, token))
            }
            Way::Firebase { account, api } => {
                Box::new(firebase::Firebase::new(&self.roots, account, api, domain)?)
            }
        })
    }
}

/// A channel that the directory gave, and until when it is taken as it is.
#[derive(Debug)]
struct Given {
    /// `None` where there is no such channel, or it cannot be made.
    channel: Option<Arc<Channel>>,
    until_ms: u64,
}

/// All channels by name.
#[derive(Debug, Default)]
pub struct Registry {
    configured: Vec<Arc<Channel>>,
    given: HashMap<String, Given>,
    /// When the directory last knew nothing, and why: it is not asked twice in one turn.
    failed: Option<(u64, String)>,
    roots: Roots,
    domain: Option<String>,
}

impl Registry {
    /// The channels of a configuration. Those that the directory gives trust `roots` and link to
    /// `domain`.
    pub fn new(channels: Vec<Channel>, roots: Roots, domain: Option<String>) -> Registry {
        let configured = channels.into_iter().map(Arc::new).collect();
        Registry { configured, given: HashMap::new(), failed: None, roots, domain }
    }

    /// The channel of this name, also one that the directory knows; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The directory knows nothing now, and nothing was known before.
    pub fn get(
        &mut self,
        name: &str,
        directory: &mut dyn Directory,
        now_ms: u64,
    ) -> Result<Option<Arc<Channel>>, String> {
        if let Some(channel) = self.configured.iter().find(|channel| channel.name == name) {
            return Ok(Some(Arc::clone(channel)));
        }
        if let Some(given) = self.given.get(name).filter(|given| now_ms < given.until_ms) {
            return Ok(given.channel.clone());
        }
        let asked = match &self.failed {
            Some((at_ms, error)) if *at_ms == now_ms => Err(error.clone()),
            _ => directory.channel(name),
        };
        if let Err(error) = &asked {
            self.failed = Some((now_ms, error.clone()));
        }
        let channel = match asked {
            Ok(Some(spec)) => self.make(&spec).map(Arc::new),
            Ok(None) => None,
            Err(error) => match self.given.get(name) {
                Some(given) => given.channel.clone(),
                None => return Err(error),
            },
        };
        if self.given.len() >= ALERT_CHANNELS_KEPT_MAX {
            self.given.clear();
        }
        let given = Given { channel: channel.clone(), until_ms: now_ms + ALERT_CHANNEL_KEPT_MS };
        self.given.insert(name.to_owned(), given);
        Ok(channel)
    }

    fn make(&self, spec: &ChannelSpec) -> Option<Channel> {
        let (roots, domain) = (self.roots.clone(), self.domain.clone());
        let maker = Maker { env: &|_| None, roots, domain };
        match maker.make(spec) {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::warn!(%error, "a channel of the database cannot be used");
                None
            }
        }
    }

    /// Names of the channels that a monitor is told over.
    pub fn routes(&self, facts: &Facts) -> Vec<String> {
        if let Some(names) = &facts.channels {
            return names.clone();
        }
        let fits = |channel: &&Arc<Channel>| {
            let tagged = channel.tags.iter().any(|tag| facts.tags.contains(tag));
            !channel.on_request && (channel.tags.is_empty() || tagged)
        };
        self.configured.iter().filter(fits).map(|channel| channel.name.clone()).collect()
    }

    /// Names of the channels of the configuration that anybody may be told over.
    pub fn configured(&self) -> Vec<String> {
        let open = self.configured.iter().filter(|channel| !channel.on_request);
        open.map(|channel| channel.name.clone()).collect()
    }
}

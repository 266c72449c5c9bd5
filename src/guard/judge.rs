//! Are we cut off? The rule, from three signals to one standing.
//!
//! Owns: the decision. Pure: a round of evidence in, a standing out; reads no clock.
//!
//! The signals: **canaries** (fewer than the quorum answer), **local** (no way out on this host,
//! or every name server silent), **mass** (of the guarded monitors that were up, a share beyond
//! any usual one fails). Two of three mean *isolated*. Canaries or local alone mean *suspect*:
//! verdicts wait while the monitors' own results tell which it is, at most `GUARD_TRIAL_MS`. Mass
//! alone means nothing: many targets are down, and canaries that answer prove it.
//!
//! A signal that was wrong (targets went on to answer) is not believed again before it has been
//! good once: dead canaries must never silence real outages.

use std::collections::VecDeque;

use super::vantage::{Standing, Tally};
use crate::limits::{
    GUARD_CLEAR_ROUNDS, GUARD_FEW_RESULTS_MIN, GUARD_RESULTS_MIN, GUARD_SHARE_PERCENT,
    GUARD_SILENT_QUERIES_MIN, GUARD_TRIAL_MS,
};

/// What one round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Fewer canaries than the quorum answered.
    pub canaries: bool,
    /// This host has no default route over a link with carrier.
    pub no_way_out: bool,
    /// What all shards have counted so far.
    pub tally: Tally,
}

/// What speaks for being cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Fewer canaries than the quorum answer.
    pub canaries: bool,
    /// No way out on this host, or every name server silent.
    pub local: bool,
    /// A share of the monitors beyond any usual one fails.
    pub mass: bool,
}

impl Signals {
    fn count(self) -> u32 {
        u32::from(self.canaries) + u32::from(self.local) + u32::from(self.mass)
    }
}

/// A signal that may have lost its credit.
#[derive(Clone, Copy, Debug, Default)]
struct Signal {
    on: bool,
    doubted: bool,
}

impl Signal {
    fn see(&mut self, on: bool) {
        self.on = on;
        self.doubted &= on;
    }

    fn counts(self) -> bool {
        self.on && !self.doubted
    }
}

/// Judges round by round.
#[derive(Debug)]
pub struct Judge {
    standing: Standing,
    canaries: Signal,
    local: Signal,
    mass: bool,
    /// Counts of the last rounds, oldest first.
    recent: VecDeque<Tally>,
    recent_max: usize,
    /// Counts from which the results of a trial are taken, and when they were taken.
    base: Tally,
    base_ms: u64,
    calm_rounds: u32,
}

impl Judge {
    /// Nothing is known. `recent_rounds`: rounds within which a loss of the way is seen.
    pub fn new(recent_rounds: usize) -> Judge {
        Judge {
            standing: Standing::Clear,
            canaries: Signal::default(),
            local: Signal::default(),
            mass: false,
            recent: VecDeque::new(),
            recent_max: recent_rounds.max(1),
            base: Tally::default(),
            base_ms: 0,
            calm_rounds: 0,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What speaks for being cut off.
    pub fn signals(&self) -> Signals {
        Signals { canaries: self.canaries.counts(), local: self.local.counts(), mass: self.mass }
    }

    /// Takes what a round found that ended at `now_ms`. True where an isolation began or ended.
    pub fn round(&mut self, evidence: Evidence, now_ms: u64) -> bool {
        let before = self.standing;
        self.take(evidence);
        match self.standing {
            Standing::Clear => self.clear(now_ms),
            Standing::Suspect => self.suspect(evidence.tally, now_ms),
            Standing::Isolated => self.isolated(evidence.tally, now_ms),
        }
        (before == Standing::Isolated) != (self.standing == Standing::Isolated)
    }

    fn take(&mut self, evidence: Evidence) {
        if self.recent.len() == self.recent_max {
            self.recent.pop_front();
        }
        self.recent.push_back(evidence.tally);
        let lately = evidence.tally.since(self.earlier());
        let silent =
            lately.queries_answered == 0 && lately.queries_lost >= GUARD_SILENT_QUERIES_MIN;
        self.canaries.see(evidence.canaries);
        self.local.see(evidence.no_way_out || silent);
    }

    /// Counts as they were before the way can have been lost that is seen to be lost now.
    fn earlier(&self) -> Tally {
        self.recent.front().copied().unwrap_or_default()
    }

    fn clear(&mut self, now_ms: u64) {
        match self.signals().count() {
            0 => {}
            1 => {
                self.standing = Standing::Suspect;
                (self.base, self.base_ms) = (self.earlier(), now_ms);
            }
            _ => self.isolate(now_ms),
        }
    }

    fn suspect(&mut self, tally: Tally, now_ms: u64) {
        match self.signals().count() {
            0 => return self.standing = Standing::Clear,
            1 => {}
            _ => return self.isolate(now_ms),
        }
        let found = tally.since(self.base);
        let over = now_ms.saturating_sub(self.base_ms) >= GUARD_TRIAL_MS;
        if fails_at_once(found) || (over && is_mass(found)) {
            self.mass = true;
            self.isolate(now_ms);
        } else if over {
            self.dismiss();
        }
    }

    /// It goes on while canaries are silent, unless the monitors themselves answer again; without
    /// canaries, while the other two signals last.
    fn isolated(&mut self, tally: Tally, now_ms: u64) {
        let found = tally.since(self.base);
        let over = now_ms.saturating_sub(self.base_ms) >= GUARD_TRIAL_MS;
        if over && found.ended >= GUARD_FEW_RESULTS_MIN {
            if !is_mass(found) {
                return self.dismiss();
            }
            self.mass = true;
            (self.base, self.base_ms) = (tally, now_ms);
        }
        if self.canaries.counts() || self.signals().count() >= 2 {
            self.calm_rounds = 0;
            return;
        }
        self.calm_rounds += 1;
        if self.calm_rounds >= GUARD_CLEAR_ROUNDS {
            self.leave();
        }
    }

    fn isolate(&mut self, now_ms: u64) {
        self.standing = Standing::Isolated;
        self.calm_rounds = 0;
        (self.base, self.base_ms) = (self.recent.back().copied().unwrap_or_default(), now_ms);
    }

    /// The monitors answer: whatever signal stands is wrong.
    fn dismiss(&mut self) {
        self.canaries.doubted = self.canaries.on;
        self.local.doubted = self.local.on;
        self.leave();
    }

    fn leave(&mut self) {
        self.standing = Standing::Clear;
        self.mass = false;
    }
}

fn is_mass(found: Tally) -> bool {
    found.failed > 0 && found.failed * 100 >= found.ended * GUARD_SHARE_PERCENT
}

/// True where results need not wait for the end of a trial. Good ones do: they come sooner than
/// timeouts.
fn fails_at_once(found: Tally) -> bool {
    let all_failed = found.failed == found.ended && found.failed >= GUARD_FEW_RESULTS_MIN;
    all_failed || (found.ended >= GUARD_RESULTS_MIN && is_mass(found))
}

#[cfg(test)]
mod tests;

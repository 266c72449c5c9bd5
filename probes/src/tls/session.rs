//! What is kept of a TLS connection so that the next one to the same target is cheaper.
//!
//! Owns: [`Session`], the place where rustls puts it, and how long a certificate that was seen is
//! vouched for. A resumed connection does not show the certificate again: what was seen counts for
//! at most [`SEEN_S_MAX`], and only while none of its dates has passed. Knows no target: whose
//! session it is, is for the caller to know.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::outcome::{CertFacts, CertInfo};

/// Longest time that a certificate counts without being shown again, in seconds: an hour. A new
/// one, and a revoked key, are seen by the first check after it.
pub const SEEN_S_MAX: u64 = 3_600;

/// A certificate that was shown, and when.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) facts: Arc<CertFacts>,
    pub(super) unix_s: u64,
}

impl Seen {
    /// True where a handshake at `wall_unix_s` would come to the same judgement.
    pub(super) fn holds(&self, wall_unix_s: u64) -> bool {
        let is_recent = wall_unix_s.abs_diff(self.unix_s) < SEEN_S_MAX;
        let (then, now) = (self.unix_s as i64, wall_unix_s as i64);
        let at = |cert: &CertInfo, time: i64| (time < cert.not_before, time > cert.not_after);
        is_recent && self.facts.chain.iter().all(|cert| at(cert, then) == at(cert, now))
    }
}

/// A session that a further connection can resume: about 4 KiB with a usual chain.
pub struct Session {
    pub(super) kept: Kept,
    pub(super) seen: Seen,
}

impl Session {
    /// True where a connection at `wall_unix_s` may resume it.
    pub fn holds(&self, wall_unix_s: u64) -> bool {
        self.seen.holds(wall_unix_s)
    }
}

/// Nothing of it: it has the keys of a connection.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// What rustls keeps.
#[derive(Default)]
pub(super) struct Kept {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The ticket that came last. Each is used once (RFC 8446 appendix C.4).
    tls13: Option<Tls13ClientSessionValue>,
}

impl Kept {
    pub(super) fn can_resume(&self) -> bool {
        self.tls12.is_some() || self.tls13.is_some()
    }
}

/// The place of one connection where rustls finds and leaves a session.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Kept>);

impl Keeper {
    pub(super) fn holding(kept: Kept) -> Keeper {
        Keeper(Mutex::new(kept))
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl ClientSessionStore for Keeper {
    fn set_kx_hint(&self, _name: ServerName<'static>, group: NamedGroup) {
        self.with(|kept| kept.group = Some(group));
    }

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|kept| kept.group)
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.with(|kept| kept.tls12 = Some(session));
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|kept| kept.tls12.clone())
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {
        self.with(|kept| kept.tls12 = None);
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.with(|kept| kept.tls13 = Some(ticket));
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|kept| kept.tls13.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_for_an_hour_and_not_past_any_date_of_the_chain() {
        let cert =
            |not_before, not_after| CertInfo { not_before, not_after, ..CertInfo::default() };
        let facts = CertFacts {
            chain: vec![cert(0, 90_000), cert(0, 101_000), cert(102_000, 200_000)],
            problem: None,
            problem_text: String::new(),
            tls_version: String::new(),
            cipher: String::new(),
        };
        let seen = |unix_s| Seen { facts: Arc::new(facts.clone()), unix_s };
        // The first one had ended before, and so it is judged.
        assert!(seen(100_000).holds(100_000));
        assert!(seen(100_000).holds(101_000));
        assert!(!seen(100_000).holds(101_001), "one has ended");
        assert!(seen(101_001).holds(101_999));
        assert!(!seen(101_001).holds(102_000), "one has begun");
        assert!(seen(110_000).holds(113_599));
        assert!(!seen(110_000).holds(113_600), "an hour is over");
        assert!(!seen(110_000).holds(100_000), "the clock was set back");
    }
}

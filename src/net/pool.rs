//! What is kept of an exchange for the next one with the same peer: connections and TLS sessions.
//!
//! Owns: whose it is, the bound, the age. A peer is an address together with all that a monitor
//! says about whom it talks to and how that is proved: monitors share what they keep only where
//! they would have made the very same connection. The newest is given first, the oldest goes first.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use probes::Nanos;
use probes::spec::HttpSpec;

/// Whom a connection leads to, and how that was proved: 128 bits of a keyed hash, so that none is
/// taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(u64, u64);

/// Makes peers; each shard has keys of its own.
#[derive(Default)]
pub struct Peers(RandomState, RandomState);

impl Peers {
    /// The peer at `to` for this request; `None` where the monitor keeps nothing.
    pub fn of(&self, to: SocketAddr, http: &HttpSpec) -> Option<Peer> {
        let tls = http.url.tls.then_some(&http.options.tls);
        let keeps = http.options.keep_alive || tls.is_some_and(|tls| tls.resume);
        let whole = (to, &http.url.host, tls);
        keeps.then(|| Peer(self.0.hash_one(whole), self.1.hash_one(whole)))
    }
}

/// Things that are kept, by peer and by age.
pub struct Pool<T> {
    items: BTreeMap<(Peer, u64), T>,
    ages: BTreeMap<u64, (Peer, Nanos)>,
    next: u64,
    /// Given out so far.
    reused: u64,
    /// Dropped for want of room so far.
    evicted: u64,
}

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { items: BTreeMap::new(), ages: BTreeMap::new(), next: 0, reused: 0, evicted: 0 }
    }
}

impl<T> Pool<T> {
    /// Given out so far.
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Dropped for want of room so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Keeps one thing more, at most `max` in all.
    pub fn put(&mut self, peer: Peer, item: T, now: Nanos, max: usize) {
        self.shrink(max.saturating_sub(1));
        if max > 0 {
            self.items.insert((peer, self.next), item);
            self.ages.insert(self.next, (peer, now));
            self.next += 1;
        }
    }

    /// Drops the oldest until at most `max` are left.
    pub fn shrink(&mut self, max: usize) {
        while self.items.len() > max {
            let Some((number, (peer, _))) = self.ages.pop_first() else { return };
            self.items.remove(&(peer, number));
            self.evicted += 1;
        }
    }

    /// The newest thing of `peer` that is `good`; what is not is dropped.
    pub fn take(&mut self, peer: Peer, good: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let found = self.items.range((peer, 0)..=(peer, u64::MAX)).next_back();
            let place = *found?.0;
            let item = self.items.remove(&place)?;
            self.ages.remove(&place.1);
            if good(&item) {
                self.reused += 1;
                return Some(item);
            }
        }
    }

    /// Drops what was kept before `since`.
    pub fn expire(&mut self, since: Nanos) {
        while let Some(oldest) = self.ages.first_entry()
            && oldest.get().1 < since
        {
            let (number, (peer, _)) = oldest.remove_entry();
            self.items.remove(&(peer, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use probes::spec::{Host, HttpOptions, HttpUrl, TlsOptions};

    use super::*;

    fn spec(tls: bool, host: &str, options: HttpOptions) -> HttpSpec {
        let host = Host::Name(host.into());
        let url = HttpUrl { tls, host, port: 443, path: "/".into() };
        HttpSpec { url, options: Arc::new(options) }
    }

    fn keeping() -> HttpOptions {
        let tls = TlsOptions { resume: true, ..TlsOptions::default() };
        HttpOptions { keep_alive: true, tls, ..HttpOptions::default() }
    }

    #[test]
    fn only_what_would_make_the_same_connection_is_one_peer() {
        let peers = Peers::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let of = |port, tls, host, options| peers.of(at(port), &spec(tls, host, options)).unwrap();
        let one = of(443, true, "a.example", keeping());
        let other_request = HttpOptions { method: "HEAD".into(), ..keeping() };
        assert_eq!(one, of(443, true, "a.example", other_request));
        let with = |tls| HttpOptions { tls, ..keeping() };
        let usual = keeping().tls;
        for other in [
            of(444, true, "a.example", keeping()),
            of(443, false, "a.example", keeping()),
            of(443, true, "b.example", keeping()),
            of(443, true, "a.example", with(TlsOptions { verify: false, ..usual.clone() })),
            of(443, true, "a.example", with(TlsOptions { resume: false, ..usual.clone() })),
            of(
                443,
                true,
                "a.example",
                with(TlsOptions { ca_file: Some("/a".into()), ..usual.clone() }),
            ),
            of(443, true, "a.example", with(TlsOptions { server_name: Some("b".into()), ..usual })),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(peers.of(at(80), &spec(false, "a.example", HttpOptions::default())), None);
        // A session is of no use without TLS.
        let resuming = HttpOptions { keep_alive: false, ..keeping() };
        assert_eq!(peers.of(at(80), &spec(false, "a.example", resuming)), None);
    }

    #[test]
    fn the_newest_is_given_first_and_the_oldest_makes_room() {
        let (a, b) = (Peer(1, 1), Peer(1, 2));
        let mut pool = Pool::default();
        for (peer, item) in [(a, 1), (b, 2), (a, 3), (b, 4)] {
            pool.put(peer, item, Nanos(item), 3);
        }
        assert_eq!((pool.items.len(), pool.evicted()), (3, 1));
        assert_eq!(pool.take(a, |_| true), Some(3));
        assert_eq!(pool.take(a, |_| true), None);
        assert_eq!(pool.take(b, |item| *item < 4), Some(2), "4 is dropped");
        assert_eq!((pool.items.len(), pool.reused()), (0, 2));
    }

    #[test]
    fn what_is_too_old_goes_and_no_room_keeps_nothing() {
        let mut pool = Pool::default();
        for item in [10, 20, 30] {
            pool.put(Peer(0, item), item, Nanos(item), 10);
        }
        pool.expire(Nanos(20));
        assert_eq!(pool.take(Peer(0, 10), |_| true), None);
        assert_eq!(pool.take(Peer(0, 20), |_| true), Some(20));
        pool.put(Peer(0, 1), 1, Nanos(40), 0);
        assert!(pool.items.is_empty());
    }
}

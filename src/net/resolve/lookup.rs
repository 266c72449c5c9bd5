//! What a caller sees of a resolver: lookups, their ends, sockets to poll, counters.
//!
//! Owns: the types. Leaves to others: resolving.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;
use probes::Failure;

use crate::fault::{Fault, Owner, owner_of};
use crate::limits::RESOLVE_WAITING_MAX;
use crate::sample::CheckResult;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist (NXDOMAIN).
    #[error("there is no such name")]
    NameNotFound,
    /// The name exists without an address of the wanted family (NODATA).
    #[error("the name has no address of this family")]
    NoAddress,
    /// No server gave an answer, and at least one refused or failed.
    #[error("every name server failed: look at /etc/resolv.conf")]
    AllServersFailed,
    /// No server said anything.
    #[error("no name server answered: look at /etc/resolv.conf")]
    TimedOut,
    /// This host could not even ask.
    #[error("cannot ask a name server: {0}")]
    Local(Errno),
}

impl ResolveError {
    /// What a check says that ends with this error: the name is the target's, the servers are ours.
    pub fn result(self) -> CheckResult {
        match self {
            ResolveError::NameNotFound => CheckResult::Down(Failure::NameNotFound),
            ResolveError::NoAddress => CheckResult::Down(Failure::NameNoAddress),
            ResolveError::AllServersFailed | ResolveError::TimedOut => {
                CheckResult::Unknown(Fault::Resolver)
            }
            ResolveError::Local(errno) => CheckResult::Unknown(match owner_of(errno, false) {
                Owner::Engine(Fault::NoRoute) | Owner::Target(_) => Fault::Resolver,
                Owner::Engine(fault) => fault,
            }),
        }
    }
}

/// The addresses of a name: at least one, all of the wanted family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// In the order the server gave them.
    pub list: Arc<[IpAddr]>,
    /// True where they are past their time and no server could be asked (RFC 8767).
    pub stale: bool,
}

/// What a lookup says at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The addresses.
    Ready(Addresses),
    /// A [`Resolved`] with the token will come, unless it is cancelled.
    Pending,
    /// There are none.
    Failed(ResolveError),
}

/// The end of a lookup that was [`Lookup::Pending`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// As given to [`Resolver::lookup`](super::Resolver::lookup).
    pub token: u64,
    /// The addresses, or why there are none.
    pub result: Result<Addresses, ResolveError>,
    /// From the lookup to now, in microseconds.
    pub took_us: u32,
}

/// Names one socket of a resolver. Fits in 56 bits: a ring's user data has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchKey(pub u64);

impl WatchKey {
    pub(super) fn new(place: u32, serial: u32) -> WatchKey {
        WatchKey(u64::from(place) << 32 | u64::from(serial))
    }

    pub(super) fn place(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn serial(self) -> u32 {
        self.0 as u32
    }
}

// No more flights than lookups that may wait, and places are reused: 24 bits hold a place.
const _: () = assert!(RESOLVE_WAITING_MAX < 1 << 24);

/// A socket to poll once.
#[derive(Debug)]
pub struct Watch<'a> {
    /// To give back to [`Resolver::on_ready`](super::Resolver::on_ready).
    pub key: WatchKey,
    /// The socket.
    pub fd: BorrowedFd<'a>,
    /// Poll for writing; else for reading.
    pub write: bool,
}

/// What a resolver did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolveCounters {
    /// Lookups.
    pub lookups: u64,
    /// Lookups answered by the hosts table.
    pub hosts_hits: u64,
    /// Lookups answered by the cache within the time of the answer.
    pub cache_hits: u64,
    /// Lookups answered with addresses past their time.
    pub stale: u64,
    /// Lookups that joined a query in flight.
    pub joined: u64,
    /// Lookups refused because too many wait.
    pub refused: u64,
    /// Queries sent, to any server and by either transport.
    pub queries: u64,
    /// Queries sent over TCP, among them.
    pub stream_queries: u64,
    /// Queries that got an answer.
    pub answers: u64,
    /// Queries that got none in time.
    pub timeouts: u64,
    /// Queries that a server refused or failed.
    pub server_errors: u64,
    /// Queries that ended with an error of the socket.
    pub socket_errors: u64,
    /// Replies that were not for the query: forged, late or broken.
    pub foreign: u64,
    /// Names dropped from the full cache.
    pub evicted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_about_the_name_is_the_targets() {
        let failure = |error: ResolveError| error.result();
        assert_eq!(failure(ResolveError::NameNotFound), CheckResult::Down(Failure::NameNotFound));
        assert_eq!(failure(ResolveError::NoAddress), CheckResult::Down(Failure::NameNoAddress));
        for (error, fault) in [
            (ResolveError::AllServersFailed, Fault::Resolver),
            (ResolveError::TimedOut, Fault::Resolver),
            (ResolveError::Local(Errno::ENETUNREACH), Fault::Resolver),
            (ResolveError::Local(Errno::ECONNREFUSED), Fault::Resolver),
            (ResolveError::Local(Errno::EMFILE), Fault::Descriptors),
            (ResolveError::Local(Errno::EPERM), Fault::NotPermitted),
        ] {
            assert_eq!(failure(error), CheckResult::Unknown(fault), "{error}");
        }
    }
}

//! Which token went out under which sequence number.
//!
//! Owns: one entry per sequence number of a socket. Replies carry their token in the payload; this
//! is for ICMP errors, which may quote no more than the first 8 bytes of a request (RFC 792).
//! Costs 2 MiB per socket, taken with the first request.

use std::net::IpAddr;

/// Sequence numbers of a socket.
const SEQUENCES: usize = 1 << 16;

/// The requests sent last, by sequence number.
#[derive(Debug, Default)]
pub(super) struct Sent {
    entries: Vec<Option<(u64, IpAddr)>>,
}

impl Sent {
    /// Remembers a request; the one before with this number is forgotten.
    pub(super) fn insert(&mut self, seq: u16, token: u64, to: IpAddr) {
        if self.entries.is_empty() {
            self.entries.resize(SEQUENCES, None);
        }
        if let Some(entry) = self.entries.get_mut(usize::from(seq)) {
            *entry = Some((token, to));
        }
    }

    /// The token of the last request with this number, if it went to this address.
    pub(super) fn token(&self, seq: u16, to: IpAddr) -> Option<u64> {
        let (token, sent_to) = (*self.entries.get(usize::from(seq))?)?;
        (sent_to == to).then_some(token)
    }

    /// True where the last request with this number went to another address.
    pub(super) fn went_elsewhere(&self, seq: u16, from: IpAddr) -> bool {
        let entry = self.entries.get(usize::from(seq)).copied().flatten();
        entry.is_some_and(|(_, to)| to != from)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn token_is_found_by_number_and_address_and_by_the_last_request_only() {
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut sent = Sent::default();
        assert_eq!(sent.token(7, here), None);
        sent.insert(7, 70, here);
        sent.insert(u16::MAX, 71, here);
        assert_eq!(sent.token(7, here), Some(70));
        assert_eq!(sent.token(7, there), None);
        assert_eq!(sent.token(8, here), None);
        assert!(sent.went_elsewhere(7, there) && !sent.went_elsewhere(7, here));
        assert!(!sent.went_elsewhere(8, Ipv4Addr::LOCALHOST.into()));
        sent.insert(7, 72, there);
        assert_eq!((sent.token(7, here), sent.token(7, there)), (None, Some(72)));
        assert_eq!(sent.token(u16::MAX, here), Some(71));
    }
}

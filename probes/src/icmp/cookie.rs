//! The payload of an echo request, signed so that only our own comes back in.
//!
//! Owns: its 56 bytes. Anybody may send an echo reply; what counts is one that carries a token we
//! signed, for the address it comes from and the sequence number it had. The secret lives as long
//! as the process, so replies to an earlier run are strangers too. Costs two SipHash runs over 35
//! bytes, about 50 ns.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use super::wire::PAYLOAD_BYTES;
use crate::time::Nanos;

/// Where the parts begin, in bytes: token and instant, big-endian, 8 each; signature, 16; filling.
const SENT_AT: usize = 8;
const MAC_AT: usize = 16;
const FILL_AT: usize = 32;
/// Tells whoever looks at the traffic what it is, and makes up the usual 56 bytes of ping(8).
const FILL: &[u8; PAYLOAD_BYTES - FILL_AT] = b"uptime monitor echo test";

/// The secret that echo payloads are signed with.
#[derive(Clone, Debug)]
pub struct Cookie {
    secret: RandomState,
}

impl Cookie {
    /// A new secret of 128 bits from the operating system. Clones share it.
    pub fn new() -> Cookie {
        Cookie { secret: RandomState::new() }
    }

    /// The payload of an echo request with number `seq` to `to`: carries `token` and `sent`.
    pub fn sign(&self, token: u64, sent: Nanos, to: IpAddr, seq: u16) -> [u8; PAYLOAD_BYTES] {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..SENT_AT].copy_from_slice(&token.to_be_bytes());
        payload[SENT_AT..MAC_AT].copy_from_slice(&sent.0.to_be_bytes());
        payload[MAC_AT..FILL_AT].copy_from_slice(&self.mac(token, sent, to, seq));
        payload[FILL_AT..].copy_from_slice(FILL);
        payload
    }

    /// The token and the instant of a payload that came back with number `seq`: from `from` in a
    /// reply, for the quoted destination in an error. `None` for whatever we did not sign just so.
    pub fn open(&self, payload: &[u8], seq: u16, from: IpAddr) -> Option<(u64, Nanos)> {
        let payload: &[u8; PAYLOAD_BYTES] = payload.try_into().ok()?;
        let (token, rest) = payload.split_first_chunk()?;
        let (sent, rest) = rest.split_first_chunk()?;
        let (mac, fill) = rest.split_first_chunk::<16>()?;
        let (token, sent) = (u64::from_be_bytes(*token), Nanos(u64::from_be_bytes(*sent)));
        (*mac == self.mac(token, sent, from, seq) && fill == FILL).then_some((token, sent))
    }

    /// 128 bits of keyed hash (SipHash of the standard library, once per half). An IPv4 address
    /// mapped into IPv6 is that IPv4 address.
    fn mac(&self, token: u64, sent: Nanos, address: IpAddr, seq: u16) -> [u8; 16] {
        let address = match address.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let half = |half: u8| {
            let mut hasher = self.secret.build_hasher();
            hasher.write_u8(half);
            hasher.write_u64(token);
            hasher.write_u64(sent.0);
            hasher.write(&address);
            hasher.write_u16(seq);
            u128::from(hasher.finish())
        };
        (half(0) << 64 | half(1)).to_be_bytes()
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Cookie::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: u64 = 0x0123_4567_89ab_cdef;
    const SENT: Nanos = Nanos(987_654_321);

    fn here() -> IpAddr {
        IpAddr::from([192, 0, 2, 7])
    }

    #[test]
    fn what_was_signed_opens_again() {
        let cookie = Cookie::new();
        let payload = cookie.sign(TOKEN, SENT, here(), 7);
        assert_eq!(cookie.open(&payload, 7, here()), Some((TOKEN, SENT)));
        assert_eq!(cookie.clone().open(&payload, 7, here()), Some((TOKEN, SENT)));
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(cookie.open(&payload, 7, mapped), Some((TOKEN, SENT)));
    }

    #[test]
    fn another_address_number_secret_or_length_opens_nothing() {
        let cookie = Cookie::new();
        let payload = cookie.sign(TOKEN, SENT, here(), 7);
        assert_eq!(cookie.open(&payload, 7, IpAddr::from([192, 0, 2, 8])), None);
        assert_eq!(cookie.open(&payload, 8, here()), None);
        assert_eq!(Cookie::new().open(&payload, 7, here()), None);
        for len in 0..PAYLOAD_BYTES {
            assert_eq!(cookie.open(&payload[..len], 7, here()), None);
        }
        assert_eq!(cookie.open(&[&payload[..], &[0]].concat(), 7, here()), None);
    }

    #[test]
    fn a_payload_changed_in_any_bit_opens_nothing() {
        let cookie = Cookie::new();
        let payload = cookie.sign(TOKEN, SENT, here(), 7);
        for bit in 0..PAYLOAD_BYTES * 8 {
            let mut forged = payload;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cookie.open(&forged, 7, here()), None, "bit {bit}");
        }
    }
}

//! Stub.
use crate::time::Nanos;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
pub struct Cookie(RandomState);
impl Cookie {
    pub fn new() -> Cookie {
        Cookie(RandomState::new())
    }
    pub fn sign(&self, token: u64, sent: Nanos, to: IpAddr, seq: u16) -> [u8; 56] {
        let mut out = [0; 56];
        out[..8].copy_from_slice(&token.to_be_bytes());
        out[8..16].copy_from_slice(&sent.0.to_be_bytes());
        out[16..24].copy_from_slice(&self.0.hash_one((token, sent, to, seq)).to_be_bytes());
        out
    }
    pub fn open(&self, p: &[u8], seq: u16, from: IpAddr) -> Option<(u64, Nanos)> {
        if p.len() != 56 {
            return None;
        }
        let token = u64::from_be_bytes(p[..8].try_into().ok()?);
        let sent = Nanos(u64::from_be_bytes(p[8..16].try_into().ok()?));
        (self.sign(token, sent, from, seq)[..] == *p).then_some((token, sent))
    }
}
#[derive(Clone, Copy)]
pub enum Source {
    V4Datagram,
    V4Raw,
    V6,
}
pub enum Parsed<'a> {
    Reply { id: u16, seq: u16, payload: &'a [u8], ttl: Option<u8> },
    Error { icmp_type: u8, code: u8, id: u16, seq: u16, to: IpAddr, payload: &'a [u8] },
}
pub struct EchoRequest<'a> {
    pub id: u16,
    pub seq: u16,
    pub payload: &'a [u8; 56],
}
impl EchoRequest<'_> {
    pub fn write(&self, v6: bool, out: &mut [u8; 64]) {
        out[0] = if v6 { 128 } else { 8 };
        out[1] = 0;
        out[2] = 0;
        out[3] = 0;
        out[4..6].copy_from_slice(&self.id.to_be_bytes());
        out[6..8].copy_from_slice(&self.seq.to_be_bytes());
        out[8..].copy_from_slice(self.payload);
        if !v6 {
            let mut sum = 0u32;
            for c in out.chunks(2) {
                sum += u32::from(u16::from_be_bytes([c[0], c[1]]));
            }
            while sum >> 16 != 0 {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            out[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        }
    }
}
impl<'a> Parsed<'a> {
    pub fn parse(source: Source, bytes: &'a [u8]) -> Option<Parsed<'a>> {
        let be = |b: &[u8], at: usize| Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]));
        let (v6, icmp) = match source {
            Source::V6 => (true, bytes),
            Source::V4Datagram => (false, bytes),
            Source::V4Raw => (false, bytes.get(usize::from(bytes.first()? & 15) * 4..)?),
        };
        let t = *icmp.first()?;
        if t == if v6 { 129 } else { 0 } {
            return Some(Parsed::Reply {
                id: be(icmp, 4)?,
                seq: be(icmp, 6)?,
                payload: icmp.get(8..)?,
                ttl: None,
            });
        }
        let quoted = icmp.get(8..)?;
        let (to, inner) = if v6 {
            let a: [u8; 16] = quoted.get(24..40)?.try_into().ok()?;
            (IpAddr::from(Ipv6Addr::from(a)), quoted.get(40..)?)
        } else {
            let a: [u8; 4] = quoted.get(16..20)?.try_into().ok()?;
            (IpAddr::from(Ipv4Addr::from(a)), quoted.get(usize::from(quoted.first()? & 15) * 4..)?)
        };
        Some(Parsed::Error {
            icmp_type: t,
            code: *icmp.get(1)?,
            id: be(inner, 4)?,
            seq: be(inner, 6)?,
            to,
            payload: inner.get(8..)?,
        })
    }
}

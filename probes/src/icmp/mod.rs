//! ICMP echo: the wire format and the payload that brings the probe's state back.
//!
//! Owns: building requests, reading replies and errors ([`wire`]), and the signed payload
//! ([`cookie`]). There is no machine here: one socket per shard serves every target, and the
//! caller keeps no table by sequence number, since a reply carries the token of its probe. Round
//! trip times are computed by the caller, from the kernel's stamp where there is one.

pub mod cookie;
pub mod wire;

pub use cookie::Cookie;
pub use wire::{
    Delivery, ECHO_BYTES, Message, PAYLOAD_BYTES, Quoted, Reason, Reply, Undelivered, Version,
};

//! What a raw ICMP socket lets through: the kernel gives every raw socket every ICMP packet.
//!
//! Owns: two programs of the classic packet filter (Documentation/networking/filter.rst), which
//! drop in the kernel all but echo replies with our identifier and errors that quote a request with
//! it. Costs a few ns a packet; what it drops takes no room in the receive buffer.

use socket2::SockFilter;

/// A = byte at k.
const LOAD_BYTE: u16 = 0x30;
/// A = 16 bits at k.
const LOAD_HALF: u16 = 0x28;
/// A = byte at X + k.
const LOAD_BYTE_AT_X: u16 = 0x50;
/// A = 16 bits at X + k.
const LOAD_HALF_AT_X: u16 = 0x48;
/// X = length of the IPv4 header at k.
const X_HEADER_LENGTH: u16 = 0xb1;
/// A = A & k.
const AND: u16 = 0x54;
/// A = A << k.
const SHIFT_LEFT: u16 = 0x64;
/// A = A + X.
const ADD_X: u16 = 0x0c;
/// X = A.
const X_FROM_A: u16 = 0x07;
/// Jump if A == k.
const JUMP_IF: u16 = 0x15;
/// End, keeping k bytes.
const RETURN: u16 = 0x06;

/// Says where to go on by the place of an instruction; the kernel wants distances.
fn jump(place: u8, value: u32, then: u8, otherwise: u8) -> SockFilter {
    SockFilter::new(JUMP_IF, then - place - 1, otherwise - place - 1, value)
}

fn step(code: u16, k: u32) -> SockFilter {
    SockFilter::new(code, 0, 0, k)
}

/// For IPv4 (RFC 792), where a packet begins with its IP header: type 0 with our identifier, or
/// types 3 and 11 around a request (type 8) with it.
pub(crate) fn v4(id: u16) -> [SockFilter; 20] {
    let id = u32::from(id);
    [
        step(X_HEADER_LENGTH, 0),
        step(LOAD_BYTE_AT_X, 0),
        jump(2, 0, 16, 3),
        jump(3, 3, 5, 4),
        jump(4, 11, 5, 19),
        step(LOAD_BYTE_AT_X, 8 + 9), // The protocol of the quoted packet is ICMP.
        jump(6, 1, 7, 19),
        step(LOAD_BYTE_AT_X, 8),
        step(AND, 0x0f),
        step(SHIFT_LEFT, 2),
        step(ADD_X, 0),
        step(X_FROM_A, 0), // Past the quoted IP header, less the 8 bytes in front of it.
        step(LOAD_BYTE_AT_X, 8),
        jump(13, 8, 14, 19),
        step(LOAD_HALF_AT_X, 8 + 4),
        jump(15, id, 18, 19),
        step(LOAD_HALF_AT_X, 4),
        jump(17, id, 18, 19),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

/// For IPv6 (RFC 4443), where a packet begins with its ICMPv6 header: type 129 with our
/// identifier, or types 1 and 3 around a request (type 128) with it.
pub(super) fn v6(id: u16) -> [SockFilter; 14] {
    let id = u32::from(id);
    [
        step(LOAD_BYTE, 0),
        jump(1, 129, 10, 2),
        jump(2, 1, 4, 3),
        jump(3, 3, 4, 13),
        step(LOAD_BYTE, 8 + 6), // The next header of the quoted packet is ICMPv6.
        jump(5, 58, 6, 13),
        step(LOAD_BYTE, 8 + 40),
        jump(7, 128, 8, 13),
        step(LOAD_HALF, 8 + 40 + 4),
        jump(9, id, 12, 13),
        step(LOAD_HALF, 4),
        jump(11, id, 12, 13),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

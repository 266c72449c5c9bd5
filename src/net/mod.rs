//! The sockets of a shard: non-blocking, owned by one thread, driven by the ring.
//!
//! Owns: everything between a launch and an attempt. Unsafe code stands in `ring` only.

mod random;

pub mod ring;

pub mod trust;

pub mod stream;

pub mod pool;

pub mod egress;
pub mod flight;

pub mod resolve;

pub mod echo;

pub mod driver;

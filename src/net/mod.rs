//! The sockets of a shard: non-blocking, owned by one thread, driven by whoever polls them.

mod random;

pub mod echo;

pub mod resolve;

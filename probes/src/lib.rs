//! Probe protocols as state machines without input or output.
//!
//! Owns: what is said on the wire to a target, what counts as a good answer, and why an answer
//! is bad. Leaves to others: sockets, names, clocks, threads, schedules. Every machine takes bytes
//! and instants and gives bytes and one [`Outcome`], so the same code runs over io_uring, in a
//! simulation, under a fuzzer and in memory.
//!
//! Modules, each using only those above it: [`time`], [`outcome`], [`spec`], [`machine`],
//! [`expect`], [`tcp`], [`http`], [`tls`], [`icmp`].
#![forbid(unsafe_code)]

pub mod time;

pub mod outcome;

pub mod spec;

pub mod machine;

pub mod expect;

pub mod tcp;

pub mod http;

pub mod tls;

pub mod icmp;

pub use machine::{End, Machine};
pub use outcome::{Failure, Outcome, Phase, Timings};
pub use spec::ProbeSpec;
pub use time::Nanos;

//! When checks start: a timer wheel, the spread of first due times, and the list of those due.
//!
//! Owns: time as ticks. Reads no clock: the shard passes the tick, so tests and the simulator
//! choose it.

pub mod due;
pub mod spread;
pub mod wheel;

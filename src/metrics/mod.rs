//! Numbers about ourselves and how durations are counted.
//!
//! Owns: the bucket table. Uses nothing.

pub mod buckets;

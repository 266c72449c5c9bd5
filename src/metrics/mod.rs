//! Numbers about ourselves.
//!
//! Owns: the ledger of due checks, what a shard publishes once a second, and the page that shows
//! it. One writer each: no atomics and no locks where checks run.

pub mod buckets;
pub mod delta;
pub mod host;
pub mod latency;
pub mod ledger;
pub mod page;
pub mod snapshot;
pub mod streaks;
pub mod text;

//! Numbers about ourselves.
//!
//! Owns: the ledger of due checks and what a shard publishes once a second. One writer each: no
//! atomics and no locks where checks run.

pub mod ledger;
pub mod snapshot;

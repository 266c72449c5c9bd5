//! What one attempt of a check found.
//!
//! Owns: the result that sockets hand to the shard: the target's outcome, or our own fault.

use std::net::IpAddr;

use probes::Outcome;
use probes::outcome::Detail;

use crate::fault::Fault;
use crate::sample::CheckResult;

/// What one attempt found.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Up, down or unknown; never missed.
    pub result: CheckResult,
    /// What the probe saw. With a fault of ours: the phases before it and its words.
    pub outcome: Outcome,
    /// From the start of the attempt to its outcome, in microseconds; for ICMP the round trip.
    pub total_us: u32,
    /// The address that was asked last.
    pub address: Option<IpAddr>,
}

impl Attempt {
    /// The target's doing.
    pub fn of_target(outcome: Outcome, total_us: u32, address: Option<IpAddr>) -> Attempt {
        let result = outcome.failure.map_or(CheckResult::Up, CheckResult::Down);
        Attempt { result, outcome, total_us, address }
    }

    /// Our own fault, with `text` to say more where it is not empty.
    pub fn of_fault(fault: Fault, text: String, total_us: u32) -> Attempt {
        let detail = (!text.is_empty()).then(|| Box::new(Detail { text, ..Detail::default() }));
        let outcome = Outcome { detail, ..Outcome::default() };
        Attempt { result: CheckResult::Unknown(fault), outcome, total_us, address: None }
    }
}

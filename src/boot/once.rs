//! Checks targets once, now, on the calling thread: no schedule, no store.
//!
//! Owns: nothing that lasts. The probes are carried by the same driver as on a shard.

use std::io;

use crate::attempt::Attempt;
use crate::clock::Clock;
use crate::ids::{Slot, SlotRef};
use crate::limits::INFLIGHT_DEFAULT;
use crate::monitor::Monitor;
use crate::net::driver::Driver;
use crate::net::resolve::ResolverConfig;
use crate::net::trust::Trust;

/// Makes one attempt for each monitor, all at once, and returns them in order.
///
/// # Errors
///
/// The errno of io_uring: nothing can be checked on this host.
pub fn check_once(
    monitors: &[Monitor],
    trust: Trust,
    resolver: ResolverConfig,
) -> io::Result<Vec<Attempt>> {
    let mut driver = Driver::new(Clock::start(), trust, resolver, INFLIGHT_DEFAULT)?;
    let mut attempts: Vec<Option<Attempt>> = monitors.iter().map(|_| None).collect();
    let mut waiting = monitors.iter().enumerate();
    let mut left = monitors.len();
    while left > 0 {
        for (index, monitor) in waiting.by_ref().take(driver.room()) {
            driver.launch(SlotRef { slot: Slot(index as u32), generation: 0 }, monitor);
        }
        driver.turn(None)?;
        for (at, attempt) in driver.finished().drain(..) {
            attempts[at.slot.0 as usize] = Some(attempt);
            left -= 1;
        }
    }
    Ok(attempts.into_iter().flatten().collect())
}

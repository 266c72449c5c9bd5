//! The only file that asks the operating system for the time.
//!
//! Owns: the schedule clock. It starts at the wall time of the process start and goes on with
//! CLOCK_MONOTONIC: a due time is a plain Unix time that is the same after a restart, and a step of
//! the wall clock while the engine runs moves nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use probes::Nanos;

use crate::ids::Tick;
use crate::limits::TICK_MS;

/// The schedule clock of this process. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_at_zero_ns: u64,
}

impl Clock {
    /// Ties the monotonic clock to the wall clock, once per process.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        Clock { wall_at_zero_ns: wall_ns.saturating_sub(monotonic().0) }
    }

    /// Now, on the monotonic clock.
    pub fn now(&self) -> Nanos {
        monotonic()
    }

    /// The schedule time of a monotonic instant, in milliseconds since the Unix epoch.
    pub fn unix_millis(&self, at: Nanos) -> u64 {
        self.wall_at_zero_ns.saturating_add(at.0) / 1_000_000
    }

    /// The schedule time of a monotonic instant, in microseconds since the Unix epoch.
    pub fn unix_micros(&self, at: Nanos) -> u64 {
        self.wall_at_zero_ns.saturating_add(at.0) / 1_000
    }

    /// The tick that a monotonic instant falls in.
    pub fn tick(&self, at: Nanos) -> Tick {
        Tick::at_millis(self.unix_millis(at))
    }

    /// The first tick that starts at or after a monotonic instant.
    pub fn tick_after(&self, at: Nanos) -> Tick {
        Tick(self.wall_at_zero_ns.saturating_add(at.0).div_ceil(TICK_MS * 1_000_000))
    }

    /// The monotonic instant at which a tick starts; zero for one before the machine's start.
    pub fn nanos(&self, tick: Tick) -> Nanos {
        Nanos(tick.millis().saturating_mul(1_000_000).saturating_sub(self.wall_at_zero_ns))
    }
}

/// Wall time now, in milliseconds since the Unix epoch: for what people read and for ages on disk.
pub fn wall_millis() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

/// CPU time of this thread outside and inside the kernel, in microseconds (getrusage(2)).
pub fn thread_cpu_micros() -> (u64, u64) {
    let micros = |time: TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    match getrusage(UsageWho::RUSAGE_THREAD) {
        Ok(usage) => (micros(usage.user_time()), micros(usage.system_time())),
        Err(_) => (0, 0),
    }
}

/// Wall time now, in microseconds since the Unix epoch: for texts that carry so many digits.
pub fn wall_micros() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)
}

/// The monotonic and the wall clock at one instant: turns the kernel's stamps, which are wall time,
/// into instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BothClocks {
    /// CLOCK_MONOTONIC.
    pub monotonic: Nanos,
    /// CLOCK_REALTIME, in nanoseconds since the Unix epoch.
    pub wall_ns: u64,
}

/// Longest that reading both clocks may take to count as one instant, in nanoseconds: more means
/// that the thread lost its CPU in between.
const ONE_INSTANT_NS_MAX: u64 = 20_000;

/// Reads both clocks; a second and third time where the thread lost its CPU in between.
pub fn both_clocks() -> BothClocks {
    let mut before = monotonic();
    for _ in 0..2 {
        let wall_ns = wall_nanos();
        let after = monotonic();
        let width = after.0.saturating_sub(before.0);
        if width <= ONE_INSTANT_NS_MAX {
            return BothClocks { monotonic: Nanos(before.0 + width / 2), wall_ns };
        }
        before = after;
    }
    BothClocks { monotonic: before, wall_ns: wall_nanos() }
}

fn wall_nanos() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)
}

/// CLOCK_MONOTONIC in nanoseconds (clock_gettime(2), answered by the vDSO in about 25 ns).
pub fn monotonic() -> Nanos {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(at) => Nanos(at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64),
        Err(errno) => unreachable!("CLOCK_MONOTONIC exists on every Linux: {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_and_its_instant_agree() {
        let clock = Clock::start();
        let tick = clock.tick(clock.now());
        assert_eq!(clock.tick(clock.nanos(tick)), tick);
        assert_eq!(clock.tick(clock.nanos(Tick(tick.0 + 500))), Tick(tick.0 + 500));
    }

    #[test]
    fn the_tick_after_an_instant_never_starts_before_it() {
        let clock = Clock::start();
        let start = clock.nanos(Tick(clock.tick(clock.now()).0 + 9));
        assert_eq!(clock.tick_after(start), clock.tick(start));
        assert_eq!(clock.tick_after(Nanos(start.0 + 1)).0, clock.tick(start).0 + 1);
    }
}

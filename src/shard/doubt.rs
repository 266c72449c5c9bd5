//! What a failure is worth: the guard's word, and when a further check is to confirm it.
//!
//! Owns: the rules between a result and the confirm rule of `monitor::verdict`. A confirmation is
//! a due check of its own: it enters the ledger when it starts and has its own sample. It is left
//! out where it could still run when the next check is due: then that one confirms. No room and no
//! place in the wheel is held while it waits.

use super::Now;
use crate::attempt::Attempt;
use crate::fault::Fault;
use crate::guard::vantage::{Tally, View};
use crate::ids::Tick;
use crate::limits::TICK_MS;
use crate::monitor::Monitor;
use crate::monitor::table::{Activity, Hot};
use crate::sample::{CheckResult, Verdict};

/// True where what was put off until `due` is a confirmation that is still wanted.
pub(super) fn is_to_confirm(hot: &mut Hot, monitor: &Monitor, due: Tick) -> bool {
    let wanted = hot.activity == Activity::Idle && hot.confirm_at == due && !monitor.paused;
    if wanted {
        hot.confirm_at = Tick(0);
    }
    wanted
}

/// Notes when failures began.
pub(super) fn note_failure(hot: &mut Hot, result: CheckResult, now: Tick) {
    match result {
        CheckResult::Up => (hot.failing_since, hot.confirm_at) = (Tick(0), Tick(0)),
        CheckResult::Down(_) if hot.failing_since == Tick(0) => hot.failing_since = now,
        CheckResult::Down(_) | CheckResult::Unknown(_) | CheckResult::Missed(_) => {}
    }
}

/// Weighs a result with what the guard says: a failure while this host is cut off becomes a fault
/// of ours. Counts for the guard. True where the verdict may go down.
pub(super) fn weigh(
    hot: &mut Hot,
    attempt: &mut Attempt,
    view: View,
    tally: &mut Tally,
    now: Now,
) -> bool {
    if !view.is_on() {
        note_failure(hot, attempt.result, now.tick);
        return true;
    }
    count(hot, attempt.result, tally);
    let started_us = now.unix_us.saturating_sub(u64::from(attempt.total_us));
    if matches!(attempt.result, CheckResult::Down(_)) && view.distrusts(tick_of(started_us)) {
        attempt.result = CheckResult::Unknown(Fault::Isolated);
        hot.failing_since = Tick(0);
    }
    if hot.failing_since < view.trusted_from && hot.failing_since != Tick(0) {
        // They began before this host was back: they do not count.
        hot.failing_since = Tick(0);
        hot.state.streak = 0;
    }
    note_failure(hot, attempt.result, now.tick);
    view.lets_fall(hot.failing_since)
}

/// Results of monitors that were up: good ones, and the first of the failures in a row.
fn count(hot: &Hot, result: CheckResult, tally: &mut Tally) {
    if hot.state.settled != Verdict::Up {
        return;
    }
    let failed = match result {
        CheckResult::Up => false,
        CheckResult::Down(_) if hot.state.streak == 0 => true,
        CheckResult::Unknown(Fault::NoRoute | Fault::Resolver) => true,
        CheckResult::Down(_) | CheckResult::Unknown(_) | CheckResult::Missed(_) => return,
    };
    tally.ended += 1;
    tally.failed += u64::from(failed);
}

/// When a failed check is to be confirmed, where the verdict is not settled by it and the further
/// check ends before the `next` one is due.
pub(super) fn confirm_at(
    hot: &Hot,
    monitor: &Monitor,
    view: View,
    now: Tick,
    next: Tick,
) -> Option<Tick> {
    let timing = &monitor.timing;
    if hot.state.settled == Verdict::Down || timing.confirm_ms == 0 || monitor.paused {
        return None;
    }
    let mut pause = u64::from(timing.confirm_ms).div_ceil(TICK_MS);
    if hot.state.streak.saturating_add(1) >= timing.fall {
        // The next failure may decide: not before it can be believed.
        pause = pause.max((hot.failing_since.0 + view.recheck_ticks).saturating_sub(now.0));
    }
    let at = Tick(now.0 + pause.max(1));
    let lasts = timing.check_ms_max().div_ceil(TICK_MS);
    (at.0 + lasts < next.0).then_some(at)
}

fn tick_of(unix_us: u64) -> Tick {
    Tick::at_millis(unix_us / 1_000)
}

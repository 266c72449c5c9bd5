//! A TCP connect: is the port open, or closed where it must be.
//!
//! Owns: the rule of the two. Sends nothing and reads nothing: the handshake is the answer. Costs
//! no allocation, except where a port that must be closed is filtered instead of refused.

use crate::machine::{End, Machine};
use crate::outcome::{Detail, Failure, Outcome, Phase, Timings};
use crate::time::Nanos;

/// One TCP connect (RFC 9293 §3.5).
#[derive(Debug)]
pub struct Tcp {
    expect_closed: bool,
    started: Nanos,
    outcome: Option<Outcome>,
}

impl Tcp {
    /// A connect that began at `started`. With `expect_closed`, not getting through is the good
    /// answer and getting through is [`Failure::PortOpen`]; the text of the good outcome is then
    /// the word of the failure that it would have been ([`Failure::name`]), none for a refusal.
    pub fn new(expect_closed: bool, started: Nanos) -> Tcp {
        Tcp { expect_closed, started, outcome: None }
    }

    fn decide(&mut self, failure: Option<Failure>, now: Nanos) {
        let mut timings = Timings::NONE;
        timings.set(Phase::Connect, self.started, now);
        let phase = Some(Phase::Connect);
        self.outcome = Some(Outcome { failure, phase, timings, ..Outcome::default() });
    }
}

impl Machine for Tcp {
    fn handle_connected(&mut self, now: Nanos) {
        self.decide(self.expect_closed.then_some(Failure::PortOpen), now);
    }

    fn handle_input(&mut self, _bytes: &[u8], _now: Nanos) {}

    fn handle_end(&mut self, end: End, now: Nanos) {
        // An end after the connect says nothing new: the port answered.
        if self.outcome.is_some() {
            return;
        }
        let failure = end.failure();
        self.decide((!self.expect_closed).then_some(failure), now);
        if let Some(outcome) = &mut self.outcome
            && self.expect_closed
            && failure != Failure::Refused
        {
            let text = failure.name().to_owned();
            outcome.detail = Some(Box::new(Detail { text, ..Detail::default() }));
        }
    }

    fn poll_transmit(&mut self, _out: &mut Vec<u8>) {}

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [End; 4] = [End::Refused, End::TimedOut, End::Reset, End::Unreachable];

    fn connect(expect_closed: bool, end: Option<End>) -> Outcome {
        let mut tcp = Tcp::new(expect_closed, Nanos(1_000_000));
        match end {
            None => tcp.handle_connected(Nanos(3_000_000)),
            Some(end) => tcp.handle_end(end, Nanos(3_000_000)),
        }
        tcp.poll_outcome().unwrap()
    }

    #[test]
    fn an_open_port_is_good_and_takes_the_time_of_the_connect() {
        let outcome = connect(false, None);
        assert!(outcome.is_good());
        assert_eq!(outcome.timings.get(Phase::Connect), Some(2_000));
        assert_eq!(outcome.timings.get(Phase::Wait), None);
    }

    #[test]
    fn every_way_of_not_connecting_is_its_own_failure() {
        for end in ENDS {
            let outcome = connect(false, Some(end));
            assert_eq!(outcome.failure, Some(end.failure()));
            assert_eq!(outcome.phase, Some(Phase::Connect));
            assert_eq!(outcome.timings.get(Phase::Connect), Some(2_000));
        }
    }

    #[test]
    fn every_way_of_not_connecting_is_good_where_the_port_must_be_closed() {
        for end in ENDS {
            let outcome = connect(true, Some(end));
            assert!(outcome.is_good(), "{end:?}");
            assert_eq!(outcome.timings.get(Phase::Connect), Some(2_000));
        }
    }

    #[test]
    fn a_port_found_closed_otherwise_than_by_a_refusal_says_how() {
        let words = ENDS.map(|end| connect(true, Some(end)).detail.map(|detail| detail.text));
        let words = words.each_ref().map(|word| word.as_deref());
        assert_eq!(words, [None, Some("timeout"), Some("connection_reset"), Some("unreachable")]);
    }

    #[test]
    fn an_open_port_that_must_be_closed_is_a_failure() {
        assert_eq!(connect(true, None).failure, Some(Failure::PortOpen));
    }

    #[test]
    fn a_reset_after_the_connect_does_not_close_the_port_again() {
        let mut tcp = Tcp::new(false, Nanos(0));
        tcp.handle_connected(Nanos(5));
        tcp.handle_end(End::Reset, Nanos(9));
        assert!(tcp.poll_outcome().unwrap().is_good());
        assert!(tcp.poll_outcome().is_none());
    }
}

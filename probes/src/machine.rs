//! The contract of a probe: one exchange with one target.
//!
//! Owns: the trait every stream protocol implements. Bytes and instants in; bytes and one outcome
//! out. A driver calls `handle_connected` once, then `handle_input` for whatever arrives in any
//! split, and `handle_end` when the stream is over, for good or bad; after each call it sends what
//! `poll_transmit` gives and asks `poll_outcome`.

use crate::outcome::{Failure, Outcome};
use crate::time::Nanos;

/// How a stream ended, as far as the target is to blame. Our own errors end a probe elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The target closed its side in order.
    Eof,
    /// The target reset the connection.
    Reset,
    /// Nothing listens (before `handle_connected` only).
    Refused,
    /// The network or the host said by ICMP that the target cannot be reached.
    Unreachable,
    /// The deadline of the check passed.
    TimedOut,
}

impl End {
    /// The failure this end is, unless the protocol had its whole answer.
    pub fn failure(self) -> Failure {
        match self {
            End::Eof => Failure::Closed,
            End::Reset => Failure::Reset,
            End::Refused => Failure::Refused,
            End::Unreachable => Failure::Unreachable,
            End::TimedOut => Failure::TimedOut,
        }
    }
}

/// One exchange with one target, without input or output.
///
/// The machine is made when the connect starts; that instant is the start of its connect phase.
/// After `poll_outcome` has given an outcome, no other method is called.
pub trait Machine {
    /// The stream is up.
    fn handle_connected(&mut self, now: Nanos);

    /// Bytes came. Any split of the stream gives the same outcome, even byte by byte.
    fn handle_input(&mut self, bytes: &[u8], now: Nanos);

    /// The stream is over. Always leads to an outcome, naming the phase it was in.
    fn handle_end(&mut self, end: End, now: Nanos);

    /// Appends what is to be sent now. Call after every `handle_*`.
    fn poll_transmit(&mut self, out: &mut Vec<u8>);

    /// The outcome, once, as soon as the exchange is over.
    fn poll_outcome(&mut self) -> Option<Outcome>;

    /// True where the exchange is over and its connection can carry another one.
    fn is_kept(&self) -> bool {
        false
    }

    /// True where a failure may come from what was kept of an earlier exchange: a connection that
    /// the target has closed meanwhile, a session that it does not know any more. A fresh exchange
    /// has to tell.
    fn is_doubtful(&self) -> bool {
        false
    }
}

//! The driver's dealings with the echo sockets of its shard, one for each address family.

use std::net::IpAddr;
use std::os::fd::AsFd;

use probes::{Failure, Outcome, Phase, Timings};

use crate::fault::{Fault, Owner, owner_of};
use crate::limits::ECHO_RECEIVE_BUFFER_BYTES;
use crate::net::driver::{Driver, KIND_ECHO, KIND_SHIFT};
use probes::icmp::Version;
use probes::icmp::wire::Reason;

use crate::net::echo::{Echo, EchoEvent, EchoUnavailable};
use crate::net::flight::Stage;
use crate::net::ring::Interest;

/// The echo socket of one family.
pub(super) enum EchoSide {
    /// No ICMP probe of this family yet, or the host did not let us: the next probe tries again.
    Unopened,
    /// Open.
    Open {
        /// The socket.
        echo: Box<Echo>,
        /// True while the ring watches it for replies.
        armed: bool,
    },
}

const VERSIONS: [Version; 2] = [Version::V4, Version::V6];

impl Driver {
    /// Queues an echo request; it leaves with the others of this turn.
    pub(super) fn queue_echo(&mut self, place: u32, ip: IpAddr, scope: u32) {
        let side = usize::from(ip.is_ipv6());
        let token = self.flights.token(place);
        let dropped = self.receive_dropped();
        if let Some(flight) = self.flights.get(place) {
            flight.stage = Stage::Echoing { dropped };
        }
        if matches!(self.echo[side], EchoSide::Unopened) {
            match Echo::open(VERSIONS[side], ECHO_RECEIVE_BUFFER_BYTES) {
                Ok(echo) => {
                    self.echo[side] = EchoSide::Open { echo: Box::new(echo), armed: false };
                }
                Err(error) => return self.fail(place, fault_of(error), error.to_string()),
            }
        }
        if let EchoSide::Open { echo, .. } = &mut self.echo[side]
            && !echo.queue(token, ip, scope)
        {
            let text = "too many echo requests wait to be sent".to_string();
            self.fail(place, Fault::Memory, text);
        }
    }

    /// Sends what is queued and watches for replies.
    pub(super) fn flush_echo(&mut self) -> std::io::Result<()> {
        let mut events = std::mem::take(&mut self.echo_events);
        for (number, side) in self.echo.iter_mut().enumerate() {
            let EchoSide::Open { echo, armed } = side else { continue };
            if echo.queued() > 0 {
                echo.flush(&mut events);
            }
            if !*armed {
                *armed = true;
                let token = KIND_ECHO << KIND_SHIFT | number as u64;
                self.ring.poll(echo.as_fd(), Interest::Read, token)?;
            }
        }
        self.on_echo_events(events);
        Ok(())
    }

    /// True where requests are left that the kernel had no room for.
    pub(super) fn echo_waits(&self) -> bool {
        self.echo
            .iter()
            .any(|side| matches!(side, EchoSide::Open { echo, .. } if echo.queued() > 0))
    }

    /// Reads the replies that came; `fired` says that the ring's watch is used up.
    pub(super) fn receive_echo(&mut self, side: usize, fired: bool) {
        let Some(EchoSide::Open { echo, armed }) = self.echo.get_mut(side) else { return };
        *armed &= !fired;
        let mut events = std::mem::take(&mut self.echo_events);
        echo.receive(&mut events);
        self.on_echo_events(events);
    }

    /// Packets that were dropped in our own receive buffers.
    pub(super) fn receive_dropped(&self) -> u64 {
        let dropped = self.echo.iter().map(|side| match side {
            EchoSide::Open { echo, .. } => echo.counters().receive_dropped,
            EchoSide::Unopened => 0,
        });
        dropped.sum()
    }

    /// Adds what the echo sockets did, both families together.
    pub(super) fn count_echo(&self, counters: &mut Vec<(&'static str, u64)>) {
        let mut sum = [0u64; 8];
        for side in &self.echo {
            let EchoSide::Open { echo, .. } = side else { continue };
            let c = echo.counters();
            let failed = c.send_failed + c.refused;
            let odd = c.foreign + c.truncated + c.unattributed;
            let values = [c.sent, c.replies, c.unreachable, failed, c.wrong_source, c.forged, odd];
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            sum[7] += c.receive_dropped;
        }
        const NAMES: [&str; 8] = [
            "echo_sent",
            "echo_replies",
            "echo_unreachable",
            "echo_send_failed",
            "echo_wrong_source",
            "echo_forged",
            "echo_foreign",
            "echo_receive_dropped",
        ];
        counters.extend(NAMES.into_iter().zip(sum));
    }

    fn on_echo_events(&mut self, mut events: Vec<EchoEvent>) {
        for event in events.drain(..) {
            match event {
                EchoEvent::Reply { token, rtt_us, .. } => {
                    let Some(place) = self.flights.find(token) else {
                        self.echo_late += 1;
                        continue;
                    };
                    let mut timings = Timings::NONE;
                    timings.set_micros(Phase::Connect, rtt_us);
                    let phase = Some(Phase::Connect);
                    self.finish(place, Outcome { phase, timings, ..Outcome::default() });
                }
                EchoEvent::Unreachable { token, reason, code, from } => {
                    let Some(place) = self.flights.find(token) else { continue };
                    let what = match reason {
                        Reason::Unreachable => "unreachable",
                        Reason::TimeExceeded => "time exceeded",
                    };
                    let text = format!("{what}, code {code}, says {from}");
                    let failure = Failure::Unreachable;
                    let failed = Outcome::failed(failure, Phase::Connect, Timings::NONE, text);
                    self.finish(place, failed);
                }
                EchoEvent::SendFailed { token, errno } => {
                    let Some(place) = self.flights.find(token) else { continue };
                    let fault = match owner_of(errno, false) {
                        Owner::Engine(fault) => fault,
                        Owner::Target(_) => Fault::Other,
                    };
                    self.fail(place, fault, errno.desc().to_string());
                }
            }
        }
        self.echo_events = events;
    }
}

/// Why there is no echo socket: what the host ran out of, else that it does not let us.
fn fault_of(error: EchoUnavailable) -> Fault {
    let mut owners = [error.datagram, error.raw].map(|errno| owner_of(errno, false)).into_iter();
    let lack = owners.find_map(|owner| match owner {
        Owner::Engine(fault @ (Fault::Descriptors | Fault::Memory)) => Some(fault),
        _ => None,
    });
    lack.unwrap_or(Fault::NotPermitted)
}

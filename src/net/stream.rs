//! One TCP connection that carries one machine, or one after the other.
//!
//! Owns: the socket, from the connect to the close, and the bytes that did not fit. Holds no
//! protocol. Calls are tried first; only one that would block asks for readiness. Costs seven
//! system calls for an exchange that fits a packet each way.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use probes::http::Http;
use probes::spec::{HttpOptions, HttpUrl};
use probes::tcp::Tcp;
use probes::tls::{Session, Tls};
use probes::{End, Machine, Nanos, Outcome};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::clock::Clock;
use crate::fault::{Fault, Owner, owner_of};
use crate::limits::{READ_BUFFER_BYTES, READS_PER_WAKE_MAX};
use crate::net::ring::Interest;

/// Every machine that a stream can carry.
pub enum AnyMachine {
    /// A TCP connect.
    Tcp(Tcp),
    /// HTTP.
    Http(Box<Http>),
    /// A TLS handshake.
    Tls(Box<Tls<Tcp>>),
    /// HTTPS.
    Https(Box<Tls<Http>>),
    /// A bug in a probe: panics at whatever comes.
    #[cfg(test)]
    Panicking(panicking::Panicking),
}

impl AnyMachine {
    fn inner(&mut self) -> &mut dyn Machine {
        match self {
            AnyMachine::Tcp(machine) => machine,
            AnyMachine::Http(machine) => machine.as_mut(),
            AnyMachine::Tls(machine) => machine.as_mut(),
            AnyMachine::Https(machine) => machine.as_mut(),
            #[cfg(test)]
            AnyMachine::Panicking(machine) => machine,
        }
    }

    /// Several small writes in a row must not wait for each other's acknowledgement.
    fn writes_more_than_once(&self) -> bool {
        matches!(self, AnyMachine::Tls(_) | AnyMachine::Https(_))
    }
}

/// Memory that all streams of a shard use in turn.
pub struct Buffers {
    read: Box<[u8]>,
    write: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers { read: vec![0; READ_BUFFER_BYTES].into(), write: Vec::with_capacity(4_096) }
    }
}

/// What a stream needs next.
#[derive(Debug)]
pub enum Progress {
    /// To be called again when the socket is ready.
    Wait(Interest),
    /// The exchange is over.
    Done(Outcome),
    /// We failed, the target did not.
    Failed(Fault, Errno),
}

/// One TCP connection that carries one machine.
pub struct Stream {
    socket: Socket,
    machine: AnyMachine,
    connected: bool,
    /// The target has closed its side: our close leaves nothing behind.
    closed_by_target: bool,
    /// A send found the connection reset. The kernel says so once: a read sees an end only.
    reset_by_target: bool,
    unsent: Vec<u8>,
}

impl Stream {
    /// Opens a socket and begins to connect.
    ///
    /// # Errors
    ///
    /// Our own fault, with its errno: no descriptor, no port, no route, no right.
    pub fn connect(
        to: SocketAddr,
        machine: AnyMachine,
        now: Nanos,
    ) -> Result<Stream, (Fault, Errno)> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::for_address(to), kind, None).map_err(our_fault)?;
        if machine.writes_more_than_once() {
            socket.set_tcp_nodelay(true).map_err(our_fault)?;
        }
        let mut stream = Stream {
            socket,
            machine,
            connected: false,
            closed_by_target: false,
            reset_by_target: false,
            unsent: Vec::new(),
        };
        match stream.socket.connect(&SockAddr::from(to)) {
            Ok(()) => Ok(stream),
            Err(error) => match errno_of(&error) {
                Errno::EINPROGRESS => Ok(stream),
                errno => match owner_of(errno, false) {
                    Owner::Target(end) => {
                        stream.machine.inner().handle_end(end, now);
                        Ok(stream)
                    }
                    Owner::Engine(fault) => Err((fault, errno)),
                },
            },
        }
    }

    /// True once the target has taken the connection.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// The descriptor to be polled.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Goes on as far as it can without waiting.
    pub fn advance(&mut self, buffers: &mut Buffers, clock: &Clock) -> Progress {
        if !self.connected {
            return self.finish_connect(buffers, clock);
        }
        if let Some(progress) = self.send_unsent(clock) {
            return progress;
        }
        for _ in 0..READS_PER_WAKE_MAX {
            let read = (&self.socket).read(&mut buffers.read);
            // The time of this answer, not of the turn: hundreds are handled in one.
            let now = clock.now();
            let length = match read {
                Ok(0) => {
                    self.closed_by_target = true;
                    let end = if self.reset_by_target { End::Reset } else { End::Eof };
                    return self.end(end, now);
                }
                Ok(length) => length,
                Err(error) => match errno_of(&error) {
                    Errno::EAGAIN | Errno::EINTR => break,
                    errno => return self.fail(errno, now),
                },
            };
            self.machine.inner().handle_input(&buffers.read[..length], now);
            if let Some(progress) = self.after_event(buffers, now) {
                return progress;
            }
            if length < buffers.read.len() {
                break;
            }
        }
        Progress::Wait(self.interest())
    }

    /// True where the connection can carry another exchange.
    pub fn is_kept(&mut self) -> bool {
        let is_open = self.connected && !self.closed_by_target && !self.reset_by_target;
        is_open && self.unsent.is_empty() && self.machine.inner().is_kept()
    }

    /// True where a kept connection may carry an exchange at `wall_unix_s`: it is open, nothing
    /// came that nobody asked for, and its certificate still counts.
    pub fn is_usable(&self, wall_unix_s: u64) -> bool {
        let holds = match &self.machine {
            AnyMachine::Https(tls) => tls.holds(wall_unix_s),
            _ => true,
        };
        let quiet = self.socket.peek(&mut [MaybeUninit::uninit()]);
        holds && quiet.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// True where a failure may come from what was kept of an earlier exchange.
    pub fn is_doubtful(&mut self) -> bool {
        self.machine.inner().is_doubtful()
    }

    /// The TLS session for the next connection, where one is to be kept.
    pub fn take_session(&mut self) -> Option<Box<Session>> {
        match &mut self.machine {
            AnyMachine::Https(tls) => tls.take_session(),
            _ => None,
        }
    }

    /// Begins a further exchange over a connection that was kept.
    pub fn again(
        &mut self,
        url: &HttpUrl,
        options: &Arc<HttpOptions>,
        buffers: &mut Buffers,
        clock: &Clock,
    ) -> Progress {
        let now = clock.now();
        let http = Http::again(url, options, now);
        match &mut self.machine {
            AnyMachine::Https(tls) => tls.again(http),
            machine => *machine = AnyMachine::Http(Box::new(http)),
        }
        self.after_event(buffers, now).unwrap_or_else(|| Progress::Wait(self.interest()))
    }

    /// The deadline of the check has passed.
    pub fn time_out(&mut self, now: Nanos) -> Progress {
        self.end(End::TimedOut, now)
    }

    fn finish_connect(&mut self, buffers: &mut Buffers, clock: &Clock) -> Progress {
        if let Some(outcome) = self.machine.inner().poll_outcome() {
            return Progress::Done(outcome);
        }
        let failed = match self.socket.peer_addr() {
            Ok(_) => None,
            Err(_) => match self.socket.take_error() {
                Ok(None) => return Progress::Wait(Interest::Write),
                Ok(Some(error)) | Err(error) => Some(errno_of(&error)),
            },
        };
        let now = clock.now();
        match failed {
            // A reset in answer to a SYN is a refusal: the target took this one and reset it
            // before we looked.
            None | Some(Errno::ECONNRESET | Errno::EPIPE) => {}
            Some(errno) => return self.fail(errno, now),
        }
        self.connected = true;
        self.machine.inner().handle_connected(now);
        if failed.is_some() {
            let outcome = self.machine.inner().poll_outcome();
            return outcome.map_or_else(|| self.end(End::Reset, now), Progress::Done);
        }
        self.after_event(buffers, now).unwrap_or_else(|| Progress::Wait(self.interest()))
    }

    /// Sends what the machine has to say and asks whether it is done.
    fn after_event(&mut self, buffers: &mut Buffers, now: Nanos) -> Option<Progress> {
        buffers.write.clear();
        self.machine.inner().poll_transmit(&mut buffers.write);
        if let Some(outcome) = self.machine.inner().poll_outcome() {
            return Some(Progress::Done(outcome));
        }
        if buffers.write.is_empty() {
            return None;
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(&buffers.write);
            return None;
        }
        match self.socket.send(&buffers.write) {
            Ok(sent) => self.unsent.extend_from_slice(&buffers.write[sent..]),
            Err(error) => match errno_of(&error) {
                Errno::EAGAIN | Errno::EINTR => self.unsent.extend_from_slice(&buffers.write),
                // What the target said before it reset may still be read, and says more.
                Errno::EPIPE | Errno::ECONNRESET => self.reset_by_target = true,
                errno => return Some(self.fail(errno, now)),
            },
        }
        None
    }

    fn send_unsent(&mut self, clock: &Clock) -> Option<Progress> {
        if self.unsent.is_empty() {
            return None;
        }
        match self.socket.send(&self.unsent) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) => match errno_of(&error) {
                Errno::EAGAIN | Errno::EINTR => {}
                Errno::EPIPE | Errno::ECONNRESET => {
                    self.reset_by_target = true;
                    self.unsent.clear();
                }
                errno => return Some(self.fail(errno, clock.now())),
            },
        }
        None
    }

    fn interest(&self) -> Interest {
        if self.unsent.is_empty() { Interest::Read } else { Interest::Both }
    }

    fn fail(&mut self, errno: Errno, now: Nanos) -> Progress {
        match owner_of(errno, true) {
            Owner::Target(end) => self.end(end, now),
            Owner::Engine(fault) => Progress::Failed(fault, errno),
        }
    }

    fn end(&mut self, end: End, now: Nanos) -> Progress {
        self.machine.inner().handle_end(end, now);
        match self.machine.inner().poll_outcome() {
            Some(outcome) => Progress::Done(outcome),
            None => unreachable!("every machine has an outcome after its end"),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Whoever closes first keeps the port for a minute (TIME_WAIT); a busy engine would run
        // out of ports. A reset keeps nothing. The exchange is over: nobody waits for our FIN.
        if !self.closed_by_target {
            let _ = self.socket.set_linger(Some(Duration::ZERO));
        }
    }
}

fn our_fault(error: io::Error) -> (Fault, Errno) {
    let errno = errno_of(&error);
    match owner_of(errno, false) {
        Owner::Engine(fault) => (fault, errno),
        Owner::Target(_) => (Fault::Other, errno),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

#[cfg(test)]
pub(super) mod panicking {
    use super::{End, Machine, Nanos, Outcome};

    /// A machine with a bug.
    pub struct Panicking;

    impl Machine for Panicking {
        fn handle_connected(&mut self, _now: Nanos) {
            panic!("a bug at the connect");
        }

        fn handle_input(&mut self, _bytes: &[u8], _now: Nanos) {}

        fn handle_end(&mut self, _end: End, _now: Nanos) {
            panic!("a bug at the end");
        }

        fn poll_transmit(&mut self, _out: &mut Vec<u8>) {}

        fn poll_outcome(&mut self) -> Option<Outcome> {
            None
        }
    }
}

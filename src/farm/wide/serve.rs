//! The loop of the wide farm.
//!
//! Owns: the connections. A call is tried before readiness is asked for, so that a client that has
//! spoken by the time it is accepted costs accept, recv, send and close and nothing else. A
//! connection ends with its answer or with its client.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use rustls::ServerConnection;
use socket2::Socket;

use super::{DELAY, Play, Stage, TARPIT_PAUSE};

/// Events taken at once.
const EVENTS_MAX: usize = 512;
/// Connections accepted of one port before the others have their turn.
const ACCEPTS_MAX: usize = 64;
/// Pause after a failed accept (no descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of one read: more than any request of a probe.
const READ_BYTES: usize = 16 * 1_024;
/// Tokens from here on are ports; below are descriptors of connections.
const PORTS_FROM: u64 = 1 << 32;
const ORDERS: u64 = u64::MAX;
const HEAD_END: u32 = u32::from_be_bytes(*b"\r\n\r\n");

struct Connection {
    socket: Socket,
    stage: usize,
    /// The last four bytes received, to see the empty line.
    tail: u32,
    /// Bytes of the answer that are sent.
    sent: usize,
    /// What it is watched for.
    armed: Option<EpollFlags>,
    /// Tells a connection from the one before with the same descriptor.
    serial: u32,
    tls: Option<Box<ServerConnection>>,
}

/// What a connection needs next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// To be readable, or writable.
    Ready,
    /// The request is there.
    Answer,
    /// Nothing: it is over.
    Close,
}

struct Farm {
    epoll: Epoll,
    stages: Vec<Stage>,
    connections: Vec<Option<Connection>>,
    serial: u32,
    outage: bool,
    delayed: VecDeque<(Instant, RawFd, u32)>,
    tarpit: VecDeque<(Instant, RawFd, u32)>,
    buffer: Box<[u8]>,
}

/// Serves until `orders` ends.
pub(super) fn run(stages: Vec<Stage>, mut orders: File) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, stage) in stages.iter().enumerate().filter(|(_, s)| s.play != Play::Refused) {
        epoll
            .add(&stage.socket, EpollEvent::new(EpollFlags::EPOLLIN, PORTS_FROM + index as u64))?;
    }
    epoll.add(&orders, EpollEvent::new(EpollFlags::EPOLLIN, ORDERS))?;
    let mut farm = Farm {
        epoll,
        stages,
        connections: Vec::new(),
        serial: 0,
        outage: false,
        delayed: VecDeque::new(),
        tarpit: VecDeque::new(),
        buffer: vec![0; READ_BYTES].into(),
    };
    let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
    loop {
        let timeout = farm.next_timer();
        let count = match farm.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for event in &events[..count] {
            match event.data() {
                ORDERS => {
                    if !farm.obey(&mut orders) {
                        return Ok(());
                    }
                }
                port @ PORTS_FROM.. => farm.accept((port - PORTS_FROM) as usize),
                fd => farm.go_on(fd as usize),
            }
        }
        farm.run_timers();
    }
}

impl Farm {
    /// Takes orders; false at their end.
    fn obey(&mut self, orders: &mut File) -> bool {
        let mut bytes = [0; 64];
        let Ok(count) = orders.read(&mut bytes) else { return false };
        for order in &bytes[..count] {
            self.outage = match order {
                b's' => true,
                b'r' => false,
                _ => self.outage,
            };
        }
        count > 0
    }

    fn accept(&mut self, stage: usize) {
        for _ in 0..ACCEPTS_MAX {
            // No fcntl: calls on the connection say themselves that they do not wait.
            let socket = match self.stages[stage].socket.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => return std::thread::sleep(ACCEPT_PAUSE),
            };
            let tls = match self.stages[stage].play {
                Play::Open => continue,
                Play::Reset => {
                    // A client that has gone already needs no reset.
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    continue;
                }
                _ => match self.stages[stage].tls.clone().map(ServerConnection::new) {
                    Some(Ok(tls)) => Some(Box::new(tls)),
                    Some(Err(_)) => continue,
                    None => None,
                },
            };
            let fd = socket.as_raw_fd() as usize;
            if self.connections.len() <= fd {
                self.connections.resize_with(fd + 1, || None);
            }
            self.serial = self.serial.wrapping_add(1);
            let serial = self.serial;
            let new = Connection { socket, stage, tail: 0, sent: 0, armed: None, serial, tls };
            self.connections[fd] = Some(new);
            self.go_on(fd);
        }
    }

    /// Goes on with a connection as far as it can.
    fn go_on(&mut self, fd: usize) {
        let Some(connection) = self.connections.get_mut(fd).and_then(Option::as_mut) else {
            return;
        };
        let stage = &self.stages[connection.stage];
        let mute = stage.play == Play::Silent || (stage.play == Play::Outage && self.outage);
        let mut next = if connection.tls.is_some() {
            connection.talk_tls(&mut self.buffer, &stage.answer)
        } else if connection.sent > 0 && stage.play != Play::Tarpit {
            connection.send(&stage.answer)
        } else {
            connection.listen(&mut self.buffer)
        };
        if next == Next::Answer {
            next = match stage.play {
                _ if mute => Next::Ready,
                Play::Delayed => {
                    let at = Instant::now() + DELAY;
                    self.delayed.push_back((at, fd as RawFd, connection.serial));
                    Next::Ready
                }
                Play::Tarpit => {
                    let at = Instant::now() + TARPIT_PAUSE;
                    self.tarpit.push_back((at, fd as RawFd, connection.serial));
                    Next::Ready
                }
                _ => connection.send(&stage.answer),
            };
        }
        if next == Next::Close && stage.play == Play::Kept && connection.sent > 0 {
            (connection.sent, connection.tail) = (0, 0);
            next = Next::Ready;
        }
        if next == Next::Close || connection.watch(&self.epoll, stage.play).is_err() {
            self.connections[fd] = None;
        }
    }

    fn next_timer(&self) -> EpollTimeout {
        let timers = [self.delayed.front(), self.tarpit.front()];
        let Some(next) = timers.into_iter().flatten().map(|timer| timer.0).min() else {
            return EpollTimeout::NONE;
        };
        let wait = next.saturating_duration_since(Instant::now()).as_millis() + 1;
        EpollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX))
    }

    fn run_timers(&mut self) {
        if self.delayed.is_empty() && self.tarpit.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((_, fd, serial)) = self.delayed.pop_front_if(|timer| timer.0 <= now) {
            self.timed_send(fd, serial, usize::MAX);
        }
        while let Some((at, fd, serial)) = self.tarpit.pop_front_if(|timer| timer.0 <= now) {
            if self.timed_send(fd, serial, 1) {
                self.tarpit.push_back((at + TARPIT_PAUSE, fd, serial));
            }
        }
    }

    /// Sends the next bytes of an answer that waited; true where more is to come.
    fn timed_send(&mut self, fd: RawFd, serial: u32, bytes: usize) -> bool {
        let place = self.connections.get_mut(fd as usize);
        let Some(slot) = place else { return false };
        let Some(connection) = slot.as_mut().filter(|open| open.serial == serial) else {
            return false;
        };
        let answer = &self.stages[connection.stage].answer;
        let until = connection.sent.saturating_add(bytes).min(answer.len());
        let next = connection.send(&answer[..until]);
        let over = next == Next::Close && (until == answer.len() || connection.sent < until);
        if over {
            *slot = None;
        }
        !over
    }
}

impl Connection {
    /// Asks to be told when there is something to read, or room for the rest of an answer.
    fn watch(&mut self, epoll: &Epoll, play: Play) -> nix::Result<()> {
        let stuck = self.sent > 0 && self.tls.is_none() && play != Play::Tarpit;
        let flags = if stuck { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        if self.armed == Some(flags) {
            return Ok(());
        }
        let edge = EpollFlags::EPOLLET | EpollFlags::EPOLLRDHUP;
        let mut event = EpollEvent::new(flags | edge, self.socket.as_raw_fd() as u64);
        match self.armed.replace(flags) {
            Some(_) => epoll.modify(&self.socket, &mut event),
            None => epoll.add(&self.socket, event),
        }
    }

    /// Reads what the client says.
    fn listen(&mut self, buffer: &mut [u8]) -> Next {
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Next::Close,
                Ok(count) => {
                    for byte in &buffer[..count] {
                        self.tail = self.tail << 8 | u32::from(*byte);
                        if self.tail == HEAD_END {
                            return Next::Answer;
                        }
                    }
                }
                Err(Errno::EAGAIN) => return Next::Ready,
                Err(Errno::EINTR) => {}
                Err(_) => return Next::Close,
            }
        }
    }

    /// Sends `answer` from where it stopped.
    fn send(&mut self, answer: &[u8]) -> Next {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while self.sent < answer.len() {
            match send(self.socket.as_raw_fd(), &answer[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::EAGAIN) => return Next::Ready,
                Err(Errno::EINTR) => {}
                Err(_) => return Next::Close,
            }
        }
        Next::Close
    }

    /// Shakes hands, reads a request and answers it.
    fn talk_tls(&mut self, buffer: &mut [u8], answer: &[u8]) -> Next {
        let Some(tls) = self.tls.as_mut() else { return Next::Close };
        let fd = self.socket.as_raw_fd();
        loop {
            let count = match recv(fd, buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Next::Close,
                Ok(count) => count,
                Err(Errno::EAGAIN) => return Next::Ready,
                Err(Errno::EINTR) => continue,
                Err(_) => return Next::Close,
            };
            let mut bytes = &buffer[..count];
            let mut plain = [0; 1_024];
            while !bytes.is_empty() {
                let taken = tls.read_tls(&mut bytes);
                let broken = taken.is_err() || tls.process_new_packets().is_err();
                while let Ok(count @ 1..) = tls.reader().read(&mut plain) {
                    for byte in &plain[..count] {
                        self.tail = self.tail << 8 | u32::from(*byte);
                        self.sent |= usize::from(self.tail == HEAD_END);
                    }
                }
                if broken {
                    flush(tls, fd);
                    return Next::Close;
                }
            }
            if self.sent > 0 {
                // The answer is shorter than the socket's buffer.
                let written = tls.writer().write_all(answer);
                tls.send_close_notify();
                flush(tls, fd);
                return if written.is_ok() { Next::Close } else { Next::Ready };
            }
            flush(tls, fd);
        }
    }
}

/// Sends what rustls has to send: a handshake and a page fit the socket's buffer.
fn flush(tls: &mut ServerConnection, fd: RawFd) {
    let mut out = Vec::with_capacity(4 * 1_024);
    while tls.wants_write() && tls.write_tls(&mut out).is_ok() {}
    let _ = send(fd, &out, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

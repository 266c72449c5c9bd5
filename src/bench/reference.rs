//! The yardstick for streams: the smallest epoll client that does the same exchanges.
//!
//! Owns: the client. No framework, no schedule, no store, nothing learned of what went wrong. Calls
//! are tried before readiness is asked for, and a connection whose exchange is over is closed by a
//! reset (SO_LINGER 0): the cheapest way that is known.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, NamedGroup};
use socket2::{Domain, SockAddr, Socket, Type};

/// Longest wait for an answer, in milliseconds: past it the farm or the server is gone.
const WAIT_MS_MAX: u16 = 10_000;
/// Bytes of one read, and of the longest answer.
const BUFFER_BYTES: usize = 128 * 1_024;
/// Events taken at once.
const EVENTS_MAX: usize = 1_024;

/// What is done on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Connect and close.
    Tcp,
    /// One request, one answer with a Content-Length.
    Http,
    /// The same over a connection that is kept for the next one with the same target.
    Kept,
    /// The same after a full TLS handshake.
    Https,
    /// The same after a handshake that resumes a session.
    Resumed,
}

/// Whom to ask and how.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// How.
    pub exchange: Exchange,
    /// Whom.
    pub address: SocketAddr,
}

struct Connection {
    goal: Goal,
    socket: Socket,
    /// False while it is kept and nothing is asked over it.
    busy: bool,
    armed: bool,
    sent: bool,
    /// Bytes of the answer that are there; at the start of the buffer only while it is read.
    received: usize,
    expected: usize,
    tls: Option<Box<ClientConnection>>,
}

/// The client and all its memory, made once.
pub struct Client {
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    in_flight: usize,
    parallel: usize,
    /// Places of kept connections.
    idle: HashMap<SocketAddr, Vec<usize>>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    events: Vec<EpollEvent>,
    started: usize,
    tls: Option<Arc<ClientConfig>>,
    resuming: Option<Arc<ClientConfig>>,
}

impl Client {
    /// A client for `parallel` exchanges at a time; `tls` for [`Exchange::Https`], `resuming` for
    /// [`Exchange::Resumed`].
    ///
    /// # Errors
    ///
    /// The errno of epoll_create(2).
    pub fn new(
        parallel: usize,
        tls: Option<Arc<ClientConfig>>,
        resuming: Option<Arc<ClientConfig>>,
    ) -> io::Result<Client> {
        Ok(Client {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: Vec::with_capacity(parallel),
            free: Vec::with_capacity(parallel),
            in_flight: 0,
            parallel,
            idle: HashMap::new(),
            buffer: vec![0; BUFFER_BYTES],
            request: Vec::new(),
            events: vec![EpollEvent::empty(); EVENTS_MAX],
            started: 0,
            tls,
            resuming,
        })
    }

    /// Does `checks` exchanges, with `goals` in turn. One that is refused or cut off is over, too.
    ///
    /// # Errors
    ///
    /// No socket could be had, or nobody answers any more.
    pub fn run(&mut self, goals: &[Goal], checks: usize) -> io::Result<()> {
        let (mut left_to_start, mut done) = (checks, 0);
        while done < checks {
            while left_to_start > 0 && self.in_flight < self.parallel {
                let goal = goals[self.started % goals.len()];
                self.started += 1;
                left_to_start -= 1;
                match self.start(goal)? {
                    Some(place) => done += self.step(place)?,
                    None => done += 1,
                }
            }
            if done == checks {
                return Ok(());
            }
            let count = self.epoll.wait(&mut self.events, EpollTimeout::from(WAIT_MS_MAX))?;
            if count == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
            for index in 0..count {
                done += self.step(self.events[index].data() as usize)?;
            }
        }
        Ok(())
    }

    /// Begins an exchange and gives its place; `None` where it is over at once.
    fn start(&mut self, goal: Goal) -> io::Result<Option<usize>> {
        let idle = self.idle.get_mut(&goal.address).and_then(Vec::pop);
        let place = match idle {
            Some(place) => place,
            None => {
                let Some(connection) = self.connect(goal)? else { return Ok(None) };
                let place = self.free.pop().unwrap_or_else(|| {
                    self.connections.push(None);
                    self.connections.len() - 1
                });
                self.connections[place] = Some(connection);
                place
            }
        };
        if let Some(open) = self.connections[place].as_mut() {
            open.busy = true;
        }
        self.in_flight += 1;
        Ok(Some(place))
    }

    /// Begins to connect; `None` where the exchange is over at once.
    fn connect(&mut self, goal: Goal) -> io::Result<Option<Connection>> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::IPV4, kind, None)?;
        let waits = match socket.connect(&SockAddr::from(goal.address)) {
            Ok(()) if goal.exchange == Exchange::Tcp => {
                let _ = socket.set_linger(Some(Duration::ZERO));
                false
            }
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(nix::libc::EINPROGRESS),
        };
        if !waits {
            return Ok(None);
        }
        let config = match goal.exchange {
            Exchange::Https => &self.tls,
            Exchange::Resumed => &self.resuming,
            Exchange::Tcp | Exchange::Http | Exchange::Kept => &None,
        };
        let tls = match config {
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let tls = ClientConnection::new(Arc::clone(config), name);
                Some(Box::new(tls.map_err(io::Error::other)?))
            }
            None => None,
        };
        let new = Connection {
            goal,
            socket,
            busy: true,
            armed: false,
            sent: false,
            received: 0,
            expected: 0,
            tls,
        };
        Ok(Some(new))
    }

    /// Goes on as far as it can; 1 when the exchange is over and the connection closed.
    fn step(&mut self, place: usize) -> io::Result<usize> {
        let open = self.connections[place].as_mut().filter(|open| open.busy);
        let Some(open) = open else { return Ok(0) };
        let went = match open.goal.exchange {
            Exchange::Tcp => connected(&open.socket),
            Exchange::Http | Exchange::Kept => http(open, &mut self.request, &mut self.buffer),
            Exchange::Https | Exchange::Resumed => https(open, &mut self.request, &mut self.buffer),
        };
        match went {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !open.armed {
                    open.armed = true;
                    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                    self.epoll.add(&open.socket, EpollEvent::new(flags, place as u64))?;
                }
                Ok(0)
            }
            Ok(()) if open.goal.exchange == Exchange::Kept => {
                (open.busy, open.sent, open.received, open.expected) = (false, false, 0, 0);
                self.idle.entry(open.goal.address).or_default().push(place);
                self.in_flight -= 1;
                Ok(1)
            }
            _ => {
                let _ = open.socket.set_linger(Some(Duration::ZERO));
                self.connections[place] = None;
                self.free.push(place);
                self.in_flight -= 1;
                Ok(1)
            }
        }
    }
}

fn connected(socket: &Socket) -> io::Result<()> {
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if socket.take_error()?.is_some() => Err(error),
        Err(_) => Err(ErrorKind::WouldBlock.into()),
    }
}

fn write_request(request: &mut Vec<u8>, goal: Goal) -> io::Result<()> {
    request.clear();
    write!(
        request,
        "GET /1k HTTP/1.1\r\nHost: {}\r\nUser-Agent: reference\r\nAccept: */*\r\n\
         Connection: {}\r\n\r\n",
        goal.address,
        if goal.exchange == Exchange::Kept { "keep-alive" } else { "close" }
    )
}

fn http(open: &mut Connection, request: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<()> {
    if !open.sent {
        write_request(request, open.goal)?;
        open.socket.send(request)?;
        open.sent = true;
    }
    loop {
        let room = buffer.get_mut(open.received..).ok_or(ErrorKind::InvalidData)?;
        let count = (&open.socket).read(room)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if open.expected == 0 {
            // A head that comes in two parts is not understood; no farm sends one.
            open.expected = expected(&buffer[..open.received + count])?;
        }
        open.received += count;
        if open.received >= open.expected {
            return Ok(());
        }
    }
}

fn https(open: &mut Connection, request: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<()> {
    let tls = open.tls.as_mut().ok_or(ErrorKind::InvalidInput)?;
    let mut out = [0; 4 * 1_024];
    loop {
        if !open.sent && !tls.is_handshaking() {
            write_request(request, open.goal)?;
            tls.writer().write_all(request)?;
            open.sent = true;
        }
        let mut rest = &mut out[..];
        while tls.wants_write() {
            tls.write_tls(&mut rest)?;
        }
        let unused = rest.len();
        let ready = out.len() - unused;
        if ready > 0 {
            open.socket.send(&out[..ready])?;
        }
        let count = (&open.socket).read(buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let (mut bytes, mut answer) = (&buffer[..count], [0; 4 * 1_024]);
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            while let Ok(count @ 1..) = tls.reader().read(&mut answer) {
                if open.expected == 0 {
                    open.expected = expected(&answer[..count])?;
                }
                open.received += count;
            }
        }
        if open.expected > 0 && open.received >= open.expected {
            return Ok(());
        }
    }
}

/// Tickets of the farm, which takes any of them at every address.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

/// Most tickets that are held: two come with each connection and one is used.
const TICKETS_MAX: usize = 4_096;

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS_MAX {
            tickets.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Length of the whole answer, by its head.
fn expected(bytes: &[u8]) -> io::Result<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = answer.parse(bytes) else {
        return Err(ErrorKind::InvalidData.into());
    };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    Ok(head + length.ok_or(ErrorKind::InvalidData)?)
}

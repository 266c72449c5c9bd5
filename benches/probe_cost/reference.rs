//! The yardstick: the smallest epoll client that does the same exchanges.
//!
//! No framework, no schedule, no store. Calls are tried before readiness is armed, and a
//! connection whose exchange is complete is closed by a reset (SO_LINGER 0).

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, SockAddr, Socket, Type};

/// What is done on each connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Connect and close.
    Tcp,
    /// One request, one answer with a Content-Length.
    Http,
}

struct Connection {
    target: SocketAddr,
    socket: Socket,
    armed: bool,
    sent: bool,
    received: usize,
    expected: usize,
}

/// The client and all its memory, made once.
pub struct Client {
    exchange: Exchange,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
    events: Vec<EpollEvent>,
    started: usize,
}

impl Client {
    /// A client for `parallel` exchanges at a time.
    pub fn new(exchange: Exchange, parallel: usize) -> Client {
        Client {
            exchange,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap(),
            connections: (0..parallel).map(|_| None).collect(),
            free: (0..parallel).collect(),
            buffer: vec![0; 65_536],
            events: vec![EpollEvent::empty(); 1_024],
            started: 0,
        }
    }

    /// Does `checks` exchanges with `targets` in turn.
    pub fn run(&mut self, targets: &[SocketAddr], checks: usize) {
        let (mut left_to_start, mut done) = (checks, 0);
        while done < checks {
            while left_to_start > 0 {
                let Some(place) = self.free.pop() else { break };
                let target = targets[self.started % targets.len()];
                self.connections[place] = Some(connect(target));
                self.started += 1;
                left_to_start -= 1;
                done += self.step(place);
            }
            if done == checks {
                return;
            }
            let wait = EpollTimeout::from(1_000u16);
            let count = self.epoll.wait(&mut self.events, wait).unwrap();
            for index in 0..count {
                done += self.step(self.events[index].data() as usize);
            }
        }
    }

    /// Goes on as far as it can; 1 when the exchange is complete and the connection closed.
    fn step(&mut self, place: usize) -> usize {
        let Some(open) = self.connections[place].as_mut() else { return 0 };
        let complete = match self.exchange {
            Exchange::Tcp => open.socket.peer_addr().is_ok(),
            Exchange::Http => http(open, &mut self.buffer),
        };
        if complete {
            open.socket.set_linger(Some(Duration::ZERO)).unwrap();
            self.connections[place] = None;
            self.free.push(place);
            return 1;
        }
        if !open.armed {
            open.armed = true;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            self.epoll.add(&open.socket, EpollEvent::new(flags, place as u64)).unwrap();
        }
        0
    }
}

fn connect(target: SocketAddr) -> Connection {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::IPV4, kind, None).unwrap();
    // EINPROGRESS: on loopback the connection is up when the call returns all the same.
    let _ = socket.connect(&SockAddr::from(target));
    Connection { target, socket, armed: false, sent: false, received: 0, expected: usize::MAX }
}

fn http(open: &mut Connection, buffer: &mut [u8]) -> bool {
    let target = open.target;
    if !open.sent {
        let request = format!(
            "GET /1k HTTP/1.1\r\nHost: {target}\r\nUser-Agent: reference\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
        match open.socket.send(request.as_bytes()) {
            Ok(_) => open.sent = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{target}: {error}"),
        }
    }
    loop {
        match (&open.socket).read(&mut buffer[open.received..]) {
            Ok(0) => panic!("{target}: closed early"),
            Ok(length) => open.received += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{target}: {error}"),
        }
        if open.expected == usize::MAX {
            open.expected = expected(&buffer[..open.received]);
        }
        if open.received >= open.expected {
            return true;
        }
    }
}

/// Length of the whole answer, once its head is there.
fn expected(bytes: &[u8]) -> usize {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = answer.parse(bytes) else { return usize::MAX };
    assert_eq!(answer.code, Some(200));
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    head + length.unwrap()
}

/// Sends `count` echo requests over one raw socket with sendmmsg(2) and recvmmsg(2), 32 at a time,
/// and returns how many replies came.
pub fn ping(count: usize) -> usize {
    const BATCH: usize = 32;
    let socket = Socket::new_raw(
        Domain::IPV4,
        Type::RAW.nonblocking().cloexec(),
        Some(socket2::Protocol::ICMPV4),
    )
    .expect("raw sockets need root or CAP_NET_RAW");
    socket.set_recv_buffer_size(4 << 20).unwrap();
    let id = std::process::id() as u16;
    let mut packets = [[0u8; 64]; BATCH];
    let mut replies = [[0u8; 128]; BATCH];
    let (mut sent, mut received) = (0usize, 0usize);
    while sent < count {
        let mut addresses = Vec::with_capacity(BATCH);
        for packet in &mut packets {
            let payload = [7u8; 56];
            let sequence = sent as u16;
            probes::icmp::wire::write_echo(
                probes::icmp::Version::V4,
                id,
                sequence,
                &payload,
                packet,
            );
            let to = std::net::SocketAddrV4::new([127, 1, (sent >> 8) as u8, sent as u8].into(), 0);
            addresses.push(Some(nix::sys::socket::SockaddrIn::from(to)));
            sent += 1;
        }
        let slices = packets.each_ref().map(|packet| [std::io::IoSlice::new(packet)]);
        let mut headers = nix::sys::socket::MultiHeaders::preallocate(BATCH, None);
        let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let taken =
            nix::sys::socket::sendmmsg(fd, &mut headers, slices.iter(), &addresses, [], flags);
        assert_eq!(taken.unwrap().count(), BATCH);
        // Without a filter the socket sees every request and every reply of this host.
        let mut left = 2 * BATCH;
        while left > 0 {
            let mut buffers = replies.each_mut().map(|buffer| [std::io::IoSliceMut::new(buffer)]);
            let mut headers =
                nix::sys::socket::MultiHeaders::<nix::sys::socket::SockaddrIn>::preallocate(
                    BATCH, None,
                );
            match nix::sys::socket::recvmmsg(fd, &mut headers, buffers.iter_mut(), flags, None) {
                Ok(messages) => {
                    let count = messages.count();
                    left = left.saturating_sub(count);
                    received += count;
                }
                Err(_) => break,
            }
        }
    }
    received / 2
}

//! One query to one server: a datagram first, a stream where the answer needs one.
//!
//! Owns: the socket and the bytes on it. Leaves to others: which server, how long, how often. Each
//! query has a connected socket of its own: the kernel picks an unguessable source port and drops
//! what comes from any other address. Costs three calls for a datagram query and its answer.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, connect, recv, send,
    shutdown, socket,
};

use super::message::{Answer, Question, Reply};
use crate::limits::RESOLVE_FOREIGN_MAX;

/// Largest datagram that is read, in bytes: without EDNS no server sends more than 512 (RFC 1035
/// section 4.2.1), and one that does is still understood.
const DATAGRAM_BYTES_MAX: usize = 4_096;
/// Reads from one socket before the others get their turn.
const READS_PER_WAKE_MAX: usize = 8;
/// Bytes of the length in front of a message on a stream (RFC 1035 section 4.2.2).
const LENGTH_BYTES: usize = 2;

/// A query on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: OwnedFd,
    server: SocketAddr,
    question: Question,
    id: u16,
    stream: Option<Stream>,
    foreign: u32,
}

/// How far a stream has come; the connect is over when the first byte can be sent.
#[derive(Debug)]
struct Stream {
    message: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

/// What the readiness of a socket led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet: poll again.
    Wait,
    /// The server answered.
    Answer(Answer),
    /// The server cannot or will not say.
    ServerError,
    /// Ask the same server over a stream.
    NeedsStream,
    /// The socket failed: the server's host refused, or this host has a problem.
    Failed(Errno),
}

impl Exchange {
    /// Sends the query to `server` in a datagram.
    ///
    /// # Errors
    ///
    /// The errno of socket(2), connect(2) or send(2); EINVAL where the name cannot be encoded.
    pub(super) fn datagram(
        server: SocketAddr,
        question: Question,
        id: u16,
    ) -> Result<Exchange, Errno> {
        let query = question.encode(id).ok_or(Errno::EINVAL)?;
        let socket = open(server, SockType::Datagram)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(server))?;
        send(socket.as_raw_fd(), &query, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
        Ok(Exchange { socket, server, question, id, stream: None, foreign: 0 })
    }

    /// Begins a stream to `server` for the query.
    ///
    /// # Errors
    ///
    /// The errno of socket(2) or connect(2); EINVAL where the name cannot be encoded.
    pub(super) fn stream(
        server: SocketAddr,
        question: Question,
        id: u16,
    ) -> Result<Exchange, Errno> {
        let query = question.encode(id).ok_or(Errno::EINVAL)?;
        let length = u16::try_from(query.len()).map_err(|_| Errno::EINVAL)?;
        let message = [&length.to_be_bytes()[..], &query].concat();
        let socket = open(server, SockType::Stream)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(server)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let stream = Some(Stream { message, sent: 0, received: Vec::new() });
        Ok(Exchange { socket, server, question, id, stream, foreign: 0 })
    }

    /// Whom it asks.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// The question, to ask it again.
    pub(super) fn question(&self) -> &Question {
        &self.question
    }

    /// Replies so far that were not for this query.
    pub(super) fn foreign(&self) -> u32 {
        self.foreign
    }

    /// True while the socket is to be polled for writing rather than reading.
    pub(super) fn wants_write(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.sent < stream.message.len())
    }

    /// Goes on as far as the socket allows.
    pub(super) fn on_ready(&mut self) -> Step {
        if self.stream.is_none() {
            return self.receive_datagrams();
        }
        while self.wants_write() {
            match self.send_some() {
                Ok(()) => {}
                Err(Errno::EAGAIN) => return Step::Wait,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Step::Failed(errno),
            }
        }
        self.receive_stream()
    }

    fn receive_datagrams(&mut self) -> Step {
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        for _ in 0..READS_PER_WAKE_MAX {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Step::Failed(errno),
            };
            let datagram = buffer.get(..length).unwrap_or(&buffer);
            match self.question.read_reply(self.id, datagram) {
                Reply::Foreign => self.foreign = self.foreign.saturating_add(1),
                Reply::Truncated => return Step::NeedsStream,
                Reply::ServerError => return Step::ServerError,
                Reply::Answer(answer) => return Step::Answer(answer),
            }
            if self.foreign >= RESOLVE_FOREIGN_MAX {
                return Step::NeedsStream;
            }
        }
        Step::Wait
    }

    fn send_some(&mut self) -> Result<(), Errno> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let rest = stream.message.get(stream.sent..).unwrap_or_default();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        stream.sent += send(self.socket.as_raw_fd(), rest, flags)?;
        Ok(())
    }

    /// Reads until the message is whole; it is at most 65,535 bytes long by its own length field.
    fn receive_stream(&mut self) -> Step {
        let Some(stream) = &mut self.stream else { return Step::ServerError };
        let mut buffer = [0u8; DATAGRAM_BYTES_MAX];
        for _ in 0..READS_PER_WAKE_MAX {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Step::ServerError,
                Ok(length) => {
                    stream.received.extend_from_slice(buffer.get(..length).unwrap_or(&buffer));
                }
                Err(Errno::EAGAIN) => return Step::Wait,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Step::Failed(errno),
            }
            if let Some(message) = whole_message(&stream.received) {
                return match self.question.read_reply(self.id, message) {
                    Reply::Answer(answer) => Step::Answer(answer),
                    Reply::Foreign | Reply::Truncated | Reply::ServerError => Step::ServerError,
                };
            }
        }
        Step::Wait
    }
}

/// The first message on a stream, when all of it is there.
fn whole_message(received: &[u8]) -> Option<&[u8]> {
    let (length, rest) = received.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

fn open(server: SocketAddr, kind: SockType) -> Result<OwnedFd, Errno> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

impl AsFd for Exchange {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Exchange {
    /// Ends a poll that is still armed on this socket: a ring keeps the file open until then.
    fn drop(&mut self) {
        // ENOTCONN: the stream is closed already, and such a socket is ready in any case.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::net::resolve::message::RecordKind;

    #[test]
    fn message_on_a_stream_is_whole_with_its_last_byte() {
        assert_eq!(whole_message(&[0, 3, 7, 8]), None);
        assert_eq!(whole_message(&[0]), None);
        assert_eq!(whole_message(&[0, 3, 7, 8, 9, 1]), Some(&[7, 8, 9][..]));
    }

    #[test]
    fn dropped_exchange_makes_a_poll_on_its_socket_end() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let question = Question::new("example.net", RecordKind::A).unwrap();
        let exchange = Exchange::datagram(server.local_addr().unwrap(), question, 1).unwrap();
        let held = exchange.as_fd().try_clone_to_owned().unwrap();
        let ready = || {
            let mut fds = [PollFd::new(held.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap()
        };
        assert_eq!(ready(), 0);
        drop(exchange);
        assert_eq!(ready(), 1);
    }
}

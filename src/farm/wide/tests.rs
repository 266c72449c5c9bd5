//! The wide farm seen by a plain blocking client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use super::*;

/// Only to end a broken test; no test waits for it.
const GUARD: Duration = Duration::from_secs(20);

/// A farm on a thread of its own; it ends when its orders do.
struct Running {
    places: Places,
    orders: Option<File>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start() -> Running {
        let farm = WideFarm::open().unwrap();
        let places = farm.places().clone();
        let (read, write) = nix::unistd::pipe().unwrap();
        let thread = std::thread::spawn(move || farm.serve(File::from(read)));
        Running { places, orders: Some(File::from(write)), thread: Some(thread) }
    }

    fn order(&mut self, order: &[u8]) {
        self.orders.as_mut().unwrap().write_all(order).unwrap();
    }

    fn connect(&self, play: Play, last: u8) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::new(127, 99, 0, last), self.places.port(play)));
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream
    }

    fn fetch(&self, play: Play) -> io::Result<String> {
        let mut stream = self.connect(play, 7);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n")?;
        let mut all = String::new();
        stream.read_to_string(&mut all)?;
        Ok(all)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

#[test]
fn every_answer_has_the_length_that_it_names_and_ends_with_a_close() {
    let farm = Running::start();
    let plays = [
        (Play::Small, SMALL_BYTES),
        (Play::Page, PAGE_BYTES),
        (Play::Large, LARGE_BYTES),
        (Play::Delayed, PAGE_BYTES),
    ];
    for (play, bytes) in plays {
        let all = farm.fetch(play).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {bytes}\r\n")), "{head}");
        assert_eq!(body.len(), bytes, "{play:?}");
    }
    assert!(farm.fetch(Play::Unavailable).unwrap().starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_request_in_two_pieces_is_answered_once_it_is_whole() {
    let farm = Running::start();
    let mut stream = farm.connect(Play::Page, 1);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: farm\r\n\r").unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(b"\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
}

#[test]
fn every_loopback_address_is_the_same_target() {
    let farm = Running::start();
    for last in [1, 2, 200] {
        let mut stream = farm.connect(Play::Open, last);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, farm.places.port(Play::Refused)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let reset = farm.fetch(Play::Reset).unwrap_err();
    assert!(matches!(reset.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{reset}");
}

#[test]
fn an_outage_silences_what_comes_while_it_lasts() {
    let mut farm = Running::start();
    assert!(farm.fetch(Play::Outage).unwrap().starts_with("HTTP/1.1 200"));
    farm.order(b"s");
    // The order is obeyed between two connections: ask until one is not answered.
    let mute = std::iter::repeat_with(|| {
        let mut stream = farm.connect(Play::Outage, 1);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        (stream.read(&mut [0; 8]), stream)
    });
    let (_, mut mute) = mute.take(100).find(|(read, _)| read.is_err()).unwrap();
    assert!(farm.fetch(Play::Page).unwrap().starts_with("HTTP/1.1 200"), "others go on");
    farm.order(b"r");
    mute.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(mute.read(&mut [0; 8]).is_err(), "what was silent stays so");
    let answered = || farm.fetch(Play::Outage).is_ok_and(|all| all.starts_with("HTTP/1.1 200"));
    assert!((0..100).any(|_| answered()));
}

#[test]
fn a_tarpit_begins_its_answer_and_a_silent_target_does_not() {
    let farm = Running::start();
    let mut slow = farm.connect(Play::Tarpit, 1);
    slow.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut first = [0; 2];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HT");
    let mut silent = farm.connect(Play::Silent, 1);
    silent.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

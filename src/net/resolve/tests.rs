//! The resolver against scripted name servers on loopback. Time is an argument: nothing sleeps.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// Long enough for any answer on loopback; only a bug waits for it.
const HANG_MS: u16 = 20_000;
const START: Nanos = Nanos(1_000_000_000_000);

/// What a script sees of one query, and sends back.
struct Asked<'a> {
    query: &'a Message,
    /// Who asks; `None` over TCP.
    peer: Option<SocketAddr>,
}

/// A name server whose threads end with the test's process.
struct NameServer {
    address: SocketAddr,
    datagrams: Arc<AtomicU64>,
}

fn name_server(script: impl Fn(Asked<'_>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> NameServer {
    let (udp, tcp) = sockets();
    let address = udp.local_addr().unwrap();
    let datagrams = Arc::new(AtomicU64::new(0));
    let (script, count) = (Arc::new(script), Arc::clone(&datagrams));
    let udp_script = Arc::clone(&script);
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            count.fetch_add(1, Ordering::SeqCst);
            let query = Message::from_vec(&buffer[..length]).unwrap();
            for reply in udp_script(Asked { query: &query, peer: Some(peer) }) {
                udp.send_to(&reply, peer).unwrap();
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let query = Message::from_vec(&query).unwrap();
            for reply in script(Asked { query: &query, peer: None }) {
                stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&reply).unwrap();
            }
        }
    });
    NameServer { address, datagrams }
}

/// A datagram socket and a listener on the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn silent_server() -> NameServer {
    name_server(|_| vec![])
}

fn reply_to(query: &Message, code: ResponseCode, answers: Vec<Record>) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.response_code = code;
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.iter().cloned());
    reply.add_answers(answers);
    reply
}

fn reply(asked: &Asked<'_>, code: ResponseCode, answers: Vec<Record>) -> Vec<Vec<u8>> {
    vec![reply_to(asked.query, code, answers).to_vec().unwrap()]
}

fn v4(asked: &Asked<'_>, last: u8, ttl: u32) -> Vec<Record> {
    let name = asked.query.queries[0].name.clone();
    vec![Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, last)))]
}

/// Answers every question for A with 192.0.2.`last`.
fn address_server(last: u8, ttl: u32) -> NameServer {
    name_server(move |asked| reply(&asked, ResponseCode::NoError, v4(&asked, last, ttl)))
}

fn code_server(code: ResponseCode) -> NameServer {
    name_server(move |asked| reply(&asked, code, vec![]))
}

/// A resolver with the one who polls for it.
struct Driver {
    resolver: Resolver,
    armed: Vec<(WatchKey, OwnedFd, bool)>,
    now: Nanos,
    out: Vec<Resolved>,
}

fn driver(servers: &[&NameServer]) -> Driver {
    let config = ResolverConfig {
        servers: servers.iter().map(|server| server.address).collect(),
        try_ms: 2_000,
        rounds: 1,
        rotate: false,
        hosts: Arc::new(Hosts::default()),
    };
    Driver { resolver: Resolver::new(config), armed: vec![], now: START, out: vec![] }
}

impl Driver {
    fn lookup(&mut self, name: &str, family: Family, token: u64) -> Lookup {
        let lookup = self.resolver.lookup(name, family, token, self.now);
        self.arm();
        lookup
    }

    fn arm(&mut self) {
        let armed = &mut self.armed;
        self.resolver.take_watches(|watch| {
            armed.push((watch.key, watch.fd.try_clone_to_owned().unwrap(), watch.write));
        });
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.resolver.on_time(self.now, &mut self.out);
        self.arm();
    }

    /// Polls once and goes on with one socket that is ready.
    fn poll_once(&mut self) {
        let polled = self.armed.iter().map(|(_, fd, write)| {
            PollFd::new(fd.as_fd(), if *write { PollFlags::POLLOUT } else { PollFlags::POLLIN })
        });
        let mut polled: Vec<PollFd<'_>> = polled.collect();
        assert!(poll(&mut polled, PollTimeout::from(HANG_MS)).unwrap() > 0, "nothing came");
        let ready = polled.iter().position(|fd| fd.any() == Some(true)).unwrap();
        let (key, _, _) = self.armed.swap_remove(ready);
        self.resolver.on_ready(key, self.now, &mut self.out);
        self.arm();
    }

    /// Polls until something is resolved.
    fn resolved(&mut self) -> Vec<Resolved> {
        while self.out.is_empty() {
            self.poll_once();
        }
        std::mem::take(&mut self.out)
    }

    /// The end of a lookup that must be pending.
    fn resolve(&mut self, name: &str, family: Family) -> Result<Addresses, ResolveError> {
        assert_eq!(self.lookup(name, family, 1), Lookup::Pending);
        let mut resolved = self.resolved();
        assert_eq!(resolved.len(), 1);
        resolved.remove(0).result
    }
}

fn fresh(last: u8) -> Addresses {
    Addresses { list: Arc::new([IpAddr::from([192, 0, 2, last])]), stale: false }
}

fn stale(last: u8) -> Addresses {
    Addresses { stale: true, ..fresh(last) }
}

#[test]
fn answer_comes_with_token_and_time_and_is_cached_for_its_ttl() {
    let server = address_server(1, 60);
    let mut driver = driver(&[&server]);
    assert_eq!(driver.lookup("example.net", Family::Any, 7), Lookup::Pending);
    driver.now = driver.now.plus_millis(3);
    let resolved = Resolved { token: 7, result: Ok(fresh(1)), took_us: 3_000 };
    assert_eq!(driver.resolved(), [resolved]);
    driver.pass(59_999);
    assert_eq!(driver.lookup("example.net", Family::V4, 8), Lookup::Ready(fresh(1)));
    driver.pass(1);
    assert_eq!(driver.lookup("example.net", Family::V4, 9), Lookup::Pending);
    assert_eq!(driver.resolved().len(), 1);
    assert_eq!(server.datagrams.load(Ordering::SeqCst), 2);
    let counters = driver.resolver.counters();
    assert_eq!((counters.lookups, counters.cache_hits, counters.answers), (3, 1, 2));
}

#[test]
fn hosts_table_answers_without_a_query() {
    let mut driver = driver(&[]);
    driver.resolver.config.hosts = Arc::new(Hosts::parse(b"192.0.2.9 example.net"));
    assert_eq!(driver.lookup("example.net", Family::Any, 1), Lookup::Ready(fresh(9)));
    assert_eq!(driver.resolver.counters().hosts_hits, 1);
}

#[test]
fn missing_name_fails_and_is_kept_for_a_second_where_no_soa_says_more() {
    let server = code_server(ResponseCode::NXDomain);
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::Any), Err(ResolveError::NameNotFound));
    driver.pass(999);
    let again = driver.lookup("example.net", Family::Any, 2);
    assert_eq!(again, Lookup::Failed(ResolveError::NameNotFound));
    driver.pass(1);
    assert_eq!(driver.lookup("example.net", Family::Any, 3), Lookup::Pending);
}

#[test]
fn any_family_takes_ipv6_where_there_is_no_ipv4_and_v4_does_not() {
    let server = name_server(|asked| {
        let question = &asked.query.queries[0];
        let record =
            Record::from_rdata(question.name.clone(), 60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)));
        let answers = match question.query_type {
            RecordType::AAAA => vec![record],
            _ => vec![],
        };
        reply(&asked, ResponseCode::NoError, answers)
    });
    let mut driver = driver(&[&server]);
    let v6 = Addresses { list: Arc::new([IpAddr::from(Ipv6Addr::LOCALHOST)]), stale: false };
    assert_eq!(driver.resolve("example.net", Family::Any), Ok(v6.clone()));
    let v4 = driver.lookup("example.net", Family::V4, 2);
    assert_eq!(v4, Lookup::Failed(ResolveError::NoAddress));
    assert_eq!(driver.lookup("example.net", Family::Any, 3), Lookup::Ready(v6));
    assert_eq!(server.datagrams.load(Ordering::SeqCst), 2);
}

#[test]
fn name_without_any_address_says_so() {
    let server = code_server(ResponseCode::NoError);
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::Any), Err(ResolveError::NoAddress));
    assert_eq!(server.datagrams.load(Ordering::SeqCst), 2);
}

#[test]
fn failing_server_is_followed_by_the_next_at_once() {
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let (bad, good) = (code_server(code), address_server(2, 60));
        let mut driver = driver(&[&bad, &good]);
        assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(2)));
        assert_eq!(driver.resolver.counters().server_errors, 1);
    }
}

#[test]
fn closed_port_is_followed_by_the_next_server_and_asked_last_from_then_on() {
    let closed = NameServer {
        address: UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
        datagrams: Arc::default(),
    };
    let good = address_server(2, 60);
    let mut driver = driver(&[&closed, &good]);
    assert_eq!(driver.resolve("one.example.net", Family::V4), Ok(fresh(2)));
    assert_eq!(driver.resolve("two.example.net", Family::V4), Ok(fresh(2)));
    let counters = driver.resolver.counters();
    assert_eq!((counters.socket_errors, counters.queries), (1, 3));
}

#[test]
fn silent_server_is_followed_by_the_next_and_asked_last_for_a_while() {
    let (silent, good) = (silent_server(), address_server(2, 60));
    let mut driver = driver(&[&silent, &good]);
    assert_eq!(driver.lookup("one.example.net", Family::V4, 1), Lookup::Pending);
    assert_eq!(driver.resolver.next_deadline(), Some(START.plus_millis(2_000)));
    driver.pass(1_999);
    assert_eq!(driver.resolver.counters().queries, 1);
    driver.pass(1);
    let first = driver.resolved().remove(0);
    assert_eq!((first.result, first.took_us), (Ok(fresh(2)), 2_000_000));
    assert_eq!(driver.resolve("two.example.net", Family::V4), Ok(fresh(2)));
    let counters = driver.resolver.counters();
    assert_eq!((counters.timeouts, counters.queries), (1, 3));
}

#[test]
fn silence_of_every_server_is_a_timeout_and_is_not_asked_again_at_once() {
    let (one, two) = (silent_server(), silent_server());
    let mut driver = driver(&[&one, &two]);
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    driver.pass(2_000);
    assert!(driver.out.is_empty());
    driver.pass(2_000);
    assert_eq!(driver.resolved().remove(0).result, Err(ResolveError::TimedOut));
    let again = driver.lookup("example.net", Family::V4, 2);
    assert_eq!(again, Lookup::Failed(ResolveError::TimedOut));
    driver.pass(5_000);
    assert_eq!(driver.lookup("example.net", Family::V4, 3), Lookup::Pending);
}

#[test]
fn failure_of_one_server_and_silence_of_the_other_is_a_failure_of_all() {
    let (silent, bad) = (silent_server(), code_server(ResponseCode::ServFail));
    let mut driver = driver(&[&silent, &bad]);
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    driver.pass(2_000);
    assert_eq!(driver.resolved().remove(0).result, Err(ResolveError::AllServersFailed));
}

#[test]
fn each_round_asks_every_server_again() {
    let (one, two) = (silent_server(), silent_server());
    let mut driver = driver(&[&one, &two]);
    driver.resolver.config.rounds = 2;
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    for _ in 0..3 {
        driver.pass(2_000);
        assert!(driver.out.is_empty());
    }
    driver.pass(2_000);
    assert_eq!(driver.resolved().len(), 1);
    assert_eq!(driver.resolver.counters().queries, 4);
}

#[test]
fn rotation_begins_each_query_at_the_next_server() {
    let (one, two) = (address_server(1, 60), address_server(2, 60));
    let mut driver = driver(&[&one, &two]);
    driver.resolver.config.rotate = true;
    for name in ["a.example.net", "b.example.net", "c.example.net", "d.example.net"] {
        driver.resolve(name, Family::V4).unwrap();
    }
    assert_eq!(one.datagrams.load(Ordering::SeqCst), 2);
    assert_eq!(two.datagrams.load(Ordering::SeqCst), 2);
}

#[test]
fn name_in_doubt_is_asked_of_the_other_server_first_and_a_fresh_answer_is_kept() {
    let (first, second) = (address_server(1, 60), address_server(2, 60));
    let mut driver = driver(&[&first, &second]);
    assert_eq!(driver.resolve("one.example.net", Family::V4), Ok(fresh(1)));
    driver.resolver.doubt("one.example.net", driver.now);
    assert_eq!(driver.lookup("one.example.net", Family::V4, 2), Lookup::Ready(fresh(1)));
    driver.pass(5_000);
    driver.resolver.doubt("one.example.net", driver.now);
    assert_eq!(driver.resolve("one.example.net", Family::V4), Ok(fresh(2)));
    assert_eq!(driver.resolver.counters().queries, 2);
}

#[test]
fn truncated_answer_is_asked_for_again_over_tcp() {
    let server = name_server(|asked| {
        let mut message = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 3, 60));
        if asked.peer.is_some() {
            message.metadata.truncation = true;
            message.answers.clear();
        }
        vec![message.to_vec().unwrap()]
    });
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(3)));
    let counters = driver.resolver.counters();
    assert_eq!((counters.queries, counters.stream_queries), (2, 1));
}

#[test]
fn large_answer_over_tcp_is_read_whole() {
    let server = name_server(|asked| {
        let name = asked.query.queries[0].name.clone();
        let ip = |n: u32| RData::A(A(Ipv4Addr::from_bits(0xc612_0000 + n)));
        let all = (0..2_000).map(|n| Record::from_rdata(name.clone(), 60, ip(n)));
        let mut message = reply_to(asked.query, ResponseCode::NoError, all.collect());
        if asked.peer.is_some() {
            message = message.truncate();
        }
        vec![message.to_vec().unwrap()]
    });
    let mut driver = driver(&[&server]);
    let addresses = driver.resolve("example.net", Family::V4).unwrap();
    assert_eq!(addresses.list.len(), crate::limits::RESOLVE_ADDRESSES_MAX);
    assert_eq!(addresses.list[31], IpAddr::from([198, 18, 0, 31]));
}

#[test]
fn stream_that_closes_without_an_answer_is_a_failure_of_the_server() {
    let server = name_server(|asked| match asked.peer {
        Some(_) => {
            vec![reply_to(asked.query, ResponseCode::NoError, vec![]).truncate().to_vec().unwrap()]
        }
        None => vec![],
    });
    let mut driver = driver(&[&server]);
    let result = driver.resolve("example.net", Family::V4);
    assert_eq!(result, Err(ResolveError::AllServersFailed));
}

#[test]
fn replies_with_a_wrong_id_question_or_shape_are_passed_over() {
    let server = name_server(|asked| {
        let good = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 4, 60));
        let mut wrong_id = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 66, 60));
        wrong_id.metadata.id = wrong_id.metadata.id.wrapping_add(1);
        let mut wrong_question = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 66, 60));
        wrong_question.queries[0].set_name(Name::from_ascii("evil.example.net.").unwrap());
        let messages = [wrong_id, wrong_question, good].map(|message| message.to_vec().unwrap());
        let mut replies = vec![vec![], vec![0xff; 40]];
        replies.extend(messages);
        replies
    });
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(4)));
    assert_eq!(driver.resolver.counters().foreign, 4);
}

#[test]
fn reply_from_another_source_never_arrives() {
    let server = name_server(|asked| {
        if let Some(peer) = asked.peer {
            let forged = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 66, 60));
            let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
            forger.send_to(&forged.to_vec().unwrap(), peer).unwrap();
        }
        reply(&asked, ResponseCode::NoError, v4(&asked, 5, 60))
    });
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(5)));
    assert_eq!(driver.resolver.counters().foreign, 0);
}

#[test]
fn flood_of_forged_replies_moves_the_query_to_tcp() {
    let server = name_server(|asked| {
        let mut forged = reply_to(asked.query, ResponseCode::NoError, v4(&asked, 66, 60));
        forged.metadata.id = forged.metadata.id.wrapping_add(1);
        match asked.peer {
            Some(_) => vec![forged.to_vec().unwrap(); 40],
            None => reply(&asked, ResponseCode::NoError, v4(&asked, 6, 60)),
        }
    });
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(6)));
    let counters = driver.resolver.counters();
    assert_eq!((counters.foreign, counters.stream_queries), (32, 1));
}

#[test]
fn chain_of_aliases_is_followed_and_a_loop_is_a_failure_of_the_server() {
    let server = name_server(|asked| {
        let asked_name = asked.query.queries[0].name.clone();
        let target = Name::from_ascii("target.example.org.").unwrap();
        let alias = |from: &Name, to: &Name| {
            Record::from_rdata(from.clone(), 60, RData::CNAME(CNAME(to.clone())))
        };
        let last = match asked_name.to_ascii().starts_with("loop") {
            true => alias(&target, &asked_name),
            false => Record::from_rdata(target.clone(), 60, RData::A(A::new(192, 0, 2, 7))),
        };
        reply(&asked, ResponseCode::NoError, vec![alias(&asked_name, &target), last])
    });
    let mut driver = driver(&[&server]);
    assert_eq!(driver.resolve("www.example.net", Family::V4), Ok(fresh(7)));
    let ring = driver.resolve("loop.example.net", Family::V4);
    assert_eq!(ring, Err(ResolveError::AllServersFailed));
}

#[test]
fn thousand_lookups_of_one_name_are_one_query() {
    let server = address_server(8, 60);
    let mut driver = driver(&[&server]);
    for token in 0..1_000 {
        assert_eq!(driver.lookup("example.net", Family::Any, token), Lookup::Pending);
    }
    assert_eq!(driver.resolver.waiting(), 1_000);
    let mut tokens: Vec<u64> = driver.resolved().iter().map(|resolved| resolved.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..1_000).collect::<Vec<u64>>());
    assert_eq!(server.datagrams.load(Ordering::SeqCst), 1);
    assert_eq!(driver.resolver.counters().joined, 999);
}

#[test]
fn cancelled_lookup_is_not_told_and_the_others_are() {
    let server = address_server(8, 60);
    let mut driver = driver(&[&server]);
    for token in 0..3 {
        driver.lookup("example.net", Family::Any, token);
    }
    driver.resolver.cancel(0);
    driver.resolver.cancel(77);
    let mut tokens: Vec<u64> = driver.resolved().iter().map(|resolved| resolved.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2]);
    assert_eq!(driver.resolver.waiting(), 0);
}

#[test]
fn expired_addresses_are_used_while_servers_are_dead_and_fresh_ones_after() {
    let good = address_server(1, 60);
    let (silent, back) = (silent_server(), address_server(2, 60));
    let mut driver = driver(&[&good]);
    driver.resolve("example.net", Family::V4).unwrap();
    driver.resolver.reconfigure(ResolverConfig {
        servers: vec![silent.address],
        ..driver.resolver.config.clone()
    });
    driver.pass(60_000);

    // The first lookup waits a little for a fresh answer, the next ones do not wait.
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    driver.pass(1_800);
    assert_eq!(driver.resolved().remove(0).result, Ok(stale(1)));
    assert_eq!(driver.lookup("example.net", Family::V4, 2), Lookup::Ready(stale(1)));
    driver.pass(200);
    assert_eq!(driver.resolver.counters().timeouts, 1);
    assert_eq!(driver.lookup("example.net", Family::V4, 3), Lookup::Ready(stale(1)));
    assert_eq!(driver.resolver.counters().queries, 2, "a failed query is held");

    // Past the hold the query is tried again without anybody waiting for it.
    driver.pass(5_000);
    assert_eq!(driver.lookup("example.net", Family::V4, 4), Lookup::Ready(stale(1)));
    assert_eq!(driver.resolver.counters().queries, 3);
    driver.pass(2_000);

    driver.resolver.reconfigure(ResolverConfig {
        servers: vec![back.address],
        ..driver.resolver.config.clone()
    });
    driver.pass(5_000);
    assert_eq!(driver.resolve("example.net", Family::V4), Ok(fresh(2)));
    assert_eq!(driver.resolver.counters().stale, 4);
}

#[test]
fn stale_addresses_are_not_used_past_a_day() {
    let good = address_server(1, 60);
    let silent = silent_server();
    let mut driver = driver(&[&good]);
    driver.resolve("example.net", Family::V4).unwrap();
    driver.resolver.reconfigure(ResolverConfig {
        servers: vec![silent.address],
        ..driver.resolver.config.clone()
    });
    driver.pass(60_000 + 24 * 3_600_000);
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    driver.pass(2_000);
    assert_eq!(driver.resolved().remove(0).result, Err(ResolveError::TimedOut));
}

#[test]
fn queries_in_flight_are_bounded_and_the_rest_follow() {
    let silent = silent_server();
    let mut driver = driver(&[&silent]);
    for token in 0..RESOLVE_INFLIGHT_MAX as u64 + 10 {
        let lookup =
            driver.resolver.lookup(&format!("n{token}.example.net"), Family::V4, token, START);
        assert_eq!(lookup, Lookup::Pending);
    }
    assert_eq!(driver.resolver.counters().queries, RESOLVE_INFLIGHT_MAX as u64);
    driver.resolver.cancel(RESOLVE_INFLIGHT_MAX as u64);
    driver.pass(2_000);
    assert_eq!(driver.out.len(), RESOLVE_INFLIGHT_MAX);
    assert_eq!(driver.resolver.counters().queries, RESOLVE_INFLIGHT_MAX as u64 + 9);
    assert_eq!(driver.resolver.waiting(), 9);
}

#[test]
fn socket_that_is_given_up_makes_its_poll_fire_with_a_stale_key() {
    let (silent, good) = (silent_server(), address_server(2, 60));
    let mut driver = driver(&[&silent, &good]);
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    driver.pass(2_000);
    assert_eq!(driver.armed.len(), 2);
    while !driver.armed.is_empty() {
        driver.poll_once();
    }
    assert_eq!(driver.resolved().remove(0).result, Ok(fresh(2)));
}

#[test]
fn resolver_without_servers_fails_and_says_so() {
    let mut driver = driver(&[]);
    assert_eq!(driver.lookup("example.net", Family::V4, 1), Lookup::Pending);
    assert_eq!(driver.resolver.next_deadline(), Some(Nanos(0)));
    driver.pass(0);
    assert_eq!(driver.resolved().remove(0).result, Err(ResolveError::AllServersFailed));
}

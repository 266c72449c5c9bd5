//! TLS sessions that are resumed and connections that are kept, in memory against rustls's server.

use std::io::{Read, Write};
use std::sync::Arc;

use probes::http::Http;
use probes::spec::{Host, HttpOptions, HttpUrl};
use probes::tls::{Alpn, Policy, Resume, SEEN_S_MAX, Session, Tls, TlsConfig};
use probes::{End, Failure, Machine, Nanos, Outcome, Phase};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// A day between the dates of the certificate, in seconds since the Unix epoch.
const WALL: u64 = 1_767_225_600;
const POLICY: Policy = Policy { verify: true, expire_days: None };
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Target {
    config: Arc<ServerConfig>,
    trusting: Arc<TlsConfig>,
}

fn target(version: &'static SupportedProtocolVersion) -> Target {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    let cert: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    Target { config: Arc::new(config), trusting: trusting(roots) }
}

fn trusting(roots: RootCertStore) -> Arc<TlsConfig> {
    Arc::new(TlsConfig::new(Arc::new(roots), Alpn::None).unwrap())
}

fn http(again: bool) -> Http {
    let host = Host::Name("a.example".into());
    let url = HttpUrl { tls: true, host, port: 443, path: "/".into() };
    let options = Arc::new(HttpOptions { keep_alive: true, ..HttpOptions::default() });
    if again { Http::again(&url, &options, Nanos(0)) } else { Http::new(&url, &options, Nanos(0)) }
}

fn probe(config: &Arc<TlsConfig>, policy: Policy, wall: u64, resume: Resume) -> Tls<Http> {
    let name = ServerName::try_from("a.example").unwrap();
    let mut probe = Tls::new(config, name, policy, http(false), Nanos(0), wall, resume).unwrap();
    probe.handle_connected(Nanos(1_000));
    probe
}

/// Carries bytes to and fro until the probe has an outcome.
fn talk(probe: &mut Tls<Http>, server: &mut ServerConnection) -> Outcome {
    let mut request = Vec::new();
    for _ in 0..20 {
        let mut out = Vec::new();
        probe.poll_transmit(&mut out);
        let mut bytes = &out[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().unwrap();
        }
        let _ = server.reader().read_to_end(&mut request);
        if request.ends_with(b"\r\n\r\n") {
            server.writer().write_all(ANSWER).unwrap();
            request.clear();
        }
        let mut back = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        probe.handle_input(&back, Nanos(2_000));
        if let Some(outcome) = probe.poll_outcome() {
            return outcome;
        }
    }
    panic!("no outcome");
}

fn exchange(target: &Target, wall: u64, resume: Resume) -> (Tls<Http>, Outcome, HandshakeKind) {
    let mut server = ServerConnection::new(Arc::clone(&target.config)).unwrap();
    let mut probe = probe(&target.trusting, POLICY, wall, resume);
    let outcome = talk(&mut probe, &mut server);
    (probe, outcome, server.handshake_kind().unwrap())
}

fn session(target: &Target) -> Box<Session> {
    let (mut probe, outcome, kind) = exchange(target, WALL, Resume::Next);
    assert!(outcome.is_good(), "{outcome:?}");
    assert_eq!(kind, HandshakeKind::Full);
    probe.take_session().unwrap()
}

#[test]
fn a_session_is_resumed_with_the_certificate_that_was_seen_and_can_be_again() {
    for version in VERSIONS {
        let target = target(version);
        let mut session = session(&target);
        for _ in 0..3 {
            let (mut probe, outcome, kind) = exchange(&target, WALL + 60, Resume::This(session));
            assert_eq!(kind, HandshakeKind::Resumed);
            assert!(outcome.is_good() && !probe.is_doubtful(), "{outcome:?}");
            assert!(outcome.timings.get(Phase::Tls).is_some());
            let facts = outcome.cert.unwrap();
            assert_eq!((facts.chain.len(), facts.problem), (1, None));
            session = probe.take_session().unwrap();
            assert!(session.holds(WALL + SEEN_S_MAX - 1));
            assert!(!session.holds(WALL + SEEN_S_MAX), "counted from the last full handshake");
        }
    }
}

#[test]
fn a_target_that_does_not_know_the_session_gets_a_full_handshake() {
    for version in VERSIONS {
        let (first, second) = (target(version), target(version));
        let mut server = ServerConnection::new(Arc::clone(&second.config)).unwrap();
        let resume = Resume::This(session(&first));
        let mut probe = probe(&first.trusting, POLICY, WALL, resume);
        let outcome = talk(&mut probe, &mut server);
        // The other target has another certificate, and that one counts.
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(outcome.failure, Some(Failure::CertUntrusted));
        assert!(!probe.is_doubtful() && probe.take_session().is_none());
    }
}

#[test]
fn a_session_is_of_no_use_where_other_roots_are_trusted() {
    for version in VERSIONS {
        let target = target(version);
        let other = Target {
            config: Arc::clone(&target.config),
            trusting: trusting(RootCertStore::empty()),
        };
        let (_, outcome, kind) = exchange(&other, WALL, Resume::This(session(&target)));
        assert_eq!(kind, HandshakeKind::Full);
        assert_eq!(outcome.failure, Some(Failure::CertUntrusted));
    }
}

#[test]
fn without_being_asked_no_session_is_kept() {
    let target = target(&TLS13);
    let (mut probe, outcome, _) = exchange(&target, WALL, Resume::Never);
    assert!(outcome.is_good() && probe.take_session().is_none());
}

#[test]
fn a_handshake_that_breaks_while_a_session_is_resumed_is_in_doubt() {
    let target = target(&TLS13);
    let mut fresh = probe(&target.trusting, POLICY, WALL, Resume::Next);
    let mut resuming = probe(&target.trusting, POLICY, WALL, Resume::This(session(&target)));
    for (probe, in_doubt) in [(&mut fresh, false), (&mut resuming, true)] {
        probe.handle_end(End::Reset, Nanos(2_000));
        let outcome = probe.poll_outcome().unwrap();
        assert_eq!((outcome.failure, outcome.phase), (Some(Failure::Reset), Some(Phase::Tls)));
        assert_eq!(probe.is_doubtful(), in_doubt);
    }
}

#[test]
fn a_kept_connection_carries_a_further_exchange_without_connect_and_handshake() {
    for version in VERSIONS {
        let target = target(version);
        let mut server = ServerConnection::new(Arc::clone(&target.config)).unwrap();
        let mut probe = probe(&target.trusting, POLICY, WALL, Resume::Never);
        let first = talk(&mut probe, &mut server);
        assert!(first.is_good() && probe.is_kept(), "{first:?}");
        for _ in 0..3 {
            assert!(probe.holds(WALL + 60) && !probe.holds(WALL + SEEN_S_MAX));
            probe.again(http(true));
            assert!(probe.is_doubtful(), "nothing has come yet");
            let outcome = talk(&mut probe, &mut server);
            assert!(outcome.is_good() && probe.is_kept(), "{outcome:?}");
            let phase = |phase| outcome.timings.get(phase).is_some();
            assert_eq!([Phase::Connect, Phase::Tls, Phase::Wait].map(phase), [false, false, true]);
            assert_eq!(outcome.cert, first.cert);
        }
        probe.again(http(true));
        probe.handle_end(End::Eof, Nanos(3_000));
        assert_eq!(probe.poll_outcome().unwrap().failure, Some(Failure::Closed));
        assert!(probe.is_doubtful() && !probe.is_kept());
    }
}

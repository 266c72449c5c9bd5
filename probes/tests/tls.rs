//! TLS in memory against rustls's own server: every sort of certificate, every cut, every split.

use std::sync::Arc;

use probes::outcome::CertFacts;
use probes::spec::{Host, TlsOptions};
use probes::tls::{Alpn, Policy, Resume, SetupError, Tls, TlsConfig, server_name};
use probes::{End, Failure, Machine, Nanos, Outcome, Phase, Timings};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

const DAY: u64 = 86_400;
/// 2024-01-01, 2030-01-01 and a day between them, in seconds since the Unix epoch.
const NOT_BEFORE: u64 = 1_704_067_200;
const NOT_AFTER: u64 = 1_893_456_000;
const WALL: u64 = 1_767_225_600;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const VERIFY: Policy = Policy { verify: true, expire_days: None };
const LENIENT: Policy = Policy { verify: false, expire_days: None };

/// Says `hello`, wants `world`.
struct Greeter {
    said: bool,
    heard: Vec<u8>,
    send: &'static [u8],
    timings: Timings,
    outcome: Option<Outcome>,
}

fn greeter() -> Greeter {
    Greeter { said: false, heard: vec![], send: b"", timings: Timings::NONE, outcome: None }
}

impl Machine for Greeter {
    fn handle_connected(&mut self, now: Nanos) {
        assert!(!std::mem::replace(&mut self.said, true), "connected twice");
        self.send = b"hello";
        self.timings.set(Phase::Connect, Nanos(0), now);
    }

    fn handle_input(&mut self, bytes: &[u8], now: Nanos) {
        assert!(self.said && self.outcome.is_none());
        self.heard.extend_from_slice(bytes);
        if self.heard.starts_with(b"world") {
            self.timings.set(Phase::Wait, Nanos(0), now);
            let (phase, timings) = (Some(Phase::Transfer), self.timings);
            self.outcome = Some(Outcome { phase, timings, ..Outcome::default() });
        }
    }

    fn handle_end(&mut self, end: End, _now: Nanos) {
        let (failure, timings) = (end.failure(), self.timings);
        self.outcome = Some(Outcome::failed(failure, Phase::Wait, timings, String::new()));
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(std::mem::take(&mut self.send));
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }
}

/// A certificate authority or a self-signed one, with its key.
struct Party {
    der: CertificateDer<'static>,
    key: KeyPair,
    params: CertificateParams,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = if params.subject_alt_names.is_empty() { "authority" } else { "leaf" };
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

fn self_signed(params: CertificateParams) -> Party {
    let key = key();
    Party { der: params.self_signed(&key).unwrap().der().clone(), key, params }
}

fn authority() -> Party {
    let mut params = params(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    self_signed(params)
}

fn signed(params: CertificateParams, by: &Party) -> Party {
    let key = key();
    let issuer = Issuer::from_params(&by.params, &by.key);
    Party { der: params.signed_by(&key, &issuer).unwrap().der().clone(), key, params }
}

fn roots(parties: &[&Party]) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    parties.iter().for_each(|party| store.add(party.der.clone()).unwrap());
    Arc::new(store)
}

/// Presents the chain as it is, also one that rustls would not take from its user.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<Presents> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    Arc::new(Presents(Arc::new(CertifiedKey::new(chain, key))))
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(certified(chain, key));
    Arc::new(config)
}

fn probe(roots: &Arc<RootCertStore>, host: &str, policy: Policy, wall: u64) -> Tls<Greeter> {
    let config = Arc::new(TlsConfig::new(Arc::clone(roots), Alpn::Http11).unwrap());
    let host = match host.parse() {
        Ok(ip) => Host::Addr { ip, scope: 0 },
        Err(_) => Host::Name(host.into()),
    };
    let name = server_name(&host, &TlsOptions::default()).unwrap();
    Tls::new(&config, name, policy, greeter(), Nanos(0), wall, Resume::Never).unwrap()
}

/// How the bytes of the target travel to the probe.
#[derive(Clone, Copy)]
struct Wire {
    /// Bytes per delivery.
    step: usize,
    /// Bytes delivered at the most.
    limit: usize,
    /// How the stream ends when nothing more comes.
    end: End,
}

const WHOLE: Wire = Wire { step: usize::MAX, limit: usize::MAX, end: End::Eof };

struct Exchange {
    outcome: Outcome,
    /// Bytes delivered when the target first heard the inner machine.
    handshake_bytes: Option<usize>,
    /// What the target heard from the inner machine.
    heard: Vec<u8>,
}

fn exchange(mut probe: Tls<Greeter>, config: &Arc<ServerConfig>, wire: Wire) -> Exchange {
    let mut target = ServerConnection::new(Arc::clone(config)).unwrap();
    let (mut delivered, mut handshake_bytes, mut heard) = (0, None, Vec::new());
    probe.handle_connected(Nanos(5_000_000));
    loop {
        let mut out = Vec::new();
        probe.poll_transmit(&mut out);
        talk(&mut target, &out, &mut heard);
        if !heard.is_empty() && handshake_bytes.is_none() {
            handshake_bytes = Some(delivered);
        }
        if let Some(outcome) = probe.poll_outcome() {
            return Exchange { outcome, handshake_bytes, heard };
        }
        let mut bytes = Vec::new();
        while target.wants_write() {
            target.write_tls(&mut bytes).unwrap();
        }
        bytes.truncate(wire.limit - delivered);
        let mut replies = Vec::new();
        let mut over = bytes.is_empty();
        for chunk in bytes.chunks(wire.step) {
            probe.handle_input(chunk, Nanos(12_000_000));
            delivered += chunk.len();
            probe.poll_transmit(&mut replies);
            if let Some(outcome) = probe.poll_outcome() {
                talk(&mut target, &replies, &mut heard);
                return Exchange { outcome, handshake_bytes, heard };
            }
        }
        talk(&mut target, &replies, &mut heard);
        over &= replies.is_empty();
        if over {
            probe.handle_end(wire.end, Nanos(12_000_000));
        }
    }
}

/// The target's side: hears everything, answers `world` to the first thing it hears.
fn talk(target: &mut ServerConnection, mut bytes: &[u8], heard: &mut Vec<u8>) {
    use std::io::{Read, Write};
    while !bytes.is_empty() {
        if target.read_tls(&mut bytes).unwrap() == 0 || target.process_new_packets().is_err() {
            return;
        }
        let before = heard.len();
        let _ = target.reader().read_to_end(heard);
        if before == 0 && !heard.is_empty() {
            target.writer().write_all(b"world").unwrap();
        }
    }
}

/// The outcome and facts for one chain, the same for both versions and for whole and single bytes.
fn judge(
    chain: &[&Party],
    trusted: &Arc<RootCertStore>,
    host: &str,
    policy: Policy,
    wall: u64,
) -> (Option<Failure>, Arc<CertFacts>) {
    let ders: Vec<_> = chain.iter().map(|party| party.der.clone()).collect();
    let mut found = Vec::new();
    for version in VERSIONS {
        let config = server(ders.clone(), &chain[0].key, version);
        let whole = exchange(probe(trusted, host, policy, wall), &config, WHOLE);
        let single = Wire { step: 1, ..WHOLE };
        let single = exchange(probe(trusted, host, policy, wall), &config, single);
        assert_eq!(whole.outcome, single.outcome);
        let failure = whole.outcome.failure;
        if failure.is_some() {
            assert_eq!(whole.heard, b"", "nothing is said over a connection that is refused");
            assert_eq!(whole.outcome.phase, Some(Phase::Tls));
        } else {
            assert_eq!(whole.heard, b"hello");
            assert_eq!(whole.outcome.phase, Some(Phase::Transfer));
        }
        assert_eq!(whole.outcome.timings.get(Phase::Connect), Some(5_000));
        assert_eq!(whole.outcome.timings.get(Phase::Tls), Some(7_000));
        let facts = whole.outcome.cert.unwrap();
        let named = if version.version == TLS12.version { "TLSv1.2" } else { "TLSv1.3" };
        assert_eq!(facts.tls_version, named);
        assert_eq!(facts.chain.len(), chain.len());
        assert_eq!(facts.problem.is_none(), facts.problem_text.is_empty());
        found.push((failure, facts));
    }
    let (failure, facts) = found.remove(0);
    assert_eq!((failure, facts.problem), (found[0].0, found[0].1.problem));
    (failure, facts)
}

#[test]
fn a_good_chain_lets_the_inner_machine_talk() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let (failure, facts) = judge(&[&leaf], &roots(&[&root]), "a.example", VERIFY, WALL);
    assert_eq!((failure, facts.problem), (None, None));
    assert_eq!(facts.chain[0].names, ["a.example"]);
    assert_eq!(facts.chain[0].not_after, NOT_AFTER as i64);
    assert_eq!(facts.earliest_not_after(), Some(NOT_AFTER as i64));
    assert!(facts.cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"), "{}", facts.cipher);
}

#[test]
fn a_chain_over_an_intermediate_is_trusted_and_without_it_is_not() {
    let root = authority();
    let mut middle = params(&[]);
    middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    middle.distinguished_name.push(DnType::OrganizationName, "middle");
    let middle = signed(middle, &root);
    let leaf = signed(params(&["a.example"]), &middle);
    let trusted = roots(&[&root]);
    assert_eq!(judge(&[&leaf, &middle], &trusted, "a.example", VERIFY, WALL).0, None);
    let (failure, facts) = judge(&[&leaf], &trusted, "a.example", VERIFY, WALL);
    assert_eq!(failure, Some(Failure::CertUntrusted));
    assert_eq!(facts.problem_text, "issuer not trusted: authority");
}

#[test]
fn a_certificate_is_good_from_its_first_to_its_last_second() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let trusted = roots(&[&root]);
    let at = |wall| judge(&[&leaf], &trusted, "a.example", VERIFY, wall);
    assert_eq!(at(NOT_BEFORE).0, None);
    assert_eq!(at(NOT_AFTER).0, None);
    let (failure, facts) = at(NOT_BEFORE - 1);
    assert_eq!(failure, Some(Failure::CertNotYetValid));
    assert_eq!(facts.problem_text, "the certificate begins in 0 days");
    let (failure, facts) = at(NOT_AFTER + 2 * DAY);
    assert_eq!(failure, Some(Failure::CertExpired));
    assert_eq!(facts.problem_text, "the certificate ended 1 day ago");
}

#[test]
fn an_expired_intermediate_is_named() {
    let root = authority();
    let mut middle = params(&[]);
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    middle.not_after = date_time_ymd(2025, 1, 1);
    middle.distinguished_name = rcgen::DistinguishedName::new();
    middle.distinguished_name.push(DnType::CommonName, "middle");
    let middle = signed(middle, &root);
    let leaf = signed(params(&["a.example"]), &middle);
    let (failure, facts) = judge(&[&leaf, &middle], &roots(&[&root]), "a.example", VERIFY, WALL);
    assert_eq!(failure, Some(Failure::CertExpired));
    assert_eq!(facts.problem_text, "the chain's certificate middle ended 364 days ago");
}

#[test]
fn a_self_signed_certificate_is_untrusted_unless_it_is_a_root_itself() {
    let mut ca_true = params(&["a.example"]);
    ca_true.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for params in [params(&["a.example"]), ca_true] {
        let own = self_signed(params);
        let (failure, facts) = judge(&[&own], &roots(&[]), "a.example", VERIFY, WALL);
        assert_eq!(failure, Some(Failure::CertUntrusted));
        assert_eq!(facts.problem_text, "self-signed certificate");
        let trusted = roots(&[&own]);
        assert_eq!(judge(&[&own], &trusted, "a.example", VERIFY, WALL).0, None);
        let (failure, facts) = judge(&[&own], &trusted, "b.example", VERIFY, WALL);
        assert_eq!(failure, Some(Failure::CertName));
        assert_eq!(facts.problem_text, "the certificate is for a.example, not for b.example");
        let late = judge(&[&own], &trusted, "a.example", VERIFY, NOT_AFTER + 1).0;
        assert_eq!(late, Some(Failure::CertExpired));
    }
}

#[test]
fn a_self_signed_authority_with_the_name_but_not_the_key_of_a_root_is_untrusted() {
    let root = authority();
    let mut forged = params(&["a.example"]);
    forged.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    forged.distinguished_name = root.params.distinguished_name.clone();
    let forged = self_signed(forged);
    let (failure, _) = judge(&[&forged], &roots(&[&root]), "a.example", VERIFY, WALL);
    assert_eq!(failure, Some(Failure::CertUntrusted));
}

#[test]
fn a_self_signed_certificate_with_the_name_of_a_root_is_untrusted_and_called_self_signed() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let root = authority();
        let mut forged = params(&["a.example"]);
        forged.distinguished_name = root.params.distinguished_name.clone();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = forged.self_signed(&key).unwrap().der().clone();
        let forged = Party { der, key, params: forged };
        let (failure, facts) = judge(&[&forged], &roots(&[&root]), "a.example", VERIFY, WALL);
        assert_eq!(failure, Some(Failure::CertUntrusted));
        assert_eq!(facts.problem_text, "self-signed certificate");
    }
}

#[test]
fn names_match_as_rfc_6125_says() {
    let root = authority();
    let trusted = roots(&[&root]);
    let mut leaf = params(&["*.w.example", "b.example"]);
    leaf.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
    leaf.subject_alt_names.push(SanType::IpAddress("2001:db8::7".parse().unwrap()));
    let leaf = signed(leaf, &root);
    for good in ["x.w.example", "b.example", "192.0.2.7", "2001:db8::7"] {
        assert_eq!(judge(&[&leaf], &trusted, good, VERIFY, WALL).0, None, "{good}");
    }
    for bad in ["w.example", "y.x.w.example", "c.example", "192.0.2.8"] {
        let (failure, facts) = judge(&[&leaf], &trusted, bad, VERIFY, WALL);
        assert_eq!(failure, Some(Failure::CertName), "{bad}");
        assert_eq!(facts.chain[0].names.len(), 4);
    }
}

#[test]
fn a_certificate_for_clients_only_is_invalid() {
    let root = authority();
    let mut leaf = params(&["a.example"]);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = signed(leaf, &root);
    let (failure, _) = judge(&[&leaf], &roots(&[&root]), "a.example", VERIFY, WALL);
    assert_eq!(failure, Some(Failure::CertInvalid));
}

#[test]
fn without_verification_the_problem_is_a_fact_and_no_failure() {
    let own = self_signed(params(&["a.example"]));
    let cases = [(WALL, Failure::CertUntrusted), (NOT_AFTER + 1, Failure::CertExpired)];
    for (wall, problem) in cases {
        let (failure, facts) = judge(&[&own], &roots(&[]), "b.example", LENIENT, wall);
        assert_eq!((failure, facts.problem), (None, Some(problem)));
    }
}

#[test]
fn days_left_decide_at_their_boundary() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let trusted = roots(&[&root]);
    let ten = |verify| Policy { verify, expire_days: Some(10) };
    let at = |policy, wall| judge(&[&leaf], &trusted, "a.example", policy, wall).0;
    let soon = Some(Failure::CertExpiresSoon);
    // Twelve days less a minute are eleven whole days, eleven less a minute are ten.
    assert_eq!(at(ten(true), NOT_AFTER - 12 * DAY + 60), None);
    assert_eq!(at(ten(true), NOT_AFTER - 11 * DAY), None);
    assert_eq!(at(ten(true), NOT_AFTER - 11 * DAY + 1), soon);
    assert_eq!(at(ten(true), NOT_AFTER - 11 * DAY + 60), soon);
    assert_eq!(at(ten(true), NOT_AFTER + 60), Some(Failure::CertExpired));
    assert_eq!(at(ten(false), NOT_AFTER + 60), soon);
    let zero = Policy { verify: true, expire_days: Some(0) };
    assert_eq!(at(zero, NOT_AFTER - DAY), None);
    assert_eq!(at(zero, NOT_AFTER - DAY + 1), soon);
}

#[test]
fn a_handshake_cut_after_any_byte_names_the_end_and_the_phase() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let trusted = roots(&[&root]);
    for version in VERSIONS {
        let config = server(vec![leaf.der.clone()], &leaf.key, version);
        let run = |wire| exchange(probe(&trusted, "a.example", VERIFY, WALL), &config, wire);
        let length = run(Wire { step: 1, ..WHOLE }).handshake_bytes.unwrap();
        assert!((400..4_000).contains(&length), "{length}");
        let mut seen = 0;
        for limit in 0..length {
            for end in [End::Eof, End::TimedOut, End::Reset] {
                let outcome = run(Wire { limit, end, ..WHOLE }).outcome;
                assert_eq!(outcome.failure, Some(end.failure()), "after {limit} bytes");
                assert_eq!(outcome.phase, Some(Phase::Tls));
                assert_eq!(outcome.timings.get(Phase::Tls), Some(7_000));
                seen += usize::from(outcome.cert.is_some());
            }
        }
        // rustls's server puts its flight of TLS 1.3 into one record: the chain is seen at its end.
        assert_eq!(seen > 0, version.version == TLS12.version);
        let outcome = run(Wire { limit: length, ..WHOLE }).outcome;
        assert_eq!((outcome.failure, outcome.phase), (Some(Failure::Closed), Some(Phase::Wait)));
        assert_eq!(outcome.cert.unwrap().problem, None);
    }
}

#[test]
fn ends_before_the_connection_are_of_the_phase_connect() {
    for end in [End::Refused, End::Unreachable, End::TimedOut, End::Reset] {
        let mut probe = probe(&roots(&[]), "a.example", VERIFY, WALL);
        let mut out = Vec::new();
        probe.poll_transmit(&mut out);
        assert_eq!(out, b"", "nothing is sent before the connection is there");
        probe.handle_end(end, Nanos(3_000_000));
        probe.poll_transmit(&mut out);
        assert_eq!(out, b"", "nor when it will never be");
        let outcome = probe.poll_outcome().unwrap();
        assert_eq!(outcome.failure, Some(end.failure()));
        assert_eq!(outcome.phase, Some(Phase::Connect));
        assert_eq!(outcome.timings.get(Phase::Connect), Some(3_000));
        assert_eq!(outcome.timings.get(Phase::Tls), None);
        assert_eq!(outcome.cert, None);
    }
}

/// The outcome of a target that says `bytes` whatever it hears, and then closes.
fn answer(bytes: &[u8], step: usize) -> Outcome {
    let mut probe = probe(&roots(&[]), "a.example", VERIFY, WALL);
    probe.handle_connected(Nanos(0));
    for chunk in bytes.chunks(step) {
        probe.handle_input(chunk, Nanos(1_000));
        probe.poll_transmit(&mut Vec::new());
        if let Some(outcome) = probe.poll_outcome() {
            return outcome;
        }
    }
    probe.handle_end(End::Eof, Nanos(1_000));
    probe.poll_outcome().unwrap()
}

fn same_answer(bytes: &[u8]) -> Outcome {
    let whole = answer(bytes, usize::MAX);
    assert_eq!(whole, answer(bytes, 1));
    whole
}

#[test]
fn another_protocol_on_the_port_shows_its_first_bytes() {
    let cases: [(&[u8], &str); 4] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_"),
        (b"220 mx\r\n", "220 mx\\r\\n"),
        (b"\xff\xfd\x18\xff\xfd\x20", "\\xff\\xfd\\x18\\xff\\xfd "),
    ];
    for (bytes, excerpt) in cases {
        let outcome = same_answer(bytes);
        assert_eq!(outcome.failure, Some(Failure::TlsProtocol));
        assert_eq!(outcome.phase, Some(Phase::Tls));
        let detail = outcome.detail.unwrap();
        assert_eq!(detail.excerpt, excerpt);
        assert!(!detail.text.is_empty());
    }
}

#[test]
fn an_alert_is_told_from_a_version_that_is_too_old() {
    let alert = same_answer(&[21, 3, 3, 0, 2, 2, 40]);
    assert_eq!(alert.failure, Some(Failure::TlsAlert));
    assert_eq!(alert.detail.unwrap().text, "alert 40 (HandshakeFailure)");
    assert_eq!(same_answer(&[21, 3, 1, 0, 2, 2, 70]).failure, Some(Failure::TlsVersion));
    // ServerHello of TLS 1.0 with TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    assert_eq!(same_answer(&hello).failure, Some(Failure::TlsVersion));
}

#[test]
fn a_target_that_wants_a_client_certificate_refuses_with_an_alert() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let trusted = roots(&[&root]);
    for version in VERSIONS {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&trusted), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(certified(vec![leaf.der.clone()], &leaf.key));
        let config = Arc::new(config);
        for step in [1, usize::MAX] {
            let probe = probe(&trusted, "a.example", VERIFY, WALL);
            let outcome = exchange(probe, &config, Wire { step, ..WHOLE }).outcome;
            assert_eq!(outcome.failure, Some(Failure::TlsAlert), "{:?}", version.version);
            assert_eq!(outcome.phase, Some(Phase::Tls));
            assert_eq!(outcome.cert.unwrap().problem, None);
        }
    }
}

#[test]
fn a_leaf_that_cannot_be_read_is_a_failure_only_where_it_is_verified() {
    let leaf = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x00]);
    let key = key();
    for version in VERSIONS {
        let config = server(vec![leaf.clone()], &key, version);
        for (policy, failure) in [(VERIFY, Some(Failure::CertInvalid)), (LENIENT, None)] {
            let probe = probe(&roots(&[]), "a.example", policy, WALL);
            let outcome = exchange(probe, &config, WHOLE).outcome;
            assert_eq!(outcome.failure, failure);
            let facts = outcome.cert.unwrap();
            assert_eq!(facts.problem, Some(Failure::CertInvalid));
            assert_eq!(facts.chain[0].sha256.len(), 64);
            assert_eq!(facts.earliest_not_after(), None);
        }
        let policy = Policy { verify: false, expire_days: Some(10) };
        let probe = probe(&roots(&[]), "a.example", policy, WALL);
        let failure = exchange(probe, &config, WHOLE).outcome.failure;
        assert_eq!(failure, Some(Failure::CertInvalid), "its end is not known");
    }
}

#[test]
fn a_target_without_the_key_of_its_certificate_fails_even_unverified() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    for version in VERSIONS {
        let config = server(vec![leaf.der.clone()], &key(), version);
        let probe = probe(&roots(&[&root]), "a.example", LENIENT, WALL);
        let exchange = exchange(probe, &config, WHOLE);
        assert_eq!(exchange.outcome.failure, Some(Failure::CertInvalid));
        assert_eq!(exchange.heard, b"");
        assert_eq!(exchange.outcome.cert.unwrap().chain[0].names, ["a.example"]);
    }
}

#[test]
fn a_long_chain_is_described_in_part_and_a_huge_one_is_refused() {
    let root = authority();
    let mut stuffed = params(&[]);
    let filling = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999], vec![4; 1_000]);
    stuffed.custom_extensions.push(filling);
    let stuffed = self_signed(stuffed);
    let leaf = signed(params(&["a.example"]), &root);
    let cases = [(40, None, 16), (1_000, Some(Failure::TlsProtocol), 0)];
    for version in VERSIONS {
        for (count, failure, described) in cases {
            let mut chain = vec![leaf.der.clone()];
            chain.extend(std::iter::repeat_n(stuffed.der.clone(), count));
            let config = server(chain, &leaf.key, version);
            let probe = probe(&roots(&[&root]), "a.example", VERIFY, WALL);
            let outcome = exchange(probe, &config, WHOLE).outcome;
            assert_eq!(outcome.failure, failure);
            assert_eq!(outcome.cert.map_or(0, |facts| facts.chain.len()), described);
        }
    }
}

#[test]
fn a_close_notify_ends_the_stream_inside_while_the_connection_stays() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    for version in VERSIONS {
        let config = server(vec![leaf.der.clone()], &leaf.key, version);
        let mut target = ServerConnection::new(config).unwrap();
        let mut probe = probe(&roots(&[&root]), "a.example", VERIFY, WALL);
        probe.handle_connected(Nanos(0));
        let mut outcome = None;
        while outcome.is_none() {
            let mut out = Vec::new();
            probe.poll_transmit(&mut out);
            let mut slice = &out[..];
            while !slice.is_empty() {
                target.read_tls(&mut slice).unwrap();
                target.process_new_packets().unwrap();
            }
            if !target.is_handshaking() {
                target.send_close_notify();
            }
            let mut bytes = Vec::new();
            while target.wants_write() {
                target.write_tls(&mut bytes).unwrap();
            }
            assert!(!bytes.is_empty(), "the probe waits although the stream is over");
            probe.handle_input(&bytes, Nanos(1));
            outcome = probe.poll_outcome();
        }
        assert_eq!(outcome.unwrap().failure, Some(Failure::Closed));
    }
}

#[test]
fn a_name_is_sent_and_an_address_is_not() {
    let says = |host: &str| {
        let mut probe = probe(&roots(&[]), host, VERIFY, WALL);
        probe.handle_connected(Nanos(0));
        let mut out = Vec::new();
        probe.poll_transmit(&mut out);
        out
    };
    let shows = |hello: &[u8], text: &[u8]| hello.windows(text.len()).any(|w| w == text);
    let named = says("a.example");
    assert!(shows(&named, b"a.example") && shows(&named, b"\x08http/1.1"));
    assert!(!shows(&says("192.0.2.7"), b"192.0.2.7"));
}

#[test]
fn the_options_name_replaces_the_host_and_a_bad_one_is_refused() {
    let named = |name: &str| {
        let options = TlsOptions { server_name: Some(name.into()), ..TlsOptions::default() };
        server_name(&Host::ip([192, 0, 2, 7]), &options)
    };
    assert_eq!(named("b.example").unwrap().to_str(), "b.example");
    for bad in ["", "a b", "-", "a..b"] {
        assert!(matches!(named(bad), Err(SetupError::Name(_))), "{bad}");
    }
}

/// The target's first flight for a fresh handshake of `probe`.
fn first_flight(probe: &mut Tls<Greeter>, config: &Arc<ServerConfig>) -> Vec<u8> {
    let mut target = ServerConnection::new(Arc::clone(config)).unwrap();
    probe.handle_connected(Nanos(0));
    let mut hello = Vec::new();
    probe.poll_transmit(&mut hello);
    target.read_tls(&mut &hello[..]).unwrap();
    target.process_new_packets().unwrap();
    let mut bytes = Vec::new();
    while target.wants_write() {
        target.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// True at type and version in a record's header: of an encrypted record they are fixed
/// (RFC 8446 §5.2), and rustls takes them as such whatever stands there.
fn is_fixed(bytes: &[u8], at: usize) -> bool {
    let mut start = 0;
    while start + 5 <= at {
        let length = 5 + usize::from(u16::from_be_bytes([bytes[start + 3], bytes[start + 4]]));
        if at < start + length {
            return false;
        }
        start += length;
    }
    at - start < 3
}

#[test]
fn a_handshake_damaged_in_any_byte_never_lets_the_inner_machine_begin() {
    let root = authority();
    let leaf = signed(params(&["a.example"]), &root);
    let trusted = roots(&[&root]);
    for version in VERSIONS {
        let config = server(vec![leaf.der.clone()], &leaf.key, version);
        let fresh = || probe(&trusted, "a.example", VERIFY, WALL);
        let length = first_flight(&mut fresh(), &config).len();
        for (at, flip) in (0..length).flat_map(|at| [(at, 0x01), (at, 0x80)]) {
            let mut probe = fresh();
            let mut bytes = first_flight(&mut probe, &config);
            if is_fixed(&bytes, at) {
                continue;
            }
            bytes[at] ^= flip;
            probe.handle_input(&bytes, Nanos(1));
            probe.handle_end(End::Eof, Nanos(2));
            let outcome = probe.poll_outcome().unwrap();
            assert!(outcome.failure.is_some());
            assert_eq!(outcome.phase, Some(Phase::Tls), "{:?} byte {at}", version.version);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answer_ends_the_same_whole_and_byte_by_byte(
        head in prop::sample::select(vec![&b""[..], b"\x16\x03\x03", b"\x15\x03\x03\0\x02"]),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let outcome = same_answer(&[head, &noise].concat());
        prop_assert!(outcome.failure.is_some());
    }
}

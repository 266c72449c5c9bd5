//! The farm seen by a plain blocking client, and its certificates by a rustls client.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probes::ProbeSpec;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::behaviour::{BODY_BYTES, NEEDLE, REDIRECT_HOPS};
use super::*;
use crate::config::Loaded;
use crate::monitor::Kind;
use crate::monitor::row::Interner;
use crate::sample::Verdict;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Only to end a broken test; no test waits for it.
const GUARD: Duration = Duration::from_secs(20);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream
}

/// What one behaviour answers to `GET path`, up to the end of the stream.
fn answer(behaviour: Behaviour, path: &str) -> std::io::Result<Vec<u8>> {
    let farm = Farm::start(HERE, &[behaviour]).unwrap();
    fetch(farm.address(behaviour).unwrap(), path)
}

fn fetch(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(address);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: farm\r\n\r\n").as_bytes())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Head and body of an answer.
fn parts(answer: &[u8]) -> (String, &[u8]) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (text(&answer[..end]), &answer[end + 4..])
}

#[test]
fn a_good_answer_is_200_with_a_body_of_the_length_it_names() {
    let all = answer(Behaviour::Good, "/").unwrap();
    let (head, body) = parts(&all);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Length: 1024"), "{head}");
    assert_eq!(body.len(), BODY_BYTES);
    assert!(text(body).contains(NEEDLE));
}

#[test]
fn a_slow_answer_is_a_good_one_that_comes_no_sooner_than_asked() {
    let begin = std::time::Instant::now();
    let all = answer(Behaviour::Slow { delay_ms: 50 }, "/").unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(text(&all).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_wrong_status_is_given_as_asked() {
    let all = answer(Behaviour::Status(503), "/").unwrap();
    assert!(text(&all).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

#[test]
fn a_redirect_chain_ends_in_a_good_answer_and_a_loop_does_not() {
    let both = [Behaviour::RedirectChain, Behaviour::RedirectLoop];
    let farm = Farm::start(HERE, &both).unwrap();
    let hops = both.map(|behaviour| {
        let mut path = "/".to_owned();
        for hop in 0..REDIRECT_HOPS + 5 {
            let all = text(&fetch(farm.address(behaviour).unwrap(), &path).unwrap());
            let Some((_, rest)) = all.split_once("Location: ") else { return Some(hop) };
            path = rest.split("\r\n").next().unwrap().to_owned();
        }
        None
    });
    assert_eq!(hops, [Some(REDIRECT_HOPS), None]);
}

#[test]
fn the_needle_is_split_by_a_chunk_boundary() {
    let all = text(&answer(Behaviour::SplitNeedle, "/").unwrap());
    assert!(!all.contains(NEEDLE), "{all}");
    let (_, chunked) = all.split_once("\r\n\r\n").unwrap();
    let chunks: String = chunked.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(chunks, format!("<p>{NEEDLE}</p>\n"));
    assert!(chunked.ends_with("\r\n0\r\n\r\n"));
}

#[test]
fn a_compressed_answer_holds_the_needle_after_decompression() {
    let all = answer(Behaviour::Gzip, "/").unwrap();
    let (head, body) = parts(&all);
    assert!(head.contains("Content-Encoding: gzip"), "{head}");
    assert!(body.len() < BODY_BYTES, "{}", body.len());
    let mut plain = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut plain).unwrap();
    assert!(plain.contains(NEEDLE));
}

#[test]
fn an_endless_body_goes_on_past_any_cap() {
    let farm = Farm::start(HERE, &[Behaviour::Endless]).unwrap();
    let mut stream = connect(farm.address(Behaviour::Endless).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..4 {
        stream.read_exact(&mut block).unwrap();
    }
}

#[test]
fn a_tarpit_gives_its_first_byte_and_not_the_whole_answer() {
    let farm = Farm::start(HERE, &[Behaviour::Tarpit]).unwrap();
    let mut stream = connect(farm.address(Behaviour::Tarpit).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut bytes = [0; 64];
    let count = stream.read(&mut bytes).unwrap();
    assert!((1..8).contains(&count), "{count} bytes at once");
}

#[test]
fn half_an_answer_ends_in_order_and_a_reset_one_does_not() {
    let half = answer(Behaviour::Half, "/").unwrap();
    assert!(text(&half).starts_with("HTTP/1.1 200") && parts(&half).1.len() < BODY_BYTES);

    let reset = answer(Behaviour::ResetMidBody, "/").unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_at_accept_gives_no_byte() {
    let farm = Farm::start(HERE, &[Behaviour::ResetAtAccept]).unwrap();
    let mut stream = connect(farm.address(Behaviour::ResetAtAccept).unwrap());
    let error = stream.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_closed_port_refuses_and_stays_refused() {
    let farm = Farm::start(HERE, &[Behaviour::Closed]).unwrap();
    for _ in 0..3 {
        let error = TcpStream::connect(farm.address(Behaviour::Closed).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_black_hole_never_answers_a_syn() {
    let farm = Farm::start(HERE, &[Behaviour::BlackHole]).unwrap();
    let address = farm.address(Behaviour::BlackHole).unwrap();
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_silent_target_says_nothing_even_when_asked() {
    let farm = Farm::start(HERE, &[Behaviour::Silent]).unwrap();
    let mut stream = connect(farm.address(Behaviour::Silent).unwrap());
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn an_ssh_server_greets_and_a_plain_port_answers_a_handshake_in_http() {
    let banner = answer(Behaviour::SshBanner, "/").unwrap();
    assert!(text(&banner).starts_with("SSH-2.0-"));
    let plain = answer(Behaviour::PlainOnTls, "/").unwrap();
    assert!(text(&plain).starts_with("HTTP/1.1 400"));
}

/// What a client that trusts the farm's authority finds at each certificate.
fn handshake(farm: &Farm, certificate: Certificate) -> Result<String, CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(farm.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(HERE);
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = connect(farm.address(Behaviour::Tls(certificate)).unwrap());
    let mut all = String::new();
    let mut exchange = || {
        let mut both = rustls::Stream::new(&mut tls, &mut stream);
        both.write_all(b"GET / HTTP/1.1\r\nHost: farm\r\n\r\n")?;
        both.read_to_string(&mut all)
    };
    match exchange() {
        Ok(_) => Ok(all),
        Err(error) => match error.downcast::<rustls::Error>().unwrap() {
            rustls::Error::InvalidCertificate(reason) => Err(reason),
            other => panic!("{certificate:?}: {other}"),
        },
    }
}

#[test]
fn each_bad_certificate_is_bad_for_its_own_reason_only() {
    let all = Certificate::ALL.map(Behaviour::Tls);
    let farm = Farm::start(HERE, &all).unwrap();
    for certificate in Certificate::ALL {
        let found = handshake(&farm, certificate);
        let as_meant = match certificate {
            Certificate::Good | Certificate::ExpiresSoon => {
                found.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            }
            Certificate::Expired => {
                matches!(found, Err(CertificateError::ExpiredContext { .. }))
            }
            Certificate::NotYetValid => {
                matches!(found, Err(CertificateError::NotValidYetContext { .. }))
            }
            Certificate::WrongName => {
                matches!(found, Err(CertificateError::NotValidForNameContext { .. }))
            }
            Certificate::SelfSigned => matches!(found, Err(CertificateError::UnknownIssuer)),
        };
        assert!(as_meant, "{certificate:?}: {found:?}");
    }
}

#[test]
fn a_dropped_farm_refuses_on_every_port_and_closes_what_was_open() {
    let behaviours = [Behaviour::Good, Behaviour::Silent];
    let farm = Farm::start(HERE, &behaviours).unwrap();
    let addresses = farm.addresses().to_vec();
    let mut open = connect(addresses[1].1);
    drop(farm);
    for (behaviour, address) in addresses {
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{behaviour:?}");
    }
    let end = open.read(&mut [0; 16]);
    let reset = |error: std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(end.map_or_else(reset, |count| count == 0));
}

#[test]
fn the_demo_is_a_good_configuration_of_every_kind_and_behaviour() {
    let farm = Farm::start(HERE, DEMO_BEHAVIOURS).unwrap();
    let ca_file = "/var/lib/a \"strange\" folder/ca.pem";
    let yaml = demo_monitors(&farm, Path::new(ca_file));
    let loaded = Loaded::parse("demo".into(), &yaml, &mut Interner::default()).unwrap();
    assert_eq!(loaded.problems(), Vec::<&crate::config::Problem>::new(), "{yaml}");

    let mut kinds = HashSet::new();
    let mut ports = HashSet::new();
    for entry in &loaded.monitors {
        let checked = entry.checked.as_ref().unwrap();
        kinds.insert(checked.kind);
        ports.insert(checked.spec.port());
        if let ProbeSpec::Tls(spec) = &checked.spec {
            let on_farm = spec.port != farm.port(Behaviour::PlainOnTls).unwrap();
            assert_eq!(spec.tls.ca_file.as_deref(), on_farm.then_some(ca_file));
        }
    }
    assert_eq!(kinds.len(), Kind::ALL.len());
    for (behaviour, address) in farm.addresses() {
        assert!(ports.contains(&address.port()), "{behaviour:?} is not used");
    }
}

#[test]
fn the_demo_expects_a_verdict_of_each_monitor_and_says_so_in_a_tag() {
    let farm = Farm::start(HERE, DEMO_BEHAVIOURS).unwrap();
    let yaml = demo_monitors(&farm, Path::new("/ca.pem"));
    let loaded = Loaded::parse("demo".into(), &yaml, &mut Interner::default()).unwrap();
    let written = loaded
        .monitors
        .iter()
        .map(|entry| (entry.name().unwrap().into_owned(), entry.tags()[1].clone()));
    let expected = demo_expectations().into_iter();
    let expected = expected.map(|(name, verdict)| {
        assert!(matches!(verdict, Verdict::Up | Verdict::Down), "{name}");
        (name.to_owned(), format!("expect-{}", verdict.name()))
    });
    assert_eq!(written.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

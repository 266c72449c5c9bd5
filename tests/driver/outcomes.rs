//! Every behaviour of a target against every sort of probe: result, phase, and which phases have a
//! time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::farm::behaviour::NEEDLE;
use engine::farm::{Behaviour as B, Certificate as C, Farm};
use engine::fault::Fault;
use engine::net::trust::Trust;
use engine::sample::CheckResult::{self, Down, Unknown, Up};
use probes::outcome::Failure as F;
use probes::spec::{HttpOptions, TlsOptions};
use probes::{Phase, ProbeSpec};

use crate::bench::{Bench, echo, handshake, tcp, web};
use crate::name_server::name_server;

/// Long enough for any answer on this host; only a bug waits for it.
const LONG_MS: u32 = 20_000;
/// For targets that never answer.
const SHORT_MS: u32 = 300;

const BEHAVIOURS: &[B] = &[
    B::Good,
    B::Slow { delay_ms: 30 },
    B::Status(503),
    B::RedirectChain,
    B::RedirectLoop,
    B::SplitNeedle,
    B::Gzip,
    B::Endless,
    B::Tarpit,
    B::Half,
    B::ResetAtAccept,
    B::ResetMidBody,
    B::Silent,
    B::TcpOpen,
    B::Closed,
    B::BlackHole,
    B::SshBanner,
    B::PlainOnTls,
    B::Tls(C::Good),
    B::Tls(C::ExpiresSoon),
    B::Tls(C::Expired),
    B::Tls(C::NotYetValid),
    B::Tls(C::WrongName),
    B::Tls(C::SelfSigned),
];

struct Row {
    name: String,
    spec: ProbeSpec,
    timeout_ms: u32,
    result: CheckResult,
    phase: Option<Phase>,
    /// First letters of the phases that have a time: resolve, connect, (l for) tls, wait, transfer.
    timed: &'static str,
}

/// A farm and what is needed to trust it.
struct Scene {
    farm: Farm,
    folder: tempfile::TempDir,
    rows: Vec<Row>,
}

impl Scene {
    fn new(bind: IpAddr) -> Scene {
        let farm = Farm::start(bind, BEHAVIOURS).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), farm.ca_pem()).unwrap();
        Scene { farm, folder, rows: Vec::new() }
    }

    fn tls(&self) -> TlsOptions {
        let path = self.folder.path().join("ca.pem");
        let ca_file = Some(path.to_str().unwrap().into());
        TlsOptions { ca_file, ..TlsOptions::default() }
    }

    fn options(&self) -> HttpOptions {
        let tls = self.tls();
        HttpOptions { tls, redirects_max: 5, body_bytes_max: 100_000, ..HttpOptions::default() }
    }

    fn row(
        &mut self,
        name: String,
        spec: ProbeSpec,
        result: CheckResult,
        phase: Option<Phase>,
        timed: &'static str,
    ) {
        let waits = matches!(result, Down(F::TimedOut)) || name.contains("filtered");
        let timeout_ms = if waits { SHORT_MS } else { LONG_MS };
        self.rows.push(Row { name, spec, timeout_ms, result, phase, timed });
    }

    fn web(&mut self, scheme: &str, behaviour: B, result: CheckResult, timed: &'static str) {
        self.web_with(scheme, behaviour, self.options(), result, timed);
    }

    fn web_with(
        &mut self,
        scheme: &str,
        behaviour: B,
        options: HttpOptions,
        result: CheckResult,
        timed: &'static str,
    ) {
        let url = format!("{scheme}://{}/", self.farm.address(behaviour).unwrap());
        let phase = last(timed);
        let name = format!("{scheme} {behaviour:?}");
        self.row(name, web(&url, options), result, phase, timed);
    }

    fn port(&mut self, behaviour: B, expect_closed: bool, result: CheckResult) {
        let to = self.farm.address(behaviour).unwrap().to_string();
        let filtered = if behaviour == B::BlackHole { " filtered" } else { "" };
        let name = format!("tcp {behaviour:?} closed: {expect_closed}{filtered}");
        self.row(name, tcp(&to, expect_closed), result, Some(Phase::Connect), "c");
    }

    fn handshake(&mut self, behaviour: B, result: CheckResult, timed: &'static str) {
        let spec = handshake(self.farm.address(behaviour).unwrap(), self.tls());
        self.row(format!("handshake {behaviour:?}"), spec, result, last(timed), timed);
    }

    /// Runs all rows at once and compares.
    fn play(self) {
        let trust = Trust::default();
        trust.load(&self.tls()).unwrap();
        let mut bench = Bench::new(vec![], trust);
        let probes: Vec<_> =
            self.rows.iter().map(|row| (row.spec.clone(), row.timeout_ms)).collect();
        let mut wrong = Vec::new();
        for (row, attempt) in self.rows.iter().zip(bench.check_all(&probes)) {
            let found = (attempt.result, attempt.outcome.phase, timed(&attempt.outcome.timings));
            let wanted = (row.result, row.phase, row.timed.to_owned());
            if found != wanted {
                wrong.push(format!("{}: {found:?}, not {wanted:?}", row.name));
            }
            let total = attempt.total_us;
            assert!(attempt.outcome.timings.sum() <= total.saturating_add(5), "{}", row.name);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const LETTERS: [char; 5] = ['r', 'c', 'l', 'w', 't'];

fn timed(timings: &probes::Timings) -> String {
    let phases = Phase::ALL.into_iter().zip(LETTERS);
    phases.filter(|(phase, _)| timings.get(*phase).is_some()).map(|(_, letter)| letter).collect()
}

fn last(timed: &str) -> Option<Phase> {
    let phases = Phase::ALL.into_iter().zip(LETTERS);
    let mut reached = phases.filter(|(_, letter)| timed.ends_with(*letter));
    reached.next().map(|(phase, _)| phase)
}

fn text(needle: &str, forbidden: &str, options: HttpOptions) -> HttpOptions {
    let list = |text: &str| (!text.is_empty()).then(|| text.into()).into_iter().collect();
    HttpOptions { needles: list(needle), forbidden: list(forbidden), ..options }
}

fn web_rows(scene: &mut Scene) {
    for (behaviour, result, timed) in [
        (B::Good, Up, "cwt"),
        (B::Slow { delay_ms: 30 }, Up, "cwt"),
        (B::Status(503), Down(F::HttpStatus), "cwt"),
        (B::RedirectChain, Up, "cwt"),
        (B::RedirectLoop, Down(F::RedirectLimit), "cwt"),
        (B::Endless, Up, "cwt"),
        (B::Tarpit, Down(F::TimedOut), "cwt"),
        (B::Half, Down(F::Closed), "cwt"),
        (B::ResetAtAccept, Down(F::Reset), "cw"),
        (B::ResetMidBody, Down(F::Reset), "cwt"),
        (B::Silent, Down(F::TimedOut), "cw"),
        (B::TcpOpen, Down(F::Closed), "cw"),
        (B::Closed, Down(F::Refused), "c"),
        (B::BlackHole, Down(F::TimedOut), "c"),
        (B::SshBanner, Down(F::HttpMalformed), "cwt"),
        (B::PlainOnTls, Down(F::HttpStatus), "cwt"),
    ] {
        scene.web("http", behaviour, result, timed);
    }
    for (behaviour, needle, forbidden, result) in [
        (B::SplitNeedle, NEEDLE, "", Up),
        (B::Gzip, NEEDLE, "", Up),
        (B::Good, "not there", "", Down(F::NeedleMissing)),
        (B::Gzip, "", NEEDLE, Down(F::NeedleForbidden)),
        (B::Endless, "not there", "", Down(F::NeedleMissing)),
    ] {
        let options = text(needle, forbidden, scene.options());
        scene.web_with("http", behaviour, options, result, "cwt");
    }
    for (behaviour, result, timed) in [
        (B::Tls(C::Good), Up, "clwt"),
        (B::Tls(C::ExpiresSoon), Up, "clwt"),
        (B::Tls(C::Expired), Down(F::CertExpired), "cl"),
        (B::Tls(C::NotYetValid), Down(F::CertNotYetValid), "cl"),
        (B::Tls(C::WrongName), Down(F::CertName), "cl"),
        (B::Tls(C::SelfSigned), Down(F::CertUntrusted), "cl"),
        (B::SshBanner, Down(F::TlsProtocol), "cl"),
        (B::PlainOnTls, Down(F::TlsProtocol), "cl"),
        (B::Silent, Down(F::TimedOut), "cl"),
        (B::ResetAtAccept, Down(F::Reset), "cl"),
        (B::Closed, Down(F::Refused), "c"),
        (B::BlackHole, Down(F::TimedOut), "c"),
    ] {
        scene.web("https", behaviour, result, timed);
    }
}

fn port_rows(scene: &mut Scene) {
    for (behaviour, result, result_closed) in [
        (B::TcpOpen, Up, Down(F::PortOpen)),
        (B::Silent, Up, Down(F::PortOpen)),
        (B::ResetAtAccept, Up, Down(F::PortOpen)),
        (B::Closed, Down(F::Refused), Up),
        (B::BlackHole, Down(F::TimedOut), Up),
    ] {
        scene.port(behaviour, false, result);
        scene.port(behaviour, true, result_closed);
    }
    for (behaviour, result, timed) in [
        (B::Tls(C::Good), Up, "cl"),
        (B::Tls(C::ExpiresSoon), Down(F::CertExpiresSoon), "cl"),
        (B::Tls(C::Expired), Down(F::CertExpired), "cl"),
        (B::Tls(C::NotYetValid), Down(F::CertNotYetValid), "cl"),
        (B::Tls(C::WrongName), Down(F::CertName), "cl"),
        (B::Tls(C::SelfSigned), Down(F::CertUntrusted), "cl"),
        (B::PlainOnTls, Down(F::TlsProtocol), "cl"),
        (B::Silent, Down(F::TimedOut), "cl"),
        (B::Closed, Down(F::Refused), "c"),
    ] {
        scene.handshake(behaviour, result, timed);
    }
}

fn play_all(bind: IpAddr, pings: &[&str]) {
    let mut scene = Scene::new(bind);
    web_rows(&mut scene);
    port_rows(&mut scene);
    for ip in pings {
        scene.row(format!("ping {ip}"), echo(ip), Up, Some(Phase::Connect), "c");
    }
    scene.play();
}

#[test]
fn every_behaviour_has_its_result_phase_and_times_over_ipv4() {
    play_all(Ipv4Addr::LOCALHOST.into(), &["127.0.0.1", "127.9.8.7"]);
}

#[test]
fn every_behaviour_has_its_result_phase_and_times_over_ipv6() {
    play_all(Ipv6Addr::LOCALHOST.into(), &["::1"]);
}

#[test]
fn a_name_is_the_targets_where_a_server_says_so_and_ours_where_none_does() {
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Good]).unwrap();
    let port = farm.port(B::Good).unwrap();
    let six = std::net::TcpListener::bind("[::1]:0").unwrap();
    let six_port = six.local_addr().unwrap().port();
    let server = name_server(&[("good.test", &["127.0.0.1"]), ("six.test", &["::1"])]);
    let mut bench = Bench::new(vec![server], Trust::default());
    let at = |name: &str| tcp(&format!("{name}:{port}"), false);
    let url = format!("http://good.test:{port}/");
    for (spec, result, phase, times) in [
        (at("good.test"), Up, Some(Phase::Connect), "rc"),
        (at("good.test"), Up, Some(Phase::Connect), "rc"),
        (web(&url, HttpOptions::default()), Up, Some(Phase::Transfer), "rcwt"),
        (tcp(&format!("six.test:{six_port}"), false), Up, Some(Phase::Connect), "rc"),
        (at("absent.test"), Down(F::NameNotFound), Some(Phase::Resolve), "r"),
        (at("empty.test"), Down(F::NameNoAddress), Some(Phase::Resolve), "r"),
        (at("broken.test"), Unknown(Fault::Resolver), None, ""),
    ] {
        let attempt = bench.check(&spec, LONG_MS);
        let found = (attempt.result, attempt.outcome.phase, timed(&attempt.outcome.timings));
        assert_eq!(found, (result, phase, times.to_owned()), "{spec:?}");
    }
    let silent = bench.check(&at("silent.test"), SHORT_MS);
    assert_eq!(silent.result, Unknown(Fault::Resolver));
    assert_eq!(silent.address, None);
}

#[test]
fn a_closed_port_says_how_it_is_closed() {
    let farm = Farm::start(Ipv4Addr::LOCALHOST.into(), &[B::Closed, B::BlackHole]).unwrap();
    let mut bench = Bench::new(vec![], Trust::default());
    let mut how = |behaviour| {
        let to = farm.address(behaviour).unwrap().to_string();
        let attempt = bench.check(&tcp(&to, true), SHORT_MS);
        assert_eq!(attempt.result, Up);
        attempt.outcome.detail.map(|detail| detail.text)
    };
    assert_eq!(how(B::Closed), None);
    assert_eq!(how(B::BlackHole).as_deref(), Some("timeout"));
}

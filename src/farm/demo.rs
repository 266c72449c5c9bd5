//! The monitors of `engine start --demo`, and what each of them must find.
//!
//! Owns: one table with the monitors of all seven kinds against a [`Farm`], written out as the
//! YAML that users write, so that the demo shows the format too. An end-to-end test compares the
//! verdicts with the same table.

use std::fmt::Write;
use std::path::Path;

use super::Farm;
use super::behaviour::{Behaviour, Certificate, NEEDLE};
use crate::monitor::Kind;
use crate::sample::Verdict;

/// Slow enough to be seen in a table, fast enough for its deadline.
const SLOW: Behaviour = Behaviour::Slow { delay_ms: 300 };
/// Slower than its deadline.
const TOO_SLOW: Behaviour = Behaviour::Slow { delay_ms: 30_000 };

/// What the demo needs from [`Farm::start`].
pub const DEMO_BEHAVIOURS: &[Behaviour] = &[
    Behaviour::Good,
    SLOW,
    TOO_SLOW,
    Behaviour::Status(503),
    Behaviour::RedirectChain,
    Behaviour::RedirectLoop,
    Behaviour::SplitNeedle,
    Behaviour::Gzip,
    Behaviour::Endless,
    Behaviour::Tarpit,
    Behaviour::Half,
    Behaviour::ResetAtAccept,
    Behaviour::ResetMidBody,
    Behaviour::Silent,
    Behaviour::TcpOpen,
    Behaviour::Closed,
    Behaviour::BlackHole,
    Behaviour::SshBanner,
    Behaviour::PlainOnTls,
    Behaviour::Tls(Certificate::Good),
    Behaviour::Tls(Certificate::ExpiresSoon),
    Behaviour::Tls(Certificate::Expired),
    Behaviour::Tls(Certificate::NotYetValid),
    Behaviour::Tls(Certificate::WrongName),
    Behaviour::Tls(Certificate::SelfSigned),
];

/// Where a demo monitor looks.
#[derive(Clone, Copy)]
enum Place {
    Http(Behaviour),
    Https(Certificate),
    Port(Behaviour),
    Handshake(Certificate),
    Ping(&'static str),
}

/// Something a monitor asks for beside its target, as one line of YAML.
#[derive(Clone, Copy)]
enum Wish {
    Nothing,
    Contains,
    NotContains,
    Status(u16),
}

struct Demo {
    name: &'static str,
    kind: Kind,
    place: Place,
    wish: Wish,
    verdict: Verdict,
}

const fn demo(name: &'static str, kind: Kind, place: Place, wish: Wish, verdict: Verdict) -> Demo {
    Demo { name, kind, place, wish, verdict }
}

use Behaviour as B;
use Certificate as C;
use Kind::*;
use Place::*;
use Verdict::{Down, Up};
use Wish::*;

const DEMO: &[Demo] = &[
    demo("shop", PingWeb, Http(B::Good), Nothing, Up),
    demo("shop-slow", PingWeb, Http(SLOW), Nothing, Up),
    demo("shop-too-slow", PingWeb, Http(TOO_SLOW), Nothing, Down),
    demo("shop-https", PingWeb, Https(C::Good), Nothing, Up),
    demo("shop-moved", PingWeb, Http(B::RedirectChain), Nothing, Up),
    demo("redirect-loop", PingWeb, Http(B::RedirectLoop), Nothing, Down),
    demo("maintenance", PingWeb, Http(B::Status(503)), Nothing, Down),
    demo("maintenance-expected", PingWeb, Http(B::Status(503)), Status(503), Up),
    demo("ssh-on-web-port", PingWeb, Http(B::SshBanner), Nothing, Down),
    demo("half-an-answer", PingWeb, Http(B::Half), Nothing, Down),
    demo("reset-in-body", PingWeb, Http(B::ResetMidBody), Nothing, Down),
    demo("reset-at-accept", PingWeb, Http(B::ResetAtAccept), Nothing, Down),
    demo("silent", PingWeb, Http(B::Silent), Nothing, Down),
    demo("tarpit", PingWeb, Http(B::Tarpit), Nothing, Down),
    demo("untrusted-https", PingWeb, Https(C::SelfSigned), Nothing, Down),
    demo("status-page", WebContent, Http(B::SplitNeedle), Contains, Up),
    demo("status-page-gzip", WebContent, Http(B::Gzip), Contains, Up),
    demo("forbidden-text", WebContent, Http(B::Good), NotContains, Down),
    demo("endless-page", WebContent, Http(B::Endless), Contains, Down),
    demo("database", Tcp, Port(B::TcpOpen), Nothing, Up),
    demo("refused", Tcp, Port(B::Closed), Nothing, Down),
    demo("black-hole", OpenPortTcpThenValid, Port(B::BlackHole), Nothing, Down),
    demo("web-port", OpenPortTcpThenValid, Port(B::Good), Nothing, Up),
    demo("telnet-is-closed", OpenPortTcpThenError, Port(B::Closed), Nothing, Up),
    demo("telnet-is-open", OpenPortTcpThenError, Port(B::TcpOpen), Nothing, Down),
    demo("ping-here", PingIcmp, Ping("127.0.0.1"), Nothing, Up),
    demo("ping-neighbour", PingIcmp, Ping("127.1.2.3"), Nothing, Up),
    demo("cert-good", SslExpiredCheck, Handshake(C::Good), Nothing, Up),
    demo("cert-ends-in-5-days", SslExpiredCheck, Handshake(C::ExpiresSoon), Nothing, Down),
    demo("cert-expired", SslExpiredCheck, Handshake(C::Expired), Nothing, Down),
    demo("cert-not-yet-valid", SslExpiredCheck, Handshake(C::NotYetValid), Nothing, Down),
    demo("cert-wrong-name", SslExpiredCheck, Handshake(C::WrongName), Nothing, Down),
    demo("cert-self-signed", SslExpiredCheck, Handshake(C::SelfSigned), Nothing, Down),
    demo("cert-on-plain-port", SslExpiredCheck, Port(B::PlainOnTls), Nothing, Down),
];

/// Name and expected verdict of every demo monitor, in the order of [`demo_monitors`].
pub fn demo_expectations() -> Vec<(&'static str, Verdict)> {
    DEMO.iter().map(|demo| (demo.name, demo.verdict)).collect()
}

/// The demo monitors as a configuration file. `ca_file` is the full path where the caller has
/// written [`Farm::ca_pem`]. Monitors of behaviours that the farm was started without are left out.
///
/// Every monitor has the tags `demo` and `expect-up` or `expect-down`.
pub fn demo_monitors(farm: &Farm, ca_file: &Path) -> String {
    let mut yaml = String::from("monitors:\n");
    for demo in DEMO {
        if let Some(target) = target(farm, demo.place) {
            write_monitor(&mut yaml, demo, &target, ca_file);
        }
    }
    yaml
}

fn target(farm: &Farm, place: Place) -> Option<String> {
    Some(match place {
        Http(behaviour) => format!("http://{}/", farm.address(behaviour)?),
        Https(certificate) => format!("https://{}/", farm.address(B::Tls(certificate))?),
        Port(behaviour) => farm.address(behaviour)?.to_string(),
        Handshake(certificate) => farm.address(B::Tls(certificate))?.to_string(),
        Ping(address) => address.to_owned(),
    })
}

/// Strings are written as JSON, which is YAML too (YAML 1.2 §1.3).
fn write_monitor(yaml: &mut String, demo: &Demo, target: &str, ca_file: &Path) {
    let Demo { name, kind, verdict, .. } = demo;
    let target = serde_json::Value::from(target);
    let mut line = |text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(yaml, "{text}");
    };
    line(format!("  - name: {name}"));
    line(format!("    type: {}", kind.name()));
    line(format!("    target: {target}"));
    // What always runs into its deadline is asked less often.
    line(format!("    interval: {}s", if *verdict == Up { 2 } else { 3 }));
    line("    timeout: 1s".to_owned());
    line(format!("    tags: [demo, expect-{}]", verdict.name()));
    match demo.wish {
        Nothing => {}
        Contains => line(format!("    contains: [\"{NEEDLE}\"]")),
        NotContains => line(format!("    not_contains: [\"{NEEDLE}\"]")),
        Status(status) => line(format!("    statuses: [{status}]")),
    }
    let ca_file = serde_json::Value::from(ca_file.to_string_lossy());
    match demo.place {
        Https(_) => {
            line("    tls_verify: true".to_owned());
            line(format!("    ca_file: {ca_file}"));
        }
        Handshake(_) => {
            line("    expire_days: 14".to_owned());
            line(format!("    ca_file: {ca_file}"));
        }
        Http(B::RedirectChain | B::RedirectLoop) => line("    redirects: 5".to_owned()),
        _ => {}
    }
}

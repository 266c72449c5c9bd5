//! What a check found, under the names of blackbox_exporter.
//!
//! Owns: the families of `/probe`. A phase that was not reached is absent, where the exporter
//! writes zero.

use std::fmt::Write as _;
use std::net::IpAddr;

use probes::Phase;
use probes::outcome::CertFacts;

use crate::attempt::Attempt;
use crate::metrics::text::{Sort, Text};
use crate::monitor::Kind;
use crate::sample::CheckResult;

/// One probe, finished.
#[derive(Debug)]
pub struct Probed<'a> {
    /// The sort of check.
    pub kind: Kind,
    /// What was found.
    pub attempt: &'a Attempt,
    /// True where the module is content with it.
    pub success: bool,
    /// True where body or header are what the module does not want.
    pub refused: bool,
    /// The deadline, in milliseconds.
    pub timeout_ms: u64,
}

impl Probed<'_> {
    /// Writes every family.
    pub fn write(&self, text: &mut Text) {
        let outcome = &self.attempt.outcome;
        let phase = |phase| outcome.timings.get(phase).map(|micros| f64::from(micros) / 1e6);
        if let Some(seconds) = phase(Phase::Resolve) {
            let help = "Returns the time taken for probe dns lookup in seconds";
            one(text, "probe_dns_lookup_time_seconds", help, seconds);
        }
        let help = "Returns how long the probe took to complete in seconds";
        one(text, "probe_duration_seconds", help, f64::from(self.attempt.total_us) / 1e6);
        if let Some(ip) = self.attempt.address {
            address(text, ip);
        }
        match self.kind {
            Kind::PingWeb | Kind::WebContent => self.http(text),
            Kind::PingIcmp => {
                let help = "Duration of icmp request by phase";
                let phases = [("resolve", Phase::Resolve), ("rtt", Phase::Connect)];
                self.phases(text, "probe_icmp_duration_seconds", help, &phases);
            }
            _ => {}
        }
        if let Some(cert) = outcome.cert.as_deref() {
            certificate(text, cert);
        }
        one(text, "probe_success", "Displays whether or not the probe was a success", {
            f64::from(u8::from(self.success))
        });
        let help = "Returns the probe timeout in seconds";
        one(text, "probe_timeout_seconds", help, self.timeout_ms as f64 / 1e3);
    }

    fn phases(&self, text: &mut Text, name: &str, help: &str, phases: &[(&str, Phase)]) {
        text.family(name, help, Sort::Gauge);
        for (word, phase) in phases {
            if let Some(micros) = self.attempt.outcome.timings.get(*phase) {
                text.sample(&[("phase", word)], f64::from(micros) / 1e6);
            }
        }
    }

    fn http(&self, text: &mut Text) {
        let help = "Duration of http request by phase, summed over all redirects";
        let phases = [
            ("resolve", Phase::Resolve),
            ("connect", Phase::Connect),
            ("tls", Phase::Tls),
            ("processing", Phase::Wait),
            ("transfer", Phase::Transfer),
        ];
        self.phases(text, "probe_http_duration_seconds", help, &phases);
        let outcome = &self.attempt.outcome;
        let http = outcome.http.unwrap_or_default();
        let numbers = [
            ("probe_http_status_code", "Response HTTP status code", f64::from(http.status)),
            ("probe_http_redirects", "The number of redirects", f64::from(http.redirects)),
            (
                "probe_http_ssl",
                "Indicates if SSL was used for the final redirect",
                f64::from(u8::from(outcome.cert.is_some())),
            ),
            (
                "probe_http_uncompressed_body_length",
                "Length of uncompressed response body",
                http.decoded_bytes as f64,
            ),
            (
                "probe_failed_due_to_regex",
                "Indicates if probe failed due to regex",
                f64::from(u8::from(self.refused)),
            ),
        ];
        for (name, help, value) in numbers {
            one(text, name, help, value);
        }
        if http.status > 0 {
            let version = 1.0 + f64::from(http.minor_version) / 10.0;
            let help = "Returns the version of HTTP of the probe response";
            one(text, "probe_http_version", help, version);
        }
    }

    /// What a person is told with `debug=true`.
    pub fn told(&self, message: &str) -> String {
        let mut out = format!("result: {}\nmessage: {message}\n", self.result());
        if let Some(ip) = self.attempt.address {
            let _ = writeln!(out, "address: {ip}");
        }
        for phase in Phase::ALL {
            if let Some(micros) = self.attempt.outcome.timings.get(phase) {
                let _ = writeln!(out, "{}: {} ms", phase.name(), f64::from(micros) / 1e3);
            }
        }
        for cert in self.attempt.outcome.cert.iter().flat_map(|facts| &facts.chain) {
            let _ = writeln!(out, "certificate: {} sha256 {}", named(&cert.subject), cert.sha256);
        }
        out
    }

    fn result(&self) -> &'static str {
        match self.attempt.result {
            _ if self.success => "success",
            CheckResult::Up if self.refused => "not the wanted header",
            CheckResult::Up => "not over the wanted transport",
            CheckResult::Down(failure) => failure.name(),
            CheckResult::Unknown(fault) => fault.name(),
            CheckResult::Missed(missed) => missed.name(),
        }
    }
}

fn certificate(text: &mut Text, cert: &CertFacts) {
    if let Some(end_s) = cert.earliest_not_after() {
        let help = "Returns last SSL chain expiry in unixtime";
        one(text, "probe_ssl_earliest_cert_expiry", help, end_s as f64);
    }
    if cert.problem.is_none()
        && let Some(leaf) = cert.chain.first()
    {
        let help = "Returns last SSL chain expiry in timestamp";
        let end_s = cert.earliest_not_after().unwrap_or(leaf.not_after);
        one(text, "probe_ssl_last_chain_expiry_timestamp_seconds", help, end_s as f64);
        let help = "Contains SSL leaf certificate information";
        text.family("probe_ssl_last_chain", help, Sort::Info);
        let (subject, issuer) = (named(&leaf.subject), named(&leaf.issuer));
        let labels = [
            ("fingerprint_sha256", leaf.sha256.as_str()),
            ("subject", &subject),
            ("issuer", &issuer),
            ("subjectalternative", &leaf.names.join(",")),
            ("serialnumber", &leaf.serial),
        ];
        text.sample(&labels, 1.0);
    }
    if !cert.tls_version.is_empty() {
        text.family("probe_tls_version", "Returns the TLS version used", Sort::Info);
        // The exporter writes it as Go names it.
        let version = cert.tls_version.replacen('v', " ", 1);
        text.sample(&[("version", &version)], 1.0);
        text.family("probe_tls_cipher", "Returns the TLS cipher negotiated", Sort::Info);
        text.sample(&[("cipher", &cert.cipher)], 1.0);
    }
}

/// The families about an address.
pub(super) fn address(text: &mut Text, ip: IpAddr) {
    let help = "Specifies the hash of IP address. It's useful to detect if the IP address changes.";
    one(text, "probe_ip_addr_hash", help, f64::from(hash(ip)));
    let help = "Specifies whether probe ip protocol is IP4 or IP6";
    one(text, "probe_ip_protocol", help, if ip.is_ipv4() { 4.0 } else { 6.0 });
}

/// A family of one sample.
pub(super) fn one(text: &mut Text, name: &str, help: &str, value: f64) {
    text.family(name, help, Sort::Gauge);
    text.sample(&[], value);
}

fn named(name: &[(String, String)]) -> String {
    let pairs = name.iter().map(|(attribute, value)| format!("{attribute}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn hash(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(v4) => fnv_1a(&v4.octets()),
        IpAddr::V6(v6) => fnv_1a(&v6.octets()),
    }
}

/// FNV-1a, 32 bits: as the exporter hashes the bytes of an address.
fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::Format;
    use probes::outcome::{CertInfo, HttpFacts};
    use probes::{Outcome, Timings};

    #[test]
    fn an_https_answer_has_the_families_of_the_exporter() {
        let mut timings = Timings::NONE;
        timings.set_micros(Phase::Connect, 1_000);
        timings.set_micros(Phase::Wait, 2_000);
        let leaf = CertInfo { not_after: 2_000_000_000, ..CertInfo::default() };
        let cert = CertFacts {
            chain: vec![leaf],
            problem: None,
            problem_text: String::new(),
            tls_version: "TLSv1.3".into(),
            cipher: "TLS13_AES_128_GCM_SHA256".into(),
        };
        let http = HttpFacts { status: 200, minor_version: 1, ..HttpFacts::default() };
        let outcome =
            Outcome { timings, http: Some(http), cert: Some(cert.into()), ..Outcome::default() };
        let attempt = Attempt::of_target(outcome, 3_500, Some("192.0.2.1".parse().unwrap()));
        let probed = Probed {
            kind: Kind::PingWeb,
            attempt: &attempt,
            success: true,
            refused: false,
            timeout_ms: 9_500,
        };
        let mut text = Text::new(Format::Prometheus);
        probed.write(&mut text);
        let text = text.take();
        for line in [
            "probe_success 1",
            "probe_duration_seconds 0.0035",
            "probe_http_duration_seconds{phase=\"processing\"} 0.002",
            "probe_http_status_code 200",
            "probe_http_version 1.1",
            "probe_http_ssl 1",
            "probe_ip_protocol 4",
            "probe_ssl_earliest_cert_expiry 2000000000",
            "probe_tls_version_info{version=\"TLS 1.3\"} 1",
            "probe_timeout_seconds 9.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("phase=\"tls\""), "a phase that was not reached is absent");
    }

    #[test]
    fn the_hash_gives_the_published_vectors() {
        assert_eq!(
            [fnv_1a(b""), fnv_1a(b"a"), fnv_1a(b"foobar")],
            [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]
        );
    }
}

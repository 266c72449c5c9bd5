//! What one probe found: a good answer, or why not, and how long each phase took.
//!
//! Owns: the failure codes (stored for ever, so never renumbered), the phases and their times.
//! Our own faults (no descriptor, no route, a late shard) are not here: a machine cannot see them.

use std::fmt;
use std::sync::Arc;

use crate::time::Nanos;

/// A part of an exchange, in the order they happen. Published under the Prometheus names
/// `resolve`, `connect`, `tls`, `processing` (wait) and `transfer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Name to address.
    Resolve = 0,
    /// SYN to SYN-ACK; for ICMP, request to reply.
    Connect = 1,
    /// ClientHello to finished handshake.
    Tls = 2,
    /// Request written to first byte of the answer.
    Wait = 3,
    /// First byte to last byte of the answer.
    Transfer = 4,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 5] =
        [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Wait, Phase::Transfer];

    /// The word used in tables, messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Wait => "wait",
            Phase::Transfer => "transfer",
        }
    }
}

/// Duration of each phase in microseconds. A phase that was not reached is absent, never zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    micros: [u32; 5],
}

const ABSENT: u32 = u32::MAX;

impl Timings {
    /// No phase reached.
    pub const NONE: Timings = Timings { micros: [ABSENT; 5] };

    /// Microseconds spent in `phase`, or `None` where it was not reached.
    pub fn get(&self, phase: Phase) -> Option<u32> {
        let micros = self.micros[phase as usize];
        (micros != ABSENT).then_some(micros)
    }

    /// Sets a phase to the time from `from` to `to`.
    pub fn set(&mut self, phase: Phase, from: Nanos, to: Nanos) {
        self.micros[phase as usize] = to.micros_since(from);
    }

    /// Sets a phase to a duration measured elsewhere, in microseconds.
    pub fn set_micros(&mut self, phase: Phase, micros: u32) {
        self.micros[phase as usize] = micros.min(ABSENT - 1);
    }

    /// Adds the phases of a further exchange of the same check (a redirect hop).
    pub fn add(&mut self, other: &Timings) {
        for (mine, theirs) in self.micros.iter_mut().zip(other.micros) {
            *mine = match (*mine, theirs) {
                (ABSENT, x) | (x, ABSENT) => x,
                (x, y) => x.saturating_add(y).min(ABSENT - 1),
            };
        }
    }

    /// Sum of the phases that were reached, in microseconds.
    pub fn sum(&self) -> u32 {
        let reached = self.micros.iter().filter(|micros| **micros != ABSENT);
        reached.fold(0u32, |sum, micros| sum.saturating_add(*micros)).min(ABSENT - 1)
    }

    /// The raw columns, `u32::MAX` standing for an absent phase: the stored form.
    pub fn raw(&self) -> [u32; 5] {
        self.micros
    }

    /// The inverse of [`Timings::raw`].
    pub fn from_raw(micros: [u32; 5]) -> Timings {
        Timings { micros }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Timings::NONE
    }
}

impl fmt::Debug for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for phase in Phase::ALL {
            if let Some(micros) = self.get(phase) {
                map.entry(&phase.name(), &micros);
            }
        }
        map.finish()
    }
}

macro_rules! failures {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $word:literal; )*) => {
        /// Why a target gave no good answer. Our own faults are never here.
        ///
        /// The numbers are stored and the words are published: neither ever changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Failure { $( $(#[$doc])* $name = $code, )* }

        impl Failure {
            /// Every failure, in the order of its number.
            pub const ALL: &'static [Failure] = &[ $( Failure::$name, )* ];

            /// The stable word of this failure, in snake_case.
            pub fn name(self) -> &'static str {
                match self { $( Failure::$name => $word, )* }
            }

            /// The failure with this stored number.
            pub fn from_code(code: u16) -> Option<Failure> {
                match code { $( $code => Some(Failure::$name), )* _ => None }
            }
        }
    };
}

failures! {
    /// The resolver says that the name does not exist (NXDOMAIN).
    NameNotFound = 1, "dns_name_not_found";
    /// The name exists and has no address of the wanted family (NODATA).
    NameNoAddress = 2, "dns_no_address";
    /// Nothing listens on the port (RST in answer to SYN).
    Refused = 10, "connect_refused";
    /// A router or the host said by ICMP that it cannot be reached.
    Unreachable = 11, "unreachable";
    /// The deadline passed during the phase in [`Outcome::phase`].
    TimedOut = 12, "timeout";
    /// The connection was reset during the phase in [`Outcome::phase`].
    Reset = 13, "connection_reset";
    /// The target closed the connection before the answer was complete.
    Closed = 14, "connection_closed";
    /// The port answered although it must not.
    PortOpen = 15, "port_open";
    /// The target does not speak TLS, or broke its rules.
    TlsProtocol = 20, "tls_protocol";
    /// No TLS version or cipher suite in common (the target may be older than TLS 1.2).
    TlsVersion = 21, "tls_version_unsupported";
    /// The target refused the handshake with an alert.
    TlsAlert = 22, "tls_alert";
    /// The certificate is past its end.
    CertExpired = 30, "cert_expired";
    /// The certificate is not valid yet.
    CertNotYetValid = 31, "cert_not_yet_valid";
    /// The chain does not end at a trusted root; self-signed certificates too.
    CertUntrusted = 32, "cert_untrusted";
    /// The certificate is for other names.
    CertName = 33, "cert_name_mismatch";
    /// The certificate breaks another rule (encoding, signature, usage, revoked).
    CertInvalid = 34, "cert_invalid";
    /// The certificate ends within the days asked for.
    CertExpiresSoon = 35, "cert_expires_soon";
    /// The answer is not HTTP/1.x, or breaks its framing rules.
    HttpMalformed = 40, "http_malformed";
    /// The head of the answer is larger than the cap.
    HttpHeadTooLarge = 41, "http_head_too_large";
    /// The status is not among the expected ones.
    HttpStatus = 42, "http_status";
    /// More redirects than allowed.
    RedirectLimit = 43, "redirect_limit";
    /// A redirect without a target, or to a scheme that is not HTTP.
    RedirectInvalid = 44, "redirect_invalid";
    /// The body is compressed in a way that is not known, or the compression is broken.
    BodyEncoding = 45, "body_encoding";
    /// A text that must be there was not found.
    NeedleMissing = 50, "content_missing";
    /// A text that must not be there was found.
    NeedleForbidden = 51, "content_forbidden";
}

impl Failure {
    /// The stored number.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Facts of an HTTP answer that cost nothing to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpFacts {
    /// Status of the last answer, 100 to 999; 0 where none was read.
    pub status: u16,
    /// Minor version: 0 or 1.
    pub minor_version: u8,
    /// Redirects that were followed.
    pub redirects: u8,
    /// Bytes of the body read, after chunked framing and before decompression.
    pub body_bytes: u64,
    /// Bytes of the body after decompression.
    pub decoded_bytes: u64,
    /// True where the body went past the cap and the rest was not looked at.
    pub truncated: bool,
}

/// What a handshake showed about the target's certificate, whether it is good or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFacts {
    /// The chain as sent, leaf first.
    pub chain: Vec<CertInfo>,
    /// `None` where the chain is trusted for this name now; else why not.
    pub problem: Option<Failure>,
    /// The verifier's words for `problem`, empty where there is none.
    pub problem_text: String,
    /// `TLSv1.2` or `TLSv1.3`; empty where the handshake did not get that far.
    pub tls_version: String,
    /// Cipher suite, empty where the handshake did not get that far.
    pub cipher: String,
}

/// One certificate, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertInfo {
    /// Distinguished name, RFC 4514 order as sent: pairs of attribute name and value.
    pub subject: Vec<(String, String)>,
    /// Distinguished name of the issuer.
    pub issuer: Vec<(String, String)>,
    /// Subject alternative names: host names and addresses.
    pub names: Vec<String>,
    /// How many such names there are: `names` keeps the first ones only.
    pub names_total: u32,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// SHA-256 of the encoded certificate in lower-case hex.
    pub sha256: String,
}

impl CertFacts {
    /// The earliest end of all certificates sent, in seconds since the Unix epoch; those whose end
    /// could not be read (0) are left out.
    pub fn earliest_not_after(&self) -> Option<i64> {
        self.chain.iter().map(|cert| cert.not_after).filter(|end| *end != 0).min()
    }
}

/// Words and lists about an outcome that people read; kept only for bad answers or where asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What was wrong, in words: the error text, the text found, the address of the redirect.
    pub text: String,
    /// The required texts that were missing.
    pub missing: Vec<String>,
    /// Reason phrase of the HTTP answer.
    pub reason: String,
    /// Header fields of the HTTP answer, in order, as text with other bytes escaped.
    pub headers: Vec<(String, String)>,
    /// The URL that gave the last answer, where redirects were followed.
    pub url: String,
    /// The first bytes of what came, escaped, where it was not what it should be.
    pub excerpt: String,
}

/// What one probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// `None` for a good answer.
    pub failure: Option<Failure>,
    /// The phase the exchange was in when it failed; of a good answer, the last one.
    pub phase: Option<Phase>,
    /// Time per phase.
    pub timings: Timings,
    /// Status and sizes, for HTTP.
    pub http: Option<HttpFacts>,
    /// The certificate, for TLS.
    pub cert: Option<Arc<CertFacts>>,
    /// Where an HTTP answer points, when redirects are to be followed and this is one. The caller
    /// follows; `failure` is `None` then.
    pub redirect: Option<Box<str>>,
    /// Text for people, on failure or where [`crate::spec::HttpOptions::keep_detail`] asks.
    pub detail: Option<Box<Detail>>,
}

impl Outcome {
    /// A bad answer in `phase`, with `text` to say more where it is not empty.
    pub fn failed(failure: Failure, phase: Phase, timings: Timings, text: String) -> Outcome {
        let detail = (!text.is_empty()).then(|| Box::new(Detail { text, ..Detail::default() }));
        Outcome {
            failure: Some(failure),
            phase: Some(phase),
            timings,
            detail,
            ..Outcome::default()
        }
    }

    /// True for a good answer that is not a redirect to follow.
    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.redirect.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_found_again_by_its_code() {
        for failure in Failure::ALL {
            assert_eq!(Failure::from_code(failure.code()), Some(*failure));
        }
    }

    #[test]
    fn an_unreached_phase_is_absent_and_a_fast_one_is_zero() {
        let mut timings = Timings::NONE;
        timings.set(Phase::Connect, Nanos(5_000), Nanos(5_400));
        assert_eq!(timings.get(Phase::Connect), Some(0));
        assert_eq!(timings.get(Phase::Tls), None);
        assert_eq!(timings.sum(), 0);
    }

    #[test]
    fn adding_a_redirect_hop_keeps_absent_phases_absent() {
        let mut first = Timings::NONE;
        first.set_micros(Phase::Connect, 10);
        let mut second = Timings::NONE;
        second.set_micros(Phase::Connect, 5);
        second.set_micros(Phase::Wait, 7);
        first.add(&second);
        assert_eq!(first.get(Phase::Connect), Some(15));
        assert_eq!(first.get(Phase::Wait), Some(7));
        assert_eq!(first.get(Phase::Tls), None);
        assert_eq!(first.sum(), 22);
    }
}

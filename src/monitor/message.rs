//! From what a check found to the words that people read.
//!
//! Owns: the message of every result, in the texts of the original service, and in `details` the
//! facts beside it. Pure: the caller passes the wall time. Only called for results that are kept
//! in words, never for each check of a healthy monitor.

use probes::outcome::{CertFacts, CertInfo};
use probes::spec::Host;
use probes::{Failure, Outcome, ProbeSpec};

use super::{Kind, Monitor, Preset};
use crate::attempt::Attempt;
use crate::sample::{CheckResult, Missed};

mod details;

pub use details::details_json;

/// Everything that words about one check are made of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The sort of check.
    pub kind: Kind,
    /// Whose rules for the words.
    pub preset: Preset,
    /// What was asked.
    pub spec: &'a ProbeSpec,
    /// What it came to.
    pub result: CheckResult,
    /// What the last attempt found; without meaning where the result is unknown or missed.
    pub outcome: &'a Outcome,
    /// Attempts made, from 1; 0 where it never started.
    pub attempts: u8,
    /// Messages of the attempts before the last one.
    pub earlier: &'a [Box<str>],
    /// Wall time at the end of the check, in seconds since the Unix epoch.
    pub wall_s: i64,
}

impl<'a> Told<'a> {
    /// What is told about attempt number `attempts` of a check, at `wall_s` seconds since the Unix
    /// epoch; `earlier` are the messages of the attempts before it.
    pub fn of(
        monitor: &'a Monitor,
        attempt: &'a Attempt,
        attempts: u8,
        earlier: &'a [Box<str>],
        wall_s: i64,
    ) -> Told<'a> {
        Told {
            kind: monitor.kind,
            preset: monitor.preset,
            spec: &monitor.spec,
            result: attempt.result,
            outcome: &attempt.outcome,
            attempts,
            earlier,
            wall_s,
        }
    }
}

/// The message of a check, such as `HTTP 200 - OK`.
pub fn message(told: &Told<'_>) -> String {
    let mut text = attempt_message(told);
    let further = told.attempts.saturating_sub(1);
    if further == 0 {
        return text;
    }
    match told.result {
        CheckResult::Up => match (told.preset, further) {
            (Preset::Standard, 1) => text.push_str(" (succeeded after 1 retry)"),
            _ => text.push_str(&format!(" (succeeded after {further} retries)")),
        },
        // The original never tries a certificate again that is only about to end.
        CheckResult::Down(Failure::CertExpiresSoon) if told.preset == Preset::Original => {}
        CheckResult::Down(_) => match (told.preset, further) {
            // The original counts the first attempt as a retry.
            (Preset::Original, _) => text.push_str(&format!(" (after {} retries)", told.attempts)),
            (Preset::Standard, 1) => text.push_str(" (after 1 retry)"),
            (Preset::Standard, _) => text.push_str(&format!(" (after {further} retries)")),
        },
        CheckResult::Unknown(_) | CheckResult::Missed(_) => {}
    }
    text
}

/// The message of one attempt: [`message`] without the words about retries.
pub fn attempt_message(told: &Told<'_>) -> String {
    let failure = match told.result {
        CheckResult::Up => None,
        CheckResult::Down(failure) => Some(failure),
        CheckResult::Unknown(fault) => {
            return format!("Unknown: {} ({})", fault.name(), fault.fix());
        }
        CheckResult::Missed(missed) => {
            return format!("Not checked: {} ({})", missed.name(), missed_reason(missed));
        }
    };
    match (told.kind, told.spec) {
        (Kind::PingWeb | Kind::WebContent, ProbeSpec::Http(spec)) => {
            let url = match told.outcome.detail.as_deref() {
                Some(detail) if !detail.url.is_empty() => detail.url.clone(),
                _ => spec.url.to_string(),
            };
            if told.kind == Kind::PingWeb {
                ping_web(told, failure, &url)
            } else {
                web_content(told, failure, &url, !spec.options.needles.is_empty())
            }
        }
        (Kind::SslExpiredCheck, _) => certificate(told, failure),
        (Kind::PingIcmp, _) => icmp(told, failure),
        _ => tcp(told, failure),
    }
}

fn missed_reason(missed: Missed) -> &'static str {
    match missed {
        Missed::Overrun => "the check before it was still running",
        Missed::Capacity => "no room for another probe; raise --max-in-flight or --cores",
        Missed::Stall => "the engine was stopped, suspended or stalled",
        Missed::Stopping => "the engine was stopping",
    }
}

fn ping_web(told: &Told<'_>, failure: Option<Failure>, url: &str) -> String {
    match failure {
        None | Some(Failure::HttpStatus) => {
            format!("HTTP {} - {}", status(told.outcome), reason(told.outcome))
        }
        Some(Failure::TimedOut) => format!("HTTP request timeout to {url}"),
        Some(failure) => format!("HTTP client error: {}", client_error(told, failure)),
    }
}

fn web_content(told: &Told<'_>, failure: Option<Failure>, url: &str, required: bool) -> String {
    let status = status(told.outcome);
    match failure {
        None if required => format!("All required keywords found (Status: {status})"),
        None => format!("Content validation passed (Status: {status})"),
        Some(Failure::HttpStatus) => format!("HTTP {status} - Cannot check content"),
        Some(Failure::NeedleForbidden) => {
            format!("Found error keyword: \"{}\"", detail_text(told.outcome))
        }
        Some(Failure::NeedleMissing) => {
            let missing = told.outcome.detail.as_ref().map(|detail| detail.missing.join(", "));
            format!("Missing required keywords: {}", missing.unwrap_or_default())
        }
        Some(Failure::TimedOut) => format!("Content check timeout to {url}"),
        Some(failure) => format!("Content check client error: {}", client_error(told, failure)),
    }
}

/// The original's words where its client library had fixed ones, else ours.
fn client_error(told: &Told<'_>, failure: Failure) -> String {
    let (host, port) = (bare_host(told.spec.host()), told.spec.port());
    match (told.preset, failure) {
        (Preset::Original, Failure::Refused) => format!(
            "Cannot connect to host {host}:{port} ssl:default \
             [Connect call failed ('{host}', {port})]"
        ),
        (Preset::Original, Failure::NameNotFound | Failure::NameNoAddress) => {
            format!("Cannot connect to host {host}:{port} ssl:default [Name or service not known]")
        }
        _ => error_text(told.outcome, failure),
    }
}

fn tcp(told: &Told<'_>, failure: Option<Failure>) -> String {
    let inner = |failure: Option<Failure>| {
        let at = format!("{}:{}", told.spec.host(), told.spec.port());
        match failure {
            None => format!("TCP connection successful to {at}"),
            Some(Failure::TimedOut) => format!("TCP connection timeout to {at}"),
            Some(Failure::Refused) => format!("TCP connection refused to {at}"),
            Some(failure) => {
                format!("TCP connection error to {at}: {}", error_text(told.outcome, failure))
            }
        }
    };
    match (told.kind, failure) {
        (Kind::OpenPortTcpThenError, None) => {
            let how = inner(Some(closed_by(told.outcome)));
            format!("Port is closed/filtered (as expected): {how}")
        }
        (Kind::OpenPortTcpThenError, Some(Failure::PortOpen)) => {
            format!("Port is open (unexpected): {}", inner(None))
        }
        (_, failure) => inner(failure),
    }
}

/// Why a port that must be closed is closed: the failure that the good outcome's text names, which
/// is a refusal where there is none.
fn closed_by(outcome: &Outcome) -> Failure {
    let text = detail_text(outcome);
    let named = Failure::ALL.iter().find(|failure| failure.name() == text);
    named.copied().unwrap_or(Failure::Refused)
}

fn icmp(told: &Told<'_>, failure: Option<Failure>) -> String {
    let host = bare_host(told.spec.host());
    let Some(failure) = failure else { return format!("ICMP ping successful to {host}") };
    match (told.preset, failure) {
        // The original cannot tell these apart, and begins with the time of day.
        (Preset::Original, _) => {
            let clock = time_of_day(told.wall_s);
            format!("[{clock}] ICMP ping failed to {host}: No response or timeout")
        }
        (Preset::Standard, Failure::TimedOut) => {
            format!("ICMP ping failed to {host}: No response or timeout")
        }
        (Preset::Standard, failure) => {
            format!("ICMP ping failed to {host}: {}", error_text(told.outcome, failure))
        }
    }
}

fn certificate(told: &Told<'_>, failure: Option<Failure>) -> String {
    let days = leaf(told.outcome).map_or(0, |leaf| days_left(leaf, told.wall_s));
    let at = format!("{}:{}", bare_host(told.spec.host()), told.spec.port());
    match failure {
        None => format!("SSL certificate valid, expires in {days} days"),
        Some(Failure::CertExpiresSoon) => format!("SSL certificate expires soon: {days} days"),
        Some(Failure::TimedOut) => match told.preset {
            Preset::Original => {
                format!("[{}] SSL connection timeout to {at}", time_of_day(told.wall_s))
            }
            Preset::Standard => format!("SSL connection timeout to {at}"),
        },
        Some(failure) if is_tls(failure) => {
            format!("SSL error: {}", error_text(told.outcome, failure))
        }
        Some(failure) => format!("SSL connection error: {}", error_text(told.outcome, failure)),
    }
}

/// True where the handshake or the certificate is to blame, and not the connection.
fn is_tls(failure: Failure) -> bool {
    use Failure::*;
    matches!(
        failure,
        TlsProtocol
            | TlsVersion
            | TlsAlert
            | CertExpired
            | CertNotYetValid
            | CertUntrusted
            | CertName
            | CertInvalid
    )
}

fn status(outcome: &Outcome) -> u16 {
    outcome.http.map_or(0, |http| http.status)
}

/// The reason phrase that came, else the registered one of the status.
fn reason(outcome: &Outcome) -> &str {
    match outcome.detail.as_deref() {
        Some(detail) if !detail.reason.is_empty() => &detail.reason,
        _ => details::reason_phrase(status(outcome)),
    }
}

fn detail_text(outcome: &Outcome) -> &str {
    outcome.detail.as_deref().map_or("", |detail| &detail.text)
}

/// What the probe said about a failure, else plain words for it.
fn error_text(outcome: &Outcome, failure: Failure) -> String {
    let detail = detail_text(outcome);
    if !detail.is_empty() {
        return detail.to_owned();
    }
    match outcome.cert.as_deref() {
        Some(CertFacts { problem_text, .. }) if !problem_text.is_empty() => problem_text.clone(),
        _ => plain_words(failure).to_owned(),
    }
}

fn plain_words(failure: Failure) -> &'static str {
    use Failure::*;
    match failure {
        NameNotFound => "name not found",
        NameNoAddress => "the name has no address of the wanted family",
        Refused => "connection refused",
        Unreachable => "host unreachable",
        TimedOut => "timeout",
        Reset => "connection reset",
        Closed => "connection closed before the answer was complete",
        PortOpen => "the port is open",
        TlsProtocol => "the target does not speak TLS",
        TlsVersion => "no TLS version or cipher suite in common",
        TlsAlert => "the target refused the handshake",
        CertExpired => "certificate has expired",
        CertNotYetValid => "certificate is not valid yet",
        CertUntrusted => "certificate is not trusted",
        CertName => "certificate is for other names",
        CertInvalid => "certificate is not valid",
        CertExpiresSoon => "certificate expires soon",
        HttpMalformed => "the answer is not HTTP/1.x",
        HttpHeadTooLarge => "the head of the answer is too large",
        HttpStatus => "the status is not among the expected ones",
        RedirectLimit => "too many redirects",
        RedirectInvalid => "the redirect has no HTTP target",
        BodyEncoding => "the body cannot be decompressed",
        NeedleMissing => "a required text is missing",
        NeedleForbidden => "a forbidden text was found",
    }
}

/// A host without the brackets of a URL.
fn bare_host(host: &Host) -> String {
    let text = host.to_string();
    text.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn leaf(outcome: &Outcome) -> Option<&CertInfo> {
    outcome.cert.as_deref().and_then(|cert| cert.chain.first())
}

/// Whole days until the end of a certificate, rounded down; negative past it.
fn days_left(cert: &CertInfo, wall_s: i64) -> i64 {
    cert.not_after.saturating_sub(wall_s).div_euclid(86_400)
}

/// `HH:MM:SS` in UTC.
fn time_of_day(wall_s: i64) -> String {
    let second = wall_s.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests;

//! What `check` shows about one target.
//!
//! Owns: [`CheckReport`] and its forms: a page with the phases drawn to scale, one line where there
//! are several targets, and JSON. Leaves to others: doing the check and wording its message.

use std::fmt::Write;

use probes::outcome::{CertFacts, CertInfo};
use probes::tls::cert::in_days;
use probes::{Phase, Timings};
use serde::{Serialize, Serializer};

use crate::cli::exit;
use crate::cli::style::{Color, Style, cut, duration_us, printable, rfc3339, width};
use crate::fault::Fault;
use crate::sample::Verdict;

/// Widest drawing of the phases, in columns.
const BAR_COLUMNS_MAX: usize = 60;
/// Columns of a page that goes to no terminal.
const PAGE_COLUMNS: usize = 80;
/// Columns before the drawing: indent, phase, duration.
const LABEL_COLUMNS: usize = 24;

/// What one check of one target found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The target as written.
    pub target: String,
    /// The sort of check.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Up, down or unknown.
    pub verdict: Verdict,
    /// The stable word of the result: `ok`, a failure or a fault.
    pub code: String,
    /// The message for people.
    pub message: String,
    /// Status of the last HTTP answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Time per phase; in JSON in milliseconds, without the phases that were not reached.
    #[serde(rename = "phases_ms", serialize_with = "phases_ms")]
    pub phases: Timings,
    /// From the start to the outcome, in microseconds; in JSON in milliseconds.
    #[serde(rename = "total_ms", serialize_with = "millis")]
    pub total_us: u32,
    /// The address that was asked, with its port where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The certificate, where one was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<CertSummary>,
    /// Attempts made.
    pub attempts: u8,
}

/// What people want to know about a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertSummary {
    /// Common name of the subject, else its first name.
    pub subject: String,
    /// Common name of the issuer, else its organisation.
    pub issuer: String,
    /// Host names and addresses it is for.
    pub names: Vec<String>,
    /// Its end, in RFC 3339.
    pub not_after: String,
    /// Whole days to its end; negative after it.
    pub days_left: i64,
    /// Version of TLS, empty where the handshake did not get that far.
    pub tls_version: String,
    /// Cipher suite, empty where the handshake did not get that far.
    pub cipher: String,
    /// Why it is not trusted, in words; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Every certificate that was sent, this one first.
    pub chain: Vec<ChainCert>,
}

/// One certificate of the chain, as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainCert {
    /// Common name of the subject, else its first name.
    pub subject: String,
    /// Common name of the issuer, else its organisation.
    pub issuer: String,
    /// Host names and addresses it is for.
    pub names: Vec<String>,
    /// Its begin, in RFC 3339.
    pub not_before: String,
    /// Its end, in RFC 3339.
    pub not_after: String,
    /// SHA-256 of its encoding in lower-case hex.
    pub sha256: String,
}

impl From<&CertInfo> for ChainCert {
    fn from(cert: &CertInfo) -> ChainCert {
        let first = cert.names.first().map(String::as_str);
        let subject = attribute(&cert.subject, &["commonName"]).or(first);
        let issuer = attribute(&cert.issuer, &["commonName", "organizationName"]);
        ChainCert {
            subject: subject.unwrap_or_default().to_owned(),
            issuer: issuer.unwrap_or_default().to_owned(),
            names: cert.names.clone(),
            not_before: time(cert.not_before),
            not_after: time(cert.not_after),
            sha256: cert.sha256.clone(),
        }
    }
}

/// A time of a certificate in RFC 3339; times before 1970 are shown as its begin.
fn time(unix_s: i64) -> String {
    rfc3339(u64::try_from(unix_s.saturating_mul(1_000)).unwrap_or(0))
}

impl CertSummary {
    /// The summary of the leaf certificate at the time `now_ms` (Unix time in milliseconds);
    /// `None` where no certificate came.
    pub fn new(facts: &CertFacts, now_ms: u64) -> Option<CertSummary> {
        let leaf = facts.chain.first()?;
        let now_s = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        let problem = facts.problem.map(|problem| match facts.problem_text.as_str() {
            "" => problem.name().to_owned(),
            text => text.to_owned(),
        });
        let chain: Vec<_> = facts.chain.iter().map(ChainCert::from).collect();
        let first = chain.first()?;
        Some(CertSummary {
            subject: first.subject.clone(),
            issuer: first.issuer.clone(),
            names: first.names.clone(),
            not_after: first.not_after.clone(),
            days_left: leaf.not_after.saturating_sub(now_s).div_euclid(86_400),
            tls_version: facts.tls_version.clone(),
            cipher: facts.cipher.clone(),
            problem,
            chain,
        })
    }
}

fn attribute<'a>(name: &'a [(String, String)], wanted: &[&str]) -> Option<&'a str> {
    let find = |wanted: &&str| name.iter().find(|(kind, _)| kind == wanted);
    wanted.iter().find_map(find).map(|(_, value)| value.as_str())
}

/// The exit code of `check` for all its targets: a down one wins over one that is unknown.
pub fn exit_code(reports: &[CheckReport]) -> u8 {
    let any = |verdict| reports.iter().any(|report| report.verdict == verdict);
    if any(Verdict::Down) {
        exit::DOWN
    } else if reports.iter().all(|report| report.verdict == Verdict::Up) {
        exit::OK
    } else {
        exit::UNKNOWN
    }
}

/// One report as one line of JSON.
///
/// # Errors
///
/// None that is known: the text is always valid.
pub fn json(report: &CheckReport) -> serde_json::Result<String> {
    serde_json::to_string(report)
}

/// One report as one line: for several targets.
pub fn render_line(report: &CheckReport, style: &Style) -> String {
    let target = printable(&report.target);
    let fixed = width(&target) + 23;
    let room = style.width.map_or(usize::MAX, |columns| columns.saturating_sub(fixed));
    let message = printable(&report.message);
    let blanks = " ".repeat(7_usize.saturating_sub(report.verdict.name().len()));
    format!(
        "{}{blanks}  {:>10}  {target}  {}\n",
        style.verdict(report.verdict),
        duration_us(report.total_us),
        cut(&message, room),
    )
}

/// One report as a page.
pub fn render(report: &CheckReport, style: &Style) -> String {
    let mut out = headline(report, style);
    if report.phases != Timings::NONE {
        out.push('\n');
        draw_phases(&mut out, &report.phases, style);
        out.push('\n');
    }
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            let name = style.paint(Color::Dim, &format!("{name:<8}"));
            let _ = writeln!(out, "  {name}  {}", printable(text));
        }
    };
    line("message", &report.message);
    line("address", report.address.as_deref().unwrap_or_default());
    if let Some(cert) = &report.cert {
        line("tls", format!("{} {}", cert.tls_version, cert.cipher).trim());
        line("cert", &cert_line(cert));
        line("problem", cert.problem.as_deref().unwrap_or_default());
    }
    if report.attempts > 1 {
        line("attempts", &report.attempts.to_string());
    }
    if report.verdict == Verdict::Unknown {
        let fault = Fault::ALL.iter().find(|fault| fault.name() == report.code);
        line("fix", fault.map_or("", |fault| fault.fix()));
    }
    out
}

/// The target at the left, the verdict and the time at the right.
fn headline(report: &CheckReport, style: &Style) -> String {
    let columns = style.width.unwrap_or(PAGE_COLUMNS);
    let target = printable(&report.target);
    let mut right = duration_us(report.total_us);
    if let Some(status) = report.http_status {
        right = format!("{status}   {right}");
    }
    let used = width(&target) + report.verdict.name().len() + 3 + right.len();
    let blanks = " ".repeat(columns.saturating_sub(used).max(3));
    let target = style.paint(Color::Bold, &target);
    format!("{target}{blanks}{}   {right}\n", style.verdict(report.verdict))
}

/// Each phase in its own line, drawn to scale from where the one before it ended.
fn draw_phases(out: &mut String, phases: &Timings, style: &Style) {
    let columns = style.width.unwrap_or(PAGE_COLUMNS).saturating_sub(LABEL_COLUMNS);
    let columns = columns.clamp(10, BAR_COLUMNS_MAX);
    let total = u64::from(phases.sum()).max(1);
    let column = |micros: u64| (micros * columns as u64 / total) as usize;
    let mut begin = 0;
    for phase in Phase::ALL {
        let Some(micros) = phases.get(phase) else { continue };
        let end = (begin + u64::from(micros)).min(total);
        let from = column(begin).min(columns - 1);
        let bar = match column(end).saturating_sub(from) {
            0 => "▏".to_owned(),
            wide => "█".repeat(wide),
        };
        let bar = style.paint(Color::Cyan, &bar);
        let blanks = " ".repeat(from);
        let time = duration_us(micros);
        let _ = writeln!(out, "  {:<8}  {time:>10}  {blanks}{bar}", phase.name());
        begin = end;
    }
}

fn cert_line(cert: &CertSummary) -> String {
    let day = cert.not_after.get(..10).unwrap_or("?");
    let end = match cert.days_left {
        left @ 0.. => format!("ends {day} ({} left)", in_days(left)),
        left => format!("ended {day} ({} ago)", in_days(-1 - left)),
    };
    let names = match cert.names.len() {
        1 => "1 name".to_owned(),
        count => format!("{count} names"),
    };
    format!("{}, {names}, by {}, {end}", cert.subject, cert.issuer)
}

/// Serialises a duration in microseconds as milliseconds.
fn millis<S: Serializer>(micros: &u32, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(f64::from(*micros) / 1_000.0)
}

/// Serialises the phases that were reached as a map from name to milliseconds.
fn phases_ms<S: Serializer>(phases: &Timings, out: S) -> Result<S::Ok, S::Error> {
    let reached = Phase::ALL.into_iter().filter_map(|phase| Some((phase, phases.get(phase)?)));
    out.collect_map(reached.map(|(phase, micros)| (phase.name(), f64::from(micros) / 1_000.0)))
}

#[cfg(test)]
mod tests {
    use probes::Failure;

    use super::*;

    fn phases(micros: [Option<u32>; 5]) -> Timings {
        let mut phases = Timings::NONE;
        for (phase, micros) in Phase::ALL.into_iter().zip(micros) {
            if let Some(micros) = micros {
                phases.set_micros(phase, micros);
            }
        }
        phases
    }

    fn report() -> CheckReport {
        CheckReport {
            target: "https://shop.example/health".into(),
            kind: "ping_web",
            verdict: Verdict::Up,
            code: "ok".into(),
            message: "200 OK".into(),
            http_status: Some(200),
            phases: phases([Some(12_400), Some(21_900), Some(44_100), Some(103_600), Some(2_200)]),
            total_us: 184_250,
            address: Some("203.0.113.10:443".into()),
            cert: Some(CertSummary {
                subject: "shop.example".into(),
                issuer: "R11".into(),
                names: vec!["shop.example".into(), "www.shop.example".into()],
                not_after: "2027-01-19T12:00:00.000Z".into(),
                days_left: 57,
                tls_version: "TLSv1.3".into(),
                cipher: "TLS13_AES_128_GCM_SHA256".into(),
                problem: None,
                chain: vec![],
            }),
            attempts: 1,
        }
    }

    #[test]
    fn the_phases_are_drawn_one_after_the_other_to_scale() {
        let style = Style { width: Some(64), ..Style::plain() };
        let wanted = "\
https://shop.example/health                  UP   200   184.2 ms

  resolve      12.4 ms  ██
  connect      21.9 ms    █████
  tls          44.1 ms         ██████████
  wait        103.6 ms                   ██████████████████████
  transfer     2.20 ms                                         █

  message   200 OK
  address   203.0.113.10:443
  tls       TLSv1.3 TLS13_AES_128_GCM_SHA256
  cert      shop.example, 2 names, by R11, ends 2027-01-19 (57 days left)
";
        let page = render(&report(), &style);
        assert_eq!(page, wanted, "\n{page}");
    }

    #[test]
    fn an_unreached_phase_is_neither_drawn_nor_in_the_json() {
        let report = CheckReport {
            phases: phases([Some(3_100), Some(2_000_000), None, None, None]),
            verdict: Verdict::Down,
            cert: None,
            http_status: None,
            address: None,
            ..report()
        };
        let page = render(&report, &Style::plain());
        assert!(page.contains("  resolve      3.10 ms  ▏\n"), "{page}");
        assert!(!page.contains("transfer"), "{page}");

        let json: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!(json["phases_ms"], serde_json::json!({"resolve": 3.1, "connect": 2000.0}));
        assert_eq!(json["type"], "ping_web");
        assert_eq!(json["verdict"], "down");
        assert_eq!(json["total_ms"], 184.25);
        for absent in ["http_status", "address", "cert"] {
            assert_eq!(json.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn phases_of_any_length_are_drawn_within_the_width() {
        let longest = Some(u32::MAX - 1);
        for phases in [
            phases([longest; 5]),
            phases([Some(0); 5]),
            phases([longest, Some(1), None, None, longest]),
        ] {
            let style = Style { width: Some(1), ..Style::plain() };
            let page = render(&CheckReport { phases, ..report() }, &style);
            let bars = page.lines().filter(|line| line.contains(['█', '▏']));
            assert!(bars.map(width).all(|wide| wide <= LABEL_COLUMNS + 10), "{page}");
        }
    }

    #[test]
    fn an_unknown_says_what_the_operator_can_do() {
        let report =
            CheckReport { verdict: Verdict::Unknown, code: "local_descriptors".into(), ..report() };
        assert!(render(&report, &Style::plain()).contains("  fix       raise LimitNOFILE"));
    }

    #[test]
    fn a_hostile_message_is_shown_in_one_harmless_line() {
        let report = CheckReport { message: "bad\x1b[2J\r\nUP  all is well".into(), ..report() };
        assert!(render(&report, &Style::plain()).contains("bad·[2J··UP"));
        let line = render_line(&report, &Style { width: Some(60), ..Style::plain() });
        assert_eq!(line, "UP         184.2 ms  https://shop.example/health  bad·[2J··…\n");
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_target_with_down_above_unknown() {
        let of = |verdicts: &[Verdict]| {
            let with = |verdict: &Verdict| CheckReport { verdict: *verdict, ..report() };
            exit_code(&verdicts.iter().map(with).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Verdict::Up, Verdict::Up]), 0);
        assert_eq!(of(&[Verdict::Up, Verdict::Unknown]), 3);
        assert_eq!(of(&[Verdict::Unknown, Verdict::Down]), 1);
        assert_eq!(of(&[Verdict::Pending]), 3);
    }

    #[test]
    fn a_certificate_is_summed_up_by_its_leaf() {
        let pair = |kind: &str, value: &str| (kind.to_owned(), value.to_owned());
        let leaf = CertInfo {
            issuer: vec![pair("countryName", "XX"), pair("organizationName", "Authority")],
            names: vec!["a.example".into()],
            not_after: 1_000_000,
            ..CertInfo::default()
        };
        let facts = CertFacts {
            chain: vec![leaf, CertInfo::default()],
            problem: Some(Failure::CertExpired),
            problem_text: String::new(),
            tls_version: String::new(),
            cipher: String::new(),
        };
        let cert = CertSummary::new(&facts, 1_000_001_000).unwrap();
        assert_eq!((cert.subject.as_str(), cert.issuer.as_str()), ("a.example", "Authority"));
        assert_eq!(cert.days_left, -1);
        assert_eq!(cert.problem.as_deref(), Some("cert_expired"));
        assert_eq!(
            cert_line(&cert),
            "a.example, 1 name, by Authority, ended 1970-01-12 (0 days ago)"
        );
        let far = CertInfo { not_after: i64::MIN, ..CertInfo::default() };
        let facts = CertFacts { chain: vec![far], ..facts };
        assert!(CertSummary::new(&facts, u64::MAX).unwrap().days_left < 0);
        assert_eq!(CertSummary::new(&CertFacts { chain: vec![], ..facts }, 0), None);
    }
}

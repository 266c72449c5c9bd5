//! Shows what the preflight found.
//!
//! Owns: the text of `doctor`, and the lines with which `start` refuses.

use std::fmt::Write;

use crate::cli::exit;
use crate::cli::style::{Color, Style, printable};
use crate::preflight::{Finding, Level};

/// Every finding in a line, what to do below it, and a last line with the sum.
pub fn render(findings: &[Finding], style: &Style) -> String {
    let widest = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let (word, color) = match finding.level {
            Level::Ok => ("ok  ", Color::Green),
            Level::Warn => ("warn", Color::Yellow),
            Level::Fail => ("FAIL", Color::Red),
        };
        let word = style.paint(color, word);
        let text = printable(&finding.text);
        let _ = writeln!(out, "{word}  {:widest$}  {text}", finding.name);
        if !finding.fix.is_empty() {
            let _ = writeln!(out, "      {:widest$}  fix: {}", "", printable(&finding.fix));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let sum = match (count(Level::Fail), count(Level::Warn)) {
        (0, 0) => "the engine can start".to_owned(),
        (0, warnings) => format!("the engine can start; warnings: {warnings}"),
        (failures, _) => format!("the engine cannot start; failures: {failures}"),
    };
    let _ = writeln!(out, "\n{sum}");
    out
}

/// What `start` writes to standard error for each finding that forbids the start; empty where
/// none does. The caller leaves with [`exit::CONFIG`] then.
pub fn refusal(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings.iter().filter(|finding| finding.level == Level::Fail) {
        let (text, fix) = (printable(&finding.text), printable(&finding.fix));
        let _ = writeln!(out, "error: {}: {text}\n  fix: {fix}", finding.name);
    }
    out
}

/// The exit code of `doctor`.
pub fn exit_code(findings: &[Finding]) -> u8 {
    let fails = findings.iter().any(|finding| finding.level == Level::Fail);
    if fails { exit::DOWN } else { exit::OK }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |name, level, text: &str, fix: &str| Finding {
            name,
            level,
            text: text.to_owned(),
            fix: fix.to_owned(),
        };
        vec![
            finding("memlock", Level::Ok, "enough for 2 shards", ""),
            finding("icmp", Level::Warn, "no right to ICMP sockets", "sysctl …"),
            finding("io_uring", Level::Fail, "switched off", "sysctl kernel.io_uring_disabled=0"),
        ]
    }

    #[test]
    fn findings_are_aligned_and_followed_by_what_to_do() {
        let wanted = "\
ok    memlock   enough for 2 shards
warn  icmp      no right to ICMP sockets
                fix: sysctl …
FAIL  io_uring  switched off
                fix: sysctl kernel.io_uring_disabled=0

the engine cannot start; failures: 1
";
        assert_eq!(render(&findings(), &Style::plain()), wanted);
        let warned = render(&findings()[..2], &Style::plain());
        assert!(warned.ends_with("the engine can start; warnings: 1\n"), "{warned}");
    }

    #[test]
    fn only_a_failure_refuses_the_start_and_changes_the_exit_code() {
        assert_eq!(
            refusal(&findings()),
            "error: io_uring: switched off\n  fix: sysctl kernel.io_uring_disabled=0\n"
        );
        assert_eq!(exit_code(&findings()), 1);
        assert_eq!(refusal(&findings()[..2]), "");
        assert_eq!(exit_code(&findings()[..2]), 0);
    }

    #[test]
    fn the_json_has_the_level_as_a_word() {
        let json: serde_json::Value =
            serde_json::from_str(&crate::cli::json(&findings()).unwrap()).unwrap();
        assert_eq!(json[1]["level"], "warn");
        assert_eq!(json[2]["name"], "io_uring");
    }
}

//! The command line: what is asked, and how answers are shown to people and to programs.
//!
//! Owns: the flags ([`args`]), every text and table that a command prints, the exit codes and the
//! live view. Leaves to others: doing what was asked (`main.rs` and below). Everything but
//! [`live::run`] and [`live::run_plain`] is a pure function from rows to text, so a test needs no
//! terminal.
//!
//! Text that a target or a user chose goes through [`style::printable`] before it reaches a
//! terminal: an escape sequence in a page title must not move anybody's cursor.

use serde::Serialize;

pub mod style;

pub mod table;

mod args_help;

pub mod args;

pub mod args_bench;

pub mod check_report;

pub mod monitors;

pub mod results;

pub mod incidents;

pub mod doctor;

pub mod live;

pub mod original_log;

pub mod logs;

pub mod feed;

pub mod look;

pub mod token;

pub mod check;

pub mod settle;

pub mod origin;

pub mod config_cmd;

pub mod keys;

pub mod instance;

pub mod api_setup;

pub mod start;

pub mod alerting;

pub mod trial;

pub mod bench;

pub mod remote;

pub mod change;

pub mod hist;

pub mod import;

pub mod tail;

pub mod top;

/// What `--json` prints: rows and findings as they are.
///
/// # Errors
///
/// None that is known: the types printed here always have a JSON form.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value)
}

/// Exit codes. Scripts rely on them: a code never changes its meaning.
pub mod exit {
    /// Fine; for `check`, every target is up.
    pub const OK: u8 = 0;
    /// `check`: a target is down. `validate`: the file has errors. `doctor`: something fails.
    /// Else: the command failed.
    pub const DOWN: u8 = 1;
    /// Wrong usage: an unknown flag, a value that is not allowed. Given by clap too.
    pub const USAGE: u8 = 2;
    /// `check`: no target is down, but of one it could not be told: our own trouble.
    pub const UNKNOWN: u8 = 3;
    /// `start`: the host or the configuration is not fit for a start (EX_CONFIG of sysexits.h).
    /// To start again would not help, so units name it in `RestartPreventExitStatus`.
    pub const CONFIG: u8 = 78;
}

//! Counts the instructions of every piece of a check and compares them with a baseline.
//!
//! Owns: running itself under valgrind's callgrind, reading the counts, and the words of a
//! difference. Instructions do not depend on how busy the machine is, so this can fail a change
//! where a time cannot. They do depend on the compiler: the baseline names its own.
//!
//! `cargo test --test instructions` compares; `INSTRUCTIONS=update cargo test --test instructions`
//! writes the baseline anew, to be committed with the change that explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

#[path = "../../benches/hot/mod.rs"]
mod hot;

/// Growth or decrease that is still the same, in per cent: what another C library changes.
const TOLERANCE: f64 = 4.0;
/// The same where the baseline is of another compiler, in per cent.
const TOLERANCE_OTHER_COMPILER: f64 = 30.0;
/// Tells this program that it runs under valgrind.
const INSIDE: &str = "--inside";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    /// What `rustc --version` says; the profile is that of `cargo test`.
    compiler: String,
    /// Instructions for each thing of a piece.
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == INSIDE) {
        run_pieces();
        return ExitCode::SUCCESS;
    }
    // As with every other test: a filter that names something else leaves this one out.
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list")
        || filter.is_some_and(|filter| !"instructions".contains(filter.as_str()))
    {
        return ExitCode::SUCCESS;
    }
    match check() {
        Ok(told) => {
            println!("{told}\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

/// Calls every piece: once so that memory and caches are there, once to be counted.
fn run_pieces() {
    for mut piece in hot::pieces() {
        (piece.work)();
        counted(piece.work.as_mut());
    }
}

/// The only function whose instructions count, with all that it calls. Its name is given to
/// callgrind.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn check() -> Result<String, String> {
    let now = measure()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/instructions/baseline.json");
    if env::var("INSTRUCTIONS").is_ok_and(|wish| wish == "update") {
        let text = serde_json::to_string_pretty(&now).map_err(|error| error.to_string())?;
        fs::write(&path, text + "\n").map_err(|error| error.to_string())?;
        return Ok(format!("written: {}", path.display()));
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let before = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    compare(&before, &now)
}

/// Says what changed; an error where it is more than tolerated.
fn compare(before: &Baseline, now: &Baseline) -> Result<String, String> {
    let same_compiler = before.compiler == now.compiler;
    let tolerance = if same_compiler { TOLERANCE } else { TOLERANCE_OTHER_COMPILER };
    let mut table = String::new();
    let mut outside = Vec::new();
    let names: BTreeSet<_> = before.instructions.keys().chain(now.instructions.keys()).collect();
    for name in names {
        let (old, new) = (before.instructions.get(name), now.instructions.get(name));
        let (Some(old), Some(new)) = (old, new) else {
            outside.push(format!("{name}: only one of baseline and program has it"));
            continue;
        };
        let change = (new / old - 1.0) * 100.0;
        table.push_str(&format!("{name:<26} {old:>9.1} -> {new:>9.1}  {change:>+6.1} %\n"));
        if change.abs() > tolerance {
            outside.push(format!("{name}: {change:+.1} %"));
        }
    }
    if !same_compiler {
        table.push_str(&format!(
            "The baseline is of {}, this build of {}: up to {tolerance} % may be the compiler's.\n",
            before.compiler, now.compiler
        ));
    }
    if outside.is_empty() {
        return Ok(table);
    }
    Err(format!(
        "{table}instructions for each, more than {tolerance} % away from the baseline:\n  {}\n\
         Fewer is good news, and more may be worth it: if this change is why, run\n  \
         INSTRUCTIONS=update cargo test --test instructions\nand commit the baseline with it.",
        outside.join("\n  ")
    ))
}

/// Runs this program under callgrind and reads a dump for each piece.
fn measure() -> Result<Baseline, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out");
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let ended = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--error-exitcode=0"])
        .args(["--toggle-collect=instructions::counted", "--dump-after=instructions::counted"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg(INSIDE)
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    let mut instructions = BTreeMap::new();
    for (number, piece) in hot::pieces().iter().enumerate() {
        let dump = PathBuf::from(format!("{}.{}", out.display(), number + 1));
        let text = fs::read_to_string(&dump).map_err(|error| {
            format!("callgrind wrote no dump {} for {}: {error}", number + 1, piece.name)
        })?;
        let total = total(&text).ok_or("a dump without a total")?;
        let each = (total as f64 / piece.things as f64 * 10.0).round() / 10.0;
        instructions.insert(piece.name.to_owned(), each);
    }
    Ok(Baseline { compiler: compiler()?, instructions })
}

/// The instructions of a dump.
fn total(dump: &str) -> Option<u64> {
    let line = dump
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    line?.trim().parse().ok()
}

fn compiler() -> Result<String, String> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(rustc).arg("--version").output();
    let said = said.map_err(|error| format!("rustc --version: {error}"))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

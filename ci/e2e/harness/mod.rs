//! Starts the binary, reads what it says, waits for what must come, and always ends it.
//!
//! Owns: the child processes. Nothing here sleeps for luck: [`eventually`] asks again until the
//! answer is there, and its bound only turns a hang into a failure.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod metrics;
pub mod running;
pub mod space;

pub use running::Engine;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_engine");

/// Far longer than anything here takes, on a machine that is busy with other things too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks until there is an answer.
///
/// # Panics
///
/// There is none within a minute; `what` names it.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let bound = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < bound, "waited in vain for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as one JSON object a line.
    pub fn json_lines(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.out.lines().map(read).collect()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            // A signal has no exit code: no test expects one here.
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command without the variables that change what it says.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "STATE_DIRECTORY", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    // Where users without rights do not look, and Debian has nginx, ip and nft.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.stdin(Stdio::null());
    command
}

/// Runs any command to its end.
///
/// # Panics
///
/// It cannot be started: the package that brings it is not installed.
pub fn run(program: &str, args: &[&str]) -> Said {
    let output = command(program).args(args).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; install its package")).into()
}

/// Runs any command that must succeed.
pub fn must_run(program: &str, args: &[&str]) {
    let said = run(program, args);
    assert_eq!(said.code, 0, "{program} {args:?} (are you root?): {said:?}");
}

/// Runs the binary to its end.
pub fn ask(args: &[&str]) -> Said {
    run(BINARY, args)
}

/// `engine monitors --json` of a data folder, by name.
pub fn monitors(data_dir: &Path) -> Vec<Value> {
    let said = ask(&["monitors", "--json", "--data-dir", text(data_dir)]);
    assert_eq!(said.code, 0, "{said:?}");
    match said.json() {
        Value::Array(monitors) => monitors,
        other => panic!("not a list: {other}"),
    }
}

/// `engine results --json` of one monitor: its results, newest first.
pub fn results(data_dir: &Path, monitor: &str) -> Vec<Value> {
    let folder = text(data_dir);
    let said = ask(&["results", monitor, "--json", "--limit", "1000", "--data-dir", folder]);
    assert_eq!(said.code, 0, "{said:?}");
    let page = said.json();
    assert_eq!(page["damaged"], Value::Array(vec![]), "{page}");
    page["results"].as_array().cloned().unwrap_or_else(|| panic!("no results: {page}"))
}

/// The due times of results.
pub fn due_times(results: &[Value]) -> Vec<u64> {
    results.iter().filter_map(|result| result["due_ms"].as_u64()).collect()
}

/// A path as the text that it is in every test.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Finds the one with this name.
pub fn named<'a>(monitors: &'a [Value], name: &str) -> &'a Value {
    let found = monitors.iter().find(|monitor| monitor["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {monitors:#?}"))
}

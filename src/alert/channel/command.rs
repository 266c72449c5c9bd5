//! A program of the user: it gets the notice as JSON on standard input and in variables.
//!
//! Owns: its start, its deadline, and what its exit code means. No shell is asked, so no name can
//! become a command.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::http::Failed;
use super::super::notice::Notice;
use super::super::words;
use super::Send;

/// Time between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A program and its arguments.
pub struct Program {
    /// The program first.
    pub run: Vec<String>,
    /// Past it the program is killed, in milliseconds.
    pub timeout_ms: u64,
}

impl Send for Program {
    fn send(&self, notice: &Notice) -> Result<(), Failed> {
        let Some((program, arguments)) = self.run.split_first() else {
            return Err(Failed::never("no program"));
        };
        // Who owns a monitor is none of the program's business.
        let mut shown = notice.clone();
        shown.facts.person = None;
        let json =
            serde_json::to_string(&shown).map_err(|error| Failed::never(error.to_string()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("ENGINE_EVENT", notice.event.name())
            .env("ENGINE_KEY", &notice.key)
            .env("ENGINE_MONITOR", plain(&notice.facts.name))
            .env("ENGINE_TARGET", plain(&notice.facts.target))
            .env("ENGINE_TITLE", plain(&words::title(notice)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failed::later(format!("{program}: {error}")))?;
        // A program that does not read its input may end before we have written it.
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(json.as_bytes());
        }
        self.wait(&mut child)
    }
}

impl Program {
    fn wait(&self, child: &mut Child) -> Result<(), Failed> {
        let deadline = Instant::now() + Duration::from_millis(self.timeout_ms);
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(Failed::later(status.to_string())),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Ok(None) => {
                    // It is ended either way; what remains is to take its exit status.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Failed::later("the program did not end in time and was killed"));
                }
                Err(error) => return Err(Failed::later(error.to_string())),
            }
        }
    }
}

/// A text that a variable can hold.
fn plain(text: &str) -> String {
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::http::Again;

    fn run(script: &str, timeout_ms: u64) -> Result<(), Failed> {
        let run = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program { run, timeout_ms }.send(&Notice::test(0))
    }

    #[test]
    fn a_program_gets_the_notice_and_its_exit_code_decides() {
        assert_eq!(
            run("grep -q '\"event\":\"test\"' && test \"$ENGINE_EVENT\" = test", 10_000),
            Ok(())
        );
        let failed = run("exit 3", 10_000).unwrap_err();
        assert_eq!((failed.text.as_str(), failed.again), ("exit status: 3", Again::Later));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_at_its_deadline() {
        let failed = run("exec sleep 600", 50).unwrap_err();
        assert!(failed.text.contains("killed"), "{failed:?}");
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let program = Program { run: vec!["/nowhere/x".to_owned()], timeout_ms: 1_000 };
        let failed = program.send(&Notice::test(0)).unwrap_err();
        assert!(failed.text.starts_with("/nowhere/x: No such file"), "{failed:?}");
    }
}

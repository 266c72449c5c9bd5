//! The original's commands with the real binary: its own folder, port and `.env` for each engine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for something that must come, busy machines included.
const PATIENCE: Duration = Duration::from_secs(60);

const MONITORS: &str = "monitors:
- {name: local, type: ping_icmp, target: 127.0.0.1, interval: 1s}
- {name: closed, type: tcp, target: '127.0.0.1:1', interval: 1s}
- {name: off, type: ping_icmp, target: 127.0.0.1, paused: true}
";

/// A folder to run in, with a file of monitors and a `.env`.
fn folder(env: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("monitors.yaml"), MONITORS).unwrap();
    let base = "ENGINE_CONFIG=monitors.yaml\nENGINE_DATA_DIR=data\nASYNC_THREAD_COUNT=1\n";
    fs::write(folder.path().join(".env"), format!("{base}{env}")).unwrap();
    folder
}

fn engine(folder: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.args(line).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn output(folder: &Path, line: &[&str]) -> (Output, String) {
    let output = engine(folder, line).output().unwrap();
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    (output, text)
}

/// A running engine; ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `look` finds something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts an engine on a port that the system chooses, and returns the port from the lock file.
fn start(folder: &Path, line: &[&str], lock: &str) -> (Running, String) {
    let line = [&["START", "--listen", "127.0.0.1:0"], line].concat();
    let mut command = engine(folder, &line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let err = BufReader::new(child.stderr.take().unwrap());
    // Both are read to their ends, so that the engine never waits for a full pipe.
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).for_each(|line| println!("{line}"))
    });
    std::thread::spawn(move || {
        err.lines().map_while(Result::ok).for_each(|line| println!("{line}"))
    });
    let running = Running(child);
    let path = folder.join("data").join(lock);
    let holder: Value =
        wait_for("the lock file", || serde_json::from_str(&fs::read_to_string(&path).ok()?).ok());
    assert_eq!(holder["pid"], running.0.id());
    (running, format!("127.0.0.1:{}", holder["port"]))
}

#[test]
fn an_engine_is_asked_and_stopped_with_the_password_it_made_up() {
    let place = folder("");
    let (mut running, listen) = start(place.path(), &[], "monitor_service.lock");
    let status = wait_for("the status", || {
        let (output, text) = output(place.path(), &["status", "--listen", &listen]);
        output.status.success().then_some(text)
    });
    assert!(
        status.starts_with("running: 3 monitors, 2 enabled, 2 running\n  shard-0: "),
        "{status}"
    );

    for address in ["127.0.0.1:0", &listen] {
        let (refused, text) = output(place.path(), &["start", "--listen", address]);
        assert_eq!(refused.status.code(), Some(78), "{text}");
        let holder = format!("(pid {}, address 127.0.0.1 port ", running.0.id());
        assert!(text.contains(&holder), "{text}");
    }
    let elsewhere = ["start", "--listen", &listen, "--data-dir", "other"];
    let (taken, text) = output(place.path(), &elsewhere);
    assert_eq!(taken.status.code(), Some(78), "{text}");
    assert!(text.contains(&format!("cannot listen on {listen}")), "{text}");

    let password = fs::read_to_string(place.path().join("data/admin-password")).unwrap();
    fs::write(place.path().join(".env.test"), "WEB_ADMIN_PASSWORD=wrong\n").unwrap();
    let (wrong, text) = output(place.path(), &["stop", "--test", "--listen", &listen]);
    assert!(!wrong.status.success() && text.contains("name or password"), "{text}");
    assert!(!text.contains(password.trim()), "{text}");

    let (stopped, text) = output(place.path(), &["stop", "--listen", &listen]);
    assert!(stopped.status.success(), "{text}");
    assert_eq!(text, "Monitor service is shutting down...\n");
    let code = wait_for("the end", || running.0.try_wait().unwrap());
    assert_eq!(code.code(), Some(0));
    assert!(!place.path().join("data/monitor_service.lock").exists());
    let (gone, text) = output(place.path(), &["status", "--listen", &listen]);
    assert!(!gone.status.success() && text.contains("no engine answers"), "{text}");
}

#[test]
fn chunks_run_side_by_side_and_write_the_files_of_the_original() {
    let place =
        folder("WEB_ADMIN_PASSWORD=s3cret\nENGINE_LOG_FORMAT=original\nTELEGRAM_ENABLED=1\n");
    let lock = |number| format!("monitor_service_chunk_{number}.lock");
    let (_one, first) = start(place.path(), &["--chunk=1-1"], &lock(1));
    let (mut two, second) = start(place.path(), &["--chunk=2-1"], &lock(2));
    assert_ne!(first, second);
    let read = |name: &str| fs::read_to_string(place.path().join("logs").join(name)).ok();
    wait_for("a result of the second chunk", || {
        read("log_1.txt")
            .filter(|text| text.contains("URL: 127.0.0.1:1\n") && text.contains("False"))
    });
    let main = wait_for("two starts", || {
        read("log_main.txt").filter(|text| text.contains("Check #2 at "))
    });
    assert!(main.contains("have no effect: TELEGRAM_ENABLED\n"), "{main}");
    assert!(main.contains(", DTime = 1.0s\n") && main.contains("# None - [PERF] [Test-T1-1] "));
    let (stopped, text) = output(place.path(), &["stop", "--listen", &second, "--chunk=2-1"]);
    assert!(stopped.status.success(), "{text}");
    wait_for("the end", || two.0.try_wait().unwrap());
    let (status, text) = output(place.path(), &["status", "--listen", &first]);
    assert!(
        status.status.success() && text.starts_with("running: 1 monitors, 1 enabled"),
        "{text}"
    );
}

#[test]
fn a_test_checks_the_first_enabled_monitor_and_writes_nothing() {
    let place = folder("");
    let (output, text) = output(place.path(), &["Test"]);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Testing monitor: local (127.0.0.1)"), "{text}");
    assert!(text.contains("🏁 Test result: {'success': True, 'response_time': "), "{text}");
    assert!(!place.path().join("data").exists());
    let other = "monitors: [{name: other, type: tcp, target: '127.0.0.1:1'}]";
    fs::write(place.path().join("other.yaml"), other).unwrap();
    fs::write(place.path().join(".env.test"), "ENGINE_CONFIG=other.yaml\n").unwrap();
    let (_, text) = self::output(place.path(), &["TEST"]);
    assert!(text.contains("Testing monitor: other (127.0.0.1:1)"), "{text}");
    assert!(text.contains("Test result: {'success': False, 'response_time': None"), "{text}");
}

#[test]
fn a_performance_round_takes_all_enabled_monitors_where_they_are_few() {
    let place = folder("");
    let (output, text) = output(place.path(), &["performance"]);
    assert!(output.status.success(), "{text}");
    for line in ["Total checks: 2\n", "Success rate: 50.0%\n", "Checks/sec: ", "CPU per check: "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!place.path().join("data").exists());
}

#[test]
fn nothing_asked_for_is_answered_with_the_help_and_settings_with_their_sources() {
    let place = folder("POSTGRES_HOST=db\nPOSTGRES_PASSWORD=s3cret\n");
    let (help, text) = output(place.path(), &[]);
    assert!(help.status.success() && text.contains("Usage: engine"), "{text}");
    let (config, text) = output(place.path(), &["config", "--json", "--cores=1"]);
    assert!(config.status.success() && !text.contains("s3cret"), "{text}");
    let rows: Value = serde_json::from_str(&text).unwrap();
    let row = |name: &str| {
        let found = rows.as_array().unwrap().iter().find(|row| row["setting"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("cores"), ("1".into(), "--cores".into()));
    let (database, from) = row("database");
    assert_eq!(database, "postgres://postgres:***@db:5432/monitor_v2");
    assert!(from.starts_with("POSTGRES_HOST in ") && from.ends_with(".env"), "{from}");
    assert_eq!(row("limit"), ("all".into(), "default".into()));
}

#[test]
fn a_database_that_is_not_supported_ends_the_start_with_one_clear_line() {
    let place = folder("DB_TYPE=mysql\n");
    let (refused, text) = output(place.path(), &["manager"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text.starts_with("error: DB_TYPE: MySQL is not supported"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

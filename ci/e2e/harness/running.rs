//! One running `engine start`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::metrics::Page;
use super::{BINARY, Said, command, eventually, monitors, results, text};

/// An engine that ends, at the latest, with this value.
pub struct Engine {
    child: Child,
    data_dir: PathBuf,
    log: Log,
    readers: Vec<JoinHandle<()>>,
    out: Arc<Mutex<String>>,
    address: SocketAddr,
}

/// Lines of standard error: JSON, or whatever else was said.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Value>>>);

impl Log {
    fn find(&self, message: &str) -> Option<Value> {
        let lines = self.0.lock().unwrap();
        let says = |line: &&Value| line["fields"]["message"].as_str().is_some_and(|m| m == message);
        lines.iter().rev().find(says).cloned()
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Engine {
    /// Starts with `args` on a free port and waits until it runs.
    pub fn start(data_dir: &Path, args: &[&str]) -> Engine {
        Engine::start_as(command(BINARY), data_dir, args)
    }

    /// Starts with a file of monitors.
    pub fn with_config(data_dir: &Path, config: &Path) -> Engine {
        Engine::start(data_dir, &["--config", text(config)])
    }

    /// Starts what `program` becomes, such as a wrapper that ends in the binary.
    pub fn start_as(mut program: Command, data_dir: &Path, args: &[&str]) -> Engine {
        program
            .args(["start", "--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"])
            .arg(data_dir)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = program.spawn().expect("the binary starts");
        let (log, out) = (Log::default(), Arc::<Mutex<String>>::default());
        let stderr = child.stderr.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let readers = vec![read_log(stderr, log.clone()), read_out(stdout, Arc::clone(&out))];
        let mut engine = Engine {
            child,
            data_dir: data_dir.to_owned(),
            log,
            readers,
            out,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let started = eventually("the log line `started`", || {
            let ended = engine.child.try_wait().expect("the child is ours");
            assert!(ended.is_none(), "ended at its start: {ended:?}\n{}", engine.log.text());
            engine.log.find("started")
        });
        let metrics = started["fields"]["metrics"].as_str().expect("the line names the page");
        let address = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
        engine.address = address.parse().expect("the line has address and port");
        engine
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the metrics page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `monitors --json` says now.
    pub fn monitors(&self) -> Vec<Value> {
        monitors(&self.data_dir)
    }

    /// What `results --json` says now, newest first.
    pub fn results(&self, monitor: &str) -> Vec<Value> {
        results(&self.data_dir, monitor)
    }

    /// Waits until a monitor has this verdict and returns it.
    pub fn wait_verdict(&self, monitor: &str, verdict: &str) -> Value {
        eventually(&format!("{monitor} {verdict}\n{}", self.log.text()), || {
            let monitors = self.monitors();
            let found = monitors.into_iter().find(|found| found["name"] == monitor)?;
            (found["verdict"] == verdict).then_some(found)
        })
    }

    /// Waits until a monitor has at least so many results and returns all it has, newest first.
    pub fn wait_results(&self, monitor: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} results of {monitor}"), || {
            let results = self.results(monitor);
            (results.len() >= count).then_some(results)
        })
    }

    /// The metrics page now.
    pub fn metrics(&self) -> Page {
        Page::scrape(self.address)
    }

    /// Waits until the log has this message and returns the newest such line.
    pub fn wait_log(&self, message: &str) -> Value {
        eventually(message, || self.log.find(message))
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Everything on standard output so far.
    pub fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the child is not waited for");
    }

    /// Waits for the end: exit code (-1 after a signal), standard output and error.
    pub fn wait(mut self) -> Said {
        let ended = eventually("the end of the engine", || self.child.try_wait().ok()?);
        for reader in self.readers.drain(..) {
            reader.join().expect("readers do not panic");
        }
        Said { code: ended.code().unwrap_or(-1), out: self.out(), err: self.log.text() }
    }

    /// SIGTERM, and the end.
    pub fn stop(self) -> Said {
        self.signal(Signal::SIGTERM);
        let said = self.wait();
        assert_eq!(said.code, 0, "{said:?}");
        said
    }

    /// SIGKILL, and the end.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_log(pipe: impl Read + Send + 'static, log: Log) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            log.0.lock().unwrap().push(line);
        }
    })
}

fn read_out(pipe: impl Read + Send + 'static, out: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut out = out.lock().unwrap();
            out.push_str(&line);
            out.push('\n');
        }
    })
}

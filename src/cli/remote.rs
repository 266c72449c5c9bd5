//! Asks a running engine over its API; `engine status` and `engine stop`.
//!
//! Owns: one HTTP exchange with an engine of ours, and the words about its answer. The answer is
//! bounded in size and each step in time.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::args::StartArgs;
use crate::cli::settle::{Layers, Refusal, Settled, failed, unfit};
use crate::cli::style::printable;
use crate::cli::{exit, keys};
use crate::config::Loaded;
use crate::config::database::Secret;
use crate::limits::{REMOTE_ANSWER_BYTES_MAX, REMOTE_WAIT_MS};
use crate::monitor::row::Interner;
use crate::placement;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: u64 = 16 * 1_024;

/// Prints how the engine is; returns the exit code.
pub fn status(args: &StartArgs) -> u8 {
    told(ask(args, "GET", "/api/status").map(|answer| status_text(&answer)))
}

/// Stops the engine; returns the exit code.
pub fn stop(args: &StartArgs) -> u8 {
    told(ask(args, "POST", "/api/shutdown").map(|answer| {
        let message = answer["message"].as_str().unwrap_or("the engine is stopping");
        printable(message).into_owned()
    }))
}

fn told(text: Result<String, Refusal>) -> u8 {
    match text {
        Ok(text) => {
            println!("{text}");
            exit::OK
        }
        Err(Refusal { code, text }) => {
            eprintln!("{text}");
            code
        }
    }
}

fn status_text(answer: &Value) -> String {
    let items = &answer["monitor_items"];
    let mut text = format!(
        "{}: {} monitors, {} enabled, {} running",
        printable(answer["status"].as_str().unwrap_or("?")),
        items["total"],
        items["enabled"],
        items["running_threads"]
    );
    for thread in answer["threads"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = thread["name"].as_str().unwrap_or("?");
        let status = thread["status"].as_str().unwrap_or("?");
        let _ = write!(text, "\n  {}: {}", printable(name), printable(status));
    }
    text
}

fn ask(args: &StartArgs, method: &str, path: &str) -> Result<Value, Refusal> {
    let remote = Remote::of(args)?;
    let body = remote.ask(method, path, REMOTE_ANSWER_BYTES_MAX)?;
    serde_json::from_slice(&body)
        .map_err(|_| failed(format!("what answers on {} is not this engine", remote.listen)))
}

/// A running engine.
pub struct Remote {
    listen: SocketAddr,
    user: String,
    password: Secret,
}

impl Remote {
    /// The engine that a start with the same settings runs.
    ///
    /// # Errors
    ///
    /// The settings are wrong, or no password is known.
    pub fn of(args: &StartArgs) -> Result<Remote, Refusal> {
        let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
        let layers = Layers::read(args, allowed)?;
        let file = match layers.config() {
            Some(path) => Loaded::read(&path, &mut Interner::default()).map_err(unfit)?.settings,
            None => Default::default(),
        };
        let settled = layers.settle(&file)?;
        let password = password(&settled)?;
        Ok(Remote { listen: reachable(settled.listen), user: settled.admin, password })
    }

    /// Where it is asked.
    pub fn address(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The body of the answer to a GET, at most `bytes_max` long.
    ///
    /// # Errors
    ///
    /// Nobody answers, or another status than 200 comes.
    pub fn get(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        self.ask("GET", path, bytes_max)
    }

    fn ask(&self, method: &str, path: &str, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        self.whole(self.open(method, path)?, path, bytes_max)
    }

    /// The body of the answer to a request with a body of this media type.
    ///
    /// # Errors
    ///
    /// As for [`Remote::get`]; any status from 200 to 299 is fine.
    pub fn put(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let answer = self.exchange(method, path, &format!("Content-Type: {kind}\r\n"), body)?;
        self.whole(answer, path, REMOTE_ANSWER_BYTES_MAX)
    }

    fn whole(
        &self,
        mut answer: impl BufRead,
        path: &str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        let read = answer.by_ref().take(bytes_max + 1).read_to_end(&mut body);
        read.map_err(|error| self.unreached(&error))?;
        if body.len() as u64 > bytes_max {
            return Err(failed(format!("{} answers with too much for {path}", self.listen)));
        }
        Ok(body)
    }

    /// The body of the answer to a GET, to be read as it comes. No line may take longer than the
    /// wait for a step.
    ///
    /// # Errors
    ///
    /// As for [`Remote::get`].
    pub fn open(&self, method: &str, path: &str) -> Result<impl BufRead + use<>, Refusal> {
        self.exchange(method, path, "", b"")
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &[u8],
    ) -> Result<BufReader<TcpStream>, Refusal> {
        let listen = self.listen;
        let sent = self.send(method, path, fields, body);
        let mut answer = sent.map_err(|error| self.unreached(&error))?;
        let head = head(&mut answer).map_err(|error| self.unreached(&error))?;
        let status = status_of(&head)
            .ok_or_else(|| failed(format!("what answers on {listen} does not speak HTTP")))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let hint = match status {
            401 => ": name or password are not those of the running engine".to_owned(),
            429 => ": too many wrong passwords; try again in a minute".to_owned(),
            _ => detail(answer),
        };
        Err(failed(format!("{listen} answers with status {status}{hint}")))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &[u8],
    ) -> io::Result<BufReader<TcpStream>> {
        let wait = Duration::from_millis(REMOTE_WAIT_MS);
        let mut stream = TcpStream::connect_timeout(&self.listen, wait)?;
        stream.set_read_timeout(Some(wait))?;
        stream.set_write_timeout(Some(wait))?;
        let credentials = STANDARD.encode(format!("{}:{}", self.user, self.password.reveal()));
        let listen = self.listen;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {listen}\r\nAuthorization: Basic {credentials}\r\n\
             {fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        stream.write_all(body)?;
        Ok(BufReader::new(stream))
    }

    fn unreached(&self, error: &io::Error) -> Refusal {
        let listen = self.listen;
        failed(format!(
            "no engine answers on {listen}: {error}; is it running, and listening there?"
        ))
    }
}

fn password(settled: &Settled) -> Result<Secret, Refusal> {
    let given = settled.password.clone();
    given.or_else(|| keys::known_password(&settled.base_dir)).ok_or_else(|| {
        failed(format!(
            "no password: set WEB_ADMIN_PASSWORD, or start the engine once with the data folder {}",
            settled.base_dir.display()
        ))
    })
}

/// An engine that listens on all addresses is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

/// The head of an answer, at most [`HEAD_BYTES_MAX`] long. What follows it is the body, ended by
/// the end of the connection (RFC 9112 section 6.3).
fn head(answer: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    let mut limited = answer.take(HEAD_BYTES_MAX);
    while limited.read_line(&mut head)? > 0 {
        if head.ends_with("\r\n\r\n") {
            break;
        }
    }
    Ok(head)
}

fn status_of(head: &str) -> Option<u16> {
    if !head.ends_with("\r\n\r\n") {
        return None;
    }
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// What a problem says about itself (RFC 9457), for people.
fn detail(answer: impl BufRead) -> String {
    let mut body = Vec::new();
    let read = answer.take(HEAD_BYTES_MAX).read_to_end(&mut body);
    let problem: Option<Value> = read.ok().and_then(|_| serde_json::from_slice(&body).ok());
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(String::new, |detail| format!(": {}", printable(detail)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_up_to_its_body() {
        let status = |mut answer: &[u8]| {
            let status = status_of(&head(&mut answer).unwrap());
            (status, answer.len())
        };
        assert_eq!(status(b"HTTP/1.0 401 No\r\nA: b\r\n\r\n{}"), (Some(401), 2));
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n").0, None);
        assert_eq!(status(b"HTTP/1.0 200 OK\r\nA: b\r\n").0, None);
    }

    #[test]
    fn a_status_is_one_line_and_one_for_each_thread() {
        let answer = json!({
            "status": "running",
            "monitor_items": {"total": 10, "enabled": 9, "running_threads": 9},
            "threads": [{"name": "shard-0", "status": "alive\u{1b}"}],
        });
        let wanted = "running: 10 monitors, 9 enabled, 9 running\n  shard-0: alive·";
        assert_eq!(status_text(&answer), wanted);
    }

    #[test]
    fn an_engine_on_all_addresses_is_asked_on_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:5005"), "127.0.0.1:5005");
        assert_eq!(asked("[::]:5005"), "127.0.0.1:5005");
        assert_eq!(asked("192.0.2.1:5005"), "192.0.2.1:5005");
    }
}

//! `engine status` and `engine stop`: asks a running engine over its API.
//!
//! Owns: one HTTP exchange with an engine of ours, and the words about its answer. The answer is
//! bounded in size and time.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
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
    let allowed = placement::shard_cpus(None).map_err(unfit)?.len();
    let layers = Layers::read(args, allowed)?;
    let file = match layers.config() {
        Some(path) => Loaded::read(&path, &mut Interner::default()).map_err(unfit)?.settings,
        None => Default::default(),
    };
    let settled = layers.settle(&file)?;
    let password = password(&settled)?;
    let listen = reachable(settled.listen);
    let unreached = |error: io::Error| {
        failed(format!(
            "no engine answers on {listen}: {error}; is it running, and listening there?"
        ))
    };
    let answer = exchange(listen, method, path, &settled.admin, &password).map_err(unreached)?;
    let (status, body) = split(&answer)
        .ok_or_else(|| failed(format!("what answers on {listen} does not speak HTTP")))?;
    if status != 200 {
        let hint = match status {
            401 => ": name or password are not those of the running engine",
            429 => ": too many wrong passwords; try again in a minute",
            _ => "",
        };
        return Err(failed(format!("{listen} answers with status {status}{hint}")));
    }
    serde_json::from_slice(body)
        .map_err(|_| failed(format!("what answers on {listen} is not this engine")))
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

fn exchange(
    listen: SocketAddr,
    method: &str,
    path: &str,
    user: &str,
    password: &Secret,
) -> io::Result<Vec<u8>> {
    let wait = Duration::from_millis(REMOTE_WAIT_MS);
    let mut stream = TcpStream::connect_timeout(&listen, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let credentials = STANDARD.encode(format!("{user}:{}", password.reveal()));
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {listen}\r\nAuthorization: Basic {credentials}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(REMOTE_ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer that is ended by the end of the connection (RFC 9112 section 6.3).
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    Some((words.next()?.parse().ok()?, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        assert_eq!(split(b"HTTP/1.0 401 No\r\nA: b\r\n\r\n{}"), Some((401, &b"{}"[..])));
        assert_eq!(split(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(split(b"HTTP/1.0 200 OK\r\nA: b\r\n"), None);
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

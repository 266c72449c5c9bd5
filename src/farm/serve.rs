//! Plays one behaviour on one connection.
//!
//! Owns: the accept loops and what is sent when. A connection ends with its client, and after
//! [`CONNECTION_MAX`] at the latest, so that a forgotten client holds no descriptor for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::behaviour::{Behaviour, REDIRECT_HOPS};
use super::{Shared, tls};

/// Longest life of a connection: beyond every time limit that a demo or a test uses.
const CONNECTION_MAX: Duration = Duration::from_secs(120);
/// Pause after a failed accept (no descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Pause between two bytes of the tarpit.
const TARPIT_PAUSE: Duration = Duration::from_secs(1);
/// Longest request head that is read, in bytes; more than any probe sends.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Serves every connection of one listener until the runtime ends.
pub(super) async fn accept_all(
    listener: TcpListener,
    behaviour: Behaviour,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // Errors here are the client's: it left before the end of the play.
            let _ = timeout(CONNECTION_MAX, play(stream, behaviour, tls, &shared)).await;
        });
    }
}

async fn play(
    mut stream: TcpStream,
    behaviour: Behaviour,
    tls: Option<Arc<ServerConfig>>,
    shared: &Shared,
) -> io::Result<()> {
    if let Some(config) = tls {
        tls::answer(&mut stream, config, &shared.pages.good).await?;
        return close(stream).await;
    }
    let good = shared.pages.good.as_slice();
    match behaviour {
        Behaviour::ResetAtAccept => return reset(stream),
        Behaviour::Silent => drain(&mut stream).await?,
        Behaviour::SshBanner => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await?;
        }
        Behaviour::TcpOpen => {
            wait_for_bytes(&mut stream).await?;
        }
        Behaviour::PlainOnTls => {
            wait_for_bytes(&mut stream).await?;
            let head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head).await?;
        }
        _ => {
            let path = request_path(&mut stream).await?;
            match behaviour {
                Behaviour::Slow { delay_ms } => {
                    sleep(Duration::from_millis(u64::from(delay_ms))).await;
                    stream.write_all(good).await?;
                }
                Behaviour::Status(status) => stream.write_all(&with_status(status)).await?,
                Behaviour::RedirectLoop => stream.write_all(&redirect("/again")).await?,
                Behaviour::RedirectChain => match next_hop(&path) {
                    Some(hop) => stream.write_all(&redirect(&hop)).await?,
                    None => stream.write_all(good).await?,
                },
                Behaviour::SplitNeedle => stream.write_all(&shared.pages.split_needle).await?,
                Behaviour::Gzip => stream.write_all(&shared.pages.gzip).await?,
                Behaviour::Endless => endless(&mut stream).await?,
                Behaviour::Tarpit => tarpit(&mut stream, good).await?,
                Behaviour::Half => stream.write_all(&good[..good.len() / 2]).await?,
                Behaviour::ResetMidBody => {
                    stream.write_all(&good[..good.len() / 2]).await?;
                    return reset(stream);
                }
                _ => stream.write_all(good).await?,
            }
        }
    }
    close(stream).await
}

/// Reads a request head and gives the path it asks for.
async fn request_path(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::with_capacity(1_024);
    while !head_is_complete(&head) {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or("/").to_owned())
}

/// True when the empty line after the header fields has come (RFC 9112 §2.1).
pub(super) fn head_is_complete(head: &[u8]) -> bool {
    head.windows(4).any(|window| window == b"\r\n\r\n")
}

/// Where the chain goes on from `path`: `/hop/1` to `/hop/N`; `None` at its end.
fn next_hop(path: &str) -> Option<String> {
    let hop: u32 = path.strip_prefix("/hop/").and_then(|hop| hop.parse().ok()).unwrap_or(0);
    (hop < REDIRECT_HOPS).then(|| format!("/hop/{}", hop + 1))
}

fn redirect(path: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn with_status(status: u16) -> Vec<u8> {
    let reason = match status {
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    };
    format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

async fn endless(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
    let block = [b'.'; 16 * 1_024];
    loop {
        stream.write_all(&block).await?;
        // Others get their turn even while this client reads as fast as we write.
        tokio::task::yield_now().await;
    }
}

async fn tarpit(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    for byte in answer.chunks(1) {
        stream.write_all(byte).await?;
        sleep(TARPIT_PAUSE).await;
    }
    Ok(())
}

/// Returns when the client has said something or has closed.
async fn wait_for_bytes(stream: &mut TcpStream) -> io::Result<usize> {
    stream.read(&mut [0; 512]).await
}

/// Reads until the client closes.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 1_024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Closes in order: what was sent arrives even if the client is still sending (RFC 9112 §9.6).
async fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    drain(&mut stream).await
}

/// Closes with a reset (SO_LINGER with 0 seconds, socket(7)).
fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

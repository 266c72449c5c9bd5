//! The server's side of a TLS exchange with one request and one answer.
//!
//! Owns: moving bytes between a socket and rustls. Knows nothing of certificates.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::serve::{HEAD_BYTES_MAX, head_is_complete};

/// Does a handshake, reads a request head and sends `answer`. A client that only wants the
/// handshake may leave after it.
///
/// # Errors
///
/// The client broke the handshake (an alert was sent to it) or the connection.
pub(super) async fn answer(
    stream: &mut TcpStream,
    config: Arc<ServerConfig>,
    answer: &[u8],
) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut request = Vec::new();
    let mut buffer = [0; 4 * 1_024];
    while !head_is_complete(&request) {
        let count = stream.read(&mut buffer).await?;
        if count == 0 || request.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        let taken = take(&mut tls, &buffer[..count], &mut request);
        flush(&mut tls, stream).await?;
        taken?;
    }
    tls.writer().write_all(answer)?;
    tls.send_close_notify();
    flush(&mut tls, stream).await
}

/// Gives received bytes to rustls and collects the plain text that comes out.
fn take(tls: &mut ServerConnection, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let ready = state.plaintext_bytes_to_read() as u64;
        tls.reader().take(ready).read_to_end(plain)?;
        if state.peer_has_closed() {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends what rustls has to send.
async fn flush(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    let mut out = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut out)?;
    }
    stream.write_all(&out).await
}

//! What a scripted target does, and the answers that are always the same.
//!
//! Owns: the list of behaviours and their bytes. Opens no socket: `serve` sends these bytes.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The text that content pages hold, in a chunked page cut in the middle by a chunk boundary.
pub const NEEDLE: &str = "all systems operational";

/// Hops of [`Behaviour::RedirectChain`] before the good answer.
pub const REDIRECT_HOPS: u32 = 3;

/// Body of a good answer, in bytes: about the size of a health page.
pub const BODY_BYTES: usize = 1_024;

/// What one port of the farm does with every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// HTTP 200 with a body of 1 KiB.
    Good,
    /// HTTP 200, given this many milliseconds after the request came.
    Slow {
        /// Milliseconds between request and answer.
        delay_ms: u32,
    },
    /// HTTP with this status and no body.
    Status(u16),
    /// [`REDIRECT_HOPS`] redirects to other paths of the same port, then HTTP 200.
    RedirectChain,
    /// Redirects to itself for ever.
    RedirectLoop,
    /// HTTP 200, chunked, with [`NEEDLE`] split over two chunks.
    SplitNeedle,
    /// HTTP 200, compressed by gzip, with [`NEEDLE`] in it.
    Gzip,
    /// HTTP 200 and a body without length and without end.
    Endless,
    /// A good answer at one byte a second.
    Tarpit,
    /// Half of a good answer, then an orderly close.
    Half,
    /// A reset as soon as the connection is accepted.
    ResetAtAccept,
    /// Half of a good answer, then a reset.
    ResetMidBody,
    /// Accepts and says nothing.
    Silent,
    /// Accepts and says nothing until it is spoken to, then closes.
    TcpOpen,
    /// The port is reserved and refuses.
    Closed,
    /// The backlog is full: no answer to SYN.
    BlackHole,
    /// The greeting of an SSH server, whatever is asked.
    SshBanner,
    /// A TLS handshake with this certificate, then HTTP 200.
    Tls(Certificate),
    /// Answers a TLS handshake in plain HTTP, as a web server does on its plain port.
    PlainOnTls,
}

/// The certificate that a TLS target shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certificate {
    /// Signed by the farm's authority, for the farm's address and `localhost`, 90 days left.
    Good,
    /// As the good one, 5 days left.
    ExpiresSoon,
    /// As the good one, ended yesterday.
    Expired,
    /// As the good one, valid from 10 days on.
    NotYetValid,
    /// As the good one, for another name.
    WrongName,
    /// Signed by itself.
    SelfSigned,
}

impl Certificate {
    /// Every certificate.
    pub const ALL: [Certificate; 6] = [
        Certificate::Good,
        Certificate::ExpiresSoon,
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::WrongName,
        Certificate::SelfSigned,
    ];
}

/// Answers that are always the same, made once per farm.
pub(super) struct Pages {
    /// HTTP 200 with a body of [`BODY_BYTES`].
    pub good: Vec<u8>,
    /// HTTP 200, chunked, the needle over two chunks.
    pub split_needle: Vec<u8>,
    /// HTTP 200, gzip.
    pub gzip: Vec<u8>,
}

impl Pages {
    pub fn new() -> Pages {
        let body = body();
        let good = with_length("", &body);

        let (left, right) = NEEDLE.split_at(NEEDLE.len() / 2);
        let mut split_needle =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
        for chunk in ["<p>", left, right, "</p>\n"] {
            split_needle.extend(format!("{:x}\r\n{chunk}\r\n", chunk.len()).bytes());
        }
        split_needle.extend(b"0\r\n\r\n");

        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // A Vec takes every byte: neither call can fail.
        let _ = gzip.write_all(&body);
        let gzip = with_length("Content-Encoding: gzip\r\n", &gzip.finish().unwrap_or_default());
        Pages { good, split_needle, gzip }
    }
}

/// A page of [`BODY_BYTES`] that holds the needle.
fn body() -> Vec<u8> {
    let mut body = format!("<!doctype html><title>demo</title><p>{NEEDLE}</p>\n").into_bytes();
    let line = b"The quick brown fox jumps over the lazy dog, and nobody minds.\n";
    let missing = BODY_BYTES - body.len();
    body.extend(line.iter().cycle().take(missing));
    body
}

fn with_length(fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

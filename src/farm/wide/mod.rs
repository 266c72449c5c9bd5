//! A farm for benches: every address of 127.0.0.0/8, one port for each play, few µs an answer.
//!
//! Owns: the plays, their bytes and their ports. `serve` has the loop: one thread, one epoll set,
//! plain calls. Leaves to others: the demo's behaviours, which are many and need not be cheap. Its
//! listeners are bound to the loopback interface: nobody else can reach them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::behaviour::Certificate;
use super::certs::Certificates;

mod serve;

/// Connections that wait to be accepted, per port; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4_096;
/// Body of a small answer, in bytes.
const SMALL_BYTES: usize = 200;
/// Body of a usual answer, in bytes: as large as a health page.
const PAGE_BYTES: usize = 1_024;
/// Body of a large answer, in bytes: more than one segment and than one read of the client.
const LARGE_BYTES: usize = 64 * 1_024;
/// Wait before a delayed answer.
const DELAY: Duration = Duration::from_millis(50);
/// Pause between two bytes of the tarpit.
const TARPIT_PAUSE: Duration = Duration::from_secs(1);

/// What one port does with every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Play {
    /// Accepts and closes: enough for a check that only connects.
    Open,
    /// Nobody listens there.
    Refused,
    /// HTTP 200, `SMALL_BYTES`.
    Small,
    /// HTTP 200, `PAGE_BYTES`.
    Page,
    /// HTTP 200, `LARGE_BYTES`.
    Large,
    /// As `Page`, after `DELAY`.
    Delayed,
    /// HTTP 503.
    Unavailable,
    /// A reset as soon as the connection is accepted.
    Reset,
    /// Accepts and says nothing.
    Silent,
    /// As `Page`, one byte a second.
    Tarpit,
    /// As `Page`; while there is an outage as `Silent`.
    Outage,
    /// As `Page`, over TLS with a good certificate.
    Tls,
    /// As `Tls`, with a certificate that nobody signed.
    TlsUntrusted,
    /// As `Tls`; sessions can be resumed.
    TlsResumed,
    /// As `Page`; the connection is kept until the client closes it.
    Kept,
}

impl Play {
    /// Every play.
    pub const ALL: [Play; 15] = [
        Play::Open,
        Play::Refused,
        Play::Small,
        Play::Page,
        Play::Large,
        Play::Delayed,
        Play::Unavailable,
        Play::Reset,
        Play::Silent,
        Play::Tarpit,
        Play::Outage,
        Play::Tls,
        Play::TlsUntrusted,
        Play::TlsResumed,
        Play::Kept,
    ];

    fn answer(self) -> Vec<u8> {
        match self {
            Play::Small => page(SMALL_BYTES, "close"),
            Play::Large => page(LARGE_BYTES, "close"),
            Play::Unavailable => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
                Connection: close\r\n\r\n"
                .to_vec(),
            Play::Kept => page(PAGE_BYTES, "keep-alive"),
            _ => page(PAGE_BYTES, "close"),
        }
    }
}

/// Where the plays are, as the farm's process tells the one that started it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Places {
    /// The port of each play, on every address of 127.0.0.0/8.
    pub ports: Vec<(Play, u16)>,
    /// The authority that signed the good certificate, for `localhost`.
    pub ca_pem: String,
}

impl Places {
    /// The port of a play.
    pub fn port(&self, play: Play) -> u16 {
        self.ports.iter().find(|(known, _)| *known == play).map_or(0, |(_, port)| *port)
    }
}

/// A port and what happens there.
struct Stage {
    play: Play,
    socket: Socket,
    answer: Vec<u8>,
    tls: Option<Arc<ServerConfig>>,
}

/// The farm before it serves.
pub struct WideFarm {
    stages: Vec<Stage>,
    places: Places,
}

impl WideFarm {
    /// Opens a port for each play.
    ///
    /// # Errors
    ///
    /// The error of the socket call that failed, or of making the certificates.
    pub fn open() -> io::Result<WideFarm> {
        let address = Ipv4Addr::LOCALHOST.into();
        let certificates = Certificates::make(address).map_err(io::Error::other)?;
        let mut stages = Vec::with_capacity(Play::ALL.len());
        let mut ports = Vec::with_capacity(Play::ALL.len());
        for play in Play::ALL {
            let socket = bound()?;
            if play != Play::Refused {
                socket.listen(BACKLOG)?;
            }
            let local = socket.local_addr()?.as_socket();
            ports.push((play, local.map_or(0, |local| local.port())));
            let tls = match play {
                Play::Tls => Some(full_handshakes(&certificates.server(Certificate::Good))),
                Play::TlsUntrusted => {
                    Some(full_handshakes(&certificates.server(Certificate::SelfSigned)))
                }
                Play::TlsResumed => Some(
                    resumable(&certificates.server(Certificate::Good)).map_err(io::Error::other)?,
                ),
                _ => None,
            };
            stages.push(Stage { play, socket, answer: play.answer(), tls });
        }
        Ok(WideFarm { stages, places: Places { ports, ca_pem: certificates.ca_pem } })
    }

    /// Where the plays are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Serves until `orders` ends. Each byte of it is an order: `s` begins an outage, `r` ends it.
    ///
    /// # Errors
    ///
    /// The error of epoll_wait(2): the farm cannot go on.
    pub fn serve(self, orders: File) -> io::Result<()> {
        serve::run(self.stages, orders)
    }
}

/// A socket on every loopback address and on no other interface (SO_BINDTODEVICE, socket(7)).
fn bound() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    Ok(socket)
}

/// The same server without session tickets: every handshake is a full one.
fn full_handshakes(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Arc::new(config)
}

/// The same server with tickets, which cost it no memory.
fn resumable(config: &ServerConfig) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = config.clone();
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

fn page(bytes: usize, connection: &str) -> Vec<u8> {
    let mut page = format!(
        "HTTP/1.1 200 OK\r\nServer: farm\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\
         Connection: {connection}\r\n\r\n"
    )
    .into_bytes();
    let line = b"The quick brown fox jumps over the lazy dog, and nobody minds.\n";
    page.extend(line.iter().cycle().take(bytes));
    page
}

#[cfg(test)]
mod tests;

//! `/probe` with a dns module: one query to the server that is asked about.
//!
//! Owns: the sockets of that query, on the control thread; at most as many at once as other probes.
//! It goes only where the egress policy allows, asked with the address that is connected to.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use hickory_proto::op::Message;
use nix::errno::Errno;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout_at;

use crate::api::problem::Problem;
use crate::blackbox::dns::{Dns, Exchange};
use crate::fault::{Owner, owner_of};
use crate::net::egress::Egress;
use probes::spec::Family;

/// The port where a target names none.
const PORT: u16 = 53;
/// Longest answer in a datagram, in bytes: all of one.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Asks `target` once.
///
/// # Errors
///
/// It may not go there, the target is no address, or our own trouble; what the server does or does
/// not answer is in the exchange.
pub async fn ask(
    dns: &Dns,
    target: &str,
    family: Family,
    egress: &Egress,
    timeout_ms: u64,
) -> Result<Exchange, Problem> {
    let begun = Instant::now();
    let until = begun + Duration::from_millis(timeout_ms);
    let server = resolve(target, family, until).await?;
    if !egress.allows(server.ip()) {
        let told = "/probe may not go there; --probe-allow says where it may";
        let detail = format!("{}: {told}", server.ip());
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let resolved = Instant::now();
    let (connected, reply) = match dns.over_tcp {
        true => over_tcp(dns, server, until).await,
        false => over_udp(dns, server, until).await,
    };
    let reply = reply.map_err(|error| ours(&error).map_or(Ok(error.to_string()), Err));
    let reply = match reply {
        Ok(message) => Ok(message),
        Err(theirs) => Err(theirs?),
    };
    Ok(Exchange {
        server: server.ip(),
        resolve_s: (resolved - begun).as_secs_f64(),
        connect_s: (connected - resolved).as_secs_f64(),
        request_s: connected.elapsed().as_secs_f64(),
        reply,
    })
}

/// The address of `host`, `host:port` or `[v6]:port`.
async fn resolve(target: &str, family: Family, until: Instant) -> Result<SocketAddr, Problem> {
    let bare = target.trim_start_matches('[').trim_end_matches(']');
    let (host, port) = match target.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) if bare.parse::<std::net::IpAddr>().is_ok() => (bare.to_owned(), PORT),
        Err(_) => {
            let (host, port) = target.rsplit_once(':').unwrap_or((target, "53"));
            let no_port = |_| Problem::field("target", format!("{port:?} is no port"));
            (host.to_owned(), port.parse().map_err(no_port)?)
        }
    };
    let unknown = |error: io::Error| Problem::field("target", format!("{host}: {error}"));
    let found = timeout_at(until.into(), lookup_host((host.as_str(), port))).await;
    let found = found.unwrap_or_else(|_| Err(late())).map_err(unknown)?;
    let mut fitting = found.filter(|address| family.allows(address.ip()));
    let none = || Problem::field("target", format!("{host}: has no address of this family"));
    fitting.next().ok_or_else(none)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// The number of a query, which nobody can guess.
fn number() -> io::Result<u16> {
    let mut bytes = [0; 2];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(u16::from_be_bytes(bytes))
}

/// An error of a socket that is our own trouble.
fn ours(error: &io::Error) -> Option<Problem> {
    let errno = Errno::from_raw(error.raw_os_error()?);
    match owner_of(errno, true) {
        Owner::Target(_) => None,
        Owner::Engine(fault) => {
            let detail = format!("{}: {error}; {}", fault.name(), fault.fix());
            Some(Problem::busy(StatusCode::SERVICE_UNAVAILABLE, detail, 5))
        }
    }
}

async fn over_udp(dns: &Dns, server: SocketAddr, until: Instant) -> (Instant, io::Result<Message>) {
    let mut connected = Instant::now();
    let work = async {
        let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        connected = Instant::now();
        let (id, mut buffer) = (number()?, vec![0; DATAGRAM_BYTES_MAX]);
        socket.send(&encoded(dns, id)?).await?;
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Anything else is not from whom we asked, or late.
            if let Some(message) = dns.read(id, &buffer[..length]) {
                return Ok(message);
            }
        }
    };
    let reply = timeout_at(until.into(), work).await.unwrap_or_else(|_| Err(late()));
    (connected, reply)
}

async fn over_tcp(dns: &Dns, server: SocketAddr, until: Instant) -> (Instant, io::Result<Message>) {
    let mut connected = Instant::now();
    let work = async {
        let mut stream = TcpStream::connect(server).await?;
        connected = Instant::now();
        let id = number()?;
        let query = encoded(dns, id)?;
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend(query);
        stream.write_all(&framed).await?;
        let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut bytes).await?;
        dns.read(id, &bytes).ok_or_else(|| io::Error::other("the answer is not to this query"))
    };
    let reply = timeout_at(until.into(), work).await.unwrap_or_else(|_| Err(late()));
    (connected, reply)
}

fn encoded(dns: &Dns, id: u16) -> io::Result<Vec<u8>> {
    dns.encode(id).ok_or_else(|| io::Error::other("the query cannot be encoded"))
}

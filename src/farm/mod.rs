//! Scripted targets on this host: one behaviour per port, most of them lies.
//!
//! Owns: the listeners of `engine start --demo`, of the end-to-end tests and of the benchmarks, and
//! the certificates they show. Leaves to others: what a probe makes of them. Runs one plain thread
//! with its own tokio runtime, away from the shards, and ends with the [`Farm`] value. An answer
//! costs about 30 µs of that thread, so one farm gives well over 10,000 answers a second.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

pub mod behaviour;
mod certs;
pub mod demo;
mod serve;
mod tls;
pub mod wide;

pub use behaviour::{Behaviour, Certificate};
pub use demo::{DEMO_BEHAVIOURS, demo_expectations, demo_monitors};

use behaviour::Pages;
use certs::Certificates;

/// Connections that wait to be accepted, per listener; the kernel lowers it to
/// net.core.somaxconn. Large, so that a burst of one tick's probes is never dropped by the farm.
const BACKLOG: i32 = 4_096;

/// Scripted targets. They end when this value is dropped.
#[derive(Debug)]
pub struct Farm {
    addresses: Vec<(Behaviour, SocketAddr)>,
    ca_pem: String,
    /// Sockets that only have to exist: closed ports, and full backlogs with what fills them.
    _held: Vec<Socket>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What every connection of one farm needs.
struct Shared {
    pages: Pages,
    certificates: Certificates,
}

impl Farm {
    /// Starts one listener per behaviour on `bind`, each on a free port; a behaviour named twice
    /// gets two ports, of which the first is reported.
    ///
    /// # Errors
    ///
    /// The error of the socket call that failed (no descriptor, `bind` is not an address of this
    /// host), or of making the certificates. Nothing is left running then.
    pub fn start(bind: IpAddr, behaviours: &[Behaviour]) -> io::Result<Farm> {
        let certificates = Certificates::make(bind).map_err(io::Error::other)?;
        let ca_pem = certificates.ca_pem.clone();
        let shared = Arc::new(Shared { pages: Pages::new(), certificates });
        let runtime = Builder::new_current_thread().enable_all().build()?;

        let mut addresses = Vec::with_capacity(behaviours.len());
        let mut held = Vec::new();
        for behaviour in behaviours {
            let socket = bound(bind)?;
            let address = local_address(&socket)?;
            addresses.push((*behaviour, address));
            match behaviour {
                Behaviour::Closed => held.push(socket),
                Behaviour::BlackHole => {
                    // A backlog of 0 holds one connection; while it is full the kernel drops every
                    // further SYN (tcp_conn_request: LISTENOVERFLOWS).
                    socket.listen(0)?;
                    let filler = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                    filler.connect(&address.into())?;
                    held.extend([socket, filler]);
                }
                _ => listen(&runtime, socket, *behaviour, &shared)?,
            }
        }

        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("farm".into()).spawn(move || {
            // Dropping the runtime closes every listener and connection.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Farm { addresses, ca_pem, _held: held, stop: Some(stop), thread: Some(thread) })
    }

    /// Where this behaviour is found; `None` where the farm was started without it.
    pub fn address(&self, behaviour: Behaviour) -> Option<SocketAddr> {
        self.addresses.iter().find(|(known, _)| *known == behaviour).map(|(_, address)| *address)
    }

    /// The port of this behaviour; `None` where the farm was started without it.
    pub fn port(&self, behaviour: Behaviour) -> Option<u16> {
        self.address(behaviour).map(|address| address.port())
    }

    /// Every behaviour and where it is found, in the order of the start.
    pub fn addresses(&self) -> &[(Behaviour, SocketAddr)] {
        &self.addresses
    }

    /// The certificate authority that signed the farm's certificates, as PEM: the `ca_file` of
    /// monitors that are to trust them. Made anew at each start; its key is never written.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        // Dropping the sender wakes the thread; it cannot fail to end after that.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bound(bind: IpAddr) -> io::Result<Socket> {
    let address = SocketAddr::new(bind, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| Errno::EAFNOSUPPORT.into())
}

/// Starts to serve `behaviour` on a bound socket.
fn listen(
    runtime: &Runtime,
    socket: Socket,
    behaviour: Behaviour,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let tls: Option<Arc<ServerConfig>> = match behaviour {
        Behaviour::Tls(certificate) => Some(shared.certificates.server(certificate)),
        _ => None,
    };
    let _inside = runtime.enter();
    let listener = TcpListener::from_std(socket.into())?;
    runtime.spawn(serve::accept_all(listener, behaviour, tls, Arc::clone(shared)));
    Ok(())
}

#[cfg(test)]
mod tests;

//! What to probe: one checked description per monitor. Parsed once; no invalid value after.
//!
//! Owns: the types. Leaves to others: reading them from files and tables (`monitor/row.rs`).
//! Sizes matter here, since a million of these stay in memory: what many monitors share sits
//! behind an `Arc`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// One probe, ready to be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeSpec {
    /// An HTTP/1.1 exchange, over TLS where the URL says so.
    Http(Box<HttpSpec>),
    /// A TCP connect.
    Tcp(TcpSpec),
    /// A TLS handshake and the facts of the certificate.
    Tls(Box<TlsSpec>),
    /// One ICMP echo.
    Icmp(IcmpSpec),
}

/// Who is asked: a name to resolve, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A host name in its ASCII form, lower case, no trailing dot.
    Name(Box<str>),
    /// An address. `scope` is the interface index of a link-local IPv6 address, else 0.
    Addr {
        /// IPv4 or IPv6.
        ip: IpAddr,
        /// Interface index, 0 for none.
        scope: u32,
    },
}

impl Host {
    /// An address without scope.
    pub fn ip(ip: impl Into<IpAddr>) -> Host {
        Host::Addr { ip: ip.into(), scope: 0 }
    }
}

/// As written in a URL: an IPv6 address stands in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Addr { ip: IpAddr::V4(ip), .. } => write!(f, "{ip}"),
            Host::Addr { ip: IpAddr::V6(ip), scope: 0 } => write!(f, "[{ip}]"),
            Host::Addr { ip: IpAddr::V6(ip), scope } => write!(f, "[{ip}%{scope}]"),
        }
    }
}

/// Which address family to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// The resolver's first answer: IPv4 where there is one, else IPv6.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    /// True where an address of this family may be used.
    pub fn allows(self, ip: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => ip.is_ipv4(),
            Family::V6 => ip.is_ipv6(),
        }
    }
}

/// A TCP connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpSpec {
    /// Who is asked.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
    /// Which address family to use.
    pub family: Family,
    /// True where a closed port is the good answer (`open_port_tcp_then_error`). A name that does
    /// not resolve is bad either way.
    pub expect_closed: bool,
}

/// One ICMP echo.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IcmpSpec {
    /// Who is asked.
    pub host: Host,
    /// Which address family to use.
    pub family: Family,
}

/// A TLS handshake and the facts of the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsSpec {
    /// Who is asked.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
    /// Which address family to use.
    pub family: Family,
    /// A leaf certificate that ends within this many whole days is a failure: good only while
    /// `days_left > expire_days`.
    pub expire_days: u32,
    /// How the handshake is done.
    pub tls: TlsOptions,
}

/// How a TLS handshake is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// True where an untrusted certificate is a failure. The facts are reported either way.
    pub verify: bool,
    /// The name sent and verified instead of the host.
    pub server_name: Option<Box<str>>,
    /// Path of a PEM file with the roots to trust instead of the system's.
    pub ca_file: Option<Box<str>>,
    /// True where a session of an earlier connection may be resumed (RFC 8446 §2.2): cheaper, and
    /// the certificate is not shown again.
    pub resume: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions { verify: true, server_name: None, ca_file: None, resume: false }
    }
}

/// An HTTP/1.1 exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpSpec {
    /// Where to.
    pub url: HttpUrl,
    /// How, shared by all monitors that ask alike.
    pub options: Arc<HttpOptions>,
}

/// The parts of an `http` or `https` URL that a request needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    /// True for `https`.
    pub tls: bool,
    /// Who is asked.
    pub host: Host,
    /// 1 to 65535; the scheme's own where the URL names none.
    pub port: u16,
    /// Path and query as sent in the request line: starts with `/`, printable ASCII only.
    pub path: Box<str>,
}

impl HttpUrl {
    /// True where the port is the scheme's own and is left out of the Host field.
    pub fn is_default_port(&self) -> bool {
        self.port == if self.tls { 443 } else { 80 }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.host)?;
        if !self.is_default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

/// How an HTTP exchange is done and what counts as a good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpOptions {
    /// Request method: a token (RFC 9110 §5.6.2), upper case by custom.
    pub method: Box<str>,
    /// Fields to send, in order, names and values already checked (RFC 9110 §5.5). A name given
    /// here replaces the engine's own field of that name, `Host` too.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// Sent as it is, with its length; none when empty.
    pub body: Box<[u8]>,
    /// Value of `User-Agent`.
    pub user_agent: Box<str>,
    /// Statuses that are a good answer.
    pub statuses: StatusSet,
    /// Redirects to follow; 0 takes a 3xx as it is.
    pub redirects_max: u8,
    /// Bytes of the body to read, counted before and after decompression alike; the rest is not
    /// looked at and the answer is marked as truncated.
    pub body_bytes_max: u32,
    /// Read the body even when no text is looked for, so that a broken or endless one is seen.
    pub read_body: bool,
    /// Ask for gzip, deflate and brotli. A text is looked for in the decoded body either way.
    pub compression: bool,
    /// Texts that must all be in the decoded body.
    pub needles: Box<[Box<str>]>,
    /// Texts of which none may be in the decoded body; looked for before `needles`.
    pub forbidden: Box<[Box<str>]>,
    /// Keep the connection for the next exchange (RFC 9112 §9.3), where the answer allows it.
    pub keep_alive: bool,
    /// Keep reason, header fields and final URL of good answers too.
    pub keep_detail: bool,
    /// How a handshake is done for `https`.
    pub tls: TlsOptions,
    /// Which address family to use.
    pub family: Family,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            method: "GET".into(),
            headers: Box::default(),
            body: Box::default(),
            user_agent: concat!("engine/", env!("CARGO_PKG_VERSION")).into(),
            statuses: StatusSet::below_400(),
            redirects_max: 10,
            body_bytes_max: 1 << 20,
            read_body: true,
            compression: true,
            needles: Box::default(),
            forbidden: Box::default(),
            keep_alive: false,
            keep_detail: false,
            tls: TlsOptions::default(),
            family: Family::Any,
        }
    }
}

/// A set of HTTP statuses, as ranges with both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusSet(pub Box<[(u16, u16)]>);

impl StatusSet {
    /// 100 to 399: the original's rule.
    pub fn below_400() -> StatusSet {
        StatusSet(Box::new([(100, 399)]))
    }

    /// True where `status` is in one of the ranges.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

impl ProbeSpec {
    /// Who is asked first.
    pub fn host(&self) -> &Host {
        match self {
            ProbeSpec::Http(spec) => &spec.url.host,
            ProbeSpec::Tcp(spec) => &spec.host,
            ProbeSpec::Tls(spec) => &spec.host,
            ProbeSpec::Icmp(spec) => &spec.host,
        }
    }

    /// The port, 0 for ICMP.
    pub fn port(&self) -> u16 {
        match self {
            ProbeSpec::Http(spec) => spec.url.port,
            ProbeSpec::Tcp(spec) => spec.port,
            ProbeSpec::Tls(spec) => spec.port,
            ProbeSpec::Icmp(_) => 0,
        }
    }

    /// The address family to use.
    pub fn family(&self) -> Family {
        match self {
            ProbeSpec::Http(spec) => spec.options.family,
            ProbeSpec::Tcp(spec) => spec.family,
            ProbeSpec::Tls(spec) => spec.family,
            ProbeSpec::Icmp(spec) => spec.family,
        }
    }
}

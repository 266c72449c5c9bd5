//! Where a monitor points: the targets that users write, read once and never guessed at.
//!
//! Owns: URLs, `host:port`, host names and addresses of every kind of check, and where a redirect
//! leads. A bad name or port is an error here, so it can never look like a closed port later.
//! Asks the system only for the index of a network interface that a link-local address names.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::net::if_::{if_indextoname, if_nametoindex};
use probes::spec::{Host, HttpUrl};
use url::Url;

use super::Preset;
use crate::limits::{LOCATION_BYTES_MAX, TARGET_BYTES_MAX};

/// Why a target cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {fix}")]
pub struct AddressError {
    /// What is wrong, to be read after the target.
    pub problem: Cow<'static, str>,
    /// What to write.
    pub fix: Cow<'static, str>,
}

type Result<T> = std::result::Result<T, AddressError>;

fn bad<T>(problem: impl Into<Cow<'static, str>>, fix: impl Into<Cow<'static, str>>) -> Result<T> {
    Err(AddressError { problem: problem.into(), fix: fix.into() })
}

/// The target of a web check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// Where to; without user and password.
    pub url: HttpUrl,
    /// `user:password` of the URL, percent-decoded, for the Basic scheme (RFC 7617).
    pub credentials: Option<Box<[u8]>>,
}

/// Reads an `http` or `https` URL (WHATWG URL). See [`http_target`]; user and password are dropped.
///
/// # Errors
///
/// Whatever [`http_target`] refuses.
pub fn http_url(text: &str, preset: Preset) -> Result<HttpUrl> {
    http_target(text, preset).map(|target| target.url)
}

/// Reads an `http` or `https` URL (WHATWG URL) and the user and password in it.
///
/// Names become ASCII (IDNA), paths are percent-encoded, a fragment is dropped. Under the preset
/// `original` a target without a scheme gets `https://`.
///
/// # Errors
///
/// Another scheme or none, no host, a bad name, address or port, a control character.
pub fn http_target(text: &str, preset: Preset) -> Result<HttpTarget> {
    let text = clean(text)?;
    let (scheme, rest) = match split_scheme(text) {
        (Some(scheme), rest) => (scheme.to_ascii_lowercase(), rest),
        (None, rest) if preset == Preset::Original => ("https".to_owned(), rest),
        (None, _) => return bad("names no scheme", "write http:// or https:// in front of it"),
    };
    if scheme != "http" && scheme != "https" {
        return bad("has a scheme that is not HTTP", "write http:// or https://");
    }
    let cut = rest.find(['?', '#']).unwrap_or(rest.len());
    // The URL standard reads these as the end of the host or skips them: nobody means that.
    if rest.starts_with('/') || rest[..cut].contains('\\') {
        return bad("has no host after ://", "write scheme://host/path with plain slashes");
    }
    let (rest, scope) = take_zone(rest)?;
    let url = parse(Url::parse(&format!("{scheme}://{rest}")))?;
    let credentials = credentials(&url)?;
    Ok(HttpTarget { url: http_parts(&url, scope)?, credentials })
}

/// Where a redirect leads: `location` resolved against the URL that gave it (RFC 3986 §5, as the
/// URL standard reads it). A fragment, a user and a password are dropped.
///
/// # Errors
///
/// Empty, longer than `LOCATION_BYTES_MAX`, another scheme than HTTP, a bad host or port. Never
/// panics: the target chooses this text.
pub fn redirect(base: &HttpUrl, location: &str) -> Result<HttpUrl> {
    let location = location.trim_matches([' ', '\t']);
    if location.is_empty() {
        return bad("is empty", "the server must name a target");
    }
    if location.len() > LOCATION_BYTES_MAX {
        return bad("is longer than 8192 bytes", "the server must send a shorter one");
    }
    let (host, scope) = match &base.host {
        Host::Addr { ip, scope } => (Host::ip(*ip), *scope),
        name => (name.clone(), 0),
    };
    let plain = HttpUrl { host: host.clone(), ..base.clone() };
    let url = parse(Url::parse(&plain.to_string()).and_then(|base| base.join(location)))?;
    if url.scheme() != "http" && url.scheme() != "https" {
        return bad("has a scheme that is not HTTP", "the server must send an HTTP URL");
    }
    // A link-local host keeps its interface as long as it redirects to itself.
    let same = matches!((url.host(), &host), (Some(url::Host::Ipv6(to)), Host::Addr { ip, .. })
        if IpAddr::V6(to) == *ip);
    http_parts(&url, same.then_some(scope).filter(|scope| *scope != 0))
}

/// Reads the target of a TCP check: `host:port`, `[v6]:port`, or a URL without a path, whose
/// scheme may stand for the port (`http`, `https`).
///
/// # Errors
///
/// A missing or bad port, an IPv6 address without brackets, a bad name, a path.
pub fn host_port(text: &str) -> Result<(Host, u16)> {
    let parts = split(clean(text)?)?;
    if !parts.path.is_empty() && parts.path != "/" {
        return bad("has a path", "write only host:port; a path needs type ping_web");
    }
    let port = match (parts.port, parts.scheme.as_deref()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, Some("https")) => 443,
        (None, _) => return bad("names no port", "write host:port, such as example.com:443"),
    };
    Ok((parts.host, port))
}

/// Reads the target of a certificate check: a host, `host:port` or a URL; port 443 where none is
/// given. Under the preset `original` any scheme but `https` stands for port 80, as it did there.
///
/// # Errors
///
/// A bad name or port; under the preset `standard` also an `http` URL.
pub fn tls_host_port(text: &str, preset: Preset) -> Result<(Host, u16)> {
    let parts = split(clean(text)?)?;
    let scheme = parts.scheme.as_deref();
    if preset == Preset::Standard && scheme == Some("http") {
        return bad("is plain HTTP and has no certificate", "write https:// or only host:port");
    }
    let port = match (parts.port, scheme) {
        (Some(port), _) => port,
        (None, None | Some("https" | "tls" | "ssl")) => 443,
        (None, Some(_)) if preset == Preset::Original => 80,
        (None, Some(_)) => return bad("names no port", "write host:port"),
    };
    Ok((parts.host, port))
}

/// Reads the target of an ICMP check: a name or an address, alone or in a URL. A user, a port and
/// a path are tolerated, since the original's tables hold such targets.
///
/// # Errors
///
/// A bad name, address or port.
pub fn host(text: &str) -> Result<Host> {
    let text = clean(text)?;
    match bare_v6(text) {
        Some(host) => host,
        None => split(text).map(|parts| parts.host),
    }
}

/// True where the target of a check other than a web one names its port itself.
pub fn names_port(text: &str) -> bool {
    clean(text).and_then(split).is_ok_and(|parts| parts.port.is_some())
}

/// The target with its password, if it has one, replaced by `***`.
pub fn masked(text: &str) -> String {
    let (_, rest) = split_scheme(text);
    let start = text.len() - rest.len();
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let Some(at) = authority.rfind('@') else { return text.to_owned() };
    let Some(colon) = authority[..at].find(':') else { return text.to_owned() };
    format!("{}:***{}", &text[..start + colon], &text[start + at..])
}

/// The same for a target that could not be read: hides everything that may be a password.
pub fn masked_widely(text: &str) -> String {
    let (_, rest) = split_scheme(text);
    let start = text.len() - rest.len();
    match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => {
            format!("{}:***{}", &text[..start + colon], &text[start + at..])
        }
        _ => text.to_owned(),
    }
}

/// A target split into what all checks but the web ones need.
struct Parts {
    scheme: Option<String>,
    host: Host,
    port: Option<u16>,
    path: String,
}

fn split(text: &str) -> Result<Parts> {
    let (scheme, rest) = split_scheme(text);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = if let Some(inside) = authority.strip_prefix('[') {
        let Some((inside, after)) = inside.split_once(']') else {
            return bad("has no closing bracket", "write [address]:port");
        };
        let Some(host) = bare_v6(inside) else {
            return bad("has no IPv6 address in its brackets", "write it like [2001:db8::1]:443");
        };
        match after.strip_prefix(':') {
            Some(port) => (host?, Some(port)),
            None if after.is_empty() => (host?, None),
            None => return bad("has text after the bracket", "write [address]:port"),
        }
    } else {
        match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return bad("has more than one colon", "write an IPv6 address as [2001:db8::1]:80");
            }
            Some((host, port)) => (plain_host(host)?, Some(port)),
            None => (plain_host(authority)?, None),
        }
    };
    let port = port.map(parse_port).transpose()?;
    Ok(Parts { scheme: scheme.map(str::to_ascii_lowercase), host, port, path: path.to_owned() })
}

/// Takes the spaces around the target away and refuses what no target has.
fn clean(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.is_empty() {
        return bad("is empty", "write a host or a URL");
    }
    if text.len() > TARGET_BYTES_MAX {
        return bad("is longer than 2048 bytes", "write a shorter one");
    }
    if text.chars().any(char::is_control) {
        return bad("has a control character", "write it in plain text");
    }
    Ok(text)
}

/// The scheme, as written, and what follows `://`. Text before `://` that cannot be a scheme
/// (RFC 3986 §3.1) is part of something else, such as a query.
fn split_scheme(text: &str) -> (Option<&str>, &str) {
    match text.split_once("://") {
        Some((scheme, rest))
            if scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, text),
    }
}

fn parse_port(text: &str) -> Result<u16> {
    let text = text.trim();
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => bad("has a bad port", "write a port from 1 to 65535"),
    }
}

/// A name or an IPv4 address that stands alone.
fn plain_host(text: &str) -> Result<Host> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::ip(ip));
    }
    if text.is_empty() {
        return bad("names no host", "write a host name or an address");
    }
    if text.contains('%') {
        return bad("has a % in its host name", "write the name itself");
    }
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) => name_host(&name),
        Ok(url::Host::Ipv4(ip)) => {
            bad(format!("is an odd spelling of {ip}"), format!("write {ip}"))
        }
        Ok(url::Host::Ipv6(ip)) => address(ip, None),
        Err(_) => bad("has a bad host name", "write letters, digits, hyphens and dots"),
    }
}

/// A name in ASCII by the rules of RFC 1123 §2.1, underscores allowed since real hosts have them.
fn name_host(name: &str) -> Result<Host> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return bad("has a host name longer than 253 bytes", "write a shorter name");
    }
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !name.split('.').all(good) {
        return bad(
            "has a bad host name",
            "write labels of 1 to 63 letters, digits and hyphens with dots between",
        );
    }
    Ok(Host::Name(name.to_ascii_lowercase().into()))
}

/// An IPv6 address without brackets, with or without an interface; `None` for anything else.
fn bare_v6(text: &str) -> Option<Result<Host>> {
    let (ip, zone) = match text.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (text, None),
    };
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    Some(zone.map(scope_of).transpose().and_then(|scope| address(ip, scope)))
}

fn address(ip: Ipv6Addr, scope: Option<u32>) -> Result<Host> {
    let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
    match scope {
        None if link_local => {
            bad("is link-local and names no interface", format!("write it like {ip}%eth0"))
        }
        Some(_) if !link_local => bad("names an interface but is not link-local", "leave %.. out"),
        scope => Ok(Host::Addr { ip: IpAddr::V6(ip), scope: scope.unwrap_or(0) }),
    }
}

/// The index of the interface with this name or number (RFC 4007 §11).
fn scope_of(zone: &str) -> Result<u32> {
    let number = zone.parse::<u32>().ok().filter(|index| if_indextoname(*index).is_ok());
    match number.or_else(|| if_nametoindex(zone).ok()) {
        Some(index) => Ok(index),
        None => bad("names an interface that this host has not", "see `ip link` for the names"),
    }
}

/// Takes `%zone` or `%25zone` (RFC 6874) out of a bracketed host, as the URL standard has neither.
fn take_zone(rest: &str) -> Result<(Cow<'_, str>, Option<u32>)> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    let host = &rest[start..end];
    let zone = host.starts_with('[').then(|| host.find('%').zip(host.find(']'))).flatten();
    let Some((percent, close)) = zone.filter(|(percent, close)| percent < close) else {
        return Ok((Cow::Borrowed(rest), None));
    };
    let zone = &host[percent + 1..close];
    let scope = scope_of(zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone))?;
    let (before, after) = (&rest[..start + percent], &rest[start + close..]);
    Ok((Cow::Owned(format!("{before}{after}")), Some(scope)))
}

fn parse(url: std::result::Result<Url, url::ParseError>) -> Result<Url> {
    use url::ParseError::*;
    url.or_else(|error| match error {
        EmptyHost => bad("names no host", "write scheme://host/path"),
        InvalidPort => bad("has a bad port", "write a port from 1 to 65535"),
        InvalidIpv4Address => bad("has a bad IPv4 address", "write it like 192.0.2.1"),
        InvalidIpv6Address => bad("has a bad IPv6 address", "write it like [2001:db8::1]"),
        _ => bad("has a bad host name", "write letters, digits, hyphens and dots"),
    })
}

fn http_parts(url: &Url, scope: Option<u32>) -> Result<HttpUrl> {
    let host = match url.host() {
        Some(url::Host::Domain(name)) => name_host(name)?,
        Some(url::Host::Ipv4(ip)) => Host::ip(ip),
        Some(url::Host::Ipv6(ip)) => address(ip, scope)?,
        None => return bad("names no host", "write scheme://host/path"),
    };
    let port = match url.port_or_known_default() {
        Some(port) if port > 0 => port,
        _ => return bad("has a bad port", "write a port from 1 to 65535"),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("has a path that cannot be sent", "percent-encode it");
    }
    Ok(HttpUrl { tls: url.scheme() == "https", host, port, path: path.into() })
}

fn credentials(url: &Url) -> Result<Option<Box<[u8]>>> {
    let user = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    if user.contains(&b':') {
        return bad("has a colon in its user name", "set the header Authorization instead");
    }
    Ok(Some([&user[..], b":", &password[..]].concat().into()))
}

/// The bytes that `%xx` stand for; anything else stands for itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| (*digit as char).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;

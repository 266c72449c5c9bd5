//! Writes one HTTP/1.1 request (RFC 9112 §3, RFC 9110 §7.2 and §10.1).
//!
//! Owns: the request line and the engine's own fields. A field that the monitor gives replaces the
//! engine's of that name. Trusts the spec: names, values and path were checked when it was made.

use std::io::Write;
use std::net::IpAddr;

use crate::spec::{Host, HttpOptions, HttpUrl};

/// Room for a usual request head, in bytes: one allocation.
const HEAD_BYTES_USUAL: usize = 256;

/// The head of the request, up to and with its empty line. The body is sent as it is.
pub(super) fn head(url: &HttpUrl, options: &HttpOptions) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES_USUAL);
    for part in [&*options.method, " ", &*url.path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if !gives(options, "Host") {
        host_field(&mut out, url);
    }
    let encodings = if options.compression { "gzip, deflate, br" } else { "identity" };
    let connection = if options.keep_alive { "keep-alive" } else { "close" };
    let own = [
        ("User-Agent", &*options.user_agent),
        ("Accept", "*/*"),
        ("Accept-Encoding", encodings),
        ("Connection", connection),
    ];
    for (name, value) in own.into_iter().filter(|(name, _)| !gives(options, name)) {
        field(&mut out, name, value);
    }
    if expects_length(options) && !gives(options, "Content-Length") {
        field(&mut out, "Content-Length", &options.body.len().to_string());
    }
    for (name, value) in &options.headers {
        field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn gives(options: &HttpOptions, name: &str) -> bool {
    options.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
}

/// True where the length is sent: with a body, and without one for the methods that give a meaning
/// to it (RFC 9110 §8.6).
fn expects_length(options: &HttpOptions) -> bool {
    !options.body.is_empty() || matches!(&*options.method, "POST" | "PUT" | "PATCH")
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The host as the target knows it: the port only where it is not the scheme's own, and never the
/// zone of a link-local address, which means something on this machine only (RFC 6874 §3).
fn host_field(out: &mut Vec<u8>, url: &HttpUrl) {
    out.extend_from_slice(b"Host: ");
    // Writing into a vector cannot fail.
    let _ = match &url.host {
        Host::Addr { ip: IpAddr::V6(ip), .. } => write!(out, "[{ip}]"),
        host => write!(out, "{host}"),
    };
    if !url.is_default_port() {
        let _ = write!(out, ":{}", url.port);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tls: bool, host: Host, port: u16) -> HttpUrl {
        HttpUrl { tls, host, port, path: "/a?b=c".into() }
    }

    fn plain() -> HttpUrl {
        url(false, Host::Name("example.org".into()), 80)
    }

    fn written(url: &HttpUrl, options: &HttpOptions) -> String {
        String::from_utf8(head(url, options)).unwrap()
    }

    #[test]
    fn a_plain_request_has_exactly_the_fields_of_the_engine() {
        let options = HttpOptions { user_agent: "engine/1".into(), ..HttpOptions::default() };
        assert_eq!(
            written(&plain(), &options),
            "GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nUser-Agent: engine/1\r\nAccept: */*\r\n\
             Accept-Encoding: gzip, deflate, br\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn the_port_is_named_only_where_it_is_not_the_schemes_own() {
        let options = HttpOptions::default();
        let name = || Host::Name("h".into());
        for (url, host) in [
            (url(true, name(), 443), "Host: h\r\n"),
            (url(true, name(), 80), "Host: h:80\r\n"),
            (url(false, name(), 443), "Host: h:443\r\n"),
        ] {
            assert!(written(&url, &options).contains(host), "{host}");
        }
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets_without_its_zone() {
        let host = Host::Addr { ip: "fe80::1".parse().unwrap(), scope: 3 };
        let request = written(&url(false, host, 8080), &HttpOptions::default());
        assert!(request.contains("\r\nHost: [fe80::1]:8080\r\n"), "{request}");
    }

    #[test]
    fn a_given_field_replaces_the_engines_whatever_its_case() {
        let headers = [("hOST", "other"), ("accept-encoding", "zstd"), ("X-Key", "1")];
        let headers = headers.map(|(name, value)| (name.into(), value.into()));
        let options = HttpOptions { headers: Box::new(headers), ..HttpOptions::default() };
        let request = written(&plain(), &options);
        assert!(request.ends_with("hOST: other\r\naccept-encoding: zstd\r\nX-Key: 1\r\n\r\n"));
        assert_eq!(request.matches("example.org").count(), 0);
        assert_eq!(request.matches("gzip").count(), 0);
    }

    #[test]
    fn the_length_is_sent_with_a_body_and_with_an_empty_post() {
        let mut options = HttpOptions { body: Box::from(*b"12345"), ..HttpOptions::default() };
        assert!(written(&plain(), &options).contains("\r\nContent-Length: 5\r\n"));
        options.body = Box::default();
        assert!(!written(&plain(), &options).contains("Content-Length"));
        options.method = "POST".into();
        assert!(written(&plain(), &options).contains("\r\nContent-Length: 0\r\n"));
    }

    #[test]
    fn a_connection_that_is_to_be_kept_is_asked_for() {
        let options = HttpOptions { keep_alive: true, ..HttpOptions::default() };
        assert!(written(&plain(), &options).contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn without_compression_the_plain_body_is_asked_for() {
        let options = HttpOptions { compression: false, ..HttpOptions::default() };
        assert!(written(&plain(), &options).contains("\r\nAccept-Encoding: identity\r\n"));
    }
}

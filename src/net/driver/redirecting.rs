//! Where a redirect leads, and what is asked there.
//!
//! Owns: the request of the next hop (RFC 9110 section 15.4, and what browsers and curl do where
//! it leaves a choice). Secrets of one origin never go to another one: the target chooses where
//! a redirect leads.

use std::sync::Arc;

use probes::spec::{HttpOptions, HttpSpec, HttpUrl, TlsOptions};
use probes::{Failure, Outcome, Phase, ProbeSpec};

use crate::monitor::address::{self, AddressError};
use crate::net::driver::Driver;
use crate::net::flight::Flight;

/// Fields that are for one origin only.
const SECRETS: [&str; 4] = ["Authorization", "Cookie", "Proxy-Authorization", "Host"];
/// Fields about a body, besides all that begin with `Content-`.
const FRAMING: [&str; 2] = ["Transfer-Encoding", "Expect"];

impl Driver {
    /// The exchange of this hop is over: follows a redirect, or ends the attempt.
    pub(super) fn on_outcome(&mut self, place: u32, mut outcome: Outcome) {
        if self.leave_address(place, &outcome.timings) || self.begin_anew(place, &outcome) {
            return;
        }
        self.keep(place);
        let Some(flight) = self.flights.get(place) else { return };
        let Some(location) = outcome.redirect.take() else { return self.finish(place, outcome) };
        let status = outcome.http.map_or(0, |http| http.status);
        match next_request(flight, &location, status) {
            Ok(next) => flight.hop = Some(Arc::new(next)),
            Err((failure, text)) => {
                let failed = Outcome::failed(failure, Phase::Transfer, outcome.timings, text);
                let (http, cert) = (outcome.http, outcome.cert);
                return self.finish(place, Outcome { http, cert, ..failed });
            }
        }
        flight.hops += 1;
        flight.timings.add(&outcome.timings);
        self.disarm(place);
        self.flights.renew(place);
        self.start_hop(place, self.clock.now());
    }
}

/// The request that follows from a redirect, or why it is not followed.
fn next_request(
    flight: &Flight,
    location: &str,
    status: u16,
) -> Result<HttpSpec, (Failure, String)> {
    let from = match (&flight.hop, &*flight.spec) {
        (Some(hop), _) => hop,
        (None, ProbeSpec::Http(http)) => http.as_ref(),
        (None, _) => unreachable!("only a web check is redirected"),
    };
    if flight.hops >= from.options.redirects_max {
        let text = format!("more than {} redirects; last to {location}", flight.hops);
        return Err((Failure::RedirectLimit, text));
    }
    follow(from, location, status)
        .map_err(|error| (Failure::RedirectInvalid, format!("Location {error}")))
}

/// What is asked after `from` was answered with a redirect.
fn follow(from: &HttpSpec, location: &str, status: u16) -> Result<HttpSpec, AddressError> {
    let url = address::redirect(&from.url, location)?;
    let mut options = Arc::clone(&from.options);
    if is_asked_with_get(&options.method, status) {
        let changed = Arc::make_mut(&mut options);
        changed.method = "GET".into();
        changed.body = Box::default();
        drop_fields(changed, is_about_body);
    }
    if !is_same_origin(&from.url, &url) && options.headers.iter().any(|(name, _)| is_secret(name)) {
        drop_fields(Arc::make_mut(&mut options), is_secret);
    }
    // A name given for one host says nothing about another.
    if from.url.host != url.host && options.tls.server_name.is_some() {
        let changed = Arc::make_mut(&mut options);
        changed.tls = TlsOptions { server_name: None, ..changed.tls.clone() };
    }
    Ok(HttpSpec { url, options })
}

/// RFC 9110 section 15.4: 303 asks for a look at another resource; 301 and 302 are taken so after
/// a POST by everybody. 307 and 308 keep method and body.
fn is_asked_with_get(method: &str, status: u16) -> bool {
    match status {
        303 => !matches!(method, "GET" | "HEAD"),
        301 | 302 => method == "POST",
        _ => false,
    }
}

/// RFC 6454 section 4: scheme, host and port.
fn is_same_origin(one: &HttpUrl, other: &HttpUrl) -> bool {
    (one.tls, &one.host, one.port) == (other.tls, &other.host, other.port)
}

fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

fn is_about_body(name: &str) -> bool {
    let content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
    content || FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

fn drop_fields(options: &mut HttpOptions, unwanted: impl Fn(&str) -> bool) {
    let fields = std::mem::take(&mut options.headers);
    options.headers = fields.into_iter().filter(|(name, _)| !unwanted(name)).collect();
}

#[cfg(test)]
mod tests {
    use probes::spec::Host;

    use super::*;

    const FIELDS: [&str; 7] = [
        "AUTHORIZATION",
        "Cookie",
        "proxy-authorization",
        "Host",
        "X-Key",
        "content-Type",
        "Transfer-Encoding",
    ];

    fn from(method: &str) -> HttpSpec {
        let host = Host::Name("a.example".into());
        let fields = FIELDS.map(|name| (name.into(), "1".into()));
        let server_name = Some("inner.example".into());
        let options = HttpOptions {
            method: method.into(),
            headers: Box::new(fields),
            body: Box::from(*b"body"),
            tls: TlsOptions { server_name, ..TlsOptions::default() },
            ..HttpOptions::default()
        };
        let url = HttpUrl { tls: true, host, port: 443, path: "/".into() };
        HttpSpec { url, options: Arc::new(options) }
    }

    fn fields(spec: &HttpSpec) -> Vec<&str> {
        spec.options.headers.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn the_same_origin_is_asked_with_the_very_same_options() {
        let from = from("GET");
        for location in ["/next", "?b", "https://a.example/", "https://A.EXAMPLE:443/x"] {
            let next = follow(&from, location, 302).unwrap();
            assert!(Arc::ptr_eq(&next.options, &from.options), "{location}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_gets_no_secret_and_no_given_host() {
        let from = from("GET");
        for location in [
            "http://a.example/",
            "http://a.example:443/",
            "https://a.example:8443/",
            "https://b.example/",
            "//www.a.example/",
            "https://user:word@127.0.0.1/",
        ] {
            let next = follow(&from, location, 307).unwrap();
            assert_eq!(fields(&next), ["X-Key", "content-Type", "Transfer-Encoding"], "{location}");
            assert_eq!((&*next.options.method, &*next.options.body), ("GET", &b"body"[..]));
        }
    }

    #[test]
    fn secrets_that_were_left_behind_do_not_come_back() {
        let there = follow(&from("GET"), "https://b.example/", 302).unwrap();
        let back = follow(&there, "https://a.example/", 302).unwrap();
        assert!(!fields(&back).iter().any(|name| is_secret(name)));
    }

    #[test]
    fn a_given_tls_name_stays_with_its_host_only() {
        let name = |location| {
            let next = follow(&from("GET"), location, 302).unwrap();
            next.options.tls.server_name.clone()
        };
        assert_eq!(name("/login").as_deref(), Some("inner.example"));
        assert_eq!(name("https://a.example:8443/").as_deref(), Some("inner.example"));
        assert_eq!(name("https://b.example/"), None);
    }

    #[test]
    fn method_and_body_are_kept_or_dropped_as_browsers_do() {
        for (method, status, after) in [
            ("POST", 301, "GET"),
            ("POST", 302, "GET"),
            ("POST", 303, "GET"),
            ("POST", 307, "POST"),
            ("POST", 308, "POST"),
            ("PUT", 301, "PUT"),
            ("PUT", 302, "PUT"),
            ("PUT", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("GET", 303, "GET"),
        ] {
            let next = follow(&from(method), "/next", status).unwrap();
            let changed = method != after;
            assert_eq!(&*next.options.method, after, "{method} {status}");
            assert_eq!(next.options.body.is_empty(), changed, "{method} {status}");
            assert_eq!(fields(&next).contains(&"content-Type"), !changed, "{method} {status}");
            assert_eq!(fields(&next).contains(&"Transfer-Encoding"), !changed);
            assert!(fields(&next).contains(&"X-Key"));
        }
    }

    #[test]
    fn a_location_that_leads_nowhere_is_an_error() {
        for location in ["ftp://a.example/", "http://", "https://a.example:99999/", ""] {
            assert!(follow(&from("GET"), location, 302).is_err(), "{location}");
        }
    }
}

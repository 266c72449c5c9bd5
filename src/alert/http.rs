//! The HTTP client of the channels: one POST, one answer, no redirect.
//!
//! Owns: which addresses a notice may go to, the roots that are trusted, and what an answer means:
//! delivered, later, never. Error texts name the host at most: an address may hold a token.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::limits::{ALERT_ANSWER_BYTES_MAX, ALERT_RETRY_AFTER_MS_MAX};
use crate::net::egress::is_refused;

/// Why a notice was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In words, without secrets.
    pub text: String,
    /// Whether to try again.
    pub again: Again,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After the usual pause.
    Later,
    /// Not before so many milliseconds: the receiver asked for it, for all of its channel.
    After(u64),
    /// This notice will never be taken.
    Never,
}

impl Failed {
    /// To be tried again after the usual pause.
    pub fn later(text: impl Into<String>) -> Failed {
        Failed { text: text.into(), again: Again::Later }
    }

    /// Not to be tried again.
    pub fn never(text: impl Into<String>) -> Failed {
        Failed { text: text.into(), again: Again::Never }
    }
}

/// Root certificates that receivers are verified with.
#[derive(Clone, Debug, Default)]
pub struct Roots(Arc<Vec<CertificateDer<'static>>>);

impl Roots {
    /// Those of a PEM file, or the system's where `None` (`SSL_CERT_FILE` names others).
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn load(file: Option<&Path>) -> Result<Roots, String> {
        let certs = match file {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        Ok(Roots(Arc::new(certs)))
    }

    /// Each in DER.
    pub fn ders(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Seconds of `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// The start of its body.
    pub body: String,
}

/// A client with one deadline.
#[derive(Clone, Debug)]
pub struct Http(Agent);

impl Http {
    /// A client. `proxied` takes the proxy of the environment (`HTTPS_PROXY`, `HTTP_PROXY`).
    pub fn new(roots: &Roots, timeout_ms: u64, proxied: bool) -> Http {
        let roots: Vec<_> =
            roots.0.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::from(roots) };
        let proxy = if proxied { ureq::Proxy::try_from_env() } else { None };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_millis(timeout_ms)))
            .proxy(proxy)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let resolver = Egress(DefaultResolver::default());
        Http(Agent::with_parts(config, DefaultConnector::default(), resolver))
    }

    /// Sends a body and waits for the answer.
    ///
    /// # Errors
    ///
    /// No answer came, with what happened.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, Failed> {
        let mut request = self.0.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body).map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after_s = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // A body that is too long or breaks off changes nothing about its status.
        let body = response
            .body_mut()
            .with_config()
            .limit(ALERT_ANSWER_BYTES_MAX)
            .lossy_utf8(true)
            .read_to_string()
            .unwrap_or_default();
        Ok(Answer { status, retry_after_s, body })
    }

    /// Sends JSON; a 2xx delivers.
    ///
    /// # Errors
    ///
    /// No answer, or one that is no 2xx.
    pub fn post_json(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), Failed> {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.post(url, &all, &body.to_string())?.delivered()
    }
}

impl Answer {
    /// What the status says.
    ///
    /// # Errors
    ///
    /// Anything but a 2xx, with whether to try again.
    pub fn delivered(&self) -> Result<(), Failed> {
        match self.status {
            200..=299 => Ok(()),
            300..=399 => Err(Failed::later(format!(
                "HTTP {}: redirects are not followed; write the address it leads to",
                self.status
            ))),
            // The notice itself is to blame: the next attempt would be the same.
            400 | 413 | 422 => Err(Failed::never(format!("HTTP {}", self.status))),
            _ => {
                let text = format!("HTTP {}", self.status);
                let again = match self.retry_after_s {
                    Some(seconds) => after_seconds(seconds),
                    None => Again::Later,
                };
                Err(Failed { text, again })
            }
        }
    }
}

/// A pause that a receiver asked for, within bounds.
pub fn after_seconds(seconds: u64) -> Again {
    Again::After(seconds.saturating_mul(1_000).min(ALERT_RETRY_AFTER_MS_MAX))
}

/// What happened, without the address, which may hold a token.
fn failed(error: &Error) -> Failed {
    match error {
        Error::BadUri(_) | Error::Http(_) => Failed::never("the address or a header is malformed"),
        Error::Timeout(_) => Failed::later("timeout"),
        Error::HostNotFound => Failed::later("the name of the server is not found"),
        Error::ConnectionFailed => Failed::later("no connection"),
        Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Failed::later("the address of the server is one that notices may not go to")
        }
        Error::Io(error) => Failed::later(error.kind().to_string()),
        Error::Tls(text) => Failed::later(format!("TLS: {text}")),
        Error::Rustls(error) => Failed::later(format!("TLS: {error}")),
        _ => Failed::later("no HTTP answer"),
    }
}

/// A number below `below` by chance.
pub fn chance(below: usize) -> usize {
    (RandomState::new().hash_one(below) % below.max(1) as u64) as usize
}

/// Resolves names and refuses addresses that no receiver of notices has: link-local ones, where
/// clouds keep their secrets, and those that are no single host.
#[derive(Debug)]
struct Egress(DefaultResolver);

impl Resolver for Egress {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        if found.iter().any(|address| is_refused(address.ip())) {
            return Err(Error::Io(io::ErrorKind::PermissionDenied.into()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let answer = |status, retry_after_s| Answer { status, retry_after_s, body: String::new() };
        let again =
            |status, after| answer(status, after).delivered().map_err(|failed| failed.again);
        assert_eq!(again(204, None), Ok(()));
        assert_eq!(again(400, None), Err(Again::Never));
        assert_eq!(again(500, None), Err(Again::Later));
        assert_eq!(again(429, Some(7)), Err(Again::After(7_000)));
        assert_eq!(again(503, Some(86_400)), Err(Again::After(ALERT_RETRY_AFTER_MS_MAX)));
        assert_eq!(again(302, None), Err(Again::Later));
        assert_eq!(again(401, None), Err(Again::Later));
    }
}

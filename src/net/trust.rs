//! The roots that handshakes trust: the system's, and those of monitors that name their own.
//!
//! Owns: loading them, once, before the monitors that need them go to their shards. Shards only
//! look up: no file is read on a shard.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use probes::ProbeSpec;
use probes::spec::TlsOptions;
use probes::tls::{Alpn, TlsConfig};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Client settings by the file that names the roots; `None` for the system's.
type Configs = HashMap<Option<Box<str>>, Arc<TlsConfig>>;

/// The roots that handshakes trust. Clones share them.
#[derive(Clone, Default)]
pub struct Trust(Arc<RwLock<Configs>>);

/// Roots that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not there, not readable or holds no certificate.
    #[error("ca_file {path}: {problem}; give a PEM file with one CA certificate or more")]
    File {
        /// As written.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Trust {
    /// Loads the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), or Mozilla's as
    /// compiled in where the system has none.
    ///
    /// # Errors
    ///
    /// `Setup` where rustls refuses the settings.
    pub fn system() -> Result<Trust, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's root certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!("the system has no root certificates; using those compiled in");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let trust = Trust::default();
        trust.insert(None, roots)?;
        Ok(trust)
    }

    /// The roots in a PEM file, or the system's where `None`.
    ///
    /// # Errors
    ///
    /// `File` where they cannot be read, `Setup` where rustls refuses the settings.
    pub fn of(file: Option<&Path>) -> Result<Trust, TrustError> {
        let Some(path) = file else { return Trust::system() };
        let trust = Trust::default();
        trust.insert(None, read_roots(&path.display().to_string())?)?;
        Ok(trust)
    }

    /// Makes sure that the roots these options name are loaded.
    ///
    /// # Errors
    ///
    /// `File` where they cannot be read, `Setup` where rustls refuses the settings.
    pub fn load(&self, options: &TlsOptions) -> Result<(), TrustError> {
        let Some(path) = &options.ca_file else { return Ok(()) };
        if self.get(options).is_some() {
            return Ok(());
        }
        let roots = read_roots(path)?;
        self.insert(Some(path.clone()), roots)
    }

    /// Makes sure that the roots a probe needs are loaded.
    ///
    /// # Errors
    ///
    /// As for [`Trust::load`].
    pub fn load_for(&self, spec: &ProbeSpec) -> Result<(), TrustError> {
        match spec {
            ProbeSpec::Http(http) => self.load(&http.options.tls),
            ProbeSpec::Tls(tls) => self.load(&tls.tls),
            ProbeSpec::Tcp(_) | ProbeSpec::Icmp(_) => Ok(()),
        }
    }

    /// The client settings for these options, if their roots are loaded.
    pub fn get(&self, options: &TlsOptions) -> Option<Arc<TlsConfig>> {
        let configs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        configs.get(&options.ca_file).cloned()
    }

    fn insert(&self, path: Option<Box<str>>, roots: RootCertStore) -> Result<(), TrustError> {
        let config = TlsConfig::new(Arc::new(roots), Alpn::None)
            .map_err(|error| TrustError::Setup(error.to_string()))?;
        let mut configs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        configs.insert(path, Arc::new(config));
        Ok(())
    }
}

fn read_roots(path: &str) -> Result<RootCertStore, TrustError> {
    let bad = |problem: String| TrustError::File { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::pem_file_iter(path);
    for cert in pem.map_err(|error| bad(error.to_string()))? {
        let cert = cert.map_err(|error| bad(error.to_string()))?;
        roots.add(cert).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("holds no certificate".into()));
    }
    Ok(roots)
}

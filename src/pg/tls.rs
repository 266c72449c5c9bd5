//! How the server's certificate is trusted: by rustls, as libpq's `sslmode` says.
//!
//! Owns: the modes that `tokio-postgres` does not have (`verify-ca`, `verify-full`), roots and
//! client certificates from files. Files are read once, with the options.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Kind, PgError};

/// How much a server has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// No TLS.
    Disable,
    /// TLS where the server has it; any certificate.
    Prefer,
    /// TLS; any certificate.
    Require,
    /// A certificate that a root signed, for any name.
    VerifyCa,
    /// A certificate that a root signed, for the name of the host.
    VerifyFull,
}

/// Files in PEM; `None` where none is given.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsFiles {
    /// Roots; the system's where there is none, or where it is the word `system`.
    pub roots: Option<String>,
    /// Our own certificate, with its chain.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
}

/// Makes the client side of TLS.
///
/// # Errors
///
/// `Refused` for a file that cannot be used, named with its parameter.
pub(super) fn connector(mode: Mode, files: &TlsFiles) -> Result<MakeRustlsConnect, PgError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(mode, files, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("TLS", &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) if mode != Mode::Disable => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| refused(&format!("sslkey={key}"), &error))?;
            builder
                .with_client_auth_cert(certs("sslcert", cert)?, key)
                .map_err(|error| refused(&format!("sslcert={cert}"), &error))?
        }
        (Some(_), None) | (None, Some(_)) => {
            let text = "sslcert and sslkey: give both files, or none";
            return Err(PgError::new(Kind::Refused, text));
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(
    mode: Mode,
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, PgError> {
    if matches!(mode, Mode::Disable | Mode::Prefer | Mode::Require) {
        return Ok(Arc::new(Lenient { roots: None, provider: Arc::clone(provider) }));
    }
    let roots = Arc::new(roots(files.roots.as_deref())?);
    if mode == Mode::VerifyCa {
        return Ok(Arc::new(Lenient { roots: Some(roots), provider: Arc::clone(provider) }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| refused("TLS", &error))?;
    Ok(verifier)
}

fn roots(file: Option<&str>) -> Result<RootCertStore, PgError> {
    let mut roots = RootCertStore::empty();
    match file {
        None | Some("system") => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
        Some(path) => {
            for cert in certs("sslrootcert", path)? {
                roots.add(cert).map_err(|error| refused(&format!("sslrootcert={path}"), &error))?;
            }
        }
    }
    Ok(roots)
}

fn certs(parameter: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, PgError> {
    let what = format!("{parameter}={path}");
    let pem = CertificateDer::pem_file_iter(path).map_err(|error| refused(&what, &error))?;
    let certs: Vec<_> = pem.collect::<Result<_, _>>().map_err(|error| refused(&what, &error))?;
    if certs.is_empty() {
        return Err(refused(&what, &"holds no certificate in PEM"));
    }
    Ok(certs)
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> PgError {
    PgError::new(Kind::Refused, format!("{what}: {error}"))
}

/// Asks nothing about the name; and, where there are no roots, nothing about who signed.
#[derive(Debug)]
struct Lenient {
    roots: Option<Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! Certificates of the scripted TLS targets, good and bad ones.
//!
//! Owns: a certificate authority made at each start, and the leaves it signs. Nothing is written to
//! disk. Making all of them takes about a millisecond (ECDSA P-256).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::behaviour::Certificate;
use crate::clock::wall_millis;

const DAY: Duration = Duration::from_secs(86_400);
/// Moves dates off a whole day, so that the days left or past stay the same while a test runs.
const MARGIN: Duration = Duration::from_secs(3_600);

/// A server's settings for each certificate, and the authority that signed them.
pub(super) struct Certificates {
    pub ca_pem: String,
    servers: Vec<Arc<ServerConfig>>,
}

/// Why the certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertError {
    #[error("a demo certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("a demo certificate could not be used: {0}")]
    Use(#[from] rustls::Error),
}

impl Certificates {
    /// Makes the authority and one certificate of each sort for servers on `address`.
    pub fn make(address: IpAddr) -> Result<Certificates, CertError> {
        let now = UNIX_EPOCH + Duration::from_millis(wall_millis());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "engine demo authority");
        params.not_before = (now - 365 * DAY).into();
        params.not_after = (now + 365 * DAY).into();
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let key = KeyPair::generate()?;
        let mut servers = Vec::with_capacity(Certificate::ALL.len());
        for certificate in Certificate::ALL {
            let params = leaf(certificate, address, now)?;
            let signed = match certificate {
                Certificate::SelfSigned => params.self_signed(&key)?,
                _ => params.signed_by(&key, &authority)?,
            };
            servers.push(server(signed.into(), &key)?);
        }
        Ok(Certificates { ca_pem: authority.pem(), servers })
    }

    /// The settings of a server that shows `certificate`.
    pub fn server(&self, certificate: Certificate) -> Arc<ServerConfig> {
        Arc::clone(&self.servers[certificate as usize])
    }
}

fn leaf(
    certificate: Certificate,
    address: IpAddr,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let names = match certificate {
        Certificate::WrongName => vec!["other.example".to_owned()],
        _ => vec!["localhost".to_owned(), address.to_string()],
    };
    let (from, to) = match certificate {
        Certificate::Expired => (now - 90 * DAY, now - DAY - MARGIN),
        Certificate::NotYetValid => (now + 10 * DAY + MARGIN, now + 100 * DAY + MARGIN),
        Certificate::ExpiresSoon => (now - 85 * DAY, now + 5 * DAY + MARGIN),
        _ => (now - DAY, now + 90 * DAY + MARGIN),
    };
    let common_name = names[0].clone();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = from.into();
    params.not_after = to.into();
    Ok(params)
}

fn server(leaf: CertificateDer<'static>, key: &KeyPair) -> Result<Arc<ServerConfig>, CertError> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)?;
    Ok(Arc::new(config))
}

//! Whom to trust: the shared client settings, and the judgement of a chain after the handshake.
//!
//! Owns: [`TlsConfig`], the verifier that lets any chain through and keeps it, and the words for
//! what is wrong with a chain. A handshake is finished whatever the chain is like, so that its
//! facts can be reported; the machine then asks the `TlsConfig` and says nothing further
//! over a connection it must not trust. Costs one `ClientConfig` of a few hundred bytes per probe.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::cert::{days_left, in_days, printable};
use super::session::Keeper;
use crate::outcome::{CertInfo, Failure};
use crate::spec::{Host, TlsOptions};

/// Longest text about a problem, in characters.
const TEXT_CHARS_MAX: usize = 300;
/// Names of a certificate that a text shows.
const TEXT_NAMES_MAX: usize = 5;

/// What is offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// The extension is not sent.
    None,
    /// `http/1.1`.
    Http11,
}

/// Why no handshake can be prepared: a setting of ours, never the target.
#[derive(Clone, Debug, PartialEq)]
pub enum SetupError {
    /// The host or `server_name` is no DNS name and no address.
    Name(String),
    /// rustls refuses the settings or has no randomness.
    Tls(Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Name(name) => write!(f, "not a TLS server name: {name:?}"),
            SetupError::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}

impl From<Error> for SetupError {
    fn from(error: Error) -> SetupError {
        SetupError::Tls(error)
    }
}

/// The name to send and to verify: `server_name` where the options give one, else the host.
/// An address is verified and, as RFC 6066 §3 asks, never sent.
///
/// # Errors
///
/// `Name` where rustls takes it for no name.
pub fn server_name(host: &Host, options: &TlsOptions) -> Result<ServerName<'static>, SetupError> {
    let name = match (&options.server_name, host) {
        (Some(name), _) | (None, Host::Name(name)) => name,
        (None, Host::Addr { ip, .. }) => return Ok(ServerName::from(*ip)),
    };
    let parsed = ServerName::try_from(name.to_string());
    parsed.map_err(|_| SetupError::Name(printable(name, TEXT_CHARS_MAX)))
}

/// Client settings and trusted roots, made once and shared by every probe that trusts alike.
#[derive(Debug)]
pub struct TlsConfig {
    client: ClientConfig,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TlsConfig {
    /// TLS 1.2 and 1.3 with the algorithms of ring. Without any root every chain is untrusted.
    ///
    /// # Errors
    ///
    /// `Tls` where rustls finds the settings unusable.
    pub fn new(roots: Arc<RootCertStore>, alpn: Alpn) -> Result<TlsConfig, SetupError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Lenient { algorithms }))
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        if alpn == Alpn::Http11 {
            client.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(TlsConfig { client, roots, algorithms })
    }

    /// Settings for one handshake at `wall_unix_s`, and where its chain will be found: with a
    /// `keeper`, which allows a session to be resumed, only in the connection.
    pub(super) fn for_one(
        &self,
        wall_unix_s: u64,
        keeper: Option<Arc<Keeper>>,
    ) -> (Arc<ClientConfig>, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::new(self.algorithms, wall_unix_s));
        let mut client = self.client.clone();
        client.time_provider = Arc::clone(&recorder) as Arc<dyn TimeProvider>;
        match keeper {
            // rustls resumes a session only where the verifier is the very same one.
            Some(keeper) => client.resumption = Resumption::store(keeper),
            None => {
                let verifier = Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>;
                client.dangerous().set_certificate_verifier(verifier);
            }
        }
        (Arc::new(client), recorder)
    }

    /// What is wrong with `chain` (leaf first) for `name` at the recorder's time, and the words for
    /// it; `None` for a trusted chain. `infos` describe the first certificates of the chain.
    ///
    /// webpki bounds the signatures checked and paths tried, so a hostile chain costs little.
    pub(super) fn problem(
        &self,
        chain: &[CertificateDer<'_>],
        infos: &[CertInfo],
        name: &ServerName<'_>,
        wall_unix_s: u64,
    ) -> Option<(Failure, String)> {
        let (Some((leaf, issuers)), Some(info)) = (chain.split_first(), infos.first()) else {
            return Some((Failure::CertInvalid, "no certificate was sent".to_owned()));
        };
        let error = match self.verify(leaf, issuers, name, wall_unix_s) {
            Ok(()) => return None,
            Err(error) => error,
        };
        let self_issued = !info.subject.is_empty() && info.subject == info.issuer;
        let odd = matches!(error, Error::InvalidCertificate(CertificateError::Other(_)));
        if self_issued && odd {
            // webpki takes no authority (`CA:TRUE`) as a leaf, as `openssl req -x509` makes them.
            return self.self_signed_problem(leaf, infos, name, wall_unix_s);
        }
        Some(describe(&error, infos, wall_unix_s))
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        wall_unix_s: u64,
    ) -> Result<(), Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(wall_unix_s));
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, issuers, now, algorithms)?;
        verify_server_name(&leaf, name)
    }

    /// A self-signed authority used as a server's certificate is trusted where it is itself among
    /// the roots: same subject and same key, and the handshake has shown possession of the key.
    /// Its dates were checked before webpki came to refuse it as an authority.
    fn self_signed_problem(
        &self,
        leaf: &CertificateDer<'_>,
        infos: &[CertInfo],
        name: &ServerName<'_>,
        wall_unix_s: u64,
    ) -> Option<(Failure, String)> {
        let mut own = RootCertStore::empty();
        let readable = own.add(leaf.clone().into_owned()).is_ok();
        let is_root = |anchor: &TrustAnchor<'_>| {
            own.roots.iter().any(|own| {
                own.subject == anchor.subject
                    && own.subject_public_key_info == anchor.subject_public_key_info
            })
        };
        if !readable || !self.roots.roots.iter().any(is_root) {
            return Some((Failure::CertUntrusted, "self-signed certificate".to_owned()));
        }
        let named =
            ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
        named.err().map(|error| describe(&error, infos, wall_unix_s))
    }
}

/// Lets any chain through. Signatures of the handshake are checked all the same.
#[derive(Debug)]
struct Lenient {
    algorithms: WebPkiSupportedAlgorithms,
}

/// Lets any chain through and keeps it, also of a handshake that goes wrong later.
pub(super) struct Recorder {
    lenient: Lenient,
    wall_unix_s: u64,
    chain: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Recorder {
    fn new(algorithms: WebPkiSupportedAlgorithms, wall_unix_s: u64) -> Recorder {
        Recorder { lenient: Lenient { algorithms }, wall_unix_s, chain: OnceLock::new() }
    }

    /// The chain as sent, leaf first, once the target has sent it.
    pub(super) fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.chain.get().map(Vec::as_slice)
    }

    pub(super) fn wall_unix_s(&self) -> u64 {
        self.wall_unix_s
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("chain", &self.chain.get().map(Vec::len)).finish()
    }
}

/// rustls asks for the time once per handshake; it gets the caller's, not the host's.
impl TimeProvider for Recorder {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.wall_unix_s)))
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls12_signature(message, leaf, signed, &self.algorithms);
        excuse_unreadable(leaf, verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls13_signature(message, leaf, signed, &self.algorithms);
        excuse_unreadable(leaf, verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = [leaf].into_iter().chain(issuers).map(|cert| cert.clone().into_owned());
        self.chain.get_or_init(|| chain.collect());
        self.lenient.verify_server_cert(leaf, issuers, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.lenient.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.lenient.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.lenient.supported_verify_schemes()
    }
}

/// A leaf that webpki cannot read (version 1, an unknown critical extension) proves nothing, and
/// fails the judgement of its chain for the same reason. Where the monitor does not verify, such
/// an old device is still up.
fn excuse_unreadable(
    leaf: &CertificateDer<'_>,
    verified: Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    match verified {
        Err(_) if ParsedCertificate::try_from(leaf).is_err() => {
            Ok(HandshakeSignatureValid::assertion())
        }
        verified => verified,
    }
}

/// The failure that an error of the verifier is, and words for people.
fn describe(error: &Error, infos: &[CertInfo], wall_unix_s: u64) -> (Failure, String) {
    let Error::InvalidCertificate(error) = error else {
        return (Failure::CertInvalid, printable(&error.to_string(), TEXT_CHARS_MAX));
    };
    use CertificateError::*;
    let failure = match error {
        Expired | ExpiredContext { .. } => Failure::CertExpired,
        NotValidYet | NotValidYetContext { .. } => Failure::CertNotYetValid,
        // A root has the issuer's name and another key: the issuer is not that root.
        UnknownIssuer | BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Failure::CertUntrusted
        }
        NotValidForName | NotValidForNameContext { .. } => Failure::CertName,
        _ => Failure::CertInvalid,
    };
    let text = match error {
        ExpiredContext { not_after, .. } => {
            let end = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
            let ago = in_days(-1 - days_left(end, wall_unix_s));
            format!("{} ended {ago} ago", whose(infos, |info| info.not_after == end))
        }
        NotValidYetContext { not_before, .. } => {
            let start = i64::try_from(not_before.as_secs()).unwrap_or(i64::MAX);
            let wait = in_days(days_left(start, wall_unix_s));
            format!("{} begins in {wait}", whose(infos, |info| info.not_before == start))
        }
        _ if failure == Failure::CertUntrusted => unknown_issuer(infos),
        NotValidForNameContext { expected, .. } => names_instead(&expected.to_str(), infos),
        other => other.to_string(),
    };
    (failure, printable(&text, TEXT_CHARS_MAX))
}

/// Names the certificate of the chain that a date belongs to.
fn whose(infos: &[CertInfo], is_it: impl Fn(&CertInfo) -> bool) -> String {
    match infos.iter().position(is_it) {
        Some(0) | None => "the certificate".to_owned(),
        Some(at) => format!("the chain's certificate {}", display_name(&infos[at].subject)),
    }
}

fn unknown_issuer(infos: &[CertInfo]) -> String {
    match infos {
        [only] if only.subject == only.issuer => "self-signed certificate".to_owned(),
        [.., last] => format!("issuer not trusted: {}", display_name(&last.issuer)),
        [] => "issuer not trusted".to_owned(),
    }
}

fn names_instead(wanted: &str, infos: &[CertInfo]) -> String {
    let Some(leaf) = infos.first().filter(|leaf| !leaf.names.is_empty()) else {
        return format!("the certificate names no host at all, {wanted} was wanted");
    };
    let shown = leaf.names.len().min(TEXT_NAMES_MAX);
    let names = leaf.names[..shown].join(", ");
    match leaf.names_total as usize - shown {
        0 => format!("the certificate is for {names}, not for {wanted}"),
        more => format!("the certificate is for {names} and {more} more, not for {wanted}"),
    }
}

/// The common name, else the last attribute there is.
fn display_name(name: &[(String, String)]) -> &str {
    let common = name.iter().find(|(attribute, _)| attribute == "commonName");
    common.or(name.last()).map_or("(no name)", |(_, value)| value.as_str())
}

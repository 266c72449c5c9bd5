//! TLS as a byte filter around any machine (RFC 8446, RFC 5246), and the facts of the certificate.
//!
//! Owns: the handshake, the phases `connect` and `tls`, the judgement of the certificate. Leaves
//! to the inner machine: everything said inside. [`Tls`] is itself a [`Machine`], so HTTPS is
//! `Tls<Http>` and a certificate check `Tls<Tcp>`.
//!
//! The bounds against a hostile target are rustls's own: a record of 16 KiB, a handshake message
//! of 64 KiB (so a chain of that size), a few warnings; past them the handshake fails. What is kept
//! of a certificate is capped in [`cert`].

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection, Error, HandshakeKind};

use crate::machine::{End, Machine};
use crate::outcome::{CertFacts, Detail, Failure, Outcome, Phase, Timings};
use crate::time::Nanos;

pub mod cert;
mod session;
pub mod verify;

pub use session::{SEEN_S_MAX, Session};
pub use verify::{Alpn, SetupError, TlsConfig, server_name};

use cert::{CHAIN_CERTS_MAX, cert_info, days_left, in_days, printable};
use session::{Keeper, Kept, Seen};
use verify::Recorder;

/// First bytes of the target that are shown where it does not speak TLS, in bytes: enough for
/// `HTTP/1.1 400 Bad` and `SSH-2.0-OpenSSH_`.
const EXCERPT_BYTES: usize = 16;
/// Longest text about a broken handshake, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// What counts as a good certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// True where a chain that is not trusted for the name is a failure.
    pub verify: bool,
    /// Good only while the leaf has more than this many whole days left.
    pub expire_days: Option<u32>,
}

/// Whether a session is resumed.
#[derive(Debug)]
pub enum Resume {
    /// A full handshake, and nothing of it is kept.
    Never,
    /// A full handshake; its session is kept.
    Next,
    /// The handshake resumes this session, where the target still knows it.
    This(Box<Session>),
}

/// How far the exchange is.
#[derive(Debug, PartialEq)]
enum Stage {
    /// No connection yet.
    Connecting,
    /// The handshake goes on.
    Handshaking,
    /// The target broke the handshake. Waits for the rest of the excerpt or the end, so that the
    /// outcome does not depend on how the bytes were split.
    Broken(Failure, String),
    /// The inner machine is talking.
    Open,
    /// The outcome is there.
    Over,
}

/// A machine inside a TLS connection.
#[derive(Debug)]
pub struct Tls<M> {
    inner: M,
    tls: Box<ClientConnection>,
    config: Arc<TlsConfig>,
    recorder: Arc<Recorder>,
    /// Where a session is found and left, with what was seen when it began.
    keeper: Option<Arc<Keeper>>,
    resumed: Option<Seen>,
    /// The certificate that this connection rests on, once it is good.
    seen: Option<Seen>,
    name: ServerName<'static>,
    policy: Policy,
    stage: Stage,
    /// The stream is over: nothing can be sent any more.
    ended: bool,
    started: Nanos,
    connected: Nanos,
    timings: Timings,
    head: Vec<u8>,
    plain: Vec<u8>,
    cert: Option<Arc<CertFacts>>,
    outcome: Option<Outcome>,
}

impl<M: Machine> Tls<M> {
    /// A probe whose connect starts at `started`. `inner` is connected when the handshake is
    /// finished and the certificate is good by `policy`; `wall_unix_s` is the time that
    /// certificates are judged at, in seconds since the Unix epoch; a session that `resume` brings
    /// must [hold](Session::holds) then. The ClientHello is made here.
    ///
    /// # Errors
    ///
    /// `Tls` where rustls refuses the settings or the host has no randomness: ours, not the
    /// target's.
    pub fn new(
        config: &Arc<TlsConfig>,
        name: ServerName<'static>,
        policy: Policy,
        inner: M,
        started: Nanos,
        wall_unix_s: u64,
        resume: Resume,
    ) -> Result<Tls<M>, SetupError> {
        let (keeper, resumed) = match resume {
            Resume::Never => (None, None),
            Resume::Next => (Some(Keeper::default()), None),
            Resume::This(session) => {
                let Session { kept, seen } = *session;
                (Some(Keeper::holding(kept)), Some(seen))
            }
        };
        let keeper = keeper.map(Arc::new);
        let (client, recorder) = config.for_one(wall_unix_s, keeper.clone());
        let mut tls = Box::new(ClientConnection::new(client, name.clone())?);
        // What the inner machine sends at once is bounded by its own spec.
        tls.set_buffer_limit(None);
        Ok(Tls {
            inner,
            tls,
            config: Arc::clone(config),
            recorder,
            keeper,
            resumed,
            seen: None,
            name,
            policy,
            stage: Stage::Connecting,
            ended: false,
            started,
            connected: started,
            timings: Timings::NONE,
            head: Vec::new(),
            plain: Vec::new(),
            cert: None,
            outcome: None,
        })
    }

    /// The session for the next connection; asked for when the exchange is over.
    pub fn take_session(&mut self) -> Option<Box<Session>> {
        let seen = self.seen.clone()?;
        let kept = self.keeper.as_ref()?.with(std::mem::take::<Kept>);
        kept.can_resume().then(|| Box::new(Session { kept, seen }))
    }

    /// True where what is known of the certificate still counts at `wall_unix_s`: the connection
    /// may carry a further exchange.
    pub fn holds(&self, wall_unix_s: u64) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.holds(wall_unix_s))
    }

    /// Carries a further exchange over the same connection, which [is kept](Machine::is_kept).
    pub fn again(&mut self, inner: M) {
        self.inner = inner;
        self.timings = Timings::NONE;
        self.stage = Stage::Open;
        self.pump();
    }

    /// Takes one read of records: the handshake, then what is inside for the inner machine.
    fn advance(&mut self, now: Nanos) {
        let processed = self.tls.process_new_packets();
        // An error may stand behind the end of the handshake, in the same bytes.
        if self.stage == Stage::Handshaking && !self.tls.is_handshaking() {
            self.finish_handshake(now);
        }
        self.feed_inner(now);
        match processed {
            // The stream inside is over, whether or not the connection is (RFC 8446 §6.1).
            Ok(state) if state.peer_has_closed() && self.stage == Stage::Open => {
                self.inner.handle_end(End::Eof, now);
                self.pump();
            }
            Ok(_) => {}
            Err(error) => self.handle_error(&error, now),
        }
    }

    /// Judges the certificate and lets the inner machine begin, or ends here.
    fn finish_handshake(&mut self, now: Nanos) {
        self.timings.set(Phase::Tls, self.connected, now);
        let facts = self.cert_facts();
        let resumed = self.is_resumed();
        let before = self.resumed.take();
        let bad = match &facts {
            // What was seen of a session that is resumed was good, and holds.
            Some(_) if resumed => None,
            Some(facts) => self.refusal(facts),
            None => Some((Failure::CertInvalid, "no certificate was sent".to_owned())),
        };
        self.cert = facts.clone();
        match bad {
            Some((failure, text)) => self.fail(failure, Phase::Tls, text),
            None => {
                let unix_s = self.recorder.wall_unix_s();
                // Of a longer chain not every date is known.
                let described = facts.filter(|facts| facts.chain.len() < CHAIN_CERTS_MAX);
                let shown = described.map(|facts| Seen { facts, unix_s });
                self.seen = if resumed { before } else { shown };
                self.stage = Stage::Open;
                self.inner.handle_connected(now);
                self.pump();
            }
        }
    }

    /// Why the policy refuses this certificate, if it does.
    fn refusal(&self, facts: &CertFacts) -> Option<(Failure, String)> {
        if let Some(problem) = facts.problem.filter(|_| self.policy.verify) {
            return Some((problem, facts.problem_text.clone()));
        }
        let expire_days = i64::from(self.policy.expire_days?);
        match facts.chain.first().map(|leaf| leaf.not_after) {
            None | Some(0) => {
                Some((Failure::CertInvalid, "the certificate's end cannot be read".to_owned()))
            }
            Some(not_after) => {
                let days = days_left(not_after, self.recorder.wall_unix_s());
                (days <= expire_days)
                    .then(|| (Failure::CertExpiresSoon, format!("{} left", in_days(days))))
            }
        }
    }

    fn is_resumed(&self) -> bool {
        self.resumed.is_some() && self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What was seen of the certificate; `None` before the target has sent it. Of a session that
    /// is resumed, what was seen when it began.
    fn cert_facts(&self) -> Option<Arc<CertFacts>> {
        if let Some(seen) = self.resumed.as_ref().filter(|_| self.is_resumed()) {
            return Some(Arc::clone(&seen.facts));
        }
        let chain = self.recorder.chain().or_else(|| self.tls.peer_certificates())?;
        let infos: Vec<_> =
            chain.iter().take(CHAIN_CERTS_MAX).map(|cert| cert_info(cert)).collect();
        let wall = self.recorder.wall_unix_s();
        let problem = self.config.problem(chain, &infos, &self.name, wall);
        let (problem, problem_text) =
            problem.map_or((None, String::new()), |(failure, text)| (Some(failure), text));
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let suite = self.tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Some(Arc::new(CertFacts {
            chain: infos,
            problem,
            problem_text,
            tls_version: version.to_owned(),
            // rustls marks the suites of TLS 1.3; IANA's names do not.
            cipher: suite.unwrap_or("").replacen("TLS13_", "TLS_", 1),
        }))
    }

    /// Hands the plaintext over, then looks what the inner machine makes of it.
    fn feed_inner(&mut self, now: Nanos) {
        while self.stage == Stage::Open {
            let mut reader = self.tls.reader();
            // An error here says that no plaintext is there.
            let length = match reader.fill_buf() {
                Ok(bytes) if !bytes.is_empty() => {
                    self.inner.handle_input(bytes, now);
                    bytes.len()
                }
                _ => return,
            };
            reader.consume(length);
            self.pump();
        }
    }

    /// Encrypts what the inner machine sends and takes its outcome.
    fn pump(&mut self) {
        self.plain.clear();
        self.inner.poll_transmit(&mut self.plain);
        // Refused only where rustls has reported an error: `advance` is about to handle it.
        let _ = self.tls.writer().write_all(&self.plain);
        if let Some(outcome) = self.inner.poll_outcome() {
            self.finish(outcome);
        }
    }

    fn handle_error(&mut self, error: &Error, now: Nanos) {
        let (failure, text) = describe(error);
        match self.stage {
            Stage::Handshaking if failure == Failure::TlsProtocol => {
                self.timings.set(Phase::Tls, self.connected, now);
                self.stage = Stage::Broken(failure, text);
            }
            Stage::Handshaking => {
                self.timings.set(Phase::Tls, self.connected, now);
                self.fail(failure, Phase::Tls, text);
            }
            Stage::Open => self.fail(failure, Phase::Tls, text),
            Stage::Connecting | Stage::Broken(..) | Stage::Over => {}
        }
    }

    /// Ends the handshake with the first bytes beside it, where it is broken.
    fn fail_broken(&mut self) {
        let Stage::Broken(failure, text) = &mut self.stage else { return };
        let (failure, text) = (*failure, std::mem::take(text));
        let mut outcome = Outcome::failed(failure, Phase::Tls, self.timings, text);
        let detail = outcome.detail.get_or_insert_with(Box::<Detail>::default);
        detail.excerpt = self.head.escape_ascii().to_string();
        self.finish(outcome);
    }

    fn fail(&mut self, failure: Failure, phase: Phase, text: String) {
        self.finish(Outcome::failed(failure, phase, self.timings, text));
    }

    /// Puts our phases and the certificate onto an outcome; the exchange is over.
    fn finish(&mut self, mut outcome: Outcome) {
        for phase in [Phase::Connect, Phase::Tls] {
            if let Some(micros) = self.timings.get(phase) {
                outcome.timings.set_micros(phase, micros);
            }
        }
        // The machine inside takes the end of the handshake for a connect.
        if outcome.phase == Some(Phase::Connect) && outcome.timings.get(Phase::Tls).is_some() {
            outcome.phase = Some(Phase::Tls);
        }
        if self.cert.is_none() {
            self.cert = self.cert_facts();
        }
        outcome.cert = self.cert.clone();
        if !self.tls.is_handshaking() && !self.inner.is_kept() {
            self.tls.send_close_notify();
        }
        self.outcome = Some(outcome);
        self.stage = Stage::Over;
    }
}

impl<M: Machine> Machine for Tls<M> {
    fn handle_connected(&mut self, now: Nanos) {
        self.timings.set(Phase::Connect, self.started, now);
        self.connected = now;
        self.stage = Stage::Handshaking;
    }

    fn handle_input(&mut self, bytes: &[u8], now: Nanos) {
        let room = EXCERPT_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let mut rest = bytes;
        while matches!(self.stage, Stage::Handshaking | Stage::Open) && !rest.is_empty() {
            match self.tls.read_tls(&mut rest) {
                // After close_notify nothing counts.
                Ok(0) => break,
                Ok(_) => self.advance(now),
                Err(error) => {
                    self.handle_error(&Error::General(error.to_string()), now);
                }
            }
        }
        if self.head.len() == EXCERPT_BYTES {
            self.fail_broken();
        }
    }

    fn handle_end(&mut self, end: End, now: Nanos) {
        self.ended = true;
        match self.stage {
            Stage::Connecting => {
                self.timings.set(Phase::Connect, self.started, now);
                self.fail(end.failure(), Phase::Connect, String::new());
            }
            Stage::Handshaking => {
                self.timings.set(Phase::Tls, self.connected, now);
                self.fail(end.failure(), Phase::Tls, String::new());
            }
            Stage::Broken(..) => self.fail_broken(),
            Stage::Open => {
                self.inner.handle_end(end, now);
                self.pump();
            }
            Stage::Over => {}
        }
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) {
        if self.ended || self.stage == Stage::Connecting {
            return;
        }
        // Writing to a vector cannot fail.
        while self.tls.wants_write() && self.tls.write_tls(out).is_ok() {}
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    fn is_kept(&self) -> bool {
        self.stage == Stage::Over && !self.ended && self.seen.is_some() && self.inner.is_kept()
    }

    fn is_doubtful(&self) -> bool {
        // With the end of the handshake the session has done its part.
        let resuming = self.resumed.is_some() && self.timings.get(Phase::Connect).is_some();
        resuming || self.inner.is_doubtful()
    }
}

/// The failure that an error of rustls is, and words for people.
fn describe(error: &Error) -> (Failure, String) {
    match error {
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            (Failure::TlsVersion, "the target refused TLS 1.2 and 1.3".to_owned())
        }
        Error::AlertReceived(alert) => {
            let name = alert.as_str().unwrap_or("unknown");
            (Failure::TlsAlert, format!("alert {} ({name})", u8::from(*alert)))
        }
        Error::PeerIncompatible(why) => {
            (Failure::TlsVersion, format!("nothing in common: {why:?}"))
        }
        Error::InvalidCertificate(_) => {
            (Failure::CertInvalid, printable(&error.to_string(), TEXT_CHARS_MAX))
        }
        _ => (Failure::TlsProtocol, printable(&error.to_string(), TEXT_CHARS_MAX)),
    }
}

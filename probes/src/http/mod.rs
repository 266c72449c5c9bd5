//! One HTTP/1.1 exchange (RFC 9110, RFC 9112): one request, one answer, then the connection ends,
//! or carries the next exchange where both sides keep it.
//!
//! Owns: the course of the exchange and its outcome. Leaves to others: TLS (`tls` wraps this
//! machine), following redirects (the caller resolves [`Outcome::redirect`] and makes the next
//! machine), the clock. A good check costs one allocation for the request; an answer that comes in
//! more than one piece costs a second one for its head, a search for texts its window.
//!
//! The answer is over as soon as it is decided: at the end of the head where the body does not
//! matter, else at the end of the body or its cap. Where texts are looked for, all of the body is
//! read, so that the result never depends on how the stream was cut.

mod body;
mod decode;
mod escape;
mod head;
mod request;

use std::borrow::Cow;
use std::mem::{replace, take};
use std::sync::Arc;

use body::{Body, BodyFault, Progress, Purpose};
use escape::escape;
use head::{Head, HeadFault, HeadReader, malformed};

use crate::expect::{StatusRule, TextFault, judge_status};
use crate::machine::{End, Machine};
use crate::outcome::{Detail, Failure, HttpFacts, Outcome, Phase, Timings};
use crate::spec::{HttpOptions, HttpUrl};
use crate::time::Nanos;

/// Interim answers (RFC 9110 §15.2) that are skipped before the final one.
///
/// Servers send one or two (100, 103); an endless row of them must not hold the probe.
const INTERIM_ANSWERS_MAX: u8 = 8;

/// One HTTP/1.1 exchange.
pub struct Http {
    options: Arc<HttpOptions>,
    /// The head of the request, until it is sent.
    request: Vec<u8>,
    started: Nanos,
    connected: Option<Nanos>,
    first_byte: Option<Nanos>,
    stage: Stage,
    /// The body, while the stage is [`Stage::Body`].
    body: Option<Body>,
    interim_answers: u8,
    /// The connection has carried an exchange before.
    reused: bool,
    /// The head said that the connection is kept.
    keeps: bool,
    /// The answer was read to its end on a connection that is kept.
    kept: bool,
    facts: Option<HttpFacts>,
    outcome: Option<Outcome>,
}

enum Stage {
    Connect,
    Head(HeadReader),
    /// The head is kept for the words about a bad answer.
    Body(Vec<u8>),
    Over,
}

impl Http {
    /// An exchange whose connect began at `started`. `url` is where this hop goes; `options` hold
    /// for all hops of a check.
    pub fn new(url: &HttpUrl, options: &Arc<HttpOptions>, started: Nanos) -> Http {
        Http {
            options: Arc::clone(options),
            request: request::head(url, options),
            started,
            connected: None,
            first_byte: None,
            stage: Stage::Connect,
            body: None,
            interim_answers: 0,
            reused: false,
            keeps: false,
            kept: false,
            facts: None,
            outcome: None,
        }
    }

    /// An exchange over a connection that has carried one before and is there already.
    pub fn again(url: &HttpUrl, options: &Arc<HttpOptions>, started: Nanos) -> Http {
        let mut http = Http::new(url, options, started);
        http.reused = true;
        http.handle_connected(started);
        http
    }

    fn on_head_bytes(&mut self, mut reader: HeadReader, input: &[u8], now: Nanos) {
        let mut rest = input;
        loop {
            let head = match reader.push(rest) {
                Ok(Some((head, after))) => {
                    rest = after;
                    head
                }
                Ok(None) => {
                    self.stage = Stage::Head(reader);
                    return;
                }
                Err(fault) => return self.fail_head(fault, now),
            };
            match head::parse(&head, &self.options.method) {
                Err(fault) => return self.fail_head(fault, now),
                Ok(Head { status: 101, .. }) => {
                    return self
                        .fail_head(malformed("a switch of protocols nobody asked for"), now);
                }
                Ok(Head { status: ..200, .. }) => {
                    self.interim_answers += 1;
                    if self.interim_answers > INTERIM_ANSWERS_MAX {
                        return self.fail_head(malformed("too many interim answers"), now);
                    }
                }
                Ok(parsed) => match self.on_head(&parsed, &head, now) {
                    Some(body) => return self.on_body_bytes(body, head, rest, now),
                    None => return,
                },
            }
        }
    }

    /// Judges the final head. Returns the body where it matters; else the exchange is over.
    fn on_head(&mut self, parsed: &Head<'_>, head: &[u8], now: Nanos) -> Option<Body> {
        let Head { status, minor_version, .. } = *parsed;
        self.facts = Some(HttpFacts { status, minor_version, ..HttpFacts::default() });
        self.keeps = self.options.keep_alive && parsed.keeps;
        let options = Arc::clone(&self.options);
        let length = match parsed.length {
            Ok(length) => length,
            Err(text) => {
                self.fail_body(body::malformed(text), head, now);
                return None;
            }
        };
        let has_texts = !options.needles.is_empty() || !options.forbidden.is_empty();
        let purpose = match judge_status(&options, status) {
            StatusRule::Redirect => {
                self.redirect(parsed.location, head, now);
                return None;
            }
            StatusRule::Unwanted => Purpose::Show,
            StatusRule::Wanted if has_texts => Purpose::Search,
            StatusRule::Wanted if options.read_body => Purpose::Count,
            StatusRule::Wanted => {
                self.decide(None, head, Detail::default(), now);
                return None;
            }
        };
        match Body::new(length, parsed.codings, &options, purpose) {
            Ok(body) => Some(body),
            Err(fault) => {
                self.fail_body(fault, head, now);
                None
            }
        }
    }

    /// Gives the target of a redirect to the caller: any text without control characters, since
    /// servers do send UTF-8 where RFC 9110 §10.2.2 wants it encoded.
    fn redirect(&mut self, location: Option<&[u8]>, head: &[u8], now: Nanos) {
        let target = location.and_then(|bytes| str::from_utf8(bytes).ok());
        let is_text = |target: &&str| !target.is_empty() && !target.contains(char::is_control);
        match (target.filter(is_text), location) {
            (Some(target), _) => {
                let outcome = self.outcome(None, now);
                self.stage = Stage::Over;
                self.outcome = Some(Outcome { redirect: Some(target.into()), ..outcome });
            }
            (None, location) => {
                let text = match location {
                    None => "a redirect without Location".to_owned(),
                    Some(bytes) => format!("Location is not a URL: {}", escape(bytes)),
                };
                let detail = Detail { text, ..Detail::default() };
                self.decide(Some(Failure::RedirectInvalid), head, detail, now);
            }
        }
    }

    fn on_body_bytes(&mut self, mut body: Body, head: Cow<'_, [u8]>, input: &[u8], now: Nanos) {
        match body.feed(&self.options, input) {
            Ok(Progress::More) => {
                self.body = Some(body);
                self.stage = Stage::Body(head.into_owned());
            }
            fed => self.on_body_end(body, fed, &head, now),
        }
    }

    /// The body is over, for good or bad: the exchange too.
    fn on_body_end(
        &mut self,
        mut body: Body,
        fed: Result<Progress, BodyFault>,
        head: &[u8],
        now: Nanos,
    ) {
        if let Some(facts) = &mut self.facts {
            body.count(facts);
        }
        self.kept = self.keeps && body.is_whole();
        if body.purpose == Purpose::Show {
            let detail = Detail { excerpt: body.excerpt(), ..Detail::default() };
            return self.decide(Some(Failure::HttpStatus), head, detail, now);
        }
        if let Err(fault) = fed {
            return self.fail_body(fault, head, now);
        }
        let options = Arc::clone(&self.options);
        let (failure, mut detail) = match body.judge(&options) {
            None => return self.decide(None, head, Detail::default(), now),
            Some(TextFault::Forbidden(text)) => {
                (Failure::NeedleForbidden, Detail { text: text.to_owned(), ..Detail::default() })
            }
            Some(TextFault::Missing(texts)) => {
                let missing = texts.into_iter().map(str::to_owned).collect();
                (Failure::NeedleMissing, Detail { missing, ..Detail::default() })
            }
        };
        detail.excerpt = body.excerpt();
        self.decide(Some(failure), head, detail, now);
    }

    fn fail_head(&mut self, fault: HeadFault, now: Nanos) {
        let HeadFault { failure, text, excerpt } = fault;
        let detail = Detail { text: text.to_owned(), excerpt, ..Detail::default() };
        self.decide(Some(failure), &[], detail, now);
    }

    fn fail_body(&mut self, fault: BodyFault, head: &[u8], now: Nanos) {
        let detail = Detail { text: fault.text.to_owned(), ..Detail::default() };
        self.decide(Some(fault.failure), head, detail, now);
    }

    /// Ends the exchange. `head` is the final one where it was read; `detail` says what it does
    /// not.
    fn decide(&mut self, failure: Option<Failure>, head: &[u8], mut detail: Detail, now: Nanos) {
        let mut outcome = self.outcome(failure, now);
        if self.options.keep_detail || failure.is_some() {
            head::describe(head, &mut detail);
            outcome.detail = (detail != Detail::default()).then(|| Box::new(detail));
        }
        self.stage = Stage::Over;
        self.outcome = Some(outcome);
    }

    /// An outcome without words: the phases reached so far, the last of them ending now.
    fn outcome(&self, failure: Option<Failure>, now: Nanos) -> Outcome {
        let mut timings = Timings::NONE;
        let mut phase = Phase::Connect;
        if !self.reused {
            timings.set(Phase::Connect, self.started, self.connected.unwrap_or(now));
        }
        if let Some(connected) = self.connected {
            phase = Phase::Wait;
            timings.set(Phase::Wait, connected, self.first_byte.unwrap_or(now));
        }
        if let Some(first_byte) = self.first_byte {
            phase = Phase::Transfer;
            timings.set(Phase::Transfer, first_byte, now);
        }
        let http = self.facts;
        Outcome { failure, phase: Some(phase), timings, http, ..Outcome::default() }
    }
}

impl Machine for Http {
    fn handle_connected(&mut self, now: Nanos) {
        self.connected = Some(now);
        self.stage = Stage::Head(HeadReader::default());
    }

    fn handle_input(&mut self, bytes: &[u8], now: Nanos) {
        if bytes.is_empty() {
            return;
        }
        self.first_byte.get_or_insert(now);
        match (replace(&mut self.stage, Stage::Over), self.body.take()) {
            (Stage::Head(reader), _) => self.on_head_bytes(reader, bytes, now),
            (Stage::Body(head), Some(body)) => {
                self.on_body_bytes(body, Cow::Owned(head), bytes, now);
            }
            // What comes after the answer, or before the connect by a bug of ours, is not for us.
            (other, _) => self.stage = other,
        }
    }

    fn handle_end(&mut self, end: End, now: Nanos) {
        match (replace(&mut self.stage, Stage::Over), self.body.take()) {
            (Stage::Body(head), Some(mut body)) => {
                let fed = body.feed_end(end, &self.options);
                self.on_body_end(body, fed, &head, now);
            }
            (Stage::Over | Stage::Body(_), _) => {}
            (Stage::Head(reader), _) => match reader.fault_at_end() {
                Some(fault) => self.fail_head(fault, now),
                None => self.decide(Some(end.failure()), &[], Detail::default(), now),
            },
            (Stage::Connect, _) => self.decide(Some(end.failure()), &[], Detail::default(), now),
        }
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) {
        if self.connected.is_some() && !self.request.is_empty() {
            out.append(&mut take(&mut self.request));
            out.extend_from_slice(&self.options.body);
        }
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    fn is_kept(&self) -> bool {
        self.kept
    }

    fn is_doubtful(&self) -> bool {
        // RFC 9110 §15.5.9: a 408 may have been on its way before the request.
        let timed_out = self.facts.is_some_and(|facts| facts.status == 408);
        self.reused && (self.first_byte.is_none() || timed_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Host;

    const MS: u64 = 1_000_000;

    fn http(options: HttpOptions) -> Http {
        let host = Host::Name("example.org".into());
        let url = HttpUrl { tls: false, host, port: 80, path: "/".into() };
        Http::new(&url, &Arc::new(options), Nanos(10 * MS))
    }

    fn connected(options: HttpOptions) -> Http {
        let mut http = http(options);
        http.handle_connected(Nanos(12 * MS));
        http
    }

    fn phases(outcome: &Outcome) -> [Option<u32>; 3] {
        [Phase::Connect, Phase::Wait, Phase::Transfer].map(|phase| outcome.timings.get(phase))
    }

    #[test]
    fn the_request_and_its_body_are_sent_once_and_after_the_connect() {
        let body = Box::from(*b"hello");
        let mut http = http(HttpOptions { method: "POST".into(), body, ..HttpOptions::default() });
        let mut out = b"kept ".to_vec();
        http.poll_transmit(&mut out);
        assert_eq!(out, b"kept ");
        http.handle_connected(Nanos(12 * MS));
        http.poll_transmit(&mut out);
        assert!(out.starts_with(b"kept POST / HTTP/1.1\r\n"));
        assert!(out.ends_with(b"\r\n\r\nhello"));
        let len = out.len();
        http.poll_transmit(&mut out);
        assert_eq!(out.len(), len);
    }

    #[test]
    fn each_phase_takes_its_own_time() {
        let mut http = connected(HttpOptions::default());
        http.handle_input(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Nanos(17 * MS));
        assert!(http.poll_outcome().is_none());
        http.handle_input(b"ok", Nanos(24 * MS));
        let outcome = http.poll_outcome().unwrap();
        assert_eq!(phases(&outcome), [Some(2_000), Some(5_000), Some(7_000)]);
        assert_eq!(outcome.phase, Some(Phase::Transfer));
        assert_eq!(outcome.timings.get(Phase::Tls), None);
    }

    #[test]
    fn a_failure_names_the_phase_it_was_in() {
        let mut refused = http(HttpOptions::default());
        refused.handle_end(End::Refused, Nanos(11 * MS));
        let outcome = refused.poll_outcome().unwrap();
        assert_eq!(outcome.failure, Some(Failure::Refused));
        assert_eq!(outcome.phase, Some(Phase::Connect));
        assert_eq!(phases(&outcome), [Some(1_000), None, None]);
        assert_eq!(outcome.http, None);

        let mut silent = connected(HttpOptions::default());
        silent.handle_end(End::TimedOut, Nanos(42 * MS));
        let outcome = silent.poll_outcome().unwrap();
        assert_eq!(outcome.failure, Some(Failure::TimedOut));
        assert_eq!(outcome.phase, Some(Phase::Wait));
        assert_eq!(phases(&outcome), [Some(2_000), Some(30_000), None]);
    }

    #[test]
    fn a_good_answer_has_words_only_where_they_are_asked_for() {
        for keep_detail in [false, true] {
            let mut http = connected(HttpOptions { keep_detail, ..HttpOptions::default() });
            let answer = b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nX-A: b\r\n\r\n";
            http.handle_input(answer, Nanos(20 * MS));
            let outcome = http.poll_outcome().unwrap();
            assert!(outcome.is_good());
            assert_eq!(outcome.detail.is_some(), keep_detail);
            if let Some(detail) = outcome.detail {
                assert_eq!(detail.reason, "Fine");
                assert_eq!(detail.headers[1], ("X-A".to_owned(), "b".to_owned()));
            }
        }
    }

    #[test]
    fn a_reset_after_the_whole_answer_changes_nothing() {
        let mut http = connected(HttpOptions::default());
        http.handle_input(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Nanos(20 * MS));
        http.handle_end(End::Reset, Nanos(21 * MS));
        http.handle_input(b"more", Nanos(22 * MS));
        assert!(http.poll_outcome().unwrap().is_good());
        assert!(http.poll_outcome().is_none());
    }

    #[test]
    fn a_connection_is_kept_only_after_a_whole_answer_that_keeps_it() {
        let kept = |answer: &[u8], more: HttpOptions| {
            let mut http = connected(HttpOptions { keep_alive: true, ..more });
            http.handle_input(answer, Nanos(20 * MS));
            assert!(http.poll_outcome().is_some(), "{}", answer.escape_ascii());
            http.is_kept()
        };
        let usual = HttpOptions::default;
        assert!(kept(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usual()));
        assert!(kept(b"HTTP/1.1 204 OK\r\nConnection: keep-alive\r\n\r\n", usual()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        assert!(kept(chunked, usual()));
        for answer in [
            &b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
            b"HTTP/1.1 302 OK\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(!kept(answer, usual()), "{}", answer.escape_ascii());
        }
        let cut = HttpOptions { body_bytes_max: 1, ..usual() };
        assert!(!kept(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", cut));
        let mut closing = connected(usual());
        closing.handle_input(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Nanos(20 * MS));
        assert!(closing.poll_outcome().is_some() && !closing.is_kept());
    }

    #[test]
    fn a_further_exchange_has_no_connect_and_is_in_doubt_until_its_first_byte() {
        let host = Host::Name("example.org".into());
        let url = HttpUrl { tls: false, host, port: 80, path: "/".into() };
        let options = Arc::new(HttpOptions { keep_alive: true, ..HttpOptions::default() });
        let mut http = Http::again(&url, &options, Nanos(10 * MS));
        let mut out = Vec::new();
        http.poll_transmit(&mut out);
        assert!(out.starts_with(b"GET / HTTP/1.1\r\n"));
        assert!(http.is_doubtful());
        http.handle_input(b"HTTP/1.1 200 OK\r\n", Nanos(12 * MS));
        assert!(!http.is_doubtful());
        http.handle_input(b"Content-Length: 0\r\n\r\n", Nanos(13 * MS));
        let outcome = http.poll_outcome().unwrap();
        assert_eq!(phases(&outcome), [None, Some(2_000), Some(1_000)]);
        assert!(http.is_kept());

        let mut closed = Http::again(&url, &options, Nanos(10 * MS));
        closed.handle_end(End::Eof, Nanos(11 * MS));
        let outcome = closed.poll_outcome().unwrap();
        assert_eq!((outcome.failure, outcome.phase), (Some(Failure::Closed), Some(Phase::Wait)));
        assert!(closed.is_doubtful());
    }

    #[test]
    fn facts_say_what_was_read() {
        let mut http = connected(HttpOptions { body_bytes_max: 3, ..HttpOptions::default() });
        http.handle_input(b"HTTP/1.0 201 Made\r\n\r\nlong", Nanos(20 * MS));
        let facts = http.poll_outcome().unwrap().http.unwrap();
        let wanted = HttpFacts {
            status: 201,
            body_bytes: 3,
            decoded_bytes: 3,
            truncated: true,
            ..HttpFacts::default()
        };
        assert_eq!(facts, wanted);
    }
}

//! Reads the head of an HTTP/1.x answer and decides how its body is framed (RFC 9112 §4 to §6).
//!
//! Owns: gathering the head from any cut of the stream, its bounds, and the framing rules, kept
//! strict: an answer that two readers could cut differently is refused. Leaves the grammar of
//! lines to `httparse`. A head that arrives in one piece is parsed in place and costs no
//! allocation; no byte is looked at twice for the end of the head.

use std::borrow::Cow;
use std::mem::{MaybeUninit, take};

use httparse::{Header, ParserConfig, Response, Status};
use memchr::memchr_iter;

use super::decode::Codings;
use super::escape::escape;
use crate::outcome::{Detail, Failure};

/// Largest head of one answer, in bytes.
///
/// Servers and proxies stop at 8 to 64 KiB of header fields, so a larger head is broken; held for
/// each of thousands of probes in flight, it has to end somewhere.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most header fields of one answer. Real answers have some dozens; the parser's table of this
/// many takes 8 KiB of stack.
const HEAD_FIELDS_MAX: usize = 256;

/// Every HTTP/1.x answer starts with this (RFC 9112 §2.3).
const HTTP_PREFIX: &[u8] = b"HTTP/1.";

/// Bytes shown of what came instead of HTTP: enough to tell SSH, TLS, SMTP or HTML.
const ALIEN_BYTES: usize = 16;

/// What is wrong with a head: the target's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeadFault {
    pub(super) failure: Failure,
    pub(super) text: &'static str,
    /// The first bytes, escaped, where they are not HTTP at all; else empty.
    pub(super) excerpt: String,
}

/// A head of the grammar's or framing's wrong sort, in words.
pub(super) fn malformed(text: &'static str) -> HeadFault {
    HeadFault { failure: Failure::HttpMalformed, text, excerpt: String::new() }
}

/// Gathers the bytes of one head.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    held: Vec<u8>,
}

/// One whole head and the bytes after it.
pub(super) type HeadAndRest<'b> = (Cow<'b, [u8]>, &'b [u8]);

impl HeadReader {
    /// Takes the next bytes of the stream.
    ///
    /// Returns the whole head, up to and with its empty line, and the bytes after it; `Ok(None)`
    /// while the head is incomplete.
    ///
    /// # Errors
    ///
    /// `HttpMalformed` where the stream is not HTTP/1.x, as soon as 16 bytes or a line show it;
    /// `HttpHeadTooLarge` past 64 KiB.
    pub(super) fn push<'b>(
        &mut self,
        input: &'b [u8],
    ) -> Result<Option<HeadAndRest<'b>>, HeadFault> {
        let before = self.held.len();
        let room = HEAD_BYTES_MAX - before;
        let visible = &input[..input.len().min(room)];
        if before == 0 {
            refuse_alien(visible)?;
            if let Some(end) = head_end(visible, 0) {
                return Ok(Some((Cow::Borrowed(&input[..end]), &input[end..])));
            }
        }
        self.held.extend_from_slice(visible);
        if before > 0 {
            refuse_alien(&self.held)?;
            if let Some(end) = head_end(&self.held, before) {
                self.held.truncate(end);
                return Ok(Some((Cow::Owned(take(&mut self.held)), &input[end - before..])));
            }
        }
        if self.held.len() == HEAD_BYTES_MAX {
            let text = "the head of the answer is larger than 64 KiB";
            let failure = Failure::HttpHeadTooLarge;
            return Err(HeadFault { failure, text, excerpt: String::new() });
        }
        Ok(None)
    }

    /// What is wrong with the few bytes held when the stream ends; `None` where they could have
    /// become a head.
    pub(super) fn fault_at_end(&self) -> Option<HeadFault> {
        is_alien(&self.held).then(|| alien(&self.held))
    }
}

fn is_alien(bytes: &[u8]) -> bool {
    bytes.iter().zip(HTTP_PREFIX).any(|(byte, wanted)| byte != wanted)
}

/// Refuses a stream that is not HTTP/1.x once enough of it is there to show, so that the words are
/// the same for every cut: the first line or the first 16 bytes, whichever is shorter.
fn refuse_alien(bytes: &[u8]) -> Result<(), HeadFault> {
    let shown = &bytes[..bytes.len().min(ALIEN_BYTES)];
    let enough = shown.len() == ALIEN_BYTES || shown.contains(&b'\n');
    if enough && is_alien(bytes) { Err(alien(bytes)) } else { Ok(()) }
}

fn alien(bytes: &[u8]) -> HeadFault {
    let shown = &bytes[..bytes.len().min(ALIEN_BYTES)];
    let end = shown.iter().position(|byte| *byte == b'\n').map_or(shown.len(), |at| at + 1);
    HeadFault { excerpt: escape(&shown[..end]), ..malformed("the answer is not HTTP/1.x") }
}

/// Where the first empty line ends, looking only at line ends from `from` on. A line may end with
/// a bare LF (RFC 9112 §2.2).
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut line_ends = memchr_iter(b'\n', &bytes[from..]).map(|at| from + at);
    let end = line_ends.find(|at| {
        let line = &bytes[..*at];
        line.ends_with(b"\n") || line.ends_with(b"\n\r")
    });
    end.map(|at| at + 1)
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// This many bytes follow.
    Known(u64),
    /// Chunks follow.
    Chunked,
    /// All up to the end of the stream.
    UntilEnd,
}

/// What a head says that matters for the check.
#[derive(Debug)]
pub(super) struct Head<'h> {
    pub(super) status: u16,
    pub(super) minor_version: u8,
    /// How the body is framed, or how the framing rules are broken.
    pub(super) length: Result<BodyLength, &'static str>,
    /// How the body is compressed; `None` where not every layer is known.
    pub(super) codings: Option<Codings>,
    /// The first `Location` field.
    pub(super) location: Option<&'h [u8]>,
    /// True where the target will take another request after this answer (RFC 9112 §9.3).
    pub(super) keeps: bool,
}

/// Reads a whole head that answers a request with `method`.
///
/// # Errors
///
/// `HttpMalformed` where the grammar is broken, `HttpHeadTooLarge` past 256 fields.
pub(super) fn parse<'h>(bytes: &'h [u8], method: &str) -> Result<Head<'h>, HeadFault> {
    let mut table = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let (status, minor_version, fields) = parse_lines(bytes, &mut table)?;
    let mut framing = Framing::default();
    let mut codings = Some(Codings::default());
    let mut location = None;
    // HTTP/1.0 has no connections that are kept without a word about it.
    let mut keeps = minor_version > 0;
    for field in fields {
        match field.name {
            name if name.eq_ignore_ascii_case("content-length") => framing.length(field.value),
            name if name.eq_ignore_ascii_case("transfer-encoding") => framing.coding(field.value),
            name if name.eq_ignore_ascii_case("content-encoding") => {
                codings = codings.and_then(|codings| codings.then(field.value));
            }
            name if name.eq_ignore_ascii_case("location") => {
                location = location.or(Some(field.value));
            }
            name if name.eq_ignore_ascii_case("connection") => keeps &= !says_close(field.value),
            _ => {}
        }
    }
    let no_body = method == "HEAD" || status == 204 || status == 304;
    let length = if no_body { Ok(BodyLength::Known(0)) } else { framing.decide(minor_version) };
    keeps &= matches!(length, Ok(BodyLength::Known(_) | BodyLength::Chunked));
    Ok(Head { status, minor_version, length, codings, location, keeps })
}

fn says_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Status, minor version and fields of a whole head.
fn parse_lines<'t, 'h>(
    bytes: &'h [u8],
    table: &'t mut [MaybeUninit<Header<'h>>],
) -> Result<(u16, u8, &'t [Header<'h>]), HeadFault> {
    let mut response = Response::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, table) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(malformed("the head breaks off")),
        Err(httparse::Error::TooManyHeaders) => {
            let text = "the answer has more than 256 header fields";
            let failure = Failure::HttpHeadTooLarge;
            return Err(HeadFault { failure, text, excerpt: String::new() });
        }
        Err(httparse::Error::Version) => {
            return Err(malformed("the HTTP version is not 1.0 or 1.1"));
        }
        Err(httparse::Error::Status) => return Err(malformed("the status line is broken")),
        Err(_) => return Err(malformed("a header field is broken")),
    }
    match (response.code, response.version) {
        (Some(status @ 100..), Some(version)) => Ok((status, version, response.headers)),
        _ => Err(malformed("the status is below 100")),
    }
}

/// Fills in the reason phrase and the fields of a head that was parsed before.
pub(super) fn describe(head: &[u8], detail: &mut Detail) {
    let mut table = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let Ok((_, _, fields)) = parse_lines(head, &mut table) else { return };
    let fields = fields.iter().map(|field| (field.name.to_owned(), escape(field.value)));
    detail.headers = fields.collect();
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // "HTTP/1.1 200 " stands before the reason.
    detail.reason = escape(line.get(13..).unwrap_or_default().trim_ascii());
}

/// The two fields that frame a body.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    /// Transfer codings seen; `Some(false)` once there is any other than one `chunked`.
    only_chunked: Option<bool>,
    /// What is wrong with the lengths, in words.
    fault: Option<&'static str>,
}

impl Framing {
    /// A `Content-Length` field, or several with one value (RFC 9110 §8.6).
    fn length(&mut self, value: &[u8]) {
        for part in value.split(|byte| *byte == b',') {
            match (decimal(part.trim_ascii()), self.length) {
                (None, _) => self.fault = Some("Content-Length is not a number"),
                (length, Some(_)) if length != self.length => {
                    self.fault = Some("Content-Length has two values");
                }
                (length, _) => self.length = length,
            }
        }
    }

    fn coding(&mut self, value: &[u8]) {
        let first = self.only_chunked.is_none();
        self.only_chunked = Some(first && value.eq_ignore_ascii_case(b"chunked"));
    }

    /// RFC 9112 §6.3. No `TE` field is sent, so `chunked` is the only coding a server may use
    /// (§7.4).
    fn decide(&self, minor_version: u8) -> Result<BodyLength, &'static str> {
        match (self.only_chunked, self.length, self.fault) {
            (_, _, Some(fault)) => Err(fault),
            (None, Some(length), None) => Ok(BodyLength::Known(length)),
            (None, None, None) => Ok(BodyLength::UntilEnd),
            (Some(_), Some(_), None) => Err("both Transfer-Encoding and Content-Length"),
            (Some(_), None, None) if minor_version == 0 => Err("Transfer-Encoding in HTTP/1.0"),
            (Some(false), None, None) => Err("Transfer-Encoding other than chunked"),
            (Some(true), None, None) => Ok(BodyLength::Chunked),
        }
    }
}

/// A number of ASCII digits only: no sign, no space, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(head: &str) -> Result<BodyLength, &'static str> {
        parse(head.as_bytes(), "GET").unwrap().length
    }

    fn fault_of(head: &str) -> HeadFault {
        parse(head.as_bytes(), "GET").unwrap_err()
    }

    fn refused(fields: &str) -> &'static str {
        length_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).unwrap_err()
    }

    #[test]
    fn a_head_is_whole_at_its_empty_line_wherever_it_is_cut() {
        for head in ["HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n"] {
            let stream = [head.as_bytes(), b"body"].concat();
            for cut in 0..=stream.len() {
                let mut reader = HeadReader::default();
                let (first, second) = stream.split_at(cut);
                let (found, rest) = match reader.push(first).unwrap() {
                    Some((found, rest)) => (found, [rest, second].concat()),
                    None => {
                        let (found, rest) = reader.push(second).unwrap().unwrap();
                        (found, rest.to_vec())
                    }
                };
                assert_eq!(found, head.as_bytes());
                assert_eq!(rest, b"body");
            }
        }
    }

    #[test]
    fn a_head_in_one_piece_is_not_copied() {
        let mut reader = HeadReader::default();
        let (head, _) = reader.push(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
        assert!(matches!(head, Cow::Borrowed(_)));
    }

    #[test]
    fn an_endless_head_is_refused_at_its_cap_and_not_held_beyond_it() {
        let mut reader = HeadReader::default();
        assert_eq!(reader.push(b"HTTP/1.1 200 OK\r\nA: ").unwrap(), None);
        let fault = (0..1_000).find_map(|_| reader.push(&[b'a'; 1_000]).err()).unwrap();
        assert_eq!(fault.failure, Failure::HttpHeadTooLarge);
        assert_eq!(reader.held.len(), HEAD_BYTES_MAX);
    }

    #[test]
    fn more_fields_than_the_table_holds_are_too_large() {
        let fields = "A: b\r\n".repeat(HEAD_FIELDS_MAX);
        assert!(length_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_ok());
        let fault = fault_of(&format!("HTTP/1.1 200 OK\r\n{fields}A: b\r\n\r\n"));
        assert_eq!(fault.failure, Failure::HttpHeadTooLarge);
    }

    #[test]
    fn another_protocol_is_shown_by_its_first_line_or_sixteen_bytes() {
        for (stream, excerpt) in [
            (&b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"[..], "SSH-2.0-OpenSSH_"),
            (b"+OK\r\nmore", "+OK\\r\\n"),
            (
                b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0",
                "\\x00\\x00\\x12\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x80\\x00",
            ),
            (b"<html><body>Hello", "<html><body>Hell"),
            (b"HTTP/2 200 OK\r\n\r\n", "HTTP/2 200 OK\\r\\n"),
        ] {
            let fault = HeadReader::default().push(stream).unwrap_err();
            assert_eq!(fault.excerpt, excerpt);
        }
    }

    #[test]
    fn a_few_foreign_bytes_are_told_from_a_head_that_breaks_off() {
        let mut reader = HeadReader::default();
        assert_eq!(reader.push(b"\x15\x03\x01").unwrap(), None);
        assert_eq!(reader.fault_at_end().unwrap().excerpt, "\\x15\\x03\\x01");
        let mut reader = HeadReader::default();
        assert_eq!(reader.push(b"HTT").unwrap(), None);
        assert_eq!(reader.fault_at_end(), None);
    }

    #[test]
    fn folded_lines_stray_bytes_and_bad_status_lines_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
        ] {
            assert_eq!(fault_of(head).failure, Failure::HttpMalformed, "{head:?}");
        }
    }

    #[test]
    fn an_empty_reason_with_or_without_its_space_is_fine() {
        for head in ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"] {
            assert_eq!(length_of(head), Ok(BodyLength::UntilEnd));
        }
    }

    #[test]
    fn equal_lengths_are_one_and_different_ones_are_refused() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(length_of(head), Ok(BodyLength::Known(5)));
        assert_eq!(
            refused("Content-Length: 5\r\nContent-Length: 6"),
            "Content-Length has two values"
        );
        assert_eq!(refused("Content-Length: 5, 6"), "Content-Length has two values");
    }

    #[test]
    fn a_length_is_digits_that_fit() {
        for value in ["", "-1", "+5", "5 5", "0x5", "5.", "18446744073709551616", "5,", ","] {
            assert_eq!(
                refused(&format!("Content-Length: {value}")),
                "Content-Length is not a number"
            );
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n";
        assert_eq!(length_of(head), Ok(BodyLength::Known(u64::MAX)));
    }

    #[test]
    fn transfer_encoding_is_chunked_alone_or_refused() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(length_of(head), Ok(BodyLength::Chunked));
        for value in ["gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", ""] {
            let text = refused(&format!("Transfer-Encoding: {value}"));
            assert_eq!(text, "Transfer-Encoding other than chunked");
        }
        refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
        refused("Transfer-Encoding: chunked\r\nContent-Length: 5");
        refused("Content-Length: 5\r\nTransfer-Encoding: chunked");
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(length_of(old), Err("Transfer-Encoding in HTTP/1.0"));
    }

    #[test]
    fn answers_that_never_have_a_body_have_none_whatever_their_fields() {
        let fields = "Content-Length: 5\r\n\r\n";
        for (status, method) in [(204, "GET"), (304, "GET"), (200, "HEAD")] {
            let head = format!("HTTP/1.1 {status} X\r\n{fields}");
            assert_eq!(parse(head.as_bytes(), method).unwrap().length, Ok(BodyLength::Known(0)));
        }
    }

    #[test]
    fn the_first_location_counts() {
        let head = b"HTTP/1.1 302 Found\r\nlocation: /a\r\nLocation: /b\r\n\r\n";
        assert_eq!(parse(head, "GET").unwrap().location, Some(&b"/a"[..]));
    }

    #[test]
    fn the_description_keeps_names_as_sent_and_loses_no_byte() {
        let mut detail = Detail::default();
        describe(b"HTTP/1.1 404 N\xf6t \xc3\xbc\r\nX-Odd:  a\xff\r\nx-odd: b\r\n\r\n", &mut detail);
        assert_eq!(detail.reason, "N\\xf6t \u{fc}");
        let fields = [("X-Odd", "a\\xff"), ("x-odd", "b")];
        assert_eq!(detail.headers, fields.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}

//! Reads the body of an answer: takes the framing off, undoes the compression, looks at the text.
//!
//! Owns: chunked framing (RFC 9112 §7.1), the cap on bytes, and what is done with them: counted,
//! searched or shown. Nothing of the body is kept but the search window and the first bytes to
//! show. Decoding is the costly part, so it is done only where somebody looks at the text.

use std::mem::take;

use super::decode::{Codings, Decoder, Stop};
use super::escape::escape;
use super::head::BodyLength;
use crate::expect::{TextFault, TextSearch};
use crate::machine::End;
use crate::outcome::{Failure, HttpFacts};
use crate::spec::HttpOptions;

/// Bytes of the decoded body that are shown where an answer is bad: a line or two of an error page.
const EXCERPT_BYTES: usize = 200;

/// Bytes of chunk extensions and padding, and of trailers, of one body: nobody reads them, so a
/// body that is mostly these is hostile.
const CHUNK_EXTRA_BYTES_MAX: u32 = 16 * 1024;

/// Digits of a chunk size: those of a 64-bit number, so it cannot overflow.
const CHUNK_SIZE_DIGITS_MAX: u32 = 16;

/// Why a body is bad, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyFault {
    pub(super) failure: Failure,
    pub(super) text: &'static str,
}

pub(super) fn malformed(text: &'static str) -> BodyFault {
    BodyFault { failure: Failure::HttpMalformed, text }
}

fn encoding(text: &'static str) -> BodyFault {
    BodyFault { failure: Failure::BodyEncoding, text }
}

/// Whether more of the body is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Complete,
}

/// Takes the framing off a stream of bytes.
#[derive(Debug)]
enum Framing {
    /// Bytes left.
    Length(u64),
    Chunked(Chunked),
    UntilEnd,
}

/// What the framing found at the front of some bytes.
enum Piece<'b> {
    Data(&'b [u8]),
    /// All bytes are used up.
    More,
    End,
}

impl Framing {
    fn new(length: BodyLength) -> Framing {
        match length {
            BodyLength::Known(length) => Framing::Length(length),
            BodyLength::Chunked => Framing::Chunked(Chunked::default()),
            BodyLength::UntilEnd => Framing::UntilEnd,
        }
    }

    /// The next piece of `input`, which moves on past it.
    fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Piece<'b>, BodyFault> {
        match self {
            Framing::Length(0) => Ok(Piece::End),
            Framing::Length(left) => Ok(take_data(left, input)),
            Framing::Chunked(chunked) => chunked.next(input),
            Framing::UntilEnd if input.is_empty() => Ok(Piece::More),
            Framing::UntilEnd => Ok(Piece::Data(take(input))),
        }
    }
}

fn take_data<'b>(left: &mut u64, input: &mut &'b [u8]) -> Piece<'b> {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (data, rest) = input.split_at(here);
    *input = rest;
    *left -= here as u64;
    if data.is_empty() { Piece::More } else { Piece::Data(data) }
}

/// A reader of chunks. A chunk's line ends with CRLF and nothing else, since a lone CR or LF there
/// is how two readers come to different bodies.
#[derive(Debug, Default)]
struct Chunked {
    at: At,
    size: u64,
    digits: u32,
    /// Bytes of extensions, padding and trailers so far.
    extra: u32,
}

/// What is expected next in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Spaces that some servers pad the size with.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

impl Chunked {
    fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Piece<'b>, BodyFault> {
        loop {
            match self.at {
                At::End => return Ok(Piece::End),
                At::Data if self.size > 0 => return Ok(take_data(&mut self.size, input)),
                At::Data => self.at = At::DataCr,
                _ => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(Piece::More) };
                    *input = rest;
                    self.at = self.after(*byte)?;
                }
            }
        }
    }

    /// Where the reader stands after one byte that is not data.
    fn after(&mut self, byte: u8) -> Result<At, BodyFault> {
        match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (At::Size, _) if self.digits == 0 => Err(malformed("a chunk has no size")),
            (At::Size | At::Padding, b' ' | b'\t') => self.extra(At::Padding),
            (At::Size | At::Padding, b';') => self.extra(At::Extension),
            (At::Size | At::Padding | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Size | At::Padding, _) => Err(malformed("the size of a chunk is broken")),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 { At::TrailerStart } else { At::Data })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::TrailerStart, b'\r') => Ok(At::LastLf),
            (At::Trailer, b'\r') => Ok(At::TrailerLf),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            (At::LastLf, b'\n') => Ok(At::End),
            (At::DataCr | At::DataLf, _) => Err(malformed("a chunk does not end where it should")),
            (At::SizeLf | At::TrailerLf | At::LastLf, _) | (_, b'\n' | 0) => {
                Err(malformed("a line of the chunked framing is broken"))
            }
            (At::Extension, _) => self.extra(At::Extension),
            (_, _) => self.extra(At::Trailer),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<At, BodyFault> {
        self.digits += 1;
        if self.digits > CHUNK_SIZE_DIGITS_MAX {
            return Err(malformed("the size of a chunk is too large"));
        }
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        self.size = (self.size << 4) | u64::from(digit);
        Ok(At::Size)
    }

    fn extra(&mut self, at: At) -> Result<At, BodyFault> {
        self.extra += 1;
        if self.extra > CHUNK_EXTRA_BYTES_MAX {
            return Err(malformed("more than 16 KiB of chunk extensions or trailers"));
        }
        Ok(at)
    }
}

/// What is done with the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Count them: a broken or endless body is seen, its text is not looked at.
    Count,
    /// Look for the texts of the options.
    Search,
    /// Show the first ones; the answer is bad already.
    Show,
}

/// One body on its way.
pub(super) struct Body {
    framing: Framing,
    pub(super) purpose: Purpose,
    bytes_max: u64,
    bytes: u64,
    truncated: bool,
    /// The end of the body was read, and nothing behind it.
    whole: bool,
    decoder: Option<Box<Decoder>>,
    text: Text,
}

/// The decoded body, as far as it is looked at.
struct Text {
    bytes: u64,
    search: Option<TextSearch>,
    excerpt: Vec<u8>,
    excerpt_max: usize,
}

impl Body {
    /// A body that is framed by `length` and compressed by `codings`, `None` for unknown ones.
    ///
    /// # Errors
    ///
    /// `BodyEncoding` where texts are looked for and the compression is not known.
    pub(super) fn new(
        length: BodyLength,
        codings: Option<Codings>,
        options: &HttpOptions,
        purpose: Purpose,
    ) -> Result<Body, BodyFault> {
        let bytes_max = u64::from(options.body_bytes_max);
        let text_max = match purpose {
            Purpose::Show => bytes_max.min(EXCERPT_BYTES as u64),
            Purpose::Count | Purpose::Search => bytes_max,
        };
        let decoder = match (purpose, codings) {
            (Purpose::Count, _) | (Purpose::Show, None) => None,
            (Purpose::Search, None) => {
                return Err(encoding("the body is compressed in a way that is not known"));
            }
            (_, Some(codings)) => Decoder::new(codings, text_max),
        };
        let search = TextSearch::new(options).filter(|_| purpose == Purpose::Search);
        let excerpt_max = if purpose == Purpose::Count { 0 } else { EXCERPT_BYTES };
        Ok(Body {
            framing: Framing::new(length),
            purpose,
            bytes_max: if decoder.is_some() { bytes_max } else { text_max },
            bytes: 0,
            truncated: false,
            whole: false,
            decoder: decoder.map(Box::new),
            text: Text { bytes: 0, search, excerpt: Vec::new(), excerpt_max },
        })
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// `HttpMalformed` where the framing is broken, `BodyEncoding` where the compression is.
    pub(super) fn feed(
        &mut self,
        options: &HttpOptions,
        mut input: &[u8],
    ) -> Result<Progress, BodyFault> {
        loop {
            let data = match self.framing.next(&mut input)? {
                Piece::More => return Ok(Progress::More),
                Piece::End => {
                    self.whole = input.is_empty();
                    return self.finish(options);
                }
                Piece::Data(data) => data,
            };
            let left = self.bytes_max - self.bytes;
            let kept = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.bytes += kept as u64;
            self.decode(options, &data[..kept])?;
            if kept < data.len() {
                self.truncated = true;
            }
            if self.truncated {
                return self.finish(options);
            }
        }
    }

    /// The stream is over: good for a body that has no other end, where it ended in order.
    ///
    /// # Errors
    ///
    /// The failure of `end`: more was to come. `BodyEncoding` where a compressed body breaks off.
    pub(super) fn feed_end(
        &mut self,
        end: End,
        options: &HttpOptions,
    ) -> Result<Progress, BodyFault> {
        let finished = self.finish(options);
        match (&self.framing, end) {
            (Framing::UntilEnd, End::Eof) => finished,
            (_, End::Eof) => Err(BodyFault {
                failure: Failure::Closed,
                text: "the connection was closed before the end of the body",
            }),
            _ => Err(BodyFault { failure: end.failure(), text: "" }),
        }
    }

    fn decode(&mut self, options: &HttpOptions, bytes: &[u8]) -> Result<(), BodyFault> {
        let text = &mut self.text;
        let Some(decoder) = &mut self.decoder else {
            text.take(options, bytes);
            return Ok(());
        };
        let fed = decoder.feed(bytes, &mut |decoded| {
            text.take(options, decoded);
            Ok(())
        });
        self.settle(fed)
    }

    fn finish(&mut self, options: &HttpOptions) -> Result<Progress, BodyFault> {
        let text = &mut self.text;
        if let Some(decoder) = &mut self.decoder {
            let fed = decoder.flush(&mut |decoded| {
                text.take(options, decoded);
                Ok(())
            });
            let complete = decoder.is_complete();
            self.settle(fed)?;
            if !complete && !self.truncated {
                return Err(encoding("the compressed body ends too early"));
            }
        }
        Ok(Progress::Complete)
    }

    /// A decoder that stopped is done with, and only what it used of the body counts as read.
    fn settle(&mut self, fed: Result<(), Stop>) -> Result<(), BodyFault> {
        let Err(stop) = fed else { return Ok(()) };
        self.bytes = self.decoder.take().map_or(self.bytes, |decoder| decoder.consumed);
        self.truncated |= stop == Stop::PastCap;
        match stop {
            Stop::PastCap => Ok(()),
            Stop::Broken => Err(encoding("the compression of the body is broken")),
        }
    }

    /// True where the connection stands right behind the body.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Judges the text of a complete body.
    pub(super) fn judge<'o>(&mut self, options: &'o HttpOptions) -> Option<TextFault<'o>> {
        self.text.search.as_mut()?.judge(options)
    }

    /// Adds the sizes to the facts. A body that is only shown is not counted: how much of it was
    /// read says nothing.
    pub(super) fn count(&self, facts: &mut HttpFacts) {
        if self.purpose != Purpose::Show {
            facts.body_bytes = self.bytes;
            facts.decoded_bytes = self.text.bytes;
            facts.truncated = self.truncated;
        }
    }

    /// The first bytes of the decoded body, escaped.
    pub(super) fn excerpt(&self) -> String {
        escape(&self.text.excerpt)
    }
}

impl Text {
    fn take(&mut self, options: &HttpOptions, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(search) = &mut self.search {
            search.feed(options, bytes);
        }
        let room = self.excerpt_max - self.excerpt.len();
        self.excerpt.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a chunked body, and whether its end came; or the words of the fault.
    fn unchunk(mut input: &[u8]) -> Result<(Vec<u8>, bool), &'static str> {
        let mut chunked = Chunked::default();
        let mut out = Vec::new();
        loop {
            match chunked.next(&mut input).map_err(|fault| fault.text)? {
                Piece::Data(data) => out.extend_from_slice(data),
                Piece::More => return Ok((out, false)),
                Piece::End => return Ok((out, true)),
            }
        }
    }

    #[test]
    fn chunks_are_joined_and_end_with_the_empty_one() {
        let body = b"5\r\nhello\r\n0A; a=b;c\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n";
        assert_eq!(unchunk(body), Ok((b"hello0123456789".to_vec(), true)));
        assert_eq!(unchunk(b"5  \r\nhello\r\n0\r\n\r\nmore"), Ok((b"hello".to_vec(), true)));
    }

    #[test]
    fn a_chunked_body_is_not_over_before_its_last_line_end() {
        let body = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
        for end in 0..body.len() {
            assert!(!unchunk(&body[..end]).unwrap().1, "{end} bytes");
        }
        assert!(unchunk(body).unwrap().1);
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-5\r\nhello",
            b"0x5\r\nhello",
            b" 5\r\nhello",
            b"5\nhello",
            b"5\rhello",
            b"5;a\nhello",
            b"5;a\0\r\nhello",
            b"5\r\nhello!",
            b"5\r\nhello\n",
            b"5 5\r\nhello",
            b"0\r\n\n",
            b"0\r\nA: b\n",
            b"0\r\nA: b\rc",
            b"10000000000000000\r\n",
            b"00000000000000005\r\n",
        ] {
            assert!(unchunk(body).is_err(), "{:?}", body.escape_ascii().to_string());
        }
    }

    #[test]
    fn the_largest_size_is_read_without_overflow() {
        assert_eq!(unchunk(b"ffffffffffffffff\r\nab"), Ok((b"ab".to_vec(), false)));
    }

    #[test]
    fn endless_extensions_padding_and_trailers_are_refused_at_their_cap() {
        for (start, part) in [(&b"5;"[..], "a=b;"), (b"5 ", "    "), (b"0\r\n", "A: b\r\n")] {
            let body = [start, part.repeat(20_000).as_bytes()].concat();
            assert_eq!(unchunk(&body), Err("more than 16 KiB of chunk extensions or trailers"));
        }
        let body = "1;abcdefg\r\nx\r\n".repeat(20_000);
        assert!(unchunk(body.as_bytes()).is_err());
    }
}

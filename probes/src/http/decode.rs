//! Undoes the compression of a body (RFC 9110 §8.4): gzip, deflate and brotli, up to two layers.
//!
//! Owns: the decoders and their bounds. Input is gathered into blocks of one fixed size before it
//! is decoded, so that what comes out, and after how many bytes, is the same for every cut of the
//! stream. Every layer stops at the cap of the body: a bomb costs no more than an honest body of
//! that size. Memory: some 50 KiB a layer for deflate; for brotli up to the window the target asks
//! for, at most 16 MiB, of which only what it fills is real.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};

/// Layers of compression that are undone. More than one is rare, more than two a mistake.
const LAYERS_MAX: usize = 2;

/// Bytes of compressed input decoded at a time. See the top of this file.
const BLOCK_BYTES: usize = 1024;

/// Bytes decoded per step, on the stack: one step must stay small beside the shard's turn.
const STEP_BYTES: usize = 8 * 1024;

/// One way of compressing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 as some servers send.
    Deflate,
    /// RFC 7932.
    Brotli,
}

/// The layers of a body in the order they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codings {
    layers: [Option<Coding>; LAYERS_MAX],
}

impl Codings {
    /// These layers and those of one more `Content-Encoding` field; `None` where one is not known
    /// or there are too many.
    pub(super) fn then(mut self, value: &[u8]) -> Option<Codings> {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let coding = match name {
                b"" => continue,
                _ if is("identity") => continue,
                _ if is("gzip") || is("x-gzip") => Coding::Gzip,
                _ if is("deflate") => Coding::Deflate,
                _ if is("br") => Coding::Brotli,
                _ => return None,
            };
            *self.layers.iter_mut().find(|layer| layer.is_none())? = Some(coding);
        }
        Some(self)
    }
}

/// Why decoding stopped before the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A layer gave more bytes than the cap. Those up to it were delivered.
    PastCap,
    /// The compression is broken.
    Broken,
}

/// Undoes all layers of one body.
pub(super) struct Decoder {
    block: Vec<u8>,
    /// The layer that was applied last.
    outer: Layer,
    inner: Option<Layer>,
    /// Bytes handed to the outer layer.
    pub(super) consumed: u64,
}

/// Where decoded bytes go.
type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> Result<(), Stop>;

impl Decoder {
    /// A decoder that gives at most `bytes_max` bytes, or `None` for a body that is not compressed.
    pub(super) fn new(codings: Codings, bytes_max: u64) -> Option<Decoder> {
        let mut applied = codings.layers.into_iter().rev().flatten();
        let mut layer = || applied.next().map(|coding| Layer::new(coding, bytes_max));
        let (outer, inner) = (layer()?, layer());
        Some(Decoder { block: Vec::with_capacity(BLOCK_BYTES), outer, inner, consumed: 0 })
    }

    /// Takes the next bytes of the body and gives the decoded ones to `sink`.
    ///
    /// # Errors
    ///
    /// See [`Stop`]; nothing more may be fed then.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: Sink<'_>) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    /// Decodes what is left of the last block.
    ///
    /// # Errors
    ///
    /// See [`Stop`].
    pub(super) fn flush(&mut self, sink: Sink<'_>) -> Result<(), Stop> {
        self.consumed += self.block.len() as u64;
        let done = match &mut self.inner {
            None => pump(&mut self.outer, &self.block, sink),
            Some(inner) => {
                pump(&mut self.outer, &self.block, &mut |bytes| pump(inner, bytes, sink))
            }
        };
        self.block.clear();
        done
    }

    /// True where every layer came to its own end, or the body was empty.
    pub(super) fn is_complete(&self) -> bool {
        self.outer.is_complete() && self.inner.as_ref().is_none_or(Layer::is_complete)
    }
}

/// Decodes all of `input` through one layer, step by step.
fn pump(layer: &mut Layer, mut input: &[u8], sink: Sink<'_>) -> Result<(), Stop> {
    let mut out = [0; STEP_BYTES];
    loop {
        let step = layer.step(input, &mut out)?;
        input = &input[step.read..];
        let wrote = step.wrote as u64;
        let kept = wrote.min(layer.left);
        layer.left -= kept;
        sink(&out[..kept as usize])?;
        if kept < wrote {
            return Err(Stop::PastCap);
        }
        if step.read == 0 && step.wrote == 0 {
            return if input.is_empty() { Ok(()) } else { Err(Stop::Broken) };
        }
    }
}

/// One layer of compression.
struct Layer {
    coding: Coding,
    state: State,
    /// Bytes it may still give.
    left: u64,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum State {
    /// No byte seen of this stream or gzip member.
    Start,
    Inflate(Decompress),
    Brotli(Box<Brotli>),
    /// The stream came to its own end; in gzip another member may follow (RFC 1952 §2.2).
    Ended,
    /// What follows belongs to nothing and is skipped, as browsers do.
    Trailing,
}

struct Step {
    read: usize,
    wrote: usize,
}

impl Layer {
    fn new(coding: Coding, left: u64) -> Layer {
        Layer { coding, state: State::Start, left }
    }

    fn is_complete(&self) -> bool {
        matches!(self.state, State::Start | State::Ended | State::Trailing)
    }

    /// Decodes some of `input` into `out`. No progress means that all input is used up.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Stop> {
        if let Some(first) = input.first() {
            match self.state {
                State::Start => self.state = self.start(*first),
                State::Ended if self.coding == Coding::Gzip && *first == 0x1f => {
                    self.state = self.start(*first);
                }
                State::Ended => self.state = State::Trailing,
                _ => {}
            }
        }
        let (step, ended) = match &mut self.state {
            State::Start | State::Ended | State::Trailing => {
                return Ok(Step { read: input.len(), wrote: 0 });
            }
            State::Inflate(inflate) => inflate_step(inflate, input, out)?,
            State::Brotli(brotli) => brotli_step(brotli, input, out)?,
        };
        if ended {
            self.state = State::Ended;
        }
        Ok(step)
    }

    /// The decoder for a stream with this first byte. `deflate` means zlib (RFC 9110 §8.4.1.2),
    /// whose first byte ends in 8; some servers leave the zlib wrapper out, and then no sane stream
    /// starts with such a byte.
    fn start(&self, first: u8) -> State {
        match self.coding {
            Coding::Gzip => State::Inflate(Decompress::new_gzip(15)),
            Coding::Deflate => State::Inflate(Decompress::new(first & 0x0f == 8)),
            Coding::Brotli => {
                let memory = StandardAlloc::default;
                State::Brotli(Box::new(BrotliState::new_strict(memory(), memory(), memory())))
            }
        }
    }
}

fn inflate_step(
    inflate: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
) -> Result<(Step, bool), Stop> {
    let (read, wrote) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None);
    let status = status.map_err(|_| Stop::Broken)?;
    let read = (inflate.total_in() - read) as usize;
    let wrote = (inflate.total_out() - wrote) as usize;
    Ok((Step { read, wrote }, status == Status::StreamEnd))
}

fn brotli_step(brotli: &mut Brotli, input: &[u8], out: &mut [u8]) -> Result<(Step, bool), Stop> {
    let (mut left_in, mut read) = (input.len(), 0);
    let (mut left_out, mut wrote, mut total) = (out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left_in,
        &mut read,
        input,
        &mut left_out,
        &mut wrote,
        out,
        &mut total,
        brotli,
    );
    match result {
        BrotliResult::ResultFailure => Err(Stop::Broken),
        result => Ok((Step { read, wrote }, matches!(result, BrotliResult::ResultSuccess))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    /// "hello hello hello hello\n" by the reference encoder.
    const HELLO_BR: &[u8] = b"\x1f\x17\x00\xf8\x8d\x94\x6e\xde\x44\x55\x86\xd6\
        \x0a\x20\x6c\x6f\x4a\x11\x79\xe2\x80\xae\x16";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn codings(value: &str) -> Codings {
        Codings::default().then(value.as_bytes()).unwrap()
    }

    fn decode(value: &str, body: &[u8], max: u64) -> (Vec<u8>, Result<bool, Stop>) {
        let mut decoder = Decoder::new(codings(value), max).unwrap();
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(())
        };
        let fed = decoder.feed(body, &mut sink).and_then(|()| decoder.flush(&mut sink));
        (out, fed.map(|()| decoder.is_complete()))
    }

    #[test]
    fn every_coding_gives_back_the_text() {
        let text = b"a text that is repeated, ".repeat(2_000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).unwrap();
        let members = [gzip(&text[..10]), gzip(&text[10..])].concat();
        for (value, body) in [
            ("gzip", gzip(&text)),
            ("X-GZIP", members),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
            ("gzip, gzip", gzip(&gzip(&text))),
        ] {
            let (out, end) = decode(value, &body, 1 << 20);
            assert_eq!(end, Ok(true), "{value}");
            assert_eq!(out, text, "{value}");
        }
    }

    #[test]
    fn brotli_gives_back_the_text() {
        let (out, end) = decode("br", HELLO_BR, 100);
        assert_eq!((&out[..], end), (&b"hello hello hello hello\n"[..], Ok(true)));
    }

    #[test]
    fn layers_are_undone_in_the_reverse_of_their_order() {
        let (out, end) = decode("br, gzip", &gzip(HELLO_BR), 100);
        assert_eq!((&out[..], end), (&b"hello hello hello hello\n"[..], Ok(true)));
    }

    #[test]
    fn unknown_codings_and_a_third_layer_are_not_known() {
        for value in ["zstd", "gzip, zstd", "gzip, gzip, gzip", "compress"] {
            assert_eq!(Codings::default().then(value.as_bytes()), None, "{value}");
        }
        assert_eq!(codings("identity, , Identity"), Codings::default());
        assert!(Decoder::new(Codings::default(), 1).is_none());
    }

    #[test]
    fn a_bomb_stops_at_the_cap_having_given_exactly_that() {
        let bomb = gzip(&vec![0; 10 << 20]);
        for (value, body) in [("gzip", bomb.clone()), ("gzip, gzip", gzip(&bomb))] {
            let (out, end) = decode(value, &body, 100_000);
            assert_eq!(end, Err(Stop::PastCap), "{value}");
            assert_eq!(out.len(), 100_000, "{value}");
        }
    }

    #[test]
    fn an_outer_layer_that_grows_is_capped_even_where_the_inner_one_gives_nothing() {
        // Empty stored blocks (RFC 1951 §3.2.4): input without end, output none.
        let silent = b"\x00\x00\x00\xff\xff".repeat(1 << 20);
        let (out, end) = decode("deflate, gzip", &gzip(&silent), 100_000);
        assert_eq!((out.len(), end), (0, Err(Stop::PastCap)));
    }

    #[test]
    fn broken_and_cut_streams_are_told() {
        let mut body = gzip(b"some text");
        assert_eq!(decode("gzip", &body[..body.len() - 1], 100).1, Ok(false));
        let crc = body.len() - 8;
        body[crc] ^= 1;
        assert_eq!(decode("gzip", &body, 100).1, Err(Stop::Broken));
        assert_eq!(decode("gzip", b"plain text", 100).1, Err(Stop::Broken));
        assert_eq!(decode("br", b"\xff\xff\xff\xff", 100).1, Err(Stop::Broken));
        assert_eq!(decode("gzip", b"", 100).1, Ok(true));
    }

    #[test]
    fn bytes_after_the_end_of_a_stream_are_skipped() {
        let body = [gzip(b"text"), b"\0\0\0\0".to_vec()].concat();
        assert_eq!(decode("gzip", &body, 100), (b"text".to_vec(), Ok(true)));
    }
}

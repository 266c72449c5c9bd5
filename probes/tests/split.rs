//! However the bytes of an answer are cut, the outcome is the same; and it is the right one.
//!
//! Every file in `cases/http` is one recorded exchange: a sentence, settings and expectations, a
//! line of three dashes, and the bytes of the answer as text. In those bytes `\r`, `\n`, `\t`, `\\`
//! and `\x1b` stand for what they say, and line breaks for nothing.

mod harness;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use probes::spec::{HttpOptions, StatusSet};
use probes::{End, Failure, Outcome};
use proptest::prelude::*;

use harness::{explore, run};

struct Case {
    name: String,
    options: Arc<HttpOptions>,
    end: Option<End>,
    wanted: Vec<(String, String)>,
    answer: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/http");
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        cases.push(parse_case(name, &fs::read_to_string(&path).unwrap()));
    }
    assert!(cases.len() >= 50, "the recorded cases are gone");
    cases
}

fn parse_case(name: String, text: &str) -> Case {
    let (before, answer) = text.split_once("\n---\n").unwrap();
    let (sentence, keys) = before.split_once('\n').unwrap();
    assert!(sentence.ends_with('.'), "{name} starts with a sentence");
    let mut options = HttpOptions { redirects_max: 0, ..HttpOptions::default() };
    let (mut needles, mut forbidden) = (Vec::new(), Vec::new());
    let mut end = Some(End::Eof);
    let mut wanted = Vec::new();
    for line in keys.lines() {
        let (key, value) = line.split_once(": ").unwrap();
        match key {
            "method" => options.method = value.into(),
            "needle" => needles.push(Box::from(value)),
            "forbidden" => forbidden.push(Box::from(value)),
            "read_body" => options.read_body = value == "yes",
            "keep_detail" => options.keep_detail = value == "yes",
            "redirects" => options.redirects_max = value.parse().unwrap(),
            "cap" => options.body_bytes_max = value.parse().unwrap(),
            "statuses" => {
                let (low, high) = value.split_once('-').unwrap();
                let range = (low.parse().unwrap(), high.parse().unwrap());
                options.statuses = StatusSet(Box::new([range]));
            }
            "end" => {
                end = match value {
                    "none" => None,
                    "reset" => Some(End::Reset),
                    "timeout" => Some(End::TimedOut),
                    other => panic!("{name}: no end is called {other}"),
                }
            }
            _ => wanted.push((key.to_owned(), value.to_owned())),
        }
    }
    options.needles = needles.into();
    options.forbidden = forbidden.into();
    let answer = unescape(answer);
    Case { name, options: Arc::new(options), end, wanted, answer }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes().filter(|byte| *byte != b'\n');
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'\\' => match bytes.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            other => other,
        };
        out.push(plain);
    }
    out
}

/// The words of an outcome under the names that cases use.
fn told(outcome: &Outcome, key: &str) -> String {
    let facts = outcome.http.unwrap_or_default();
    let detail = outcome.detail.as_deref().cloned().unwrap_or_default();
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    match key {
        "result" if outcome.redirect.is_some() => "redirect".to_owned(),
        "result" => outcome.failure.map_or("ok", Failure::name).to_owned(),
        "redirect" => escape_non_ascii(outcome.redirect.as_deref().unwrap_or_default()),
        "status" => facts.status.to_string(),
        "body" => facts.body_bytes.to_string(),
        "decoded" => facts.decoded_bytes.to_string(),
        "truncated" => yes_no(facts.truncated),
        "phase" => outcome.phase.unwrap().name().to_owned(),
        "text" => detail.text,
        "missing" => detail.missing.join(", "),
        "reason" => detail.reason,
        "excerpt" => detail.excerpt,
        other => panic!("no expectation is called {other}"),
    }
}

fn escape_non_ascii(text: &str) -> String {
    text.bytes().flat_map(std::ascii::escape_default).map(char::from).collect()
}

#[test]
fn recorded_answers_give_their_outcome_however_they_are_cut() {
    for Case { name, options, end, wanted, answer } in cases() {
        let whole =
            run(&options, [&answer[..]], end).unwrap_or_else(|| panic!("{name}: no outcome"));
        assert!(wanted.iter().any(|(key, _)| key == "result"), "{name} expects nothing");
        for (key, value) in wanted {
            assert_eq!(told(&whole, &key), value, "{name}: {key} of {whole:?}");
        }
        let bytes = run(&options, answer.chunks(1), end);
        assert_eq!(bytes.as_ref(), Some(&whole), "{name} byte by byte");
        for cut in 0..answer.len() {
            let (first, second) = answer.split_at(cut);
            let outcome = run(&options, [first, second], end);
            assert_eq!(outcome.as_ref(), Some(&whole), "{name} cut at {cut}");
        }
    }
}

/// A fast generator of numbers (xorshift64*), so that a failure is repeated by its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// A recorded answer with a few bytes changed, dropped, doubled or taken from another one.
fn mutate(cases: &[Case], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = vec![numbers.below(256) as u8, numbers.below(256) as u8];
    data.extend_from_slice(&cases[numbers.below(cases.len())].answer);
    for _ in 0..numbers.below(6) {
        let at = 2 + numbers.below(data.len() - 1).min(data.len() - 2);
        match numbers.below(4) {
            0 => data.insert(at, b"\r\n\0 :;0fF\xff"[numbers.below(10)]),
            1 => data.truncate(at),
            2 if at < data.len() => data[at] ^= 1 << numbers.below(8),
            _ => {
                let other = &cases[numbers.below(cases.len())].answer;
                let tail = &other[numbers.below(other.len() + 1)..];
                data.splice(at.., tail.iter().copied());
            }
        }
    }
    data
}

#[test]
fn changed_answers_never_panic_stay_bounded_and_do_not_depend_on_the_cut() {
    let cases = cases();
    for seed in 1..=4_000 {
        let data = mutate(&cases, &mut Numbers(seed));
        let outcome = std::panic::catch_unwind(|| explore(&data));
        assert!(outcome.is_ok(), "seed {seed}: {}", data.escape_ascii());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), body].concat()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        write!(out, "{:x}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Pieces of `bytes` whose lengths repeat `sizes`.
fn pieces<'b>(mut bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut out = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        out.push(piece);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    out
}

fn looking_for(needles: &[&str], body_bytes_max: u32) -> Arc<HttpOptions> {
    let needles = needles.iter().map(|text| Box::from(*text)).collect();
    Arc::new(HttpOptions { needles, body_bytes_max, ..HttpOptions::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn compressed_bodies_of_any_size_do_not_depend_on_the_cut(
        body in proptest::collection::vec("[a-d]{0,40}|needle", 0..600),
        sizes in proptest::collection::vec(1usize..3_000, 1..8),
        chunk in 1usize..5_000,
        cap in 0u32..20_000,
        zlib in any::<bool>(),
    ) {
        let body = body.concat();
        let found = body.find("needle").is_some_and(|at| at + 6 <= cap as usize);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body.as_bytes()).unwrap();
        let (coding, packed) = match zlib {
            true => ("deflate", encoder.finish().unwrap()),
            false => ("gzip", gzip(body.as_bytes())),
        };
        let fields = format!("Content-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n");
        let stream = answer(&fields, &chunked(&packed, chunk));
        let options = looking_for(&["needle"], cap);

        let whole = run(&options, [&stream[..]], Some(End::Eof)).unwrap();
        prop_assert_eq!(&run(&options, pieces(&stream, &sizes), Some(End::Eof)).unwrap(), &whole);
        prop_assert_eq!(&run(&options, stream.chunks(1), Some(End::Eof)).unwrap(), &whole);
        let facts = whole.http.unwrap();
        // Where the packed form is past the cap, less than the cap may come out.
        if packed.len() <= cap as usize {
            prop_assert_eq!(whole.failure.is_none(), found);
            prop_assert_eq!(facts.decoded_bytes, u64::from(cap).min(body.len() as u64));
            prop_assert_eq!(facts.truncated, body.len() > cap as usize);
        } else {
            prop_assert!(facts.truncated);
        }
    }

    #[test]
    fn any_bytes_at_all_are_explored_safely(
        data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        explore(&data);
        explore(&[&data[..data.len().min(2)], b"HTTP/1.1 200 OK\r\n", &data[..]].concat());
    }
}

/// Feeds `part` without end; the bytes it took to decide.
fn fed_until_decided(options: &Arc<HttpOptions>, start: &[u8], part: &[u8]) -> (Outcome, usize) {
    let fed = std::cell::Cell::new(0);
    let endless = std::iter::once(start).chain(std::iter::repeat_n(part, 1_000_000));
    let counted = endless.inspect(|piece| fed.set(fed.get() + piece.len()));
    let outcome = run(options, counted, None).unwrap();
    (outcome, fed.get())
}

#[test]
fn endless_answers_are_ended_by_their_caps() {
    let head = b"HTTP/1.1 200 OK\r\n".as_slice();
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let options = Arc::new(HttpOptions { body_bytes_max: 100_000, ..HttpOptions::default() });
    for (start, part, failure, fed_max) in [
        (head, &b"X: y\r\n"[..], Some(Failure::HttpHeadTooLarge), 66_000),
        (b"HTTP/1.1 ", b"2", Some(Failure::HttpHeadTooLarge), 66_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", Some(Failure::HttpMalformed), 250),
        (chunks, b"1\r\na\r\n", None, 601_000),
        (chunks, b"0000000000000001;x\r\na\r\n", Some(Failure::HttpMalformed), 190_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a body without end", None, 101_000),
    ] {
        let (outcome, fed) = fed_until_decided(&options, start, part);
        assert_eq!(outcome.failure, failure, "{}", part.escape_ascii());
        assert!(fed <= fed_max, "{fed} bytes of {}", part.escape_ascii());
    }
}

#[test]
fn a_bomb_is_searched_up_to_the_cap_and_no_further() {
    let mut body = vec![b' '; 50 << 20];
    body.extend_from_slice(b"needle");
    let packed = gzip(&gzip(&body));
    let stream = answer("Content-Encoding: gzip, gzip\r\n", &packed);
    let outcome = run(&looking_for(&["needle"], 1 << 20), [&stream[..]], Some(End::Eof)).unwrap();
    assert_eq!(outcome.failure, Some(Failure::NeedleMissing));
    let facts = outcome.http.unwrap();
    assert!(facts.truncated);
    assert_eq!(facts.decoded_bytes, 1 << 20);
}

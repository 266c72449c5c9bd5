//! Drives an HTTP machine over a scripted stream: for the tests here and for the fuzz targets.

use std::sync::Arc;

use probes::http::Http;
use probes::spec::{Host, HttpOptions, HttpUrl, StatusSet};
use probes::{End, Machine, Nanos, Outcome};

/// Largest text of one outcome, in bytes: 200 bytes of body or a 64 KiB head, every byte escaped
/// at its longest (`\u{202e}` for three bytes, `\xff` for one).
const WORDS_BYTES_MAX: usize = 5 * 64 * 1024;

/// The outcome of an exchange whose answer arrives in `pieces` and then ends with `end`; `None`
/// where the stream goes silent without an end and the machine has not decided.
///
/// All pieces come at one instant, so that outcomes of different cuts can be compared.
pub fn run<'p>(
    options: &Arc<HttpOptions>,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    end: Option<End>,
) -> Option<Outcome> {
    let host = Host::Name("example.org".into());
    let url = HttpUrl { tls: false, host, port: 80, path: "/".into() };
    let mut http = Http::new(&url, options, Nanos(0));
    let mut sent = Vec::new();
    http.poll_transmit(&mut sent);
    assert!(sent.is_empty(), "nothing is sent before the connect");
    http.handle_connected(Nanos(1_000_000));
    http.poll_transmit(&mut sent);
    let request_len = sent.len();
    assert!(request_len > 0);

    let mut outcome = http.poll_outcome();
    for piece in pieces {
        if outcome.is_some() {
            break;
        }
        http.handle_input(piece, Nanos(2_000_000));
        http.poll_transmit(&mut sent);
        outcome = http.poll_outcome();
    }
    if let (None, Some(end)) = (&outcome, end) {
        http.handle_end(end, Nanos(3_000_000));
        outcome = http.poll_outcome();
        assert!(outcome.is_some(), "an end always leads to an outcome");
    }
    assert_eq!(sent.len(), request_len, "the request is sent once");
    assert!(http.poll_outcome().is_none(), "an outcome is given once");
    outcome
}

/// Runs an exchange that `data` describes: two bytes choose the options, the rest is the answer.
///
/// # Panics
///
/// Where two cuts of the stream give two outcomes, or an outcome goes past a bound.
pub fn explore(data: &[u8]) {
    let Some(([flags, sizes], answer)) = data.split_first_chunk() else { return };
    let options = options(*flags, *sizes);
    let cap = u64::from(options.body_bytes_max);
    let options = Arc::new(options);
    let end = if flags & 64 == 0 { End::Eof } else { End::Reset };
    let whole = run(&options, [answer], Some(end));
    let bytes = run(&options, answer.chunks(1), Some(end));
    assert_eq!(whole, bytes, "whole and byte by byte");
    let parts = run(&options, answer.chunks(usize::from(*sizes) + 2), Some(end));
    assert_eq!(whole, parts, "whole and in parts of {}", usize::from(*sizes) + 2);

    let Some(outcome) = whole else { unreachable!("an end always leads to an outcome") };
    if let Some(facts) = outcome.http {
        assert!(facts.body_bytes <= cap && facts.decoded_bytes <= cap, "{facts:?}");
        assert!(facts.status >= 200);
    }
    if let Some(detail) = outcome.detail {
        let fields = detail.headers.iter().map(|(name, value)| name.len() + value.len());
        let words = detail.text.len() + detail.reason.len() + detail.excerpt.len();
        assert!(fields.sum::<usize>() + words <= WORDS_BYTES_MAX);
    }
}

fn options(flags: u8, sizes: u8) -> HttpOptions {
    let is_set = |bit: u8| flags & bit != 0;
    let texts = |wanted: bool, texts: &[&str]| {
        texts.iter().filter(|_| wanted).map(|text| Box::from(*text)).collect()
    };
    HttpOptions {
        method: if is_set(1) { "HEAD" } else { "GET" }.into(),
        needles: texts(is_set(2), &["needle", "operational"]),
        forbidden: texts(is_set(4), &["error", "rr"]),
        read_body: is_set(8),
        redirects_max: u8::from(is_set(16)),
        keep_detail: is_set(32),
        statuses: if is_set(128) { StatusSet(Box::default()) } else { StatusSet::below_400() },
        body_bytes_max: u32::from(sizes) * 64,
        ..HttpOptions::default()
    }
}

//! Words that would run a script where somebody takes them for markup, and monitors full of them.

use std::sync::Arc;

use engine::clock::wall_millis;
use engine::monitor::Kind;
use engine::sample::SampleBatch;
use engine::store::NewMonitor;
use probes::outcome::{CertFacts, CertInfo, Detail};

use crate::made::{bad, batch, monitor};

/// What a word wants to do: leave a mark that the tests find.
const MARK: &str = "window.__xss=1";

/// Elements that run something by themselves, `!` for the mark.
const ELEMENTS: &[&str] = &[
    "<script>!</script>",
    "<img src=x onerror=!>",
    "<svg onload=!>",
    "<svg><script>!</script></svg>",
    "<iframe srcdoc=\"<script>parent.!</script>\">",
    "<iframe src=\"javascript:parent.!\">",
    "<body onload=!>",
    "<input autofocus onfocus=!>",
    "<details open ontoggle=!>",
    "<video><source onerror=!></video>",
    "<math><mi xlink:href=\"javascript:!\">x</mi></math>",
    "<object data=\"javascript:!\">",
    "<embed src=\"javascript:!\">",
    "<link rel=stylesheet href=\"javascript:!\">",
    "<style>@import 'javascript:!';</style>",
    "<meta http-equiv=refresh content=\"0;javascript:!\">",
    "<a href=\"javascript:!\">x</a>",
    "<form action=\"javascript:!\"><button>x</button></form>",
    "<marquee onstart=!>",
    "<img src=x onerror=\"eval('!')\">",
    "{{constructor.constructor('!')()}}",
    "${!}",
    "javascript:!",
    "data:text/html,<script>!</script>",
    "<xss style=\"animation:x\" onanimationstart=!>",
];

/// What closes whatever a word may stand in.
const BEFORE: &[&str] = &[
    "",
    "\">",
    "'>",
    "`>",
    "</script>",
    "</title>",
    "</textarea>",
    "-->",
    "]]>",
    "\" onmouseover=\"",
    "' autofocus onfocus='",
    "\\\"",
    "\\u003c",
    "%3c",
    "&lt;",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "é😀",
    "*/",
    "\u{0}",
    "\r\n\r\n",
];

/// Every combination.
pub fn words() -> Vec<String> {
    let word = |before: &&str, element: &&str| format!("{before}{}", element.replace('!', MARK));
    ELEMENTS
        .iter()
        .flat_map(|element| BEFORE.iter().map(move |before| word(before, element)))
        .collect()
}

/// A monitor for each word, down, with the word in everything that is kept of it.
pub fn fleet(words: &[String]) -> (Vec<NewMonitor>, Vec<SampleBatch>) {
    let monitors = words.iter().map(|word| {
        let mut hostile = monitor(word, Kind::PingWeb, &[word, "tag"]);
        hostile.about.target.clone_from(word);
        hostile
    });
    let due_ms = wall_millis() - 60_000;
    let batches = words.chunks(100).enumerate().map(|(number, chunk)| {
        let first = number as u64 * 100 + 1;
        let samples = (0..chunk.len() as u64).map(|at| bad(first + at, due_ms));
        let mut batch = batch(number as u64 + 1, samples.collect(), "");
        for (words, word) in batch.words.iter_mut().zip(chunk) {
            words.message = word.as_str().into();
            words.detail = Some(Box::new(detail(word)));
            words.cert = Some(Arc::new(cert(word)));
        }
        batch
    });
    (monitors.collect(), batches.collect())
}

fn detail(word: &str) -> Detail {
    Detail {
        text: word.into(),
        missing: vec![word.into()],
        reason: word.into(),
        headers: vec![(word.into(), word.into())],
        url: word.into(),
        excerpt: word.into(),
    }
}

fn cert(word: &str) -> CertFacts {
    let leaf = CertInfo {
        subject: vec![("CN".into(), word.into())],
        issuer: vec![("CN".into(), word.into())],
        names: vec![word.into()],
        names_total: 1,
        not_before: 1,
        not_after: 2_000_000_000,
        serial: word.into(),
        sha256: word.into(),
    };
    CertFacts {
        chain: vec![leaf],
        problem: None,
        problem_text: word.into(),
        tls_version: word.into(),
        cipher: word.into(),
    }
}

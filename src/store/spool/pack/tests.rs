//! What is packed comes back, whatever it is; what was changed or cut never does harm.

use proptest::prelude::*;

use super::*;
use crate::sample::Marks;

const STAMP: Stamp =
    Stamp { run: RunKey { run: RunId(7), started_ms: 1_767_225_600_000 }, written_ms: 42 };

fn sample(monitor: u64, due_ms: u64) -> Sample {
    Sample {
        monitor: MonitorId(monitor),
        due_ms,
        lag_us: 90,
        timings: Timings::NONE,
        total_us: 100,
        body_bytes: 70_001,
        code: Code(42),
        http_status: 503,
        phase: 3,
        attempts: 2,
        verdict: Verdict::Down,
    }
}

fn full_words() -> Words {
    let leaf = CertInfo {
        subject: vec![("CN".to_owned(), "x.example".to_owned())],
        names: vec!["x.example".to_owned(), "é.example".to_owned()],
        names_total: 9,
        not_before: -1,
        not_after: i64::MAX,
        serial: "0a".to_owned(),
        sha256: "ff".to_owned(),
        ..CertInfo::default()
    };
    let cert = CertFacts {
        chain: vec![leaf, CertInfo::default()],
        problem: Some(Failure::CertExpired),
        problem_text: "late".to_owned(),
        tls_version: "TLSv1.3".to_owned(),
        cipher: String::new(),
    };
    let detail = Detail {
        text: "bad\0text".to_owned(),
        missing: vec!["needle".to_owned()],
        headers: vec![("Server".to_owned(), "x".to_owned())],
        ..Detail::default()
    };
    Words {
        sample: 1,
        message: "timeout after 10 s".into(),
        detail: Some(Box::new(detail)),
        cert: Some(Arc::new(cert)),
        attempts: vec!["first".into(), "".into()],
    }
}

fn full_batch() -> SampleBatch {
    let change = Transition {
        monitor: MonitorId(u64::MAX),
        at_ms: 5,
        from: Verdict::Up,
        to: Verdict::Down,
        code: Code(12),
        marks: Marks::NONE,
    };
    SampleBatch {
        shard: ShardId(3),
        seq: u64::MAX,
        samples: vec![sample(1, 10), sample(70_000, 20)],
        words: vec![full_words()],
        transitions: vec![change],
    }
}

/// Samples and words have no equality of their own; their text shows every field.
fn text_of(batch: &SampleBatch) -> String {
    format!("{batch:?}")
}

#[test]
fn everything_in_a_batch_comes_back() {
    let batch = full_batch();
    let (stamp, found) = unpack_batch(&pack_batch(STAMP, &batch)).unwrap();
    assert_eq!(stamp, STAMP);
    assert_eq!(text_of(&found), text_of(&batch));
}

#[test]
fn changes_are_read_without_the_rest() {
    let packed = pack_batch(STAMP, &full_batch());
    let (stamp, changes) = peek_batch(&packed[..120]).unwrap();
    assert_eq!((stamp, changes), (STAMP, full_batch().transitions));
}

#[test]
fn monitors_and_times_too_far_apart_for_one_blob_take_several() {
    let mut batch = full_batch();
    batch.samples = (0..40).map(|n| sample(n % 3, n)).collect();
    batch.samples[7] = sample(u64::MAX, 1);
    batch.samples[30] = sample(5, u64::MAX);
    let (_, found) = unpack_batch(&pack_batch(STAMP, &batch)).unwrap();
    assert_eq!(found.samples, batch.samples);
}

#[test]
fn words_that_are_too_large_keep_their_message() {
    let mut batch = full_batch();
    let large = "x".repeat(SPOOL_RECORD_BYTES_MAX);
    batch.words[0].detail = Some(Box::new(Detail { text: large.clone(), ..Detail::default() }));
    batch.words[0].message = large.into();
    let packed = pack_batch(STAMP, &batch);
    assert!(packed.len() < SPOOL_RECORD_BYTES_MAX);
    let (_, found) = unpack_batch(&packed).unwrap();
    assert_eq!(found.words[0].message.len(), MESSAGE_BYTES_MAX);
    assert!(found.words[0].detail.is_none() && found.words[0].cert.is_none());
    assert_eq!(found.samples.len(), 2);
}

#[test]
fn a_gap_comes_back() {
    let gap = Gap { number: 1, from_ms: 2, to_ms: 3, results: 4 };
    assert_eq!(unpack_gap(&pack_gap(STAMP, &gap)), Ok((STAMP, gap)));
}

#[test]
fn a_payload_cut_anywhere_is_an_error() {
    let packed = pack_batch(STAMP, &full_batch());
    for length in 0..packed.len() {
        assert!(unpack_batch(&packed[..length]).is_err(), "{length} bytes");
    }
    let mut longer = packed;
    longer.push(0);
    assert!(unpack_batch(&longer).is_err());
}

proptest! {
    #[test]
    fn a_changed_payload_never_panics(changes: [(usize, u8); 8], count in 1..=8usize) {
        let mut packed = pack_batch(STAMP, &full_batch());
        for (at, byte) in changes.into_iter().take(count) {
            let at = at % packed.len();
            packed[at] = byte;
        }
        let _ = unpack_batch(&packed);
        let _ = peek_batch(&packed);
    }
}

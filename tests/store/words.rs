//! What people read: evidence, incidents, transitions, certificates.

use std::sync::Arc;

use engine::ids::MonitorId;
use engine::limits::{CERTS_PER_MONITOR_MAX, EVIDENCE_MAX, MESSAGE_BYTES_MAX};
use engine::sample::{Code, Marks, SampleBatch, Transition, Verdict};
use engine::store::{RunId, Store};
use probes::Failure;
use probes::outcome::{CertFacts, CertInfo, Detail};

use crate::backend::*;

crate::for_every_backend! {
    the_last_failures_are_kept_and_equal_ones_in_a_row_share_an_entry
    hostile_words_are_cut_to_their_bounds
    words_about_a_good_answer_are_no_evidence
    going_down_opens_an_incident_and_coming_up_closes_it
    marks_are_those_of_the_latest_change_and_a_run_begins_without
    removing_a_monitor_closes_its_incident
    a_certificate_is_stored_once_for_all_who_see_it
    a_target_with_ever_new_certificates_is_bounded
}

fn one_monitor(store: &mut dyn Store) -> MonitorId {
    store.sync_monitors("a", &[row("x")]).unwrap().ids[0].unwrap()
}

fn failing(seq: u64, monitor: MonitorId, message: &str) -> SampleBatch {
    let mut failing = batch(seq, vec![refused(monitor.0, T0 + seq)]);
    failing.words = vec![words(0, message)];
    failing
}

fn the_last_failures_are_kept_and_equal_ones_in_a_row_share_an_entry(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let count = EVIDENCE_MAX as u64 + 5;
    for seq in 1..=count {
        store.append(RunId(1), &[failing(seq, id, &format!("failure {seq}"))]).unwrap();
    }
    let repeated = format!("failure {count}");
    store.append(RunId(1), &[failing(count + 1, id, &repeated)]).unwrap();
    let kept = backend.reader().evidence(id).unwrap();
    assert_eq!(kept.len(), EVIDENCE_MAX);
    assert_eq!((kept[0].message.as_str(), kept[0].times), (repeated.as_str(), 2));
    assert_eq!((kept[0].first_ms, kept[0].last_ms), (T0 + count, T0 + count + 1));
    assert_eq!(kept[EVIDENCE_MAX - 1].message, "failure 6");
    assert_eq!(kept[0].result, "connect_refused");
}

fn hostile_words_are_cut_to_their_bounds(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let mut batch = failing(1, id, &"é\0".repeat(100_000));
    let headers = vec![("\u{7f}".repeat(1_000), "\"".repeat(1_000)); 1_000];
    batch.words[0].detail = Some(Box::new(Detail { headers, ..Detail::default() }));
    store.append(RunId(1), &[batch]).unwrap();
    let kept = backend.reader().evidence(id).unwrap();
    assert!(kept[0].message.len() <= MESSAGE_BYTES_MAX);
    assert!(kept[0].message.len() > MESSAGE_BYTES_MAX - 3);
    assert_eq!(kept[0].detail.as_ref().unwrap()["shortened"], true);
}

fn words_about_a_good_answer_are_no_evidence(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let mut good = batch(1, vec![sample(id.0, T0)]);
    good.words = vec![words(0, "200 OK")];
    store.append(RunId(1), &[good]).unwrap();
    assert_eq!(backend.reader().evidence(id).unwrap(), []);
    assert_eq!(backend.reader().monitors(&Default::default()).unwrap()[0].message, "200 OK");
}

fn change(monitor: MonitorId, at_ms: u64, from: Verdict, to: Verdict) -> Transition {
    let code = if to == Verdict::Down { Code(Failure::Refused.code()) } else { Code::GOOD };
    Transition { monitor, at_ms, from, to, code, marks: Marks::NONE }
}

fn going_down_opens_an_incident_and_coming_up_closes_it(backend: &dyn Backend) {
    use Verdict::{Down, Unknown, Up};
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let mut down = failing(1, id, "nobody listens");
    down.transitions = vec![change(id, T0 + 1, Up, Down)];
    store.append(RunId(1), &[down]).unwrap();
    let open = backend.reader().incidents(Some(id), 10).unwrap();
    assert_eq!((open[0].opened_ms, open[0].closed_ms), (T0 + 1, None));
    assert_eq!((open[0].name.as_str(), open[0].message.as_str()), ("x", "nobody listens"));

    // Our own trouble in between neither ends the incident nor starts another.
    let mut rest = batch(2, Vec::new());
    rest.transitions = vec![
        change(id, T0 + 2, Down, Unknown),
        change(id, T0 + 3, Unknown, Down),
        change(id, T0 + 4, Down, Unknown),
        change(id, T0 + 5, Unknown, Up),
        change(id, T0 + 6, Up, Down),
    ];
    store.append(RunId(1), &[rest]).unwrap();
    let incidents = backend.reader().incidents(None, 10).unwrap();
    let times: Vec<(u64, Option<u64>)> =
        incidents.iter().map(|incident| (incident.opened_ms, incident.closed_ms)).collect();
    assert_eq!(times, [(T0 + 6, None), (T0 + 1, Some(T0 + 5))]);

    let seen = backend.reader().transitions(Some(id), 3).unwrap();
    let seen: Vec<(u64, Verdict, Verdict)> =
        seen.iter().map(|change| (change.at_ms, change.from, change.to)).collect();
    assert_eq!(seen, [(T0 + 6, Up, Down), (T0 + 5, Unknown, Up), (T0 + 4, Down, Unknown)]);
    let state = store.load_states().unwrap()[&id];
    assert_eq!((state.verdict, state.since_ms), (Down, T0 + 6));
}

fn marks_are_those_of_the_latest_change_and_a_run_begins_without(backend: &dyn Backend) {
    use Verdict::{Down, Up};
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let shown = || backend.reader().monitors(&Default::default()).unwrap().remove(0);
    let marked = |seq, at_ms, from, to, marks| {
        let mut only = batch(seq, Vec::new());
        only.transitions = vec![Transition { marks, ..change(id, at_ms, from, to) }];
        only
    };
    let flapping = Marks::NONE.set(Marks::FLAPPING, true);
    let both = flapping.set(Marks::MAINTENANCE, true);
    store.append(RunId(1), &[marked(1, T0 + 5, Up, Down, flapping)]).unwrap();
    assert_eq!(shown().marks, ["flapping"]);
    // Only the marks change: the verdict and its incident go on as they were.
    store.append(RunId(1), &[marked(2, T0 + 9, Down, Down, both)]).unwrap();
    assert_eq!(shown().marks, ["flapping", "maintenance"]);
    assert_eq!((shown().verdict, shown().since_ms), (Down, Some(T0 + 5)));
    assert_eq!(backend.reader().incidents(None, 10).unwrap()[0].opened_ms, T0 + 5);
    let seen = backend.reader().transitions(Some(id), 10).unwrap();
    assert_eq!((seen[0].to, &*seen[0].marks), (Down, &["flapping", "maintenance"][..]));
    // The check had been due before the mark was set: its change is the later news all the same.
    store.append(RunId(1), &[marked(3, T0 + 7, Down, Up, Marks::NONE)]).unwrap();
    assert_eq!(shown().marks, Vec::<&str>::new());
    // What waited in a spool for long is not the latest news.
    store.append(RunId(1), &[marked(4, T0 - 3_600_000, Up, Up, flapping)]).unwrap();
    assert_eq!(shown().marks, Vec::<&str>::new());
    store.append(RunId(1), &[marked(5, T0 + 60_000, Up, Up, flapping)]).unwrap();
    assert_eq!(shown().marks, ["flapping"]);
    store.begin_run(T0 + 70_000).unwrap();
    assert_eq!(shown().marks, Vec::<&str>::new());
}

fn removing_a_monitor_closes_its_incident(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    let mut down = batch(1, Vec::new());
    down.transitions = vec![change(id, T0, Verdict::Up, Verdict::Down)];
    store.append(RunId(1), &[down]).unwrap();
    store.sync_monitors("a", &[]).unwrap();
    let incidents = backend.reader().incidents(Some(id), 10).unwrap();
    assert!(incidents[0].closed_ms.is_some());
}

fn facts(sha256: &str, problem: Option<Failure>) -> Arc<CertFacts> {
    let leaf = CertInfo {
        names_total: 1,
        subject: vec![("CN".to_owned(), "x.example".to_owned())],
        issuer: vec![("O".to_owned(), "CA".to_owned()), ("CN".to_owned(), "R3".to_owned())],
        names: vec!["x.example".to_owned(); 1_000],
        not_before: 1,
        not_after: 900,
        serial: "0a".to_owned(),
        sha256: sha256.to_owned(),
    };
    let issuer = CertInfo { not_after: 800, ..CertInfo::default() };
    Arc::new(CertFacts {
        chain: vec![leaf, issuer],
        problem,
        problem_text: String::new(),
        tls_version: "TLSv1.3".to_owned(),
        cipher: "AES".to_owned(),
    })
}

fn seeing(seq: u64, monitor: MonitorId, cert: Arc<CertFacts>) -> SampleBatch {
    let mut batch = batch(seq, vec![sample(monitor.0, T0 + seq)]);
    batch.words = vec![words(0, "")];
    batch.words[0].cert = Some(cert);
    batch
}

fn a_certificate_is_stored_once_for_all_who_see_it(backend: &dyn Backend) {
    let mut store = backend.store();
    let ids = store.sync_monitors("a", &[row("x"), row("y")]).unwrap().ids;
    let (x, y) = (ids[0].unwrap(), ids[1].unwrap());
    let expired = Some(Failure::CertExpired);
    let batches = [
        seeing(1, x, facts("aa", None)),
        seeing(2, y, facts("aa", None)),
        seeing(3, x, facts("bb", None)),
        seeing(4, x, facts("bb", None)),
        seeing(5, x, facts("aa", expired)),
    ];
    for one in batches {
        store.append(RunId(1), &[one]).unwrap();
    }
    let certs = backend.reader().certs(x).unwrap();
    let seen: Vec<(&str, u64, u64)> = certs
        .iter()
        .map(|cert| (cert.sha256.as_str(), cert.first_seen_ms, cert.current_since_ms))
        .collect();
    assert_eq!(seen, [("aa", T0 + 1, T0 + 5), ("bb", T0 + 3, T0 + 3)]);
    assert_eq!(certs[0].problem, Some("cert_expired"));
    assert_eq!((certs[0].not_after_s, certs[0].chain_not_after_s), (900, 800));
    assert_eq!(
        (certs[0].subject.as_str(), certs[0].issuer.as_str()),
        ("CN=x.example", "O=CA, CN=R3")
    );
    assert_eq!(certs[0].names.len(), engine::limits::CERT_NAMES_MAX);
    assert_eq!(backend.reader().certs(y).unwrap()[0].problem, None);
}

fn a_target_with_ever_new_certificates_is_bounded(backend: &dyn Backend) {
    let mut store = backend.store();
    let id = one_monitor(&mut *store);
    for seq in 1..=CERTS_PER_MONITOR_MAX as u64 + 3 {
        store.append(RunId(1), &[seeing(seq, id, facts(&seq.to_string(), None))]).unwrap();
    }
    let certs = backend.reader().certs(id).unwrap();
    assert_eq!(certs.len(), CERTS_PER_MONITOR_MAX);
    assert_eq!(certs[0].sha256, (CERTS_PER_MONITOR_MAX + 3).to_string());
}

//! What a public page is made of: which monitors it shows, and what is read of them.
//!
//! Owns: what is kept from one reading to the next. The changes of a monitor are read again only
//! after its verdict changed, its response times once a minute; so a page that nothing happens on
//! costs one statement, however long its history is.

use std::collections::{HashMap, HashSet};

use crate::api::v1::fleet::{Index, Place};
use crate::api::v1::overview::ByVerdict;
use crate::api::v1::select::worst;
use crate::api::v1::uptime::{Span, spans};
use crate::config::pages::StatusPage;
use crate::ids::MonitorId;
use crate::limits::{
    API_UPTIME_CHANGES_MAX, PAGE_INCIDENTS_MAX, PAGE_RESULTS_MAX, PAGE_ROWS_MAX, PAGE_TIMES_MS,
};
use crate::sample::{CheckResult, Code};
use crate::store::hours::HOUR_MS;
use crate::store::view::{Filter, Incident, MonitorView, Range};
use crate::store::{Read, StoreError};

/// The monitors of a page.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Those with a row of their own, by name.
    pub ids: Vec<MonitorId>,
    /// All of them.
    pub counts: ByVerdict,
}

/// The monitors that a page selects. Where there are too many for rows of their own the worst have
/// one.
pub fn chosen(index: &Index, page: &StatusPage) -> Chosen {
    let tags: HashSet<u32> = (0..)
        .zip(index.tags())
        .filter(|(_, tag)| page.tags.contains(tag))
        .map(|(number, _)| number)
        .collect();
    let names: HashSet<&str> = page.monitors.iter().map(String::as_str).collect();
    let is_chosen = |place: &Place<'_>| {
        place.tags().iter().any(|tag| tags.contains(tag))
            || (!names.is_empty() && names.contains(index.details().name(place.at())))
    };
    let mut counts = ByVerdict::default();
    let mut found: Vec<(u8, u32, MonitorId)> = Vec::new();
    for place in index.by_name().filter(is_chosen) {
        counts.count(place);
        found.push((worst(place.verdict()), place.rank(), place.id()));
    }
    if found.len() > PAGE_ROWS_MAX {
        found.sort_unstable();
        found.truncate(PAGE_ROWS_MAX);
        found.sort_unstable_by_key(|(_, rank, _)| *rank);
    }
    Chosen { ids: found.into_iter().map(|(.., id)| id).collect(), counts }
}

/// What is known of one monitor.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Since when it has its verdict, as it was when the rest was read.
    since_ms: Option<u64>,
    /// Its times of one verdict, oldest first; the last one goes on.
    pub spans: Vec<Span>,
    /// Its last incidents.
    pub incidents: Vec<Incident>,
    /// Median of the good checks of the last hour, in microseconds.
    pub response_us: Option<u32>,
}

/// What is kept from one reading to the next.
#[derive(Debug, Default)]
pub struct Memory {
    known: HashMap<MonitorId, Known>,
    times_ms: u64,
}

/// A monitor and what is known of it.
pub type Row = (MonitorView, Known);

/// Reads these monitors, in their order, as far as they are there.
///
/// # Errors
///
/// The database's.
pub fn read(
    reader: &mut dyn Read,
    memory: &mut Memory,
    ids: &[MonitorId],
    now_ms: u64,
) -> Result<Vec<Row>, StoreError> {
    let filter = Filter { only: Some(ids.to_vec()), ..Filter::default() };
    let mut views: HashMap<MonitorId, MonitorView> =
        reader.monitors(&filter)?.into_iter().map(|view| (view.id, view)).collect();
    let times = now_ms.abs_diff(memory.times_ms) >= PAGE_TIMES_MS;
    let mut rows = Vec::with_capacity(ids.len());
    for view in ids.iter().filter_map(|id| views.remove(id)) {
        let before = memory.known.remove(&view.id);
        let is_new = before.is_none();
        let mut known = match before {
            Some(known) if known.since_ms == view.since_ms && !known.spans.is_empty() => known,
            before => {
                let response_us = before.and_then(|known| known.response_us);
                Known { response_us, ..history(reader, &view, now_ms)? }
            }
        };
        if times || is_new {
            known.response_us = response(reader, view.id, now_ms)?;
        }
        if let Some(last) = known.spans.last_mut() {
            last.to_ms = now_ms.max(last.from_ms);
        }
        rows.push((view, known));
    }
    if times {
        memory.times_ms = now_ms;
    }
    memory.known = rows.iter().map(|(view, known)| (view.id, known.clone())).collect();
    Ok(rows)
}

/// Changes and incidents of one monitor.
pub fn history(
    reader: &mut dyn Read,
    view: &MonitorView,
    now_ms: u64,
) -> Result<Known, StoreError> {
    let max = API_UPTIME_CHANGES_MAX;
    let changes = reader.transitions(Some(view.id), max)?;
    let incidents = reader.incidents(Some(view.id), PAGE_INCIDENTS_MAX)?;
    let spans = spans(view, &changes, max, now_ms);
    Ok(Known { since_ms: view.since_ms, spans, incidents, response_us: None })
}

/// The median of the good checks of the last hour, in microseconds.
///
/// # Errors
///
/// The database's.
pub fn response(
    reader: &mut dyn Read,
    id: MonitorId,
    now_ms: u64,
) -> Result<Option<u32>, StoreError> {
    let from_ms = now_ms.saturating_sub(HOUR_MS);
    let range = Range { from_ms, to_ms: now_ms, limit: PAGE_RESULTS_MAX };
    let results = reader.results(id, &range)?.results;
    let good = results.iter().filter(|result| Code(result.code).result() == CheckResult::Up);
    let mut times: Vec<u32> = good.filter_map(|result| result.total_us).collect();
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::fleet::tests::{fleet_of, row};
    use crate::sample::Verdict;

    fn page(tags: &[&str], monitors: &[&str]) -> StatusPage {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        StatusPage {
            slug: "x".into(),
            title: "X".into(),
            description: String::new(),
            tags: texts(tags),
            monitors: texts(monitors),
            details: false,
        }
    }

    #[test]
    fn a_page_shows_what_has_its_tags_or_names_exactly_and_nothing_else() {
        let fleet = fleet_of(vec![
            row(1, "delta", &["shop"], Verdict::Up),
            row(2, "Alpha", &["eu", "shop"], Verdict::Down),
            row(3, "charlie", &["shopping"], Verdict::Up),
            row(4, "alpha", &["eu"], Verdict::Up),
        ]);
        let ids = |page: &StatusPage| {
            let chosen = chosen(&fleet.index(), page);
            assert_eq!(chosen.counts.total as usize, chosen.ids.len());
            chosen.ids.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(&page(&["shop"], &[])), [2, 1]);
        assert_eq!(ids(&page(&[], &["alpha"])), [4]);
        assert_eq!(ids(&page(&["shop"], &["charlie"])), [2, 3, 1]);
        assert_eq!(ids(&page(&["none"], &["sho"])), [0; 0]);
    }

    #[test]
    fn of_too_many_the_worst_have_rows_and_all_are_counted() {
        let verdict = |id| if id % 100 == 0 { Verdict::Down } else { Verdict::Up };
        let rows = (1..=1_000).map(|id| row(id, &format!("m{id:04}"), &["a"], verdict(id)));
        let index = fleet_of(rows.collect()).index();
        let chosen = chosen(&index, &page(&["a"], &[]));
        assert_eq!((chosen.ids.len(), chosen.counts.total), (PAGE_ROWS_MAX, 1_000));
        assert_eq!(chosen.counts.down, 10);
        assert!((1..=10).all(|down| chosen.ids.contains(&MonitorId(down * 100))));
        assert!(chosen.ids.is_sorted(), "by name");
    }
}

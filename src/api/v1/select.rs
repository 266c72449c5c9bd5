//! Which monitors a list shows: filter, order and page.
//!
//! Owns: the cursor. It names the last monitor of the page before, so rows that come or go in
//! between neither shift a page nor show twice what did not change.

use crate::ids::MonitorId;
use crate::monitor::Kind;
use crate::sample::Verdict;

use super::fleet::{Index, Place};

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// By number.
    Id,
    /// What is down first, then unknown, pending, up, paused; by name within each.
    Worst,
}

/// What narrows a list. What is `None` does not.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// With this tag.
    pub tag: Option<String>,
    /// Of this type.
    pub kind: Option<Kind>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// With this text in name or target, in any case.
    pub text: Option<String>,
    /// Only those that cannot run.
    pub problems: bool,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The monitors of the page, in order.
    pub ids: Vec<MonitorId>,
    /// How many there are in all pages.
    pub total: usize,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// The end of a page: the class and the number of its last monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    class: u8,
    id: MonitorId,
}

impl Cursor {
    /// As it stands in an address.
    pub fn text(self) -> String {
        format!("{}-{}", self.class, self.id)
    }

    /// The inverse of [`Cursor::text`].
    pub fn parse(text: &str) -> Option<Cursor> {
        let (class, id) = text.split_once('-')?;
        let class = class.parse().ok().filter(|class| usize::from(*class) < Verdict::ALL.len())?;
        Some(Cursor { class, id: MonitorId(id.parse().ok()?) })
    }
}

/// The monitors that are `wanted`, `limit` of them after `cursor`. `None` where the monitor of the
/// cursor is gone.
pub fn select(
    index: &Index,
    wanted: &Wanted,
    sort: Sort,
    cursor: Option<Cursor>,
    limit: usize,
) -> Option<Selected> {
    let matcher = Matcher::new(index, wanted);
    let after = match cursor {
        Some(cursor) => Some((cursor.class, key(index.place(cursor.id)?, sort))),
        None => None,
    };
    let mut found: Vec<(u8, MonitorId)> = Vec::new();
    let mut kept = [0; Verdict::ALL.len()];
    let mut total = 0;
    let mut take = |place: Place<'_>| {
        if matcher.fits(place) {
            total += 1;
            let class = class(place, sort);
            // Of each class one more than a page is enough.
            if kept[usize::from(class)] <= limit
                && after.is_none_or(|after| (class, key(place, sort)) > after)
            {
                kept[usize::from(class)] += 1;
                found.push((class, place.id()));
            }
        }
    };
    match sort {
        Sort::Id => index.places().for_each(&mut take),
        Sort::Name | Sort::Worst => index.by_name().for_each(&mut take),
    }
    // Within one class the order is right already.
    found.sort_by_key(|(class, ..)| *class);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(class, id)| Cursor { class: *class, id: *id });
    Some(Selected { ids: found.into_iter().map(|(_, id)| id).collect(), total, next })
}

/// The first part of the order.
fn class(place: Place<'_>, sort: Sort) -> u8 {
    match sort {
        Sort::Name | Sort::Id => 0,
        Sort::Worst => worst(place.verdict()),
    }
}

/// What is worse comes first.
pub fn worst(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Down => 0,
        Verdict::Unknown => 1,
        Verdict::Pending => 2,
        Verdict::Up => 3,
        Verdict::Paused => 4,
    }
}

/// The second part of the order.
fn key(place: Place<'_>, sort: Sort) -> u64 {
    match sort {
        Sort::Id => place.id().0,
        Sort::Name | Sort::Worst => u64::from(place.rank()),
    }
}

/// What is wanted, in the numbers of one list.
struct Matcher<'a> {
    wanted: &'a Wanted,
    /// `Some(None)` for a tag that no monitor has.
    tag: Option<Option<u32>>,
    text: Option<String>,
}

impl<'a> Matcher<'a> {
    fn new(index: &Index, wanted: &'a Wanted) -> Matcher<'a> {
        Matcher {
            wanted,
            tag: wanted.tag.as_ref().map(|tag| index.tag(tag)),
            text: wanted.text.as_ref().map(|text| text.to_lowercase()),
        }
    }

    fn fits(&self, place: Place<'_>) -> bool {
        let wanted = self.wanted;
        wanted.verdict.is_none_or(|verdict| place.verdict() == verdict)
            && wanted.kind.is_none_or(|kind| place.kind() == Some(kind))
            && (!wanted.problems || place.has_problem())
            && self.tag.is_none_or(|tag| tag.is_some_and(|tag| place.tags().contains(&tag)))
            && self.text.as_ref().is_none_or(|text| place.text().contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::{fleet_of, row};
    use super::*;

    fn index() -> std::sync::Arc<Index> {
        let fleet = fleet_of(vec![
            row(1, "delta", &["eu"], Verdict::Up),
            row(2, "Alpha", &["eu", "shop"], Verdict::Down),
            row(3, "charlie", &[], Verdict::Paused),
            row(4, "bravo", &["shop"], Verdict::Unknown),
            row(5, "echo", &["eu"], Verdict::Up),
        ]);
        fleet.index()
    }

    fn ids(wanted: &Wanted, sort: Sort) -> Vec<u64> {
        let selected = select(&index(), wanted, sort, None, 100).unwrap();
        assert_eq!((selected.total, selected.next), (selected.ids.len(), None));
        selected.ids.iter().map(|id| id.0).collect()
    }

    #[test]
    fn each_order_is_as_it_says() {
        let all = Wanted::default();
        assert_eq!(ids(&all, Sort::Name), [2, 4, 3, 1, 5]);
        assert_eq!(ids(&all, Sort::Id), [1, 2, 3, 4, 5]);
        assert_eq!(ids(&all, Sort::Worst), [2, 4, 1, 5, 3]);
    }

    #[test]
    fn each_filter_narrows_and_an_unknown_tag_finds_nothing() {
        let some = |text: &str| Some(text.to_owned());
        let wanted = |tag, text, verdict| Wanted { tag, text, verdict, ..Wanted::default() };
        assert_eq!(ids(&wanted(some("shop"), None, None), Sort::Id), [2, 4]);
        assert_eq!(ids(&wanted(some("sho"), None, None), Sort::Id), [0; 0]);
        assert_eq!(ids(&wanted(None, some("ALPH"), None), Sort::Id), [2]);
        assert_eq!(ids(&wanted(None, some("7.example"), None), Sort::Id), [3]);
        assert_eq!(ids(&wanted(some("eu"), None, Some(Verdict::Up)), Sort::Id), [1, 5]);
        let tcp = Wanted { kind: Some(Kind::Tcp), ..Wanted::default() };
        assert_eq!(ids(&tcp, Sort::Id).len(), 5);
        let ping = Wanted { kind: Some(Kind::PingIcmp), ..Wanted::default() };
        assert_eq!(ids(&ping, Sort::Id).len(), 0);
    }

    #[test]
    fn pages_show_every_monitor_once_in_each_order() {
        let index = index();
        for sort in [Sort::Name, Sort::Id, Sort::Worst] {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let page = select(&index, &Wanted::default(), sort, cursor, 2).unwrap();
                assert_eq!(page.total, 5);
                seen.extend(page.ids.iter().map(|id| id.0));
                let Some(next) = page.next else { break };
                assert_eq!(Cursor::parse(&next.text()), Some(next));
                cursor = Some(next);
            }
            assert_eq!(seen, ids(&Wanted::default(), sort));
        }
    }

    #[test]
    fn a_cursor_of_a_monitor_that_is_gone_is_told() {
        let gone = Cursor::parse("0-77");
        assert_eq!(select(&index(), &Wanted::default(), Sort::Id, gone, 2), None);
        assert_eq!(Cursor::parse("x"), None);
    }
}

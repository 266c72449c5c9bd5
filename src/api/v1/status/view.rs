//! What a public page says: the state of all, each monitor, incidents, windows of maintenance.
//!
//! Owns: what is public. Messages, reasons and targets are not, but on a page with `details`; tags
//! other than the page's own and everything else about a monitor never are.

use serde::Serialize;

use super::read::{Chosen, Row};
use crate::api::v1::overview::ByVerdict;
use crate::api::v1::uptime::{self, DAY_MS};
use crate::config::maintenance::Window;
use crate::config::pages::StatusPage;
use crate::ids::MonitorId;
use crate::limits::{
    PAGE_DAYS, PAGE_INCIDENTS_MAX, PAGE_INCIDENTS_MS_MAX, PAGE_WINDOWS_MAX, PAGE_WINDOWS_MS_MAX,
};
use crate::sample::Verdict;

/// The state of a page as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Everything that is looked at is up.
    Up,
    /// Something is down.
    Partly,
    /// Nothing is up.
    Down,
    /// Nothing is down but what is in maintenance.
    Maintenance,
    /// Nothing is down, but of something it cannot be told.
    Unknown,
    /// Nothing was looked at yet, or nothing is to be.
    Pending,
}

/// Everything on a page.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The place of the page.
    pub slug: String,
    /// Its head.
    pub title: String,
    /// The text below it.
    pub description: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// The state as a whole.
    pub overall: Overall,
    /// Monitors by verdict.
    pub counts: ByVerdict,
    /// Monitors without a row of their own; all of them have a better verdict, or the same.
    pub left_out: usize,
    /// Start of the first of the days of each monitor, in milliseconds since the Unix epoch.
    pub days_from_ms: u64,
    /// The monitors.
    pub groups: Vec<Group>,
    /// Open incidents, then those of the last days, newest first.
    pub incidents: Vec<PublicIncident>,
    /// Windows of maintenance that are open or announced, the first one first.
    pub maintenance: Vec<PublicWindow>,
}

/// Monitors below one head.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The tag; `None` for those that the page names.
    pub name: Option<String>,
    /// By name.
    pub monitors: Vec<PublicMonitor>,
}

/// One monitor.
#[derive(Clone, Debug, Serialize)]
pub struct PublicMonitor {
    /// Its number.
    pub id: MonitorId,
    /// Its name.
    pub name: String,
    /// Where it looks, without user, password and query; `None` where that is not public.
    pub target: Option<String>,
    /// Its verdict.
    pub verdict: Verdict,
    /// True in a window of maintenance.
    pub maintenance: bool,
    /// When the verdict changed last, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Median of the good checks of the last hour, in microseconds.
    pub response_us: Option<u32>,
    /// Up of up and down in the last 24 hours, in percent.
    pub up_1d: Option<f64>,
    /// The same for 7 days.
    pub up_7d: Option<f64>,
    /// For 30 days.
    pub up_30d: Option<f64>,
    /// For 90 days.
    pub up_90d: Option<f64>,
    /// Each of the last 90 days of UTC, today last; null where nothing is known.
    pub days: Vec<Option<f64>>,
    /// Milliseconds down in each of these days.
    #[serde(skip)]
    pub days_down_ms: Vec<u64>,
}

/// One time of being down.
#[derive(Clone, Debug, Serialize)]
pub struct PublicIncident {
    /// Whose.
    pub monitor: MonitorId,
    /// Its name.
    pub name: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub opened_ms: u64,
    /// When it ended; `None` while it lasts.
    pub closed_ms: Option<u64>,
    /// The word for the reason; `None` where that is not public.
    pub result: Option<&'static str>,
}

/// One window of maintenance.
#[derive(Clone, Debug, Serialize)]
pub struct PublicWindow {
    /// Its start, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// True while it lasts.
    pub open: bool,
    /// For whom: tags of the page, and names of monitors on it.
    pub names: Vec<String>,
}

/// Makes the page out of what was read.
pub fn view(
    page: &StatusPage,
    chosen: &Chosen,
    rows: Vec<Row>,
    windows: &[Window],
    now_ms: u64,
) -> View {
    let left_out = (chosen.counts.total as usize).saturating_sub(chosen.ids.len());
    let counts = if left_out == 0 { counted(&rows) } else { chosen.counts };
    let maintenance = announced(page, &rows, windows, now_ms);
    let down_by_plan = rows
        .iter()
        .filter(|(view, _)| view.verdict == Verdict::Down && view.marks.contains(&"maintenance"));
    let down_by_plan = down_by_plan.count() as u64;
    let overall = overall(&counts, down_by_plan, maintenance.iter().any(|window| window.open));
    let incidents = incidents(page, &rows, now_ms);
    View {
        slug: page.slug.clone(),
        title: page.title.clone(),
        description: page.description.clone(),
        made_ms: now_ms,
        overall,
        counts,
        left_out,
        days_from_ms: (now_ms - now_ms % DAY_MS).saturating_sub((PAGE_DAYS - 1) * DAY_MS),
        incidents,
        maintenance,
        groups: groups(page, rows, now_ms),
    }
}

fn counted(rows: &[Row]) -> ByVerdict {
    let mut counts = ByVerdict::default();
    for (view, _) in rows {
        counts.add(view.verdict, view.problem.is_some());
    }
    counts
}

fn overall(counts: &ByVerdict, down_by_plan: u64, in_window: bool) -> Overall {
    let down = counts.down.saturating_sub(down_by_plan);
    match counts {
        _ if down > 0 && counts.up == 0 => Overall::Down,
        _ if down > 0 => Overall::Partly,
        _ if down_by_plan > 0 || in_window => Overall::Maintenance,
        _ if counts.unknown > 0 => Overall::Unknown,
        _ if counts.up > 0 => Overall::Up,
        _ => Overall::Pending,
    }
}

fn groups(page: &StatusPage, rows: Vec<Row>, now_ms: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = std::iter::once(None)
        .chain(page.tags.iter().cloned().map(Some))
        .map(|name| Group { name, monitors: Vec::new() })
        .collect();
    for row in rows {
        let named = page.monitors.contains(&row.0.name);
        let tag = page.tags.iter().position(|tag| row.0.tags.contains(tag));
        let at = if named { 0 } else { tag.map_or(0, |tag| tag + 1) };
        groups[at].monitors.push(monitor(page, row, now_ms));
    }
    groups.retain(|group| !group.monitors.is_empty());
    groups
}

fn monitor(page: &StatusPage, (view, known): Row, now_ms: u64) -> PublicMonitor {
    let last = |days| {
        let from_ms = now_ms.saturating_sub(days * DAY_MS);
        uptime::share(&known.spans, from_ms, now_ms).up_percent
    };
    let days = uptime::days(&known.spans, PAGE_DAYS, now_ms);
    PublicMonitor {
        id: view.id,
        target: page.details.then(|| public_target(&view.target)),
        verdict: view.verdict,
        maintenance: view.marks.contains(&"maintenance"),
        since_ms: view.since_ms,
        response_us: known.response_us,
        up_1d: last(1),
        up_7d: last(7),
        up_30d: last(30),
        up_90d: last(PAGE_DAYS),
        days: days.iter().map(|day| day.up_percent).collect(),
        days_down_ms: days.iter().map(|day| day.down_ms).collect(),
        name: view.name,
    }
}

/// A target without user, password, query and fragment.
fn public_target(target: &str) -> String {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = target
        .split_once("://")
        .map_or(("", target), |(scheme, rest)| (&target[..scheme.len() + 3], rest));
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

fn incidents(page: &StatusPage, rows: &[Row], now_ms: u64) -> Vec<PublicIncident> {
    let oldest_ms = now_ms.saturating_sub(PAGE_INCIDENTS_MS_MAX);
    let all = rows.iter().flat_map(|(_, known)| &known.incidents);
    let recent = all.filter(|one| one.closed_ms.is_none_or(|closed_ms| closed_ms >= oldest_ms));
    let mut found: Vec<PublicIncident> = recent
        .map(|one| PublicIncident {
            monitor: one.monitor,
            name: one.name.clone(),
            opened_ms: one.opened_ms,
            closed_ms: one.closed_ms,
            result: page.details.then_some(one.result),
        })
        .collect();
    found.sort_by_key(|one| (one.closed_ms.is_some(), std::cmp::Reverse(one.opened_ms)));
    found.truncate(PAGE_INCIDENTS_MAX);
    found
}

/// The windows that concern what is on the page.
fn announced(
    page: &StatusPage,
    rows: &[Row],
    windows: &[Window],
    now_ms: u64,
) -> Vec<PublicWindow> {
    let public = |window: &Window| {
        let (from_ms, to_ms) = window.when.next(now_ms, now_ms + PAGE_WINDOWS_MS_MAX)?;
        let tags = window.tags.iter().filter(|tag| page.tags.contains(tag));
        let mut names: Vec<String> = tags.cloned().collect();
        let others = rows.iter().filter(|(view, _)| {
            let by_tag = |tag: &String| window.tags.contains(tag) && !names.contains(tag);
            window.monitors.contains(&view.name) || view.tags.iter().any(by_tag)
        });
        let others: Vec<String> = others.map(|(view, _)| view.name.clone()).collect();
        names.extend(others);
        let open = from_ms <= now_ms;
        (!names.is_empty()).then_some(PublicWindow { from_ms, to_ms, open, names })
    };
    let mut found: Vec<PublicWindow> = windows.iter().filter_map(public).collect();
    found.sort_by_key(|window| window.from_ms);
    found.truncate(PAGE_WINDOWS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_as_a_whole_is_the_worst_that_was_not_planned() {
        let counts = |up, down, unknown, pending| ByVerdict {
            total: up + down + unknown + pending,
            up,
            down,
            unknown,
            pending,
            ..ByVerdict::default()
        };
        for (counts, planned, window, wanted) in [
            (counts(3, 0, 0, 0), 0, false, Overall::Up),
            (counts(3, 1, 1, 0), 0, false, Overall::Partly),
            (counts(0, 1, 0, 0), 0, false, Overall::Down),
            (counts(3, 1, 0, 0), 1, true, Overall::Maintenance),
            (counts(3, 2, 0, 0), 1, true, Overall::Partly),
            (counts(3, 0, 0, 0), 0, true, Overall::Maintenance),
            (counts(3, 0, 1, 1), 0, false, Overall::Unknown),
            (counts(0, 0, 0, 2), 0, false, Overall::Pending),
            (counts(0, 0, 0, 0), 0, false, Overall::Pending),
        ] {
            assert_eq!(overall(&counts, planned, window), wanted, "{counts:?} {planned}");
        }
    }

    #[test]
    fn a_public_target_has_no_user_password_query_or_fragment() {
        for (target, wanted) in [
            ("https://monitor:***@api.example/v1?key=s3cret#x", "https://api.example/v1"),
            ("https://api.example/@you", "https://api.example/@you"),
            ("db.example:5432", "db.example:5432"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(public_target(target), wanted);
        }
    }
}

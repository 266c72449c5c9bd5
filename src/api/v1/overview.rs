//! All monitors at a glance: counts, and the map of cells.
//!
//! Owns: what is counted how. A monitor that cannot run counts as such and under its verdict.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::fleet::{Index, Place};
use super::load::Load;
use crate::ids::MonitorId;
use crate::limits::{API_TAGS_MAX, MAP_CELLS_MAX, MAP_GROUPS_MAX};
use crate::monitor::Kind;
use crate::sample::Verdict;

/// Monitors by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ByVerdict {
    /// All.
    pub total: u64,
    /// Good.
    pub up: u64,
    /// Bad.
    pub down: u64,
    /// Our own trouble.
    pub unknown: u64,
    /// Not checked yet.
    pub pending: u64,
    /// Not to be checked now.
    pub paused: u64,
    /// Those that cannot run, whatever their verdict.
    pub problems: u64,
}

impl ByVerdict {
    /// Counts a monitor of the list.
    pub fn count(&mut self, place: Place<'_>) {
        self.add(place.verdict(), place.has_problem());
    }

    /// Counts a monitor with this verdict.
    pub fn add(&mut self, verdict: Verdict, has_problem: bool) {
        self.total += 1;
        self.problems += u64::from(has_problem);
        *match verdict {
            Verdict::Up => &mut self.up,
            Verdict::Down => &mut self.down,
            Verdict::Unknown => &mut self.unknown,
            Verdict::Pending => &mut self.pending,
            Verdict::Paused => &mut self.paused,
        } += 1;
    }

    /// How many have this verdict.
    pub fn of(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Up => self.up,
            Verdict::Down => self.down,
            Verdict::Unknown => self.unknown,
            Verdict::Pending => self.pending,
            Verdict::Paused => self.paused,
        }
    }

    fn merge(&mut self, other: &ByVerdict) {
        self.total += other.total;
        self.up += other.up;
        self.down += other.down;
        self.unknown += other.unknown;
        self.pending += other.pending;
        self.paused += other.paused;
        self.problems += other.problems;
    }
}

/// Monitors of one tag or type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Group {
    /// The tag or the type.
    pub name: String,
    /// Its monitors.
    pub monitors: ByVerdict,
}

/// All monitors at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// All monitors.
    pub monitors: ByVerdict,
    /// Up of up and down, in percent; `None` where there are neither.
    pub up_percent: Option<f64>,
    /// Incidents that are open: one for each monitor that is down.
    pub incidents_open: u64,
    /// By type, in the order of their numbers; types without monitors are left out.
    pub types: Vec<Group>,
    /// By tag, the largest first; a monitor counts under each of its tags.
    pub tags: Vec<Group>,
    /// How many tags there are, also those that are left out here.
    pub tags_total: usize,
    /// The engine itself.
    pub engine: Load,
}

/// Counts all monitors.
pub fn overview(index: &Index, tags_max: usize, engine: Load, at_ms: u64) -> Overview {
    let mut all = ByVerdict::default();
    let mut kinds = [ByVerdict::default(); Kind::ALL.len()];
    // By what monitors share: a monitor costs the same however many tags it has.
    let mut sets = vec![ByVerdict::default(); index.tag_sets().len()];
    for place in index.places() {
        all.count(place);
        place.kind().into_iter().for_each(|kind| kinds[kind as usize].count(place));
        sets[place.tag_set()].count(place);
    }
    let mut tags = vec![ByVerdict::default(); index.tags().len()];
    for (set, counts) in index.tag_sets().iter().zip(&sets) {
        set.iter().for_each(|tag| tags[*tag as usize].merge(counts));
    }
    let types = Kind::ALL.iter().zip(kinds);
    let types = types.filter(|(_, monitors)| monitors.total > 0);
    let known = all.up + all.down;
    Overview {
        at_ms,
        monitors: all,
        up_percent: (known > 0).then(|| all.up as f64 * 100.0 / known as f64),
        incidents_open: all.down,
        types: types.map(|(kind, monitors)| Group { name: kind.name().into(), monitors }).collect(),
        tags_total: tags.len(),
        tags: largest(index, tags, tags_max.min(API_TAGS_MAX)),
        engine,
    }
}

/// The groups of tags with most monitors.
fn largest(index: &Index, tags: Vec<ByVerdict>, count: usize) -> Vec<Group> {
    let mut groups: Vec<(&String, ByVerdict)> = index.tags().iter().zip(tags).collect();
    groups.sort_by(|(a, one), (b, two)| two.total.cmp(&one.total).then_with(|| a.cmp(b)));
    groups.truncate(count);
    let group = |(name, monitors): (&String, ByVerdict)| Group { name: name.clone(), monitors };
    groups.into_iter().map(group).collect()
}

/// All monitors as cells: each cell stands for `per_cell` monitors that follow each other by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Map {
    /// Monitors in each cell; the last of a group may have fewer.
    pub per_cell: usize,
    /// The groups, the largest first.
    pub groups: Vec<MapGroup>,
}

/// The monitors whose first tag is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MapGroup {
    /// The tag; `None` for monitors without one, and for those of all small groups together.
    pub tag: Option<String>,
    /// Its monitors.
    pub monitors: ByVerdict,
    /// For each cell how many monitors are up.
    pub up: Vec<u32>,
    /// For each cell how many are down.
    pub down: Vec<u32>,
    /// For each cell how many are unknown.
    pub unknown: Vec<u32>,
    /// The number of each cell's first monitor.
    pub first: Vec<MonitorId>,
}

/// The map of all monitors.
pub fn map(index: &Index) -> Map {
    // The group of each first tag; what has none, or one of a small group, is in the last.
    let mut sizes: HashMap<u32, usize> = HashMap::new();
    for place in index.places() {
        place.tags().first().into_iter().for_each(|tag| *sizes.entry(*tag).or_default() += 1);
    }
    let mut order: Vec<(u32, usize)> = sizes.into_iter().collect();
    let name = |tag: u32| &index.tags()[tag as usize];
    order.sort_by(|(a, one), (b, two)| two.cmp(one).then_with(|| name(*a).cmp(name(*b))));
    order.truncate(MAP_GROUPS_MAX - 1);
    let rest = order.len();
    let group_of: HashMap<u32, usize> =
        order.iter().enumerate().map(|(group, (tag, _))| (*tag, group)).collect();

    // A group's last cell may be half empty, so each takes one of the cells beforehand.
    let per_cell = index.len().div_ceil(MAP_CELLS_MAX - MAP_GROUPS_MAX).max(1);
    let mut groups = vec![MapGroup::default(); rest + 1];
    order
        .iter()
        .zip(&mut groups)
        .for_each(|((tag, _), group)| group.tag = Some(name(*tag).clone()));
    for place in index.by_name() {
        let group = place.tags().first().and_then(|tag| group_of.get(tag));
        groups[*group.unwrap_or(&rest)].push(place, per_cell);
    }
    groups.retain(|group| group.monitors.total > 0);
    Map { per_cell, groups }
}

impl MapGroup {
    fn push(&mut self, place: Place<'_>, per_cell: usize) {
        if self.monitors.total.is_multiple_of(per_cell as u64) {
            self.first.push(place.id());
            for counts in [&mut self.up, &mut self.down, &mut self.unknown] {
                counts.push(0);
            }
        }
        self.monitors.count(place);
        let counts = match place.verdict() {
            Verdict::Up => &mut self.up,
            Verdict::Down => &mut self.down,
            Verdict::Unknown => &mut self.unknown,
            Verdict::Pending | Verdict::Paused => return,
        };
        counts.last_mut().into_iter().for_each(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::{fleet_of, row};
    use super::*;

    #[test]
    fn counts_are_by_verdict_type_and_tag() {
        let fleet = fleet_of(vec![
            row(1, "a", &["eu", "shop"], Verdict::Up),
            row(2, "b", &["eu"], Verdict::Up),
            row(3, "c", &["us"], Verdict::Down),
            row(4, "d", &[], Verdict::Unknown),
        ]);
        let overview = overview(&fleet.index(), 2, Load::default(), 7);
        let all = overview.monitors;
        assert_eq!((all.total, all.up, all.down, all.unknown), (4, 2, 1, 1));
        assert_eq!(overview.up_percent, Some(200.0 / 3.0));
        assert_eq!(overview.types[0].name, "tcp");
        let tags: Vec<_> =
            overview.tags.iter().map(|tag| (tag.name.as_str(), tag.monitors.total)).collect();
        assert_eq!((tags, overview.tags_total), (vec![("eu", 2), ("shop", 1)], 3));
    }

    #[test]
    fn without_checked_monitors_there_is_no_percentage() {
        let fleet = fleet_of(vec![row(1, "a", &[], Verdict::Pending)]);
        assert_eq!(overview(&fleet.index(), 9, Load::default(), 0).up_percent, None);
        assert_eq!(map(&fleet_of(Vec::new()).index()).groups, []);
    }

    #[test]
    fn every_monitor_is_in_one_cell_of_its_first_tag() {
        let fleet = fleet_of(vec![
            row(1, "a", &["eu", "us"], Verdict::Up),
            row(2, "b", &["eu"], Verdict::Down),
            row(3, "c", &["us"], Verdict::Up),
            row(4, "d", &[], Verdict::Up),
        ]);
        let map = map(&fleet.index());
        let shown = map.groups.iter().map(|group| (group.tag.as_deref(), group.down.clone()));
        let wanted = [(Some("eu"), vec![0, 1]), (Some("us"), vec![0]), (None, vec![0])];
        assert_eq!((shown.collect::<Vec<_>>(), map.per_cell), (wanted.to_vec(), 1));
    }

    #[test]
    fn very_many_monitors_and_tags_share_a_bounded_number_of_cells() {
        let tags: Vec<String> = (0..100).map(|tag| format!("t{tag}")).collect();
        let count = 20_000;
        let rows = (1..=count).map(|id| {
            let verdict = if id % 100 == 0 { Verdict::Down } else { Verdict::Up };
            row(id, &format!("m{id}"), &[&tags[(id % 100) as usize]], verdict)
        });
        let map = map(&fleet_of(rows.collect()).index());
        let cells: usize = map.groups.iter().map(|group| group.first.len()).sum();
        assert!(cells <= MAP_CELLS_MAX && map.groups.len() == MAP_GROUPS_MAX, "{cells}");
        let sum = |of: fn(&MapGroup) -> &Vec<u32>| -> u32 { map.groups.iter().flat_map(of).sum() };
        assert_eq!((sum(|group| &group.down), sum(|group| &group.up)), (200, 19_800));
    }
}

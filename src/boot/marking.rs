//! Which monitors are marked: in a window of maintenance, or behind something that is down.
//!
//! Owns: the plan of each source of monitors, and what the shards were told. Looks once a second
//! and tells only differences. A monitor is unreachable while any monitor that it depends on, over
//! however many steps, is down.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::standing::Standing;
use crate::config::Loaded;
use crate::config::maintenance::When;
use crate::ids::MonitorId;
use crate::sample::{Marks, Verdict};

/// Windows and dependencies of a file, by the places of its monitors.
#[derive(Debug, Default)]
pub struct Plan {
    windows: Vec<(When, Vec<usize>)>,
    /// Child and parent.
    dependencies: Vec<(usize, usize)>,
}

impl Plan {
    /// The plan of a file.
    pub fn of(loaded: &Loaded) -> Plan {
        let windows = loaded.maintenance.iter();
        let mut plan = Plan {
            windows: windows.map(|window| (window.when.clone(), Vec::new())).collect(),
            dependencies: Vec::new(),
        };
        let mut by_tag: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, window) in loaded.maintenance.iter().enumerate() {
            window.tags.iter().for_each(|tag| by_tag.entry(tag).or_default().push(at));
            window.monitors.iter().for_each(|name| by_name.entry(name).or_default().push(at));
        }
        let entries = || loaded.monitors.iter().enumerate();
        let mut places = HashMap::new();
        if entries().any(|(_, entry)| !entry.depends_on.is_empty()) {
            places.extend(entries().filter_map(|(at, entry)| Some((entry.name()?, at))));
        }
        for (at, entry) in entries() {
            let known = entry.depends_on.iter().filter_map(|name| places.get(name.as_str()));
            plan.dependencies.extend(known.map(|parent| (at, *parent)));
            if plan.windows.is_empty() {
                continue;
            }
            let (tags, name) = (entry.tags(), entry.name());
            let by_tag = tags.iter().filter_map(|tag| by_tag.get(tag.as_str()));
            let by_name = name.as_deref().and_then(|name| by_name.get(name));
            let windows: HashSet<usize> = by_tag.chain(by_name).flatten().copied().collect();
            windows.into_iter().for_each(|window| plan.windows[window].1.push(at));
        }
        plan
    }
}

impl Plan {
    /// A plan of dependencies alone, child and parent, with the numbers of its places.
    pub fn of_pairs(
        pairs: impl Iterator<Item = (MonitorId, MonitorId)>,
    ) -> (Plan, Vec<Option<MonitorId>>) {
        let (mut plan, mut ids) = (Plan::default(), Vec::new());
        for (child, parent) in pairs {
            plan.dependencies.push((ids.len(), ids.len() + 1));
            ids.extend([Some(child), Some(parent)]);
        }
        (plan, ids)
    }
}

/// The plan of one source, by the numbers of its monitors.
#[derive(Debug)]
struct Placed {
    windows: Vec<(When, Vec<MonitorId>)>,
    /// Child and parent.
    dependencies: Vec<(MonitorId, MonitorId)>,
}

/// Some monitors get a mark, or lose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which mark.
    pub mark: Marks,
    /// True where they get it.
    pub on: bool,
    /// Who.
    pub monitors: Vec<MonitorId>,
}

/// Which monitors are marked.
#[derive(Debug, Default)]
pub struct Marking {
    /// By source.
    placed: BTreeMap<String, Placed>,
    open: Vec<bool>,
    children: HashMap<MonitorId, Vec<MonitorId>>,
    standing: Standing,
    maintained: HashSet<MonitorId>,
    unreachable: HashSet<MonitorId>,
    /// The plan is another one than at the last look.
    anew: bool,
    looked_s: u64,
}

impl Marking {
    /// Of an engine that starts.
    pub fn starting() -> Marking {
        Marking { standing: Standing::starting(), ..Marking::default() }
    }

    /// Takes the plan of a source whose monitors have these numbers, in place of its plan before.
    /// Returns those that others depend on: what is known of them is to be told to
    /// [`Marking::seed`].
    pub fn plan(&mut self, source: &str, plan: Plan, ids: &[Option<MonitorId>]) -> Vec<MonitorId> {
        let id = |at: &usize| ids.get(*at).copied().flatten();
        let windows = plan.windows.into_iter();
        let windows =
            windows.map(|(when, members)| (when, members.iter().filter_map(id).collect()));
        let dependencies = plan.dependencies.iter();
        let placed = Placed {
            windows: windows.collect(),
            dependencies: dependencies
                .filter_map(|(child, parent)| Some((id(child)?, id(parent)?)))
                .collect(),
        };
        self.placed.insert(source.to_owned(), placed);
        self.children.clear();
        for (child, parent) in self.placed.values().flat_map(|placed| &placed.dependencies) {
            self.children.entry(*parent).or_default().push(*child);
        }
        self.anew = true;
        let dependencies = self.placed.values().flat_map(|placed| &placed.dependencies);
        self.standing.plan(dependencies.copied())
    }

    /// What the store knew of those that others depend on.
    pub fn seed(&mut self, known: impl Iterator<Item = (MonitorId, Verdict)>) {
        self.standing.seed(known);
    }

    /// What stands against telling of monitors, shared with this.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// These monitors are gone: a shard that gets them again knows of no mark.
    pub fn forget(&mut self, gone: &[MonitorId]) {
        for id in gone {
            self.anew |= self.maintained.remove(id) | self.unreachable.remove(id);
        }
    }

    /// What is to be told to the shards at a moment, in milliseconds since the Unix epoch. Looks
    /// once a second.
    pub fn turn(&mut self, now_ms: u64) -> Vec<Order> {
        if now_ms / 1_000 == self.looked_s && !self.anew {
            return Vec::new();
        }
        self.looked_s = now_ms / 1_000;
        let mut orders = Vec::new();
        let windows = || self.placed.values().flat_map(|placed| &placed.windows);
        let open: Vec<bool> = windows().map(|(when, _)| when.is_open(now_ms)).collect();
        if self.anew || open != self.open {
            let windows = windows().zip(&open).filter(|(_, open)| **open);
            let wanted = windows.flat_map(|((_, members), _)| members).copied().collect();
            tell(&mut self.maintained, wanted, Marks::MAINTENANCE, &mut orders);
            self.standing.set_maintained(&self.maintained);
            self.open = open;
        }
        if let Some(down) = self.standing.newly_down(self.anew) {
            let wanted = self.below(down);
            tell(&mut self.unreachable, wanted, Marks::UNREACHABLE, &mut orders);
        }
        self.anew = false;
        self.standing.looked(orders.iter().any(|order| !order.on));
        orders
    }

    /// Everything that depends on one of these, over however many steps.
    fn below(&self, mut open: Vec<MonitorId>) -> HashSet<MonitorId> {
        let mut below = HashSet::new();
        while let Some(id) = open.pop() {
            let children = self.children.get(&id).into_iter().flatten();
            open.extend(children.filter(|child| below.insert(**child)));
        }
        below
    }
}

/// Makes `told` equal to `wanted` and notes the difference.
fn tell(
    told: &mut HashSet<MonitorId>,
    wanted: HashSet<MonitorId>,
    mark: Marks,
    orders: &mut Vec<Order>,
) {
    for (on, monitors) in [(true, &wanted - told), (false, &*told - &wanted)] {
        if !monitors.is_empty() {
            let mut monitors: Vec<MonitorId> = monitors.into_iter().collect();
            monitors.sort_unstable();
            orders.push(Order { mark, on, monitors });
        }
    }
    *told = wanted;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::row::Interner;

    const FILE: &str = "
monitors:
  - {name: router, type: ping_icmp, target: 192.0.2.1}
  - {name: switch, type: ping_icmp, target: 192.0.2.2, depends_on: router}
  - {name: db, type: tcp, target: '192.0.2.3:5432', depends_on: [switch], tags: [data]}
  - {name: shop, type: tcp, target: '192.0.2.4:80', depends_on: [db, router]}
  - {name: alone, type: tcp, target: '192.0.2.5:80', tags: [data, x]}
maintenance:
  - {tags: [data], from: 1970-01-01T00:01:00Z, to: 1970-01-01T00:03:00Z}
  - {monitors: [alone], from: 1970-01-01T00:02:00Z, to: 1970-01-01T00:04:00Z}
";

    fn marking() -> Marking {
        let loaded = Loaded::parse("f".into(), FILE, &mut Interner::default()).unwrap();
        assert_eq!(loaded.problems(), Vec::<&crate::config::Problem>::new());
        let mut marking = Marking::default();
        let ids: Vec<_> = (1..=5).map(|id| Some(MonitorId(id))).collect();
        let mut parents = marking.plan("file", Plan::of(&loaded), &ids);
        parents.sort_unstable();
        assert_eq!(parents, [MonitorId(1), MonitorId(2), MonitorId(3)]);
        marking
    }

    /// Orders as `+maintenance 3 5`.
    fn told(orders: &[Order]) -> Vec<String> {
        let told = orders.iter().map(|Order { mark, on, monitors }| {
            let ids: Vec<String> = monitors.iter().map(MonitorId::to_string).collect();
            format!("{}{} {}", if *on { '+' } else { '-' }, mark.names().join(" "), ids.join(" "))
        });
        told.collect()
    }

    #[test]
    fn windows_that_overlap_mark_each_monitor_from_the_first_start_to_the_last_end() {
        let mut marking = marking();
        assert_eq!(told(&marking.turn(59_000)), Vec::<String>::new());
        assert_eq!(told(&marking.turn(60_000)), ["+maintenance 3 5"]);
        assert_eq!(told(&marking.turn(60_500)), Vec::<String>::new());
        assert_eq!(told(&marking.turn(125_000)), Vec::<String>::new());
        assert_eq!(told(&marking.turn(180_000)), ["-maintenance 3"]);
        assert_eq!(told(&marking.turn(240_000)), ["-maintenance 5"]);
    }

    #[test]
    fn all_that_is_behind_something_down_is_unreachable_until_the_last_of_it_is_up() {
        let mut marking = marking();
        marking.turn(1_000);
        marking.seed([(MonitorId(2), Verdict::Down), (MonitorId(5), Verdict::Down)].into_iter());
        assert_eq!(told(&marking.turn(2_000)), ["+unreachable 3 4"]);
        marking.seed([(MonitorId(1), Verdict::Down)].into_iter());
        assert_eq!(told(&marking.turn(3_000)), ["+unreachable 2"]);
        marking.seed([(MonitorId(2), Verdict::Up)].into_iter());
        assert_eq!(told(&marking.turn(4_000)), Vec::<String>::new());
        marking.seed([(MonitorId(1), Verdict::Unknown)].into_iter());
        assert_eq!(told(&marking.turn(5_000)), Vec::<String>::new());
        marking.seed([(MonitorId(1), Verdict::Up)].into_iter());
        assert_eq!(told(&marking.turn(6_000)), ["-unreachable 2 3 4"]);
    }

    #[test]
    fn another_plan_takes_back_what_does_not_hold_and_a_monitor_that_comes_again_is_marked_again() {
        let mut marking = marking();
        marking.turn(60_000);
        marking.forget(&[MonitorId(5)]);
        assert_eq!(told(&marking.turn(60_100)), ["+maintenance 5"]);
        marking.plan("file", Plan::default(), &[]);
        assert_eq!(told(&marking.turn(60_200)), ["-maintenance 3 5"]);
    }

    #[test]
    fn the_plan_of_one_source_leaves_that_of_another_as_it_is() {
        let mut marking = marking();
        marking.plan("api", Plan::default(), &[Some(MonitorId(6))]);
        marking.seed([(MonitorId(2), Verdict::Down)].into_iter());
        assert_eq!(told(&marking.turn(60_000)), ["+maintenance 3 5", "+unreachable 3 4"]);
    }
}

//! Which monitors are marked: in a window of maintenance, or behind something that is down.
//!
//! Owns: the plan of each source of monitors, and what the shards were told. Looks once a second
//! and tells only differences. A monitor is unreachable while any monitor that it depends on, over
//! however many steps, is down.
//!
//! Tags, and names of other sources' monitors, are looked up in the list of all monitors: when that
//! was read anew or the windows that are open are others. A scan of a million takes milliseconds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use super::standing::Standing;
use crate::api::v1::fleet::{Index, Place};
use crate::config::Loaded;
use crate::config::maintenance::When;
use crate::ids::{IdSet, MonitorId};
use crate::sample::{Marks, Verdict};

/// A window of maintenance; who is in it by name is told by `T`.
#[derive(Debug)]
struct Window<T> {
    when: When,
    /// Whoever has one of these is in it, whatever the source.
    tags: Vec<String>,
    named: Vec<T>,
}

/// Windows and dependencies of a source.
#[derive(Debug, Default)]
pub struct Plan {
    /// By the places of its monitors.
    windows: Vec<Window<usize>>,
    /// Child and parent, by their places.
    dependencies: Vec<(usize, usize)>,
    /// Child, and the names of its parents, of any source.
    named: Vec<(MonitorId, Vec<String>)>,
}

impl Plan {
    /// The plan of a file.
    pub fn of(loaded: &Loaded) -> Plan {
        let entries = || loaded.monitors.iter().enumerate();
        let is_named = loaded.maintenance.iter().any(|window| !window.monitors.is_empty())
            || entries().any(|(_, entry)| !entry.depends_on.is_empty());
        let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
        for (at, entry) in entries().filter(|_| is_named) {
            if let Some(name) = entry.name() {
                places.entry(name).or_insert(at);
            }
        }
        let place = |name: &String| places.get(name.as_str()).copied();
        let windows = loaded.maintenance.iter().map(|window| Window {
            when: window.when.clone(),
            tags: window.tags.clone(),
            named: window.monitors.iter().filter_map(place).collect(),
        });
        let parents = entries().flat_map(|(at, entry)| {
            entry.depends_on.iter().filter_map(move |name| Some((at, place(name)?)))
        });
        Plan { windows: windows.collect(), dependencies: parents.collect(), named: Vec::new() }
    }

    /// A plan of dependencies alone: children, and the names of their parents.
    pub fn of_names(named: Vec<(MonitorId, Vec<String>)>) -> Plan {
        Plan { named, ..Plan::default() }
    }
}

/// The plan of one source, by the numbers of its monitors.
#[derive(Debug)]
struct Placed {
    windows: Vec<Window<MonitorId>>,
    /// Child and parent.
    dependencies: Vec<(MonitorId, MonitorId)>,
    named: Vec<(MonitorId, Vec<String>)>,
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
    /// The list that was looked at last, and when that was first.
    listed: Weak<Index>,
    listed_ms: u64,
    /// Child and parent, where the parent was found by its name in that list.
    found: Vec<(MonitorId, MonitorId)>,
    children: HashMap<MonitorId, Vec<MonitorId>>,
    standing: Standing,
    /// What the shards were told: of monitors that run, no others.
    maintained: HashSet<MonitorId>,
    unreachable: HashSet<MonitorId>,
    /// The plan is another one than at the last look.
    anew: bool,
    /// Monitors began to run since the last look: their shards know of no mark.
    arrived: bool,
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
        let windows = plan.windows.into_iter().map(|window| Window {
            when: window.when,
            tags: window.tags,
            named: window.named.iter().filter_map(id).collect(),
        });
        let dependencies = plan.dependencies.iter();
        let placed = Placed {
            windows: windows.collect(),
            dependencies: dependencies
                .filter_map(|(child, parent)| Some((id(child)?, id(parent)?)))
                .collect(),
            named: plan.named,
        };
        self.placed.insert(source.to_owned(), placed);
        self.listed = Weak::new();
        self.anew = true;
        self.relate()
    }

    /// Notes who depends on whom, and gives those that others depend on.
    fn relate(&mut self) -> Vec<MonitorId> {
        let of_sources = self.placed.values().flat_map(|placed| &placed.dependencies);
        let pairs = || of_sources.clone().chain(&self.found).copied();
        self.children.clear();
        for (child, parent) in pairs() {
            self.children.entry(parent).or_default().push(child);
        }
        self.standing.plan(pairs())
    }

    /// What was known of those that others depend on.
    pub fn seed(&mut self, known: impl Iterator<Item = (MonitorId, Verdict)>) {
        self.standing.seed(known);
    }

    /// What stands against telling of monitors, shared with this.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Monitors began to run.
    pub fn arrived(&mut self) {
        self.arrived = true;
    }

    /// These monitors are gone: a shard that gets them again knows of no mark.
    pub fn forget(&mut self, gone: &[MonitorId]) {
        for id in gone {
            self.anew |= self.maintained.remove(id) | self.unreachable.remove(id);
        }
    }

    /// What is to be told to the shards, which have those of `running`, at a moment in milliseconds
    /// since the Unix epoch. Looks once a second.
    pub fn turn(&mut self, now_ms: u64, index: &Arc<Index>, running: &IdSet) -> Vec<Order> {
        if now_ms / 1_000 == self.looked_s && !self.anew {
            return Vec::new();
        }
        self.looked_s = now_ms / 1_000;
        self.anew |= self.take(index, now_ms) | std::mem::take(&mut self.arrived);
        let mut orders = Vec::new();
        let windows = || self.placed.values().flat_map(|placed| &placed.windows);
        let open: Vec<bool> = windows().map(|window| window.when.is_open(now_ms)).collect();
        if self.anew || open != self.open {
            let windows: Vec<_> = windows().zip(&open).filter(|(_, open)| **open).collect();
            let tags = windows.iter().flat_map(|(window, _)| &window.tags);
            let tags: HashSet<&str> = tags.map(String::as_str).collect();
            let named = windows.iter().flat_map(|(window, _)| &window.named).copied();
            let wanted: HashSet<MonitorId> = index.tagged(&tags).chain(named).collect();
            let is_asked =
                !tags.is_empty() || self.placed.values().any(|placed| !placed.named.is_empty());
            let list = is_asked.then(|| (Arc::clone(index), self.listed_ms));
            tell(&mut self.maintained, &wanted, running, Marks::MAINTENANCE, &mut orders);
            self.standing.set_maintained(wanted, list);
            self.open = open;
        }
        if let Some(down) = self.standing.newly_down(self.anew) {
            let wanted = self.below(down);
            tell(&mut self.unreachable, &wanted, running, Marks::UNREACHABLE, &mut orders);
        }
        self.anew = false;
        self.standing.looked(orders.iter().any(|order| !order.on));
        orders
    }

    /// Takes the list of all monitors into account; true where it is another one than before.
    fn take(&mut self, index: &Arc<Index>, now_ms: u64) -> bool {
        let list = Arc::downgrade(index);
        if Weak::ptr_eq(&self.listed, &list) {
            return false;
        }
        (self.listed, self.listed_ms) = (list, now_ms);
        let named = self.placed.values().flat_map(|placed| &placed.named);
        let pairs = named.flat_map(|(child, names)| {
            let parents = names.iter().filter_map(|name| index.named(name)).map(Place::id);
            parents.filter(move |parent| parent != child).map(move |parent| (*child, parent))
        });
        let found: Vec<_> = pairs.collect();
        if found != self.found {
            let before: HashSet<MonitorId> = self.children.keys().copied().collect();
            self.found = found;
            let parents = self.relate().into_iter().filter(|id| !before.contains(id));
            self.seed(parents.filter_map(|id| Some((id, index.place(id)?.verdict()))));
        }
        true
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

/// Makes `told` equal to those of `wanted` that run and notes the difference.
fn tell(
    told: &mut HashSet<MonitorId>,
    wanted: &HashSet<MonitorId>,
    running: &IdSet,
    mark: Marks,
    orders: &mut Vec<Order>,
) {
    let wanted: HashSet<MonitorId> =
        wanted.iter().copied().filter(|id| running.contains(*id)).collect();
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
    use crate::api::v1::fleet::tests::{fleet_of, row};
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

    /// Marks, the list of all monitors and those that run.
    struct Bench {
        marking: Marking,
        index: Arc<Index>,
        running: IdSet,
    }

    impl Bench {
        /// With the file above, whose monitors run, and others of the list.
        fn new(others: &[(u64, &str, &[&str])]) -> Bench {
            let loaded = Loaded::parse("f".into(), FILE, &mut Interner::default()).unwrap();
            assert_eq!(loaded.problems(), Vec::<&crate::config::Problem>::new());
            let ids: Vec<_> = (1..=5).map(|id| Some(MonitorId(id))).collect();
            let (mut marking, mut running) = (Marking::default(), IdSet::default());
            let mut parents = marking.plan("file", Plan::of(&loaded), &ids);
            parents.sort_unstable();
            assert_eq!(parents, [MonitorId(1), MonitorId(2), MonitorId(3)]);
            ids.into_iter().flatten().for_each(|id| assert!(running.insert(id)));
            let mut bench = Bench { marking, index: Arc::default(), running };
            bench.list(others);
            bench
        }

        /// The list has the file's monitors and these.
        fn list(&mut self, others: &[(u64, &str, &[&str])]) {
            let of_file: [(u64, &str, &[&str]); 5] = [
                (1, "router", &[]),
                (2, "switch", &[]),
                (3, "db", &["data"]),
                (4, "shop", &[]),
                (5, "alone", &["data", "x"]),
            ];
            let rows = of_file.iter().chain(others);
            let rows = rows.map(|(id, name, tags)| row(*id, name, tags, Verdict::Up));
            self.index = fleet_of(rows.collect()).index();
        }

        fn run(&mut self, id: u64) {
            assert!(self.running.insert(MonitorId(id)));
            self.marking.arrived();
        }

        fn seed(&mut self, id: u64, verdict: Verdict) {
            self.marking.seed([(MonitorId(id), verdict)].into_iter());
        }

        /// What is told at a moment, as `+maintenance 3 5`.
        fn told(&mut self, now_ms: u64) -> Vec<String> {
            let orders = self.marking.turn(now_ms, &self.index, &self.running).into_iter();
            let told = orders.map(|Order { mark, on, monitors }| {
                let sign = if on { '+' } else { '-' };
                let ids: Vec<String> = monitors.iter().map(MonitorId::to_string).collect();
                format!("{sign}{} {}", mark.names().join(" "), ids.join(" "))
            });
            told.collect()
        }

        /// Why an outage since the second before is not told at a moment.
        fn against(&self, id: u64, now_ms: u64) -> Option<&'static str> {
            let standing = self.marking.standing();
            standing.against(MonitorId(id), now_ms - 1_000, now_ms).map(|(reason, _)| reason)
        }
    }

    const NOTHING: Vec<String> = Vec::new();

    #[test]
    fn windows_that_overlap_mark_each_monitor_from_the_first_start_to_the_last_end() {
        let mut bench = Bench::new(&[]);
        assert_eq!(bench.told(59_000), NOTHING);
        assert_eq!(bench.told(60_000), ["+maintenance 3 5"]);
        assert_eq!(bench.told(60_500), NOTHING);
        assert_eq!(bench.told(125_000), NOTHING);
        assert_eq!(bench.told(180_000), ["-maintenance 3"]);
        assert_eq!(bench.told(240_000), ["-maintenance 5"]);
    }

    #[test]
    fn a_window_has_whoever_has_its_tag_when_the_list_and_the_shards_have_them() {
        let mut bench = Bench::new(&[(7, "of another engine", &["data"])]);
        assert_eq!(bench.told(60_000), ["+maintenance 3 5"]);
        // In the list before it is on its shard.
        bench.list(&[(8, "new", &["y", "data"])]);
        assert_eq!(bench.told(61_000), NOTHING);
        assert_eq!(bench.against(8, 61_000), Some("maintenance"));
        bench.run(8);
        assert_eq!(bench.told(62_000), ["+maintenance 8"]);
        // On its shard before it is in the list.
        bench.run(9);
        assert_eq!(bench.told(63_000), NOTHING);
        assert_eq!(bench.against(9, 63_000), Some("marks not known yet"));
        bench.list(&[(8, "new", &["y"]), (9, "newer", &["data"])]);
        assert_eq!(bench.told(64_000), ["+maintenance 9", "-maintenance 8"]);
        assert_eq!(
            (bench.against(9, 64_000), bench.against(8, 64_000)),
            (Some("maintenance"), None)
        );
        // Gone and there again before the list is read.
        bench.marking.forget(&[MonitorId(9)]);
        bench.running.remove(MonitorId(9));
        assert_eq!(bench.told(65_000), NOTHING);
        bench.run(9);
        assert_eq!(bench.told(66_000), ["+maintenance 9"]);
        assert_eq!(bench.told(180_000), ["-maintenance 3 9"]);
    }

    #[test]
    fn a_monitor_that_never_gets_into_the_list_is_told_in_the_end_and_outside_of_windows_at_once() {
        let mut bench = Bench::new(&[]);
        bench.run(9);
        bench.told(59_000);
        assert_eq!(bench.against(9, 59_000), None);
        bench.told(60_000);
        let standing = bench.marking.standing();
        let against = |opened_ms, now_ms| standing.against(MonitorId(9), opened_ms, now_ms);
        let end_ms = 59_000 + crate::limits::ALERT_KIN_WAIT_MS;
        assert_eq!(against(1_000, end_ms - 1), Some(("marks not known yet", end_ms + 999)));
        assert_eq!(against(1_000, end_ms), None);
        assert!(against(70_000, end_ms).is_some());
    }

    #[test]
    fn all_that_is_behind_something_down_is_unreachable_until_the_last_of_it_is_up() {
        let mut bench = Bench::new(&[]);
        bench.told(1_000);
        bench.seed(2, Verdict::Down);
        bench.seed(5, Verdict::Down);
        assert_eq!(bench.told(2_000), ["+unreachable 3 4"]);
        bench.seed(1, Verdict::Down);
        assert_eq!(bench.told(3_000), ["+unreachable 2"]);
        bench.seed(2, Verdict::Up);
        assert_eq!(bench.told(4_000), NOTHING);
        bench.seed(1, Verdict::Unknown);
        assert_eq!(bench.told(5_000), NOTHING);
        bench.seed(1, Verdict::Up);
        assert_eq!(bench.told(6_000), ["-unreachable 2 3 4"]);
    }

    #[test]
    fn a_name_is_that_of_a_monitor_of_any_source_once_it_is_in_the_list() {
        let mut bench = Bench::new(&[(6, "lamp", &[])]);
        bench.run(6);
        let names = ["shop", "lamp", "fuse", "nobody"].map(str::to_owned).to_vec();
        bench.marking.plan("api", Plan::of_names(vec![(MonitorId(6), names)]), &[]);
        bench.seed(2, Verdict::Down);
        assert_eq!(bench.told(1_000), ["+unreachable 3 4 6"]);
        bench.seed(2, Verdict::Up);
        assert_eq!(bench.told(2_000), ["-unreachable 3 4 6"]);
        // What is down already when its name is found.
        let fuse = row(7, "fuse", &[], Verdict::Down);
        let lamp = row(6, "lamp", &[], Verdict::Up);
        bench.index = fleet_of(vec![lamp, fuse]).index();
        assert_eq!(bench.told(3_000), ["+unreachable 6"]);
        assert_eq!(bench.against(6, 3_000), Some("unreachable"));
    }

    #[test]
    fn another_plan_takes_back_what_does_not_hold_and_a_monitor_that_comes_again_is_marked_again() {
        let mut bench = Bench::new(&[]);
        bench.told(60_000);
        bench.marking.forget(&[MonitorId(5)]);
        assert_eq!(bench.told(60_100), ["+maintenance 5"]);
        bench.marking.plan("file", Plan::default(), &[]);
        assert_eq!(bench.told(60_200), ["-maintenance 3 5"]);
    }

    #[test]
    fn the_plan_of_one_source_leaves_that_of_another_as_it_is() {
        let mut bench = Bench::new(&[]);
        bench.marking.plan("api", Plan::default(), &[Some(MonitorId(6))]);
        bench.seed(2, Verdict::Down);
        assert_eq!(bench.told(60_000), ["+maintenance 3 5", "+unreachable 3 4"]);
    }
}

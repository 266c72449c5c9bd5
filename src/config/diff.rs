//! What a reload changes: the rows of two lists compared by name.
//!
//! Owns: the comparison, which is pure. A row whose text changed but not its meaning still counts
//! as changed; assigning it again harms nothing.

use std::collections::{HashMap, HashSet};

use crate::monitor::row::MonitorRow;

/// The difference between two lists of rows, each part in the order of its list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff<'a> {
    /// Only in the new list.
    pub added: Vec<&'a MonitorRow>,
    /// In both under one name, and not alike: the old row and the new one.
    pub changed: Vec<(&'a MonitorRow, &'a MonitorRow)>,
    /// Only in the old list.
    pub removed: Vec<&'a MonitorRow>,
    /// Alike in both; the new row.
    pub unchanged: Vec<&'a MonitorRow>,
}

/// Compares two lists of rows by name. Of rows with one name in a list only the first counts, and
/// rows without a name are left out.
pub fn diff<'a>(
    old: impl IntoIterator<Item = &'a MonitorRow>,
    new: impl IntoIterator<Item = &'a MonitorRow>,
) -> Diff<'a> {
    let mut diff = Diff::default();
    let old: Vec<&MonitorRow> = old.into_iter().collect();
    let mut left: HashMap<&str, &MonitorRow> = HashMap::with_capacity(old.len());
    for row in &old {
        if let Some(name) = &row.name {
            left.entry(name).or_insert(row);
        }
    }
    let mut seen = HashSet::new();
    for row in new {
        let Some(name) = row.name.as_deref().filter(|name| seen.insert(*name)) else { continue };
        match left.remove(name) {
            None => diff.added.push(row),
            Some(before) if before == row => diff.unchanged.push(row),
            Some(before) => diff.changed.push((before, row)),
        }
    }
    // The list, not the map, so that the order is always the same.
    for row in old {
        if row.name.as_deref().is_some_and(|name| left.remove(name).is_some()) {
            diff.removed.push(row);
        }
    }
    diff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, target: &str) -> MonitorRow {
        MonitorRow { name: Some(name.into()), target: Some(target.into()), ..MonitorRow::default() }
    }

    #[test]
    fn each_row_is_added_changed_removed_or_unchanged() {
        let old = [row("a", "1"), row("b", "1"), row("c", "1")];
        let new = [row("d", "1"), row("b", "2"), row("a", "1")];
        let diff = diff(&old, &new);
        assert_eq!(diff.added, [&new[0]]);
        assert_eq!(diff.changed, [(&old[1], &new[1])]);
        assert_eq!(diff.removed, [&old[2]]);
        assert_eq!(diff.unchanged, [&new[2]]);
    }

    #[test]
    fn the_first_row_of_a_name_counts_and_nameless_rows_do_not() {
        let old = [MonitorRow::default(), row("a", "1")];
        let new = [row("a", "1"), row("a", "2"), MonitorRow::default()];
        let diff = diff(&old, &new);
        assert_eq!(diff.unchanged, [&new[0]]);
        assert!(diff.added.is_empty() && diff.changed.is_empty() && diff.removed.is_empty());
    }
}

//! What monitors depend on: every name must be there, and nothing may depend on itself.
//!
//! Owns: the check of `depends_on` over the whole file. Costs one look at each name that is
//! written there.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::monitor::row::RowError;

/// The key.
pub(super) const KEY: &str = "depends_on";

/// The errors of monitors by their index, given the names and parents of all.
pub(super) fn errors(monitors: &[(Option<Cow<'_, str>>, &[String])]) -> Vec<(usize, RowError)> {
    let named = monitors.iter().enumerate();
    let named = named.filter_map(|(at, (name, _))| Some((name.as_deref()?, at)));
    let places: HashMap<&str, usize> = named.collect();
    let mut errors = Vec::new();
    let mut parents: Vec<Vec<usize>> = Vec::with_capacity(monitors.len());
    for (at, (_, names)) in monitors.iter().enumerate() {
        let mut known = Vec::with_capacity(names.len());
        for name in *names {
            match places.get(name.as_str()) {
                Some(parent) => known.push(*parent),
                None => {
                    let fix = "write the name of a monitor of this file";
                    errors.push((at, RowError::new(KEY, name, "is not a monitor", fix)));
                }
            }
        }
        parents.push(known);
    }
    for at in circular(&parents) {
        let name = monitors[at].0.as_deref().unwrap_or_default();
        let problem = "depends on itself, over what it depends on";
        errors.push((at, RowError::new(KEY, name, problem, "remove one of the names")));
    }
    errors
}

/// Those that depend on themselves or on such ones: whoever has all its parents settled is
/// settled, and these never are.
fn circular(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    for (child, parents) in parents.iter().enumerate() {
        parents.iter().for_each(|parent| children.entry(*parent).or_default().push(child));
    }
    let mut settled: Vec<usize> = (0..parents.len()).filter(|at| open[*at] == 0).collect();
    while let Some(at) = settled.pop() {
        for child in children.get(&at).into_iter().flatten() {
            open[*child] -= 1;
            if open[*child] == 0 {
                settled.push(*child);
            }
        }
    }
    (0..parents.len()).filter(|at| open[*at] > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(monitors: &[(&str, &[&str])]) -> Vec<String> {
        let owned: Vec<Vec<String>> = monitors
            .iter()
            .map(|(_, parents)| parents.iter().map(|name| (*name).to_owned()).collect())
            .collect();
        let all: Vec<_> = monitors
            .iter()
            .zip(&owned)
            .map(|((name, _), parents)| (Some(Cow::Borrowed(*name)), &parents[..]))
            .collect();
        errors(&all).into_iter().map(|(at, error)| format!("{at} {error}")).collect()
    }

    #[test]
    fn chains_and_several_parents_are_good_in_any_order() {
        let good: [(&str, &[&str]); 4] = [
            ("shop", &["switch", "db"]),
            ("db", &["switch"]),
            ("switch", &["router"]),
            ("router", &[]),
        ];
        assert_eq!(told(&good), Vec::<String>::new());
    }

    #[test]
    fn unknown_names_and_circles_of_any_length_are_errors() {
        let bad: [(&str, &[&str]); 5] =
            [("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("self", &["self"]), ("x", &["nobody"])];
        let told = told(&bad);
        assert_eq!(
            told[0],
            "4 depends_on: nobody is not a monitor; write the name of a monitor of this file"
        );
        let circles: Vec<_> = told[1..].iter().map(|text| &text[..1]).collect();
        assert_eq!(circles, ["0", "1", "2", "3"]);
        assert!(
            told[1].contains("a depends on itself, over what it depends on; remove"),
            "{}",
            told[1]
        );
    }
}

//! Pairs paths of equal content: first those that end most alike, then the rest in their order.

use std::collections::{HashMap, VecDeque};

/// Pairs of indexes into both lists, each at most once. `by_order` also pairs paths that end in different names.
pub(super) fn pair(left: &[&str], right: &[&str], by_order: bool) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut open_left: Vec<usize> = (0..left.len()).collect();
    let mut is_open = vec![true; right.len()];
    let names = |path: &str| path.split('/').count();
    let deepest = left.iter().map(|path| names(path)).max().unwrap_or_default();
    let deepest = deepest.min(right.iter().map(|path| names(path)).max().unwrap_or_default());
    for count in (1..=deepest).rev() {
        let mut ends: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (index, path) in right.iter().enumerate().filter(|(index, _)| is_open.get(*index) == Some(&true)) {
            if let Some(end) = last_names(path, count) {
                ends.entry(end).or_default().push_back(index);
            }
        }
        if ends.is_empty() {
            continue;
        }
        open_left.retain(|index| {
            let end = left.get(*index).and_then(|path| last_names(path, count));
            let Some(other) = end.and_then(|end| ends.get_mut(end)?.pop_front()) else { return true };
            if let Some(slot) = is_open.get_mut(other) {
                *slot = false;
            }
            pairs.push((*index, other));
            false
        });
    }
    if by_order {
        let rest = is_open.iter().enumerate().filter(|(_, is_open)| **is_open).map(|(index, _)| index);
        pairs.extend(open_left.into_iter().zip(rest));
    }
    pairs
}

/// The last so many names of a path; `None` if it has fewer.
fn last_names(path: &str, count: usize) -> Option<&str> {
    let mut start = path.len();
    for number in 0..count {
        let before = path.get(..start)?;
        match before.rfind('/') {
            Some(at) if number + 1 == count => return path.get(at + 1..),
            Some(at) => start = at,
            None => return (number + 1 == count).then_some(path),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_end_alike_come_first() {
        for (path, count, end) in [
            ("a/b/c", 1, Some("c")),
            ("a/b/c", 2, Some("b/c")),
            ("a/b/c", 3, Some("a/b/c")),
            ("a/b/c", 4, None),
            ("c", 1, Some("c")),
        ] {
            assert_eq!(last_names(path, count), end, "{path} {count}");
        }
        let mut pairs = pair(&["y/a/i.md", "y/b/i.md", "z.md"], &["x/b/i.md", "q.md", "x/a/i.md"], true);
        pairs.sort_unstable();
        assert_eq!(pairs, [(0, 2), (1, 0), (2, 1)]);
        assert_eq!(pair(&["z.md"], &["q.md"], false), []);
        assert_eq!(pair(&[], &["q.md"], true), []);
        assert_eq!(pair(&["a/x", "b/x"], &["c/x"], true), [(0, 0)]);
    }

    #[test]
    fn many_equal_files_are_paired_quickly() {
        let left: Vec<String> = (0..20_000).map(|number| format!("new/{number}/index.md")).collect();
        let right: Vec<String> = (0..20_000).rev().map(|number| format!("old/{number}/index.md")).collect();
        let (left, right): (Vec<&str>, Vec<&str>) =
            (left.iter().map(String::as_str).collect(), right.iter().map(String::as_str).collect());
        let pairs = pair(&left, &right, true);
        assert_eq!(pairs.len(), 20_000);
        assert!(pairs.iter().all(|(a, b)| left[*a].get(3..) == right[*b].get(3..)));
    }
}

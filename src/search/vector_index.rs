//! Which index over vectors fits, and why: a decision tree whose numbers were measured (docs/operators.md).

use crate::domain::{
    IndexSpec,
    vector_index::{MOST_INDEXED_DIMENSIONS, MOST_INDEXED_FLOATS},
};

/// Neighbours of a vector in a graph, and of so many vectors on.
const NEIGHBOURS: u16 = 16;
const MORE_NEIGHBOURS: u16 = 24;
const MANY_ROWS: i64 = 3_000_000;
const EF_CONSTRUCTION: u16 = 200;
/// Up to so many vectors a list has a thousand of them; of more, there are as many lists as vectors in each.
const FEW_FOR_LISTS: i64 = 1_000_000;
const MOST_LISTS: i64 = 32_768;

/// What is wanted of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Little is missed.
    Recall,
    /// It is built quickly: archives that are loaded at once.
    Build,
}

/// What an index stands for.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// Vectors.
    pub rows: i64,
    /// Their length.
    pub dimensions: i32,
    /// Up to so many vectors searches compare all of them, index or not.
    pub scanned: i64,
    /// Memory that building may take, in bytes.
    pub memory: i64,
    /// What is wanted.
    pub priority: Priority,
}

/// What fits, if any index does, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `None`: no index.
    pub spec: Option<IndexSpec>,
    /// A sentence for people.
    pub reason: String,
}

/// About what building a graph takes, in bytes. A larger one is built too, but many times as slowly.
#[must_use]
pub fn graph_bytes(rows: i64, dimensions: i32, m: u16) -> i64 {
    let number = if dimensions > MOST_INDEXED_FLOATS { 2 } else { 4 };
    // The vector, its neighbours on the lowest level (twice m) and, of few, above, and what holds them.
    let each = i64::from(dimensions) * number + i64::from(m) * 2 * 18 + 160;
    rows.saturating_mul(each)
}

/// Walks down the tree.
#[must_use]
pub fn choose(ground: Ground) -> Choice {
    let Ground { rows, dimensions, scanned, memory, priority } = ground;
    let choice = |spec, reason| Choice { spec, reason };
    if dimensions > MOST_INDEXED_DIMENSIONS {
        let reason = format!("vectors of {dimensions} numbers cannot be indexed (at most {MOST_INDEXED_DIMENSIONS})");
        return choice(None, reason);
    }
    if rows <= scanned {
        return choice(None, format!("up to {scanned} vectors all of them are compared, which is exact and as fast"));
    }
    let m = if rows > MANY_ROWS { MORE_NEIGHBOURS } else { NEIGHBOURS };
    let wanted = graph_bytes(rows, dimensions, m);
    let mib = |bytes: i64| bytes >> 20;
    if priority == Priority::Recall && wanted <= memory {
        let reason = format!(
            "finds most, and its graph of about {} MiB fits the {} MiB that building may take",
            mib(wanted),
            mib(memory)
        );
        return choice(Some(IndexSpec::Hnsw { m, ef_construction: EF_CONSTRUCTION }), reason);
    }
    let lists = if rows <= FEW_FOR_LISTS { rows / 1_000 } else { (rows as f64).sqrt() as i64 };
    let lists = u16::try_from(lists.clamp(1, MOST_LISTS)).unwrap_or(1);
    let reason = match priority {
        Priority::Build => "is built quickly; rebuild it when there is half as much again".to_owned(),
        Priority::Recall => format!(
            "a graph would take about {} MiB to build, more than the {} MiB it may; give it more with --memory",
            mib(wanted),
            mib(memory)
        ),
    };
    choice(Some(IndexSpec::IvfFlat { lists }), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(rows: i64, priority: Priority) -> Option<IndexSpec> {
        choose(Ground { rows, dimensions: 384, scanned: 25_000, memory: 8 << 30, priority }).spec
    }

    #[test]
    fn the_tree_has_a_leaf_for_every_size() {
        let hnsw = |m| Some(IndexSpec::Hnsw { m, ef_construction: 200 });
        assert_eq!(spec(25_000, Priority::Recall), None);
        assert_eq!(spec(25_001, Priority::Recall), hnsw(16));
        assert_eq!(spec(3_000_000, Priority::Recall), hnsw(16));
        assert_eq!(spec(3_200_000, Priority::Recall), hnsw(24));
        assert_eq!(spec(5_000_000, Priority::Recall), Some(IndexSpec::IvfFlat { lists: 2_236 }), "too large");
        assert_eq!(spec(200_000, Priority::Build), Some(IndexSpec::IvfFlat { lists: 200 }));
        let longest =
            Ground { rows: 1 << 20, dimensions: 4_001, scanned: 0, memory: 1 << 40, priority: Priority::Recall };
        assert_eq!(choose(longest).spec, None);
    }

    #[test]
    fn the_largest_archive_gets_as_many_lists_as_there_can_be() {
        assert_eq!(spec(i64::MAX, Priority::Build), Some(IndexSpec::IvfFlat { lists: 32_768 }));
    }
}

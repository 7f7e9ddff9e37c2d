//! What has to be done to the board: the tree that was found, held against what lies on the board.

use std::collections::{HashMap, HashSet};

use super::{layout, skipped::Skipped, tree::Tree};
use crate::domain::{NodeId, NodeType, Placement, Rect, import::KnownNode};
use crate::ops::Failure;

/// The canvas ends here; the database refuses more.
const MAX_SIDE: f64 = 1e6;

/// The work on the nodes. Entries are the folders of the tree, then its files; each list is in their order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The node of each entry; `None` for files that are left out.
    pub(super) nodes: Vec<Option<Planned>>,
    /// Nodes whose file or folder is gone.
    pub(super) vanished: Vec<NodeId>,
    /// Nodes that were there before and lie elsewhere now.
    pub(super) moved: Vec<(NodeId, Rect)>,
}

/// What becomes of an entry.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) id: NodeId,
    pub(super) work: Work,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    Insert {
        rect: Rect,
        z_index: i32,
        placement: Option<Placement>,
    },
    /// The file has another content than at the last import.
    Rewrite,
    Leave,
}

/// `digests` has the digest of each file of the tree, in hex, and `None` for those that are left out.
pub(super) fn plan(
    tree: &Tree,
    digests: &[Option<String>],
    skipped: &Skipped,
    known: &[KnownNode],
) -> Result<Plan, Failure> {
    let mut by_path: HashMap<&str, &KnownNode> = HashMap::new();
    for node in known {
        if let Some(origin) = &node.origin {
            // Of copies, the oldest is the one that an import made.
            by_path.entry(&origin.path).or_insert(node);
        }
    }
    let folder_count = tree.folders.len();
    let entries = || {
        let folders =
            tree.folders.iter().map(|folder| (folder.path.as_str(), folder.parent, Some(folder.level - 1), None));
        let files = tree.files.iter().zip(digests).map(move |(file, digest)| {
            let level = file.parent.map_or(Some(0), |parent| Some(tree.folders.get(parent)?.level));
            (file.path.as_str(), file.parent, level.filter(|_| digest.is_some()), digest.as_ref())
        });
        folders.chain(files)
    };

    // Which node each entry has or gets. `None` for the level marks files that are left out.
    let found: Vec<Option<&KnownNode>> = entries()
        .enumerate()
        .map(|(index, (path, _, level, _))| {
            let is_folder = index < folder_count;
            let node = *by_path.get(path)?;
            let same_type = (node.node_type == NodeType::Folder) == is_folder;
            (level.is_some() && same_type).then_some(node)
        })
        .collect();
    let ids: Vec<NodeId> = found.iter().map(|node| node.map_or_else(NodeId::generate, |node| node.id)).collect();
    let vanished = vanished(skipped, &found, known, &by_path);

    // Everything that lives on the board has its place, also what no import made.
    let mut items = Vec::new();
    let mut item_of: HashMap<NodeId, usize> = HashMap::new();
    let gone: HashSet<NodeId> = vanished.iter().copied().collect();
    let living: Vec<&KnownNode> = known.iter().filter(|node| !gone.contains(&node.id)).collect();
    for node in &living {
        item_of.insert(node.id, items.len());
        items.push(layout::Item {
            parent: None,
            is_folder: node.node_type == NodeType::Folder,
            on_board: Some(node.rect),
        });
    }
    for (node, item) in living.iter().zip(&mut items) {
        item.parent = node.placement.and_then(|placement| item_of.get(&placement.folder_id).copied());
    }
    let positions = positions(tree, &found);
    for (index, (((_, parent, level, _), found), id)) in entries().zip(&found).zip(&ids).enumerate() {
        if found.is_none() && level.is_some() {
            let parent = parent.and_then(|parent| item_of.get(ids.get(parent)?).copied());
            item_of.insert(*id, items.len());
            items.push(layout::Item { parent, is_folder: index < folder_count, on_board: None });
        }
    }
    let rects = layout::arrange(&items);
    if rects.iter().any(|rect| rect.width > MAX_SIDE || rect.height > MAX_SIDE) {
        return Err(Failure::new("there is more than one canvas can hold").hint("Import the folders in it one by one."));
    }

    let nodes = entries().enumerate().zip(&found).zip(&ids).map(|(((index, entry), found), id)| {
        let (_, parent, level, digest) = entry;
        let z_index = level?;
        let work = match found {
            Some(node) => {
                let before = node.origin.as_ref().and_then(|origin| origin.digest.as_ref());
                if before == digest { Work::Leave } else { Work::Rewrite }
            }
            None => Work::Insert {
                rect: *rects.get(*item_of.get(id)?)?,
                z_index,
                placement: parent.and_then(|parent| {
                    Some(Placement { folder_id: *ids.get(parent)?, position: *positions.get(index)? })
                }),
            },
        };
        Some(Planned { id: *id, work })
    });
    let nodes = nodes.collect();
    let moved = living.iter().zip(&rects).filter(|(node, rect)| node.rect != **rect);
    let moved = moved.map(|(node, rect)| (node.id, *rect)).collect();
    Ok(Plan { nodes, vanished, moved })
}

/// Imported nodes that no entry has. A folder that holds something which stays, stays too: nobody loses what he put there.
fn vanished(
    skipped: &Skipped,
    found: &[Option<&KnownNode>],
    known: &[KnownNode],
    by_path: &HashMap<&str, &KnownNode>,
) -> Vec<NodeId> {
    let used: HashSet<NodeId> = found.iter().flatten().map(|node| node.id).collect();
    let mut gone: HashSet<NodeId> = by_path
        .iter()
        .filter(|(path, node)| !used.contains(&node.id) && !skipped.hides(path))
        .map(|(_, node)| node.id)
        .collect();
    let folder_of = |node: &KnownNode| node.placement.map(|placement| placement.folder_id);
    let around: HashMap<NodeId, NodeId> = known.iter().filter_map(|node| Some((node.id, folder_of(node)?))).collect();
    let staying: Vec<NodeId> = known.iter().map(|node| node.id).filter(|id| !gone.contains(id)).collect();
    for node in staying {
        let mut folder = around.get(&node);
        while let Some(id) = folder.filter(|id| gone.remove(*id)) {
            folder = around.get(id);
        }
    }
    known.iter().map(|node| node.id).filter(|id| gone.contains(id)).collect()
}

/// The place of every entry among its siblings, folders first: that of the node which is there, or one between its
/// neighbours'.
fn positions(tree: &Tree, found: &[Option<&KnownNode>]) -> Vec<f64> {
    let mut siblings: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    let parents = tree.folders.iter().map(|folder| folder.parent).chain(tree.files.iter().map(|file| file.parent));
    for (index, parent) in parents.enumerate() {
        siblings.entry(parent).or_default().push(index);
    }
    let mut positions = vec![0.0; found.len()];
    for group in siblings.values() {
        let there: Vec<Option<f64>> =
            group.iter().map(|index| Some((*found.get(*index)?)?.placement?.position)).collect();
        for (index, position) in group.iter().zip(spread(&there)) {
            if let Some(slot) = positions.get_mut(*index) {
                *slot = position;
            }
        }
    }
    positions
}

/// Fills the gaps between the numbers that are there, evenly.
fn spread(there: &[Option<f64>]) -> Vec<f64> {
    let mut all = Vec::with_capacity(there.len());
    let mut rest = there;
    while let Some(position) = rest.first() {
        if let Some(position) = position {
            all.push(*position);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let missing = rest.iter().take_while(|position| position.is_none()).count();
        rest = rest.get(missing..).unwrap_or_default();
        let count = missing as f64;
        let (start, step) = match (all.last().copied(), rest.first().copied().flatten()) {
            (Some(before), Some(after)) => (before, (after - before) / (count + 1.0)),
            (None, Some(after)) => (after - count - 1.0, 1.0),
            (before, None) => (before.unwrap_or(0.0), 1.0),
        };
        all.extend((1..=missing).map(|number| start + step * number as f64));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_places_lie_between_those_that_are_taken() {
        for (there, filled) in [
            (vec![], vec![]),
            (vec![None, None], vec![1.0, 2.0]),
            (vec![Some(1.0), None, Some(2.0)], vec![1.0, 1.5, 2.0]),
            (vec![None, Some(1.0), None, None, Some(4.0), None], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ] {
            assert_eq!(spread(&there), filled, "{there:?}");
        }
    }
}

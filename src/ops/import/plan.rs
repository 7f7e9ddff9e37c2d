//! What has to be done to the board: the tree that was found, held against what lies on the board. Which node a file has is
//! in `identity.rs`; here is what follows from that.

use std::collections::{HashMap, HashSet};

use super::{
    identity::{self, Entry, Recognised},
    kind::FileKind,
    layout, places,
    skipped::Skipped,
    tree::{Tree, name_of},
};
use crate::domain::{
    NodeId, NodeType, Placement, Rect,
    import::{KnownNode, Life, NewPlace, TextDigests},
};
use crate::ops::Failure;

/// The canvas ends here; the database refuses more.
const MAX_SIDE: f64 = 1e6;

/// The work on the nodes. Entries are the folders of the tree, then its files; each list is in their order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The node of each entry; `None` for what is left out.
    pub(super) nodes: Vec<Option<Planned>>,
    /// Nodes whose file or folder is gone; what lies in a folder comes before it.
    pub(super) vanished: Vec<Gone>,
    /// Nodes whose file or folder is there and cannot be taken this time.
    pub(super) kept: Vec<Gone>,
    /// Paths that are left out because somebody deleted their nodes.
    pub(super) deleted: Vec<String>,
    /// How many living nodes on the board are from imports.
    pub(super) imported: usize,
    /// How many of them are texts.
    pub(super) texts: usize,
    /// How many of the vanished ones are texts.
    pub(super) vanished_texts: usize,
    /// Living nodes with a text whose file is empty now.
    pub(super) emptied: Vec<Gone>,
    /// Living nodes whose file has nothing to do with their text any more.
    pub(super) replaced: Vec<Gone>,
    /// Nodes that come back; a folder comes before what lies in it.
    pub(super) restored: Vec<NodeId>,
    /// Nodes that come into another folder.
    pub(super) placed: Vec<NewPlace>,
    /// How many of them are folders; these come first.
    pub(super) placed_folders: usize,
    /// Nodes that are on the board and lie elsewhere on the canvas now: from where, and where.
    pub(super) moved: Vec<(NodeId, Rect, Rect)>,
}

/// A node that is gone, or its text, or that would be if it were not kept.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) id: NodeId,
    pub(super) path: String,
}

/// What becomes of an entry.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) id: NodeId,
    pub(super) work: Work,
    /// The path that its node has on the board, where it is another one.
    pub(super) old_path: Option<String>,
    /// Whether its node was deleted and comes back.
    pub(super) is_restored: bool,
    /// Whether somebody deleted the node: it comes back as its file is, whatever was edited before.
    pub(super) was_deleted_by_hand: bool,
    /// The text that the file's takes the place of; nothing is known of it before `overwrite.rs` has looked.
    pub(super) standing: Standing,
}

/// A text on the board that is to be written over.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) digests: TextDigests,
    pub(super) size_bytes: usize,
    /// What somebody edited on the board, so that it stays.
    pub(super) edit: Option<Edit>,
}

/// What of a node stays because somebody edited it on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// The text, and the title that belongs to it.
    Text,
    /// The title alone.
    Title,
}

impl Edit {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Edit::Text => "text",
            Edit::Title => "title",
        }
    }
}

impl Planned {
    /// Whether the board has no node for it yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.work, Work::Insert { .. })
    }
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
    restores_deleted: bool,
) -> Result<Plan, Failure> {
    let entries = entries(tree, digests);
    let Recognised { found, is_deleted } = identity::recognise(&entries, known, skipped, restores_deleted);
    let found: Vec<Option<&KnownNode>> = found.iter().map(|node| node.and_then(|node| known.get(node))).collect();
    let is_taken = |index: usize| {
        let entry = entries.get(index);
        let there = entry.is_some_and(|entry| entry.is_folder || entry.digest.is_some());
        there && is_deleted.get(index) == Some(&false)
    };
    let ids: Vec<NodeId> = found.iter().map(|node| node.map_or_else(NodeId::generate, |node| node.id)).collect();
    let back: HashSet<NodeId> =
        found.iter().flatten().filter(|node| node.life != Life::Living).map(|node| node.id).collect();
    // The folder node of each entry, where it has one; `None` also for the imported folder itself.
    let folder = |entry: &Entry<'_>| entry.parent.filter(|parent| is_taken(*parent)).and_then(|parent| ids.get(parent));
    let follow = places::follow(&entries, &found, known, &back, |index| match entries.get(index)?.parent {
        None => Some(None),
        Some(parent) => is_taken(parent).then(|| ids.get(parent).copied()),
    });

    // Everything that lives on the board afterwards has its place, also what no import made.
    let mut around = places::folders(known);
    for (id, to) in &follow {
        match to {
            Some(to) => around.insert(*id, *to),
            None => around.remove(id),
        };
    }
    let (vanished, kept) = unused(skipped, &found, known, &around);
    let gone: HashSet<NodeId> = vanished.iter().map(|gone| gone.id).collect();
    let lives = |node: &&KnownNode| (node.life == Life::Living && !gone.contains(&node.id)) || back.contains(&node.id);
    let living: Vec<&KnownNode> = known.iter().filter(lives).collect();

    let mut items = Vec::new();
    let mut item_of: HashMap<NodeId, usize> = HashMap::new();
    for node in &living {
        item_of.insert(node.id, items.len());
        let is_where_put = node.origin.as_ref().is_some_and(|origin| origin.is_where_put);
        items.push(layout::Item {
            parent: None,
            is_folder: node.node_type == NodeType::Folder,
            on_board: Some(node.rect),
            is_displaced: is_where_put && follow.contains_key(&node.id),
        });
    }
    let there = found.iter().map(|node| {
        let node = node.filter(|node| !follow.contains_key(&node.id))?;
        node.placement.map(|placement| placement.position)
    });
    let positions = positions(tree, &there.collect::<Vec<_>>());
    for (index, (entry, id)) in entries.iter().zip(&ids).enumerate() {
        if found.get(index).is_some_and(Option::is_none) && is_taken(index) {
            let parent = folder(entry).and_then(|folder| item_of.get(folder).copied());
            item_of.insert(*id, items.len());
            items.push(layout::Item { parent, is_folder: entry.is_folder, on_board: None, is_displaced: false });
        }
    }
    // What is on the board may come into a folder that is new.
    for (node, item) in living.iter().zip(&mut items) {
        item.parent = around.get(&node.id).and_then(|folder| item_of.get(folder).copied());
    }
    places::make_room(&living, &back, &mut items);
    let rects = layout::arrange(&items);
    if rects.iter().any(|rect| rect.width > MAX_SIDE || rect.height > MAX_SIDE) {
        return Err(Failure::new("there is more than one canvas can hold").hint("Import the folders in it one by one."));
    }

    let position = |index: usize| positions.get(index).copied().unwrap_or_default();
    let mut nodes = Vec::with_capacity(entries.len());
    let (mut placed, mut placed_folders) = (Vec::new(), 0);
    for (index, ((entry, found), id)) in entries.iter().zip(&found).zip(&ids).enumerate() {
        if !is_taken(index) && found.is_none() {
            nodes.push(None);
            continue;
        }
        let old_path = found.and_then(|node| Some(node.origin.as_ref()?.path.as_str()));
        let old_path = old_path.filter(|path| *path != entry.path);
        let work = match found {
            Some(node) => {
                let before = node.origin.as_ref().and_then(|origin| origin.digest.as_deref());
                let same_kind = entry.is_folder
                    || old_path.is_none_or(|path| FileKind::of(name_of(path)) == FileKind::of(name_of(entry.path)));
                if before == entry.digest && same_kind { Work::Leave } else { Work::Rewrite }
            }
            None => Work::Insert {
                rect: *item_of.get(id).and_then(|item| rects.get(*item)).ok_or_else(no_place)?,
                z_index: level(tree, entry),
                placement: folder(entry).map(|folder| Placement { folder_id: *folder, position: position(index) }),
            },
        };
        if let Some(to) = follow.get(id) {
            placed_folders += usize::from(entry.is_folder);
            placed.push(NewPlace {
                id: *id,
                from: found.and_then(|node| Some(node.placement?.folder_id)),
                to: to.map(|folder_id| Placement { folder_id, position: position(index) }),
            });
        }
        nodes.push(Some(Planned {
            id: *id,
            work,
            old_path: old_path.map(str::to_owned),
            is_restored: back.contains(id),
            was_deleted_by_hand: found.is_some_and(|node| matches!(node.life, Life::DeletedByHand(_))),
            standing: Standing::default(),
        }));
    }
    let moved = living.iter().zip(&rects).filter(|(node, rect)| node.rect != **rect);
    let moved = moved.map(|(node, rect)| (node.id, node.rect, *rect)).collect();
    // A folder is there before what is in it comes back.
    let mut restored: Vec<&KnownNode> = living.iter().copied().filter(|node| back.contains(&node.id)).collect();
    let depth = places::depths(known);
    restored.sort_by_key(|node| depth.get(&node.id).copied().unwrap_or_default());
    let imported = || known.iter().filter(|node| node.life == Life::Living && node.origin.is_some());
    let is_text = |node: &&KnownNode| node.node_type == NodeType::Resource;
    let deleted = entries.iter().zip(&is_deleted).filter(|(_, is_deleted)| **is_deleted);
    Ok(Plan {
        nodes,
        vanished,
        kept,
        deleted: deleted.map(|(entry, _)| entry.path.to_owned()).collect(),
        imported: imported().count(),
        texts: imported().filter(is_text).count(),
        vanished_texts: imported().filter(is_text).filter(|node| gone.contains(&node.id)).count(),
        emptied: Vec::new(),
        replaced: Vec::new(),
        restored: restored.iter().map(|node| node.id).collect(),
        placed,
        placed_folders,
        moved,
    })
}

fn no_place() -> Failure {
    Failure::new("a new node has no place on the canvas; this is a fault of the program")
}

fn entries<'a>(tree: &'a Tree, digests: &'a [Option<String>]) -> Vec<Entry<'a>> {
    let folders = tree.folders.iter().map(|folder| Entry {
        path: folder.path.as_str(),
        parent: folder.parent,
        is_folder: true,
        digest: None,
    });
    let files = tree.files.iter().zip(digests).map(|(file, digest)| Entry {
        path: file.path.as_str(),
        parent: file.parent,
        is_folder: false,
        digest: digest.as_deref(),
    });
    folders.chain(files).collect()
}

/// How many folders are around an entry.
fn level(tree: &Tree, entry: &Entry<'_>) -> i32 {
    entry.parent.and_then(|parent| tree.folders.get(parent)).map_or(0, |folder| folder.level)
}

/// Living imported nodes that no entry has: those that are gone, what lies in a folder first, and those whose file is only
/// left out. A folder that holds something which stays, stays too: nobody loses what he put there. `around` has the folder
/// of each node as it will be.
fn unused(
    skipped: &Skipped,
    found: &[Option<&KnownNode>],
    known: &[KnownNode],
    around: &HashMap<NodeId, NodeId>,
) -> (Vec<Gone>, Vec<Gone>) {
    let used: HashSet<NodeId> = found.iter().flatten().map(|node| node.id).collect();
    let (mut gone, mut kept) = (HashSet::new(), Vec::new());
    for node in known.iter().filter(|node| node.life == Life::Living && !used.contains(&node.id)) {
        let Some(origin) = node.origin.as_ref().filter(|_| node.node_type != NodeType::Chat) else { continue };
        if skipped.hides(&origin.path) {
            kept.push(Gone { id: node.id, path: origin.path.clone() });
        } else {
            gone.insert(node.id);
        }
    }
    let stays = |node: &&KnownNode| used.contains(&node.id) || (node.life == Life::Living && !gone.contains(&node.id));
    let staying: Vec<NodeId> = known.iter().filter(stays).map(|node| node.id).collect();
    for node in staying {
        let mut folder = around.get(&node);
        while let Some(id) = folder.filter(|id| gone.remove(*id)) {
            folder = around.get(id);
        }
    }
    let depth = places::depths(known);
    let mut vanished: Vec<&KnownNode> = known.iter().filter(|node| gone.contains(&node.id)).collect();
    vanished.sort_by_key(|node| std::cmp::Reverse(depth.get(&node.id).copied().unwrap_or_default()));
    let gone = |node: &KnownNode| Some(Gone { id: node.id, path: node.origin.as_ref()?.path.clone() });
    (vanished.into_iter().filter_map(gone).collect(), kept)
}

/// The place of every entry among its siblings, folders first: that of the node which is there, or one between its
/// neighbours'.
fn positions(tree: &Tree, there: &[Option<f64>]) -> Vec<f64> {
    let mut siblings: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    let parents = tree.folders.iter().map(|folder| folder.parent).chain(tree.files.iter().map(|file| file.parent));
    for (index, parent) in parents.enumerate() {
        siblings.entry(parent).or_default().push(index);
    }
    let mut positions = vec![0.0; there.len()];
    for group in siblings.values() {
        let there: Vec<Option<f64>> = group.iter().map(|index| there.get(*index).copied().flatten()).collect();
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

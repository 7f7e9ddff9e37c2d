//! In which folder nodes lie when their files lie in another one: they follow, unless somebody put them elsewhere.

use std::collections::{HashMap, HashSet};

use super::{
    identity::{Entry, folder_of},
    layout::{Item, overlap},
};
use crate::domain::{
    NodeId, NodeType, Rect,
    import::{KnownNode, Life},
};

/// Folders nest 64 deep; more steps than this upwards are a circle.
const MAX_STEPS: usize = 1_000;
/// How many pairs of rectangles are compared for nodes that come back.
const MAX_COMPARED: usize = 20_000_000;

/// The folder around each node that is in one.
pub(super) fn folders(known: &[KnownNode]) -> HashMap<NodeId, NodeId> {
    known.iter().filter_map(|node| Some((node.id, node.placement?.folder_id))).collect()
}

/// How many folders are around each node.
pub(super) fn depths(known: &[KnownNode]) -> HashMap<NodeId, usize> {
    let around = folders(known);
    let depth =
        |id: NodeId| std::iter::successors(around.get(&id), |folder| around.get(*folder)).take(MAX_STEPS).count();
    known.iter().map(|node| (node.id, depth(node.id))).collect()
}

/// Nodes that come into another folder, or out of all. `desired` tells for an entry in which folder its file lies now: `None`
/// if that folder has no node on the board, `Some(None)` if it is the imported folder itself.
pub(super) fn follow(
    entries: &[Entry<'_>],
    found: &[Option<&KnownNode>],
    known: &[KnownNode],
    back: &HashSet<NodeId>,
    desired: impl Fn(usize) -> Option<Option<NodeId>>,
) -> HashMap<NodeId, Option<NodeId>> {
    // By path: the folder's node, a living one if there is one.
    let mut folder_at: HashMap<&str, &KnownNode> = HashMap::new();
    for node in known.iter().filter(|node| node.node_type == NodeType::Folder) {
        let Some(origin) = &node.origin else { continue };
        let there = folder_at.entry(origin.path.as_str()).or_insert(node);
        if there.life != Life::Living && (node.life == Life::Living || back.contains(&node.id)) {
            *there = node;
        }
    }
    let lives: HashSet<NodeId> =
        known.iter().filter(|node| node.life == Life::Living).map(|node| node.id).chain(back.iter().copied()).collect();
    let imported: HashSet<NodeId> = known.iter().filter(|node| node.origin.is_some()).map(|node| node.id).collect();
    let mut follow: HashMap<NodeId, Option<NodeId>> = HashMap::new();
    for (index, node) in found.iter().enumerate().take(entries.len()) {
        let Some((node, origin)) = node.and_then(|node| Some((node, node.origin.as_ref()?))) else { continue };
        let now = node.placement.map(|placement| placement.folder_id);
        let before = match folder_of(&origin.path) {
            "" => Some(None),
            path => folder_at.get(path).map(|folder| Some(folder.id)),
        };
        let is_lost = now.is_some_and(|folder| !lives.contains(&folder));
        // While it was away, the folder of its path may have become another one.
        let is_back = back.contains(&node.id) && now.is_some_and(|folder| imported.contains(&folder));
        if before != Some(now) && !is_lost && !is_back {
            // Somebody put it there.
            continue;
        }
        let to = match desired(index) {
            Some(to) => to,
            None if is_lost => None,
            None => continue,
        };
        if to != now {
            follow.insert(node.id, to);
        }
    }
    without_circles(follow, &folders(known))
}

/// Somebody may have put a folder into one that was in it: then it stays where it is.
fn without_circles(
    mut follow: HashMap<NodeId, Option<NodeId>>,
    around: &HashMap<NodeId, NodeId>,
) -> HashMap<NodeId, Option<NodeId>> {
    loop {
        let up = |id: NodeId| match follow.get(&id) {
            Some(to) => *to,
            None => around.get(&id).copied(),
        };
        let is_circle = |id: NodeId| {
            let mut steps = std::iter::successors(up(id), |folder| up(*folder)).take(MAX_STEPS).enumerate();
            steps.any(|(step, folder)| folder == id || step + 1 == MAX_STEPS)
        };
        let mut wrong: Vec<NodeId> = follow.keys().copied().filter(|id| is_circle(*id)).collect();
        if wrong.is_empty() {
            return follow;
        }
        wrong.sort_unstable();
        follow.retain(|id, _| !wrong.contains(id));
    }
}

/// Nodes that come back lie where they lay, unless something was put there meanwhile, or the frame around them moved away;
/// `items` begin with those of the living nodes, in their order. What somebody had placed by hand comes back to its place in
/// any case.
pub(super) fn make_room(living: &[&KnownNode], back: &HashSet<NodeId>, items: &mut [Item]) {
    if back.is_empty() {
        return;
    }
    let mut there: HashMap<Option<usize>, Vec<Rect>> = HashMap::new();
    for (node, item) in living.iter().zip(items.iter()) {
        if !back.contains(&node.id) && !item.is_displaced {
            there.entry(item.parent).or_default().push(node.rect);
        }
    }
    let frames: Vec<Option<Rect>> = items.iter().map(|item| item.on_board).collect();
    let mut compared = 0;
    for (node, item) in living.iter().zip(items.iter_mut()) {
        let is_where_put = node.origin.as_ref().is_some_and(|origin| origin.is_where_put);
        if !back.contains(&node.id) || !is_where_put || item.is_displaced {
            continue;
        }
        let siblings = there.entry(item.parent).or_default();
        compared += siblings.len();
        if compared > MAX_COMPARED {
            return;
        }
        let frame = item.parent.and_then(|parent| frames.get(parent).copied().flatten());
        item.is_displaced = frame.is_some_and(|frame| !encloses(&frame, &node.rect))
            || siblings.iter().any(|other| overlap(&node.rect, other));
        if !item.is_displaced {
            siblings.push(node.rect);
        }
    }
}

fn encloses(frame: &Rect, rect: &Rect) -> bool {
    rect.x >= frame.x
        && rect.y >= frame.y
        && rect.x + rect.width <= frame.x + frame.width
        && rect.y + rect.height <= frame.y + frame.height
}

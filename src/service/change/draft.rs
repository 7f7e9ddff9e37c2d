//! A board while changes are applied to it: what was loaded, what is different now, and the rows that this comes to.
//!
//! Nothing here asks the database, so the rules can be read and tested by themselves. Loading is `mod.rs`; the rules for
//! nodes, folders and links have a file each beside this one.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::{
    AnyId, Board, BoardWrites, Child, Link, LinkId, LinkKind, Node, NodeId, NodeKind, NodeWrite, Placement, Refusal,
    Sealed,
};

/// What was read of the board under its lock.
#[derive(Default)]
pub(super) struct Loaded {
    /// Nodes that the changes name, wherever they are.
    pub(super) nodes: HashMap<NodeId, crate::domain::StoredNode>,
    /// Texts of nodes that are to be made and are there already.
    pub(super) contents: HashMap<NodeId, Option<String>>,
    /// Links that the changes name.
    pub(super) links: HashMap<LinkId, Link>,
    /// Links between ends that are to be linked.
    pub(super) pairs: HashMap<(NodeId, NodeId, LinkKind), LinkId>,
    /// The folder around each folder and around each node below one that is deleted or restored.
    pub(super) parents: HashMap<NodeId, NodeId>,
    /// What lies in the folders that take something.
    pub(super) children: HashMap<NodeId, Vec<Child>>,
    /// The folders that the caller is shut out of.
    pub(super) sealed: Sealed,
    /// Those of the nodes that lie in them: to the caller they are not there.
    pub(super) hidden: HashSet<NodeId>,
    /// What lies below nodes that are deleted or restored, with the deletion that took it.
    pub(super) below: HashMap<NodeId, Vec<(NodeId, Option<i64>)>>,
}

/// A node as it is now.
pub(super) struct DraftNode {
    pub(super) node: Node,
    /// As it was, unless it is new.
    pub(super) before: Option<Node>,
    pub(super) content: Option<Option<String>>,
}

/// The board as it is now.
pub(super) struct Draft {
    pub(super) board: Board,
    board_before: Board,
    pub(super) nodes: BTreeMap<NodeId, DraftNode>,
    /// Whether nodes live, where that was read or changed.
    life: HashMap<NodeId, bool>,
    was_living: HashMap<NodeId, bool>,
    pub(super) links: BTreeMap<LinkId, (Link, Option<Link>)>,
    pub(super) links_deleted: Vec<LinkId>,
    pub(super) loaded: Loaded,
    /// Folders with another password.
    pub(super) locked: BTreeMap<NodeId, Option<String>>,
    /// Nodes that the changes restore, all of them: a folder is back before what lies in it, in whatever order they are named.
    pub(super) restored: HashSet<NodeId>,
    /// Siblings that had to move for others, with their new places, and whether they lived when they were read.
    pub(super) renumbered: BTreeMap<NodeId, (Placement, bool)>,
    /// Nodes that the changes are about, in their order.
    touched_nodes: Vec<NodeId>,
    touched_links: Vec<LinkId>,
}

impl Draft {
    pub(super) fn new(board: Board, mut loaded: Loaded) -> Self {
        let mut nodes = BTreeMap::new();
        let mut was_living = HashMap::new();
        for (id, stored) in std::mem::take(&mut loaded.nodes) {
            if stored.node.board_id != board.id {
                // Known only as taken.
                loaded.nodes.insert(id, stored);
                continue;
            }
            was_living.insert(id, stored.deleted_at_us.is_none());
            if let Some(placement) = stored.node.placement {
                loaded.parents.insert(id, placement.folder_id);
            }
            let before = Some(stored.node.clone());
            loaded.nodes.insert(id, stored.clone());
            nodes.insert(id, DraftNode { node: stored.node, before, content: None });
        }
        for (id, deleted_at) in loaded.below.values().flatten() {
            was_living.entry(*id).or_insert(deleted_at.is_none());
        }
        let links = loaded.links.drain().map(|(id, link)| (id, (link.clone(), Some(link)))).collect();
        Draft {
            board_before: board.clone(),
            board,
            nodes,
            life: was_living.clone(),
            was_living,
            links,
            links_deleted: Vec::new(),
            loaded,
            locked: BTreeMap::new(),
            restored: HashSet::new(),
            renumbered: BTreeMap::new(),
            touched_nodes: Vec::new(),
            touched_links: Vec::new(),
        }
    }

    /// A living node of the board.
    pub(super) fn living(&self, field: &str, id: NodeId) -> Result<&DraftNode, Refusal> {
        self.nodes.get(&id).filter(|_| self.is_seen(id)).ok_or_else(|| no_node(field, id))
    }

    pub(super) fn living_mut(&mut self, field: &str, id: NodeId) -> Result<&mut DraftNode, Refusal> {
        if !self.is_seen(id) {
            return Err(no_node(field, id));
        }
        self.nodes.get_mut(&id).ok_or_else(|| no_node(field, id))
    }

    pub(super) fn is_living(&self, id: NodeId) -> bool {
        self.life.get(&id).copied().unwrap_or(false)
    }

    /// Whether a node is there for the caller.
    pub(super) fn is_seen(&self, id: NodeId) -> bool {
        self.is_living(id) && !self.loaded.hidden.contains(&id)
    }

    pub(super) fn was_living(&self, id: NodeId) -> bool {
        self.was_living.get(&id).copied().unwrap_or(false)
    }

    pub(super) fn set_living(&mut self, id: NodeId, is_living: bool) {
        self.life.insert(id, is_living);
    }

    /// The folder around a node, as it is now.
    pub(super) fn parent_of(&self, id: NodeId) -> Option<NodeId> {
        match self.nodes.get(&id) {
            Some(draft) => draft.node.placement.map(|placement| placement.folder_id),
            None => self.loaded.parents.get(&id).copied(),
        }
    }

    /// Whether `id` lies in `folder`, at any depth.
    pub(super) fn is_below(&self, id: NodeId, folder: NodeId) -> bool {
        let (mut at, mut seen) = (id, HashSet::new());
        while let Some(parent) = self.parent_of(at).filter(|parent| seen.insert(*parent)) {
            if parent == folder {
                return true;
            }
            at = parent;
        }
        false
    }

    pub(super) fn touch_node(&mut self, id: NodeId) {
        if !self.touched_nodes.contains(&id) {
            self.touched_nodes.push(id);
        }
    }

    pub(super) fn touch_link(&mut self, id: LinkId) {
        if !self.touched_links.contains(&id) {
            self.touched_links.push(id);
        }
    }

    /// Nodes and links that the changes are about, in their order.
    pub(super) fn touched(&self) -> (Vec<NodeId>, Vec<LinkId>) {
        (self.touched_nodes.clone(), self.touched_links.clone())
    }

    /// The rows that all this comes to.
    pub(super) fn into_writes(self) -> BoardWrites {
        let mut writes = BoardWrites::default();
        let living = |id: &NodeId| self.life.get(id).copied().unwrap_or(false);
        for (id, draft) in &self.nodes {
            // What was not there before and is not there afterwards, nobody has seen in between.
            if !living(id) && !self.was_living(*id) {
                continue;
            }
            let write =
                |kind_changed| NodeWrite { node: draft.node.clone(), content: draft.content.clone(), kind_changed };
            let placement = draft.node.placement;
            let placement_before = draft.before.as_ref().and_then(|before| before.placement);
            match &draft.before {
                None => writes.inserted.push(write(true)),
                Some(before) => {
                    writes.metadata_changed |= before.metadata != draft.node.metadata;
                    let kind_changed = before.kind != draft.node.kind || draft.content.is_some();
                    let as_before = Node { placement: before.placement, ..draft.node.clone() };
                    if kind_changed || as_before != *before {
                        writes.updated.push(write(kind_changed));
                    }
                }
            }
            match placement {
                Some(placement) if placement_before != Some(placement) => writes.placed.push((*id, placement)),
                None if placement_before.is_some() => writes.unplaced.push(*id),
                _ => {}
            }
        }
        let named: HashSet<NodeId> =
            writes.placed.iter().map(|(id, _)| *id).chain(writes.unplaced.iter().copied()).collect();
        for (id, (placement, was_living)) in &self.renumbered {
            if named.contains(id) {
                continue;
            }
            let is_living = self.life.get(id).copied().unwrap_or(*was_living);
            let list = if is_living { &mut writes.placed } else { &mut writes.placed_unseen };
            list.push((*id, *placement));
        }
        for (id, is_living) in &self.life {
            match (self.was_living.get(id), is_living) {
                (Some(true), false) => writes.deleted.push(*id),
                (Some(false), true) => writes.restored.push(*id),
                _ => {}
            }
        }
        writes.deleted.sort_unstable();
        writes.restored.sort_unstable();
        // A node that was made and deleted again was never there, and neither were its links.
        let was_made = |id: &NodeId| self.nodes.get(id).is_none_or(|draft| draft.before.is_some() || living(id));
        for (link, before) in self.links.values().cloned() {
            match before {
                None if !was_made(&link.from) || !was_made(&link.to) => {}
                None => writes.links_inserted.push(link),
                Some(before) if before != link => writes.links_updated.push(link),
                Some(_) => {}
            }
        }
        writes.links_deleted = self.links_deleted;
        writes.locked = self.locked.into_iter().collect();
        writes.board = (self.board != self.board_before).then_some(self.board);
        writes
    }
}

/// What a node that is not there, or not to be seen, looks like.
pub(super) fn no_node(field: &str, id: NodeId) -> Refusal {
    Refusal::not_found(field, format!("There is no node {id} on this board"))
}

/// A conflict with a node as it is now.
pub(super) fn conflict(field: &str, id: NodeId, fields: Vec<&'static str>, message: impl Into<String>) -> Refusal {
    Refusal::conflict(field, Some(AnyId::Node(id)), fields, message)
}

/// How many nodes a folder may hold, if `node` is a folder with such a limit.
pub(super) fn max_items(node: &Node) -> Option<i32> {
    match &node.kind {
        NodeKind::Folder(folder) => folder.max_items,
        _ => None,
    }
}

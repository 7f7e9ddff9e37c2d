//! One board's whole graph at one version: immutable, so that everything read from it fits together.
//!
//! It answers the same lists as `store/node_list.rs` and `store/link.rs` do in SQL; a test holds the two against each
//! other. When it is made, kept and let go is decided in `coherence.rs` and `mod.rs`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{
    BoardStats, Committed, Link, LinkDirection, LinkId, LinkList, LinkPageKey, MAX_FOLDER_DEPTH, Node, NodeId,
    NodeKind, NodeList, NodeOrder, NodeOrderKey, NodePageKey, NodeScope, NodeType, Page, Sealed, Snapshot,
    ports::BoardView,
};

/// A board's graph, indexed for the lists that the API offers.
pub(super) struct BoardState {
    version: i64,
    stats: BoardStats,
    nodes: HashMap<NodeId, Arc<Node>>,
    /// All nodes, oldest first.
    oldest: Vec<Arc<Node>>,
    /// Nodes in no folder, oldest first.
    roots: Vec<Arc<Node>>,
    /// By folder, in the order of their positions.
    children: HashMap<NodeId, Vec<Arc<Node>>>,
    /// All links by id.
    links: Vec<Arc<Link>>,
    /// Links at a node, by id.
    links_at: HashMap<NodeId, Vec<Arc<Link>>>,
    weight_bytes: u32,
}

fn sort(nodes: &mut [Arc<Node>], order: NodeOrder) {
    nodes.sort_by(|a, b| a.place(order.key).compare(&b.place(order.key), order.descending));
}

impl BoardState {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        let Snapshot { record, stats, nodes, links } = snapshot;
        BoardState::of(record.board.version, stats, nodes, links)
    }

    fn of(version: i64, stats: BoardStats, mut nodes: Vec<Arc<Node>>, mut links: Vec<Arc<Link>>) -> Self {
        let weight_bytes = nodes.iter().map(|node| node_bytes(node)).sum::<usize>()
            + links.iter().map(|link| link_bytes(link)).sum::<usize>();
        sort(&mut nodes, NodeOrder::OLDEST);
        links.sort_by_key(|link| link.id);
        let by_id: HashMap<NodeId, Arc<Node>> = nodes.iter().map(|node| (node.id, Arc::clone(node))).collect();
        let mut roots = Vec::new();
        let mut children: HashMap<NodeId, Vec<Arc<Node>>> = HashMap::new();
        for node in &nodes {
            match node.placement {
                Some(placement) => children.entry(placement.folder_id).or_default().push(Arc::clone(node)),
                None => roots.push(Arc::clone(node)),
            }
        }
        for siblings in children.values_mut() {
            sort(siblings, NodeOrder { key: NodeOrderKey::Position, descending: false });
        }
        let mut links_at: HashMap<NodeId, Vec<Arc<Link>>> = HashMap::new();
        for link in &links {
            links_at.entry(link.from).or_default().push(Arc::clone(link));
            links_at.entry(link.to).or_default().push(Arc::clone(link));
        }
        BoardState {
            version,
            stats,
            nodes: by_id,
            oldest: nodes,
            roots,
            children,
            links,
            links_at,
            weight_bytes: u32::try_from(weight_bytes).unwrap_or(u32::MAX),
        }
    }

    /// The board after the next change.
    pub(super) fn after(&self, committed: &Committed) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &committed.nodes {
            nodes.insert(node.id, Arc::clone(node));
        }
        for id in &committed.deleted {
            nodes.remove(id);
        }
        let gone: HashSet<LinkId> =
            committed.links_deleted.iter().copied().chain(committed.links.iter().map(|link| link.id)).collect();
        let kept = self.links.iter().filter(|link| !gone.contains(&link.id)).chain(&committed.links);
        // Links go with their ends.
        let is_visible = |link: &Link| nodes.contains_key(&link.from) && nodes.contains_key(&link.to);
        let links = kept.filter(|link| is_visible(link)).map(Arc::clone).collect();
        BoardState::of(committed.record.board.version, committed.stats, nodes.into_values().collect(), links)
    }

    /// The board as somebody sees it who is shut out of these folders.
    pub(super) fn without(&self, sealed: &Sealed) -> Self {
        let hidden: HashSet<NodeId> = sealed
            .folders()
            .iter()
            .flat_map(|folder| self.descendants(*folder, MAX_FOLDER_DEPTH))
            .map(|node| node.id)
            .collect();
        let nodes: Vec<Arc<Node>> = self.oldest.iter().filter(|node| !hidden.contains(&node.id)).cloned().collect();
        let is_visible = |link: &&Arc<Link>| !hidden.contains(&link.from) && !hidden.contains(&link.to);
        let links: Vec<Arc<Link>> = self.links.iter().filter(is_visible).cloned().collect();
        let of = |kind: NodeType| nodes.iter().filter(|node| node.node_type() == kind).count() as i32;
        let stats = BoardStats {
            node_count: nodes.len() as i32,
            link_count: links.len() as i32,
            resource_count: of(NodeType::Resource),
            chat_count: of(NodeType::Chat),
            folder_count: of(NodeType::Folder),
            // A change in there is nobody's business out here.
            last_modified: nodes.iter().map(|node| node.updated_at).max(),
        };
        BoardState::of(self.version, stats, nodes, links)
    }

    /// The board version it shows.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// About what it takes in memory.
    pub(super) fn weight_bytes(&self) -> u32 {
        self.weight_bytes
    }

    fn children_of(&self, folder: NodeId) -> &[Arc<Node>] {
        self.children.get(&folder).map(Vec::as_slice).unwrap_or_default()
    }

    fn links_of(&self, node: NodeId) -> &[Arc<Link>] {
        self.links_at.get(&node).map(Vec::as_slice).unwrap_or_default()
    }

    /// The list as it is kept, if no condition and no other order asks for more than taking a part of it.
    fn kept(&self, list: &NodeList) -> Option<&[Arc<Node>]> {
        if list.filter != crate::domain::NodeFilter::default() || list.order.descending {
            return None;
        }
        match (list.scope, list.order.key) {
            (NodeScope::Board, NodeOrderKey::Created) => Some(&self.oldest),
            (NodeScope::Roots, NodeOrderKey::Created) => Some(&self.roots),
            (NodeScope::ChildrenOf(folder), NodeOrderKey::Position) => Some(self.children_of(folder)),
            _ => None,
        }
    }

    fn members(&self, list: &NodeList) -> Vec<Arc<Node>> {
        let matching = |nodes: &[Arc<Node>]| -> Vec<Arc<Node>> {
            nodes.iter().filter(|node| list.filter.matches(node)).map(Arc::clone).collect()
        };
        match list.scope {
            NodeScope::Board => matching(&self.oldest),
            NodeScope::Roots => matching(&self.roots),
            NodeScope::ChildrenOf(folder) => matching(self.children_of(folder)),
            NodeScope::DescendantsOf(folder, max_depth) => matching(&self.descendants(folder, max_depth)),
            NodeScope::LinkedWith(node, direction) => matching(&self.linked(node, direction, list)),
        }
    }

    fn descendants(&self, folder: NodeId, max_depth: i32) -> Vec<Arc<Node>> {
        let mut found: Vec<Arc<Node>> = Vec::new();
        let mut level = vec![folder];
        for _ in 0..max_depth {
            let below: Vec<Arc<Node>> =
                level.iter().flat_map(|folder| self.children_of(*folder)).map(Arc::clone).collect();
            if below.is_empty() {
                break;
            }
            level = below.iter().map(|node| node.id).collect();
            found.extend(below);
        }
        found
    }

    fn linked(&self, node: NodeId, direction: LinkDirection, list: &NodeList) -> Vec<Arc<Node>> {
        let mut seen = HashSet::new();
        self.links_of(node)
            .iter()
            .filter(|link| list.link_kinds.is_empty() || list.link_kinds.contains(&link.kind))
            .filter_map(|link| match direction {
                LinkDirection::Out => (link.from == node).then_some(link.to),
                LinkDirection::In => (link.to == node).then_some(link.from),
                LinkDirection::Any => Some(if link.from == node { link.to } else { link.from }),
            })
            .filter(|other| seen.insert(*other))
            .filter_map(|other| self.node(other))
            .collect()
    }
}

impl BoardView for BoardState {
    fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes.get(&id).cloned()
    }

    fn node_page(&self, NodePageKey { list, page }: &NodePageKey) -> Page<Arc<Node>> {
        let NodeOrder { key, descending } = list.order;
        if let Some(kept) = self.kept(list) {
            return page.slice(kept, descending, |node| node.place(key));
        }
        let mut nodes = self.members(list);
        sort(&mut nodes, list.order);
        page.slice(&nodes, descending, |node| node.place(key))
    }

    fn node_count(&self, list: &NodeList) -> i64 {
        self.kept(list).map_or_else(|| self.members(list).len(), <[_]>::len) as i64
    }

    fn ancestors(&self, id: NodeId) -> Vec<Arc<Node>> {
        let mut folders = Vec::new();
        let mut at = self.nodes.get(&id);
        for _ in 0..MAX_FOLDER_DEPTH {
            at = at.and_then(|node| node.placement).and_then(|placement| self.nodes.get(&placement.folder_id));
            let Some(folder) = at else { break };
            folders.push(Arc::clone(folder));
        }
        folders.reverse();
        folders
    }

    fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        let place = self.links.binary_search_by_key(&id, |link| link.id).ok()?;
        self.links.get(place).cloned()
    }

    fn link_page(&self, LinkPageKey { list, page }: &LinkPageKey) -> Page<Arc<Link>> {
        let kept = list.node.map_or(self.links.as_slice(), |(node, _)| self.links_of(node));
        if list.node.is_none() && list.kinds.is_empty() {
            return page.slice(kept, false, |link| link.place());
        }
        let links: Vec<Arc<Link>> = kept.iter().filter(|link| list.contains(link)).map(Arc::clone).collect();
        page.slice(&links, false, |link| link.place())
    }

    fn link_count(&self, list: &LinkList) -> i64 {
        let kept = list.node.map_or(self.links.as_slice(), |(node, _)| self.links_of(node));
        kept.iter().filter(|link| list.contains(link)).count() as i64
    }

    fn stats(&self) -> BoardStats {
        self.stats
    }
}

/// Indexes, allocations and reference counts around one row.
const ROW_OVERHEAD_BYTES: usize = 256;

fn node_bytes(node: &Node) -> usize {
    let kind = match &node.kind {
        NodeKind::Resource(resource) => {
            let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            size_of_val(resource.as_ref())
                + text(&resource.title)
                + text(&resource.url)
                + text(&resource.processing_error)
                + resource.key_points.iter().map(|point| point.len() + 24).sum::<usize>()
        }
        NodeKind::Chat(chat) => {
            size_of_val(chat.as_ref()) + chat.model.len() + chat.system_prompt.as_ref().map_or(0, String::len)
        }
        NodeKind::Folder(folder) => {
            size_of_val(folder.as_ref()) + folder.name.len() + folder.description.as_ref().map_or(0, String::len)
        }
    };
    size_of::<Node>() + node.name_key.len() + json_bytes(&node.metadata) + kind + ROW_OVERHEAD_BYTES
}

fn link_bytes(link: &Link) -> usize {
    size_of::<Link>() + json_bytes(&link.style) + json_bytes(&link.metadata) + ROW_OVERHEAD_BYTES
}

fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(json_bytes).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + 48 + json_bytes(value)).sum(),
            _ => 0,
        }
}

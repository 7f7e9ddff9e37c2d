//! Links between nodes of one board (table `connections`).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, Cursor, LinkId, NodeId, PageRequest, Sealed, SortKey, words::words};

words!(
    /// What a link means.
    LinkKind {
        /// What is at the start is input of what is at the end.
        DataFlow = "data_flow",
        /// The start refers to the end.
        Reference = "reference",
        /// The end is part of the start.
        Hierarchy = "hierarchy",
    }
);

/// A link between two nodes of one board.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// The board of both ends.
    pub board_id: BoardId,
    /// Where it starts.
    pub from: NodeId,
    /// Where it ends.
    pub to: NodeId,
    /// What it means.
    pub kind: LinkKind,
    /// Text on the line.
    pub label: Option<String>,
    /// How it is drawn.
    pub style: Value,
    /// Free data.
    pub metadata: Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Links are listed in the order of their ids, which is that of their making.
pub const LINK_ORDER: &str = "link";

impl Link {
    /// Place of the link in lists.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Int(0), id: self.id.0 }
    }
}

/// Which ends of links are looked at, seen from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkDirection {
    /// Links that end at the node.
    In,
    /// Links that start at the node.
    Out,
    /// Both.
    Any,
}

/// A list of links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkList {
    /// On which board.
    pub board_id: BoardId,
    /// Only links of this node, in this direction.
    pub node: Option<(NodeId, LinkDirection)>,
    /// Only these kinds; empty for all.
    pub kinds: Vec<LinkKind>,
    /// Links to what lies in these folders are left out; the loaders fill it in.
    pub sealed: Sealed,
}

impl LinkList {
    /// Whether a link belongs to the list.
    #[must_use]
    pub fn contains(&self, link: &Link) -> bool {
        let at_node = self.node.is_none_or(|(node, direction)| match direction {
            LinkDirection::In => link.to == node,
            LinkDirection::Out => link.from == node,
            LinkDirection::Any => link.to == node || link.from == node,
        });
        link.board_id == self.board_id && at_node && (self.kinds.is_empty() || self.kinds.contains(&link.kind))
    }
}

/// A page of a list of links: what a loader is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkPageKey {
    /// The list.
    pub list: LinkList,
    /// The part of it.
    pub page: PageRequest,
}

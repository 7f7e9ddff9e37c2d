//! What lies on a board: the interface of all nodes, what they share, and lists of them. The three kinds have a file each.

#![allow(clippy::duplicated_attributes, reason = "an interface has one attribute per field and argument")]

use std::sync::Arc;

use async_graphql::{ContextSelectionSet, ID, Interface, ServerResult, SimpleObject};
use chrono::{DateTime, Utc};
use serde_json::Value;

pub(super) use super::node_list::{NodeFilter, NodeOrder, NodeType, Rect};
use super::{
    board::Board,
    chat::ChatNode,
    folder::FolderNode,
    link::{LinkConnection, LinkDirection, LinkKind, LinkRows},
    page::connection,
    resource::ResourceNode,
    rows::{Row, Rows, Selected},
    scope::Scope,
};
use crate::domain::{self, LINK_ORDER, LinkList, LinkPageKey, NodeKind, NodeList, NodePageKey, NodeScope, PageRequest};

/// What all nodes share: a node in its scope.
#[derive(Clone)]
pub(super) struct NodeObject {
    pub(super) scope: Scope,
    pub(super) node: Arc<domain::Node>,
}

impl NodeObject {
    /// A list of nodes that starts from this one.
    pub(super) async fn list(
        &self,
        scope: NodeScope,
        link_kinds: Vec<domain::LinkKind>,
        types: Option<Vec<NodeType>>,
        order: domain::NodeOrder,
        page: PageArguments,
    ) -> domain::Result<BoardNodeConnection> {
        let page = page.settled(order.name())?;
        let filter = NodeFilter::conditions(None, types, None)?;
        let list = NodeList {
            board_id: self.node.board_id,
            scope,
            link_kinds,
            filter,
            order,
            sealed: domain::Sealed::default(),
        };
        NodeRows::read(&self.scope, NodePageKey { list, page }).await
    }

    pub(super) async fn parent(&self) -> domain::Result<Option<FolderNode>> {
        let Some(placement) = self.node.placement else { return Ok(None) };
        let folder = self.scope.loaders().node(&self.scope.board, placement.folder_id).await?;
        Ok(folder.map(|node| FolderNode::new(&self.scope, &node)))
    }

    pub(super) async fn ancestors(&self) -> domain::Result<Rows<FolderNode>> {
        if self.node.placement.is_none() {
            return Ok(Rows(Vec::new()));
        }
        let folders = self.scope.loaders().ancestors(&self.scope.board, self.node.id).await?;
        Ok(folders.iter().map(|node| FolderNode::new(&self.scope, node)).collect())
    }

    pub(super) async fn links(
        &self,
        direction: LinkDirection,
        kinds: Option<Vec<LinkKind>>,
        page: PageArguments,
    ) -> domain::Result<LinkConnection> {
        let node = Some((self.node.id, direction.into()));
        let list = LinkList {
            board_id: self.node.board_id,
            node,
            kinds: LinkKind::settled(kinds),
            sealed: domain::Sealed::default(),
        };
        LinkRows::read(&self.scope, LinkPageKey { list, page: page.settled(LINK_ORDER)? }).await
    }

    pub(super) async fn linked_nodes(
        &self,
        direction: LinkDirection,
        kinds: Option<Vec<LinkKind>>,
        page: PageArguments,
    ) -> domain::Result<BoardNodeConnection> {
        let scope = NodeScope::LinkedWith(self.node.id, direction.into());
        self.list(scope, LinkKind::settled(kinds), None, domain::NodeOrder::OLDEST, page).await
    }
}

/// What the arguments of a list say about its page.
pub(super) struct PageArguments {
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
}

impl PageArguments {
    pub(super) fn new(first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>) -> Self {
        PageArguments { first, after, last, before }
    }

    pub(super) fn settled(self, order: &str) -> domain::Result<PageRequest> {
        PageRequest::new(self.first, self.after.as_deref(), self.last, self.before.as_deref(), order)
    }
}

// What waits is boxed by itself: a resolver's future holds those of all its fields, and is moved for each field of each
// row, so that what is in it counts more than one allocation where something is read.

/// Defines a kind of node: the fields that all nodes share, its own fields, and its own lists. A list names the method that
/// reads it; its paging arguments are added here.
macro_rules! node_object {
    (
        $(#[doc = $doc:literal])+ $name:ident
        lists { $(
            $(#[doc = $list_doc:literal])+ $list:ident($($argument:ident: $argument_type:ty = $argument_doc:literal),*) by $read:ident;
        )* }
        fields { $($own:tt)* }
    ) => {
        $(#[doc = $doc])+
        pub(super) struct $name(pub(super) $crate::graphql::node::NodeObject);

        $crate::graphql::rows::row!($name);

        impl $name {
            pub(super) fn new(
                scope: &$crate::graphql::scope::Scope,
                node: &std::sync::Arc<$crate::domain::Node>,
            ) -> Self {
                $name($crate::graphql::node::NodeObject { scope: scope.clone(), node: std::sync::Arc::clone(node) })
            }
        }

        $(#[doc = $doc])+
        #[async_graphql::Object]
        impl $name {
            /// Global id, `node_…`.
            pub(super) async fn id(&self) -> async_graphql::ID {
                $crate::graphql::scalar::id(self.0.node.id)
            }

            /// The board it lies on; a node never changes its board.
            pub(super) async fn board(&self) -> $crate::graphql::board::Board {
                $crate::graphql::board::Board(self.0.scope.clone())
            }

            /// Left upper corner.
            pub(super) async fn position(&self) -> $crate::graphql::node::Point {
                $crate::graphql::node::Point { x: self.0.node.rect.x, y: self.0.node.rect.y }
            }

            /// Width and height.
            pub(super) async fn size(&self) -> $crate::graphql::node::Size {
                $crate::graphql::node::Size { width: self.0.node.rect.width, height: self.0.node.rect.height }
            }

            /// Height on the canvas: higher lies above.
            pub(super) async fn z_index(&self) -> i32 {
                self.0.node.z_index
            }

            /// Whether it is not to be moved by hand.
            pub(super) async fn is_locked(&self) -> bool {
                self.0.node.is_locked
            }

            /// Free data of the frontend and of importers.
            pub(super) async fn metadata(&self) -> async_graphql::Result<&serde_json::Value> {
                let metadata = &self.0.node.metadata;
                self.0.scope.session.budget.take_bytes($crate::graphql::budget::size_of_json(metadata))?;
                Ok(metadata)
            }

            /// The version of the board at the last change of this node.
            pub(super) async fn version(&self) -> i64 {
                self.0.node.version
            }

            /// When it was made.
            pub(super) async fn created_at(&self) -> chrono::DateTime<chrono::Utc> {
                self.0.node.created_at
            }

            /// When it last changed.
            pub(super) async fn updated_at(&self) -> chrono::DateTime<chrono::Utc> {
                self.0.node.updated_at
            }

            /// The folder that holds it; null when none does.
            pub(super) async fn parent(&self) -> async_graphql::Result<Option<$crate::graphql::folder::FolderNode>> {
                Ok(Box::pin(self.0.parent()).await?)
            }

            /// The folders around it, outermost first.
            pub(super) async fn ancestors(&self) -> async_graphql::Result<$crate::graphql::rows::Rows<$crate::graphql::folder::FolderNode>> {
                Ok(Box::pin(self.0.ancestors()).await?)
            }

            /// Links that start or end here, the oldest first.
            pub(super) async fn links(
                &self,
                #[graphql(default_with = "super::link::LinkDirection::Any", desc = "Which ends are meant.")]
                direction: $crate::graphql::link::LinkDirection,
                #[graphql(desc = "Only these kinds; none or empty for all.")]
                kinds: Option<Vec<$crate::graphql::link::LinkKind>>,
                #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
                #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
            ) -> async_graphql::Result<$crate::graphql::link::LinkConnection> {
                let page = $crate::graphql::node::PageArguments::new(first, after, last, before);
                Ok(Box::pin(self.0.links(direction, kinds, page)).await?)
            }

            /// Nodes at the other end of its links, each once, the oldest first.
            pub(super) async fn linked_nodes(
                &self,
                #[graphql(
                    default_with = "super::link::LinkDirection::Any",
                    desc = "Which links are followed: those that start here lead to their ends, and the other way round."
                )]
                direction: $crate::graphql::link::LinkDirection,
                #[graphql(desc = "Only links of these kinds; none or empty for all.")]
                kinds: Option<Vec<$crate::graphql::link::LinkKind>>,
                #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
                #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
            ) -> async_graphql::Result<$crate::graphql::node::BoardNodeConnection> {
                let page = $crate::graphql::node::PageArguments::new(first, after, last, before);
                Ok(Box::pin(self.0.linked_nodes(direction, kinds, page)).await?)
            }

            $(
                $(#[doc = $list_doc])+
                async fn $list(
                    &self,
                    $(#[graphql(desc = $argument_doc)] $argument: $argument_type,)*
                    #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                    #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
                    #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                    #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
                ) -> async_graphql::Result<$crate::graphql::node::BoardNodeConnection> {
                    let page = $crate::graphql::node::PageArguments::new(first, after, last, before);
                    Ok(Box::pin(self.$read($($argument,)* page)).await?)
                }
            )*

            $($own)*
        }
    };
}

pub(super) use node_object;

/// Something on a board: a resource, an AI chat or a folder.
#[derive(Interface)]
#[graphql(
    field(name = "id", ty = "ID", desc = "Global id, `node_…`."),
    field(name = "board", ty = "Board", desc = "The board it lies on; a node never changes its board."),
    field(name = "position", ty = "Point", desc = "Left upper corner."),
    field(name = "size", ty = "Size", desc = "Width and height."),
    field(name = "z_index", ty = "i32", desc = "Height on the canvas: higher lies above."),
    field(name = "is_locked", ty = "bool", desc = "Whether it is not to be moved by hand."),
    field(name = "metadata", ty = "&Value", desc = "Free data of the frontend and of importers."),
    field(name = "version", ty = "i64", desc = "The version of the board at the last change of this node."),
    field(name = "created_at", ty = "DateTime<Utc>", desc = "When it was made."),
    field(name = "updated_at", ty = "DateTime<Utc>", desc = "When it last changed."),
    field(name = "parent", ty = "Option<FolderNode>", desc = "The folder that holds it; null when none does."),
    field(name = "ancestors", ty = "Rows<FolderNode>", desc = "The folders around it, outermost first."),
    field(
        name = "links",
        ty = "LinkConnection",
        desc = "Links that start or end here, the oldest first.",
        arg(
            name = "direction",
            ty = "LinkDirection",
            default_with = "LinkDirection::Any",
            desc = "Which ends are meant."
        ),
        arg(name = "kinds", ty = "Option<Vec<LinkKind>>", desc = "Only these kinds; none or empty for all."),
        arg(name = "first", ty = "Option<i32>", desc = "How many from the start, 1 to 100."),
        arg(name = "after", ty = "Option<String>", desc = "Only what comes after this cursor."),
        arg(name = "last", ty = "Option<i32>", desc = "How many from the end, 1 to 100."),
        arg(name = "before", ty = "Option<String>", desc = "Only what comes before this cursor.")
    ),
    field(
        name = "linked_nodes",
        ty = "BoardNodeConnection",
        desc = "Nodes at the other end of its links, each once, the oldest first.",
        arg(
            name = "direction",
            ty = "LinkDirection",
            default_with = "LinkDirection::Any",
            desc = "Which links are followed: those that start here lead to their ends, and the other way round."
        ),
        arg(name = "kinds", ty = "Option<Vec<LinkKind>>", desc = "Only links of these kinds; none or empty for all."),
        arg(name = "first", ty = "Option<i32>", desc = "How many from the start, 1 to 100."),
        arg(name = "after", ty = "Option<String>", desc = "Only what comes after this cursor."),
        arg(name = "last", ty = "Option<i32>", desc = "How many from the end, 1 to 100."),
        arg(name = "before", ty = "Option<String>", desc = "Only what comes before this cursor.")
    )
)]
pub(super) enum BoardNode {
    /// A text, link, document or medium.
    Resource(ResourceNode),
    /// An AI chat.
    Chat(ChatNode),
    /// A folder.
    Folder(FolderNode),
}

impl Row for BoardNode {
    fn select<'a>(&'a self, object: &mut Selected<'a>, place: &'a ContextSelectionSet<'a>) -> ServerResult<()> {
        match self {
            BoardNode::Resource(node) => object.add(place, node),
            BoardNode::Chat(node) => object.add(place, node),
            BoardNode::Folder(node) => object.add(place, node),
        }
    }
}

impl BoardNode {
    pub(super) fn new(scope: &Scope, node: &Arc<domain::Node>) -> Self {
        match node.kind {
            NodeKind::Resource(_) => BoardNode::Resource(ResourceNode::new(scope, node)),
            NodeKind::Chat(_) => BoardNode::Chat(ChatNode::new(scope, node)),
            NodeKind::Folder(_) => BoardNode::Folder(FolderNode::new(scope, node)),
        }
    }
}

/// A point of the canvas, in its pixels.
#[derive(SimpleObject)]
#[graphql(serial)]
pub(super) struct Point {
    /// To the right.
    pub(super) x: f64,
    /// Downwards.
    pub(super) y: f64,
}

/// A size on the canvas, in its pixels.
#[derive(SimpleObject)]
#[graphql(serial)]
pub(super) struct Size {
    /// To the right.
    pub(super) width: f64,
    /// Downwards.
    pub(super) height: f64,
}

/// A list of nodes: what its connection needs besides the rows.
pub(super) struct NodeRows {
    scope: Scope,
    list: NodeList,
}

impl NodeRows {
    pub(super) async fn read(scope: &Scope, key: NodePageKey) -> domain::Result<BoardNodeConnection> {
        let list = key.list.clone();
        let page = scope.loaders().node_page(&scope.board, key).await?;
        Ok(BoardNodeConnection::new(page, Arc::new(NodeRows { scope: scope.clone(), list })))
    }

    fn node(&self, node: &Arc<domain::Node>) -> BoardNode {
        BoardNode::new(&self.scope, node)
    }

    fn cursor(&self, node: &Arc<domain::Node>) -> String {
        node.place(self.list.order.key).encode(self.list.order.name())
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.scope.loaders().node_count(&self.scope.board, self.list.clone()).await
    }
}

impl BoardNodeEdge {
    /// A node at its place among all of its board, the oldest first.
    pub(super) fn of_board(scope: &Scope, node: &Arc<domain::Node>) -> Self {
        let list = NodeList {
            board_id: node.board_id,
            scope: NodeScope::Board,
            link_kinds: Vec::new(),
            filter: domain::NodeFilter::default(),
            order: domain::NodeOrder::OLDEST,
            sealed: domain::Sealed::default(),
        };
        BoardNodeEdge::new(Arc::clone(node), Arc::new(NodeRows { scope: scope.clone(), list }))
    }
}

connection!(BoardNodeConnection, BoardNodeEdge, BoardNode, Arc<domain::Node>, NodeRows, "nodes");

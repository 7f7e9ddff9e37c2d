//! Links between nodes of one board.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    board::Board, budget::size_of_json, node::BoardNode, page::connection, rows::row, scalar::id, scope::Scope,
};
use crate::domain::{self, Error, LINK_ORDER, LinkList, LinkPageKey, NodeId};

/// A link from one node to another on the same board. (`Connection` means a page of a list in this API.)
pub(super) struct Link {
    scope: Scope,
    link: Arc<domain::Link>,
}

row!(Link);

impl Link {
    pub(super) fn new(scope: &Scope, link: &Arc<domain::Link>) -> Self {
        Link { scope: scope.clone(), link: Arc::clone(link) }
    }

    fn counted<'a>(&self, value: &'a Value) -> Result<&'a Value> {
        self.scope.session.budget.take_bytes(size_of_json(value))?;
        Ok(value)
    }

    /// Links are visible only while both ends live; an end that was deleted in between is reported as such.
    async fn end(&self, node: NodeId) -> Result<BoardNode> {
        let node = self.scope.loaders().node(&self.scope.board, node).await?;
        let node = node.ok_or_else(|| Error::invalid("This end of the link was deleted a moment ago; read again"))?;
        Ok(BoardNode::new(&self.scope, &node))
    }
}

/// A link from one node to another on the same board. (`Connection` means a page of a list in this API.)
#[Object]
impl Link {
    /// Global id, `link_…`.
    pub(super) async fn id(&self) -> ID {
        id(self.link.id)
    }

    /// The board of both ends.
    async fn board(&self) -> Board {
        Board(self.scope.clone())
    }

    /// Where it starts.
    async fn from(&self) -> Result<BoardNode> {
        Box::pin(self.end(self.link.from)).await
    }

    /// Id of the node where it starts, for clients that have the nodes already.
    async fn from_id(&self) -> ID {
        id(self.link.from)
    }

    /// Id of the node where it ends.
    async fn to_id(&self) -> ID {
        id(self.link.to)
    }

    /// Where it ends.
    async fn to(&self) -> Result<BoardNode> {
        Box::pin(self.end(self.link.to)).await
    }

    /// What it means.
    async fn kind(&self) -> LinkKind {
        self.link.kind.into()
    }

    /// Text on the line.
    async fn label(&self) -> Option<&str> {
        self.link.label.as_deref()
    }

    /// How it is drawn: `stroke`, `color` and what else the frontend put there.
    async fn style(&self) -> Result<&Value> {
        self.counted(&self.link.style)
    }

    /// Free data of the frontend and of importers.
    async fn metadata(&self) -> Result<&Value> {
        self.counted(&self.link.metadata)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.link.created_at
    }
}

/// What a link means.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::LinkKind")]
pub(super) enum LinkKind {
    /// What is at the start is input of what is at the end.
    DataFlow,
    /// The start refers to the end.
    Reference,
    /// The end is part of the start.
    Hierarchy,
}

impl LinkKind {
    pub(super) fn settled(kinds: Option<Vec<Self>>) -> Vec<domain::LinkKind> {
        let mut settled: Vec<domain::LinkKind> = Vec::new();
        for kind in kinds.unwrap_or_default().into_iter().map(domain::LinkKind::from) {
            if !settled.contains(&kind) {
                settled.push(kind);
            }
        }
        settled
    }
}

/// Which links of a node are meant.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::LinkDirection")]
pub(super) enum LinkDirection {
    /// Those that end at it.
    In,
    /// Those that start at it.
    Out,
    /// Both.
    Any,
}

/// A list of links: what its connection needs besides the rows.
pub(super) struct LinkRows {
    scope: Scope,
    list: LinkList,
}

impl LinkRows {
    pub(super) async fn read(scope: &Scope, key: LinkPageKey) -> domain::Result<LinkConnection> {
        let list = key.list.clone();
        let page = scope.loaders().link_page(&scope.board, key).await?;
        Ok(LinkConnection::new(page, Arc::new(LinkRows { scope: scope.clone(), list })))
    }

    fn node(&self, link: &Arc<domain::Link>) -> Link {
        Link::new(&self.scope, link)
    }

    fn cursor(&self, link: &Arc<domain::Link>) -> String {
        link.place().encode(LINK_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.scope.loaders().link_count(&self.scope.board, self.list.clone()).await
    }
}

impl LinkEdge {
    /// A link at its place among all of its board, the oldest first.
    pub(super) fn of_board(scope: &Scope, link: &Arc<domain::Link>) -> Self {
        let list =
            LinkList { board_id: link.board_id, node: None, kinds: Vec::new(), sealed: domain::Sealed::default() };
        LinkEdge::new(Arc::clone(link), Arc::new(LinkRows { scope: scope.clone(), list }))
    }
}

connection!(LinkConnection, LinkEdge, Link, Arc<domain::Link>, LinkRows, "links");

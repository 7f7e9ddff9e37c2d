//! What can be changed on a board, and what a transaction has to write for it.
//!
//! A change is what a caller asks for; [`BoardWrites`] is what it comes to, as rows. Between the two lies
//! `service/change`, which knows the rules. [`Logged`] is what the change log remembers.

use std::sync::Arc;

use super::{
    AccountUsage, Board, BoardId, BoardRecord, BoardStats, Limits, Link, LinkId, LinkKind, Node, NodeId, NodeType,
    Placement, Refusal, TokenDigest, UserId,
};

/// Changes in one request.
pub const MAX_CHANGES: usize = 1_000;

/// What one caller wants changed on one board: all of it, in this order, or nothing.
pub struct ChangeSet {
    /// The board.
    pub board_id: BoardId,
    /// What to say when there is no such board, or not for the caller. It names what the caller named, and nothing more.
    pub absent: Refusal,
    /// The version of the board that the caller knows, if it insists on that.
    pub expected_version: Option<i64>,
    /// The changes; a later one may use what an earlier one creates.
    pub changes: Vec<Change>,
}

/// One change, and where it stands in the input.
pub struct Change {
    /// Path of its part of the input, for refusals.
    pub path: Vec<String>,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done.
pub enum Action {
    /// Makes a node; the same node again is the same creation.
    CreateNode {
        /// Chosen by the caller or fresh.
        id: NodeId,
        /// Which kind.
        node_type: NodeType,
        /// Everything that is not as by default.
        edit: Box<dyn NodeEdit>,
        /// The folder that takes it; none for the board itself.
        place: Option<Place>,
    },
    /// Changes what is given of a node.
    EditNode {
        /// The node.
        id: NodeId,
        /// The version of the node that the caller knows, if it insists on that.
        expected_version: Option<i64>,
        /// What is given.
        edit: Box<dyn NodeEdit>,
    },
    /// Gives a folder a password, another one, or none.
    LockFolder {
        /// The folder.
        id: NodeId,
        /// Hash of the password; none to take it away.
        password_hash: Option<String>,
    },
    /// Puts a node into a folder, at another place there, or out of all folders.
    PlaceNode {
        /// The node.
        id: NodeId,
        /// Where to; none for the board itself.
        place: Option<Place>,
    },
    /// Deletes a node, a folder with all that is in it.
    DeleteNode {
        /// The node.
        id: NodeId,
        /// The version of the node that the caller knows, if it insists on that.
        expected_version: Option<i64>,
    },
    /// Brings a deleted node back, a folder with all that was deleted with it.
    RestoreNode {
        /// The node.
        id: NodeId,
    },
    /// Makes a link; the same link again is the same creation.
    CreateLink {
        /// Chosen by the caller or fresh.
        id: LinkId,
        /// Where it starts.
        from: NodeId,
        /// Where it ends.
        to: NodeId,
        /// What it means.
        kind: LinkKind,
        /// Everything that is not as by default.
        edit: Box<dyn LinkEdit>,
    },
    /// Changes what is given of a link.
    EditLink {
        /// The link.
        id: LinkId,
        /// What is given.
        edit: Box<dyn LinkEdit>,
    },
    /// Removes a link for good.
    DeleteLink {
        /// The link.
        id: LinkId,
    },
    /// Changes what is given of the board itself.
    EditBoard {
        /// What is given.
        edit: Box<dyn BoardEdit>,
    },
}

/// The folder that takes a node, and where among what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub folder_id: NodeId,
    /// Where in it.
    pub spot: Spot,
}

/// A place among siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
    /// Right before a sibling.
    Before(NodeId),
    /// Right behind a sibling.
    After(NodeId),
}

/// The parts of a node that a caller gave.
pub trait NodeEdit: Send + Sync {
    /// Names of what is given, in the spelling of the API.
    fn fields(&self) -> Vec<&'static str>;
    /// The kind it is for; none for any.
    fn node_type(&self) -> Option<NodeType>;
    /// Writes what is given into a node.
    fn apply(&self, node: &mut Node);
    /// The new text of a resource, if it is given.
    fn content(&self) -> Option<&Option<String>> {
        None
    }
}

/// The parts of a link that a caller gave.
pub trait LinkEdit: Send + Sync {
    /// Names of what is given, in the spelling of the API.
    fn fields(&self) -> Vec<&'static str>;
    /// Writes what is given into a link.
    fn apply(&self, link: &mut Link);
}

/// The parts of a board that a caller gave.
pub trait BoardEdit: Send + Sync {
    /// Names of what is given, in the spelling of the API.
    fn fields(&self) -> Vec<&'static str>;
    /// Whether it says who may see the board, which is for its owner alone.
    fn is_for_owner(&self) -> bool;
    /// Writes what is given into a board.
    fn apply(&self, board: &mut Board);
}

/// A node as it is stored, deleted or not.
#[derive(Clone, Debug)]
pub struct StoredNode {
    /// The node.
    pub node: Node,
    /// Which deletion took it, in microseconds since 1970: what was deleted together has the same; none while it lives.
    pub deleted_at_us: Option<i64>,
}

/// A child of a folder.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// The folder.
    pub folder_id: NodeId,
    /// What it holds.
    pub id: NodeId,
    /// Where.
    pub position: f64,
    /// Whether it was not deleted.
    pub is_living: bool,
}

/// A node below a folder, at any depth.
#[derive(Clone, Copy, Debug)]
pub struct Below {
    /// The folder that was asked for.
    pub folder_id: NodeId,
    /// What is below it.
    pub id: NodeId,
    /// What holds it.
    pub parent_id: NodeId,
    /// As in [`StoredNode`].
    pub deleted_at_us: Option<i64>,
}

/// A node to be written.
#[derive(Clone, Debug)]
pub struct NodeWrite {
    /// As it is to be; version and times are set by the transaction.
    pub node: Node,
    /// The new text of a resource, if it changes.
    pub content: Option<Option<String>>,
    /// Whether the part of its kind changes.
    pub kind_changed: bool,
}

/// What a set of changes comes to, as rows. Empty lists are not written.
#[derive(Clone, Debug, Default)]
pub struct BoardWrites {
    /// New nodes.
    pub inserted: Vec<NodeWrite>,
    /// Nodes with other values.
    pub updated: Vec<NodeWrite>,
    /// Folders with another password, or with none any more.
    pub locked: Vec<(NodeId, Option<String>)>,
    /// Nodes whose folder or place in it is another now.
    pub placed: Vec<(NodeId, Placement)>,
    /// Deleted nodes whose place in their folder is another now. Nobody sees that before they are restored.
    pub placed_unseen: Vec<(NodeId, Placement)>,
    /// Nodes that are in no folder any more.
    pub unplaced: Vec<NodeId>,
    /// Nodes to be deleted.
    pub deleted: Vec<NodeId>,
    /// Nodes that live again.
    pub restored: Vec<NodeId>,
    /// New links.
    pub links_inserted: Vec<Link>,
    /// Links with other values.
    pub links_updated: Vec<Link>,
    /// Links that are no more.
    pub links_deleted: Vec<LinkId>,
    /// The board with other values.
    pub board: Option<Board>,
    /// Nodes whose metadata is another one now.
    pub metadata_changed: bool,
    /// What the owner of the board may have; `None` where that is not limited.
    pub limits: Option<Limits>,
}

impl BoardWrites {
    /// Whether there is nothing to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty()
            && self.updated.is_empty()
            && self.locked.is_empty()
            && self.placed.is_empty()
            && self.unplaced.is_empty()
            && self.deleted.is_empty()
            && self.restored.is_empty()
            && self.links_inserted.is_empty()
            && self.links_updated.is_empty()
            && self.links_deleted.is_empty()
            && self.board.is_none()
    }

    /// Whether more may be stored afterwards than before.
    #[must_use]
    pub fn may_grow(&self) -> bool {
        let changes_text = |write: &NodeWrite| write.kind_changed || write.content.is_some();
        self.metadata_changed
            || !self.inserted.is_empty()
            || !self.restored.is_empty()
            || !self.links_inserted.is_empty()
            || !self.links_updated.is_empty()
            || self.updated.iter().any(changes_text)
    }

    /// Nodes that are there afterwards and were touched, each once.
    #[must_use]
    pub fn saved_nodes(&self) -> Vec<NodeId> {
        let written = self.inserted.iter().chain(&self.updated).map(|write| write.node.id);
        let written = written.chain(self.locked.iter().map(|(id, _)| *id));
        let placed = self.placed.iter().map(|(id, _)| *id).chain(self.unplaced.iter().copied());
        let mut ids: Vec<NodeId> = written.chain(placed).chain(self.restored.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.deleted.contains(id));
        ids
    }

    /// What the change log says of it. Links that come back with restored nodes are not among the writes: whoever writes adds
    /// them.
    #[must_use]
    pub fn logged(&self) -> Vec<Logged> {
        let mut logged: Vec<Logged> = self.board.iter().map(|_| Logged::BoardUpdated).collect();
        logged.extend(self.saved_nodes().into_iter().map(Logged::NodeSaved));
        logged.extend(self.deleted.iter().copied().map(Logged::NodeDeleted));
        // In this order: an id that was freed can be taken again in the same change.
        logged.extend(self.links_deleted.iter().copied().map(Logged::LinkDeleted));
        logged.extend(self.links_inserted.iter().chain(&self.links_updated).map(|link| Logged::LinkSaved(link.id)));
        if !self.locked.is_empty() {
            // What others see of the folder comes or goes, and no entry names it.
            logged.push(Logged::Unknown);
        }
        logged
    }
}

/// One thing that the change log remembers of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// The board itself has other values.
    BoardUpdated,
    /// The board was deleted.
    BoardDeleted,
    /// A node was made, changed, moved, or lives again.
    NodeSaved(NodeId),
    /// A node was deleted.
    NodeDeleted(NodeId),
    /// A link was made or changed.
    LinkSaved(LinkId),
    /// A link was removed.
    LinkDeleted(LinkId),
    /// Something changed that the log cannot tell: read the board again.
    Unknown,
}

/// Whose change it is, for the log.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The account; none for holders of a share link.
    pub actor: Option<UserId>,
    /// What the client calls its change.
    pub client_mutation_id: Option<String>,
    /// Under which the result can be asked for again.
    pub idempotency: Option<IdempotencyKey>,
}

/// The key that a client gave a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Digest of who asks.
    pub principal: TokenDigest,
    /// What the client chose, 1 to 255 bytes.
    pub key: String,
    /// Digest of the request.
    pub request: TokenDigest,
    /// Whether a secret is part of the digest: then nothing else may pass for it.
    pub has_secret: bool,
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It is free; whoever else comes with it waits for the end of this transaction.
    Free,
    /// The request was done; this was its result.
    Done(serde_json::Value),
    /// It belongs to another request.
    Reused,
}

/// What a committed transaction has made true.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The board afterwards.
    pub record: Arc<BoardRecord>,
    /// Its counts afterwards.
    pub stats: BoardStats,
    /// Nodes that were written, as they are now.
    pub nodes: Vec<Arc<Node>>,
    /// Nodes that were deleted.
    pub deleted: Vec<NodeId>,
    /// Nodes that live again; their links are visible again too.
    pub restored: Vec<NodeId>,
    /// Links that were written, as they are now.
    pub links: Vec<Arc<Link>>,
    /// Links that were removed.
    pub links_deleted: Vec<LinkId>,
    /// What the owner has afterwards, where that was looked at.
    pub usage: Option<AccountUsage>,
}

//! What the program needs from its adapters, set-based throughout: many keys in, as many answers out, in the same order.
//!
//! `store` answers from PostgreSQL and `cache` from memory, falling back to what it wraps; loaders and services name only
//! these traits. Permission is not decided here: who calls has decided it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    AnswerKey, Basis, BoardId, BoardList, BoardRecord, BoardStats, Link, LinkId, LinkList, LinkPageKey, ListedBoard,
    Node, NodeId, NodeKey, NodeList, NodePageKey, NodeText, Page, PageRequest, Redemption, Result, Share, ShareId,
    Snapshot, Stamps, TokenDigest, User, UserId,
};

/// Reading boards.
#[async_trait]
pub trait Boards: Send + Sync {
    /// Living boards by id, `None` where there is none.
    async fn boards(&self, ids: &[BoardId]) -> Result<Vec<Option<Arc<BoardRecord>>>>;
    /// One page of a list of boards.
    async fn board_page(&self, list: &BoardList, page: &PageRequest) -> Result<Page<ListedBoard>>;
    /// How many boards each list has.
    async fn board_count(&self, list: &BoardList) -> Result<i64>;
    /// Counts of boards.
    async fn board_stats(&self, ids: &[BoardId]) -> Result<Vec<BoardStats>>;
}

/// Reading what lies on boards.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// On which board nodes lie; a node never changes its board.
    async fn locate_nodes(&self, ids: &[NodeId]) -> Result<Vec<Option<BoardId>>>;
    /// Living nodes.
    async fn nodes(&self, keys: &[NodeKey]) -> Result<Vec<Option<Arc<Node>>>>;
    /// Pages of lists of nodes.
    async fn node_pages(&self, keys: &[NodePageKey]) -> Result<Vec<Page<Arc<Node>>>>;
    /// How many nodes lists have.
    async fn node_counts(&self, lists: &[NodeList]) -> Result<Vec<i64>>;
    /// Folders around nodes, outermost first.
    async fn ancestors(&self, keys: &[NodeKey]) -> Result<Vec<Vec<Arc<Node>>>>;
    /// Long texts of resources; with each key the version of the node that the text is wanted of, for those who keep it.
    async fn node_texts(&self, keys: &[(NodeKey, i64)]) -> Result<Vec<Arc<NodeText>>>;
}

/// Reading links.
#[async_trait]
pub trait Links: Send + Sync {
    /// On which board links lie.
    async fn locate_links(&self, ids: &[LinkId]) -> Result<Vec<Option<BoardId>>>;
    /// Links between living nodes.
    async fn links(&self, keys: &[(BoardId, LinkId)]) -> Result<Vec<Option<Arc<Link>>>>;
    /// Pages of lists of links.
    async fn link_pages(&self, keys: &[LinkPageKey]) -> Result<Vec<Page<Arc<Link>>>>;
    /// How many links lists have.
    async fn link_counts(&self, lists: &[LinkList]) -> Result<Vec<i64>>;
}

/// Reading accounts.
#[async_trait]
pub trait Users: Send + Sync {
    /// Accounts, deactivated ones included.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<Option<Arc<User>>>>;
}

/// Share links.
#[async_trait]
pub trait Shares: Send + Sync {
    /// The link with this token.
    async fn share_by_token(&self, token: &TokenDigest) -> Result<Option<Arc<Share>>>;
    /// Counts the first redemption by a principal, exactly once however many try at the same moment.
    async fn redeem_share(&self, share: ShareId, principal: &TokenDigest) -> Result<Redemption>;
}

/// What a cache needs besides the reads that it answers.
#[async_trait]
pub trait CacheSource: Send + Sync {
    /// The whole graph of a board in one transaction; `None` when there is no such board or it has more than
    /// `max_nodes` nodes.
    async fn snapshot(&self, board: BoardId, max_nodes: usize) -> Result<Option<Snapshot>>;
    /// The current stamps of rows.
    async fn stamps(&self, boards: &[BoardId], users: &[UserId], shares: &[ShareId]) -> Result<Stamps>;
}

/// One board's whole graph in memory, at the version of the record it was asked for. It answers at once and never fails,
/// and everything that one operation reads through it is of one version.
pub trait BoardView: Send + Sync {
    /// A living node.
    fn node(&self, id: NodeId) -> Option<Arc<Node>>;
    /// A page of a list of nodes.
    fn node_page(&self, key: &NodePageKey) -> Page<Arc<Node>>;
    /// How many nodes a list has.
    fn node_count(&self, list: &NodeList) -> i64;
    /// Folders around a node, outermost first.
    fn ancestors(&self, id: NodeId) -> Vec<Arc<Node>>;
    /// A visible link.
    fn link(&self, id: LinkId) -> Option<Arc<Link>>;
    /// A page of a list of links.
    fn link_page(&self, key: &LinkPageKey) -> Page<Arc<Link>>;
    /// How many links a list has.
    fn link_count(&self, list: &LinkList) -> i64;
    /// Counts of the board.
    fn stats(&self) -> BoardStats;
}

/// What is in memory: boards, and finished answers.
pub trait Views: Send + Sync {
    /// The board in memory, if it is there at exactly the version of the record.
    fn view(&self, record: &BoardRecord) -> Option<Arc<dyn BoardView>>;
    /// The answer in memory, if everything that it rests on is known to be as it was.
    fn kept_answer(&self, key: &AnswerKey) -> Option<Bytes>;
    /// Keeps an answer for as long as that is so.
    fn keep_answer(&self, key: AnswerKey, basis: Basis, body: Bytes);
}

/// Everything that reading needs, as one value to hand around.
pub trait Reads: Boards + Nodes + Links + Users + Shares + Views {}

impl<T: Boards + Nodes + Links + Users + Shares + Views> Reads for T {}

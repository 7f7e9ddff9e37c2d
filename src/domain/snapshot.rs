//! One board's whole graph at one version, and the stamps by which a cache knows that what it holds is still true.

use std::{collections::HashMap, sync::Arc};

use super::{ApiKeyId, BoardId, BoardRecord, BoardStats, Link, Node, ShareId, UserId};

/// Everything that lists of one board show, read in one transaction. Long texts are not part of it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The board, with its version.
    pub record: Arc<BoardRecord>,
    /// Its counts.
    pub stats: BoardStats,
    /// Its living nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Its visible links.
    pub links: Vec<Arc<Link>>,
}

/// Changes whenever the row (and what belongs to it) changes, whoever changed it. Not a clock: only equality means
/// anything.
pub type Stamp = i64;

/// The current stamps of rows; what is missing does not exist any more.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    /// Of boards, with their owner and their collaborators.
    pub boards: HashMap<BoardId, Stamp>,
    /// Of accounts.
    pub users: HashMap<UserId, Stamp>,
    /// Of share links.
    pub shares: HashMap<ShareId, Stamp>,
    /// Of API keys.
    pub keys: HashMap<ApiKeyId, Stamp>,
}

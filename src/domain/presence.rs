//! Where people are on a board at this moment: cursor, selection, and whatever a frontend wants others to see. It is no part of
//! the board, not in its log, and gone half a minute after nothing was heard.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, NodeId, PresenceId, UserId};

/// Whoever was not heard of for so long is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(30);

/// Where one window of one person is.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// The window: the same for all that is told of it.
    pub id: PresenceId,
    /// The board.
    pub board_id: BoardId,
    /// Whose window it is; none for holders of a share link.
    pub user: Option<UserId>,
    /// Tells this update from the one before.
    pub mark: i64,
    /// Where the cursor is, in pixels of the canvas to the right and downwards; none when it is nowhere.
    pub cursor: Option<(f64, f64)>,
    /// The nodes that are selected. Whether there are such nodes is not checked.
    pub selection: Vec<NodeId>,
    /// What else the frontend says.
    pub state: Option<Value>,
    /// Whether the person is there; false is the last that is told of a window.
    pub is_here: bool,
    /// When it was said.
    pub seen_at: DateTime<Utc>,
}

/// Who shows up: an account, or the holder of a share link at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Person {
    /// Digest of who it is.
    pub digest: super::TokenDigest,
    /// How many windows it may have open on a board.
    pub most_windows: usize,
}

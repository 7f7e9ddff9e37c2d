//! What happened on a board, for its people. It is told a moment later and is no change log: what must not be missed is in
//! `event.rs`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AnyId, BoardId, Cursor, Sealed, SortKey, UserId, words::words};

/// Names the order of activity inside cursors.
pub const ACTIVITY_ORDER: &str = "activity";

words!(
    /// What happened.
    ActivityKind {
        /// The board was made.
        BoardCreated = "board_created",
        /// The board itself has other values.
        BoardUpdated = "board_updated",
        /// The board was deleted.
        BoardDeleted = "board_deleted",
        /// The board was brought back.
        BoardRestored = "board_restored",
        /// A share link was made.
        BoardShared = "board_shared",
        /// A share link was revoked.
        ShareRevoked = "share_revoked",
        /// Somebody was invited.
        CollaboratorInvited = "collaborator_invited",
        /// Somebody accepted an invitation.
        CollaboratorJoined = "collaborator_joined",
        /// Somebody has another role.
        CollaboratorChanged = "collaborator_changed",
        /// Somebody left or was removed.
        CollaboratorRemoved = "collaborator_removed",
        /// Nodes were made.
        NodeCreated = "node_created",
        /// Nodes were changed, moved or brought back.
        NodeUpdated = "node_updated",
        /// Nodes were deleted.
        NodeDeleted = "node_deleted",
        /// Links were made.
        LinkCreated = "connection_created",
        /// Links were removed.
        LinkDeleted = "connection_deleted",
    }
);

/// What of a board's activity somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActivityOf {
    /// The board.
    pub board: BoardId,
    /// The folders that they are shut out of. Then changes of nodes and links are told only where they were about one that is
    /// known to lie outside: of several at once, some may have lain inside.
    pub sealed: Sealed,
    /// The kinds that they are told.
    pub kinds: Vec<ActivityKind>,
}

impl ActivityOf {
    /// Whether one statement can read both: they are of other boards, or of other folders.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.kinds == other.kinds && self.sealed.is_empty() == other.sealed.is_empty()
    }
}

impl ActivityKind {
    /// Whether it says who sees the board, which only its people are told.
    #[must_use]
    pub fn is_about_people(self) -> bool {
        use ActivityKind::{
            BoardShared, CollaboratorChanged, CollaboratorInvited, CollaboratorJoined, CollaboratorRemoved,
            ShareRevoked,
        };
        matches!(
            self,
            BoardShared
                | ShareRevoked
                | CollaboratorInvited
                | CollaboratorJoined
                | CollaboratorChanged
                | CollaboratorRemoved
        )
    }

    /// Whether it is about nodes or links, which may lie in a locked folder.
    #[must_use]
    pub fn is_about_content(self) -> bool {
        use ActivityKind::{LinkCreated, LinkDeleted, NodeCreated, NodeDeleted, NodeUpdated};
        matches!(self, NodeCreated | NodeUpdated | NodeDeleted | LinkCreated | LinkDeleted)
    }
}

/// Something that happened on a board, once for all things of one kind in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who; none for holders of a share link.
    pub user: Option<UserId>,
    /// On which board.
    pub board: BoardId,
    /// What.
    pub kind: ActivityKind,
    /// To how many.
    pub count: i64,
    /// To which, where it was one.
    pub object: Option<AnyId>,
}

impl Activity {
    /// Something that happens now.
    #[must_use]
    pub fn now(user: Option<UserId>, board: BoardId, kind: ActivityKind, count: usize, object: Option<AnyId>) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Activity { id: Uuid::now_v7(), at: Utc::now(), user, board, kind, count, object }
    }

    /// Its place in the list of its board.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Time(self.at), id: self.id }
    }
}

//! Boards: the unit of permission, caching, versions and events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, Cursor, FolderLock, SortKey, Stamp, User, UserId};

/// A board, without what lies on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// Its id.
    pub id: BoardId,
    /// The account it belongs to.
    pub owner_id: UserId,
    /// Unique per owner among the living.
    pub name: String,
    /// What the board is about.
    pub description: Option<String>,
    /// Address of a picture, when one was set.
    pub thumbnail_url: Option<String>,
    /// Preferences of the frontend for this board.
    pub settings: Value,
    /// Readable by anyone.
    pub is_public: bool,
    /// Readable by anyone, listed among the templates.
    pub is_template: bool,
    /// How often the board was opened.
    pub view_count: i32,
    /// Grows by one with every committed change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it, or anything on it, last changed.
    pub updated_at: DateTime<Utc>,
}

/// What may be done on a board. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See everything.
    View,
    /// Also comment.
    Comment,
    /// Also change what lies on the board.
    Edit,
    /// Also share and delete the board.
    Owner,
}

/// A board with all that deciding about permission needs, read in one statement.
#[derive(Clone, Debug)]
pub struct BoardRecord {
    /// The board.
    pub board: Board,
    /// Its owner.
    pub owner: Arc<User>,
    /// Accepted collaborators with their roles, sorted by id.
    pub collaborators: Vec<(UserId, Permission)>,
    /// Its folders with a password, sorted by id.
    pub locks: Vec<FolderLock>,
    /// By which a cache knows whether this is still true.
    pub stamp: Stamp,
}

/// Counts of a board, locked folders included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoardStats {
    /// Living nodes.
    pub node_count: i32,
    /// Links between living nodes.
    pub link_count: i32,
    /// Living resources.
    pub resource_count: i32,
    /// Living chats.
    pub chat_count: i32,
    /// Living folders.
    pub folder_count: i32,
    /// When something on the board last changed.
    pub last_modified: Option<DateTime<Utc>>,
}

/// By what boards are sorted; the id decides among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoardOrderKey {
    /// Time of creation.
    Created,
    /// Time of the last change.
    Updated,
    /// Name, without regard to case.
    Name,
}

/// An order of boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BoardOrder {
    /// By what.
    pub key: BoardOrderKey,
    /// Largest first.
    pub descending: bool,
}

impl BoardOrder {
    /// Names the order inside cursors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.key, self.descending) {
            (BoardOrderKey::Created, false) => "board:created",
            (BoardOrderKey::Created, true) => "board:-created",
            (BoardOrderKey::Updated, false) => "board:updated",
            (BoardOrderKey::Updated, true) => "board:-updated",
            (BoardOrderKey::Name, false) => "board:name",
            (BoardOrderKey::Name, true) => "board:-name",
        }
    }
}

/// A row of a list of boards: the record and its place in the list.
#[derive(Clone, Debug)]
pub struct ListedBoard {
    /// The board.
    pub record: Arc<BoardRecord>,
    /// Its place, for cursors.
    pub place: Cursor,
}

/// Whose boards a list shows. What the list may show to a viewer is decided before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BoardsOf {
    /// All boards that an account owns or collaborates on.
    ReachableBy(UserId),
    /// Boards that an account owns.
    OwnedBy(UserId),
    /// Boards that an account collaborates on and does not own.
    SharedWith(UserId),
    /// Boards of an account that are public or templates.
    PublicOf(UserId),
    /// All templates.
    Templates,
    /// All public boards.
    Public,
}

/// A list of boards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoardList {
    /// Whose.
    pub of: BoardsOf,
    /// Only boards whose name contains this, without regard to case and accents; at most 200 characters.
    pub name_contains: Option<String>,
    /// Only templates, or only others.
    pub is_template: Option<bool>,
    /// Only public boards, or only others.
    pub is_public: Option<bool>,
    /// In which order.
    pub order: BoardOrder,
}

impl Board {
    /// Place of the board in lists sorted by time; names are folded by the database and come with the row.
    #[must_use]
    pub fn time_place(&self, key: BoardOrderKey) -> Cursor {
        let at = if key == BoardOrderKey::Created { self.created_at } else { self.updated_at };
        Cursor { key: SortKey::Time(at), id: self.id.0 }
    }
}

//! The change log of boards, as it is read: one entry for every version after the first.

use chrono::{DateTime, Utc};

use super::{BoardId, Cursor, Logged, SortKey, UserId};

/// Names the order of the log inside cursors.
pub const EVENT_ORDER: &str = "event";

/// One committed change of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardEvent {
    /// The board.
    pub board_id: BoardId,
    /// The version that the change made; the entries of a board are its versions without a gap.
    pub version: i64,
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// Whose change it was; none for holders of a share link and for the program.
    pub actor: Option<UserId>,
    /// What the client called it.
    pub client_mutation_id: Option<String>,
    /// What changed.
    pub changes: Vec<Logged>,
}

/// Which entries of a log are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventsAfter {
    /// The board.
    pub board: BoardId,
    /// Those of later versions.
    pub version: i64,
    /// At most so many, the oldest.
    pub most: i64,
}

/// The place of a version in the log of a board.
#[must_use]
pub fn event_place(board: BoardId, version: i64) -> Cursor {
    Cursor { key: SortKey::Int(version), id: board.0 }
}

/// The version that a place names, if it is one of this board.
#[must_use]
pub fn version_at(board: BoardId, place: &Cursor) -> Option<i64> {
    match place.key {
        SortKey::Int(version) if place.id == board.0 => Some(version),
        _ => None,
    }
}

//! Which boards a viewer may list. A list is narrowed before it is read, so that counts, cursors and filters see only
//! what the viewer may see.

use crate::{
    access::Viewer,
    domain::{BoardsOf, Error, UserId},
};

/// How the viewer stands to the boards of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Owned or collaborated on.
    Any,
    /// Owned.
    Owned,
    /// Collaborated on and not owned.
    Shared,
    /// Public boards of anyone.
    Public,
}

/// The boards that `boards(…)` lists. `None` for nobody in particular, who has no boards of their own.
#[must_use]
pub fn listed(viewer: &Viewer, relation: Relation) -> Option<BoardsOf> {
    let own = viewer.user().map(|user| user.id);
    match relation {
        Relation::Public => Some(BoardsOf::Public),
        Relation::Any => own.map(BoardsOf::ReachableBy),
        Relation::Owned => own.map(BoardsOf::OwnedBy),
        Relation::Shared => own.map(BoardsOf::SharedWith),
    }
}

/// The boards of an account that a viewer may see: all of one's own, the public ones of others.
#[must_use]
pub fn of_user(viewer: &Viewer, user: UserId) -> BoardsOf {
    if viewer.is(user) { BoardsOf::OwnedBy(user) } else { BoardsOf::PublicOf(user) }
}

/// What somebody is told for whom a board is not there, or not any more.
#[must_use]
pub fn no_such_board() -> Error {
    Error::invalid("There is no such board")
}

//! What a viewer may do on a board, decided in one place.
//!
//! | who                                   | what                               |
//! |---------------------------------------|------------------------------------|
//! | the owner                             | OWNER                              |
//! | an accepted collaborator              | the role: VIEW, COMMENT or EDIT    |
//! | who holds a living share link         | the permission of the link         |
//! | anyone, on a public board or template | VIEW                               |
//!
//! The highest of these counts. Whoever is not the owner, did not set the password of a folder and has not opened it either is
//! shut out of what lies in it, whatever the permission.
//! Whoever has none does not learn that the board exists. What needs a right takes a
//! [`Granted`], which only the check here can make, so that code that forgot to check does not compile. The check is made
//! once for a board and holds for everything on it; the right lives as long as one operation.

use std::sync::Arc;

use chrono::Utc;

use super::Viewer;
use crate::domain::{BoardId, BoardRecord, Permission, Sealed};

/// A board that a viewer may see, and what they may do on it.
#[derive(Clone, Debug)]
pub struct Granted<T> {
    subject: T,
    permission: Permission,
    sealed: Sealed,
    sees_people: bool,
}

impl<T> Granted<T> {
    /// What the right is about.
    pub fn subject(&self) -> &T {
        &self.subject
    }

    /// The highest right.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// Whether the viewer is one of the board's people, its owner or an accepted collaborator: only they are told who the
    /// others are.
    pub fn sees_people(&self) -> bool {
        self.sees_people
    }

    /// The folders that it does not reach into.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

impl Granted<Arc<BoardRecord>> {
    /// The check: `None` unless the viewer has at least the right `needed`.
    #[must_use]
    pub fn check(viewer: &Viewer, record: &Arc<BoardRecord>, needed: Permission) -> Option<Self> {
        let permission = permission_on(viewer, record)?;
        (permission >= needed).then(|| Granted {
            subject: Arc::clone(record),
            permission,
            sealed: sealed_from(viewer, record, permission),
            sees_people: permission == Permission::Owner || role_on(viewer, record).is_some(),
        })
    }

    /// The board's id.
    #[must_use]
    pub fn board_id(&self) -> BoardId {
        self.subject.board.id
    }
}

fn sealed_from(viewer: &Viewer, record: &BoardRecord, permission: Permission) -> Sealed {
    if record.locks.is_empty() || permission == Permission::Owner {
        return Sealed::default();
    }
    let shut = record.locks.iter().filter(|lock| !viewer.opens(lock));
    Sealed::of(shut.map(|lock| lock.folder_id).collect())
}

/// The role of an accepted collaborator.
fn role_on(viewer: &Viewer, record: &BoardRecord) -> Option<Permission> {
    let user = viewer.user()?;
    let place = record.collaborators.binary_search_by_key(&user.id, |(person, _)| *person).ok()?;
    record.collaborators.get(place).map(|(_, role)| *role)
}

fn permission_on(viewer: &Viewer, record: &BoardRecord) -> Option<Permission> {
    let board = &record.board;
    if viewer.is_system() || viewer.is(board.owner_id) {
        return Some(Permission::Owner);
    }
    let as_collaborator = role_on(viewer, record);
    let by_share = viewer.share().map(|held| held.share()).and_then(|share| {
        // A share never makes an owner, whatever the row says.
        (share.board_id == board.id && share.is_alive(Utc::now())).then(|| share.permission.min(Permission::Edit))
    });
    let as_anyone = (board.is_public || board.is_template).then_some(Permission::View);
    as_collaborator.max(by_share).max(as_anyone)
}

//! What one operation rests on, noted while it reads, so that its answer can be recognised as still true later.

use std::sync::{Mutex, PoisonError};

use crate::domain::{Basis, BoardRecord, User};

/// The rows read so far, or nothing once something was read that no stamp covers.
pub(super) struct BasisOfOperation(Mutex<Option<Basis>>);

impl Default for BasisOfOperation {
    fn default() -> Self {
        BasisOfOperation(Mutex::new(Some(Basis::default())))
    }
}

impl BasisOfOperation {
    fn note(&self, note: impl FnOnce(&mut Basis)) {
        if let Some(basis) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            note(basis);
        }
    }

    /// Notes that something is part of the answer that can change unseen.
    pub(super) fn has_more(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes a board; one that does not exist could begin to.
    pub(super) fn board(&self, record: Option<&BoardRecord>) {
        let Some(record) = record else { return self.has_more() };
        let mut changed = false;
        self.note(|basis| {
            let before = basis.boards.insert(record.board.id, record.stamp);
            changed = before.is_some_and(|before| before != record.stamp);
        });
        if changed {
            // It changed while the operation ran: two states are in the answer.
            self.has_more();
        }
    }

    /// Notes an account; one that does not exist could begin to.
    pub(super) fn user(&self, user: Option<&User>) {
        match user {
            Some(user) => self.note(|basis| {
                basis.users.insert(user.id, user.stamp);
            }),
            None => self.has_more(),
        }
    }

    /// Notes that a place was asked for: it never changes once there is one.
    pub(super) fn place(&self, is_there: bool) {
        if !is_there {
            self.has_more();
        }
    }

    /// Everything the operation read, if stamps cover all of it.
    pub(super) fn complete(&self) -> Option<Basis> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

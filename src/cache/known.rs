//! What this process knows of boards: to which version each has come, which row of it may be kept, and whether a
//! database was set back.
//!
//! It knows what it has committed, read under a lock, or heard of in the change log, and keeps nothing that is older. A
//! row that was read afterwards and is older all the same is not late. Then a server took over that had lagged, or a
//! backup was restored: versions come again with other content, so that nothing stays of such a board.

use std::sync::{Arc, PoisonError};

use moka::ops::compute::Op;

use super::{Inner, LATE, forgotten::Mark};
use crate::{
    config::CacheMode,
    domain::{BoardId, BoardRecord, Committed, ports::Heard},
};

/// A version of a board, and since when it is known.
#[derive(Clone, Copy)]
pub(super) struct Known {
    version: i64,
    since: Mark,
}

impl<S> Inner<S> {
    /// Takes over what this process has just committed.
    pub(super) fn take_over(&self, committed: &Committed) {
        if self.mode == CacheMode::Off {
            return;
        }
        let (id, version) = (committed.record.board.id, committed.record.board.version);
        self.keep_own(&committed.record);
        // One after the other: two commits of this process may come here in either order.
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = self.states.get(&id).filter(|state| state.version() < version) else { return };
        if state.version() + 1 == version && committed.restored.is_empty() {
            self.states.insert(id, Arc::new(state.after(committed)));
        } else {
            self.states.invalidate(&id);
        }
    }

    /// Keeps a record of a read that began then, unless something newer is known.
    pub(super) fn keep(&self, record: &Arc<BoardRecord>, began: Mark) {
        if self.mode == CacheMode::Off {
            return;
        }
        self.compare(record, began);
        let id = record.board.id;
        self.forgotten.boards.unless_forgotten(&id, began, || self.put(record));
    }

    /// Takes note of a board as this process has read it under its lock. What it commits there goes on from that.
    pub(super) fn take_note(&self, record: &Arc<BoardRecord>) {
        if self.mode == CacheMode::Off {
            return;
        }
        let (id, version) = (record.board.id, record.board.version);
        // Nobody else steps the version meanwhile.
        let is_set_back = self.newest.get(&id).is_some_and(|known| known.version > version);
        if is_set_back || self.is_in_doubt(record) {
            self.mistrust(id);
        }
        self.keep_own(record);
    }

    /// Keeps a record that a transaction of this process has read. Its people may have changed before that ended, and
    /// nothing would tell: then it says no more than which version there is.
    fn keep_own(&self, record: &Arc<BoardRecord>) {
        if self.mode == CacheMode::Off {
            return;
        }
        let (id, version) = (record.board.id, record.board.version);
        if !self.forgotten.boards.unless_changed_within(&id, LATE, || self.put(record)) {
            self.outdate(id, version);
        }
    }

    fn put(&self, record: &Arc<BoardRecord>) {
        let (id, version) = (record.board.id, record.board.version);
        self.raise(id, version);
        self.records.entry(id).and_compute_with(|_| match self.newest.get(&id) {
            Some(known) if known.version > version => Op::Nop,
            _ => Op::Put(Arc::clone(record)),
        });
    }

    /// Notes that a board has come to a version.
    pub(super) fn raise(&self, board: BoardId, version: i64) {
        self.newest.entry(board).and_compute_with(|known| match known.map(|known| known.into_value()) {
            Some(known) if known.version > version => Op::Nop,
            Some(known) if known.version == version => Op::Put(known),
            _ => Op::Put(Known { version, since: self.forgotten.boards.step() }),
        });
    }

    /// The same; what is older is not served any more.
    pub(super) fn outdate(&self, board: BoardId, version: i64) {
        self.raise(board, version);
        self.records.entry(board).and_compute_with(|kept| match kept {
            Some(kept) if kept.value().board.version < version => Op::Remove,
            _ => Op::Nop,
        });
    }

    /// Compares a record of a read that began then with what is known, and lets go of the board if it has another
    /// history.
    pub(super) fn compare(&self, record: &BoardRecord, began: Mark) {
        let (id, version) = (record.board.id, record.board.version);
        let is_set_back = self.newest.get(&id).is_some_and(|known| known.version > version && known.since <= began);
        if is_set_back {
            tracing::debug!(board.id = %id, version, "A board is at an earlier version: the database was set back");
        }
        if is_set_back || self.is_in_doubt(record) {
            self.mistrust(id);
        }
    }

    /// Whether what is in memory may be of another history although no version says so: while looks were late, the
    /// database may have been set back and have come as far again since.
    fn is_in_doubt(&self, record: &BoardRecord) -> bool {
        let id = record.board.id;
        !self.coherence.is_current()
            && match self.records.get(&id) {
                Some(kept) => kept.stamp != record.stamp,
                None => self.states.contains_key(&id),
            }
    }

    /// Lets go of a board and of all that was read of it so far, texts included, whatever its versions are.
    pub(super) fn mistrust(&self, board: BoardId) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.boards.mistrust(board, || {
            self.newest.invalidate(&board);
            self.let_go(board);
        });
    }

    /// Lets go of a board whose row, people or existence this process has just changed.
    pub(super) fn forget(&self, board: BoardId) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = self.records.get(&board) {
            self.raise(board, record.board.version);
        }
        self.forgotten.boards.forget(board, || self.let_go(board));
        self.woken.add(&Heard::Boards(vec![board]));
    }

    fn let_go(&self, board: BoardId) {
        self.records.invalidate(&board);
        self.states.invalidate(&board);
        // Who reads it from now on does not wait for somebody who has begun before.
        self.reading.invalidate(&board);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::Value;

    use super::*;
    use crate::{
        cache::board_state::BoardState,
        config::CacheConfig,
        domain::{Board, BoardStats, NodeId, NodeKey, Snapshot, Stamp, User, UserId},
    };

    fn inner(is_current: bool) -> Inner<()> {
        let config = CacheConfig { mode: CacheMode::Cached, bytes: 1 << 20, snapshot_max_nodes: 10 };
        let inner = Inner::new((), (), &config);
        if is_current {
            // However long the test takes.
            inner.coherence.looked(u64::MAX);
        }
        inner
    }

    fn record(id: BoardId, version: i64, stamp: Stamp) -> Arc<BoardRecord> {
        let (owner_id, at) = (UserId::generate(), DateTime::<Utc>::UNIX_EPOCH);
        let owner = User {
            id: owner_id,
            email: "owner@example.org".to_owned(),
            email_verified: true,
            name: None,
            avatar_url: None,
            settings: Value::Null,
            subscription_tier: "free".to_owned(),
            created_at: at,
            updated_at: at,
            last_login_at: None,
            is_active: true,
            stamp: 0,
        };
        let board = Board {
            id,
            owner_id,
            name: "Board".to_owned(),
            description: None,
            thumbnail_url: None,
            settings: Value::Null,
            is_public: false,
            is_template: false,
            view_count: 0,
            version,
            created_at: at,
            updated_at: at,
        };
        let (collaborators, locks) = (Vec::new(), Vec::new());
        Arc::new(BoardRecord { board, owner: Arc::new(owner), collaborators, locks, stamp })
    }

    /// Fills memory with a board, as requests do.
    fn fill(inner: &Inner<()>, record: &Arc<BoardRecord>) -> (NodeKey, i64) {
        let id = record.board.id;
        inner.keep(record, inner.forgotten.boards.mark());
        let (stats, nodes, links) = (BoardStats::default(), Vec::new(), Vec::new());
        let snapshot = Snapshot { record: Arc::clone(record), stats, nodes, links };
        inner.states.insert(id, Arc::new(BoardState::new(snapshot)));
        let key = (NodeKey { board_id: id, node_id: NodeId::generate() }, record.board.version);
        inner.texts.insert(key, (inner.forgotten.boards.mark(), Arc::default()));
        key
    }

    fn version(inner: &Inner<()>, id: BoardId) -> Option<i64> {
        inner.records.get(&id).map(|record| record.board.version)
    }

    #[test]
    fn of_a_board_that_was_set_back_nothing_stays() {
        let (inner, id) = (inner(true), BoardId::generate());
        let late = inner.forgotten.boards.mark();
        let text = fill(&inner, &record(id, 10, 1));
        // Somebody read this before it was changed, and comes late.
        inner.keep(&record(id, 9, 2), late);
        assert_eq!(version(&inner, id), Some(10));
        assert!(inner.states.contains_key(&id) && inner.text(&text).is_some());
        // Somebody reads this now.
        let back = record(id, 8, 3);
        inner.keep(&back, inner.forgotten.boards.mark());
        assert_eq!(version(&inner, id), None);
        assert!(!inner.states.contains_key(&id) && inner.text(&text).is_none());
        inner.keep(&back, inner.forgotten.boards.mark());
        assert_eq!(version(&inner, id), Some(8));
        // Whoever has the lock sees it, too.
        let text = fill(&inner, &record(id, 9, 4));
        inner.take_note(&record(id, 7, 5));
        assert_eq!(version(&inner, id), Some(7));
        assert!(!inner.states.contains_key(&id) && inner.text(&text).is_none());
    }

    #[test]
    fn a_version_that_came_again_unseen_is_in_doubt() {
        for is_current in [true, false] {
            let (inner, id) = (inner(is_current), BoardId::generate());
            let text = fill(&inner, &record(id, 10, 1));
            inner.keep(&record(id, 10, 1), inner.forgotten.boards.mark());
            assert!(inner.states.contains_key(&id) && inner.text(&text).is_some());
            // The same version, and another row: while looks come, somebody has joined.
            inner.keep(&record(id, 10, 2), inner.forgotten.boards.mark());
            assert_eq!((inner.states.contains_key(&id), inner.text(&text).is_some()), (is_current, is_current));
        }
    }

    #[test]
    fn a_board_that_was_forgotten_is_not_put_back_by_who_read_before() {
        let (inner, id) = (inner(true), BoardId::generate());
        let old = record(id, 1, 1);
        let (began, reading) = (inner.forgotten.boards.mark(), inner.reading.get_with(id, Arc::default));
        inner.forget(id);
        inner.keep(&old, began);
        assert_eq!(version(&inner, id), None);
        assert!(!Arc::ptr_eq(&reading, &inner.reading.get_with(id, Arc::default)), "nobody waits for who read before");
        // A transaction that read the people before, and ended after that, says only which version there is.
        inner.keep_own(&record(id, 2, 2));
        assert_eq!(version(&inner, id), None);
        inner.keep(&old, began);
        assert_eq!(version(&inner, id), None);
        inner.keep(&record(id, 2, 3), inner.forgotten.boards.mark());
        assert_eq!(version(&inner, id), Some(2));
    }
}

//! What this process let go of because it changed, so that no read which began before puts it back.
//!
//! People of a board, accounts, keys and links change without a version that tells an older row from a newer one. So a
//! read notes when it began, and what it found is kept only if its key was not forgotten since. The order of things is
//! one of numbers and not of a clock.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::domain::{BoardId, TokenDigest, UserId};

/// Keys that are remembered. With more of them, all that was read before counts as forgotten.
const MOST: usize = 10_000;

/// A moment, in the order in which things became known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

/// Everything that the rows in memory are forgotten by.
#[derive(Default)]
pub(super) struct ForgottenRows {
    /// Boards, with what lies on them.
    pub(super) boards: Forgotten<BoardId>,
    pub(super) users: Forgotten<UserId>,
    pub(super) keys: Forgotten<TokenDigest>,
    /// Share links, all those of a board at once.
    pub(super) shares: Forgotten<BoardId>,
}

/// What was forgotten, and when.
pub(super) struct Forgotten<K> {
    now: AtomicU64,
    last: Mutex<Last<K>>,
}

struct Last<K> {
    by_key: HashMap<K, When>,
    /// The same for all keys that are not named.
    others: Option<When>,
}

#[derive(Clone, Copy)]
struct When {
    mark: Mark,
    /// When it was changed by this process, if that is why.
    changed: Option<Instant>,
}

impl<K> Default for Forgotten<K> {
    fn default() -> Self {
        Forgotten { now: AtomicU64::new(0), last: Mutex::new(Last { by_key: HashMap::new(), others: None }) }
    }
}

impl<K: Eq + Hash> Last<K> {
    fn of(&self, key: &K) -> Option<When> {
        self.by_key.get(key).copied().or(self.others)
    }
}

impl<K: Eq + Hash> Forgotten<K> {
    fn lock(&self) -> MutexGuard<'_, Last<K>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be noted before a read is sent.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.now.load(Ordering::SeqCst))
    }

    /// A mark that is later than all before it.
    pub(super) fn step(&self) -> Mark {
        Mark(self.now.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Forgets what this process has just changed, while `let_go` takes it out of memory.
    pub(super) fn forget(&self, key: K, let_go: impl FnOnce()) {
        self.note(key, Some(Instant::now()), let_go);
    }

    /// Forgets what turned out to be wrong.
    pub(super) fn mistrust(&self, key: K, let_go: impl FnOnce()) {
        self.note(key, None, let_go);
    }

    fn note(&self, key: K, changed: Option<Instant>, let_go: impl FnOnce()) {
        let mut last = self.lock();
        let changed = changed.or_else(|| last.of(&key).and_then(|when| when.changed));
        let when = When { mark: self.step(), changed };
        if last.by_key.len() >= MOST && !last.by_key.contains_key(&key) {
            // Whoever is not named any more may have been changed at this very moment.
            last.others = Some(When { changed: Some(Instant::now()), ..when });
            last.by_key.clear();
        }
        last.by_key.insert(key, when);
        let_go();
    }

    /// Runs `keep` unless the key was forgotten since a read began. Nothing is forgotten meanwhile.
    pub(super) fn unless_forgotten(&self, key: &K, began: Mark, keep: impl FnOnce()) {
        let last = self.lock();
        if last.of(key).is_none_or(|when| when.mark <= began) {
            keep();
        }
    }

    /// Runs `keep` unless this process has changed what the key names within this time; whether it did.
    pub(super) fn unless_changed_within(&self, key: &K, time: Duration, keep: impl FnOnce()) -> bool {
        let last = self.lock();
        let changed = last.of(key).and_then(|when| when.changed);
        let is_free = changed.is_none_or(|changed| changed.elapsed() > time);
        if is_free {
            keep();
        }
        is_free
    }

    /// Whether what a read found that began then still stands.
    pub(super) fn stands(&self, key: &K, began: Mark) -> bool {
        self.lock().of(key).is_none_or(|when| when.mark <= began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(forgotten: &Forgotten<u32>, key: u32, began: Mark) -> bool {
        let mut is_kept = false;
        forgotten.unless_forgotten(&key, began, || is_kept = true);
        assert_eq!(forgotten.stands(&key, began), is_kept);
        is_kept
    }

    #[test]
    fn only_reads_that_began_afterwards_are_kept() {
        let forgotten = Forgotten::default();
        let before = forgotten.mark();
        assert!(is_kept(&forgotten, 1, before));
        let mut is_let_go = false;
        forgotten.forget(1, || is_let_go = true);
        assert!(is_let_go);
        assert!(!is_kept(&forgotten, 1, before) && is_kept(&forgotten, 2, before));
        assert!(is_kept(&forgotten, 1, forgotten.mark()));
        // Transactions of this process may have read before the change and end after it.
        assert!(!forgotten.unless_changed_within(&1, Duration::from_secs(60), || panic!("kept")));
        assert!(forgotten.unless_changed_within(&2, Duration::from_secs(60), || ()));
        forgotten.mistrust(2, || ());
        assert!(!is_kept(&forgotten, 2, before));
        assert!(forgotten.unless_changed_within(&2, Duration::from_secs(60), || ()));
    }

    #[test]
    fn more_keys_than_are_remembered_count_as_forgotten() {
        let forgotten = Forgotten::default();
        forgotten.forget(0, || ());
        let before = forgotten.mark();
        for key in 1..=MOST as u32 {
            forgotten.forget(key, || ());
        }
        assert!(!is_kept(&forgotten, 0, before) && !is_kept(&forgotten, u32::MAX, before));
        assert!(is_kept(&forgotten, u32::MAX, forgotten.mark()));
        assert!(forgotten.lock().by_key.len() <= MOST);
    }
}

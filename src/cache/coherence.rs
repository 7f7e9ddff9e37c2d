//! How the cache knows that what it holds is true.
//!
//! Twice a second the stamps of everything in memory are read, in one statement by primary key, and what changed or went
//! away is let go. Memory is served only while the last such look is younger than a second; otherwise (the database is
//! slow, or gone) reads pass through. So a change by whatever process shows after at most a second, and a revoked right
//! ends with it. Processes wake each other, so that mostly it shows within milliseconds; nothing rests on that. It looks at boards as a whole: whoever changes something on a board steps its version.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Cached, Inner, Source};
use crate::domain::{ApiKeyId, BoardId, Result, ShareId, UserId, ports::Heard};

/// Time between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(500);
/// Age of the last look up to which memory is served.
const CURRENT_FOR: Duration = Duration::from_millis(1000);

pub(super) struct Coherence {
    began: Instant,
    /// Milliseconds after `began` at which the last complete look started, plus one; 0 for none.
    looked_ms: AtomicU64,
}

impl Default for Coherence {
    fn default() -> Self {
        Coherence { began: Instant::now(), looked_ms: AtomicU64::new(0) }
    }
}

impl Coherence {
    pub(super) fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// A complete look that began at that time has ended.
    pub(super) fn looked(&self, began_ms: u64) {
        self.looked_ms.store(began_ms, Ordering::Release);
    }

    pub(super) fn is_current(&self) -> bool {
        let looked = self.looked_ms.load(Ordering::Acquire);
        looked != 0 && self.now_ms().saturating_sub(looked) <= CURRENT_FOR.as_millis() as u64
    }
}

/// Boards that others say they have changed, until they are looked at.
#[derive(Default)]
pub(super) struct Woken {
    boards: Mutex<HashSet<BoardId>>,
    something: Notify,
}

impl Woken {
    pub(super) fn add(&self, heard: &Heard) {
        // Where anything may have changed, the next look at everything is not far.
        let Heard::Boards(changed) = heard else { return };
        self.boards.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        self.something.notify_one();
    }

    fn take(&self) -> HashSet<BoardId> {
        std::mem::take(&mut *self.boards.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts to follow the source; ends when the cache is dropped.
pub(super) fn follow<S: Source + Clone + 'static>(cached: &Cached<S>) {
    let (cache, woken) = (Arc::downgrade(&cached.0), Arc::clone(&cached.0.woken));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let changed = tokio::select! {
                _ = ticks.tick() => None,
                () = woken.something.notified() => Some(woken.take()),
            };
            let Some(inner) = Weak::upgrade(&cache) else { return };
            match look(&inner, changed.as_ref()).await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("The cache is current again");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(cause = ?error.cause(), "The cache is not current, reads pass through: {error}");
                    }
                }
            }
        }
    });
}

/// Looks at everything, or only at some boards and what belongs to them.
async fn look<S: Source>(inner: &Inner<S>, only: Option<&HashSet<BoardId>>) -> Result<()> {
    let began_ms = inner.coherence.now_ms();
    let is_meant = |board: &BoardId| only.is_none_or(|only| only.contains(board));
    let records: Vec<_> = inner.records.iter().filter(|(id, _)| is_meant(id)).collect();
    let users: Vec<_> = inner.users.iter().filter(|_| only.is_none()).collect();
    let shares: Vec<_> = inner.shares.iter().filter(|(_, share)| is_meant(&share.board_id)).collect();
    let keys: Vec<_> = inner.keys.iter().filter(|_| only.is_none()).collect();
    let board_ids: Vec<BoardId> = records.iter().map(|(id, _)| **id).collect();
    let user_ids: Vec<UserId> = users.iter().map(|(id, _)| **id).collect();
    let share_ids: Vec<ShareId> = shares.iter().map(|(_, share)| share.id).collect();
    let key_ids: Vec<ApiKeyId> = keys.iter().map(|(_, key)| key.id).collect();
    if !(board_ids.is_empty() && user_ids.is_empty() && share_ids.is_empty() && key_ids.is_empty()) {
        let stamps = inner.source.stamps(&board_ids, &user_ids, &share_ids, &key_ids).await?;
        for (id, record) in records {
            if stamps.boards.get(&id) != Some(&record.stamp) {
                inner.records.invalidate(id.as_ref());
            }
        }
        for (id, user) in users {
            if stamps.users.get(&id) != Some(&user.stamp) {
                inner.users.invalidate(id.as_ref());
            }
        }
        for (token, share) in shares {
            if stamps.shares.get(&share.id) != Some(&share.stamp) {
                inner.shares.invalidate(token.as_ref());
            }
        }
        for (digest, key) in keys {
            if stamps.keys.get(&key.id) != Some(&key.stamp) {
                inner.keys.invalidate(digest.as_ref());
            }
        }
    }
    if only.is_none() {
        inner.coherence.looked(began_ms);
    }
    Ok(())
}

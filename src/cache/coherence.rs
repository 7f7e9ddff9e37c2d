//! How the cache knows that what it holds is true.
//!
//! Twice a second the stamps of everything in memory are read, in one statement by primary key, and what changed or went
//! away is let go. Memory is served only while the last such look is younger than a second; otherwise (the database is
//! slow, or gone) reads pass through. So a change by whatever process shows after at most a second, and a revoked right
//! ends with it. It looks at boards as a whole: whoever changes something on a board steps its version.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Cached, Inner, Source};
use crate::domain::{BoardId, Result, ShareId, UserId};

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

/// Starts to follow the source; ends when the cache is dropped.
pub(super) fn follow<S: Source + Clone + 'static>(cached: &Cached<S>) {
    let cache = Arc::downgrade(&cached.0);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let Some(inner) = Weak::upgrade(&cache) else { return };
            match look(&inner).await {
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

async fn look<S: Source>(inner: &Inner<S>) -> Result<()> {
    let began_ms = inner.coherence.now_ms();
    let records: Vec<_> = inner.records.iter().collect();
    let users: Vec<_> = inner.users.iter().collect();
    let shares: Vec<_> = inner.shares.iter().collect();
    let board_ids: Vec<BoardId> = records.iter().map(|(id, _)| **id).collect();
    let user_ids: Vec<UserId> = users.iter().map(|(id, _)| **id).collect();
    let share_ids: Vec<ShareId> = shares.iter().map(|(_, share)| share.id).collect();
    if !(board_ids.is_empty() && user_ids.is_empty() && share_ids.is_empty()) {
        let stamps = inner.source.stamps(&board_ids, &user_ids, &share_ids).await?;
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
    }
    inner.coherence.looked(began_ms);
    Ok(())
}

//! How the cache knows that what it holds is true, and how subscribers hear that their rights may have changed.
//!
//! Twice a second one statement asks which rows differ from what is known of them: everything in memory, and everything that the
//! right of a subscriber rests on (`watching.rs`). What changed or went away is let go, and who waits for it is woken. Memory is
//! served only while the last such look is younger than a second; otherwise (the database is slow, or gone) reads pass through.
//! So a change by whatever process shows after at most a second, and a revoked right ends with it. Processes wake each other, so
//! that mostly it shows within milliseconds; nothing rests on that. It looks at boards as a whole: whoever changes something on
//! a board steps its version. Looks have a connection of their own: they do not wait behind what they make unnecessary.
//!
//! What has changed while no looks came may belong to another history, of a server that took over or of a backup. Of
//! such a board nothing is used again, whatever its version is (`known.rs`).

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{timeout, timeout_at},
};

use super::{Cached, Source};
use crate::{
    config::CacheMode,
    domain::{BoardId, Code, Error, Ground, Result, Stamp, TokenDigest, UserId, ports::Heard},
};

/// Time between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(500);
/// Age of the last look up to which memory is served.
const CURRENT_FOR: Duration = Duration::from_millis(1000);
/// How long a look may take. One that takes longer finds nothing that may be served; the next one has another connection.
pub(super) const LOOK_WITHIN: Duration = Duration::from_secs(4);
/// How long those who follow boards that have changed wait for them to be read for all. Past it, each reads for itself.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// Boards that are read at once.
const PORTION: usize = 500;

pub(super) struct Coherence {
    began: Instant,
    /// Milliseconds after `began` at which the last complete look started, plus one; 0 for none.
    looked_ms: AtomicU64,
    /// Those who wait for a look.
    looked: Notify,
}

impl Default for Coherence {
    fn default() -> Self {
        Coherence { began: Instant::now(), looked_ms: AtomicU64::new(0), looked: Notify::new() }
    }
}

impl Coherence {
    pub(super) fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// A complete look that began at that time has ended.
    pub(super) fn looked(&self, began_ms: u64) {
        self.looked_ms.store(began_ms, Ordering::Release);
        self.looked.notify_waiters();
    }

    pub(super) fn is_current(&self) -> bool {
        let looked = self.looked_ms.load(Ordering::Acquire);
        looked != 0 && self.now_ms().saturating_sub(looked) <= CURRENT_FOR.as_millis() as u64
    }

    /// Waits until a look is younger than a second.
    pub(super) async fn current(&self) {
        loop {
            let looked = self.looked.notified();
            if self.is_current() {
                return;
            }
            looked.await;
        }
    }
}

/// Boards that somebody says have changed, until they are looked at.
#[derive(Default)]
pub(super) struct Woken {
    boards: Mutex<HashSet<BoardId>>,
    is_all: AtomicBool,
    something: Notify,
}

impl Woken {
    pub(super) fn add(&self, heard: &Heard) {
        // Where anything may have changed, the next look at everything is not far.
        let Heard::Boards(changed) = heard else { return };
        self.boards.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        self.something.notify_one();
    }

    /// Has everything looked at now.
    pub(super) fn all(&self) {
        self.is_all.store(true, Ordering::Release);
        self.something.notify_one();
    }

    fn take(&self) -> Option<HashSet<BoardId>> {
        let boards = std::mem::take(&mut *self.boards.lock().unwrap_or_else(PoisonError::into_inner));
        (!self.is_all.swap(false, Ordering::AcqRel)).then_some(boards)
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
                () = woken.something.notified() => woken.take(),
            };
            let Some(inner) = Weak::upgrade(&cache) else { return };
            match look(&Cached(inner), changed.as_ref()).await {
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

/// By which a row in memory is let go.
enum Kept {
    /// With its version.
    Board(BoardId, i64),
    User(UserId),
    Share(TokenDigest),
    Key(TokenDigest),
}

/// Looks at everything, or only at some boards and what belongs to them.
async fn look<S: Source + Clone + 'static>(cached: &Cached<S>, only: Option<&HashSet<BoardId>>) -> Result<()> {
    let inner = &*cached.0;
    let (began_ms, was_current) = (inner.coherence.now_ms(), inner.coherence.is_current());
    let is_meant = |board: &BoardId| only.is_none_or(|only| only.contains(board));
    let (mut known, mut kept): (Vec<(Ground, Stamp)>, Vec<Kept>) = Default::default();
    if inner.mode == CacheMode::Cached {
        for (id, record) in inner.records.iter().filter(|(id, _)| is_meant(id)) {
            known.push((Ground::Board(*id), record.stamp));
            kept.push(Kept::Board(*id, record.board.version));
        }
        for (token, share) in inner.shares.iter().filter(|(_, share)| is_meant(&share.board_id)) {
            known.push((Ground::Share(share.id), share.stamp));
            kept.push(Kept::Share(*token));
        }
        for (id, user) in inner.users.iter().filter(|_| only.is_none()) {
            known.push((Ground::User(*id), user.stamp));
            kept.push(Kept::User(*id));
        }
        for (digest, key) in inner.keys.iter().filter(|_| only.is_none()) {
            known.push((Ground::Key(key.id), key.stamp));
            kept.push(Kept::Key(*digest));
        }
    }
    let watched = inner.watching.known(|ground| match ground {
        Ground::Board(board) => is_meant(board),
        Ground::User(_) | Ground::Share(_) | Ground::Key(_) => only.is_none(),
        Ground::Session(_) => false,
    });
    known.extend(&watched);
    let moved = if known.is_empty() { Vec::new() } else { in_time(inner.looks.moved(&known)).await? };
    let mut of_subscribers = Vec::new();
    for (place, stamp) in moved {
        match kept.get(place) {
            Some(Kept::Board(id, version)) => {
                // This process may have changed it since the look began, and then memory is right.
                if inner.records.get(id).is_some_and(|record| Some(record.stamp) == stamp) {
                    continue;
                }
                if was_current {
                    inner.raise(*id, *version);
                    inner.records.invalidate(id);
                } else {
                    inner.mistrust(*id);
                }
            }
            Some(Kept::User(id)) => inner.users.invalidate(id),
            Some(Kept::Share(token)) => inner.shares.invalidate(token),
            Some(Kept::Key(digest)) => inner.keys.invalidate(digest),
            None => of_subscribers.extend(known.get(place).map(|(ground, _)| (*ground, stamp))),
        }
    }
    if only.is_none() {
        inner.coherence.looked(began_ms);
    }
    wake(cached, of_subscribers).await;
    Ok(())
}

/// Wakes those who wait for rows that have changed. A board is read before, once for all of them, but nobody waits for
/// long behind that: who is woken without it reads it.
async fn wake<S: Source + Clone + 'static>(cached: &Cached<S>, moved: Vec<(Ground, Option<Stamp>)>) {
    let inner = &*cached.0;
    let is_read = |(ground, stamp): &(Ground, Option<Stamp>)| {
        inner.mode == CacheMode::Cached && stamp.is_some() && matches!(ground, Ground::Board(_))
    };
    let (boards, others): (Vec<_>, Vec<_>) = moved.into_iter().partition(is_read);
    others.into_iter().for_each(|(ground, stamp)| inner.watching.moved(ground, stamp));
    let (deadline, mut reads) = (tokio::time::Instant::now() + READ_WITHIN, true);
    for portion in boards.chunks(PORTION) {
        if reads {
            let board = |(ground, _): &(Ground, Option<Stamp>)| match ground {
                Ground::Board(board) => Some(*board),
                _ => None,
            };
            let wanted: Vec<BoardId> = portion.iter().filter_map(board).collect();
            let began = inner.forgotten.boards.mark();
            match timeout_at(deadline, inner.looks.boards(&wanted)).await {
                Ok(Ok(records)) => records.iter().flatten().for_each(|record| inner.keep(record, began)),
                Ok(Err(error)) => {
                    reads = false;
                    tracing::debug!(cause = ?error.cause(), "Boards that have changed could not be read: {error}");
                }
                Err(_) => reads = false,
            }
        }
        portion.iter().for_each(|(ground, stamp)| inner.watching.moved(*ground, *stamp));
    }
}

/// Waits for the answer to a look, or gives it up.
async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(Code::Timeout, "The database takes too long");
    timeout(LOOK_WITHIN, asked).await.map_err(late)?
}

//! Sessions in memory: which of those that are in use are known to stand, so that a token costs no statement each time.
//!
//! As for rows, twice a second one statement asks about all that are kept, and memory answers only while that was done within
//! the last second. So a session that was ended, by whatever process, is refused within a second.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    coherence::{Coherence, EVERY, LOOK_WITHIN},
    forgotten::Forgotten,
    watching::Watching,
};
use crate::{
    config::CacheMode,
    domain::{Code, Error, Ground, Result, ports::Sessions},
};

/// Sessions that are remembered; about others the source is asked each time.
const MOST: u64 = 50_000;
/// One that nobody asked about for so long is let go.
const IDLE: Duration = Duration::from_secs(60);

/// Memory in front of the sessions of `source`. Cheap to clone.
#[derive(Clone)]
pub struct KeptSessions(Arc<Inner>);

struct Inner {
    source: Arc<dyn Sessions>,
    /// The same, on a connection that looks have for themselves.
    looks: Arc<dyn Sessions>,
    mode: CacheMode,
    standing: Cache<Uuid, ()>,
    /// Those that this process has ended: who asked before does not find them standing.
    forgotten: Forgotten<Uuid>,
    coherence: Coherence,
    /// Who follows in which session.
    watching: Watching,
}

impl KeptSessions {
    /// Begins to follow the source, by the way of `looks`, and tells who is watching. The task ends with the last clone.
    #[must_use]
    pub fn new(source: Arc<dyn Sessions>, looks: Arc<dyn Sessions>, mode: CacheMode, watching: Watching) -> Self {
        let standing = Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build();
        let (forgotten, coherence) = (Forgotten::default(), Coherence::default());
        let kept = KeptSessions(Arc::new(Inner { source, looks, mode, standing, forgotten, coherence, watching }));
        tokio::spawn(follow(Arc::downgrade(&kept.0)));
        kept
    }
}

async fn follow(kept: Weak<Inner>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(kept) = kept.upgrade() else { return };
        let began = kept.coherence.now_ms();
        let watched = kept.watching.known(|ground| matches!(ground, Ground::Session(_)));
        let watched = watched.into_iter().filter_map(|(ground, _)| match ground {
            Ground::Session(session) => Some(session),
            _ => None,
        });
        let mut sessions: Vec<Uuid> = kept.standing.iter().map(|(session, ())| *session).chain(watched).collect();
        sessions.sort_unstable();
        sessions.dedup();
        if sessions.is_empty() {
            kept.coherence.looked(began);
            continue;
        }
        let late = |_| Error::new(Code::Timeout, "The database takes too long");
        let looked = timeout(LOOK_WITHIN, kept.looks.ended_sessions(&sessions)).await.map_err(late);
        match looked.and_then(|looked| looked) {
            Ok(ended) => {
                ended.iter().for_each(|session| kept.standing.invalidate(session));
                kept.coherence.looked(began);
                ended.into_iter().for_each(|session| kept.watching.moved(Ground::Session(session), None));
            }
            // The look grows old, and the source is asked each time.
            Err(error) => tracing::debug!(cause = ?error.cause(), "Sessions cannot be looked at: {error}"),
        }
    }
}

#[async_trait]
impl Sessions for KeptSessions {
    async fn ended_sessions(&self, sessions: &[Uuid]) -> Result<Vec<Uuid>> {
        let Inner { source, mode, standing, forgotten, coherence, .. } = &*self.0;
        if coherence.is_current() && sessions.iter().all(|session| standing.get(session).is_some()) {
            return Ok(Vec::new());
        }
        let began = forgotten.mark();
        let ended = source.ended_sessions(sessions).await?;
        if *mode == CacheMode::Cached {
            let stand = sessions.iter().filter(|session| !ended.contains(session));
            stand.for_each(|session| forgotten.unless_forgotten(session, began, || standing.insert(*session, ())));
        }
        Ok(ended)
    }

    async fn current(&self) {
        self.0.coherence.current().await;
    }

    fn forget_session(&self, session: Uuid) {
        self.0.forgotten.forget(session, || self.0.standing.invalidate(&session));
        self.0.watching.moved(Ground::Session(session), None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Says that all sessions stand, as often as it is let.
    struct Slow {
        lets: Semaphore,
        asked: AtomicUsize,
    }

    impl Slow {
        fn new(lets: usize) -> Arc<Self> {
            Arc::new(Slow { lets: Semaphore::new(lets), asked: AtomicUsize::new(0) })
        }
    }

    #[async_trait]
    impl Sessions for Slow {
        async fn ended_sessions(&self, _: &[Uuid]) -> Result<Vec<Uuid>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.lets.acquire().await.unwrap().forget();
            Ok(Vec::new())
        }

        fn forget_session(&self, _: Uuid) {}
    }

    #[tokio::test]
    async fn who_asked_before_a_session_was_ended_does_not_put_it_back() {
        let (source, session) = (Slow::new(0), Uuid::now_v7());
        let asked = Arc::clone(&source) as Arc<dyn Sessions>;
        let kept = KeptSessions::new(asked, Slow::new(10_000), CacheMode::Cached, Watching::default());
        for is_ended in [false, true] {
            let before = source.asked.load(Ordering::SeqCst);
            let asking = tokio::spawn({
                let kept = kept.clone();
                async move { kept.ended_sessions(&[session]).await }
            });
            while source.asked.load(Ordering::SeqCst) == before {
                tokio::task::yield_now().await;
            }
            if is_ended {
                kept.forget_session(session);
            }
            source.lets.add_permits(1);
            asking.await.unwrap().unwrap();
            assert_eq!(kept.0.standing.contains_key(&session), !is_ended);
            kept.forget_session(session);
        }
    }
}

//! The rows that rights of subscribers rest on, each with the stamp at which it was seen last.
//!
//! The looks of `coherence.rs` and `session.rs` ask about all of them, in one statement for all subscribers, and say here what
//! has changed. Whoever waits for one of these rows is woken then, and by nothing else. What a right is, is not known here.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::Notify;

use crate::domain::{Ground, Stamp};

/// All watched rows of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Watching(Arc<Mutex<HashMap<Ground, Watched>>>);

struct Watched {
    stamp: Stamp,
    /// Those who wait; one who has left is taken out at the next look at the latest.
    waiting: Vec<Weak<Notify>>,
}

impl Watched {
    fn wake(&self) {
        self.waiting.iter().filter_map(Weak::upgrade).for_each(|waiting| waiting.notify_one());
    }
}

impl Watching {
    fn lock(&self) -> MutexGuard<'_, HashMap<Ground, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An item whenever one of the rows may be another than at the given stamp.
    pub(super) fn watch(&self, grounds: &[(Ground, Stamp)]) -> BoxStream<'static, ()> {
        let own = Arc::new(Notify::new());
        let mut watched = self.lock();
        for (ground, stamp) in grounds {
            match watched.entry(*ground) {
                Entry::Vacant(place) => {
                    place.insert(Watched { stamp: *stamp, waiting: vec![Arc::downgrade(&own)] });
                }
                Entry::Occupied(mut place) => {
                    let known = place.get_mut();
                    if known.waiting.len() == known.waiting.capacity() {
                        // Whoever waits again has left the place that it had.
                        known.waiting.retain(|waiting| waiting.strong_count() > 0);
                    }
                    known.waiting.push(Arc::downgrade(&own));
                    if known.stamp != *stamp {
                        // One of the two is older than the row. The next look finds out if it is this one.
                        known.stamp = *stamp;
                        known.wake();
                    }
                }
            }
        }
        drop(watched);
        stream::unfold(own, |own| async move {
            own.notified().await;
            Some(((), own))
        })
        .boxed()
    }

    /// The watched rows that `is_meant` chooses. Rows for which nobody waits any more are let go.
    pub(super) fn known(&self, is_meant: impl Fn(&Ground) -> bool) -> Vec<(Ground, Stamp)> {
        let mut watched = self.lock();
        watched.retain(|_, row| {
            row.waiting.retain(|waiting| waiting.strong_count() > 0);
            !row.waiting.is_empty()
        });
        let meant = watched.iter().filter(|(ground, _)| is_meant(ground));
        meant.map(|(ground, row)| (*ground, row.stamp)).collect()
    }

    /// Hears which stamp a row has now, or that it is gone, and wakes those who wait for it.
    pub(super) fn moved(&self, ground: Ground, stamp: Option<Stamp>) {
        if let Some(row) = self.lock().get_mut(&ground) {
            row.stamp = stamp.unwrap_or(row.stamp);
            row.wake();
        }
    }

    /// How many rows are watched.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.known(|_| true).len()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{BoardId, UserId};

    #[tokio::test]
    async fn who_waits_for_a_row_is_woken_by_it_and_by_no_other() {
        let watching = Watching::default();
        let (board, user) = (Ground::Board(BoardId(Uuid::now_v7())), Ground::User(UserId(Uuid::now_v7())));
        let mut one = watching.watch(&[(board, 1), (user, 1)]);
        let mut other = watching.watch(&[(board, 1)]);
        assert_eq!((one.next().now_or_never(), other.next().now_or_never()), (None, None));
        watching.moved(user, Some(2));
        watching.moved(user, Some(3));
        assert_eq!((one.next().now_or_never(), other.next().now_or_never()), (Some(Some(())), None));
        // Changes that follow each other at once may be one item or two.
        let _ = one.next().now_or_never();
        // Somebody comes who knows the board as it is now.
        let third = watching.watch(&[(board, 2)]);
        assert_eq!((one.next().now_or_never(), other.next().now_or_never()), (Some(Some(())), Some(Some(()))));
        let mut known = watching.known(|_| true);
        known.sort_by_key(|(_, stamp)| *stamp);
        assert_eq!(known, [(board, 2), (user, 3)]);
        drop((one, third));
        assert_eq!(watching.known(|_| true), [(board, 2)]);
        drop(other);
        assert_eq!(watching.rows(), 0);
    }

    #[tokio::test]
    async fn a_row_that_is_gone_wakes_once_for_every_look() {
        let watching = Watching::default();
        let board = Ground::Board(BoardId(Uuid::now_v7()));
        let mut waiting = watching.watch(&[(board, 1)]);
        watching.moved(board, None);
        assert_eq!(waiting.next().now_or_never(), Some(Some(())));
        assert_eq!(watching.known(|_| true), [(board, 1)]);
    }
}

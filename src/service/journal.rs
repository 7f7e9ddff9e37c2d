//! Noting what happens and how much is used, never in the way of a request: it is gathered in memory and written a moment
//! later, all of it in one statement of each kind. A process that is killed loses what it gathered last; one that is
//! stopped writes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use tokio::sync::Mutex as AsyncMutex;

use super::Services;
use crate::{
    access::{Granted, Viewer},
    domain::{
        Activity, ActivityKind, ActivityOf, AnyId, BoardId, BoardRecord, BoardWrites, Error, Result, UsageMetric,
        UsagePoint, UserId,
        ports::{Activities, Usages},
    },
};

/// How long things are gathered.
const GATHER: Duration = Duration::from_millis(500);
/// How long to wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// What is kept while it cannot be written; more is let go.
const MOST: usize = 10_000;
/// The longest time for which use is told at once.
const MAX_USAGE_DAYS: i64 = 92;

#[derive(Default)]
struct Gathered {
    activities: Vec<Activity>,
    usage: HashMap<(UserId, UsageMetric, DateTime<Utc>), i64>,
    /// Whether somebody is going to write it.
    is_due: bool,
}

/// What is to be written.
#[derive(Clone)]
pub(super) struct Journal {
    activities: Arc<dyn Activities>,
    usages: Arc<dyn Usages>,
    gathered: Arc<Mutex<Gathered>>,
    /// One writes at a time: who stops the server waits for what somebody else has taken to write it.
    writing: Arc<AsyncMutex<()>>,
}

impl Journal {
    pub(super) fn new(activities: Arc<dyn Activities>, usages: Arc<dyn Usages>) -> Self {
        Journal { activities, usages, gathered: Arc::default(), writing: Arc::default() }
    }

    fn gather(&self, add: impl FnOnce(&mut Gathered)) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut gathered);
        if !std::mem::replace(&mut gathered.is_due, true) {
            let journal = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                while let Err(error) = journal.write().await {
                    tracing::warn!(cause = ?error.cause(), "Could not write what happened, trying again: {error}");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            });
        }
    }

    fn note(&self, activity: Activity) {
        self.gather(|gathered| {
            if gathered.activities.len() < MOST {
                gathered.activities.push(activity);
            }
        });
    }

    fn count(&self, user: UserId, metric: UsageMetric, value: i64) {
        let now = Utc::now();
        let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
        self.gather(|gathered| {
            if gathered.usage.len() < MOST {
                *gathered.usage.entry((user, metric, hour)).or_default() += value;
            }
        });
    }

    /// Writes all that is gathered. What cannot be written stays, use that may have been counted does not.
    async fn write(&self) -> Result<()> {
        let _writing = self.writing.lock().await;
        let (activities, usage) = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.is_due = false;
            (std::mem::take(&mut gathered.activities), std::mem::take(&mut gathered.usage))
        };
        if !usage.is_empty() {
            let point = |((user, metric, from), value)| (user, metric, UsagePoint { from, value });
            let counts: Vec<_> = usage.into_iter().map(point).collect();
            if let Err(error) = self.usages.add_usage(&counts).await {
                tracing::warn!(cause = ?error.cause(), "Could not count the use of {} accounts: {error}", counts.len());
            }
        }
        if activities.is_empty() {
            return Ok(());
        }
        let written = self.activities.write_activities(&activities).await;
        if written.is_err() {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            let newer = std::mem::replace(&mut gathered.activities, activities);
            gathered.activities.extend(newer);
            gathered.activities.truncate(MOST);
            gathered.is_due = true;
        }
        written
    }
}

impl Services {
    /// Notes something that the viewer did on a board.
    pub(super) fn note(&self, viewer: &Viewer, board: BoardId, kind: ActivityKind, object: Option<AnyId>) {
        let user = viewer.user().map(|user| user.id);
        self.journal.note(Activity::now(user, board, kind, 1, object));
    }

    /// Notes what a set of changes came to.
    pub(super) fn note_changes(
        &self,
        viewer: &Viewer,
        board: BoardId,
        noted: Vec<(ActivityKind, usize, Option<AnyId>)>,
    ) {
        let user = viewer.user().map(|user| user.id);
        let mut changes = 0;
        for (kind, count, object) in noted {
            changes += i64::try_from(count).unwrap_or(i64::MAX);
            self.journal.note(Activity::now(user, board, kind, count, object));
        }
        if let Some(user) = user {
            self.journal.count(user, UsageMetric::BoardChanges, changes);
        }
    }

    /// Counts an operation that a viewer asks for, while there is somewhere to keep it.
    pub fn count_call(&self, viewer: &Viewer) {
        if let Some(user) = viewer.user().filter(|_| !self.is_read_only()) {
            self.journal.count(user.id, UsageMetric::ApiCalls, 1);
        }
    }

    /// Writes what was noted and not written yet, for a server that stops.
    pub async fn write_journal(&self) {
        if let Err(error) = self.journal.write().await {
            tracing::warn!(cause = ?error.cause(), "Could not write what happened last: {error}");
        }
    }

    /// The use of an account, hour by hour.
    ///
    /// # Errors
    /// `InvalidArgument` for a time that is longer than 92 days or ends before it begins; those of the database.
    pub async fn usage(
        &self,
        user: UserId,
        metric: UsageMetric,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<UsagePoint>> {
        if until < from || until - from > TimeDelta::days(MAX_USAGE_DAYS) {
            return Err(Error::invalid(format!("`to` comes after `from`, by at most {MAX_USAGE_DAYS} days")));
        }
        self.journal.usages.usage(user, metric, from, until).await
    }
}

/// What of a board's activity the holder of a right is told.
#[must_use]
pub fn told_to(board: &Granted<Arc<BoardRecord>>) -> ActivityOf {
    let kinds = ActivityKind::ALL.iter().copied().filter(|kind| board.sees_people() || !kind.is_about_people());
    ActivityOf { board: board.board_id(), sealed: board.sealed().clone(), kinds: kinds.collect() }
}

/// What a set of changes comes to, as activity: each kind once.
pub(super) fn noted(writes: &BoardWrites) -> Vec<(ActivityKind, usize, Option<AnyId>)> {
    let mut noted = Vec::new();
    let mut add = |kind, ids: Vec<AnyId>| {
        if !ids.is_empty() {
            noted.push((kind, ids.len(), ids.first().copied().filter(|_| ids.len() == 1)));
        }
    };
    add(ActivityKind::BoardUpdated, writes.board.iter().map(|board| AnyId::Board(board.id)).collect());
    let created: Vec<_> = writes.inserted.iter().map(|write| write.node.id).collect();
    let updated = writes.saved_nodes().into_iter().filter(|id| !created.contains(id)).map(AnyId::Node).collect();
    add(ActivityKind::NodeCreated, created.into_iter().map(AnyId::Node).collect());
    add(ActivityKind::NodeUpdated, updated);
    add(ActivityKind::NodeDeleted, writes.deleted.iter().copied().map(AnyId::Node).collect());
    add(ActivityKind::LinkCreated, writes.links_inserted.iter().map(|link| AnyId::Link(link.id)).collect());
    add(ActivityKind::LinkDeleted, writes.links_deleted.iter().copied().map(AnyId::Link).collect());
    noted
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::{sync::Semaphore, time::timeout};

    use super::*;
    use crate::domain::AccountUsage;

    /// Tables that take their time: one statement for each permit.
    struct Slow {
        lets: Semaphore,
        written: Mutex<usize>,
    }

    #[async_trait]
    impl Activities for Slow {
        async fn write_activities(&self, activities: &[Activity]) -> Result<()> {
            self.lets.acquire().await.unwrap().forget();
            *self.written.lock().unwrap() += activities.len();
            Ok(())
        }
    }

    #[async_trait]
    impl Usages for Slow {
        async fn add_usage(&self, _: &[(UserId, UsageMetric, UsagePoint)]) -> Result<()> {
            Ok(())
        }

        async fn account_usage(&self, _: UserId) -> Result<AccountUsage> {
            Ok(AccountUsage::default())
        }

        async fn usage(
            &self,
            _: UserId,
            _: UsageMetric,
            _: DateTime<Utc>,
            _: DateTime<Utc>,
        ) -> Result<Vec<UsagePoint>> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn who_writes_last_waits_for_what_is_being_written() {
        let slow = Arc::new(Slow { lets: Semaphore::new(0), written: Mutex::new(0) });
        let journal = Journal::new(Arc::clone(&slow) as Arc<dyn Activities>, Arc::clone(&slow) as Arc<dyn Usages>);
        let activity = Activity::now(None, BoardId::generate(), ActivityKind::BoardShared, 1, None);
        journal.gathered.lock().unwrap().activities.push(activity);
        let writing = tokio::spawn({
            let journal = journal.clone();
            async move { journal.write().await }
        });
        while !journal.gathered.lock().unwrap().activities.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::from_millis(50), journal.write()).await.is_err(), "it has not waited");
        slow.lets.add_permits(1);
        journal.write().await.unwrap();
        assert_eq!(*slow.written.lock().unwrap(), 1);
        writing.await.unwrap().unwrap();
    }
}

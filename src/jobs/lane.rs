//! One lane: claims jobs of one type whenever there is room, and runs them batch by batch.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Bells, Handler, Shared, Stop, batch};
use crate::domain::{
    JobClaim, Turns,
    job::{IMPORT_PRIORITY, LEAST_PRIORITY},
};

/// How long a lane that was woken waits for what comes with it: many small commits are one look.
const GATHER: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Lane {
    handler: Arc<dyn Handler>,
    /// Jobs below this priority are left to another lane.
    least_priority: i32,
    /// Wakes it.
    pub(super) bell: Arc<Notify>,
}

impl Lane {
    /// The lanes of a handler: one for everything and, if it is slow, one that imports do not enter.
    pub(super) fn of(handler: Arc<dyn Handler>) -> Vec<Lane> {
        let lane = |least_priority| Lane { handler: Arc::clone(&handler), least_priority, bell: Arc::default() };
        let mut lanes = vec![lane(LEAST_PRIORITY)];
        if handler.is_slow() {
            lanes.push(lane(IMPORT_PRIORITY + 1));
        }
        lanes
    }

    pub(super) async fn run(self, shared: Arc<Shared>, bells: Bells, stopping: watch::Receiver<Stop>) {
        run(self, shared, bells, stopping).await;
    }
}

async fn run(lane: Lane, shared: Arc<Shared>, bells: Bells, mut stopping: watch::Receiver<Stop>) {
    let Lane { handler, least_priority, bell } = lane;
    let slots = Arc::new(Semaphore::new(handler.parallel().max(1)));
    let mut batches = JoinSet::new();
    let (mut turns, mut number, mut is_failing) = (Turns::default(), 0_u64, false);
    while *stopping.borrow_and_update() == Stop::No {
        while batches.try_join_next().is_some() {}
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            _ = stopping.changed() => continue,
        };
        number += 1;
        let worker = format!("{}/{}/{least_priority}/{number}", shared.process, handler.job_type().as_str());
        let claim = JobClaim {
            job_type: handler.job_type(),
            least_priority,
            most: handler.batch().max(1),
            worker: worker.clone(),
            turns: turns.clone(),
        };
        let claimed = if (shared.is_paused)() { Ok(Vec::new()) } else { shared.queue.claim(&claim).await };
        match claimed {
            Ok(jobs) if !jobs.is_empty() => {
                is_failing = false;
                turns.served(&jobs);
                shared.feed.jobs_changed();
                let batch = batch::run(Arc::clone(&shared), Arc::clone(&handler), worker, jobs, stopping.clone());
                let bells = bells.clone();
                batches.spawn(async move {
                    batch.await;
                    drop(slot);
                    // What was asked for meanwhile of the same nodes had to wait for this, and it may have asked for more itself.
                    bells.ring();
                });
                continue;
            }
            Ok(_) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    let job_type = handler.job_type().as_str();
                    tracing::warn!(job_type, cause = ?error.cause(), "Cannot claim jobs: {error}");
                }
            }
        }
        drop(slot);
        tokio::select! {
            woken = timeout(shared.config.poll, bell.notified()) => if woken.is_ok() { sleep(GATHER).await },
            _ = stopping.changed() => {}
        }
    }
    while batches.join_next().await.is_some() {}
}

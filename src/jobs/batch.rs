//! One batch: runs it, keeps it alive with its beats, and says how each of its jobs ended. A handler that panics fails its
//! jobs and nothing else.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Beat, Handler, Shared, Stop, beat::Left};
use crate::domain::{Ending, Error, Job, JobStatus, Result};

/// How long to wait between the tries of telling how jobs ended; after the last they come back as those of a lost program.
const BETWEEN_TRIES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// What became of a batch.
enum Became {
    /// The handler has answered, or panicked.
    Ended(Result<Vec<Result<()>>, JoinError>),
    /// The runner stops, or nobody wants any of it.
    CutOff,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    worker: String,
    jobs: Vec<Job>,
    stopping: watch::Receiver<Stop>,
) {
    let (beat, jobs) = (Arc::new(Beat::new()), Arc::new(jobs));
    let job_type = handler.job_type();
    shared.tally.began(job_type, jobs.len());
    let mut work = JoinSet::new();
    work.spawn({
        let (jobs, beat) = (Arc::clone(&jobs), Arc::clone(&beat));
        async move { handler.run(&jobs, &beat).await }
    });
    let became = tokio::select! {
        Some(ended) = work.join_next() => Became::Ended(ended),
        () = keep_alive(&shared, &worker, &jobs, &beat) => Became::CutOff,
        () = cut_off(stopping) => Became::CutOff,
    };
    // Nothing of it goes on while somebody else begins.
    work.shutdown().await;
    let endings = endings(&jobs, &beat, became);
    tell(&shared, &worker, &endings).await;
    shared.tally.left(job_type, jobs.len());
    shared.feed.jobs_changed();
}

/// Beats until nobody wants any job of the batch.
async fn keep_alive(shared: &Shared, worker: &str, jobs: &[Job], beat: &Beat) {
    let mut beats = interval(shared.config.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.tick().await;
    let mut told = Vec::new();
    loop {
        beats.tick().await;
        let progress = beat.to_tell();
        match shared.queue.beat(worker, &progress).await {
            Ok(wanted) => {
                if beat.wanted(jobs, &wanted) {
                    return;
                }
                if progress != told {
                    shared.feed.jobs_changed();
                    told = progress;
                }
            }
            Err(error) => tracing::warn!(cause = ?error.cause(), "Jobs cannot be kept alive at the moment: {error}"),
        }
    }
}

/// Waits until what runs is to be cut off.
async fn cut_off(mut stopping: watch::Receiver<Stop>) {
    // The sender is gone when the runner was dropped.
    let _ = stopping.wait_for(|stop| *stop == Stop::Now).await;
}

fn endings(jobs: &[Job], beat: &Beat, became: Became) -> Vec<(Job, Ending)> {
    let mut results = match became {
        Became::CutOff => return jobs.iter().map(|job| (job.clone(), Ending::GivenBack)).collect(),
        Became::Ended(Ok(results)) => results.into_iter(),
        Became::Ended(Err(panic)) => {
            tracing::error!(%panic, "A handler of jobs panicked");
            vec![Err(Error::internal("the handler panicked")); jobs.len()].into_iter()
        }
    };
    let ending = |job: &Job| {
        let result = results.next().unwrap_or_else(|| Err(Error::internal("the handler said nothing of the job")));
        let ending = match result {
            Ok(()) => match beat.left(job.id) {
                None => Ending::Done(beat.take_result(job.id)),
                Some(Left::All) => Ending::GivenBack,
                Some(Left::Over(part)) => Ending::Sliced(part),
            },
            Err(error) => {
                let (id, job_type, attempt) = (job.id.to_string(), job.job_type.as_str(), job.attempts);
                tracing::warn!(job = id, job_type, attempt, cause = ?error.cause(), "A job failed: {error}");
                Ending::Failed(error)
            }
        };
        (job.clone(), ending)
    };
    jobs.iter().map(ending).collect()
}

async fn tell(shared: &Shared, worker: &str, endings: &[(Job, Ending)]) {
    let mut waits = BETWEEN_TRIES.iter();
    loop {
        match shared.queue.settle(worker, endings).await {
            Ok(jobs) => {
                let goes_on = |job: &Job| {
                    endings.iter().any(|(of, ending)| of.id == job.id && matches!(ending, Ending::Sliced(_)))
                };
                // A slice is no try that ended.
                let ended: Vec<Job> =
                    jobs.into_iter().filter(|job| job.status != JobStatus::Pending || !goes_on(job)).collect();
                shared.tally.ended(&ended);
                return;
            }
            Err(error) => match waits.next() {
                Some(wait) => {
                    tracing::warn!(cause = ?error.cause(), "Cannot say how jobs ended, trying again: {error}");
                    sleep(*wait).await;
                }
                None => {
                    tracing::error!(cause = ?error.cause(), "Jobs that are done will run again: {error}");
                    return;
                }
            },
        }
    }
}

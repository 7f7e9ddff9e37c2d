//! What operators want to know of the queue: how much waits and for how long, and what was done since the start.

use std::{collections::BTreeMap, sync::Mutex};

use super::locked;
use crate::domain::{Backlog, Job, JobStatus, JobType};

/// What there is to know at a moment.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// What waits and runs, in all processes together; as it was a few seconds ago.
    pub backlog: Vec<Backlog>,
    /// What this process did since its start, by the name of the type.
    pub types: BTreeMap<&'static str, TypeNumbers>,
}

/// What this process did of one type of job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeNumbers {
    /// Running at this moment.
    pub running: u64,
    /// Done.
    pub completed: u64,
    /// Given up.
    pub failed: u64,
    /// To be tried again, or given back.
    pub retried: u64,
    /// Not wanted any more.
    pub cancelled: u64,
}

#[derive(Default)]
pub(super) struct Tally(Mutex<Numbers>);

impl Tally {
    pub(super) fn numbers(&self) -> Numbers {
        locked(&self.0).clone()
    }

    pub(super) fn waits(&self, backlog: Vec<Backlog>) {
        locked(&self.0).backlog = backlog;
    }

    pub(super) fn began(&self, job_type: JobType, jobs: usize) {
        locked(&self.0).types.entry(job_type.as_str()).or_default().running += jobs as u64;
    }

    pub(super) fn left(&self, job_type: JobType, jobs: usize) {
        let mut numbers = locked(&self.0);
        let numbers = numbers.types.entry(job_type.as_str()).or_default();
        numbers.running = numbers.running.saturating_sub(jobs as u64);
    }

    /// Counts jobs whose try has ended, as they are now.
    pub(super) fn ended(&self, jobs: &[Job]) {
        let mut numbers = locked(&self.0);
        for job in jobs {
            let numbers = numbers.types.entry(job.job_type.as_str()).or_default();
            match job.status {
                JobStatus::Completed => numbers.completed += 1,
                JobStatus::Failed => numbers.failed += 1,
                JobStatus::Cancelled => numbers.cancelled += 1,
                JobStatus::Pending | JobStatus::Running => numbers.retried += 1,
            }
        }
    }
}

//! What a handler and the runner tell each other while a batch runs: how far jobs are, and which of them nobody wants any more.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use serde_json::Value;

use super::locked;
use crate::domain::{Job, JobId};

/// The heart of a batch that runs.
pub struct Beat(Mutex<State>);

#[derive(Default)]
struct State {
    progress: HashMap<JobId, f32>,
    results: HashMap<JobId, Value>,
    unwanted: HashSet<JobId>,
    left: HashMap<JobId, Left>,
}

/// What is left of a job whose handler went well.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// Everything: the batch was long enough without it.
    All,
    /// What is over this part, 0 to 1.
    Over(f32),
}

impl Beat {
    pub(super) fn new() -> Self {
        Beat(Mutex::default())
    }

    /// Says how much of a job is done, 0 to 1. Told with the next beat, so it costs nothing to say it often.
    pub fn progress(&self, job: JobId, part: f32) {
        if part.is_finite() {
            locked(&self.0).progress.insert(job, part.clamp(0.0, 1.0));
        }
    }

    /// Says what a job comes to; kept with it when it is done. A small JSON value.
    pub fn result(&self, job: JobId, result: Value) {
        locked(&self.0).results.insert(job, result);
    }

    /// Says that a slice of a long job is done, which makes this part of it, 0 to 1. The job ends its turn when the handler answers
    /// `Ok`, and goes on as bulk work when its next turn comes.
    pub fn slice_done(&self, job: JobId, part: f32) {
        self.progress(job, part);
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        locked(&self.0).left.insert(job, Left::Over(part));
    }

    /// Says that a job was not begun, because the others of the batch took long enough: it keeps its place in the queue.
    pub fn not_begun(&self, job: JobId) {
        locked(&self.0).left.insert(job, Left::All);
    }

    /// Whether the job was cancelled, or taken away, since it began; known some seconds later. Its result is not asked for.
    #[must_use]
    pub fn is_unwanted(&self, job: JobId) -> bool {
        locked(&self.0).unwanted.contains(&job)
    }

    /// Progress to be told.
    pub(super) fn to_tell(&self) -> Vec<(JobId, f32)> {
        locked(&self.0).progress.iter().map(|(job, part)| (*job, *part)).collect()
    }

    /// Takes over which jobs of the batch are still to be done; whether none is.
    pub(super) fn wanted(&self, batch: &[Job], wanted: &[JobId]) -> bool {
        let mut state = locked(&self.0);
        state.unwanted = batch.iter().map(|job| job.id).filter(|job| !wanted.contains(job)).collect();
        state.unwanted.len() == batch.len()
    }

    pub(super) fn left(&self, job: JobId) -> Option<Left> {
        locked(&self.0).left.get(&job).copied()
    }

    pub(super) fn take_result(&self, job: JobId) -> Option<Value> {
        locked(&self.0).results.remove(&job)
    }
}

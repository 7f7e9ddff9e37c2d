//! Background jobs.
//!
//! | key in `[jobs]`      | variable                       | default |
//! |----------------------|--------------------------------|---------|
//! | `workers`            | `RAGBOARD_JOBS_WORKERS`        | true    |
//! | `poll_seconds`       | `RAGBOARD_JOBS_POLL`           | 1       |
//! | `heartbeat_seconds`  | `RAGBOARD_JOBS_HEARTBEAT`      | 10      |
//! | `lost_after_seconds` | `RAGBOARD_JOBS_LOST_AFTER`     | 60      |
//! | `drain_seconds`      | `RAGBOARD_JOBS_DRAIN`          | 20      |

use std::time::Duration;

use super::{
    reader::Reader,
    values::{Seconds, Switch},
};

/// Background jobs.
#[derive(Clone, Debug)]
pub struct JobsConfig {
    /// Whether `serve` does jobs, too. Without, something else has to: `ragboard worker`.
    pub workers: bool,
    /// How often the queue is looked at when nobody says that there is something.
    pub poll: Duration,
    /// How often a worker says that it is alive.
    pub heartbeat: Duration,
    /// How long a worker may be silent before its jobs are taken away; longer than three beats.
    pub lost_after: Duration,
    /// How long jobs that run may take to end when the program stops.
    pub drain: Duration,
}

impl JobsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut seconds = |path, variables, default| {
            reader.value(path, variables, &Seconds(0.01..=3600.0), Duration::from_secs(default))
        };
        let poll = seconds("jobs.poll_seconds", &["RAGBOARD_JOBS_POLL"], 1);
        let heartbeat = seconds("jobs.heartbeat_seconds", &["RAGBOARD_JOBS_HEARTBEAT"], 10);
        let lost_after = seconds("jobs.lost_after_seconds", &["RAGBOARD_JOBS_LOST_AFTER"], 60);
        let drain = seconds("jobs.drain_seconds", &["RAGBOARD_JOBS_DRAIN"], 20);
        if lost_after < heartbeat * 3 {
            let message = "must be at least three times jobs.heartbeat_seconds";
            reader.problem("jobs.lost_after_seconds (RAGBOARD_JOBS_LOST_AFTER)", message);
        }
        let workers = reader.value("jobs.workers", &["RAGBOARD_JOBS_WORKERS"], &Switch, true);
        JobsConfig { workers, poll, heartbeat, lost_after, drain }
    }
}

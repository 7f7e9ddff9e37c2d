//! Background work as rows of a queue: what a job is, how one ends, and when it is tried again.
//!
//! Who does the work is `jobs/`, where the rows are is `store/job.rs`; the ports between them are in `ports.rs`. A job may run
//! twice: whoever does it must not mind.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BoardId, Code, Cursor, Error, JobId, NodeId, Sealed, SortKey, UserId, words::words};

/// Names the order of jobs inside cursors.
pub const JOB_ORDER: &str = "job";
/// The priority of what may wait longest.
pub const LEAST_PRIORITY: i32 = 1;
/// The priority of what imports ask for; what somebody waits for is above it.
pub const IMPORT_PRIORITY: i32 = 3;
/// The first wait before another try; each further one is four times as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

words!(
    /// What a job does.
    JobType {
        /// Cuts the text of a resource into chunks that can be found by their words.
        ExtractText = "extract_text",
        /// Writes a summary.
        GenerateSummary = "generate_summary",
        /// Makes the vectors of the chunks of a resource.
        CreateEmbeddings = "create_embeddings",
        /// Writes down what is said.
        TranscribeAudio = "transcribe_audio",
        /// Describes an image.
        AnalyzeImage = "analyze_image",
        /// Makes a video ready to be shown and read.
        ProcessVideo = "process_video",
        /// Reads a web page.
        ScrapeUrl = "scrape_url",
        /// Looks for viruses.
        VirusScan = "virus_scan",
    }
);

words!(
    /// How far a job is.
    JobStatus {
        /// Waits for its turn, or for another try.
        Pending = "pending",
        /// Somebody works on it.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Given up after all its attempts.
        Failed = "failed",
        /// Somebody did not want it any more, or another job does the same.
        Cancelled = "cancelled",
    }
);

/// A piece of work for a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The board it works for.
    pub board_id: BoardId,
    /// The owner of the board when it was asked for; by this accounts take turns. `None` for jobs that ended long ago.
    pub owner_id: Option<UserId>,
    /// The node it works on.
    pub node_id: Option<NodeId>,
    /// What it does.
    pub job_type: JobType,
    /// How far it is.
    pub status: JobStatus,
    /// 1 (last) to 10 (first).
    pub priority: i32,
    /// How often it was tried, the try that runs included; what was put off does not count.
    pub attempts: i32,
    /// How often it may be tried.
    pub max_attempts: i32,
    /// How often it was put off because something was overloaded or took too long; at most four times `max_attempts`.
    pub postponed: i32,
    /// How much of it is done, 0 to 1.
    pub progress: f32,
    /// Why the last try failed, for whoever may see the node.
    pub error_message: Option<String>,
    /// Its input; an object.
    pub payload: Value,
    /// Its output, if it has one.
    pub result: Option<Value>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Not before.
    pub scheduled_for: DateTime<Utc>,
    /// When the last try began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended, one way or the other.
    pub completed_at: Option<DateTime<Utc>>,
    /// Last change of its state or progress.
    pub changed_at: DateTime<Utc>,
}

impl Job {
    /// Its place in the list of its board.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { key: SortKey::Time(self.created_at), id: self.id.0 }
    }

    /// The resource of which the one that it is about was copied, if its text may be searchable there already.
    #[must_use]
    pub fn copy_of(&self) -> Option<NodeId> {
        self.payload.get("copyOf").and_then(Value::as_str).and_then(|id| id.parse().ok()).map(NodeId)
    }

    /// Whether somebody asked for it anew although nothing may have changed: then it is done whole.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.payload.get("force").and_then(Value::as_bool).unwrap_or_default()
    }
}

/// Jobs of living nodes of a board.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobList {
    /// The board.
    pub board: BoardId,
    /// In these states; in any if none is named.
    pub statuses: Vec<JobStatus>,
    /// Without those of nodes that lie in these folders.
    pub sealed: Sealed,
}

impl JobList {
    /// Whether another list differs in nothing but its board.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.statuses == other.statuses && self.sealed == other.sealed
    }
}

/// Work that is asked for. There is at most one pending job of a type for a node: asking again raises its priority.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// The board.
    pub board_id: BoardId,
    /// The node to work on.
    pub node_id: NodeId,
    /// What to do.
    pub job_type: JobType,
    /// 1 (last) to 10 (first).
    pub priority: i32,
    /// Its input, an object; that of a job which is pending already is kept where this says nothing else.
    pub payload: Value,
}

impl NewJob {
    /// Work with no input but the node.
    #[must_use]
    pub fn new(board_id: BoardId, node_id: NodeId, job_type: JobType, priority: i32) -> Self {
        NewJob { board_id, node_id, job_type, priority, payload: Value::Object(serde_json::Map::new()) }
    }

    /// To be done whole, even if nothing has changed.
    #[must_use]
    pub fn forced(self) -> Self {
        NewJob { payload: serde_json::json!({ "force": true }), ..self }
    }
}

/// What a worker asks for: due jobs of one type, of each account those of the highest priority that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobClaim {
    /// What they do.
    pub job_type: JobType,
    /// None of a lower priority, from 1.
    pub least_priority: i32,
    /// At most so many, shared out evenly between the accounts that have some, and of an account between its boards.
    pub most: usize,
    /// The name of the batch; no two batches have the same.
    pub worker: String,
    /// Who was served before.
    pub turns: Turns,
}

/// Whose turn it is: accounts take turns in the order of their ids, and the boards of an account among themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// The account that was served last: those after it come first.
    pub owner: Option<UserId>,
    /// Of accounts the board that was served last. At most [`Turns::MOST`]; one that is forgotten begins anew.
    pub boards: HashMap<UserId, BoardId>,
}

impl Turns {
    /// Accounts whose last board is known.
    pub const MOST: usize = 256;

    /// Takes over what was claimed. Turns go upwards from the one that was served before, and around.
    pub fn served(&mut self, jobs: &[Job]) {
        let owners = || jobs.iter().filter_map(|job| job.owner_id);
        self.owner = last_served(self.owner, owners()).or(self.owner);
        for owner in owners() {
            let boards = jobs.iter().filter(|job| job.owner_id == Some(owner)).map(|job| job.board_id);
            let Some(last) = last_served(self.boards.get(&owner).copied(), boards) else { continue };
            if self.boards.len() >= Turns::MOST && !self.boards.contains_key(&owner) {
                self.boards.clear();
            }
            self.boards.insert(owner, last);
        }
    }
}

/// The last of those served, where turns began behind `before` and went around.
fn last_served<T: Copy + Ord>(before: Option<T>, served: impl Iterator<Item = T> + Clone) -> Option<T> {
    served.clone().filter(|one| Some(*one) <= before).max().or_else(|| served.max())
}

/// How a try of a job ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It is done, perhaps with a result.
    Done(Option<Value>),
    /// It went wrong. It is tried again later until its attempts are used up; an overload or a timeout only puts it off.
    Failed(Error),
    /// The worker stops before it was done: somebody else does it, and this was no attempt.
    GivenBack,
    /// This much of it is done, 0 to 1. The rest is bulk work from now on: it waits for its next turn with [`IMPORT_PRIORITY`]
    /// at most. This was no attempt.
    Sliced(f32),
}

/// Whether an error says that nothing is wrong with the job itself: it is put off, which happens at most four times as often
/// as it may be tried.
#[must_use]
pub fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::Overloaded | Code::Timeout | Code::RateLimited | Code::ReadOnly)
}

/// How long a job waits after it has gone wrong `times` times: 2, 8, 32 … seconds, at most an hour; `luck`, 0 to 1, makes it
/// up to a quarter shorter or longer, so that jobs that failed together do not come back together.
#[must_use]
pub fn wait_before_retry(times: u32, luck: f64) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1))).min(LONGEST_WAIT);
    wait.mul_f64(0.75 + 0.5 * luck.clamp(0.0, 1.0)).min(LONGEST_WAIT)
}

/// How many jobs of a type are in a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// What they do.
    pub job_type: JobType,
    /// Pending or running.
    pub status: JobStatus,
    /// How many.
    pub count: i64,
    /// For how long the oldest of them is due, or runs, in seconds; 0 if none is due.
    pub oldest_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_fourfold_up_to_an_hour() {
        let seconds = |times| wait_before_retry(times, 0.5).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 40].map(seconds), [2, 8, 32, 2048, 3600, 3600]);
        assert_eq!(wait_before_retry(0, 0.5).as_secs(), 2);
        for luck in [0.0, 0.3, 1.0, 7.0, -1.0] {
            assert!((1.5..=2.5).contains(&wait_before_retry(1, luck).as_secs_f64()), "{luck}");
            assert!(wait_before_retry(99, luck) <= LONGEST_WAIT);
        }
    }

    #[test]
    fn turns_go_around() {
        assert_eq!(last_served(None, [3, 1, 2].into_iter()), Some(3));
        assert_eq!(last_served(Some(3), [7, 4].into_iter()), Some(7));
        assert_eq!(last_served(Some(3), [7, 1, 2].into_iter()), Some(2), "after the last came the first ones");
        assert_eq!(last_served(Some(3), [3].into_iter()), Some(3));
        assert_eq!(last_served(Some(3), [].into_iter()), None::<i32>);
    }

    #[test]
    fn what_passes_is_no_fault_of_the_job() {
        assert!(is_passing(&Error::new(Code::Overloaded, "busy")));
        assert!(!is_passing(&Error::invalid("broken")) && !is_passing(&Error::internal("bug")));
    }
}

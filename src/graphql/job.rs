//! Background jobs of a board, as those see them who see the board.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result};
use chrono::{DateTime, Utc};

use super::{
    board::Board,
    node::BoardNode,
    page::connection,
    resource::ResourceNode,
    rows::row,
    scalar::id,
    scope::{Scope, Session},
};
use crate::{
    domain::{self, JOB_ORDER, JobId, JobList, PageRequest},
    service::job::known,
};

/// What a job does.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::JobType")]
pub(super) enum JobType {
    /// Cuts the text of a resource into chunks that can be found by their words. Takes milliseconds.
    ExtractText,
    /// Writes a summary.
    GenerateSummary,
    /// Makes the vectors by which the chunks of a resource are found by their meaning.
    CreateEmbeddings,
    /// Writes down what is said in a recording.
    TranscribeAudio,
    /// Describes an image.
    AnalyzeImage,
    /// Makes a video ready to be shown and read.
    ProcessVideo,
    /// Reads a web page.
    ScrapeUrl,
    /// Looks for viruses in a file.
    VirusScan,
}

/// How far a job is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::JobStatus")]
pub(super) enum JobStatus {
    /// It waits for its turn, or for another try at `scheduledFor`.
    Pending,
    /// It runs.
    Running,
    /// It is done.
    Completed,
    /// It was given up after its attempts; `error` says why. `retryJob` has it tried again.
    Failed,
    /// It was cancelled, or another job does the same.
    Cancelled,
}

/// A piece of background work on a node. There is at most one pending job of a type for a node: what is asked for twice is done
/// once. Ended jobs are kept for a month.
pub(super) struct ProcessingJob {
    scope: Scope,
    job: Arc<domain::Job>,
}

row!(ProcessingJob);

impl ProcessingJob {
    /// The job, if the viewer may see its node.
    pub(super) async fn seen(scope: &Scope, job: Arc<domain::Job>) -> domain::Result<Option<Self>> {
        let Some(node) = job.node_id else { return Ok(None) };
        let node = scope.loaders().node(&scope.board, node).await?;
        Ok(node.map(|_| ProcessingJob { scope: scope.clone(), job }))
    }

    /// The job with this id, if the viewer may see its board and its node.
    pub(super) async fn find(session: &Arc<Session>, id: JobId) -> domain::Result<Option<Self>> {
        let Some(job) = session.loaders.job(id).await? else { return Ok(None) };
        ProcessingJob::of(session, job).await
    }

    /// A job that was read, if the viewer may see its board and its node.
    pub(super) async fn of(session: &Arc<Session>, job: Arc<domain::Job>) -> domain::Result<Option<Self>> {
        let Some(scope) = session.board(job.board_id).await? else { return Ok(None) };
        ProcessingJob::seen(&scope, job).await
    }
}

/// A piece of background work on a node. There is at most one pending job of a type for a node: what is asked for twice is done
/// once. Ended jobs are kept for a month.
#[Object]
impl ProcessingJob {
    /// Global id, `job_…`.
    pub(super) async fn id(&self) -> ID {
        id(self.job.id)
    }

    /// The board it works for.
    async fn board(&self) -> Board {
        Board(self.scope.clone())
    }

    /// The resource it works on; null when it is there no more, or works on another kind of node.
    async fn resource(&self) -> Result<Option<ResourceNode>> {
        let Some(node) = self.job.node_id else { return Ok(None) };
        let node = Box::pin(self.scope.loaders().node(&self.scope.board, node)).await?;
        Ok(node.and_then(|node| match BoardNode::new(&self.scope, &node) {
            BoardNode::Resource(resource) => Some(resource),
            _ => None,
        }))
    }

    /// What it does.
    async fn job_type(&self) -> JobType {
        self.job.job_type.into()
    }

    /// How far it is.
    async fn status(&self) -> JobStatus {
        self.job.status.into()
    }

    /// From 1, done last, to 10, done first. Changes by hand have 5, imported files 3.
    async fn priority(&self) -> i32 {
        self.job.priority
    }

    /// How much of it is done, from 0 to 1; told while it runs every few seconds.
    async fn progress(&self) -> f64 {
        // So that 0.1 stays 0.1.
        (f64::from(self.job.progress) * 1e4).round() / 1e4
    }

    /// How often it was tried, a try that runs included. Having been put off because something was overloaded does not count.
    async fn attempts(&self) -> i32 {
        self.job.attempts
    }

    /// How often it may be tried before it fails.
    async fn max_attempts(&self) -> i32 {
        self.job.max_attempts
    }

    /// Why the last try failed; null when none did, and when it is done.
    async fn error(&self) -> Option<&str> {
        self.job.error_message.as_deref()
    }

    /// What it came to, if it says so.
    async fn result(&self) -> Option<serde_json::Value> {
        self.job.result.clone()
    }

    /// When it was asked for.
    async fn created_at(&self) -> DateTime<Utc> {
        self.job.created_at
    }

    /// It is not tried before this.
    async fn scheduled_for(&self) -> DateTime<Utc> {
        self.job.scheduled_for
    }

    /// When its last try began; null before the first.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.job.started_at
    }

    /// When it ended, one way or the other; null while it has not.
    async fn completed_at(&self) -> Option<DateTime<Utc>> {
        self.job.completed_at
    }
}

/// The jobs of a board: what their connection needs besides the rows.
pub(super) struct JobRows {
    scope: Scope,
    list: JobList,
}

impl JobRows {
    /// A page of the jobs, newest first.
    pub(super) async fn read(
        scope: &Scope,
        statuses: Vec<domain::JobStatus>,
        page: &PageRequest,
    ) -> domain::Result<ProcessingJobConnection> {
        let list = known(scope.board.granted(), statuses);
        let page = scope.loaders().job_page(list.clone(), page.clone()).await?;
        Ok(ProcessingJobConnection::new(page, Arc::new(JobRows { scope: scope.clone(), list })))
    }

    fn node(&self, job: &Arc<domain::Job>) -> ProcessingJob {
        ProcessingJob { scope: self.scope.clone(), job: Arc::clone(job) }
    }

    fn cursor(&self, job: &Arc<domain::Job>) -> String {
        job.place().encode(JOB_ORDER)
    }

    async fn total_count(&self) -> domain::Result<i64> {
        self.scope.loaders().job_count(self.list.clone()).await
    }
}

connection!(ProcessingJobConnection, ProcessingJobEdge, ProcessingJob, Arc<domain::Job>, JobRows, "background jobs");

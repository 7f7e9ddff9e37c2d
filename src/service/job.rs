//! Background jobs of boards: seeing them, and what people may do about them. Doing them is `jobs/`.
//!
//! Jobs are asked for by the change that makes them necessary, in the database; here only by those who want something done
//! again. A job of a node that the viewer does not see is not there for them.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use super::{
    Services,
    change::{WriteOptions, origin},
};
use crate::{
    access::{Granted, Viewer},
    domain::{
        AnyId, BoardId, BoardRecord, IdempotencyKey, Job, JobId, JobList, JobStatus, JobType, NewJob, NodeId, NodeKey,
        NodeKind, Outcome, Permission, Refusal,
    },
};

/// Somebody waits for what they have asked for again, so it comes before everything else but little.
const PRIORITY_ON_DEMAND: i32 = 8;

fn no_node(id: NodeId) -> Refusal {
    Refusal::not_found("id", format!("There is no node {id}"))
}

fn no_job(id: JobId) -> Refusal {
    Refusal::not_found("id", format!("There is no job {id}"))
}

/// The jobs of a board that a viewer may know of; of all states if none is named.
#[must_use]
pub fn known(board: &Granted<Arc<BoardRecord>>, statuses: Vec<JobStatus>) -> JobList {
    JobList { board: board.board_id(), statuses, sealed: board.sealed().clone() }
}

impl Services {
    /// The open jobs of a board, then every job that changes. Who may hear of which is for the caller to check, each time.
    #[must_use]
    pub fn follow_jobs(&self, board: BoardId) -> BoxStream<'static, Arc<Job>> {
        self.ports.job_feed.follow_jobs(board)
    }

    /// Has the text of a resource cut and embedded anew, whether or not it has changed; the job that does it, which may be one
    /// that was pending.
    ///
    /// # Errors
    /// A refusal when there is no such resource for the viewer, or they may not change it; those of the database.
    pub async fn reprocess_resource(
        &self,
        viewer: &Viewer,
        place: (BoardId, NodeId),
        options: WriteOptions,
    ) -> Outcome<Arc<Job>> {
        let origin = origin(viewer, options)?;
        let (board, node) = place;
        self.editable(viewer, board, node, || no_node(node)).await?;
        let found = self.ports.reads.nodes(&[NodeKey { board_id: board, node_id: node }]).await?;
        let found = found.into_iter().flatten().next().ok_or_else(|| no_node(node))?;
        if !matches!(found.kind, NodeKind::Resource(_)) {
            return Err(Refusal::invalid("id", "This node is no resource: it has no text to be read").into());
        }
        let job = NewJob::new(board, node, JobType::ExtractText, PRIORITY_ON_DEMAND).forced();
        let id = self.ports.jobs.enqueue_once(job, origin.idempotency.as_ref()).await?.ok_or_else(|| no_node(node))?;
        // Workers are woken by what is committed.
        self.ports.feed.committed(board);
        self.job_now(id).await
    }

    /// Cancels a job that is pending or running. One that runs may go on for some seconds, and what it has done stays.
    ///
    /// # Errors
    /// A refusal when there is no such job for the viewer, they may not change its board, or it has ended; those of the
    /// database.
    pub async fn cancel_job(&self, viewer: &Viewer, id: JobId, options: WriteOptions) -> Outcome<Arc<Job>> {
        let (job, key) = self.job_to_change(viewer, id, options).await?;
        if self.ports.jobs.cancel(job.board_id, id, key.as_ref()).await?.is_none() {
            let message = "This job has ended already";
            return Err(Refusal::conflict("id", Some(AnyId::Job(id)), vec!["status"], message).into());
        }
        self.ports.job_feed.jobs_changed();
        self.job_now(id).await
    }

    /// Has a job that failed or was cancelled tried again, with all its attempts.
    ///
    /// # Errors
    /// A refusal when there is no such job for the viewer, they may not change its board, it has not ended or is done, or
    /// another job for its node is pending; those of the database.
    pub async fn retry_job(&self, viewer: &Viewer, id: JobId, options: WriteOptions) -> Outcome<Arc<Job>> {
        let (job, key) = self.job_to_change(viewer, id, options).await?;
        if self.ports.jobs.retry(job.board_id, id, key.as_ref()).await?.is_none() {
            let message = match job.status {
                JobStatus::Pending | JobStatus::Running => "This job has not ended yet",
                JobStatus::Completed => "This job is done; use reprocessResource to have it done again",
                JobStatus::Failed | JobStatus::Cancelled => {
                    "Another job for the same node is pending, or this one is still being stopped"
                }
            };
            return Err(Refusal::conflict("id", Some(AnyId::Job(id)), vec!["status"], message).into());
        }
        self.ports.feed.committed(job.board_id);
        self.job_now(id).await
    }

    /// A job that the viewer may change, and the key of their request.
    async fn job_to_change(
        &self,
        viewer: &Viewer,
        id: JobId,
        options: WriteOptions,
    ) -> Outcome<(Arc<Job>, Option<IdempotencyKey>)> {
        let origin = origin(viewer, options)?;
        let job = self.ports.jobs.jobs(&[id]).await?.into_iter().flatten().next().ok_or_else(|| no_job(id))?;
        let node = job.node_id.ok_or_else(|| no_job(id))?;
        self.editable(viewer, job.board_id, node, || no_job(id)).await?;
        Ok((job, origin.idempotency))
    }

    /// Checks that the viewer sees a node and may change its board.
    async fn editable(
        &self,
        viewer: &Viewer,
        board: BoardId,
        node: NodeId,
        absent: impl Fn() -> Refusal,
    ) -> Outcome<()> {
        let record = self.ports.reads.boards(&[board]).await?.into_iter().flatten().next().ok_or_else(&absent)?;
        let granted = Granted::check(viewer, &record, Permission::View).ok_or_else(&absent)?;
        let hidden = self.ports.folder_locks.hidden(board, &[node], granted.sealed()).await?;
        let living = self.ports.reads.nodes(&[NodeKey { board_id: board, node_id: node }]).await?;
        if !hidden.is_empty() || living.into_iter().flatten().next().is_none() {
            return Err(absent().into());
        }
        if granted.permission() < Permission::Edit {
            return Err(Refusal::forbidden("id", "You may see this board, but not change it").into());
        }
        Ok(())
    }

    /// The job as it is after a change.
    async fn job_now(&self, id: JobId) -> Outcome<Arc<Job>> {
        let job = self.ports.jobs.jobs(&[id]).await?.into_iter().flatten().next();
        job.ok_or_else(|| no_job(id).into())
    }
}

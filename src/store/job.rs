//! Background jobs in PostgreSQL, as they are read and asked for: by id, as lists of boards, what changed, how much waits.
//! What workers do with them is `job/queue.rs`. Jobs of the system, which have no board, are nobody's here.

mod queue;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Double, Float, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Store,
    error::{constraint_of, unexpected},
    folder_lock::outside,
    statement::Statement,
};
use crate::domain::{
    Backlog, BoardId, Ending, Failure, IdempotencyKey, Job, JobClaim, JobId, JobList, JobStatus, JobType, NewJob,
    NodeId, Outcome, Page, PageRequest, Result, Sealed, UserId,
    ports::{BoardLists, JobReads, Jobs},
};

/// Columns of a job `j`, in the order of [`JobRow`].
pub(super) const JOB_COLUMNS: &str = "j.id, j.board_id, j.owner_id, j.resource_id, j.job_type::text, j.status::text, j.priority, j.attempts, \
    j.max_attempts, j.postponed, j.progress, j.error_message, j.payload, j.result, j.created_at, j.scheduled_for, \
    j.started_at, j.completed_at, j.changed_at";

pub(super) type JobSql = (
    SqlUuid,
    SqlUuid,
    Nullable<SqlUuid>,
    Nullable<SqlUuid>,
    Text,
    Text,
    Integer,
    Integer,
    Integer,
    Integer,
    Float,
    Nullable<Text>,
    Jsonb,
    Nullable<Jsonb>,
    Timestamptz,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Timestamptz,
);
pub(super) type JobRow = (
    Uuid,
    Uuid,
    Option<Uuid>,
    Option<Uuid>,
    String,
    String,
    i32,
    i32,
    i32,
    i32,
    f32,
    Option<String>,
    Value,
    Option<Value>,
    DateTime<Utc>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    DateTime<Utc>,
);

/// The unique index that lets only one job of a type wait for a node.
const ONCE_PENDING: &str = "processing_jobs_once_pending";

fn job_from(row: JobRow) -> Result<Job> {
    #[rustfmt::skip]
    let (
        id, board, owner, node, job_type, status, priority, attempts, max_attempts, postponed, progress, error_message, payload,
        result, created_at, scheduled_for, started_at, completed_at, changed_at,
    ) = row;
    Ok(Job {
        id: JobId(id),
        board_id: BoardId(board),
        owner_id: owner.map(UserId),
        node_id: node.map(NodeId),
        job_type: JobType::from_word(&job_type).ok_or_else(|| unexpected("job type", &job_type))?,
        status: JobStatus::from_word(&status).ok_or_else(|| unexpected("job status", &status))?,
        priority,
        attempts,
        max_attempts,
        postponed,
        progress,
        error_message,
        payload,
        result,
        created_at,
        scheduled_for,
        started_at,
        completed_at,
        changed_at,
    })
}

pub(super) fn jobs_from(rows: Vec<JobRow>) -> Result<Vec<Job>> {
    rows.into_iter().map(job_from).collect()
}

/// Adds which jobs a list of the board `k.board_id` has.
pub(super) fn listed<ST>(statement: Statement<ST>, list: &JobList) -> Statement<ST> {
    let mut statement = statement.sql(
        " FROM processing_jobs j JOIN nodes n ON n.board_id = j.board_id AND n.id = j.resource_id \
         AND n.deleted_at IS NULL WHERE j.board_id = k.board_id",
    );
    if !list.statuses.is_empty() {
        let words: Vec<&'static str> = list.statuses.iter().map(|status| status.as_str()).collect();
        statement = statement.sql(" AND j.status::text = ANY(").bind::<Array<Text>, _>(words).sql(")");
    }
    outside(statement, &list.sealed, "j.board_id", "j.resource_id")
}

/// Asks for work on nodes that live; also inside a transaction that makes it necessary. Several at the same moment ask in one
/// order, so that they do not wait for each other in a circle.
fn enqueued(jobs: &[NewJob]) -> Statement<SqlUuid> {
    Statement::new("jobs.enqueue")
        .sql(
            "INSERT INTO processing_jobs AS j (board_id, resource_id, job_type, priority, payload) \
             SELECT DISTINCT ON (n.id, u.job_type) n.board_id, n.id, u.job_type::job_type, \
             greatest(1, least(10, u.priority)), u.payload FROM unnest(",
        )
        .bind::<Array<SqlUuid>, _>(jobs.iter().map(|job| job.board_id.0).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<SqlUuid>, _>(jobs.iter().map(|job| job.node_id.0).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Text>, _>(jobs.iter().map(|job| job.job_type.as_str()).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Integer>, _>(jobs.iter().map(|job| job.priority).collect::<Vec<_>>())
        .sql(", ")
        .bind::<Array<Jsonb>, _>(jobs.iter().map(|job| job.payload.clone()).collect::<Vec<_>>())
        .sql(
            ") AS u (board_id, node_id, job_type, priority, payload) JOIN nodes n ON n.board_id = u.board_id \
             AND n.id = u.node_id AND n.deleted_at IS NULL ORDER BY n.id, u.job_type, u.priority DESC \
             ON CONFLICT (resource_id, job_type) WHERE status = 'pending' DO UPDATE SET \
             priority = greatest(j.priority, excluded.priority), payload = j.payload || excluded.payload, \
             scheduled_for = least(j.scheduled_for, excluded.scheduled_for), \
             changed_at = CASE WHEN excluded.priority > j.priority THEN clock_timestamp() ELSE j.changed_at END \
             RETURNING j.id",
        )
}

/// Asks for work inside a transaction; see [`Jobs::enqueue`].
pub(super) async fn enqueue(store: &Store, connection: &mut AsyncPgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>> {
    let rows: Vec<Uuid> = store.run(connection, enqueued(jobs)).await?;
    Ok(rows.into_iter().map(JobId).collect())
}

#[async_trait]
impl JobReads for Store {
    async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Arc<Job>>>> {
        let rows: Vec<JobRow> = self
            .fetch(|| {
                Statement::<JobSql>::new("jobs.by_id")
                    .sql("SELECT ")
                    .sql(JOB_COLUMNS)
                    .sql(" FROM processing_jobs j WHERE j.board_id IS NOT NULL AND j.id = ANY(")
                    .bind::<Array<SqlUuid>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
                    .sql(")")
            })
            .await?;
        let jobs = jobs_from(rows)?.into_iter().map(|job| (job.id, Arc::new(job)));
        let jobs: HashMap<JobId, Arc<Job>> = jobs.collect();
        Ok(ids.iter().map(|id| jobs.get(id).cloned()).collect())
    }
}

#[async_trait]
impl Jobs for Store {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<JobId>> {
        // Asked for twice is asked for once, so a lost connection does no harm.
        let rows: Vec<Uuid> = self.fetch(|| enqueued(jobs)).await?;
        Ok(rows.into_iter().map(JobId).collect())
    }

    async fn enqueue_once(&self, job: NewJob, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>> {
        Ok(self.changed(request, enqueued(&[job])).await?.map(JobId))
    }

    async fn claim(&self, claim: &JobClaim) -> Result<Vec<Job>> {
        self.claim_jobs(claim).await
    }

    async fn beat(&self, worker: &str, progress: &[(JobId, f32)]) -> Result<Vec<JobId>> {
        self.beat_jobs(worker, progress).await
    }

    async fn settle(&self, worker: &str, endings: &[(Job, Ending)]) -> Result<Vec<Job>> {
        self.settle_jobs(worker, endings).await
    }

    async fn recover(&self, silent_for: Duration) -> Result<Vec<Job>> {
        self.recover_jobs(silent_for).await
    }

    async fn cancel(&self, board: BoardId, job: JobId, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>> {
        let statement = Statement::<SqlUuid>::new("jobs.cancel")
            .sql(
                "UPDATE processing_jobs j SET status = 'cancelled', completed_at = now(), changed_at = clock_timestamp() \
                 WHERE j.status IN ('pending', 'running') AND j.board_id = ",
            )
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND j.id = ")
            .bind::<SqlUuid, _>(job.0)
            .sql(" RETURNING j.id");
        Ok(self.changed(request, statement).await?.map(JobId))
    }

    async fn retry(&self, board: BoardId, job: JobId, request: Option<&IdempotencyKey>) -> Outcome<Option<JobId>> {
        let statement = Statement::<SqlUuid>::new("jobs.retry")
            .sql(
                "UPDATE processing_jobs j SET status = 'pending', attempts = 0, postponed = 0, progress = 0, \
                 error_message = NULL, result = NULL, started_at = NULL, completed_at = NULL, scheduled_for = now(), \
                 changed_at = clock_timestamp() WHERE j.status IN ('failed', 'cancelled') AND j.worker IS NULL \
                 AND NOT EXISTS (SELECT FROM processing_jobs o WHERE o.status = 'pending' AND o.job_type = j.job_type \
                 AND o.resource_id = j.resource_id) AND j.board_id = ",
            )
            .bind::<SqlUuid, _>(board.0)
            .sql(" AND j.id = ")
            .bind::<SqlUuid, _>(job.0)
            .sql(" RETURNING j.id");
        match self.changed(request, statement).await {
            // Another was asked for in the same moment.
            Err(Failure::Failed(error)) if constraint_of(&error) == Some(ONCE_PENDING) => Ok(None),
            outcome => Ok(outcome?.map(JobId)),
        }
    }

    async fn job_page(
        &self,
        board: BoardId,
        statuses: &[JobStatus],
        sealed: &Sealed,
        page: &PageRequest,
    ) -> Result<Page<Arc<Job>>> {
        let list = JobList { board, statuses: statuses.to_vec(), sealed: sealed.clone() };
        let pages = self.job_pages(&[(list, page.clone())]).await?;
        Ok(pages.into_iter().next().unwrap_or_else(Page::empty))
    }

    async fn job_changes(&self, after: &[(BoardId, Option<DateTime<Utc>>)], most: i64) -> Result<Vec<Job>> {
        let boards: Vec<Uuid> = after.iter().map(|(board, _)| board.0).collect();
        let times: Vec<Option<DateTime<Utc>>> = after.iter().map(|(_, at)| *at).collect();
        let rows: Vec<JobRow> = self
            .fetch(|| {
                Statement::<JobSql>::new("jobs.changes")
                    .sql("SELECT ")
                    .sql(JOB_COLUMNS)
                    .sql(" FROM unnest(")
                    .bind::<Array<SqlUuid>, _>(boards.clone())
                    .sql(", ")
                    .bind::<Array<Nullable<Timestamptz>>, _>(times.clone())
                    .sql(
                        ") AS k (board_id, at) CROSS JOIN LATERAL (\
                            SELECT j.* FROM processing_jobs j WHERE j.board_id = k.board_id \
                            AND j.changed_at > coalesce(k.at, now() - interval '5 seconds') ORDER BY j.changed_at LIMIT ",
                    )
                    .bind::<BigInt, _>(most)
                    .sql(") AS j ORDER BY j.changed_at")
            })
            .await?;
        jobs_from(rows)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>> {
        let rows: Vec<(String, String, i64, f64)> = self
            .fetch(|| {
                Statement::<(Text, Text, BigInt, Double)>::new("jobs.backlog").sql(
                    "SELECT w.job_type::text, w.status, w.count, \
                     greatest(0, extract(epoch FROM clock_timestamp() - w.oldest))::double precision FROM (\
                        SELECT j.job_type, 'pending' AS status, count(*), min(j.scheduled_for) AS oldest \
                        FROM processing_jobs j WHERE j.status = 'pending' GROUP BY j.job_type UNION ALL \
                        SELECT j.job_type, 'running', count(*), min(j.started_at) \
                        FROM processing_jobs j WHERE j.worker IS NOT NULL AND j.status = 'running' GROUP BY j.job_type) AS w",
                )
            })
            .await?;
        let backlog = |(job_type, status, count, oldest_seconds): (String, String, i64, f64)| {
            Ok(Backlog {
                job_type: JobType::from_word(&job_type).ok_or_else(|| unexpected("job type", &job_type))?,
                status: JobStatus::from_word(&status).ok_or_else(|| unexpected("job status", &status))?,
                count,
                oldest_seconds,
            })
        };
        rows.into_iter().map(backlog).collect()
    }
}
